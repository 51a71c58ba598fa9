import { softmaxKernel } from '../backend/js/rows.js';
import type { Tensor } from '../tensor/tensor.js';
import { type AxisOption, axisOption } from './axis.js';
import { apply } from './primitive.js';
import { alongAxis, rowOp, rowSamples } from './rows.js';
import { softmaxGrad } from './softmaxGrad.js';

const op = rowOp({
  name: 'softmax',
  js: softmaxKernel,
  saves: ['output'],
  vjp: (g, ctx) => [softmaxGrad(g, ctx.output())],
  samples: rowSamples,
});

/**
 * exp(x) / sum(exp(x)) along an axis (default: the last), without overflow. Whole numbers give float32. The shape of
 * x. Throws ShapeError for an axis that x does not have.
 */
export function softmax(x: Tensor, axis: AxisOption = -1): Tensor {
  return alongAxis('softmax', x, axisOption('softmax', axis, -1), (t) => apply(op, [t], null));
}
