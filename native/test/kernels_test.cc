// Checks every kernel but matmul, on every runnable target: against plain references in double or long
// double, over random shapes and strides, with zeros, infinities and NaN; the elementary functions on sweeps
// through all exponents, in units in the last place; and large calls with one thread against three, bit for
// bit. Build: g++ -std=c++20 -O2 -ffp-contract=off -pthread native/test/kernels_test.cc
// native/src/target_*.cc
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <string>

#include "simple_context.h"

using namespace simdgrad;

namespace {

// The attr of labelled kernels where every label counts.
constexpr double kNone = 2147483648.0;

int failures = 0;
int64_t checked = 0;
const char* target_name = "";
std::mt19937_64 rng(20240607);

int64_t below(int64_t n) { return static_cast<int64_t>(rng() % static_cast<uint64_t>(n)); }

void fail(const std::string& what) {
  if (++failures <= 40) std::printf("FAIL [%s] %s\n", target_name, what.c_str());
}

class TestContext : public SimpleContext {
 public:
  using SimpleContext::SimpleContext;
  bool fail_index(const char* kernel, int64_t index, int64_t position, int64_t bound) override {
    error = std::string(kernel) + ": index " + std::to_string(index) + " at position " +
            std::to_string(position) + " is outside [0, " + std::to_string(bound) + ")";
    return false;
  }
  void parallel(int64_t tasks, Task fn, void* arg, double ns) override {
    if (tasks > most_tasks) most_tasks = tasks;
    SimpleContext::parallel(tasks, fn, arg, ns);
  }
  std::string error;
  int64_t most_tasks = 0;
};

// ---- typed memory whose elements can be read and written as doubles ----

struct Memory {
  Type type = Type::F32;
  std::vector<double> aligned;  // 8-byte aligned storage
  int64_t length = 0;

  Memory() = default;
  Memory(Type t, int64_t n) : type(t), aligned(static_cast<size_t>(n) + 2), length(n) {}
  void* data() { return aligned.data(); }
  template <class T>
  T* as() {
    return reinterpret_cast<T*>(aligned.data());
  }
  double get(int64_t i) {
    switch (type) {
      case Type::F32:
        return as<float>()[i];
      case Type::F64:
        return as<double>()[i];
      case Type::I32:
        return as<int32_t>()[i];
      default:
        return as<uint8_t>()[i];
    }
  }
  void set(int64_t i, double v) {
    switch (type) {
      case Type::F32:
        as<float>()[i] = static_cast<float>(v);
        break;
      case Type::F64:
        as<double>()[i] = v;
        break;
      case Type::I32:
        as<int32_t>()[i] = static_cast<int32_t>(v);
        break;
      default:
        as<uint8_t>()[i] = static_cast<uint8_t>(v);
    }
  }
  Buffer buffer() { return {data(), length, type}; }
  bool same(Memory& other) { return std::memcmp(data(), other.data(), aligned.size() * 8) == 0; }
};

const char* type_name(Type t) {
  const char* names[] = {"f32", "f64", "i32", "u8"};
  return names[static_cast<int>(t)];
}

// NaN agrees with NaN; else |a - b| <= tolerance in units in the last place of the type around b, plus
// `extra`.
bool close(double a, double b, Type t, double ulps, double extra = 0) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (a == b) return true;
  if (std::isinf(a) || std::isinf(b)) return false;
  const double unit = t == Type::F32   ? std::max(std::ldexp(std::fabs(b), -23), std::ldexp(1.0, -149))
                      : t == Type::F64 ? std::max(std::ldexp(std::fabs(b), -52), 4.9e-324)
                                       : 0;
  return std::fabs(a - b) <= ulps * unit + extra;
}

double round_to(double x, Type t) { return t == Type::F32 ? static_cast<float>(x) : x; }

double sample(Type t) {
  switch (t) {
    case Type::I32: {
      static const int32_t special[] = {0, 1, -1, INT_MAX, INT_MIN, 7, -128, 65536};
      return below(4) ? static_cast<double>(below(2001) - 1000) : special[below(8)];
    }
    case Type::U8:
      return static_cast<double>(below(2));
    default:
      break;
  }
  static const double special[] = {0.0, -0.0, 1, -1, 2, INFINITY, -INFINITY, NAN, 1e-40, -3e38, 0.5, 1e10};
  if (below(8) == 0) return round_to(special[below(12)], t);
  return round_to(std::normal_distribution<double>(0, 3)(rng), t);
}

std::string list(const std::vector<double>& p) {
  std::string s;
  for (double x : p) s += std::to_string(static_cast<long long>(x)) + " ";
  return s;
}

bool call(const Target& target, int kernel, int type, const std::vector<double>& params,
          std::vector<Memory*> memory, Context& ctx) {
  std::vector<Buffer> buffers;
  for (Memory* m : memory) buffers.push_back(m->buffer());
  const Call c{params.data(), static_cast<int>(params.size()), buffers.data(),
               static_cast<int>(buffers.size())};
  const RunFn run = target.table.run[kernel][type];
  if (!run) {
    fail("no kernel " + std::to_string(kernel) + " for type " + std::to_string(type));
    return false;
  }
  return run(c, ctx);
}

// ---- map ----

// A strided view: strides for a shape, with its own memory. Zero strides only for inputs.
struct View {
  Memory memory;
  int64_t offset = 0;
  std::vector<int64_t> stride;

  View(Type t, const std::vector<int64_t>& shape, bool output, int style) : stride(shape.size()) {
    const int nd = static_cast<int>(shape.size());
    std::vector<int> order(shape.size());
    for (int d = 0; d < nd; ++d) order[d] = d;
    if (style == 2) std::shuffle(order.begin(), order.end(), rng);
    int64_t step = style == 3 ? 2 : 1, low = 0, high = 0;
    for (int k = nd - 1; k >= 0; --k) {
      const int d = order[k];
      stride[d] = step;
      if (!output && style >= 1 && below(3) == 0) {
        stride[d] = 0;
        continue;
      }
      step *= std::max<int64_t>(shape[d], 1);
      if (style == 3) step += below(3);
      if (style == 4 && below(2)) stride[d] = -stride[d];
      const int64_t reach = (std::max<int64_t>(shape[d], 1) - 1) * stride[d];
      (reach < 0 ? low : high) += reach;
    }
    offset = below(4) - low;
    memory = Memory(t, offset + high + 1 + below(4));
    for (int64_t i = 0; i < memory.length; ++i) memory.set(i, output ? 77 : sample(t));
  }
};

int64_t index_of(const std::vector<int64_t>& shape, const View& v, int64_t position) {
  int64_t where = v.offset;
  for (int d = static_cast<int>(shape.size()) - 1; d >= 0; --d) {
    where += position % shape[d] * v.stride[d];
    position /= shape[d];
  }
  return where;
}

using Reference = std::function<double(const double* x, const double* attrs)>;

struct MapCase {
  const char* name;
  int kernel, type;  // dispatch type
  Type out;
  std::vector<Type> in;
  std::vector<double> attrs;
  double ulps;
  Reference reference;
};

std::vector<int64_t> random_shape(int64_t limit) {
  std::vector<int64_t> shape(static_cast<size_t>(below(9)));
  int64_t total = 1;
  for (int64_t& s : shape) {
    s = below(12) == 0 ? 0 : below(5) ? 1 + below(4) : 1 + below(300);
    if (total * s > limit) s = 1;
    total *= std::max<int64_t>(s, 1);
  }
  return shape;
}

void check_map(const Target& target, const MapCase& c, Context& ctx, const std::vector<int64_t>& shape,
               bool in_place) {
  std::vector<View> views;
  const int style = static_cast<int>(below(5));
  views.emplace_back(c.out, shape, true, below(3) ? 0 : style == 1 ? 0 : style);
  for (Type t : c.in) views.emplace_back(t, shape, false, static_cast<int>(below(5)));
  in_place = in_place && !c.in.empty() && c.in[0] == c.out;
  if (in_place) {
    views[1].offset = views[0].offset;
    views[1].stride = views[0].stride;
    for (int64_t i = 0; i < views[0].memory.length; ++i) views[0].memory.set(i, sample(c.out));
    views[1].memory = views[0].memory;
  }
  Memory expected = views[0].memory;
  int64_t total = 1;
  for (int64_t s : shape) total *= s;
  std::vector<double> params{static_cast<double>(shape.size())};
  for (int64_t s : shape) params.push_back(static_cast<double>(s));
  for (const View& v : views) {
    params.push_back(static_cast<double>(v.offset));
    for (int64_t s : v.stride) params.push_back(static_cast<double>(s));
  }
  params.insert(params.end(), c.attrs.begin(), c.attrs.end());
  std::vector<Memory*> memory;
  for (View& v : views) memory.push_back(&v.memory);
  std::vector<double> want(static_cast<size_t>(total));
  for (int64_t i = 0; i < total; ++i) {
    double x[3] = {};
    for (size_t k = 0; k < c.in.size(); ++k) x[k] = views[k + 1].memory.get(index_of(shape, views[k + 1], i));
    want[i] = c.reference(x, c.attrs.data());
  }
  if (in_place) memory[1] = memory[0];
  call(target, c.kernel, c.type, params, memory, ctx);
  for (int64_t i = 0; i < total; ++i) {
    const int64_t at = index_of(shape, views[0], i);
    const double got = views[0].memory.get(at);
    ++checked;
    if (!close(got, want[i], c.out, c.ulps)) {
      fail(std::string(c.name) + " " + type_name(c.out) + " element " + std::to_string(i) + ": " +
           std::to_string(got) + ", expected " + std::to_string(want[i]) + (in_place ? " in place " : " ") +
           list(params));
      return;
    }
    expected.set(at, got);
  }
  // Nothing but the elements of the view was written.
  if (std::memcmp(expected.data(), views[0].memory.data(), expected.aligned.size() * 8) != 0) {
    bool nan = false;
    for (int64_t i = 0; i < expected.length; ++i) nan = nan || std::isnan(expected.get(i));
    if (!nan) fail(std::string(c.name) + " wrote outside its output " + list(params));
  }
}

double saturate(double x) {
  return std::isnan(x) ? 0 : std::trunc(std::min(std::max(x, -2147483648.0), 2147483647.0));
}
double wrap32(int64_t x) { return static_cast<int32_t>(static_cast<uint32_t>(static_cast<uint64_t>(x))); }

double cast_to(Type to, double x) {
  switch (to) {
    case Type::F32:
      return static_cast<float>(x);
    case Type::F64:
      return x;
    case Type::I32:
      return saturate(x);
    default:
      return x != 0;
  }
}

