import { ShapeError } from '../errors.js';
import { normalizeAxis, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply, checkTensor, primitive, type Spec } from './primitive.js';

const op = primitive<readonly number[]>({
  name: 'permute',
  infer: ([x], axes) => ({
    shape: axes.map((a) => (x as Spec).shape[a] as number),
    dtype: (x as Spec).dtype,
  }),
  run: ([x], _, axes) => (x as View).permuted(axes),
  saves: [],
  vjp: (g, { attrs }) => {
    const inverse = new Array<number>(attrs.length);
    attrs.forEach((a, i) => {
      inverse[a] = i;
    });
    return [permute(g, inverse)];
  },
  samples: [
    { inputs: [{ shape: [3, 4] }], attrs: [1, 0] },
    { inputs: [{ shape: [2, 3, 4] }], attrs: [2, 0, 1] },
  ],
});

/**
 * The axes in another order, without a copy. `axes` names every axis once. Any dtype. Throws ShapeError for anything
 * else.
 */
export function permute(x: Tensor, axes: readonly number[]): Tensor {
  checkTensor('permute', x);
  if (!Array.isArray(axes) || axes.length !== x.shape.length) {
    throw new ShapeError(`permute: a tensor of rank ${x.shape.length} takes as many axes, each once`);
  }
  const order = axes.map((a) => normalizeAxis('permute', a, x.shape.length));
  if (new Set(order).size !== order.length)
    throw new ShapeError(`permute: an axis stands twice in [${axes.join(', ')}]`);
  return apply(op, [x], order);
}

/**
 * Two axes swapped (default: the last two), or all axes in the given order; without a copy. A vector or scalar stays
 * as it is. Any dtype. Throws ShapeError for an axis that x does not have.
 */
export function transpose(x: Tensor, a: number | readonly number[] = -2, b = -1): Tensor {
  checkTensor('transpose', x);
  if (typeof a !== 'number') return permute(x, a);
  const rank = x.shape.length;
  if (rank < 2 && a === -2 && b === -1) return x;
  const order = Array.from({ length: rank }, (_, i) => i);
  const i = normalizeAxis('transpose', a, rank);
  const j = normalizeAxis('transpose', b, rank);
  if (rank === 0) return x;
  [order[i], order[j]] = [order[j] as number, order[i] as number];
  return apply(op, [x], order);
}
