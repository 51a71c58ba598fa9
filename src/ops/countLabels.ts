import { defineKernel } from '../backend/backend.js';
import { countLabelsKernel } from '../backend/js/reduce.js';
import type { DType } from '../dtype.js';
import { emitReduce } from '../program/calls.js';
import type { View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply, nonDifferentiable, primitive } from './primitive.js';

const kernel = defineKernel('countLabels', countLabelsKernel);

interface CountAttrs {
  readonly ignore: number;
  readonly dtype: DType;
}

const op = primitive<CountAttrs>({
  name: 'countLabels',
  infer: (_, { dtype }) => ({ shape: [], dtype }),
  run([labels], out, { ignore }) {
    const { shape } = labels as View;
    return emitReduce(
      kernel,
      out,
      labels as View,
      shape.map((_, i) => i),
      [ignore],
    );
  },
  saves: [],
  vjp: nonDifferentiable,
  samples: [
    { inputs: [{ shape: [40], dtype: 'int32', low: 0, high: 3 }], attrs: { ignore: 1, dtype: 'float32' } },
    {
      inputs: [{ shape: [3, 5], dtype: 'int32', low: -1, high: 2 }],
      attrs: { ignore: -1, dtype: 'float64' },
    },
    {
      inputs: [{ shape: [6], dtype: 'int32', low: -1, high: 2 }],
      attrs: { ignore: 2 ** 31, dtype: 'float32' },
    },
    { inputs: [{ shape: [0], dtype: 'int32' }], attrs: { ignore: -100, dtype: 'float32' } },
  ],
});

/** How many int32 labels differ from `ignore`, as a scalar of a floating-point dtype. */
export function countLabels(labels: Tensor, ignore: number, dtype: DType): Tensor {
  return apply(op, [labels], { ignore, dtype });
}
