// Thin wrappers over vector registers: one source, compiled once per target inside its region and namespace
// (see targets.h), so no include guard and no includes here.
//
//   Vec<T>    T = float or double; Vec<T>::N lanes, Vec<T>::Int the integer vector of the same lane width
//   Mask<T>   one truth value per lane
//   IntVec<T> int32 (T = float) or int64 (T = double) lanes
//   Tail<T>   the first n lanes, prepared once for partial loads and stores (0 <= n <= N)
//
// min(a, b) and max(a, b) give b where either is NaN, as SSE does, on every target. fma(a, b, c) = a * b + c
// is fused where the target has the instruction (kFused), else multiplied and added with two roundings.
// widen(a, low, high) and narrow(low, high) convert between a vector of floats and the two of doubles.
// round(x) is to nearest, ties to even. to_int/to_float take |x| < 2^31 (float), |x| < 2^51 (double).

template <class T>
struct Vec;
template <class T>
struct Mask;
template <class T>
struct IntVec;
template <class T>
struct Tail;
template <class T>
struct Lane;
template <>
struct Lane<float> {
  using Int = int32_t;
  static constexpr int kMantissaBits = 23, kExponentBias = 127;
};
template <>
struct Lane<double> {
  using Int = int64_t;
  static constexpr int kMantissaBits = 52, kExponentBias = 1023;
};

#if SIMDGRAD_X86

// One line per operation that maps to one intrinsic: function name, intrinsic.
#define SIMDGRAD_UNARY(T, name, ...) \
  SIMDGRAD_INLINE Vec<T> name(Vec<T> a) { return {__VA_ARGS__}; }
#define SIMDGRAD_BINARY(T, name, intrinsic) \
  SIMDGRAD_INLINE Vec<T> name(Vec<T> a, Vec<T> b) { return {intrinsic(a.v, b.v)}; }
#define SIMDGRAD_COMPARE(T, name, ...) \
  SIMDGRAD_INLINE Mask<T> name(Vec<T> a, Vec<T> b) { return {__VA_ARGS__}; }
#define SIMDGRAD_INT_BINARY(T, name, intrinsic) \
  SIMDGRAD_INLINE IntVec<T> name(IntVec<T> a, IntVec<T> b) { return {intrinsic(a.v, b.v)}; }

#if SIMDGRAD_TARGET == SIMDGRAD_AVX512

constexpr bool kFused = true;
constexpr int kVectorRegisters = 32;

