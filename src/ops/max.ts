import { defineKernel } from '../backend/backend.js';
import { maxKernel } from '../backend/js/reduce.js';
import { emitReduce } from '../program/calls.js';
import { rowMajor, View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { div } from './div.js';
import { eq } from './eq.js';
import { mul } from './mul.js';
import { apply, checkTensor, primitive, type Spec } from './primitive.js';
import {
  checkNotEmpty,
  keptShape,
  type ReduceAttrs,
  type ReduceOptions,
  reducedAxes,
  reducedShape,
  reduceSamples,
} from './reduction.js';
import { reshape } from './reshape.js';
import { sum } from './sum.js';
import { to } from './to.js';

const kernel = defineKernel('max', maxKernel);

const op = primitive<ReduceAttrs>({
  name: 'max',
  infer: ([x], attrs) => {
    checkNotEmpty('max', x as Spec, attrs.axes);
    return { shape: reducedShape(x as Spec, attrs), dtype: (x as Spec).dtype };
  },
  run([x], out, { axes }) {
    const view = emitReduce(kernel, out.dtype, x as View, axes);
    return new View(view.storage, out.shape, rowMajor(out.shape), view.offset);
  },
  saves: [0, 'output'],
  vjp: (g, ctx) => {
    const kept = keptShape(ctx.specs[0] as Spec, ctx.attrs);
    const hit = to(eq(ctx.input(0), reshape(ctx.output(), kept)), g.dtype);
    return [mul(div(hit, sum(hit, ctx.attrs.axes, { keepdims: true })), reshape(g, kept))];
  },
  samples: reduceSamples(false),
});

/**
 * The largest element over one axis, several, or all; NaN if any is NaN. Equal elements share the gradient evenly.
 * Throws ShapeError where there is nothing to reduce.
 */
export function max(x: Tensor, axis?: number | readonly number[] | null, options?: ReduceOptions): Tensor {
  checkTensor('max', x);
  const t = x.dtype === 'bool' ? to(x, 'int32') : x;
  return apply(op, [t], reducedAxes('max', t.shape, axis, options));
}
