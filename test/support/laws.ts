// Statistical tests of random fillings. The seeds are fixed, so a test that passes always does; the thresholds say how
// likely a right initializer would be to fail for another seed: less than one time in a million per statistic.

/** What values should be drawn from: mean 0. */
export interface Law {
  readonly shape: 'normal' | 'uniform';
  readonly variance: number;
}

/** Two-sided: P(|N(0, 1)| > 5) = 5.7e-7. */
const zLimit = 5;

/** Kolmogorov's distribution: P(√n D > 2.7) = 2 exp(-2 · 2.7²) = 9.3e-7. */
const ksLimit = 2.7;

/** Φ(z) to 7.5e-8: Abramowitz and Stegun, 26.2.17. */
function normalCdf(z: number): number {
  const t = 1 / (1 + 0.2316419 * Math.abs(z));
  const p = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  const tail = (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * p;
  return z < 0 ? tail : 1 - tail;
}

/** z of the mean, and z of the mean square. */
function moments(values: ArrayLike<number>, { shape, variance }: Law) {
  const n = values.length;
  let sum = 0;
  let squares = 0;
  for (let i = 0; i < n; i++) {
    sum += values[i]!;
    squares += values[i]! ** 2;
  }
  // Var x² is 2 σ⁴ for a normal x and (9/5 - 1) σ⁴ for a uniform one.
  const spread = Math.sqrt((shape === 'normal' ? 2 : 0.8) / n);
  return { mean: sum / n / Math.sqrt(variance / n), variance: (squares / n / variance - 1) / spread };
}

/** √n times the Kolmogorov–Smirnov distance of sorted values. */
function distance(sorted: Float64Array, { shape, variance }: Law): number {
  const n = sorted.length;
  const std = Math.sqrt(variance);
  const bound = Math.sqrt(3) * std;
  let most = 0;
  for (let i = 0; i < n; i++) {
    const x = sorted[i]!;
    const f = shape === 'normal' ? normalCdf(x / std) : Math.min(Math.max((x + bound) / (2 * bound), 0), 1);
    most = Math.max(most, f - i / n, (i + 1) / n - f);
  }
  return most * Math.sqrt(n);
}

/** The statistics of first and second order that speak against the law: some of 'mean' and 'variance'. */
export function momentAlarms(values: ArrayLike<number>, law: Law): string[] {
  const s = moments(values, law);
  const out: string[] = [];
  if (!(Math.abs(s.mean) < zLimit)) out.push('mean');
  if (!(Math.abs(s.variance) < zLimit)) out.push('variance');
  return out;
}

/** All the statistics that speak against the law: some of 'mean', 'variance' and 'law'. */
export function alarms(values: ArrayLike<number>, law: Law): string[] {
  const out = momentAlarms(values, law);
  if (!(distance(Float64Array.from(values).sort(), law) < ksLimit)) out.push('law');
  return out;
}

/** z of the mean of independent numbers of a known mean, by their own spread. */
export function zOfMean(values: readonly number[], mean: number): number {
  const n = values.length;
  const m = values.reduce((a, b) => a + b, 0) / n;
  const variance = values.reduce((a, b) => a + (b - m) ** 2, 0) / (n - 1);
  return (m - mean) / Math.sqrt(variance / n);
}
