// The exports of the addon. What each takes is checked here and in check.cc; no value from JavaScript may do
// more than raise an error.
#include <atomic>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "environment.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace simdgrad {

Environment::~Environment() {
  pool.close();
  while (idle != nullptr) {
    CallContext* next = idle->next;
    delete idle;
    idle = next;
  }
}

CallContext* Environment::take_context() {
  if (idle == nullptr) return new (std::nothrow) CallContext(&pool);
  CallContext* taken = idle;
  idle = taken->next;
  return taken;
}

void Environment::give_context(CallContext* given) {
  given->next = idle;
  idle = given;
}

void Environment::release() {
  if (--owners == 0) delete this;
}

bool Environment::hang_bells(napi_env env) {
  napi_value name;
  if (napi_create_string_utf8(env, "simdgrad.Program", NAPI_AUTO_LENGTH, &name) != napi_ok) return false;
  for (napi_threadsafe_function& bell : bells) {
    if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, nullptr, this,
                                        complete_runs, &bell) != napi_ok) {
      return false;
    }
    napi_unref_threadsafe_function(env, bell);
  }
  return true;
}

void Environment::ring(void* environment) {
  const Environment& self = *static_cast<Environment*>(environment);
  napi_call_threadsafe_function(self.bells[self.bell], nullptr, napi_tsfn_nonblocking);
}

void Environment::keep_alive(bool alive) {
  for (napi_threadsafe_function bell : bells) {
    if (alive) {
      napi_ref_threadsafe_function(env, bell);
    } else {
      napi_unref_threadsafe_function(env, bell);
    }
  }
}

void Environment::close() {
  runner.close();
  forget_runs(this);
  for (napi_threadsafe_function& bell : bells) {
    if (bell != nullptr) napi_release_threadsafe_function(bell, napi_tsfn_abort);
    bell = nullptr;
  }
  pool.close();
}

napi_value throw_error(napi_env env, const char* code, const char* format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  napi_throw_error(env, code, text);
  return nullptr;
}

napi_value throw_recorded(napi_env env, const CallContext& context) {
  char text[320];
  const char* code = context.error(text, sizeof text);
  napi_throw_error(env, code, text);
  return nullptr;
}

bool to_integer(napi_env env, napi_value value, int64_t low, int64_t high, int64_t* out) {
  double x;
  if (napi_get_value_double(env, value, &x) != napi_ok) return false;
  if (!(x >= static_cast<double>(low) && x <= static_cast<double>(high))) return false;
  *out = static_cast<int64_t>(x);
  return static_cast<double>(*out) == x;
}

bool to_buffer(napi_env env, napi_value value, Buffer* out) {
  napi_typedarray_type type = static_cast<napi_typedarray_type>(-1);  // stays where the engine has a new kind
  size_t length = 0;
  if (napi_get_typedarray_info(env, value, &type, &length, &out->data, nullptr, nullptr) != napi_ok)
    return false;
  switch (type) {
    case napi_float32_array:
      out->type = Type::F32;
      break;
    case napi_float64_array:
      out->type = Type::F64;
      break;
    case napi_int32_array:
      out->type = Type::I32;
      break;
    case napi_uint8_array:
      out->type = Type::U8;
      break;
    default:
      return false;
  }
  out->length = out->data == nullptr ? 0 : static_cast<int64_t>(length);
  return true;
}

bool is_shared(napi_env env, napi_value typed_array) {
  napi_value memory;
  bool plain = true;
  return napi_get_typedarray_info(env, typed_array, nullptr, nullptr, nullptr, &memory, nullptr) == napi_ok &&
         napi_is_arraybuffer(env, memory, &plain) == napi_ok && !plain;
}

