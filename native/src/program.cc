#include "program.h"

#include <chrono>
#include <cstring>
#include <new>

namespace simdgrad {
namespace {

constexpr size_t kMaxItems = size_t{1} << 20;  // buffers, inputs, patches
constexpr napi_type_tag kTag = {0x5d1f27c8be3a4961, 0x9a0c61d5f8274b3e};

bool fail(napi_env env, const char* message) {
  throw_error(env, kArgument, "%s", message);
  return false;
}

bool out_of_memory(napi_env env) {
  throw_error(env, kMemory, "Program: out of memory");
  return false;
}

bool as_index(double x, size_t size, size_t* out) {
  if (!(x >= 0 && x < static_cast<double>(size))) return false;
  *out = static_cast<size_t>(x);
  return static_cast<double>(*out) == x;
}

}  // namespace

Program::~Program() {
  for (Slot& slot : slots_of_) {
    CallContext::release_block(slot.staging);
    free(slot.row_at);
  }
  if (environment_->last_program == this) environment_->last_program = nullptr;
  environment_->release();
}

void Program::drop(napi_env env) {
  for (Slot& slot : slots_of_) {
    if (slot.reference != nullptr) napi_delete_reference(env, slot.reference);
    slot.reference = nullptr;
  }
  if (slots_reference_ != nullptr) napi_delete_reference(env, slots_reference_);
  slots_reference_ = nullptr;
}

bool Program::build(napi_env env, napi_value spec) {
  // Reading a property may run any JavaScript (getters, proxies), so all of them are read before anything
  // that such code could change, and arrays that it could detach are copied.
  napi_value code, buffers, patches, slots, chains;
  bool chained = false;
  if (napi_get_named_property(env, spec, "code", &code) != napi_ok ||
      napi_get_named_property(env, spec, "buffers", &buffers) != napi_ok ||
      napi_get_named_property(env, spec, "patches", &patches) != napi_ok ||
      napi_get_named_property(env, spec, "slots", &slots) != napi_ok ||
      napi_get_named_property(env, spec, "chains", &chains) != napi_ok ||
      napi_is_typedarray(env, chains, &chained) != napi_ok) {
    return false;
  }
  Buffer given;
  if (!to_buffer(env, slots, &given) || given.type != Type::F64 || !is_shared(env, slots)) {
    return fail(env, "Program: slots must be a Float64Array over a SharedArrayBuffer");
  }
  slots_ = static_cast<const double*>(given.data);
  num_slots_ = given.length;
  if (napi_create_reference(env, slots, 1, &slots_reference_) != napi_ok) return false;

  if (!to_buffer(env, code, &given) || given.type != Type::F64) {
    return fail(env, "Program: code must be a Float64Array");
  }
  if (!code_.allocate(static_cast<size_t>(given.length))) return out_of_memory(env);
  if (given.length > 0) memcpy(&code_[0], given.data, static_cast<size_t>(given.length) * sizeof(double));

  if (!to_buffer(env, patches, &given) || given.type != Type::F64) {
    return fail(env, "Program: patches must be a Float64Array");
  }
  Array<double> triples;
  if (!triples.allocate(static_cast<size_t>(given.length))) return out_of_memory(env);
  if (given.length > 0) memcpy(&triples[0], given.data, static_cast<size_t>(given.length) * sizeof(double));

  Array<double> stretches;
  size_t num_stretches = 0;
  if (chained) {
    if (!to_buffer(env, chains, &given) || given.type != Type::F64) {
      return fail(env, "Program: chains must be a Float64Array, where there are any");
    }
    num_stretches = static_cast<size_t>(given.length);
  }
  if (!stretches.allocate(num_stretches)) return out_of_memory(env);
  if (num_stretches > 0) memcpy(&stretches[0], given.data, num_stretches * sizeof(double));

  if (!read_buffers(env, buffers) || !read_code(env)) return false;
  const Buffer copied = {&triples[0], static_cast<int64_t>(triples.size()), Type::F64};
  const Buffer copied_chains = {&stretches[0], static_cast<int64_t>(num_stretches), Type::F64};
  return read_patches(env, copied) && read_chains(env, copied_chains);
}

bool Program::read_buffers(napi_env env, napi_value list) {
  bool is_array = false;
  uint32_t count = 0;
  if (napi_is_array(env, list, &is_array) != napi_ok || !is_array ||
      napi_get_array_length(env, list, &count) != napi_ok || count > kMaxItems) {
    return fail(env, "Program: buffers must be an array of at most 2^20 items");
  }
  if (!table_.allocate(count) || !slots_of_.allocate(count)) return out_of_memory(env);
  size_t num_inputs = 0;
  for (uint32_t i = 0; i < count; i++) {
    napi_handle_scope scope;
    if (napi_open_handle_scope(env, &scope) != napi_ok) return false;
    const bool ok = [&] {
      napi_value item, property;
      bool typed = false;
      if (napi_get_element(env, list, i, &item) != napi_ok) return false;
      if (napi_is_typedarray(env, item, &typed) != napi_ok) return false;
      if (typed) {
        if (!to_buffer(env, item, &table_[i])) {
          throw_error(env, kArgument, "Program: buffer %u is not of a type that kernels take", i);
          return false;
        }
        if (!is_shared(env, item)) {
          throw_error(
              env, kArgument,
              "Program: buffer %u is over an ArrayBuffer, which could be detached; pinned buffers must be "
              "over SharedArrayBuffers",
              i);
          return false;
        }
        return napi_create_reference(env, item, 1, &slots_of_[i].reference) == napi_ok;
      }
      napi_valuetype kind;
      int64_t type = -1, length = -1;
      if (napi_typeof(env, item, &kind) != napi_ok) return false;
      if (kind == napi_object) {
        if (napi_get_named_property(env, item, "type", &property) != napi_ok) return false;
        if (!to_integer(env, property, 0, kTypes - 1, &type)) type = -1;
        if (napi_get_named_property(env, item, "length", &property) != napi_ok) return false;
        if (!to_integer(env, property, 0, int64_t{1} << 40, &length)) length = -1;
      }
      if (type < 0 || length < 0) {
        throw_error(env, kArgument, "Program: buffer %u is neither a typed array nor { type, length }", i);
        return false;
      }
      table_[i] = {nullptr, length, static_cast<Type>(type)};
      if (napi_get_named_property(env, item, "local", &property) != napi_ok) return false;
      bool local = false;
      if (napi_typeof(env, property, &kind) == napi_ok && kind == napi_boolean) {
        napi_get_value_bool(env, property, &local);
      }
      slots_of_[i].local = local;
      if (napi_get_named_property(env, item, "writable", &property) != napi_ok) return false;
      bool writable = false;
      if (!local && napi_typeof(env, property, &kind) == napi_ok && kind == napi_boolean) {
        napi_get_value_bool(env, property, &writable);
      }
      slots_of_[i].writable = writable;
      if (writable) updates_inputs_ = true;
      if (!local) num_inputs++;
      return true;
    }();
    napi_close_handle_scope(env, scope);
    if (!ok) return false;
  }
  if (!inputs_.allocate(num_inputs) || !values_.allocate(2 * num_inputs)) return out_of_memory(env);
  size_t input = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (slots_of_[i].reference == nullptr && !slots_of_[i].local) inputs_[input++] = i;
  }
  return true;
}

