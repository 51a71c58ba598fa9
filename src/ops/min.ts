import { minKernel } from '../backend/js/reduce.js';
import type { Tensor } from '../tensor/tensor.js';
import { type AxesOrOptions, extremeVjp, type ReduceOptions, reduce, reduction } from './reduction.js';

const op = reduction({ name: 'min', js: minKernel, empty: false, saves: [0, 'output'], vjp: extremeVjp });

/**
 * The smallest element over one axis, several, or all; NaN if any is NaN. Equal elements share the gradient evenly.
 * Throws ShapeError where there is nothing to reduce. Reduced axes go, or stay with size 1 where `keepdims`. bool is
 * taken as int32.
 */
export function min(x: Tensor, axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
  return reduce(op, x, axis, options);
}
