import { createRequire } from 'node:module';
import { describe, expect, it } from 'vitest';
import { type Backend, defineKernel, type Kernel, type ProgramSpec } from '../../src/backend/backend.js';
import { jsBackend } from '../../src/backend/js/index.js';
import { fillKernel, mapKernel } from '../../src/backend/js/map.js';
import { nllKernel } from '../../src/backend/js/rows.js';
import { type Addon, NativeBackend, translate } from '../../src/backend/native.js';
import { ArgumentError, BackendError, IndexError, StateError } from '../../src/errors.js';
import { addonPath, shared, sharedOf } from '../native/support.js';

/*
 * The same programs on the JS backend, on the native one, and on the native one with kernels that the addon has not,
 * so that native and JS stretches take turns.
 */

const kernels = {
  mul: defineKernel(
    'mul',
    mapKernel(2, 0, (a: number, b: number) => a * b),
  ),
  fill: defineKernel('fill', fillKernel),
  nll: defineKernel('nll', nllKernel),
};
const onlyJs = {
  mul: defineKernel('mulOfTheTest', kernels.mul.js),
  fill: defineKernel('fillOfTheTest', fillKernel),
  nll: kernels.nll,
};

const vec = (n: number, operands: number): number[] => [
  1,
  n,
  ...Array.from({ length: operands }, () => [0, 1]).flat(),
];

/** out = x * y, filled = slot, squares = out * out. */
function spec(first: Kernel, second: Kernel, third: Kernel) {
  const [out, filled, squares] = [shared(0, 4), shared(1, 3), shared(0, 4)];
  const slots = sharedOf(1, [0, 6]) as Float64Array;
  const like = { kind: 'input', like: Float32Array, type: 0, length: 4 } as const;
  const program: ProgramSpec = {
    instructions: [
      { kernel: first, params: vec(4, 3), buffers: [0, 1, 2] },
      { kernel: second, params: [...vec(3, 1), 0], buffers: [3] },
      { kernel: third, params: vec(4, 3), buffers: [4, 0, 0] },
    ],
    buffers: [
      { kind: 'pinned', array: out },
      like,
      like,
      { kind: 'pinned', array: filled },
      { kind: 'pinned', array: squares },
    ],
    patches: [{ instruction: 1, param: 4, slot: 1 }],
    slots,
  };
  return { program, out, filled, squares, slots };
}

const { mul, fill } = kernels;
const native = (): Backend => new NativeBackend(createRequire(import.meta.url)(addonPath!) as Addon);
const cases: [string, (() => Backend) | null, Kernel, Kernel, Kernel][] = [
  ['JS', () => jsBackend, mul, fill, mul],
  ['native', addonPath === null ? null : native, mul, fill, mul],
  ['native with one JS kernel', addonPath === null ? null : native, mul, onlyJs.fill, mul],
  ['native between JS kernels', addonPath === null ? null : native, onlyJs.mul, fill, onlyJs.mul],
  ['native with nothing native', addonPath === null ? null : native, onlyJs.mul, onlyJs.fill, onlyJs.mul],
];