bool Program::read_code(napi_env env) {
  const size_t size = code_.size();
  size_t count = 0;
  for (size_t at = 0; at < size; count++) {
    size_t kernel, num_params = 0, num_buffers = 0;
    if (!as_index(code_[at], kNumKernels, &kernel) || at + 3 > size ||
        !as_index(code_[at + 1], kMaxParams + 1, &num_params) ||
        !as_index(code_[at + 2], kMaxBuffers + 1, &num_buffers) || size - at - 3 < num_params + num_buffers) {
      throw_error(env, kArgument, "Program: the code of instruction %zu is not one", count);
      return false;
    }
    at += 3 + num_params + num_buffers;
  }
  if (!instructions_.allocate(count)) return out_of_memory(env);
  double* at = &code_[0];
  for (size_t i = 0; i < count; i++) {
    Instruction& instruction = instructions_[i];
    instruction.kernel = static_cast<int>(at[0]);
    instruction.num_params = static_cast<int>(at[1]);
    instruction.num_buffers = static_cast<int>(at[2]);
    instruction.params = at + 3;
    instruction.buffers = instruction.params + instruction.num_params;
    at += 3 + instruction.num_params + instruction.num_buffers;

    const KernelRow& row = kernel_row(instruction.kernel);
    Buffer buffers[kMaxBuffers];
    for (int b = 0; b < instruction.num_buffers; b++) {
      size_t index;
      if (!as_index(instruction.buffers[b], table_.size(), &index)) {
        throw_error(env, kArgument, "Program: instruction %zu (%s): buffer index %g is outside [0, %zu)", i,
                    row.name, instruction.buffers[b], table_.size());
        return false;
      }
      const Slot& slot = slots_of_[index];
      if (b < row.outputs && slot.reference == nullptr && !slot.local && !slot.writable) {
        throw_error(env, kArgument, "Program: instruction %zu (%s) writes buffer %zu, which is an input", i,
                    row.name, index);
        return false;
      }
      buffers[b] = table_[index];
    }
    const Call call = {instruction.params, instruction.num_params, buffers, instruction.num_buffers};
    Problem problem;
    const Verdict verdict = check_call(instruction.kernel, call, &instruction.dispatch, &problem);
    if (verdict == Verdict::refused) {
      throw_error(env, kArgument, "Program: instruction %zu: %s", i, problem.text);
      return false;
    }
    instruction.nothing = verdict == Verdict::nothing;
  }
  return find_kernels(env);
}