std::vector<MapCase> map_cases() {
  std::vector<MapCase> cases;
  const Type F[] = {Type::F32, Type::F64};
  const Type all[] = {Type::F32, Type::F64, Type::I32, Type::U8};
  auto add = [&](const char* name, int k, Type dispatch, Type out, std::vector<Type> in,
                 std::vector<double> attrs, double ulps, Reference f) {
    cases.push_back(
        {name, k, static_cast<int>(dispatch), out, std::move(in), std::move(attrs), ulps, std::move(f)});
  };
  for (Type t : F) {
    auto unary = [&](const char* name, int k, double ulps, double (*f)(double),
                     long double (*g)(long double)) {
      add(name, k, t, t, {t}, {}, ulps, [=](const double* x, const double*) {
        return t == Type::F32 ? round_to(f(x[0]), t) : static_cast<double>(g(x[0]));
      });
    };
    auto one = [&](const char* name, int k, std::vector<double> attrs, double ulps, Reference f) {
      add(name, k, t, t, {t}, std::move(attrs), ulps,
          [=](const double* x, const double* a) { return round_to(f(x, a), t); });
    };
    auto two = [&](const char* name, int k, std::vector<double> attrs, double ulps, Reference f) {
      add(name, k, t, t, {t, t}, std::move(attrs), ulps,
          [=](const double* x, const double* a) { return round_to(f(x, a), t); });
    };
    unary("exp", k_exp, 2, std::exp, expl);
    unary("expm1", k_expm1, 2, std::expm1, expm1l);
    unary("log", k_log, 2, std::log, logl);
    unary("log1p", k_log1p, 2, std::log1p, log1pl);
    unary("sin", k_sin, 2, std::sin, sinl);
    unary("cos", k_cos, 2, std::cos, cosl);
    unary("tanh", k_tanh, 2.5, std::tanh, tanhl);
    unary("erf", k_erf, 2.5, std::erf, erfl);
    unary("floor", k_floor, 0, std::floor, floorl);
    one("sqrt", k_sqrt, {}, 0, [](const double* x, const double*) { return std::sqrt(x[0]); });
    one("neg", k_neg, {}, 0, [](const double* x, const double*) { return -x[0]; });
    one("abs", k_abs, {}, 0, [](const double* x, const double*) { return std::fabs(x[0]); });
    one("sign", k_sign, {}, 0, [](const double* x, const double*) {
      return std::isnan(x[0]) ? NAN : static_cast<double>((x[0] > 0) - (x[0] < 0));
    });
    one("relu", k_relu, {}, 0, [](const double* x, const double*) { return x[0] <= 0 ? 0 : x[0]; });
    one("leakyRelu", k_leakyRelu, {0.125}, 0,
        [](const double* x, const double* a) { return x[0] > 0 ? x[0] : a[0] * x[0]; });
    one("sigmoid", k_sigmoid, {}, 2.5, [](const double* x, const double*) {
      return x[0] < 0 ? static_cast<double>(expl(x[0]) / (1 + expl(x[0])))
                      : static_cast<double>(1 / (1 + expl(-x[0])));
    });
    one("softplus", k_softplus, {}, 2.5, [](const double* x, const double*) {
      return std::isnan(x[0]) ? NAN
                              : static_cast<double>(std::max(x[0], 0.0) + log1pl(expl(-std::fabs(x[0]))));
    });
    one("clamp", k_clamp, {-1, 1.5}, 0, [](const double* x, const double* a) {
      return std::isnan(x[0]) ? NAN : std::min(std::max(x[0], a[0]), a[1]);
    });
    two("add", k_add, {}, 0, [](const double* x, const double*) { return x[0] + x[1]; });
    two("sub", k_sub, {}, 0, [](const double* x, const double*) { return x[0] - x[1]; });
    two("mul", k_mul, {}, 0, [](const double* x, const double*) { return x[0] * x[1]; });
    two("div", k_div, {}, 0, [](const double* x, const double*) { return x[0] / x[1]; });
    two("pow", k_pow, {}, 1, [](const double* x, const double*) { return std::pow(x[0], x[1]); });
    two("maximum", k_maximum, {}, 0, [](const double* x, const double*) {
      return std::isnan(x[0]) || std::isnan(x[1]) ? NAN : std::max(x[0], x[1]);
    });
    two("minimum", k_minimum, {}, 0, [](const double* x, const double*) {
      return std::isnan(x[0]) || std::isnan(x[1]) ? NAN : std::min(x[0], x[1]);
    });
    two("reluGrad", k_reluGrad, {}, 0, [](const double* x, const double*) { return x[1] > 0 ? x[0] : 0; });
    two("leakyReluGrad", k_leakyReluGrad, {0.25}, 0,
        [](const double* x, const double* a) { return x[1] > 0 ? x[0] : a[0] * x[0]; });
    two("sigmoidGrad", k_sigmoidGrad, {}, 0, [t](const double* x, const double*) {
      return round_to(round_to(x[0] * x[1], t) * round_to(1 - x[1], t), t);
    });
    two("tanhGrad", k_tanhGrad, {}, 0,
        [t](const double* x, const double*) { return x[0] * round_to(1 - round_to(x[1] * x[1], t), t); });
    two("axpby", k_axpby, {0.75, -1.5}, 0, [t](const double* x, const double* a) {
      return round_to(a[0] * x[0], t) + round_to(a[1] * x[1], t);
    });
    two("clampGrad", k_clampGrad, {-1, 1.5}, 0,
        [](const double* x, const double* a) { return x[1] >= a[0] && x[1] <= a[1] ? x[0] : 0; });
    add("isNan", k_isNan, t, Type::U8, {t}, {}, 0,
        [](const double* x, const double*) { return std::isnan(x[0]); });
    add("isFinite", k_isFinite, t, Type::U8, {t}, {}, 0,
        [](const double* x, const double*) { return std::isfinite(x[0]); });
  }
  const Type i = Type::I32, u = Type::U8;
  auto integer1 = [&](const char* name, int k, std::vector<double> attrs, Reference f) {
    add(name, k, i, i, {i}, std::move(attrs), 0, std::move(f));
  };
  auto integer2 = [&](const char* name, int k, int64_t (*f)(int64_t, int64_t)) {
    add(name, k, i, i, {i, i}, {}, 0, [=](const double* x, const double*) {
      return wrap32(f(static_cast<int64_t>(x[0]), static_cast<int64_t>(x[1])));
    });
  };
  integer1("neg", k_neg, {},
           [](const double* x, const double*) { return wrap32(-static_cast<int64_t>(x[0])); });
  integer1("abs", k_abs, {},
           [](const double* x, const double*) { return wrap32(std::llabs(static_cast<int64_t>(x[0]))); });
  integer1("sign", k_sign, {}, [](const double* x, const double*) { return (x[0] > 0) - (x[0] < 0); });
  integer1("relu", k_relu, {}, [](const double* x, const double*) { return std::max(x[0], 0.0); });
  integer1("clamp", k_clamp, {-5, 9e9}, [](const double* x, const double*) { return std::max(x[0], -5.0); });
  integer2("add", k_add, [](int64_t a, int64_t b) { return a + b; });
  integer2("sub", k_sub, [](int64_t a, int64_t b) { return a - b; });
  integer2("mul", k_mul, [](int64_t a, int64_t b) { return a * b; });
  integer2("maximum", k_maximum, [](int64_t a, int64_t b) { return std::max(a, b); });
  integer2("minimum", k_minimum, [](int64_t a, int64_t b) { return std::min(a, b); });
  for (Type t : all) {
    auto compare = [&](const char* name, int k, bool (*f)(double, double)) {
      add(name, k, t, u, {t, t}, {}, 0, [=](const double* x, const double*) { return f(x[0], x[1]); });
    };
    compare("eq", k_eq, [](double a, double b) { return a == b; });
    compare("ne", k_ne, [](double a, double b) { return a != b; });
    compare("lt", k_lt, [](double a, double b) { return a < b; });
    compare("le", k_le, [](double a, double b) { return a <= b; });
    compare("gt", k_gt, [](double a, double b) { return a > b; });
    compare("ge", k_ge, [](double a, double b) { return a >= b; });
    add("where", k_where, t, t, {u, t, t}, {}, 0,
        [](const double* x, const double*) { return x[0] != 0 ? x[1] : x[2]; });
    for (double value : {2.75, -1e10, 0.0, static_cast<double>(NAN)}) {
      add("fill", k_fill, t, t, {}, {value}, 0,
          [=](const double*, const double* a) { return cast_to(t, a[0]); });
    }
    for (Type from : all) {
      add("copy", k_copy, t, t, {from}, {}, 0,
          [=](const double* x, const double*) { return cast_to(t, x[0]); });
    }
  }
  add("logicalAnd", k_logicalAnd, u, u, {u, u}, {}, 0,
      [](const double* x, const double*) { return x[0] != 0 && x[1] != 0; });
  add("logicalOr", k_logicalOr, u, u, {u, u}, {}, 0,
      [](const double* x, const double*) { return x[0] != 0 || x[1] != 0; });
  add("logicalNot", k_logicalNot, u, u, {u}, {}, 0, [](const double* x, const double*) { return x[0] == 0; });
  return cases;
}

void test_map(const Target& target) {
  TestContext ctx(1);
  for (const MapCase& c : map_cases()) {
    for (int round = 0; round < 30; ++round) check_map(target, c, ctx, random_shape(3000), round % 3 == 0);
    for (int64_t n = 0; n < 40; ++n) check_map(target, c, ctx, {n}, false);
    check_map(target, c, ctx, {}, false);
    check_map(target, c, ctx, {7, 300}, false);
    // Long rows behind two axes; several tasks, whose limits lie within rows.
    for (int round = 0; round < 4; ++round) check_map(target, c, ctx, {5, 3, 130}, round % 2 == 0);
    check_map(target, c, ctx, {6, 71, 129}, false);
    check_map(target, c, ctx, {300, 10}, false);
    check_map(target, c, ctx, {2, 2, 2, 2, 2, 2, 2, 2}, true);
  }
}

// ---- units in the last place on sweeps ----

double ulp_distance(double got, long double exact, Type t) {
  if (std::isnan(static_cast<double>(exact))) return std::isnan(got) ? 0 : 1e30;
  const double rounded = t == Type::F32 ? static_cast<float>(exact) : static_cast<double>(exact);
  if (std::isinf(rounded) || std::isinf(got)) return got == rounded ? 0 : 1e30;
  if (rounded == 0 || got == 0) {
    if (got == rounded) return std::signbit(got) == std::signbit(rounded) ? 0 : 1e29;
  }
  int e;
  std::frexp(std::fabs(rounded), &e);
  const int bits = t == Type::F32 ? 24 : 53, least = t == Type::F32 ? -149 : -1074;
  const long double unit = std::ldexp(1.0L, std::max(e - bits, least));
  return static_cast<double>(std::fabs((static_cast<long double>(got) - exact) / unit));
}

void sweep(const Target& target, const char* name, int kernel, Type t, double limit,
           long double (*f)(long double)) {
  const int64_t n = t == Type::F32 ? 1 << 20 : 1 << 18;
  Memory in(t, n), out(t, n);
  for (int64_t i = 0; i < n; ++i) {
    if (i < 64) {
      static const double special[] = {0.0,    -0.0,   INFINITY, -INFINITY, NAN, 1e-45,
                                       -1e-45, 1e-310, -1e-310,  1,         -1};
      in.set(i, round_to(special[i % 11], t));
    } else if (t == Type::F32) {
      const uint32_t u = static_cast<uint32_t>(i) * 4093u + 17;  // odd step: all exponents, spread mantissas
      std::memcpy(in.as<float>() + i, &u, 4);
    } else if (i % 2) {
      const uint64_t u = rng();
      std::memcpy(in.as<double>() + i, &u, 8);
    } else {
      in.set(i, std::ldexp(std::normal_distribution<double>()(rng), static_cast<int>(below(20)) - 10));
    }
  }
  // Where functions change most, more densely.
  if (t == Type::F32) {
    for (int64_t i = n / 2; i < n; ++i)
      in.set(i, static_cast<float>(std::normal_distribution<double>()(rng) *
                                   std::ldexp(1.0, static_cast<int>(below(14)) - 7)));
  }
  TestContext ctx(1);
  call(target, kernel, static_cast<int>(t), {1, static_cast<double>(n), 0, 1, 0, 1}, {&out, &in}, ctx);
  double worst = 0, where = 0;
  for (int64_t i = 0; i < n; ++i) {
    ++checked;
    const double d = ulp_distance(out.get(i), f(in.get(i)), t);
    if (d > worst) worst = d, where = in.get(i);
  }
  std::printf("  %-8s %-9s %s  %.3f ulp at %.17g\n", target.name, name, type_name(t), worst, where);
  if (!(worst <= limit)) fail(std::string(name) + " is inaccurate");
}

