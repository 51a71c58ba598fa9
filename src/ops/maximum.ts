import type { Tensor } from '../tensor/tensor.js';
import { binary, binarySamples, type Operand } from './elementwise.js';
import { tieShares } from './ties.js';

/**
 * The larger of a and b, NaN if either is; where they are equal each gets half of the gradient, as in PyTorch.
 * Operands are tensors or numbers; dtypes that differ are promoted as in PyTorch. bool is taken as int32. Throws
 * ShapeError where shapes do not broadcast.
 *
 * @function
 */
export const maximum: (a: Operand, b: Operand) => Tensor = binary({
  name: 'maximum',
  domain: 'numeric',
  js: Math.max,
  saves: [0, 1],
  vjp: (g, ctx) => tieShares(g, ctx.input(0), ctx.input(1)),
  samples: binarySamples(),
});
