// Elementary functions on vectors; included after simd.h in every target's region (so no guard, no includes).
//
// float results are within 2 ulp, double within about 2 ulp, of the exact value; zeros keep their sign, NaN
// stays NaN, and infinities, subnormals and overflow are as in C's <math.h>. native/test/kernels_test.cc
// measures this. The polynomials interpolate at Chebyshev nodes; each comment gives the interval and the
// resulting error.

// Polynomials, coefficients from the constant term up.
template <class T>
struct Poly;

template <>
struct Poly<float> {
  // (e^r - 1 - r) / r^2 for |r| <= ln(2)/2: 2^-30 of the result.
  static constexpr float kExpm1[] = {0.500000001349817786f,   0.166666666816591791f,
                                     0.0416664646020265416f,  0.00833331088958207719f,
                                     0.00139336858626171736f, 0.000198910306543703277f};
  // (2 artanh(s)/s - 2) / z with z = s^2, for log(1 + f), s = f / (2 + f), f in [sqrt(1/2) - 1, sqrt(2) - 1]:
  // 2^-35.
  static constexpr float kLog[] = {0.666666665540420124f, 0.400001222118106494f, 0.285507786331919654f,
                                   0.233316144718434992f};
  // erf(x) / x - 1 as a polynomial of x^2, |x| <= 1: 2^-34.
  static constexpr float kErf[] = {
      0.12837916706154342f,   -0.376126384680287104f,    0.112837824952368445f,   -0.0268654307276702429f,
      0.0052210318078580228f, -0.000848408040553510629f, 0.00011265959025606609f, -9.66704457148699642e-6f};
  // exp(x^2) erfc(x) / t as a polynomial of t - kErfcMiddle, t = 1 / (x + 2), 1 <= x <= 4: 2^-26.
  static constexpr float kErfc[] = {1.02158270524202298f, 2.74864323561445797f,  4.47155195517802062f,
                                    2.33172877768853905f, -5.50496642960006268f, -6.46903039753384734f,
                                    12.1467320024366857f};
  // (tanh(x) / x - 1) / x^2 as a polynomial of x^2, |x| <= 0.56: 2^-32.
  static constexpr float kTanh[] = {-0.333333332863630565f, 0.133333225303048709f,    -0.0539641982833971082f,
                                    0.0218132611306344131f, -0.00850476961142402643f, 0.0024953795604686838f};
  static constexpr float kErfcMiddle = 0.25f;
  static constexpr float kErfOne = 4.0f;         // erf is 1 from here on
  static constexpr float kTiny = 5.9604645e-8f;  // 2^-24: below it f(x) = x for expm1, log1p
  // ln 2 in two parts: the first has so few bits that its product with any exponent is exact.
  static constexpr float kLn2High = 0.693145751953125f, kLn2Low = 1.42860682030941723e-6f;
  static constexpr float kLog2e = 1.44269504088896341f, kSqrt2 = 1.41421356237309505f;
  static constexpr float kExpMin = -104.0f, kExpMax = 89.0f;  // e^x is 0, infinity beyond
  static constexpr float kSubnormalScale = 16777216.0f;       // 2^24
  static constexpr float kSubnormalShift = 24.0f;
  static constexpr float kSmallestNormal = 1.17549435e-38f;
};

