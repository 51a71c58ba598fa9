// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011), and the elementary functions of Box and Muller's transform from + - * / alone.
//
// src/backend/js/random.ts has the same operations in the same order: normals are bit-equal on both backends.
// Change both or none. Nothing here may be contracted to fused operations. Plain C++, included inside the targets'
// regions (so no guard, no includes), written so that a compiler can run several blocks in the lanes of a vector.

struct PhiloxWords {
  uint32_t w[4];
};

SIMDGRAD_INLINE PhiloxWords philox(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1) {
  SIMDGRAD_UNROLL
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t(0xd2511f53u) * c0;
    const uint64_t p1 = uint64_t(0xcd9e8d57u) * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return {{c0, c1, c2, c3}};
}

// Block number `block` of the stream with this key.
SIMDGRAD_INLINE PhiloxWords philox_block(uint32_t key0, uint32_t key1, uint64_t block) {
  return philox(static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32), 0, 0, key0, key1);
}

// 53 random bits of two words, as an integer-valued double below 2^53.
SIMDGRAD_INLINE double philox_wide(uint32_t a, uint32_t b) {
  return static_cast<double>(static_cast<int32_t>(a >> 5)) * 67108864.0 +
         static_cast<double>(static_cast<int32_t>(b >> 6));
}

SIMDGRAD_INLINE uint64_t bits_of_double(double x) {
  uint64_t u;
  memcpy(&u, &x, 8);
  return u;
}
SIMDGRAD_INLINE double double_of_bits(uint64_t u) {
  double x;
  memcpy(&x, &u, 8);
  return x;
}

// ln x for normal x > 0. With x = 2^k m, m in (sqrt 1/2, sqrt 2], and s = (m - 1) / (m + 1):
// ln m = 2 artanh s = 2s + 2s (z/3 + z^2/5 + ... + z^10/21), z = s^2 <= 0.0295.
SIMDGRAD_INLINE double philox_log(double x) {
  const uint64_t bits = bits_of_double(x);
  double k = static_cast<double>(static_cast<int32_t>(bits >> 52) - 1023);
  double m = double_of_bits((bits & 0x000fffffffffffffull) | 0x3ff0000000000000ull);  // in [1, 2)
  const bool large = m > 1.4142135623730951;
  m = large ? m * 0.5 : m;
  k = large ? k + 1 : k;
  const double f = m - 1;
  const double s = f / (2 + f);
  const double z = s * s;
  double q = 1.0 / 21;
  q = q * z + 1.0 / 19;
  q = q * z + 1.0 / 17;
  q = q * z + 1.0 / 15;
  q = q * z + 1.0 / 13;
  q = q * z + 1.0 / 11;
  q = q * z + 1.0 / 9;
  q = q * z + 1.0 / 7;
  q = q * z + 1.0 / 5;
  q = q * z + 1.0 / 3;
  const double t = 2 * s;
  return k * 6.93147180369123816490e-1 + (t + (t * (z * q) + k * 1.90821492927058770002e-10));
}

struct Turn {
  double cos, sin;
};

// cos(2 pi u) and sin(2 pi u) for u in [0, 1). The quarter turn nearest to 4u is taken off exactly; what remains,
// at most pi/4, goes through the Taylor series to a^17 and a^16.
SIMDGRAD_INLINE Turn philox_turn(double u) {
  const double t = u * 4;
  const int32_t quarter = static_cast<int32_t>(t + 0.5);
  const double a = (t - quarter) * 1.5707963267948966;
  const double z = a * a;
  double p = 1.0 / 355687428096000;
  p = p * z - 1.0 / 1307674368000;
  p = p * z + 1.0 / 6227020800;
  p = p * z - 1.0 / 39916800;
  p = p * z + 1.0 / 362880;
  p = p * z - 1.0 / 5040;
  p = p * z + 1.0 / 120;
  p = p * z - 1.0 / 6;
  const double sin = a + a * (z * p);
  double q = 1.0 / 20922789888000;
  q = q * z - 1.0 / 87178291200;
  q = q * z + 1.0 / 479001600;
  q = q * z - 1.0 / 3628800;
  q = q * z + 1.0 / 40320;
  q = q * z - 1.0 / 720;
  q = q * z + 1.0 / 24;
  const double cos = 1 - (0.5 * z - z * (z * q));
  // Quarter turns by 0, 1, 2, 3: (cos, sin), (-sin, cos), (-cos, -sin), (sin, -cos).
  const bool odd = (quarter & 1) != 0;
  const double c = odd ? sin : cos, s = odd ? cos : sin;
  return {((quarter + 1) & 2) != 0 ? -c : c, (quarter & 2) != 0 ? -s : s};
}
