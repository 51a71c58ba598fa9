import { noGrad } from '../autograd/mode.js';
import { ArgumentError, ShapeError, StateError } from '../errors.js';
import { symmetricEigen } from '../linalg.js';
import { checkNumber } from '../ops/elementwise.js';
import { isTensor } from '../ops/primitive.js';
import { describe, showShape, sizeOf } from '../program/view.js';
import { checkOptions, type Tensor, tensor } from '../tensor/tensor.js';
import { checkExampleShape, checkExamples, meanOf, rowwise, total } from './moments.js';

/** Options of PCAWhitening and ZCAWhitening. */
export interface WhiteningOptions {
  /** How many components are kept at most, those of the largest variance. Default: all that vary. */
  readonly nComponents?: number;
  /**
   * In (0, 1]: keeps the fewest components whose variances add up to this share of the whole variance (and at most
   * `nComponents`). Default 1: all that vary.
   */
  readonly retainedVariance?: number;
  /**
   * Added to the variance of each component before the root is taken: D⁻¹ᐟ² becomes (D + eps)⁻¹ᐟ², so that components of
   * little variance are not blown up; those of the result then have variance D / (D + eps). In the units of the data
   * squared. Default 0.
   */
  readonly eps?: number;
  /**
   * Components whose variance is at most this share of the largest one are taken for rounding errors of ones that do not
   * vary, and never kept: constant pixels, features that are sums of others, directions that fewer examples than features
   * leave open. In [0, 1); default 1e-12.
   */
  readonly tolerance?: number;
  /** The covariance is divided by n - correction. Default 0, as in lecture 001 and StandardScaler; 1 for the unbiased one. */
  readonly correction?: 0 | 1;
}

/** What stateDict() of a whitening gives: float64 tensors, k components of examples with p features in all. */
export interface WhiteningState {
  /** The shape of one example. */
  readonly mean: Tensor;
  /** [k, p] */
  readonly components: Tensor;
  /** [k] */
  readonly explainedVariance: Tensor;
  /** A scalar. */
  readonly totalVariance: Tensor;
  /** A scalar. */
  readonly eps: Tensor;
}

interface Fitted extends WhiteningState {
  /** Shape of one example, before and after. */
  readonly shape: readonly number[];
  readonly shapeAfter: readonly number[];
  /** Rows of centred examples times this are the result. */
  readonly forward: Tensor;
  /** Rows of the result times this are centred examples. */
  readonly backward: Tensor;
}

/** The covariance of more features than these is 512 MiB and more, and its eigenvectors take hours. */
const mostFeatures = 8192;

/** Two entries of an eigenvector that differ by less than this share count as equally large where its sign is chosen. */
const tie = 1e-6;

/**
 * The first k of q eigenvectors of unit length as rows [k, p]: column j of `vectors` has the entries of the features that
 * `varying` lists, the others are 0. Each has the sign that makes its entry of largest size positive (the first of them,
 * where several are as large), so that the same data give the same result everywhere.
 */
function signedRows(vectors: Float64Array, varying: readonly number[], p: number, k: number): Float64Array {
  const q = varying.length;
  const rows = new Float64Array(k * p);
  for (let j = 0; j < k; j++) {
    let largest = 0;
    for (let i = 0; i < q; i++) largest = Math.max(largest, Math.abs(vectors[i * q + j]));
    let at = 0;
    while (Math.abs(vectors[at * q + j]) < largest * (1 - tie)) at++;
    const sign = vectors[at * q + j] < 0 ? -1 : 1;
    for (let i = 0; i < q; i++) rows[j * p + varying[i]] = sign * vectors[i * q + j];
  }
  return rows;
}

/** What PCAWhitening and ZCAWhitening share. */
abstract class Whitening {
  /** The class's name, for messages. */
  readonly #name: string;
  readonly #options: Required<Omit<WhiteningOptions, 'nComponents'>> & { nComponents: number | undefined };
  #state: Fitted | null = null;

