import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { mul } from './mul.js';

/**
 * The largest whole number not above x. The derivative is taken as 0. Element by element, any shape. int32 and bool
 * are taken as float32.
 *
 * @function
 */
export const floor: (x: Tensor) => Tensor = unary({
  name: 'floor',
  domain: 'float',
  js: Math.floor,
  saves: [],
  vjp: (g) => [mul(g, 0)],
  samples: unarySamples(0.2, 0.9),
});
