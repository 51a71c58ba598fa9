import { ArgumentError, ShapeError } from '../errors.js';
import { describe, normalizeAxis, type Shape } from '../program/view.js';
import type { Sample, Spec } from './primitive.js';

// What reductions share: axes, shapes, samples.

export interface ReduceOptions {
  /** Leave reduced axes in place with size 1. Default false. */
  readonly keepdims?: boolean;
}

export interface ReduceAttrs {
  /** Sorted and distinct. */
  readonly axes: readonly number[];
  readonly keepdims: boolean;
}

/** The axes meant by an axis argument: one, several, or all where there is none. */
export function reducedAxes(
  op: string,
  shape: Shape,
  axis: number | readonly number[] | null | undefined,
  options: ReduceOptions = {},
): ReduceAttrs {
  if (typeof options !== 'object' || options === null) {
    throw new ArgumentError(`${op}: options are an object like { keepdims: true }, not ${describe(options)}`);
  }
  for (const key of Object.keys(options)) {
    if (key !== 'keepdims' && key !== 'correction') {
      throw new ArgumentError(`${op}: there is no option ${describe(key)}; did you mean keepdims?`);
    }
  }
  const keepdims = Boolean(options.keepdims);
  const rank = shape.length;
  if (axis === undefined || axis === null) return { axes: shape.map((_, i) => i), keepdims };
  if (typeof axis === 'object' && !Array.isArray(axis)) {
    throw new ArgumentError(`${op}: the axis is a number or an array of numbers; options come behind it`);
  }
  const list = (Array.isArray(axis) ? axis : [axis]).map((a) => normalizeAxis(op, a, rank));
  if (rank === 0) return { axes: [], keepdims };
  const axes = [...new Set(list)].sort((a, b) => a - b);
  if (axes.length !== list.length)
    throw new ShapeError(`${op}: an axis stands twice in [${[axis].flat().join(', ')}]`);
  return { axes, keepdims };
}

export function reducedShape(x: Spec, { axes, keepdims }: ReduceAttrs): number[] {
  return keepdims ? keptShape(x, { axes, keepdims }) : x.shape.filter((_, i) => !axes.includes(i));
}

/** The shape with reduced axes of size 1: what broadcasts back to the input. */
export function keptShape(x: Spec, { axes }: ReduceAttrs): number[] {
  return x.shape.map((n, i) => (axes.includes(i) ? 1 : n));
}

/** Refuses a reduction of nothing where there is no neutral element. */
export function checkNotEmpty(op: string, x: Spec, axes: readonly number[]): void {
  if (axes.some((a) => x.shape[a] === 0)) {
    throw new ShapeError(
      `${op}: nothing to reduce in shape [${x.shape.join(', ')}] over axes [${axes.join(', ')}]`,
    );
  }
}

export function reduceSamples(empty = true): Sample<ReduceAttrs>[] {
  const cases: [number[], number[], boolean][] = [
    [[7], [0], false],
    [[3, 5], [1], false],
    [[3, 5], [0], true],
    [[2, 3, 4], [0, 2], false],
    [[2, 3, 4], [0, 1, 2], true],
    [[], [], false],
    [[1, 4], [0], false],
  ];
  if (empty) cases.push([[0, 3], [0], false]);
  return cases.map(([shape, axes, keepdims]) => ({ inputs: [{ shape }], attrs: { axes, keepdims } }));
}
