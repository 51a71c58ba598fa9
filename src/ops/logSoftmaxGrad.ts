import { logSoftmaxGradKernel } from '../backend/js/axis.js';
import type { Tensor } from '../tensor/tensor.js';
import { axisGradSamples, axisOp } from './alongAxis.js';
import { exp } from './exp.js';
import { mul } from './mul.js';
import { neg } from './neg.js';
import { apply } from './primitive.js';
import { sub } from './sub.js';
import { sum } from './sum.js';

const op = axisOp({
  name: 'logSoftmaxGrad',
  js: logSoftmaxGradKernel,
  saves: [0, 1],
  vjp: (gg, ctx) => {
    const [g, y] = [ctx.input(0), ctx.input(1)];
    const { axis } = ctx.attrs;
    const p = exp(y);
    return [
      ctx.needs[0] ? sub(gg, sum(mul(gg, p), axis, { keepdims: true })) : null,
      ctx.needs[1] ? neg(mul(mul(gg, p), sum(g, axis, { keepdims: true }))) : null,
    ];
  },
  samples: axisGradSamples,
});

/** Backward of logSoftmax along an axis (>= 0) from its result y: g - exp(y) sum(g). */
export function logSoftmaxGrad(g: Tensor, y: Tensor, axis: number): Tensor {
  return apply(op, [g, y], { axis });
}
