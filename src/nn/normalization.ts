import { noGrad } from '../autograd/mode.js';
import { type DType, isFloat, promote } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { full } from '../ops/full.js';
import * as ops from '../ops/index.js';
import { composed } from '../ops/intermediates.js';
import { checkTensor } from '../ops/primitive.js';
import { observe } from '../program/emit.js';
import { checkShape, describe, type Shape, sameShape, showShape, sizeOf } from '../program/view.js';
import { checkOptions, persistent, type Tensor } from '../tensor/tensor.js';
import { emptyParameter, Module } from './module.js';
import { checkBoolean, checkChoice, checkCount, checkFloatDType, checkProbability } from './options.js';

/** What is added to a variance. */
function checkEps(op: string, eps: unknown = 1e-5): number {
  if (typeof eps === 'number' && eps >= 0 && eps < Infinity) return eps;
  throw new ArgumentError(`${op}: eps must be a number >= 0, not ${describe(eps)}`);
}

/** What the operations take, in one dtype: a matrix, and a weight and a bias per column. */
function affine(
  x: Tensor,
  weight: Tensor | null,
  bias: Tensor | null,
  cols: number,
): [x: Tensor, weight: Tensor, bias: Tensor] {
  let dtype: DType = isFloat(x.dtype) ? x.dtype : 'float32';
  for (const t of [weight, bias]) if (t !== null) dtype = promote(dtype, t.dtype);
  const vector = (t: Tensor | null, value: number): Tensor =>
    t === null ? full([cols], value, dtype) : ops.to(ops.reshape(t, [cols]), dtype);
  return [ops.to(x, dtype), vector(weight, 1), vector(bias, 0)];
}

/** Options of a BatchNorm1d layer. */
export interface BatchNormOptions {
  /** Added to the variance, >= 0. Default 1e-5. */
  readonly eps?: number;
  /** Share of each batch in the running statistics, in [0, 1]. Default 0.1; null: the plain mean over all batches. */
  readonly momentum?: number | null;
  /** Whether there are a weight and a bias per feature. Default true. */
  readonly affine?: boolean;
  /**
   * Whether running statistics are kept for evaluation mode. Default true; otherwise every batch is its own.
   */
  readonly trackRunningStats?: boolean;
  /**
   * What runningVar moves towards, for a batch x⁽¹⁾ … x⁽ᴺ⁾ of mean μ and β = `momentum`:
   *
   * - 'unbiased' (default), as PyTorch: σ̄² ← (1 − β) σ̄² + β 1/(N−1) Σ (x⁽ⁱ⁾ − μ)².
   * - 'aboutRunningMean', as lecture 001 ("Batch normalization"): σ̄² ← (1 − β) σ̄² + β 1/N Σ (x⁽ⁱ⁾ − μ̄)², the mean square about
   *   the running mean μ̄, which has moved by then: its line, μ̄ ← (1 − β) μ̄ + β μ, comes first. It equals the biased variance of
   *   the batch plus (μ − μ̄)².
   */
  readonly runningVariance?: 'unbiased' | 'aboutRunningMean';
  /** Default float32. */
  readonly dtype?: DType;
}

/**
 * Batch normalisation (Ioffe and Szegedy, 2015; lecture 001) of [N, C] or [N, C, L]: y = γ (x − μ) / √(σ² + eps) + β per
 * feature, with γ in `weight` (starts at 1) and β in `bias` (starts at 0), both [C].
 *
 * In training mode μ and σ² are those of the batch, 1/N Σ x⁽ⁱ⁾ and 1/N Σ (x⁽ⁱ⁾ − μ)², and the buffers runningMean and
 * runningVar [C] move towards them by `momentum` (lecture 001's β, "note confusing name"): runningMean ← (1 − momentum)
 * runningMean + momentum μ, and runningVar so as `runningVariance` says: PyTorch's unbiased form, or the lecture's. In evaluation
 * mode the buffers are used, and stay.
 *
 * Throws ShapeError for an input without C features on axis 1 and for a training batch with one value per feature,
 * ArgumentError for options that do not exist or are out of range.
 */
