import { defineKernel } from '../backend/backend.js';
import { nllKernel } from '../backend/js/rows.js';
import { emitRows } from '../program/calls.js';
import type { Tensor } from '../tensor/tensor.js';
import { dense, fresh } from './alongAxis.js';
import { nllGrad } from './nllGrad.js';
import { apply, primitive, type Spec } from './primitive.js';

const kernel = defineKernel('nll', nllKernel);

/** What `ignore` is where every label counts: a value that no int32 has. */
export const NO_LABEL = 2 ** 31;

const op = primitive<number>({
  name: 'nll',
  infer: ([lp]) => ({ shape: [(lp as Spec).shape[0] as number], dtype: (lp as Spec).dtype }),
  run([lp, labels], out, ignore) {
    const result = fresh(out.dtype, out.shape);
    const [rows, cols] = (lp as NonNullable<typeof lp>).shape as [number, number];
    emitRows(kernel, rows, cols, [result], [dense(lp), dense(labels)], [ignore]);
    return result;
  },
  saves: [1],
  vjp: (g, ctx) => [nllGrad(g, ctx.input(1), (ctx.specs[0] as Spec).shape[1] as number, ctx.attrs), null],
  samples: [
    { inputs: [{ shape: [4, 3] }, { shape: [4], dtype: 'int32', low: 0, high: 3 }], attrs: NO_LABEL },
    { inputs: [{ shape: [0, 3] }, { shape: [0], dtype: 'int32', low: 0, high: 3 }], attrs: NO_LABEL },
    { inputs: [{ shape: [7, 2] }, { shape: [7], dtype: 'int32', low: -1, high: 2 }], attrs: -1 },
  ],
});

/**
 * -logProbabilities[r, labels[r]] for every row r, 0 where the label is `ignore`; labels are int32. Throws IndexError for
 * another label out of range.
 */
export function nll(logProbabilities: Tensor, labels: Tensor, ignore: number = NO_LABEL): Tensor {
  return apply(op, [logProbabilities, labels], ignore);
}
