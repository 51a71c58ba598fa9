import { isFloat } from '../dtype.js';
import { ArgumentError, DTypeError } from '../errors.js';
import * as ops from '../ops/index.js';
import { checkTensor } from '../ops/primitive.js';
import { bernoulli } from '../ops/random.js';
import { defaultGenerator, Generator } from '../program/generator.js';
import { describe } from '../program/view.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import { checkProbability } from './options.js';

// The namespace F: what modules do, as functions.

export * from '../losses/index.js';
export {
  elu,
  gelu,
  hardtanh,
  leakyRelu,
  linear,
  logSigmoid,
  logSoftmax,
  relu,
  selu,
  sigmoid,
  silu,
  softmax,
  softplus,
  tanh,
} from '../ops/index.js';

/** Options of dropout. */
export interface DropoutOptions {
  /** Probability of an element to be set to 0. Default 0.5. */
  readonly p?: number;
  /** False leaves the input as it is. Default true. */
  readonly training?: boolean;
  /** Where the mask comes from; default: the generator that manualSeed() seeds. */
  readonly generator?: Generator | undefined;
}

/**
 * Sets every element to 0 with probability p and multiplies the others by 1 / (1 - p), while `training`. The
 * options may be just the number p, with `training` behind it: dropout(x, 0.2, model.training).
 */
export function dropout(x: Tensor, options: DropoutOptions | number = {}, mode = true): Tensor {
  checkTensor('dropout', x);
  const given = typeof options === 'number' ? { p: options, training: mode } : options;
  checkOptions('dropout', given, ['p', 'training', 'generator']);
  const { training = true, generator = defaultGenerator }: DropoutOptions = given;
  const p = checkProbability('dropout', 'p', given.p ?? 0.5);
  if (typeof training !== 'boolean') {
    throw new ArgumentError(`dropout: training must be true or false, not ${describe(training)}`);
  }
  if (!(generator instanceof Generator)) {
    throw new ArgumentError(`dropout: generator is a Generator, not ${describe(generator)}`);
  }
  if (!isFloat(x.dtype)) throw new DTypeError(`dropout: takes float32 or float64, not ${x.dtype}`);
  if (!training || p === 0) return x;
  if (p === 1) return ops.mul(x, 0);
  return ops.mul(x, bernoulli(x.shape, 1 - p, 1 / (1 - p), x.dtype, generator));
}
