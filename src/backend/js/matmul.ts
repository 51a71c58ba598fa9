import type { JsKernel, TypedArray } from '../backend.js';
import { sigmoidOf } from './sigmoid.js';
import { integer } from './strided.js';

/*
 * Matrix product C = activation(A B + bias), with any strides of A and B and up to six batch dimensions.
 *
 * A and B are copied into panels of four rows and four columns, in the order in which the inner loop reads them; the inner loop keeps a
 * 4 x 4 tile of C in local variables. All of K goes into one tile, in double and in order of k, and is rounded once: the result does not
 * depend on how the matrices are cut. Bias and activation are applied to the rounded product and rounded again, so that a fused
 * product has the bits of the separate operations.
 *
 * Measured with Node 20 on one core of a Zen 5 at 2.6 GHz, K = 784, in GFLOP/s: 4 x 4 in double 5.9; 4 x 3 and 3 x 4 6.3, but they
 * divide few sizes; 2 x 4 4.2 (5.8 with k unrolled twice); 6 x 4 5.8; 4 x 4 with k unrolled twice 4.9. Panels of float32 with sums in double
 * cost the same (5.8); sums rounded to float32 by Math.fround 1.2.
 */

const TILE = 4;

/** Doubles in the packed block of A: it stays in the second-level cache. */
const BLOCK = 65536;

let packedA: Float64Array = new Float64Array(0);
let packedB: Float64Array = new Float64Array(0);

/**
 * Copies rows [0, rows) of x, with the given strides, into panels of four rows: packed[(panel * K + k) * 4 + row]. Rows missing in the
 * last panel are zero. Columns of B are packed as rows of its transpose.
 */
function pack(
  packed: Float64Array,
  x: TypedArray,
  at: number,
  rows: number,
  rowStride: number,
  K: number,
  kStride: number,
): void {
  let to = 0;
  for (let r = 0; r < rows; r += TILE, to += TILE * K) {
    const base = at + r * rowStride;
    if (rows - r >= TILE) {
      const second = base + rowStride;
      const third = second + rowStride;
      const fourth = third + rowStride;
      for (let k = 0, q = to, s = 0; k < K; k++, q += TILE, s += kStride) {
        packed[q] = x[base + s];
        packed[q + 1] = x[second + s];
        packed[q + 2] = x[third + s];
        packed[q + 3] = x[fourth + s];
      }
    } else {
      packed.fill(0, to, to + TILE * K);
      for (let i = 0; r + i < rows; i++) {
        const row = base + i * rowStride;
        for (let k = 0; k < K; k++) packed[to + k * TILE + i] = x[row + k * kStride];
      }
    }
  }
}

const tile = new Float64Array(TILE * TILE);

/** tile[i][j] = sum over k of a[k][i] b[k][j], for one panel of each. */
function multiplyPanels(K: number, ap: Float64Array, a: number, bp: Float64Array, b: number): void {
  let c00 = 0;
  let c01 = 0;
  let c02 = 0;
  let c03 = 0;
  let c10 = 0;
  let c11 = 0;
  let c12 = 0;
  let c13 = 0;
  let c20 = 0;
  let c21 = 0;
  let c22 = 0;
  let c23 = 0;
  let c30 = 0;
  let c31 = 0;
  let c32 = 0;
  let c33 = 0;
  for (let k = 0; k < K; k++) {
    const b0 = bp[b];
    const b1 = bp[b + 1];
    const b2 = bp[b + 2];
    const b3 = bp[b + 3];
    const a0 = ap[a];
    c00 += a0 * b0;
    c01 += a0 * b1;
    c02 += a0 * b2;
    c03 += a0 * b3;
    const a1 = ap[a + 1];
    c10 += a1 * b0;
    c11 += a1 * b1;
    c12 += a1 * b2;
    c13 += a1 * b3;
    const a2 = ap[a + 2];
    c20 += a2 * b0;
    c21 += a2 * b1;
    c22 += a2 * b2;
    c23 += a2 * b3;
    const a3 = ap[a + 3];
    c30 += a3 * b0;
    c31 += a3 * b1;
    c32 += a3 * b2;
    c33 += a3 * b3;
    a = (a + TILE) | 0;
    b = (b + TILE) | 0;
  }
  tile[0] = c00;
  tile[1] = c01;
  tile[2] = c02;
  tile[3] = c03;
  tile[4] = c10;
  tile[5] = c11;
  tile[6] = c12;
  tile[7] = c13;
  tile[8] = c20;
  tile[9] = c21;
  tile[10] = c22;
  tile[11] = c23;
  tile[12] = c30;
  tile[13] = c31;
  tile[14] = c32;
  tile[15] = c33;
}

