import { defineKernel } from '../backend/backend.js';
import { argminKernel } from '../backend/js/reduce.js';
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

const kernel = defineKernel('argmin', argminKernel);

const op = primitive<ReduceAttrs>({
  name: 'argmin',
  infer: ([x], attrs) => {
    checkNotEmpty('argmin', x as Spec, attrs.axes);
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
 * Index (int32) of the smallest element along an axis, or in row-major order over all axes. The first of equal
 * elements; a NaN counts as the smallest. Throws ShapeError where there is nothing to reduce.
 */
export function argmin(x: Tensor, axis?: number | null, options?: ReduceOptions): Tensor {
  checkTensor('argmin', x);
  const t = x.dtype === 'bool' ? to(x, 'int32') : x;
  return apply(op, [t], reducedAxes('argmin', t.shape, axis, options));
}