long double sigmoidl(long double x) { return x < 0 ? expl(x) / (1 + expl(x)) : 1 / (1 + expl(-x)); }
long double softplusl(long double x) { return std::isnan(x) ? x : (x > 0 ? x : 0) + log1pl(expl(-fabsl(x))); }

// Copies of transposed matrices: every bit, also of NaNs, and nothing beyond a row of the result.
void test_transposed(const Target& target) {
  TestContext one(1), three(3);
  for (Type t : {Type::F32, Type::F64, Type::I32, Type::U8}) {
    const auto size = static_cast<size_t>(size_of(t));
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{16, 16},
                                     {300, 3},
                                     {3, 300},
                                     {67, 37},
                                     {64, 48},
                                     {129, 65},
                                     {1000, 17}}) {
      const int64_t in_step = rows + 2, out_step = cols + 3;
      Memory x(t, cols * in_step), y(t, rows * out_step);
      for (size_t i = 0; i < static_cast<size_t>(x.length) * size; ++i) x.as<uint8_t>()[i] = rng() & 255;
      for (TestContext* context : {&one, &three}) {
        std::memset(y.data(), 7, static_cast<size_t>(y.length) * size);
        const auto d = [](int64_t n) { return static_cast<double>(n); };
        call(target, k_copy, static_cast<int>(t), {2, d(rows), d(cols), 0, d(out_step), 1, 0, 1, d(in_step)},
             {&y, &x}, *context);
        bool equal = true;
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < out_step; ++c) {
            const uint8_t sevens[] = {7, 7, 7, 7, 7, 7, 7, 7};
            const void* want =
                c < cols ? x.as<uint8_t>() + static_cast<size_t>(r + c * in_step) * size : sevens;
            const void* got = y.as<uint8_t>() + static_cast<size_t>(r * out_step + c) * size;
            equal = equal && std::memcmp(got, want, size) == 0;
          }
        }
        ++checked;
        if (!equal) fail(std::string("copy of a transposed matrix, ") + type_name(t));
      }
    }
  }
}

void test_ulps(const Target& target) {
  for (Type t : {Type::F32, Type::F64}) {
    sweep(target, "exp", k_exp, t, 2, expl);
    sweep(target, "expm1", k_expm1, t, 2, expm1l);
    sweep(target, "log", k_log, t, 2, logl);
    sweep(target, "log1p", k_log1p, t, 2, log1pl);
    sweep(target, "tanh", k_tanh, t, 2, tanhl);
    sweep(target, "sigmoid", k_sigmoid, t, 2, sigmoidl);
    sweep(target, "softplus", k_softplus, t, 2, softplusl);
    sweep(target, "erf", k_erf, t, 2, erfl);
    sweep(target, "sqrt", k_sqrt, t, 0.5, sqrtl);
    sweep(target, "sin", k_sin, t, 2, sinl);
    sweep(target, "cos", k_cos, t, 2, cosl);
  }
}

// Sines near multiples of pi/2, where they nearly vanish and any error of the reduction shows, up to and over
// the largest argument that vectors reduce; and huge arguments, infinities and NaN among small ones.
void test_sines(const Target& target) {
  std::vector<float> x;
  const long double half_pi = acosl(-1.0L) / 2;
  for (int64_t n = 0; n < 100000; n = n < 45000 ? n + 1 : n + 7) {
    const float middle = static_cast<float>(static_cast<long double>(n) * half_pi);
    float below_it = middle, above = middle;
    for (int k = 0; k < 3; ++k) {
      x.push_back(below_it);
      x.push_back(-above);
      below_it = std::nextafter(below_it, 0.0f);
      above = std::nextafter(above, INFINITY);
    }
  }
  for (float limit : {8192.0f, 65536.0f}) {
    for (int k = -40; k <= 40; ++k) x.push_back(limit + static_cast<float>(k) / 16);
  }
  for (int k = 0; k < 3000; ++k) {
    static const float far[] = {INFINITY, -INFINITY, NAN, 3.4028235e38f, -1e30f, 16777216, 1e-45f, -0.0f};
    x.push_back(below(3) ? static_cast<float>(std::normal_distribution<double>(0, 5)(rng)) : far[below(8)]);
  }
  const int64_t n = static_cast<int64_t>(x.size());
  Memory in(Type::F32, n), out(Type::F32, n);
  for (int64_t i = 0; i < n; ++i) in.set(i, x[static_cast<size_t>(i)]);
  TestContext ctx(1);
  for (bool cosine : {false, true}) {
    call(target, cosine ? k_cos : k_sin, 0, {1, static_cast<double>(n), 0, 1, 0, 1}, {&out, &in}, ctx);
    double worst = 0, where = 0;
    for (int64_t i = 0; i < n; ++i, ++checked) {
      // 64 bits of mantissa leave the C library's own reduction accurate to far more than a float.
      const long double exact = cosine ? cosl(in.get(i)) : sinl(in.get(i));
      const double d = ulp_distance(out.get(i), exact, Type::F32);
      if (d > worst) worst = d, where = in.get(i);
      if (std::fabs(out.get(i)) > 1) fail("a sine above 1");
    }
    std::printf("  %-8s %-9s f32  %.3f ulp at %.17g\n", target.name, cosine ? "cosines" : "sines", worst,
                where);
    if (!(worst <= 2)) fail(cosine ? "cosines are inaccurate" : "sines are inaccurate");
  }
}

// ---- powers ----

// Every pair of special bases and exponents, and random bases; with the exponent as a broadcast number and as
// a tensor of mixed exponents, which must agree bit for bit wherever an element lies.
void test_pow(const Target& target) {
  TestContext ctx(1);
  for (Type t : {Type::F32, Type::F64}) {
    std::vector<double> bases{0.0, -0.0, 1, -1, 2, -2, 0.5, -0.5, 3, -3, 10, INFINITY, -INFINITY, NAN};
    const double edges32[] = {1e-45, 1.17549435e-38, 3.4028235e38, 1e-40, 1e13, 6.9e12, 1.9e19, 1e-15, 5e-13};
    const double edges64[] = {
        4.9e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 1e-310, 5e102, 6e102, 1.4e154, 1e-103,
        1e-107};
    for (int k = 0; k < 9; ++k) {
      const double edge = t == Type::F32 ? edges32[k] : edges64[k];
      for (double sign : {1.0, -1.0}) bases.push_back(round_to(sign * edge, t));
    }
    const std::vector<double> exponents{0.0,   -0.0,  1,    -1,   2,        -2,       3,         -3,   4,
                                        -4,    5,     -5,   7,    16,       -16,      0.5,       -0.5, 1.5,
                                        -1.5,  2.5,   -2.5, 0.25, 1.0 / 3,  INFINITY, -INFINITY, NAN,  1e10,
                                        -1e10, 1e-10, 17,   101,  16777215, 16777217, 3e38,      1e-40};
    for (int k = -140; k < 120; ++k) {
      bases.push_back(round_to(std::ldexp(std::normal_distribution<double>()(rng), k), t));
    }
    while (bases.size() < 1200) {
      const double scale = std::ldexp(1.0, static_cast<int>(below(60)) - 30);
      bases.push_back(round_to(std::normal_distribution<double>()(rng) * scale, t));
    }
    const int64_t n = static_cast<int64_t>(bases.size()), kinds = static_cast<int64_t>(exponents.size());
    std::vector<Memory> rows;
    double worst = 0, at_x = 0, at_y = 0;
    Memory x(t, n), one(t, 1);
    for (int64_t i = 0; i < n; ++i) x.set(i, bases[static_cast<size_t>(i)]);
    for (double exponent : exponents) {
      one.set(0, exponent);
      rows.emplace_back(t, n);
      Memory& out = rows.back();
      call(target, k_pow, static_cast<int>(t), {1, static_cast<double>(n), 0, 1, 0, 1, 0, 0},
           {&out, &x, &one}, ctx);
      for (int64_t i = 0; i < n; ++i, ++checked) {
        const long double exact =
            powl(static_cast<long double>(x.get(i)), static_cast<long double>(one.get(0)));
        const double d = ulp_distance(out.get(i), exact, t);
        if (d > worst) worst = d, at_x = x.get(i), at_y = one.get(0);
      }
    }
    std::printf("  %-8s pow       %s  %.3f ulp at %.17g ^ %.17g\n", target.name, type_name(t), worst, at_x,
                at_y);
    if (!(worst <= 1)) fail("pow is inaccurate");
    for (int round = 0; round < 60; ++round) {
      const int64_t first = below(40), m = n - first;
      Memory y(t, m), part(t, m), out(t, m);
      std::vector<int64_t> kind(static_cast<size_t>(m));
      for (int64_t i = 0; i < m; ++i) {
        // Often one of those that have short ways; they are among the first.
        kind[static_cast<size_t>(i)] = below(below(2) ? kinds : 18);
        y.set(i, exponents[static_cast<size_t>(kind[static_cast<size_t>(i)])]);
        part.set(i, x.get(first + i));
      }
      call(target, k_pow, static_cast<int>(t), {1, static_cast<double>(m), 0, 1, 0, 1, 0, 1},
           {&out, &part, &y}, ctx);
      for (int64_t i = 0; i < m; ++i) {
        const double a = out.get(i),
                     b = rows[static_cast<size_t>(kind[static_cast<size_t>(i)])].get(first + i);
        if (!(a == b && std::signbit(a) == std::signbit(b)) && !(std::isnan(a) && std::isnan(b))) {
          fail("pow depends on its neighbours: " + std::to_string(part.get(i)) + " ^ " +
               std::to_string(y.get(i)));
          break;
        }
      }
    }
  }
}

// ---- reduce ----

