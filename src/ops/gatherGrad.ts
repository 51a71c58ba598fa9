import { defineKernel } from '../backend/backend.js';
import { gatherGradKernel } from '../backend/js/indexing.js';
import type { View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { gather } from './gather.js';
import { runAlong } from './indices.js';
import { apply, primitive, type Spec } from './primitive.js';

const kernel = defineKernel('gatherGrad', gatherGradKernel);

interface Attrs {
  readonly axis: number;
  /** Size of the axis in the result. */
  readonly n: number;
}

const op = primitive<Attrs>({
  name: 'gatherGrad',
  infer: ([g], { axis, n }) => {
    const shape = [...(g as Spec).shape];
    shape[axis] = n;
    return { shape, dtype: (g as Spec).dtype };
  },
  run: ([g, idx], out, { axis, n }) =>
    runAlong(kernel, out, g, idx, axis, n, (g as View).shape[axis] as number),
  saves: [1],
  vjp: (gg, ctx) => [gather(gg, ctx.attrs.axis, ctx.input(1)), null],
  samples: [
    {
      inputs: [{ shape: [4, 2] }, { shape: [4, 2], dtype: 'int32', low: 0, high: 3 }],
      attrs: { axis: 1, n: 3 },
    },
  ],
});

/** Backward of gather: adds g into zeros at the places its elements came from. */
export function gatherGrad(g: Tensor, index: Tensor, axis: number, n: number): Tensor {
  return apply(op, [g, index], { axis, n });
}
