import { prodKernel } from '../backend/js/reduce.js';
import { isFloat } from '../dtype.js';
import { sizeOf } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { concat } from './concat.js';
import { full } from './full.js';
import { mul } from './mul.js';
import { permute } from './permute.js';
import { checkTensor, type Spec } from './primitive.js';
import { type AxesOrOptions, keptShape, type ReduceOptions, reduce, reduction } from './reduction.js';
import { reshape } from './reshape.js';
import { narrow } from './slice.js';
import { to } from './to.js';

const op = reduction({
  name: 'prod',
  js: prodKernel,
  empty: true,
  saves: [0],
  vjp: (g, ctx) => {
    const x = ctx.input(0);
    const { axes } = ctx.attrs;
    const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
    const order = [...kept, ...axes];
    const moved = permute(x, order);
    const n = sizeOf(axes.map((i) => x.shape[i] as number));
    const others = reshape(
      productsOfOthers(reshape(moved, [sizeOf(kept.map((i) => x.shape[i] as number)), n])),
      moved.shape,
    );
    const back = order.map((_, i) => order.indexOf(i));
    return [mul(permute(others, back), reshape(g, keptShape(ctx.specs[0] as Spec, ctx.attrs)))];
  },
});

/**
 * For every element of a [rows, n] matrix the product of all others in its row. By halves and without a division, so
 * that factors of 0 are right in derivatives of every order.
 */
function productsOfOthers(x: Tensor): Tensor {
  const [rows, n] = x.shape as [number, number];
  if (n <= 1) return full(x.shape, 1, x.dtype);
  const half = Math.ceil(n / 2);
  const left = narrow(x, 1, 0, half);
  const rest = narrow(x, 1, half, n - half);
  const right = n % 2 === 0 ? rest : concat([rest, full([rows, 1], 1, x.dtype)], 1);
  const outside = productsOfOthers(mul(left, right));
  return concat([mul(outside, right), narrow(mul(outside, left), 1, 0, n - half)], 1);
}

/**
 * Product over one axis, several, or all. Whole numbers give float32. The product of nothing is 1. Reduced axes go, or
 * stay with size 1 where `keepdims`. Throws ShapeError for an axis that x does not have.
 */
export function prod(x: Tensor, axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
  checkTensor('prod', x);
  return reduce(op, isFloat(x.dtype) ? x : to(x, 'float32'), axis, options);
}
