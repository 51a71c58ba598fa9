// Programs: a list of kernel calls over fixed buffers, checked once and run by one crossing of the boundary.
#pragma once

#include <cstdlib>

#include "environment.h"

namespace simdgrad {

// Memory whose allocation can fail (the standard containers throw, and this code has no exceptions).
template <class T>
class Array {
 public:
  Array() = default;
  ~Array() { free(data_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  // `size` zeroed elements.
  bool allocate(size_t size) {
    free(data_);
    data_ = static_cast<T*>(calloc(size == 0 ? 1 : size, sizeof(T)));
    size_ = data_ == nullptr ? 0 : size;
    return data_ != nullptr;
  }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  size_t size() const { return size_; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

 private:
  T* data_ = nullptr;
  size_t size_ = 0;
};

class Program {
 public:
  explicit Program(Environment* environment) : environment_(environment) { environment->owners++; }
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  // These return false with a JavaScript exception pending.
  bool build(napi_env env, napi_value spec);
  // `rows` is null or a list with an Int32Array for every input that is to be filled with so many rows of the
  // array given for it (and anything else for the others).
  bool run(napi_env env, napi_value inputs, napi_value rows, double* nanoseconds);
  bool run_async(napi_env env, napi_value self, napi_value inputs, napi_value rows, napi_value callback);
  bool bind(napi_env env, napi_value index, napi_value array);

  // Lets go of the JavaScript values; the program cannot run afterwards.
  void drop(napi_env env);

  size_t instructions() const { return instructions_.size(); }
  bool in_flight() const { return in_flight_; }

 private:
  friend void complete_runs(napi_env env, napi_value, void* environment, void*);
  friend void forget_runs(Environment* environment);
  struct Instruction {
    int kernel;
    Type dispatch;
    bool nothing;  // an empty shape
    int num_params, num_buffers;
    double* params;         // in code_
    const double* buffers;  // indices into table_, in code_
    RunFn run;
  };
  struct Slot {
    napi_ref reference;   // of a pinned array; null for inputs
    void* staging;        // of an input: memory for rows that are gathered, and for asynchronous runs
    Buffer values, rows;  // of an input, in a run on rows of `values`; rows.data is null otherwise
    int64_t by_rows;  // of an input: so many rows are used where they lie; 0: gathered; below: not known yet
    int64_t* row_at;  // where in `values` they are
    bool local;       // lives inside one chain only
    // An input that instructions may write: the caller's memory is updated in place. In an asynchronous run
    // it must be shared memory, which is not copied.
    bool writable;
    int64_t place;  // of a local one: bytes before it per element of a block
  };
  struct Chain {
    size_t first, count;  // instructions
    int64_t length, block, local_bytes;
  };
  struct Patch {
    size_t instruction, param, slot;
  };
  struct AsyncRun : Runner::Job {
    Program* program;
    CallContext* context;
    napi_ref callback;
    napi_ref self;     // keeps the program from being collected
    napi_ref updated;  // a list of the inputs that it updates; null where there are none
    bool ok;
  };

  bool read_buffers(napi_env env, napi_value list);
  bool read_code(napi_env env);
  bool read_patches(napi_env env, const Buffer& patches);
  bool read_chains(napi_env env, const Buffer& triples);
  // Looks up input arrays, patches params and kernels: what precedes each run.
  bool prepare(napi_env env, const char* what, napi_value inputs, napi_value rows, bool must_copy);
  bool resolve_inputs(napi_env env, const char* what, napi_value inputs, napi_value rows);
  bool resolve_rows(napi_env env, const char* what, uint32_t input, const Buffer& values, napi_value rows);
  // Memory for the values of an input; null when out of memory.
  void* staging(uint32_t index);
  // What a run does about inputs that are rows: they stay where they lie if all that reads them can do so,
  // and are copied otherwise or if `must_copy`.
  bool gather(napi_env env, bool must_copy);
  int64_t count_by_rows(uint32_t index) const;
  bool place_rows(napi_env env, uint32_t index);
  bool find_kernels(napi_env env);
  bool execute(CallContext& context, double* nanoseconds);
  bool run_chain(const Chain& chain, CallContext& context) const;
  void run_blocks(const Chain& chain, int64_t begin, int64_t end, char* local, CallContext& context) const;
  bool hold_updated(napi_env env, AsyncRun* run);
  bool start(napi_env env, AsyncRun* run, napi_value self, napi_value callback);
  static void run_job(Runner::Job* job);
  static void complete(napi_env env, AsyncRun* run);
  static void forget(AsyncRun* run);

  Environment* environment_;
  Array<double> code_;
  Array<Instruction> instructions_;
  Array<Buffer> table_;
  Array<Slot> slots_of_;
  Array<uint32_t> inputs_;       // their indices in table_
  bool updates_inputs_ = false;  // some input is writable
  Array<napi_value> values_;     // of the inputs, then of their rows
  Array<Patch> patches_;
  Array<Chain> chains_;
  Array<size_t> owner_;  // of every buffer: one more than the chain that used it last
  const double* slots_ = nullptr;
  int64_t num_slots_ = 0;
  napi_ref slots_reference_ = nullptr;
  int isa_changes_ = -1;
  bool in_flight_ = false;
  bool resolving_ = false;  // a getter of the caller may be running
};

}  // namespace simdgrad
