import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { nonDifferentiable } from './primitive.js';

/**
 * True where the element is 0 or false. Element by element, any shape. Any dtype is taken as truth values (not 0). The
 * result is bool, without a gradient.
 *
 * @function
 */
export const logicalNot: (x: Tensor) => Tensor = unary({
  name: 'logicalNot',
  domain: 'bool',
  result: 'bool',
  js: (x) => !x,
  saves: [],
  vjp: nonDifferentiable,
  samples: unarySamples(),
});
