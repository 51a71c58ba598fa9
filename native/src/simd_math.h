// Elementary functions on vectors; included after simd.h in every target's region (so no guard, no includes).
//
// float results are within 2 ulp, double within about 2 ulp, of the exact value; zeros keep their sign, NaN
// stays NaN, and infinities, subnormals and overflow are as in C's <math.h>. native/test/kernels_test.cc
// measures this. The polynomials interpolate at Chebyshev nodes or have the least greatest error (Remez);
// each comment gives the interval and the resulting error.

// Polynomials, coefficients from the constant term up.
template <class T>
struct Poly;

template <>
struct Poly<float> {
  // (e^r - 1 - r) / r^2 for |r| <= ln(2)/2: 2^-28 of e^r.
  static constexpr float kExp[] = {0.49999994f, 0.166665211f, 0.041668389f, 0.00836874451f, 0.00138145708f};
  // The same to 2^-30.
  static constexpr float kExpm1[] = {0.500000001349817786f,   0.166666666816591791f,
                                     0.0416664646020265416f,  0.00833331088958207719f,
                                     0.00139336858626171736f, 0.000198910306543703277f};
  // (log(1 + f) - f) / f^2 for -1/4 <= f <= 1/2: 2^-27 of the logarithm.
  static constexpr float kLog[] = {-0.5f,        0.333334535f,  -0.250000536f, 0.199906066f,  -0.16647768f,
                                   0.144820631f, -0.131622344f, 0.104483292f,  -0.0449095741f};
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
  // (sin(r) / r - 1) / z and (cos(r) - 1 + z/2) / z^2 with z = r^2, |r| <= pi/4: 2^-27, 2^-31.
  static constexpr float kSin[] = {-0.166666538f, 0.00833214168f, -0.000195126864f};
  static constexpr float kCos[] = {0.0416666456f, -0.00138872908f, 2.44301791e-05f};
  static constexpr float kTwoOverPi = 0.636619772367581343f;
  static constexpr float kErfcMiddle = 0.25f;
  static constexpr float kErfOne = 4.0f;         // erf is 1 from here on
  static constexpr float kTiny = 5.9604645e-8f;  // 2^-24: below it f(x) = x for expm1, log1p
  // ln 2 in two parts: the first has so few bits that its product with any exponent is exact.
  static constexpr float kLn2High = 0.693145751953125f, kLn2Low = 1.42860682030941723e-6f;
  static constexpr float kLog2e = 1.44269504088896341f;
  static constexpr float kExpMin = -104.0f, kExpMax = 89.0f;  // e^x is 0, infinity beyond
  static constexpr float kSubnormalScale = 16777216.0f;       // 2^24
  static constexpr float kSubnormalShift = 24.0f;
  static constexpr float kSmallestNormal = FLT_MIN, kLargest = FLT_MAX;
};

template <>
struct Poly<double> {
  // As above: 2^-60. A shorter one for results rounded to float: 2^-39.
  static constexpr double kPowExp[] = {0.5000000000428545,    0.16666666784778716,   0.041666664397058698,
                                       0.0083332817081972366, 0.0013889197995193428, 0.00019909005193017874,
                                       2.4708073235741318e-05};
  static constexpr double kExp[] = {0.50000000000000111,   0.1666666666666641,     0.041666666666529732,
                                    0.0083333333334949106, 0.001388888894375988,   0.00019841269505891396,
                                    2.480149294954299e-05, 2.7557586716377972e-06, 2.7630306344520343e-07,
                                    2.5000042598505542e-08};
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
  // (2 artanh(s)/s - 2) / z with z = s^2, for log(1 + f), s = f / (2 + f), -1/4 <= f <= 1/2: 2^-60.
  static constexpr double kLog[] = {0.66666666666666596, 0.40000000000055519, 0.2857142855608435,
                                    0.22222224269192137, 0.18181667438708771, 0.15391062632679844,
                                    0.13174405753755017, 0.13837702212552233};
  // 2 artanh(s)/s: 2^-42.
  static constexpr double kPowLog[] = {1.9999999999996521,  0.66666666728949431, 0.39999981948747104,
                                       0.28573338590296371, 0.22131242497794992, 0.20157769972073844};
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
  static constexpr double kLog2e = 1.44269504088896340736, kLn2 = 0.69314718055994530942;
  static constexpr double kExpMin = -746.0, kExpMax = 710.0;
  static constexpr double kSubnormalScale = 18014398509481984.0;  // 2^54
  static constexpr double kSubnormalShift = 54.0;
  static constexpr double kSmallestNormal = DBL_MIN, kLargest = DBL_MAX;
};

