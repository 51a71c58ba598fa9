import { defineKernel } from '../backend/backend.js';
import { sumKernel } from '../backend/js/reduce.js';
import { isFloat } from '../dtype.js';
import { emitReduce } from '../program/calls.js';
import { type Shape, sameShape, View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { broadcastTo } from './broadcastTo.js';
import { div } from './div.js';
import { mul } from './mul.js';
import { apply, checkTensor, primitive, type Spec } from './primitive.js';
import {
  type AxesOrOptions,
  keptShape,
  type ReduceOptions,
  reducedAxes,
  reducedShape,
  type ScaledAttrs,
  scaledSamples,
} from './reduction.js';
import { reshape } from './reshape.js';
import { to } from './to.js';

const kernel = defineKernel('sum', sumKernel);

const op = primitive<ScaledAttrs>({
  name: 'sum',
  infer: ([x], attrs) => ({ shape: reducedShape(x as Spec, attrs), dtype: (x as Spec).dtype }),
  run([x], out, { axes, scale }) {
    const { view, times } = unrepeated(x as View, axes);
    return emitReduce(kernel, out, view, axes, [scale * times]);
  },
  saves: [],
  vjp: (g, { attrs, specs: [x] }) => {
    const shape = (x as Spec).shape;
    // A scalar broadcasts to anything as it is.
    const kept = g.shape.length === 0 ? g : reshape(g, keptShape(x as Spec, attrs));
    return [broadcastTo(attrs.scale === 1 ? kept : mul(kept, attrs.scale), shape)];
  },
  samples: scaledSamples(),
});

/** Floats that a broadcast repeats along the axes count once, times their number: the bias gradient of a sum is of such. */
function unrepeated(x: View, axes: readonly number[]): { readonly view: View; readonly times: number } {
  const repeats = (a: number): boolean => (x.shape[a] as number) > 1 && x.stride(a) === 0;
  if (x.contiguous || !isFloat(x.dtype) || !axes.some(repeats)) return { view: x, times: 1 };
  const shape = [...x.shape];
  let times = 1;
  for (const a of axes) {
    if (!repeats(a)) continue;
    times *= shape[a] as number;
    shape[a] = 1;
  }
  return { view: new View(x.storage, shape, x.strides, x.offset), times };
}

/**
 * Sum over one axis, several, or all; `keepdims` leaves reduced axes in place with size 1. bool is counted as int32.
 * The sum of nothing is 0. Reduced axes go, or stay with size 1. Throws ShapeError for an axis that x does not have.
 */
export function sum(x: Tensor, axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
  checkTensor('sum', x);
  const t = x.dtype === 'bool' ? to(x, 'int32') : x;
  const { axes, keepdims } = reducedAxes('sum', t.shape, axis, options);
  return apply(op, [t], { axes, keepdims, scale: 1 });
}

/**
 * Arithmetic mean over one axis, several, or all, as sum. Whole numbers give float32. The mean of nothing is NaN.
 * Reduced axes go, or stay with size 1 where `keepdims`. Throws ShapeError for an axis that x does not have.
 */
export function mean(x: Tensor, axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
  checkTensor('mean', x);
  const t = isFloat(x.dtype) ? x : to(x, 'float32');
  const { axes, keepdims } = reducedAxes('mean', t.shape, axis, options);
  let count = 1;
  for (const a of axes) count *= t.shape[a] as number;
  return count === 0
    ? div(apply(op, [t], { axes, keepdims, scale: 1 }), 0)
    : apply(op, [t], { axes, keepdims, scale: 1 / count });
}

/** Undoes a broadcast: sums over the axes along which `shape` was repeated. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.shape.length - shape.length;
  const axes: number[] = [];
  for (let i = 0; i < x.shape.length; i++) {
    if (i < lead || (shape[i - lead] === 1 && x.shape[i] !== 1)) axes.push(i);
  }
  const y = apply(op, [x], { axes, keepdims: false, scale: 1 });
  return sameShape(y.shape, shape) ? y : reshape(y, shape);
}
