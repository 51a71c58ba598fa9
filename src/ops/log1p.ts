import type { Tensor } from '../tensor/tensor.js';
import { add } from './add.js';
import { div } from './div.js';
import { unary, unarySamples } from './elementwise.js';

/**
 * log(1 + x), accurate near 0. Element by element, any shape. int32 and bool are taken as float32.
 *
 * @function
 */
export const log1p: (x: Tensor) => Tensor = unary({
  name: 'log1p',
  domain: 'float',
  js: Math.log1p,
  saves: [0],
  vjp: (g, ctx) => [div(g, add(ctx.input(0), 1))],
  samples: unarySamples(-0.8, 4),
});
