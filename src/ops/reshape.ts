import { ShapeError } from '../errors.js';
import { reshapeView } from '../program/calls.js';
import { checkShape, type Shape, showShape, sizeOf } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply, checkTensor, primitive, type Spec } from './primitive.js';

const op = primitive<Shape>({
  name: 'reshape',
  infer: ([x], shape) => ({ shape, dtype: (x as Spec).dtype }),
  run: ([x], out) => reshapeView(x as NonNullable<typeof x>, out.shape),
  saves: [],
  vjp: (g, { specs: [x] }) => [reshape(g, (x as Spec).shape)],
  samples: [
    { inputs: [{ shape: [3, 4] }], attrs: [2, 6] },
    { inputs: [{ shape: [6] }], attrs: [1, 2, 3] },
    { inputs: [{ shape: [1] }], attrs: [] },
    { inputs: [{ shape: [0, 3] }], attrs: [3, 0] },
  ],
});

/**
 * The same elements in row-major order under another shape; one size may be -1 and is worked out. A view where the
 * memory allows it, else a copy. Throws ShapeError if the sizes do not agree. Any dtype.
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  checkTensor('reshape', x);
  return apply(op, [x], resolveShape('reshape', x.shape, shape));
}

/** Replaces a -1 by the size that makes the element counts agree. */
export function resolveShape(name: string, from: Shape, shape: Shape): number[] {
  const unknown = Array.isArray(shape) ? shape.indexOf(-1) : -1;
  const known = checkShape(name, unknown < 0 ? shape : shape.map((n, i) => (i === unknown ? 1 : n)));
  const size = sizeOf(from);
  if (unknown >= 0) {
    const rest = sizeOf(known);
    if (rest === 0 || size % rest !== 0) {
      throw new ShapeError(`${name}: ${showShape(from)} (${size} elements) does not fit ${showShape(shape)}`);
    }
    known[unknown] = size / rest;
  }
  if (sizeOf(known) !== size) {
    throw new ShapeError(
      `${name}: ${showShape(from)} has ${size} elements, ${showShape(known)} wants ${sizeOf(known)}`,
    );
  }
  return known;
}
