import type { Tensor } from '../tensor/tensor.js';
import { binary, binarySamples, type Operand } from './elementwise.js';
import { nonDifferentiable } from './primitive.js';

/**
 * True where a is less than b; with broadcasting. Operands are tensors or numbers; dtypes that differ are promoted as
 * in PyTorch. The result is bool, without a gradient. Throws ShapeError where shapes do not broadcast.
 *
 * @function
 */
export const lt: (a: Operand, b: Operand) => Tensor = binary({
  name: 'lt',
  domain: 'any',
  result: 'bool',
  js: (a, b) => a < b,
  saves: [],
  vjp: nonDifferentiable,
  samples: binarySamples(),
});
