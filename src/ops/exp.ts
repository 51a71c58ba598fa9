import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { mul } from './mul.js';

/**
 * e to the power of x. Element by element, any shape. int32 and bool are taken as float32.
 *
 * @function
 */
export const exp: (x: Tensor) => Tensor = unary({
  name: 'exp',
  domain: 'float',
  js: Math.exp,
  saves: ['output'],
  vjp: (g, ctx) => [mul(g, ctx.output())],
  samples: unarySamples(),
});
