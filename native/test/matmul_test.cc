// Checks the matmul kernels of every runnable target against a plain product in double (long double for
// double). Build: g++ -std=c++20 -O2 -ffp-contract=off -pthread native/test/matmul_test.cc
// native/src/target_*.cc
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>

#include "../src/targets.h"
#include "simple_context.h"

using namespace simdgrad;

namespace {

int failures = 0;
int64_t checked = 0;

// How a matrix of rows x cols lies in memory.
enum Layout { kRows, kCols, kRowsPadded, kColsPadded, kSpread, kReversed, kLayouts };

struct View {
  int64_t offset, row, col, length;
};

View lay_out(int layout, int64_t rows, int64_t cols) {
  switch (layout) {
    case kRows:
      return {0, cols, 1, rows * cols};
    case kCols:
      return {0, 1, rows, rows * cols};
    case kRowsPadded:
      return {3, cols + 5, 1, 3 + rows * (cols + 5)};
    case kColsPadded:
      return {1, 1, rows + 7, 1 + cols * (rows + 7)};
    case kSpread:
      return {2, 2 * cols + 1, 2, 2 + rows * (2 * cols + 1)};
    default:
      return {rows * cols, -cols, -1, rows * cols + 1};
  }
}

template <class T>
struct Case {
  std::vector<int64_t> batch;
  std::vector<bool> a_shared, b_shared;  // per batch dimension: stride 0
  int64_t m, n, k;
  int a_layout, b_layout;
  int64_t c_pad;
  bool bias;
  int activation;
};

template <class T>
struct Operand {
  std::vector<T> data;
  View view;
  std::vector<int64_t> batch;  // strides
};

template <class T>
Operand<T> make_operand(std::mt19937& rng, int layout, int64_t rows, int64_t cols,
                        const std::vector<int64_t>& batch, const std::vector<bool>& shared) {
  Operand<T> o;
  o.view = lay_out(layout, rows, cols);
  int64_t stride = o.view.length;
  o.batch.resize(batch.size());
  for (int d = (int)batch.size() - 1; d >= 0; --d) {
    o.batch[d] = shared[d] ? 0 : stride;
    if (!shared[d]) stride *= batch[d];
  }
  // NaN where nothing may be read (and used). It begins at a cache line, or not.
  o.data.assign(stride + 65, std::numeric_limits<T>::quiet_NaN());
  if ((rows + cols) % 2 == 0) {
    while (((uintptr_t)(o.data.data() + o.view.offset) & 63) != 0) ++o.view.offset;
  }
  std::uniform_real_distribution<double> value(-1, 1);
  const int64_t copies = o.view.length ? stride / o.view.length : 0;
  for (int64_t c = 0; c < copies; ++c) {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < cols; ++j) {
        o.data[c * o.view.length + o.view.offset + i * o.view.row + j * o.view.col] = (T)value(rng);
      }
    }
  }
  return o;
}

