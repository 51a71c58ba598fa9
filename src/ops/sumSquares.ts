import { defineKernel } from '../backend/backend.js';
import { sumSquaresKernel } from '../backend/js/reduce.js';
import { emitReduce } from '../program/calls.js';
import type { View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { mul } from './mul.js';
import { apply, primitive, type Spec } from './primitive.js';
import { keptShape, reducedShape, type ScaledAttrs, scaledSamples } from './reduction.js';
import { reshape } from './reshape.js';

const kernel = defineKernel('sumSquares', sumSquaresKernel);

const op = primitive<ScaledAttrs>({
  name: 'sumSquares',
  infer: ([x], attrs) => ({ shape: reducedShape(x as Spec, attrs), dtype: (x as Spec).dtype }),
  run: ([x], out, { axes, scale }) => emitReduce(kernel, out, x as View, axes, [scale]),
  saves: [0],
  vjp: (g, ctx) => {
    const x = ctx.input(0);
    const kept = g.shape.length === 0 ? g : reshape(g, keptShape(x, ctx.attrs));
    return [mul(x, mul(kept, 2 * ctx.attrs.scale))];
  },
  samples: scaledSamples(),
});

/** scale times the sum of the squares over axes, of a float. Of nothing: 0 scale. */
export function sumSquares(x: Tensor, attrs: ScaledAttrs): Tensor {
  return apply(op, [x], attrs);
}
