// Validation of kernel calls: the one place that decides whether params and buffers fit a kernel of
// kernels.def.
#pragma once

#include "kernel.h"

namespace simdgrad {

constexpr int kMaxDims = 8;       // of map and reduce
constexpr int kMaxBatchDims = 6;  // of matmul
constexpr int kMaxBuffers = 8;    // more than any kernel takes
constexpr int kMaxParams = 128;   // more than any kernel takes

enum class Family : uint8_t { map, reduce, rows, axis, index, random, optim, update, matmul };

enum class Types : uint8_t {
  FLOAT,
  NUMERIC,
  ANY,
  COMPARE,
  TEST,
  LOGICAL,
  SELECT,
  CAST,
  ARG,
  LABELS,
  GATHER,
  INT
};

// A row of kernels.def.
struct KernelRow {
  const char* name;
  Family family;
  int outputs;
  int inputs;
  int attrs;
  Types types;
  int buffers() const { return outputs + inputs; }
};

const KernelRow& kernel_row(int kernel);

// Bit per dispatch type T that the row's `types` admit, whether or not this build has a kernel for it.
unsigned dispatch_types(Types types);

// Index of the buffer whose type is the dispatch type T.
int dispatch_buffer(Types types);

const char* type_name(Type type);

// What is wrong with a call, for people.
struct Problem {
  char text[320];
  Problem() { text[0] = 0; }  // and not all 320, at every call
};

enum class Verdict : uint8_t {
  run,      // the call is safe to run
  nothing,  // the call is right and has nothing to do (an empty shape)
  refused,  // see the Problem
};

// Checks everything that run functions rely on: counts, types, integers and their ranges, the smallest and
// largest element that each operand can reach, and the values of attrs that select code. It does not read
// buffers' elements. Reads of `call.params` are the only ones before the run, so the caller must own that
// memory.
Verdict check_call(int kernel, const Call& call, Type* dispatch, Problem* problem);

// Remembers calls that were found right: eager code makes the same ones over and over, and a small one takes
// as long to check as to run. A verdict depends on the kernel, the params, and the lengths and types of the
// buffers alone.
class CheckedCalls {
 public:
  // As check_call().
  Verdict check(int kernel, const Call& call, Type* dispatch, Problem* problem);

 private:
  static constexpr int kPlaceBits = 6, kMostParams = 32;
  struct Place {
    int kernel = -1, num_params, num_buffers;
    Type dispatch, types[kMaxBuffers];
    int64_t lengths[kMaxBuffers];
    double params[kMostParams];
  };
  static bool holds(const Place& place, int kernel, const Call& call);

  Place places_[1 << kPlaceBits];
};

// The same as check_call(), when buffers and layout integers were checked before and only params that
// may_patch() changed.
Verdict check_attrs(int kernel, Type dispatch, const double* params, int num_params, Problem* problem);

// True for params that may change between the runs of a program: attrs, and a random kernel's key and first
// block.
bool may_patch(int kernel, int num_params, int param);

}  // namespace simdgrad
