import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { nonDifferentiable } from './primitive.js';

/**
 * True where the element is NaN. Element by element, any shape. int32 and bool are taken as float32. The result is
 * bool, without a gradient.
 *
 * @function
 */
export const isNan: (x: Tensor) => Tensor = unary({
  name: 'isNan',
  domain: 'float',
  result: 'bool',
  js: (x) => Number.isNaN(x),
  saves: [],
  vjp: nonDifferentiable,
  samples: unarySamples(),
});
