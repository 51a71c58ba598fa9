/**
 * The error function in double precision: the Maclaurin series where it converges fast without cancellation, the
 * continued fraction of erfc (Abramowitz and Stegun 7.1.6 and 7.1.14) elsewhere. Within a few units in the last place.
 */
export function erfOf(x: number): number {
  if (x === 0) return x; // keeps the sign of zero
  const a = Math.abs(x);
  if (a < 2.5) {
    // 2/sqrt(pi) exp(-x^2) sum of 2^n x^(2n+1) / (1 3 5 … (2n+1)): all terms of one sign.
    let term = a;
    let sum = a;
    for (let n = 1; n < 100 && term > sum * 1e-17; n++) {
      term *= (2 * a * a) / (2 * n + 1);
      sum += term;
    }
    const y = (2 / Math.sqrt(Math.PI)) * Math.exp(-a * a) * sum;
    return x < 0 ? -y : y;
  }
  if (a > 6) return x < 0 ? -1 : 1;
  if (Number.isNaN(x)) return x;
  let f = a;
  for (let k = 60; k >= 1; k--) f = a + k / 2 / f;
  const y = 1 - Math.exp(-a * a) / (Math.sqrt(Math.PI) * f);
  return x < 0 ? -y : y;
}