/** A matrix in memory. */
interface Matrix {
  readonly data: TypedArray;
  at: number;
  readonly row: number;
  readonly column: number;
}

/** Space for at least n doubles, keeping what is there if it suffices. */
function atLeast(array: Float64Array, n: number): Float64Array {
  return array.length >= n ? array : new Float64Array(n);
}

/** C = A B by packed panels. */
function multiplyBlocked(M: number, N: number, K: number, c: Matrix, a: Matrix, b: Matrix): void {
  const panelRows = Math.max(TILE, Math.min(M + TILE - 1, BLOCK / K) & -TILE);
  packedA = atLeast(packedA, panelRows * K);
  packedB = atLeast(packedB, TILE * K);
  const out = c.data;
  for (let i0 = 0; i0 < M; i0 += panelRows) {
    const rows = Math.min(panelRows, M - i0);
    pack(packedA, a.data, a.at + i0 * a.row, rows, a.row, K, a.column);
    for (let j = 0; j < N; j += TILE) {
      const width = Math.min(TILE, N - j);
      pack(packedB, b.data, b.at + j * b.column, width, b.column, K, b.row);
      for (let i = 0; i < rows; i += TILE) {
        multiplyPanels(K, packedA, i * K, packedB, 0);
        const height = Math.min(TILE, rows - i);
        let o = c.at + (i0 + i) * c.row + j * c.column;
        for (let r = 0; r < height; r++, o += c.row) {
          for (let s = 0; s < width; s++) out[o + s * c.column] = tile[r * TILE + s];
        }
      }
    }
  }
}

/** C = A B for few rows of A, where packing B would cost more than the product. B is read once per row, in order of memory. */
function multiplyThin(M: number, N: number, K: number, c: Matrix, a: Matrix, b: Matrix): void {
  const out = c.data;
  const x = a.data;
  const y = b.data;
  if (Math.abs(b.row) < Math.abs(b.column) || N === 1) {
    for (let i = 0; i < M; i++) {
      const row = a.at + i * a.row;
      for (let j = 0; j < N; j++) {
        let s = 0;
        for (let k = 0, p = row, q = b.at + j * b.column; k < K; k++, p += a.column, q += b.row)
          s += x[p] * y[q];
        out[c.at + i * c.row + j * c.column] = s;
      }
    }
    return;
  }
  packedB = atLeast(packedB, N);
  const sums = packedB;
  for (let i = 0; i < M; i++) {
    sums.fill(0, 0, N);
    for (let k = 0; k < K; k++) {
      const v = x[a.at + i * a.row + k * a.column];
      for (let j = 0, q = b.at + k * b.row; j < N; j++, q += b.column) sums[j] += v * y[q];
    }
    for (let j = 0; j < N; j++) out[c.at + i * c.row + j * c.column] = sums[j];
  }
}

/** At most this many rows, or columns, take the way without packing. */
const THIN = 2;

function multiply(M: number, N: number, K: number, c: Matrix, a: Matrix, b: Matrix): void {
  if (M <= THIN) {
    multiplyThin(M, N, K, c, a, b);
  } else if (N <= THIN) {
    multiplyThin(N, M, K, transposed(c), transposed(b), transposed(a));
  } else {
    multiplyBlocked(M, N, K, c, a, b);
  }
}

