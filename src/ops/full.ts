import { defineKernel } from '../backend/backend.js';
import { fillKernel } from '../backend/js/map.js';
import { type DType, isFloat, isInt32 } from '../dtype.js';
import { emitMap, fresh } from '../program/calls.js';
import { setSingle } from '../program/emit.js';
import type { Shape } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply, primitive } from './primitive.js';

/** Sets every element to one value. */
export const fillKernelRow = defineKernel('fill', fillKernel);

interface FullAttrs {
  readonly shape: Shape;
  readonly value: number;
  readonly dtype: DType;
}

const op = primitive<FullAttrs>({
  name: 'full',
  infer: (_, { shape, dtype }) => ({ shape, dtype }),
  run(_, out, { value }) {
    const result = fresh(out.dtype, out.shape);
    // Other values than these are converted by the kernel.
    const plain = isFloat(out.dtype) || (out.dtype === 'int32' && isInt32(value));
    if (plain && setSingle(result.storage, value)) return result;
    emitMap(fillKernelRow, result, [], [value]);
    return result;
  },
  saves: [],
  vjp: () => [],
  samples: [
    { inputs: [], attrs: { shape: [2, 3], value: 1.5, dtype: 'float32' } },
    { inputs: [], attrs: { shape: [5], value: -3, dtype: 'int32' } },
  ],
});

/** A tensor of one value. */
export function full(shape: Shape, value: number, dtype: DType): Tensor {
  return apply(op, [], { shape, value, dtype });
}
