import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { mul } from './mul.js';
import { neg } from './neg.js';
import { sin } from './sin.js';

/**
 * Cosine of an angle in radians. Element by element, any shape. int32 and bool are taken as float32.
 *
 * @function
 */
export const cos: (x: Tensor) => Tensor = unary({
  name: 'cos',
  domain: 'float',
  js: Math.cos,
  saves: [0],
  vjp: (g, ctx) => [neg(mul(g, sin(ctx.input(0))))],
  samples: unarySamples(),
});
