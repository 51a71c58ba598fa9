// What the addon keeps per JavaScript environment (the main thread, or a worker), and helpers of the
// boundary.
//
// The boundary uses the C functions of Node-API, not the C++ wrapper classes: every one of them reports
// failure by a status, also in a worker that is being terminated, where the wrappers abort the process.
#pragma once

#include <napi.h>

#include "check.h"
#include "context.h"
#include "dispatch.h"
#include "runner.h"

namespace simdgrad {

constexpr size_t kParamsLength = 256;  // of the block that init() takes

struct Environment {
  const napi_env env;
  Pool pool;
  CallContext context;          // of calls on the JavaScript thread
  CallContext* idle = nullptr;  // contexts for asynchronous runs, not in use
  Isa isa;
  const KernelTable* table;
  int isa_changes = 0;  // programs look up their kernels again when it moves
  const double* params = nullptr;
  napi_ref params_reference = nullptr;
  int64_t external_bytes = 0;
  Runner runner;                            // of those runs
  napi_threadsafe_function bell = nullptr;  // tells the JavaScript thread that one has ended
  int runs_in_flight = 0;
  const void* last_program = nullptr;  // the receiver that was checked last
  int owners = 1;                      // the instance, and every program

  explicit Environment(napi_env env)
      : env(env),
        pool(machine().threads),
        context(&pool),
        isa(default_isa()),
        table(&kernel_table(isa)),
        runner(ring, this) {}
  ~Environment();

  CallContext* take_context();  // null when out of memory
  void give_context(CallContext* context);
  void release();                       // deletes this with its last owner
  static void ring(void* environment);  // for the runner
};

constexpr char kArgument[] = "SIMDGRAD_ARGUMENT";
constexpr char kBusy[] = "SIMDGRAD_BUSY";
constexpr char kMemory[] = "SIMDGRAD_MEMORY";

// Makes the error pending; gives null for `return`.
#if defined(__GNUC__)
__attribute__((format(printf, 3, 4), cold))
#endif
napi_value
throw_error(napi_env env, const char* code, const char* format, ...);

// What the context recorded.
napi_value throw_recorded(napi_env env, const CallContext& context);

// False where the value is not a number, or not an integer in [low, high].
bool to_integer(napi_env env, napi_value value, int64_t low, int64_t high, int64_t* out);

// False where the value is not one of the four kinds of typed arrays that kernels take. A detached or
// out-of-bounds array has length 0. Nothing in here runs JavaScript.
bool to_buffer(napi_env env, napi_value value, Buffer* out);

// True for a typed array over a SharedArrayBuffer, whose memory can neither move nor shrink.
bool is_shared(napi_env env, napi_value typed_array);

// Adds class Program to the exports.
bool define_program(napi_env env, Environment* environment, napi_value exports);

}  // namespace simdgrad
