import { backward } from '../autograd/engine.js';
import type { Node } from '../autograd/graph.js';
import { checkDType, type DType, dtypeOf, isFloat, promote, type TypedArray } from '../dtype.js';
import { ArgumentError, DTypeError, GradError, ShapeError } from '../errors.js';
import type { NormOptions, VarianceOptions } from '../ops/composed.js';
import { installConstant } from '../ops/constant.js';
import type { Operand } from '../ops/elementwise.js';
import { fillKernelRow } from '../ops/full.js';
import * as ops from '../ops/index.js';
import { isTensor, tensorBrand } from '../ops/primitive.js';
import type { AxesOrOptions, ReduceOptions } from '../ops/reduction.js';
import type { Range } from '../ops/slice.js';
import { checkOptions, isPlainObject } from '../options.js';
import { contiguous, copy, emitMap } from '../program/calls.js';
import { GradientCell, type Watched } from '../program/cell.js';
import {
  checkReadable,
  constantStorage,
  enterOp,
  leaveOp,
  type Recorder,
  tracing,
  withRecorder,
} from '../program/emit.js';
import { checkLength, plainMemory, release, sharedStorage } from '../program/storage.js';
import {
  checkShape,
  describe,
  fullView,
  type Shape,
  sameShape,
  showShape,
  sizeOf,
  View,
} from '../program/view.js';
import { ConsumedGrad, PublishedGrad } from './published.js';
import { showTensor } from './show.js';

export { checkOptions };

/** Values of a tensor as nested arrays: numbers, or booleans for bool. */
export type NestedArray = number | boolean | NestedArray[];

/** What tensor(...) takes. */
export type TensorValues = number | boolean | TypedArray | readonly TensorValues[];

/** Options of functions that make tensors. */
export interface TensorOptions {
  /** Default float32; for typed arrays their own type; for booleans bool. */
  readonly dtype?: DType;
  /** Default false. */
  readonly requiresGrad?: boolean;
}

/** Options of backward(). */
export interface BackwardOptions {
  /** Records the pass itself, for second derivatives. Default false. */
  readonly createGraph?: boolean;
  /** Keeps the graph for another pass. Default false. */
  readonly retainGraph?: boolean;
}

/** What traces watch the flags of leaves by. */
const flagCells = new WeakMap<Tensor, Watched>();

/**
 * An n-dimensional array of float32, float64, int32 or bool, at most 8 axes, with automatic differentiation.
 *
 * Methods return new tensors (views of the same memory where that needs no copy: reshape, transpose, slice,
 * broadcastTo), except those with a name ending in `_`, which change the tensor in place.
 */
export class Tensor {
  /** @internal */
  readonly [tensorBrand]: Tensor = this;
  /**
   * The window on memory that kernels see.
   *
   * @internal
   */
  readonly view: View;
  /**
   * The operation that made this tensor, for backward; null for leaves.
   *
   * @internal
   */
  node: Node | null = null;
  #requiresGrad = false;
  #gradCell: GradientCell | null = null;

  /**
   * Not for direct use: see tensor(), zeros() and so on.
   *
   * @hidden
   */
  constructor(view: View) {
    if (!(view instanceof View)) {
      throw new ArgumentError(`Tensor: make tensors with tensor(...), zeros(...) and so on, not with new`);
    }
    this.view = view;
    const trace = tracing();
    if (trace !== null) trace.made(this);
  }

  /**
   * Where the gradient is kept.
   *
   * @internal
   */
  get gradCell(): GradientCell {
    if (this.#gradCell === null) {
      const trace = tracing();
      this.#gradCell = new GradientCell(null, trace?.owns(this) ? trace.token : null);
    }
    return this.#gradCell;
  }

