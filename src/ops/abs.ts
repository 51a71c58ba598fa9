import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { mul } from './mul.js';
import { sign } from './sign.js';

/**
 * |x|; the derivative at 0 is taken as 0. Element by element, any shape. bool is taken as int32.
 *
 * @function
 */
export const abs: (x: Tensor) => Tensor = unary({
  name: 'abs',
  domain: 'numeric',
  js: Math.abs,
  saves: [0],
  vjp: (g, ctx) => [mul(g, sign(ctx.input(0)))],
  samples: unarySamples(0.3, 2),
});
