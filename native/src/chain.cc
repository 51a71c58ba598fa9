// Chains: stretches of elementwise instructions over vectors of one length, run block by block so that what
// one instruction writes is still in the cache when the next one reads it. Values that live only inside a
// chain have a block of memory per thread and no more.
#include <cstring>

#include "check.h"
#include "program.h"

namespace simdgrad {
namespace {

constexpr int64_t kLine = 64;  // elements: whole cache lines for every type
constexpr int64_t kLeastBlock = 1024, kLargestBlock = 16384;
// Fewer elements (of all instructions together) are not worth sharing.
constexpr int64_t kParallelElements = 1 << 17;
constexpr double kNanosecondsPerElement = 0.2;

}  // namespace

bool Program::read_chains(napi_env env, const Buffer& triples) {
  const size_t count = static_cast<size_t>(triples.length) / 3;
  const auto refuse = [&](size_t chain, const char* what) {
    throw_error(env, kArgument, "Program: chain %zu: %s", chain, what);
    return false;
  };
  if (count * 3 != static_cast<size_t>(triples.length)) {
    return refuse(0, "chains are triples (first instruction, count, length)");
  }
  if (!chains_.allocate(count) || !owner_.allocate(table_.size())) {
    throw_error(env, kMemory, "Program: out of memory");
    return false;
  }
  const double* at = static_cast<const double*>(triples.data);
  size_t behind = 0;
  for (size_t c = 0; c < count; c++, at += 3) {
    Chain& chain = chains_[c];
    const double left = static_cast<double>(instructions_.size());
    if (!(at[0] >= static_cast<double>(behind) && at[1] >= 1 && at[0] + at[1] <= left)) {
      return refuse(c, "its instructions are not there, or belong to the one before");
    }
    chain.first = static_cast<size_t>(at[0]);
    chain.count = static_cast<size_t>(at[1]);
    if (static_cast<double>(chain.first) != at[0] || static_cast<double>(chain.count) != at[1]) {
      return refuse(c, "its instructions are not whole numbers");
    }
    behind = chain.first + chain.count;
    int64_t bytes = 0;
    for (size_t i = chain.first; i < behind; i++) {
      const Instruction& instruction = instructions_[i];
      const double* p = instruction.params;
      // The layout of `map` (kernels.def), flat: [1, n, offset and stride of each buffer].
      if (kernel_row(instruction.kernel).family != Family::map || p[0] != 1 || p[1] != at[2]) {
        return refuse(c, "an instruction is not elementwise over the chain's length");
      }
      for (int b = 0; b < instruction.num_buffers; b++) {
        const double offset = p[2 + 2 * b], stride = p[3 + 2 * b];
        const size_t index = static_cast<size_t>(instruction.buffers[b]);
        const Slot& slot = slots_of_[index];
        if (stride != 1 && (stride != 0 || b == 0)) return refuse(c, "a stride is neither 1 nor 0");
        if (slot.local && (offset != 0 || stride != 1))
          return refuse(c, "a local buffer is not used as a whole");
        if (owner_[index] == c + 1) continue;
        if (slot.local) {
          if (owner_[index] != 0) return refuse(c, "a local buffer is used by two chains");
          table_[index].data = nullptr;
          slots_of_[index].place = chain.local_bytes;
          chain.local_bytes += size_of(table_[index].type);
        }
        owner_[index] = c + 1;
        if (stride == 1) bytes += size_of(table_[index].type);
      }
    }
    chain.length = instructions_[chain.first].nothing ? 0 : static_cast<int64_t>(at[2]);
    // What a block touches fills a quarter of the second-level cache.
    const int64_t block = environment_->context.cache().l2 / 4 / (bytes > 0 ? bytes : 1);
    const int64_t bounded = block < kLeastBlock ? kLeastBlock : block > kLargestBlock ? kLargestBlock : block;
    chain.block = bounded / kLine * kLine;
  }
  // Outside of its chain a local buffer has no memory.
  for (size_t i = 0, c = 0; i < instructions_.size(); i++) {
    while (c < count && i >= chains_[c].first + chains_[c].count) c++;
    if (c < count && i >= chains_[c].first) continue;
    for (int b = 0; b < instructions_[i].num_buffers; b++) {
      if (slots_of_[static_cast<size_t>(instructions_[i].buffers[b])].local) {
        throw_error(env, kArgument, "Program: instruction %zu uses a local buffer outside of its chain", i);
        return false;
      }
    }
  }
  return true;
}

void Program::run_blocks(const Chain& chain, int64_t begin, int64_t end, char* local,
                         CallContext& context) const {
  double params[kMaxParams];
  Buffer buffers[kMaxBuffers];
  for (; begin < end; begin += chain.block) {
    const int64_t length = end - begin < chain.block ? end - begin : chain.block;
    for (size_t i = chain.first; i < chain.first + chain.count; i++) {
      const Instruction& instruction = instructions_[i];
      memcpy(params, instruction.params, static_cast<size_t>(instruction.num_params) * sizeof(double));
      params[1] = static_cast<double>(length);
      for (int b = 0; b < instruction.num_buffers; b++) {
        const size_t index = static_cast<size_t>(instruction.buffers[b]);
        buffers[b] = table_[index];
        if (slots_of_[index].local) {
          buffers[b].data = local + slots_of_[index].place * chain.block;
        } else {
          params[2 + 2 * b] += params[3 + 2 * b] * static_cast<double>(begin);
        }
      }
      // Elementwise kernels do not fail.
      instruction.run({params, instruction.num_params, buffers, instruction.num_buffers}, context);
    }
  }
}

bool Program::run_chain(const Chain& chain, CallContext& context) const {
  struct Job {
    const Program* program;
    const Chain* chain;
    CallContext* context;
    int64_t per_task;
    std::atomic<bool> failed;
  };
  if (chain.length == 0) return true;
  const int64_t work = chain.length * static_cast<int64_t>(chain.count);
  Job job = {this, &chain, &context, work < kParallelElements ? chain.length : chain.block, {false}};
  const auto task = [](void* arg, int64_t number, int worker) {
    Job& j = *static_cast<Job*>(arg);
    const int64_t begin = number * j.per_task, end = begin + j.per_task;
    char* local = nullptr;
    if (j.chain->local_bytes > 0) {
      local = static_cast<char*>(
          j.context->scratch(worker, static_cast<size_t>(j.chain->local_bytes * j.chain->block)));
      if (local == nullptr) {
        j.failed.store(true);
        return;
      }
    }
    j.program->run_blocks(*j.chain, begin, end < j.chain->length ? end : j.chain->length, local, *j.context);
  };
  context.parallel((chain.length + job.per_task - 1) / job.per_task, task, &job,
                   static_cast<double>(work) * kNanosecondsPerElement);
  return !job.failed.load() || context.fail_memory("a chain of elementwise operations");
}

}  // namespace simdgrad
