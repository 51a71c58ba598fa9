import { defineKernel, type Kernel } from '../backend/backend.js';
import { copyKernel } from '../backend/js/map.js';
import type { DType } from '../dtype.js';
import { allocate, emit, emitMany, type Param, paramList } from './emit.js';
import type { Storage } from './storage.js';
import { fullView, type Shape, sameShape, sizeOf, type View } from './view.js';

// Kernel calls in the layouts of native/kernels.def.
//
// Counted loops and lists of known length: until code is optimised, iterators and growing cost more than the rest.

/** Copies with conversion: floats to int32 truncate toward zero and saturate; anything to bool is x != 0. */
export const copy = defineKernel('copy', copyKernel);

/** A fresh contiguous view for a result. */
export function fresh(dtype: DType, shape: Shape): View {
  return fullView(allocate(dtype, sizeOf(shape)), shape);
}

/** Elementwise kernel: `out` and all inputs have the same shape (broadcast inputs carry stride 0). */
export function emitMap(
  kernel: Kernel,
  out: View,
  inputs: readonly View[],
  attrs: readonly Param[] = [],
): void {
  const count = inputs.length;
  let flat = out.contiguous;
  for (let i = 0; i < count; i++) {
    if (!(inputs[i] as View).contiguous) flat = false;
  }
  const rank = flat ? 1 : out.shape.length;
  const head = 1 + rank + (1 + count) * (1 + rank);
  const params = paramList(head + attrs.length);
  params[0] = rank;
  let at = 1;
  if (flat) params[at++] = out.size;
  else for (let d = 0; d < rank; d++) params[at++] = out.shape[d] as number;
  for (let i = -1; i < count; i++) {
    const x = i < 0 ? out : (inputs[i] as View);
    params[at++] = x.offset;
    if (flat) params[at++] = 1;
    else for (let d = 0; d < rank; d++) params[at++] = x.stride(d);
  }
  for (let i = 0; i < attrs.length; i++) params[at++] = attrs[i] as Param;
  emit(kernel, params, out.storage, inputs[0]?.storage, inputs[1]?.storage, inputs[2]?.storage);
}

/** Reduction of `axes` (sorted, distinct) into a fresh contiguous view of a shape with the size of the other axes. */
export function emitReduce(
  kernel: Kernel,
  { dtype, shape }: { readonly dtype: DType; readonly shape: Shape },
  x: View,
  axes: readonly number[],
  attrs: readonly Param[] = [],
): View {
  const rank = x.shape.length;
  const kept = rank - axes.length;
  const out = fresh(dtype, shape);
  // Sizes of kept and reduced axes, the offsets, and the strides of x in the same order.
  const params = paramList(4 + 2 * rank + attrs.length);
  params[0] = kept;
  params[1] = axes.length;
  params[2 + rank] = out.offset;
  params[3 + rank] = x.offset;
  for (let i = 0, k = 0, r = kept; i < rank; i++) {
    const at = axes.includes(i) ? r++ : k++;
    params[2 + at] = x.shape[i] as number;
    params[4 + rank + at] = x.stride(i);
  }
  for (let i = 0; i < attrs.length; i++) params[4 + 2 * rank + i] = attrs[i] as Param;
  emit(kernel, params, out.storage, x.storage);
  return out;
}

/** Emits a kernel whose params are some numbers, the offset of each operand (outputs first) and some more numbers. */
function emitDense(
  kernel: Kernel,
  sizes: readonly Param[],
  outputs: readonly View[],
  inputs: readonly View[],
  attrs: readonly Param[] = [],
): void {
  const [a, b, c] = [sizes.length, outputs.length, inputs.length];
  const params = paramList(a + b + c + attrs.length);
  for (let i = 0; i < a; i++) params[i] = sizes[i] as Param;
  for (let i = 0; i < b; i++) params[a + i] = (outputs[i] as View).offset;
  for (let i = 0; i < c; i++) params[a + b + i] = (inputs[i] as View).offset;
  for (let i = 0; i < attrs.length; i++) params[a + b + c + i] = attrs[i] as Param;
  if (b === 1 && c <= 3) {
    const out = (outputs[0] as View).storage;
    emit(kernel, params, out, inputs[0]?.storage, inputs[1]?.storage, inputs[2]?.storage);
  } else {
    const storages = new Array<Storage>(b + c);
    for (let i = 0; i < b; i++) storages[i] = (outputs[i] as View).storage;
    for (let i = 0; i < c; i++) storages[b + i] = (inputs[i] as View).storage;
    emitMany(kernel, params, storages, b);
  }
}