template <class T>
void check(const Target& target, std::vector<SimpleContext*> contexts, const Case<T>& c, std::mt19937& rng) {
  using Wide = std::conditional_t<sizeof(T) == 4, double, long double>;
  const Type type = sizeof(T) == 4 ? Type::F32 : Type::F64;
  Operand<T> a = make_operand<T>(rng, c.a_layout, c.m, c.k, c.batch, c.a_shared);
  Operand<T> b = make_operand<T>(rng, c.b_layout, c.k, c.n, c.batch, c.b_shared);
  std::vector<T> bias(c.n + 2);
  std::uniform_real_distribution<double> value(-1, 1);
  for (T& x : bias) x = (T)value(rng);
  // What an activation gave, for its gradient: in the place of the bias, like C without padding.
  const bool gradient = c.activation >= 4;
  int64_t batches = 1;
  for (int64_t x : c.batch) batches *= x;
  const int64_t c_row = c.n + c.c_pad, c_batch = c.m * c_row;
  const T untouched = (T)-12345;
  if (gradient) {
    bias.resize(1 + batches * c.m * c.n);
    for (T& x : bias) x = (T)value(rng);
  }

  std::vector<double> p;
  p.push_back((double)c.batch.size());
  for (int64_t x : c.batch) p.push_back((double)x);
  for (int64_t x : {c.m, c.n, c.k}) p.push_back((double)x);
  // C begins at a cache line, or not: threads cut it differently then.
  std::vector<T> out(2 + batches * c_batch + 64);
  int64_t c_begin = 2;
  if ((c.m + c.n + c.k) % 2 == 0) {
    while (((uintptr_t)(out.data() + c_begin) & 63) != 0) ++c_begin;
  }
  p.push_back((double)c_begin);
  std::vector<int64_t> c_strides(c.batch.size());
  int64_t stride = c_batch;
  for (int d = (int)c.batch.size() - 1; d >= 0; --d) {
    c_strides[d] = stride;
    stride *= c.batch[d];
  }
  for (int64_t x : c_strides) p.push_back((double)x);
  p.push_back((double)c_row);
  for (const Operand<T>* o : {&a, &b}) {
    p.push_back((double)o->view.offset);
    for (int64_t x : o->batch) p.push_back((double)x);
    p.push_back((double)o->view.row);
    p.push_back((double)o->view.col);
  }
  p.push_back(c.bias || gradient ? 1 : -1);
  p.push_back(c.activation);

  std::vector<T> first;
  for (SimpleContext* context : contexts) {
    std::fill(out.begin(), out.end(), untouched);
    Buffer buffers[4] = {{out.data(), (int64_t)out.size(), type},
                         {a.data.data(), (int64_t)a.data.size(), type},
                         {b.data.data(), (int64_t)b.data.size(), type},
                         {bias.data(), (int64_t)bias.size(), type}};
    if (!c.bias && !gradient) buffers[3] = buffers[0];
    Call call{p.data(), (int)p.size(), buffers, 4};
    bool ok = target.table.run[k_matmul][(int)type](call, *context);
    const char* what = ok ? nullptr : "returned false";
    if (first.empty()) {
      first = out;
    } else if (memcmp(first.data(), out.data(), out.size() * sizeof(T)) != 0) {
      what = "bits differ between thread counts";
    }
    double worst = 0;
    std::vector<bool> written(out.size(), false);
    for (int64_t i = 0; i < batches && !what; ++i) {
      int64_t rest = i, ao = 0, bo = 0, co = 0;
      for (int d = (int)c.batch.size() - 1; d >= 0; --d) {
        const int64_t at = rest % c.batch[d];
        rest /= c.batch[d];
        ao += at * a.batch[d];
        bo += at * b.batch[d];
        co += at * c_strides[d];
      }
      for (int64_t r = 0; r < c.m; ++r) {
        for (int64_t s = 0; s < c.n; ++s) {
          Wide sum = 0, size = 0;
          for (int64_t k = 0; k < c.k; ++k) {
            const Wide x = (Wide)a.data[ao + a.view.offset + r * a.view.row + k * a.view.col] *
                           b.data[bo + b.view.offset + k * b.view.row + s * b.view.col];
            sum += x;
            size += std::fabs(x);
          }
          if (c.bias && !gradient) sum += bias[1 + s];
          size += 1;
          if (c.activation == 1) sum = sum > 0 ? sum : 0;
          if (c.activation == 2) sum = 1 / (1 + std::exp(-sum));
          if (c.activation == 3) sum = std::tanh(sum);
          const Wide y = gradient ? bias[1 + (i * c.m + r) * c.n + s] : 0;
          if (c.activation == 4) sum = y > 0 ? sum : 0;
          if (c.activation == 5) sum *= y * (1 - y);
          if (c.activation == 6) sum *= 1 - y * y;
          const int64_t at = c_begin + co + r * c_row + s;
          written[at] = true;
          const double error =
              (double)(std::fabs((Wide)out[at] - sum) / size) / std::numeric_limits<T>::epsilon();
          if (!(error <= worst)) worst = error;
        }
      }
    }
    // The error of one chain grows at worst with k; on random numbers far less.
    if (!what && !(worst <= 3 + 0.25 * std::sqrt((double)c.k))) what = "wrong values";
    for (size_t i = 0; i < out.size() && !what; ++i) {
      if (!written[i] && out[i] != untouched) what = "wrote outside C";
    }
    ++checked;
    if (what) {
      if (++failures < 20) {
        printf(
            "FAIL %s %s: %s (error %.1f eps) %ldx%ldx%ld layouts %d %d pad %ld bias %d act %d batch dims %zu "
            "threads %d\n",
            target.name, sizeof(T) == 4 ? "f32" : "f64", what, worst, (long)c.m, (long)c.n, (long)c.k,
            c.a_layout, c.b_layout, (long)c.c_pad, c.bias, c.activation, c.batch.size(), context->threads());
      }
      return;
    }
  }
}

