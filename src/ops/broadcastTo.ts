import { ShapeError } from '../errors.js';
import { broadcastShapes, checkShape, type Shape, sameShape, showShape, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply, checkTensor, primitive, type Spec } from './primitive.js';
import { sumTo } from './sum.js';

const op = primitive<Shape>({
  name: 'broadcastTo',
  infer: ([x], shape) => {
    const from = (x as Spec).shape;
    if (from.length > shape.length || !sameShape(broadcastShapes('broadcastTo', from, shape), shape)) {
      throw new ShapeError(`broadcastTo: ${showShape(from)} does not broadcast to ${showShape(shape)}`);
    }
    return { shape, dtype: (x as Spec).dtype };
  },
  run: ([x], out) => (x as View).broadcast(out.shape),
  saves: [],
  vjp: (g, { specs: [x] }) => [sumTo(g, (x as Spec).shape)],
  samples: [
    { inputs: [{ shape: [3] }], attrs: [2, 3] },
    { inputs: [{ shape: [2, 1] }], attrs: [4, 2, 5] },
    { inputs: [{ shape: [] }], attrs: [3] },
    { inputs: [{ shape: [1] }], attrs: [0] },
  ],
});

/**
 * Repeats the tensor along new leading axes and axes of size 1, without a copy. Throws ShapeError for a shape that x
 * does not broadcast to. Any dtype.
 */
export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  checkTensor('broadcastTo', x);
  const target = checkShape('broadcastTo', shape);
  return sameShape(x.shape, target) ? x : apply(op, [x], target);
}
