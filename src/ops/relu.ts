import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { reluGrad } from './reluGrad.js';

/**
 * max(x, 0); the derivative at 0 is 0, NaN stays NaN. Element by element, any shape. bool is taken as int32.
 *
 * @function
 */
export const relu: (x: Tensor) => Tensor = unary({
  name: 'relu',
  domain: 'numeric',
  js: (x) => (x <= 0 ? 0 : x),
  saves: ['output'],
  vjp: (g, ctx) => [reluGrad(g, ctx.output())],
  samples: unarySamples(),
});