  /** The trace in progress, if this tensor was there before it. */
  #watcher(): Recorder | null {
    const trace = tracing();
    return trace === null || trace.owns(this) ? null : trace;
  }

  /** The flag of a leaf, for traces that watch it. */
  #flagCell(): Watched {
    let cell = flagCells.get(this);
    if (cell === undefined) {
      const t = this;
      cell = {
        madeIn: null,
        get value(): unknown {
          return t.#requiresGrad;
        },
        set value(flag: unknown) {
          t.#requiresGrad = flag as boolean;
        },
      };
      flagCells.set(this, cell);
    }
    return cell;
  }

  /** Sizes of the axes. */
  get shape(): Shape {
    return this.view.shape;
  }

  /** The type of the elements: 'float32', 'float64', 'int32' or 'bool'. */
  get dtype(): DType {
    return this.view.dtype;
  }

  /** Number of elements. */
  get size(): number {
    return this.view.size;
  }

  /** Number of axes. */
  get rank(): number {
    return this.view.shape.length;
  }

  /** Number of axes: another name of `rank`. */
  get ndim(): number {
    return this.rank;
  }

  /** Number of elements: `size` as a method. */
  numel(): number {
    return this.size;
  }

  /** True for tensors that were not made by a recorded operation. */
  get isLeaf(): boolean {
    return this.node === null;
  }

  /**
   * True where gradients flow: a leaf whose flag was set, or a result of one. The flag of a leaf may be set; only
   * floats have gradients (DTypeError).
   */
  get requiresGrad(): boolean {
    checkSelf('requiresGrad', this);
    if (this.node !== null) return true;
    if (tracing() !== null) this.#watcher()?.readCell(this.#flagCell());
    return this.#requiresGrad;
  }

  /** Switches gradients on or off, for a leaf of floats (GradError, DTypeError otherwise). */
  set requiresGrad(value: boolean) {
    checkSelf('requiresGrad', this);
    if (typeof value !== 'boolean')
      throw new ArgumentError(`requiresGrad: true or false, not ${describe(value)}`);
    if (this.node !== null) {
      if (value) return;
      throw new GradError(
        'requiresGrad: only leaves can be switched off; use detach() for a computed tensor',
      );
    }
    if (value && !isFloat(this.dtype)) {
      throw new DTypeError(`requiresGrad: only float32 and float64 have gradients, not ${this.dtype}`);
    }
    // Leaves that are trained live long, and compiled steps keep their addresses.
    if (value && this.view.whole) this.view.storage.share();
    this.#watcher()?.writeCell(this.#flagCell());
    this.#requiresGrad = value;
  }

  /**
   * The gradient that backward left for this leaf (or for a tensor with retainGrad()), or null. StateError where a
   * compiled step used it up (see CompileOptions.keepGrads).
   */
  get grad(): Tensor | null {
    const g = this.peekGrad();
    if (g !== null) {
      g.view.storage.unseen = false;
      g.view.storage.seen = true;
    }
    return g;
  }

  /**
   * Refuses to add to a gradient that a compiled step used up.
   *
   * @internal
   */
  checkGradKept(what: string): void {
    const held: unknown = this.gradCell.value;
    if (held instanceof ConsumedGrad) held.refuse(what);
  }

  /**
   * As `grad`, for code that does not keep it: gradients that were never handed out go back to the pool when dropped.
   *
   * @internal
   */
  peekGrad(): Tensor | null {
    const held = this.gradCell.get();
    if (held instanceof PublishedGrad) {
      // Gradients of a compiled step are copied when somebody looks: the next step overwrites its own.
      const g = withRecorder(null, () => held.read());
      // A step that accumulates goes on with this memory, whichever step left the gradient.
      this.gradCell.settle({
        value: g,
        accepts: (found) => found instanceof PublishedGrad && !g.view.storage.seen,
        load: (found) => (found as PublishedGrad).copyInto(g),
      });
      return g;
    }
    if (held instanceof ConsumedGrad) held.refuse('grad');
    return held as Tensor | null;
  }

  /** Replaces the gradient by a tensor of the same shape and dtype (ShapeError otherwise), or takes it away. */
  set grad(value: Tensor | null) {
    if (value !== null) {
      if (!isTensor(value)) throw new ArgumentError(`grad: a tensor or null, not ${describe(value)}`);
      if (!sameShape(value.shape, this.shape) || value.dtype !== this.dtype) {
        throw new ShapeError(
          `grad: ${value.dtype} ${showShape(value.shape)} is no gradient of ${this.dtype} ${showShape(this.shape)}`,
        );
      }
    }
    // A gradient that a leaf holds outlives the scope it was made in.
    if (value !== null) value.view.storage.kept = true;
    const before: unknown = this.gradCell.value;
    this.gradCell.set(value);
    if (before !== value && tracing() === null && isTensor(before) && before.view.storage.unseen) {
      release(before.view.storage);
    }
  }

  /** Makes backward keep the gradient of this computed tensor in `grad`, as it does for leaves. */
  retainGrad(): this {
    checkSelf('retainGrad', this);
    if (this.node !== null) this.node.retained = this;
    else if (!this.#requiresGrad) throw new GradError('retainGrad: this tensor does not require a gradient');
    return this;
  }

  /**
   * Gradients of this scalar (or of gradient · this) with respect to all leaves, added to their `grad`. The graph is
   * used up, unless `retainGraph`; `createGraph` records the pass itself, for second derivatives. The options may
   * stand alone: backward({ retainGraph: true }).
   */
  backward(gradientOrOptions?: Tensor | BackwardOptions | null, backwardOptions?: BackwardOptions): void {
    let gradient = gradientOrOptions as Tensor | null | undefined;
    let options = backwardOptions ?? {};
    if (backwardOptions === undefined && isPlainObject(gradientOrOptions)) {
      gradient = null;
      options = gradientOrOptions as BackwardOptions;
    }
    if (gradient !== undefined && gradient !== null && !isTensor(gradient)) {
      throw new ArgumentError(
        `backward: the gradient is a tensor, not ${describe(gradient)}; options come second`,
      );
    }
    checkOptions('backward', options, ['createGraph', 'retainGraph']);
    backward(this, gradient, options);
  }

  /**
   * The values: a typed array in row-major order. A live view for contiguous tensors, else a copy. It may be a window of a
   * larger buffer: go by its byteOffset and byteLength. What is written to it is not seen by an asynchronous step that is in
   * flight, and lost where that step updates the tensor.
   */
  get data(): TypedArray {
    checkReadable('data');
    const { storage, offset, size } = this.view;
    storage.read('data');
    if (!this.view.contiguous) return withRecorder(null, () => contiguous(this.view)).storage.read('data');
    storage.expose();
    const array = storage.read('data');
    return this.view.whole ? array : array.subarray(offset, offset + size);
  }

  /** The values as nested arrays (a bare value for a scalar); bool as true and false. */
  toArray(): NestedArray {
    const values = valuesOf(this, 'toArray');
    const bool = this.dtype === 'bool';
    const { shape } = this;
    let at = 0;
    const build = (axis: number): NestedArray => {
      if (axis === shape.length) {
        const v = values[at++] as number;
        return bool ? v !== 0 : v;
      }
      const out: NestedArray[] = [];
      for (let i = 0; i < (shape[axis] as number); i++) out.push(build(axis + 1));
      return out;
    };
    return build(0);
  }

  /** The one value of a tensor of one element; a boolean for bool. Throws ShapeError for other sizes. */
  item(): number {
    if (this.size !== 1) {
      throw new ShapeError(
        `item: a tensor of shape ${showShape(this.shape)} is not one value; index or reduce it first`,
      );
    }
    const v = valuesOf(this, 'item')[0] as number;
    return this.dtype === 'bool' ? ((v !== 0) as unknown as number) : v;
  }

  /** The same memory outside the graph. */
  detach(): Tensor {
    return new Tensor(this.view);
  }

  /** A copy in memory of its own; gradients pass through. */
  clone(): Tensor {
    return ops.cloneOf(this);
  }

  /**
   * The tensor in another dtype (itself where it has that dtype). Floats to int32 truncate and saturate; anything to bool is
   * x ≠ 0. Gradients pass between floats. Throws DTypeError for a dtype that does not exist.
   */
  to(dtype: DType): Tensor {
    return ops.to(this, dtype);
  }

  /** The tensor itself if its memory is in row-major order without gaps, else a copy that is. */
  contiguous(): Tensor {
    return this.view.contiguous ? this : this.clone();
  }

  // ---- in place ----

  /**
   * Overwrites the values with those of a tensor (broadcast and converted) or of nested or typed arrays of the same
   * shape (a flat typed array of the same size will do). Not recorded. Parameters are assigned with it.
   */
  copy_(values: Tensor | TensorValues): this {
    checkInPlace(this, 'copy_');
    let source: View;
    if (isTensor(values)) source = values.view;
    else {
      const t = tensor(values as TensorValues, { dtype: this.dtype });
      source = t.rank === 1 && t.size === this.size && this.rank !== 1 ? t.view.reshaped(this.shape) : t.view;
    }
    const from = fitted(this, 'copy_', source);
    // Overlapping windows on the same memory are copied through a temporary.
    const safe = from.storage === this.view.storage ? ops.cloneOf(new Tensor(from)).view : from;
    const before = enterOp('copy_');
    try {
      emitMap(copy, this.view, [safe]);
    } finally {
      leaveOp(before);
    }
    return this;
  }

  /** Sets every element to one value. Not recorded. */
  fill_(value: number): this {
    checkInPlace(this, 'fill_');
    if (typeof value !== 'number') throw new ArgumentError(`fill_: a number, not ${describe(value)}`);
    emitMap(fillKernelRow, this.view, [], [value]);
    return this;
  }

  /** Sets every element to 0. Not recorded. */
  zero_(): this {
    return this.fill_(0);
  }

  /**
   * Adds in place, with broadcasting to the shape of this tensor (ShapeError otherwise). DTypeError where whole numbers would have to
   * hold a fraction, or truth values a number. Not recorded.
   */
  add_(other: Operand): this {
    return assign(this, 'add_', (t) => ops.add(t, detached(other)));
  }

  /** Subtracts in place, as add_. Not recorded. */
  sub_(other: Operand): this {
    return assign(this, 'sub_', (t) => ops.sub(t, detached(other)));
  }

  /** Multiplies in place, as add_. Not recorded. */
  mul_(other: Operand): this {
    return assign(this, 'mul_', (t) => ops.mul(t, detached(other)));
  }

  /** Divides in place, as add_. Not recorded. */
  div_(other: Operand): this {
    return assign(this, 'div_', (t) => ops.div(t, detached(other)));
  }

  // ---- elementwise ----

  /** this + other, with broadcasting: see the function {@link ops.add}. */
  add(other: Operand): Tensor {
    return ops.add(this, other);
  }
  /** this − other, with broadcasting: see the function {@link ops.sub}. */
  sub(other: Operand): Tensor {
    return ops.sub(this, other);
  }
  /** this · other, element by element, with broadcasting: see the function {@link ops.mul}. */
  mul(other: Operand): Tensor {
    return ops.mul(this, other);
  }
  /** this / other, with broadcasting: see the function {@link ops.div}. */
  div(other: Operand): Tensor {
    return ops.div(this, other);
  }
  /** this to the power of an exponent, element by element: see the function {@link ops.pow}. */
  pow(exponent: Operand): Tensor {
    return ops.pow(this, exponent);
  }
  /** The larger of this and other, element by element: see the function {@link ops.maximum}. */
  maximum(other: Operand): Tensor {
    return ops.maximum(this, other);
  }
  /** The smaller of this and other, element by element: see the function {@link ops.minimum}. */
  minimum(other: Operand): Tensor {
    return ops.minimum(this, other);
  }
  /** −this: see the function {@link ops.neg}. */
  neg(): Tensor {
    return ops.neg(this);
  }
  /** The absolute value of every element: see the function {@link ops.abs}. */
  abs(): Tensor {
    return ops.abs(this);
  }
  /** −1, 0 or 1 for every element: see the function {@link ops.sign}. */
  sign(): Tensor {
    return ops.sign(this);
  }
  /** e to the power of every element: see the function {@link ops.exp}. */
  exp(): Tensor {
    return ops.exp(this);
  }
  /** exp(x) − 1 of every element, accurate near 0: see the function {@link ops.expm1}. */
  expm1(): Tensor {
    return ops.expm1(this);
  }
  /** The natural logarithm of every element: see the function {@link ops.log}. */
  log(): Tensor {
    return ops.log(this);
  }
  /** log(1 + x) of every element, accurate near 0: see the function {@link ops.log1p}. */
  log1p(): Tensor {
    return ops.log1p(this);
  }
  /** The square root of every element: see the function {@link ops.sqrt}. */
  sqrt(): Tensor {
    return ops.sqrt(this);
  }
  /** The square of every element: see the function {@link ops.square}. */
  square(): Tensor {
    return ops.square(this);
  }
  /** 1 / x for every element: see the function {@link ops.reciprocal}. */
  reciprocal(): Tensor {
    return ops.reciprocal(this);
  }
  /** The sine of every element, in radians: see the function {@link ops.sin}. */
  sin(): Tensor {
    return ops.sin(this);
  }
  /** The cosine of every element, in radians: see the function {@link ops.cos}. */
  cos(): Tensor {
    return ops.cos(this);
  }
  /** The error function of every element: see the function {@link ops.erf}. */
  erf(): Tensor {
    return ops.erf(this);
  }
  /** The largest whole number not above every element: see the function {@link ops.floor}. */
  floor(): Tensor {
    return ops.floor(this);
  }
  /** The smallest whole number not below every element: see the function {@link ops.ceil}. */
  ceil(): Tensor {
    return ops.ceil(this);
  }
  /** To the nearest whole number, halves to the even one: see the function {@link ops.round}. */
  round(): Tensor {
    return ops.round(this);
  }
  /** The tangent of every element, in radians: see the function {@link ops.tan}. */
  tan(): Tensor {
    return ops.tan(this);
  }
  /** The logarithm to the base 2 of every element: see the function {@link ops.log2}. */
  log2(): Tensor {
    return ops.log2(this);
  }
  /** The logarithm to the base 10 of every element: see the function {@link ops.log10}. */
  log10(): Tensor {
    return ops.log10(this);
  }
  /** 1 / √x for every element: see the function {@link ops.rsqrt}. */
  rsqrt(): Tensor {
    return ops.rsqrt(this);
  }
  /** Limited to [min, max], given as two numbers or as { min, max }: see the function {@link ops.clamp}. */
  clamp(min?: number | ops.ClampOptions | null, max?: number | null): Tensor {
    return ops.clamp(this, min, max);
  }
  /** max(x, 0) for every element: see the function {@link ops.relu}. */
  relu(): Tensor {
    return ops.relu(this);
  }
  /** x where it is positive, else negativeSlope · x (default 0.01): see the function {@link ops.leakyRelu}. */
  leakyRelu(negativeSlope?: number): Tensor {
    return ops.leakyRelu(this, negativeSlope);
  }
  /** x where it is positive, else alpha (exp(x) − 1) (alpha is 1 by default): see the function {@link ops.elu}. */
  elu(alpha?: number): Tensor {
    return ops.elu(this, alpha);
  }
  /** 1 / (1 + exp(−x)) for every element: see the function {@link ops.sigmoid}. */
  sigmoid(): Tensor {
    return ops.sigmoid(this);
  }
  /** log(sigmoid(x)) for every element, without overflow: see the function {@link ops.logSigmoid}. */
  logSigmoid(): Tensor {
    return ops.logSigmoid(this);
  }
  /** The hyperbolic tangent of every element: see the function {@link ops.tanh}. */
  tanh(): Tensor {
    return ops.tanh(this);
  }
  /** x Φ(x) for every element, or its approximation by tanh: see the function {@link ops.gelu}. */
  gelu(options?: ops.GeluOptions): Tensor {
    return ops.gelu(this, options);
  }
  /** x sigmoid(x) for every element: see the function {@link ops.silu}. */
  silu(): Tensor {
    return ops.silu(this);
  }
  /** log(1 + exp(beta x)) / beta for every element: see the function {@link ops.softplus}. */
  softplus(options?: ops.SoftplusOptions): Tensor {
    return ops.softplus(this, options);
  }

  // ---- comparisons: bool, no gradient ----

  /** Whether this = other, element by element (bool): see the function {@link ops.eq}. */
  eq(other: Operand): Tensor {
    return ops.eq(this, other);
  }
  /** Whether this ≠ other, element by element (bool): see the function {@link ops.ne}. */
  ne(other: Operand): Tensor {
    return ops.ne(this, other);
  }
  /** Whether this < other, element by element (bool): see the function {@link ops.lt}. */
  lt(other: Operand): Tensor {
    return ops.lt(this, other);
  }
  /** Whether this ≤ other, element by element (bool): see the function {@link ops.le}. */
  le(other: Operand): Tensor {
    return ops.le(this, other);
  }
  /** Whether this > other, element by element (bool): see the function {@link ops.gt}. */
  gt(other: Operand): Tensor {
    return ops.gt(this, other);
  }
  /** Whether this ≥ other, element by element (bool): see the function {@link ops.ge}. */
  ge(other: Operand): Tensor {
    return ops.ge(this, other);
  }
  /** Whether every element is NaN (bool): see the function {@link ops.isNan}. */
  isNan(): Tensor {
    return ops.isNan(this);
  }
  /** Whether every element is neither infinite nor NaN (bool): see the function {@link ops.isFinite}. */
  isFinite(): Tensor {
    return ops.isFinite(this);
  }
  /** Whether every element is infinite (bool): see the function {@link ops.isInf}. */
  isInf(): Tensor {
    return ops.isInf(this);
  }
  /** Whether shape and elements are the same; reads the values: see the function {@link ops.equal}. */
  equal(other: Tensor): boolean {
    return ops.equal(this, other);
  }
  /**
   * Whether all elements are close to those of another tensor; reads the values: see the function
   * {@link ops.allClose}.
   */
  allClose(other: Operand, options?: ops.CloseOptions): boolean {
    return ops.allClose(this, other, options);
  }
  /** Whether both are true, element by element (bool): see the function {@link ops.logicalAnd}. */
  logicalAnd(other: Operand): Tensor {
    return ops.logicalAnd(this, other);
  }
  /** Whether either is true, element by element (bool): see the function {@link ops.logicalOr}. */
  logicalOr(other: Operand): Tensor {
    return ops.logicalOr(this, other);
  }
  /** Whether every element is 0 or false (bool): see the function {@link ops.logicalNot}. */
  logicalNot(): Tensor {
    return ops.logicalNot(this);
  }
  /** a where this is true, else b: see the function {@link ops.where}. */
  where(a: Operand, b: Operand): Tensor {
    return ops.where(this, a, b);
  }

  /** This tensor with `value` where the mask (bool) is true: see the function {@link ops.maskedFill}. */
  maskedFill(mask: Tensor, value: Operand): Tensor {
    return ops.maskedFill(this, mask, value);
  }

  // ---- reductions ----

  /** Whether any element along the axes (default: all) is true (bool): see the function {@link ops.any}. */
  any(axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
    return ops.any(this, axis, options);
  }
  /** Whether all elements along the axes (default: all) are true (bool): see the function {@link ops.all}. */
  all(axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
    return ops.all(this, axis, options);
  }
  /** Sums from the start of an axis up to every element: see the function {@link ops.cumsum}. */
  cumsum(axis: number): Tensor {
    return ops.cumsum(this, axis);
  }

  /** The sum along one axis, several, or all: see the function {@link ops.sum}. */
  sum(axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
    return ops.sum(this, axis, options);
  }
  /** The arithmetic mean along one axis, several, or all: see the function {@link ops.mean}. */
  mean(axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
    return ops.mean(this, axis, options);
  }
  /** The product along one axis, several, or all: see the function {@link ops.prod}. */
  prod(axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
    return ops.prod(this, axis, options);
  }
  /** The largest element along one axis, several, or all: see the function {@link ops.max}. */
  max(axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
    return ops.max(this, axis, options);
  }
  /** The smallest element along one axis, several, or all: see the function {@link ops.min}. */
  min(axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
    return ops.min(this, axis, options);
  }
  /** The index (int32) of the largest element along an axis, or of all: see the function {@link ops.argmax}. */
  argmax(
    axis?: number | null | (ReduceOptions & { readonly axis?: number | null }),
    options?: ReduceOptions,
  ): Tensor {
    return ops.argmax(this, axis, options);
  }
  /** The index (int32) of the smallest element along an axis, or of all: see the function {@link ops.argmin}. */
  argmin(
    axis?: number | null | (ReduceOptions & { readonly axis?: number | null }),
    options?: ReduceOptions,
  ): Tensor {
    return ops.argmin(this, axis, options);
  }
  /** Variance; unbiased by default (correction 1): see the function {@link ops.variance}. */
  var(axis?: AxesOrOptions<VarianceOptions>, options?: VarianceOptions): Tensor {
    return ops.variance(this, axis, options);
  }
  /** Standard deviation; unbiased by default (correction 1): see the function {@link ops.std}. */
  std(axis?: AxesOrOptions<VarianceOptions>, options?: VarianceOptions): Tensor {
    return ops.std(this, axis, options);
  }
  /** The p-norm (default: 2) along one axis, several, or all: see the function {@link ops.norm}. */
  norm(axis?: AxesOrOptions<NormOptions>, options?: NormOptions): Tensor {
    return ops.norm(this, axis, options);
  }
  /** log(sum(exp(x))) along one axis, several, or all, without overflow: see the function {@link ops.logSumExp}. */
  logSumExp(axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
    return ops.logSumExp(this, axis, options);
  }
  /** exp(x) / sum(exp(x)) along an axis (default: the last): see the function {@link ops.softmax}. */
  softmax(axis?: ops.AxisOption): Tensor {
    return ops.softmax(this, axis);
  }
  /**
   * The logarithm of softmax along an axis (default: the last), without overflow: see the function
   * {@link ops.logSoftmax}.
   */
  logSoftmax(axis?: ops.AxisOption): Tensor {
    return ops.logSoftmax(this, axis);
  }

  // ---- shapes and products ----

  /** The matrix product with another tensor, over the last two axes: see the function {@link ops.matmul}. */
  matmul(other: Tensor): Tensor {
    return ops.matmul(this, other);
  }
  /** The scalar product with another vector: see the function {@link ops.dot}. */
  dot(other: Tensor): Tensor {
    return ops.dot(this, other);
  }
  /**
   * Two axes swapped (default: the last two), or all axes in the given order, as an array or as separate numbers: see
   * the function {@link ops.transpose}.
   */
  transpose(...axes: readonly (number | readonly number[])[]): Tensor {
    if (axes.length > 2) return ops.permute(this, axes.flat());
    return ops.transpose(this, axes[0], axes[1] as number | undefined);
  }
  /** transpose() of the last two axes. */
  get T(): Tensor {
    return ops.transpose(this);
  }
  /**
   * The axes in another order, given as an array or as separate numbers; without a copy: see the function
   * {@link ops.permute}.
   */
  permute(...axes: readonly (number | readonly number[])[]): Tensor {
    return ops.permute(this, axes.flat());
  }
  /** Another shape, as an array or as separate numbers; one size may be -1: see the function {@link ops.reshape}. */
  reshape(...shape: readonly (number | readonly number[])[]): Tensor {
    return ops.reshape(this, shape.flat());
  }
  /** The axes from start to end (default: all) joined into one: see the function {@link ops.flatten}. */
  flatten(start?: number, end?: number): Tensor {
    return ops.flatten(this, start, end);
  }
  /** Without an axis of size 1, or without all of them: see the function {@link ops.squeeze}. */
  squeeze(axis?: number): Tensor {
    return ops.squeeze(this, axis);
  }
  /** With a new axis of size 1: see the function {@link ops.unsqueeze}. */
  unsqueeze(axis: number): Tensor {
    return ops.unsqueeze(this, axis);
  }
  /**
   * Repeated to another shape, given as an array or as separate numbers; without a copy: see the function
   * {@link ops.broadcastTo}.
   */
  broadcastTo(...shape: readonly (number | readonly number[])[]): Tensor {
    return ops.broadcastTo(this, shape.flat());
  }
  /** slice(start, end?) along the first axis, or one range per axis: see the function {@link ops.slice}. */
  slice(...ranges: readonly (Range | readonly Range[])[]): Tensor {
    return ops.slice(this, ...ranges);
  }
  /** `length` elements from `start` along an axis, without a copy: see the function {@link ops.narrow}. */
  narrow(axis: number, start: number, length: number): Tensor {
    return ops.narrow(this, axis, start, length);
  }
  /** The slice at one index of an axis, which goes away: see the function {@link ops.select}. */
  select(axis: number, index: number): Tensor {
    return ops.select(this, axis, index);
  }
  /** Elements picked by index along an axis: see the function {@link ops.gather}. */
  gather(axis: number, index: Tensor): Tensor {
    return ops.gather(this, axis, index);
  }
  /** The slices along an axis that whole numbers name, in that order: see the function {@link ops.indexSelect}. */
  indexSelect(axis: number, index: Tensor | readonly number[]): Tensor {
    return ops.indexSelect(this, axis, index);
  }

  /** Parts of one size, or of the given sizes, along an axis (default 0): see the function {@link ops.split}. */
  split(sizeOrSizes: number | readonly number[], axis?: number): Tensor[] {
    return ops.split(this, sizeOrSizes, axis);
  }
  /** At most n parts along an axis (default 0): see the function {@link ops.chunk}. */
  chunk(n: number, axis?: number): Tensor[] {
    return ops.chunk(this, n, axis);
  }
  /** In reverse along one axis, several, or all: see the function {@link ops.flip}. */
  flip(axes?: number | readonly number[] | null): Tensor {
    return ops.flip(this, axes);
  }
  /** The elements on and below a diagonal of matrices, 0 elsewhere: see the function {@link ops.tril}. */
  tril(diagonal?: number): Tensor {
    return ops.tril(this, diagonal);
  }
  /** The elements on and above a diagonal of matrices, 0 elsewhere: see the function {@link ops.triu}. */
  triu(diagonal?: number): Tensor {
    return ops.triu(this, diagonal);
  }
  /** The diagonal of a matrix, or the matrix with this vector on its diagonal: see the function {@link ops.diag}. */
  diag(diagonal?: number): Tensor {
    return ops.diag(this, diagonal);
  }

  // ---- lifetime and display ----

  /**
   * Gives the memory back at once. For hand-written loops; the tensor, and every view of it, is unusable afterwards
   * (StateError). Does nothing where others may use the memory: `data` was read, it is that of a parameter or of what a compiled
   * step keeps.
   */
  dispose(): void {
    const { storage } = this.view;
    // What may go to the pool is never shared, and asking an array for its buffer costs more than the rest.
    if (storage.exposed || (!storage.poolable && storage.shared)) return;
    release(storage);
  }

  /** dispose(), for `using`. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Shape, dtype and values, shortened where there are many; what console.log shows. */
  toString(): string {
    return showTensor(this);
  }

  /** What JSON.stringify writes: the nested values. */
  toJSON(): NestedArray {
    return this.toArray();
  }

  /** @internal */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return showTensor(this);
  }

  /**
   * A tensor of one value: see full().
   *
   * @internal
   */
  static full(shape: Shape, value: number, dtype: DType): Tensor {
    return ops.full(shape, value, dtype);
  }
}

