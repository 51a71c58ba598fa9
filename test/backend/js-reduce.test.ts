import { describe, expect, test } from 'vitest';
import type { JsKernel, TypedArray } from '../../src/backend/backend.js';
import {
  argmaxKernel,
  argminKernel,
  countLabelsKernel,
  maxKernel,
  minKernel,
  prodKernel,
  sumKernel,
} from '../../src/backend/js/reduce.js';
import { ArgumentError } from '../../src/errors.js';
import { expectClose, source } from '../support/compare.js';

/** All elements of each output, in row-major order of the reduced dimensions. */
function groups(x: TypedArray, at: number, keep: number[], reduce: number[], strides: number[]): number[][] {
  const positions = (shape: number[], steps: number[]): number[] =>
    shape.reduce<number[]>(
      (all, size, d) => all.flatMap((a) => Array.from({ length: size }, (_, i) => a + i * steps[d])),
      [0],
    );
  const inner = positions(reduce, strides.slice(keep.length));
  return positions(keep, strides.slice(0, keep.length)).map((k) => inner.map((r) => x[at + k + r]));
}

const better = (name: string): ((group: number[]) => number) => {
  return (group) => {
    const nan = group.findIndex(Number.isNaN);
    if (nan >= 0) return nan;
    return group.indexOf(name === 'argmax' ? Math.max(...group) : Math.min(...group));
  };
};

const reductions: Record<string, { kernel: JsKernel; plain: (group: number[]) => number }> = {
  sum: { kernel: sumKernel, plain: (g) => 0.5 * g.reduce((a, b) => a + b, 0) },
  prod: { kernel: prodKernel, plain: (g) => g.reduce((a, b) => a * b, 1) },
  max: { kernel: maxKernel, plain: (g) => Math.max(...g) },
  min: { kernel: minKernel, plain: (g) => Math.min(...g) },
  argmax: { kernel: argmaxKernel, plain: better('argmax') },
  argmin: { kernel: argminKernel, plain: better('argmin') },
};

describe.each(Object.entries(reductions))('%s', (name, { kernel, plain }) => {
  test('agrees with a plain reduction of random views', () => {
    const s = source(5);
    for (let trial = 0; trial < 400; trial++) {
      const keep = Array.from({ length: s.int(0, 4) }, () => s.int(1, 5));
      const reduce = Array.from({ length: s.int(0, 4) }, () => s.int(1, 5));
      if (trial % 80 === 0) keep.push(1500); // more than one block of accumulators
      const shape = [...keep, ...reduce];
      const strides = new Array<number>(shape.length).fill(0);
      let step = 1;
      for (const d of shape.map((_, i) => i).sort(() => s.next() - 0.5)) {
        if (s.next() < 0.1) continue; // broadcast
        strides[d] = step;
        step *= shape[d];
      }
      let at = s.int(0, 3);
      strides.forEach((stride, d) => {
        if (s.next() > 0.1) return;
        strides[d] = -stride;
        at += stride * (shape[d] - 1);
      });
      const Type = s.pick([Float32Array, Float64Array]);
      // Few distinct values, so that there are ties; now and then a NaN.
      const x = Type.from(
        Array.from({ length: at + step }, () => (s.next() < 0.02 ? NaN : s.int(-4, 5) / 4)),
      );
      const expected = groups(x, at, keep, reduce, strides).map(plain);
      const out = name.startsWith('arg')
        ? new Int32Array(expected.length + 2).fill(-7)
        : new Type(expected.length + 2).fill(-7);
      const attrs = name === 'sum' ? [0.5] : [];
      kernel([keep.length, reduce.length, ...shape, 1, at, ...strides, ...attrs], [out, x]);
      expectClose(out, [-7, ...expected, -7], {
        rtol: Type === Float32Array ? 1e-6 : 1e-13,
        what: JSON.stringify({ keep, reduce, strides, at }),
      });
    }
  });

  test('has nothing to do where no output element exists', () => {
    const out = name.startsWith('arg') ? Int32Array.of(3) : Float32Array.of(3);
    kernel([1, 1, 0, 2, 0, 0, 2, 1, 1], [out, new Float32Array(0)]);
    expect(out[0]).toBe(3);
  });

  test('of no elements', () => {
    const out = name.startsWith('arg') ? Int32Array.of(3, 3) : Float32Array.of(3, 3);
    const call = (): void => kernel([1, 1, 2, 0, 0, 0, 0, 1, 1], [out, new Float32Array(0)]);
    if (name === 'sum' || name === 'prod') {
      call();
      expect([...out]).toEqual(name === 'sum' ? [0, 0] : [1, 1]);
    } else {
      expect(call).toThrow(ArgumentError);
      expect(call).toThrow(`${name}: cannot reduce zero elements`);
      expect([...out]).toEqual([3, 3]);
    }
  });
});