template <class T>
void run_all(const Target& target, std::vector<SimpleContext*> contexts) {
  std::mt19937 rng(7);
  // Every pair of layouts over sizes around the tile edges.
  const int64_t sizes[][3] = {{1, 1, 1},    {1, 64, 50},   {2, 33, 17},  {3, 5, 129},  {5, 31, 64},
                              {8, 48, 100}, {13, 10, 70},  {14, 32, 16}, {15, 65, 33}, {29, 17, 128},
                              {40, 47, 5},  {64, 10, 40},  {1, 200, 3},  {100, 1, 30}, {7, 16, 257},
                              {33, 96, 1},  {61, 130, 90}, {14, 60, 73}, {24, 40, 73}, {28, 50, 100}};
  for (const auto& s : sizes) {
    for (int a = 0; a < kLayouts; ++a) {
      for (int b = 0; b < kLayouts; ++b) {
        check<T>(target, contexts,
                 {{}, {}, {}, s[0], s[1], s[2], a, b, (a + b) % 3, (a ^ b) % 2 == 1, (a + 2 * b) % 4}, rng);
      }
    }
  }
  // Random shapes, batches and epilogues.
  auto pick = [&](int n) { return (int)(rng() % n); };
  for (int i = 0; i < 600; ++i) {
    Case<T> c{{},      {},           {},     pick(40), pick(70), pick(70), pick(kLayouts), pick(kLayouts),
              pick(4), pick(2) == 1, pick(7)};
    for (int d = pick(4); d > 0; --d) {
      c.batch.push_back(pick(4));
      c.a_shared.push_back(pick(3) == 0);
      c.b_shared.push_back(pick(2) == 0);
    }
    if (i % 5 == 0) c.m *= 4;
    if (i % 7 == 0) c.n *= 5;
    if (i % 11 == 0) c.k *= 9;
    if (i % 13 == 0) c.m = 1;
    if (i % 17 == 0) c.k = 0;
    check<T>(target, contexts, c, rng);
  }
  // Without depth, wide enough for a B beyond the second-level cache if it had any.
  check<T>(target, contexts, {{}, {}, {}, 20, 5000, 0, 0, 0, 0, true, 1}, rng);
  // Tiles of every width, with and without bias; the last panel is narrower.
  for (int64_t m = 1; m <= 16; ++m) {
    for (int64_t n : {301, 256, 90}) {
      check<T>(target, contexts, {{}, {}, {}, m, n, 37 + m, (int)m % 4, (int)n % 2 * 2, m % 2, m % 3 == 1, 0},
               rng);
    }
  }
  // Several blocks of k, rows and columns; packing of A and B; few rows beside a B beyond the second-level
  // cache; rows of A that compete for cache lines, with many columns and with few; a few tiles of rows beside
  // rows of B that do, or that begin in mid-line.
  const int64_t large[][3] = {
      {270, 300, 700}, {130, 600, 520}, {600, 33, 200}, {8, 700, 1100},  {300, 1200, 20}, {60, 700, 500},
      {40, 160, 1024}, {40, 1100, 600}, {512, 300, 60}, {1024, 20, 300}, {60, 512, 90},   {30, 700, 900},
      {50, 777, 100},  {85, 333, 64},   {28, 52, 1024}, {14, 20, 2048},  {70, 100, 1024}, {40, 24, 300}};
  for (const auto& s : large) {
    for (int a = 0; a < 2; ++a) {
      for (int b = 0; b < 2; ++b) {
        check<T>(target, contexts, {{}, {}, {}, s[0], s[1], s[2], a, b, 0, true, (a + 2 * b) % 4}, rng);
      }
    }
  }
}

