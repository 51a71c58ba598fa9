import { defineKernel } from '../backend/backend.js';
import { cumsumKernel } from '../backend/js/axis.js';
import { axisExtents, emitAxis } from '../program/calls.js';
import { normalizeAxis } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { type AxisAttrs, axisSamples, dense, fresh } from './alongAxis.js';
import { apply, checkTensor, type Primitive, primitive, type Spec } from './primitive.js';
import { to } from './to.js';

const kernel = defineKernel('cumsum', cumsumKernel);

interface CumsumAttrs extends AxisAttrs {
  /** From the last element backwards. */
  readonly reverse: boolean;
}

const op: Primitive<CumsumAttrs> = primitive<CumsumAttrs>({
  name: 'cumsum',
  infer: ([x]) => x as Spec,
  run([x], out, { axis, reverse }) {
    const result = fresh(out.dtype, out.shape);
    emitAxis(kernel, axisExtents(out.shape, axis), result, [dense(x)], [reverse ? 1 : 0]);
    return result;
  },
  saves: [],
  // An element is in the sums that end at it or behind it.
  vjp: (g, { attrs: { axis, reverse } }) => [apply(op, [g], { axis, reverse: !reverse })],
  samples: axisSamples.flatMap(({ inputs, attrs }, i) => [
    { inputs, attrs: { ...attrs, reverse: false } },
    { inputs, attrs: { ...attrs, reverse: true } },
    ...(i % 2 === 0
      ? [
          {
            inputs: inputs.map((x) => ({ ...x, dtype: 'int32' as const })),
            attrs: { ...attrs, reverse: false },
          },
        ]
      : []),
  ]),
});

/**
 * Sums from the start of an axis up to every element: float32 is added in float64 and rounded once, int32 wraps modulo
 * 2^32, bool is counted as int32. The shape of x. Throws ShapeError for an axis that x does not have.
 */
export function cumsum(x: Tensor, axis: number): Tensor {
  checkTensor('cumsum', x);
  const t = x.dtype === 'bool' ? to(x, 'int32') : x;
  return apply(op, [t], { axis: normalizeAxis('cumsum', axis, t.shape.length), reverse: false });
}
