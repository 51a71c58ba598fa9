import { defineKernel } from '../backend/backend.js';
import { sumSquaredDeviationsKernel } from '../backend/js/reduce.js';
import { emitReduce } from '../program/calls.js';
import type { View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { mul } from './mul.js';
import { apply, primitive, type Spec } from './primitive.js';
import { keptShape, reducedShape, type ScaledAttrs, scaledSamples } from './reduction.js';
import { reshape } from './reshape.js';
import { sub } from './sub.js';
import { mean } from './sum.js';

const kernel = defineKernel('sumSquaredDeviations', sumSquaredDeviationsKernel);

const op = primitive<ScaledAttrs>({
  name: 'sumSquaredDeviations',
  infer: ([x], attrs) => ({ shape: reducedShape(x as Spec, attrs), dtype: (x as Spec).dtype }),
  run: ([x], out, { axes, scale }) => emitReduce(kernel, out, x as View, axes, [scale]),
  saves: [0],
  // The mean moves too, but what that changes adds up to 0.
  vjp: (g, ctx) => {
    const x = ctx.input(0);
    const { axes, scale } = ctx.attrs;
    const kept = g.shape.length === 0 ? g : reshape(g, keptShape(x, ctx.attrs));
    return [mul(sub(x, mean(x, axes, { keepdims: true })), mul(kept, 2 * scale))];
  },
  samples: scaledSamples(),
});

/** scale times the sum of (x - mean)^2 over axes, of a float, with the mean over the same axes. Of nothing: 0 scale. */
export function sumSquaredDeviations(x: Tensor, attrs: ScaledAttrs): Tensor {
  return apply(op, [x], attrs);
}