namespace {

constexpr int kAbi = 6;  // of the exports and of kernels.def; src/backend/load.ts refuses another one

constexpr char kArrays[] = "a Float32Array, Float64Array, Int32Array or Uint8Array";

struct Arguments {
  size_t count;
  napi_value values[2 + kMaxBuffers];
  Environment* environment;
};

bool arguments(napi_env env, napi_callback_info info, Arguments* out) {
  out->count = sizeof out->values / sizeof out->values[0];
  void* data;
  if (napi_get_cb_info(env, info, &out->count, out->values, nullptr, &data) != napi_ok) return false;
  out->environment = static_cast<Environment*>(data);
  return true;
}

// init(params): the block through which call() gets its numbers.
napi_value init(napi_env env, napi_callback_info info) {
  Arguments args;
  if (!arguments(env, info, &args)) return nullptr;
  Buffer block;
  if (args.count != 1 || !to_buffer(env, args.values[0], &block) || block.type != Type::F64 ||
      block.length != static_cast<int64_t>(kParamsLength) || !is_shared(env, args.values[0])) {
    return throw_error(env, kArgument,
                       "init: a Float64Array of length %d over a SharedArrayBuffer is expected",
                       static_cast<int>(kParamsLength));
  }
  napi_ref reference;
  if (napi_create_reference(env, args.values[0], 1, &reference) != napi_ok) return nullptr;
  Environment& environment = *args.environment;
  if (environment.params_reference != nullptr) napi_delete_reference(env, environment.params_reference);
  environment.params_reference = reference;
  environment.params = static_cast<const double*>(block.data);
  return nullptr;
}

// What is known of an operand as a DataView: it does not say what it holds.
bool to_buffer(napi_env env, napi_value value, Type type, Buffer* out) {
  size_t bytes = 0;
  if (napi_get_dataview_info(env, value, &bytes, &out->data, nullptr, nullptr) != napi_ok) return false;
  const int64_t size = size_of(type);
  if (reinterpret_cast<uintptr_t>(out->data) % static_cast<uintptr_t>(size) != 0) return false;
  out->type = type;
  out->length = out->data == nullptr ? 0 : static_cast<int64_t>(bytes) / size;
  return true;
}

// call(kernelId, nParams + 256 * kinds, ...buffers): runs one kernel. Buffers are typed arrays, or DataViews,
// which are told sooner; three bits of kinds for each buffer are 0 or one more than the Type that it holds. A
// product may leave out its last buffer, which then is the first.
napi_value call(napi_env env, napi_callback_info info) {
  Arguments args;
  if (!arguments(env, info, &args)) return nullptr;
  Environment& environment = *args.environment;
  if (args.count < 2 || args.count > 2 + kMaxBuffers) {
    return throw_error(env, kArgument,
                       "call: %zu arguments given; kernelId, nParams and at most %d buffers expected",
                       args.count, kMaxBuffers);
  }
  int64_t kernel, layout;
  if (!to_integer(env, args.values[0], 0, kNumKernels - 1, &kernel)) {
    return throw_error(env, kArgument, "call: kernelId must be an integer in [0, %d)",
                       static_cast<int>(kNumKernels));
  }
  const KernelRow& row = kernel_row(static_cast<int>(kernel));
  if (!to_integer(env, args.values[1], 0, (int64_t{1} << (8 + 3 * kMaxBuffers)) - 1, &layout) ||
      (layout & 255) > kMaxParams) {
    return throw_error(env, kArgument, "%s: nParams must be an integer in [0, %d]", row.name, kMaxParams);
  }
  const int num_params = static_cast<int>(layout & 255);
  if (environment.params == nullptr)
    return throw_error(env, kArgument, "%s: init() was not called", row.name);

  // Another thread may write the block at any time: what is checked and run is this copy.
  double params[kMaxParams];
  memcpy(params, environment.params, static_cast<size_t>(num_params) * sizeof(double));
  Buffer buffers[kMaxBuffers];
  int num_buffers = static_cast<int>(args.count) - 2;
  for (int b = 0; b < num_buffers; b++) {
    const int kind = static_cast<int>(layout >> (8 + 3 * b)) & 7;
    if (kind == 0) {
      if (to_buffer(env, args.values[2 + b], &buffers[b])) continue;
      return throw_error(env, kArgument, "%s: buffer %d is not %s", row.name, b, kArrays);
    }
    if (kind > kTypes || !to_buffer(env, args.values[2 + b], static_cast<Type>(kind - 1), &buffers[b])) {
      return throw_error(env, kArgument, "%s: buffer %d is not a DataView of kind %d", row.name, b, kind);
    }
  }

  // The last buffer of a product without a bias is its first again: every array that is asked about costs
  // time.
  if (num_buffers == 3 && row.family == Family::matmul) buffers[num_buffers++] = buffers[0];

  const Call kernel_call = {params, num_params, buffers, num_buffers};
  Type dispatch;
  Problem problem;
  const Verdict verdict =
      environment.checked.check(static_cast<int>(kernel), kernel_call, &dispatch, &problem);
  if (verdict == Verdict::nothing) return nullptr;
  if (verdict == Verdict::refused) return throw_error(env, kArgument, "%s", problem.text);
  const RunFn run = environment.table->run[kernel][static_cast<int>(dispatch)];
  if (run == nullptr) {
    return throw_error(env, kArgument, "%s: there is no native kernel for %s", row.name, type_name(dispatch));
  }
  environment.context.begin();
  if (!run(kernel_call, environment.context)) return throw_recorded(env, environment.context);
  return nullptr;
}

bool set_number(napi_env env, napi_value object, const char* key, double x) {
  napi_value value;
  return napi_create_double(env, x, &value) == napi_ok &&
         napi_set_named_property(env, object, key, value) == napi_ok;
}

bool set_text(napi_env env, napi_value object, const char* key, const char* text) {
  napi_value value;
  return napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &value) == napi_ok &&
         napi_set_named_property(env, object, key, value) == napi_ok;
}

