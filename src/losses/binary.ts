import { noGrad } from '../autograd/mode.js';
import { isFloat } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { constant } from '../ops/constant.js';
import * as ops from '../ops/index.js';
import { composed } from '../ops/intermediates.js';
import { apply, primitive, type Spec } from '../ops/primitive.js';
import { describe, showShape, type View } from '../program/view.js';
import { checkOptions, type Tensor, type TensorValues } from '../tensor/tensor.js';
import {
  checkReduction,
  checkSameShape,
  divergenceReductions,
  factors,
  type ReductionOptions,
  reduce,
} from './options.js';

/**
 * Logarithms are cut off here, as in PyTorch, so that a probability of exactly 0 or 1 gives a finite loss.
 */
const lowest = -100;

/** PyTorch keeps this number as a float32. */
const leastSpread = Math.fround(1e-12);

function logOf(x: Tensor): Tensor {
  return ops.clamp(ops.log(x), lowest);
}

function logOfRest(x: Tensor): Tensor {
  return ops.clamp(ops.log1p(ops.neg(x)), lowest);
}

/**
 * A row of its own, because the derivative is not that of the formula where a logarithm is cut off: for the
 * input it is (x - t) / max(x (1 - x), 1e-12), for the target log(1 - x) - log(x), as in PyTorch.
 */
const op = primitive<null>({
  name: 'binaryCrossEntropy',
  elementwise: true,
  infer: ([x]) => x as Spec,
  run([x, t]) {
    const [input, target] = [constant(x as View), constant(t as View)];
    const loss = (): Tensor => {
      const rest = ops.mul(ops.sub(target, 1), logOfRest(input));
      return ops.sub(rest, ops.mul(target, logOf(input)));
    };
    return noGrad(() => composed(loss).view);
  },
  saves: [0, 1],
  vjp: (g, ctx) => {
    const [x, t] = [ctx.input(0), ctx.input(1)];
    const spread = ops.clamp(ops.mul(x, ops.sub(1, x)), leastSpread);
    return [
      ctx.needs[0] ? ops.mul(g, ops.div(ops.sub(x, t), spread)) : null,
      ctx.needs[1] ? ops.mul(g, ops.sub(ops.log1p(ops.neg(x)), ops.log(x))) : null,
    ];
  },
  samples: [[7], [3, 4], [], [0, 2]].map((shape) => ({
    inputs: [
      { shape, low: 0.1, high: 0.9 },
      { shape, low: 0, high: 1 },
    ],
    attrs: null,
  })),
});

/** Options of bce. */
export interface BCEOptions extends ReductionOptions {
  /** Factors for the elements; must broadcast to the input. Numbers and arrays will do. */
  readonly weight?: Tensor | TensorValues | undefined;
}

/** Options of bceWithLogits. */
export interface BCEWithLogitsOptions extends BCEOptions {
  /** Factors for the positive part, > 1 for more recall; must broadcast to the input. Numbers and arrays will do. */
  readonly posWeight?: Tensor | TensorValues | undefined;
}

function broadcastTo(name: string, what: string, given: Tensor | TensorValues, input: Tensor): Tensor {
  const factor = factors(name, what, given, input);
  const lead = input.rank - factor.rank;
  if (lead < 0 || factor.shape.some((n, i) => n !== 1 && n !== input.shape[i + lead])) {
    throw new ShapeError(
      `${name}: ${what} of shape ${showShape(factor.shape)} does not broadcast to the input ${showShape(input.shape)}`,
    );
  }
  return factor;
}

function floats(input: Tensor, target: Tensor): [Tensor, Tensor] {
  const x = isFloat(input.dtype) ? input : ops.to(input, 'float32');
  return [x, ops.to(target, x.dtype)];
}

/**
 * Binary cross-entropy of probabilities: -(t log x + (1 - t) log(1 - x)) (lecture 002, "Loss Function"), logarithms cut off at
 * -100. Targets lie in [0, 1] and have the shape of the input. For scores before a sigmoid, bceWithLogits is stabler. The values are
 * not read: an input outside [0, 1] has no logarithm and gives NaN.
 */
export function bce(input: Tensor, target: Tensor, options: BCEOptions = {}): Tensor {
  checkOptions('bce', options, ['reduction', 'weight']);
  checkSameShape('bce', input, target);
  const reduction = checkReduction('bce', options.reduction);
  const [x, t] = floats(input, target);
  return composed(() => {
    let loss = apply(op, [x, t], null);
    if (options.weight !== undefined) loss = ops.mul(loss, broadcastTo('bce', 'weight', options.weight, x));
    return reduce(loss, reduction);
  });
}

/**
 * bce(sigmoid(logits), targets) without overflow: (1 - t) x + (1 + (posWeight - 1) t) softplus(-x).
 */
export function bceWithLogits(logits: Tensor, target: Tensor, options: BCEWithLogitsOptions = {}): Tensor {
  checkOptions('bceWithLogits', options, ['reduction', 'weight', 'posWeight']);
  checkSameShape('bceWithLogits', logits, target);
  const reduction = checkReduction('bceWithLogits', options.reduction);
  const [x, t] = floats(logits, target);
  return composed(() => {
    let tail = ops.softplus(ops.neg(x));
    if (options.posWeight !== undefined) {
      const factor = broadcastTo('bceWithLogits', 'posWeight', options.posWeight, x);
      tail = ops.mul(ops.add(ops.mul(ops.sub(factor, 1), t), 1), tail);
    }
    let loss = ops.add(ops.mul(ops.sub(1, t), x), tail);
    if (options.weight !== undefined)
      loss = ops.mul(loss, broadcastTo('bceWithLogits', 'weight', options.weight, x));
    return reduce(loss, reduction);
  });
}

/** Options of klDiv. */
export interface KLDivOptions {
  /**
   * 'mean' (default) of all elements, 'batchMean' (the sum over the size of the first axis: the divergence),
   * 'sum' or 'none'.
   */
  readonly reduction?: 'mean' | 'batchMean' | 'sum' | 'none';
  /** The targets are log probabilities too. Default false. */
  readonly logTarget?: boolean;
}

/**
 * Kullback–Leibler divergence: t (log t - input), for log probabilities `input` and probabilities t; 0 log 0
 * is 0.
 */
export function klDiv(input: Tensor, target: Tensor, options: KLDivOptions = {}): Tensor {
  checkOptions('klDiv', options, ['reduction', 'logTarget']);
  checkSameShape('klDiv', input, target);
  const reduction = checkReduction('klDiv', options.reduction, divergenceReductions);
  const { logTarget = false } = options;
  if (typeof logTarget !== 'boolean')
    throw new ArgumentError(`klDiv: logTarget must be true or false, not ${describe(logTarget)}`);
  const [x, t] = floats(input, target);
  return composed(() => {
    let loss: Tensor;
    if (logTarget) loss = ops.mul(ops.exp(t), ops.sub(t, x));
    else {
      const positive = ops.gt(t, 0);
      const entropy = ops.where(positive, ops.mul(t, ops.log(ops.where(positive, t, 1))), 0);
      loss = ops.sub(entropy, ops.mul(t, x));
    }
    return reduce(loss, reduction);
  });
}
