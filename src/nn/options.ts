import { checkDType, type DType, isFloat } from '../dtype.js';
import { ArgumentError, DTypeError } from '../errors.js';
import { describe } from '../program/view.js';
import { didYouMean } from '../suggest.js';

// Rules for arguments that layers and functions share.

/** A whole number >= 1 that says how many features there are. */
export function checkCount(op: string, name: string, n: unknown): number {
  if (typeof n === 'number' && Number.isSafeInteger(n) && n >= 1) return n;
  throw new ArgumentError(`${op}: ${name} must be a whole number >= 1, not ${describe(n)}`);
}

export function checkFloatDType(op: string, dtype: DType): DType {
  checkDType(dtype, op);
  if (!isFloat(dtype)) throw new DTypeError(`${op}: dtype must be float32 or float64, not ${dtype}`);
  return dtype;
}

/** A flag that may be left out. null is no way to do so: it reads like "none". */
export function checkBoolean(op: string, name: string, x: unknown, otherwise: boolean): boolean {
  if (x === undefined) return otherwise;
  if (typeof x === 'boolean') return x;
  throw new ArgumentError(`${op}: ${name} must be true or false, not ${describe(x)}`);
}

/** One of a few words; the error suggests the nearest. */
export function checkChoice<T extends string>(
  op: string,
  name: string,
  given: unknown,
  words: readonly T[],
): T {
  if ((words as readonly unknown[]).includes(given)) return given as T;
  const hint = typeof given === 'string' ? didYouMean(given, words) : '';
  throw new ArgumentError(`${op}: ${name} must be one of ${words.join(', ')}, not ${describe(given)}${hint}`);
}

export function checkProbability(op: string, name: string, p: unknown): number {
  if (typeof p === 'number' && p >= 0 && p <= 1) return p;
  throw new ArgumentError(`${op}: ${name} must lie in [0, 1], not ${describe(p)}`);
}
