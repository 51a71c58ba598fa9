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
  for (const x of inputs) {
    storages.push(x.storage);
    if (!x.contiguous) flat = false;
  }
  const params: Param[] = [];
  if (flat) {
    params.push(1, out.size, out.offset, 1);
    for (const x of inputs) params.push(x.offset, 1);
  } else {
    params.push(out.shape.length, ...out.shape, out.offset, ...out.strides);
    for (const x of inputs) params.push(x.offset, ...x.strides);
  }
  for (const a of attrs) params.push(a);
  emit(kernel, params, storages, 1);
}

/** Reduction of `axes` (sorted, distinct) into a fresh contiguous view without those axes. */
export function emitReduce(
  kernel: Kernel,
  dtype: DType,
  x: View,
  axes: readonly number[],
  attrs: readonly Param[] = [],
): View {
  const kept: number[] = [];
  const keptStrides: number[] = [];
  const reduced: number[] = [];
  const reducedStrides: number[] = [];
  for (let i = 0; i < x.shape.length; i++) {
    if (axes.includes(i)) {
      reduced.push(x.shape[i] as number);
      reducedStrides.push(x.strides[i] as number);
    } else {
      kept.push(x.shape[i] as number);
      keptStrides.push(x.strides[i] as number);
    }
  }
  const out = fresh(dtype, kept);
  emit(
    kernel,
    [
      kept.length,
      reduced.length,
      ...kept,
      ...reduced,
      out.offset,
      x.offset,
      ...keptStrides,
      ...reducedStrides,
      ...attrs,
    ],
    [out.storage, x.storage],
    1,
  );
  return out;
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
  const all = [...outputs, ...inputs];
  emit(
    kernel,
    [rows, cols, ...all.map((v) => v.offset), ...attrs],
    all.map((v) => v.storage),
    outputs.length,
  );
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
  const all = [out, ...inputs];
  emit(
    kernel,
    [outer, n, inner, count, ...all.map((v) => v.offset)],
    all.map((v) => v.storage),
    1,
  );
}

/** Vector kernel over contiguous operands of n elements. */
export function emitOptim(
  kernel: Kernel,
  n: number,
  outputs: readonly View[],
  inputs: readonly View[],
  attrs: readonly Param[],
): void {
  const all = [...outputs, ...inputs];
  emit(
    kernel,
    [n, ...all.map((v) => v.offset), ...attrs],
    all.map((v) => v.storage),
    outputs.length,
  );
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

/** c = a · b over the last two axes; batch axes of a and b are broadcast to those of c already. */
export function emitMatmul(kernel: Kernel, c: View, a: View, b: View): void {
  const nb = c.shape.length - 2;
  const m = c.shape[nb] as number;
  const n = c.shape[nb + 1] as number;
  const k = a.shape[nb + 1] as number;
  const params = [nb, ...c.shape.slice(0, nb), m, n, k, c.offset, ...c.strides.slice(0, nb + 1)];
  params.push(a.offset, ...a.strides, b.offset, ...b.strides, -1, 0);
  emit(kernel, params, [c.storage, a.storage, b.storage, c.storage], 1);
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
