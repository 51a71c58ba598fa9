import { defineKernel } from '../backend/backend.js';
import { softmaxGradKernel } from '../backend/js/rows.js';
import { emitRows } from '../program/calls.js';
import type { Tensor } from '../tensor/tensor.js';
import { mul } from './mul.js';
import { apply, primitive } from './primitive.js';
import { dense, fresh, rowGradSamples, rowsOf, sameAsFirst } from './rows.js';
import { sub } from './sub.js';
import { sum } from './sum.js';

const kernel = defineKernel('softmaxGrad', softmaxGradKernel);

const op = primitive<null>({
  name: 'softmaxGrad',
  infer: (inputs) => sameAsFirst('softmaxGrad', inputs),
  run([g, y], out) {
    const result = fresh(out.dtype, out.shape);
    const { rows, cols } = rowsOf(out.shape);
    emitRows(kernel, rows, cols, [result], [dense(g), dense(y)]);
    return result;
  },
  saves: [0, 1],
  // y (g - sum(g y)) is linear in g with a symmetric matrix; in y it is quadratic.
  vjp: (gg, ctx) => {
    const [g, y] = [ctx.input(0), ctx.input(1)];
    const over = { keepdims: true };
    return [
      ctx.needs[0] ? softmaxGrad(gg, y) : null,
      ctx.needs[1] ? sub(mul(gg, sub(g, sum(mul(g, y), -1, over))), mul(g, sum(mul(gg, y), -1, over))) : null,
    ];
  },
  samples: rowGradSamples,
});

/** Backward of softmax along the last axis from its result y: y (g - sum(g y)). */
export function softmaxGrad(g: Tensor, y: Tensor): Tensor {
  return apply(op, [g, y], null);
}
