import { describe, expect, test } from 'vitest';
import type { TypedArray } from '../../src/backend/backend.js';
import { copyKernel, fillKernel, mapKernel } from '../../src/backend/js/map.js';
import { dtypes } from '../../src/dtype.js';
import { randomArray, source } from '../support/compare.js';

interface Operand {
  offset: number;
  strides: number[];
  length: number;
}

/** The params of a `map` call. */
function mapParams(shape: number[], operands: Operand[], attrs: number[] = []): number[] {
  return [shape.length, ...shape, ...operands.flatMap((o) => [o.offset, ...o.strides]), ...attrs];
}

/** Calls f with the element of each operand at every position of the shape. */
function walk(shape: number[], operands: Operand[], f: (at: number[]) => void): void {
  const visit = (d: number, at: number[]): void => {
    if (d === shape.length) f(at);
    for (let i = 0; i < shape[d]; i++)
      visit(
        d + 1,
        at.map((a, k) => a + i * operands[k].strides[d]),
      );
  };
  visit(
    0,
    operands.map((o) => o.offset),
  );
}

/** A view of some buffer: dimensions in random order, some reversed or with gaps; an input may be broadcast along some. */
function randomOperand(s: ReturnType<typeof source>, shape: number[], output: boolean): Operand {
  const strides = new Array<number>(shape.length).fill(0);
  const order = shape.map((_, d) => d).sort(() => s.next() - 0.5);
  if (s.next() < 0.5) order.sort((a, b) => b - a); // row-major
  let step = s.next() < 0.7 ? 1 : 2;
  let offset = s.int(0, 3);
  for (const d of order) {
    if (!output && s.next() < 0.25) continue;
    strides[d] = s.next() < 0.15 ? -step : step;
    if (strides[d] < 0) offset += (shape[d] - 1) * step;
    step *= shape[d] + (s.next() < 0.15 ? 1 : 0);
  }
  return { offset, strides, length: offset + step + 1 };
}

describe('mapKernel', () => {
  test('agrees with a plain walk over random views, and writes nothing else', () => {
    const s = source(4);
    const weighted = (...x: number[]): number => x.reduce((sum, v, k) => sum + (k + 1) * v, 0);
    const kernels = [0, 1, 2, 3].map((n) =>
      [0, 1, 2].map((attrs) =>
        mapKernel(n as 0 | 1 | 2 | 3, attrs, (...x: number[]) => weighted(...x) + x.length),
      ),
    );
    for (let trial = 0; trial < 1500; trial++) {
      const shape = Array.from({ length: s.int(0, 6) }, () => s.int(1, 5));
      const inputs = s.int(0, 4);
      const attrs = Array.from({ length: s.int(0, 3) }, () => s.int(-5, 5));
      const operands = Array.from({ length: inputs + 1 }, (_, k) => randomOperand(s, shape, k === 0));
      const Type = s.pick([Float32Array, Float64Array, Int32Array]);
      const buffers: TypedArray[] = operands.map((o) =>
        Type.from(Array.from({ length: Math.max(1, o.length) }, () => s.int(-50, 50))),
      );
      const expected = buffers[0].slice();
      walk(shape, operands, ([o, ...at]) => {
        const x = at.map((a, k) => buffers[k + 1][a]);
        expected[o] = weighted(...x, ...attrs) + inputs + attrs.length;
      });
      kernels[inputs][attrs.length](mapParams(shape, operands, attrs), buffers);
      expect([...buffers[0]], JSON.stringify({ shape, operands, attrs })).toEqual([...expected]);
    }
  });

  test('accepts typed params, rank 8 and a view onto itself', () => {
    const shape = [2, 1, 2, 1, 3, 1, 2, 2];
    const strides = shape.map((_, d) => shape.slice(d + 1).reduce((a, b) => a * b, 1));
    const x = Float32Array.from({ length: 48 }, (_, i) => i);
    const double = mapKernel(1, 0, (v: number) => 2 * v);
    const view = { offset: 0, strides, length: 48 };
    double(Float64Array.from(mapParams(shape, [view, view])), [x, x]);
    expect([...x]).toEqual(Array.from({ length: 48 }, (_, i) => 2 * i));
    // Reversed: 0 1 2 … becomes … 2 1 0 of another array.
    const y = new Float32Array(48);
    double([1, 48, 47, -1, 0, 1], [y, x]);
    expect([...y]).toEqual(Array.from({ length: 48 }, (_, i) => 4 * (47 - i)));
  });

  test('does nothing where a dimension is empty', () => {
    const out = Float32Array.of(5);
    mapKernel(1, 0, (v: number) => v)([2, 3, 0, 0, 0, 1, 0, 0, 1], [out, new Float32Array(0)]);
    expect(out[0]).toBe(5);
  });

  test('rounds doubles once to float32', () => {
    const out = new Float32Array(1);
    // 1e8 + 1 - 1e8 is 1 in double; through float32 it would be 0.
    mapKernel(
      3,
      0,
      (a: number, b: number, c: number) => a + b - c,
    )([1, 1, 0, 1, 0, 1, 0, 1, 0, 1], [out, Float32Array.of(1e8), Float32Array.of(1), Float32Array.of(1e8)]);
    expect(out[0]).toBe(1);
  });

  test('int32 wraps; a product needs its own function', () => {
    const out = new Int32Array(1);
    const pair = [1, 1, 0, 1, 0, 1, 0, 1];
    const add = mapKernel(2, 0, (a: number, b: number) => a + b);
    add(pair, [out, Int32Array.of(2 ** 31 - 1), Int32Array.of(1)]);
    expect(out[0]).toBe(-(2 ** 31));
    const mul = mapKernel(2, 0, (a: number, b: number) => a * b, { int: Math.imul });
    mul(pair, [out, Int32Array.of(123456789), Int32Array.of(987654321)]);
    expect(out[0]).toBe(-67153019); // 121932631112635269 modulo 2^32
    const float = new Float64Array(1);
    mul(pair, [float, Float64Array.of(123456789), Float64Array.of(3)]);
    expect(float[0]).toBe(370370367);
  });

  test('bool outputs are 0 and 1, from booleans and numbers', () => {
    const out = new Uint8Array(4);
    const params = [1, 4, 0, 1, 0, 1, 0, 1];
    const [a, b] = [Float32Array.of(1, 2, 3, Number.NaN), Float32Array.of(2, 2, 2, 2)];
    mapKernel(2, 0, (x: number, y: number) => x < y)(params, [out, a, b]);
    expect([...out]).toEqual([1, 0, 0, 0]);
    mapKernel(2, 0, (x: number, y: number) => x - y)(params, [out, a, b]);
    expect([...out]).toEqual([1, 0, 1, 1]);
  });

  test('serves several element types with one kernel', () => {
    const where = mapKernel(3, 0, (c: number, a: number, b: number) => (c ? a : b));
    const cond = Uint8Array.of(1, 0);
    for (const dtype of dtypes) {
      const a = randomArray(dtype, 2, 1);
      const b = randomArray(dtype, 2, 2);
      const out = a.slice().fill(0);
      where([1, 2, 0, 1, 0, 1, 0, 1, 0, 1], [out, cond, a, b]);
      expect([...out]).toEqual([a[0], b[1]]);
    }
  });
});

