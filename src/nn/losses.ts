import * as F from '../losses/index.js';
import { checkReduction, divergenceReductions, reductions, squaredReductions } from '../losses/options.js';
import { observe } from '../program/emit.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import { Module } from './module.js';

// Losses as modules: the options of the functions in F, given once.

/**
 * Makes the module of a loss function. The names of the options and the reduction are checked at construction, the rest with
 * the first call.
 */
abstract class Loss<O extends { readonly reduction?: unknown }> extends Module {
  /** The options of the function; they may be changed between calls. */
  options: O;

  constructor(names: readonly string[], options: O, words: readonly string[] = reductions) {
    super();
    checkOptions(new.target.name, options, names);
    checkReduction(new.target.name, options.reduction, words);
    this.options = { ...options };
  }

  /** The options of a call; a compiled step notices when one was changed. */
  protected current(): O {
    const { options } = this;
    observe(() => this.options);
    for (const key of Object.keys(options) as (keyof O)[]) observe(() => options[key]);
    return options;
  }
}

/** Squared error as a module. Shapes, options, defaults and errors are those of F.mseLoss. */
export class MSELoss extends Loss<F.MSEOptions> {
  constructor(options: F.MSEOptions = {}) {
    super(['reduction'], options, squaredReductions);
  }
  override forward(input: Tensor, target: Tensor): Tensor {
    return F.mseLoss(input, target, this.current());
  }
}

/** Absolute error as a module. Shapes, options, defaults and errors are those of F.l1Loss. */
export class L1Loss extends Loss<F.ReductionOptions> {
  constructor(options: F.ReductionOptions = {}) {
    super(['reduction'], options);
  }
  override forward(input: Tensor, target: Tensor): Tensor {
    return F.l1Loss(input, target, this.current());
  }
}

/** Smooth L1 loss as a module. Shapes, options, defaults and errors are those of F.smoothL1Loss. */
export class SmoothL1Loss extends Loss<F.SmoothL1Options> {
  constructor(options: F.SmoothL1Options = {}) {
    super(['reduction', 'beta'], options);
  }
  override forward(input: Tensor, target: Tensor): Tensor {
    return F.smoothL1Loss(input, target, this.current());
  }
}

/** Huber's loss as a module. Shapes, options, defaults and errors are those of F.huberLoss. */
export class HuberLoss extends Loss<F.HuberOptions> {
  constructor(options: F.HuberOptions = {}) {
    super(['reduction', 'delta'], options);
  }
  override forward(input: Tensor, target: Tensor): Tensor {
    return F.huberLoss(input, target, this.current());
  }
}

/** Softmax cross-entropy of logits as a module. Shapes, options, defaults and errors are those of F.crossEntropy. */
export class CrossEntropyLoss extends Loss<F.CrossEntropyOptions> {
  constructor(options: F.CrossEntropyOptions = {}) {
    super(['reduction', 'weight', 'ignoreIndex', 'labelSmoothing'], options);
  }
  override forward(logits: Tensor, target: Parameters<typeof F.crossEntropy>[1]): Tensor {
    return F.crossEntropy(logits, target, this.current());
  }
}

/** Negative log likelihood of log probabilities as a module. Shapes, options, defaults and errors are those of F.nllLoss. */
export class NLLLoss extends Loss<F.NLLOptions> {
  constructor(options: F.NLLOptions = {}) {
    super(['reduction', 'weight', 'ignoreIndex'], options);
  }
  override forward(input: Tensor, target: Tensor | readonly number[] | Int32Array): Tensor {
    return F.nllLoss(input, target, this.current());
  }
}

/** Binary cross-entropy of probabilities as a module. Shapes, options, defaults and errors are those of F.bce. */
export class BCELoss extends Loss<F.BCEOptions> {
  constructor(options: F.BCEOptions = {}) {
    super(['reduction', 'weight'], options);
  }
  override forward(input: Tensor, target: Tensor): Tensor {
    return F.bce(input, target, this.current());
  }
}

/** Binary cross-entropy of logits as a module. Shapes, options, defaults and errors are those of F.bceWithLogits. */
export class BCEWithLogitsLoss extends Loss<F.BCEWithLogitsOptions> {
  constructor(options: F.BCEWithLogitsOptions = {}) {
    super(['reduction', 'weight', 'posWeight'], options);
  }
  override forward(logits: Tensor, target: Tensor): Tensor {
    return F.bceWithLogits(logits, target, this.current());
  }
}

/** Kullback–Leibler divergence of log probabilities as a module. Shapes, options, defaults and errors are those of F.klDiv. */
export class KLDivLoss extends Loss<F.KLDivOptions> {
  constructor(options: F.KLDivOptions = {}) {
    super(['reduction', 'logTarget'], options, divergenceReductions);
  }
  override forward(input: Tensor, target: Tensor): Tensor {
    return F.klDiv(input, target, this.current());
  }
}