bool Program::find_kernels(napi_env env) {
  const KernelTable& table = *environment_->table;
  for (size_t i = 0; i < instructions_.size(); i++) {
    Instruction& instruction = instructions_[i];
    instruction.run = table.run[instruction.kernel][static_cast<int>(instruction.dispatch)];
    if (instruction.run != nullptr || instruction.nothing) continue;
    throw_error(env, kArgument, "Program: instruction %zu: there is no native kernel %s for %s", i,
                kernel_row(instruction.kernel).name, type_name(instruction.dispatch));
    return false;
  }
  for (uint32_t index : inputs_) slots_of_[index].by_rows = -1;
  isa_changes_ = environment_->isa_changes;
  return true;
}

bool Program::read_patches(napi_env env, const Buffer& triples) {
  const size_t count = static_cast<size_t>(triples.length) / 3;
  if (count * 3 != static_cast<size_t>(triples.length)) {
    return fail(env, "Program: patches must be triples (instruction, param, slot)");
  }
  if (!patches_.allocate(count)) return out_of_memory(env);
  const double* at = static_cast<const double*>(triples.data);
  for (size_t i = 0; i < count; i++, at += 3) {
    Patch& patch = patches_[i];
    if (!as_index(at[0], instructions_.size(), &patch.instruction)) {
      throw_error(env, kArgument, "Program: patch %zu: there is no instruction %g", i, at[0]);
      return false;
    }
    const Instruction& instruction = instructions_[patch.instruction];
    if (!as_index(at[1], kMaxParams, &patch.param) ||
        !may_patch(instruction.kernel, instruction.num_params, static_cast<int>(patch.param))) {
      throw_error(env, kArgument, "Program: patch %zu: param %g of %s may not change between runs", i, at[1],
                  kernel_row(instruction.kernel).name);
      return false;
    }
    if (!as_index(at[2], static_cast<size_t>(num_slots_), &patch.slot)) {
      throw_error(env, kArgument, "Program: patch %zu: there is no slot %g", i, at[2]);
      return false;
    }
  }
  return true;
}