// Horner's rule.
template <class T, int n>
SIMDGRAD_INLINE Vec<T> polynomial(const T (&c)[n], Vec<T> x) {
  Vec<T> y = Vec<T>::set1(c[n - 1]);
  SIMDGRAD_UNROLL
  for (int i = n - 2; i >= 0; --i) y = fma(y, x, Vec<T>::set1(c[i]));
  return y;
}

// x = n ln 2 + r: n is an integer, |r| <= ln(2)/2. NaN gives NaN.
template <class T>
SIMDGRAD_INLINE void reduce_exp(Vec<T> x, Vec<T>& n, Vec<T>& r) {
  using P = Poly<T>;
  n = fma(x, set1(P::kLog2e), set1(kRounder<T>)) - set1(kRounder<T>);
  r = fnma(n, set1(P::kLn2Low), fnma(n, set1(P::kLn2High), x));  // the inner difference is exact
}

// e^r = 1 + r + r^2 P(r).
template <class T>
SIMDGRAD_INLINE Vec<T> exp_reduced(Vec<T> r) {
  const Vec<T> one = set1(T(1)), p = polynomial(Poly<T>::kExp, r);
  // Horner's rule takes the fewest instructions, but rounds more often where it is not fused.
  return kFused ? fma(fma(p, r, one), r, one) : one + fma(r * r, p, r);
}

template <class T>
SIMDGRAD_INLINE Vec<T> v_exp(Vec<T> x) {
  using P = Poly<T>;
  x = min(set1(P::kExpMax), max(set1(P::kExpMin), x));  // in this order of arguments NaN passes
  Vec<T> n, r;
  reduce_exp(x, n, r);
  return scale(exp_reduced(r), n);
}

// e^x - 1 = 2^n (r + c) + (2^n - 1), c = r^2 P(r); with half of 2^n, since 2^n itself may be too large by one
// bit.
template <class T>
SIMDGRAD_INLINE Vec<T> v_expm1(Vec<T> x0) {
  using P = Poly<T>;
  const Vec<T> x = min(set1(P::kExpMax), max(set1(T(-40)), x0));
  Vec<T> n, r;
  reduce_exp(x, n, r);
  const Vec<T> c = r * r * polynomial(P::kExpm1, r);
  const Vec<T> half = pow2(n - set1(T(1)));
  const Vec<T> y = fma(half, c, fma(half, r, half - set1(T(0.5))));
  return select(abs(x0) < set1(P::kTiny), x0, y + y);
}

// k ln 2 + log(1 + f) + c for f in [-1/4, 1/2] and a small correction c.
SIMDGRAD_INLINE Vec<float> log_parts(Vec<float> k, Vec<float> f, Vec<float> c) {
  using P = Poly<float>;
  const Vec<float> low = fma(f * f, polynomial(P::kLog, f), fma(k, set1(P::kLn2Low), c));
  return fma(k, set1(P::kLn2High), low + f);
}
// With s = f / (2 + f), log(1 + f) = 2 artanh s = f - (f^2/2 - s (f^2/2 + R)), R = 2 s^2/3 + 2 s^4/5 + ...
SIMDGRAD_INLINE Vec<double> log_parts(Vec<double> k, Vec<double> f, Vec<double> c) {
  using P = Poly<double>;
  const Vec<double> s = f / (f + set1(2.0));
  const Vec<double> z = s * s;
  const Vec<double> r = z * polynomial(P::kLog, z);
  const Vec<double> half = set1(0.5) * f * f;
  return fms(k, set1(P::kLn2High), (half - fma(s, half + r, fma(k, set1(P::kLn2Low), c))) - f);
}

