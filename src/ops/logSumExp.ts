import { defineKernel } from '../backend/backend.js';
import { logSumExpKernel } from '../backend/js/axis.js';
import { isFloat } from '../dtype.js';
import { axisExtents, emitAxis } from '../program/calls.js';
import { sizeOf, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { type AxisAttrs, axisSamples, dense, fresh } from './alongAxis.js';
import { mul } from './mul.js';
import { permute } from './permute.js';
import { apply, checkTensor, primitive, type Spec } from './primitive.js';
import {
  type AxesOrOptions,
  checkNotEmpty,
  keptShape,
  type ReduceOptions,
  reducedAxes,
} from './reduction.js';
import { reshape } from './reshape.js';
import { softmax } from './softmax.js';
import { to } from './to.js';

const kernel = defineKernel('logSumExp', logSumExpKernel);

/** Along one axis, which goes; several are joined first. */
const op = primitive<AxisAttrs>({
  name: 'logSumExp',
  infer: ([x], { axis }) => ({
    shape: (x as Spec).shape.filter((_, i) => i !== axis),
    dtype: (x as Spec).dtype,
  }),
  run([x], out, { axis }) {
    const result = fresh(out.dtype, out.shape);
    emitAxis(kernel, axisExtents((x as View).shape, axis), result, [dense(x)]);
    return result;
  },
  saves: [0],
  vjp: (g, ctx) => {
    const { axis } = ctx.attrs;
    const kept = [...g.shape.slice(0, axis), 1, ...g.shape.slice(axis)];
    return [mul(softmax(ctx.input(0), axis), reshape(g, kept))];
  },
  samples: axisSamples,
});

/**
 * log(sum(exp(x))) over one axis, several, or all, without overflow. Whole numbers give float32. Reduced axes go, or
 * stay with size 1 where `keepdims`. Throws ShapeError for an axis that x does not have, or where there is nothing to
 * reduce.
 */
export function logSumExp(x: Tensor, axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
  checkTensor('logSumExp', x);
  const t = isFloat(x.dtype) ? x : to(x, 'float32');
  const attrs = reducedAxes('logSumExp', t.shape, axis, options);
  checkNotEmpty('logSumExp', t, attrs.axes);
  const { axes } = attrs;
  const size = sizeOf(axes.map((a) => t.shape[a] as number));
  const [first = 0] = axes;
  const count = axes.length;
  // Neighbours are one axis already; others are brought together behind the rest.
  const neighbours = count === 0 || (axes[count - 1] as number) - first === count - 1;
  const kept = t.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const order = neighbours ? t : permute(t, [...kept, ...axes]);
  const at = neighbours ? first : kept.length;
  const sizes = kept.map((i) => t.shape[i] as number);
  const joined = count === 1 ? order : reshape(order, [...sizes.slice(0, at), size, ...sizes.slice(at)]);
  const y = apply(op, [joined], { axis: at });
  return attrs.keepdims ? reshape(y, keptShape(t, attrs)) : y;
}
