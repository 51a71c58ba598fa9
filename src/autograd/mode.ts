import { ArgumentError } from '../errors.js';
import { describe } from '../program/view.js';

let enabled = true;

/** True where operations are recorded for backward. */
export function isGradEnabled(): boolean {
  return enabled;
}

function within<T>(name: string, mode: boolean, fn: () => T): T {
  if (typeof fn !== 'function') throw new ArgumentError(`${name}: takes a function, not ${describe(fn)}`);
  const before = enabled;
  enabled = mode;
  let result: T;
  try {
    result = fn();
  } finally {
    enabled = before;
  }
  if (result instanceof Promise) {
    result.catch(() => undefined); // nobody will await it
    throw new ArgumentError(
      `${name}: the function is async; the mode holds only until its first await. Await outside.`,
    );
  }
  return result;
}

/** Runs a synchronous function without recording anything for backward; returns what it returns. */
export function noGrad<T>(fn: () => T): T {
  return within('noGrad', false, fn);
}

/** Runs a synchronous function with recording switched on, for use inside noGrad. */
export function enableGrad<T>(fn: () => T): T {
  return within('enableGrad', true, fn);
}

/** Sets whether operations are recorded, for code that puts back in a finally block what this returns. */
export function setGradEnabled(mode: boolean): boolean {
  const before = enabled;
  enabled = mode;
  return before;
}