template <>
struct Poly<double> {
  // As above: 2^-60.
  static constexpr double kExpm1[] = {0.5,
                                      0.16666666666666671,
                                      0.0416666666666666698,
                                      0.00833333333332611205,
                                      0.00138888888888837318,
                                      0.000198412698749012592,
                                      0.0000248015873256053228,
                                      2.75572552979696444e-6,
                                      2.75572735701021397e-7,
                                      2.51052595384484934e-8,
                                      2.0914717341716376e-9};
  // 2^-64.
  static constexpr double kLog[] = {0.666666666666666665, 0.400000000000008832, 0.28571428570799785,
                                    0.222222223925810451, 0.181817955475211362, 0.153862447376216666,
                                    0.132686383692668239, 0.130880348509275538};
  // 2^-62.
  static constexpr double kErf[] = {
      0.12837916709551257,    -0.376126389031837481,    0.112837916709548787,    -0.0268661706450767932,
      0.00522397762481801447, -0.000854832698083378991, 0.000120553311116427109, -0.0000149255952668311816,
      1.6461000484121368e-6,  -1.6350312701054695e-7,   1.46597752740474358e-8,  -1.13728488567916737e-9,
      5.9571761477489114e-11};
  // 1 <= x <= 6: 2^-54 or better.
  static constexpr double kErfc[] = {0.965810520581816403, 2.56412036641823446,  4.31069768496214144,
                                     2.76336761747824257,  -4.73137791739770076, -8.08053849604012913,
                                     10.1194126453577393,  20.6994792324432408,  -38.5678520711840656,
                                     -43.40534771975214,   171.112196290710941,  -14.2689613893019498,
                                     -652.46715376837578,  927.622782607233826,  1405.88387529365073,
                                     -5454.42702802559961, 2495.4768051171948};
  // 2^-58.
  static constexpr double kTanh[] = {
      -0.333333333333333322,   0.133333333333324663,     -0.05396825396714515,     0.0218694884807225643,
      -0.00886323410480222943, 0.00359210658647197878,   -0.00145563207093280409,  0.000588792024475582964,
      -0.00023421481867115479, 0.0000844371956710307139, -0.0000201414945630838823};
  static constexpr double kErfcMiddle = 0.229;
  static constexpr double kErfOne = 6.0;
  static constexpr double kTiny = 1.1102230246251565e-16;  // 2^-53
  static constexpr double kLn2High = 6.93147180369123816490e-1, kLn2Low = 1.90821492927058770002e-10;
  static constexpr double kLog2e = 1.44269504088896340736, kSqrt2 = 1.41421356237309504880;
  static constexpr double kExpMin = -746.0, kExpMax = 710.0;
  static constexpr double kSubnormalScale = 18014398509481984.0;  // 2^54
  static constexpr double kSubnormalShift = 54.0;
  static constexpr double kSmallestNormal = 2.2250738585072014e-308;
};

// Horner's rule.
template <class T, int n>
SIMDGRAD_INLINE Vec<T> polynomial(const T (&c)[n], Vec<T> x) {
  Vec<T> y = Vec<T>::set1(c[n - 1]);
  SIMDGRAD_UNROLL
  for (int i = n - 2; i >= 0; --i) y = fma(y, x, Vec<T>::set1(c[i]));
  return y;
}

// e^x = 2^n (1 + r + c): n is an integer, |r| <= ln(2)/2, and c is small, the rest of e^r - 1 with what
// rounding took from r. NaN gives NaN.
template <class T>
struct ExpParts {
  Vec<T> n, r, c;
};

template <class T>
SIMDGRAD_INLINE ExpParts<T> exp_parts(Vec<T> x) {
  using P = Poly<T>;
  const Vec<T> n = round(x * set1(P::kLog2e));
  const Vec<T> high = fnma(n, set1(P::kLn2High), x);  // exact
  const Vec<T> r = fnma(n, set1(P::kLn2Low), high);
  const Vec<T> lost = fnma(n, set1(P::kLn2Low), high - r);
  return {n, r, fma(r * r, polynomial(P::kExpm1, r), lost)};
}

template <class T>
SIMDGRAD_INLINE Vec<T> v_exp(Vec<T> x) {
  using P = Poly<T>;
  x = min(set1(P::kExpMax), max(set1(P::kExpMin), x));  // in this order of arguments NaN passes
  const ExpParts<T> e = exp_parts(x);
  const Vec<T> one = set1(T(1));
  const Vec<T> s = one + e.r;
  const Vec<T> lost = (one - s) + e.r;
  return ldexp2(s + (e.c + lost), to_int(e.n));
}

