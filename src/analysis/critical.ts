import { ArgumentError, type Tensor, type TensorValues } from 'simdgrad';
import { checkOptions, describe } from '../options.js';
import {
  firstOrder,
  hessianValues,
  locate,
  norm,
  type Point,
  type PointFunction,
  symmetricMatrix,
} from './points.js';
import { ascending, largestOf, negligible, roundOff } from './spectrum.js';

/**
 * What a point with zero gradient is, by the eigenvalues of the Hessian: 'minimum' where all are positive, 'maximum' where
 * all are negative, 'saddle' where there are both; 'degenerate' where some are zero and the others have one sign, so that
 * second derivatives do not decide.
 */
export type CriticalKind = 'minimum' | 'maximum' | 'saddle' | 'degenerate';

/** What the eigenvalues of a Hessian say. */
export interface HessianKind {
  /** A minimum, a maximum, a saddle, or undecided by second derivatives. */
  readonly kind: CriticalKind;
  /** λ₁ ≤ λ₂ ≤ … ≤ λ_n. */
  readonly eigenvalues: Float64Array;
  /** How many eigenvalues are negative: the directions in which the function falls. */
  readonly index: number;
}

/** What a point is. */
export interface CriticalPoint extends HessianKind {
  /** ‖∇f‖₂ at the point. */
  readonly gradientNorm: number;
}

/** Options of what tells critical points apart by eigenvalues. */
export interface CriticalOptions {
  /**
   * Eigenvalues whose size is at most this many times that of the largest count as zero. Default 8 n ε, with ε of the dtype
   * of the point.
   */
  readonly tolerance?: number;
}

/** Options of what tells critical points apart, with the gradient. */
export interface CriticalPointOptions extends CriticalOptions {
  /**
   * ‖∇f‖₂ up to which the point counts as critical. Default 1e-6 in float64, 1e-3 in float32, or what round-off leaves of a
   * zero gradient where that is more: 8 n ε ‖H‖ ‖θ‖.
   */
  readonly gradientTolerance?: number;
}

function checked(op: string, name: string, value: unknown): number {
  if (typeof value !== 'number' || !(value >= 0)) {
    throw new ArgumentError(`${op}: ${name} is a number from 0 up, not ${describe(value)}`);
  }
  return value;
}

function classify(eigenvalues: Float64Array, tolerance: number): HessianKind {
  const limit = tolerance * largestOf(eigenvalues);
  const up = eigenvalues.filter((v) => v > limit).length;
  const index = eigenvalues.filter((v) => v < -limit).length;
  const n = eigenvalues.length;
  const kind = up > 0 && index > 0 ? 'saddle' : up === n ? 'minimum' : index === n ? 'maximum' : 'degenerate';
  return { kind, eigenvalues, index };
}

/**
 * What a critical point with this Hessian is (a symmetric matrix [n, n]).
 *
 * Source: lecture 001, "We can check whether a critical point …"; the lecture leaves out the degenerate case.
 *
 * @throws ShapeError for anything but a square matrix; LinAlgError for one that is not symmetric or not finite
 */
export function classifyHessian(matrix: Tensor | TensorValues, options: CriticalOptions = {}): HessianKind {
  checkOptions('classifyHessian', options, ['tolerance']);
  const { t, a, n } = symmetricMatrix('classifyHessian', matrix);
  const tolerance = checked('classifyHessian', 'tolerance', options.tolerance ?? negligible(n, [t]));
  return classify(ascending(a, n).values, tolerance);
}

/**
 * Tells minima, maxima and saddle points of a scalar-valued function apart by the eigenvalues of its Hessian.
 *
 * Source: lecture 001, "We can check whether a critical point …"; the lecture leaves out the degenerate case.
 *
 * @param f gives a scalar (one element) from the tensors of the point
 * @param point a tensor, an array of tensors, or plain numbers (which become float64)
 * @throws ArgumentError for a point whose gradient is not zero (see gradientTolerance); LinAlgError where f or its
 * derivatives are not finite; ShapeError where f gives no scalar or the Hessian is larger than the memory of the machine
 */
export function classifyCriticalPoint(
  f: PointFunction,
  point: Point,
  options: CriticalPointOptions = {},
): CriticalPoint {
  const op = 'classifyCriticalPoint';
  checkOptions(op, options, ['tolerance', 'gradientTolerance']);
  const at = locate(op, point);
  const coarse = at.list.some((t) => t.dtype === 'float32');
  const tolerance = checked(op, 'tolerance', options.tolerance ?? negligible(at.size, at.list));
  const limit = checked(op, 'gradientTolerance', options.gradientTolerance ?? (coarse ? 1e-3 : 1e-6));
  const gradientNorm = norm(firstOrder(op, f, at).gradient);
  const refuse = (most: number): void => {
    if (gradientNorm <= most) return;
    throw new ArgumentError(
      `${op}: this is no critical point: the gradient has norm ${gradientNorm}, more than ${most}; find one first ` +
        `(with newton(), for example), or set gradientTolerance`,
    );
  };
  if (options.gradientTolerance !== undefined) refuse(limit);
  const { values } = ascending(hessianValues(op, f, at), at.size);
  if (options.gradientTolerance === undefined) refuse(Math.max(limit, roundOff(at, values)));
  return { ...classify(values, tolerance), gradientNorm };
}
