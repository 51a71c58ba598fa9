import type { DType } from '../dtype.js';
import { ShapeError } from '../errors.js';
import { describe } from '../options.js';
import type { Storage } from './storage.js';

export { describe };

/** Sizes of the axes, outermost first; [] is a scalar. */
export type Shape = readonly number[];

/** Ranks above this are refused: kernels carry shapes in fixed-size records. */
export const maxRank = 8;

export function sizeOf(shape: Shape): number {
  let n = 1;
  for (let i = 0; i < shape.length; i++) n *= shape[i] as number;
  return n;
}

/** Strides of a contiguous row-major array, in elements. */
export function rowMajor(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i] as number;
  }
  return strides;
}

export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function showShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** A window on a storage: what kernels see of a tensor. Strides and offset are in elements. */
export class View {
  readonly dtype: DType;
  readonly size: number;
  /** Row-major without gaps (the offset may be anything). */
  readonly contiguous: boolean;
  #strides: readonly number[] | null;

  constructor(
    readonly storage: Storage,
    readonly shape: Shape,
    /** null: row-major without gaps. Most results are, and nobody asks for their strides. */
    strides: readonly number[] | null,
    readonly offset: number,
  ) {
    this.dtype = storage.dtype;
    this.#strides = strides;
    let step = 1;
    let contiguous = true;
    for (let i = shape.length - 1; i >= 0; i--) {
      const n = shape[i] as number;
      if (strides !== null && n !== 1 && strides[i] !== step) contiguous = false;
      step *= n;
    }
    this.size = step;
    this.contiguous = contiguous || step === 0;
  }

  get strides(): readonly number[] {
    this.#strides ??= rowMajor(this.shape);
    return this.#strides;
  }

  /** One of the strides; makes no list of them. */
  stride(axis: number): number {
    if (this.#strides !== null) return this.#strides[axis] as number;
    let step = 1;
    for (let i = this.shape.length - 1; i > axis; i--) step *= this.shape[i] as number;
    return step;
  }

  /** True if it shows every element of its storage in order. */
  get whole(): boolean {
    return this.contiguous && this.offset === 0 && this.size === this.storage.length;
  }

  /** The same elements under another shape of the same size; only for contiguous views. */
  reshaped(shape: Shape): View {
    return new View(this.storage, shape, null, this.offset);
  }

  /** Axes in another order. */
  permuted(axes: readonly number[]): View {
    return new View(
      this.storage,
      axes.map((a) => this.shape[a] as number),
      axes.map((a) => this.stride(a)),
      this.offset,
    );
  }

  /** Repeated along new leading axes and axes of size 1, without a copy (stride 0). */
  broadcast(shape: Shape): View {
    if (sameShape(shape, this.shape)) return this;
    const lead = shape.length - this.shape.length;
    const strides = new Array<number>(shape.length);
    for (let i = 0; i < shape.length; i++) {
      const j = i - lead;
      strides[i] = j < 0 || (this.shape[j] === 1 && shape[i] !== 1) ? 0 : this.stride(j);
    }
    return new View(this.storage, shape, strides, this.offset);
  }
}

/** A contiguous view of a whole new storage. */
export function fullView(storage: Storage, shape: Shape): View {
  return new View(storage, shape, null, 0);
}

/** The shape that both broadcast to by NumPy's rules, or a ShapeError naming the operation. */
export function broadcastShapes(op: string, ...shapes: Shape[]): number[] {
  let rank = 0;
  for (const shape of shapes) if (shape.length > rank) rank = shape.length;
  const out = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    const lead = rank - shape.length;
    for (let i = 0; i < shape.length; i++) {
      const n = shape[i] as number;
      const m = out[i + lead] as number;
      if (n === m || n === 1) continue;
      if (m !== 1) {
        throw new ShapeError(
          `${op}: shapes ${shapes.map(showShape).join(' and ')} do not broadcast: axis ${i + lead - rank} is ${m} against ${n}`,
        );
      }
      out[i + lead] = n;
    }
  }
  return out;
}

/** An axis counted from the front, from one that may be counted from the back. */
export function normalizeAxis(op: string, axis: unknown, rank: number): number {
  const n = Math.max(rank, 1);
  if (typeof axis !== 'number' || !Number.isInteger(axis) || axis < -n || axis >= n) {
    throw new ShapeError(
      `${op}: axis ${describe(axis)} is not an axis of a tensor of rank ${rank} (use ${-n} to ${n - 1})`,
    );
  }
  return axis < 0 ? axis + n : axis;
}

/** Checks that a shape is a list of whole numbers >= 0, not too many and not too large. */
export function checkShape(op: string, shape: unknown): number[] {
  if (!Array.isArray(shape))
    throw new ShapeError(`${op}: a shape is an array of whole numbers, not ${describe(shape)}`);
  for (let i = 0; i < shape.length; i++) {
    const n: unknown = shape[i];
    if (typeof n !== 'number' || !Number.isInteger(n) || n < 0) {
      throw new ShapeError(
        `${op}: [${shape.map(describe).join(', ')}] is not a shape: sizes are whole numbers >= 0`,
      );
    }
  }
  if (shape.length > maxRank)
    throw new ShapeError(`${op}: rank ${shape.length} is above the limit of ${maxRank}`);
  if (sizeOf(shape) > 2 ** 33) throw new ShapeError(`${op}: shape ${showShape(shape)} is too large`);
  return shape.map((n: number) => n + 0);
}
