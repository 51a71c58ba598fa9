import { describe, expect, test } from 'vitest';
import type { JsKernel } from '../../src/backend/backend.js';
import {
  cumsumKernel,
  logSoftmaxGradKernel,
  logSoftmaxKernel,
  logSumExpKernel,
  softmaxGradKernel,
  softmaxKernel,
} from '../../src/backend/js/axis.js';
import {
  crossEntropyGradKernel,
  crossEntropyKernel,
  nllGradKernel,
  nllKernel,
} from '../../src/backend/js/rows.js';
import { IndexError } from '../../src/errors.js';
import { expectClose, randomArray } from '../support/compare.js';

/** The attr of labelled kernels where every label counts. */
const NONE = 2 ** 31;
const x123 = Float64Array.of(1, 2, 3);
// exp(i) / (e + e^2 + e^3) and their logarithms, worked out by hand to ten digits.
const softmax123 = [0.0900305732, 0.2447284711, 0.6652409558];
const logSoftmax123 = [-2.4076059644, -1.4076059644, -0.4076059644];

test('worked example', () => {
  const y = new Float64Array(3);
  softmaxKernel([1, 3, 1, 0, 0], [y, x123]);
  expectClose(y, softmax123, { rtol: 0, atol: 1e-10 });
  logSoftmaxKernel([1, 3, 1, 0, 0], [y, x123]);
  expectClose(y, logSoftmax123, { rtol: 0, atol: 1e-10 });
  logSumExpKernel([1, 3, 1, 0, 0], [y, x123]);
  expect(y[0]).toBeCloseTo(3.4076059644, 9);
  cumsumKernel([1, 3, 1, 0, 0, 0], [y, x123]);
  expect([...y]).toEqual([1, 3, 6]);
  cumsumKernel([1, 3, 1, 0, 0, 1], [y, x123]);
  expect([...y]).toEqual([6, 5, 3]);
  const loss = new Float64Array(1);
  nllKernel([1, 3, 0, 0, 0, NONE], [loss, Float64Array.from(logSoftmax123), Int32Array.of(1)]);
  expect(loss[0]).toBe(1.4076059644);
});

const rows = 5;
const cols = 7;
const size = rows * cols;
const PAD = 3; // every buffer begins with elements that are not part of the operand

function padded(values: ArrayLike<number>): Float64Array {
  const out = new Float64Array(values.length + PAD).fill(99);
  out.set(values, PAD);
  return out;
}

/** Calls a kernel on padded operands and returns its outputs. */
function call(
  kernel: JsKernel,
  lengths: number[],
  inputs: ArrayLike<number>[],
  labels?: Int32Array,
): number[][] {
  const outs = lengths.map((n) => new Float64Array(n + 2 * PAD).fill(-99));
  const buffers = [...outs, ...inputs.map(padded), ...(labels ? [labels] : [])];
  const offsets = buffers.map((b) => (b instanceof Int32Array ? 0 : PAD));
  kernel([rows, cols, ...(labels ? [] : [1]), ...offsets, ...(labels ? [NONE] : [])], buffers);
  return outs.map((out, i) => {
    const guard = [...out.subarray(0, PAD), ...out.subarray(PAD + lengths[i])];
    expect(guard).toEqual(new Array(2 * PAD).fill(-99));
    return [...out.subarray(PAD, PAD + lengths[i])];
  });
}

const x = randomArray('float64', size, 1, { low: -4, high: 4 });
const g = randomArray('float64', size, 2);
const gRow = randomArray('float64', rows, 3);
const labels = Int32Array.of(0, 6, 3, 3, 1);

const perRow = (f: (row: number[], r: number) => number[]): number[] =>
  Array.from({ length: rows }, (_, r) => f([...x.subarray(r * cols, (r + 1) * cols)], r)).flat();
const logSumExp = (row: number[]): number => Math.log(row.reduce((s, v) => s + Math.exp(v), 0));

