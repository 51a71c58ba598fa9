#include "check.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace simdgrad {
namespace {

constexpr int64_t kMaxInt = int64_t{1} << 53;
constexpr int64_t kMaxExtent = (int64_t{1} << 31) - 1;  // of one matrix dimension, and of one reduction

// Activations of a product (kernels.def).
constexpr int kFirstGradient = 4, kLastActivation = 6;

constexpr KernelRow kRows[kNumKernels] = {
#define KERNEL(name, family, outputs, inputs, attrs, types) \
  {#name, Family::family, outputs, inputs, attrs, Types::types},
#include "../kernels.def"
#undef KERNEL
};

constexpr bool rows_fit_limits() {
  for (const KernelRow& row : kRows) {
    const int buffers = row.outputs + row.inputs;
    if (buffers > kMaxBuffers || buffers * (kMaxDims + 1) + kMaxDims + 1 + row.attrs > kMaxParams)
      return false;
  }
  return true;
}
static_assert(rows_fit_limits());

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3), cold))
#endif
bool refuse(Problem* problem, const char* format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(problem->text, sizeof problem->text, format, args);
  va_end(args);
  return false;
}

// a * b + c for a, b >= 0; false on overflow. Portable, and cheap because one factor is nearly always small.
bool mul_add(int64_t a, int64_t b, int64_t c, int64_t* out) {
#if defined(__GNUC__)
  int64_t product;
  return !__builtin_mul_overflow(a, b, &product) && !__builtin_add_overflow(product, c, out);
#else
  if (a != 0 && b > (INT64_MAX - (c > 0 ? c : 0)) / a) return false;
  *out = a * b + c;
  return true;
#endif
}

// Reads params one after the other.
struct Reader {
  const KernelRow& row;
  const double* params;
  int num_params;
  int at = 0;
  Problem* problem;

  bool integer(const char* what, int64_t low, int64_t high, int64_t* out) {
    *out = 0;
    if (at >= num_params)
      return refuse(problem, "%s: too few params (%d): no %s", row.name, num_params, what);
    const double x = params[at++];
    if (!(x >= static_cast<double>(low) && x <= static_cast<double>(high))) {
      return refuse(problem, "%s: %s is %g, which is not an integer in [%lld, %lld]", row.name, what, x,
                    static_cast<long long>(low), static_cast<long long>(high));
    }
    *out = static_cast<int64_t>(x);
    if (static_cast<double>(*out) == x) return true;
    return refuse(problem, "%s: %s is %g, which is not an integer", row.name, what, x);
  }
  bool count(const char* what, int64_t* out) { return integer(what, 0, kMaxInt, out); }
  bool offset(int64_t* out) { return integer("an offset", -kMaxInt, kMaxInt, out); }
  bool stride(int64_t* out) { return integer("a stride", -kMaxInt, kMaxInt, out); }

  // What is left must be the attrs.
  bool end() {
    if (num_params - at == row.attrs) return true;
    return refuse(problem, "%s: %d params given, %d expected", row.name, num_params, at + row.attrs);
  }
};

// Product of extents; `none` if any is zero, false if it exceeds 2^53.
bool total(const int64_t* extents, int n, int64_t* out) {
  *out = 1;
  for (int i = 0; i < n; i++) {
    if (extents[i] == 0) {
      *out = 0;
      return true;
    }
  }
  for (int i = 0; i < n; i++) {
    if (!mul_add(*out, extents[i], 0, out) || *out > kMaxInt) return false;
  }
  return true;
}

// The least and the greatest element that a view reaches; its extents are at least 1.
struct Reach {
  int64_t low, high;
  bool ok = true;
  explicit Reach(int64_t offset) : low(offset), high(offset) {}
  void add(int64_t extent, int64_t stride) {
    if (extent <= 1 || stride == 0) return;
    int64_t distance;
    if (stride > 0) {
      ok = ok && mul_add(extent - 1, stride, high, &high) && high <= kMaxInt;
    } else {
      ok = ok && mul_add(extent - 1, -stride, 0, &distance) && distance <= kMaxInt &&
           (low -= distance) >= -kMaxInt;
    }
  }
};

const char* role(const KernelRow& row, int buffer, int* number) {
  *number = buffer < row.outputs ? buffer : buffer - row.outputs;
  return buffer < row.outputs ? "output" : "input";
}