function transposed({ data, at, row, column }: Matrix): Matrix {
  return { data, at, row: column, column: row };
}

/** The gradient before an activation whose result was y, from the one behind it. */
function before(activation: number, g: number, y: number): number {
  if (activation === 4) return y > 0 ? g : 0;
  return activation === 5 ? g * y * (1 - y) : g * (1 - y * y);
}

/**
 * Adds the bias to every row of C, then applies the activation, each rounded to C's type; or, for the gradient of an
 * activation, takes `bias` as what it gave.
 */
function finish(M: number, N: number, c: Matrix, bias: TypedArray, biasAt: number, activation: number): void {
  const out = c.data;
  if (activation > 3) {
    for (let i = 0; i < M; i++) {
      const o = c.at + i * c.row;
      const y = biasAt + i * N;
      for (let j = 0; j < N; j++) out[o + j] = before(activation, out[o + j], bias[y + j]);
    }
    return;
  }
  for (let i = 0; i < M; i++) {
    const o = c.at + i * c.row;
    if (biasAt >= 0) for (let j = 0; j < N; j++) out[o + j] += bias[biasAt + j];
    if (activation === 1) for (let j = 0; j < N; j++) out[o + j] = out[o + j] <= 0 ? 0 : out[o + j];
    else if (activation === 2) for (let j = 0; j < N; j++) out[o + j] = sigmoidOf(out[o + j]);
    else if (activation === 3) for (let j = 0; j < N; j++) out[o + j] = Math.tanh(out[o + j]);
  }
}

/**
 * matmul: C[batch, M, N] = activation(A[batch, M, K] B[batch, K, N] + bias[N]).
 *
 * Params: [nb, batch*nb, M, N, K, then for c: offset, batchStride*nb, rowStride; for a and b: offset, batchStride*nb, rowStride,
 * colStride; bias offset or -1; activation: 0 none, 1 relu, 2 sigmoid, 3 tanh, or 4 to 6 for the gradients of these, where the place of
 * the bias has what the activation gave]. Buffers: c, a, b, bias.
 * K = 0 gives zeros (and the bias).
 */
export const matmulKernel: JsKernel = (p, b) => {
  const nb = p[0];
  const M = integer(p[1 + nb]);
  const N = integer(p[2 + nb]);
  const K = integer(p[3 + nb]);
  const cAt = 4 + nb;
  const aAt = cAt + nb + 2;
  const bAt = aAt + nb + 3;
  const biasAt = integer(p[bAt + nb + 3]);
  const activation = p[bAt + nb + 4];
  let count = M * N;
  for (let d = 0; d < nb; d++) count *= p[1 + d];
  if (count === 0) return;
  const c: Matrix = { data: b[0], at: integer(p[cAt]), row: integer(p[cAt + nb + 1]), column: 1 };
  const x: Matrix = {
    data: b[1],
    at: integer(p[aAt]),
    row: integer(p[aAt + nb + 1]),
    column: integer(p[aAt + nb + 2]),
  };
  const y: Matrix = {
    data: b[2],
    at: integer(p[bAt]),
    row: integer(p[bAt + nb + 1]),
    column: integer(p[bAt + nb + 2]),
  };
  const products = count / (M * N);
  const index = new Array<number>(nb).fill(0);
  for (let product = 0; product < products; product++) {
    multiply(M, N, K, c, x, y);
    const at = activation > 3 ? biasAt + product * M * N : biasAt;
    if (biasAt >= 0 || activation !== 0) finish(M, N, c, b[3], at, activation);
    for (let d = nb - 1; d >= 0; d--) {
      const back = ++index[d] === p[1 + d] ? p[1 + d] : 0;
      c.at += p[cAt + 1 + d] * (1 - back);
      x.at += p[aAt + 1 + d] * (1 - back);
      y.at += p[bAt + 1 + d] * (1 - back);
      if (back === 0) break;
      index[d] = 0;
    }
  }
};
