import { logSoftmaxKernel } from '../backend/js/axis.js';
import type { Tensor } from '../tensor/tensor.js';
import { alongAxis, axisOp, axisSamples } from './alongAxis.js';
import { type AxisOption, axisOption } from './axis.js';
import { logSoftmaxGrad } from './logSoftmaxGrad.js';

const op = axisOp({
  name: 'logSoftmax',
  js: logSoftmaxKernel,
  saves: ['output'],
  vjp: (g, ctx) => [logSoftmaxGrad(g, ctx.output(), ctx.attrs.axis)],
  samples: axisSamples,
});

/**
 * x - log(sum(exp(x))) along an axis (default: the last), without overflow. Whole numbers give float32. The shape of
 * x. Throws ShapeError for an axis that x does not have.
 */
export function logSoftmax(x: Tensor, axis: AxisOption = -1): Tensor {
  return alongAxis(op, x, axisOption('logSoftmax', axis, -1));
}