bool within(const KernelRow& row, const Call& call, int buffer, const Reach& reach, Problem* problem) {
  const int64_t length = call.buffers[buffer].length;
  if (reach.ok && reach.low >= 0 && reach.high < length) return true;
  int number;
  const char* kind = role(row, buffer, &number);
  if (!reach.ok) return refuse(problem, "%s: %s %d reaches beyond 2^53 elements", row.name, kind, number);
  return refuse(problem, "%s: %s %d reaches elements %lld to %lld, but its array has length %lld%s", row.name,
                kind, number, static_cast<long long>(reach.low), static_cast<long long>(reach.high),
                static_cast<long long>(length),
                length == 0 ? " (was its memory transferred or resized?)" : "");
}

// A run of `count` elements from `offset`.
bool within_run(const KernelRow& row, const Call& call, int buffer, int64_t offset, int64_t count,
                Problem* problem) {
  if (count == 0) return true;
  Reach reach(offset);
  reach.add(count, 1);
  return within(row, call, buffer, reach, problem);
}

// Every element of an output must have a place of its own, and so the work is bounded by the output's length.
bool own_places(const KernelRow& row, const Call& call, int buffer, int64_t count, Problem* problem) {
  if (count <= call.buffers[buffer].length) return true;
  return refuse(problem, "%s: output %d has %lld elements, but its array has length %lld", row.name, buffer,
                static_cast<long long>(count), static_cast<long long>(call.buffers[buffer].length));
}

bool too_large(const KernelRow& row, Problem* problem) {
  return refuse(problem, "%s: the shape has more than 2^53 elements", row.name);
}

Verdict verdict(bool ok) { return ok ? Verdict::run : Verdict::refused; }

bool check_map(Reader& in, const Call& call, bool* empty) {
  const KernelRow& row = in.row;
  int64_t rank, shape[kMaxDims], size;
  if (!in.integer("the rank", 0, kMaxDims, &rank)) return false;
  const int nd = static_cast<int>(rank);
  for (int d = 0; d < nd; d++) {
    if (!in.count("an extent", &shape[d])) return false;
  }
  if (!total(shape, nd, &size)) return too_large(row, in.problem);
  *empty = size == 0;
  for (int b = 0; b < row.buffers(); b++) {
    int64_t offset, stride;
    if (!in.offset(&offset)) return false;
    Reach reach(offset);
    for (int d = 0; d < nd; d++) {
      if (!in.stride(&stride)) return false;
      if (*empty) continue;
      if (b < row.outputs && stride == 0 && shape[d] > 1) {
        return refuse(in.problem, "%s: output %d has stride 0 along dimension %d of extent %lld", row.name, b,
                      d, static_cast<long long>(shape[d]));
      }
      reach.add(shape[d], stride);
    }
    if (*empty) continue;
    if (!within(row, call, b, reach, in.problem)) return false;
    if (b < row.outputs && !own_places(row, call, b, size, in.problem)) return false;
  }
  return in.end();
}

bool check_reduce(Reader& in, int kernel, const Call& call, bool* empty) {
  const KernelRow& row = in.row;
  int64_t nk, nr, extents[kMaxDims], kept, reduced, all, offset, x_offset, stride;
  if (!in.integer("the number of kept dimensions", 0, kMaxDims, &nk)) return false;
  if (!in.integer("the number of reduced dimensions", 0, kMaxDims - nk, &nr)) return false;
  const int nd = static_cast<int>(nk + nr);
  for (int d = 0; d < nd; d++) {
    if (!in.count("an extent", &extents[d])) return false;
  }
  if (!total(extents, static_cast<int>(nk), &kept)) return too_large(row, in.problem);
  if (!total(extents + nk, static_cast<int>(nr), &reduced)) return too_large(row, in.problem);
  if (!in.offset(&offset) || !in.offset(&x_offset)) return false;
  *empty = kept == 0;
  Reach reach(x_offset);
  for (int d = 0; d < nd; d++) {
    if (!in.stride(&stride)) return false;
    reach.add(extents[d], stride);
  }
  if (!in.end()) return false;
  if (*empty) return true;
  if (!within_run(row, call, 0, offset, kept, in.problem)) return false;
  if (reduced == 0) {
    if (kernel == k_sum || kernel == k_sumSquares || kernel == k_sumSquaredDeviations || kernel == k_prod ||
        kernel == k_countLabels) {
      return true;
    }
    return refuse(in.problem, "%s: a reduction over nothing has no value", row.name);
  }
  if (reduced > kMaxExtent) {
    return refuse(in.problem, "%s: %lld elements to one result; at most 2^31 - 1 can be reduced", row.name,
                  static_cast<long long>(reduced));
  }
  if (!mul_add(kept, reduced, 0, &all) || all > kMaxInt) return too_large(row, in.problem);
  return within(row, call, 1, reach, in.problem);
}