/** Methods that need a tensor's own fields refuse what only looks like one. */
function checkSelf(op: string, t: Tensor): void {
  if (!isTensor(t))
    throw new ArgumentError(`${op}: called on something that is no tensor, such as a Proxy around one`);
}

/** The values without marking the memory as handed out. */
function valuesOf(t: Tensor, what: string): TypedArray {
  checkSelf(what, t);
  checkReadable(what);
  t.view.storage.read(what);
  const v = withRecorder(null, () => contiguous(t.view));
  const array = v.storage.read(what);
  return v.whole ? array : array.subarray(v.offset, v.offset + v.size);
}

function checkInPlace(t: Tensor, op: string): void {
  checkSelf(op, t);
  if (t.node !== null) {
    throw new GradError(
      `${op}: this tensor was computed by ${t.node.op.name} and backward may need it; ` +
        `use the operation without the underscore, or detach() first`,
    );
  }
  const { shape, strides } = t.view;
  if (t.size > 0 && strides.some((stride, i) => stride === 0 && (shape[i] as number) > 1)) {
    throw new ArgumentError(
      `${op}: elements of this broadcast tensor share their memory; change a clone() of it`,
    );
  }
}

function fitted(t: Tensor, op: string, other: View): View {
  const lead = t.rank - other.shape.length;
  for (let i = 0; i < other.shape.length; i++) {
    const n = other.shape[i] as number;
    if (lead < 0 || (n !== 1 && n !== t.shape[i + lead])) {
      throw new ShapeError(`${op}: ${showShape(other.shape)} does not broadcast to ${showShape(t.shape)}`);
    }
  }
  return other.broadcast(t.shape);
}

