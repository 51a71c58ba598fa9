import { defineKernel } from '../backend/backend.js';
import { argmaxKernel } from '../backend/js/reduce.js';
import { emitReduce } from '../program/calls.js';
import { rowMajor, View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply, checkTensor, nonDifferentiable, primitive, type Spec } from './primitive.js';
import {
  checkNotEmpty,
  type ReduceAttrs,
  type ReduceOptions,
  reducedAxes,
  reducedShape,
  reduceSamples,
} from './reduction.js';
import { to } from './to.js';

const kernel = defineKernel('argmax', argmaxKernel);

const op = primitive<ReduceAttrs>({
  name: 'argmax',
  infer: ([x], attrs) => {
    checkNotEmpty('argmax', x as Spec, attrs.axes);
    return { shape: reducedShape(x as Spec, attrs), dtype: 'int32' };
  },
  run([x], out, { axes }) {
    const view = emitReduce(kernel, 'int32', x as View, axes);
    return new View(view.storage, out.shape, rowMajor(out.shape), view.offset);
  },
  saves: [],
  vjp: nonDifferentiable,
  samples: reduceSamples(false),
});

/**
 * Index (int32) of the largest element along an axis, or in row-major order over all axes. The first of equal
 * elements; a NaN counts as the largest. Throws ShapeError where there is nothing to reduce.
 */
export function argmax(x: Tensor, axis?: number | null, options?: ReduceOptions): Tensor {
  checkTensor('argmax', x);
  const t = x.dtype === 'bool' ? to(x, 'int32') : x;
  return apply(op, [t], reducedAxes('argmax', t.shape, axis, options));
}