bool Program::resolve_inputs(napi_env env, const char* what, napi_value inputs, napi_value rows) {
  napi_value lists[2] = {inputs, rows};
  const uint32_t num_lists = rows == nullptr ? 1 : 2;
  for (uint32_t k = 0; k < num_lists; k++) {
    bool is_array = false;
    uint32_t count = 0;
    if (napi_is_array(env, lists[k], &is_array) != napi_ok || !is_array ||
        napi_get_array_length(env, lists[k], &count) != napi_ok) {
      throw_error(env, kArgument, "Program.%s: an array of %s is expected", what,
                  k == 0 ? "input arrays" : "rows to gather");
      return false;
    }
    if (count != inputs_.size()) {
      throw_error(env, kArgument, "Program.%s: %u %s given, %zu expected", what, count,
                  k == 0 ? "inputs" : "rows", inputs_.size());
      return false;
    }
  }
  // An element may be behind a getter, which could detach another one: addresses are read when all are here.
  const uint32_t count = static_cast<uint32_t>(inputs_.size());
  for (uint32_t k = 0; k < num_lists; k++) {
    for (uint32_t i = 0; i < count; i++) {
      if (napi_get_element(env, lists[k], i, &values_[k * count + i]) != napi_ok) return false;
    }
  }
  for (uint32_t i = 0; i < count; i++) {
    Buffer& place = table_[inputs_[i]];
    Slot& slot = slots_of_[inputs_[i]];
    Buffer given;
    if (!to_buffer(env, values_[i], &given)) {
      throw_error(env, kArgument, "Program.%s: input %u is not a typed array that kernels take", what, i);
      return false;
    }
    slot.rows.data = nullptr;
    place.rows = nullptr;
    if (num_lists == 2) {
      bool typed = false;
      if (napi_is_typedarray(env, values_[count + i], &typed) != napi_ok) return false;
      if (typed) {
        if (!resolve_rows(env, what, i, given, values_[count + i])) return false;
        continue;
      }
    }
    if (given.type != place.type || given.length != place.length) {
      throw_error(env, kArgument,
                  "Program.%s: input %u is %s of length %lld, but %s of length %lld is expected", what, i,
                  type_name(given.type), static_cast<long long>(given.length), type_name(place.type),
                  static_cast<long long>(place.length));
      return false;
    }
    place.data = given.data;
  }
  return true;
}

bool Program::resolve_rows(napi_env env, const char* what, uint32_t input, const Buffer& values,
                           napi_value rows) {
  const uint32_t index = inputs_[input];
  Buffer& place = table_[index];
  Buffer given;
  const bool fits = !slots_of_[index].writable && to_buffer(env, rows, &given) && given.type == Type::I32 &&
                    values.type == place.type && given.length > 0 && place.length >= given.length &&
                    place.length % given.length == 0 && values.length % (place.length / given.length) == 0;
  if (!fits) {
    throw_error(env, kArgument,
                "Program.%s: rows of %s of length %lld do not make input %u, which is %s of length %lld",
                what, type_name(values.type), static_cast<long long>(values.length), input,
                type_name(place.type), static_cast<long long>(place.length));
    return false;
  }
  place.data = values.data;
  slots_of_[index].values = values;
  slots_of_[index].rows = given;
  return true;
}

void* Program::staging(uint32_t index) {
  void*& data = slots_of_[index].staging;
  const size_t bytes = static_cast<size_t>(table_[index].length * size_of(table_[index].type));
  if (data == nullptr) data = CallContext::allocate_block(bytes);
  return data;
}

int64_t Program::count_by_rows(uint32_t index) const {
  const KernelTable& table = *environment_->table;
  int64_t count = 0;
  for (const Instruction& instruction : instructions_) {
    if (instruction.nothing) continue;
    Buffer buffers[kMaxBuffers];
    int readers = 0, operand = -1;
    for (int b = 0; b < instruction.num_buffers; b++) {
      const size_t at = static_cast<size_t>(instruction.buffers[b]);
      buffers[b] = table_[at];
      if (at != index) continue;
      readers++;
      operand = b;
    }
    if (readers == 0) continue;
    const ByRowsFn by_rows = table.by_rows[instruction.kernel][static_cast<int>(instruction.dispatch)];
    if (by_rows == nullptr || readers > 1) return 0;
    const Call call = {instruction.params, instruction.num_params, buffers, instruction.num_buffers};
    const ByRows found = by_rows(call, environment_->context.cache());
    if (found.operand != operand || (count != 0 && found.count != count)) return 0;
    count = found.count;
  }
  return count;
}