const vector = (n: number): number[] => [0, 1, n, 0, 0, 1];

test('sums in double', () => {
  const out = new Float32Array(1);
  sumKernel([...vector(4), 1], [out, Float32Array.of(1e8, 1, 1, -1e8)]);
  expect(out[0]).toBe(2);
  const tenths = new Float32Array(1e6).fill(0.1);
  sumKernel([...vector(1e6), 1e-6], [out, tenths]);
  expect(out[0]).toBe(Math.fround(0.1));
});

test('int32: sums wrap, extremes are exact', () => {
  const x = Int32Array.of(2 ** 31 - 1, 2 ** 31 - 1, 3, -(2 ** 31));
  const out = new Int32Array(1);
  sumKernel([...vector(3), 1], [out, x]);
  expect(out[0]).toBe(1);
  // 2^23 + 1 times 2^31 - 1 (broadcast), beyond what a double counts exactly: 2^54 + 2^31 - 2^23 - 1.
  sumKernel([0, 1, 2 ** 23 + 1, 0, 0, 0, 1], [out, x]);
  expect(out[0]).toBe(2 ** 31 - 2 ** 23 - 1);
  maxKernel(vector(4), [out, x]);
  expect(out[0]).toBe(2 ** 31 - 1);
  minKernel(vector(4), [out, x]);
  expect(out[0]).toBe(-(2 ** 31));
  argminKernel(vector(4), [out, x]);
  expect(out[0]).toBe(3);
});

test('infinities, and the first of equals', () => {
  const x = Float64Array.of(-Infinity, -Infinity, -Infinity);
  const out = new Int32Array(1);
  argmaxKernel(vector(3), [out, x]);
  expect(out[0]).toBe(0);
  argmaxKernel(vector(4), [out, Float64Array.of(1, NaN, Infinity, NaN)]);
  expect(out[0]).toBe(1);
  argminKernel(vector(4), [out, Float64Array.of(1, NaN, -Infinity, NaN)]);
  expect(out[0]).toBe(1);
  const y = new Float64Array(1);
  maxKernel(vector(3), [y, x]);
  expect(y[0]).toBe(-Infinity);
});

test('countLabels counts what differs from the attr, over any axes', () => {
  const x = Int32Array.of(9, 0, 1, -1, 2, -1, -1);
  const count = (params: number[], n: number): number[] => {
    const out = new Float32Array(n);
    countLabelsKernel(params, [out, x]);
    return [...out];
  };
  expect(count([0, 1, 6, 0, 1, 1, -1], 1)).toEqual([3]);
  expect(count([0, 1, 6, 0, 1, 1, 2 ** 31], 1)).toEqual([6]);
  expect(count([1, 1, 2, 3, 0, 1, 3, 1, -1], 2)).toEqual([2, 1]);
  expect(count([1, 1, 3, 2, 0, 1, 1, 3, -1], 3)).toEqual([2, 1, 0]);
  expect(count([0, 2, 3, 2, 0, 6, -2, -1, -1], 1)).toEqual([3]);
  expect(count([0, 1, 0, 0, 0, 1, -1], 1)).toEqual([0]);
});
