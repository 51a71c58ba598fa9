import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { mul } from './mul.js';

/**
 * -1, 0 or 1; NaN stays NaN. The derivative is taken as 0. Element by element, any shape. bool is taken as int32.
 *
 * @function
 */
export const sign: (x: Tensor) => Tensor = unary({
  name: 'sign',
  domain: 'numeric',
  js: Math.sign,
  saves: [],
  vjp: (g) => [mul(g, 0)],
  samples: unarySamples(0.3, 2),
});
