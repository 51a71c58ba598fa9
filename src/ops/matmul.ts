import { defineKernel } from '../backend/backend.js';
import { matmulKernel } from '../backend/js/matmul.js';
import { isFloat, promote } from '../dtype.js';
import { ShapeError } from '../errors.js';
import { emitMatmul, fresh } from '../program/calls.js';
import { broadcastShapes, type Shape, showShape, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { transpose } from './permute.js';
import { apply, checkTensor, type Primitive, primitive, type Spec } from './primitive.js';
import { reshape } from './reshape.js';
import { sumTo } from './sum.js';
import { to } from './to.js';

const kernel = defineKernel('matmul', matmulKernel);

const op: Primitive<null> = primitive<null>({
  name: 'matmul',
  infer: ([a, b]) => {
    const [p, q] = [(a as Spec).shape, (b as Spec).shape];
    if (p[p.length - 1] !== q[q.length - 2]) {
      throw new ShapeError(
        `matmul: ${showShape(p)} times ${showShape(q)}: the inner sizes ${p[p.length - 1]} and ${q[q.length - 2]} differ`,
      );
    }
    const batch = broadcastShapes('matmul', p.slice(0, -2), q.slice(0, -2));
    return {
      shape: [...batch, p[p.length - 2] as number, q[q.length - 1] as number],
      dtype: (a as Spec).dtype,
    };
  },
  run([a, b], out) {
    const result = fresh(out.dtype, out.shape);
    const batch = out.shape.slice(0, -2);
    const spread = (x: View): View => x.broadcast([...batch, ...x.shape.slice(-2)]);
    emitMatmul(kernel, result, spread(a as View), spread(b as View));
    return result;
  },
  saves: [0, 1],
  vjp: (g, ctx) => {
    const [p, q] = ctx.specs as [Spec, Spec];
    return [
      ctx.needs[0] ? sumTo(apply(op, [g, transpose(ctx.input(1))], null), p.shape) : null,
      ctx.needs[1] ? sumTo(apply(op, [transpose(ctx.input(0)), g], null), q.shape) : null,
    ];
  },
  samples: (
    [
      [
        [3, 4],
        [4, 5],
      ],
      [
        [1, 7],
        [7, 1],
      ],
      [
        [2, 3, 4],
        [4, 5],
      ],
      [
        [2, 1, 3, 4],
        [3, 4, 2],
      ],
      [
        [0, 4],
        [4, 5],
      ],
      [
        [3, 0],
        [0, 2],
      ],
      [
        [33, 17],
        [17, 19],
      ],
    ] as [Shape, Shape][]
  ).map(([p, q]) => ({ inputs: [{ shape: p }, { shape: q }], attrs: null })),
});

/**
 * Matrix product over the last two axes, with broadcast batch axes in front. A vector on the left is taken as a row,
 * on the right as a column, and that axis is dropped from the result; two vectors give their scalar product. Whole
 * numbers give float32. Throws ShapeError where the inner sizes differ or an operand is a scalar.
 */
export function matmul(a: Tensor, b: Tensor): Tensor {
  checkTensor('matmul', a);
  checkTensor('matmul', b);
  if (a.shape.length === 0 || b.shape.length === 0) {
    throw new ShapeError(
      `matmul: ${showShape(a.shape)} times ${showShape(b.shape)}: a scalar has no matrix; use mul`,
    );
  }
  let dtype = promote(a.dtype, b.dtype);
  if (!isFloat(dtype)) dtype = 'float32';
  const row = a.shape.length === 1;
  const column = b.shape.length === 1;
  const left = row ? reshape(a, [1, ...a.shape]) : a;
  const right = column ? reshape(b, [...b.shape, 1]) : b;
  if (row || column) {
    // Checked here so that the message shows the shapes that the caller sees.
    const k = b.shape[column ? 0 : b.shape.length - 2];
    if (a.shape[a.shape.length - 1] !== k) {
      throw new ShapeError(
        `matmul: ${showShape(a.shape)} times ${showShape(b.shape)}: the inner sizes differ`,
      );
    }
  }
  const y = apply(op, [to(left, dtype), to(right, dtype)], null);
  if (!row && !column) return y;
  const shape = [...y.shape];
  if (column) shape.pop();
  if (row) shape.splice(shape.length - (column ? 1 : 2), 1);
  return reshape(y, shape);
}