  protected constructor(name: string, options: WhiteningOptions) {
    checkOptions(name, options, ['nComponents', 'retainedVariance', 'eps', 'tolerance', 'correction']);
    this.#name = name;
    const { nComponents, retainedVariance = 1, eps = 0, tolerance = 1e-12, correction = 0 } = options;
    if (nComponents !== undefined && (!Number.isSafeInteger(nComponents) || nComponents < 1)) {
      throw new ArgumentError(
        `${name}: nComponents is a whole number >= 1, not ${describe(nComponents)}; ` +
          'for a share of the variance there is retainedVariance',
      );
    }
    if (!(checkNumber(name, 'retainedVariance', retainedVariance) > 0 && retainedVariance <= 1)) {
      throw new ArgumentError(`${name}: retainedVariance lies in (0, 1], ${retainedVariance} does not`);
    }
    if (!(checkNumber(name, 'eps', eps) >= 0 && eps < Infinity)) {
      throw new ArgumentError(`${name}: eps is a finite number >= 0, not ${eps}`);
    }
    if (!(checkNumber(name, 'tolerance', tolerance) >= 0 && tolerance < 1)) {
      throw new ArgumentError(`${name}: tolerance lies in [0, 1), ${tolerance} does not`);
    }
    if (correction !== 0 && correction !== 1) {
      throw new ArgumentError(`${name}: correction is 0 or 1, not ${describe(correction)}`);
    }
    this.#options = { nComponents, retainedVariance, eps, tolerance, correction };
  }

  /**
   * How many of the features of a whitened example there are, and what makes them: E [p, k] and D.
   *
   * @internal
   */
  protected abstract matrices(
    components: Tensor,
    scale: Tensor,
    shape: readonly number[],
  ): { forward: Tensor; backward: Tensor; shapeAfter: readonly number[] };

  get #fitted(): Fitted {
    if (this.#state === null) throw new StateError(`${this.#name}: call fit(x) first`);
    return this.#state;
  }

  /** μ: float64, the shape of one example. Throws StateError before fit. */
  get mean(): Tensor {
    return this.#fitted.mean;
  }

  /**
   * Eᵀ: float64 [k, p], the k eigenvectors of the covariance that are kept, as rows of unit length, by descending
   * variance; p counts the features of an example. Of the two signs each has the one that makes its largest entry
   * positive. Throws StateError before fit.
   */
  get components(): Tensor {
    return this.#fitted.components;
  }

  /** The diagonal of D: float64 [k], the variance of the data along each component. Throws StateError before fit. */
  get explainedVariance(): Tensor {
    return this.#fitted.explainedVariance;
  }

  /** float64 [k]: the share of each component in the variance of all features. Throws StateError before fit. */
  get explainedVarianceRatio(): Tensor {
    return this.#fitted.explainedVariance.div(this.#fitted.totalVariance);
  }

  /** k, the number of components that are kept. Throws StateError before fit. */
  get nComponents(): number {
    return this.#fitted.components.shape[0] as number;
  }

