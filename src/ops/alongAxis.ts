import { defineKernel, type JsKernel } from '../backend/backend.js';
import { isFloat } from '../dtype.js';
import { ShapeError } from '../errors.js';
import { axisExtents, contiguous, emitAxis, fresh } from '../program/calls.js';
import { normalizeAxis, showShape, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply, checkTensor, type Primitive, primitive, type Sample, type Spec } from './primitive.js';
import { to } from './to.js';

// What operations along one axis share: their kernels see contiguous [outer, n, inner].

export function dense(x: View | undefined): View {
  return contiguous(x as View);
}

export { fresh };

/** The axis, >= 0. */
export interface AxisAttrs {
  readonly axis: number;
}

/** Applies an operation of floats along an axis; whole numbers are taken as float32. */
export function alongAxis(op: Primitive<AxisAttrs>, x: Tensor, axis: number): Tensor {
  checkTensor(op.name, x);
  const t = isFloat(x.dtype) ? x : to(x, 'float32');
  return apply(op, [t], { axis: normalizeAxis(op.name, axis, t.shape.length) });
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

/** Makes the kernel and the table row of an operation along an axis whose result has the shape of its inputs. */
export function axisOp(
  def: Pick<Primitive<AxisAttrs>, 'name' | 'saves' | 'vjp' | 'samples'> & { readonly js: JsKernel },
): Primitive<AxisAttrs> {
  const kernel = defineKernel(def.name, def.js);
  return primitive<AxisAttrs>({
    ...def,
    infer: (inputs) => sameAsFirst(def.name, inputs),
    run(inputs, out, { axis }) {
      const result = fresh(out.dtype, out.shape);
      emitAxis(kernel, axisExtents(out.shape, axis), result, inputs.map(dense));
      return result;
    },
  });
}

/** Along the last axis, and along others: of one strip of columns, of several, and of none. */
export const axisSamples: readonly Sample<AxisAttrs>[] = (
  [
    [[3, 5], 1],
    [[10], 0],
    [[2, 3, 4], 2],
    [[4, 1], 1],
    [[0, 3], 1],
    [[1, 17], 1],
    [[5, 3], 0],
    [[2, 3, 4], 1],
    [[2, 2, 3, 3], 1],
    [[3, 70], 0],
    [[3, 0], 0],
  ] as const
).map(([shape, axis]) => ({ inputs: [{ shape }], attrs: { axis } }));

/** As axisSamples, for backward operations of a gradient and a result. */
export const axisGradSamples: readonly Sample<AxisAttrs>[] = axisSamples.map(({ inputs: [x], attrs }) => ({
  inputs: [x as NonNullable<typeof x>, { shape: (x as NonNullable<typeof x>).shape, low: -1.5, high: -0.1 }],
  attrs,
}));
