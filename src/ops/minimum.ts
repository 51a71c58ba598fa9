import type { Tensor } from '../tensor/tensor.js';
import { binary, binarySamples, type Operand } from './elementwise.js';
import { tieShares } from './ties.js';

/**
 * The smaller of a and b, NaN if either is; where they are equal each gets half of the gradient, as in PyTorch.
 * Operands are tensors or numbers; dtypes that differ are promoted as in PyTorch. bool is taken as int32. Throws
 * ShapeError where shapes do not broadcast.
 *
 * @function
 */
export const minimum: (a: Operand, b: Operand) => Tensor = binary({
  name: 'minimum',
  domain: 'numeric',
  js: Math.min,
  saves: [0, 1],
  // a's share is where b is larger.
  vjp: (g, ctx) => tieShares(g, ctx.input(1), ctx.input(0)),
  samples: binarySamples(),
});