/** Replaces the values by those of a result. Not recorded. */
function assign<T extends Tensor>(t: T, name: string, compute: (self: Tensor) => Tensor): T {
  checkInPlace(t, name);
  const before = enterOp(name);
  try {
    const y = compute(t.detach());
    if (!sameShape(y.shape, t.shape)) {
      throw new ShapeError(
        `${name}: a result of shape ${showShape(y.shape)} does not fit ${showShape(t.shape)}`,
      );
    }
    if (!isFloat(t.dtype) && promote(t.dtype, y.dtype) !== t.dtype) {
      throw new DTypeError(
        `${name}: the result is ${y.dtype}, which a tensor of ${t.dtype} does not hold; use ${name.slice(0, -1)}, or convert with .to('${y.dtype}') first`,
      );
    }
    emitMap(copy, t.view, [y.view]);
  } finally {
    leaveOp(before);
  }
  return t;
}

installConstant((view) => new Tensor(view));

function detached(x: Operand): Operand {
  return isTensor(x) ? x.detach() : x;
}

/** Shape of nested arrays; refuses ragged ones. */
function nestedShape(values: unknown): number[] {
  const shape: number[] = [];
  let v = values;
  while (Array.isArray(v) || dtypeOf(v)) {
    const list = v as ArrayLike<unknown>;
    shape.push(list.length);
    if (shape.length > 64) throw new ShapeError('tensor: the arrays are nested too deeply');
    if (list.length === 0) break;
    v = list[0];
  }
  return shape;
}

