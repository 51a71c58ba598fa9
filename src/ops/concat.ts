import { promote } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { copy, emitMap, fresh } from '../program/calls.js';
import { normalizeAxis, sameShape, showShape, View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { type AxisOption, axisOption } from './axis.js';
import { apply, checkTensor, primitive, type Spec } from './primitive.js';
import { reshape } from './reshape.js';
import { narrow } from './slice.js';
import { to } from './to.js';

const op = primitive<number>({
  name: 'concat',
  infer: (inputs, axis) => {
    const first = inputs[0] as Spec;
    const shape = [...first.shape];
    for (const x of inputs.slice(1)) {
      if (x.shape.length !== shape.length || x.shape.some((n, i) => i !== axis && n !== shape[i])) {
        throw new ShapeError(
          `concat: shapes ${inputs.map((t) => showShape(t.shape)).join(', ')} differ outside axis ${axis}`,
        );
      }
      shape[axis] = (shape[axis] as number) + (x.shape[axis] as number);
    }
    return { shape, dtype: first.dtype };
  },
  run(inputs, out, axis) {
    const result = fresh(out.dtype, out.shape);
    let at = 0;
    for (const x of inputs) {
      const offset = result.offset + at * (result.strides[axis] as number);
      if (x.size > 0) emitMap(copy, new View(result.storage, x.shape, result.strides, offset), [x]);
      at += x.shape[axis] as number;
    }
    return result;
  },
  saves: [],
  vjp: (g, { attrs: axis, specs }) => {
    let at = 0;
    return specs.map((x) => {
      const n = x.shape[axis] as number;
      at += n;
      return narrow(g, axis, at - n, n);
    });
  },
  samples: [
    { inputs: [{ shape: [2, 3] }, { shape: [4, 3] }], attrs: 0 },
    { inputs: [{ shape: [2, 3] }, { shape: [2, 1] }, { shape: [2, 0] }], attrs: 1 },
  ],
});

function checkList(name: string, tensors: unknown): Tensor[] {
  if (!Array.isArray(tensors) || tensors.length === 0) {
    throw new ArgumentError(`${name}: takes an array of at least one tensor`);
  }
  const list = Array.from(tensors, (t) => checkTensor(name, t, 'every element'));
  const dtype = list.map((t) => t.dtype).reduce(promote);
  return list.map((t) => to(t, dtype));
}

/**
 * Tensors one behind the other along an axis that exists (default 0; a number or { axis }); all other sizes must
 * agree. Any dtype; different ones are promoted. Throws ShapeError naming the shapes, ArgumentError for an empty list.
 */
export function concat(tensors: readonly Tensor[], axis: AxisOption = 0): Tensor {
  const list = checkList('concat', tensors);
  const first = list[0] as Tensor;
  if (first.shape.length === 0) throw new ShapeError('concat: scalars have no axis; use stack');
  return apply(op, list, normalizeAxis('concat', axisOption('concat', axis, 0), first.shape.length));
}

/**
 * Tensors of one shape side by side along a new axis (default 0; a number or { axis }). n tensors of shape [2, 3] give
 * [n, 2, 3]. Any dtype; different ones are promoted. Throws ShapeError naming the shapes, ArgumentError for an empty
 * list.
 */
export function stack(tensors: readonly Tensor[], axis: AxisOption = 0): Tensor {
  const list = checkList('stack', tensors);
  const { shape } = list[0] as Tensor;
  for (const t of list) {
    if (!sameShape(t.shape, shape)) {
      throw new ShapeError(`stack: shapes ${list.map((x) => showShape(x.shape)).join(', ')} must be equal`);
    }
  }
  const a = normalizeAxis('stack', axisOption('stack', axis, 0), shape.length + 1);
  const lifted = [...shape.slice(0, a), 1, ...shape.slice(a)];
  return concat(
    list.map((t) => reshape(t, lifted)),
    a,
  );
}
