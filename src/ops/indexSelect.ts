import { isFloat } from '../dtype.js';
import { ShapeError } from '../errors.js';
import { indexSelect as kernel } from '../program/rows.js';
import { normalizeAxis, showShape, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { indexSelectGrad } from './indexSelectGrad.js';
import { indexTensor, runAlong } from './indices.js';
import { apply, checkTensor, primitive, type Spec } from './primitive.js';

const op = primitive<number>({
  name: 'indexSelect',
  infer: ([x, idx], axis) => {
    const shape = [...(x as Spec).shape];
    shape[axis] = (idx as Spec).shape[0] as number;
    return { shape, dtype: (x as Spec).dtype };
  },
  run: ([x, idx], out, axis) =>
    runAlong(kernel, out, x, idx, axis, (x as View).shape[axis] as number, out.shape[axis] as number),
  saves: [1],
  vjp: (g, ctx) => {
    const x = ctx.specs[0] as Spec;
    return [
      isFloat(x.dtype) ? indexSelectGrad(g, ctx.input(1), ctx.attrs, x.shape[ctx.attrs] as number) : null,
      null,
    ];
  },
  samples: [
    { inputs: [{ shape: [5, 3] }, { shape: [4], dtype: 'int32', low: 0, high: 5 }], attrs: 0 },
    { inputs: [{ shape: [2, 5, 3] }, { shape: [7], dtype: 'int32', low: 0, high: 5 }], attrs: 1 },
    { inputs: [{ shape: [2, 5] }, { shape: [0], dtype: 'int32', low: 0, high: 5 }], attrs: 1 },
  ],
});

/**
 * The slices of `x` along `axis` that a vector of whole numbers names, in that order. Gradients of slices named more
 * than once add up. Throws IndexError for an index outside [0, size of the axis).
 */
export function indexSelect(x: Tensor, axis: number, index: Tensor | readonly number[]): Tensor {
  checkTensor('indexSelect', x);
  const a = normalizeAxis('indexSelect', axis, x.shape.length);
  if (x.shape.length === 0) throw new ShapeError('indexSelect: a scalar has no axis to select along');
  const idx = indexTensor('indexSelect', index);
  if (idx.shape.length !== 1)
    throw new ShapeError(`indexSelect: the index is a vector, not ${showShape(idx.shape)}`);
  return apply(op, [x, idx], a);
}