// e^x - 1 = 2^n (r + c) + (2^n - 1); with half of 2^n, since 2^n itself may be too large by one bit.
template <class T>
SIMDGRAD_INLINE Vec<T> v_expm1(Vec<T> x0) {
  using P = Poly<T>;
  const Vec<T> x = min(set1(P::kExpMax), max(set1(T(-40)), x0));
  const ExpParts<T> e = exp_parts(x);
  const Vec<T> half = pow2(to_int(e.n - set1(T(1))));
  const Vec<T> y = fma(half, e.c, fma(half, e.r, half - set1(T(0.5))));
  return select(abs(x0) < set1(P::kTiny), x0, y + y);
}

// k ln 2 + log(1 + f) + c for f in [sqrt(1/2) - 1, sqrt(2) - 1] and a small correction c: with s = f / (2 +
// f), log(1 + f) = 2 artanh s = f - (f^2/2 - s (f^2/2 + R)), R = 2 s^2/3 + 2 s^4/5 + ...
template <class T>
SIMDGRAD_INLINE Vec<T> log_parts(Vec<T> k, Vec<T> f, Vec<T> c) {
  using P = Poly<T>;
  const Vec<T> s = f / (f + set1(T(2)));
  const Vec<T> z = s * s;
  const Vec<T> r = z * polynomial(P::kLog, z);
  const Vec<T> half = set1(T(0.5)) * f * f;
  return fms(k, set1(P::kLn2High), (half - fma(s, half + r, fma(k, set1(P::kLn2Low), c))) - f);
}

// x = 2^k (1 + f) for normal x > 0.
template <class T>
SIMDGRAD_INLINE void split_log(Vec<T> x, Vec<T>& k, Vec<T>& f) {
  const Vec<T> m = significand(x);
  const Mask<T> large = m > set1(Poly<T>::kSqrt2);
  const Vec<T> one = set1(T(1));
  k = to_float(exponent(x)) + select(large, one, zero<T>());
  f = select(large, m * set1(T(0.5)), m) - one;
}

template <class T>
SIMDGRAD_INLINE Vec<T> infinity() {
  return Vec<T>::set1(T(INFINITY));
}

// -inf at 0, NaN below, +inf and NaN as they are.
template <class T>
SIMDGRAD_INLINE Vec<T> log_specials(Vec<T> x, Vec<T> y) {
  const Vec<T> inf = infinity<T>();
  y = select(x < inf, y, x);
  y = select(x < zero<T>(), Vec<T>::set1(T(NAN)), y);
  return select(x == zero<T>(), neg(inf), y);
}

template <class T>
SIMDGRAD_INLINE Vec<T> v_log(Vec<T> x) {
  using P = Poly<T>;
  const Mask<T> subnormal = x < set1(P::kSmallestNormal);
  Vec<T> k, f;
  split_log(select(subnormal, x * set1(P::kSubnormalScale), x), k, f);
  k = k - select(subnormal, set1(P::kSubnormalShift), zero<T>());
  return log_specials(x, log_parts(k, f, zero<T>()));
}

// log(1 + x): where 1 + x would lose bits of x, the part lost is added to the logarithm as its differential.
template <class T>
SIMDGRAD_INLINE Vec<T> v_log1p(Vec<T> x) {
  using P = Poly<T>;
  const Vec<T> one = set1(T(1));
  const Vec<T> u = one + x;
  Vec<T> k, f;
  split_log(u, k, f);
  const Vec<T> lost = select(u > set1(T(2)), one - (u - x), x - (u - one));
  const Mask<T> direct = (x < set1(T(P::kSqrt2 - 1))) & (x > set1(T(P::kSqrt2 / 2 - 1)));
  k = select(direct, zero<T>(), k);
  f = select(direct, x, f);
  const Vec<T> c = select(direct, zero<T>(), lost / u);
  const Vec<T> y = log_specials(u, log_parts(k, f, c));
  return select(abs(x) < set1(P::kTiny), x, select(x == infinity<T>(), x, y));
}

