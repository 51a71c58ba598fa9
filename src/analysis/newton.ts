import { ArgumentError, LinAlgError, type Tensor } from 'simdgrad';
import { solve } from '../linalg.js';
import { checkOptions, describe } from '../options.js';
import {
  dot,
  firstOrder,
  flatten,
  hessianValues,
  type Located,
  locate,
  norm,
  type Point,
  type PointFunction,
  replaced,
} from './points.js';
import { ascending, largestOf, negligible, roundOff } from './spectrum.js';

/** Options of one step of Newton's method. */
export interface NewtonStepOptions {
  /** α: 1 (the default) is the full Newton step, less than 1 the damped one. From 0 (excluded) to 1. */
  readonly stepSize?: number;
  /** λ ≥ 0, added to every eigenvalue of the Hessian before the step is solved for (Levenberg, Marquardt). Default 0. */
  readonly regularization?: number;
  /**
   * What to do where the Hessian (with the regularization) is not positive definite, so that the step does not lead to a
   * minimum of the quadratic approximation: 'error' (the default) throws LinAlgError; 'accept' takes the step all the same,
   * to the critical point of the approximation, which is a saddle point or a maximum; 'absolute' divides by |λ_m| instead
   * of λ_m, which leads away from saddle points (saddle-free Newton, Dauphin et al. 2014).
   */
  readonly indefinite?: 'error' | 'accept' | 'absolute';
}

/** What one Newton step did; `T` is a tensor or an array of them, as the point was given. */
export interface NewtonStep<T> {
  /** θ_{t+1}, in the dtype of the point. */
  readonly point: T;
  /** f(θ_t): the value before the step. */
  readonly value: number;
  /** ‖∇f(θ_t)‖₂. */
  readonly gradientNorm: number;
  /**
   * The Newton decrement √(gᵀ H⁻¹ g); half its square is what the quadratic approximation promises to gain. NaN for an
   * indefinite Hessian, where the square is negative.
   */
  readonly decrement: number;
  /** Eigenvalues of the Hessian (without the regularization), ascending. */
  readonly eigenvalues: Float64Array;
}

/** Options of Newton's method. */
export interface NewtonOptions extends NewtonStepOptions {
  /** At most so many steps. Default 50. */
  readonly maxSteps?: number;
  /**
   * Done as soon as ‖∇f‖₂ is at most this. Default 1e-10 in float64, 1e-5 in float32, or what round-off leaves of a zero
   * gradient where that is more: 8 n ε ‖H‖ ‖θ‖, with the Hessian of the last step.
   */
  readonly tolerance?: number;
}

/** What Newton's method found. */
export interface NewtonResult<T> {
  /** The last point. */
  readonly point: T;
  /** f there. */
  readonly value: number;
  /** ‖∇f‖₂ there. */
  readonly gradientNorm: number;
  /** How many steps were taken. */
  readonly steps: number;
  /** False where maxSteps were taken and the gradient is still larger than the tolerance. */
  readonly converged: boolean;
  /** f at every point from the start to the last. */
  readonly values: readonly number[];
}

const stepNames = ['stepSize', 'regularization', 'indefinite'];

interface Settings {
  readonly stepSize: number;
  readonly regularization: number;
  readonly indefinite: 'error' | 'accept' | 'absolute';
}

function settings(op: string, options: NewtonStepOptions): Settings {
  const { stepSize = 1, regularization = 0, indefinite = 'error' } = options;
  if (typeof stepSize !== 'number' || !(stepSize > 0 && stepSize <= 1)) {
    throw new ArgumentError(`${op}: stepSize is above 0 and at most 1, not ${describe(stepSize)}`);
  }
  if (typeof regularization !== 'number' || !(regularization >= 0 && regularization < Infinity)) {
    throw new ArgumentError(`${op}: regularization is a number from 0 up, not ${describe(regularization)}`);
  }
  if (indefinite !== 'error' && indefinite !== 'accept' && indefinite !== 'absolute') {
    throw new ArgumentError(
      `${op}: indefinite is 'error', 'accept' or 'absolute', not ${describe(indefinite)}`,
    );
  }
  return { stepSize, regularization, indefinite };
}

/** Q diag(1/|λ|) Qᵀ g. */
function solveAbsolute(
  values: Float64Array,
  vectors: Float64Array,
  gradient: Float64Array,
  n: number,
): Float64Array {
  const out = new Float64Array(n);
  for (let m = 0; m < n; m++) {
    let z = 0;
    for (let i = 0; i < n; i++) z += (vectors[i * n + m] as number) * (gradient[i] as number);
    z /= Math.abs(values[m] as number);
    for (let i = 0; i < n; i++) out[i] = (out[i] as number) + (vectors[i * n + m] as number) * z;
  }
  return out;
}

