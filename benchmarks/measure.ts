// Timing two or more contestants side by side: samples are taken in turn, so that a machine that slows down slows all of
// them, and ratios are formed within a round.

/** Something to time: one call does a fixed amount of work. */
export interface Contestant {
  readonly name: string;
  /** Called before each of its samples (to choose a backend, say). */
  readonly select: () => void;
  readonly run: () => void;
}

export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export interface Timing {
  readonly name: string;
  /** Calls per second. */
  readonly rate: Spread;
}

export interface Comparison {
  readonly timings: readonly Timing[];
  /** Rate of the first contestant over that of each other one, formed round by round. */
  readonly ratios: readonly (Spread & { readonly against: string })[];
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median =
    sorted.length % 2 === 1
      ? (sorted[middle] as number)
      : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
  return { median, min: sorted[0] as number, max: sorted[sorted.length - 1] as number };
}

/** Calls per second of one sample of `calls` calls. */
function sample(c: Contestant, calls: number): number {
  c.select();
  const start = performance.now();
  for (let i = 0; i < calls; i++) c.run();
  return (calls / (performance.now() - start)) * 1e3;
}

/** How many calls take about `ms` milliseconds, after a warm-up. */
function calibrate(c: Contestant, ms: number): number {
  c.select();
  c.run();
  c.run();
  let calls = 1;
  for (;;) {
    const rate = sample(c, calls);
    const want = Math.max(1, Math.round((rate * ms) / 1e3));
    if (want <= calls * 2 || calls >= 1e6) return want;
    calls = Math.min(want, calls * 8);
  }
}

/** Times all contestants for so many rounds, each sample lasting about `ms` milliseconds (at least one call). */
export function compare(contestants: readonly Contestant[], rounds: number, ms: number): Comparison {
  const calls = contestants.map((c) => calibrate(c, ms));
  const rates: number[][] = contestants.map(() => []);
  for (let r = 0; r < rounds; r++) {
    // Every other round backwards, so that nobody always follows the same neighbour.
    const order = contestants.map((_, i) => (r % 2 === 0 ? i : contestants.length - 1 - i));
    for (const i of order)
      (rates[i] as number[]).push(sample(contestants[i] as Contestant, calls[i] as number));
  }
  const first = rates[0] as number[];
  return {
    timings: contestants.map((c, i) => ({ name: c.name, rate: spread(rates[i] as number[]) })),
    ratios: contestants.slice(1).map((c, i) => ({
      against: c.name,
      ...spread((rates[i + 1] as number[]).map((rate, r) => (first[r] as number) / rate)),
    })),
  };
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((s, x) => s + Math.log(x), 0) / values.length);
}