bool Program::place_rows(napi_env env, uint32_t index) {
  CallContext& context = environment_->context;
  Slot& slot = slots_of_[index];
  Buffer& place = table_[index];
  const int64_t count = slot.rows.length, inner = place.length / count, bound = slot.values.length / inner;
  if (slot.row_at == nullptr)
    slot.row_at = static_cast<int64_t*>(malloc(static_cast<size_t>(count) * sizeof(int64_t)));
  if (slot.row_at == nullptr) return out_of_memory(env);
  const volatile int32_t* rows = static_cast<const int32_t*>(slot.rows.data);
  for (int64_t k = 0; k < count; k++) {
    const int64_t row = rows[k];  // once: shared memory may change
    if (row < 0 || row >= bound) {
      context.begin();
      context.fail_index("indexSelect", row, k, bound);
      throw_recorded(env, context);
      return false;
    }
    slot.row_at[k] = row * inner;
  }
  place.rows = slot.row_at;
  return true;
}

bool Program::gather(napi_env env, bool must_copy) {
  CallContext& context = environment_->context;
  for (uint32_t index : inputs_) {
    Slot& slot = slots_of_[index];
    if (slot.rows.data == nullptr) continue;
    Buffer& place = table_[index];
    if (!must_copy) {
      if (slot.by_rows < 0) slot.by_rows = count_by_rows(index);
      if (slot.by_rows == slot.rows.length) {
        if (!place_rows(env, index)) return false;
        continue;
      }
    }
    place.data = staging(index);
    if (place.data == nullptr) return out_of_memory(env);
    const int64_t inner = place.length / slot.rows.length;
    const double params[] = {1,
                             static_cast<double>(slot.values.length / inner),
                             static_cast<double>(inner),
                             static_cast<double>(slot.rows.length),
                             0,
                             0,
                             0};
    const Buffer buffers[] = {place, slot.values, slot.rows};
    const Call call = {params, sizeof params / sizeof params[0], buffers, 3};
    context.begin();
    if (environment_->table->run[k_indexSelect][static_cast<int>(place.type)](call, context)) continue;
    throw_recorded(env, context);
    return false;
  }
  return true;
}

bool Program::prepare(napi_env env, const char* what, napi_value inputs, napi_value rows, bool must_copy) {
  if (in_flight_ || resolving_) {
    throw_error(env, kBusy, "Program.%s: a run of this program is in flight; wait for it first", what);
    return false;
  }
  resolving_ = true;
  const bool resolved = resolve_inputs(env, what, inputs, rows);
  resolving_ = false;
  if (!resolved) return false;
  if (isa_changes_ != environment_->isa_changes && !find_kernels(env)) return false;
  for (size_t i = 0; i < patches_.size(); i++) {
    const Patch& patch = patches_[i];
    Instruction& instruction = instructions_[patch.instruction];
    instruction.params[patch.param] = slots_[patch.slot];
    if (i + 1 < patches_.size() && patches_[i + 1].instruction == patch.instruction) continue;
    Problem problem;
    if (check_attrs(instruction.kernel, instruction.dispatch, instruction.params, instruction.num_params,
                    &problem) == Verdict::refused) {
      throw_error(env, kArgument, "Program.%s: instruction %zu: %s", what, patch.instruction, problem.text);
      return false;
    }
  }
  return gather(env, must_copy);
}

bool Program::execute(CallContext& context, double* nanoseconds) {
  using Clock = std::chrono::steady_clock;
  context.begin();
  Buffer buffers[kMaxBuffers];
  size_t next_chain = 0;
  for (size_t i = 0; i < instructions_.size(); i++) {
    if (next_chain < chains_.size() && chains_[next_chain].first == i) {
      const Chain& chain = chains_[next_chain++];
      const Clock::time_point begin = nanoseconds == nullptr ? Clock::time_point() : Clock::now();
      if (!run_chain(chain, context)) return false;
      if (nanoseconds != nullptr) {  // the first of its instructions has the time of all
        nanoseconds[i] = std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
        for (size_t j = 1; j < chain.count; j++) nanoseconds[i + j] = 0;
      }
      i += chain.count - 1;
      continue;
    }
    const Instruction& instruction = instructions_[i];
    if (instruction.nothing) continue;
    for (int b = 0; b < instruction.num_buffers; b++) {
      buffers[b] = table_[static_cast<size_t>(instruction.buffers[b])];
    }
    const Call call = {instruction.params, instruction.num_params, buffers, instruction.num_buffers};
    if (nanoseconds == nullptr) {
      if (!instruction.run(call, context)) return false;
      continue;
    }
    const Clock::time_point begin = Clock::now();
    if (!instruction.run(call, context)) return false;
    nanoseconds[i] = std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
  }
  return true;
}

