import type { JsKernel, TypedArray } from '../backend.js';
import { logSoftmaxRows, rowMax } from './rows.js';
import { integer } from './strided.js';

/*
 * Kernels along the middle axis of contiguous [outer, n, inner]. Params: [outer, n, inner, offset per buffer (outputs
 * first), attrs]. Arithmetic is in double; results are rounded once, when they are stored.
 */

/** Holds exponentials, one for each element along the axis; grown as needed and kept. */
let scratch: Float64Array = new Float64Array(1024);

function lineScratch(n: number): Float64Array {
  if (scratch.length < n) scratch = new Float64Array(n);
  return scratch;
}

/** Calls f for every line along the axis: n elements, `step` apart, from `at` on in every buffer; `line` counts the lines. */
function eachLine(
  p: ArrayLike<number>,
  f: (at: number, n: number, step: number, line: number) => void,
): void {
  const outer = integer(p[0]);
  const n = integer(p[1]);
  const inner = integer(p[2]);
  for (let r = 0; r < outer; r++) {
    for (let c = 0; c < inner; c++) f(r * n * inner + c, n, inner, r * inner + c);
  }
}

/** The largest of n elements, `step` apart; NaN if any is NaN, -Infinity if there are none. */
function lineMax(x: TypedArray, at: number, n: number, step: number): number {
  if (step === 1) return rowMax(x, at, n);
  let m = Number.NEGATIVE_INFINITY;
  for (let j = 0, i = at; j < n; j++, i += step) {
    const v = x[i];
    if (v > m || Number.isNaN(v)) {
      m = v;
      if (Number.isNaN(v)) break;
    }
  }
  return m;
}

/** softmax: y = exp(x - max) / sum exp(x - max). */
export const softmaxKernel: JsKernel = (p, b) => {
  const yAt = integer(p[3]);
  const xAt = integer(p[4]);
  const [y, x] = b;
  const e = lineScratch(p[1]);
  eachLine(p, (at, n, step) => {
    const m = lineMax(x, xAt + at, n, step);
    let sum = 0;
    for (let j = 0, i = xAt + at; j < n; j++, i += step) {
      const v = Math.exp(x[i] - m);
      e[j] = v;
      sum += v;
    }
    for (let j = 0, o = yAt + at; j < n; j++, o += step) y[o] = e[j] / sum;
  });
};

/** logSoftmax: y = x - max - log sum exp(x - max). */
export const logSoftmaxKernel: JsKernel = (p, b) => {
  const yAt = integer(p[3]);
  const xAt = integer(p[4]);
  const [y, x] = b;
  if (p[2] === 1) {
    logSoftmaxRows(integer(p[0]), integer(p[1]), y, yAt, x, xAt);
    return;
  }
  eachLine(p, (at, n, step) => {
    const m = lineMax(x, xAt + at, n, step);
    let sum = 0;
    for (let j = 0, i = xAt + at; j < n; j++, i += step) sum += Math.exp(x[i] - m);
    const logSum = Math.log(sum);
    for (let j = 0, i = at; j < n; j++, i += step) y[yAt + i] = x[xAt + i] - m - logSum;
  });
};

/** logSumExp: y = max + log sum exp(x - max); an infinite maximum is the result. */
export const logSumExpKernel: JsKernel = (p, b) => {
  const yAt = integer(p[3]);
  const xAt = integer(p[4]);
  const [y, x] = b;
  eachLine(p, (at, n, step, line) => {
    const m = lineMax(x, xAt + at, n, step);
    let sum = 0;
    for (let j = 0, i = xAt + at; j < n; j++, i += step) sum += Math.exp(x[i] - m);
    y[yAt + line] = Math.abs(m) === Number.POSITIVE_INFINITY ? m : m + Math.log(sum);
  });
};

/** softmaxGrad: dx = y (g - sum g y), y being the softmax. */
export const softmaxGradKernel: JsKernel = (p, b) => {
  const outAt = integer(p[3]);
  const gAt = integer(p[4]);
  const yAt = integer(p[5]);
  const [dx, g, y] = b;
  eachLine(p, (at, n, step) => {
    let dot = 0;
    for (let j = 0, i = at; j < n; j++, i += step) dot += g[gAt + i] * y[yAt + i];
    for (let j = 0, i = at; j < n; j++, i += step) dx[outAt + i] = y[yAt + i] * (g[gAt + i] - dot);
  });
};

/** logSoftmaxGrad: dx = g - exp(y) sum g, y being the log-softmax. */
export const logSoftmaxGradKernel: JsKernel = (p, b) => {
  const outAt = integer(p[3]);
  const gAt = integer(p[4]);
  const yAt = integer(p[5]);
  const [dx, g, y] = b;
  eachLine(p, (at, n, step) => {
    let sum = 0;
    for (let j = 0, i = at; j < n; j++, i += step) sum += g[gAt + i];
    for (let j = 0, i = at; j < n; j++, i += step) {
      dx[outAt + i] = g[gAt + i] - Math.exp(y[yAt + i]) * sum;
    }
  });
};

/** cumsum: the sums from one end to every element, from the other end where `reverse`; integers wrap modulo 2^32. */
export const cumsumKernel: JsKernel = (p, b) => {
  const yAt = integer(p[3]);
  const xAt = integer(p[4]);
  const [y, x] = b;
  const reverse = p[5] !== 0;
  const add = x instanceof Int32Array ? addInts : x instanceof Float64Array ? addDoubles : addFloats;
  eachLine(p, (at, n, step) => {
    // From the last element backwards.
    const first = reverse ? at + (n - 1) * step : at;
    add(y, yAt + first, x, xAt + first, n, reverse ? -step : step);
  });
};

type RunningSum = (y: TypedArray, o: number, x: TypedArray, i: number, n: number, step: number) => void;

const addFloats: RunningSum = (y, o, x, i, n, step) => {
  let sum = 0;
  for (let k = 0; k < n; k++, i += step, o += step) {
    sum += x[i];
    y[o] = sum;
  }
};

const addInts: RunningSum = (y, o, x, i, n, step) => {
  let sum = 0;
  for (let k = 0; k < n; k++, i += step, o += step) {
    sum = (sum + x[i]) | 0;
    y[o] = sum;
  }
};

/** With what rounding took from the sum (Knuth's two-sum): a long sum is as accurate as a short one. */
const addDoubles: RunningSum = (y, o, x, i, n, step) => {
  let sum = 0;
  let low = 0;
  for (let k = 0; k < n; k++, i += step, o += step) {
    const v = x[i];
    const s = sum + v;
    const b = s - sum;
    low += sum - (s - b) + (v - b);
    sum = s;
    const both = s + low;
    y[o] = Number.isNaN(both) ? s : both; // low is NaN where the sum is infinite
  }
};
