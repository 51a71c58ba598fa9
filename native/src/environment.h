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
  CallContext context;  // of calls on the JavaScript thread
  Isa isa;
  const KernelTable* table;
  int isa_changes = 0;  // programs look up their kernels again when it moves
  CheckedCalls checked;
  const double* params = nullptr;
  napi_ref params_reference = nullptr;
  int64_t external_bytes = 0;

  // Asynchronous runs.
  Runner runner;
  CallContext* idle = nullptr;  // contexts that none of them uses
  int runs_in_flight = 0;
  // Tell the JavaScript thread that some have ended, in turns. A bell that rings while JavaScript answers it
  // is answered again at once, and a loop of short steps would keep the event loop from everything else; the
  // other one is answered when the event loop has come round.
  napi_threadsafe_function bells[2] = {};
  int bell = 0;  // the one to ring

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
  void release();  // deletes this with its last owner
  bool hang_bells(napi_env env);
  static void ring(void* environment);  // for the runner
  void keep_alive(bool alive);          // whether the process waits for runs
  void close();                         // ends all threads
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

// Completes the runs that have ended. For bells.
void complete_runs(napi_env env, napi_value, void* environment, void*);

// Drops the runs of an environment whose runner is closed.
void forget_runs(Environment* environment);

// Adds class Program to the exports.
bool define_program(napi_env env, Environment* environment, napi_value exports);

}  // namespace simdgrad