// Few rows, or a small C, over a long K, which threads share in pieces.
template <class T>
void run_shared(const Target& target, std::vector<SimpleContext*> contexts, int64_t most_rows = 40) {
  std::mt19937 rng(11);
  for (int64_t m : {1, 2, 4, 7, 12, 40}) {
    if (m > most_rows) break;
    for (int64_t n : {10, 64, 131, 300, 512, 1030}) {
      for (int64_t k : {129, 257, 512, 784, 1500, 3001}) {
        if (m * n * k < 100000 || m * n * k > 10000000) continue;
        const int i = (int)(m + n + k);
        Case<T> c{{}, {}, {}, m, n, k, i % 3 == 0 ? 1 : 0, 0, i % 2, i % 4 < 2, i % 7};
        check<T>(target, contexts, c, rng);
        if (i % 3 != 0) continue;
        c.batch = {2};
        c.a_shared = {false};
        c.b_shared = {false};
        check<T>(target, contexts, c, rng);
      }
    }
  }
}

// A whose rows (or columns, of a weight gradient) lie apart in a larger table, against the same brought
// together: the same bits, in a product, a product with sums and an update.
template <class T>
void check_rows(const Target& target, SimpleContext* context, int64_t m, int64_t n, int64_t k, bool columns,
                std::mt19937& rng, int64_t* apart) {
  const Type type = sizeof(T) == 4 ? Type::F32 : Type::F64;
  const int64_t count = columns ? k : m, inner = columns ? m : k, bound = count + 5;
  std::uniform_real_distribution<double> value(-1, 1);
  std::vector<T> table(bound * inner), a(m * k), b(k * n), bias(n), p0(m * n);
  for (std::vector<T>* x : {&table, &b, &bias, &p0}) {
    for (T& v : *x) v = (T)value(rng);
  }
  std::vector<int64_t> row_at(count);
  for (int64_t i = 0; i < count; ++i) {
    row_at[i] = (i == 0 ? bound - 1 : (int64_t)(rng() % bound)) * inner;
    std::copy_n(&table[row_at[i]], inner, &a[i * inner]);
  }
  const double a_row = columns ? 1 : (double)k, a_col = columns ? (double)m : 1, cols = (double)n;
  const double size[] = {(double)m, (double)n, (double)k};
  struct Kernel {
    int id, operand;
    std::vector<double> params;
  };
  const Kernel kernels[] = {
      {k_matmul, 1, {0, size[0], size[1], size[2], 0, cols, 0, a_row, a_col, 0, cols, 1, 0, 1}},
      {k_matmulSums, 2, {size[0], size[1], size[2], 0, 0, 0, a_row, a_col, 0, cols, 1}},
      {k_sgdProduct, 2, {size[0], size[1], size[2], 0, 0, 0, a_row, a_col, 0, cols, 1, 0.1, 0.01, 0}},
  };
  for (const auto& [id, operand, params] : kernels) {
    std::vector<T> out[2], sums(n);
    bool differs = false;
    for (const bool by_rows : {false, true}) {
      std::vector<T>& c = out[by_rows];
      c = p0;
      const Buffer whole = {a.data(), m * k, type}, rows = {table.data(), m * k, type, row_at.data()},
                   to = {c.data(), m * n, type}, right = {b.data(), k * n, type},
                   more = {bias.data(), n, type}, beside = {sums.data(), n, type};
      const Buffer& left = by_rows ? rows : whole;
      const Buffer lists[3][4] = {{to, left, right, more}, {to, beside, left, right}, {to, to, left, right}};
      const Buffer* const buffers = lists[id == k_matmul ? 0 : id == k_matmulSums ? 1 : 2];
      const Call call{params.data(), (int)params.size(), buffers, 4};
      const ByRows found = target.table.by_rows[id][(int)type](call, context->cache());
      if (found.operand < 0) break;
      if (by_rows) ++*apart;
      differs = found.operand != operand || found.count != count ||
                !target.table.run[id][(int)type](call, *context);
    }
    if (out[1].empty()) continue;
    ++checked;
    if (differs || memcmp(out[0].data(), out[1].data(), out[0].size() * sizeof(T)) != 0) {
      if (++failures < 20) {
        printf("FAIL %s %s: kernel %d by rows, %ldx%ldx%ld, columns %d, threads %d\n", target.name,
               sizeof(T) == 4 ? "f32" : "f64", id, (long)m, (long)n, (long)k, columns, context->threads());
      }
    }
  }
}