void test_reduce(const Target& target) {
  struct Kind {
    const char* name;
    int kernel;
  };
  const Kind kinds[] = {{"sum", k_sum},
                        {"sumSquares", k_sumSquares},
                        {"sumSquaredDeviations", k_sumSquaredDeviations},
                        {"prod", k_prod},
                        {"max", k_max},
                        {"min", k_min},
                        {"argmax", k_argmax},
                        {"argmin", k_argmin}};
  TestContext ctx(1);
  for (const Kind& kind : kinds) {
    for (Type t : {Type::F32, Type::F64, Type::I32}) {
      const bool squares = kind.kernel == k_sumSquares || kind.kernel == k_sumSquaredDeviations;
      if ((kind.kernel == k_prod || squares) && t == Type::I32) continue;
      const bool arg = kind.kernel == k_argmax || kind.kernel == k_argmin;
      for (int round = 0; round < 150; ++round) {
        const std::vector<int64_t> shape = random_shape(20000);
        const int nd = static_cast<int>(shape.size()), nk = static_cast<int>(below(nd + 1)), nr = nd - nk;
        View x(t, shape, true, static_cast<int>(below(5)));  // no zero strides, or:
        if (round % 5 == 0) x = View(t, shape, false, static_cast<int>(below(5)));
        const bool plain = round % 2;  // without infinities and NaN
        for (int64_t i = 0; i < x.memory.length; ++i) {
          double v = sample(t);
          if (t == Type::F32 && v < -1e38 && v > -INFINITY)
            v = -1e10;  // float sums overflow in one order, not in another
          if (plain && t != Type::I32) v = round_to(std::normal_distribution<double>(1, 0.1)(rng), t);
          if (squares && std::fabs(v) > 1e15 && std::isfinite(v)) v = 1e15;
          x.memory.set(i, v);
        }
        int64_t kept = 1, reduced = 1;
        for (int d = 0; d < nd; ++d) (d < nk ? kept : reduced) *= shape[d];
        if (reduced == 0 && kind.kernel != k_sum && kind.kernel != k_prod && !squares) continue;
        if (kind.kernel == k_prod && !plain) continue;
        const int64_t offset = below(3);
        Memory out(arg ? Type::I32 : t, kept + offset + 2);
        for (int64_t i = 0; i < out.length; ++i) out.set(i, 77);
        const double scale = t == Type::I32 ? 1 : 0.5;
        std::vector<double> p{static_cast<double>(nk), static_cast<double>(nr)};
        for (int64_t s : shape) p.push_back(static_cast<double>(s));
        p.push_back(static_cast<double>(offset));
        p.push_back(static_cast<double>(x.offset));
        for (int64_t s : x.stride) p.push_back(static_cast<double>(s));
        if (kind.kernel == k_sum || squares) p.push_back(scale);
        call(target, kind.kernel, static_cast<int>(t), p, {&out, &x.memory}, ctx);
        for (int64_t o = 0; o < kept; ++o) {
          long double sum = 0, size = 0, prod = 1, of_squares = 0, spread = 0;
          int64_t wrapped = 0, arg_max = 0, arg_min = 0;
          double hi = -INFINITY, lo = INFINITY;
          double best_hi = NAN, best_lo = NAN;
          for (int64_t r = 0; r < reduced; ++r) {
            const double v = x.memory.get(index_of(shape, x, o * reduced + r));
            sum += v;
            size += std::fabs(v);
            of_squares += static_cast<long double>(v) * v;
            prod *= v;
            wrapped += t == Type::I32 ? static_cast<int64_t>(v) : 0;
            hi = std::isnan(hi) || std::isnan(v) ? NAN : std::max(hi, v);
            lo = std::isnan(lo) || std::isnan(v) ? NAN : std::min(lo, v);
            if (r == 0) best_hi = best_lo = v;
            if (v > best_hi || (std::isnan(v) && !std::isnan(best_hi))) best_hi = v, arg_max = r;
            if (v < best_lo || (std::isnan(v) && !std::isnan(best_lo))) best_lo = v, arg_min = r;
          }
          for (int64_t r = 0; r < reduced && kind.kernel == k_sumSquaredDeviations; ++r) {
            const long double d = x.memory.get(index_of(shape, x, o * reduced + r)) - sum / reduced;
            spread += d * d;
          }
          double want = 0, extra = 0, ulps = 0;
          switch (kind.kernel) {
            case k_sumSquares:
              want = static_cast<double>(of_squares * scale);
              extra = std::isfinite(want) ? want * (t == Type::F32 ? 1e-6 : 2e-15) : 0;
              break;
            case k_sumSquaredDeviations:
              want = static_cast<double>(spread * scale);
              // All deviations are from the first element first, which may be the one that is far away.
              extra = !std::isfinite(want) ? 0
                      : plain              ? want * (t == Type::F32 ? 4e-6 : 1e-14)
                              : static_cast<double>(of_squares) * (t == Type::F32 ? 1e-5 : 2e-14);
              break;
            case k_sum:
              want = t == Type::I32 ? wrap32(wrapped) : static_cast<double>(sum * scale);
              // Blocks of 1024 are added in T; the bound is far below that of a plain float sum.
              extra = t == Type::I32 || !std::isfinite(static_cast<double>(size))
                          ? 0
                          : static_cast<double>(size) * (t == Type::F32 ? 1e-6 : 2e-15);
              break;
            case k_prod:
              want = static_cast<double>(prod);
              ulps = t == Type::F32 ? 1 : 4 + std::sqrt(static_cast<double>(reduced)) * 8;
              want = round_to(want, t);
              break;
            case k_max:
              want = hi;
              break;
            case k_min:
              want = lo;
              break;
            case k_argmax:
              want = static_cast<double>(arg_max);
              break;
            default:
              want = static_cast<double>(arg_min);
          }
          ++checked;
          const double got = out.get(offset + o);
          if (!close(got, round_to(want, arg ? Type::F64 : t), out.type, ulps, extra)) {
            fail(std::string(kind.name) + " " + type_name(t) + " output " + std::to_string(o) + ": " +
                 std::to_string(got) + ", expected " + std::to_string(want) + " params " + list(p));
            break;
          }
        }
        for (int64_t i = 0; i < out.length; ++i) {
          if ((i < offset || i >= offset + kept) && out.get(i) != 77)
            fail(std::string(kind.name) + " wrote outside its output");
        }
      }
    }
  }
}

// ---- countLabels ----

void test_count_labels(const Target& target) {
  TestContext ctx(1);
  for (Type t : {Type::F32, Type::F64}) {
    for (int round = 0; round < 300; ++round) {
      const std::vector<int64_t> shape = random_shape(20000);
      const int nd = static_cast<int>(shape.size()), nk = static_cast<int>(below(nd + 1));
      View x(Type::I32, shape, false, static_cast<int>(below(5)));
      for (int64_t i = 0; i < x.memory.length; ++i) x.memory.set(i, static_cast<double>(below(3) - 1));
      const double ignores[] = {-1, 0, 5, INT_MIN, kNone, 0.5, NAN, -INFINITY};
      const double ignore = ignores[below(8)];
      int64_t kept = 1, reduced = 1;
      for (int d = 0; d < nd; ++d) (d < nk ? kept : reduced) *= shape[d];
      Memory out(t, kept + 1);
      out.set(kept, 77);
      std::vector<double> p{static_cast<double>(nk), static_cast<double>(nd - nk)};
      for (int64_t s : shape) p.push_back(static_cast<double>(s));
      p.push_back(0);
      p.push_back(static_cast<double>(x.offset));
      for (int64_t s : x.stride) p.push_back(static_cast<double>(s));
      p.push_back(ignore);
      call(target, k_countLabels, static_cast<int>(t), p, {&out, &x.memory}, ctx);
      for (int64_t o = 0; o < kept; ++o) {
        double want = 0;
        for (int64_t r = 0; r < reduced; ++r) {
          want += x.memory.get(index_of(shape, x, o * reduced + r)) != ignore;
        }
        ++checked;
        if (out.get(o) != want) {
          fail("countLabels: " + std::to_string(out.get(o)) + ", expected " + std::to_string(want));
        }
      }
      if (out.get(kept) != 77) fail("countLabels wrote outside its output");
    }
  }
}

// ---- rows ----