// x = 2^k (1 + f), f in [-1/4, 1/2), for normal x > 0; where kSplitsAll, as split_exponent has it.
#if SIMDGRAD_X86 && SIMDGRAD_TARGET == SIMDGRAD_AVX512
constexpr bool kSplitsAll = true;
template <class T>
SIMDGRAD_INLINE void split_log(Vec<T> x, Vec<T>& k, Vec<T>& f) {
  split_exponent(x, k, f);
  f = f - set1(T(1));
}
#else
constexpr bool kSplitsAll = false;
template <class T>
SIMDGRAD_INLINE void split_log(Vec<T> x, Vec<T>& k, Vec<T>& f) {
  using I = IntVec<T>;
  using Int = typename Lane<T>::Int;
  constexpr int kBits = Lane<T>::kMantissaBits;
  // The bits of 3/4; to add what lies between them and those of 1 brings 3/2 to the next exponent.
  constexpr Int kQuarters = (Int(Lane<T>::kExponentBias) << kBits) - (Int(1) << (kBits - 1));
  const I b = bits_of(x) + I::set1(Int(1) << (kBits - 1));
  k = to_float(shr<kBits>(b)) - set1(T(Lane<T>::kExponentBias));
  f = from_bits((b & I::set1((Int(1) << kBits) - 1)) + I::set1(kQuarters)) - set1(T(1));
}
#endif

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
  Vec<T> k, f;
  if (kSplitsAll || all((x >= set1(P::kSmallestNormal)) & (x < infinity<T>()))) {
    split_log(x, k, f);
    return log_parts(k, f, zero<T>());
  }
  const Mask<T> subnormal = x < set1(P::kSmallestNormal);
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
  const Mask<T> direct = (x < set1(T(0.5))) & (x > set1(T(-0.25)));
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

// a / (b + c) for b in [1, 2] and c below its last bit.
template <class T>
SIMDGRAD_INLINE Vec<T> corrected_quotient(Vec<T> a, Vec<T> b, Vec<T> c) {
  const Vec<T> q = a / b;
  return fnma(q * c, set1(T(1)) / b, q);
}
#if SIMDGRAD_X86 && SIMDGRAD_TARGET == SIMDGRAD_AVX512
// 1 / b to 24 bits or more, by a step of Newton's: dividing sixteen numbers takes the time of twenty
// multiplications. For |b| from 2^-125 to 2^125; of infinity no number.
SIMDGRAD_INLINE Vec<float> reciprocal(Vec<float> b) {
  const Vec<float> estimate = about_reciprocal(b);
  return fma(fnma(estimate, b, set1(1.0f)), estimate, estimate);
}
template <>
SIMDGRAD_INLINE Vec<float> corrected_quotient(Vec<float> a, Vec<float> b, Vec<float> c) {
  const Vec<float> r = reciprocal(b);
  const Vec<float> q = a * r;
  return fma(fnma(q, c, fnma(q, b, a)), r, q);
}
#endif

// Correctly rounded, as the instruction is.
template <class T>
SIMDGRAD_INLINE Vec<T> v_sqrt(Vec<T> x) {
  return sqrt(x);
}
#if SIMDGRAD_X86 && SIMDGRAD_TARGET == SIMDGRAD_AVX512
// In three quarters of its time: by a step of Newton's for the root and for half of its reciprocal, and one
// more by the remainder, which is exact (P. Markstein, "Computation of elementary functions on the IBM RISC
// System/6000 processor", 1990). Of every float from 1e-28 on, and of estimates that are off by 2^-14 either
// way, the result is that of the instruction.
template <>
SIMDGRAD_INLINE Vec<float> v_sqrt(Vec<float> x) {
  if (!all((x >= set1(1e-28f)) & (x < infinity<float>()))) return sqrt(x);
  const Vec<float> half = set1(0.5f), estimate = about_reciprocal_sqrt(x);
  const Vec<float> root = x * estimate, half_reciprocal = half * estimate;
  const Vec<float> error = fnma(root, half_reciprocal, half);
  const Vec<float> better = fma(root, error, root);
  return fma(fnma(better, better, x), fma(half_reciprocal, error, half_reciprocal), better);
}
#endif

// With z = e^-|x|: 1 / (1 + z), or z / (1 + z) for negative x. Nothing overflows and nothing cancels. What
// rounding takes from 1 + z is kept, and put back as the differential of the quotient.
template <class T>
SIMDGRAD_INLINE Vec<T> v_sigmoid(Vec<T> x) {
  const Vec<T> one = set1(T(1));
  Vec<T> n, r;
  reduce_exp(max(set1(Poly<T>::kExpMin), neg(abs(x))), n, r);
  const Vec<T> z = scale(exp_reduced(r), n);
  const Vec<T> sum = one + z;
  return corrected_quotient(select(x < zero<T>(), z, one), sum, (one - sum) + z);
}