// kernels(): the rows of kernels.def, with the dispatch types that this build has kernels for.
napi_value kernels(napi_env env, napi_callback_info info) {
  Arguments args;
  napi_value rows;
  if (!arguments(env, info, &args) || napi_create_array(env, &rows) != napi_ok) return nullptr;
  for (int kernel = 0; kernel < kNumKernels; kernel++) {
    const KernelRow& row = kernel_row(kernel);
    unsigned types = 0;
    for (int type = 0; type < kTypes; type++) {
      if (args.environment->table->run[kernel][type] != nullptr) types |= 1u << type;
    }
    const unsigned all = dispatch_types(row.types);
    napi_value object;
    if (napi_create_object(env, &object) != napi_ok || !set_text(env, object, "name", row.name) ||
        !set_number(env, object, "outputs", row.outputs) || !set_number(env, object, "inputs", row.inputs) ||
        !set_number(env, object, "attrs", row.attrs) || !set_number(env, object, "types", types & all) ||
        !set_number(env, object, "allTypes", all) ||
        !set_number(env, object, "dispatch", dispatch_buffer(row.types)) ||
        napi_set_element(env, rows, static_cast<uint32_t>(kernel), object) != napi_ok) {
      return nullptr;
    }
  }
  return rows;
}

// info(): what the addon found and uses.
napi_value info(napi_env env, napi_callback_info callback_info) {
  Arguments args;
  napi_value object, isas;
  if (!arguments(env, callback_info, &args) || napi_create_object(env, &object) != napi_ok ||
      napi_create_array(env, &isas) != napi_ok) {
    return nullptr;
  }
  uint32_t count = 0;
  for (int i = 0; i < kIsas; i++) {
    napi_value name;
    if (!isa_runs(static_cast<Isa>(i))) continue;
    if (napi_create_string_utf8(env, isa_name(static_cast<Isa>(i)), NAPI_AUTO_LENGTH, &name) != napi_ok ||
        napi_set_element(env, isas, count++, name) != napi_ok) {
      return nullptr;
    }
  }
  const Machine& m = machine();
  const bool ok = set_number(env, object, "abi", kAbi) && set_text(env, object, "cpu", m.cpu) &&
                  set_text(env, object, "isa", isa_name(args.environment->isa)) &&
                  napi_set_named_property(env, object, "isas", isas) == napi_ok &&
                  set_number(env, object, "threads", args.environment->pool.threads()) &&
                  set_number(env, object, "l1", static_cast<double>(m.cache.l1)) &&
                  set_number(env, object, "l2", static_cast<double>(m.cache.l2)) &&
                  set_number(env, object, "l3", static_cast<double>(m.cache.l3)) &&
                  set_number(env, object, "largePage", static_cast<double>(m.large_page));
  return ok ? object : nullptr;
}