template <class T>
void test_rows(const Target& target, Type t) {
  TestContext ctx(1);
  const int type = static_cast<int>(t);
  const double eps = t == Type::F32 ? 1.2e-7 : 2.3e-16;
  const int64_t sizes[] = {0,  1,  2,  3,  4,  5,   7,    8,    9,    10,    15,
                           16, 17, 31, 33, 64, 100, 1023, 1025, 3000, 100000};
  for (int64_t cols : sizes) {
    for (int flavour = 0; flavour < 6; ++flavour) {
      const int64_t rows = cols > 2000 ? 2 : flavour % 2 || cols > 100 ? 5 : 37;
      const int64_t off = below(3);
      const int64_t n = rows * cols;
      Memory x(t, off + n + 1), y(t, off + n + 1), ls(t, off + n + 1), lse(t, rows), g(t, n + 1),
          dx(t, n + 1);
      for (int64_t i = 0; i < x.length; ++i)
        x.set(i, round_to(std::normal_distribution<double>(0, flavour == 1 ? 100 : 2)(rng), t));
      for (int64_t i = 0; i < n; ++i) g.set(i, round_to(std::normal_distribution<double>()(rng), t));
      if (cols > 0 && flavour >= 2) {
        const double special[] = {INFINITY, NAN, -INFINITY};
        if (flavour < 5) x.set(off + below(cols), special[flavour - 2]);
        if (flavour == 5) {
          for (int64_t j = 0; j < cols; ++j) x.set(off + j, -INFINITY);
          for (int64_t j = 0; j < cols; ++j) x.set(off + cols + j, 1e4);
        }
      }
      const double R = static_cast<double>(rows), C = static_cast<double>(cols), O = static_cast<double>(off);
      call(target, k_softmax, type, {R, C, 1, O, O}, {&y, &x}, ctx);
      call(target, k_logSoftmax, type, {R, C, 1, O, O}, {&ls, &x}, ctx);
      call(target, k_logSumExp, type, {R, C, 1, 0, O}, {&lse, &x}, ctx);
      call(target, k_softmaxGrad, type, {R, C, 1, 0, 0, O}, {&dx, &g, &y}, ctx);
      Memory dls(t, n + 1);
      call(target, k_logSoftmaxGrad, type, {R, C, 1, 0, 0, O}, {&dls, &g, &ls}, ctx);
      for (int64_t r = 0; r < rows; ++r) {
        long double m = -INFINITY, sum = 0, dot = 0, gsum = 0, size = 0;
        bool nan = false;
        for (int64_t j = 0; j < cols; ++j) {
          const double v = x.get(off + r * cols + j);
          nan = nan || std::isnan(v);
          m = std::max<long double>(m, v);
        }
        for (int64_t j = 0; j < cols; ++j) {
          sum += expl(x.get(off + r * cols + j) - m);
          dot += static_cast<long double>(g.get(r * cols + j)) * y.get(off + r * cols + j);
          size += fabsl(static_cast<long double>(g.get(r * cols + j)) * y.get(off + r * cols + j));
          gsum += g.get(r * cols + j);
        }
        const double total = nan             ? NAN
                             : std::isinf(m) ? static_cast<double>(m)
                                             : static_cast<double>(m + logl(sum));
        ++checked;
        if (!close(lse.get(r), round_to(total, t), t, 3, 3 * eps)) {
          fail("logSumExp " + std::to_string(cols) + " flavour " + std::to_string(flavour) + ": " +
               std::to_string(lse.get(r)) + " expected " + std::to_string(total));
        }
        long double gross = 0;
        for (int64_t j = 0; j < cols; ++j) gross += std::fabs(g.get(r * cols + j));
        for (int64_t j = 0; j < cols; ++j) {
          const int64_t i = r * cols + j;
          const double v = x.get(off + i);
          const bool bad = nan || std::isinf(m);
          const double soft = bad ? NAN : static_cast<double>(expl(v - m) / sum);
          const double log_soft = bad ? NAN : static_cast<double>(v - m - logl(sum));
          ++checked;
          if (bad && m == -INFINITY && !nan && cols == 0) continue;
          if (!close(y.get(off + i), round_to(soft, t), t, 5 + std::fabs(static_cast<double>(v - m))))
            fail("softmax " + std::to_string(cols) + " flavour " + std::to_string(flavour) + " : " +
                 std::to_string(y.get(off + i)) + " expected " + std::to_string(soft));
          if (!close(ls.get(off + i), round_to(log_soft, t), t, 2,
                     3 * eps * std::max(1.0, std::log(static_cast<double>(cols)))))
            fail("logSoftmax " + std::to_string(cols) + " flavour " + std::to_string(flavour) + ": " +
                 std::to_string(ls.get(off + i)) + " expected " + std::to_string(log_soft));
          const double ds = static_cast<double>(y.get(off + i) * (g.get(i) - dot));
          if (!close(dx.get(i), ds, t, 4, bad ? 0 : static_cast<double>(y.get(off + i) * size) * 8 * eps))
            fail("softmaxGrad " + std::to_string(cols));
          const double dl = static_cast<double>(g.get(i) - expl(ls.get(off + i)) * gsum);
          if (!close(dls.get(i), dl, t, 4,
                     bad ? 0 : static_cast<double>(expl(ls.get(off + i)) * gross) * 8 * eps)) {
            fail("logSoftmaxGrad " + std::to_string(cols) + ": " + std::to_string(dls.get(i)) + " expected " +
                 std::to_string(dl));
          }
        }
      }
      // In place gives the same.
      Memory copy = x;
      call(target, k_softmax, type, {R, C, 1, O, O}, {&copy, &copy}, ctx);
      if (n > 0 && std::memcmp(copy.as<T>() + off, y.as<T>() + off, static_cast<size_t>(n) * sizeof(T)) != 0)
        fail("softmax in place");

      // The losses, and that the fused kernels have the bits of the two they stand for.
      if (cols == 0) continue;
      Memory label(Type::I32, rows), loss(t, rows), loss2(t, rows), lp(t, n), gr(t, rows), d1(t, n), d2(t, n),
          d3(t, n);
      for (int64_t r = 0; r < rows; ++r) label.set(r, static_cast<double>(below(cols)));
      for (int64_t r = 0; r < rows; ++r)
        gr.set(r, r == 0 ? 0.0 : round_to(std::normal_distribution<double>()(rng), t));
      call(target, k_crossEntropy, type, {R, C, 0, 0, O, 0, kNone}, {&loss, &lp, &x, &label}, ctx);
      call(target, k_nll, type, {R, C, 0, O, 0, kNone}, {&loss2, &ls, &label}, ctx);
      call(target, k_nllGrad, type, {R, C, 0, 0, 0, kNone}, {&d1, &gr, &label}, ctx);
      call(target, k_logSoftmaxGrad, type, {R, C, 1, 0, 0, 0}, {&d2, &d1, &lp}, ctx);
      call(target, k_crossEntropyGrad, type, {R, C, 0, 0, 0, 0, kNone}, {&d3, &gr, &lp, &label}, ctx);
      checked += 3 * n;
      if (std::memcmp(lp.data(), ls.as<T>() + off, static_cast<size_t>(n) * sizeof(T)) != 0)
        fail("crossEntropy: other bits than logSoftmax");
      if (!loss.same(loss2)) fail("crossEntropy: other bits than nll");
      for (int64_t i = 0; i < n; ++i) {
        const double want = i % cols == label.get(i / cols) ? -gr.get(i / cols) : 0;
        if (d1.get(i) != want) fail("nllGrad");
        const double a = d2.get(i), b = d3.get(i);
        if (std::isnan(a) ? !std::isnan(b) : (a != b || std::signbit(a) != std::signbit(b))) {
          fail("crossEntropyGrad: other bits than logSoftmaxGrad of nllGrad");
          break;
        }
      }
      // A row alone has the bits that it has among others.
      for (int64_t r = 0; r < rows && cols <= 100; ++r) {
        const double at = static_cast<double>(r * cols), from = static_cast<double>(off + r * cols);
        const double row = static_cast<double>(r);
        struct Alone {
          const char* name;
          int kernel;
          std::vector<double> params;
          std::vector<Memory*> inputs;
          Memory* all;
          int64_t begin, count;
        };
        const Alone kernels[] = {
            {"softmax", k_softmax, {1, C, 1, 0, from}, {&x}, &y, off + r * cols, cols},
            {"logSoftmax", k_logSoftmax, {1, C, 1, 0, from}, {&x}, &ls, off + r * cols, cols},
            {"logSumExp", k_logSumExp, {1, C, 1, 0, from}, {&x}, &lse, r, 1},
            {"softmaxGrad", k_softmaxGrad, {1, C, 1, 0, at, from}, {&g, &y}, &dx, r * cols, cols},
            {"logSoftmaxGrad", k_logSoftmaxGrad, {1, C, 1, 0, at, from}, {&g, &ls}, &dls, r * cols, cols},
            {"crossEntropyGrad",
             k_crossEntropyGrad,
             {1, C, 0, row, at, row, kNone},
             {&gr, &lp, &label},
             &d3,
             r * cols,
             cols},
        };
        for (const Alone& k : kernels) {
          Memory out(t, cols);
          std::vector<Memory*> memory{&out};
          memory.insert(memory.end(), k.inputs.begin(), k.inputs.end());
          call(target, k.kernel, type, k.params, memory, ctx);
          ++checked;
          if (std::memcmp(out.data(), k.all->template as<T>() + k.begin,
                          static_cast<size_t>(k.count) * sizeof(T)) != 0)
            fail(std::string(k.name) + ": other bits alone, row " + std::to_string(r) + " of " +
                 std::to_string(cols));
        }
        Memory one_loss(t, 1), one_lp(t, cols);
        call(target, k_crossEntropy, type, {1, C, 0, 0, from, row, kNone}, {&one_loss, &one_lp, &x, &label},
             ctx);
        if (std::memcmp(one_loss.data(), loss.as<T>() + r, sizeof(T)) != 0 ||
            std::memcmp(one_lp.data(), lp.as<T>() + r * cols, static_cast<size_t>(cols) * sizeof(T)) != 0)
          fail("crossEntropy: other bits alone");
      }
      // Ignored rows: one with a label that another row has too, one with a label that is none.
      for (double ignore : {label.get(0), -100.0}) {
        Memory some = label, lost(t, rows), lost2(t, rows);
        some.set(rows - 1, ignore);
        call(target, k_crossEntropy, type, {R, C, 0, 0, O, 0, ignore}, {&lost, &lp, &x, &some}, ctx);
        call(target, k_nll, type, {R, C, 0, O, 0, ignore}, {&lost2, &ls, &some}, ctx);
        call(target, k_nllGrad, type, {R, C, 0, 0, 0, ignore}, {&d1, &gr, &some}, ctx);
        call(target, k_logSoftmaxGrad, type, {R, C, 1, 0, 0, 0}, {&d2, &d1, &lp}, ctx);
        call(target, k_crossEntropyGrad, type, {R, C, 0, 0, 0, 0, ignore}, {&d3, &gr, &lp, &some}, ctx);
        if (!lost.same(lost2)) fail("crossEntropy: other bits than nll, ignoring rows");
        for (int64_t r = 0; r < rows; ++r) {
          const bool ignored = some.get(r) == ignore;
          const double got = lost.get(r), all = loss.get(r);
          if (!(ignored ? got == 0 : got == all || (std::isnan(got) && std::isnan(all))))
            fail("the loss of an ignored row");
        }
        for (int64_t i = 0; i < n; ++i) {
          const bool ignored = some.get(i / cols) == ignore;
          if (ignored && (d1.get(i) != 0 || !(d3.get(i) == 0 || std::isnan(lp.get(i)))))
            fail("the gradient of an ignored row");
          const double a = d2.get(i), b = d3.get(i);
          if (std::isnan(a) ? !std::isnan(b) : (a != b || std::signbit(a) != std::signbit(b))) {
            fail("crossEntropyGrad: other bits than logSoftmaxGrad of nllGrad, ignoring rows");
            break;
          }
        }
      }
      for (int64_t r = 0; r < rows; ++r) {
        if (!close(loss2.get(r), -ls.get(off + r * cols + static_cast<int64_t>(label.get(r))), t, 0))
          fail("nll");
      }
      for (double wrong : {-1.0, C, 2147483647.0, -2147483648.0}) {
        label.set(rows - 1, wrong);
        Memory before = loss;
        ctx.error.clear();
        if (call(target, k_crossEntropy, type, {R, C, 0, 0, O, 0, kNone}, {&loss, &lp, &x, &label}, ctx))
          fail("a wrong label passed");
        const std::string want = "crossEntropy: index " + std::to_string(static_cast<long long>(wrong)) +
                                 " at position " + std::to_string(rows - 1) + " is outside [0, " +
                                 std::to_string(cols) + ")";
        if (ctx.error != want) fail("error: " + ctx.error);
        if (!before.same(loss)) fail("crossEntropy wrote before it checked");
        if (call(target, k_nll, type, {R, C, 0, O, 0, kNone}, {&loss2, &ls, &label}, ctx))
          fail("nll: a wrong label passed");
        if (call(target, k_nllGrad, type, {R, C, 0, 0, 0, kNone}, {&d1, &gr, &label}, ctx))
          fail("nllGrad: a wrong label passed");
        if (call(target, k_crossEntropyGrad, type, {R, C, 0, 0, 0, 0, kNone}, {&d3, &gr, &lp, &label}, ctx))
          fail("crossEntropyGrad: a wrong label passed");
      }
    }
  }
}

// ---- index ----

// Along other axes than the last: as the kernels on rows, of the columns laid out as rows. Running sums.
template <class T>
void test_axis(const Target& target, Type t) {
  TestContext ctx(1);
  const int type = static_cast<int>(t);
  const double eps = t == Type::F32 ? 1.2e-7 : 2.3e-16;
  const int64_t inners[] = {2, 3, 7, 16, 17, 32, 63, 64, 65, 130, 200};
  const int64_t sizes[] = {0, 1, 2, 5, 63, 64, 65, 129, 3000};
  for (int64_t inner : inners) {
    for (int64_t n : sizes) {
      const int64_t outer = n > 1000 ? 1 : 1 + below(3), off = below(3), all = outer * n * inner;
      const double A = static_cast<double>(outer), N = static_cast<double>(n), I = static_cast<double>(inner),
                   O = static_cast<double>(off), rows = A * I;
      Memory x(t, all + off), xt(t, all), g(t, all), gt(t, all);
      for (int64_t i = 0; i < all; ++i) {
        double v = round_to(std::normal_distribution<double>(0, 3)(rng), t);
        if (below(400) == 0) v = INFINITY;
        if (below(400) == 0) v = NAN;
        if (below(10) == 0) v = -INFINITY;
        x.set(off + i, v);
        g.set(i, round_to(std::normal_distribution<double>()(rng), t));
      }
      auto row_of = [&](int64_t i) {  // where element i of the columns is in the rows
        const int64_t o = i / (n * inner), k = i / inner % n, j = i % inner;
        return (o * inner + j) * n + k;
      };
      for (int64_t i = 0; i < all; ++i) {
        xt.set(row_of(i), x.get(off + i));
        gt.set(row_of(i), g.get(i));
      }
      auto check = [&](const char* name, int kernel, const std::vector<Memory*>& in,
                       const std::vector<Memory*>& by_rows, Memory& y, double slack) {
        const bool one = kernel == k_logSumExp;
        const int64_t count = one ? outer * inner : all;
        Memory want(t, count);
        y = Memory(t, count + 2);
        for (int64_t i = 0; i < count + 2; ++i) y.set(i, 77);
        std::vector<double> p{A, N, I, 1}, q{rows, N, 1, 0};
        for (Memory* m : in) p.push_back(m == &x ? O : m == &g ? 0 : 1);
        for (size_t i = 0; i < by_rows.size(); ++i) q.push_back(0);
        std::vector<Memory*> a{&y}, b{&want};
        a.insert(a.end(), in.begin(), in.end());
        b.insert(b.end(), by_rows.begin(), by_rows.end());
        call(target, kernel, type, p, a, ctx);
        call(target, kernel, type, q, b, ctx);
        if (y.get(0) != 77 || y.get(count + 1) != 77) fail(std::string(name) + " wrote outside its output");
        for (int64_t i = 0; i < count; ++i) {
          ++checked;
          const double w = want.get(one ? i : row_of(i));
          // Both sums are of numbers rounded to T, in another order.
          if (!close(y.get(1 + i), w, t, 8, slack)) {
            fail(std::string(name) + " of " + list(p) + " element " + std::to_string(i) + ": " +
                 std::to_string(y.get(1 + i)) + ", by rows " + std::to_string(w));
            break;
          }
        }
        return want;
      };
      Memory y, ls, ignored;
      Memory yt = check("softmax", k_softmax, {&x}, {&xt}, y, 0);
      Memory lt = check("logSoftmax", k_logSoftmax, {&x}, {&xt}, ls, 8 * eps);
      check("logSumExp", k_logSumExp, {&x}, {&xt}, ignored, 4 * eps);
      check("softmaxGrad", k_softmaxGrad, {&g, &y}, {&gt, &yt}, ignored, 40 * eps);
      check("logSoftmaxGrad", k_logSoftmaxGrad, {&g, &ls}, {&gt, &lt}, ignored,
            40 * eps * (n > 1000 ? 10 : 1));
      Memory copy = x;
      call(target, k_softmax, type, {A, N, I, O, O}, {&copy, &copy}, ctx);
      if (all > 0 &&
          std::memcmp(copy.as<T>() + off, y.as<T>() + 1, static_cast<size_t>(all) * sizeof(T)) != 0)
        fail("softmax along an axis, in place");
    }
  }
}