for (const [name, make, first, second, third] of cases) {
  describe.skipIf(make === null)(`programs: ${name}`, () => {
    const x = Float32Array.of(1, 2, 3, 4);
    const y = Float32Array.of(5, 6, 7, 8);

    it('runs, with inputs and slots read at the call', () => {
      const { program, out, filled, squares, slots } = spec(first, second, third);
      const executable = make!().program(program);
      executable.run([x, y]);
      expect([...out]).toEqual([5, 12, 21, 32]);
      expect([...filled]).toEqual([6, 6, 6]);
      expect([...squares]).toEqual([25, 144, 441, 1024]);
      slots[1] = -2;
      executable.run([y, y]);
      expect([...out]).toEqual([25, 36, 49, 64]);
      expect([...filled]).toEqual([-2, -2, -2]);
    });

    it('runs asynchronously on copies, and is busy meanwhile', async () => {
      const { program, out, filled, squares, slots } = spec(first, second, third);
      const executable = make!().program(program);
      const input = x.slice();
      const running = executable.runAsync([input, y]);
      input.fill(0);
      slots[1] = 9;
      expect(() => executable.run([x, y])).toThrow(StateError);
      expect(() => executable.bind(0, shared(0, 4))).toThrow(StateError);
      await expect(executable.runAsync([x, y])).rejects.toThrow(/in flight/);
      await running;
      expect([...out]).toEqual([5, 12, 21, 32]);
      expect([...filled]).toEqual([6, 6, 6]);
      expect([...squares]).toEqual([25, 144, 441, 1024]);
      await executable.runAsync([y, y]);
      expect([...filled]).toEqual([9, 9, 9]);
    });

    it('gathers rows of an input, in every kind of run', async () => {
      const { program, out, squares } = spec(first, second, third);
      const executable = make!().program(program);
      const values = Float32Array.from({ length: 10 }, (_, i) => i);
      const rows = (...indices: number[]) => ({ values, indices: Int32Array.from(indices) });
      executable.run([rows(3, 0), y]);
      expect([...out]).toEqual([30, 42, 0, 8]);
      const input = rows(1, 2);
      const running = executable.runAsync([y, input]);
      input.indices.fill(99);
      await running;
      expect([...out]).toEqual([10, 18, 28, 40]);
      expect([...squares]).toEqual([100, 324, 784, 1600]);
      expect(executable.profile([rows(4, 4), rows(0, 0)])).toHaveLength(3);
      expect([...out]).toEqual([0, 9, 0, 9]);
      for (const wrong of [
        rows(1, 2, 3),
        rows(),
        rows(1),
        { values: new Float64Array(10), indices: rows(1, 2).indices },
      ]) {
        expect(() => executable.run([wrong, y])).toThrow(ArgumentError);
        await expect(executable.runAsync([wrong, y])).rejects.toThrow(ArgumentError);
      }
      for (const wrong of [rows(0, 5), rows(-1, 0)]) {
        expect(() => executable.run([wrong, y])).toThrow(IndexError);
        await expect(executable.runAsync([wrong, y])).rejects.toThrow(IndexError);
      }
      executable.run([x, y]);
      expect([...out]).toEqual([5, 12, 21, 32]);
    });

    it('binds other memory in place of pinned buffers', () => {
      const { program, out, squares } = spec(first, second, third);
      const executable = make!().program(program);
      executable.run([x, y]);
      const other = shared(0, 4);
      executable.bind(0, other);
      executable.run([x, x]);
      expect([...out]).toEqual([5, 12, 21, 32]);
      expect([...other]).toEqual([1, 4, 9, 16]);
      expect([...squares]).toEqual([1, 16, 81, 256]);
      expect(() => executable.bind(0, shared(0, 5))).toThrow(ArgumentError);
      expect(() => executable.bind(0, shared(1, 4))).toThrow(ArgumentError);
      expect(() => executable.bind(1, shared(0, 4))).toThrow(/pinned/);
      expect(() => executable.bind(17, shared(0, 4))).toThrow(/pinned/);
    });

    it('updates inputs that it may write, where they are, and only there', async () => {
      const backend = make!();
      const input = { kind: 'input', like: Float32Array, type: 0, length: 4 } as const;
      const executable = backend.program({
        instructions: [
          { kernel: first, params: vec(4, 3), buffers: [0, 0, 1] },
          { kernel: second, params: [...vec(3, 1), 7], buffers: [2] },
          { kernel: third, params: vec(4, 3), buffers: [0, 0, 1] },
        ],
        buffers: [{ ...input, writable: true }, input, { kind: 'pinned', array: shared(1, 3) }],
        patches: [],
        slots: shared(1, 0) as Float64Array,
      });
      const [state, other] = [Float32Array.of(1, 2, 3, 4), Float32Array.of(1, 1, 1, 1)];
      executable.run([state, y]);
      executable.run([other, x]);
      executable.run([state, x]);
      expect([...state]).toEqual([25, 2 * 36 * 4, 3 * 49 * 9, 4 * 64 * 16]);
      expect([...other]).toEqual([1, 4, 9, 16]);
      expect([...y]).toEqual([5, 6, 7, 8]);
      await expect(executable.runAsync([state, x])).rejects.toThrow(/SharedArrayBuffers/);
      const kept = shared(0, 4);
      kept.set([1, 2, 3, 4]);
      const given = y.slice();
      const running = executable.runAsync([kept, given]);
      given.fill(9); // was copied
      await running;
      expect([...kept]).toEqual([25, 72, 147, 256]);
      expect(() => executable.run([new Float32Array(3), x])).toThrow(ArgumentError);
    });

    it('refuses inputs that do not fit', async () => {
      const executable = make!().program(spec(first, second, third).program);
      for (const inputs of [[], [x], [x, y, x], [x, new Float32Array(3)], [new Float64Array(4), y]]) {
        expect(() => executable.run(inputs)).toThrow(ArgumentError);
        expect(() => executable.profile(inputs)).toThrow(ArgumentError);
        await expect(executable.runAsync(inputs)).rejects.toThrow(ArgumentError);
      }
      executable.run([x, y]);
    });

    it('gives a time for each instruction', () => {
      const times = make!()
        .program(spec(first, second, third).program)
        .profile([x, y]);
      expect(times).toHaveLength(3);
      for (const t of times) expect(t).toBeGreaterThanOrEqual(0);
    });

    it('throws IndexError for labels out of range, in programs and in single calls', async () => {
      const backend = make!();
      const labels = { kind: 'input', like: Int32Array, type: 2, length: 2 } as const;
      const executable = backend.program({
        instructions: [
          { kernel: second, params: [...vec(3, 1), 1], buffers: [2] },
          { kernel: kernels.nll, params: [2, 3, 0, 0, 0, 2 ** 31], buffers: [0, 1, 3] },
        ],
        buffers: [
          { kind: 'pinned', array: shared(0, 2) },
          { kind: 'pinned', array: shared(0, 6) },
          { kind: 'pinned', array: shared(1, 3) },
          labels,
        ],
        patches: [],
        slots: shared(1, 0) as Float64Array,
      });
      const message = 'nll: index -1 at position 0 is outside [0, 3)';
      const wrong = Int32Array.of(-1, 2);
      expect(() => executable.run([wrong])).toThrow(new IndexError(message));
      await expect(executable.runAsync([wrong])).rejects.toThrow(new IndexError(message));
      expect(() =>
        backend.run(kernels.nll, [2, 3, 0, 0, 0, 2 ** 31], [new Float32Array(2), new Float32Array(6), wrong]),
      ).toThrow(new IndexError(message));
      executable.run([Int32Array.of(0, 2)]);
    });
  });
}

