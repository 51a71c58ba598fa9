import { erfOf } from '../backend/js/erf.js';
import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { exp } from './exp.js';
import { mul } from './mul.js';
import { neg } from './neg.js';

/**
 * The error function, 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x. Element by element, any shape. int32 and
 * bool are taken as float32.
 *
 * @function
 */
export const erf: (x: Tensor) => Tensor = unary({
  name: 'erf',
  domain: 'float',
  js: erfOf,
  saves: [0],
  vjp: (g, ctx) => {
    const x = ctx.input(0);
    return [mul(g, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI)))];
  },
  samples: unarySamples(),
});
