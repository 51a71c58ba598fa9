// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011), and the elementary functions of Box and Muller's transform from + - * / alone.
//
// src/backend/js/random.ts has the same operations in the same order: normals are bit-equal on both backends.
// Change both or none, and use no fma() here. Included after simd.h in every target's region (so no guard, no
// includes); a lane is a block of the generator, or an element.

using Lanes = IntVec<double>;

// The products of the low 32 bits of each lane.
#if SIMDGRAD_X86
SIMDGRAD_INLINE Lanes multiply_low(Lanes a, Lanes b) {
#if SIMDGRAD_TARGET == SIMDGRAD_AVX512
  return {_mm512_mul_epu32(a.v, b.v)};
#elif SIMDGRAD_TARGET == SIMDGRAD_AVX2
  return {_mm256_mul_epu32(a.v, b.v)};
#else
  return {_mm_mul_epu32(a.v, b.v)};
#endif
}
#else
SIMDGRAD_INLINE Lanes multiply_low(Lanes a, Lanes b) {
  int64_t x[Lanes::N], y[Lanes::N];
  store(x, a);
  store(y, b);
  for (int i = 0; i < Lanes::N; ++i) {
    x[i] = static_cast<int64_t>(uint64_t(static_cast<uint32_t>(x[i])) * static_cast<uint32_t>(y[i]));
  }
  return Lanes::load(x);
}
#endif

// One block for each lane; only the low 32 bits of a lane count, in all arguments and results.
struct Philox {
  Lanes w0, w1, w2, w3;
};

SIMDGRAD_INLINE Philox philox(Lanes c0, Lanes c1, Lanes c2, Lanes c3, uint32_t k0, uint32_t k1) {
  const Lanes m0 = Lanes::set1(0xd2511f53), m1 = Lanes::set1(0xcd9e8d57);
  SIMDGRAD_UNROLL
  for (int round = 0; round < 10; ++round) {
    const Lanes p0 = multiply_low(m0, c0);
    const Lanes p1 = multiply_low(m1, c2);
    c0 = shr<32>(p1) ^ (c1 ^ Lanes::set1(k0));
    c1 = p1;
    c2 = shr<32>(p0) ^ (c3 ^ Lanes::set1(k1));
    c3 = p0;
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return {c0, c1, c2, c3};
}

// The blocks with these numbers of the stream with this key.
SIMDGRAD_INLINE Philox philox_blocks(uint32_t key0, uint32_t key1, Lanes block) {
  const Lanes none = Lanes::set1(0);
  return philox(block, shr<32>(block), none, none, key0, key1);
}

// 53 random bits of two words, as an integer-valued double below 2^53.
static SIMDGRAD_INLINE double philox_wide(uint32_t a, uint32_t b) {
  return static_cast<double>(static_cast<int32_t>(a >> 5)) * 67108864.0 +
         static_cast<double>(static_cast<int32_t>(b >> 6));
}

// ln x for normal x > 0. With x = 2^k m, m in (sqrt 1/2, sqrt 2], and s = (m - 1) / (m + 1):
// ln m = 2 artanh s = 2s + 2s (z/3 + z^2/5 + ... + z^10/21), z = s^2 <= 0.0295.
SIMDGRAD_INLINE Vec<double> philox_log(Vec<double> x) {
  using V = Vec<double>;
  V k = to_float(exponent(x));
  V m = significand(x);  // in [1, 2)
  const Mask<double> large = m > set1(1.4142135623730951);
  m = select(large, m * set1(0.5), m);
  k = select(large, k + set1(1.0), k);
  const V f = m - set1(1.0);
  const V s = f / (set1(2.0) + f);
  const V z = s * s;
  V q = set1(1.0 / 21);
  SIMDGRAD_UNROLL
  for (int odd = 19; odd >= 3; odd -= 2) q = q * z + set1(1.0 / odd);
  const V t = set1(2.0) * s;
  return k * set1(6.93147180369123816490e-1) + (t + (t * (z * q) + k * set1(1.90821492927058770002e-10)));
}

// cos(2 pi u) and sin(2 pi u) for u in [0, 1). The quarter turn nearest to 4u is taken off exactly; what
// remains, at most pi/4, goes through the Taylor series to a^17 and a^16.
struct Turn {
  Vec<double> cos, sin;
};

SIMDGRAD_INLINE Turn philox_turn(Vec<double> u) {
  using V = Vec<double>;
  const V t = u * set1(4.0);
  const V quarter = floor(t + set1(0.5));
  const V a = (t - quarter) * set1(1.5707963267948966);
  const V z = a * a;
  V p = set1(1.0 / 355687428096000);
  p = p * z - set1(1.0 / 1307674368000);
  p = p * z + set1(1.0 / 6227020800);
  p = p * z - set1(1.0 / 39916800);
  p = p * z + set1(1.0 / 362880);
  p = p * z - set1(1.0 / 5040);
  p = p * z + set1(1.0 / 120);
  p = p * z - set1(1.0 / 6);
  const V sin = a + a * (z * p);
  V q = set1(1.0 / 20922789888000);
  q = q * z - set1(1.0 / 87178291200);
  q = q * z + set1(1.0 / 479001600);
  q = q * z - set1(1.0 / 3628800);
  q = q * z + set1(1.0 / 40320);
  q = q * z - set1(1.0 / 720);
  q = q * z + set1(1.0 / 24);
  const V cos = set1(1.0) - (set1(0.5) * z - z * (z * q));
  // Quarter turns by 0, 1, 2, 3: (cos, sin), (-sin, cos), (-cos, -sin), (sin, -cos).
  const Lanes turns = to_int(quarter);
  const Mask<double> odd = has_bit<0>(turns);
  const V c = select(odd, sin, cos), s = select(odd, cos, sin);
  return {select(has_bit<1>(turns + Lanes::set1(1)), neg(c), c), select(has_bit<1>(turns), neg(s), s)};
}