bool Program::run(napi_env env, napi_value inputs, napi_value rows, double* nanoseconds) {
  if (!prepare(env, nanoseconds == nullptr ? "run" : "profile", inputs, rows, false)) return false;
  if (execute(environment_->context, nanoseconds)) return true;
  throw_recorded(env, environment_->context);
  return false;
}

bool Program::run_async(napi_env env, napi_value self, napi_value inputs, napi_value rows,
                        napi_value callback) {
  napi_valuetype kind;
  if (napi_typeof(env, callback, &kind) != napi_ok || kind != napi_function) {
    return fail(env, "Program.runAsync: a callback is expected");
  }
  if (!prepare(env, "runAsync", inputs, rows, true)) return false;
  for (size_t i = 0; updates_inputs_ && i < inputs_.size(); i++) {
    if (!slots_of_[inputs_[i]].writable || is_shared(env, values_[i])) continue;
    return fail(
        env, "Program.runAsync: this program updates its inputs, which must be over SharedArrayBuffers then");
  }
  // From here on no JavaScript runs until the inputs are copied.
  for (uint32_t index : inputs_) {
    if (slots_of_[index].writable) continue;
    Buffer& input = table_[index];
    void* copy = staging(index);
    if (copy == nullptr) return out_of_memory(env);
    if (input.data == copy) continue;  // gathered
    const size_t bytes = static_cast<size_t>(input.length * size_of(input.type));
    if (bytes > 0) memcpy(copy, input.data, bytes);
    input.data = copy;
  }
  AsyncRun* run = static_cast<AsyncRun*>(calloc(1, sizeof(AsyncRun)));
  if (run == nullptr) return out_of_memory(env);
  run->run = run_job;
  run->program = this;
  if (hold_updated(env, run) && start(env, run, self, callback)) return true;
  forget(run);
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) return out_of_memory(env);
  return false;
}

// Keeps the memory that the run writes from being collected before it ends.
bool Program::hold_updated(napi_env env, AsyncRun* run) {
  if (!updates_inputs_) return true;
  napi_value list;
  if (napi_create_array(env, &list) != napi_ok) return false;
  for (size_t i = 0; i < inputs_.size(); i++) {
    if (!slots_of_[inputs_[i]].writable) continue;
    // Defined, not assigned: somebody may have put a setter, which is JavaScript, on the prototype of arrays.
    char name[24];
    snprintf(name, sizeof name, "%zu", i);
    napi_property_descriptor element = {};
    element.utf8name = name;
    element.value = values_[i];
    element.attributes = napi_enumerable;
    if (napi_define_properties(env, list, 1, &element) != napi_ok) return false;
  }
  return napi_create_reference(env, list, 1, &run->updated) == napi_ok;
}

bool Program::start(napi_env env, AsyncRun* run, napi_value self, napi_value callback) {
  Environment* environment = environment_;
  run->context = environment->take_context();
  if (run->context == nullptr || napi_create_reference(env, self, 1, &run->self) != napi_ok ||
      napi_create_reference(env, callback, 1, &run->callback) != napi_ok) {
    return false;
  }
  in_flight_ = true;
  if (!environment->runner.post(run)) {
    in_flight_ = false;
    throw_error(env, kMemory, "Program.runAsync: the system gave no thread to run on");
    return false;
  }
  if (environment->runs_in_flight++ == 0) environment->keep_alive(true);
  return true;
}

void Program::forget(AsyncRun* run) {
  Environment* environment = run->program->environment_;
  run->program->in_flight_ = false;
  if (run->context != nullptr) environment->give_context(run->context);
  if (run->callback != nullptr) napi_delete_reference(environment->env, run->callback);
  if (run->self != nullptr) napi_delete_reference(environment->env, run->self);
  if (run->updated != nullptr) napi_delete_reference(environment->env, run->updated);
  free(run);
}

void Program::run_job(Runner::Job* job) {
  AsyncRun* run = static_cast<AsyncRun*>(job);
  run->ok = run->program->execute(*run->context, nullptr);
}