/** Row kernel over contiguous operands. */
export function emitRows(
  kernel: Kernel,
  rows: number,
  cols: number,
  outputs: readonly View[],
  inputs: readonly View[],
  attrs: readonly Param[] = [],
): void {
  emitDense(kernel, [rows, cols], outputs, inputs, attrs);
}

/** Kernel along the middle axis of contiguous operands [outer, n, inner]. */
export function emitAxis(
  kernel: Kernel,
  { outer, n, inner }: AxisExtents,
  out: View,
  inputs: readonly View[],
  attrs: readonly Param[] = [],
): void {
  emitDense(kernel, [outer, n, inner], [out], inputs, attrs);
}

/** The sizes before an axis, along it and behind it. */
export interface AxisExtents {
  readonly outer: number;
  readonly n: number;
  readonly inner: number;
}

/** A shape as one axis sees it; a scalar has one of size 1. */
export function axisExtents(shape: Shape, axis: number): AxisExtents {
  let outer = 1;
  let inner = 1;
  for (let i = 0; i < axis; i++) outer *= shape[i] as number;
  for (let i = axis + 1; i < shape.length; i++) inner *= shape[i] as number;
  return { outer, n: shape.length === 0 ? 1 : (shape[axis] as number), inner };
}

/** Index kernel over contiguous operands. */
export function emitIndex(
  kernel: Kernel,
  outer: number,
  n: number,
  inner: number,
  count: number,
  out: View,
  inputs: readonly View[],
): void {
  emitDense(kernel, [outer, n, inner, count], [out], inputs);
}

/** Vector kernel over contiguous operands of n elements. */
export function emitOptim(
  kernel: Kernel,
  n: number,
  outputs: readonly View[],
  inputs: readonly View[],
  attrs: readonly Param[],
): void {
  emitDense(kernel, [n], outputs, inputs, attrs);
}

/** Random fill of a contiguous view. `stream` is [key0, key1, block]. */
export function emitRandom(
  kernel: Kernel,
  out: View,
  stream: readonly Param[],
  attrs: readonly Param[],
): void {
  emitDense(kernel, [out.size], [out], [], [...stream, ...attrs]);
}

/** Codes of the activations that a matrix product can apply to its result (native/kernels.def). */
export const activationCodes = { none: 0, relu: 1, sigmoid: 2, tanh: 3 } as const;

export type ActivationCode = (typeof activationCodes)[keyof typeof activationCodes];

/**
 * c = activation(a · b + bias) over the last two axes; batch axes of a and b are broadcast to those of c already. The
 * bias is a contiguous vector.
 */
export function emitMatmul(
  kernel: Kernel,
  c: View,
  a: View,
  b: View,
  bias?: View,
  activation: ActivationCode = activationCodes.none,
): void {
  const nb = c.shape.length - 2;
  const params = paramList(14 + 4 * nb);
  let at = 0;
  params[at++] = nb;
  for (let d = 0; d < nb + 2; d++) params[at++] = c.shape[d] as number;
  params[at++] = a.shape[nb + 1] as number;
  params[at++] = c.offset;
  for (let d = 0; d < nb + 1; d++) params[at++] = c.stride(d);
  params[at++] = a.offset;
  for (let d = 0; d < nb + 2; d++) params[at++] = a.stride(d);
  params[at++] = b.offset;
  for (let d = 0; d < nb + 2; d++) params[at++] = b.stride(d);
  params[at++] = bias === undefined ? -1 : bias.offset;
  params[at] = activation;
  emit(kernel, params, c.storage, a.storage, b.storage, (bias ?? c).storage);
}

/** The same elements, contiguous: the view itself where it is so already. */
export function contiguous(x: View): View {
  if (x.contiguous) return x;
  const out = fresh(x.dtype, x.shape);
  emitMap(copy, out, [x]);
  return out;
}

/** The view under another shape of the same size, copied only where strides leave no other way. */
export function reshapeView(x: View, shape: Shape): View {
  if (sameShape(x.shape, shape)) return x;
  const source = contiguous(x);
  return source.reshaped(shape);
}
