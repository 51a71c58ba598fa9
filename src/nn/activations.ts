import { checkNumber } from '../ops/elementwise.js';
import * as ops from '../ops/index.js';
import { observe } from '../program/emit.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import { Module } from './module.js';

// Activations as modules; each is the function of the same name.

/** max(x, 0). */
export class ReLU extends Module {
  override forward(x: Tensor): Tensor {
    return ops.relu(x);
  }
}

/** x where it is positive, else negativeSlope · x (default 0.01). */
export class LeakyReLU extends Module {
  constructor(public negativeSlope = 0.01) {
    super();
    checkNumber('LeakyReLU', 'negativeSlope', negativeSlope);
  }
  override forward(x: Tensor): Tensor {
    observe(() => this.negativeSlope);
    return ops.leakyRelu(x, this.negativeSlope);
  }
  protected override describe(): string {
    return String(this.negativeSlope);
  }
}

/** 1 / (1 + exp(-x)). */
export class Sigmoid extends Module {
  override forward(x: Tensor): Tensor {
    return ops.sigmoid(x);
  }
}

export class Tanh extends Module {
  override forward(x: Tensor): Tensor {
    return ops.tanh(x);
  }
}

/** x Φ(x) (Hendrycks and Gimpel, 2016): exact, or { approximate: 'tanh' }. */
export class GELU extends Module {
  approximate: 'none' | 'tanh';
  constructor(options: ops.GeluOptions = {}) {
    super();
    checkOptions('GELU', options, ['approximate']);
    this.approximate = options.approximate ?? 'none';
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
  constructor(public alpha = 1) {
    super();
    checkNumber('ELU', 'alpha', alpha);
  }
  override forward(x: Tensor): Tensor {
    observe(() => this.alpha);
    return ops.elu(x, this.alpha);
  }
  protected override describe(): string {
    return String(this.alpha);
  }
}

/** log(1 + exp(beta x)) / beta: see softplus for the options. */
export class Softplus extends Module {
  readonly options: ops.SoftplusOptions;
  constructor(options: ops.SoftplusOptions = {}) {
    super();
    checkOptions('Softplus', options, ['beta', 'threshold']);
    this.options = Object.freeze({ ...options });
  }
  override forward(x: Tensor): Tensor {
    return ops.softplus(x, this.options);
  }
}

/** exp(x) / sum(exp(x)) along an axis (default: the last). */
export class Softmax extends Module {
  constructor(readonly axis = -1) {
    super();
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
  constructor(readonly axis = -1) {
    super();
  }
  override forward(x: Tensor): Tensor {
    return ops.logSoftmax(x, this.axis);
  }
  protected override describe(): string {
    return String(this.axis);
  }
}