void Program::complete(napi_env env, AsyncRun* run) {
  char text[320];
  const char* code = run->ok ? nullptr : run->context->error(text, sizeof text);
  napi_value callback = nullptr, argument = nullptr, undefined = nullptr;
  napi_get_reference_value(env, run->callback, &callback);
  forget(run);

  bool ready = callback != nullptr && napi_get_undefined(env, &undefined) == napi_ok;
  if (code == nullptr) {
    ready = ready && napi_get_null(env, &argument) == napi_ok;
  } else {
    napi_value code_value, message;
    ready = ready && napi_create_string_utf8(env, code, NAPI_AUTO_LENGTH, &code_value) == napi_ok &&
            napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message) == napi_ok &&
            napi_create_error(env, code_value, message, &argument) == napi_ok;
  }
  // Where the environment is going away this call fails, which is all right.
  if (ready &&
      napi_call_function(env, undefined, callback, 1, &argument, nullptr) == napi_pending_exception) {
    napi_value error;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  }
}

void complete_runs(napi_env env, napi_value, void* data, void*) {
  if (env == nullptr) return;  // it goes away
  Environment* environment = static_cast<Environment*>(data);
  environment->bell = 1 - environment->bell;
  for (Runner::Job *job = environment->runner.take_ended(), *next; job != nullptr; job = next) {
    next = job->next;
    if (--environment->runs_in_flight == 0) environment->keep_alive(false);
    Program::complete(env, static_cast<Program::AsyncRun*>(job));
  }
}

void forget_runs(Environment* environment) {
  for (Runner::Job* jobs : {environment->runner.take_ended(), environment->runner.take_posted()}) {
    for (Runner::Job* next; jobs != nullptr; jobs = next) {
      next = jobs->next;
      Program::forget(static_cast<Program::AsyncRun*>(jobs));
    }
  }
}

bool Program::bind(napi_env env, napi_value index, napi_value array) {
  if (in_flight_ || resolving_) {
    throw_error(env, kBusy, "Program.bind: a run of this program is in flight; wait for it first");
    return false;
  }
  int64_t at;
  if (!to_integer(env, index, 0, static_cast<int64_t>(table_.size()) - 1, &at) ||
      slots_of_[static_cast<size_t>(at)].reference == nullptr) {
    return fail(env, "Program.bind: the index must be that of a pinned buffer");
  }
  Buffer& place = table_[static_cast<size_t>(at)];
  Buffer given;
  if (!to_buffer(env, array, &given) || given.type != place.type || given.length != place.length ||
      !is_shared(env, array)) {
    throw_error(env, kArgument, "Program.bind: buffer %lld takes %s of length %lld over a SharedArrayBuffer",
                static_cast<long long>(at), type_name(place.type), static_cast<long long>(place.length));
    return false;
  }
  napi_ref reference;
  if (napi_create_reference(env, array, 1, &reference) != napi_ok) return out_of_memory(env);
  napi_ref& old = slots_of_[static_cast<size_t>(at)].reference;
  napi_delete_reference(env, old);
  old = reference;
  place.data = given.data;
  return true;
}

