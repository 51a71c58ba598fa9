import { logSoftmaxKernel } from '../backend/js/rows.js';
import type { Tensor } from '../tensor/tensor.js';
import { type AxisOption, axisOption } from './axis.js';
import { logSoftmaxGrad } from './logSoftmaxGrad.js';
import { apply } from './primitive.js';
import { alongAxis, rowOp, rowSamples } from './rows.js';

const op = rowOp({
  name: 'logSoftmax',
  js: logSoftmaxKernel,
  saves: ['output'],
  vjp: (g, ctx) => [logSoftmaxGrad(g, ctx.output())],
  samples: rowSamples,
});

/**
 * x - log(sum(exp(x))) along an axis (default: the last), without overflow. Whole numbers give float32. The shape of
 * x. Throws ShapeError for an axis that x does not have.
 */
export function logSoftmax(x: Tensor, axis: AxisOption = -1): Tensor {
  return alongAxis('logSoftmax', x, axisOption('logSoftmax', axis, -1), (t) => apply(op, [t], null));
}
