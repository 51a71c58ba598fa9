import { defineKernel } from '../backend/backend.js';
import { mapKernel } from '../backend/js/map.js';
import { type DType, promote } from '../dtype.js';
import { ArgumentError } from '../errors.js';
import { emitMap, fresh } from '../program/calls.js';
import { broadcastShapes } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Operand } from './elementwise.js';
import { full } from './full.js';
import { apply, checkTensor, isTensor, primitive, type Spec } from './primitive.js';
import { sumTo } from './sum.js';
import { to } from './to.js';

const kernel = defineKernel(
  'where',
  mapKernel(3, 0, (c, a, b) => ((c as number) !== 0 ? (a as number) : (b as number))),
);

const op = primitive<null>({
  name: 'where',
  elementwise: true,
  infer: (inputs) => ({
    shape: broadcastShapes('where', ...inputs.map((x) => x.shape)),
    dtype: (inputs[1] as Spec).dtype,
  }),
  run(inputs, out) {
    const result = fresh(out.dtype, out.shape);
    emitMap(
      kernel,
      result,
      inputs.map((x) => x.broadcast(out.shape)),
    );
    return result;
  },
  saves: [0],
  vjp: (g, ctx) => {
    const cond = ctx.input(0);
    const zero = full([], 0, g.dtype);
    const [, a, b] = ctx.specs as [Spec, Spec, Spec];
    return [
      null,
      ctx.needs[1] ? sumTo(where(cond, g, zero), a.shape) : null,
      ctx.needs[2] ? sumTo(where(cond, zero, g), b.shape) : null,
    ];
  },
  samples: [
    {
      inputs: [{ shape: [4, 5], dtype: 'bool', low: 0, high: 2 }, { shape: [4, 5] }, { shape: [4, 5] }],
      attrs: null,
    },
    {
      inputs: [{ shape: [4, 1], dtype: 'bool', low: 0, high: 2 }, { shape: [5] }, { shape: [] }],
      attrs: null,
    },
    {
      inputs: [{ shape: [0, 2], dtype: 'bool', low: 0, high: 2 }, { shape: [2] }, { shape: [1] }],
      attrs: null,
    },
  ],
});

/**
 * a where the condition is true (not 0), else b; all three are broadcast. Numbers take the other branch's dtype, but a
 * fraction next to whole numbers makes the result float32 (as where both are numbers; bool where both are truth values).
 */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  checkTensor('where', condition, 'the condition');
  if (isTensor(a) && isTensor(b) && a.dtype === b.dtype)
    return apply(op, [to(condition, 'bool'), a, b], null);
  for (const x of [a, b]) {
    if (!isTensor(x) && typeof x !== 'number' && typeof x !== 'boolean')
      throw new ArgumentError('where: branches are tensors or numbers');
  }
  let like: DType = typeof a === 'boolean' && typeof b === 'boolean' ? 'bool' : 'float32';
  const tensors = [a, b].filter(isTensor);
  if (tensors.length > 0) {
    like = tensors.map((t) => t.dtype).reduce(promote);
    // As in arithmetic: a number needs int32 at least, and a fraction float32.
    for (const x of [a, b]) {
      if (typeof x === 'number') like = promote(like, Number.isInteger(x) ? 'int32' : 'float32');
    }
  }
  const [p, q] = [a, b].map((x) => to(isTensor(x) ? x : full([], Number(x), like), like)) as [Tensor, Tensor];
  return apply(op, [to(condition, 'bool'), p, q], null);
}
