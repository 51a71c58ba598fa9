import { describe, expect, test } from 'vitest';
import type { JsKernel, TypedArray } from '../../src/backend/backend.js';
import {
  gatherGradKernel,
  gatherKernel,
  indexSelectGradKernel,
  indexSelectKernel,
} from '../../src/backend/js/indexing.js';
import { IndexError } from '../../src/errors.js';
import { randomArray } from '../support/compare.js';

test('worked examples', () => {
  // Rows 2, 0, 2 of a 3 x 2 matrix.
  const x = Float32Array.of(1, 2, 3, 4, 5, 6);
  const out = new Float32Array(6);
  indexSelectKernel([1, 3, 2, 3, 0, 0, 0], [out, x, Int32Array.of(2, 0, 2)]);
  expect([...out]).toEqual([5, 6, 1, 2, 5, 6]);
  indexSelectGradKernel([1, 3, 2, 3, 0, 0, 0], [out, x, Int32Array.of(2, 0, 2)]);
  expect([...out]).toEqual([3, 4, 0, 0, 6, 8]);
  // One element of each row, as for the label's probability.
  const picked = new Float32Array(3);
  gatherKernel([3, 2, 1, 1, 0, 0, 0], [picked, x, Int32Array.of(1, 0, 1)]);
  expect([...picked]).toEqual([2, 3, 6]);
  gatherGradKernel([3, 2, 1, 1, 0, 0, 0], [out, Float32Array.of(7, 8, 9), Int32Array.of(1, 0, 1)]);
  expect([...out]).toEqual([0, 7, 8, 0, 0, 9]);
});

const cases = [
  { outer: 1, n: 5, inner: 100, count: 8 },
  { outer: 3, n: 4, inner: 2, count: 6 },
  { outer: 4, n: 3, inner: 1, count: 2 },
  { outer: 2, n: 1, inner: 47, count: 3 },
  { outer: 2, n: 3, inner: 48, count: 3 },
  { outer: 0, n: 3, inner: 2, count: 3 },
  { outer: 2, n: 3, inner: 2, count: 0 },
  { outer: 2, n: 0, inner: 2, count: 0 },
  { outer: 2, n: 3, inner: 0, count: 2 },
];

describe.each(cases)('outer $outer, n $n, inner $inner, count $count', ({ outer, n, inner, count }) => {
  const xSize = outer * n * inner;
  const oSize = outer * count * inner;
  const high = Math.max(1, n);
  const one = randomArray('int32', count + 1, 1, { low: 0, high });
  const full = randomArray('int32', oSize + 1, 2, { low: 0, high });
  const PAD = 2;

  /** Positions (in out, in x) that each kernel connects; index arrays begin at 1. */
  function links(idx: TypedArray, perElement: boolean): [number, number][] {
    const pairs: [number, number][] = [];
    for (let a = 0; a < outer; a++)
      for (let c = 0; c < count; c++)
        for (let j = 0; j < inner; j++) {
          const o = (a * count + c) * inner + j;
          pairs.push([o, (a * n + idx[1 + (perElement ? o : c)]) * inner + j]);
        }
    return pairs;
  }

  test.each([
    ['indexSelect', indexSelectKernel, one, false],
    ['gather', gatherKernel, full, true],
  ] as [string, JsKernel, Int32Array, boolean][])('%s', (_, kernel, idx, perElement) => {
    for (const dtype of ['float32', 'float64', 'int32', 'bool'] as const) {
      const x = randomArray(dtype, xSize + PAD, 3);
      const out = randomArray(dtype, oSize + 2 * PAD, 4);
      const expected = out.slice();
      for (const [o, i] of links(idx, perElement)) expected[PAD + o] = x[PAD + i];
      kernel([outer, n, inner, count, PAD, PAD, 1], [out, x, idx]);
      expect([...out]).toEqual([...expected]);
    }
  });

  test.each([
    ['indexSelectGrad', indexSelectGradKernel, one, false],
    ['gatherGrad', gatherGradKernel, full, true],
  ] as [string, JsKernel, Int32Array, boolean][])('%s', (_, kernel, idx, perElement) => {
    for (const dtype of ['float32', 'float64'] as const) {
      const g = randomArray(dtype, oSize + PAD, 5);
      const dx = randomArray(dtype, xSize + 2 * PAD, 6);
      const expected = dx.slice().fill(0, PAD, PAD + xSize);
      for (const [o, i] of links(idx, perElement)) expected[PAD + i] += g[PAD + o];
      kernel([outer, n, inner, count, PAD, PAD, 1], [dx, g, idx]);
      expect([...dx]).toEqual([...expected]);
    }
  });
});

test('indices are checked before anything is written', () => {
  for (const bad of [4, -1, 2 ** 31 - 1, -(2 ** 31)]) {
    const idx = Int32Array.of(0, 1, bad, 0);
    const kernels = { indexSelectKernel, indexSelectGradKernel, gatherKernel, gatherGradKernel };
    for (const [name, kernel] of Object.entries(kernels)) {
      const out = new Float32Array(8).fill(7);
      const run = (): void => kernel([1, 4, 1, 4, 0, 0, 0], [out, new Float32Array(8), idx]);
      expect(run).toThrow(IndexError);
      expect(run).toThrow(`${name.replace('Kernel', '')}: index ${bad} at position 2 is outside [0, 4)`);
      expect(out.every((v) => v === 7)).toBe(true);
    }
  }
});
