import type { Tensor } from '../tensor/tensor.js';
import { add } from './add.js';
import { unary, unarySamples } from './elementwise.js';
import { mul } from './mul.js';

/**
 * exp(x) - 1, accurate near 0. Element by element, any shape. int32 and bool are taken as float32.
 *
 * @function
 */
export const expm1: (x: Tensor) => Tensor = unary({
  name: 'expm1',
  domain: 'float',
  js: Math.expm1,
  saves: ['output'],
  vjp: (g, ctx) => [mul(g, add(ctx.output(), 1))],
  samples: unarySamples(),
});
