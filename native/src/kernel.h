// What every part of the addon shares: calls, the kernel table and the context that kernels run in.
#pragma once

#include <cstddef>
#include <cstdint>

namespace simdgrad {

enum class Type : uint8_t { F32 = 0, F64 = 1, I32 = 2, U8 = 3 };
constexpr int kTypes = 4;
constexpr int64_t size_of(Type type) { return type == Type::F64 ? 8 : type == Type::U8 ? 1 : 4; }

// A view on a typed array; length in elements.
struct Buffer {
  void* data;
  int64_t length;
  Type type;
  // Not null: the values are rows that lie apart, each so many elements behind `data`. Only for an operand
  // that KernelTable::by_rows names.
  const int64_t* rows = nullptr;
};

// One kernel call in the layout of kernels.def.
struct Call {
  const double* params;
  int num_params;
  const Buffer* buffers;  // outputs first
  int num_buffers;
};

struct CacheSizes {
  int64_t l1 = 32 << 10, l2 = 512 << 10, l3 = 8 << 20;  // bytes; l1 and l2 per core
};

// Threads, scratch memory and the error of the call in progress. One per environment and per caller.
class Context {
 public:
  virtual ~Context() = default;
  virtual int threads() const = 0;
  // fn(arg, task, worker) for every task in [0, tasks), worker in [0, threads()); returns when all are done.
  // The set of tasks never depends on which threads are free, so neither do results. `ns`: about how long one
  // thread takes for all of them, which decides whether sleeping threads are woken for it.
  using Task = void (*)(void* arg, int64_t task, int worker);
  virtual void parallel(int64_t tasks, Task fn, void* arg, double ns) = 0;
  // 64-byte aligned memory of this worker, or of all (kShared), kept and grown; valid until its next call;
  // null when out of memory.
  static constexpr int kShared = -1;
  virtual void* scratch(int worker, size_t bytes) = 0;
  virtual const CacheSizes& cache() const = 0;
  // Record an error (the first one wins, any thread) and return false.
  virtual bool fail_index(const char* kernel, int64_t index, int64_t position, int64_t bound) = 0;
  virtual bool fail_memory(const char* kernel) = 0;
};

// Runs a call that check.cc has validated: extents can be trusted, index values cannot (load once, check).
// False: an error was recorded in the context.
using RunFn = bool (*)(const Call&, Context&);

// The operand of a call that may be `count` rows which lie apart; -1 where there is none.
struct ByRows {
  int operand = -1;
  int64_t count = 0;
};
using ByRowsFn = ByRows (*)(const Call&, const CacheSizes&);

enum KernelId : int {
#define KERNEL(name, family, outputs, inputs, attrs, types) k_##name,
#include "../kernels.def"
#undef KERNEL
  kNumKernels
};

// By kernel and dispatch type (the T of kernels.def; copy is dispatched by its output); null: not available.
struct KernelTable {
  RunFn run[kNumKernels][kTypes] = {};
  ByRowsFn by_rows[kNumKernels][kTypes] = {};  // null: all operands are in one piece
};

// Targets fill the table in this order, faster ones over slower ones.
namespace baseline {
void fill_table(KernelTable&);
}
namespace avx2 {
void fill_table(KernelTable&);
}
namespace avx512 {
void fill_table(KernelTable&);
}

}  // namespace simdgrad
