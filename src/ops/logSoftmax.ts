import { defineKernel } from '../backend/backend.js';
import { logSoftmaxKernel } from '../backend/js/rows.js';
import { emitRows } from '../program/calls.js';
import type { Tensor } from '../tensor/tensor.js';
import { logSoftmaxGrad } from './logSoftmaxGrad.js';
import { apply, primitive, type Spec } from './primitive.js';
import { alongAxis, dense, fresh, rowSamples, rowsOf } from './rows.js';

const kernel = defineKernel('logSoftmax', logSoftmaxKernel);

const op = primitive<null>({
  name: 'logSoftmax',
  infer: ([x]) => x as Spec,
  run([x], out) {
    const result = fresh(out.dtype, out.shape);
    const { rows, cols } = rowsOf(out.shape);
    emitRows(kernel, rows, cols, [result], [dense(x)]);
    return result;
  },
  saves: ['output'],
  vjp: (g, ctx) => [logSoftmaxGrad(g, ctx.output())],
  samples: rowSamples,
});

/** x - log(sum(exp(x))) along an axis (default: the last), without overflow. Whole numbers give float32. */
export function logSoftmax(x: Tensor, axis = -1): Tensor {
  return alongAxis('logSoftmax', x, axis, (t) => apply(op, [t], null));
}
