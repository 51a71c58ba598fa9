import { checkDType, type DType, isFloat } from '../dtype.js';
import { copy, emitMap, fresh } from '../program/calls.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply, checkTensor, primitive, type Spec } from './primitive.js';

const op = primitive<DType>({
  name: 'to',
  elementwise: true,
  infer: ([x], dtype) => ({ shape: (x as Spec).shape, dtype }),
  run([x], out) {
    const result = fresh(out.dtype, out.shape);
    emitMap(copy, result, x ? [x] : []);
    return result;
  },
  saves: [],
  vjp: (g, { specs: [x] }) => [x && isFloat(x.dtype) ? to(g, x.dtype) : null],
  samples: [
    { inputs: [{ shape: [3, 4] }], attrs: 'float64' },
    { inputs: [{ shape: [3, 4] }], attrs: 'float32' },
    { inputs: [{ shape: [5], low: -9, high: 9 }], attrs: 'int32' },
    { inputs: [{ shape: [5], dtype: 'int32', low: -1, high: 2 }], attrs: 'bool' },
  ],
});

/** The tensor in another dtype; the tensor itself where it has that dtype already. */
export function to(x: Tensor, dtype: DType): Tensor {
  checkTensor('to', x);
  if (x.dtype === dtype) return x;
  return apply(op, [x], checkDType(dtype, 'to'));
}

const clone = primitive<null>({
  name: 'clone',
  infer: ([x]) => x as Spec,
  run([x], out) {
    const result = fresh(out.dtype, out.shape);
    emitMap(copy, result, x ? [x] : []);
    return result;
  },
  saves: [],
  vjp: (g) => [g],
  samples: [{ inputs: [{ shape: [3, 4] }], attrs: null }],
});

/** A contiguous copy in memory of its own. Gradients pass through. */
export function cloneOf(x: Tensor): Tensor {
  return apply(clone, [checkTensor('clone', x)], null);
}
