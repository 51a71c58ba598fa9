// Kernels for x86-64 with AVX2 and FMA. Elsewhere the table stays as it is.
#define SIMDGRAD_TARGET 1  // SIMDGRAD_AVX2

// Every standard header that kernels need comes before the region (see targets.h).
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernel.h"
#include "targets.h"
#if SIMDGRAD_X86
#include <immintrin.h>

SIMDGRAD_BEGIN_TARGET
namespace simdgrad {
namespace avx2 {

#include "kernels/all.inc"

}  // namespace avx2
}  // namespace simdgrad
SIMDGRAD_END_TARGET

#else

namespace simdgrad {
namespace avx2 {
void fill_table(KernelTable&) {}
}  // namespace avx2
}  // namespace simdgrad

#endif
