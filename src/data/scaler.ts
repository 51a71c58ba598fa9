import { noGrad } from '../autograd/mode.js';
import { ArgumentError, StateError } from '../errors.js';
import { isTensor } from '../ops/primitive.js';
import { sameShape, showShape } from '../program/view.js';
import { checkOptions, type Tensor, tensor } from '../tensor/tensor.js';
import { checkExampleShape, checkExamples, meanOf, rowwise, total } from './moments.js';

/** What a StandardScaler has found. */
export interface ScalerState {
  /** The mean of every feature, float64. */
  readonly mean: Tensor;
  /** The standard deviation of every feature, float64. */
  readonly std: Tensor;
}

/**
 * Shifts and scales every feature to mean 0 and standard deviation 1: (x - mean) / std, with the mean and the population
 * standard deviation (divided by n) of the examples seen by fit (lecture 001, *Input normalization*: "centering + scaling
 * to unit variance of all inputs"). All of it is computed in float64, because features may lie far from zero. Features
 * that do not vary are only shifted.
 */
export class StandardScaler {
  constructor(options: Readonly<Record<string, never>> = {}) {
    checkOptions('StandardScaler', options, []);
  }

  #mean: Tensor | null = null;
  #std: Tensor | null = null;

  /** float64, the shape of one example. Throws StateError before fit. */
  get mean(): Tensor {
    return this.#fitted(this.#mean);
  }

  /** float64, the shape of one example; 1 for features that do not vary. Throws StateError before fit. */
  get std(): Tensor {
    return this.#fitted(this.#std);
  }

  #fitted(t: Tensor | null): Tensor {
    if (t === null) throw new StateError('StandardScaler: call fit(x) first');
    return t;
  }

  /**
   * Takes mean and standard deviation over the first axis of x [n, …], n >= 1; int32 will do.
   *
   * @throws ShapeError for no examples; DTypeError for bool; ArgumentError for values that are not finite
   */
  fit(x: Tensor): this {
    const op = 'StandardScaler.fit';
    checkExamples(op, x, 1);
    noGrad(() => {
      const mean = meanOf(x);
      const n = x.shape[0] as number;
      // By a power of two near the mean distance, which rounds nothing: squares of it neither overflow nor vanish.
      const distance = total(x, mean.shape, (rows) => rows.sub(mean).abs().sum(0)).div(n);
      if (!distance.data.every(Number.isFinite)) {
        throw new ArgumentError(`${op}: the data hold NaN or infinities, or are too large to be added up`);
      }
      const unit = tensor(
        distance.data.map((d) => (d === 0 ? 1 : 2 ** Math.floor(Math.log2(d)))),
        { shape: mean.shape },
      );
      // Two passes: the sum of squares minus the square of the sum would cancel.
      const std = total(x, mean.shape, (rows) => rows.sub(mean).div(unit).square().sum(0))
        .div(n)
        .sqrt()
        .mul(unit);
      this.#mean = mean;
      this.#std = std.eq(0).where(1, std);
    });
    return this;
  }

  #apply(op: string, x: Tensor, f: (rows: Tensor, mean: Tensor, std: Tensor) => Tensor): Tensor {
    const { mean, std } = this;
    checkExampleShape(op, x, mean.shape);
    return rowwise(x, mean.shape, mean.shape, (rows) =>
      f(rows, mean.reshape(mean.size), std.reshape(mean.size)),
    );
  }

  /**
   * (x - mean) / std, in the dtype of x (float32 for int32); x is [n, …] or one example. Differentiable.
   *
   * @throws StateError before fit; ShapeError for examples of another shape
   */
  transform(x: Tensor): Tensor {
    return this.#apply('StandardScaler.transform', x, (rows, mean, std) => rows.sub(mean).div(std));
  }

  /**
   * x · std + mean: undoes transform.
   *
   * @throws StateError before fit; ShapeError for examples of another shape
   */
  inverseTransform(x: Tensor): Tensor {
    return this.#apply('StandardScaler.inverseTransform', x, (rows, mean, std) => rows.mul(std).add(mean));
  }

  /** fit(x), then transform(x). */
  fitTransform(x: Tensor): Tensor {
    return this.fit(x).transform(x);
  }

  /** What fit found: float64 tensors of the shape of one example. Throws StateError before fit. */
  stateDict(): ScalerState {
    return { mean: this.mean, std: this.std };
  }

  /** Takes over what stateDict() gave. Throws StateError for anything else. */
  loadStateDict(state: ScalerState): void {
    const { mean, std } = state ?? {};
    if (!isTensor(mean) || !isTensor(std) || mean.dtype !== 'float64' || std.dtype !== 'float64') {
      throw new StateError('StandardScaler: a state is { mean, std }, both float64 tensors');
    }
    if (!sameShape(mean.shape, std.shape)) {
      throw new StateError(
        `StandardScaler: mean ${showShape(mean.shape)} and std ${showShape(std.shape)} differ in shape`,
      );
    }
    if (!mean.data.every(Number.isFinite) || !std.data.every((v) => v > 0 && v < Infinity)) {
      throw new StateError(
        'StandardScaler: means are finite, and standard deviations > 0; those of this state are not',
      );
    }
    this.#mean = tensor(mean.detach().clone().data, { shape: mean.shape });
    this.#std = tensor(std.detach().clone().data, { shape: std.shape });
  }
}
