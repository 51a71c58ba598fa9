import { sumSquaredDeviationsKernel } from '../backend/js/reduce.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply } from './primitive.js';
import { type ScaledAttrs, squaresReduction } from './reduction.js';
import { sub } from './sub.js';
import { mean } from './sum.js';

// The mean moves with x too, but what that changes adds up to 0.
const op = squaresReduction('sumSquaredDeviations', sumSquaredDeviationsKernel, (x, axes) =>
  sub(x, mean(x, axes, { keepdims: true })),
);

/** scale times the sum of (x - mean)^2 over axes, of a float, with the mean over the same axes. Of nothing: 0 scale. */
export function sumSquaredDeviations(x: Tensor, attrs: ScaledAttrs): Tensor {
  return apply(op, [x], attrs);
}