describe('copy and fill', () => {
  const odd = [0, -0, 1.9, -1.9, 0.5, 3e9, -3e9, Infinity, -Infinity, NaN, 2 ** 31 - 1, -(2 ** 31)];
  const copy = (from: TypedArray, to: TypedArray): number[] => {
    copyKernel([1, from.length, 0, 1, 0, 1], [to, from]);
    return [...to];
  };

  test('float to int32 truncates and saturates', () => {
    const x = Float64Array.from(odd);
    const [most, least] = [2 ** 31 - 1, -(2 ** 31)];
    expect(copy(x, new Int32Array(12))).toEqual([0, 0, 1, -1, 0, most, least, most, least, 0, most, least]);
  });

  test('to bool is x != 0', () => {
    expect(copy(Float64Array.from(odd), new Uint8Array(12))).toEqual([0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    expect(copy(Int32Array.of(256, 0, -1), new Uint8Array(3))).toEqual([1, 0, 1]);
  });

  test('to float keeps or rounds the value', () => {
    expect(copy(Float64Array.from(odd), new Float64Array(12))).toEqual(odd);
    expect(copy(Float64Array.of(0.1, 1e300), new Float32Array(2))).toEqual([Math.fround(0.1), Infinity]);
    expect(copy(Int32Array.of(2 ** 24 + 1), new Float32Array(1))).toEqual([2 ** 24]);
    expect(copy(Uint8Array.of(0, 1), new Float64Array(2))).toEqual([0, 1]);
    expect(copy(Uint8Array.of(0, 1), new Int32Array(2))).toEqual([0, 1]);
  });

  test('fill converts as copy does', () => {
    const cases: [TypedArray, number, number][] = [
      [new Float32Array(3), 0.1, Math.fround(0.1)],
      [new Float64Array(3), 0.1, 0.1],
      [new Int32Array(3), 1e10, 2 ** 31 - 1],
      [new Int32Array(3), -2.7, -2],
      [new Uint8Array(3), 0.5, 1],
      [new Uint8Array(3), NaN, 1],
      [new Uint8Array(3), 0, 0],
    ];
    for (const [out, value, stored] of cases) {
      out[0] = 9;
      fillKernel([1, 2, 1, 1, value], [out]);
      expect([...out]).toEqual([9, stored, stored]);
    }
  });
});