napi_value set_num_threads(napi_env env, napi_callback_info info) {
  Arguments args;
  int64_t threads;
  if (!arguments(env, info, &args)) return nullptr;
  if (args.count != 1 || !to_integer(env, args.values[0], 1, kMaxThreads, &threads)) {
    return throw_error(env, kArgument, "setNumThreads: an integer in [1, %d] is expected", kMaxThreads);
  }
  args.environment->pool.resize(static_cast<int>(threads));
  return nullptr;
}

napi_value set_isa(napi_env env, napi_callback_info info) {
  Arguments args;
  if (!arguments(env, info, &args)) return nullptr;
  char wanted[32] = "";
  size_t length = 0;
  if (args.count != 1 ||
      napi_get_value_string_utf8(env, args.values[0], wanted, sizeof wanted, &length) != napi_ok ||
      length != strlen(wanted)) {
    return throw_error(env, kArgument, "setIsa: the name of an instruction set is expected");
  }
  char available[64] = "";
  for (int i = 0; i < kIsas; i++) {
    const Isa isa = static_cast<Isa>(i);
    if (!isa_runs(isa)) continue;
    if (strcmp(wanted, isa_name(isa)) == 0) {
      args.environment->isa = isa;
      args.environment->table = &kernel_table(isa);
      args.environment->isa_changes++;
      return nullptr;
    }
    if (available[0] != 0) strncat(available, ", ", sizeof available - strlen(available) - 1);
    strncat(available, isa_name(isa), sizeof available - strlen(available) - 1);
  }
  return throw_error(env, kArgument, "setIsa: '%s' cannot run here; available: %s", wanted, available);
}

// adjustExternalMemory(delta): tells the engine about memory that it does not count.
napi_value adjust_external_memory(napi_env env, napi_callback_info info) {
  Arguments args;
  if (!arguments(env, info, &args)) return nullptr;
  constexpr int64_t kMost = int64_t{1} << 44;
  int64_t delta, adjusted;
  if (args.count != 1 || !to_integer(env, args.values[0], -kMost, kMost, &delta)) {
    return throw_error(env, kArgument, "adjustExternalMemory: an integer number of bytes is expected");
  }
  int64_t& total = args.environment->external_bytes;
  if (total + delta < 0 || total + delta > kMost) {
    return throw_error(env, kArgument, "adjustExternalMemory: %lld bytes after %lld make no sense",
                       static_cast<long long>(delta), static_cast<long long>(total));
  }
  if (napi_adjust_external_memory(env, delta, &adjusted) == napi_ok) total += delta;
  return nullptr;
}

// misalignment(array): bytes between its first element and the last place before it that begins a cache line
// and a page of any size up to kLargestPage.
napi_value misalignment(napi_env env, napi_callback_info info) {
  Arguments args;
  Buffer buffer;
  napi_value result;
  if (!arguments(env, info, &args)) return nullptr;
  if (args.count != 1 || !to_buffer(env, args.values[0], &buffer)) {
    return throw_error(env, kArgument, "misalignment: a typed array that kernels take is expected");
  }
  const uint32_t bytes = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(buffer.data) % kLargestPage);
  return napi_create_uint32(env, bytes, &result) == napi_ok ? result : nullptr;
}

