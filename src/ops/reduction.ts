import { defineKernel, type JsKernel } from '../backend/backend.js';
import type { DType } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { emitReduce } from '../program/calls.js';
import { describe, normalizeAxis, type Shape, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { div } from './div.js';
import { eq } from './eq.js';
import { mul } from './mul.js';
import {
  apply,
  checkTensor,
  isTensor,
  type Primitive,
  primitive,
  type Sample,
  type Spec,
  type VjpContext,
} from './primitive.js';
import { reshape } from './reshape.js';
import { sum } from './sum.js';
import { to } from './to.js';

// What reductions share: axes, shapes, samples.

/** Options of reductions. */
export interface ReduceOptions {
  /** Leave reduced axes in place with size 1. Default false. */
  readonly keepdims?: boolean;
}

export interface ReduceAttrs {
  /** Sorted and distinct. */
  readonly axes: readonly number[];
  readonly keepdims: boolean;
}

export interface ScaledAttrs extends ReduceAttrs {
  /** Multiplied to the sum: 1/n makes it the mean. */
  readonly scale: number;
}

/** Axes of a reduction: one, several, or all (left out or null). */
export type Axes = number | readonly number[] | null;

/** What may stand for the axes: options with them inside, as in sum({ axis: 1, keepdims: true }). */
export type AxesOrOptions<O extends ReduceOptions = ReduceOptions> =
  | Axes
  | (O & {
      /** The axes. Default: all. */
      readonly axis?: Axes | undefined;
    });

/** Takes options given in first place apart. Throws ArgumentError where there are two of them. */
export function axesAndOptions<O extends ReduceOptions>(
  op: string,
  axes: AxesOrOptions<O> | undefined,
  options: O | undefined,
): [Axes | undefined, O] {
  if (typeof axes !== 'object' || axes === null || Array.isArray(axes))
    return [axes as Axes, options ?? ({} as O)];
  if (isTensor(axes) || ArrayBuffer.isView(axes)) {
    throw new ArgumentError(`${op}: the axis is a number or an array of numbers, not ${describe(axes)}`);
  }
  if (options !== undefined) {
    throw new ArgumentError(`${op}: options are given twice; the axis is a number or an array of numbers`);
  }
  const { axis, ...rest } = axes as O & { readonly axis?: Axes };
  return [axis, rest as unknown as O];
}

/** The axes meant by an axis argument: one, several, or all where there is none. */
export function reducedAxes(
  op: string,
  shape: Shape,
  axes: AxesOrOptions | undefined,
  given?: ReduceOptions,
): ReduceAttrs {
  const rank = shape.length;
  // What most calls ask for, without the lists: those take longer than small sums.
  if (given === undefined && rank > 0) {
    if (axes === undefined) return { axes: allAxes(rank), keepdims: false };
    if (typeof axes === 'number') return { axes: [normalizeAxis(op, axes, rank)], keepdims: false };
  }
  const [axis, options] = axesAndOptions(op, axes, given);
  if (typeof options !== 'object' || options === null) {
    throw new ArgumentError(`${op}: options are an object like { keepdims: true }, not ${describe(options)}`);
  }
  for (const key of Object.keys(options)) {
    if (key !== 'keepdims') {
      throw new ArgumentError(`${op}: there is no option ${describe(key)}; did you mean keepdims?`);
    }
  }
  const keepdims = Boolean(options.keepdims);
  if (axis === undefined || axis === null) return { axes: allAxes(rank), keepdims };
  const list = [axis].flat().map((a) => normalizeAxis(op, a as number, rank));
  if (rank === 0) return { axes: [], keepdims };
  const sorted = [...new Set(list)].sort((a, b) => a - b);
  if (sorted.length !== list.length)
    throw new ShapeError(`${op}: an axis stands twice in [${[axis].flat().join(', ')}]`);
  return { axes: sorted, keepdims };
}

function allAxes(rank: number): number[] {
  const axes: number[] = [];
  for (let i = 0; i < rank; i++) axes.push(i);
  return axes;
}

export function reducedShape(x: Spec, { axes, keepdims }: ReduceAttrs): number[] {
  if (keepdims) return keptShape(x, { axes, keepdims });
  const shape: number[] = [];
  for (let i = 0; i < x.shape.length; i++) if (!axes.includes(i)) shape.push(x.shape[i] as number);
  return shape;
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

function reduceSamples(empty = true): Sample<ReduceAttrs>[] {
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

/** Of the reductions whose result is multiplied by a scale. */
export function scaledSamples(): Sample<ScaledAttrs>[] {
  return reduceSamples().map((s) => ({ ...s, attrs: { ...s.attrs, scale: s.attrs.keepdims ? 0.25 : 1 } }));
}

/** Makes the kernel and the table row of a reduction. */
export function reduction(def: {
  readonly name: string;
  readonly js: JsKernel;
  /** Default: the dtype of the input. */
  readonly result?: DType;
  /** False where the reduction of nothing has no value. */
  readonly empty: boolean;
  readonly saves: Primitive<ReduceAttrs>['saves'];
  readonly vjp: Primitive<ReduceAttrs>['vjp'];
}): Primitive<ReduceAttrs> {
  const { name, saves, vjp, empty } = def;
  const kernel = defineKernel(name, def.js);
  return primitive<ReduceAttrs>({
    name,
    infer: ([x], attrs) => {
      if (!empty) checkNotEmpty(name, x as Spec, attrs.axes);
      return { shape: reducedShape(x as Spec, attrs), dtype: def.result ?? (x as Spec).dtype };
    },
    run: ([x], out, { axes }) => emitReduce(kernel, out, x as View, axes),
    saves,
    vjp,
    samples: reduceSamples(empty),
  });
}

/** Makes the kernel and the table row of a sum of squares of floats, times a scale. */
export function squaresReduction(
  name: string,
  js: JsKernel,
  /** What is squared. */
  base: (x: Tensor, axes: readonly number[]) => Tensor,
): Primitive<ScaledAttrs> {
  const kernel = defineKernel(name, js);
  return primitive<ScaledAttrs>({
    name,
    infer: ([x], attrs) => ({ shape: reducedShape(x as Spec, attrs), dtype: (x as Spec).dtype }),
    run: ([x], out, { axes, scale }) => emitReduce(kernel, out, x as View, axes, [scale]),
    saves: [0],
    vjp: (g, ctx) => {
      const x = ctx.input(0);
      const kept = g.shape.length === 0 ? g : reshape(g, keptShape(x, ctx.attrs));
      return [mul(base(x, ctx.attrs.axes), mul(kept, 2 * ctx.attrs.scale))];
    },
    samples: scaledSamples(),
  });
}

/** Derivative of the largest or smallest element: the elements that equal it share the gradient evenly. */
export function extremeVjp(g: Tensor, ctx: VjpContext<ReduceAttrs>): readonly Tensor[] {
  const kept = keptShape(ctx.specs[0] as Spec, ctx.attrs);
  const hit = to(eq(ctx.input(0), reshape(ctx.output(), kept)), g.dtype);
  return [mul(div(hit, sum(hit, ctx.attrs.axes, { keepdims: true })), reshape(g, kept))];
}

/** Applies a reduction; bool is taken as int32. */
export function reduce(
  op: Primitive<ReduceAttrs>,
  x: Tensor,
  axis: AxesOrOptions | undefined,
  options?: ReduceOptions,
): Tensor {
  checkTensor(op.name, x);
  const t = x.dtype === 'bool' ? to(x, 'int32') : x;
  return apply(op, [t], reducedAxes(op.name, t.shape, axis, options));
}
