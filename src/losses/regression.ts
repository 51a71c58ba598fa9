import { ArgumentError } from '../errors.js';
import { checkNumber } from '../ops/elementwise.js';
import * as ops from '../ops/index.js';
import { composed } from '../ops/intermediates.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import {
  checkReduction,
  checkSameShape,
  type ReductionOptions,
  reduce,
  reduceSquares,
  squaredReductions,
} from './options.js';

/** How mseLoss makes one number of the squared errors: see there. */
export type MSEReduction = (typeof squaredReductions)[number];

/** Options of mseLoss. */
export interface MSEOptions {
  /** Default 'mean'. */
  readonly reduction?: MSEReduction | undefined;
}

/**
 * Squared error of an input and a target of one shape, float32 or float64. For N samples (the first axis) of K numbers each,
 * with e⁽ⁿ⁾ = input⁽ⁿ⁾ − target⁽ⁿ⁾, `reduction` is
 *
 * - 'mean' (default): 1/(NK) Σₙ ‖e⁽ⁿ⁾‖², the mean over all elements, as PyTorch;
 * - 'batchMean': 1/N Σₙ ‖e⁽ⁿ⁾‖², the mean over samples of the squared norm (lecture 001, the MSE of regression and of mini-batches);
 * - 'sum': Σₙ ‖e⁽ⁿ⁾‖² (lecture 002, "L2 loss");
 * - 'halfSum': ½ Σₙ ‖e⁽ⁿ⁾‖² (lecture 001, "Toy optimization problem");
 * - 'halfBatchMean': 1/(2N) Σₙ ‖e⁽ⁿ⁾‖² (lecture 001, "Input normalization": its Hessian is the inputs' covariance);
 * - 'none': e² per element, in the shape of the input.
 *
 * 'batchMean' and 'mean' agree where K is 1; a scalar is one sample. Minimizing any of them maximizes the likelihood of the
 * targets under N(target; input, σ²I) (lecture 001).
 *
 * Throws ShapeError for shapes that differ (they are not broadcast), ArgumentError for another reduction or option.
 */
export function mseLoss(input: Tensor, target: Tensor, options: MSEOptions = {}): Tensor {
  checkOptions('mseLoss', options, ['reduction']);
  checkSameShape('mseLoss', input, target);
  const reduction = checkReduction('mseLoss', options.reduction, squaredReductions);
  return composed(() => reduceSquares(ops.sub(input, target), reduction));
}

/** Mean absolute error: |input - target|. */
export function l1Loss(input: Tensor, target: Tensor, options: ReductionOptions = {}): Tensor {
  checkOptions('l1Loss', options, ['reduction']);
  checkSameShape('l1Loss', input, target);
  const reduction = checkReduction('l1Loss', options.reduction);
  return composed(() => reduce(ops.abs(ops.sub(input, target)), reduction));
}

/** Options of smoothL1Loss. */
export interface SmoothL1Options extends ReductionOptions {
  /** Where the parabola ends, >= 0. Default 1; 0 gives l1Loss. */
  readonly beta?: number;
}

/** With d = input - target: d² / (2 beta) where |d| < beta, else |d| - beta / 2 (Girshick, 2015). */
export function smoothL1Loss(input: Tensor, target: Tensor, options: SmoothL1Options = {}): Tensor {
  checkOptions('smoothL1Loss', options, ['reduction', 'beta']);
  checkSameShape('smoothL1Loss', input, target);
  const reduction = checkReduction('smoothL1Loss', options.reduction);
  const beta = checkNumber('smoothL1Loss', 'beta', options.beta ?? 1);
  if (beta < 0) throw new ArgumentError(`smoothL1Loss: beta must be >= 0, not ${beta}`);
  return composed(() => {
    const d = ops.sub(input, target);
    // Below the smallest normal float32 there is no parabola left.
    return reduce(beta < 2 ** -126 ? ops.abs(d) : ops.huber(d, beta, 1), reduction);
  });
}

/** Options of huberLoss. */
export interface HuberOptions extends ReductionOptions {
  /** Where the parabola ends, > 0. Default 1. */
  readonly delta?: number;
}

/** With d = input - target: d² / 2 where |d| <= delta, else delta (|d| - delta / 2) (Huber, 1964). */
export function huberLoss(input: Tensor, target: Tensor, options: HuberOptions = {}): Tensor {
  checkOptions('huberLoss', options, ['reduction', 'delta']);
  checkSameShape('huberLoss', input, target);
  const reduction = checkReduction('huberLoss', options.reduction);
  const delta = checkNumber('huberLoss', 'delta', options.delta ?? 1);
  if (!(delta > 0)) throw new ArgumentError(`huberLoss: delta must be > 0, not ${delta}`);
  return composed(() => {
    const d = ops.sub(input, target);
    return reduce(delta === Infinity ? ops.mul(ops.square(d), 0.5) : ops.huber(d, delta, delta), reduction);
  });
}
