import { ArgumentError, type Tensor, type TensorValues, tensor } from 'simdgrad';
import { singularValues, symmetricEigen } from '../linalg.js';
import { checkOptions, describe } from '../options.js';
import { checkFinite, epsilonOf, flatten, type Located, norm, symmetricMatrix, valuesOf } from './points.js';

/** Eigenvalues in ascending order, as lecture 001 orders them, and the eigenvectors as columns in the same order. */
export interface Spectrum {
  /** λ₁ ≤ λ₂ ≤ … ≤ λ_n. */
  readonly eigenvalues: Float64Array;
  /** Q, [n, n] in float64: A = Q diag(λ) Qᵀ; column m belongs to λ_m. */
  readonly eigenvectors: Tensor;
}

/** The spectrum of values that are a symmetric matrix; the eigenvectors row-major. */
export function ascending(a: Float64Array, n: number): { values: Float64Array; vectors: Float64Array } {
  const { values, vectors } = symmetricEigen(a, n);
  const turned = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) turned[i * n + j] = vectors[i * n + (n - 1 - j)] as number;
  }
  return { values: values.reverse(), vectors: turned };
}

/**
 * The size up to which an eigenvalue is round-off of zero, relative to the largest: 8 n ε. A matrix of derivatives that were
 * computed with rounding is off by a few n ε.
 */
export function negligible(n: number, list: readonly Tensor[]): number {
  return 8 * n * epsilonOf(list);
}

/** What rounding of the point and of sums leaves of a gradient that is zero, for a Hessian with these eigenvalues. */
export function roundOff({ list, size }: Located, eigenvalues: Float64Array): number {
  return negligible(size, list) * largestOf(eigenvalues) * norm(flatten(list));
}

/** The largest absolute value. */
export function largestOf(values: Float64Array): number {
  let largest = 0;
  for (const v of values) largest = Math.max(largest, Math.abs(v));
  return largest;
}

/**
 * Eigenvalues and eigenvectors of a symmetric matrix [n, n], A = Q diag(λ₁, …, λ_n) Qᵀ with λ₁ ≤ … ≤ λ_n (lecture 001),
 * computed in double precision by the package ml-matrix.
 *
 * @throws ShapeError for anything but a square matrix; LinAlgError for one that is not symmetric or not finite.
 */
export function eigh(matrix: Tensor | TensorValues): Spectrum {
  const { a, n } = symmetricMatrix('eigh', matrix);
  const { values, vectors } = ascending(a, n);
  return { eigenvalues: values, eigenvectors: tensor(vectors, { dtype: 'float64' }).reshape(n, n) };
}

/** Options of matrixRank. */
export interface MatrixRankOptions {
  /**
   * Singular values up to this many times the largest one count as zero. Default: NumPy's, max(rows, columns) · ε, with ε of
   * the dtype of the matrix.
   */
  readonly tolerance?: number;
}

/**
 * The numerical rank of a matrix: how many singular values are not round-off. Features of more axes are taken as a matrix of
 * [all axes but the last, last axis].
 *
 * @throws LinAlgError for a matrix that is not finite; DTypeError for anything but float32 and float64; ArgumentError for a
 * tolerance that is not a number from 0 up.
 */
export function matrixRank(matrix: Tensor | TensorValues, options: MatrixRankOptions = {}): number {
  checkOptions('matrixRank', options, ['tolerance']);
  const t = valuesOf('matrixRank', 'the matrix', matrix);
  if (t.size === 0) return 0;
  const columns = t.shape.at(-1) ?? 1;
  const rows = t.size / columns;
  const tolerance = options.tolerance ?? Math.max(rows, columns) * epsilonOf([t]);
  if (typeof tolerance !== 'number' || !(tolerance >= 0)) {
    throw new ArgumentError(`matrixRank: tolerance is a number from 0 up, not ${describe(tolerance)}`);
  }
  const found = singularValues(checkFinite('matrixRank', 'the matrix', flatten([t])), rows, columns);
  const least = tolerance * (found[0] as number);
  return found.filter((s) => s > least).length;
}