// Odd power series up to 0.55; beyond, where tanh is above one half, 1 - 2 / (e^(2|x|) + 1).
template <class T>
SIMDGRAD_INLINE Vec<T> v_tanh(Vec<T> x) {
  const Vec<T> size = abs(x), one = set1(T(1)), z = x * x;
  const Vec<T> small = fma(x, z * polynomial(Poly<T>::kTanh, z), x);
  const Vec<T> large = one - set1(T(2)) / (v_exp(size + size) + one);
  return copysign(select(size < set1(T(0.55)), small, large), x);
}

// With z = e^-|x|: 1 / (1 + z), or z / (1 + z) for negative x. Nothing overflows and nothing cancels. What
// rounding takes from z and from 1 + z is kept, and put back as the differential of the quotient.
template <class T>
SIMDGRAD_INLINE Vec<T> v_sigmoid(Vec<T> x) {
  using P = Poly<T>;
  const Vec<T> one = set1(T(1));
  const ExpParts<T> e = exp_parts(max(set1(P::kExpMin), neg(abs(x))));
  const IntVec<T> n = to_int(e.n);
  const Vec<T> p = e.r + e.c;
  const Vec<T> s = one + p;
  const Vec<T> z = ldexp2(s, n);
  const Vec<T> z_low = ldexp2(((one - s) + p) + ((e.r - p) + e.c), n);
  const Vec<T> sum = one + z;
  const Vec<T> sum_low = ((one - sum) + z) + z_low;
  const Mask<T> negative = x < zero<T>();
  const Vec<T> q = select(negative, z, one) / sum;
  const Vec<T> inverse = select(negative, one - q, q);  // of the sum
  return fma(fnma(q, sum_low, select(negative, z_low, zero<T>())), inverse, q);
}

// max(x, 0) + log(1 + e^-|x|).
template <class T>
SIMDGRAD_INLINE Vec<T> v_softplus(Vec<T> x) {
  return max(x, zero<T>()) + v_log1p(v_exp(neg(abs(x))));
}

// Odd power series up to 1; beyond, 1 - erfc(|x|), with erfc(x) = exp(-x^2) t W(t), t = 1 / (x + 2).
template <class T>
SIMDGRAD_INLINE Vec<T> v_erf(Vec<T> x) {
  using P = Poly<T>;
  const Vec<T> one = set1(T(1));
  const Vec<T> size = min(set1(P::kErfOne), abs(x));  // NaN passes
  const Vec<T> z = size * size;
  const Vec<T> small = fma(x, polynomial(P::kErf, z), x);
  const Vec<T> t = one / (size + set1(T(2)));
  const Vec<T> w = polynomial(P::kErfc, t - set1(P::kErfcMiddle));
  const Vec<T> large = one - v_exp(neg(z)) * (t * w);
  return select(size < one, small, copysign(large, x));
}

// x/2 (1 + erf(x / sqrt 2)).
template <class T>
SIMDGRAD_INLINE Vec<T> v_gelu(Vec<T> x) {
  const Vec<T> half = set1(T(0.5)) * x;
  return fma(half, v_erf(x * set1(T(0.70710678118654752440))), half);
}

// ---- quotients ----

// a / b for |b| <= 2^125 where a loop would wait for the division; in float it may be off in the last place,
// and a quotient of -0 may be 0.
template <class T>
SIMDGRAD_INLINE Vec<T> quotient(Vec<T> a, Vec<T> b) {
  return a / b;
}
#if SIMDGRAD_X86 && SIMDGRAD_TARGET == SIMDGRAD_AVX512
// Dividing sixteen numbers takes the time of twenty multiplications.
template <>
SIMDGRAD_INLINE Vec<float> quotient(Vec<float> a, Vec<float> b) {
  // A step of Newton's for 1 / b, to 24 bits or more, and one for a / b.
  const Vec<float> estimate = about_reciprocal(b);
  const Vec<float> r = fma(fnma(estimate, b, set1(1.0f)), estimate, estimate);
  const Vec<float> about = a * r;
  const Vec<float> q = fma(fnma(about, b, a), r, about);
  // Where b is 0, a infinite or either not a number, q is not one.
  const Mask<float> number = q == q;
  return all<float>(number) ? q : select(number, q, a / b);
}
#endif