  #keep(state: WhiteningState): void {
    const { mean, components, explainedVariance, totalVariance, eps } = state;
    const scale = explainedVariance.add(eps).sqrt();
    this.#state = {
      mean,
      components,
      explainedVariance,
      totalVariance,
      eps,
      shape: mean.shape,
      ...this.matrices(components, scale, mean.shape),
    };
  }

  /**
   * Takes mean and covariance over the first axis of x [n, …], n >= 2, and the eigenvectors of the covariance, all in
   * float64; int32 will do. The eigenvectors take time of the order of the cube of the number of features (784: a few
   * seconds).
   *
   * @throws ShapeError for fewer than two examples or none with features; ArgumentError for more components than features,
   *   or than n examples can have (n - 1), for values that are not finite, for data in which nothing varies and for more
   *   than 8192 features
   */
  fit(x: Tensor): this {
    const op = `${this.#name}.fit`;
    checkExamples(op, x, 2);
    const [n, ...shape] = x.shape as [number, ...number[]];
    const p = sizeOf(shape);
    if (p === 0) throw new ShapeError(`${op}: the examples of ${showShape(x.shape)} have no features`);
    if (p > mostFeatures) {
      throw new ArgumentError(
        `${op}: the covariance of ${p} features would take ${8 * p * p} bytes, and its eigenvectors hours; ` +
          `takes at most ${mostFeatures}`,
      );
    }
    const { nComponents = p, retainedVariance, tolerance, correction } = this.#options;
    if (this.#options.nComponents !== undefined && nComponents > Math.min(n - 1, p)) {
      throw new ArgumentError(
        `${op}: ${n} examples of ${p} features have at most ${Math.min(n - 1, p)} components, not nComponents = ${nComponents}`,
      );
    }
    noGrad(() => {
      const mean = meanOf(x);
      const covariance = total(x, [p, p], (rows) => {
        const centred = rows.sub(mean).reshape(rows.shape[0] as number, p);
        return centred.transpose().matmul(centred);
      }).div(n - correction);
      const values = covariance.data;
      // The eigenvalue iteration would not end on NaN.
      if (!values.every(Number.isFinite)) {
        throw new ArgumentError(`${op}: the data hold NaN or infinities, or are too large to be squared`);
      }
      let largest = 0;
      for (let j = 0; j < p; j++) largest = Math.max(largest, values[j * p + j]);
      if (largest === 0) {
        throw new ArgumentError(`${op}: nothing varies in the ${n} examples, or too little to be squared`);
      }
      // By a power of two, which rounds nothing: the iteration squares what it is given.
      const unit = 2 ** Math.floor(Math.log2(largest));
      // Features that do not vary are left out: their entries in the eigenvectors are exactly 0 then.
      const varying = Array.from({ length: p }, (_, j) => j).filter((j) => values[j * p + j] > 0);
      const q = varying.length;
      const eigen = symmetricEigen(
        Float64Array.from({ length: q * q }, (_, at) => {
          return values[varying[Math.floor(at / q)] * p + varying[at % q]] / unit;
        }),
        q,
      );
      const least = eigen.values[0] * tolerance;
      const whole = eigen.values.reduce((sum, v) => sum + Math.max(v, 0), 0);
      let k = 0;
      for (let sum = 0; k < nComponents && eigen.values[k] > least && sum < retainedVariance * whole; k++) {
        sum += eigen.values[k];
      }
      this.#keep({
        mean,
        components: tensor(signedRows(eigen.vectors, varying, p, k), { shape: [k, p] }),
        explainedVariance: tensor(eigen.values.slice(0, k).map((v) => v * unit)),
        totalVariance: tensor(whole * unit, { dtype: 'float64' }),
        eps: tensor(this.#options.eps, { dtype: 'float64' }),
      });
    });
    return this;
  }

  /**
   * The whitened examples, in the dtype of x (float32 for int32), computed in float64 because components of little
   * variance are scaled up; x is [n, …] or one example. Differentiable.
   *
   * @throws StateError before fit; ShapeError for examples of another shape
   */
  transform(x: Tensor): Tensor {
    const { mean, shape, shapeAfter, forward } = this.#fitted;
    checkExampleShape(`${this.#name}.transform`, x, shape);
    return rowwise(x, shape, shapeAfter, (rows) => rows.sub(mean.reshape(mean.size)).matmul(forward));
  }

  /**
   * Undoes transform but for what lay outside the components that were kept, which becomes the mean's.
   *
   * @throws StateError before fit; ShapeError for examples of another shape
   */
  inverseTransform(x: Tensor): Tensor {
    const { mean, shape, shapeAfter, backward } = this.#fitted;
    checkExampleShape(`${this.#name}.inverseTransform`, x, shapeAfter);
    return rowwise(x, shapeAfter, shape, (rows) => rows.matmul(backward).add(mean.reshape(mean.size)));
  }

  /** fit(x), then transform(x). */
  fitTransform(x: Tensor): Tensor {
    return this.fit(x).transform(x);
  }

  /** What fit found, as float64 tensors. Throws StateError before fit. */
  stateDict(): WhiteningState {
    const { mean, components, explainedVariance, totalVariance, eps } = this.#fitted;
    return { mean, components, explainedVariance, totalVariance, eps };
  }

  /** Takes over what another one's stateDict() gave, its eps included. Throws StateError for what is not such a state. */
  loadStateDict(state: WhiteningState): void {
    const given: Partial<WhiteningState> = state ?? {};
    const copy = (name: keyof WhiteningState, rank?: number): Tensor => {
      const t = given[name];
      if (!isTensor(t) || t.dtype !== 'float64' || (rank !== undefined && t.rank !== rank)) {
        throw new StateError(
          `${this.#name}: a state is { mean, components [k, p], explainedVariance [k], totalVariance, eps }, float64 ` +
            `tensors; ${name} is not one`,
        );
      }
      return tensor(t.detach().clone().data, { shape: t.shape });
    };
    const mean = copy('mean');
    const components = copy('components', 2);
    const explainedVariance = copy('explainedVariance', 1);
    const [k, p] = components.shape as [number, number];
    if (k < 1 || p !== mean.size || explainedVariance.size !== k) {
      throw new StateError(
        `${this.#name}: mean ${showShape(mean.shape)}, components ${showShape(components.shape)} and explainedVariance ` +
          `${showShape(explainedVariance.shape)} do not belong together`,
      );
    }
    const totalVariance = copy('totalVariance', 0);
    const eps = copy('eps', 0);
    if (!explainedVariance.data.every((v) => v > 0) || !(eps.item() >= 0)) {
      throw new StateError(`${this.#name}: variances are > 0 and eps is >= 0, those of this state are not`);
    }
    for (const t of [mean, components, explainedVariance, totalVariance, eps]) {
      if (!t.data.every(Number.isFinite))
        throw new StateError(`${this.#name}: this state holds NaN or infinities`);
    }
    noGrad(() => this.#keep({ mean, components, explainedVariance, totalVariance, eps }));
  }
}

