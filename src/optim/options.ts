import { describe } from '../program/view.js';

/** Checks one option: returns what is wrong, or undefined. */
export type Check = (value: unknown) => string | undefined;

const number =
  (test: (x: number) => boolean, what: string): Check =>
  (x) =>
    typeof x === 'number' && test(x) ? undefined : `must be ${what}, not ${describe(x)}`;

const pair =
  (test: (x: number) => boolean, what: string): Check =>
  (x) =>
    Array.isArray(x) &&
    x.length === 2 &&
    typeof x[0] === 'number' &&
    test(x[0]) &&
    typeof x[1] === 'number' &&
    test(x[1])
      ? undefined
      : `must be two numbers ${what}, not ${Array.isArray(x) ? `[${x.map(describe).join(', ')}]` : describe(x)}`;

/** The usual rules for options. */
export const checks = {
  /** Schedules that end at 0 may come out below it by a rounding error, which is no reason to refuse a state. */
  notNegative: number((x) => x > -1e-12 && x < Infinity, 'a number >= 0'),
  fraction: number((x) => x >= 0 && x < 1, 'in [0, 1)'),
  closedFraction: number((x) => x >= 0 && x <= 1, 'in [0, 1]'),
  finite: number(Number.isFinite, 'a finite number'),
  flag: ((x) => (typeof x === 'boolean' ? undefined : `must be true or false, not ${describe(x)}`)) as Check,
  fractions: pair((x) => x >= 0 && x < 1, 'in [0, 1)'),
  positives: pair((x) => x > 0 && x < Infinity, '> 0'),
  oneOf:
    (...choices: readonly (string | number | boolean)[]): Check =>
    (x) =>
      choices.includes(x as string)
        ? undefined
        : `must be one of ${choices.map(describe).join(', ')}, not ${describe(x)}`,
};

/**
 * What a step adds to a divisor. An eps of 0 becomes the least normal float32 number: lost beside every divisor that is not
 * 0 itself, and a weight whose gradient has always been 0 gets 0 / eps = 0 and not NaN.
 */
export function divisorEps(eps: number): number {
  return eps === 0 ? 2 ** -126 : eps;
}

/** Options of a kind of optimizer: the default and the rule of each. */
export type OptionTable<O> = { readonly [K in keyof Required<O>]: readonly [Required<O>[K], Check] };
