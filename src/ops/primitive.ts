import type { DType } from '../dtype.js';
import { ArgumentError } from '../errors.js';
import type { Shape, View } from '../program/view.js';
import { describe } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';

/** Shape and dtype: all that shape rules need to know of a tensor. */
export interface Spec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** What a derivative rule may use. */
export interface VjpContext<A> {
  readonly attrs: A;
  /** Shape and dtype of every input. */
  readonly specs: readonly Spec[];
  /** Which inputs want a gradient; the others' entries are ignored and need not be computed. */
  readonly needs: readonly boolean[];
  /** Input i; only those that the row lists in `saves`. */
  input(i: number): Tensor;
  /** The result; only where the row lists 'output' in `saves`. */
  output(): Tensor;
}

/** Written where a derivative is zero almost everywhere or does not exist, so that none is forgotten by accident. */
export const nonDifferentiable = Symbol('nonDifferentiable');

/** Random inputs for the registry-driven tests: parity of backends, gradient checks, benchmarks. */
export interface SampleInput {
  readonly shape: Shape;
  readonly dtype?: DType;
  /** Values are drawn uniformly from [low, high); for int32 they are whole numbers. Default [-2, 2). */
  readonly low?: number;
  readonly high?: number;
}

export interface Sample<A> {
  readonly inputs: readonly SampleInput[];
  readonly attrs: A;
}

/** One row of the table of operations. Adding an operation is adding one of these in a file of its own. */
export interface Primitive<A> {
  readonly name: string;
  /** Shape and dtype of the result. Throws ShapeError or DTypeError for inputs that do not fit. */
  readonly infer: (inputs: readonly Spec[], attrs: A) => Spec;
  /** Computes the result (or makes a view of an input) by emitting kernels. */
  readonly run: (inputs: readonly View[], out: Spec, attrs: A) => View;
  /** What the derivative reads; changing it in place before backward is an error. */
  readonly saves: readonly (number | 'output')[];
  /** Vector-Jacobian product in terms of other operations, so that it can be differentiated again. */
  readonly vjp: ((g: Tensor, ctx: VjpContext<A>) => readonly (Tensor | null)[]) | typeof nonDifferentiable;
  readonly samples: readonly Sample<A>[];
  /** True where an element of the result depends on the same element of the (broadcast) inputs and on no other. */
  readonly elementwise?: boolean;
}

// biome-ignore lint/suspicious/noExplicitAny: rows with different attributes live in one table
type AnyPrimitive = Primitive<any>;

const table = new Map<string, AnyPrimitive>();

/** Adds a row to the table of operations. */
export function primitive<A>(row: Primitive<A>): Primitive<A> {
  if (table.has(row.name)) throw new ArgumentError(`operation ${row.name} is defined twice`);
  table.set(row.name, row);
  return row;
}

/** Every operation by name: what the registry-driven tests and benchmarks go through. */
export function allPrimitives(): ReadonlyMap<string, AnyPrimitive> {
  return table;
}

type Apply = <A>(op: Primitive<A>, inputs: readonly Tensor[], attrs: A) => Tensor;

let implementation: Apply | null = null;

/** Called once by autograd, which lies above this layer. */
export function installApply(f: Apply): void {
  implementation = f;
}

/** Runs an operation on tensors and records it for backward where that is wanted. The one way to do so. */
export function apply<A>(op: Primitive<A>, inputs: readonly Tensor[], attrs: A): Tensor {
  return (implementation as Apply)(op, inputs, attrs);
}

/** Marks tensors (with themselves), so that this layer can tell them without importing their class. */
export const tensorBrand = Symbol.for('simdgrad.tensor');

/** Whether x is a tensor; a Proxy around one is none, because it has no private fields. */
export function isTensor(x: unknown): x is Tensor {
  if (typeof x !== 'object' || x === null) return false;
  try {
    // The brand is the tensor itself, so that it cannot be seen through a Proxy or inherited.
    return (x as { readonly [tensorBrand]?: unknown })[tensorBrand] === x;
  } catch {
    return false;
  }
}

/** The argument as a tensor, or an ArgumentError naming the operation. */
export function checkTensor(op: string, x: unknown, what = 'argument'): Tensor {
  if (isTensor(x)) return x;
  throw new ArgumentError(`${op}: ${what} must be a tensor, not ${describe(x)}; make one with tensor(...)`);
}
