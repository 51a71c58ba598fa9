// Kernels for x86-64 with AVX-512 (F, DQ, BW, VL). Elsewhere the table stays as it is.
#define SIMDGRAD_TARGET 2  // SIMDGRAD_AVX512

// Every standard header that kernels need comes before the region (see targets.h).
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernel.h"
#include "targets.h"
#if SIMDGRAD_X86
#include <immintrin.h>

#if defined(__GNUC__) && !defined(__clang__)
// GCC 12's own AVX-512 intrinsics read their "undefined" placeholder and are warned about (GCC bug 105593).
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

SIMDGRAD_BEGIN_TARGET
namespace simdgrad {
namespace avx512 {

#include "kernels/all.inc"

}  // namespace avx512
}  // namespace simdgrad
SIMDGRAD_END_TARGET

#else

namespace simdgrad {
namespace avx512 {
void fill_table(KernelTable&) {}
}  // namespace avx512
}  // namespace simdgrad

#endif
