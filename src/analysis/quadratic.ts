import {
  ArgumentError,
  isTensor,
  LinAlgError,
  optim,
  ShapeError,
  type Tensor,
  type TensorValues,
  tensor,
} from 'simdgrad';
import { solve } from '../linalg.js';
import { checkOptions, describe } from '../options.js';
import {
  checkFinite,
  dot,
  epsilonOf,
  firstOrder,
  flatten,
  hessianValues,
  locate,
  norm,
  type Point,
  type PointFunction,
  shown,
  symmetricMatrix,
  valuesOf,
} from './points.js';
import { ascending, largestOf, negligible } from './spectrum.js';

/** Options of measuring a convergence rate. */
export interface MeasureOptions {
  /** Learning rate η. Default: the optimal one, 2/(λ₁ + λ_M). */
  readonly lr?: number;
  /**
   * w₀, of shape [n]. Default: w∗ plus the sum of all eigenvectors, so that every component starts at 1; times ‖w∗‖₂ where that
   * is larger than 1, so that they are not lost in its round-off.
   */
  readonly start?: Tensor | TensorValues;
  /**
   * How many steps of gradient descent to run. Default: as many as bring the slowest component down (or up) by a factor of a
   * million, at least 20 and at most 20,000.
   */
  readonly steps?: number;
}

/** How gradient descent did on a quadratic function, beside what the eigenvalues predict. */
export interface Convergence {
  /** η. */
  readonly learningRate: number;
  /** max_m |1 − ηλ_m|; (κ − 1)/(κ + 1) for the optimal η. */
  readonly predicted: number;
  /**
   * The factor by which ‖w_t − w∗‖₂ changes per step in the end: that of the slowest component, as it was measured. (In the
   * distances themselves it shows only after the others have died out, which takes long where they are nearly as slow.) NaN
   * for a start at w∗.
   */
  readonly measured: number;
  /** |1 − ηλ_m| for every m, in the order of the eigenvalues. */
  readonly predictedComponents: Float64Array;
  /** The factor by which |z_m| changed per step, z = Qᵀ(w − w∗); NaN for a component that started at 0. */
  readonly measuredComponents: Float64Array;
  /** ‖w_t − w∗‖₂ for t = 0, 1, … */
  readonly distances: Float64Array;
}

/**
 * The factor per step of a sequence that shrinks or grows geometrically in the end: the geometric mean over the last quarter
 * of the steps before it comes down to `floor`, below which there is only round-off.
 */
function ratio(sequence: ArrayLike<number>, floor: number): number {
  const first = sequence[0] as number;
  if (!(first > floor)) return NaN;
  let last = 0;
  while (last + 1 < sequence.length) {
    const next = sequence[last + 1] as number;
    if (!(next > floor && next < Infinity)) break;
    last++;
  }
  // Gone in one step.
  if (last === 0) return (sequence[1] as number) / first;
  const from = last - Math.max(1, Math.floor(last / 4));
  return ((sequence[last] as number) / (sequence[from] as number)) ** (1 / (last - from));
}

/** The same for distances, which may grow in the end (from round-off, it may be) and have been below the floor in between. */
function rateOf(distances: ArrayLike<number>, floor: number): number {
  const [first, last] = [distances[0] as number, distances[distances.length - 1] as number];
  return ratio(distances, first > floor && last > first ? 0 : floor);
}

/** What convergenceRate() takes beside the distances. */
export interface ConvergenceRateOptions {
  /** Distances up to this are round-off and do not count. Default 1e-9 times the first. */
  readonly floor?: number;
}

/**
 * The rate at which a sequence of distances to an optimum converges: the factor per step, |z_{t+1}| / |z_t|, that it settles
 * at (lecture 001). Below 1 it converges, above 1 it diverges.
 *
 * @param distances at least two numbers from 0 up, one per step
 * @returns NaN where the first distance is 0 (or at most the floor): there is nothing left to converge
 * @throws ArgumentError for anything else, or a floor that is not a number from 0 up
 */
