import { ArgumentError } from './errors.js';
import { didYouMean } from './suggest.js';

/** A value in an error message: short, and safe to build for anything. */
export function describe(x: unknown): string {
  if (typeof x === 'string') return JSON.stringify(x.length > 40 ? `${x.slice(0, 40)}…` : x);
  if (typeof x === 'function') return 'a function';
  if (typeof x === 'symbol') return x.toString();
  if (typeof x === 'bigint') return `${x}n`;
  if (x === null || typeof x !== 'object') return String(x);
  if (Array.isArray(x)) return `an array of ${x.length}`;
  const name: unknown = Object.getPrototypeOf(x)?.constructor?.name;
  return typeof name === 'string' && name !== 'Object' ? `a ${name}` : 'an object';
}

export function isIterable(x: unknown): x is Iterable<unknown> {
  return typeof x === 'object' && x !== null && Symbol.iterator in x;
}

/** True for what braces make: no instance of a class. */
export function isPlainObject(x: unknown): x is Record<string, unknown> {
  if (typeof x !== 'object' || x === null) return false;
  const prototype: unknown = Object.getPrototypeOf(x);
  return prototype === Object.prototype || prototype === null;
}

/** Refuses an options argument that is not an object, and options that do not exist. */
export function checkOptions(op: string, options: unknown, names: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new ArgumentError(`${op}: options are an object, not ${describe(options)}`);
  }
  for (const key of Object.keys(options)) {
    if (!names.includes(key)) {
      throw new ArgumentError(
        names.length === 0
          ? `${op}: there is no option ${describe(key)}; there are none`
          : `${op}: there is no option ${describe(key)}${didYouMean(key, names)} Options are ${names.join(', ')}`,
      );
    }
  }
}
