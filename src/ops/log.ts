import type { Tensor } from '../tensor/tensor.js';
import { div } from './div.js';
import { unary, unarySamples } from './elementwise.js';

/**
 * Natural logarithm; NaN below 0, -Infinity at 0. Element by element, any shape. int32 and bool are taken as float32.
 *
 * @function
 */
export const log: (x: Tensor) => Tensor = unary({
  name: 'log',
  domain: 'float',
  js: Math.log,
  saves: [0],
  vjp: (g, ctx) => [div(g, ctx.input(0))],
  samples: unarySamples(0.2, 4),
});
