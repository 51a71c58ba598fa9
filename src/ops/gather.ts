import { defineKernel } from '../backend/backend.js';
import { gatherKernel } from '../backend/js/indexing.js';
import { isFloat } from '../dtype.js';
import { ShapeError } from '../errors.js';
import { normalizeAxis, showShape, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { gatherGrad } from './gatherGrad.js';
import { indexTensor, runAlong } from './indices.js';
import { apply, checkTensor, primitive, type Spec } from './primitive.js';
import { narrow } from './slice.js';

const kernel = defineKernel('gather', gatherKernel);

const op = primitive<number>({
  name: 'gather',
  infer: ([x, idx]) => ({ shape: (idx as Spec).shape, dtype: (x as Spec).dtype }),
  run: ([x, idx], out, axis) =>
    runAlong(kernel, out, x, idx, axis, (x as View).shape[axis] as number, out.shape[axis] as number),
  saves: [1],
  vjp: (g, ctx) => {
    const x = ctx.specs[0] as Spec;
    return [
      isFloat(x.dtype) ? gatherGrad(g, ctx.input(1), ctx.attrs, x.shape[ctx.attrs] as number) : null,
      null,
    ];
  },
  samples: [
    { inputs: [{ shape: [4, 3] }, { shape: [4, 2], dtype: 'int32', low: 0, high: 3 }], attrs: 1 },
    { inputs: [{ shape: [4, 3] }, { shape: [6, 3], dtype: 'int32', low: 0, high: 4 }], attrs: 0 },
  ],
});

/**
 * Picks elements along an axis: out[i][j] = x[i][index[i][j]] for axis 1, and so on. `index` has the rank of x and is
 * not larger in any other axis, as in PyTorch. Throws IndexError for an index outside [0, size of the axis).
 */
export function gather(x: Tensor, axis: number, index: Tensor): Tensor {
  checkTensor('gather', x);
  const a = normalizeAxis('gather', axis, x.shape.length);
  const idx = indexTensor('gather', index);
  if (idx.shape.length !== x.shape.length || x.shape.length === 0) {
    throw new ShapeError(
      `gather: index ${showShape(idx.shape)} must have the rank of ${showShape(x.shape)}, at least 1`,
    );
  }
  let source = x;
  for (let i = 0; i < x.shape.length; i++) {
    if (i === a) continue;
    const n = idx.shape[i] as number;
    if (n > (x.shape[i] as number)) {
      throw new ShapeError(
        `gather: index ${showShape(idx.shape)} is larger than ${showShape(x.shape)} in axis ${i}`,
      );
    }
    if (n < (x.shape[i] as number)) source = narrow(source, i, 0, n);
  }
  return apply(op, [source, idx], a);
}
