import { softmaxGradKernel } from '../backend/js/axis.js';
import type { Tensor } from '../tensor/tensor.js';
import { axisGradSamples, axisOp } from './alongAxis.js';
import { mul } from './mul.js';
import { apply } from './primitive.js';
import { sub } from './sub.js';
import { sum } from './sum.js';

const op = axisOp({
  name: 'softmaxGrad',
  js: softmaxGradKernel,
  saves: [0, 1],
  // y (g - sum(g y)) is linear in g with a symmetric matrix; in y it is quadratic.
  vjp: (gg, ctx) => {
    const [g, y] = [ctx.input(0), ctx.input(1)];
    const { axis } = ctx.attrs;
    const over = { keepdims: true };
    return [
      ctx.needs[0] ? softmaxGrad(gg, y, axis) : null,
      ctx.needs[1]
        ? sub(mul(gg, sub(g, sum(mul(g, y), axis, over))), mul(g, sum(mul(gg, y), axis, over)))
        : null,
    ];
  },
  samples: axisGradSamples,
});

/** Backward of softmax along an axis (>= 0) from its result y: y (g - sum(g y)). */
export function softmaxGrad(g: Tensor, y: Tensor, axis: number): Tensor {
  return apply(op, [g, y], { axis });
}
