import { createRequire } from 'node:module';
import type * as MlMatrix from 'ml-matrix';
import { ShapeError } from './errors.js';

// Dense linear algebra in double precision, by the package ml-matrix; for analysis and whitening, not for training.
// It is loaded at the first use: importing simdgrad does not pay for it.

let library: typeof MlMatrix | undefined;

function load(): typeof MlMatrix {
  library ??= createRequire(import.meta.url)('ml-matrix') as typeof MlMatrix;
  return library;
}

function toMatrix(op: string, values: ArrayLike<number>, rows: number, columns: number): MlMatrix.Matrix {
  if (values.length !== rows * columns) {
    throw new ShapeError(
      `${op}: a ${rows} × ${columns} matrix has ${rows * columns} values, not ${values.length}`,
    );
  }
  const { Matrix } = load();
  const matrix = new Matrix(rows, columns);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) matrix.set(i, j, values[i * columns + j] as number);
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

/** Eigenvalues and eigenvectors of a symmetric n × n matrix (row-major), as A = V diag(values) Vᵀ. */
export function symmetricEigen(values: ArrayLike<number>, n: number): Eigen {
  const { EigenvalueDecomposition } = load();
  const found = new EigenvalueDecomposition(toMatrix('symmetricEigen', values, n, n), {
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
  return { values: Float64Array.from(order, (i) => found.realEigenvalues[i] as number), vectors };
}

/**
 * X with A X = B, for A n × n and B n × columns (row-major), by LU decomposition; null where A is singular.
 */
export function solve(
  a: ArrayLike<number>,
  n: number,
  b: ArrayLike<number>,
  columns = 1,
): Float64Array | null {
  const { LuDecomposition } = load();
  const lu = new LuDecomposition(toMatrix('solve', a, n, n));
  if (lu.isSingular()) return null;
  return fromMatrix(lu.solve(toMatrix('solve', b, n, columns)));
}

/** Singular values of a rows × columns matrix (row-major), in descending order. */
export function singularValues(values: ArrayLike<number>, rows: number, columns: number): Float64Array {
  const { SingularValueDecomposition } = load();
  const found = new SingularValueDecomposition(toMatrix('singularValues', values, rows, columns), {
    computeLeftSingularVectors: false,
    computeRightSingularVectors: false,
    autoTranspose: true,
  });
  return Float64Array.from(found.diagonal).sort((a, b) => b - a);
}
