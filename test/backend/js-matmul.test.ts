import { describe, expect, test } from 'vitest';
import type { TypedArray } from '../../src/backend/backend.js';
import { mapKernel } from '../../src/backend/js/map.js';
import { matmulKernel } from '../../src/backend/js/matmul.js';
import { expectClose, randomArray, source } from '../support/compare.js';

interface Case {
  batch: number[];
  M: number;
  N: number;
  K: number;
  /** Offset, batch strides, row stride, column stride. */
  c: number[];
  a: number[];
  b: number[];
  bias: number;
  activation: number;
}

const activations = [
  (x: number) => x,
  (x: number) => Math.max(x, 0),
  (x: number) => 1 / (1 + Math.exp(-x)),
  (x: number) => Math.tanh(x),
];

function params({ batch, M, N, K, c, a, b, bias, activation }: Case): number[] {
  return [batch.length, ...batch, M, N, K, ...c.slice(0, -1), ...a, ...b, bias, activation];
}

/** Every batch position, as the offsets that it gives to operands with these layouts. */
function batches(batch: number[], layouts: number[][]): number[][] {
  return batch.reduce<number[][]>(
    (all, size, d) =>
      all.flatMap((at) =>
        Array.from({ length: size }, (_, i) => at.map((o, k) => o + i * layouts[k][1 + d])),
      ),
    [layouts.map((layout) => layout[0])],
  );
}

function naive(test: Case, [c, a, b, bias]: TypedArray[]): void {
  const { batch, M, N, K } = test;
  const [cRow, cCol] = test.c.slice(-2);
  const [aRow, aCol] = test.a.slice(-2);
  const [bRow, bCol] = test.b.slice(-2);
  for (const [c0, a0, b0] of batches(batch, [test.c, test.a, test.b])) {
    for (let i = 0; i < M; i++)
      for (let j = 0; j < N; j++) {
        let sum = 0;
        for (let k = 0; k < K; k++) sum += a[a0 + i * aRow + k * aCol] * b[b0 + k * bRow + j * bCol];
        if (test.bias >= 0) sum += bias[test.bias + j];
        c[c0 + i * cRow + j * cCol] = activations[test.activation](sum);
      }
  }
}

/** A matrix layout [offset, batch strides, row stride, column stride] and the length of its buffer. */
function layout(s: ReturnType<typeof source>, batch: number[], rows: number, cols: number, output: boolean) {
  const columnMajor = !output && s.next() < 0.5;
  const gap = s.int(0, 3);
  const [row, column] = columnMajor ? [1, rows + gap] : [cols + gap, 1];
  let step = columnMajor ? cols * (rows + gap) : rows * (cols + gap);
  const strides = new Array<number>(batch.length).fill(0);
  for (const d of batch.map((_, i) => i).sort(() => s.next() - 0.5)) {
    if (!output && s.next() < 0.2) continue;
    strides[d] = step;
    step *= batch[d];
  }
  let offset = s.int(0, 4);
  let rowStride = row;
  if (!output && s.next() < 0.1) {
    rowStride = -row;
    offset += row * Math.max(0, rows - 1);
  }
  return { at: [offset, ...strides, rowStride, column], length: offset + step + 4 };
}

