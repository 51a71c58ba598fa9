import { IndexError } from '../../errors.js';
import type { JsKernel, TypedArray } from '../backend.js';
import { integer } from './strided.js';

/*
 * Kernels over contiguous rows. Params: [rows, cols, offset per buffer (outputs first)].
 * Arithmetic is in double; results are rounded once, when they are stored.
 */

/** Holds one row of exponentials; grown as needed and kept. */
let scratch: Float64Array = new Float64Array(1024);

function rowScratch(cols: number): Float64Array {
  if (scratch.length < cols) scratch = new Float64Array(cols);
  return scratch;
}

/** The largest of n elements; NaN if any is NaN, -Infinity if there are none. */
function rowMax(x: TypedArray, at: number, n: number): number {
  let m = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < n; j++) {
    const v = x[at + j];
    if (v > m || v !== v) {
      m = v;
      if (v !== v) break;
    }
  }
  return m;
}

/** Throws IndexError unless all n indices are in [0, bound): kernels check before they write. */
export function checkIndices(kernel: string, indices: TypedArray, at: number, n: number, bound: number): void {
  for (let i = 0; i < n; i++) {
    const index = indices[at + i];
    if (!(index >= 0 && index < bound)) {
      throw new IndexError(`${kernel}: index ${index} at position ${i} is outside [0, ${bound})`);
    }
  }
}

/** softmax: y = exp(x - max) / sum exp(x - max), for each row. */
export const softmaxKernel: JsKernel = (p, b) => {
  const rows = integer(p[0]);
  const cols = integer(p[1]);
  const [y, x] = b;
  const e = rowScratch(cols);
  for (let r = 0; r < rows; r++) {
    const o = integer(p[2]) + r * cols;
    const i = integer(p[3]) + r * cols;
    const m = rowMax(x, i, cols);
    let sum = 0;
    for (let j = 0; j < cols; j++) {
      const v = Math.exp(x[i + j] - m);
      e[j] = v;
      sum += v;
    }
    for (let j = 0; j < cols; j++) y[o + j] = e[j] / sum;
  }
};

/** y = (x - max) - log sum exp(x - max), for each row. */
function logSoftmaxRows(rows: number, cols: number, y: TypedArray, yAt: number, x: TypedArray, xAt: number): void {
  for (let r = 0; r < rows; r++) {
    const o = yAt + r * cols;
    const i = xAt + r * cols;
    const m = rowMax(x, i, cols);
    let sum = 0;
    for (let j = 0; j < cols; j++) sum += Math.exp(x[i + j] - m);
    const logSum = Math.log(sum);
    for (let j = 0; j < cols; j++) y[o + j] = x[i + j] - m - logSum;
  }
}

/** logSoftmax: y = x - max - log sum exp(x - max), for each row. */
export const logSoftmaxKernel: JsKernel = (p, b) => {
  logSoftmaxRows(p[0], p[1], b[0], p[2], b[1], p[3]);
};

/** logSumExp: y[r] = max + log sum exp(x - max); an infinite maximum is the result. */
export const logSumExpKernel: JsKernel = (p, b) => {
  const rows = integer(p[0]);
  const cols = integer(p[1]);
  const [y, x] = b;
  for (let r = 0; r < rows; r++) {
    const i = integer(p[3]) + r * cols;
    const m = rowMax(x, i, cols);
    let sum = 0;
    for (let j = 0; j < cols; j++) sum += Math.exp(x[i + j] - m);
    y[integer(p[2]) + r] = m === Number.POSITIVE_INFINITY || m === Number.NEGATIVE_INFINITY ? m : m + Math.log(sum);
  }
};

