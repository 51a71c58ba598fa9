import { isFloat } from '../dtype.js';
import { ArgumentError, DTypeError } from '../errors.js';
import { constantStorage } from '../program/emit.js';
import { describe, fullView } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { constant } from './constant.js';
import { isTensor } from './primitive.js';
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
  const values = Int32Array.from(index as ArrayLike<number>);
  for (let i = 0; i < values.length; i++) {
    if (values[i] !== index[i]) throw new ArgumentError(`${op}: ${describe(index[i])} is not an index`);
  }
  return constant(fullView(constantStorage('int32', values), [values.length]));
}