void test_cumsum(const Target& target, Type t) {
  TestContext ctx(1);
  const int64_t sizes[] = {0, 1, 2, 7, 15, 16, 17, 40, 100, 1000, 8191, 8192, 20011};
  for (int64_t n : sizes) {
    for (int64_t inner : {1, 1, 2, 5, 16, 1025}) {
      for (int reverse = 0; reverse < 2; ++reverse) {
        if (n * inner > 300000) continue;
        const int64_t outer = n > 5000 ? 1 + below(2) : 1 + below(40), off = below(3),
                      all = outer * n * inner;
        const int flavour = static_cast<int>(below(4));
        Memory x(t, all + off), y(t, all + 2);
        for (int64_t i = 0; i < all; ++i) {
          double v = t == Type::I32
                         ? static_cast<double>(static_cast<int32_t>(rng()))
                         : round_to(std::normal_distribution<double>(flavour == 1 ? 1000 : 0, 1)(rng), t);
          if (flavour == 2 && t != Type::I32 && below(300) == 0) v = INFINITY;
          if (flavour == 3 && t != Type::I32 && below(300) == 0) v = below(2) ? NAN : -INFINITY;
          x.set(off + i, v);
        }
        y.set(0, 77), y.set(all + 1, 77);
        const std::vector<double> p{double(outer), double(n), double(inner), 1, double(off), double(reverse)};
        call(target, k_cumsum, static_cast<int>(t), p, {&y, &x}, ctx);
        if (y.get(0) != 77 || y.get(all + 1) != 77) fail("cumsum wrote outside its output");
        for (int64_t line = 0; line < outer * inner; ++line) {
          long double sum = 0, size = 0;
          uint32_t wrapped = 0;
          for (int64_t k = 0; k < n; ++k) {
            const int64_t i = (line / inner * n + (reverse ? n - 1 - k : k)) * inner + line % inner;
            const double v = x.get(off + i);
            sum += v;
            size += std::isfinite(v) ? std::fabs(v) : 0;
            if (t == Type::I32) wrapped += static_cast<uint32_t>(static_cast<int32_t>(v));
            const double want = t == Type::I32 ? static_cast<double>(static_cast<int32_t>(wrapped))
                                               : static_cast<double>(sum);
            ++checked;
            if (!close(y.get(1 + i), t == Type::I32 ? want : round_to(want, t), t, 1,
                       static_cast<double>(size) * 1e-15)) {
              fail(std::string("cumsum ") + type_name(t) + " of " + list(p) + " element " +
                   std::to_string(i) + ": " + std::to_string(y.get(1 + i)) + ", expected " +
                   std::to_string(want));
              k = n, line = outer * inner;
            }
          }
        }
      }
    }
  }
}

void test_index(const Target& target) {
  TestContext ctx(1);
  for (Type t : {Type::F32, Type::F64, Type::I32, Type::U8}) {
    for (int round = 0; round < 120; ++round) {
      const int64_t outer = below(4), n = 1 + below(6), inner = round % 4 == 0 ? 1 : below(40),
                    count = below(9);
      const bool elementwise = round % 2;
      const int64_t indices = elementwise ? outer * count * inner : count;
      const int64_t off = below(3);
      Memory x(t, outer * n * inner + off), out(t, outer * count * inner + off),
          idx(Type::I32, indices + off);
      for (int64_t i = 0; i < x.length; ++i) x.set(i, sample(t));
      for (int64_t i = 0; i < indices; ++i) idx.set(i + off, static_cast<double>(below(n)));
      const double O = static_cast<double>(off);
      const std::vector<double> p{static_cast<double>(outer),
                                  static_cast<double>(n),
                                  static_cast<double>(inner),
                                  static_cast<double>(count),
                                  O,
                                  O,
                                  O};
      const int kernel = elementwise ? k_gather : k_indexSelect;
      if (!call(target, kernel, static_cast<int>(t), p, {&out, &x, &idx}, ctx)) fail("gather refused");
      auto source = [&](int64_t o, int64_t k, int64_t j) {
        const int64_t at = elementwise ? (o * count + k) * inner + j : k;
        return (o * n + static_cast<int64_t>(idx.get(at + off))) * inner + j;
      };
      for (int64_t o = 0; o < outer; ++o)
        for (int64_t k = 0; k < count; ++k)
          for (int64_t j = 0; j < inner; ++j) {
            ++checked;
            if (!close(out.get(off + (o * count + k) * inner + j), x.get(off + source(o, k, j)), t, 0))
              fail("gather");
          }
      if (t == Type::F32 || t == Type::F64) {
        Memory dx(t, x.length), want(t, x.length), g(t, out.length);
        for (int64_t i = 0; i < dx.length; ++i) dx.set(i, i < off ? 0 : 77);
        for (int64_t i = 0; i < g.length; ++i) g.set(i, static_cast<double>(below(100)));
        for (int64_t o = 0; o < outer; ++o)
          for (int64_t k = 0; k < count; ++k)
            for (int64_t j = 0; j < inner; ++j) {
              const int64_t at = off + source(o, k, j);
              want.set(at, want.get(at) + g.get(off + (o * count + k) * inner + j));
            }
        call(target, elementwise ? k_gatherGrad : k_indexSelectGrad, static_cast<int>(t), p, {&dx, &g, &idx},
             ctx);
        checked += dx.length;
        if (!dx.same(want)) fail("gatherGrad");
      }
      if (indices > 0) {
        const int64_t position = below(indices);
        idx.set(position + off, below(2) ? -1 : static_cast<double>(n));
        ctx.error.clear();
        if (outer > 0) {
          if (call(target, kernel, static_cast<int>(t), p, {&out, &x, &idx}, ctx))
            fail("a wrong index passed");
          if (ctx.error.find("at position " + std::to_string(position) + " ") == std::string::npos)
            fail("error: " + ctx.error);
          if (t == Type::F32) {
            Memory dx(t, x.length);
            if (call(target, elementwise ? k_gatherGrad : k_indexSelectGrad, 0, p, {&dx, &out, &idx}, ctx))
              fail("a wrong index passed");
          }
        }
      }
    }
  }
}

// ---- random ----

void reference_philox(uint32_t c[4], uint32_t k0, uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t(0xD2511F53) * c[0], b = uint64_t(0xCD9E8D57) * c[2];
    const uint32_t next[4] = {uint32_t(b >> 32) ^ c[1] ^ k0, uint32_t(b), uint32_t(a >> 32) ^ c[3] ^ k1,
                              uint32_t(a)};
    std::memcpy(c, next, 16);
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
}

void test_random(const Target& target) {
  // Known answers of the authors' Random123 distribution, for the reference above.
  {
    uint32_t c[4] = {0, 0, 0, 0};
    reference_philox(c, 0, 0);
    if (c[0] != 0x6627e8d5 || c[1] != 0xe169c58d || c[2] != 0xbc57ac4c || c[3] != 0x9b00dbd8)
      fail("philox of zeros");
    uint32_t d[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};
    reference_philox(d, 0xa4093822, 0x299f31d0);
    if (d[0] != 0xd16cfe09 || d[1] != 0x94fdcceb || d[2] != 0x5001e420 || d[3] != 0x24126ea1)
      fail("philox of pi");
  }
  TestContext ctx(1);
  for (int64_t n : {0, 1, 2, 3, 4, 5, 63, 255, 256, 257, 1000, 40000}) {
    for (uint64_t block : {uint64_t(0), uint64_t(0xfffffff0), uint64_t(1) << 52}) {
      const uint32_t key0 = static_cast<uint32_t>(rng()), key1 = static_cast<uint32_t>(rng());
      auto words = [&](int64_t b, uint32_t w[4]) {
        const uint64_t at = block + static_cast<uint64_t>(b);
        w[0] = static_cast<uint32_t>(at);
        w[1] = static_cast<uint32_t>(at >> 32);
        w[2] = w[3] = 0;
        reference_philox(w, key0, key1);
      };
      auto params = [&](double a, double b) {
        return std::vector<double>{static_cast<double>(n),
                                   1,
                                   static_cast<double>(key0),
                                   static_cast<double>(key1),
                                   static_cast<double>(block),
                                   a,
                                   b};
      };
      for (Type t : {Type::F32, Type::F64}) {
        const int type = static_cast<int>(t);
        Memory u(t, n + 2), z(t, n + 2), b(t, n + 2);
        for (Memory* m : {&u, &z, &b}) m->set(0, 77), m->set(n + 1, 77);
        call(target, k_uniform, type, params(-1, 3), {&u}, ctx);
        call(target, k_normal, type, params(0.5, 2), {&z}, ctx);
        call(target, k_bernoulli, type, params(0.25, 1.5), {&b}, ctx);
        for (int64_t i = 0; i < n; ++i) {
          uint32_t w[4];
          double unit;
          long double u1, u2;
          bool sine = i % 2;
          if (t == Type::F32) {
            words(i / 4, w);
            unit = (w[i % 4] >> 8) / 16777216.0;
            u1 = (w[i % 4 / 2 * 2] + 1.0L) / 4294967296.0L;
            u2 = w[i % 4 / 2 * 2 + 1] / 4294967296.0L;
          } else {
            words(i / 2, w);
            auto wide = [&](int k) {
              return static_cast<double>((uint64_t(w[k] >> 5) << 26) + (w[k + 1] >> 6));
            };
            unit = wide(2 * (i % 2)) / 9007199254740992.0;
            u1 = (wide(0) + 1.0L) / 9007199254740992.0L;
            u2 = wide(2) / 9007199254740992.0L;
          }
          ++checked;
          if (u.get(1 + i) != round_to(-1 + 4 * unit, t) &&
              !(round_to(-1 + 4 * unit, t) == 3 && u.get(1 + i) < 3))
            fail("uniform");
          if (!(u.get(1 + i) >= -1 && u.get(1 + i) < 3)) fail("uniform out of range");
          if (b.get(1 + i) != (unit < 0.25 ? 1.5 : 0)) fail("bernoulli");
          const long double angle = 2 * 3.14159265358979323846264338L * u2;
          const double want =
              static_cast<double>(0.5L + 2 * sqrtl(-2 * logl(u1)) * (sine ? sinl(angle) : cosl(angle)));
          if (!close(z.get(1 + i), round_to(want, t), t, 1, t == Type::F32 ? 1e-14 : 3e-15)) {
            fail("normal: " + std::to_string(z.get(1 + i)) + " expected " + std::to_string(want));
          }
        }
        for (Memory* m : {&u, &z, &b}) {
          if (m->get(0) != 77 || m->get(n + 1) != 77) fail("random wrote outside its output");
        }
      }
      Memory r(Type::I32, n + 2);
      call(target, k_randint, 2, params(-7, 2000000000), {&r}, ctx);
      for (int64_t i = 0; i < n; ++i) {
        uint32_t w[4];
        words(i / 4, w);
        if (r.get(1 + i) != -7 + std::floor(w[i % 4] / 4294967296.0 * 2000000007.0)) fail("randint");
      }
    }
  }
  Memory u(Type::F32, 100000);
  call(target, k_uniform, 0, {100000, 0, 1, 2, 0, 16777215, 16777216}, {&u}, ctx);
  for (int64_t i = 0; i < u.length; ++i) {
    if (!(u.get(i) < 16777216)) fail("uniform reached high");
  }
}

