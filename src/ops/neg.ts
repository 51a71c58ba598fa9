import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';

/**
 * -x. Element by element, any shape. bool is taken as int32.
 *
 * @function
 */
export const neg: (x: Tensor) => Tensor = unary({
  name: 'neg',
  domain: 'numeric',
  js: (x) => -x,
  saves: [],
  vjp: (g) => [neg(g)],
  samples: unarySamples(),
});