// max(x, 0) + log(1 + z), z = e^-|x|.
template <class T>
SIMDGRAD_INLINE Vec<T> v_softplus(Vec<T> x) {
  const Vec<T> z = v_exp(neg(abs(x)));
  const Mask<T> large = z > set1(T(0.5));  // there log(1 + z) = log 2 + log(1 + (z - 1) / 2)
  const Vec<T> one = set1(T(1));
  const Vec<T> k = select(large, one, zero<T>()), f = select(large, set1(T(0.5)) * (z - one), z);
  return max(x, zero<T>()) + log_parts(k, f, zero<T>());
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

#if SIMDGRAD_X86 && SIMDGRAD_TARGET == SIMDGRAD_AVX512
// With 32 numbers to choose from in two registers, a polynomial for each of up to 32 intervals is cheaper
// than an exponential and a division. Row 0 has a point m inside of every interval, so chosen that f(m), in
// row 1, is nearly a float; the others continue the polynomial of x - m (which is exact).

// tanh on [0, 1/16) and four intervals to every power of 2 from there to 9.2, by the low bits of the exponent
// and the high ones of the mantissa: 0.24 ulp.
// clang-format off
alignas(64) static constexpr float kTanhTable[7][32] = {
    {2.24957728f, 2.74952292f, 3.24937725f, 3.75070643f, 4.50029421f, 5.49858046f, 6.49897194f, 7.50143051f,
     8.6028614f, 0.0f, 0.0f, 0.0f, 0.0703241304f, 0.0859252959f, 0.101560496f, 0.117191508f,
     0.140598401f, 0.171887636f, 0.203169137f, 0.234419286f, 0.281213075f, 0.34375155f, 0.406187683f, 0.468835801f,
     0.562405646f, 0.687473178f, 0.812374413f, 0.937449276f, 1.12532592f, 1.37474239f, 1.62527895f, 1.87465668f},
    {0.978007734f, 0.991851985f, 0.996993899f, 0.998896003f, 0.999753356f, 0.999966502f, 0.99999547f, 0.999999404f,
     0.99999994f, 0.0f, 0.0f, 0.0f, 0.0702084303f, 0.085714452f, 0.101212747f, 0.116657943f,
     0.139679223f, 0.170214579f, 0.200419083f, 0.230217651f, 0.274027437f, 0.330822498f, 0.385230899f, 0.437258184f,
     0.509760141f, 0.596356273f, 0.67089802f, 0.734048128f, 0.809413493f, 0.879768491f, 0.92538631f, 0.954014421f},
    {0.0435008667f, 0.0162296426f, 0.00600316655f, 0.00220677676f, 0.000493241765f, 6.69962246e-05f, 9.06012792e-06f, 1.22015297e-06f,
     1.34820127e-07f, 0.0f, 0.0f, 1.0f, 0.995070755f, 0.992653012f, 0.989755988f, 0.986390948f,
     0.980489731f, 0.971027017f, 0.959832191f, 0.946999848f, 0.924908936f, 0.890556455f, 0.85159713f, 0.808805287f,
     0.74014461f, 0.644359171f, 0.549895823f, 0.461173356f, 0.344849795f, 0.226007402f, 0.143660173f, 0.089856483f},
    {-0.0425429754f, -0.0160964821f, -0.0059847096f, -0.00220417907f, -0.000492504565f, -6.69100918e-05f, -9.04872013e-06f, -1.21861274e-06f,
     -1.34458404e-07f, 0.0f, 0.0f, 0.0f, -0.0698623583f, -0.085084714f, -0.100175925f, -0.115070336f,
     -0.136954039f, -0.16528295f, -0.192368686f, -0.218016073f, -0.253450394f, -0.294616073f, -0.328061521f, -0.353656709f,
     -0.377295971f, -0.384267569f, -0.368924081f, -0.338523537f, -0.279128015f, -0.198835343f, -0.132941589f, -0.0857244506f},
    {0.027108809f, 0.0105560087f, 0.00396586442f, 0.00146618066f, 0.000328141876f, 4.46062841e-05f, 6.03253466e-06f, 8.12227711e-07f,
     8.95867842e-08f, 0.0f, 0.0f, -0.333332866f, -0.326785326f, -0.323591352f, -0.319779575f, -0.315373093f,
     -0.307700276f, -0.295542091f, -0.281389713f, -0.265475452f, -0.238850594f, -0.199386522f, -0.157486275f, -0.114962511f,
     -0.0543847196f, 0.0143735996f, 0.0642115027f, 0.0947679207f, 0.110979676f, 0.0995932519f, 0.0751360655f, 0.0518304259f},
    {-0.0123938443f, -0.00515201455f, -0.00198025722f, -0.000738194445f, -0.000171846041f, -2.33820738e-05f, -3.16279625e-06f, -4.25959229e-07f,
     -4.80265996e-08f, 0.0f, 0.0f, 0.0f, 0.0462283343f, 0.0560953654f, 0.0657546446f, 0.0751440376f,
     0.0886142924f, 0.105380796f, 0.120497465f, 0.133766204f, 0.149837554f, 0.16406931f, 0.16993241f, 0.168077245f,
     0.153285652f, 0.119454175f, 0.0799344853f, 0.0433692522f, 0.00361709343f, -0.0211014226f, -0.0251262356f, -0.020857906f},
    {0.00397562888f, 0.00191598013f, 0.000771183055f, 0.000292938814f, 6.85893101e-05f, 9.3189401e-06f, 1.26184955e-06f, 1.70785626e-07f,
     1.93067091e-08f, 0.0f, 0.0f, 0.133017719f, 0.127791271f, 0.125106364f, 0.121926397f, 0.118273474f,
     0.111949317f, 0.102140531f, 0.0909762755f, 0.0787448436f, 0.0590545051f, 0.0319556221f, 0.00593140023f, -0.0171543397f,
     -0.0434562676f, -0.0615501441f, -0.062657401f, -0.0530554801f, -0.0320453607f, -0.00952714216f, 0.00138689741f, 0.0045976853f},
};
// clang-format on
// erf(x) - (x - m) up to 4, around multiples of 1/8: 0.41 ulp of erf. (No float is near the slope of erf at
// 0; less 1 it has bits to spare.)
// clang-format off
alignas(64) static constexpr float kErfTable[7][32] = {
    {0.0f, 0.124984801f, 0.249973401f, 0.375044495f, 0.500057459f, 0.625120163f, 0.750109434f, 0.875069559f,
     1.00029182f, 1.12465382f, 1.24991715f, 1.37513924f, 1.49984682f, 1.62487125f, 1.75008726f, 1.87466002f,
     1.99986267f, 2.12483692f, 2.24989414f, 2.3756485f, 2.49960423f, 2.62472153f, 2.75011754f, 2.87476826f,
     3.00069356f, 3.12503648f, 3.25038576f, 3.37571526f, 3.50071526f, 3.62428474f, 3.74928474f, 3.87428474f},
    {0.0f, 0.14029932f, 0.276298195f, 0.404160529f, 0.52055037f, 0.62333262f, 0.711225986f, 0.784111559f,
     0.842821896f, 0.888278008f, 0.92288053f, 0.948193789f, 0.966086924f, 0.978433371f, 0.986676276f, 0.991978645f,
     0.995319426f, 0.997343957f, 0.998536527f, 0.999219656f, 0.999592185f, 0.999794304f, 0.999899447f, 0.999952078f,
     0.999978006f, 0.999990106f, 0.999995708f, 0.999998212f, 0.999999285f, 0.999999702f, 0.999999881f, 0.99999994f},
    {0.128379166f, 0.110889487f, 0.0600282252f, -0.0196799077f, -0.121267915f, -0.236615151f, -0.357174456f, -0.475318819f,
     -0.585134745f, -0.681478083f, -0.76342988f, -0.829705477f, -0.881015062f, -0.919494092f, -0.947241127f, -0.966411352f,
     -0.979321659f, -0.987650633f, -0.992854297f, -0.996005833f, -0.997817397f, -0.998850465f, -0.999414086f, -0.999709368f,
     -0.9998613f, -0.999935269f, -0.999970913f, -0.999987304f, -0.999994636f, -0.999997795f, -0.999999106f, -0.999999642f},
    {0.0f, -0.138844147f, -0.264978588f, -0.367663324f, -0.4394162f, -0.477207005f, -0.482189327f, -0.459132463f,
     -0.414986342f, -0.358227015f, -0.295693189f, -0.234178871f, -0.178459331f, -0.13081187f, -0.0923327059f, -0.0629672706f,
     -0.0413538441f, -0.0262403991f, -0.0160770994f, -0.00948868506f, -0.00545561453f, -0.00301724556f, -0.00161127839f, -0.000835444022f,
     -0.000416115479f, -0.00020232414f, -9.46362488e-05f, -4.2837939e-05f, -1.88069353e-05f, -8.07261586e-06f, -3.32238687e-06f, -1.32382672e-06f},
    {-0.37612617f, -0.358727157f, -0.309184015f, -0.234846503f, -0.146421835f, -0.0555873625f, 0.0268543847f, 0.0929545537f,
     0.138449654f, 0.162413254f, 0.167537734f, 0.157920808f, 0.138779342f, 0.114866287f, 0.0901406109f, 0.0674986243f,
     0.0482419431f, 0.0330546424f, 0.0217326526f, 0.0136964554f, 0.00836376473f, 0.00489646289f, 0.00275884243f, 0.00150427839f,
     0.00078619062f, 0.00039993372f, 0.000195362998f, 9.21738974e-05f, 4.21000259e-05f, 1.87632231e-05f, 8.00934413e-06f, 3.3055137e-06f},
    {0.0f, 0.0685761198f, 0.126750082f, 0.166321337f, 0.182809979f, 0.176218808f, 0.150511846f, 0.112316832f,
     0.0691087246f, 0.0281636585f, -0.00602419209f, -0.0304015353f, -0.0444824249f, -0.0496390983f, -0.0480505861f, -0.0422569551f,
     -0.0344514214f, -0.0263808742f, -0.0191047881f, -0.0131230308f, -0.00864969846f, -0.00543238921f, -0.00326550473f, -0.00188995188f,
     -0.0010448799f, -0.000559930457f, -0.000287396688f, -0.000142097255f, -6.78462748e-05f, -3.15264406e-05f, -1.40124312e-05f, -6.01127203e-06f},
    {0.112680644f, 0.104001194f, 0.0799316838f, 0.045434352f, 0.00736368587f, -0.0273089837f, -0.053104151f, -0.0670759827f,
     -0.0690706819f, -0.0612514243f, -0.0471537746f, -0.030616561f, -0.0149018662f, -0.00218139309f, 0.0065787998f, 0.0114254858f,
     0.0130637158f, 0.0124814017f, 0.0106526287f, 0.0083582988f, 0.00612141471f, 0.00422299514f, 0.00276066409f, 0.00171724008f,
     0.00101948529f, 0.000578967913f, 0.000315077399f, 0.000164543846f, 8.25549723e-05f, 3.98301054e-05f, 1.84938071e-05f, 8.26949235e-06f},
};
// clang-format on

// The polynomial without its constant term, divided by x.
SIMDGRAD_INLINE Vec<float> table_polynomial(const float (&table)[7][32], IntVec<float> i, Vec<float> x) {
  Vec<float> y = look_up(table[6], i);
  SIMDGRAD_UNROLL
  for (int row = 5; row >= 2; --row) y = fma(y, x, look_up(table[row], i));
  return y;
}
template <>
SIMDGRAD_INLINE Vec<float> v_tanh(Vec<float> x) {
  const Vec<float> size = min(set1(9.1f), abs(x));  // 1 from there on; NaN passes
  const IntVec<float> i = shr<21>(bits_of(max(set1(0.06f), size)));
  const Vec<float> d = size - look_up(kTanhTable[0], i);
  return copysign(fma(table_polynomial(kTanhTable, i, d), d, look_up(kTanhTable[1], i)), x);
}
template <>
SIMDGRAD_INLINE Vec<float> v_erf(Vec<float> x) {
  const Vec<float> size = min(set1(3.93f), abs(x));
  const IntVec<float> i = bits_of(size + set1(kRounder<float> / 8));  // its last bit is 1/8
  const Vec<float> d = size - look_up(kErfTable[0], i);
  return copysign(fma(table_polynomial(kErfTable, i, d), d, d + look_up(kErfTable[1], i)), x);
}
#endif

// x/2 (1 + erf(x / sqrt 2)).
template <class T>
SIMDGRAD_INLINE Vec<T> v_gelu(Vec<T> x) {
  const Vec<T> half = set1(T(0.5)) * x;
  return fma(half, v_erf(x * set1(T(0.70710678118654752440))), half);
}

// ---- quotients ----

// a / b + c where a loop would wait for the division, for b that is infinite or no number or from 2^-100 to
// 2^125. In float the quotient may be off by two in the last place, and small numbers may count as zero.
template <class T>
SIMDGRAD_INLINE Vec<T> add_quotient(Vec<T> a, Vec<T> b, Vec<T> c) {
  return c + a / b;
}
#if SIMDGRAD_X86 && SIMDGRAD_TARGET == SIMDGRAD_AVX512
template <>
SIMDGRAD_INLINE Vec<float> add_quotient(Vec<float> a, Vec<float> b, Vec<float> c) {
  // For infinity the reciprocal of the largest number is small enough.
  return fma(a, reciprocal(min(set1(Poly<float>::kLargest), b)), c);
}
#endif

// ---- sines ----

// Beyond this (and for infinity and NaN) the C library's functions are asked, element by element.
constexpr float kSineLimit = kFused ? 65536.0f : 8192.0f;

// x - n pi/2 for 0 <= x <= kSineLimit.
SIMDGRAD_INLINE Vec<float> reduce_sine(Vec<float> x, Vec<float> n) {
  if constexpr (kFused) {
    // pi/2 in three numbers. The first difference has at most 24 bits and is exact, the second is rounded
    // once.
    x = fnma(n, set1(1.57079637f), x);
    x = fnma(n, set1(-4.37113883e-08f), x);
    return fnma(n, set1(-1.71512451e-15f), x);
  } else {
    // In three numbers of 11 bits, whose products with n are exact, and a rest. The first two differences are
    // exact as well; what the third loses to rounding is kept.
    x = x - n * set1(1.5703125f);
    x = x - n * set1(0.000483751297f);
    const Vec<float> third = n * set1(7.54953362e-08f), r = x - third;
    return r + (((x - r) - third) - n * set1(2.56334407e-12f));
  }
}

static SIMDGRAD_NOINLINE void far_sines(float* y, const float* x, unsigned lanes, bool cosine) {
  for (; lanes != 0; lanes >>= 1, ++x, ++y) {
    if (lanes & 1) *y = cosine ? ::cosf(*x) : ::sinf(*x);
  }
}

// Of |x|, since the sine of the reduced argument and all else would lose the sign of 0.
template <bool kCosine>
SIMDGRAD_INLINE Vec<float> sine_or_cosine(Vec<float> x) {
  using P = Poly<float>;
  const Vec<float> size = abs(x), one = set1(1.0f);
  const Vec<float> rounded = fma(size, set1(P::kTwoOverPi), set1(kRounder<float>));
  const Vec<float> r = reduce_sine(size, rounded - set1(kRounder<float>));
  const Vec<float> z = r * r;
  const Vec<float> s = fma(r * z, polynomial(P::kSin, z), r);
  const Vec<float> c = fma(z, fma(z, polynomial(P::kCos, z), set1(-0.5f)), one);
  // The quadrant is in the two low bits.
  IntVec<float> q = bits_of(rounded);
  if (kCosine) q = q + IntVec<float>::set1(1);
  Vec<float> flip = from_bits(shl<30>(q));
  if (!kCosine) flip = flip ^ x;
  Vec<float> y = select(has_bit<0>(q), c, s) ^ (flip & set1(-0.0f));
  const Mask<float> far = ~(size <= set1(kSineLimit));
  if (any(far)) {
    float from[Vec<float>::N], to[Vec<float>::N];
    store(from, x);
    store(to, y);
    far_sines(to, from, bits(far), kCosine);
    y = load(to);
  }
  return y;
}
SIMDGRAD_INLINE Vec<float> v_sin(Vec<float> x) { return sine_or_cosine<false>(x); }
SIMDGRAD_INLINE Vec<float> v_cos(Vec<float> x) { return sine_or_cosine<true>(x); }

// ---- powers ----

// |x|^y through double logarithm and exponential, for 0 < |x| < infinity and any y, except that it makes NaN
// of infinite powers of 1. The errors are below 2^-34, so the float result is correctly rounded but for near
// ties.
SIMDGRAD_INLINE Vec<double> pow_double(Vec<double> x, Vec<double> y) {
  using P = Poly<double>;
  Vec<double> k, f;
  split_log(abs(x), k, f);
  const Vec<double> s = f / (f + set1(2.0));
  const Vec<double> log = fma(s, polynomial(P::kPowLog, s * s), k * set1(P::kLn2));
  // Beyond these limits the result is 0 and infinity in float.
  const Vec<double> t = min(set1(90.0), max(set1(-110.0), y * log));
  Vec<double> n, r;
  reduce_exp(t, n, r);
  const Vec<double> one = set1(1.0);
  return fma(fma(polynomial(P::kPowExp, r), r, one), r, one) * pow2(n);
}

// x^y by logarithms, as C's pow has it.
SIMDGRAD_INLINE Vec<float> pow_by_log(Vec<float> x, Vec<float> y) {
  Vec<double> x0, x1, y0, y1;
  widen(x, x0, x1);
  widen(y, y0, y1);
  Vec<float> r = narrow(pow_double(x0, y0), pow_double(x1, y1));
  const Vec<float> inf = infinity<float>(), one = set1(1.0f), none = zero<float>();
  if (all((x > none) & (x < inf) & (abs(y) < inf))) return r;
  const Vec<float> size = abs(x), half = y * set1(0.5f);
  const Mask<float> falls = y < none, whole = floor(y) == y;
  r = select(size == none, select(falls, inf, none), r);
  r = select(size == inf, select(falls, none, inf), r);
  r = select(size == one, one, r);
  r = select((x < none) & (size < inf) & ~whole & (abs(y) < inf), set1(static_cast<float>(NAN)), r);
  const Mask<float> odd = whole & ~(floor(half) == half);
  r = r ^ select(odd, x & set1(-0.0f), none);
  r = select(is_nan(x) | is_nan(y), x + y, r);
  return select((y == none) | (x == one), one, r);
}

// Powers that are cheaper, and as exact, without logarithms. Whoever raises to one of these must use them, so
// that an element's result does not depend on its neighbours' exponents.
SIMDGRAD_INLINE Vec<float> cube(Vec<float> x) {
  if constexpr (kFused) {
    // What rounding takes from x^2 is kept. (Signs are such that nothing needs to be negated twice.) Far
    // beyond overflow that may be infinite and of any sign, so there x^2 is held where it is of the sign of
    // x.
    const Vec<float> negative = neg(x), square = max(x * negative, set1(-1e30f));
    return fma(square, negative, fma(x, x, square) * x);
  } else {
    Vec<double> low, high;
    widen(x, low, high);
    return narrow(low * low * low, high * high * high);
  }
}
SIMDGRAD_INLINE Vec<float> inverse_square(Vec<float> x) {
  Vec<double> low, high;
  widen(x, low, high);
  return narrow(set1(1.0) / (low * low), set1(1.0) / (high * high));
}
// x^(1/2): 0 for -0, infinity for -infinity.
SIMDGRAD_INLINE Vec<float> square_root_power(Vec<float> x) {
  const Vec<float> inf = infinity<float>();
  return select(x == neg(inf), inf, v_sqrt(x + zero<float>()));
}

SIMDGRAD_INLINE Vec<float> v_pow(Vec<float> x, Vec<float> y) {
  const Vec<float> r = pow_by_log(x, y);
  const Vec<float> one = set1(1.0f), twice = y + y;
  // All of them are halves of whole numbers.
  if (!any((round(twice) == twice) & (abs(twice) <= set1(6.0f)))) return r;
  Vec<float> s = select(y == one, x, r);
  s = select(y == set1(2.0f), x * x, s);
  s = select(y == set1(3.0f), cube(x), s);
  s = select(y == set1(0.5f), square_root_power(x), s);
  s = select(y == neg(one), one / x, s);
  return select(y == set1(-2.0f), inverse_square(x), s);
}