/**
 * A tensor of the given values: a number, nested arrays of numbers or booleans, or a typed array (copied; float32,
 * float64, int32 and Uint8Array keep their type, others become float32). `shape` reshapes a flat list;
 * one size may be -1.
 *
 * Throws ShapeError for ragged arrays or a shape that does not fit, DTypeError for values that are no numbers.
 */
export function tensor(
  values: TensorValues,
  options: TensorOptions & { readonly shape?: Shape } = {},
): Tensor {
  checkOptions('tensor', options, ['dtype', 'requiresGrad', 'shape']);
  const given = options.dtype === undefined ? undefined : checkDType(options.dtype, 'tensor');
  let array: TypedArray;
  let shape: number[];
  if (ArrayBuffer.isView(values) && !(values instanceof DataView)) {
    const source = values as unknown as TypedArray;
    if (typeof source[0] === 'bigint')
      throw new DTypeError('tensor: 64-bit integers are not a dtype; convert to numbers');
    const dtype = given ?? dtypeOf(source) ?? 'float32';
    array = convert(source, dtype);
    shape = [source.length];
  } else {
    shape = nestedShape(values);
    const flat: (number | boolean)[] = [];
    flatten(values, shape, 0, flat);
    const dtype =
      given ?? (flat.length > 0 && flat.every((x) => typeof x === 'boolean') ? 'bool' : 'float32');
    array = convert(flat as ArrayLike<number>, dtype);
  }
  if (options.shape !== undefined) {
    const wanted = checkShape('tensor', inferSize(options.shape, array.length));
    if (sizeOf(wanted) !== array.length) {
      throw new ShapeError(`tensor: ${array.length} values do not fill shape ${showShape(wanted)}`);
    }
    shape = wanted;
  }
  const dtype = dtypeOf(array) as DType;
  const t = new Tensor(fullView(constantStorage(dtype, array), checkShape('tensor', shape)));
  if (options.requiresGrad !== undefined) t.requiresGrad = options.requiresGrad;
  return t;
}

