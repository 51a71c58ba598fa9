import { IndexError } from '../../errors.js';
import type { JsKernel, TypedArray } from '../backend.js';
import { integer } from './strided.js';

/*
 * Kernels over contiguous rows. Params: [rows, cols, offset per buffer (outputs first)].
 * Arithmetic is in double; results are rounded once, when they are stored.
 */

/** The largest of n elements; NaN if any is NaN, -Infinity if there are none. */
export function rowMax(x: TypedArray, at: number, n: number): number {
  let m = Number.NEGATIVE_INFINITY;
  for (let j = 0; j < n; j++) {
    const v = x[at + j];
    if (v > m || Number.isNaN(v)) {
      m = v;
      if (Number.isNaN(v)) break;
    }
  }
  return m;
}

/**
 * Throws IndexError unless all n indices are in [0, bound), or are the label to ignore: kernels check before they write.
 */
export function checkIndices(
  kernel: string,
  indices: TypedArray,
  at: number,
  n: number,
  bound: number,
  ignore = Number.NaN,
): void {
  for (let i = 0; i < n; i++) {
    const index = indices[at + i];
    if (!(index >= 0 && index < bound) && index !== ignore) {
      throw new IndexError(`${kernel}: index ${index} at position ${i} is outside [0, ${bound})`);
    }
  }
}

/** y = (x - max) - log sum exp(x - max), for each row. */
export function logSoftmaxRows(
  rows: number,
  cols: number,
  y: TypedArray,
  yAt: number,
  x: TypedArray,
  xAt: number,
): void {
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

function nllRows(
  rows: number,
  cols: number,
  loss: TypedArray,
  lossAt: number,
  lp: TypedArray,
  lpAt: number,
  labels: TypedArray,
  labelsAt: number,
  ignore: number,
): void {
  for (let r = 0; r < rows; r++) {
    const label = labels[labelsAt + r];
    loss[lossAt + r] = label === ignore ? 0 : -lp[lpAt + r * cols + label];
  }
}

/*
 * The kernels of labels take one attr, the label to ignore: its rows have loss 0 and gradient 0. They throw IndexError
 * for other labels outside [0, cols).
 */

/** nll: loss[r] = -lp[r, label[r]]. */
export const nllKernel: JsKernel = (p, b) => {
  const rows = integer(p[0]);
  const cols = integer(p[1]);
  const labelsAt = integer(p[4]);
  const [loss, lp, labels] = b;
  const ignore = p[5];
  checkIndices('nll', labels, labelsAt, rows, cols, ignore);
  nllRows(rows, cols, loss, integer(p[2]), lp, integer(p[3]), labels, labelsAt, ignore);
};

/** nllGrad: dlp[r, c] = -g[r] at c = label[r], else 0. */
export const nllGradKernel: JsKernel = (p, b) => {
  const rows = integer(p[0]);
  const cols = integer(p[1]);
  const outAt = integer(p[2]);
  const gAt = integer(p[3]);
  const labelsAt = integer(p[4]);
  const [dlp, g, labels] = b;
  const ignore = p[5];
  checkIndices('nllGrad', labels, labelsAt, rows, cols, ignore);
  dlp.fill(0, outAt, outAt + rows * cols);
  for (let r = 0; r < rows; r++) {
    const label = labels[labelsAt + r];
    if (label !== ignore) dlp[outAt + r * cols + label] = -g[gAt + r];
  }
};

/** crossEntropy: lp = logSoftmax(x), loss[r] = -lp[r, label[r]], with the bits of those two kernels. */
export const crossEntropyKernel: JsKernel = (p, b) => {
  const rows = integer(p[0]);
  const cols = integer(p[1]);
  const lpAt = integer(p[3]);
  const labelsAt = integer(p[5]);
  const [loss, lp, x, labels] = b;
  const ignore = p[6];
  checkIndices('crossEntropy', labels, labelsAt, rows, cols, ignore);
  logSoftmaxRows(rows, cols, lp, lpAt, x, integer(p[4]));
  nllRows(rows, cols, loss, integer(p[2]), lp, lpAt, labels, labelsAt, ignore);
};

/** crossEntropyGrad: dx = g (exp(lp) - onehot), as logSoftmaxGrad of nllGrad and with their bits. */
export const crossEntropyGradKernel: JsKernel = (p, b) => {
  const rows = integer(p[0]);
  const cols = integer(p[1]);
  const outAt = integer(p[2]);
  const gAt = integer(p[3]);
  const lpAt = integer(p[4]);
  const labelsAt = integer(p[5]);
  const [dx, g, lp, labels] = b;
  const ignore = p[6];
  checkIndices('crossEntropyGrad', labels, labelsAt, rows, cols, ignore);
  for (let r = 0; r < rows; r++) {
    const o = outAt + r * cols;
    const k = lpAt + r * cols;
    const label = labels[labelsAt + r];
    const atLabel = label === ignore ? 0 : -g[gAt + r];
    const sum = 0 + atLabel; // as summed from a row that is 0 elsewhere: never -0
    for (let j = 0; j < cols; j++) dx[o + j] = (j === label ? atLabel : 0) - Math.exp(lp[k + j]) * sum;
  }
};
