import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { nonDifferentiable } from './primitive.js';

/** True where the element is 0 or false. */
export const logicalNot: (x: Tensor) => Tensor = unary({
  name: 'logicalNot',
  domain: 'bool',
  result: 'bool',
  js: (x) => !x,
  saves: [],
  vjp: nonDifferentiable,
  samples: unarySamples(),
});