export class BatchNorm1d extends Module {
  /** γ, one factor per feature [C]; null where not `affine`. */
  weight: Tensor | null = null;
  /** β, one summand per feature [C]; null where not `affine`. */
  bias: Tensor | null = null;
  /** Buffer: the mean of every feature [C] over training so far; null without running statistics. */
  runningMean: Tensor | null = null;
  /** Buffer: the variance of every feature [C] over training so far; null without running statistics. */
  runningVar: Tensor | null = null;
  /** Buffer: how many batches the running statistics have seen (int32); null without. */
  numBatchesTracked: Tensor | null = null;
  /** Added to the variance. */
  eps: number;
  /** Share of each batch in the running statistics; null: the plain mean over all batches. */
  momentum: number | null;
  /** How runningVar moves; see the option. */
  runningVariance: 'unbiased' | 'aboutRunningMean';
  /** C: how many features there are. */
  readonly numFeatures: number;

  constructor(numFeatures: number, options: BatchNormOptions = {}) {
    super();
    const op = 'BatchNorm1d';
    checkOptions(op, options, ['eps', 'momentum', 'affine', 'trackRunningStats', 'runningVariance', 'dtype']);
    this.numFeatures = checkCount(op, 'numFeatures', numFeatures);
    this.eps = checkEps(op, options.eps);
    this.momentum =
      options.momentum === null ? null : checkProbability(op, 'momentum', options.momentum ?? 0.1);
    this.runningVariance = checkChoice(op, 'runningVariance', options.runningVariance ?? 'unbiased', [
      'unbiased',
      'aboutRunningMean',
    ]);
    const dtype = checkFloatDType(op, options.dtype ?? 'float32');
    if (checkBoolean(op, 'affine', options.affine, true)) {
      this.weight = emptyParameter([numFeatures], dtype).fill_(1);
      this.bias = emptyParameter([numFeatures], dtype);
    }
    if (checkBoolean(op, 'trackRunningStats', options.trackRunningStats, true)) {
      this.registerBuffer('runningMean', persistent([numFeatures], dtype));
      this.registerBuffer('runningVar', persistent([numFeatures], dtype).fill_(1));
      this.registerBuffer('numBatchesTracked', persistent([], 'int32'));
    }
  }

  override forward(x: Tensor): Tensor {
    checkTensor('BatchNorm1d', x, 'the input');
    const { shape, rank } = x;
    if ((rank !== 2 && rank !== 3) || shape[1] !== this.numFeatures) {
      throw new ShapeError(
        `BatchNorm1d: the input must be [N, ${this.numFeatures}] or [N, ${this.numFeatures}, L], not ${showShape(shape)}`,
      );
    }
    for (const read of [
      () => this.weight,
      () => this.bias,
      () => this.runningMean,
      () => this.runningVar,
      () => this.momentum,
      () => this.runningVariance,
      () => this.eps,
    ]) {
      observe(read);
    }
    const { runningMean, runningVar } = this;
    if (!this.training && runningMean !== null && runningVar !== null)
      return composed(() => this.#evaluate(x, runningMean, runningVar));
    const count = x.size / this.numFeatures;
    if (this.training && count <= 1) {
      throw new ShapeError(
        `BatchNorm1d: training needs more than one value per feature, and the input is ${showShape(shape)}`,
      );
    }
    return composed(() => {
      // [N, C, L] as the matrix [N L, C].
      const [N, C, L] = [shape[0] as number, this.numFeatures, shape[2] as number];
      const matrix = rank === 2 ? x : ops.reshape(ops.permute(x, [0, 2, 1]), [N * L, C]);
      const [y, mean, variance] = ops.batchNormMoments(
        ...affine(matrix, this.weight, this.bias, C),
        this.eps,
      );
      if (this.training) this.#track(N * (L ?? 1), mean, variance);
      return rank === 2 ? y : ops.permute(ops.reshape(y, [N, L, C]), [0, 2, 1]);
    });
  }

  /** By the running statistics. */
  #evaluate(x: Tensor, mean: Tensor, variance: Tensor): Tensor {
    const perFeature = (t: Tensor): Tensor => (x.rank === 2 ? t : ops.unsqueeze(t, 1));
    const centred = ops.sub(x, perFeature(mean));
    const spread = ops.sqrt(ops.add(variance, this.eps));
    if (this.weight === null || this.bias === null) return ops.div(centred, perFeature(spread));
    return ops.add(ops.mul(centred, perFeature(ops.div(this.weight, spread))), perFeature(this.bias));
  }

