import { sigmoidOf } from '../backend/js/sigmoid.js';
import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { siluGrad } from './siluGrad.js';

/**
 * x sigmoid(x), also called swish. Element by element, any shape; int32 and bool are taken as float32.
 *
 * @function
 */
export const silu: (x: Tensor) => Tensor = unary({
  name: 'silu',
  domain: 'float',
  js: (x) => x * sigmoidOf(x),
  saves: [0],
  vjp: (g, ctx) => [siluGrad(g, ctx.input(0))],
  samples: unarySamples(),
});