// ---- optim ----

void test_optim(const Target& target) {
  TestContext ctx(1);
  for (Type t : {Type::F32, Type::F64}) {
    const int type = static_cast<int>(t);
    const double eps = t == Type::F32 ? 1.2e-7 : 2.3e-16;
    for (int round = 0; round < 200; ++round) {
      const int64_t n = below(70);
      const bool in_place = below(2);
      Memory p(t, n + 1), g(t, n + 1), out(t, n + 1), m(t, n + 1), v(t, n + 1);
      for (int64_t i = 0; i < n + 1; ++i) {
        p.set(i, round_to(std::normal_distribution<double>()(rng), t));
        g.set(i, round_to(std::normal_distribution<double>()(rng), t));
        m.set(i, round_to(std::normal_distribution<double>()(rng), t));
        v.set(i, round_to(std::fabs(std::normal_distribution<double>()(rng)), t));
        out.set(i, 77);
      }
      Memory p0 = p, m0 = m, v0 = v;
      const double lr = 0.1, decay = below(2) ? 0.01 : 0, maximize = static_cast<double>(below(2));
      const double N = static_cast<double>(n);
      Memory* result = in_place ? &p : &out;
      const int which = round % 3;
      const double momentum = 0.9, dampening = below(2) ? 0.3 : 0, nesterov = static_cast<double>(below(2)),
                   first = static_cast<double>(below(2));
      const double beta1 = 0.9, beta2 = below(4) ? 0.999 : 0.001, tiny = 1e-8,
                   decoupled = static_cast<double>(below(2)), c1 = 0.271, c2 = 0.003;
      if (which == 0) call(target, k_sgd, type, {N, 1, 1, 1, lr, decay, maximize}, {result, &p, &g}, ctx);
      if (which == 1)
        call(target, k_sgdMomentum, type,
             {N, 1, 1, 1, 1, lr, decay, maximize, momentum, dampening, nesterov, first}, {result, &m, &p, &g},
             ctx);
      if (which == 2)
        call(target, k_adam, type,
             {N, 1, 1, 1, 1, 1, lr, beta1, beta2, tiny, decay, decoupled, maximize, c1, c2},
             {result, &m, &v, &p, &g}, ctx);
      for (int64_t i = 1; i <= n; ++i) {
        double x = p0.get(i);
        double d = (maximize != 0 ? -g.get(i) : g.get(i)) + (which == 2 && decoupled != 0 ? 0 : decay * x);
        double want_m = m0.get(i), want_v = v0.get(i);
        if (which == 0) x -= lr * d;
        if (which == 1) {
          want_m = first != 0 ? d : momentum * want_m + (1 - dampening) * d;
          x -= lr * (nesterov != 0 ? d + momentum * want_m : want_m);
        }
        if (which == 2) {
          if (decoupled != 0) x *= 1 - lr * decay;
          want_m = beta1 * want_m + (1 - beta1) * d;
          want_v = beta2 * want_v + (1 - beta2) * d * d;
          x -= lr / c1 * want_m / (std::sqrt(want_v) / std::sqrt(c2) + tiny);
        }
        ++checked;
        if (!close(result->get(i), x, t, 3, 4 * eps) || !close(m.get(i), want_m, t, 3, 2 * eps) ||
            !close(v.get(i), want_v, t, 3, eps)) {
          fail("optimizer " + std::to_string(which) + ": " + std::to_string(result->get(i)) + " expected " +
               std::to_string(x));
          break;
        }
      }
      if (out.get(0) != 77 || m.get(0) != m0.get(0) || p.get(0) != p0.get(0))
        fail("optimizer wrote outside its output");
    }
  }
}

// Adam where its quotient is infinite, or no number, or has an operand at the ends of the range.
void test_adam_limits(const Target& target) {
  TestContext ctx(1);
  const double inf = std::numeric_limits<double>::infinity(), nan = std::nan("");
  const std::vector<double> values = {0, 1, -1, 1e-30, -3e-20, 1e15, inf, -inf, nan};
  for (Type t : {Type::F32, Type::F64}) {
    for (double eps : {0.0, 1e-30, 1e-8, 1.0, 1e30, inf}) {
      for (const double gradient : {0.0, 1e25}) {  // in float the square of the second is infinite
        for (const double other : values) {
          // Every value in a whole vector and in what is left of one, beside others.
          const int64_t n = 37;
          Memory p(t, n), g(t, n), m(t, n), v(t, n);
          for (int64_t i = 0; i < n; ++i) {
            p.set(i, 1);
            g.set(i, gradient);
            m.set(i, values[static_cast<size_t>(i) % values.size()]);
            v.set(i, i % 3 == 0 ? std::fabs(other) : i % 3 == 1 ? 4 : 0);
          }
          Memory m0 = m, v0 = v;
          call(target, k_adam, static_cast<int>(t),
               {static_cast<double>(n), 0, 0, 0, 0, 0, 0.5, 0.5, 0.5, eps, 0, 0, 0, 0.5, 0.25},
               {&p, &m, &v, &p, &g}, ctx);
          for (int64_t i = 0; i < n; ++i) {
            const double square = 0.5 * v0.get(i) + 0.5 * gradient * gradient;
            const double want_v = t == Type::F32 && square > 3.5e38 ? inf : square;
            const double want =
                1 - 0.5 / 0.5 * (0.5 * m0.get(i) + 0.5 * gradient) / (std::sqrt(want_v) / 0.5 + eps);
            const double is = p.get(i), limit = t == Type::F32 ? 1e-6 : 1e-14;
            const bool beyond = t == Type::F32 && std::fabs(want) > 3e38 && !std::isinf(want);
            ++checked;
            if (!(std::isnan(want)   ? std::isnan(is)
                  : std::isinf(want) ? is == want
                  : beyond           ? std::isinf(is)
                                     : std::fabs(is - want) <= limit * std::fmax(1, std::fabs(want))) ||
                (std::isinf(want_v) && v.get(i) != want_v)) {
              fail("adam of m " + std::to_string(m0.get(i)) + ", v " + std::to_string(v0.get(i)) + ", g " +
                   std::to_string(gradient) + ", eps " + std::to_string(eps) + ": " + std::to_string(is) +
                   ", v " + std::to_string(v.get(i)) + " expected " + std::to_string(want));
              return;
            }
          }
        }
      }
    }
  }
}

// What is beside an element in a vector does not change its bits.
void test_adam_neighbours(const Target& target) {
  TestContext ctx(1);
  const int64_t n = 64;
  Memory p(Type::F32, n), g(Type::F32, n), m(Type::F32, n), v(Type::F32, n);
  for (int64_t i = 0; i < n; ++i) {
    p.set(i, 0);
    g.set(i, 0);
    m.set(i, round_to(
                 std::normal_distribution<double>()(rng) * std::pow(10, -10.0 - 0.4 * static_cast<double>(i)),
                 Type::F32));
    v.set(i, round_to(std::fabs(std::normal_distribution<double>()(rng)), Type::F32));
  }
  Memory p1 = p, m1 = m, v1 = v;
  const auto step = [&](Memory& x, Memory& first, Memory& second) {
    call(target, k_adam, static_cast<int>(Type::F32),
         {static_cast<double>(n), 0, 0, 0, 0, 0, 1, 0.9, 0.999, 1e-8, 0, 0, 0, 0.271, 0.003},
         {&x, &first, &second, &x, &g}, ctx);
  };
  step(p, m, v);
  for (int64_t i = 0; i < n; i += 8)
    m1.set(i, i % 16 == 0 ? std::nan("") : std::numeric_limits<double>::infinity());
  step(p1, m1, v1);
  for (int64_t i = 0; i < n; ++i) {
    ++checked;
    if (i % 8 != 0 && (p.get(i) != p1.get(i) || std::signbit(p.get(i)) != std::signbit(p1.get(i))))
      fail("adam: element " + std::to_string(i) + " has other bits beside a NaN");
  }
}