#define SIMDGRAD_TYPE(T, lanes, reg, ireg, mreg, P, EPI)                                                   \
  template <>                                                                                              \
  struct Mask<T> {                                                                                         \
    mreg v;                                                                                                \
  };                                                                                                       \
  template <>                                                                                              \
  struct Tail<T> {                                                                                         \
    mreg v;                                                                                                \
  };                                                                                                       \
  template <>                                                                                              \
  struct IntVec<T> {                                                                                       \
    using Int = Lane<T>::Int;                                                                              \
    static constexpr int N = lanes;                                                                        \
    ireg v;                                                                                                \
    static SIMDGRAD_INLINE IntVec load(const Int* p) { return {_mm512_loadu_si512(p)}; }                   \
    static SIMDGRAD_INLINE IntVec set1(Int x) { return {_mm512_set1_##EPI(x)}; }                           \
  };                                                                                                       \
  template <>                                                                                              \
  struct Vec<T> {                                                                                          \
    using Int = IntVec<T>;                                                                                 \
    static constexpr int N = lanes;                                                                        \
    reg v;                                                                                                 \
    static SIMDGRAD_INLINE Vec load(const T* p) { return {_mm512_loadu_##P(p)}; }                          \
    static SIMDGRAD_INLINE Vec set1(T x) { return {_mm512_set1_##P(x)}; }                                  \
    static SIMDGRAD_INLINE Vec zero() { return {_mm512_setzero_##P()}; }                                   \
  };                                                                                                       \
  SIMDGRAD_BINARY(T, operator+, _mm512_add_##P)                                                            \
  SIMDGRAD_BINARY(T, operator-, _mm512_sub_##P)                                                            \
  SIMDGRAD_BINARY(T, operator*, _mm512_mul_##P)                                                            \
  SIMDGRAD_BINARY(T, operator/, _mm512_div_##P)                                                            \
  SIMDGRAD_BINARY(T, operator&, _mm512_and_##P)                                                            \
  SIMDGRAD_BINARY(T, operator|, _mm512_or_##P)                                                             \
  SIMDGRAD_BINARY(T, operator^, _mm512_xor_##P)                                                            \
  SIMDGRAD_BINARY(T, min, _mm512_min_##P)                                                                  \
  SIMDGRAD_BINARY(T, max, _mm512_max_##P)                                                                  \
  SIMDGRAD_UNARY(T, sqrt, _mm512_sqrt_##P(a.v))                                                            \
  SIMDGRAD_UNARY(T, abs, _mm512_andnot_##P(_mm512_set1_##P(T(-0.0)), a.v))                                 \
  SIMDGRAD_UNARY(T, neg, _mm512_xor_##P(_mm512_set1_##P(T(-0.0)), a.v))                                    \
  SIMDGRAD_UNARY(T, round, _mm512_roundscale_##P(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))      \
  SIMDGRAD_UNARY(T, floor, _mm512_roundscale_##P(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC))          \
  SIMDGRAD_COMPARE(T, operator==, _mm512_cmp_##P##_mask(a.v, b.v, _CMP_EQ_OQ))                             \
  SIMDGRAD_COMPARE(T, operator!=, _mm512_cmp_##P##_mask(a.v, b.v, _CMP_NEQ_UQ))                            \
  SIMDGRAD_COMPARE(T, operator<, _mm512_cmp_##P##_mask(a.v, b.v, _CMP_LT_OQ))                              \
  SIMDGRAD_COMPARE(T, operator<=, _mm512_cmp_##P##_mask(a.v, b.v, _CMP_LE_OQ))                             \
  SIMDGRAD_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) { return {(mreg)(a.v & b.v)}; }                  \
  SIMDGRAD_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) { return {(mreg)(a.v | b.v)}; }                  \
  SIMDGRAD_INLINE Mask<T> operator~(Mask<T> a) { return {(mreg)(~a.v & ((1u << lanes) - 1))}; }            \
  SIMDGRAD_INLINE unsigned bits(Mask<T> m) { return m.v; }                                                 \
  SIMDGRAD_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) { return {_mm512_fmadd_##P(a.v, b.v, c.v)}; }   \
  SIMDGRAD_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) { return {_mm512_fnmadd_##P(a.v, b.v, c.v)}; } \
  SIMDGRAD_INLINE Vec<T> select(Mask<T> m, Vec<T> a, Vec<T> b) {                                           \
    return {_mm512_mask_blend_##P(m.v, b.v, a.v)};                                                         \
  }                                                                                                        \
  SIMDGRAD_INLINE void store(T* p, Vec<T> a) { _mm512_storeu_##P(p, a.v); }                                \
  SIMDGRAD_INLINE Vec<T> load_tail(const T* p, Tail<T> n) { return {_mm512_maskz_loadu_##P(n.v, p)}; }     \
  SIMDGRAD_INLINE void store_tail(T* p, Vec<T> a, Tail<T> n) { _mm512_mask_storeu_##P(p, n.v, a.v); }      \
  SIMDGRAD_INLINE Mask<T> mask_of(Tail<T> n) { return {n.v}; }                                             \
  SIMDGRAD_INLINE void store(Lane<T>::Int* p, IntVec<T> a) { _mm512_storeu_si512(p, a.v); }                \
  SIMDGRAD_INT_BINARY(T, operator+, _mm512_add_##EPI)                                                      \
  SIMDGRAD_INT_BINARY(T, operator-, _mm512_sub_##EPI)                                                      \
  SIMDGRAD_INT_BINARY(T, operator&, _mm512_and_si512)                                                      \
  SIMDGRAD_INT_BINARY(T, operator|, _mm512_or_si512)                                                       \
  SIMDGRAD_INT_BINARY(T, operator^, _mm512_xor_si512)                                                      \
  template <int k>                                                                                         \
  SIMDGRAD_INLINE IntVec<T> shl(IntVec<T> a) {                                                             \
    return {_mm512_slli_##EPI(a.v, k)};                                                                    \
  }                                                                                                        \
  template <int k>                                                                                         \
  SIMDGRAD_INLINE IntVec<T> shr(IntVec<T> a) {                                                             \
    return {_mm512_srli_##EPI(a.v, k)};                                                                    \
  }                                                                                                        \
  template <int k>                                                                                         \
  SIMDGRAD_INLINE Mask<T> has_bit(IntVec<T> a) {                                                           \
    return {_mm512_test_##EPI##_mask(a.v, _mm512_set1_##EPI(Lane<T>::Int(1) << k))};                       \
  }

SIMDGRAD_TYPE(float, 16, __m512, __m512i, __mmask16, ps, epi32)
SIMDGRAD_TYPE(double, 8, __m512d, __m512i, __mmask8, pd, epi64)
#undef SIMDGRAD_TYPE

SIMDGRAD_INLINE IntVec<float> bits_of(Vec<float> a) { return {_mm512_castps_si512(a.v)}; }
SIMDGRAD_INLINE IntVec<double> bits_of(Vec<double> a) { return {_mm512_castpd_si512(a.v)}; }
SIMDGRAD_INLINE Vec<float> from_bits(IntVec<float> a) { return {_mm512_castsi512_ps(a.v)}; }
SIMDGRAD_INLINE Vec<double> from_bits(IntVec<double> a) { return {_mm512_castsi512_pd(a.v)}; }
SIMDGRAD_INLINE IntVec<float> to_int(Vec<float> a) { return {_mm512_cvtps_epi32(a.v)}; }
SIMDGRAD_INLINE IntVec<double> to_int(Vec<double> a) { return {_mm512_cvtpd_epi64(a.v)}; }
SIMDGRAD_INLINE Vec<float> to_float(IntVec<float> a) { return {_mm512_cvtepi32_ps(a.v)}; }
SIMDGRAD_INLINE Vec<double> to_float(IntVec<double> a) { return {_mm512_cvtepi64_pd(a.v)}; }

SIMDGRAD_INLINE void widen(Vec<float> a, Vec<double>& low, Vec<double>& high) {
  low.v = _mm512_cvtps_pd(_mm512_castps512_ps256(a.v));
  high.v = _mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1));
}
SIMDGRAD_INLINE Vec<float> narrow(Vec<double> low, Vec<double> high) {
  const __m512 a = _mm512_castps256_ps512(_mm512_cvtpd_ps(low.v));
  return {_mm512_insertf32x8(a, _mm512_cvtpd_ps(high.v), 1)};
}

SIMDGRAD_INLINE Vec<float> scale(Vec<float> a, Vec<float> n) { return {_mm512_scalef_ps(a.v, n.v)}; }
SIMDGRAD_INLINE Vec<double> scale(Vec<double> a, Vec<double> n) { return {_mm512_scalef_pd(a.v, n.v)}; }

// a = 2^k m, 0.75 <= m < 1.5, for any a > 0; m = NaN where a < 0. 0 and infinity give k = -infinity,
// infinity and |m| = 1.
SIMDGRAD_INLINE void split_exponent(Vec<float> a, Vec<float>& k, Vec<float>& m) {
  m.v = _mm512_getmant_ps(a.v, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
  k.v = _mm512_sub_ps(_mm512_getexp_ps(a.v), _mm512_getexp_ps(m.v));
}
SIMDGRAD_INLINE void split_exponent(Vec<double> a, Vec<double>& k, Vec<double>& m) {
  m.v = _mm512_getmant_pd(a.v, _MM_MANT_NORM_p75_1p5, _MM_MANT_SIGN_nan);
  k.v = _mm512_sub_pd(_mm512_getexp_pd(a.v), _mm512_getexp_pd(m.v));
}

// table[i mod 32].
SIMDGRAD_INLINE Vec<float> look_up(const float (&table)[32], IntVec<float> i) {
  return {_mm512_permutex2var_ps(_mm512_loadu_ps(table), i.v, _mm512_loadu_ps(table + 16))};
}

// Estimates of 1 / a and of its square root, to 14 bits.
SIMDGRAD_INLINE Vec<float> about_reciprocal(Vec<float> a) { return {_mm512_rcp14_ps(a.v)}; }
SIMDGRAD_INLINE Vec<float> about_reciprocal_sqrt(Vec<float> a) { return {_mm512_rsqrt14_ps(a.v)}; }

template <class T>
SIMDGRAD_INLINE Tail<T> tail(int n);
template <>
SIMDGRAD_INLINE Tail<float> tail<float>(int n) {
  return {(__mmask16)((1u << n) - 1)};
}
template <>
SIMDGRAD_INLINE Tail<double> tail<double>(int n) {
  return {(__mmask8)((1u << n) - 1)};
}

#elif SIMDGRAD_TARGET == SIMDGRAD_AVX2

constexpr bool kFused = true;
constexpr int kVectorRegisters = 16;

// A window of this table is the mask of the first n lanes: start n lanes before the first zero.
alignas(64) static const int32_t kTailTable[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

#define SIMDGRAD_TYPE(T, lanes, reg, P, EPI, SET)                                                          \
  template <>                                                                                              \
  struct Mask<T> {                                                                                         \
    reg v;                                                                                                 \
  };                                                                                                       \
  template <>                                                                                              \
  struct Tail<T> {                                                                                         \
    __m256i v;                                                                                             \
    int n;                                                                                                 \
  };                                                                                                       \
  template <>                                                                                              \
  struct IntVec<T> {                                                                                       \
    using Int = Lane<T>::Int;                                                                              \
    static constexpr int N = lanes;                                                                        \
    __m256i v;                                                                                             \
    static SIMDGRAD_INLINE IntVec load(const Int* p) { return {_mm256_loadu_si256((const __m256i*)p)}; }   \
    static SIMDGRAD_INLINE IntVec set1(Int x) { return {_mm256_set1_##SET(x)}; }                           \
  };                                                                                                       \
  template <>                                                                                              \
  struct Vec<T> {                                                                                          \
    using Int = IntVec<T>;                                                                                 \
    static constexpr int N = lanes;                                                                        \
    reg v;                                                                                                 \
    static SIMDGRAD_INLINE Vec load(const T* p) { return {_mm256_loadu_##P(p)}; }                          \
    static SIMDGRAD_INLINE Vec set1(T x) { return {_mm256_set1_##P(x)}; }                                  \
    static SIMDGRAD_INLINE Vec zero() { return {_mm256_setzero_##P()}; }                                   \
  };                                                                                                       \
  SIMDGRAD_BINARY(T, operator+, _mm256_add_##P)                                                            \
  SIMDGRAD_BINARY(T, operator-, _mm256_sub_##P)                                                            \
  SIMDGRAD_BINARY(T, operator*, _mm256_mul_##P)                                                            \
  SIMDGRAD_BINARY(T, operator/, _mm256_div_##P)                                                            \
  SIMDGRAD_BINARY(T, operator&, _mm256_and_##P)                                                            \
  SIMDGRAD_BINARY(T, operator|, _mm256_or_##P)                                                             \
  SIMDGRAD_BINARY(T, operator^, _mm256_xor_##P)                                                            \
  SIMDGRAD_BINARY(T, min, _mm256_min_##P)                                                                  \
  SIMDGRAD_BINARY(T, max, _mm256_max_##P)                                                                  \
  SIMDGRAD_UNARY(T, sqrt, _mm256_sqrt_##P(a.v))                                                            \
  SIMDGRAD_UNARY(T, abs, _mm256_andnot_##P(_mm256_set1_##P(T(-0.0)), a.v))                                 \
  SIMDGRAD_UNARY(T, neg, _mm256_xor_##P(_mm256_set1_##P(T(-0.0)), a.v))                                    \
  SIMDGRAD_UNARY(T, round, _mm256_round_##P(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))           \
  SIMDGRAD_UNARY(T, floor, _mm256_round_##P(a.v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC))               \
  SIMDGRAD_COMPARE(T, operator==, _mm256_cmp_##P(a.v, b.v, _CMP_EQ_OQ))                                    \
  SIMDGRAD_COMPARE(T, operator!=, _mm256_cmp_##P(a.v, b.v, _CMP_NEQ_UQ))                                   \
  SIMDGRAD_COMPARE(T, operator<, _mm256_cmp_##P(a.v, b.v, _CMP_LT_OQ))                                     \
  SIMDGRAD_COMPARE(T, operator<=, _mm256_cmp_##P(a.v, b.v, _CMP_LE_OQ))                                    \
  SIMDGRAD_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) { return {_mm256_and_##P(a.v, b.v)}; }           \
  SIMDGRAD_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) { return {_mm256_or_##P(a.v, b.v)}; }            \
  SIMDGRAD_INLINE Mask<T> operator~(Mask<T> a) {                                                           \
    return {_mm256_xor_##P(a.v, _mm256_castsi256_##P(_mm256_set1_epi32(-1)))};                             \
  }                                                                                                        \
  SIMDGRAD_INLINE unsigned bits(Mask<T> m) { return (unsigned)_mm256_movemask_##P(m.v); }                  \
  SIMDGRAD_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) { return {_mm256_fmadd_##P(a.v, b.v, c.v)}; }   \
  SIMDGRAD_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) { return {_mm256_fnmadd_##P(a.v, b.v, c.v)}; } \
  SIMDGRAD_INLINE Vec<T> select(Mask<T> m, Vec<T> a, Vec<T> b) {                                           \
    return {_mm256_blendv_##P(b.v, a.v, m.v)};                                                             \
  }                                                                                                        \
  SIMDGRAD_INLINE void store(T* p, Vec<T> a) { _mm256_storeu_##P(p, a.v); }                                \
  SIMDGRAD_INLINE Vec<T> load_tail(const T* p, Tail<T> n) { return {_mm256_maskload_##P(p, n.v)}; }        \
  SIMDGRAD_INLINE Mask<T> mask_of(Tail<T> n) { return {_mm256_castsi256_##P(n.v)}; }                       \
  SIMDGRAD_INLINE void store(Lane<T>::Int* p, IntVec<T> a) { _mm256_storeu_si256((__m256i*)p, a.v); }      \
  SIMDGRAD_INT_BINARY(T, operator+, _mm256_add_##EPI)                                                      \
  SIMDGRAD_INT_BINARY(T, operator-, _mm256_sub_##EPI)                                                      \
  SIMDGRAD_INT_BINARY(T, operator&, _mm256_and_si256)                                                      \
  SIMDGRAD_INT_BINARY(T, operator|, _mm256_or_si256)                                                       \
  SIMDGRAD_INT_BINARY(T, operator^, _mm256_xor_si256)                                                      \
  template <int k>                                                                                         \
  SIMDGRAD_INLINE IntVec<T> shl(IntVec<T> a) {                                                             \
    return {_mm256_slli_##EPI(a.v, k)};                                                                    \
  }                                                                                                        \
  template <int k>                                                                                         \
  SIMDGRAD_INLINE IntVec<T> shr(IntVec<T> a) {                                                             \
    return {_mm256_srli_##EPI(a.v, k)};                                                                    \
  }                                                                                                        \
  template <int k>                                                                                         \
  SIMDGRAD_INLINE Mask<T> has_bit(IntVec<T> a) {                                                           \
    const __m256i bit = _mm256_set1_##SET(Lane<T>::Int(1) << k);                                           \
    return {_mm256_castsi256_##P(_mm256_cmpeq_##EPI(_mm256_and_si256(a.v, bit), bit))};                    \
  }

SIMDGRAD_TYPE(float, 8, __m256, ps, epi32, epi32)
SIMDGRAD_TYPE(double, 4, __m256d, pd, epi64, epi64x)
#undef SIMDGRAD_TYPE

SIMDGRAD_INLINE IntVec<float> bits_of(Vec<float> a) { return {_mm256_castps_si256(a.v)}; }
SIMDGRAD_INLINE IntVec<double> bits_of(Vec<double> a) { return {_mm256_castpd_si256(a.v)}; }
SIMDGRAD_INLINE Vec<float> from_bits(IntVec<float> a) { return {_mm256_castsi256_ps(a.v)}; }
SIMDGRAD_INLINE Vec<double> from_bits(IntVec<double> a) { return {_mm256_castsi256_pd(a.v)}; }
SIMDGRAD_INLINE IntVec<float> to_int(Vec<float> a) { return {_mm256_cvtps_epi32(a.v)}; }
SIMDGRAD_INLINE Vec<float> to_float(IntVec<float> a) { return {_mm256_cvtepi32_ps(a.v)}; }

SIMDGRAD_INLINE void widen(Vec<float> a, Vec<double>& low, Vec<double>& high) {
  low.v = _mm256_cvtps_pd(_mm256_castps256_ps128(a.v));
  high.v = _mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1));
}
SIMDGRAD_INLINE Vec<float> narrow(Vec<double> low, Vec<double> high) {
  const __m256 a = _mm256_castps128_ps256(_mm256_cvtpd_ps(low.v));
  return {_mm256_insertf128_ps(a, _mm256_cvtpd_ps(high.v), 1)};
}

template <class T>
SIMDGRAD_INLINE Tail<T> tail(int n);
template <>
SIMDGRAD_INLINE Tail<float> tail<float>(int n) {
  return {_mm256_loadu_si256((const __m256i*)(kTailTable + 8 - n)), n};
}
template <>
SIMDGRAD_INLINE Tail<double> tail<double>(int n) {
  return {_mm256_loadu_si256((const __m256i*)(kTailTable + 8 - 2 * n)), n};
}
// Piece by piece: stores by a mask are microcode on AMD's processors up to Zen 3.
SIMDGRAD_INLINE void store_tail(float* p, Vec<float> a, Tail<float> n) {
  if (n.n == 8) return store(p, a);
  __m128 part = _mm256_castps256_ps128(a.v);
  if (n.n & 4) {
    _mm_storeu_ps(p, part);
    p += 4;
    part = _mm256_extractf128_ps(a.v, 1);
  }
  if (n.n & 2) {
    _mm_storel_pi((__m64*)p, part);
    p += 2;
    part = _mm_movehl_ps(part, part);
  }
  if (n.n & 1) _mm_store_ss(p, part);
}
SIMDGRAD_INLINE void store_tail(double* p, Vec<double> a, Tail<double> n) {
  if (n.n == 4) return store(p, a);
  __m128d part = _mm256_castpd256_pd128(a.v);
  if (n.n & 2) {
    _mm_storeu_pd(p, part);
    p += 2;
    part = _mm256_extractf128_pd(a.v, 1);
  }
  if (n.n & 1) _mm_store_sd(p, part);
}

#else  // SSE2

constexpr bool kFused = false;
constexpr int kVectorRegisters = 16;

SIMDGRAD_INLINE __m128 castsi128_ps(__m128i a) { return _mm_castsi128_ps(a); }
SIMDGRAD_INLINE __m128d castsi128_pd(__m128i a) { return _mm_castsi128_pd(a); }

#define SIMDGRAD_TYPE(T, lanes, reg, P, EPI, SET)                                                     \
  template <>                                                                                         \
  struct Mask<T> {                                                                                    \
    reg v;                                                                                            \
  };                                                                                                  \
  template <>                                                                                         \
  struct Tail<T> {                                                                                    \
    int n;                                                                                            \
  };                                                                                                  \
  template <>                                                                                         \
  struct IntVec<T> {                                                                                  \
    using Int = Lane<T>::Int;                                                                         \
    static constexpr int N = lanes;                                                                   \
    __m128i v;                                                                                        \
    static SIMDGRAD_INLINE IntVec load(const Int* p) { return {_mm_loadu_si128((const __m128i*)p)}; } \
    static SIMDGRAD_INLINE IntVec set1(Int x) { return {_mm_set1_##SET(x)}; }                         \
  };                                                                                                  \
  template <>                                                                                         \
  struct Vec<T> {                                                                                     \
    using Int = IntVec<T>;                                                                            \
    static constexpr int N = lanes;                                                                   \
    reg v;                                                                                            \
    static SIMDGRAD_INLINE Vec load(const T* p) { return {_mm_loadu_##P(p)}; }                        \
    static SIMDGRAD_INLINE Vec set1(T x) { return {_mm_set1_##P(x)}; }                                \
    static SIMDGRAD_INLINE Vec zero() { return {_mm_setzero_##P()}; }                                 \
  };                                                                                                  \
  SIMDGRAD_BINARY(T, operator+, _mm_add_##P)                                                          \
  SIMDGRAD_BINARY(T, operator-, _mm_sub_##P)                                                          \
  SIMDGRAD_BINARY(T, operator*, _mm_mul_##P)                                                          \
  SIMDGRAD_BINARY(T, operator/, _mm_div_##P)                                                          \
  SIMDGRAD_BINARY(T, operator&, _mm_and_##P)                                                          \
  SIMDGRAD_BINARY(T, operator|, _mm_or_##P)                                                           \
  SIMDGRAD_BINARY(T, operator^, _mm_xor_##P)                                                          \
  SIMDGRAD_BINARY(T, min, _mm_min_##P)                                                                \
  SIMDGRAD_BINARY(T, max, _mm_max_##P)                                                                \
  SIMDGRAD_UNARY(T, sqrt, _mm_sqrt_##P(a.v))                                                          \
  SIMDGRAD_UNARY(T, abs, _mm_andnot_##P(_mm_set1_##P(T(-0.0)), a.v))                                  \
  SIMDGRAD_UNARY(T, neg, _mm_xor_##P(_mm_set1_##P(T(-0.0)), a.v))                                     \
  SIMDGRAD_COMPARE(T, operator==, _mm_cmpeq_##P(a.v, b.v))                                            \
  SIMDGRAD_COMPARE(T, operator!=, _mm_cmpneq_##P(a.v, b.v))                                           \
  SIMDGRAD_COMPARE(T, operator<, _mm_cmplt_##P(a.v, b.v))                                             \
  SIMDGRAD_COMPARE(T, operator<=, _mm_cmple_##P(a.v, b.v))                                            \
  SIMDGRAD_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) { return {_mm_and_##P(a.v, b.v)}; }         \
  SIMDGRAD_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) { return {_mm_or_##P(a.v, b.v)}; }          \
  SIMDGRAD_INLINE Mask<T> operator~(Mask<T> a) {                                                      \
    return {_mm_xor_##P(a.v, castsi128_##P(_mm_set1_epi32(-1)))};                                     \
  }                                                                                                   \
  SIMDGRAD_INLINE unsigned bits(Mask<T> m) { return (unsigned)_mm_movemask_##P(m.v); }                \
  SIMDGRAD_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) {                                          \
    return {_mm_add_##P(_mm_mul_##P(a.v, b.v), c.v)};                                                 \
  }                                                                                                   \
  SIMDGRAD_INLINE Vec<T> select(Mask<T> m, Vec<T> a, Vec<T> b) {                                      \
    return {_mm_or_##P(_mm_and_##P(m.v, a.v), _mm_andnot_##P(m.v, b.v))};                             \
  }                                                                                                   \
  SIMDGRAD_INLINE void store(T* p, Vec<T> a) { _mm_storeu_##P(p, a.v); }                              \
  SIMDGRAD_INLINE void store(Lane<T>::Int* p, IntVec<T> a) { _mm_storeu_si128((__m128i*)p, a.v); }    \
  SIMDGRAD_INT_BINARY(T, operator+, _mm_add_##EPI)                                                    \
  SIMDGRAD_INT_BINARY(T, operator-, _mm_sub_##EPI)                                                    \
  SIMDGRAD_INT_BINARY(T, operator&, _mm_and_si128)                                                    \
  SIMDGRAD_INT_BINARY(T, operator|, _mm_or_si128)                                                     \
  SIMDGRAD_INT_BINARY(T, operator^, _mm_xor_si128)                                                    \
  template <int k>                                                                                    \
  SIMDGRAD_INLINE IntVec<T> shl(IntVec<T> a) {                                                        \
    return {_mm_slli_##EPI(a.v, k)};                                                                  \
  }                                                                                                   \
  template <int k>                                                                                    \
  SIMDGRAD_INLINE IntVec<T> shr(IntVec<T> a) {                                                        \
    return {_mm_srli_##EPI(a.v, k)};                                                                  \
  }

SIMDGRAD_TYPE(float, 4, __m128, ps, epi32, epi32)
SIMDGRAD_TYPE(double, 2, __m128d, pd, epi64, epi64x)
#undef SIMDGRAD_TYPE

SIMDGRAD_INLINE IntVec<float> bits_of(Vec<float> a) { return {_mm_castps_si128(a.v)}; }
SIMDGRAD_INLINE IntVec<double> bits_of(Vec<double> a) { return {_mm_castpd_si128(a.v)}; }
SIMDGRAD_INLINE Vec<float> from_bits(IntVec<float> a) { return {_mm_castsi128_ps(a.v)}; }
SIMDGRAD_INLINE Vec<double> from_bits(IntVec<double> a) { return {_mm_castsi128_pd(a.v)}; }
SIMDGRAD_INLINE IntVec<float> to_int(Vec<float> a) { return {_mm_cvtps_epi32(a.v)}; }
SIMDGRAD_INLINE Vec<float> to_float(IntVec<float> a) { return {_mm_cvtepi32_ps(a.v)}; }

SIMDGRAD_INLINE void widen(Vec<float> a, Vec<double>& low, Vec<double>& high) {
  low.v = _mm_cvtps_pd(a.v);
  high.v = _mm_cvtps_pd(_mm_movehl_ps(a.v, a.v));
}
SIMDGRAD_INLINE Vec<float> narrow(Vec<double> low, Vec<double> high) {
  return {_mm_movelh_ps(_mm_cvtpd_ps(low.v), _mm_cvtpd_ps(high.v))};
}

// SSE2 compares no 64-bit integers: move the bit into the sign and spread the high half's sign.
template <int k>
SIMDGRAD_INLINE Mask<float> has_bit(IntVec<float> a) {
  return {_mm_castsi128_ps(_mm_srai_epi32(_mm_slli_epi32(a.v, 31 - k), 31))};
}
template <int k>
SIMDGRAD_INLINE Mask<double> has_bit(IntVec<double> a) {
  const __m128i sign = _mm_srai_epi32(_mm_slli_epi64(a.v, 63 - k), 31);
  return {_mm_castsi128_pd(_mm_shuffle_epi32(sign, _MM_SHUFFLE(3, 3, 1, 1)))};
}

template <class T>
SIMDGRAD_INLINE Tail<T> tail(int n) {
  return {n};
}
SIMDGRAD_INLINE Mask<float> mask_of(Tail<float> n) {
  return {_mm_castsi128_ps(_mm_cmplt_epi32(_mm_setr_epi32(0, 1, 2, 3), _mm_set1_epi32(n.n)))};
}
SIMDGRAD_INLINE Mask<double> mask_of(Tail<double> n) {
  return {_mm_castsi128_pd(_mm_cmplt_epi32(_mm_setr_epi32(0, 0, 1, 1), _mm_set1_epi32(n.n)))};
}
SIMDGRAD_INLINE Vec<float> load_tail(const float* p, Tail<float> n) {
  switch (n.n) {
    case 0:
      return {_mm_setzero_ps()};
    case 1:
      return {_mm_load_ss(p)};
    case 2:
      return {_mm_setr_ps(p[0], p[1], 0, 0)};
    case 3:
      return {_mm_setr_ps(p[0], p[1], p[2], 0)};
    default:
      return {_mm_loadu_ps(p)};
  }
}
SIMDGRAD_INLINE void store_tail(float* p, Vec<float> a, Tail<float> n) {
  if (n.n == 4) {
    _mm_storeu_ps(p, a.v);
    return;
  }
  if (n.n & 2) {
    _mm_storel_pi((__m64*)p, a.v);
    p += 2;
    a.v = _mm_movehl_ps(a.v, a.v);
  }
  if (n.n & 1) _mm_store_ss(p, a.v);
}
SIMDGRAD_INLINE Vec<double> load_tail(const double* p, Tail<double> n) {
  if (n.n == 0) return {_mm_setzero_pd()};
  return n.n == 1 ? Vec<double>{_mm_load_sd(p)} : Vec<double>{_mm_loadu_pd(p)};
}
SIMDGRAD_INLINE void store_tail(double* p, Vec<double> a, Tail<double> n) {
  if (n.n == 1) _mm_store_sd(p, a.v);
  if (n.n == 2) _mm_storeu_pd(p, a.v);
}

#endif  // which x86 target

#undef SIMDGRAD_UNARY
#undef SIMDGRAD_BINARY
#undef SIMDGRAD_COMPARE
#undef SIMDGRAD_INT_BINARY

#elif SIMDGRAD_ARM64

constexpr bool kFused = true;
constexpr int kVectorRegisters = 32;

#define SIMDGRAD_BINARY(T, name, intrinsic) \
  SIMDGRAD_INLINE Vec<T> name(Vec<T> a, Vec<T> b) { return {intrinsic(a.v, b.v)}; }
#define SIMDGRAD_BITWISE(T, name, intrinsic, S, U)                                     \
  SIMDGRAD_INLINE Vec<T> name(Vec<T> a, Vec<T> b) {                                    \
    return {vreinterpretq_##S##_##U(                                                   \
        intrinsic##_##U(vreinterpretq_##U##_##S(a.v), vreinterpretq_##U##_##S(b.v)))}; \
  }

#define SIMDGRAD_TYPE(T, lanes, reg, ireg, mreg, S, I, U)                                                  \
  template <>                                                                                              \
  struct Mask<T> {                                                                                         \
    mreg v;                                                                                                \
  };                                                                                                       \
  template <>                                                                                              \
  struct Tail<T> {                                                                                         \
    int n;                                                                                                 \
  };                                                                                                       \
  template <>                                                                                              \
  struct IntVec<T> {                                                                                       \
    using Int = Lane<T>::Int;                                                                              \
    static constexpr int N = lanes;                                                                        \
    ireg v;                                                                                                \
    static SIMDGRAD_INLINE IntVec load(const Int* p) { return {vld1q_##I(p)}; }                            \
    static SIMDGRAD_INLINE IntVec set1(Int x) { return {vdupq_n_##I(x)}; }                                 \
  };                                                                                                       \
  template <>                                                                                              \
  struct Vec<T> {                                                                                          \
    using Int = IntVec<T>;                                                                                 \
    static constexpr int N = lanes;                                                                        \
    reg v;                                                                                                 \
    static SIMDGRAD_INLINE Vec load(const T* p) { return {vld1q_##S(p)}; }                                 \
    static SIMDGRAD_INLINE Vec set1(T x) { return {vdupq_n_##S(x)}; }                                      \
    static SIMDGRAD_INLINE Vec zero() { return {vdupq_n_##S(0)}; }                                         \
  };                                                                                                       \
  SIMDGRAD_BINARY(T, operator+, vaddq_##S)                                                                 \
  SIMDGRAD_BINARY(T, operator-, vsubq_##S)                                                                 \
  SIMDGRAD_BINARY(T, operator*, vmulq_##S)                                                                 \
  SIMDGRAD_BINARY(T, operator/, vdivq_##S)                                                                 \
  SIMDGRAD_BITWISE(T, operator&, vandq, S, U)                                                              \
  SIMDGRAD_BITWISE(T, operator|, vorrq, S, U)                                                              \
  SIMDGRAD_BITWISE(T, operator^, veorq, S, U)                                                              \
  SIMDGRAD_INLINE Vec<T> min(Vec<T> a, Vec<T> b) { return {vbslq_##S(vcltq_##S(a.v, b.v), a.v, b.v)}; }    \
  SIMDGRAD_INLINE Vec<T> max(Vec<T> a, Vec<T> b) { return {vbslq_##S(vcgtq_##S(a.v, b.v), a.v, b.v)}; }    \
  SIMDGRAD_INLINE Vec<T> sqrt(Vec<T> a) { return {vsqrtq_##S(a.v)}; }                                      \
  SIMDGRAD_INLINE Vec<T> abs(Vec<T> a) { return {vabsq_##S(a.v)}; }                                        \
  SIMDGRAD_INLINE Vec<T> neg(Vec<T> a) { return {vnegq_##S(a.v)}; }                                        \
  SIMDGRAD_INLINE Vec<T> round(Vec<T> a) { return {vrndnq_##S(a.v)}; }                                     \
  SIMDGRAD_INLINE Vec<T> floor(Vec<T> a) { return {vrndmq_##S(a.v)}; }                                     \
  SIMDGRAD_INLINE Mask<T> operator==(Vec<T> a, Vec<T> b) { return {vceqq_##S(a.v, b.v)}; }                 \
  SIMDGRAD_INLINE Mask<T> operator<(Vec<T> a, Vec<T> b) { return {vcltq_##S(a.v, b.v)}; }                  \
  SIMDGRAD_INLINE Mask<T> operator<=(Vec<T> a, Vec<T> b) { return {vcleq_##S(a.v, b.v)}; }                 \
  SIMDGRAD_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) { return {vandq_##U(a.v, b.v)}; }                \
  SIMDGRAD_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) { return {vorrq_##U(a.v, b.v)}; }                \
  SIMDGRAD_INLINE Mask<T> operator~(Mask<T> a) { return {veorq_##U(a.v, vdupq_n_##U(~(Lane<T>::Int)0))}; } \
  SIMDGRAD_INLINE Mask<T> operator!=(Vec<T> a, Vec<T> b) { return ~(a == b); }                             \
  SIMDGRAD_INLINE unsigned bits(Mask<T> m) {                                                               \
    decltype(Lane<T>::Int()) lane[lanes];                                                                  \
    vst1q_##I(lane, vreinterpretq_##I##_##U(m.v));                                                         \
    unsigned all = 0;                                                                                      \
    for (int i = 0; i < lanes; ++i) all |= (unsigned)(lane[i] & 1) << i;                                   \
    return all;                                                                                            \
  }                                                                                                        \
  SIMDGRAD_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) { return {vfmaq_##S(c.v, a.v, b.v)}; }          \
  SIMDGRAD_INLINE Vec<T> select(Mask<T> m, Vec<T> a, Vec<T> b) { return {vbslq_##S(m.v, a.v, b.v)}; }      \
  SIMDGRAD_INLINE void store(T* p, Vec<T> a) { vst1q_##S(p, a.v); }                                        \
  SIMDGRAD_INLINE void store(Lane<T>::Int* p, IntVec<T> a) { vst1q_##I(p, a.v); }                          \
  SIMDGRAD_INLINE Vec<T> load_tail(const T* p, Tail<T> n) {                                                \
    if (n.n == lanes) return Vec<T>::load(p);                                                              \
    T lane[lanes] = {};                                                                                    \
    for (int i = 0; i < n.n; ++i) lane[i] = p[i];                                                          \
    return Vec<T>::load(lane);                                                                             \
  }                                                                                                        \
  SIMDGRAD_INLINE void store_tail(T* p, Vec<T> a, Tail<T> n) {                                             \
    if (n.n == lanes) return store(p, a);                                                                  \
    T lane[lanes];                                                                                         \
    vst1q_##S(lane, a.v);                                                                                  \
    for (int i = 0; i < n.n; ++i) p[i] = lane[i];                                                          \
  }                                                                                                        \
  SIMDGRAD_INLINE Mask<T> mask_of(Tail<T> n) {                                                             \
    T lane[lanes];                                                                                         \
    for (int i = 0; i < lanes; ++i) lane[i] = i < n.n ? T(1) : T(0);                                       \
    return Vec<T>::zero() < Vec<T>::load(lane);                                                            \
  }                                                                                                        \
  SIMDGRAD_INLINE IntVec<T> operator+(IntVec<T> a, IntVec<T> b) { return {vaddq_##I(a.v, b.v)}; }          \
  SIMDGRAD_INLINE IntVec<T> operator-(IntVec<T> a, IntVec<T> b) { return {vsubq_##I(a.v, b.v)}; }          \
  SIMDGRAD_INLINE IntVec<T> operator&(IntVec<T> a, IntVec<T> b) { return {vandq_##I(a.v, b.v)}; }          \
  SIMDGRAD_INLINE IntVec<T> operator|(IntVec<T> a, IntVec<T> b) { return {vorrq_##I(a.v, b.v)}; }          \
  SIMDGRAD_INLINE IntVec<T> operator^(IntVec<T> a, IntVec<T> b) { return {veorq_##I(a.v, b.v)}; }          \
  template <int k>                                                                                         \
  SIMDGRAD_INLINE IntVec<T> shl(IntVec<T> a) {                                                             \
    return {vshlq_n_##I(a.v, k)};                                                                          \
  }                                                                                                        \
  template <int k>                                                                                         \
  SIMDGRAD_INLINE IntVec<T> shr(IntVec<T> a) {                                                             \
    return {vreinterpretq_##I##_##U(vshrq_n_##U(vreinterpretq_##U##_##I(a.v), k))};                        \
  }                                                                                                        \
  template <int k>                                                                                         \
  SIMDGRAD_INLINE Mask<T> has_bit(IntVec<T> a) {                                                           \
    return {vtstq_##I(a.v, vdupq_n_##I(Lane<T>::Int(1) << k))};                                            \
  }                                                                                                        \
  SIMDGRAD_INLINE IntVec<T> bits_of(Vec<T> a) { return {vreinterpretq_##I##_##S(a.v)}; }                   \
  SIMDGRAD_INLINE Vec<T> from_bits(IntVec<T> a) { return {vreinterpretq_##S##_##I(a.v)}; }                 \
  SIMDGRAD_INLINE IntVec<T> to_int(Vec<T> a) { return {vcvtnq_##I##_##S(a.v)}; }                           \
  SIMDGRAD_INLINE Vec<T> to_float(IntVec<T> a) { return {vcvtq_##S##_##I(a.v)}; }

SIMDGRAD_TYPE(float, 4, float32x4_t, int32x4_t, uint32x4_t, f32, s32, u32)
SIMDGRAD_TYPE(double, 2, float64x2_t, int64x2_t, uint64x2_t, f64, s64, u64)
#undef SIMDGRAD_TYPE
#undef SIMDGRAD_BITWISE
#undef SIMDGRAD_BINARY

SIMDGRAD_INLINE void widen(Vec<float> a, Vec<double>& low, Vec<double>& high) {
  low.v = vcvt_f64_f32(vget_low_f32(a.v));
  high.v = vcvt_high_f64_f32(a.v);
}
SIMDGRAD_INLINE Vec<float> narrow(Vec<double> low, Vec<double> high) {
  return {vcvt_high_f32_f64(vcvt_f32_f64(low.v), high.v)};
}

template <class T>
SIMDGRAD_INLINE Tail<T> tail(int n) {
  return {n};
}

#else  // no vector unit that we know: one lane

constexpr bool kFused = false;
constexpr int kVectorRegisters = 16;

template <class To, class From>
SIMDGRAD_INLINE To reinterpret_lane(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To y;
  memcpy(&y, &x, sizeof(y));
  return y;
}

#define SIMDGRAD_TYPE(T)                                                                              \
  template <>                                                                                         \
  struct Mask<T> {                                                                                    \
    bool v;                                                                                           \
  };                                                                                                  \
  template <>                                                                                         \
  struct Tail<T> {                                                                                    \
    int n;                                                                                            \
  };                                                                                                  \
  template <>                                                                                         \
  struct IntVec<T> {                                                                                  \
    using Int = Lane<T>::Int;                                                                         \
    static constexpr int N = 1;                                                                       \
    Int v;                                                                                            \
    static SIMDGRAD_INLINE IntVec load(const Int* p) { return {*p}; }                                 \
    static SIMDGRAD_INLINE IntVec set1(Int x) { return {x}; }                                         \
  };                                                                                                  \
  template <>                                                                                         \
  struct Vec<T> {                                                                                     \
    using Int = IntVec<T>;                                                                            \
    static constexpr int N = 1;                                                                       \
    T v;                                                                                              \
    static SIMDGRAD_INLINE Vec load(const T* p) { return {*p}; }                                      \
    static SIMDGRAD_INLINE Vec set1(T x) { return {x}; }                                              \
    static SIMDGRAD_INLINE Vec zero() { return {0}; }                                                 \
  };                                                                                                  \
  SIMDGRAD_INLINE IntVec<T> bits_of(Vec<T> a) { return {reinterpret_lane<Lane<T>::Int>(a.v)}; }       \
  SIMDGRAD_INLINE Vec<T> from_bits(IntVec<T> a) { return {reinterpret_lane<T>(a.v)}; }                \
  SIMDGRAD_INLINE IntVec<T> operator+(IntVec<T> a, IntVec<T> b) { return {a.v + b.v}; }               \
  SIMDGRAD_INLINE IntVec<T> operator-(IntVec<T> a, IntVec<T> b) { return {a.v - b.v}; }               \
  SIMDGRAD_INLINE IntVec<T> operator&(IntVec<T> a, IntVec<T> b) { return {a.v & b.v}; }               \
  SIMDGRAD_INLINE IntVec<T> operator|(IntVec<T> a, IntVec<T> b) { return {a.v | b.v}; }               \
  SIMDGRAD_INLINE IntVec<T> operator^(IntVec<T> a, IntVec<T> b) { return {a.v ^ b.v}; }               \
  template <int k>                                                                                    \
  SIMDGRAD_INLINE IntVec<T> shl(IntVec<T> a) {                                                        \
    return {(Lane<T>::Int)((uint64_t)a.v << k)};                                                      \
  }                                                                                                   \
  template <int k>                                                                                    \
  SIMDGRAD_INLINE IntVec<T> shr(IntVec<T> a) {                                                        \
    return {(Lane<T>::Int)((sizeof(T) == 4 ? (uint64_t)(uint32_t)a.v : (uint64_t)a.v) >> k)};         \
  }                                                                                                   \
  template <int k>                                                                                    \
  SIMDGRAD_INLINE Mask<T> has_bit(IntVec<T> a) {                                                      \
    return {(a.v >> k & 1) != 0};                                                                     \
  }                                                                                                   \
  SIMDGRAD_INLINE Vec<T> operator+(Vec<T> a, Vec<T> b) { return {a.v + b.v}; }                        \
  SIMDGRAD_INLINE Vec<T> operator-(Vec<T> a, Vec<T> b) { return {a.v - b.v}; }                        \
  SIMDGRAD_INLINE Vec<T> operator*(Vec<T> a, Vec<T> b) { return {a.v * b.v}; }                        \
  SIMDGRAD_INLINE Vec<T> operator/(Vec<T> a, Vec<T> b) { return {a.v / b.v}; }                        \
  SIMDGRAD_INLINE Vec<T> operator&(Vec<T> a, Vec<T> b) { return from_bits(bits_of(a) & bits_of(b)); } \
  SIMDGRAD_INLINE Vec<T> operator|(Vec<T> a, Vec<T> b) { return from_bits(bits_of(a) | bits_of(b)); } \
  SIMDGRAD_INLINE Vec<T> operator^(Vec<T> a, Vec<T> b) { return from_bits(bits_of(a) ^ bits_of(b)); } \
  SIMDGRAD_INLINE Vec<T> min(Vec<T> a, Vec<T> b) { return a.v < b.v ? a : b; }                        \
  SIMDGRAD_INLINE Vec<T> max(Vec<T> a, Vec<T> b) { return a.v > b.v ? a : b; }                        \
  SIMDGRAD_INLINE Vec<T> sqrt(Vec<T> a) { return {(T)::sqrt(a.v)}; }                                  \
  SIMDGRAD_INLINE Vec<T> abs(Vec<T> a) { return {(T)::fabs(a.v)}; }                                   \
  SIMDGRAD_INLINE Vec<T> neg(Vec<T> a) { return {-a.v}; }                                             \
  SIMDGRAD_INLINE Vec<T> round(Vec<T> a) { return {(T)::nearbyint(a.v)}; }                            \
  SIMDGRAD_INLINE Vec<T> floor(Vec<T> a) { return {(T)::floor(a.v)}; }                                \
  SIMDGRAD_INLINE Mask<T> operator==(Vec<T> a, Vec<T> b) { return {a.v == b.v}; }                     \
  SIMDGRAD_INLINE Mask<T> operator!=(Vec<T> a, Vec<T> b) { return {a.v != b.v}; }                     \
  SIMDGRAD_INLINE Mask<T> operator<(Vec<T> a, Vec<T> b) { return {a.v < b.v}; }                       \
  SIMDGRAD_INLINE Mask<T> operator<=(Vec<T> a, Vec<T> b) { return {a.v <= b.v}; }                     \
  SIMDGRAD_INLINE Mask<T> operator&(Mask<T> a, Mask<T> b) { return {a.v && b.v}; }                    \
  SIMDGRAD_INLINE Mask<T> operator|(Mask<T> a, Mask<T> b) { return {a.v || b.v}; }                    \
  SIMDGRAD_INLINE Mask<T> operator~(Mask<T> a) { return {!a.v}; }                                     \
  SIMDGRAD_INLINE unsigned bits(Mask<T> m) { return m.v ? 1 : 0; }                                    \
  SIMDGRAD_INLINE Vec<T> fma(Vec<T> a, Vec<T> b, Vec<T> c) { return {a.v * b.v + c.v}; }              \
  SIMDGRAD_INLINE Vec<T> select(Mask<T> m, Vec<T> a, Vec<T> b) { return m.v ? a : b; }                \
  SIMDGRAD_INLINE void store(T* p, Vec<T> a) { *p = a.v; }                                            \
  SIMDGRAD_INLINE void store(Lane<T>::Int* p, IntVec<T> a) { *p = a.v; }                              \
  SIMDGRAD_INLINE Vec<T> load_tail(const T* p, Tail<T> n) { return n.n ? Vec<T>{*p} : Vec<T>{0}; }    \
  SIMDGRAD_INLINE void store_tail(T* p, Vec<T> a, Tail<T> n) {                                        \
    if (n.n) *p = a.v;                                                                                \
  }                                                                                                   \
  SIMDGRAD_INLINE Mask<T> mask_of(Tail<T> n) { return {n.n > 0}; }                                    \
  SIMDGRAD_INLINE IntVec<T> to_int(Vec<T> a) { return {(Lane<T>::Int)::nearbyint(a.v)}; }             \
  SIMDGRAD_INLINE Vec<T> to_float(IntVec<T> a) { return {(T)a.v}; }

SIMDGRAD_TYPE(float)
SIMDGRAD_TYPE(double)
#undef SIMDGRAD_TYPE

// One lane has no halves.
SIMDGRAD_INLINE void widen(Vec<float> a, Vec<double>& low, Vec<double>& high) {
  low.v = high.v = static_cast<double>(a.v);
}
SIMDGRAD_INLINE Vec<float> narrow(Vec<double> low, Vec<double>) { return {static_cast<float>(low.v)}; }

template <class T>
SIMDGRAD_INLINE Tail<T> tail(int n) {
  return {n};
}

#endif

// ---- what every target shares ----

#if SIMDGRAD_X86 && SIMDGRAD_TARGET != SIMDGRAD_AVX512
// Adding 1.5 * 2^52 leaves the integer in the low mantissa bits: for |x| < 2^51.
SIMDGRAD_INLINE IntVec<double> to_int(Vec<double> a) {
  const Vec<double> magic = Vec<double>::set1(6755399441055744.0);
  return bits_of(a + magic) - bits_of(magic);
}
SIMDGRAD_INLINE Vec<double> to_float(IntVec<double> a) {
  const Vec<double> magic = Vec<double>::set1(6755399441055744.0);
  return from_bits(a + bits_of(magic)) - magic;
}
#endif

#if SIMDGRAD_X86 && SIMDGRAD_TARGET == SIMDGRAD_BASELINE
// SSE2 has no rounding instruction: adding and subtracting 2^mantissaBits rounds to nearest even; values at
// or above it are integers (or NaN) already. The sign is put back, so that -0.3 gives -0.
template <class T>
SIMDGRAD_INLINE Vec<T> round(Vec<T> a) {
  const Vec<T> limit = Vec<T>::set1(T(int64_t(1) << Lane<T>::kMantissaBits));
  const Vec<T> sign = a & Vec<T>::set1(T(-0.0));
  const Vec<T> size = abs(a);
  return select(size < limit, ((size + limit) - limit) | sign, a);
}
template <class T>
SIMDGRAD_INLINE Vec<T> floor(Vec<T> a) {
  const Vec<T> sign = a & Vec<T>::set1(T(-0.0));
  const Vec<T> r = round(a);
  return select(a < r, r - Vec<T>::set1(T(1)), r) | sign;
}
#endif

SIMDGRAD_INLINE Vec<float> load(const float* p) { return Vec<float>::load(p); }
SIMDGRAD_INLINE Vec<double> load(const double* p) { return Vec<double>::load(p); }
template <class T>
SIMDGRAD_INLINE Vec<T> set1(T x) {
  return Vec<T>::set1(x);
}
template <class T>
SIMDGRAD_INLINE Vec<T> zero() {
  return Vec<T>::zero();
}

// The first n lanes (0 <= n <= N); nothing beyond p[n - 1] is touched.
template <class T>
SIMDGRAD_INLINE void store_n(T* p, Vec<T> a, int n) {
  store_tail(p, a, tail<T>(n));
}

template <class T>
SIMDGRAD_INLINE Mask<T> operator>(Vec<T> a, Vec<T> b) {
  return b < a;
}
template <class T>
SIMDGRAD_INLINE Mask<T> operator>=(Vec<T> a, Vec<T> b) {
  return b <= a;
}
template <class T>
SIMDGRAD_INLINE Mask<T> is_nan(Vec<T> a) {
  return a != a;
}
template <class T>
SIMDGRAD_INLINE bool any(Mask<T> m) {
  return bits(m) != 0;
}
template <class T>
SIMDGRAD_INLINE bool all(Mask<T> m) {
  return bits(m) == (1u << Vec<T>::N) - 1;
}
// |a| with the sign of b.
template <class T>
SIMDGRAD_INLINE Vec<T> copysign(Vec<T> a, Vec<T> b) {
  return abs(a) | (b & Vec<T>::set1(T(-0.0)));
}
// a * b - c, fused like fma.
template <class T>
SIMDGRAD_INLINE Vec<T> fms(Vec<T> a, Vec<T> b, Vec<T> c) {
  return fma(a, b, neg(c));
}
// c - a * b, fused like fma. Targets may have their own.
template <class T>
SIMDGRAD_INLINE Vec<T> fnma(Vec<T> a, Vec<T> b, Vec<T> c) {
  return fma(neg(a), b, c);
}
// sum = a * b + sum, fused like fma, with sum kept in its register: for loops that hold many sums. (Compilers
// like to overwrite a or b instead and then run out of registers.)
#if SIMDGRAD_X86 && SIMDGRAD_TARGET != SIMDGRAD_BASELINE && defined(__GNUC__)
SIMDGRAD_INLINE void accumulate(Vec<float>& sum, Vec<float> a, Vec<float> b) {
  asm("vfmadd231ps %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
}
SIMDGRAD_INLINE void accumulate(Vec<double>& sum, Vec<double> a, Vec<double> b) {
  asm("vfmadd231pd %2, %1, %0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
}
#else
template <class T>
SIMDGRAD_INLINE void accumulate(Vec<T>& sum, Vec<T> a, Vec<T> b) {
  sum = fma(a, b, sum);
}
#endif
// The same where a is one number in memory, that the instruction itself repeats if the target can
// (kRepeats).
#if SIMDGRAD_X86 && SIMDGRAD_TARGET == SIMDGRAD_AVX512 && defined(__GNUC__)
constexpr bool kRepeats = true;
SIMDGRAD_INLINE void accumulate(Vec<float>& sum, const float* a, Vec<float> b) {
  asm("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(sum.v) : "v"(b.v), "m"(*a));
}
SIMDGRAD_INLINE void accumulate(Vec<double>& sum, const double* a, Vec<double> b) {
  asm("vfmadd231pd %2%{1to8%}, %1, %0" : "+v"(sum.v) : "v"(b.v), "m"(*a));
}
#else
constexpr bool kRepeats = false;
template <class T>
SIMDGRAD_INLINE void accumulate(Vec<T>& sum, const T* a, Vec<T> b) {
  accumulate(sum, set1(*a), b);
}
#endif
// The same for the lower half of the lanes, where the target has instructions for it (kHalves); the other
// lanes of the sum may hold anything after. They take half the time of whole ones on AMD, as long on Intel.
// Not for doubles, which would be as much code again.
template <class T>
constexpr bool kHalves = false;
#if SIMDGRAD_X86 && SIMDGRAD_TARGET == SIMDGRAD_AVX512 && defined(__GNUC__)
template <>
constexpr bool kHalves<float> = true;
SIMDGRAD_INLINE void accumulate_half(Vec<float>& sum, Vec<float> a, Vec<float> b) {
  asm("vfmadd231ps %t2, %t1, %t0" : "+v"(sum.v) : "v"(a.v), "v"(b.v));
}
SIMDGRAD_INLINE void accumulate_half(Vec<float>& sum, const float* a, Vec<float> b) {
  asm("vfmadd231ps %2%{1to8%}, %t1, %t0" : "+v"(sum.v) : "v"(b.v), "m"(*a));
}
#endif
// Adding this to |x| < 2^(mantissa bits - 2) rounds x to an integer, to nearest even, and leaves that in the
// low bits of the sum: fewer instructions than round() and to_int().
template <class T>
constexpr T kRounder = T(int64_t(3) << (Lane<T>::kMantissaBits - 1));
// 2^n for integers n in the range of normal numbers.
template <class T>
SIMDGRAD_INLINE Vec<T> pow2(Vec<T> n) {
  return from_bits(
      shl<Lane<T>::kMantissaBits>(bits_of(n + Vec<T>::set1(kRounder<T> + T(Lane<T>::kExponentBias)))));
}
// a * 2^n for integers n from -2 * bias to 2 * bias: two factors, so results may be subnormal or overflow
// properly.
#if !(SIMDGRAD_X86 && SIMDGRAD_TARGET == SIMDGRAD_AVX512)
template <class T>
SIMDGRAD_INLINE Vec<T> scale(Vec<T> a, Vec<T> n) {
  constexpr T kBias = T(Lane<T>::kExponentBias);
  // In their low bits both numbers are off by as much as makes them and their difference biased exponents.
  const IntVec<T> half = bits_of(fma(n, Vec<T>::set1(T(0.5)), Vec<T>::set1(kRounder<T> + kBias)));
  const IntVec<T> whole = bits_of(n + Vec<T>::set1(kRounder<T> + 2 * kBias));
  return a * from_bits(shl<Lane<T>::kMantissaBits>(half)) *
         from_bits(shl<Lane<T>::kMantissaBits>(whole - half));
}
#endif
// The exponent of a normal positive number: floor(log2 a).
template <class T>
SIMDGRAD_INLINE IntVec<T> exponent(Vec<T> a) {
  return shr<Lane<T>::kMantissaBits>(bits_of(a)) - IntVec<T>::set1(Lane<T>::kExponentBias);
}
// The significand of a normal positive number, in [1, 2).
template <class T>
SIMDGRAD_INLINE Vec<T> significand(Vec<T> a) {
  using Int = typename Lane<T>::Int;
  return from_bits((bits_of(a) & IntVec<T>::set1((Int(1) << Lane<T>::kMantissaBits) - 1)) |
                   IntVec<T>::set1(Int(Lane<T>::kExponentBias) << Lane<T>::kMantissaBits));
}

// Lanes are combined by halves: lane i with lane i + N/2, and so on; the same order on every run.
#define SIMDGRAD_REDUCE(name, expression)                 \
  template <class T>                                      \
  SIMDGRAD_INLINE T name(Vec<T> v) {                      \
    T lane[Vec<T>::N];                                    \
    store(lane, v);                                       \
    SIMDGRAD_UNROLL                                       \
    for (int half = Vec<T>::N / 2; half > 0; half /= 2) { \
      for (int i = 0; i < half; ++i) {                    \
        const T a = lane[i], b = lane[i + half];          \
        lane[i] = expression;                             \
      }                                                   \
    }                                                     \
    return lane[0];                                       \
  }

#if SIMDGRAD_X86
// a.v's halves combined by the intrinsic, down to one lane.
#define SIMDGRAD_REDUCE_X86(name, op)                              \
  SIMDGRAD_INLINE float name##_128(__m128 a) {                     \
    a = _mm_##op##_ps(a, _mm_movehl_ps(a, a));                     \
    a = _mm_##op##_ss(a, _mm_shuffle_ps(a, a, 1));                 \
    return _mm_cvtss_f32(a);                                       \
  }                                                                \
  SIMDGRAD_INLINE double name##_128(__m128d a) {                   \
    return _mm_cvtsd_f64(_mm_##op##_sd(a, _mm_unpackhi_pd(a, a))); \
  }                                                                \
  SIMDGRAD_REDUCE_X86_WIDE(name, op)
#if SIMDGRAD_TARGET == SIMDGRAD_AVX512
#define SIMDGRAD_REDUCE_X86_WIDE(name, op)                                                           \
  SIMDGRAD_INLINE float name(Vec<float> a) {                                                         \
    const __m256 h = _mm256_##op##_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));  \
    return name##_128(_mm_##op##_ps(_mm256_castps256_ps128(h), _mm256_extractf128_ps(h, 1)));        \
  }                                                                                                  \
  SIMDGRAD_INLINE double name(Vec<double> a) {                                                       \
    const __m256d h = _mm256_##op##_pd(_mm512_castpd512_pd256(a.v), _mm512_extractf64x4_pd(a.v, 1)); \
    return name##_128(_mm_##op##_pd(_mm256_castpd256_pd128(h), _mm256_extractf128_pd(h, 1)));        \
  }
#elif SIMDGRAD_TARGET == SIMDGRAD_AVX2
#define SIMDGRAD_REDUCE_X86_WIDE(name, op)                                                        \
  SIMDGRAD_INLINE float name(Vec<float> a) {                                                      \
    return name##_128(_mm_##op##_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1))); \
  }                                                                                               \
  SIMDGRAD_INLINE double name(Vec<double> a) {                                                    \
    return name##_128(_mm_##op##_pd(_mm256_castpd256_pd128(a.v), _mm256_extractf128_pd(a.v, 1))); \
  }
#else
#define SIMDGRAD_REDUCE_X86_WIDE(name, op)                             \
  SIMDGRAD_INLINE float name(Vec<float> a) { return name##_128(a.v); } \
  SIMDGRAD_INLINE double name(Vec<double> a) { return name##_128(a.v); }
#endif
SIMDGRAD_REDUCE_X86(reduce_add, add)
SIMDGRAD_REDUCE_X86(reduce_max, max)
SIMDGRAD_REDUCE_X86(reduce_min, min)
#undef SIMDGRAD_REDUCE_X86
#undef SIMDGRAD_REDUCE_X86_WIDE
#else
SIMDGRAD_REDUCE(reduce_add, a + b)
SIMDGRAD_REDUCE(reduce_max, a > b ? a : b)
SIMDGRAD_REDUCE(reduce_min, a < b ? a : b)
#endif
#undef SIMDGRAD_REDUCE

// out[0..3] = the sums of the lanes of a, b, c and d. (Not in reduce_add's order: use one of the two
// throughout.)
#if SIMDGRAD_X86
#if SIMDGRAD_TARGET == SIMDGRAD_AVX512
SIMDGRAD_INLINE void reduce_add4(Vec<float> a, Vec<float> b, Vec<float> c, Vec<float> d, float* out) {
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a.v, b.v), _mm512_unpackhi_ps(a.v, b.v));
  const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c.v, d.v), _mm512_unpackhi_ps(c.v, d.v));
  const __m512 x = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
  const __m256 y = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(y), _mm256_extractf128_ps(y, 1)));
}
SIMDGRAD_INLINE void reduce_add4(Vec<double> a, Vec<double> b, Vec<double> c, Vec<double> d, double* out) {
  const __m512d ab = _mm512_add_pd(_mm512_unpacklo_pd(a.v, b.v), _mm512_unpackhi_pd(a.v, b.v));
  const __m512d cd = _mm512_add_pd(_mm512_unpacklo_pd(c.v, d.v), _mm512_unpackhi_pd(c.v, d.v));
  const __m256d x = _mm256_add_pd(_mm512_castpd512_pd256(ab), _mm512_extractf64x4_pd(ab, 1));
  const __m256d y = _mm256_add_pd(_mm512_castpd512_pd256(cd), _mm512_extractf64x4_pd(cd, 1));
  _mm256_storeu_pd(out,
                   _mm256_add_pd(_mm256_permute2f128_pd(x, y, 0x20), _mm256_permute2f128_pd(x, y, 0x31)));
}
#elif SIMDGRAD_TARGET == SIMDGRAD_AVX2
SIMDGRAD_INLINE void reduce_add4(Vec<float> a, Vec<float> b, Vec<float> c, Vec<float> d, float* out) {
  const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a.v, b.v), _mm256_unpackhi_ps(a.v, b.v));
  const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c.v, d.v), _mm256_unpackhi_ps(c.v, d.v));
  const __m256 x = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
  _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)));
}
SIMDGRAD_INLINE void reduce_add4(Vec<double> a, Vec<double> b, Vec<double> c, Vec<double> d, double* out) {
  const __m256d x = _mm256_add_pd(_mm256_unpacklo_pd(a.v, b.v), _mm256_unpackhi_pd(a.v, b.v));
  const __m256d y = _mm256_add_pd(_mm256_unpacklo_pd(c.v, d.v), _mm256_unpackhi_pd(c.v, d.v));
  _mm256_storeu_pd(out,
                   _mm256_add_pd(_mm256_permute2f128_pd(x, y, 0x20), _mm256_permute2f128_pd(x, y, 0x31)));
}
#else
SIMDGRAD_INLINE void reduce_add4(Vec<float> a, Vec<float> b, Vec<float> c, Vec<float> d, float* out) {
  const __m128 ab = _mm_add_ps(_mm_unpacklo_ps(a.v, b.v), _mm_unpackhi_ps(a.v, b.v));
  const __m128 cd = _mm_add_ps(_mm_unpacklo_ps(c.v, d.v), _mm_unpackhi_ps(c.v, d.v));
  _mm_storeu_ps(out, _mm_add_ps(_mm_movelh_ps(ab, cd), _mm_movehl_ps(cd, ab)));
}
SIMDGRAD_INLINE void reduce_add4(Vec<double> a, Vec<double> b, Vec<double> c, Vec<double> d, double* out) {
  _mm_storeu_pd(out, _mm_add_pd(_mm_unpacklo_pd(a.v, b.v), _mm_unpackhi_pd(a.v, b.v)));
  _mm_storeu_pd(out + 2, _mm_add_pd(_mm_unpacklo_pd(c.v, d.v), _mm_unpackhi_pd(c.v, d.v)));
}
#endif
#else
template <class T>
SIMDGRAD_INLINE void reduce_add4(Vec<T> a, Vec<T> b, Vec<T> c, Vec<T> d, T* out) {
  out[0] = reduce_add(a);
  out[1] = reduce_add(b);
  out[2] = reduce_add(c);
  out[3] = reduce_add(d);
}
#endif

// A hint that *p will be read soon.
SIMDGRAD_INLINE void prefetch(const void* p) {
#if SIMDGRAD_X86
  _mm_prefetch((const char*)p, _MM_HINT_T0);
#elif defined(__GNUC__)
  __builtin_prefetch(p);
#else
  (void)p;
#endif
}

// Into the second-level cache only.
SIMDGRAD_INLINE void prefetch_near(const void* p) {
#if SIMDGRAD_X86
  _mm_prefetch((const char*)p, _MM_HINT_T1);
#elif defined(__GNUC__)
  __builtin_prefetch(p, 0, 2);
#else
  (void)p;
#endif
}

// The transpose of one N x N block: dst[j * dst_stride + i] = src[min(i, rows - 1) * src_stride + j], 1 <=
// rows <= N. Rows beyond the last repeat it, so that nothing outside src is read. N full rows of dst are
// written, from the first to the last, so they may overlap.
#if SIMDGRAD_X86 && SIMDGRAD_TARGET == SIMDGRAD_AVX512
SIMDGRAD_INLINE void transpose_block(const float* src, int64_t src_stride, float* dst, int64_t dst_stride,
                                     int rows = 16) {
  __m512 r[16], t[16];
  SIMDGRAD_UNROLL
  for (int i = 0; i < 16; ++i) r[i] = _mm512_loadu_ps(src + (i < rows ? i : rows - 1) * src_stride);
  SIMDGRAD_UNROLL
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  // r[4 * i + c]: in each 128-bit part p, column 4 * p + c of rows 4 * i .. 4 * i + 3.
  SIMDGRAD_UNROLL
  for (int i = 0; i < 4; ++i) {
    SIMDGRAD_UNROLL
    for (int c = 0; c < 2; ++c) {
      const __m512d x = _mm512_castps_pd(t[4 * i + c]), y = _mm512_castps_pd(t[4 * i + 2 + c]);
      r[4 * i + 2 * c] = _mm512_castpd_ps(_mm512_unpacklo_pd(x, y));
      r[4 * i + 2 * c + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(x, y));
    }
  }
  SIMDGRAD_UNROLL
  for (int c = 0; c < 4; ++c) {
    const __m512 lo01 = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x88),
                 hi01 = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xdd);
    const __m512 lo23 = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x88);
    const __m512 hi23 = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xdd);
    t[c] = _mm512_shuffle_f32x4(lo01, lo23, 0x88);
    t[4 + c] = _mm512_shuffle_f32x4(hi01, hi23, 0x88);
    t[8 + c] = _mm512_shuffle_f32x4(lo01, lo23, 0xdd);
    t[12 + c] = _mm512_shuffle_f32x4(hi01, hi23, 0xdd);
  }
  SIMDGRAD_UNROLL
  for (int i = 0; i < 16; ++i) _mm512_storeu_ps(dst + i * dst_stride, t[i]);
}
SIMDGRAD_INLINE void transpose_block(const double* src, int64_t src_stride, double* dst, int64_t dst_stride,
                                     int rows = 8) {
  __m512d r[8], t[8];
  SIMDGRAD_UNROLL
  for (int i = 0; i < 8; ++i) r[i] = _mm512_loadu_pd(src + (i < rows ? i : rows - 1) * src_stride);
  // t[2 * i + c]: in each 128-bit part p, column 2 * p + c of rows 2 * i and 2 * i + 1.
  SIMDGRAD_UNROLL
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm512_unpacklo_pd(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_pd(r[2 * i], r[2 * i + 1]);
  }
  SIMDGRAD_UNROLL
  for (int c = 0; c < 2; ++c) {
    const __m512d lo01 = _mm512_shuffle_f64x2(t[c], t[2 + c], 0x88),
                  hi01 = _mm512_shuffle_f64x2(t[c], t[2 + c], 0xdd);
    const __m512d lo23 = _mm512_shuffle_f64x2(t[4 + c], t[6 + c], 0x88);
    const __m512d hi23 = _mm512_shuffle_f64x2(t[4 + c], t[6 + c], 0xdd);
    r[c] = _mm512_shuffle_f64x2(lo01, lo23, 0x88);
    r[2 + c] = _mm512_shuffle_f64x2(hi01, hi23, 0x88);
    r[4 + c] = _mm512_shuffle_f64x2(lo01, lo23, 0xdd);
    r[6 + c] = _mm512_shuffle_f64x2(hi01, hi23, 0xdd);
  }
  SIMDGRAD_UNROLL
  for (int i = 0; i < 8; ++i) _mm512_storeu_pd(dst + i * dst_stride, r[i]);
}
#elif SIMDGRAD_X86 && SIMDGRAD_TARGET == SIMDGRAD_AVX2
SIMDGRAD_INLINE void transpose_block(const float* src, int64_t src_stride, float* dst, int64_t dst_stride,
                                     int rows = 8) {
  __m256 r[8], t[8];
  SIMDGRAD_UNROLL
  for (int i = 0; i < 8; ++i) r[i] = _mm256_loadu_ps(src + (i < rows ? i : rows - 1) * src_stride);
  SIMDGRAD_UNROLL
  for (int i = 0; i < 4; ++i) {
    t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  // r[4 * i + c]: in each 128-bit part p, column 4 * p + c of rows 4 * i .. 4 * i + 3.
  SIMDGRAD_UNROLL
  for (int i = 0; i < 2; ++i) {
    SIMDGRAD_UNROLL
    for (int c = 0; c < 2; ++c) {
      r[4 * i + 2 * c] = _mm256_shuffle_ps(t[4 * i + c], t[4 * i + 2 + c], 0x44);
      r[4 * i + 2 * c + 1] = _mm256_shuffle_ps(t[4 * i + c], t[4 * i + 2 + c], 0xee);
    }
  }
  SIMDGRAD_UNROLL
  for (int c = 0; c < 4; ++c) {
    t[c] = _mm256_permute2f128_ps(r[c], r[4 + c], 0x20);
    t[4 + c] = _mm256_permute2f128_ps(r[c], r[4 + c], 0x31);
  }
  SIMDGRAD_UNROLL
  for (int i = 0; i < 8; ++i) _mm256_storeu_ps(dst + i * dst_stride, t[i]);
}
SIMDGRAD_INLINE void transpose_block(const double* src, int64_t src_stride, double* dst, int64_t dst_stride,
                                     int rows = 4) {
  __m256d r[4], t[4];
  SIMDGRAD_UNROLL
  for (int i = 0; i < 4; ++i) r[i] = _mm256_loadu_pd(src + (i < rows ? i : rows - 1) * src_stride);
  SIMDGRAD_UNROLL
  for (int i = 0; i < 2; ++i) {
    t[2 * i] = _mm256_unpacklo_pd(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_pd(r[2 * i], r[2 * i + 1]);
  }
  SIMDGRAD_UNROLL
  for (int c = 0; c < 2; ++c) {
    r[c] = _mm256_permute2f128_pd(t[c], t[2 + c], 0x20);
    r[2 + c] = _mm256_permute2f128_pd(t[c], t[2 + c], 0x31);
  }
  SIMDGRAD_UNROLL
  for (int i = 0; i < 4; ++i) _mm256_storeu_pd(dst + i * dst_stride, r[i]);
}
#elif SIMDGRAD_X86
SIMDGRAD_INLINE void transpose_block(const float* src, int64_t src_stride, float* dst, int64_t dst_stride,
                                     int rows = 4) {
  __m128 r[4];
  SIMDGRAD_UNROLL
  for (int i = 0; i < 4; ++i) r[i] = _mm_loadu_ps(src + (i < rows ? i : rows - 1) * src_stride);
  _MM_TRANSPOSE4_PS(r[0], r[1], r[2], r[3]);
  SIMDGRAD_UNROLL
  for (int i = 0; i < 4; ++i) _mm_storeu_ps(dst + i * dst_stride, r[i]);
}
SIMDGRAD_INLINE void transpose_block(const double* src, int64_t src_stride, double* dst, int64_t dst_stride,
                                     int rows = 2) {
  const __m128d a = _mm_loadu_pd(src), b = _mm_loadu_pd(src + (rows - 1) * src_stride);
  _mm_storeu_pd(dst, _mm_unpacklo_pd(a, b));
  _mm_storeu_pd(dst + dst_stride, _mm_unpackhi_pd(a, b));
}
#elif SIMDGRAD_ARM64
SIMDGRAD_INLINE void transpose_block(const float* src, int64_t src_stride, float* dst, int64_t dst_stride,
                                     int rows = 4) {
  float32x4_t r[4];
  SIMDGRAD_UNROLL
  for (int i = 0; i < 4; ++i) r[i] = vld1q_f32(src + (i < rows ? i : rows - 1) * src_stride);
  // Columns 0 and 2, and 1 and 3, of two rows each.
  const float64x2_t even01 = vreinterpretq_f64_f32(vtrn1q_f32(r[0], r[1])),
                    odd01 = vreinterpretq_f64_f32(vtrn2q_f32(r[0], r[1]));
  const float64x2_t even23 = vreinterpretq_f64_f32(vtrn1q_f32(r[2], r[3])),
                    odd23 = vreinterpretq_f64_f32(vtrn2q_f32(r[2], r[3]));
  vst1q_f32(dst, vreinterpretq_f32_f64(vtrn1q_f64(even01, even23)));
  vst1q_f32(dst + dst_stride, vreinterpretq_f32_f64(vtrn1q_f64(odd01, odd23)));
  vst1q_f32(dst + 2 * dst_stride, vreinterpretq_f32_f64(vtrn2q_f64(even01, even23)));
  vst1q_f32(dst + 3 * dst_stride, vreinterpretq_f32_f64(vtrn2q_f64(odd01, odd23)));
}
SIMDGRAD_INLINE void transpose_block(const double* src, int64_t src_stride, double* dst, int64_t dst_stride,
                                     int rows = 2) {
  const float64x2_t a = vld1q_f64(src), b = vld1q_f64(src + (rows - 1) * src_stride);
  vst1q_f64(dst, vtrn1q_f64(a, b));
  vst1q_f64(dst + dst_stride, vtrn2q_f64(a, b));
}
#else
template <class T>
SIMDGRAD_INLINE void transpose_block(const T* src, int64_t src_stride, T* dst, int64_t dst_stride,
                                     int rows = Vec<T>::N) {
  for (int j = 0; j < Vec<T>::N; ++j) {
    for (int i = 0; i < Vec<T>::N; ++i) {
      dst[j * dst_stride + i] = src[(i < rows ? i : rows - 1) * src_stride + j];
    }
  }
}
#endif

// dst[j * dst_stride + i] = src[i * src_stride + j] for i < rows, j < cols; nothing else is read or written.
template <class T>
SIMDGRAD_INLINE void transpose(const T* src, int64_t src_stride, T* dst, int64_t dst_stride, int64_t rows,
                               int64_t cols) {
  constexpr int N = Vec<T>::N;
  for (int64_t i = 0; i < rows; i += N) {
    const int in_rows = rows - i < N ? (int)(rows - i) : N;
    const T* s = src + i * src_stride;
    T* d = dst + i;
    int64_t j = 0;
    if (in_rows == N) {
      for (; j + N <= cols; j += N) transpose_block(s + j, src_stride, d + j * dst_stride, dst_stride);
    }
    for (; j < cols; j += N) {
      // An incomplete block takes a detour over the stack.
      alignas(64) T from[N * N], to[N * N];
      const int in_cols = cols - j < N ? (int)(cols - j) : N;
      const Tail<T> tail_rows = tail<T>(in_rows), tail_cols = tail<T>(in_cols);
      for (int r = 0; r < N; ++r) {
        store(from + r * N, r < in_rows ? load_tail(s + r * src_stride + j, tail_cols) : zero<T>());
      }
      transpose_block(from, N, to, N);
      for (int c = 0; c < in_cols; ++c) store_tail(d + (j + c) * dst_stride, load(to + c * N), tail_rows);
    }
  }
}
