import type { Tensor } from '../tensor/tensor.js';
import { binary, binarySamples, type Operand } from './elementwise.js';
import { nonDifferentiable } from './primitive.js';

/** True where either is true (not 0). */
export const logicalOr: (a: Operand, b: Operand) => Tensor = binary({
  name: 'logicalOr',
  domain: 'bool',
  result: 'bool',
  js: (a, b) => a !== 0 || b !== 0,
  saves: [],
  vjp: nonDifferentiable,
  samples: binarySamples(),
});
