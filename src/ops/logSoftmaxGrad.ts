import { logSoftmaxGradKernel } from '../backend/js/rows.js';
import type { Tensor } from '../tensor/tensor.js';
import { exp } from './exp.js';
import { mul } from './mul.js';
import { neg } from './neg.js';
import { apply } from './primitive.js';
import { rowGradSamples, rowOp } from './rows.js';
import { sub } from './sub.js';
import { sum } from './sum.js';

const op = rowOp({
  name: 'logSoftmaxGrad',
  js: logSoftmaxGradKernel,
  saves: [0, 1],
  vjp: (gg, ctx) => {
    const [g, y] = [ctx.input(0), ctx.input(1)];
    const p = exp(y);
    return [
      ctx.needs[0] ? sub(gg, sum(mul(gg, p), -1, { keepdims: true })) : null,
      ctx.needs[1] ? neg(mul(mul(gg, p), sum(g, -1, { keepdims: true }))) : null,
    ];
  },
  samples: rowGradSamples,
});

/** Backward of logSoftmax along the last axis from its result y: g - exp(y) sum(g). */
export function logSoftmaxGrad(g: Tensor, y: Tensor): Tensor {
  return apply(op, [g, y], null);
}
