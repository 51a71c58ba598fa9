import { softmaxGradKernel } from '../backend/js/rows.js';
import type { Tensor } from '../tensor/tensor.js';
import { mul } from './mul.js';
import { apply } from './primitive.js';
import { rowGradSamples, rowOp } from './rows.js';
import { sub } from './sub.js';
import { sum } from './sum.js';

const op = rowOp({
  name: 'softmaxGrad',
  js: softmaxGradKernel,
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
