import { describe, expect, test } from 'vitest';
import {
  bernoulliKernel,
  cosSinTurns,
  logUnit,
  normalKernel,
  philox,
  philoxBlock,
  randintKernel,
  uniformKernel,
} from '../../src/backend/js/random.js';
import { source } from '../support/compare.js';

const hex = (words: Uint32Array): string => [...words].map((w) => w.toString(16).padStart(8, '0')).join(' ');

/** Philox4x32-10 again, from the paper, with 64-bit products. */
function philoxBigInt(counter: bigint[], key: bigint[]): Uint32Array {
  const mask = 0xffffffffn;
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const p0 = 0xd2511f53n * c0;
    const p1 = 0xcd9e8d57n * c2;
    [c0, c1, c2, c3] = [(p1 >> 32n) ^ c1 ^ k0, p1 & mask, (p0 >> 32n) ^ c3 ^ k1, p0 & mask];
    k0 = (k0 + 0x9e3779b9n) & mask;
    k1 = (k1 + 0xbb67ae85n) & mask;
  }
  return Uint32Array.from([c0, c1, c2, c3], Number);
}

describe('philox', () => {
  // The known-answer vectors that come with Random123.
  test.each([
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      '408f276d 41c83b0e a20bc7c6 6d5451fd',
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    ],
  ])('gives the published words for counter %j, key %j', ([c0, c1, c2, c3], [k0, k1], words) => {
    const out = new Uint32Array(4);
    philox(c0, c1, c2, c3, k0, k1, out);
    expect(hex(out)).toBe(words);
  });

  test('agrees with 64-bit arithmetic, block numbers above 2^32 included', () => {
    const s = source(1);
    const out = new Uint32Array(4);
    for (let i = 0; i < 300; i++) {
      const block = i === 0 ? 2 ** 53 - 1 : Math.floor(s.next() * 2 ** s.int(1, 54));
      const [k0, k1] = [s.int(0, 2 ** 32), s.int(0, 2 ** 32)];
      philoxBlock(k0, k1, block, out);
      const n = BigInt(block);
      expect(hex(out)).toBe(hex(philoxBigInt([n & 0xffffffffn, n >> 32n, 0n, 0n], [BigInt(k0), BigInt(k1)])));
    }
  });
});

describe('elementary functions', () => {
  test('logUnit is the logarithm', () => {
    // log(1/2), log(3/4), log(2^-32), log(0.1), log(1 - 2^-53), rounded to double.
    const known = [
      [0.5, -Math.LN2],
      [0.75, -0.2876820724517809],
      [2 ** -32, -22.18070977791825],
      [0.1, -Math.LN10],
      [1 - 2 ** -53, -1.1102230246251565e-16],
    ];
    for (const [x, log] of known) expect(Math.abs(logUnit(x) / log - 1)).toBeLessThan(4e-16);
    expect(logUnit(1)).toBe(0);
    const s = source(2);
    for (let i = 0; i < 5000; i++) {
      const x = s.next() ** s.int(1, 6) + 2 ** -53;
      if (x < 1) expect(Math.abs(logUnit(x) / Math.log(x) - 1)).toBeLessThan(1e-15);
    }
  });

  test('cosSinTurns turns full circles', () => {
    const h = Math.SQRT1_2;
    const eighths = [
      [1, 0],
      [h, h],
      [0, 1],
      [-h, h],
      [-1, 0],
      [-h, -h],
      [0, -1],
      [h, -h],
    ];
    eighths.forEach(([cos, sin], i) => {
      const [c, s] = cosSinTurns(i / 8);
      expect(Math.abs(c - cos)).toBeLessThan(3e-16);
      expect(Math.abs(s - sin)).toBeLessThan(3e-16);
    });
    const s = source(3);
    for (let i = 0; i < 5000; i++) {
      const u = s.next();
      const [cos, sin] = cosSinTurns(u);
      expect(Math.abs(cos - Math.cos(2 * Math.PI * u))).toBeLessThan(2e-15);
      expect(Math.abs(sin - Math.sin(2 * Math.PI * u))).toBeLessThan(2e-15);
      expect(Math.abs(cos * cos + sin * sin - 1)).toBeLessThan(5e-16);
    }
  });
});

interface Moments {
  mean: number;
  variance: number;
  skew: number;
  kurtosis: number;
}

function moments(x: ArrayLike<number>): Moments {
  const n = x.length;
  let mean = 0;
  for (let i = 0; i < n; i++) mean += x[i] / n;
  const m = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const d = x[i] - mean;
    for (let k = 0; k < 3; k++) m[k] += d ** (k + 2) / n;
  }
  return { mean, variance: m[0], skew: m[1] / m[0] ** 1.5, kurtosis: m[2] / m[0] ** 2 };
}

