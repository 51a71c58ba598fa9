import { copy, emitMap, fresh } from '../program/calls.js';
import type { Shape, View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { fillKernelRow } from './full.js';
import { apply, primitive, type Spec } from './primitive.js';
import { type SliceAttrs, slice, sliceView } from './slice.js';

interface Attrs {
  readonly part: SliceAttrs;
  readonly shape: Shape;
}

const op = primitive<Attrs>({
  name: 'sliceGrad',
  infer: ([g], { shape }) => ({ shape, dtype: (g as Spec).dtype }),
  run([g], out, { part }) {
    const result = fresh(out.dtype, out.shape);
    emitMap(fillKernelRow, result, [], [0]);
    emitMap(copy, sliceView(result, part), [g as View]);
    return result;
  },
  saves: [],
  vjp: (gg, { attrs: { part } }) => [
    slice(
      gg,
      ...part.start.map((s, i) => {
        const step = part.step[i] as number;
        const end = s + (part.count[i] as number) * step;
        return [s, end < 0 ? null : end, step];
      }),
    ),
  ],
  samples: [
    { inputs: [{ shape: [3] }], attrs: { part: { start: [1], count: [3], step: [2] }, shape: [6] } },
    {
      inputs: [{ shape: [2, 5] }],
      attrs: { part: { start: [1, 4], count: [2, 5], step: [1, -1] }, shape: [4, 5] },
    },
  ],
});

/** Backward of slice: zeros of the given shape with g in the place of the part. */
export function sliceGrad(g: Tensor, part: SliceAttrs, shape: Shape): Tensor {
  return apply(op, [g], { part, shape });
}