template <class T>
void run_rows(const Target& target, std::vector<SimpleContext*> contexts) {
  std::mt19937 rng(13);
  int64_t apart = 0;
  const int64_t sizes[][3] = {{128, 128, 400}, {320, 128, 64}, {200, 90, 300}, {33, 260, 517},
                              {7, 40, 30},     {2, 100, 2},    {600, 16, 40},  {1, 64, 64}};
  for (SimpleContext* context : contexts) {
    for (const auto& [m, n, k] : sizes) {
      for (const bool columns : {false, true}) check_rows<T>(target, context, m, n, k, columns, rng, &apart);
    }
    for (int i = 0; i < 40; ++i) {
      const int64_t m = 1 + rng() % 90, n = 1 + rng() % 90, k = 1 + rng() % 90;
      check_rows<T>(target, context, m, n, k, i % 2 == 1, rng, &apart);
    }
  }
  ++checked;
  if (apart < (int64_t)contexts.size() * 30) {
    ++failures;
    printf("FAIL %s: only %ld products took rows that lie apart\n", target.name, (long)apart);
  }
}

template <class T>
void check_special(const Target& target, SimpleContext* context) {
  // relu keeps NaN and gives +0 for -0; K = 0 gives act(bias).
  const Type type = sizeof(T) == 4 ? Type::F32 : Type::F64;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  std::vector<T> bias = {(T)-1, (T)2, nan, (T)-0.0, (T)0.5};
  for (int64_t m : {1, 3, 20}) {
    std::vector<T> out(m * 5, (T)9), ab(1);
    const double p[] = {0, (double)m, 5, 0, 0, 5, 0, 0, 1, 0, 5, 1, 0, 1};
    Buffer buffers[4] = {{out.data(), (int64_t)out.size(), type},
                         {ab.data(), 1, type},
                         {ab.data(), 1, type},
                         {bias.data(), 5, type}};
    Call call{p, (int)(sizeof(p) / sizeof(*p)), buffers, 4};
    target.table.run[k_matmul][(int)type](call, *context);
    for (int64_t i = 0; i < m; ++i) {
      const T* y = &out[i * 5];
      ++checked;
      if (!(y[0] == 0 && y[1] == 2 && std::isnan(y[2]) && y[3] == 0 && !std::signbit(y[3]) &&
            y[4] == (T)0.5)) {
        ++failures;
        printf("FAIL %s: relu or K = 0, m %ld: %g %g %g %g %g\n", target.name, (long)m, (double)y[0],
               (double)y[1], (double)y[2], (double)y[3], (double)y[4]);
      }
    }
  }
}