// Which buffers of a rows kernel are whole matrices; the others hold one value per row or per column.
unsigned matrix_buffers(int kernel) {
  switch (kernel) {
    case k_nll:
      return 0b010;  // loss, lp, label
    case k_nllGrad:
      return 0b001;  // dlp, g, label
    case k_crossEntropy:
      return 0b0110;  // loss, lp, x, label
    case k_crossEntropyGrad:
      return 0b0101;  // dx, g, lp, label
    case k_layerNorm:
      return 0b0011;  // y, x, weight, bias
    case k_batchNorm:
      return 0b001001;  // y, mean, variance, x, weight, bias
    case k_layerNormGrad:
    case k_batchNormGrad:
      return 0b0111;  // dx, g, x, weight
    case k_layerNormWeightGrad:
    case k_batchNormWeightGrad:
      return 0b110;  // dweight, g, x
    default:
      return ~0u;
  }
}

// Sums over rows, which are there (zeros) without rows too.
bool sums_rows(int kernel) { return kernel == k_layerNormWeightGrad || kernel == k_batchNormWeightGrad; }

// Whether its vectors hold one value per column.
bool has_columns(int kernel) {
  return kernel == k_layerNorm || kernel == k_layerNormGrad || kernel == k_batchNorm ||
         kernel == k_batchNormGrad || sums_rows(kernel);
}

bool check_rows(Reader& in, int kernel, const Call& call, bool* empty) {
  const KernelRow& row = in.row;
  int64_t extents[2], size, offset;
  if (!in.count("rows", &extents[0]) || !in.count("cols", &extents[1])) return false;
  if (!total(extents, 2, &size)) return too_large(row, in.problem);
  const unsigned matrices = matrix_buffers(kernel);
  const unsigned every = (1u << row.buffers()) - 1;
  // With a value per row there is work (a label to check, a result to write) even where cols is 0.
  const int64_t vector = has_columns(kernel) ? extents[1] : extents[0];
  *empty = (extents[0] == 0 && !sums_rows(kernel)) || ((matrices & every) == every && size == 0);
  for (int b = 0; b < row.buffers(); b++) {
    if (!in.offset(&offset)) return false;
    if (*empty) continue;
    if (!within_run(row, call, b, offset, (matrices >> b) & 1 ? size : vector, in.problem)) return false;
  }
  return in.end();
}

bool check_axis(Reader& in, int kernel, const Call& call, bool* empty) {
  const KernelRow& row = in.row;
  int64_t extents[3], size, columns, offset;
  if (!in.count("outer", &extents[0]) || !in.count("n", &extents[1]) || !in.count("inner", &extents[2]))
    return false;
  const int64_t others[2] = {extents[0], extents[2]};
  if (!total(extents, 3, &size) || !total(others, 2, &columns)) return too_large(row, in.problem);
  // Of nothing, logSumExp writes results all the same.
  const bool one_value = kernel == k_logSumExp;
  *empty = columns == 0 || (!one_value && size == 0);
  for (int b = 0; b < row.buffers(); b++) {
    if (!in.offset(&offset)) return false;
    if (*empty) continue;
    if (!within_run(row, call, b, offset, b == 0 && one_value ? columns : size, in.problem)) return false;
  }
  return in.end();
}

bool check_index(Reader& in, int kernel, const Call& call, bool* empty) {
  const KernelRow& row = in.row;
  int64_t outer, n, inner, count, source, selected, offset;
  if (!in.count("outer", &outer) || !in.count("n", &n) || !in.count("inner", &inner) ||
      !in.count("count", &count)) {
    return false;
  }
  const int64_t source_shape[3] = {outer, n, inner}, selected_shape[3] = {outer, count, inner};
  if (!total(source_shape, 3, &source) || !total(selected_shape, 3, &selected))
    return too_large(row, in.problem);
  const bool grad = kernel == k_indexSelectGrad || kernel == k_gatherGrad;
  const bool per_element = kernel == k_gather || kernel == k_gatherGrad;
  *empty = outer == 0 || inner == 0 || (grad ? source == 0 && selected == 0 : selected == 0);
  const int64_t sizes[3] = {grad ? source : selected, grad ? selected : source,
                            per_element ? selected : count};
  for (int b = 0; b < row.buffers(); b++) {
    if (!in.offset(&offset)) return false;
    if (*empty) continue;
    if (!within_run(row, call, b, offset, sizes[b], in.problem)) return false;
  }
  return in.end();
}

