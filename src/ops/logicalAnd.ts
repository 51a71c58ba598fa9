import type { Tensor } from '../tensor/tensor.js';
import { binary, binarySamples, type Operand } from './elementwise.js';
import { nonDifferentiable } from './primitive.js';

/**
 * True where both are true (not 0). Operands are tensors or numbers; dtypes that differ are promoted as in PyTorch.
 * Any dtype is taken as truth values. The result is bool, without a gradient. Throws ShapeError where shapes do not
 * broadcast.
 *
 * @function
 */
export const logicalAnd: (a: Operand, b: Operand) => Tensor = binary({
  name: 'logicalAnd',
  domain: 'bool',
  result: 'bool',
  js: (a, b) => a !== 0 && b !== 0,
  saves: [],
  vjp: nonDifferentiable,
  samples: binarySamples(),
});
