import type { Kernel } from '../backend/backend.js';
import { isFloat } from '../dtype.js';
import { ArgumentError, DTypeError } from '../errors.js';
import { emitIndex, fresh } from '../program/calls.js';
import { constantStorage } from '../program/emit.js';
import { describe, fullView, sizeOf, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { dense } from './alongAxis.js';
import { constant } from './constant.js';
import { isTensor, type Spec } from './primitive.js';
import { to } from './to.js';

/** Indices or labels as an int32 tensor, from a tensor of whole numbers or an array. */
export function indexTensor(op: string, index: unknown): Tensor {
  if (isTensor(index)) {
    if (isFloat(index.dtype)) {
      throw new DTypeError(`${op}: indices are int32, not ${index.dtype}; convert with .to('int32')`);
    }
    return to(index, 'int32');
  }
  if (!Array.isArray(index) && !(index instanceof Int32Array)) {
    throw new ArgumentError(
      `${op}: indices are an int32 tensor or an array of whole numbers, not ${describe(index)}`,
    );
  }
  const values = new Int32Array(index.length);
  for (let i = 0; i < values.length; i++) {
    const x: unknown = index[i];
    if (typeof x !== 'number' || x !== Math.trunc(x) || Math.abs(x) >= 2 ** 31) {
      throw new ArgumentError(`${op}: ${describe(x)} is not an index`);
    }
    values[i] = x;
  }
  return constant(fullView(constantStorage('int32', values), [values.length]));
}

/**
 * Runs an index kernel along an axis of `x`, which has `n` slices there on the side that the indices count (the input of
 * a selection, the result of its backward) and `count` on the other.
 */
export function runAlong(
  kernel: Kernel,
  out: Spec,
  x: View | undefined,
  idx: View | undefined,
  axis: number,
  n: number,
  count: number,
): View {
  const result = fresh(out.dtype, out.shape);
  const outer = sizeOf(out.shape.slice(0, axis));
  const inner = sizeOf(out.shape.slice(axis + 1));
  emitIndex(kernel, outer, n, inner, count, result, [dense(x), dense(idx)]);
  return result;
}