/** Correlation of each element with the one `lag` later. */
function correlation(x: ArrayLike<number>, lag: number): number {
  const { mean, variance } = moments(x);
  let sum = 0;
  for (let i = 0; i + lag < x.length; i++) sum += (x[i] - mean) * (x[i + lag] - mean);
  return sum / (x.length - lag) / variance;
}

const N = 200_000;
const types = [Float32Array, Float64Array];

describe.each(types)('fills of %o', (Type) => {
  test('uniform takes words as specified', () => {
    const out = new Type(7).fill(-1);
    uniformKernel([5, 1, 11, 12, 2 ** 32 - 1, -1, 3], [out]);
    const expected: number[] = [];
    const words = new Uint32Array(4);
    for (let block = 2 ** 32 - 1; expected.length < 5; block++) {
      philoxBlock(11, 12, block, words);
      const u =
        Type === Float32Array
          ? [...words].map((w) => (w >>> 8) / 2 ** 24)
          : [0, 2].map((i) => ((words[i] >>> 5) * 2 ** 26 + (words[i + 1] >>> 6)) / 2 ** 53);
      expected.push(...u.map((v) => -1 + 4 * v));
    }
    expect([...out]).toEqual([-1, ...Type.from(expected).slice(0, 5), -1]);
  });

  test('uniform has the moments of a uniform distribution', () => {
    const x = new Type(N);
    uniformKernel([N, 0, 1, 2, 0, 0, 1], [x]);
    const { mean, variance, skew, kurtosis } = moments(x);
    // Five standard errors each.
    expect(Math.abs(mean - 1 / 2)).toBeLessThan(5 * Math.sqrt(1 / 12 / N));
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(5 * Math.sqrt(1 / 180 / N));
    expect(Math.abs(skew)).toBeLessThan(0.03);
    expect(Math.abs(kurtosis - 1.8)).toBeLessThan(0.03);
    for (const lag of [1, 2, 4]) expect(Math.abs(correlation(x, lag))).toBeLessThan(5 / Math.sqrt(N));
    const bins = new Array(20).fill(0);
    for (const v of x) bins[Math.floor(v * 20)]++;
    const chi2 = bins.reduce((sum, count) => sum + (count - N / 20) ** 2 / (N / 20), 0);
    expect(chi2).toBeLessThan(50); // 19 degrees of freedom: p = 1e-4
    expect(chi2).toBeGreaterThan(3);
  });

  test('uniform stays below its upper limit, however narrow the range', () => {
    const x = new Type(4096);
    const eps = Type === Float32Array ? 2 ** -23 : 2 ** -52;
    for (const [low, high] of [
      [1, 1 + 2 * eps],
      [-1 - 2 * eps, -1],
      [-eps / 4, 0],
      [1000, 1000.1],
    ]) {
      uniformKernel([x.length, 0, 5, 6, 0, low, high], [x]);
      expect(Math.max(...x)).toBeLessThan(high);
      expect(Math.min(...x)).toBeGreaterThanOrEqual(Type === Float32Array ? Math.fround(low) : low);
    }
  });

  test('normal has the moments of a normal distribution', () => {
    const x = new Type(N);
    normalKernel([N, 0, 1, 2, 0, 3, 2], [x]);
    const { mean, variance, skew, kurtosis } = moments(x);
    expect(Math.abs(mean - 3)).toBeLessThan((5 * 2) / Math.sqrt(N));
    expect(Math.abs(variance - 4)).toBeLessThan(5 * 4 * Math.sqrt(2 / N));
    expect(Math.abs(skew)).toBeLessThan(5 * Math.sqrt(6 / N));
    expect(Math.abs(kurtosis - 3)).toBeLessThan(5 * Math.sqrt(24 / N));
    for (const lag of [1, 2, 4]) expect(Math.abs(correlation(x, lag))).toBeLessThan(5 / Math.sqrt(N));
    // Shares within one, two and three standard deviations.
    [0.682689, 0.9545, 0.9973].forEach((share, k) => {
      const within = x.filter((v) => Math.abs(v - 3) < 2 * (k + 1)).length / N;
      expect(Math.abs(within - share)).toBeLessThan(5 * Math.sqrt((share * (1 - share)) / N));
    });
  });

  test('normal is Box and Muller’s transform of the words', () => {
    const x = new Type(6);
    normalKernel([6, 0, 7, 8, 3, 0, 1], [x]);
    const expected: number[] = [];
    const words = new Uint32Array(4);
    for (let block = 3; expected.length < 6; block++) {
      philoxBlock(7, 8, block, words);
      const wide = (i: number): number => (words[i] >>> 5) * 2 ** 26 + (words[i + 1] >>> 6);
      const pairs =
        Type === Float32Array
          ? [0, 2].map((i) => [(words[i] + 1) / 2 ** 32, words[i + 1] / 2 ** 32])
          : [[(wide(0) + 1) / 2 ** 53, wide(2) / 2 ** 53]];
      for (const [u1, u2] of pairs) {
        const r = Math.sqrt(-2 * Math.log(u1));
        expected.push(r * Math.cos(2 * Math.PI * u2), r * Math.sin(2 * Math.PI * u2));
      }
    }
    x.forEach((v, i) => {
      expect(Math.abs(v - expected[i])).toBeLessThan(Type === Float32Array ? 3e-7 : 2e-15);
    });
  });

  test('bernoulli keeps the share p, and all or none at the ends', () => {
    const x = new Type(N);
    for (const p of [0.1, 0.5, 0.9]) {
      bernoulliKernel([N, 0, 1, 2, 0, p, 1 / p], [x]);
      expect(new Set(x)).toEqual(new Set(Type.of(0, 1 / p)));
      const share = x.filter((v) => v !== 0).length / N;
      expect(Math.abs(share - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / N));
    }
    bernoulliKernel([100, 0, 1, 2, 0, 0, 1], [x]);
    expect(x.subarray(0, 100).every((v) => v === 0)).toBe(true);
    bernoulliKernel([100, 0, 1, 2, 0, 1, 1], [x]);
    expect(x.subarray(0, 100).every((v) => v === 1)).toBe(true);
  });

  test('a fill continues where the blocks of the one before end', () => {
    const perBlock = Type === Float32Array ? 4 : 2;
    for (const kernel of [uniformKernel, normalKernel, bernoulliKernel]) {
      const whole = new Type(20);
      kernel([20, 0, 9, 9, 5, 0.25, 2], [whole]);
      const parts = new Type(20);
      kernel([8, 0, 9, 9, 5, 0.25, 2], [parts]);
      kernel([12, 8, 9, 9, 5 + 8 / perBlock, 0.25, 2], [parts]);
      expect([...parts]).toEqual([...whole]);
      const short = new Type(21).fill(7);
      kernel([19, 1, 9, 9, 5, 0.25, 2], [short]);
      expect([...short]).toEqual([7, ...whole.slice(0, 19), 7]);
      const none = Type.of(7);
      kernel([0, 0, 9, 9, 5, 0.25, 2], [none]);
      expect(none[0]).toBe(7);
    }
  });
});