// Which random numbers go where.
bool read_stream(Reader& in, int64_t* n, int64_t* offset) {
  int64_t key, block;
  if (!in.count("n", n) || !in.offset(offset)) return false;
  if (!in.integer("key0", 0, 0xffffffff, &key) || !in.integer("key1", 0, 0xffffffff, &key)) return false;
  if (!in.count("block", &block)) return false;
  if (block > kMaxInt - *n) return refuse(in.problem, "%s: the counter would pass 2^53", in.row.name);
  return true;
}

bool check_random(Reader& in, const Call& call, bool* empty) {
  int64_t n, offset;
  if (!read_stream(in, &n, &offset)) return false;
  *empty = n == 0;
  return within_run(in.row, call, 0, offset, n, in.problem) && in.end();
}

bool check_optim(Reader& in, const Call& call, bool* empty) {
  int64_t n, offset;
  if (!in.count("n", &n)) return false;
  *empty = n == 0;
  for (int b = 0; b < in.row.buffers(); b++) {
    if (!in.offset(&offset) || !within_run(in.row, call, b, offset, n, in.problem)) return false;
  }
  return in.end();
}

// Whether the last output of an update has sums over columns.
bool has_sums(const KernelRow& row) {
  const size_t length = strlen(row.name);
  return length > 4 && strcmp(row.name + length - 4, "Sums") == 0;
}

bool check_update(Reader& in, const Call& call, bool* empty) {
  const KernelRow& row = in.row;
  int64_t m, n, k, size, offset, row_stride, col_stride;
  if (!in.integer("M", 0, kMaxExtent, &m) || !in.integer("N", 0, kMaxExtent, &n) ||
      !in.integer("K", 0, kMaxExtent, &k)) {
    return false;
  }
  const int64_t result[2] = {m, n};
  if (!total(result, 2, &size)) return too_large(row, in.problem);
  *empty = size == 0;
  const int vectors = row.buffers() - 2, sums = has_sums(row) ? row.outputs - 1 : -1;
  // Without rows there are sums all the same.
  if (sums >= 0) *empty = n == 0;
  for (int b = 0; b < vectors; b++) {
    if (!in.offset(&offset)) return false;
    if (!within_run(row, call, b, offset, b == sums ? n : size, in.problem)) return false;
  }
  const int64_t extents[2][2] = {{m, k}, {k, n}};  // of a, b
  for (int b = 0; b < 2; b++) {
    if (!in.offset(&offset) || !in.stride(&row_stride) || !in.stride(&col_stride)) return false;
    if (*empty || k == 0 || extents[b][0] == 0) continue;
    Reach reach(offset);
    reach.add(extents[b][0], row_stride);
    reach.add(extents[b][1], col_stride);
    if (!within(row, call, vectors + b, reach, in.problem)) return false;
  }
  return in.end();
}

