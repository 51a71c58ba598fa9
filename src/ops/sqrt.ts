import type { Tensor } from '../tensor/tensor.js';
import { div } from './div.js';
import { unary, unarySamples } from './elementwise.js';
import { mul } from './mul.js';

/**
 * Square root; NaN below 0. Element by element, any shape. int32 and bool are taken as float32.
 *
 * @function
 */
export const sqrt: (x: Tensor) => Tensor = unary({
  name: 'sqrt',
  domain: 'float',
  js: Math.sqrt,
  saves: ['output'],
  vjp: (g, ctx) => [div(g, mul(ctx.output(), 2))],
  samples: unarySamples(0.2, 4),
});
