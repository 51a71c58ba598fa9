// Timing two or more contestants side by side: samples are taken in turn, so that a machine that slows down slows all of
// them, and ratios are formed within a round.

/** Something to time: one call does a fixed amount of work. */
export interface Contestant {
  readonly name: string;
  /** Makes so many calls and returns the seconds they took. */
  readonly sample: (calls: number) => number | Promise<number>;
}

/** A contestant in this process. `select` is called before each of its samples (to choose a backend, say). */
export function inProcess(name: string, select: () => void, run: () => void): Contestant {
  return {
    name,
    sample: (calls) => {
      select();
      const start = performance.now();
      for (let i = 0; i < calls; i++) run();
      return (performance.now() - start) / 1e3;
    },
  };
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
  /** The same by round. */
  readonly rates: readonly number[];
}

export interface Comparison {
  readonly timings: readonly Timing[];
  /** Rate of the first contestant over that of each other one, formed round by round. */
  readonly ratios: readonly (Spread & { readonly against: string })[];
}

export interface CompareOptions {
  readonly rounds: number;
  /** About how long a sample lasts (at least one call). */
  readonly ms: number;
  /** A contestant whose single call lasts longer than this many seconds is sampled once only. Default: no limit. */
  readonly slow?: number;
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

/**
 * The warm-up of a contestant lasts as long as `least` samples, and on to so many calls unless that takes longer than `most`: what an
 * engine compiles while it runs is compiled then. (An eager step of a small net, of some hundred functions, is at its pace after
 * 3,000; a training takes thousands.)
 */
const warmUp = { least: 6, calls: 3000, most: 15 };

/** How many calls take about `ms` milliseconds, and the rate that was seen, after a warm-up. */
async function calibrate(c: Contestant, { ms, slow = Infinity }: CompareOptions) {
  if ((await c.sample(1)) <= slow) await c.sample(1);
  let calls = 1;
  let done = 0;
  let spent = 0;
  for (;;) {
    const seconds = await c.sample(calls);
    done += calls;
    spent += seconds * 1e3;
    const rate = calls / seconds;
    const want = Math.max(1, Math.round(rate * ms * 1e-3));
    const warm = spent >= (done >= warmUp.calls ? warmUp.least : warmUp.most) * ms;
    if ((want <= calls * 2 || calls >= 1e6) && warm) return { calls: want, rate };
    calls = Math.min(want, calls * 8);
  }
}

/** Formed round by round; a contestant that was sampled once only is compared with every round of the other. */
export function ratioSpread(rates: readonly number[], others: readonly number[]): Spread {
  const rounds = Math.max(rates.length, others.length);
  return spread(Array.from({ length: rounds }, (_, r) => rateOf(rates, r) / rateOf(others, r)));
}

/** The rate of round r, or the only one. */
export function rateOf(rates: readonly number[], r: number): number {
  return rates[Math.min(r, rates.length - 1)] as number;
}

/** Times all contestants in turn, round by round. */
export async function compare(
  contestants: readonly Contestant[],
  options: CompareOptions,
): Promise<Comparison> {
  const plans: { calls: number; rate: number }[] = [];
  for (const c of contestants) plans.push(await calibrate(c, options));
  const once = plans.map(({ rate }) => 1 / rate > (options.slow ?? Infinity));
  const rates: number[][] = plans.map(({ rate }, i) => (once[i] ? [rate] : []));
  for (let r = 0; r < options.rounds; r++) {
    // Every other round backwards, so that nobody always follows the same neighbour.
    const order = contestants.map((_, i) => (r % 2 === 0 ? i : contestants.length - 1 - i));
    for (const i of order) {
      const { calls } = plans[i] as { calls: number };
      if (!once[i]) rates[i]?.push(calls / (await (contestants[i] as Contestant).sample(calls)));
    }
  }
  const first = rates[0] as number[];
  return {
    timings: contestants.map((c, i) => {
      const own = rates[i] as number[];
      return { name: c.name, rate: spread(own), rates: own };
    }),
    ratios: contestants.slice(1).map((c, i) => ({
      against: c.name,
      ...ratioSpread(first, rates[i + 1] as number[]),
    })),
  };
}

export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((s, x) => s + Math.log(x), 0) / values.length);
}