/** (H + λI)⁻¹ g and the eigenvalues of H; refuses what has no such step. */
function direction(
  op: string,
  f: PointFunction,
  at: Located,
  gradient: Float64Array,
  { regularization, indefinite }: Settings,
): { direction: Float64Array; eigenvalues: Float64Array } {
  const n = at.size;
  const h = hessianValues(op, f, at);
  const { values: eigenvalues, vectors } = ascending(h, n);
  const shifted = eigenvalues.map((v) => v + regularization);
  const limit = negligible(n, at.list) * largestOf(shifted);
  const flat = shifted.filter((v) => Math.abs(v) <= limit).length;
  if (flat > 0) {
    throw new LinAlgError(
      `${op}: the Hessian is singular: ${flat} of its ${n} eigenvalues are zero (they go from ${eigenvalues[0]} to ` +
        `${eigenvalues[n - 1]}), so the quadratic approximation has no single critical point; set regularization`,
    );
  }
  const lowest = shifted[0] as number;
  if (lowest < 0 && indefinite === 'error') {
    const goal = (shifted[n - 1] as number) < 0 ? 'maximum' : 'saddle point';
    throw new LinAlgError(
      `${op}: the Hessian is not positive definite: its lowest eigenvalue is ${eigenvalues[0]}, and the step would lead ` +
        `to a ${goal}; set regularization above ${-(eigenvalues[0] as number)}, or indefinite: 'absolute' or 'accept'`,
    );
  }
  if (indefinite === 'absolute') {
    return { direction: solveAbsolute(shifted, vectors, gradient, n), eigenvalues };
  }
  for (let i = 0; i < n; i++) h[i * n + i] = (h[i * n + i] as number) + regularization;
  const found = solve(h, n, gradient);
  if (found === null) throw new LinAlgError(`${op}: the Hessian is singular; set regularization`);
  return { direction: found, eigenvalues };
}

function moved(at: Located, step: Float64Array, stepSize: number): Float64Array {
  const x = flatten(at.list);
  for (let i = 0; i < x.length; i++) x[i] = (x[i] as number) - stepSize * (step[i] as number);
  return x;
}

/**
 * One step of Newton's method, θ_{t+1} = θ_t − α (∇²f(θ_t))⁻¹ ∇f(θ_t): to the minimum of the quadratic approximation of f
 * about θ_t for α = 1 (a quadratic function is minimised in one step), part of the way there for a damped step, α < 1.
 * The derivatives are computed in the dtype of the point (plain numbers make it float64), the linear system is solved in
 * double precision.
 *
 * Source: lectures 000 and 004 ("Newton's Method"), 001 (wₜ₊₁ = wₜ − Hₜ⁻¹gₜ). Cost: n backward passes and O(n³) for n
 * elements.
 *
 * @param f gives a scalar (one element) from the tensors of the point
 * @param point a tensor, an array of tensors, or plain numbers; it is not changed
 * @throws LinAlgError for a singular Hessian, for one that is not positive definite (see `indefinite`), and where f or its
 * derivatives are not finite; ShapeError where f gives no scalar or the Hessian is larger than the memory of the machine
 */
export function newtonStep(
  f: PointFunction,
  point: readonly Tensor[],
  options?: NewtonStepOptions,
): NewtonStep<Tensor[]>;
export function newtonStep(f: PointFunction, point: Point, options?: NewtonStepOptions): NewtonStep<Tensor>;
export function newtonStep(
  f: PointFunction,
  point: Point,
  options: NewtonStepOptions = {},
): NewtonStep<Tensor | Tensor[]> {
  checkOptions('newtonStep', options, stepNames);
  const chosen = settings('newtonStep', options);
  const at = locate('newtonStep', point);
  const { value, gradient } = firstOrder('newtonStep', f, at);
  const found = direction('newtonStep', f, at, gradient, chosen);
  return {
    point: replaced(moved(at, found.direction, chosen.stepSize), at),
    value,
    gradientNorm: norm(gradient),
    decrement: Math.sqrt(dot(gradient, found.direction)),
    eigenvalues: found.eigenvalues,
  };
}

/**
 * Newton's method: steps as newtonStep() takes them, from a starting point until the gradient is as good as zero.
 *
 * Source: lectures 000, 001 and 004; see newtonStep().
 *
 * @throws what newtonStep() throws, at any of the points on the way
 */
export function newton(
  f: PointFunction,
  start: readonly Tensor[],
  options?: NewtonOptions,
): NewtonResult<Tensor[]>;
export function newton(f: PointFunction, start: Point, options?: NewtonOptions): NewtonResult<Tensor>;
export function newton(
  f: PointFunction,
  start: Point,
  options: NewtonOptions = {},
): NewtonResult<Tensor | Tensor[]> {
  checkOptions('newton', options, [...stepNames, 'maxSteps', 'tolerance']);
  const chosen = settings('newton', options);
  const { maxSteps = 50 } = options;
  if (!Number.isSafeInteger(maxSteps) || maxSteps < 0) {
    throw new ArgumentError(`newton: maxSteps is a whole number from 0 up, not ${describe(maxSteps)}`);
  }
  let at = locate('newton', start);
  const tolerance = options.tolerance ?? (at.list.some((t) => t.dtype === 'float32') ? 1e-5 : 1e-10);
  if (typeof tolerance !== 'number' || !(tolerance >= 0)) {
    throw new ArgumentError(`newton: tolerance is a number from 0 up, not ${describe(tolerance)}`);
  }
  const values: number[] = [];
  let limit = tolerance;
  for (let steps = 0; ; steps++) {
    const { value, gradient } = firstOrder('newton', f, at);
    values.push(value);
    const gradientNorm = norm(gradient);
    const converged = gradientNorm <= limit;
    if (converged || steps === maxSteps) {
      return { point: replaced(flatten(at.list), at), value, gradientNorm, steps, converged, values };
    }
    const found = direction('newton', f, at, gradient, chosen);
    const next = replaced(moved(at, found.direction, chosen.stepSize), at);
    at = { ...at, list: at.single ? [next as Tensor] : (next as Tensor[]) };
    if (options.tolerance === undefined) limit = Math.max(tolerance, roundOff(at, found.eigenvalues));
  }
}
