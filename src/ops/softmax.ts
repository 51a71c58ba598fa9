import { defineKernel } from '../backend/backend.js';
import { softmaxKernel } from '../backend/js/rows.js';
import { emitRows } from '../program/calls.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply, primitive, type Spec } from './primitive.js';
import { alongAxis, dense, fresh, rowSamples, rowsOf } from './rows.js';
import { softmaxGrad } from './softmaxGrad.js';

const kernel = defineKernel('softmax', softmaxKernel);

const op = primitive<null>({
  name: 'softmax',
  infer: ([x]) => x as Spec,
  run([x], out) {
    const result = fresh(out.dtype, out.shape);
    const { rows, cols } = rowsOf(out.shape);
    emitRows(kernel, rows, cols, [result], [dense(x)]);
    return result;
  },
  saves: ['output'],
  vjp: (g, ctx) => [softmaxGrad(g, ctx.output())],
  samples: rowSamples,
});

/** exp(x) / sum(exp(x)) along an axis (default: the last), without overflow. Whole numbers give float32. */
export function softmax(x: Tensor, axis = -1): Tensor {
  return alongAxis('softmax', x, axis, (t) => apply(op, [t], null));
}
