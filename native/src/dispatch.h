// Which instruction sets this machine runs, and the kernel table of each.
#pragma once

#include "kernel.h"

namespace simdgrad {

enum class Isa : uint8_t { baseline, avx2, avx512 };
constexpr int kIsas = 3;

const char* isa_name(Isa isa);
// By CPUID and by what the operating system saves at a context switch (XCR0).
bool isa_runs(Isa isa);
// SIMDGRAD_ISA where it names one that runs here, else the best that does.
Isa default_isa();
// The baseline's kernels, overwritten by those of every set up to `isa`. Built once, never freed.
const KernelTable& kernel_table(Isa isa);

// Of large pages: of larger ones, few arrays would fill one.
constexpr int64_t kLargestPage = 1 << 21;

struct Machine {
  char cpu[64];
  CacheSizes cache;
  int processors;      // how many threads this process may run at once
  int threads;         // SIMDGRAD_THREADS, or as many as there are cores for them
  int64_t large_page;  // bytes of the large pages that the system gives on request, or 0
};
const Machine& machine();

}  // namespace simdgrad
