import type { DType } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { axisOption } from '../ops/axis.js';
import { checkNumber } from '../ops/elementwise.js';
import * as ops from '../ops/index.js';
import { checkTensor, isTensor } from '../ops/primitive.js';
import { observe } from '../program/emit.js';
import { showShape } from '../program/view.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import { emptyParameter, Module } from './module.js';
import { checkChoice, checkCount, checkFloatDType } from './options.js';

// Activations as modules; each is the function of the same name, on float32 or float64 of any shape (whole numbers are taken
// as float32). Their one number may be given as an option; options that do not exist are an ArgumentError.

function numberOption(op: string, name: string, given: unknown, otherwise: number): number {
  if (typeof given !== 'object' || given === null || isTensor(given)) return checkNumber(op, name, given);
  checkOptions(op, given, [name]);
  return checkNumber(op, name, (given as Record<string, unknown>)[name] ?? otherwise);
}

/** σ(x) = max(x, 0); its derivative at 0 is 0. */
export class ReLU extends Module {
  override forward(x: Tensor): Tensor {
    return ops.relu(x);
  }
}

/** x where it is positive, else negativeSlope · x (default 0.01). */
export class LeakyReLU extends Module {
  /** Factor of what is negative. */
  negativeSlope: number;
  constructor(negativeSlope: number | { readonly negativeSlope?: number } = 0.01) {
    super();
    this.negativeSlope = numberOption('LeakyReLU', 'negativeSlope', negativeSlope, 0.01);
  }
  override forward(x: Tensor): Tensor {
    observe(() => this.negativeSlope);
    return ops.leakyRelu(x, this.negativeSlope);
  }
  protected override describe(): string {
    return String(this.negativeSlope);
  }
}

/** σ(x) = 1 / (1 + exp(-x)), with σ′ = σ (1 - σ) (lecture 002, "Backpropagation"). */
export class Sigmoid extends Module {
  override forward(x: Tensor): Tensor {
    return ops.sigmoid(x);
  }
}

/** tanh(x), with the derivative 1 - tanh². */
export class Tanh extends Module {
  override forward(x: Tensor): Tensor {
    return ops.tanh(x);
  }
}

/**
 * x Φ(x) (Hendrycks and Gimpel, 2016), with the normal distribution function Φ: exact (approximate: 'none', the default), or
 * x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))) with { approximate: 'tanh' }.
 */
export class GELU extends Module {
  /** Whether the approximation by tanh is taken. */
  approximate: 'none' | 'tanh';
  constructor(options: ops.GeluOptions = {}) {
    super();
    checkOptions('GELU', options, ['approximate']);
    this.approximate = checkChoice('GELU', 'approximate', options.approximate ?? 'none', ['none', 'tanh']);
  }
  override forward(x: Tensor): Tensor {
    observe(() => this.approximate);
    return ops.gelu(x, { approximate: this.approximate });
  }
  protected override describe(): string {
    return this.approximate === 'none' ? '' : `{ approximate: '${this.approximate}' }`;
  }
}

/** x sigmoid(x), also called swish. */
export class SiLU extends Module {
  override forward(x: Tensor): Tensor {
    return ops.silu(x);
  }
}

/** x where it is positive, else alpha (exp(x) - 1); alpha defaults to 1. */
export class ELU extends Module {
  /** Minus the limit towards −∞. */
  alpha: number;
  constructor(alpha: number | { readonly alpha?: number } = 1) {
    super();
    this.alpha = numberOption('ELU', 'alpha', alpha, 1);
  }
  override forward(x: Tensor): Tensor {
    observe(() => this.alpha);
    return ops.elu(x, this.alpha);
  }
  protected override describe(): string {
    return String(this.alpha);
  }
}

/** scale (x where it is positive, else alpha (exp(x) - 1)), with the constants of Klambauer et al. (2017). */
export class SELU extends Module {
  override forward(x: Tensor): Tensor {
    return ops.selu(x);
  }
}

