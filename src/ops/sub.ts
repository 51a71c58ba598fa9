import type { Tensor } from '../tensor/tensor.js';
import { binary, binarySamples, type Operand } from './elementwise.js';
import { neg } from './neg.js';

/**
 * a - b with broadcasting; int32 wraps around. Operands are tensors or numbers; dtypes that differ are promoted as in
 * PyTorch. bool is taken as int32. Throws ShapeError where shapes do not broadcast.
 *
 * @function
 */
export const sub: (a: Operand, b: Operand) => Tensor = binary({
  name: 'sub',
  domain: 'numeric',
  js: (a, b) => a - b,
  saves: [],
  vjp: (g, ctx) => [g, ctx.needs[1] ? neg(g) : null],
  samples: binarySamples(),
});
