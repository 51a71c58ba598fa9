import type * as MlMatrix from 'ml-matrix';
import { LinAlgError, ShapeError } from './errors.js';
import { createRequire } from './node.js';

// Dense linear algebra in double precision, by the package ml-matrix; for analysis and whitening, not for training.
// It is loaded at the first use: importing simdgrad does not pay for it.

let library: typeof MlMatrix | undefined;

function load(): typeof MlMatrix {
  library ??= createRequire(import.meta.url)('ml-matrix') as typeof MlMatrix;
  return library;
}

/**
 * A power of two near the largest value, to divide by: within the algorithms squares and products of very large numbers would
 * overflow, those of very small ones vanish. Refuses what is not finite, with which they do not end well.
 */
function scaleOf(op: string, values: ArrayLike<number>): number {
  let largest = 0;
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    if (!Number.isFinite(v)) throw new LinAlgError(`${op}: the matrix has an element that is ${v}`);
    largest = Math.max(largest, Math.abs(v));
  }
  return largest === 0 ? 1 : 2 ** Math.floor(Math.log2(largest));
}

/** The opposite, for results; refuses what then is too large for a number. */
function unscaled(op: string, values: Iterable<number>, scale: number): Float64Array {
  const out = Float64Array.from(values, (v) => v * scale);
  if (!out.every(Number.isFinite)) {
    throw new LinAlgError(
      `${op}: the elements of the matrix are so large that the result overflows; divide it by a constant`,
    );
  }
  return out;
}

function toMatrix(
  op: string,
  values: ArrayLike<number>,
  rows: number,
  columns: number,
  scale = 1,
): MlMatrix.Matrix {
  if (values.length !== rows * columns) {
    throw new ShapeError(
      `${op}: a ${rows} × ${columns} matrix has ${rows * columns} values, not ${values.length}`,
    );
  }
  const { Matrix } = load();
  const matrix = new Matrix(rows, columns);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) matrix.set(i, j, (values[i * columns + j] as number) / scale);
  }
  return matrix;
}

function fromMatrix(matrix: MlMatrix.AbstractMatrix): Float64Array {
  const { rows, columns } = matrix;
  const out = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[i * columns + j] = matrix.get(i, j);
  return out;
}

/** Eigenvalues in descending order, and the eigenvectors of unit length that belong to them. */
export interface Eigen {
  readonly values: Float64Array;
  /** Row-major n × n; column j belongs to values[j]. */
  readonly vectors: Float64Array;
}

/**
 * Eigenvalues and eigenvectors of a symmetric n × n matrix (row-major), as A = V diag(values) Vᵀ. LinAlgError where it is not
 * finite, or its eigenvalues are not.
 */
export function symmetricEigen(values: ArrayLike<number>, n: number): Eigen {
  const { EigenvalueDecomposition } = load();
  const scale = scaleOf('symmetricEigen', values);
  const found = new EigenvalueDecomposition(toMatrix('symmetricEigen', values, n, n, scale), {
    assumeSymmetric: true,
  });
  const raw = fromMatrix(found.eigenvectorMatrix);
  const order = [...found.realEigenvalues.keys()].sort(
    (i, j) => (found.realEigenvalues[j] as number) - (found.realEigenvalues[i] as number),
  );
  const vectors = new Float64Array(n * n);
  for (let row = 0; row < n; row++) {
    for (let j = 0; j < n; j++) vectors[row * n + j] = raw[row * n + (order[j] as number)] as number;
  }
  const ordered = order.map((i) => found.realEigenvalues[i] as number);
  return { values: unscaled('symmetricEigen', ordered, scale), vectors };
}

/**
 * X with A X = B, for A n × n and B n × columns (row-major), by LU decomposition; null where A is singular. LinAlgError
 * where A is not finite.
 */
export function solve(
  a: ArrayLike<number>,
  n: number,
  b: ArrayLike<number>,
  columns = 1,
): Float64Array | null {
  const { LuDecomposition } = load();
  const scale = scaleOf('solve', a);
  const lu = new LuDecomposition(toMatrix('solve', a, n, n, scale));
  if (lu.isSingular()) return null;
  return fromMatrix(lu.solve(toMatrix('solve', b, n, columns))).map((v) => v / scale);
}

/**
 * Singular values of a rows × columns matrix (row-major), in descending order. LinAlgError where it is not finite, or they are
 * not.
 */
export function singularValues(values: ArrayLike<number>, rows: number, columns: number): Float64Array {
  const { SingularValueDecomposition } = load();
  const scale = scaleOf('singularValues', values);
  const found = new SingularValueDecomposition(toMatrix('singularValues', values, rows, columns, scale), {
    computeLeftSingularVectors: false,
    computeRightSingularVectors: false,
    autoTranspose: true,
  });
  return unscaled('singularValues', found.diagonal, scale).sort((a, b) => b - a);
}