namespace {

void on_finalize(napi_env env, void* data, void*) {
  Program* program = static_cast<Program*>(data);
  program->drop(env);
  // Cannot be: a run in flight holds a reference to its program, and forget_runs() comes before the end of
  // the environment. If it were, a leak is better than a crash.
  if (!program->in_flight()) delete program;
}

struct Method {
  napi_value self;
  napi_value values[3];  // null where not given
  Program* program;
};

// The receiver and the arguments; false with an exception pending.
bool enter(napi_env env, napi_callback_info info, const char* name, size_t expected, size_t optional,
           Method* out) {
  size_t count = 3;
  void* function_data;
  if (napi_get_cb_info(env, info, &count, out->values, &out->self, &function_data) != napi_ok) return false;
  const auto refuse = [&] {
    bool pending = false;
    napi_is_exception_pending(env, &pending);
    if (!pending) throw_error(env, kArgument, "Program.%s: the receiver is not a Program", name);
    return false;
  };
  void* data = nullptr;
  if (napi_unwrap(env, out->self, &data) != napi_ok || data == nullptr) return refuse();
  // The tag tells programs from what other addons wrap. Looking at it takes as long as a small kernel, and a
  // live program's address is nobody else's, so it is skipped for the program of the last call.
  Environment* environment = static_cast<Environment*>(function_data);
  if (data != environment->last_program) {
    bool tagged = false;
    if (napi_check_object_type_tag(env, out->self, &kTag, &tagged) != napi_ok || !tagged) return refuse();
    environment->last_program = data;
  }
  out->program = static_cast<Program*>(data);
  if (count >= expected && count <= expected + optional) {
    for (size_t i = count; i < 3; i++) out->values[i] = nullptr;
    return true;
  }
  throw_error(env, kArgument, "Program.%s: %zu arguments given, %zu expected", name, count, expected);
  return false;
}

napi_value construct(napi_env env, napi_callback_info info) {
  size_t count = 1;
  napi_value spec, self, target = nullptr;
  void* data;
  if (napi_get_cb_info(env, info, &count, &spec, &self, &data) != napi_ok) return nullptr;
  napi_valuetype kind = napi_undefined;
  if (napi_get_new_target(env, info, &target) != napi_ok || target == nullptr) {
    return throw_error(env, kArgument, "Program: must be called with new");
  }
  if (count < 1 || napi_typeof(env, spec, &kind) != napi_ok || kind != napi_object) {
    return throw_error(env, kArgument, "Program: an object { code, buffers, patches, slots } is expected");
  }
  Program* program = new (std::nothrow) Program(static_cast<Environment*>(data));
  if (program == nullptr) return throw_error(env, kMemory, "Program: out of memory");
  if (!program->build(env, spec)) {
    program->drop(env);
    delete program;
    bool pending = false;
    if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) {
      throw_error(env, kArgument, "Program: the description could not be read");
    }
    return nullptr;
  }
  if (napi_wrap(env, self, program, on_finalize, nullptr, nullptr) != napi_ok) {
    program->drop(env);
    delete program;
    return throw_error(env, kArgument, "Program: the object cannot be wrapped");
  }
  napi_type_tag_object(env, self, &kTag);
  return self;
}

napi_value run(napi_env env, napi_callback_info info) {
  Method method;
  if (enter(env, info, "run", 1, 1, &method)) {
    method.program->run(env, method.values[0], method.values[1], nullptr);
  }
  return nullptr;
}

napi_value run_async(napi_env env, napi_callback_info info) {
  Method method;
  if (enter(env, info, "runAsync", 2, 1, &method)) {
    method.program->run_async(env, method.self, method.values[0], method.values[2], method.values[1]);
  }
  return nullptr;
}

napi_value bind(napi_env env, napi_callback_info info) {
  Method method;
  if (enter(env, info, "bind", 2, 0, &method)) method.program->bind(env, method.values[0], method.values[1]);
  return nullptr;
}

napi_value profile(napi_env env, napi_callback_info info) {
  Method method;
  if (!enter(env, info, "profile", 1, 1, &method)) return nullptr;
  const size_t count = method.program->instructions();
  napi_value memory, times;
  void* data = nullptr;
  if (napi_create_arraybuffer(env, count * sizeof(double), &data, &memory) != napi_ok ||
      napi_create_typedarray(env, napi_float64_array, count, memory, 0, &times) != napi_ok) {
    return nullptr;
  }
  double none = 0;
  double* nanoseconds = count == 0 ? &none : static_cast<double*>(data);
  return method.program->run(env, method.values[0], method.values[1], nanoseconds) ? times : nullptr;
}

}  // namespace

bool define_program(napi_env env, Environment* environment, napi_value exports) {
  void* data = environment;
  const napi_property_descriptor methods[] = {
      {"run", nullptr, run, nullptr, nullptr, nullptr, napi_default_method, data},
      {"runAsync", nullptr, run_async, nullptr, nullptr, nullptr, napi_default_method, data},
      {"bind", nullptr, bind, nullptr, nullptr, nullptr, napi_default_method, data},
      {"profile", nullptr, profile, nullptr, nullptr, nullptr, napi_default_method, data},
  };
  napi_value type;
  return napi_define_class(env, "Program", NAPI_AUTO_LENGTH, construct, environment,
                           sizeof methods / sizeof methods[0], methods, &type) == napi_ok &&
         napi_set_named_property(env, exports, "Program", type) == napi_ok;
}

}  // namespace simdgrad