/** softmaxGrad: dx = y (g - sum g y), for each row, y being the softmax. */
export const softmaxGradKernel: JsKernel = (p, b) => {
  const rows = integer(p[0]);
  const cols = integer(p[1]);
  const [dx, g, y] = b;
  for (let r = 0; r < rows; r++) {
    const o = integer(p[2]) + r * cols;
    const i = integer(p[3]) + r * cols;
    const k = integer(p[4]) + r * cols;
    let dot = 0;
    for (let j = 0; j < cols; j++) dot += g[i + j] * y[k + j];
    for (let j = 0; j < cols; j++) dx[o + j] = y[k + j] * (g[i + j] - dot);
  }
};

/** logSoftmaxGrad: dx = g - exp(y) sum g, for each row, y being the log-softmax. */
export const logSoftmaxGradKernel: JsKernel = (p, b) => {
  const rows = integer(p[0]);
  const cols = integer(p[1]);
  const [dx, g, y] = b;
  for (let r = 0; r < rows; r++) {
    const o = integer(p[2]) + r * cols;
    const i = integer(p[3]) + r * cols;
    const k = integer(p[4]) + r * cols;
    let sum = 0;
    for (let j = 0; j < cols; j++) sum += g[i + j];
    for (let j = 0; j < cols; j++) dx[o + j] = g[i + j] - Math.exp(y[k + j]) * sum;
  }
};

function nllRows(
  rows: number,
  cols: number,
  loss: TypedArray,
  lossAt: number,
  lp: TypedArray,
  lpAt: number,
  labels: TypedArray,
  labelsAt: number,
): void {
  for (let r = 0; r < rows; r++) loss[lossAt + r] = -lp[lpAt + r * cols + labels[labelsAt + r]];
}

/** nll: loss[r] = -lp[r, label[r]]. Throws IndexError for labels outside [0, cols). */
export const nllKernel: JsKernel = (p, b) => {
  const [loss, lp, labels] = b;
  checkIndices('nll', labels, p[4], p[0], p[1]);
  nllRows(p[0], p[1], loss, p[2], lp, p[3], labels, p[4]);
};

/** nllGrad: dlp[r, c] = -g[r] at c = label[r], else 0. Throws IndexError for labels outside [0, cols). */
export const nllGradKernel: JsKernel = (p, b) => {
  const rows = integer(p[0]);
  const cols = integer(p[1]);
  const [dlp, g, labels] = b;
  checkIndices('nllGrad', labels, p[4], rows, cols);
  dlp.fill(0, p[2], integer(p[2]) + rows * cols);
  for (let r = 0; r < rows; r++) dlp[integer(p[2]) + r * cols + labels[integer(p[4]) + r]] = -g[integer(p[3]) + r];
};

/**
 * crossEntropy: lp = logSoftmax(x), loss[r] = -lp[r, label[r]], with the bits of those two kernels.
 * Throws IndexError for labels outside [0, cols).
 */
export const crossEntropyKernel: JsKernel = (p, b) => {
  const rows = integer(p[0]);
  const cols = integer(p[1]);
  const [loss, lp, x, labels] = b;
  checkIndices('crossEntropy', labels, p[5], rows, cols);
  logSoftmaxRows(rows, cols, lp, p[3], x, p[4]);
  nllRows(rows, cols, loss, p[2], lp, p[3], labels, p[5]);
};

/**
 * crossEntropyGrad: dx = g (exp(lp) - onehot), as logSoftmaxGrad of nllGrad and with their bits.
 * Throws IndexError for labels outside [0, cols).
 */
export const crossEntropyGradKernel: JsKernel = (p, b) => {
  const rows = integer(p[0]);
  const cols = integer(p[1]);
  const [dx, g, lp, labels] = b;
  checkIndices('crossEntropyGrad', labels, p[5], rows, cols);
  for (let r = 0; r < rows; r++) {
    const o = integer(p[2]) + r * cols;
    const k = integer(p[4]) + r * cols;
    const label = labels[integer(p[5]) + r];
    const sum = 0 - g[integer(p[3]) + r]; // the sum of the row that nllGrad would give
    for (let j = 0; j < cols; j++) dx[o + j] = (j === label ? sum : 0) - Math.exp(lp[k + j]) * sum;
  }
};