test('normal takes u1 = (word + 1) / 2^32', () => {
  // A small word, found by search: 371 is word 2 of block 1770921. With 371 or 373 for 372, r would differ by 5e-4.
  const words = new Uint32Array(4);
  philoxBlock(7, 8, 1770921, words);
  expect(words[2]).toBe(371);
  const x = new Float32Array(4);
  normalKernel([4, 0, 7, 8, 1770921, 0, 1], [x]);
  expect(Math.abs(Math.hypot(x[2], x[3]) - Math.sqrt(-2 * Math.log(372 / 2 ** 32)))).toBeLessThan(1e-6);
});

describe('randint', () => {
  test('is low + floor(u (high - low)) of one word each', () => {
    const x = new Int32Array(6);
    randintKernel([6, 0, 3, 4, 1, -(2 ** 31), 2 ** 31 - 1], [x]);
    const words = new Uint32Array(8);
    philoxBlock(3, 4, 1, words.subarray(0, 4));
    philoxBlock(3, 4, 2, words.subarray(4, 8));
    const expected = [...words.subarray(0, 6)].map((w) =>
      Number((BigInt(w) * (2n ** 32n - 1n)) / 2n ** 32n - 2n ** 31n),
    );
    expect([...x]).toEqual(expected);
  });

  test('draws every value equally often', () => {
    const x = new Int32Array(N);
    randintKernel([N, 0, 3, 4, 0, -3, 4], [x]);
    const counts = new Map<number, number>();
    for (const v of x) counts.set(v, (counts.get(v) ?? 0) + 1);
    expect([...counts.keys()].sort((a, b) => a - b)).toEqual([-3, -2, -1, 0, 1, 2, 3]);
    let chi2 = 0;
    for (const count of counts.values()) chi2 += (count - N / 7) ** 2 / (N / 7);
    expect(chi2).toBeLessThan(28); // 6 degrees of freedom: p = 1e-4
  });
});

test('other keys give other numbers', () => {
  const x = new Float32Array(64);
  const y = new Float32Array(64);
  uniformKernel([64, 0, 1, 2, 0, 0, 1], [x]);
  for (const key of [
    [2, 2],
    [1, 3],
    [2, 1],
  ]) {
    uniformKernel([64, 0, ...key, 0, 0, 1], [y]);
    expect(x.filter((v, i) => v === y[i]).length).toBeLessThan(3);
  }
});