// An update has the bits of the product and the optimizer step after it, in any layout but that of dots, with
// any number of threads; also where the gradient is below the smallest normal number and eps so small that
// the step counts it, or where a factor is so small and the gradient is not.
void test_update(const Target& target) {
  TestContext one(1), three(3);
  for (TestContext* ctx : {&one, &three}) ctx->set_cache({48 << 10, 2 << 20, 32 << 20});
  for (Type t : {Type::F32, Type::F64}) {
    const int type = static_cast<int>(t);
    for (int round = 0; round < 87; ++round) {
      // Parameters from beyond the caches, which are fetched while the product runs.
      const bool huge = round == 86;
      if (huge && t == Type::F32) break;
      const bool large = round % 10 == 9,
                 outer = round >= 60 && !huge;       // a batch of one, with rows of any length
      const bool turned = large && round % 20 == 9;  // columns of b are contiguous, and few
      const int64_t M = huge ? 1100 : large ? 300 + below(300) : below(40);
      const int64_t N = huge ? 1001
                        : outer
                            ? round % 4 == 1 ? 16 * (1 + below(20)) : 1 + below(round % 4 == 0 ? 5000 : 100)
                        : turned ? 20
                        : large  ? 100 + below(500)
                                 : 2 + below(80);
      const int64_t K = outer ? 1 : large || huge ? 20 + below(100) : round % 3 == 0 ? below(3) : below(70);
      const double rows = static_cast<double>(M), cols = static_cast<double>(N), n = rows * cols;
      Memory a(t, K * M + 1), b(t, K * N + 1), g(t, M * N + 1), p(t, M * N + 1), m(t, M * N + 1),
          v(t, M * N + 1);
      for (Memory* x : {&a, &b, &p, &m, &v}) {
        for (int64_t i = 0; i < x->length; ++i)
          x->set(i, round_to(std::fabs(std::normal_distribution<double>()(rng)) + 0.1, t));
      }
      const bool tiny = round % 5 == 2;
      const double scale = !tiny ? 1 : t == Type::F32 ? 1e-39 : 1e-309;
      for (int64_t i = 0; i < a.length; ++i)
        a.set(i, round_to(-a.get(i) * static_cast<double>(below(3)) * scale, t));
      if (outer && round % 5 == 3) {
        const double small = t == Type::F32 ? 1e-39 : 1e-309;
        Memory& some = below(2) ? a : b;
        for (int64_t i = 0; i < some.length; i += 1 + below(20)) some.set(i, round_to(small, t));
        for (Memory* x : {&a, &b}) {
          for (int64_t i = 0; x != &some && i < x->length; ++i) x->set(i, round_to(1e6 * x->get(i), t));
        }
        // So that what becomes of such a gradient is seen.
        for (Memory* x : {&p, &m, &v}) {
          for (int64_t i = 0; i < x->length; ++i) x->set(i, 0);
        }
      }
      const Memory p0 = p, m0 = m, v0 = v;
      // a transposed, as in a weight gradient.
      const double depth = static_cast<double>(K);
      const double b_row = turned ? 1 : cols, b_col = turned ? depth : 1;
      const std::vector<double> factors = {1, 1, rows, 1, b_row, b_col};
      std::vector<double> product = {0, rows, cols, static_cast<double>(K), 1, cols};
      product.insert(product.end(), factors.begin(), factors.end());
      product.insert(product.end(), {-1, 0});
      call(target, k_matmul, type, product, {&g, &a, &b, &g}, one);
      const int which = round % 3;
      const std::vector<double> attrs =
          which == 0   ? std::vector<double>{0.1, 0.01, 0}
          : which == 1 ? std::vector<double>{0.1, 0.01, 1, 0.9, 0.1, 1, 0}
                       : std::vector<double>{0.1, 0.9, 0.999, tiny ? 1e-30 : 1e-8, 0.01, 0, 0, 0.271, 0.003};
      std::vector<Memory*> state = {&p};
      if (which > 0) state.push_back(&m);
      if (which > 1) state.push_back(&v);
      state.push_back(&p);
      std::vector<double> step = {n};
      step.insert(step.end(), state.size() + 1, 1);
      step.insert(step.end(), attrs.begin(), attrs.end());
      std::vector<Memory*> buffers = state;
      buffers.push_back(&g);
      call(target, which == 0 ? k_sgd : which == 1 ? k_sgdMomentum : k_adam, type, step, buffers, one);
      Memory p1 = p, m1 = m, v1 = v;
      Memory sums(t, N + 1), sums1(t, N + 1);
      call(target, k_sum, type, {1, 1, cols, depth, 1, 1, b_col, b_row, 1}, {&sums1, &b}, one);
      buffers.back() = &a;
      buffers.push_back(&b);
      for (const bool with_sums : {false, true}) {
        std::vector<double> update = {rows, cols, depth};
        update.insert(update.end(), state.size() + with_sums, 1);
        update.insert(update.end(), factors.begin(), factors.end());
        update.insert(update.end(), attrs.begin(), attrs.end());
        const int kernels[3][2] = {{k_sgdProduct, k_sgdProductSums},
                                   {k_sgdMomentumProduct, k_sgdMomentumProductSums},
                                   {k_adamProduct, k_adamProductSums}};
        if (with_sums) buffers.insert(buffers.begin() + which + 1, &sums);
        for (TestContext* ctx : {&one, &three}) {
          p = p0, m = m0, v = v0;
          call(target, kernels[which][with_sums], type, update, buffers, *ctx);
          ++checked;
          const std::string shape = std::to_string(M) + "x" + std::to_string(N) + "x" + std::to_string(K);
          if (!p.same(p1) || !m.same(m1) || !v.same(v1))
            fail("update " + std::to_string(which) + " of " + shape +
                 " differs from the product and the step");
          if (with_sums && !sums.same(sums1))
            fail("update of " + shape + " differs from the sums of columns");
        }
      }
      // The product that is stored.
      Memory g1(t, M * N + 1);
      std::vector<double> stored = {rows, cols, depth, 1, 1};
      stored.insert(stored.end(), factors.begin(), factors.end());
      for (TestContext* ctx : {&one, &three}) {
        sums = Memory(t, N + 1);
        call(target, k_matmulSums, type, stored, {&g1, &sums, &a, &b}, *ctx);
        ++checked;
        if (!g1.same(g) || !sums.same(sums1)) fail("matmulSums differs from the product and the sums");
      }
    }
  }
}

// A weight that is multiplied by one thread is updated by it, too; others are shared.
void test_shared_updates(const Target& target) {
  const struct {
    int64_t rows, cols, depth;
    bool shared;
  } cases[] = {{60, 470, 1, false}, {100, 128, 4, false}, {784, 128, 1, true}, {100, 128, 32, true}};
  for (const auto& c : cases) {
    const double m = static_cast<double>(c.rows), n = static_cast<double>(c.cols),
                 k = static_cast<double>(c.depth);
    Memory a(Type::F32, c.rows * c.depth), b(Type::F32, c.depth * c.cols), p(Type::F32, c.rows * c.cols);
    TestContext product(2), update(2);
    call(target, k_matmul, 0, {0, k, n, m, 0, n, 0, m, 1, 0, n, 1, -1, 0}, {&b, &a, &p, &b}, product);
    call(target, k_sgdProduct, 0, {m, n, k, 0, 0, 0, 1, m, 0, n, 1, 0.1, 0, 0}, {&p, &p, &a, &b}, update);
    ++checked;
    if ((product.most_tasks > 1) != c.shared || (update.most_tasks > 1) != c.shared)
      fail("update of " + std::to_string(c.rows) + "x" + std::to_string(c.cols) + " at " +
           std::to_string(c.depth) + " is not shared as the product is");
  }
}

// ---- one thread against three, bit for bit ----

void test_threads(const Target& target) {
  TestContext one(1), three(3);
  const double n = 700001;
  auto compare = [&](const char* name, int kernel, int type, const std::vector<double>& p,
                     std::vector<Memory*> outs, std::vector<Memory*> ins) {
    std::vector<Memory> start, first;
    for (Memory* m : outs) start.push_back(*m);
    std::vector<Memory*> all = outs;
    all.insert(all.end(), ins.begin(), ins.end());
    call(target, kernel, type, p, all, one);
    for (size_t i = 0; i < outs.size(); ++i) {
      first.push_back(*outs[i]);
      *outs[i] = start[i];
    }
    call(target, kernel, type, p, all, three);
    for (size_t i = 0; i < outs.size(); ++i) {
      ++checked;
      if (!outs[i]->same(first[i])) fail(std::string(name) + " depends on the number of threads");
    }
  };
  const int64_t N = 700001;
  Memory a(Type::F32, N), b(Type::F32, N), c(Type::F32, N), m(Type::F32, N), v(Type::F32, N);
  for (int64_t i = 0; i < N; ++i)
    a.set(i, std::normal_distribution<double>()(rng)), b.set(i, std::normal_distribution<double>()(rng));
  compare("add", k_add, 0, {1, n, 0, 1, 0, 1, 0, 1}, {&c}, {&a, &b});
  compare("exp", k_exp, 0, {1, n, 0, 1, 0, 1}, {&c}, {&a});
  compare("add bias", k_add, 0, {2, 70000, 10, 0, 10, 1, 0, 10, 1, 0, 0, 1}, {&c}, {&a, &b});
  compare("add row", k_add, 0, {2, 700, 1000, 0, 1000, 1, 0, 1000, 1, 0, 0, 1}, {&c}, {&a, &b});
  compare("copy transposed", k_copy, 0, {2, 700, 1000, 0, 1000, 1, 0, 1, 700}, {&c}, {&a});
  Memory s(Type::F32, 70000);
  compare("sum", k_sum, 0, {0, 1, n, 0, 0, 1, 1}, {&s}, {&a});
  compare("sum columns", k_sum, 0, {1, 1, 10, 70000, 0, 0, 1, 10, 1}, {&s}, {&a});
  compare("sum wide columns", k_sum, 0, {1, 1, 7000, 100, 0, 0, 1, 7000, 1}, {&s}, {&a});
  compare("sum rows", k_sum, 0, {1, 1, 70000, 10, 0, 0, 10, 1, 1}, {&s}, {&a});
  double total = 0;
  for (int64_t i = 0; i < N; ++i) total += a.get(i);
  call(target, k_sum, 0, {0, 1, n, 0, 0, 1, 1}, {&s, &a}, one);
  if (std::fabs(s.get(0) - total) > 0.01) fail("sum of many");
  call(target, k_sum, 0, {1, 1, 10, 70000, 0, 0, 1, 10, 1}, {&s, &a}, three);
  for (int j = 0; j < 10; ++j) {
    double column = 0;
    for (int64_t i = 0; i < 70000; ++i) column += a.get(10 * i + j);
    if (std::fabs(s.get(j) - column) > 1e-3) fail("sum of long columns");
  }
  call(target, k_sum, 0, {1, 1, 7000, 100, 0, 0, 1, 7000, 1}, {&s, &a}, three);
  for (int j = 0; j < 7000; ++j) {
    double column = 0;
    for (int64_t i = 0; i < 100; ++i) column += a.get(7000 * i + j);
    if (std::fabs(s.get(j) - column) > 1e-4) fail("sum of wide columns");
  }
  Memory index(Type::I32, 100);
  compare("argmax", k_argmax, 0, {1, 1, 100, 7000, 0, 0, 7000, 1}, {&index}, {&a});
  compare("softmax", k_softmax, 0, {70000, 10, 1, 0, 0}, {&c}, {&a});
  compare("softmax columns", k_softmax, 0, {1, 700, 1000, 0, 0}, {&c}, {&a});
  compare("logSumExp columns", k_logSumExp, 0, {7, 100, 1000, 0, 0}, {&c}, {&a});
  compare("cumsum", k_cumsum, 0, {7000, 100, 1, 0, 0, 1}, {&c}, {&a});
  compare("cumsum columns", k_cumsum, 0, {7, 100, 1000, 0, 0, 0}, {&c}, {&a});
  compare("max columns", k_max, 0, {1, 1, 700, 1000, 0, 0, 1, 700}, {&s}, {&a});
  compare("sumSquaredDeviations", k_sumSquaredDeviations, 0, {0, 1, 700000, 0, 0, 1, 0.5}, {&s}, {&a});
  compare("sumSquaredDeviations columns", k_sumSquaredDeviations, 0, {1, 1, 7, 100000, 0, 0, 1, 7, 1}, {&s},
          {&a});
  compare("uniform", k_uniform, 0, {n, 0, 3, 4, 5, 0, 1}, {&c}, {});
  compare("normal", k_normal, 0, {n, 0, 3, 4, 5, 0, 1}, {&c}, {});
  Memory rows(Type::I32, 700);
  for (int64_t i = 0; i < 700; ++i) rows.set(i, static_cast<double>(below(700)));
  compare("indexSelect", k_indexSelect, 0, {1, 700, 1000, 700, 0, 0, 0}, {&c}, {&a, &rows});
  compare("indexSelectGrad", k_indexSelectGrad, 0, {1, 700, 1000, 700, 0, 0, 0}, {&c}, {&a, &rows});
  for (int64_t i = 0; i < N; ++i) v.set(i, 1);
  compare("adam", k_adam, 0, {n, 0, 0, 0, 0, 0, 0.1, 0.9, 0.999, 1e-8, 0, 0, 0, 0.5, 0.5}, {&c, &m, &v},
          {&a, &b});
}

}  // namespace

int main() {
  for (const Target& target : runnable_targets()) {
    target_name = target.name;
    test_map(target);
    test_transposed(target);
    test_sines(target);
    test_pow(target);
    test_reduce(target);
    test_count_labels(target);
    test_rows<float>(target, Type::F32);
    test_rows<double>(target, Type::F64);
    test_axis<float>(target, Type::F32);
    test_axis<double>(target, Type::F64);
    for (Type t : {Type::F32, Type::F64, Type::I32}) test_cumsum(target, t);
    test_index(target);
    test_random(target);
    test_optim(target);
    test_adam_limits(target);
    test_adam_neighbours(target);
    test_update(target);
    test_shared_updates(target);
    test_threads(target);
#if !defined(__SANITIZE_ADDRESS__)  // reads nothing that the others do not, and takes long there
    test_ulps(target);
#endif
    std::printf("%s: %lld values checked so far, %d failures\n", target.name, static_cast<long long>(checked),
                failures);
  }
  return failures != 0;
}
