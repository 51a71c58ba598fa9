import { isFloat } from '../dtype.js';
import type { Tensor } from '../tensor/tensor.js';
import { binary, binarySamples, type Operand } from './elementwise.js';
import { eq } from './eq.js';
import { full } from './full.js';
import { ge } from './ge.js';
import { log } from './log.js';
import { logicalAnd } from './logicalAnd.js';
import { mul } from './mul.js';
import { isTensor } from './primitive.js';
import { sub } from './sub.js';
import { where } from './where.js';

const power = binary({
  name: 'pow',
  domain: 'float',
  js: powOf,
  saves: [0, 1, 'output'],
  vjp: (g, ctx) => {
    const [a, b] = [ctx.input(0), ctx.input(1)];
    const zero = full([], 0, g.dtype);
    // b a^(b-1), and 0 where b is 0 whatever a is. There the exponent is moved away as well: what is not chosen is
    // differentiated too, and multiplied by 0, so it must not be infinite.
    const toBase = (): Tensor => {
      const constant = eq(b, 0);
      return where(constant, zero, mul(b, power(a, where(constant, zero, sub(b, 1)))));
    };
    return [
      ctx.needs[0] ? mul(g, toBase()) : null,
      // a^b log a, and 0 where 0 is raised to something that is not negative.
      ctx.needs[1] ? mul(g, where(logicalAnd(eq(a, 0), ge(b, 0)), zero, mul(ctx.output(), log(a)))) : null,
    ];
  },
  samples: binarySamples({ low: 0.3, high: 2 }, { low: -2, high: 2 }),
});

/** a to the power of b as C's pow has it (JavaScript differs: there 1 ** NaN is NaN). */
function powOf(a: number, b: number): number {
  if (a === 1) return 1;
  if (a === -1 && (b === Infinity || b === -Infinity)) return 1;
  return a ** b;
}

/**
 * a to the power of b, element by element, with broadcasting. Whole numbers give float32. Throws ShapeError where
 * shapes do not broadcast.
 */
export function pow(a: Operand, b: Operand): Tensor {
  // The square is by far the most frequent power; its exact product costs a fraction of the general case.
  if (b === 2 && isTensor(a) && isFloat(a.dtype)) return mul(a, a);
  return power(a, b);
}
