// Kernels for the baseline: SSE2 on x86-64, NEON on ARM64, plain C++ elsewhere.
#define SIMDGRAD_TARGET 0  // SIMDGRAD_BASELINE

// Every standard header that kernels need comes before the region (see targets.h).
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernel.h"
#include "targets.h"
#if SIMDGRAD_X86
#include <immintrin.h>
#elif SIMDGRAD_ARM64
#include <arm_neon.h>
#endif

SIMDGRAD_BEGIN_TARGET
namespace simdgrad {
namespace baseline {

#include "kernels/all.inc"

}  // namespace baseline
}  // namespace simdgrad
SIMDGRAD_END_TARGET
