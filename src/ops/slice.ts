import { ArgumentError, IndexError, ShapeError } from '../errors.js';
import { describe, normalizeAxis, showShape, View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply, checkTensor, primitive, type Spec } from './primitive.js';
import { reshape } from './reshape.js';
import { sliceGrad } from './sliceGrad.js';

/** Per axis: first element, number of elements, distance between them. */
export interface SliceAttrs {
  readonly start: readonly number[];
  readonly count: readonly number[];
  readonly step: readonly number[];
}

export function sliceView(x: View, { start, count, step }: SliceAttrs): View {
  let offset = x.offset;
  x.strides.forEach((s, i) => {
    if (count[i] !== 0) offset += s * (start[i] as number);
  });
  return new View(
    x.storage,
    count,
    x.strides.map((s, i) => s * (step[i] as number)),
    offset,
  );
}

const op = primitive<SliceAttrs>({
  name: 'slice',
  infer: ([x], { count }) => ({ shape: count, dtype: (x as Spec).dtype }),
  run: ([x], _, attrs) => sliceView(x as View, attrs),
  saves: [],
  vjp: (g, { attrs, specs: [x] }) => [sliceGrad(g, attrs, (x as Spec).shape)],
  samples: [
    { inputs: [{ shape: [6] }], attrs: { start: [1], count: [3], step: [2] } },
    { inputs: [{ shape: [4, 5] }], attrs: { start: [1, 4], count: [2, 5], step: [1, -1] } },
    { inputs: [{ shape: [4, 5] }], attrs: { start: [0, 0], count: [0, 5], step: [1, 1] } },
  ],
});

/** One axis of a slice: [start, end], [start, end, step], one index (the axis goes away), or null for all of it. */
export type Range = number | readonly (number | null | undefined)[] | null | undefined;

function resolve(range: readonly unknown[], n: number): [number, number, number] {
  for (const r of range) {
    if (
      r !== null &&
      r !== undefined &&
      !(typeof r === 'number' && (Number.isInteger(r) || Math.abs(r) === Infinity))
    ) {
      throw new ArgumentError(`slice: ${describe(r)} is not a whole number`);
    }
  }
  const [from, to, by] = range as (number | null | undefined)[];
  const step = by ?? 1;
  if (step === 0 || !Number.isFinite(step)) throw new ArgumentError(`slice: a step of ${step} leads nowhere`);
  const low = step > 0 ? 0 : -1;
  const high = step > 0 ? n : n - 1;
  const place = (v: number) => Math.min(Math.max(v < 0 ? v + n : v, low), high);
  const start = from == null ? (step > 0 ? low : high) : place(from);
  const end = to == null ? (step > 0 ? high : low) : place(to);
  return [start, Math.max(0, Math.ceil((end - start) / step)), step];
}

/**
 * A part of a tensor, without a copy (but for single indices: see select).
 *
 * `slice(x, start, end?)` with numbers works along the first axis as Array.prototype.slice does. `slice(x, range, …)`
 * or `slice(x, [range, …])` with one range per leading axis takes [start, end], [start, end, step], null (everything) or
 * a number (one element; the axis goes away), as NumPy's indexing does: negative numbers count from the end, bounds
 * beyond the ends are cut off. A single index out of range throws IndexError.
 */
export function slice(x: Tensor, ...args: readonly unknown[]): Tensor {
  checkTensor('slice', x);
  const rank = x.shape.length;
  let ranges: readonly unknown[];
  if (args.length === 0) ranges = [];
  else if (args.every((a) => typeof a === 'number' || a === undefined) && args.length <= 2) ranges = [args];
  else if (
    args.length === 1 &&
    Array.isArray(args[0]) &&
    args[0].some((r) => typeof r === 'object' && r !== null)
  ) {
    ranges = args[0] as readonly unknown[];
  } else ranges = args;
  if (ranges.length > rank) {
    throw new ShapeError(`slice: ${ranges.length} ranges for a tensor of shape ${showShape(x.shape)}`);
  }
  const start: number[] = [];
  const count: number[] = [];
  const step: number[] = [];
  const dropped: number[] = [];
  for (let i = 0; i < rank; i++) {
    const range = ranges[i];
    const n = x.shape[i] as number;
    if (typeof range === 'number') {
      start.push(checkIndex('slice', range, n, i));
      count.push(1);
      step.push(1);
      dropped.push(i);
      continue;
    }
    if (range != null && !Array.isArray(range)) {
      throw new ArgumentError(
        `slice: a range is [start, end], [start, end, step], a number or null, not ${describe(range)}`,
      );
    }
    const [s, c, d] = resolve((range as readonly unknown[] | null | undefined) ?? [], n);
    start.push(s);
    count.push(c);
    step.push(d);
  }
  const y = apply(op, [x], { start, count, step });
  return dropped.length === 0
    ? y
    : reshape(
        y,
        count.filter((_, i) => !dropped.includes(i)),
      );
}

function checkIndex(name: string, index: unknown, n: number, axis: number): number {
  if (typeof index !== 'number' || !Number.isInteger(index)) {
    throw new ArgumentError(`${name}: ${describe(index)} is not an index`);
  }
  if (index < -n || index >= n)
    throw new IndexError(`${name}: index ${index} is outside axis ${axis} of size ${n}`);
  return index < 0 ? index + n : index;
}

/**
 * `length` elements from `start` along one axis, without a copy. Any dtype. Throws ShapeError for an axis that x does
 * not have, IndexError for elements that it does not.
 */
export function narrow(x: Tensor, axis: number, start: number, length: number): Tensor {
  checkTensor('narrow', x);
  const a = normalizeAxis('narrow', axis, x.shape.length);
  const n = x.shape[a] ?? 0;
  if (
    !Number.isInteger(start) ||
    !Number.isInteger(length) ||
    start < 0 ||
    length < 0 ||
    start + length > n
  ) {
    throw new IndexError(`narrow: ${length} elements from ${start} do not lie in axis ${a} of size ${n}`);
  }
  return apply(op, [x], {
    start: x.shape.map((_, i) => (i === a ? start : 0)),
    count: x.shape.map((m, i) => (i === a ? length : m)),
    step: x.shape.map(() => 1),
  });
}

/**
 * The slice at one index of an axis, which goes away: a view where what is left lies without gaps (the first axis of a
 * contiguous tensor), else a copy. Negative indices count from the end. Any dtype. Throws IndexError for an index outside
 * the axis. narrow is always a view.
 */
export function select(x: Tensor, axis: number, index: number): Tensor {
  checkTensor('select', x);
  const a = normalizeAxis('select', axis, x.shape.length);
  if (x.shape.length === 0) throw new ShapeError('select: a scalar has no axis');
  const i = checkIndex('select', index, x.shape[a] as number, a);
  return reshape(
    narrow(x, a, i, 1),
    x.shape.filter((_, j) => j !== a),
  );
}