export function convergenceRate(distances: ArrayLike<number>, options: ConvergenceRateOptions = {}): number {
  checkOptions('convergenceRate', options, ['floor']);
  const isList = Array.isArray(distances) || ArrayBuffer.isView(distances);
  const list: unknown[] = isList ? Array.from(distances) : [];
  if (list.length < 2 || !list.every((d) => typeof d === 'number' && d >= 0)) {
    throw new ArgumentError(
      `convergenceRate: takes at least two distances from 0 up, not ${describe(distances)}`,
    );
  }
  const floor = options.floor ?? 1e-9 * (distances[0] as number);
  if (typeof floor !== 'number' || !(floor >= 0)) {
    throw new ArgumentError(`convergenceRate: floor is a number from 0 up, not ${describe(floor)}`);
  }
  return rateOf(distances, floor);
}

/**
 * A quadratic function L(w) = ½ wᵀA w − bᵀw + c of w ∈ ℝⁿ with a symmetric A, and what its eigenvalues say about gradient
 * descent on it.
 *
 * Source: lecture 001, "Analysis of convergence of gradient descent" (after Goh, 2017). Lecture 000 writes
 * f(θ) = ½ θᵀPθ + qᵀθ: there b = −q.
 */
export class Quadratic {
  /** A, [n, n]: the Hessian. */
  readonly A: Tensor;
  /** b, [n]. */
  readonly b: Tensor;
  /** The constant. */
  readonly c: number;
  /** λ₁ ≤ λ₂ ≤ … ≤ λ_M of A: the curvatures along the axes of the ellipses of the contour plot. */
  readonly eigenvalues: Float64Array;
  readonly #a: Float64Array;
  readonly #bValues: Float64Array;
  /** Row-major n × n; column m belongs to λ_m. */
  readonly #q: Float64Array;
  readonly #n: number;

  /**
   * @param A symmetric, [n, n]: a tensor (float32 or float64), or nested arrays (which become float64)
   * @param b [n]; default zeros
   * @param c default 0
   * @throws ShapeError where the shapes are not [n, n] and [n]; LinAlgError where A is not symmetric, or A or b not
   * finite; ArgumentError for a c that is no finite number
   */
  constructor(A: Tensor | TensorValues, b?: Tensor | TensorValues, c = 0) {
    const { t, a, n } = symmetricMatrix('Quadratic', A);
    this.A = t;
    this.b = valuesOf('Quadratic', 'b', b ?? new Float64Array(n)).to(t.dtype);
    if (this.b.rank !== 1 || this.b.size !== n) {
      throw new ShapeError(`Quadratic: A is ${shown(t.shape)}, so b is [${n}], not ${shown(this.b.shape)}`);
    }
    if (!Number.isFinite(c)) throw new ArgumentError(`Quadratic: c is a finite number, not ${describe(c)}`);
    this.c = c;
    const { values, vectors } = ascending(a, n);
    this.eigenvalues = values;
    this.#a = a;
    this.#bValues = checkFinite('Quadratic', 'b', flatten([this.b]));
    this.#q = vectors;
    this.#n = n;
  }

  /**
   * The quadratic approximation of a scalar-valued function about a point w_t,
   * L(w) ≈ L(w_t) + gᵀ(w − w_t) + ½ (w − w_t)ᵀH(w − w_t) (lectures 001 and 004), as a function of all elements of the point
   * in a row. In float64.
   *
   * @throws LinAlgError where f or its derivatives are not finite; ShapeError where f gives no scalar or the Hessian is
   * larger than the memory of the machine
   */
  static approximate(f: PointFunction, point: Point): Quadratic {
    const op = 'Quadratic.approximate';
    const at = locate(op, point);
    const { value, gradient } = firstOrder(op, f, at);
    const n = at.size;
    const h = hessianValues(op, f, at);
    const w = flatten(at.list);
    const hw = new Float64Array(n);
    for (let i = 0; i < n; i++) hw[i] = dot(h.subarray(i * n, (i + 1) * n), w);
    const b = hw.map((v, i) => v - (gradient[i] as number));
    return new Quadratic(
      tensor(h, { dtype: 'float64' }).reshape(n, n),
      b,
      value - dot(gradient, w) + dot(w, hw) / 2,
    );
  }