const softmax = perRow((row) => row.map((v) => Math.exp(v - logSumExp(row))));
const logSoftmax = perRow((row) => row.map((v) => v - logSumExp(row)));

describe('against plain formulas, on rows within larger buffers', () => {
  const close = (a: number[], e: number[]): void => expectClose(a, e, { rtol: 1e-12, atol: 1e-14 });

  test('forward', () => {
    close(call(softmaxKernel, [size], [x])[0], softmax);
    close(call(logSoftmaxKernel, [size], [x])[0], logSoftmax);
    close(
      call(logSumExpKernel, [rows], [x])[0],
      perRow((row) => [logSumExp(row)]),
    );
    const loss = Array.from(labels, (label, r) => -logSoftmax[r * cols + label]);
    close(call(nllKernel, [rows], [logSoftmax], labels)[0], loss);
    const [ce, lp] = call(crossEntropyKernel, [rows, size], [x], labels);
    close(ce, loss);
    close(lp, logSoftmax);
  });

  test('backward, as products with the Jacobians', () => {
    // d softmax_i / d x_j = s_i (delta_ij - s_j); d logSoftmax_i / d x_j = delta_ij - s_j.
    const transposed = (jacobian: (i: number, j: number, s: number[]) => number): number[] =>
      perRow((_, r) => {
        const s = softmax.slice(r * cols, (r + 1) * cols);
        return s.map((_, j) => s.reduce((sum, _, i) => sum + g[r * cols + i] * jacobian(i, j, s), 0));
      });
    close(
      call(softmaxGradKernel, [size], [g, softmax])[0],
      transposed((i, j, s) => s[i] * (Number(i === j) - s[j])),
    );
    close(
      call(logSoftmaxGradKernel, [size], [g, logSoftmax])[0],
      transposed((i, j, s) => Number(i === j) - s[j]),
    );
    const oneHot = (r: number, j: number): number => Number(labels[r] === j);
    close(
      call(nllGradKernel, [size], [gRow], labels)[0],
      perRow((row, r) => row.map((_, j) => -gRow[r] * oneHot(r, j))),
    );
    close(
      call(crossEntropyGradKernel, [size], [gRow, logSoftmax], labels)[0],
      perRow((row, r) => row.map((_, j) => gRow[r] * (softmax[r * cols + j] - oneHot(r, j)))),
    );
  });
});

describe.each([Float32Array, Float64Array])('bits in %o', (Type) => {
  const n = 40;
  const m = 13;
  const logits = Type.from(randomArray('float64', n * m, 4, { low: -9, high: 9 }));
  const target = randomArray('int32', n, 5, { low: 0, high: m });
  const grad = Type.from(randomArray('float64', n, 6));
  grad[3] = 0;
  const bits = (a: Float32Array | Float64Array): number[] => [...new Uint32Array(a.buffer)];

  test.each([NONE, 5])(
    'crossEntropy is logSoftmax then nll; its gradient nllGrad then logSoftmaxGrad; ignoring %d',
    (ignore) => {
      const [loss, lp, dx] = [new Type(n), new Type(n * m), new Type(n * m)];
      crossEntropyKernel([n, m, 0, 0, 0, 0, ignore], [loss, lp, logits, target]);
      crossEntropyGradKernel([n, m, 0, 0, 0, 0, ignore], [dx, grad, lp, target]);
      const [loss2, lp2, dlp, dx2] = [new Type(n), new Type(n * m), new Type(n * m), new Type(n * m)];
      logSoftmaxKernel([n, m, 1, 0, 0], [lp2, logits]);
      nllKernel([n, m, 0, 0, 0, ignore], [loss2, lp2, target]);
      nllGradKernel([n, m, 0, 0, 0, ignore], [dlp, grad, target]);
      logSoftmaxGradKernel([n, m, 1, 0, 0, 0], [dx2, dlp, lp2]);
      expect(bits(lp)).toEqual(bits(lp2));
      expect(bits(loss)).toEqual(bits(loss2));
      expect(bits(dx)).toEqual(bits(dx2));
    },
  );
});