// Other processors cannot flush results without operands.
constexpr bool kFlushesResults = SIMDGRAD_X86;

// In float32 what is below the smallest normal number counts as zero, in every form and on every thread; in
// float64 it does not. The caller's thread is left as it was.
template <class T>
void check_small(const Target& target, SimpleContext* context) {
  const Type type = sizeof(T) == 4 ? Type::F32 : Type::F64;
  const T least = std::numeric_limits<T>::min();
  const int64_t sizes[][3] = {{1, 1, 1},    {1, 700, 40},  {2, 64, 70},     {5, 20, 30},   {64, 80, 9},
                              {100, 3, 50}, {200, 10, 64}, {130, 200, 300}, {16, 300, 700}};
  for (const auto& [m, n, k] : sizes) {
    for (const bool transposed : {false, true}) {
      std::vector<T> a(m * k, 0), b(k * n, 1), out(m * n, (T)9);
      for (int64_t i = 0; i < m; ++i) a[transposed ? i : i * k] = i % 2 ? least : least / 4;
      const double p[] = {0,
                          (double)m,
                          (double)n,
                          (double)k,
                          0,
                          (double)n,
                          0,
                          (double)(transposed ? 1 : k),
                          (double)(transposed ? m : 1),
                          0,
                          (double)n,
                          1,
                          -1,
                          0};
      Buffer buffers[4] = {{out.data(), m * n, type},
                           {a.data(), m * k, type},
                           {b.data(), k * n, type},
                           {out.data(), m * n, type}};
      Call call{p, (int)(sizeof(p) / sizeof(*p)), buffers, 4};
      target.table.run[k_matmul][(int)type](call, *context);
      for (int64_t i = 0; i < m * n; ++i) {
        const T small = sizeof(T) == 4 && kFlushesResults ? (T)0 : least / 4;
        ++checked;
        if (out[i] != (i / n % 2 ? least : small)) {
          ++failures;
          printf("FAIL %s: small numbers, %ldx%ldx%ld: %g\n", target.name, (long)m, (long)n, (long)k,
                 (double)out[i]);
          break;
        }
      }
    }
  }
  volatile T x = least;
  ++checked;
  if (!(x / 2 > 0)) {
    ++failures;
    printf("FAIL %s: the caller's thread takes small numbers as zero now\n", target.name);
  }
}

}  // namespace

int main() {
  SimpleContext one(1), two(2), four(4), five(5), six(6), eight(8), tiny(3), tiny_four(4), wide(1),
      wide_two(2), deep(1);
  tiny.set_cache({4 << 10, 16 << 10, 64 << 10});  // many blocks
  tiny_four.set_cache(tiny.cache());
  wide.set_cache({48 << 10, 2 << 20, 32 << 20});  // a row of A by two rows of B at a time, or by one
  wide_two.set_cache(wide.cache());
  deep.set_cache({32 << 10, 64 << 10, 64 << 20});
  for (const Target& target : runnable_targets()) {
    run_all<float>(target, {&one, &two, &five});
    run_all<double>(target, {&one, &two, &five});
    run_all<float>(target, {&tiny});
    run_shared<float>(target, {&one, &two, &four, &six, &eight});
    run_shared<double>(target, {&one, &two, &four, &five});
    run_shared<float>(target, {&tiny, &tiny_four});
    run_shared<float>(target, {&wide, &wide_two}, 1);
    run_shared<float>(target, {&deep}, 1);
    run_rows<float>(target, {&one, &two, &tiny});
    run_rows<double>(target, {&tiny_four});
    check_special<float>(target, &one);
    check_special<double>(target, &one);
    for (SimpleContext* context : {&one, &four}) {
      check_small<float>(target, context);
      check_small<double>(target, context);
    }
    printf("%s: %ld checks, %d failures\n", target.name, (long)checked, failures);
  }
  return failures ? 1 : 0;
}