/** The shape with a size of -1 replaced by the one that takes all values. */
function inferSize(shape: Shape, size: number): Shape {
  const at = Array.isArray(shape) ? shape.indexOf(-1) : -1;
  if (at < 0) return shape;
  const rest = shape.reduce((n, m, i) => (i === at ? n : n * m), 1);
  // What does not come out even is refused with the shape as given.
  return rest > 0 && size % rest === 0 ? shape.map((n, i) => (i === at ? size / rest : n)) : shape;
}

function flatten(v: unknown, shape: readonly number[], axis: number, out: (number | boolean)[]): void {
  if (axis === shape.length) {
    if (typeof v !== 'number' && typeof v !== 'boolean') {
      const ragged = Array.isArray(v) || dtypeOf(v);
      if (ragged) throw new ShapeError('tensor: the nested arrays are ragged: they differ in depth');
      throw new DTypeError(`tensor: values are numbers or booleans, not ${describe(v)}`);
    }
    out.push(v);
    return;
  }
  if (!Array.isArray(v) && !dtypeOf(v))
    throw new ShapeError('tensor: the nested arrays are ragged: they differ in depth');
  const list = v as ArrayLike<unknown>;
  if (list.length !== shape[axis]) {
    throw new ShapeError(
      `tensor: the nested arrays are ragged: ${list.length} elements next to ${shape[axis]}`,
    );
  }
  for (let i = 0; i < list.length; i++) flatten(list[i], shape, axis + 1, out);
}