// preparePages(array): has the system back zeroed shared memory that was just allocated, by large pages where
// it has them and they fit. Memory that is read before it is written, as the state of an optimizer is, would
// cost two faults a page otherwise, and the second interrupts the other threads. A wish only: what cannot be
// had now comes page by page.
napi_value prepare_pages(napi_env env, napi_callback_info info) {
  Arguments args;
  if (!arguments(env, info, &args)) return nullptr;
  Buffer memory;
  if (args.count != 1 || !to_buffer(env, args.values[0], &memory) || !is_shared(env, args.values[0])) {
    return throw_error(env, kArgument, "preparePages: an array over a SharedArrayBuffer is expected");
  }
#if defined(__linux__)
  constexpr uintptr_t kMost = uintptr_t{1} << 30;  // what is larger may not fit the memory before it is used
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(memory.data) + page - 1) & ~(page - 1);
  const uintptr_t end = (reinterpret_cast<uintptr_t>(memory.data) +
                         static_cast<uintptr_t>(memory.length * size_of(memory.type))) &
                        ~(page - 1);
  if (end > begin) {
    void* const pages = reinterpret_cast<void*>(begin);
    const uintptr_t large_page = static_cast<uintptr_t>(machine().large_page);
    const bool large = large_page > 0 && end - begin >= large_page;
    if (large) madvise(pages, end - begin, MADV_HUGEPAGE);
#if !defined(MADV_POPULATE_WRITE)
#define MADV_POPULATE_WRITE 23  // Linux 5.14
#endif
#if !defined(MADV_COLLAPSE)
#define MADV_COLLAPSE 25  // Linux 6.1; of pages that others have used before
#endif
    if (end - begin <= kMost) madvise(pages, end - begin, MADV_POPULATE_WRITE);
    if (large) madvise(pages, end - begin, MADV_COLLAPSE);
  }
#endif
  return nullptr;
}

// What results leave when they are collected is wanted again by the next ones. glibc gives it back to the
// system meanwhile, which then has to clear and map every page anew: that can take longer than the kernels.
// For the whole process, unless its environment says how it wants its memory managed.
void keep_freed_memory() {
#if defined(__GLIBC__)
  for (const char* name : {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"}) {
    if (getenv(name) != nullptr) return;
  }
  mallopt(M_MMAP_THRESHOLD, 32 << 20);  // the most that glibc takes
  mallopt(M_TRIM_THRESHOLD, 128 << 20);
#endif
}

void on_cleanup(void* environment) { static_cast<Environment*>(environment)->close(); }

void on_finalize(napi_env, void* data, void*) { static_cast<Environment*>(data)->release(); }

Napi::Object load(Napi::Env wrapped, Napi::Object exports) {
  const napi_env env = wrapped;
  static std::atomic_flag kept = ATOMIC_FLAG_INIT;
  if (!kept.test_and_set()) keep_freed_memory();
  Environment* environment = new (std::nothrow) Environment(env);
  if (environment == nullptr) {
    throw_error(env, kMemory, "simdgrad: out of memory");
    return exports;
  }
  if (napi_set_instance_data(env, environment, on_finalize, nullptr) != napi_ok) {
    delete environment;
    return exports;
  }
  // Hooks run last in, first out: the bells have theirs, which may come only when nobody rings any more.
  if (!environment->hang_bells(env) || napi_add_env_cleanup_hook(env, on_cleanup, environment) != napi_ok) {
    return exports;
  }
  const struct {
    const char* name;
    napi_callback function;
  } functions[] = {{"init", init},
                   {"call", call},
                   {"kernels", kernels},
                   {"info", info},
                   {"setNumThreads", set_num_threads},
                   {"setIsa", set_isa},
                   {"misalignment", misalignment},
                   {"adjustExternalMemory", adjust_external_memory},
                   {"preparePages", prepare_pages}};
  for (const auto& f : functions) {
    napi_value function;
    if (napi_create_function(env, f.name, NAPI_AUTO_LENGTH, f.function, environment, &function) != napi_ok ||
        napi_set_named_property(env, exports, f.name, function) != napi_ok) {
      return exports;
    }
  }
  define_program(env, environment, exports);
  return exports;
}

}  // namespace

}  // namespace simdgrad

static Napi::Object load_addon(Napi::Env env, Napi::Object exports) { return simdgrad::load(env, exports); }

NODE_API_MODULE(simdgrad, load_addon)