bool check_matmul(Reader& in, const Call& call, bool* empty) {
  const KernelRow& row = in.row;
  int64_t rank, batch[kMaxBatchDims], m, n, k, batches, size, offset, stride;
  if (!in.integer("the number of batch dimensions", 0, kMaxBatchDims, &rank)) return false;
  const int nb = static_cast<int>(rank);
  for (int d = 0; d < nb; d++) {
    if (!in.count("a batch extent", &batch[d])) return false;
  }
  if (!in.integer("M", 0, kMaxExtent, &m) || !in.integer("N", 0, kMaxExtent, &n) ||
      !in.integer("K", 0, kMaxExtent, &k)) {
    return false;
  }
  if (!total(batch, nb, &batches)) return too_large(row, in.problem);
  const int64_t result[3] = {batches, m, n};
  if (!total(result, 3, &size)) return too_large(row, in.problem);
  *empty = size == 0;
  const int64_t extents[3][2] = {{m, n}, {m, k}, {k, n}};  // of c, a, b
  for (int b = 0; b < 3; b++) {
    if (!in.offset(&offset)) return false;
    const bool unread = *empty || (b > 0 && k == 0);
    Reach reach(offset);
    for (int d = 0; d < nb; d++) {
      if (!in.stride(&stride)) return false;
      if (unread) continue;
      if (b == 0 && stride == 0 && batch[d] > 1) {
        return refuse(in.problem, "%s: the result has stride 0 along batch dimension %d", row.name, d);
      }
      reach.add(batch[d], stride);
    }
    int64_t row_stride, col_stride = 1;
    if (!in.stride(&row_stride) || (b > 0 && !in.stride(&col_stride))) return false;
    if (unread) continue;
    if (b == 0 && m > 1 && row_stride < n) {
      return refuse(in.problem, "%s: rows of %lld elements overlap at a row stride of %lld", row.name,
                    static_cast<long long>(n), static_cast<long long>(row_stride));
    }
    reach.add(extents[b][0], row_stride);
    reach.add(extents[b][1], col_stride);
    if (!within(row, call, b, reach, in.problem)) return false;
    if (b == 0 && !own_places(row, call, 0, size, in.problem)) return false;
  }
  if (!in.integer("the bias offset", -1, kMaxInt, &offset) || !in.end()) return false;
  const bool gradient = in.params[in.at] >= kFirstGradient;  // the last buffer is as large as the result
  if (gradient && offset < 0)
    return refuse(in.problem, "%s: an activation's gradient needs its result", row.name);
  return offset < 0 || *empty || within_run(row, call, 3, offset, gradient ? size : n, in.problem);
}

bool check_types(const KernelRow& row, const Call& call, Type* dispatch, Problem* problem) {
  const Type type = call.buffers[dispatch_buffer(row.types)].type;
  *dispatch = type;
  if (!((dispatch_types(row.types) >> static_cast<int>(type)) & 1)) {
    return refuse(problem, "%s: not defined for %s", row.name, type_name(type));
  }
  if (row.types == Types::CAST) return true;
  for (int b = 0; b < call.num_buffers; b++) {
    Type expected = type;
    switch (row.types) {
      case Types::COMPARE:
      case Types::TEST:
        if (b == 0) expected = Type::U8;
        break;
      case Types::SELECT:
        if (b == 1) expected = Type::U8;
        break;
      case Types::ARG:
        if (b == 0) expected = Type::I32;
        break;
      case Types::LABELS:
      case Types::GATHER:
        if (b == call.num_buffers - 1) expected = Type::I32;
        break;
      default:
        break;
    }
    if (call.buffers[b].type != expected) {
      int number;
      const char* kind = role(row, b, &number);
      return refuse(problem, "%s: %s %d is %s, but %s is expected", row.name, kind, number,
                    type_name(call.buffers[b].type), type_name(expected));
    }
  }
  return true;
}

// Attrs whose values select code or must be integers. All others may be any number.
bool check_values(int kernel, Type dispatch, const double* params, int num_params, Problem* problem) {
  const KernelRow& row = kRows[kernel];
  const double* attrs = params + num_params - row.attrs;
  switch (kernel) {
    case k_sum:
      if (dispatch != Type::I32 || attrs[0] == 1) return true;
      return refuse(problem, "sum: scale is %g, but sums of integers are not scaled (it must be 1)",
                    attrs[0]);
    case k_randint: {
      Reader in{row, attrs, 2, 0, problem};
      int64_t low, high;
      if (!in.integer("low", INT32_MIN, INT32_MAX, &low)) return false;
      if (!in.integer("high", INT32_MIN, int64_t{INT32_MAX} + 1, &high)) return false;
      if (low < high) return true;
      return refuse(problem, "randint: low (%g) must be less than high (%g)", attrs[0], attrs[1]);
    }
    case k_matmul: {
      Reader in{row, attrs, 1, 0, problem};
      int64_t activation;
      return in.integer("the activation", 0, kLastActivation, &activation);
    }
    default:
      return true;
  }
}

}  // namespace

const KernelRow& kernel_row(int kernel) { return kRows[kernel]; }

unsigned dispatch_types(Types types) {
  constexpr unsigned f32 = 1, f64 = 2, i32 = 4, u8 = 8;
  switch (types) {
    case Types::FLOAT:
    case Types::TEST:
    case Types::LABELS:
      return f32 | f64;
    case Types::NUMERIC:
    case Types::ARG:
      return f32 | f64 | i32;
    case Types::LOGICAL:
      return u8;
    case Types::INT:
      return i32;
    default:
      return f32 | f64 | i32 | u8;
  }
}

