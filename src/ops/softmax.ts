import { softmaxKernel } from '../backend/js/axis.js';
import type { Tensor } from '../tensor/tensor.js';
import { alongAxis, axisOp, axisSamples } from './alongAxis.js';
import { type AxisOption, axisOption } from './axis.js';
import { softmaxGrad } from './softmaxGrad.js';

const op = axisOp({
  name: 'softmax',
  js: softmaxKernel,
  saves: ['output'],
  vjp: (g, ctx) => [softmaxGrad(g, ctx.output(), ctx.attrs.axis)],
  samples: axisSamples,
});

/**
 * exp(x) / sum(exp(x)) along an axis (default: the last), without overflow. Whole numbers give float32. The shape of
 * x. Throws ShapeError for an axis that x does not have.
 */
export function softmax(x: Tensor, axis: AxisOption = -1): Tensor {
  return alongAxis(op, x, axisOption('softmax', axis, -1));
}