/** x limited to [min, max]; defaults -1 and 1. The derivative is 0 at the limits. */
export class Hardtanh extends Module {
  /** The least value of the result. */
  min: number;
  /** The largest value of the result. */
  max: number;
  constructor(options: ops.ClampOptions = {}) {
    super();
    checkOptions('Hardtanh', options, ['min', 'max']);
    this.min = checkNumber('Hardtanh', 'min', options.min ?? -1);
    this.max = checkNumber('Hardtanh', 'max', options.max ?? 1);
    if (this.min > this.max)
      throw new ArgumentError(`Hardtanh: min must not exceed max: ${this.min}, ${this.max}`);
  }
  override forward(x: Tensor): Tensor {
    for (const read of [() => this.min, () => this.max]) observe(read);
    return ops.hardtanh(x, { min: this.min, max: this.max });
  }
  protected override describe(): string {
    return `{ min: ${this.min}, max: ${this.max} }`;
  }
}

/** Options of a PReLU layer. */
export interface PReLUOptions {
  /** One slope for all (1, default), or one for each of the features on axis 1. */
  readonly numParameters?: number;
  /** What the slopes start at. Default 0.25. */
  readonly init?: number;
  /** Default float32. */
  readonly dtype?: DType;
}

/** x where it is positive, else weight · x, with a weight that is learned (He et al., 2015). */
export class PReLU extends Module {
  /** Factor of what is negative, trained: [1], or one per feature. */
  weight: Tensor;
  constructor(options: PReLUOptions = {}) {
    super();
    checkOptions('PReLU', options, ['numParameters', 'init', 'dtype']);
    const n = checkCount('PReLU', 'numParameters', options.numParameters ?? 1);
    const dtype = checkFloatDType('PReLU', options.dtype ?? 'float32');
    this.weight = emptyParameter([n], dtype).fill_(checkNumber('PReLU', 'init', options.init ?? 0.25));
  }
  override forward(x: Tensor): Tensor {
    checkTensor('PReLU', x, 'the input');
    const n = this.weight.size;
    if (n > 1 && x.shape[x.rank === 1 ? 0 : 1] !== n) {
      throw new ShapeError(
        `PReLU: the input ${showShape(x.shape)} does not have the ${n} features of the weight`,
      );
    }
    const slopes =
      x.rank <= 2 ? this.weight : ops.reshape(this.weight, [n, ...x.shape.slice(2).map(() => 1)]);
    return ops.where(ops.gt(x, 0), x, ops.mul(x, x.rank === 0 ? ops.reshape(slopes, []) : slopes));
  }
  protected override describe(): string {
    return this.weight.size === 1 ? '' : `{ numParameters: ${this.weight.size} }`;
  }
}

/** log(1 + exp(beta x)) / beta: see softplus for the options. */
export class Softplus extends Module {
  /** As given. */
  readonly options: ops.SoftplusOptions;
  constructor(options: ops.SoftplusOptions = {}) {
    super();
    checkOptions('Softplus', options, ['beta', 'threshold']);
    ops.checkSoftplus('Softplus', options);
    this.options = Object.freeze({ ...options });
  }
  override forward(x: Tensor): Tensor {
    return ops.softplus(x, this.options);
  }
}

/**
 * Softmax, f_j = exp(h_j) / Σ exp(h_j′) along an axis (default: the last; lectures 001 and 002), without overflow: numbers in
 * [0, 1] that sum to 1. crossEntropy takes the numbers before it.
 */
export class Softmax extends Module {
  /** The axis along which the results add up to 1. */
  readonly axis: number;
  constructor(axis: ops.AxisOption = -1) {
    super();
    this.axis = axisOption('Softmax', axis, -1);
  }
  override forward(x: Tensor): Tensor {
    return ops.softmax(x, this.axis);
  }
  protected override describe(): string {
    return String(this.axis);
  }
}

/** log(softmax(x)) along an axis (default: the last), without overflow. */
export class LogSoftmax extends Module {
  /** The axis along which the probabilities add up to 1. */
  readonly axis: number;
  constructor(axis: ops.AxisOption = -1) {
    super();
    this.axis = axisOption('LogSoftmax', axis, -1);
  }
  override forward(x: Tensor): Tensor {
    return ops.logSoftmax(x, this.axis);
  }
  protected override describe(): string {
    return String(this.axis);
  }
}