  /**
   * Moves the running statistics by the mean and the (biased) variance of a batch of `count` values a feature, in tensors only, so
   * that compiled steps do it too.
   */
  #track(count: number, mean: Tensor, variance: Tensor): void {
    const { runningMean, runningVar, numBatchesTracked, momentum } = this;
    if (runningMean === null || runningVar === null || numBatchesTracked === null) return;
    noGrad(() => {
      numBatchesTracked.add_(1);
      // (1 - share) t + share factor value, for the share of this batch.
      let towards: (t: Tensor, value: Tensor, factor?: number) => Tensor;
      if (momentum !== null) {
        towards = (t, value, factor = 1) => ops.axpby(1 - momentum, t, momentum * factor, value);
      } else {
        const share = ops.div(1, ops.to(numBatchesTracked, runningMean.dtype));
        towards = (t, value, factor = 1) => ops.add(t, ops.mul(ops.axpby(factor, value, -1, t), share));
      }
      const moved = towards(runningMean, mean);
      runningMean.copy_(moved);
      runningVar.copy_(
        this.runningVariance === 'unbiased'
          ? towards(runningVar, variance, count / (count - 1))
          : // 1/N Σ (x − μ̄)² = 1/N Σ (x − μ)² + (μ − μ̄)², with the running mean that has just moved.
            towards(runningVar, ops.add(variance, ops.square(ops.sub(mean, moved)))),
      );
    });
  }

  protected override describe(): string {
    const form = this.runningVariance === 'unbiased' ? '' : `, runningVariance: '${this.runningVariance}'`;
    return `${this.numFeatures}, { eps: ${this.eps}, momentum: ${this.momentum}${form} }`;
  }
}

/** Options of a LayerNorm layer. */
export interface LayerNormOptions {
  /** Added to the variance, >= 0. Default 1e-5. */
  readonly eps?: number;
  /** Whether there are a weight and a bias per element. Default true. */
  readonly elementwiseAffine?: boolean;
  /** Whether there is a bias beside the weight. Default true. */
  readonly bias?: boolean;
  /** Default float32. */
  readonly dtype?: DType;
}

/**
 * Layer normalisation (Ba et al., 2016) over the last axes, whose sizes are given (one number or several):
 * y = (x − mean) / √(var + eps) · weight + bias, with the biased variance; weight (starts at 1) and bias (starts at 0) have the
 * shape of those axes. The same in training and evaluation mode. Throws ShapeError for an input that does not end with
 * those axes, ArgumentError for options that do not exist.
 */
export class LayerNorm extends Module {
  /** γ, of the normalized shape; null without. */
  weight: Tensor | null = null;
  /** β, of the normalized shape; null without. */
  bias: Tensor | null = null;
  /** Added to the variance. */
  eps: number;
  /** The shape of what is normalized: the last axes of the input. */
  readonly normalizedShape: Shape;

  constructor(normalizedShape: number | Shape, options: LayerNormOptions = {}) {
    super();
    const op = 'LayerNorm';
    checkOptions(op, options, ['eps', 'elementwiseAffine', 'bias', 'dtype']);
    const shape = typeof normalizedShape === 'number' ? [normalizedShape] : normalizedShape;
    this.normalizedShape = checkShape(op, shape);
    if (this.normalizedShape.length === 0 || sizeOf(this.normalizedShape) === 0) {
      throw new ArgumentError(
        `${op}: takes the sizes (>= 1) of the last axes, not ${describe(normalizedShape)}`,
      );
    }
    this.eps = checkEps(op, options.eps);
    const dtype = checkFloatDType(op, options.dtype ?? 'float32');
    if (checkBoolean(op, 'elementwiseAffine', options.elementwiseAffine, true)) {
      this.weight = emptyParameter(this.normalizedShape, dtype).fill_(1);
      if (checkBoolean(op, 'bias', options.bias, true))
        this.bias = emptyParameter(this.normalizedShape, dtype);
    }
  }

  override forward(x: Tensor): Tensor {
    checkTensor('LayerNorm', x, 'the input');
    const n = this.normalizedShape.length;
    if (x.rank < n || !sameShape(x.shape.slice(x.rank - n), this.normalizedShape)) {
      throw new ShapeError(
        `LayerNorm: the input ${showShape(x.shape)} does not end with the axes ${showShape(this.normalizedShape)}`,
      );
    }
    for (const read of [() => this.weight, () => this.bias, () => this.eps]) observe(read);
    const cols = sizeOf(this.normalizedShape);
    return composed(() => {
      const matrix = ops.reshape(x, [x.size / cols, cols]);
      const y = ops.layerNorm(...affine(matrix, this.weight, this.bias, cols), this.eps);
      return ops.reshape(y, x.shape);
    });
  }

  protected override describe(): string {
    return `[${this.normalizedShape.join(', ')}], { eps: ${this.eps} }`;
  }
}
