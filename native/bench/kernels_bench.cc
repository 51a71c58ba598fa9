// Speed of memory-bound and elementary kernels on every runnable target, in GB/s moved and ns per element.
// Build: g++ -std=c++20 -O2 -pthread native/bench/kernels_bench.cc <objects of native/src/target_*.cc>
// Run: kernels_bench [threads]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../test/simple_context.h"

using namespace simdgrad;

namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Bench {
  const char* name;
  int kernel;
  int buffers;     // of n floats each
  double traffic;  // bytes read and written for an element
  bool large;      // also at 16M elements
  std::vector<double> (*params)(double n);
};

std::vector<double> map1(double n) { return {1, n, 0, 1, 0, 1}; }
std::vector<double> map2(double n) { return {1, n, 0, 1, 0, 1, 0, 1}; }

const Bench kBenches[] = {
    {"copy", k_copy, 2, 8, true, map1},
    {"add", k_add, 3, 12, true, map2},
    {"add in blocks of 10", k_add, 3, 8, false,
     [](double n) { return std::vector<double>{2, n / 10, 10, 0, 10, 1, 0, 10, 1, 0, 0, 1}; }},
    {"add bias 256", k_add, 3, 8, false,
     [](double n) { return std::vector<double>{2, n / 256, 256, 0, 256, 1, 0, 256, 1, 0, 0, 1}; }},
    {"mul scalar", k_mul, 3, 8, false, [](double n) { return std::vector<double>{1, n, 0, 1, 0, 1, 0, 0}; }},
    {"transpose (copy)", k_copy, 2, 8, true,
     [](double n) { return std::vector<double>{2, n / 256, 256, 0, 256, 1, 0, 1, n / 256}; }},
    {"relu", k_relu, 2, 8, true, map1},
    {"sgd", k_sgd, 3, 12, true, [](double n) { return std::vector<double>{n, 0, 0, 0, 0.1, 0, 0}; }},
    {"sgdMomentum", k_sgdMomentum, 4, 20, true,
     [](double n) { return std::vector<double>{n, 0, 0, 0, 0, 0.1, 0, 0, 0.9, 0, 0, 0}; }},
    {"adam", k_adam, 5, 28, true,
     [](double n) {
       return std::vector<double>{n, 0, 0, 0, 0, 0, 1e-3, 0.9, 0.999, 1e-8, 0, 0, 0, 0.5, 0.5};
     }},
    {"exp", k_exp, 2, 8, false, map1},
    {"log", k_log, 2, 8, false, map1},
    {"tanh", k_tanh, 2, 8, false, map1},
    {"sigmoid", k_sigmoid, 2, 8, false, map1},
    {"gelu", k_gelu, 2, 8, false, map1},
    {"pow", k_pow, 3, 12, false, map2},
    {"sin", k_sin, 2, 8, false, map1},
    {"sum", k_sum, 2, 4, true, [](double n) { return std::vector<double>{0, 1, n, 0, 0, 1, 1}; }},
    {"sum rows of 256", k_sum, 2, 4, false,
     [](double n) { return std::vector<double>{1, 1, n / 256, 256, 0, 0, 256, 1, 1}; }},
    {"sum columns, 256", k_sum, 2, 4, true,
     [](double n) { return std::vector<double>{1, 1, 256, n / 256, 0, 0, 1, 256, 1}; }},
    {"max", k_max, 2, 4, false, [](double n) { return std::vector<double>{0, 1, n, 0, 0, 1}; }},
    {"argmax rows of 16", k_argmax, 2, 4, false,
     [](double n) { return std::vector<double>{1, 1, n / 16, 16, 0, 0, 16, 1}; }},
    {"logSoftmax rows of 10", k_logSoftmax, 2, 8, false,
     [](double n) {
       return std::vector<double>{static_cast<double>(static_cast<int64_t>(n / 10)), 10, 1, 0, 0};
     }},
    {"softmax rows of 1024", k_softmax, 2, 8, false,
     [](double n) {
       return std::vector<double>{n / 1024, 1024, 1, 0, 0};
     }},
    {"uniform", k_uniform, 1, 4, false, [](double n) { return std::vector<double>{n, 0, 1, 2, 0, 0, 1}; }},
    {"normal", k_normal, 1, 4, false, [](double n) { return std::vector<double>{n, 0, 1, 2, 0, 0, 1}; }},
    {"bernoulli", k_bernoulli, 1, 4, false,
     [](double n) { return std::vector<double>{n, 0, 1, 2, 0, 0.5, 2}; }},
};

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
  SimpleContext ctx(threads);
  std::vector<Target> targets = runnable_targets();
  const int64_t most = 16 << 20;
  std::vector<std::vector<float>> memory(5, std::vector<float>(most));
  for (auto& m : memory) {
    for (int64_t i = 0; i < most; ++i) m[i] = static_cast<float>((i * 2654435761u) % 1000) * 0.004f;
  }
  std::printf("%d thread(s)%-22s", threads, "");
  for (const Target& t : targets) std::printf("%22s", t.name);
  std::printf("\n");
  for (const Bench& b : kBenches) {
    for (int64_t n : {int64_t(1280), int64_t(1) << 15, most}) {
      if (n == most && !b.large) continue;
      std::printf("%-22s %9lld ", b.name, static_cast<long long>(n));
      for (const Target& t : targets) {
        const std::vector<double> params = b.params(static_cast<double>(n));
        std::vector<Buffer> buffers;
        for (int i = 0; i < b.buffers; ++i) buffers.push_back({memory[i].data(), most, Type::F32});
        if (b.kernel == k_argmax) buffers[0].type = Type::I32;
        const Call call{params.data(), static_cast<int>(params.size()), buffers.data(), b.buffers};
        const RunFn run = t.table.run[b.kernel][0];
        double best = 1e9;
        for (int round = 0; round < 5; ++round) {
          const int calls = n == most ? 1 : static_cast<int>(200000 / n) + 1;
          const double start = now();
          for (int i = 0; i < calls; ++i) run(call, ctx);
          best = std::min(best, (now() - start) / calls);
        }
        std::printf("%8.1f GB/s %6.3f ns", b.traffic * static_cast<double>(n) / best * 1e-9,
                    best / static_cast<double>(n) * 1e9);
      }
      std::printf("\n");
    }
  }
  return 0;
}