/**
 * Whitening by principal component analysis: x_PCA = D⁻¹ᐟ² Eᵀ (x - μ), where E D Eᵀ is the covariance of the examples
 * seen by fit (lecture 001, *Input normalization*). Examples of p features in any shape become vectors of the k components
 * that are kept, uncorrelated and each of variance 1, by descending variance before the scaling.
 */
export class PCAWhitening extends Whitening {
  constructor(options: WhiteningOptions = {}) {
    super('PCAWhitening', options);
  }

  /** @internal */
  protected override matrices(components: Tensor, scale: Tensor) {
    return {
      forward: components.transpose().div(scale),
      backward: components.mul(scale.unsqueeze(1)),
      shapeAfter: [components.shape[0] as number],
    };
  }
}

/**
 * Zero-phase whitening: x_ZCA = E D⁻¹ᐟ² Eᵀ (x - μ), where E D Eᵀ is the covariance of the examples seen by fit (lecture
 * 001, *Input normalization*): the whitened examples that are closest to the centred ones, of the same shape, so that
 * images remain images. Their covariance is the identity where every component is kept, else the projector E Eᵀ on those
 * that are (constant pixels stay 0).
 */
export class ZCAWhitening extends Whitening {
  constructor(options: WhiteningOptions = {}) {
    super('ZCAWhitening', options);
  }

  /** @internal */
  protected override matrices(components: Tensor, scale: Tensor, shape: readonly number[]) {
    const e = components.transpose();
    return {
      forward: e.div(scale).matmul(components),
      backward: e.mul(scale).matmul(components),
      shapeAfter: shape,
    };
  }
}
