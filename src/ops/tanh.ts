import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { tanhGrad } from './tanhGrad.js';

/**
 * Hyperbolic tangent. Element by element, any shape. int32 and bool are taken as float32.
 *
 * @function
 */
export const tanh: (x: Tensor) => Tensor = unary({
  name: 'tanh',
  domain: 'float',
  js: Math.tanh,
  saves: ['output'],
  vjp: (g, ctx) => [tanhGrad(g, ctx.output())],
  samples: unarySamples(),
});
