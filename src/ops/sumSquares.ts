import { sumSquaresKernel } from '../backend/js/reduce.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply } from './primitive.js';
import { type ScaledAttrs, squaresReduction } from './reduction.js';

const op = squaresReduction('sumSquares', sumSquaresKernel, (x) => x);

/** scale times the sum of the squares over axes, of a float. Of nothing: 0 scale. */
export function sumSquares(x: Tensor, attrs: ScaledAttrs): Tensor {
  return apply(op, [x], attrs);
}
