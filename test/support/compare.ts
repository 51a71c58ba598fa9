import { philoxBlock } from '../../src/backend/js/random.js';
import { arrayType, type DType, type TypedArray } from '../../src/dtype.js';

// What tests of numbers share: comparison to a tolerance, distance in units in the last place, seeded values.

export interface Tolerance {
  /** Relative to the expected value. */
  rtol?: number;
  atol?: number;
}

/**
 * Where `actual` first differs from `expected`: the index i of an element with |actual - expected| > atol + rtol |expected|, or -1.
 * Infinities must be equal and NaN only matches NaN. Arrays of different lengths differ at the shorter one's end.
 */
export function firstDifference(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  { rtol = 1e-5, atol = 1e-8 }: Tolerance = {},
): number {
  const n = Math.min(actual.length, expected.length);
  for (let i = 0; i < n; i++) {
    const a = actual[i];
    const e = expected[i];
    if (Object.is(a, e) || a === e) continue;
    // Written so that NaN and Infinity - Infinity count as different.
    if (!(Math.abs(a - e) <= atol + rtol * Math.abs(e)) || !Number.isFinite(e)) return i;
  }
  return actual.length === expected.length ? -1 : n;
}

/** True if no element of `actual` differs from `expected` by more than the tolerance. */
export function allClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance?: Tolerance,
): boolean {
  return firstDifference(actual, expected, tolerance) < 0;
}

/** Throws an Error that names the first element beyond the tolerance. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: Tolerance & { what?: string } = {},
): void {
  const i = firstDifference(actual, expected, tolerance);
  if (i < 0) return;
  const what = tolerance.what === undefined ? '' : `${tolerance.what}: `;
  if (actual.length !== expected.length) {
    throw new Error(`${what}${actual.length} elements where ${expected.length} are expected`);
  }
  const { rtol = 1e-5, atol = 1e-8 } = tolerance;
  throw new Error(
    `${what}element ${i} is ${actual[i]}, expected ${expected[i]} (difference ${Math.abs(actual[i] - expected[i])}, rtol ${rtol}, atol ${atol})`,
  );
}

const view = new DataView(new ArrayBuffer(8));

/** Floats in order as consecutive integers, -0 and +0 both 0. */
function ordinal(x: number, dtype: 'float32' | 'float64'): bigint {
  let i: bigint;
  if (dtype === 'float32') {
    view.setFloat32(0, x);
    i = BigInt(view.getInt32(0));
    return i >= 0n ? i : -(i + (1n << 31n));
  }
  view.setFloat64(0, x);
  i = view.getBigInt64(0);
  return i >= 0n ? i : -(i + (1n << 63n));
}

/**
 * How many floats of the type lie between a and b, both rounded to it: 0 for equal ones, 1 for neighbours. Two NaN are at distance 0,
 * NaN and a number at distance Infinity.
 */
export function ulpDistance(a: number, b: number, dtype: 'float32' | 'float64' = 'float64'): number {
  if (Number.isNaN(a) || Number.isNaN(b))
    return Number.isNaN(a) && Number.isNaN(b) ? 0 : Number.POSITIVE_INFINITY;
  const d = Number(ordinal(a, dtype) - ordinal(b, dtype));
  return Math.abs(d);
}

/** The largest ulpDistance of corresponding elements. */
export function maxUlps(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  dtype: 'float32' | 'float64' = 'float64',
): number {
  let worst = actual.length === expected.length ? 0 : Number.POSITIVE_INFINITY;
  for (let i = 0; i < actual.length; i++) worst = Math.max(worst, ulpDistance(actual[i], expected[i], dtype));
  return worst;
}

/** A seeded source of numbers for tests, not for the library's own streams. */
export interface Source {
  /** Uniform in [0, 1), 53 bits. */
  next(): number;
  /** A whole number, low <= i < high. */
  int(low: number, high: number): number;
  pick<T>(items: readonly T[]): T;
}

export function source(seed: number): Source {
  const words = new Uint32Array(4);
  let block = 0;
  let left = 0;
  const next = (): number => {
    if (left === 0) {
      philoxBlock(seed >>> 0, 0x7e57, block++, words);
      left = 2;
    }
    left--;
    return ((words[2 * left] >>> 5) * 67108864 + (words[2 * left + 1] >>> 6)) / 9007199254740992;
  };
  const int = (low: number, high: number): number => low + Math.floor(next() * (high - low));
  return { next, int, pick: (items) => items[int(0, items.length)] };
}

/**
 * n seeded values: floats uniform in [low, high) (default [-1, 1)), int32 whole numbers in [low, high) (default [-100, 100)), bool 0 or 1.
 */
export function randomArray(
  dtype: DType,
  n: number,
  seed: number,
  {
    low = dtype === 'int32' ? -100 : -1,
    high = dtype === 'int32' ? 100 : 1,
  }: { low?: number; high?: number } = {},
): TypedArray {
  const s = source(seed);
  const out = new (arrayType(dtype))(n);
  for (let i = 0; i < n; i++) {
    if (dtype === 'bool') out[i] = s.int(0, 2);
    else if (dtype === 'int32') out[i] = s.int(low, high);
    else out[i] = low + (high - low) * s.next();
  }
  return out;
}
