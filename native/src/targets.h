// Instruction-set targets. A target_<isa>.cc names its target (SIMDGRAD_TARGET), opens the region, includes
// simd.h and the kernels inside its own namespace, and closes the region.
//
// Inside a region the compiler may use the instructions of that target for everything it sees. So no standard
// header may be included there and no std template used: its code would be emitted as a weak symbol with,
// say, AVX-512 instructions, and the linker could keep that copy for the whole program. (What is written
// there, lambdas too, has the target's namespace in its name.)
#pragma once

#define SIMDGRAD_BASELINE 0
#define SIMDGRAD_AVX2 1
#define SIMDGRAD_AVX512 2

#if defined(__x86_64__) || defined(_M_X64)
#define SIMDGRAD_X86 1
#else
#define SIMDGRAD_X86 0
#endif

#if defined(__aarch64__) || defined(_M_ARM64)
#define SIMDGRAD_ARM64 1
#else
#define SIMDGRAD_ARM64 0
#endif

#define SIMDGRAD_FEATURES_AVX2 "avx,avx2,fma"
#define SIMDGRAD_FEATURES_AVX512 "avx,avx2,fma,avx512f,avx512dq,avx512bw,avx512vl"

// SIMDGRAD_OPAQUE(x): from here on the compiler knows nothing of the value of the integer or pointer x.
#if defined(_MSC_VER) && !defined(__clang__)
#define SIMDGRAD_INLINE __forceinline
#define SIMDGRAD_NOINLINE __declspec(noinline)
#define SIMDGRAD_RESTRICT __restrict
#define SIMDGRAD_UNROLL
#define SIMDGRAD_OPAQUE(x) ((void)0)
#define SIMDGRAD_BEGIN_REGION(features)
#define SIMDGRAD_END_REGION
#elif defined(__clang__)
#define SIMDGRAD_INLINE inline __attribute__((always_inline))
#define SIMDGRAD_NOINLINE __attribute__((noinline))
#define SIMDGRAD_RESTRICT __restrict__
#define SIMDGRAD_PRAGMA(x) _Pragma(#x)
#define SIMDGRAD_UNROLL SIMDGRAD_PRAGMA(clang loop unroll(full))
#define SIMDGRAD_OPAQUE(x) __asm__("" : "+r"(x))
#define SIMDGRAD_BEGIN_REGION(features) \
  SIMDGRAD_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define SIMDGRAD_END_REGION SIMDGRAD_PRAGMA(clang attribute pop)
#else
#define SIMDGRAD_INLINE inline __attribute__((always_inline))
#define SIMDGRAD_NOINLINE __attribute__((noinline))
#define SIMDGRAD_RESTRICT __restrict__
#define SIMDGRAD_PRAGMA(x) _Pragma(#x)
#define SIMDGRAD_UNROLL SIMDGRAD_PRAGMA(GCC unroll 32)
#define SIMDGRAD_OPAQUE(x) __asm__("" : "+r"(x))
#define SIMDGRAD_BEGIN_REGION(features) \
  SIMDGRAD_PRAGMA(GCC push_options) SIMDGRAD_PRAGMA(GCC target(features))
#define SIMDGRAD_END_REGION SIMDGRAD_PRAGMA(GCC pop_options)
#endif

// The region of the target being compiled; the baseline needs none. The macros are chosen here, so a target
// file defines SIMDGRAD_TARGET before it includes this header.
#ifdef SIMDGRAD_TARGET
#if SIMDGRAD_TARGET == SIMDGRAD_AVX512
#define SIMDGRAD_BEGIN_TARGET SIMDGRAD_BEGIN_REGION(SIMDGRAD_FEATURES_AVX512)
#define SIMDGRAD_END_TARGET SIMDGRAD_END_REGION
#elif SIMDGRAD_TARGET == SIMDGRAD_AVX2
#define SIMDGRAD_BEGIN_TARGET SIMDGRAD_BEGIN_REGION(SIMDGRAD_FEATURES_AVX2)
#define SIMDGRAD_END_TARGET SIMDGRAD_END_REGION
#else
#define SIMDGRAD_BEGIN_TARGET
#define SIMDGRAD_END_TARGET
#endif
#endif