describe.each(['float32', 'float64'] as const)('%s', (dtype) => {
  // Sums are in double; float32 results are rounded after the product, after the bias and after the activation.
  const tolerance = dtype === 'float32' ? { rtol: 5e-7, atol: 1e-6 } : { rtol: 1e-13, atol: 1e-14 };

  test('agrees with the definition for random sizes, strides, batches, biases and activations', () => {
    const s = source(6);
    for (let trial = 0; trial < 400; trial++) {
      const batch = Array.from({ length: s.next() < 0.5 ? 0 : s.int(1, 4) }, () => s.int(1, 4));
      const size = (): number => s.pick([1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17]);
      const [M, N, K] = [size(), size(), s.next() < 0.05 ? 0 : size()];
      const [c, a, b] = [
        layout(s, batch, M, N, true),
        layout(s, batch, M, K, false),
        layout(s, batch, K, N, false),
      ];
      const bias = s.next() < 0.5 ? -1 : s.int(0, 3);
      const which = { batch, M, N, K, c: c.at, a: a.at, b: b.at, bias, activation: s.int(0, 4) };
      const out = randomArray(dtype, c.length, trial);
      const x = randomArray(dtype, a.length, trial + 1000);
      const y = randomArray(dtype, b.length, trial + 2000);
      const z = bias < 0 ? out : randomArray(dtype, N + 3, trial + 3000);
      const expected = out.slice();
      naive(which, [expected, x, y, bias < 0 ? expected : z]);
      matmulKernel(params(which), [out, x, y, z]);
      expectClose(out, expected, { ...tolerance, what: JSON.stringify(which) });
    }
  });

  test.each([
    [65, 30, 1100], // more than one block of packed rows
    [3, 5, 70000], // K longer than a block
    [1, 130, 300],
    [130, 1, 300],
    [2, 33, 129],
    [33, 2, 129],
  ])('%i x %i x %i in all transposed forms', (M, N, K) => {
    const x = randomArray(dtype, M * K, 1);
    const y = randomArray(dtype, K * N, 2);
    for (const a of [
      [0, K, 1],
      [0, 1, M],
    ])
      for (const b of [
        [0, N, 1],
        [0, 1, K],
      ]) {
        const which = { batch: [], M, N, K, c: [0, N, 1], a, b, bias: -1, activation: 0 };
        const out = randomArray(dtype, M * N, 3);
        const expected = out.slice();
        naive(which, [expected, x, y, out]);
        matmulKernel(params(which), [out, x, y, out]);
        // The same sums in the same order: the same bits.
        expect([...out]).toEqual([...expected]);
      }
  });

  test('a fused bias and activation has the bits of the separate operations', () => {
    const [M, N, K] = [9, 11, 21];
    const x = randomArray(dtype, M * K, 1);
    const y = randomArray(dtype, K * N, 2);
    const bias = randomArray(dtype, N, 3);
    const dense = { batch: [], M, N, K, c: [0, N, 1], a: [0, K, 1], b: [0, N, 1] };
    const add = mapKernel(2, 0, (p: number, q: number) => p + q);
    const sigmoid = (v: number): number =>
      v >= 0 ? 1 / (1 + Math.exp(-v)) : Math.exp(v) / (1 + Math.exp(v));
    [(v: number) => v, (v: number) => (v <= 0 ? 0 : v), sigmoid, Math.tanh].forEach((f, activation) => {
      const fused = randomArray(dtype, M * N, 4);
      matmulKernel(params({ ...dense, bias: 0, activation }), [fused, x, y, bias]);
      const plain = randomArray(dtype, M * N, 5);
      matmulKernel(params({ ...dense, bias: -1, activation: 0 }), [plain, x, y, plain]);
      add([2, M, N, 0, N, 1, 0, N, 1, 0, 0, 1], [plain, plain, bias]);
      mapKernel(1, 0, f)([1, M * N, 0, 1, 0, 1], [plain, plain]);
      expect([...fused]).toEqual([...plain]);
    });
  });
});

test('worked example', () => {
  const c = new Float32Array(4);
  const a = Float32Array.of(1, 2, 3, 4, 5, 6);
  const b = Float32Array.of(7, 8, 9, 10, 11, 12);
  const bias = Float32Array.of(-60, -60);
  // [1 2 3; 4 5 6] [7 8; 9 10; 11 12] = [58 64; 139 154]
  matmulKernel([0, 2, 2, 3, 0, 2, 0, 3, 1, 0, 2, 1, -1, 0], [c, a, b, c]);
  expect([...c]).toEqual([58, 64, 139, 154]);
  matmulKernel([0, 2, 2, 3, 0, 2, 0, 3, 1, 0, 2, 1, 0, 1], [c, a, b, bias]);
  expect([...c]).toEqual([0, 4, 79, 94]);
});

test('empty matrices and empty sums', () => {
  const c = Float32Array.of(9, 9, 9, 9);
  const none = new Float32Array(0);
  matmulKernel([0, 0, 2, 2, 0, 2, 0, 2, 1, 0, 2, 1, -1, 0], [c, none, Float32Array.of(1, 2, 3, 4), c]);
  matmulKernel([1, 0, 2, 2, 2, 0, 0, 2, 0, 0, 2, 1, 0, 0, 2, 1, -1, 0], [c, none, none, c]);
  expect([...c]).toEqual([9, 9, 9, 9]);
  const zeros = new Float32Array(16).fill(9);
  matmulKernel([0, 4, 4, 0, 0, 4, 0, 0, 1, 0, 4, 1, 0, 0], [zeros, none, none, Float32Array.of(1, 2, 3, 4)]);
  expect([...zeros]).toEqual([1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4]);
});

test('NaN and Inf stay in their rows and columns', () => {
  const n = 6;
  const x = new Float32Array(n * n).fill(1);
  x[0] = Infinity;
  x[7] = NaN;
  const one = new Float32Array(n * n).fill(1);
  const c = new Float32Array(n * n);
  matmulKernel([0, n, n, n, 0, n, 0, n, 1, 0, n, 1, -1, 0], [c, x, one, c]);
  const rows = [Infinity, NaN, 6, 6, 6, 6];
  expect([...c]).toEqual(rows.flatMap((v) => new Array(n).fill(v)));
});
