import { describe, expect, it } from 'vitest';
import type { TypedArray } from '../../src/backend/backend.js';
import {
  addon,
  addonPath,
  block,
  call,
  classes,
  errorOf,
  familyOf,
  idOf,
  kindsOf,
  Random,
  rows,
  shared,
  validCall,
  viewOf,
} from './support.js';

const rejects = (fn: () => unknown, pattern: RegExp = /./): void => {
  const error = errorOf(fn);
  expect(error, 'no error').not.toBeNull();
  expect(error!.code).toBe('SIMDGRAD_ARGUMENT');
  expect(error!.message).toMatch(pattern);
};
const f32 = (length: number): Float32Array<ArrayBuffer> => new Float32Array(length);
const add = [1, 8, 0, 1, 0, 1, 0, 1];

describe.skipIf(addonPath === null)('the boundary', () => {
  it('lists the rows of the kernel table, all of them implemented', () => {
    expect(rows.length).toBeGreaterThan(60);
    expect(rows[0]).toMatchObject({
      name: 'copy',
      outputs: 1,
      inputs: 1,
      attrs: 0,
      allTypes: 15,
      dispatch: 0,
    });
    expect(rows[idOf('eq')]).toMatchObject({ outputs: 1, inputs: 2, dispatch: 1 });
    expect(rows.filter((row) => row.types !== row.allTypes).map((row) => row.name)).toEqual([]);
  });

  it('runs the same table on every instruction set of this machine', () => {
    const before = addon.info();
    expect(before.isas).toContain('baseline');
    for (const isa of before.isas) {
      addon.setIsa(isa);
      expect(addon.info().isa).toBe(isa);
      const out = f32(8);
      call('add', add, out, f32(8).fill(1), f32(8).fill(2));
      expect([...out]).toEqual(Array.from({ length: 8 }, () => 3));
      expect(addon.kernels().every((row) => row.types === row.allTypes)).toBe(true);
    }
    addon.setIsa(before.isa);
  });

  it('refuses instruction sets and thread counts that do not exist', () => {
    rejects(() => addon.setIsa('mmx'), /'mmx' cannot run here; available: baseline/);
    rejects(() => addon.setIsa(undefined as never));
    rejects(() => addon.setIsa('avx2\0'));
    for (const n of [0, -1, 1.5, Number.NaN, 257, 1e30, '2', null, undefined, {}, 2n]) {
      rejects(() => addon.setNumThreads(n as never), /integer in \[1, 256\]/);
    }
  });

  it('takes its numbers from a shared block only', () => {
    for (const bad of [
      undefined,
      null,
      {},
      new Float64Array(256),
      new Float64Array(new SharedArrayBuffer(255 * 8)),
      new Float32Array(new SharedArrayBuffer(256 * 4)),
      new SharedArrayBuffer(2048),
    ]) {
      rejects(() => addon.init(bad as never), /SharedArrayBuffer/);
    }
    addon.init(block);
  });

  it('accepts any valid call on buffers of the least length, and none that is one element short', () => {
    const rng = new Random(1);
    const seen = new Set<string>();
    for (let i = 0; i < 6000; i++) {
      const row = rows[i % rows.length]!;
      const { params, types, lengths, labels } = validCall(rng, row);
      const make = (short: number): TypedArray[] =>
        types.map((type, b) => {
          const array = new classes[type]!(Math.max(lengths[b]! - (b === short ? 1 : 0), 0));
          if (labels && b === types.length - 1) {
            for (let k = labels.offset; k < array.length; k++) array[k] = rng.int(0, labels.bound);
          }
          return array;
        });
      expect(
        errorOf(() => call(row.name, params, ...make(-1))),
        `${row.name} [${params}] ${types} ${lengths}`,
      ).toBeNull();
      const long = lengths.flatMap((length, b) => (length > 0 ? [b] : []));
      if (long.length === 0) continue;
      const short = rng.pick(long);
      seen.add(`${familyOf(row.name)} ${short}`);
      const error = errorOf(() => call(row.name, params, ...make(short)));
      expect(String(error), `${row.name} [${params}] ${types} ${lengths}, ${short} short`).toMatch(
        /length|elements/,
      );
      expect(error!.code).toBe('SIMDGRAD_ARGUMENT');
    }
    expect([...seen].filter((s) => s.startsWith('matmul')).length).toBe(4);
  });

  it('takes the result of a product again where its last buffer is left out', () => {
    const product = [0, 2, 2, 2, 0, 2, 0, 2, 1, 0, 2, 1, -1, 0]; // [[1, 2], [3, 4]] · [[5, 6], [7, 8]], no bias
    const [a, b, out] = [Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6, 7, 8), f32(4)];
    call('matmul', product, out, a, b);
    expect([...out]).toEqual([19, 22, 43, 50]);
    rejects(() => call('matmul', product, out, a), /matmul/);
    rejects(() => call('add', add, f32(8), f32(8)), /add/);
  });

  it('refuses integers that are not, and does not overflow', () => {
    const buffers = [f32(8), f32(8), f32(8)];
    for (let position = 0; position < add.length; position++) {
      for (const x of [Number.NaN, Infinity, -Infinity, 0.5, 1e300, -1e300, 2 ** 53 + 2, 2 ** 63, 2 ** 64]) {
        rejects(() => call('add', add.with(position, x), ...buffers), /^add: .* is .*not an integer/);
      }
    }
    for (const stride of [2 ** 53, -(2 ** 53), 2 ** 52, 2 ** 32]) {
      rejects(() => call('add', add.with(7, stride), ...buffers), /reaches/);
    }
    for (const extents of [
      [2 ** 53, 2 ** 53],
      [2 ** 32, 2 ** 32],
      [2 ** 27, 2 ** 27],
    ]) {
      const views = [0, 0, 0, 0, 0, 0, 0, 0, 0];
      rejects(() => call('add', [2, ...extents, ...views], ...buffers), /2\^53|stride 0/);
    }
    rejects(() => call('add', [1, -1, ...add.slice(2)], ...buffers), /extent/);
    rejects(() => call('add', [9, ...add.slice(1)], ...buffers), /rank/);
    rejects(() => call('add', add.slice(0, -1), ...buffers), /too few/);
    rejects(() => call('add', [...add, 0], ...buffers), /9 params given, 8 expected/);
  });

  it('keeps outputs from broadcasting or overlapping themselves', () => {
    rejects(() => call('add', [1, 8, 0, 0, 0, 1, 0, 1], f32(8), f32(8), f32(8)), /output 0 has stride 0/);
    rejects(() => call('add', [2, 5, 5, 0, 1, 1, 0, 0, 0, 0, 0, 0], f32(9), f32(1), f32(1)), /25 elements/);
    const matmul = [0, 3, 4, 2, 0, 3, 0, 2, 1, 0, 4, 1, -1, 0];
    rejects(() => call('matmul', matmul, f32(99), f32(99), f32(99), f32(99)), /overlap/);
  });

  it('refuses types that the row does not admit', () => {
    rejects(
      () => call('add', add, f32(8), f32(8), new Float64Array(8)),
      /input 1 is float64, but float32 is expected/,
    );
    rejects(
      () => call('add', add, new Uint8Array(8), new Uint8Array(8), new Uint8Array(8)),
      /not defined for bool/,
    );
    rejects(() => call('div', add, ...[0, 0, 0].map(() => new Int32Array(8))), /not defined for int32/);
    rejects(() => call('lt', add, f32(8), f32(8), f32(8)), /output 0 is float32, but bool is expected/);
    rejects(
      () => call('isNan', add.slice(0, 6), new Uint8Array(8), new Int32Array(8)),
      /not defined for int32/,
    );
    const select = [1, 4, 1, 2, 0, 0, 0];
    rejects(() => call('indexSelect', select, f32(2), f32(4), f32(2)), /input 1 is float32, but int32/);
  });

  it('checks again what differs in anything from a call that was right', () => {
    const right = () => call('add', add, f32(8), f32(8), f32(8));
    right();
    rejects(
      () => call('add', add, f32(8), f32(8), f32(7)),
      /reaches elements 0 to 7, but its array has length 7/,
    );
    rejects(() => call('add', add, f32(8), f32(8), new Int32Array(8)), /input 1 is int32/);
    rejects(() => call('add', add, f32(8), f32(8)), /2 buffers given/);
    rejects(() => call('neg', add, f32(8), f32(8), f32(8)), /3 buffers given/);
    rejects(() => call('add', add.with(6, 1), f32(8), f32(8), f32(8)), /reaches elements 1 to 8/);
    rejects(() => call('add', [...add, 0], f32(8), f32(8), f32(8)), /9 params given/);
    right();
    for (let size = 1; size < 300; size++) {
      const some = add.with(1, size);
      call('add', some, f32(size), f32(size), f32(size));
      rejects(() => call('add', some, f32(size - 1), f32(size), f32(size)), /output 0/);
    }
    right();
  });

  it('refuses everything that is not one of the four kinds of arrays', () => {
    const wrong: unknown[] = [
      undefined,
      null,
      0,
      1n,
      'text',
      Symbol('s'),
      {},
      [],
      () => 0,
      new ArrayBuffer(64),
      new SharedArrayBuffer(64),
      new DataView(new ArrayBuffer(64)),
      new Float32Array(8).values(),
      new Proxy(f32(8), {}),
      Object.create(Float32Array.prototype),
      ...[Int8Array, Uint8ClampedArray, Int16Array, Uint16Array, Uint32Array, BigInt64Array].map(
        (c) => new c(8),
      ),
    ];
    for (const value of wrong) {
      for (let b = 0; b < 3; b++) {
        const buffers: unknown[] = [f32(8), f32(8), f32(8)];
        buffers[b] = value;
        rejects(() => call('add', add, ...buffers), new RegExp(`buffer ${b} is not a Float32Array`));
      }
    }
    rejects(() => call('add', add, f32(8), f32(8)), /2 buffers given, 3 expected/);
    rejects(() => call('add', add, ...Array.from({ length: 8 }, () => f32(8))), /8 buffers given/);
    rejects(() => call('add', add, ...Array.from({ length: 100 }, () => f32(8))), /arguments given/);
  });

  it('refuses ids and counts of params that are not', () => {
    const raw = addon.call as (...args: unknown[]) => void;
    for (const id of [-1, rows.length, 0.5, Number.NaN, Infinity, 1e300, '0', null, undefined, {}, 3n]) {
      rejects(() => raw(id, 0), /kernelId/);
    }
    for (const n of [-1, 129, 255, 2 ** 40, 1.5, Number.NaN, 1e300, '8', null, undefined]) {
      rejects(() => raw(idOf('add'), n, f32(8), f32(8), f32(8)), /nParams/);
    }
    for (const n of [256, 257]) {
      rejects(() => raw(idOf('add'), n, f32(8), f32(8), f32(8)), /buffer 0 is not a DataView of kind 1/);
    }
    rejects(() => raw(), /arguments/);
    rejects(() => raw(0), /arguments/);
  });

  it('takes DataViews of what it is told that they hold', () => {
    const raw = addon.call as (...args: unknown[]) => void;
    const sum = (n: number, kinds: readonly (number | null)[], ...buffers: unknown[]): void => {
      block.set(add.with(1, n));
      raw(idOf('add'), add.length + kindsOf(kinds), ...buffers);
    };
    for (const type of [0, 1, 2] as const) {
      for (const over of [ArrayBuffer, SharedArrayBuffer]) {
        const make = (): TypedArray => new classes[type](new over(12 * 8) as ArrayBuffer, 8, 8);
        const [out, a, b] = [make(), make().map((_, i) => i) as TypedArray, make().fill(3) as TypedArray];
        const expected = Array.from({ length: 8 }, (_, i) => i + 3);
        for (const [x, y, z] of [
          [type, type, type],
          [null, type, type],
          [type, null, null],
        ] as const) {
          out.fill(0);
          const given = (kind: number | null, array: TypedArray) => (kind === null ? array : viewOf(array));
          sum(8, [x, y, z], given(x, out), given(y, a), given(z, b));
          expect([...out]).toEqual(expected);
        }
        rejects(() => sum(9, [type, type, type], viewOf(out), viewOf(a), viewOf(b)), /length 8/);
      }
    }
    const all = [0, 0, 0];
    const views = () => [viewOf(f32(8)), viewOf(f32(8)), viewOf(f32(8))];
    for (let b = 0; b < 3; b++) {
      const refused = new RegExp(`buffer ${b} is not a DataView of kind`);
      const other = [f32(8), undefined, null, {}, 8, new ArrayBuffer(32), new Proxy(views()[0]!, {})];
      for (const value of other) rejects(() => sum(8, all, ...views().with(b, value as DataView)), refused);
      for (const kind of [4, 5, 6]) rejects(() => sum(8, all.with(b, kind), ...views()), refused);
      rejects(() => sum(8, [0, 0, 0].with(b, 1), ...views()), /types|float/);
      const askew = new DataView(new ArrayBuffer(40), 3, 32);
      rejects(() => sum(8, all, ...views().with(b, askew)), refused);
      rejects(() => sum(8, all, ...views().with(b, new DataView(new ArrayBuffer(31)))), /length 7/);
      const gone = views()[0]!;
      structuredClone(gone.buffer, { transfer: [gone.buffer as ArrayBuffer] });
      rejects(() => sum(8, all, ...views().with(b, gone)), /length 0 \(was its memory transferred/);
      const buffer = new ArrayBuffer(64, { maxByteLength: 64 });
      const [tracking, fixed] = [new DataView(buffer), new DataView(buffer, 16, 32)];
      buffer.resize(20);
      rejects(() => sum(8, all, ...views().with(b, tracking)), /length 5/);
      rejects(() => sum(8, all, ...views().with(b, fixed)), /length 0/);
    }
  });

  it('sees buffers that were detached or resized', () => {
    const detached = f32(8);
    structuredClone(detached, { transfer: [detached.buffer] });
    rejects(
      () => call('add', add, f32(8), detached, f32(8)),
      /input 0 .* length 0 \(was its memory transferred/,
    );

    const buffer = new ArrayBuffer(64, { maxByteLength: 128 });
    const tracking = new Float32Array(buffer);
    const fixed = new Float32Array(buffer, 32, 8);
    const run = (array: Float32Array<ArrayBuffer>, n: number): void =>
      call('add', add.with(1, n), f32(n), array, f32(n));
    run(tracking, 16);
    run(fixed, 8);
    buffer.resize(32);
    run(tracking, 8);
    rejects(() => run(tracking, 9), /length 8/);
    rejects(() => run(fixed, 8), /length 0/);
    buffer.resize(128);
    run(tracking, 32);
    run(fixed, 8);

    const growable = new SharedArrayBuffer(32, { maxByteLength: 64 } as never);
    const grown = new Float32Array(growable);
    rejects(() => call('add', add.with(1, 16), f32(16), grown, f32(16)), /length 8/);
    (growable as unknown as { grow(n: number): void }).grow(64);
    call('add', add.with(1, 16), f32(16), grown, f32(16));
  });

  it('writes through shared arrays and views with an offset', () => {
    const out = shared(0, 8);
    const wide = new Float32Array(20).map((_, i) => i);
    call('add', add, out, wide.subarray(4, 12), wide.subarray(0, 8));
    expect([...out]).toEqual([4, 6, 8, 10, 12, 14, 16, 18]);
  });

  it('reports the first label that is out of range and leaves the outputs alone', () => {
    for (const isa of addon.info().isas) {
      addon.setIsa(isa);
      const labels = Int32Array.from([0, 9, 2, -1, 12]);
      const out = f32(5).fill(7);
      const error = errorOf(() =>
        call('nll', [5, 10, 0, 0, 0, 2 ** 31], out, f32(50), labels.with(1, 10).with(3, 0)),
      );
      expect(error).toMatchObject({
        code: 'SIMDGRAD_INDEX',
        message: 'nll: index 10 at position 1 is outside [0, 10)',
      });
      expect([...out]).toEqual([7, 7, 7, 7, 7]);
      expect(errorOf(() => call('nll', [5, 10, 0, 0, 0, 2 ** 31], out, f32(50), labels))?.message).toMatch(
        /-1 at position 3/,
      );
      for (const name of ['indexSelect', 'indexSelectGrad', 'gather', 'gatherGrad']) {
        const target = f32(4).fill(7);
        const error = errorOf(() =>
          call(name, [1, 4, 1, 4, 0, 0, 0], target, f32(4), Int32Array.of(0, 3, 4, 1)),
        );
        expect(error?.message).toBe(`${name}: index 4 at position 2 is outside [0, 4)`);
        expect([...target]).toEqual([7, 7, 7, 7]);
      }
    }
  });

  it('checks the attributes that select code', () => {
    const matmul = [0, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1, -1, 0];
    const ones = [f32(1), f32(1), f32(1), f32(1)];
    for (const activation of [-1, 4, 0.5, Number.NaN]) {
      rejects(() => call('matmul', matmul.with(13, activation), ...ones), /activation/);
    }
    for (const [low, high] of [
      [0, 0],
      [2, 1],
      [0.5, 2],
      [0, Number.NaN],
      [-(2 ** 31) - 1, 0],
      [0, 2 ** 31 + 1],
    ] as const) {
      rejects(() => call('randint', [1, 0, 0, 0, 0, low, high], new Int32Array(1)), /low|high/);
    }
    rejects(() => call('sum', [0, 1, 4, 0, 0, 1, 0.5], new Int32Array(1), new Int32Array(4)), /scale/);
    for (const position of [2, 3]) {
      for (const key of [-1, 2 ** 32, 0.5, Number.NaN]) {
        rejects(() => call('uniform', [1, 0, 0, 0, 0, 0, 1].with(position, key), f32(1)), /key/);
      }
    }
    rejects(() => call('uniform', [1, 0, 0, 0, 2 ** 53, 0, 1], f32(1)), /2\^53/);
  });

  it('treats empty shapes as nothing to do, and empty reductions by their identity', () => {
    call('add', [2, 0, 2 ** 53, 0, 0, 0, 0, 0, 0, 0, 0, 0], f32(0), f32(0), f32(0));
    call('softmax', [2 ** 53, 0, 1, 0, 0], f32(0), f32(0));
    call('indexSelect', [2 ** 53, 5, 0, 3, 0, 0, 0], f32(0), f32(0), new Int32Array(0));
    call('matmul', [1, 0, 4, 4, 4, 0, 0, 4, 0, 0, 4, 1, 0, 0, 4, 1, -1, 0], f32(0), f32(0), f32(0), f32(0));
    const out = f32(3).fill(7);
    call('sum', [1, 1, 3, 0, 0, 0, 1, 1, 1], out, f32(0));
    expect([...out]).toEqual([0, 0, 0]);
    call('prod', [1, 1, 3, 0, 0, 0, 1, 1], out, f32(0));
    expect([...out]).toEqual([1, 1, 1]);
    for (const name of ['max', 'min']) rejects(() => call(name, [0, 1, 0, 0, 0, 1], out, f32(0)), /nothing/);
    for (const name of ['argmax', 'argmin']) {
      rejects(() => call(name, [0, 1, 0, 0, 0, 1], new Int32Array(1), f32(0)), /nothing/);
    }
    const c = f32(4).fill(7);
    call('matmul', [0, 2, 2, 0, 0, 2, 0, 0, 1, 0, 2, 1, -1, 0], c, f32(0), f32(0), c);
    expect([...c]).toEqual([0, 0, 0, 0]);
  });

  it('keeps account of external memory and refuses what makes no sense', () => {
    addon.adjustExternalMemory(1 << 20);
    addon.adjustExternalMemory(-(1 << 20));
    for (const bad of [-1, 2 ** 60, -(2 ** 60), 0.5, Number.NaN, Infinity, '1', null, undefined, 1n]) {
      rejects(() => addon.adjustExternalMemory(bad as never), /adjustExternalMemory/);
    }
  });

  it('tells where memory begins, as an offset from the largest page', () => {
    const array = shared(0, 4096);
    const at = addon.misalignment(array);
    for (const k of [1, 17, 1024]) {
      expect(addon.misalignment(array.subarray(k))).toBe((at + 4 * k) % 2 ** 21);
    }
    for (const bad of [[], [1], [new ArrayBuffer(8)], [new Uint16Array(4)], [array, array]]) {
      rejects(() => (addon.misalignment as (...a: unknown[]) => unknown)(...bad), /misalignment/);
    }
  });

  it('gives the same bits on one thread and on several', () => {
    const rng = new Random(5);
    const before = addon.info().threads;
    const x = Float32Array.from({ length: 300 * 200 }, () => rng.next() - 0.5);
    const y = Float32Array.from({ length: 200 * 250 }, () => rng.next() - 0.5);
    const results = [1, 2, 4].map((threads) => {
      addon.setNumThreads(threads);
      expect(addon.info().threads).toBe(threads);
      const c = f32(300 * 250);
      call('matmul', [0, 300, 250, 200, 0, 250, 0, 200, 1, 0, 250, 1, -1, 0], c, x, y, c);
      const sum = f32(1);
      call('sum', [0, 1, x.length, 0, 0, 1, 1], sum, x);
      const e = f32(x.length);
      call('exp', [1, x.length, 0, 1, 0, 1], e, x);
      return [c, sum, e];
    });
    addon.setNumThreads(before);
    for (const result of results) expect(result).toEqual(results[0]);
  });
});
