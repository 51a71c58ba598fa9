import { defineKernel } from '../backend/backend.js';
import { nllGradKernel } from '../backend/js/rows.js';
import { emitRows } from '../program/calls.js';
import type { Tensor } from '../tensor/tensor.js';
import { nll } from './nll.js';
import { apply, primitive, type Spec } from './primitive.js';
import { dense, fresh } from './rows.js';

const kernel = defineKernel('nllGrad', nllGradKernel);

const op = primitive<number>({
  name: 'nllGrad',
  infer: ([g], cols) => ({ shape: [(g as Spec).shape[0] as number, cols], dtype: (g as Spec).dtype }),
  run([g, labels], out, cols) {
    const result = fresh(out.dtype, out.shape);
    emitRows(kernel, out.shape[0] as number, cols, [result], [dense(g), dense(labels)]);
    return result;
  },
  saves: [1],
  vjp: (gg, ctx) => [nll(gg, ctx.input(1)), null],
  samples: [{ inputs: [{ shape: [4] }, { shape: [4], dtype: 'int32', low: 0, high: 3 }], attrs: 3 }],
});

/** Backward of nll: -g[r] at labels[r], 0 elsewhere. */
export function nllGrad(g: Tensor, labels: Tensor, cols: number): Tensor {
  return apply(op, [g, labels], cols);
}
