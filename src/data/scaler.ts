import { noGrad } from '../autograd/mode.js';
import { isFloat } from '../dtype.js';
import { StateError } from '../errors.js';
import { isTensor } from '../ops/primitive.js';
import { sameShape, showShape } from '../program/view.js';
import { checkOptions, type Tensor, tensor } from '../tensor/tensor.js';
import { checkExampleShape, checkExamples, meanOf, total } from './moments.js';

/** What a StandardScaler has found. */
export interface ScalerState {
  /** The mean of every feature, float64. */
  readonly mean: Tensor;
  /** The standard deviation of every feature, float64. */
  readonly std: Tensor;
}

/**
 * Shifts and scales every feature to mean 0 and standard deviation 1: (x - mean) / std, with the mean and the population
 * standard deviation (divided by n) of the examples seen by fit, both computed in float64. Features that do not vary are
 * only shifted.
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

  /** Takes mean and standard deviation over the first axis of x [n, …], n >= 1; int32 will do. */
  fit(x: Tensor): this {
    checkExamples('StandardScaler.fit', x, 1);
    noGrad(() => {
      const mean = meanOf(x);
      // Two passes: the sum of squares minus the square of the sum would cancel.
      const std = total(x, mean.shape, (rows) => rows.sub(mean).square().sum(0))
        .div(x.shape[0] as number)
        .sqrt();
      this.#mean = mean;
      this.#std = std.eq(0).where(1, std);
    });
    return this;
  }

  #check(op: string, x: Tensor): Tensor {
    checkExampleShape(op, x, this.mean.shape);
    return isFloat(x.dtype) ? x : x.to('float32');
  }

  /** (x - mean) / std, in the dtype of x (float32 for int32); x is [n, …] or one example. */
  transform(x: Tensor): Tensor {
    const t = this.#check('StandardScaler.transform', x);
    return t.sub(this.mean.to(t.dtype)).div(this.std.to(t.dtype));
  }

  /** x · std + mean: undoes transform. */
  inverseTransform(x: Tensor): Tensor {
    const t = this.#check('StandardScaler.inverseTransform', x);
    return t.mul(this.std.to(t.dtype)).add(this.mean.to(t.dtype));
  }

  /** fit(x), then transform(x). */
  fitTransform(x: Tensor): Tensor {
    return this.fit(x).transform(x);
  }

  /** What fit found: float64 vectors, one number per feature. Throws StateError before fit. */
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
    this.#mean = tensor(mean.detach().clone().data, { shape: mean.shape });
    this.#std = tensor(std.detach().clone().data, { shape: std.shape });
  }
}
