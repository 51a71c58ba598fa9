import { defineKernel, type Kernel } from '../backend/backend.js';
import { copyKernel } from '../backend/js/map.js';
import type { DType } from '../dtype.js';
import { allocate, emit, type Param } from './emit.js';
import type { Storage } from './storage.js';
import { fullView, rowMajor, type Shape, sameShape, sizeOf, View } from './view.js';

// Kernel calls in the layouts of native/kernels.def.

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
  const storages: Storage[] = [out.storage];
  let flat = out.contiguous;
  for (let i = 0; i < inputs.length; i++) {
    const x = inputs[i] as View;
    storages.push(x.storage);
    if (!x.contiguous) flat = false;
  }
  const params: Param[] = [];
  if (flat) {
    params.push(1, out.size, out.offset, 1);
    for (let i = 0; i < inputs.length; i++) params.push((inputs[i] as View).offset, 1);
  } else {
    params.push(out.shape.length, ...out.shape, out.offset, ...out.strides);
    for (const x of inputs) params.push(x.offset, ...x.strides);
  }
  for (let i = 0; i < attrs.length; i++) params.push(attrs[i] as Param);
  emit(kernel, params, storages, 1);
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
  const params = new Array<Param>(4 + 2 * rank + attrs.length);
  params[0] = kept;
  params[1] = axes.length;
  params[2 + rank] = out.offset;
  params[3 + rank] = x.offset;
  for (let i = 0, k = 0, r = kept; i < rank; i++) {
    const at = axes.includes(i) ? r++ : k++;
    params[2 + at] = x.shape[i] as number;
    params[4 + rank + at] = x.strides[i] as number;
  }
  for (let i = 0; i < attrs.length; i++) params[4 + 2 * rank + i] = attrs[i] as Param;
  emit(kernel, params, [out.storage, x.storage], 1);
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
  // Counted loops and lists of known length: until this is optimised, iterators and growing cost more than the rest.
  const [a, b, c] = [sizes.length, outputs.length, inputs.length];
  const params = new Array<Param>(a + b + c + attrs.length);
  const storages = new Array<Storage>(b + c);
  for (let i = 0; i < a; i++) params[i] = sizes[i] as Param;
  for (let i = 0; i < b + c; i++) {
    const v = (i < b ? outputs[i] : inputs[i - b]) as View;
    params[a + i] = v.offset;
    storages[i] = v.storage;
  }
  for (let i = 0; i < attrs.length; i++) params[a + b + c + i] = attrs[i] as Param;
  emit(kernel, params, storages, b);
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
  emit(kernel, [out.size, out.offset, ...stream, ...attrs], [out.storage], 1);
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
  const [cs, as, bs] = [c.strides, a.strides, b.strides] as [Param[], Param[], Param[]];
  const storages = [c.storage, a.storage, b.storage, (bias ?? c).storage];
  const [m, n, k] = [c.shape[nb], c.shape[nb + 1], a.shape[nb + 1]] as [number, number, number];
  const tail = bias === undefined ? -1 : bias.offset;
  if (nb === 0) {
    // Nearly all products: a list that is written down whole costs less than one that grows.
    emit(
      kernel,
      [
        0,
        m,
        n,
        k,
        c.offset,
        cs[0] as Param,
        a.offset,
        as[0] as Param,
        as[1] as Param,
        b.offset,
        bs[0] as Param,
        bs[1] as Param,
        tail,
        activation,
      ],
      storages,
      1,
    );
    return;
  }
  const params: Param[] = [nb, ...c.shape.slice(0, nb), m, n, k];
  params.push(c.offset, ...cs.slice(0, -1), a.offset, ...as, b.offset, ...bs, tail, activation);
  emit(kernel, params, storages, 1);
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
  return new View(source.storage, shape, rowMajor(shape), source.offset);
}
