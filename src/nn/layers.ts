import type { DType } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { normal, uniform } from '../init/index.js';
import * as ops from '../ops/index.js';
import { indexTensor } from '../ops/indices.js';
import { checkTensor, isTensor } from '../ops/primitive.js';
import { observe } from '../program/emit.js';
import { Generator } from '../program/generator.js';
import { describe, showShape } from '../program/view.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import * as F from './functional.js';
import { emptyParameter, Module } from './module.js';
import { checkBoolean, checkCount, checkFloatDType, checkProbability } from './options.js';

/** Options of a Linear layer. */
export interface LinearOptions {
  /** Default true. */
  readonly bias?: boolean;
  /** Default float32. */
  readonly dtype?: DType;
  /** Where the initial values come from; default: the generator that manualSeed() seeds. */
  readonly generator?: Generator;
  /**
   * Adds the bias as the product 1 · bᵀ of a column of ones with the row b (the matrix form of lectures 000 and 004), instead of
   * by broadcasting: the same numbers, for a matrix of copies. Default false.
   */
  readonly formalBias?: boolean;
}

/**
 * Fully connected layer, y = x · W + b for x of shape [..., nIn] (lecture 004, "Linear layer"; for a column z it is lectures
 * 000 and 002's Wᵀz + b). `weight` is [nIn, nOut], `bias` [nOut] or null; b is broadcast over the rows. Both start uniform on
 * ±1/√nIn, as in PyTorch, whose weight is the transpose.
 *
 * Throws ArgumentError for sizes that are not whole numbers ≥ 1 and options that do not exist, ShapeError for an input that
 * does not end with nIn features.
 */
export class Linear extends Module {
  /** W, [nIn, nOut]. */
  weight: Tensor;
  /** b, [nOut]; null for a layer without one. */
  bias: Tensor | null;
  /** Features of the input. */
  readonly nIn: number;
  /** Features of the result. */
  readonly nOut: number;
  /** Whether the bias is added as the product 1·bᵀ. */
  readonly formalBias: boolean;

  constructor(nIn: number, nOut: number, options: LinearOptions = {}) {
    super();
    checkOptions('Linear', options, ['bias', 'dtype', 'generator', 'formalBias']);
    this.nIn = checkCount('Linear', 'nIn', nIn);
    this.nOut = checkCount('Linear', 'nOut', nOut);
    this.formalBias = checkBoolean('Linear', 'formalBias', options.formalBias, false);
    const dtype = checkFloatDType('Linear', options.dtype ?? 'float32');
    const { generator } = options;
    const bound = 1 / Math.sqrt(nIn);
    this.weight = uniform(emptyParameter([nIn, nOut], dtype), { a: -bound, b: bound, generator });
    this.bias = checkBoolean('Linear', 'bias', options.bias, true)
      ? uniform(emptyParameter([nOut], dtype), { a: -bound, b: bound, generator })
      : null;
  }

  override forward(x: Tensor): Tensor {
    return this.activated(x, 'none');
  }

  /**
   * The layer with an activation behind it, in one pass. For Sequential.
   *
   * @internal
   */
  activated(x: Tensor, activation: ops.LinearActivation): Tensor {
    checkTensor('Linear', x, 'the input');
    observe(() => this.bias === null);
    const { shape } = x;
    if (shape.length === 0 || shape[shape.length - 1] !== this.weight.shape[0]) {
      throw new ShapeError(
        `Linear: the input ${showShape(shape)} does not end with the ${this.weight.shape[0]} features that this layer ` +
          `takes (its weight is ${showShape(this.weight.shape)})`,
      );
    }
    return ops.activatedLinear(x, this.weight, this.bias, activation, this.formalBias);
  }

  protected override describe(): string {
    const options = [this.bias ? '' : 'bias: false', this.formalBias ? 'formalBias: true' : ''].filter(
      Boolean,
    );
    return `${this.nIn}, ${this.nOut}${options.length === 0 ? '' : `, { ${options.join(', ')} }`}`;
  }
}

/** Options of an Embedding. */
export interface EmbeddingOptions {
  /** Default float32. */
  readonly dtype?: DType;
  /** Where the initial values come from; default: the generator that manualSeed() seeds. */
  readonly generator?: Generator;
}

/**
 * A table of `count` vectors of `size` numbers: int32 indices of any shape s give [...s, size]. `weight` [count, size]
 * starts standard normal, as in PyTorch. Throws IndexError for an index outside [0, count).
 */
export class Embedding extends Module {
  /** The vectors, [count, size]. */
  weight: Tensor;
  /** How many vectors there are. */
  readonly count: number;
  /** Numbers per vector. */
  readonly size: number;

  constructor(count: number, size: number, options: EmbeddingOptions = {}) {
    super();
    checkOptions('Embedding', options, ['dtype', 'generator']);
    this.count = checkCount('Embedding', 'count', count);
    this.size = checkCount('Embedding', 'size', size);
    const dtype = checkFloatDType('Embedding', options.dtype ?? 'float32');
    this.weight = normal(emptyParameter([count, size], dtype), { generator: options.generator });
  }

  override forward(indices: Tensor | readonly number[]): Tensor {
    const t = indexTensor('Embedding', indices);
    return ops.reshape(ops.indexSelect(this.weight, 0, ops.reshape(t, [t.size])), [...t.shape, this.size]);
  }

  protected override describe(): string {
    return `${this.count}, ${this.size}`;
  }
}

/** Returns its input. */
export class Identity extends Module {
  override forward(x: Tensor): Tensor {
    return x;
  }
}

/** Joins the axes from startAxis (default 1: all but the batch) to endAxis (default: the last) into one. */
export class Flatten extends Module {
  constructor(
    /** The first axis of those that are joined. */
    readonly startAxis = 1,
    /** The last one. */
    readonly endAxis = -1,
  ) {
    super();
    for (const a of [startAxis, endAxis]) {
      if (!Number.isInteger(a))
        throw new ArgumentError(`Flatten: axes are whole numbers, not ${describe(a)}`);
    }
  }

  override forward(x: Tensor): Tensor {
    return ops.flatten(x, this.startAxis, this.endAxis);
  }
}

/** Options of a Dropout layer. */
export interface DropoutModuleOptions {
  /** Probability of an element to be set to 0, where it is not the first argument. Default 0.5. */
  readonly p?: number;
  /** Where the masks come from; default: the generator that manualSeed() seeds. */
  readonly generator?: Generator;
}

/**
 * In training mode every element is set to 0 with probability p (default 0.5), and the others are multiplied
 * by 1 / (1 - p); in evaluation mode nothing is changed (Srivastava et al., 2014).
 */
export class Dropout extends Module {
  /** Probability of an element to be set to 0. */
  p: number;
  readonly #generator: Generator | undefined;

  constructor(p: number | DropoutModuleOptions = 0.5, more: DropoutModuleOptions = {}) {
    super();
    const alone = typeof p === 'object' && p !== null && !isTensor(p);
    const options = alone ? { ...more, ...p } : more;
    checkOptions('Dropout', options, alone ? ['p', 'generator'] : ['generator']);
    this.p = checkProbability('Dropout', 'p', alone ? (options.p ?? 0.5) : p);
    if (options.generator !== undefined && !(options.generator instanceof Generator)) {
      throw new ArgumentError(`Dropout: generator is a Generator, not ${describe(options.generator)}`);
    }
    this.#generator = options.generator;
  }

  override forward(x: Tensor): Tensor {
    observe(() => this.p);
    return F.dropout(x, { p: this.p, training: this.training, generator: this.#generator });
  }

  protected override describe(): string {
    return String(this.p);
  }
}
