import { defineKernel } from '../backend/backend.js';
import { logSumExpKernel } from '../backend/js/rows.js';
import { isFloat } from '../dtype.js';
import { emitRows } from '../program/calls.js';
import { sizeOf } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
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
import { dense, fresh, rowSamples, rowsOf } from './rows.js';
import { softmax } from './softmax.js';
import { to } from './to.js';

const kernel = defineKernel('logSumExp', logSumExpKernel);

/** Along the last axis; others are brought there first. */
const op = primitive<null>({
  name: 'logSumExp',
  infer: ([x]) => ({ shape: (x as Spec).shape.slice(0, -1), dtype: (x as Spec).dtype }),
  run([x], out) {
    const result = fresh(out.dtype, out.shape);
    const { rows, cols } = rowsOf((x as NonNullable<typeof x>).shape);
    emitRows(kernel, rows, cols, [result], [dense(x)]);
    return result;
  },
  saves: [0],
  vjp: (g, ctx) => [mul(softmax(ctx.input(0)), reshape(g, [...g.shape, 1]))],
  samples: rowSamples,
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
  const kept = t.shape.map((_, i) => i).filter((i) => !attrs.axes.includes(i));
  const size = sizeOf(attrs.axes.map((a) => t.shape[a] as number));
  const moved = reshape(permute(t, [...kept, ...attrs.axes]), [
    ...kept.map((i) => t.shape[i] as number),
    size,
  ]);
  const y = apply(op, [moved], null);
  return attrs.keepdims ? reshape(y, keptShape(t, attrs)) : y;
}
