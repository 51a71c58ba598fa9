import { defineKernel } from '../backend/backend.js';
import { matmulKernel } from '../backend/js/matmul.js';
import { isFloat, promote } from '../dtype.js';
import { ShapeError } from '../errors.js';
import { emitMatmul, fresh } from '../program/calls.js';
import { broadcastShapes, type Shape, showShape, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply, checkTensor, type Primitive, primitive, type Sample, type Spec } from './primitive.js';
import { reshape } from './reshape.js';
import { sumTo } from './sum.js';
import { to } from './to.js';

const kernel = defineKernel('matmul', matmulKernel);

/** Which operands are taken with their last two axes exchanged. */
interface Transposed {
  readonly a: boolean;
  readonly b: boolean;
}

const plain: Transposed = { a: false, b: false };
const noBatch: Shape = [];

/** The sizes that a product sees of an operand. (Not as a pair: what a small product leaves behind costs as much as it does.) */
function rowsOf(shape: Shape, transposed: boolean): number {
  return shape[shape.length - (transposed ? 1 : 2)] as number;
}
function colsOf(shape: Shape, transposed: boolean): number {
  return rowsOf(shape, !transposed);
}

/** The operand with the batch axes of the result, and its last two axes exchanged where that is wanted. */
function operand(x: View, batch: Shape, transposed: boolean): View {
  const rank = x.shape.length;
  const spread = rank === 2 && batch.length === 0 ? x : x.broadcast([...batch, ...x.shape.slice(-2)]);
  if (!transposed) return spread;
  const order = spread.shape.map((_, i) => i);
  const last = order.length - 1;
  [order[last - 1], order[last]] = [last, last - 1];
  return spread.permuted(order);
}

const op: Primitive<Transposed> = primitive<Transposed>({
  name: 'matmul',
  // (Operands by index: taking lists apart costs small products a tenth of their time.)
  infer: (inputs, { a: ta, b: tb }) => {
    const { shape: p, dtype } = inputs[0] as Spec;
    const { shape: q } = inputs[1] as Spec;
    const m = rowsOf(p, ta);
    const n = colsOf(q, tb);
    const k = colsOf(p, ta);
    const inner = rowsOf(q, tb);
    if (k !== inner) {
      throw new ShapeError(
        `matmul: ${showShape(p)} times ${showShape(q)}: the inner sizes ${k} and ${inner} differ`,
      );
    }
    if (p.length === 2 && q.length === 2) return { shape: [m, n], dtype };
    return { shape: [...broadcastShapes('matmul', p.slice(0, -2), q.slice(0, -2)), m, n], dtype };
  },
  run(inputs, out, { a: ta, b: tb }) {
    const result = fresh(out.dtype, out.shape);
    const batch = out.shape.length === 2 ? noBatch : out.shape.slice(0, -2);
    const a = operand(inputs[0] as View, batch, ta);
    const b = operand(inputs[1] as View, batch, tb);
    emitMatmul(kernel, result, a, b);
    return result;
  },
  saves: [0, 1],
  vjp: (g, ctx) => {
    const [p, q] = ctx.specs as [Spec, Spec];
    const { a: ta, b: tb } = ctx.attrs;
    return [
      ctx.needs[0]
        ? sumTo(ta ? product(ctx.input(1), g, tb, true) : product(g, ctx.input(1), false, !tb), p.shape)
        : null,
      ctx.needs[1]
        ? sumTo(tb ? product(g, ctx.input(0), true, ta) : product(ctx.input(0), g, !ta, false), q.shape)
        : null,
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
  ).flatMap(([p, q]): Sample<Transposed>[] => {
    const turn = (shape: Shape): number[] => [
      ...shape.slice(0, -2),
      rowsOf(shape, true),
      colsOf(shape, true),
    ];
    return [
      { inputs: [{ shape: p }, { shape: q }], attrs: plain },
      { inputs: [{ shape: turn(p) }, { shape: q }], attrs: { a: true, b: false } },
      { inputs: [{ shape: p }, { shape: turn(q) }], attrs: { a: false, b: true } },
      { inputs: [{ shape: turn(p) }, { shape: turn(q) }], attrs: { a: true, b: true } },
    ];
  }),
});

/** The product of two matrices of one float dtype, each as it is or transposed. */
export function product(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor {
  return apply(op, [a, b], { a: transposeA, b: transposeB });
}

/** The kernel, for operations that use its epilogue. */
export const matmulKernelRow = kernel;

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
  const y = apply(op, [to(left, dtype), to(right, dtype)], plain);
  if (!row && !column) return y;
  const shape = [...y.shape];
  if (column) shape.pop();
  if (row) shape.splice(shape.length - (column ? 1 : 2), 1);
  return reshape(y, shape);
}
