// As many multiply-adds per second as one core can do: twelve independent chains on registers. C and C++.
//
//   const char* isa = peak_isa();           // the widest that this machine has: "avx512", "avx2" or
//   "baseline" double flops = peak_flops(isa, n);      // runs n rounds and returns the float32 operations
//   that were done
#ifndef SIMDGRAD_BENCH_PEAK_H_
#define SIMDGRAD_BENCH_PEAK_H_

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
typedef float PeakF4 __attribute__((vector_size(16)));
typedef float PeakF8 __attribute__((vector_size(32)));
typedef float PeakF16 __attribute__((vector_size(64)));
// clang-format off
#define PEAK_LOOP(name, features, V, instruction)                                                            \
  __attribute__((target(features), noinline)) static double name(int64_t n) {                                \
    const V zero = {0};                                                                                      \
    V y = zero + 0.5f, z = zero + 1e-9f, a = y, b = y, c = y, d = y, e = y, f = y, g = y, h = y, i = y,      \
      j = y, k = y, l = y;                                                                                   \
    for (int64_t r = 0; r < n; ++r) {                                                                        \
      __asm__ volatile(instruction("0") instruction("1") instruction("2") instruction("3") instruction("4")  \
                       instruction("5") instruction("6") instruction("7") instruction("8") instruction("9")  \
                       instruction("10") instruction("11")                                                   \
                       : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f), "+v"(g), "+v"(h), "+v"(i),    \
                         "+v"(j), "+v"(k), "+v"(l)                                                           \
                       : "v"(y), "v"(z));                                                                    \
    }                                                                                                        \
    return (double)n * 12 * 2 * sizeof(V) / sizeof(float);                                                   \
  }
// clang-format on
#define PEAK_MULADD(x) "mulps %12, %" x "\n\taddps %13, %" x "\n\t"
#define PEAK_FMA(x) "vfmadd213ps %13, %12, %" x "\n\t"
PEAK_LOOP(peak_baseline, "sse2", PeakF4, PEAK_MULADD)
PEAK_LOOP(peak_avx2, "avx2,fma", PeakF8, PEAK_FMA)
PEAK_LOOP(peak_avx512, "avx512f", PeakF16, PEAK_FMA)

static inline const char* peak_isa(void) {
  if (__builtin_cpu_supports("avx512f")) return "avx512";
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "avx2" : "baseline";
}

static inline double peak_flops(const char* isa, int64_t n) {
  if (strcmp(isa, "avx512") == 0) return peak_avx512(n);
  return strcmp(isa, "avx2") == 0 ? peak_avx2(n) : peak_baseline(n);
}
#else
static inline const char* peak_isa(void) { return "baseline"; }

static inline double peak_flops(const char* isa, int64_t n) {
  typedef float PeakF4 __attribute__((vector_size(16)));
  const PeakF4 zero = {0}, y = zero + 0.5f, z = zero + 1e-9f;
  PeakF4 x[12];
  (void)isa;
  for (int i = 0; i < 12; ++i) x[i] = y;
  for (int64_t k = 0; k < n; ++k) {
    for (int i = 0; i < 12; ++i) x[i] = x[i] * y + z;
    for (int i = 0; i < 12; ++i) __asm__ volatile("" : "+w"(x[i]));
  }
  return (double)n * 12 * 2 * 4;
}
#endif

#endif  // SIMDGRAD_BENCH_PEAK_H_
