import { defineKernel, type JsKernel } from '../backend/backend.js';
import { isFloat } from '../dtype.js';
import { ShapeError } from '../errors.js';
import { contiguous, emitRows, fresh } from '../program/calls.js';
import { normalizeAxis, type Shape, showShape, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { permute } from './permute.js';
import { checkTensor, type Primitive, primitive, type Sample, type Spec } from './primitive.js';
import { to } from './to.js';

// What operations along the last axis share: they see a contiguous [rows, cols] matrix.

export function rowsOf(shape: Shape): { rows: number; cols: number } {
  const cols = shape.length === 0 ? 1 : (shape[shape.length - 1] as number);
  let rows = 1;
  for (let i = 0; i < shape.length - 1; i++) rows *= shape[i] as number;
  return { rows, cols };
}

export function dense(x: View | undefined): View {
  return contiguous(x as View);
}

export { fresh };

/** Applies a function of the last axis along another one, by exchanging the two before and after. */
export function alongAxis(op: string, x: Tensor, axis: number, f: (x: Tensor) => Tensor): Tensor {
  checkTensor(op, x);
  const t = isFloat(x.dtype) ? x : to(x, 'float32');
  const rank = t.shape.length;
  const a = normalizeAxis(op, axis, rank);
  if (a >= rank - 1) return f(t);
  const order = t.shape.map((_, i) => (i === a ? rank - 1 : i === rank - 1 ? a : i));
  return permute(f(permute(t, order)), order);
}

export function sameAsFirst(op: string, inputs: readonly Spec[]): Spec {
  const [first, ...rest] = inputs as [Spec, ...Spec[]];
  for (const x of rest) {
    if (x.shape.length !== first.shape.length || x.shape.some((n, i) => n !== first.shape[i])) {
      throw new ShapeError(`${op}: shapes ${showShape(first.shape)} and ${showShape(x.shape)} must be equal`);
    }
  }
  return first;
}

/** Makes the kernel and the table row of an operation along the last axis whose result has the shape of its inputs. */
export function rowOp(
  def: Pick<Primitive<null>, 'name' | 'saves' | 'vjp' | 'samples'> & { readonly js: JsKernel },
): Primitive<null> {
  const kernel = defineKernel(def.name, def.js);
  return primitive<null>({
    ...def,
    infer: (inputs) => sameAsFirst(def.name, inputs),
    run(inputs, out) {
      const result = fresh(out.dtype, out.shape);
      const { rows, cols } = rowsOf(out.shape);
      emitRows(kernel, rows, cols, [result], inputs.map(dense));
      return result;
    },
  });
}

export const rowSamples: readonly Sample<null>[] = [[3, 5], [10], [2, 3, 4], [4, 1], [0, 3], [1, 17]].map(
  (shape) => ({
    inputs: [{ shape }],
    attrs: null,
  }),
);

/** As rowSamples, for backward operations of a gradient and a result. */
export const rowGradSamples: readonly Sample<null>[] = rowSamples.map(({ inputs: [x] }) => ({
  inputs: [x as NonNullable<typeof x>, { shape: (x as NonNullable<typeof x>).shape, low: -1.5, high: -0.1 }],
  attrs: null,
}));
