import { defineKernel } from '../backend/backend.js';
import { nllGradKernel } from '../backend/js/rows.js';
import { emitRows } from '../program/calls.js';
import type { Tensor } from '../tensor/tensor.js';
import { dense, fresh } from './alongAxis.js';
import { nll } from './nll.js';
import { apply, primitive, type Spec } from './primitive.js';

const kernel = defineKernel('nllGrad', nllGradKernel);

interface NllGradAttrs {
  readonly cols: number;
  readonly ignore: number;
}

const op = primitive<NllGradAttrs>({
  name: 'nllGrad',
  infer: ([g], { cols }) => ({ shape: [(g as Spec).shape[0] as number, cols], dtype: (g as Spec).dtype }),
  run([g, labels], out, { cols, ignore }) {
    const result = fresh(out.dtype, out.shape);
    emitRows(kernel, out.shape[0] as number, cols, [result], [dense(g), dense(labels)], [ignore]);
    return result;
  },
  saves: [1],
  vjp: (gg, ctx) => [nll(gg, ctx.input(1), ctx.attrs.ignore), null],
  samples: [
    {
      inputs: [{ shape: [4] }, { shape: [4], dtype: 'int32', low: 0, high: 3 }],
      attrs: { cols: 3, ignore: 2 ** 31 },
    },
    {
      inputs: [{ shape: [7] }, { shape: [7], dtype: 'int32', low: -1, high: 2 }],
      attrs: { cols: 2, ignore: -1 },
    },
  ],
});

/** Backward of nll: -g[r] at labels[r], 0 elsewhere and in rows whose label is `ignore`. */
export function nllGrad(g: Tensor, labels: Tensor, cols: number, ignore: number): Tensor {
  return apply(op, [g, labels], { cols, ignore });
}