test('an ignored row has loss 0 and gradient 0, whatever its label', () => {
  for (const ignore of [-100, 2, 7]) {
    const t = Int32Array.of(1, ignore, 0);
    const lp = Float64Array.of(-1, -2, -3, -4, -5, -6, -7, -8, -9);
    const [loss, dlp, dx, both] = [3, 9, 9, 9].map((n) => new Float64Array(n).fill(8));
    nllKernel([3, 3, 0, 0, 0, ignore], [loss, lp, t]);
    expect([...loss]).toEqual([2, 0, 7]);
    nllGradKernel([3, 3, 0, 0, 0, ignore], [dlp, Float64Array.of(1, 2, 3), t]);
    expect([...dlp]).toEqual([0, -1, 0, 0, 0, 0, -3, 0, 0]);
    crossEntropyGradKernel([3, 3, 0, 0, 0, 0, ignore], [dx, Float64Array.of(1, 2, 3), lp, t]);
    expect([...dx.subarray(3, 6)]).toEqual([0, 0, 0]);
    crossEntropyKernel([3, 3, 0, 0, 0, 0, ignore], [loss, both, lp, t]);
    expect(loss[1]).toBe(0);
    expect(both[4]).toBeCloseTo(Math.log(softmax123[1]), 9);
  }
});

test('large, infinite and missing values', () => {
  const y = new Float32Array(2);
  const of = (kernel: JsKernel, ...v: number[]): number[] => {
    kernel([1, 2, 1, 0, 0], [y, Float32Array.from(v)]);
    return [...y];
  };
  expect(of(softmaxKernel, 1000, 1000)).toEqual([0.5, 0.5]);
  expect(of(softmaxKernel, -Infinity, 3)).toEqual([0, 1]);
  expect(of(softmaxKernel, 1, NaN)).toEqual([NaN, NaN]);
  expect(of(softmaxKernel, -Infinity, -Infinity)).toEqual([NaN, NaN]); // as in PyTorch
  expect(of(logSoftmaxKernel, -2000, 0)).toEqual([-2000, 0]);
  expect(of(logSumExpKernel, -Infinity, -Infinity)[0]).toBe(-Infinity);
  expect(of(logSumExpKernel, -5, Infinity)[0]).toBe(Infinity);
  expect(of(logSumExpKernel, NaN, Infinity)[0]).toBeNaN();
  expect(of(logSumExpKernel, 1e30, 1e30)[0]).toBe(Math.fround(1e30));
  // No columns: the sum of nothing.
  logSumExpKernel([2, 0, 1, 0, 0], [y, new Float32Array(0)]);
  expect([...y]).toEqual([-Infinity, -Infinity]);
});

test('labels are checked before anything is written', () => {
  const bad: [number, string][] = [
    [3, 'index 3 at position 1 is outside [0, 3)'],
    [-1, 'index -1 at position 1 is outside [0, 3)'],
  ];
  for (const [label, message] of bad) {
    const t = Int32Array.of(9, 0, label);
    const [a, c, v, u] = [6, 2, 6, 2].map((n) => new Float32Array(n).fill(8));
    const calls: Record<string, () => void> = {
      nll: () => nllKernel([2, 3, 0, 0, 1, NONE], [c, v, t]),
      nllGrad: () => nllGradKernel([2, 3, 0, 0, 1, NONE], [a, u, t]),
      crossEntropy: () => crossEntropyKernel([2, 3, 0, 0, 0, 1, NONE], [c, a, v, t]),
      crossEntropyGrad: () => crossEntropyGradKernel([2, 3, 0, 0, 0, 1, NONE], [a, u, v, t]),
    };
    for (const [name, run] of Object.entries(calls)) {
      expect(run).toThrow(IndexError);
      expect(run).toThrow(`${name}: ${message}`);
    }
    expect([...a, ...c].every((value) => value === 8)).toBe(true);
  }
});
