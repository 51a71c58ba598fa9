import type { JsKernel, TypedArray } from '../backend.js';
import { integer } from './strided.js';

/*
 * Layer and batch normalisation of a contiguous matrix, by rows and by columns, and their gradients. Params: [rows, cols, offset
 * per buffer (outputs first), eps]; the formulas are those of native/src/kernels/normalize.inc. Arithmetic is in double.
 */

/** Sizes, the offsets of some buffers, and eps. */
function read(p: ArrayLike<number>, buffers: number) {
  const at = Array.from({ length: buffers }, (_, i) => integer(p[2 + i] as number));
  return {
    rows: integer(p[0] as number),
    cols: integer(p[1] as number),
    at: at as [number, number, number, number, number, number],
    eps: p[2 + buffers] as number,
  };
}

/** n elements of a matrix that lie `step` apart: a row or a column. */
interface Line {
  readonly n: number;
  readonly step: number;
}

interface Moments {
  readonly mean: number;
  readonly variance: number;
  /** 1 / sqrt(variance + eps) */
  readonly scale: number;
}

function momentsOf(x: TypedArray, at: number, { n, step }: Line, eps: number): Moments {
  let sum = 0;
  for (let j = 0; j < n; j++) sum += x[at + j * step] as number;
  const mean = sum / n;
  let squares = 0;
  for (let j = 0; j < n; j++) {
    const d = (x[at + j * step] as number) - mean;
    squares += d * d;
  }
  const variance = squares / n;
  return { mean, variance, scale: 1 / Math.sqrt(variance + eps) };
}

/** Calls f for every row (or column), with the offset of its first element and of its first weight, which lie `stride` apart. */
function eachLine(
  byRows: boolean,
  rows: number,
  cols: number,
  f: (at: number, line: Line, weightAt: number, stride: number) => void,
): void {
  if (byRows) for (let r = 0; r < rows; r++) f(r * cols, { n: cols, step: 1 }, 0, 1);
  else for (let c = 0; c < cols; c++) f(c, { n: rows, step: cols }, c, 0);
}

/** By columns there are two more outputs: the mean and the variance of each. */
function normalization(byRows: boolean): JsKernel {
  return (p, b) => {
    const outputs = byRows ? 1 : 3;
    const { rows, cols, at, eps } = read(p, outputs + 3);
    const [y, yAt] = [b[0] as TypedArray, at[0]];
    const [x, weight, bias] = b.slice(outputs) as [TypedArray, TypedArray, TypedArray];
    const [xAt, wAt, biasAt] = at.slice(outputs) as [number, number, number];
    eachLine(byRows, rows, cols, (lineAt, line, w, stride) => {
      const { mean, variance, scale } = momentsOf(x, xAt + lineAt, line, eps);
      if (!byRows) {
        (b[1] as TypedArray)[at[1] + w] = mean;
        (b[2] as TypedArray)[at[2] + w] = variance;
      }
      for (let j = 0; j < line.n; j++) {
        const i = lineAt + j * line.step;
        const k = w + j * stride;
        y[yAt + i] =
          ((x[xAt + i] as number) - mean) * scale * (weight[wAt + k] as number) +
          (bias[biasAt + k] as number);
      }
    });
  };
}

function normalizationGrad(byRows: boolean): JsKernel {
  return (p, b) => {
    const {
      rows,
      cols,
      at: [outAt, gAt, xAt, wAt],
      eps,
    } = read(p, 4);
    const [dx, g, x, weight] = b as [TypedArray, TypedArray, TypedArray, TypedArray];
    eachLine(byRows, rows, cols, (at, line, w) => {
      const { mean, scale } = momentsOf(x, xAt + at, line, eps);
      // A weight that all have in common comes last.
      const common = byRows ? 1 : (weight[wAt + w] as number);
      const of = (j: number): number => (byRows ? (weight[wAt + w + j] as number) : 1);
      let sum = 0;
      let products = 0;
      for (let j = 0; j < line.n; j++) {
        const i = at + j * line.step;
        const u = (g[gAt + i] as number) * of(j);
        sum += u;
        products += u * ((x[xAt + i] as number) - mean);
      }
      const slope = (scale * scale * products) / line.n;
      for (let j = 0; j < line.n; j++) {
        const i = at + j * line.step;
        const u = (g[gAt + i] as number) * of(j);
        dx[outAt + i] = scale * common * (u - sum / line.n - ((x[xAt + i] as number) - mean) * slope);
      }
    });
  };
}

function weightGrad(byRows: boolean): JsKernel {
  return (p, b) => {
    const {
      rows,
      cols,
      at: [outAt, gAt, xAt],
      eps,
    } = read(p, 3);
    const [dw, g, x] = b as [TypedArray, TypedArray, TypedArray];
    const sums = new Float64Array(cols);
    eachLine(byRows, rows, cols, (at, line, w, stride) => {
      const { mean, scale } = momentsOf(x, xAt + at, line, eps);
      for (let j = 0; j < line.n; j++) {
        const i = at + j * line.step;
        sums[w + j * stride] =
          (sums[w + j * stride] as number) +
          (g[gAt + i] as number) * (((x[xAt + i] as number) - mean) * scale);
      }
    });
    for (let c = 0; c < cols; c++) dw[outAt + c] = sums[c] as number;
  };
}

export const layerNormKernel: JsKernel = normalization(true);
export const layerNormGradKernel: JsKernel = normalizationGrad(true);
export const batchNormKernel: JsKernel = normalization(false);
export const batchNormGradKernel: JsKernel = normalizationGrad(false);
export const layerNormWeightGradKernel: JsKernel = weightGrad(true);
export const batchNormWeightGradKernel: JsKernel = weightGrad(false);
