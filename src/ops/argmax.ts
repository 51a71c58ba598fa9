import { argmaxKernel } from '../backend/js/reduce.js';
import type { Tensor } from '../tensor/tensor.js';
import { nonDifferentiable } from './primitive.js';
import { type ReduceOptions, reduce, reduction } from './reduction.js';

const op = reduction({
  name: 'argmax',
  js: argmaxKernel,
  result: 'int32',
  empty: false,
  saves: [],
  vjp: nonDifferentiable,
});

/**
 * Index (int32) of the largest element along an axis, or in row-major order over all axes. The first of equal
 * elements; a NaN counts as the largest. Throws ShapeError where there is nothing to reduce. Shape: that of x without
 * the axis (kept with size 1 where `keepdims`); a scalar without one. No gradient.
 */
export function argmax(
  x: Tensor,
  axis?: number | null | (ReduceOptions & { readonly axis?: number | null }),
  options?: ReduceOptions,
): Tensor {
  return reduce(op, x, axis, options);
}