  /** L(w) of a w of shape [n], as a tensor of one element that can be differentiated. */
  value(w: Tensor): Tensor {
    const checked = this.#checked('value', w);
    return checked.matmul(this.A).mul(checked).sum().mul(0.5).sub(this.b.mul(checked).sum()).add(this.c);
  }

  /** Q, [n, n] in float64: A = Q diag(λ₁, …, λ_M) Qᵀ; column m belongs to λ_m. */
  get eigenvectors(): Tensor {
    return tensor(this.#q, { dtype: 'float64' }).reshape(this.#n, this.#n);
  }

  /**
   * w∗ = A⁻¹b, [n] in the dtype of A: the minimum where all eigenvalues are positive, else another critical point.
   * LinAlgError where A is singular.
   */
  get minimizer(): Tensor {
    return tensor(this.#solution(), { dtype: 'float64' }).to(this.A.dtype);
  }

  /**
   * κ(A) = λ_M / λ₁: 1 is ideal for gradient descent, the larger, the slower. Infinity where λ₁ is zero (to round-off);
   * LinAlgError where an eigenvalue is negative, so that there is no minimum.
   */
  get conditionNumber(): number {
    const [low, high] = this.#extremes('conditionNumber');
    return high / low;
  }

  /**
   * η∗ = 2 / (λ₁ + λ_M): the learning rate for which the slowest component of gradient descent is as fast as it can be.
   * LinAlgError where an eigenvalue is negative.
   */
  get optimalLearningRate(): number {
    const [low, high] = this.#extremes('optimalLearningRate');
    return 2 / (low + high);
  }

  /**
   * The rate of convergence at the optimal learning rate, (κ − 1)/(κ + 1) = (λ_M − λ₁)/(λ_M + λ₁). LinAlgError where an
   * eigenvalue is negative.
   */
  get optimalRate(): number {
    const [low, high] = this.#extremes('optimalRate');
    return (high - low) / (high + low);
  }

  /** |1 − ηλ_m| for every m: the factor by which component m of z = Qᵀ(w − w∗) shrinks per step of gradient descent. */
  componentRates(lr: number): Float64Array {
    if (typeof lr !== 'number' || !(lr > 0 && lr < Infinity)) {
      throw new ArgumentError(`Quadratic: the learning rate is a number above 0, not ${describe(lr)}`);
    }
    return this.eigenvalues.map((v) => Math.abs(1 - lr * v));
  }

  /** max_m |1 − ηλ_m|: the rate of the slowest component. Gradient descent converges where it is below 1. */
  rate(lr: number): number {
    return largestOf(this.componentRates(lr));
  }

  /** z = Qᵀ(w − w∗) for a w of shape [n]: coordinates along the eigenvectors, [n] in float64. */
  coordinates(w: Tensor | TensorValues): Tensor {
    const values = flatten([this.#checked('coordinates', w)]);
    return tensor(this.#rotated(values, this.#solution()), { dtype: 'float64' });
  }

  /**
   * Runs gradient descent (optim.SGD on value(), in the dtype of A) and measures the rates of convergence that the
   * eigenvalues predict.
   *
   * @throws LinAlgError where A is singular, where an eigenvalue is negative and no lr was given, or for a start that is not
   * finite; ShapeError for a start that is not [n]; ArgumentError for an lr that is not above 0, or steps that are no whole
   * number from 1 up
   */
  measure(options: MeasureOptions = {}): Convergence {
    checkOptions('Quadratic.measure', options, ['lr', 'start', 'steps']);
    const { lr = this.optimalLearningRate } = options;
    const slowest = this.rate(lr);
    const needed = Math.ceil(Math.log(1e6) / Math.abs(Math.log(slowest)));
    const { steps = Math.min(Math.max(needed, 20), 20_000) } = options;
    if (!Number.isSafeInteger(steps) || steps < 1) {
      throw new ArgumentError(`Quadratic.measure: steps is a whole number from 1 up, not ${describe(steps)}`);
    }
    const predictedComponents = this.componentRates(lr);
    const optimum = this.#solution();
    const n = this.#n;
    const far = Math.max(1, norm(optimum));
    const begin =
      options.start === undefined
        ? optimum.map((v, i) => v + far * sumOf(this.#q.subarray(i * n, (i + 1) * n)))
        : checkFinite('Quadratic.measure', 'start', flatten([this.#checked('measure', options.start)]));
    const w = tensor(begin, { dtype: 'float64' }).to(this.A.dtype).clone();
    w.requiresGrad = true;
    const optimizer = new optim.SGD([w], { lr });
    const path = [this.#rotated(flatten([w]), optimum)];
    for (let t = 0; t < steps; t++) {
      optimizer.zeroGrad();
      this.value(w).backward();
      optimizer.step();
      const z = this.#rotated(flatten([w]), optimum);
      if (!z.every(Number.isFinite)) break;
      path.push(z);
    }
    // w is kept to about ε times its size: a distance is worth a million times that, to be known to six digits.
    const first = path[0] as Float64Array;
    const floor = Math.min(1e6 * epsilonOf([this.A]), 1e-2) * Math.max(norm(optimum), norm(first));
    const distances = Float64Array.from(path, (z) => norm(z));
    const measuredComponents = Float64Array.from({ length: n }, (_, m) =>
      ratio(
        path.map((z) => Math.abs(z[m] as number)),
        floor,
      ),
    );
    const overall = rateOf(distances, floor);
    const present = measuredComponents.filter((r) => !Number.isNaN(r));
    // What only round-off brought in, and grows, is in no component that was there from the start.
    const measured =
      present.length === 0 || overall > 1 ? Math.max(overall, largestOf(present)) : largestOf(present);
    return {
      learningRate: lr,
      predicted: slowest,
      measured,
      predictedComponents,
      measuredComponents,
      distances,
    };
  }

  #checked(what: string, w: unknown): Tensor {
    const t = isTensor(w) ? w : valuesOf(`Quadratic.${what}`, 'w', w);
    if (t.rank !== 1 || t.size !== this.#n) {
      throw new ShapeError(`Quadratic.${what}: w has shape [${this.#n}], not ${shown(t.shape)}`);
    }
    return t;
  }

  #solution(): Float64Array {
    const limit = negligible(this.#n, [this.A]) * largestOf(this.eigenvalues);
    const flat = this.eigenvalues.filter((v) => Math.abs(v) <= limit).length;
    const found = flat > 0 ? null : solve(this.#a, this.#n, this.#bValues);
    if (found === null) {
      throw new LinAlgError(
        `Quadratic: A is singular (its eigenvalues go from ${this.eigenvalues[0]} to ` +
          `${this.eigenvalues[this.#n - 1]}), so there is no single w∗ = A⁻¹b`,
      );
    }
    return found;
  }

  /** Qᵀ(w − w∗). */
  #rotated(w: Float64Array, optimum: Float64Array): Float64Array {
    const n = this.#n;
    const z = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      const d = (w[i] as number) - (optimum[i] as number);
      for (let m = 0; m < n; m++) z[m] = (z[m] as number) + (this.#q[i * n + m] as number) * d;
    }
    return z;
  }

  /** λ₁ and λ_M of a function that has a minimum; λ₁ is exactly 0 where it is round-off. */
  #extremes(what: string): [number, number] {
    const low = this.eigenvalues[0] as number;
    const high = this.eigenvalues[this.#n - 1] as number;
    const limit = negligible(this.#n, [this.A]) * largestOf(this.eigenvalues);
    if (low < -limit || high <= 0) {
      throw new LinAlgError(
        `Quadratic.${what}: needs eigenvalues that are not negative, and not all 0; they go from ${low} to ${high}`,
      );
    }
    return [Math.abs(low) <= limit ? 0 : low, high];
  }
}

function sumOf(values: Float64Array): number {
  return values.reduce((sum, v) => sum + v, 0);
}
