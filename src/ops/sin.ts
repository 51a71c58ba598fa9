import type { Tensor } from '../tensor/tensor.js';
import { cos } from './cos.js';
import { unary, unarySamples } from './elementwise.js';
import { mul } from './mul.js';

/**
 * Sine of an angle in radians. Element by element, any shape. int32 and bool are taken as float32.
 *
 * @function
 */
export const sin: (x: Tensor) => Tensor = unary({
  name: 'sin',
  domain: 'float',
  js: Math.sin,
  saves: [0],
  vjp: (g, ctx) => [mul(g, cos(ctx.input(0)))],
  samples: unarySamples(),
});