/** A fresh typed array of a dtype; whole numbers truncate and saturate as kernels do. */
function convert(values: ArrayLike<number>, dtype: DType): TypedArray {
  checkLength(values.length, dtype, 'tensor');
  const out = plainMemory(dtype, values.length, 'tensor').array;
  if (dtype === 'bool') for (let i = 0; i < out.length; i++) out[i] = Number(values[i]) !== 0 ? 1 : 0;
  else if (dtype === 'int32') {
    for (let i = 0; i < out.length; i++) {
      const v = Math.trunc(values[i] as number);
      out[i] = Number.isNaN(v) ? 0 : Math.min(Math.max(v, -(2 ** 31)), 2 ** 31 - 1);
    }
  } else for (let i = 0; i < out.length; i++) out[i] = values[i] as number;
  return out;
}

/**
 * A leaf that lives long (a parameter or a buffer of a module): zeroed shared memory. `stream`: which of the tensors of
 * its shape that one loop updates together, parameters being 0 (see sharedMemory).
 */
export function persistent(shape: Shape, dtype: DType, stream = 0): Tensor {
  const checked = checkShape('allocation', shape);
  // It may outlive the step in which it is made.
  return withRecorder(
    null,
    () => new Tensor(fullView(sharedStorage(dtype, sizeOf(checked), stream), checked)),
  );
}
