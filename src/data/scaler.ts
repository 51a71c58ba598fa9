import { noGrad } from '../autograd/mode.js';
import { isFloat } from '../dtype.js';
import { DTypeError, ShapeError, StateError } from '../errors.js';
import { checkTensor, isTensor } from '../ops/primitive.js';
import { sameShape, showShape } from '../program/view.js';
import { zeros } from '../tensor/create.js';
import { checkOptions, type Tensor, tensor } from '../tensor/tensor.js';

/** Rows converted to float64 at a time, so that a large dataset is never held twice. */
const chunk = 4096;

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
    checkTensor('StandardScaler.fit', x);
    if (x.dtype === 'bool')
      throw new DTypeError(`StandardScaler.fit: takes float32, float64 or int32, not ${x.dtype}`);
    if (x.rank === 0 || x.shape[0] === 0) {
      throw new ShapeError(
        `StandardScaler.fit: takes examples [n, …] with n >= 1, not ${showShape(x.shape)}`,
      );
    }
    noGrad(() => {
      const n = x.shape[0];
      const total = (f: (rows: Tensor) => Tensor): Tensor => {
        const sum = zeros(x.shape.slice(1), { dtype: 'float64' });
        for (let start = 0; start < n; start += chunk) {
          sum.add_(f(x.narrow(0, start, Math.min(chunk, n - start)).to('float64')).sum(0));
        }
        return sum;
      };
      const mean = total((rows) => rows).div(n);
      // Two passes: the sum of squares minus the square of the sum would cancel.
      const std = total((rows) => rows.sub(mean).square())
        .div(n)
        .sqrt();
      this.#mean = mean;
      this.#std = std.eq(0).where(1, std);
    });
    return this;
  }

  #check(op: string, x: Tensor): Tensor {
    checkTensor(op, x);
    if (x.dtype === 'bool') throw new DTypeError(`${op}: takes float32, float64 or int32, not ${x.dtype}`);
    const { shape } = this.mean;
    if (!sameShape(x.shape.slice(x.rank - shape.length), shape)) {
      throw new ShapeError(
        `${op}: fitted to examples of shape ${showShape(shape)}, not to ${showShape(x.shape)}`,
      );
    }
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

  stateDict(): { mean: Tensor; std: Tensor } {
    return { mean: this.mean, std: this.std };
  }

  loadStateDict(state: { readonly mean: Tensor; readonly std: Tensor }): void {
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
