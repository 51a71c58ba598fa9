import { defineKernel } from '../backend/backend.js';
import { indexSelectGradKernel } from '../backend/js/indexing.js';
import type { View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { indexSelect } from './indexSelect.js';
import { runAlong } from './indices.js';
import { apply, primitive, type Spec } from './primitive.js';

const kernel = defineKernel('indexSelectGrad', indexSelectGradKernel);

interface Attrs {
  readonly axis: number;
  /** Size of the axis in the result. */
  readonly n: number;
}

const op = primitive<Attrs>({
  name: 'indexSelectGrad',
  infer: ([g], { axis, n }) => {
    const shape = [...(g as Spec).shape];
    shape[axis] = n;
    return { shape, dtype: (g as Spec).dtype };
  },
  run: ([g, idx], out, { axis, n }) =>
    runAlong(kernel, out, g, idx, axis, n, (g as View).shape[axis] as number),
  saves: [1],
  vjp: (gg, ctx) => [indexSelect(gg, ctx.attrs.axis, ctx.input(1)), null],
  samples: [
    {
      inputs: [{ shape: [4, 3] }, { shape: [4], dtype: 'int32', low: 0, high: 5 }],
      attrs: { axis: 0, n: 5 },
    },
    {
      inputs: [{ shape: [2, 7, 3] }, { shape: [7], dtype: 'int32', low: 0, high: 5 }],
      attrs: { axis: 1, n: 5 },
    },
  ],
});

/** Backward of indexSelect: adds the slices of g into zeros at the places they came from. */
export function indexSelectGrad(g: Tensor, index: Tensor, axis: number, n: number): Tensor {
  return apply(op, [g, index], { axis, n });
}
