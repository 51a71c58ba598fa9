import { defineKernel } from '../backend/backend.js';
import { nllKernel } from '../backend/js/rows.js';
import { emitRows } from '../program/calls.js';
import type { Tensor } from '../tensor/tensor.js';
import { nllGrad } from './nllGrad.js';
import { apply, primitive, type Spec } from './primitive.js';
import { dense, fresh } from './rows.js';

const kernel = defineKernel('nll', nllKernel);

const op = primitive<null>({
  name: 'nll',
  infer: ([lp]) => ({ shape: [(lp as Spec).shape[0] as number], dtype: (lp as Spec).dtype }),
  run([lp, labels], out) {
    const result = fresh(out.dtype, out.shape);
    const [rows, cols] = (lp as NonNullable<typeof lp>).shape as [number, number];
    emitRows(kernel, rows, cols, [result], [dense(lp), dense(labels)]);
    return result;
  },
  saves: [1],
  vjp: (g, ctx) => [nllGrad(g, ctx.input(1), (ctx.specs[0] as Spec).shape[1] as number), null],
  samples: [
    { inputs: [{ shape: [4, 3] }, { shape: [4], dtype: 'int32', low: 0, high: 3 }], attrs: null },
    { inputs: [{ shape: [0, 3] }, { shape: [0], dtype: 'int32', low: 0, high: 3 }], attrs: null },
  ],
});

/** -logProbabilities[r, labels[r]] for every row r; labels are int32. Throws IndexError for a label out of range. */
export function nll(logProbabilities: Tensor, labels: Tensor): Tensor {
  return apply(op, [logProbabilities, labels], null);
}
