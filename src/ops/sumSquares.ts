import { sumSquaresKernel } from '../backend/js/reduce.js';
import type { Tensor } from '../tensor/tensor.js';
import { mul } from './mul.js';
import { apply, type Spec } from './primitive.js';
import { keptShape, type ReduceAttrs, reduction } from './reduction.js';
import { reshape } from './reshape.js';

const op = reduction({
  name: 'sumSquares',
  js: sumSquaresKernel,
  empty: true,
  saves: [0],
  vjp: (g, ctx) => {
    const kept = g.shape.length === 0 ? g : reshape(g, keptShape(ctx.specs[0] as Spec, ctx.attrs));
    return [mul(ctx.input(0), mul(kept, 2))];
  },
});

/** Sum of the squares over axes, of a float. Of nothing: 0. */
export function sumSquares(x: Tensor, attrs: ReduceAttrs): Tensor {
  return apply(op, [x], attrs);
}
