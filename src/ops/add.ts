import type { Tensor } from '../tensor/tensor.js';
import { binary, binarySamples, type Operand } from './elementwise.js';

/**
 * a + b with broadcasting; int32 wraps around. Operands are tensors or numbers; dtypes that differ are promoted as in
 * PyTorch. bool is taken as int32. Throws ShapeError where shapes do not broadcast.
 *
 * @function
 */
export const add: (a: Operand, b: Operand) => Tensor = binary({
  name: 'add',
  domain: 'numeric',
  js: (a, b) => a + b,
  saves: [],
  vjp: (g) => [g, g],
  samples: binarySamples(),
});
