import { defineKernel } from '../backend/backend.js';
import { prodKernel } from '../backend/js/reduce.js';
import { isFloat } from '../dtype.js';
import { emitReduce } from '../program/calls.js';
import { rowMajor, View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { div } from './div.js';
import { eq } from './eq.js';
import { full } from './full.js';
import { mul } from './mul.js';
import { apply, checkTensor, primitive, type Spec } from './primitive.js';
import {
  keptShape,
  type ReduceAttrs,
  type ReduceOptions,
  reducedAxes,
  reducedShape,
  reduceSamples,
} from './reduction.js';
import { reshape } from './reshape.js';
import { sum } from './sum.js';
import { to } from './to.js';
import { where } from './where.js';

const kernel = defineKernel('prod', prodKernel);

const op = primitive<ReduceAttrs>({
  name: 'prod',
  infer: ([x], attrs) => ({ shape: reducedShape(x as Spec, attrs), dtype: (x as Spec).dtype }),
  run([x], out, { axes }) {
    const view = emitReduce(kernel, out.dtype, x as View, axes);
    return new View(view.storage, out.shape, rowMajor(out.shape), view.offset);
  },
  saves: [0],
  vjp: (g, ctx) => {
    // The product of all others: by division where no factor is 0; a single 0 gets the product of the rest.
    const x = ctx.input(0);
    const { axes } = ctx.attrs;
    const isZero = eq(x, 0);
    const zeros = sum(to(isZero, x.dtype), axes, { keepdims: true });
    const nonZero = where(isZero, full([], 1, x.dtype), x);
    const rest = prod(nonZero, axes, { keepdims: true });
    const others = where(isZero, where(eq(zeros, 1), rest, 0), where(eq(zeros, 0), div(rest, nonZero), 0));
    return [mul(others, reshape(g, keptShape(ctx.specs[0] as Spec, ctx.attrs)))];
  },
  samples: reduceSamples(),
});

/** Product over one axis, several, or all. Whole numbers give float32. The product of nothing is 1. */
export function prod(x: Tensor, axis?: number | readonly number[] | null, options?: ReduceOptions): Tensor {
  checkTensor('prod', x);
  const t = isFloat(x.dtype) ? x : to(x, 'float32');
  return apply(op, [t], reducedAxes('prod', t.shape, axis, options));
}