int dispatch_buffer(Types types) {
  return types == Types::COMPARE || types == Types::TEST || types == Types::ARG ? 1 : 0;
}

const char* type_name(Type type) {
  switch (type) {
    case Type::F32:
      return "float32";
    case Type::F64:
      return "float64";
    case Type::I32:
      return "int32";
    case Type::U8:
      return "bool";
  }
  return "?";
}

bool may_patch(int kernel, int num_params, int param) {
  const KernelRow& row = kRows[kernel];
  if (param < 0 || param >= num_params || row.family == Family::matmul) return false;
  return param >= num_params - row.attrs || (row.family == Family::random && param >= 2);
}

Verdict check_attrs(int kernel, Type dispatch, const double* params, int num_params, Problem* problem) {
  const KernelRow& row = kRows[kernel];
  if (row.family == Family::random) {
    Reader in{row, params, num_params, 0, problem};
    int64_t n, offset;
    if (!read_stream(in, &n, &offset)) return Verdict::refused;
  }
  return verdict(check_values(kernel, dispatch, params, num_params, problem));
}

Verdict check_call(int kernel, const Call& call, Type* dispatch, Problem* problem) {
  const KernelRow& row = kRows[kernel];
  if (call.num_buffers != row.buffers()) {
    return verdict(
        refuse(problem, "%s: %d buffers given, %d expected", row.name, call.num_buffers, row.buffers()));
  }
  if (!check_types(row, call, dispatch, problem)) return Verdict::refused;
  Reader in{row, call.params, call.num_params, 0, problem};
  bool empty = false, ok = false;
  switch (row.family) {
    case Family::map:
      ok = check_map(in, call, &empty);
      break;
    case Family::reduce:
      ok = check_reduce(in, kernel, call, &empty);
      break;
    case Family::rows:
      ok = check_rows(in, kernel, call, &empty);
      break;
    case Family::axis:
      ok = check_axis(in, kernel, call, &empty);
      break;
    case Family::index:
      ok = check_index(in, kernel, call, &empty);
      break;
    case Family::random:
      ok = check_random(in, call, &empty);
      break;
    case Family::optim:
      ok = check_optim(in, call, &empty);
      break;
    case Family::update:
      ok = check_update(in, call, &empty);
      break;
    case Family::matmul:
      ok = check_matmul(in, call, &empty);
      break;
  }
  if (!ok || !check_values(kernel, *dispatch, call.params, call.num_params, problem)) return Verdict::refused;
  return empty ? Verdict::nothing : Verdict::run;
}

bool CheckedCalls::holds(const Place& place, int kernel, const Call& call) {
  if (place.kernel != kernel || place.num_params != call.num_params || place.num_buffers != call.num_buffers)
    return false;
  for (int b = 0; b < call.num_buffers; b++) {
    const Buffer& buffer = call.buffers[b];
    if (place.lengths[b] != buffer.length || place.types[b] != buffer.type) return false;
  }
  return memcmp(place.params, call.params, static_cast<size_t>(call.num_params) * sizeof(double)) == 0;
}

Verdict CheckedCalls::check(int kernel, const Call& call, Type* dispatch, Problem* problem) {
  if (call.num_params < 4 || call.num_params > kMostParams)
    return check_call(kernel, call, dispatch, problem);
  // The first params are sizes.
  uint64_t bits[4], hash = static_cast<uint64_t>(kernel);
  memcpy(bits, call.params, sizeof bits);
  for (const uint64_t x : bits) hash = (hash ^ x) * 0x9e3779b97f4a7c15;
  Place& place = places_[hash >> (64 - kPlaceBits)];
  if (holds(place, kernel, call)) {
    *dispatch = place.dispatch;
    return Verdict::run;
  }
  const Verdict verdict = check_call(kernel, call, dispatch, problem);
  if (verdict != Verdict::run) return verdict;
  place.kernel = kernel;
  place.num_params = call.num_params;
  place.num_buffers = call.num_buffers;
  place.dispatch = *dispatch;
  for (int b = 0; b < call.num_buffers; b++) {
    place.lengths[b] = call.buffers[b].length;
    place.types[b] = call.buffers[b].type;
  }
  memcpy(place.params, call.params, static_cast<size_t>(call.num_params) * sizeof(double));
  return verdict;
}

}  // namespace simdgrad