describe.skipIf(addonPath === null)('the native backend', () => {
  it('knows what it has', () => {
    const backend = native();
    expect(backend.has(mul, 0)).toBe(true);
    expect(backend.has(mul, 3)).toBe(false);
    expect(backend.has(onlyJs.mul, 0)).toBe(false);
  });

  it('runs kernels that the addon has not in JavaScript, and attaches those that come later', () => {
    const backend = native();
    const out = new Float32Array(2);
    const operands = [out, Float32Array.of(2, 3), Float32Array.of(5, 7)];
    backend.run(onlyJs.mul, vec(2, 3), operands);
    expect([...out]).toEqual([10, 21]);
    const late = defineKernel('sub', () => {
      throw new Error('the native kernel should run');
    });
    expect(late.nativeId).toBe(-1);
    backend.run(late, vec(2, 3), operands);
    expect([...out]).toEqual([-3, -4]);
  });

  it('throws the errors of the library', () => {
    const backend = native();
    expect(() =>
      backend.run(mul, vec(3, 3), [new Float32Array(2), new Float32Array(3), new Float32Array(3)]),
    ).toThrow(ArgumentError);
    expect(() => backend.run(mul, new Array(300).fill(0), [new Float32Array(2)])).toThrow(/300 params/);
    const wrong = (code: string): Error => Object.assign(new Error('m'), { code });
    expect(translate(wrong('SIMDGRAD_BUSY'))).toBeInstanceOf(StateError);
    expect(translate(wrong('SIMDGRAD_MEMORY'))).toEqual(new BackendError('m', 'SIMDGRAD_MEMORY'));
    const other = wrong('ENOENT');
    expect(translate(other)).toBe(other);
  });

  it('never reports less external memory than none', () => {
    const backend = native();
    backend.adjustExternalMemory(-1000);
    backend.adjustExternalMemory(4096);
    backend.adjustExternalMemory(-4096);
    backend.adjustExternalMemory(-1);
  });
});
