// Speed of the matmul kernels beside the peak of the same cores: GFLOP/s and % of peak per shape.
// Every round times the multiply-add loop and then every competitor, so that all meet the same noise; medians
// count.
//
// Build: see native/test/matmul_test.cc (add -ldl). Run:
//   matmul_bench [-t threads] [-isa name] [-f64] [-r rounds] [-blas path] [-l1 KB] [-l2 KB] [-l3 KB]
//                [MxNxK[:NN|NT|TN|TT]…]
// -blas loads a shared library with cblas_sgemm/cblas_dgemm (OpenBLAS, BLIS, MKL) and compares with it.
#include <dlfcn.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <random>

#include "../test/simple_context.h"
#include "peak.h"

using namespace simdgrad;

namespace {

// With one thread the time on the processor counts, so that other processes disturb less.
bool thread_clock = false;

double now() {
  timespec t;
  clock_gettime(thread_clock ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct Shape {
  int64_t m, n, k;
  bool at, bt;
};

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float,
                       float*, int);
using Dgemm = void (*)(int, int, int, int, int, int, double, const double*, int, const double*, int, double,
                       double*, int);

struct Options {
  int threads = 1, rounds = 15;
  std::string isa;
  CacheSizes cache;
  Sgemm sgemm = nullptr;
  Dgemm dgemm = nullptr;
};

template <class T>
void bench(const Options& o, const Target& target, const std::vector<Shape>& shapes) {
  const Type type = sizeof(T) == 4 ? Type::F32 : Type::F64;
  SimpleContext context(o.threads);
  context.set_cache(o.cache);
  std::mt19937 rng(1);
  std::uniform_real_distribution<float> value(-1, 1);
  printf("%s %s, %d thread%s\n%-20s %9s %9s %7s%s\n", target.name, sizeof(T) == 4 ? "f32" : "f64", o.threads,
         o.threads > 1 ? "s" : "", "M x N x K", "us", "GFLOP/s", "% peak",
         o.sgemm ? "  blas GFLOP/s   ratio" : "");
  for (const Shape& s : shapes) {
    std::vector<T> a(s.m * s.k), b(s.k * s.n), c(s.m * s.n);
    for (T& x : a) x = (T)value(rng);
    for (T& x : b) x = (T)value(rng);
    const int64_t lda = s.at ? s.m : s.k, ldb = s.bt ? s.k : s.n;
    const double p[] = {0,
                        (double)s.m,
                        (double)s.n,
                        (double)s.k,
                        0,
                        (double)s.n,
                        0,
                        (double)(s.at ? 1 : lda),
                        (double)(s.at ? lda : 1),
                        0,
                        (double)(s.bt ? 1 : ldb),
                        (double)(s.bt ? ldb : 1),
                        -1,
                        0};
    Buffer buffers[4] = {{c.data(), (int64_t)c.size(), type},
                         {a.data(), (int64_t)a.size(), type},
                         {b.data(), (int64_t)b.size(), type},
                         {c.data(), (int64_t)c.size(), type}};
    Call call{p, (int)(sizeof(p) / sizeof(*p)), buffers, 4};
    const RunFn fn = target.table.run[k_matmul][(int)type];
    auto ours = [&] { fn(call, context); };
    auto blas = [&] {
      const int ta = s.at ? 112 : 111, tb = s.bt ? 112 : 111;
      if constexpr (sizeof(T) == 4) {
        o.sgemm(101, ta, tb, (int)s.m, (int)s.n, (int)s.k, 1, a.data(), (int)lda, b.data(), (int)ldb, 0,
                c.data(), (int)s.n);
      } else {
        o.dgemm(101, ta, tb, (int)s.m, (int)s.n, (int)s.k, 1, a.data(), (int)lda, b.data(), (int)ldb, 0,
                c.data(), (int)s.n);
      }
    };
    const double flops = 2.0 * (double)s.m * (double)s.n * (double)s.k;
    // About two milliseconds per measurement.
    auto repeat = [&](auto f) {
      const double t = now();
      f();
      f();
      const double once = (now() - t) / 2;
      return (int64_t)std::max(1.0, 2e-3 / once);
    };
    auto rate = [&](auto f, int64_t n) {
      const double t = now();
      for (int64_t i = 0; i < n; ++i) f();
      return flops * (double)n / (now() - t);
    };
    const int64_t n_ours = repeat(ours), n_blas = o.sgemm ? repeat(blas) : 0;
    std::vector<double> gf, share, other, ratio;
    for (int r = 0; r < o.rounds; ++r) {
      const double t = now();
      const double work = peak_flops(target.name, 150000);
      const double top = work / (now() - t) * o.threads * (sizeof(T) == 4 ? 1 : 0.5);
      gf.push_back(rate(ours, n_ours));
      share.push_back(gf.back() / top);
      if (o.sgemm) {
        other.push_back(rate(blas, n_blas));
        ratio.push_back(gf.back() / other.back());
      }
    }
    char name[64];
    snprintf(name, sizeof name, "%ldx%ldx%ld %c%c", (long)s.m, (long)s.n, (long)s.k, s.at ? 'T' : 'N',
             s.bt ? 'T' : 'N');
    printf("%-20s %9.1f %9.1f %6.1f%%", name, flops / median(gf) * 1e6, median(gf) / 1e9,
           median(share) * 100);
    if (o.sgemm) printf(" %13.1f %8.2fx", median(other) / 1e9, median(ratio));
    printf("\n");
    fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  bool f64 = false;
  std::vector<Shape> shapes;
#ifdef _SC_LEVEL1_DCACHE_SIZE
  auto size = [](int what, int64_t otherwise) { return sysconf(what) > 0 ? sysconf(what) : otherwise; };
  o.cache = {size(_SC_LEVEL1_DCACHE_SIZE, o.cache.l1), size(_SC_LEVEL2_CACHE_SIZE, o.cache.l2),
             size(_SC_LEVEL3_CACHE_SIZE, o.cache.l3)};
#endif
  for (int i = 1; i < argc; ++i) {
    const std::string arg = argv[i];
    const bool more = i + 1 < argc;
    if (arg == "-t" && more) {
      o.threads = std::max(1, atoi(argv[++i]));
    } else if (arg == "-r" && more) {
      o.rounds = std::max(1, atoi(argv[++i]));
    } else if (arg == "-isa" && more) {
      o.isa = argv[++i];
    } else if ((arg == "-l1" || arg == "-l2" || arg == "-l3") && more) {
      (arg == "-l1" ? o.cache.l1 : arg == "-l2" ? o.cache.l2 : o.cache.l3) = atoll(argv[++i]) << 10;
    } else if (arg == "-f64") {
      f64 = true;
    } else if (arg == "-blas" && more) {
      void* library = dlopen(argv[++i], RTLD_NOW);
      if (library) {
        o.sgemm = (Sgemm)dlsym(library, "cblas_sgemm");
        o.dgemm = (Dgemm)dlsym(library, "cblas_dgemm");
      }
      if (!o.sgemm || !o.dgemm) {
        fprintf(stderr, "no cblas in %s\n", argv[i]);
        return 1;
      }
    } else {
      long m, n, k;
      char ta = 'N', tb = 'N';
      if (sscanf(arg.c_str(), "%ldx%ldx%ld:%c%c", &m, &n, &k, &ta, &tb) < 3) {
        fprintf(stderr, "not an option or a shape: %s\n", argv[i]);
        return 1;
      }
      shapes.push_back({m, n, k, ta == 'T', tb == 'T'});
    }
  }
  if (shapes.empty()) {
    shapes = {{128, 256, 784, false, false}, {128, 256, 784, false, true},    {128, 256, 784, true, false},
              {128, 10, 256, false, false},  {784, 256, 128, true, false},    {128, 784, 256, false, true},
              {256, 10, 128, true, false},   {128, 256, 10, false, true},     {1, 1024, 1024, false, false},
              {1, 1024, 1024, false, true},  {8, 1024, 1024, false, false},   {8, 1024, 1024, false, true},
              {32, 256, 784, false, false},  {32, 256, 784, false, true},     {64, 64, 64, false, false},
              {256, 256, 256, false, false}, {512, 512, 512, false, false},   {512, 512, 512, false, true},
              {512, 512, 512, true, false},  {1024, 1024, 1024, false, false}};
  }
  thread_clock = o.threads == 1;
  for (const Target& target : runnable_targets()) {
    if (!o.isa.empty() && o.isa != target.name) continue;
    if (f64) {
      bench<double>(o, target, shapes);
    } else {
      bench<float>(o, target, shapes);
    }
  }
  return 0;
}
