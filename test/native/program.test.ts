import { describe, expect, it } from 'vitest';
import type { TypedArray } from '../../src/backend/backend.js';
import type { NativeProgram, NativeProgramSpec } from '../../src/backend/native.js';
import { addon, addonPath, errorOf, idOf, rows, shared, sharedOf } from './support.js';

/** One instruction of a program's code. */
const ins = (name: string, params: readonly number[], ...buffers: number[]): number[] => [
  idOf(name),
  params.length,
  buffers.length,
  ...params,
  ...buffers,
];

interface Parts {
  code: readonly number[] | Float64Array;
  buffers: NativeProgramSpec['buffers'];
  patches?: readonly number[];
  slots?: TypedArray;
  chains?: readonly number[];
}

const build = ({ code, buffers, patches = [], slots = shared(1, 0), chains }: Parts): NativeProgram =>
  new addon.Program({
    code: Float64Array.from(code),
    buffers,
    patches: Float64Array.from(patches),
    slots: slots as Float64Array,
    ...(chains && { chains: Float64Array.from(chains) }),
  });

const rejects = (fn: () => unknown, pattern: RegExp, code = 'SIMDGRAD_ARGUMENT'): void => {
  const error = errorOf(fn);
  expect(error, 'no error').not.toBeNull();
  expect(error!.code).toBe(code);
  expect(error!.message).toMatch(pattern);
};

const runAsync = (program: NativeProgram, inputs: TypedArray[]): Promise<void> =>
  new Promise((resolve, reject) =>
    program.runAsync(inputs, (error) => (error === null ? resolve() : reject(error))),
  );

const vec = (n: number, operands: number): number[] => [
  1,
  n,
  ...Array.from({ length: operands }, () => [0, 1]).flat(),
];
const input = (type: number, length: number) => ({ type, length });

/** A program of many matrix products, which takes a while. */
const long = (times: number, n = 512): NativeProgram => {
  const one = ins('matmul', [0, n, n, n, 0, n, 0, n, 1, 0, n, 1, -1, 0], 0, 1, 2, 0);
  return build({
    code: Array.from({ length: times }, () => one).flat(),
    buffers: [shared(0, n * n), shared(0, n * n), shared(0, n * n)],
  });
};

describe.skipIf(addonPath === null)('Program', () => {
  it('runs its instructions in order on pinned buffers and inputs', () => {
    const out = shared(0, 4);
    const scratch = shared(0, 4);
    const program = build({
      code: [...ins('mul', vec(4, 3), 1, 2, 3), ...ins('add', vec(4, 3), 0, 1, 2)],
      buffers: [out, scratch, input(0, 4), input(0, 4)],
    });
    program.run([Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6, 7, 8)]);
    expect([...scratch]).toEqual([5, 12, 21, 32]);
    expect([...out]).toEqual([6, 14, 24, 36]);
    program.run([Float32Array.of(1, 1, 1, 1), Float32Array.of(0, 1, 2, 3)]);
    expect([...out]).toEqual([1, 2, 3, 4]);
  });

  it('reads patched params from the slots before each run', () => {
    const out = shared(1, 3);
    const slots = sharedOf(1, [0, 2.5]);
    const program = build({
      code: ins('fill', [...vec(3, 1), 9], 0),
      buffers: [out],
      patches: [0, 4, 1],
      slots,
    });
    program.run([]);
    expect([...out]).toEqual([2.5, 2.5, 2.5]);
    slots[1] = -1;
    program.run([]);
    expect([...out]).toEqual([-1, -1, -1]);
  });

  it('patches the key and the counter of random kernels, and checks their values each time', () => {
    const [a, b] = [shared(0, 8), shared(0, 8)];
    const slots = sharedOf(1, [7]);
    const make = (out: TypedArray, block: number, patches: number[]): NativeProgram =>
      build({ code: ins('uniform', [8, 0, 1, 2, block, 0, 1], 0), buffers: [out], patches, slots });
    const patched = make(a, 0, [0, 4, 0]);
    patched.run([]);
    make(b, 7, []).run([]);
    expect(a).toEqual(b);
    for (const bad of [-1, 0.5, Number.NaN, 2 ** 53]) {
      slots[0] = bad;
      rejects(() => patched.run([]), /block|2\^53/);
    }
    slots[0] = 7;
    a.fill(0);
    patched.run([]);
    expect(a).toEqual(b);
  });

  it('checks patched attributes that have to be whole numbers', () => {
    const slots = sharedOf(1, [5]);
    const program = build({
      code: ins('randint', [3, 0, 1, 2, 3, 0, 9], 0),
      buffers: [shared(2, 3)],
      patches: [0, 6, 0],
      slots,
    });
    program.run([]);
    for (const bad of [0, -1, 0.5, Number.NaN]) {
      slots[0] = bad;
      rejects(() => program.run([]), /randint/);
    }
  });

  it('lets no patch select the activation of a product, which decides what is read', () => {
    rejects(
      () =>
        build({
          code: ins('matmul', [0, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 1, -1, 0], 0, 1, 1, 0),
          buffers: [shared(0, 1), sharedOf(0, [-2])],
          patches: [0, 13, 0],
        }),
      /may not change/,
    );
    const code = ins('matmul', [0, 2, 3, 1, 0, 3, 0, 1, 1, 0, 3, 1, 0, 4], 0, 1, 2, 3);
    const parts = [shared(0, 6), shared(0, 2), shared(0, 3)];
    build({ code, buffers: [...parts, shared(0, 6)] });
    rejects(() => build({ code, buffers: [...parts, shared(0, 5)] }), /length 5/);
    rejects(() => build({ code: code.with(15, -1), buffers: [...parts, shared(0, 6)] }), /needs its result/);
  });

  it('refuses patches of layout params and of what does not exist', () => {
    const base = {
      code: ins('fill', [...vec(3, 1), 9], 0),
      buffers: [shared(0, 3)],
      slots: sharedOf(1, [1]),
    };
    for (const param of [0, 1, 2, 3])
      rejects(() => build({ ...base, patches: [0, param, 0] }), /may not change/);
    for (const patches of [
      [0, 5, 0],
      [0, -1, 0],
      [0, 4.5, 0],
      [1, 4, 0],
      [0, 4, 1],
      [0, 4, -1],
      [Number.NaN, 4, 0],
      [0, 4, Infinity],
      [0, 4],
    ]) {
      rejects(() => build({ ...base, patches }), /patch/);
    }
    rejects(
      () =>
        build({
          code: ins('uniform', [3, 0, 0, 0, 0, 0, 1], 0),
          buffers: [shared(0, 3)],
          patches: [0, 1, 0],
          slots: base.slots,
        }),
      /may not change/,
    );
  });

  it('validates the code at construction', () => {
    const buffers = [shared(0, 4), shared(0, 4)];
    const good = ins('neg', vec(4, 2), 0, 1);
    build({ code: good, buffers });
    build({ code: [], buffers: [] }).run([]);
    for (let at = 0; at < good.length; at++) {
      for (const x of [Number.NaN, Infinity, -1, 0.5, 1e18]) {
        rejects(() => build({ code: good.with(at, x), buffers }), /Program: |neg: /);
      }
      if (at > 0) rejects(() => build({ code: good.slice(0, at), buffers }), /instruction 0/);
    }
    rejects(() => build({ code: [rows.length, 0, 0], buffers }), /instruction 0/);
    rejects(
      () => build({ code: [...good, ...ins('neg', vec(5, 2), 0, 1)], buffers }),
      /instruction 1: neg: .*length 4/,
    );
    rejects(() => build({ code: ins('neg', vec(4, 2), 0, 2), buffers }), /buffer index 2 is outside/);
    rejects(
      () => build({ code: ins('neg', vec(4, 2), 1, 0), buffers: [buffers[0]!, input(0, 4)] }),
      /is an input/,
    );
  });

  it('writes inputs that are said to be writable, and gathers no rows into them', async () => {
    for (const writable of [1, 'true', {}, null, false]) {
      const buffers = [{ ...input(0, 4), writable: writable as never }, input(0, 4)];
      rejects(() => build({ code: ins('neg', vec(4, 2), 0, 1), buffers }), /is an input/);
    }
    const program = build({
      code: ins('neg', vec(4, 2), 0, 1),
      buffers: [{ ...input(0, 4), writable: true }, input(0, 4)],
    });
    const out = new Float32Array(4);
    program.run([out, Float32Array.of(1, 2, 3, 4)]);
    expect([...out]).toEqual([-1, -2, -3, -4]);
    rejects(() => program.run([out.subarray(1), out]), /length 3/);
    rejects(() => program.run([out, out], [Int32Array.of(0), null]), /do not make input 0/);
    rejects(() => program.runAsync([out, out], () => undefined), /SharedArrayBuffers/);
    const shared = new Float32Array(new SharedArrayBuffer(16));
    rejects(() => program.runAsync([shared, out], null as never), /callback/);
    await runAsync(program, [shared, Float32Array.of(5, 6, 7, 8)]);
    expect([...shared]).toEqual([-5, -6, -7, -8]);
    // No JavaScript runs between the checks and the run: not even a setter that somebody gave all arrays.
    let ran = false;
    Object.defineProperty(Array.prototype, '0', { set: () => (ran = true), configurable: true });
    let pending: Promise<unknown>;
    try {
      pending = runAsync(program, [shared, Float32Array.of(1, 2, 3, 4)]);
    } finally {
      Reflect.deleteProperty(Array.prototype, '0');
    }
    await pending;
    expect(ran).toBe(false);
    structuredClone(out, { transfer: [out.buffer] });
    rejects(() => program.run([out, new Float32Array(4)]), /length 0/);
  });

  it('refuses buffers that are not, and memory that could be detached', () => {
    const code: number[] = [];
    rejects(() => build({ code, buffers: [new Float32Array(4)] }), /SharedArrayBuffers/);
    for (const bad of [
      null,
      undefined,
      3,
      'x',
      {},
      { type: 4, length: 1 },
      { type: -1, length: 1 },
      { type: 0, length: -1 },
      { type: 0, length: 0.5 },
      { type: 0, length: Number.NaN },
      { type: 0, length: 2 ** 60 },
      { type: '0', length: 1 },
      new Int16Array(new SharedArrayBuffer(8)),
      new DataView(new SharedArrayBuffer(8)),
      new SharedArrayBuffer(8),
    ]) {
      rejects(() => build({ code, buffers: [bad as never] }), /buffer 0/);
    }
    rejects(() => build({ code, buffers: {} as never }), /array/);
    rejects(() => build({ code, buffers: [], slots: new Float64Array(1) }), /slots/);
    rejects(() => build({ code, buffers: [], slots: shared(0, 1) }), /slots/);
    const spec = {
      code: new Float64Array(0),
      buffers: [],
      patches: new Float64Array(0),
      slots: shared(1, 0) as Float64Array,
    };
    for (const key of ['code', 'buffers', 'patches', 'slots'] as const) {
      for (const bad of [undefined, null, 1, {}, new Float32Array(1)]) {
        rejects(() => new addon.Program({ ...spec, [key]: bad as never }), /Program/);
      }
    }
    for (const bad of [undefined, null, 1, 'x', Symbol('s'), () => 0]) {
      rejects(() => new addon.Program(bad as never), /object/);
    }
    rejects(() => (addon.Program as unknown as () => void)(), /new/);
  });

  it('passes on what getters and proxies throw', () => {
    const thrown = new Error('mine');
    const angry = new Proxy(
      {},
      {
        get: () => {
          throw thrown;
        },
      },
    );
    expect(errorOf(() => new addon.Program(angry as never))).toBe(thrown);
    expect(errorOf(() => build({ code: [], buffers: [angry as never] }))).toBe(thrown);
    const program = build({ code: [], buffers: [input(0, 1)] });
    const list: TypedArray[] = [];
    Object.defineProperty(list, 0, {
      get: () => {
        throw thrown;
      },
    });
    expect(errorOf(() => program.run(list))).toBe(thrown);
    program.run([new Float32Array(1)]);
  });

  it('reads addresses only when every getter has run, and does not run inside one', () => {
    const out = shared(0, 4);
    const program = build({
      code: ins('add', vec(4, 3), 0, 1, 2),
      buffers: [out, input(0, 4), input(0, 4)],
    });
    const first = Float32Array.of(1, 2, 3, 4);
    const list: TypedArray[] = [first];
    Object.defineProperty(list, 1, {
      get: () => {
        structuredClone(first, { transfer: [first.buffer] });
        return new Float32Array(4);
      },
    });
    rejects(() => program.run(list), /input 0 is float32 of length 0/);

    let inner: (Error & { code?: string }) | null = null;
    const nested: TypedArray[] = [Float32Array.of(1, 2, 3, 4)];
    Object.defineProperty(nested, 1, {
      get: () => {
        inner = errorOf(() => program.run([new Float32Array(4), new Float32Array(4)]));
        return Float32Array.of(1, 1, 1, 1);
      },
    });
    program.run(nested);
    expect(inner).toMatchObject({ code: 'SIMDGRAD_BUSY' });
    expect([...out]).toEqual([2, 3, 4, 5]);
  });

  it('takes inputs of exactly its types and lengths', () => {
    const program = build({ code: ins('neg', vec(4, 2), 0, 1), buffers: [shared(0, 4), input(0, 4)] });
    for (const bad of [[], [new Float32Array(4), new Float32Array(4)]])
      rejects(() => program.run(bad), /inputs given/);
    for (const bad of [
      new Float32Array(5),
      new Float32Array(3),
      new Float64Array(4),
      new Int32Array(4),
      null,
      {},
      [],
    ]) {
      rejects(() => program.run([bad as never]), /input 0/);
    }
    for (const bad of [undefined, null, 4, {}, new Float32Array(4), new Set()]) {
      rejects(() => program.run(bad as never), /array of input arrays/);
    }
    rejects(() => (program.run as () => void)(), /0 arguments/);
    rejects(() => (program.run as (...a: unknown[]) => void)([], [], []), /3 arguments/);
  });

  it('gathers rows of an input by number', async () => {
    const out = shared(0, 6);
    const program = build({
      code: ins('add', vec(6, 3), 0, 1, 2),
      buffers: [out, input(0, 6), input(0, 6)],
    });
    const table = Float32Array.from({ length: 10 }, (_, i) => 10 * i);
    const ones = new Float32Array(6).fill(1);
    program.run([table, ones], [Int32Array.of(4, 0, 4), null]);
    expect([...out]).toEqual([81, 91, 1, 11, 81, 91]);
    expect(() => program.run([table, ones], [Int32Array.of(0, 1, 2, 3), null])).toThrow(
      /do not make input 0/,
    );
    expect([...program.profile([table, ones], [Int32Array.of(1, 1, 1), null])]).toHaveLength(1);
    expect([...out]).toEqual([21, 31, 21, 31, 21, 31]);
    // An asynchronous run reads the table and the numbers before it returns.
    const rows = Int32Array.of(3, 2, 1);
    const running = new Promise((resolve) => program.runAsync([table, ones], resolve, [rows, null]));
    table.fill(-1);
    rows.fill(99);
    expect(await running).toBe(null);
    expect([...out]).toEqual([61, 71, 41, 51, 21, 31]);
    // And goes on with plain arrays.
    program.run([ones, ones]);
    expect([...out]).toEqual([2, 2, 2, 2, 2, 2]);
  });

  it('multiplies rows of an input where they lie', async () => {
    const [m, k, n, bound] = [48, 40, 80, 60];
    const [out, weight, grad] = [shared(0, m * n), shared(0, k * n), shared(0, k * n)];
    weight.forEach((_, i) => {
      weight[i] = Math.sin(i);
    });
    const program = build({
      code: [
        ...ins('matmul', [0, m, n, k, 0, n, 0, k, 1, 0, n, 1, -1, 0], 0, 3, 1, 0),
        ...ins('matmul', [0, k, n, m, 0, n, 0, 1, k, 0, n, 1, -1, 0], 2, 3, 0, 2),
      ],
      buffers: [out, weight, grad, input(0, m * k)],
    });
    const table = Float32Array.from({ length: bound * k }, (_, i) => Math.cos(i));
    const numbers = Int32Array.from({ length: m }, (_, i) => (i * 17 + 59) % bound);
    const batch = Float32Array.from({ length: m * k }, (_, i) => {
      const row = numbers[Math.floor(i / k)] as number;
      return table[row * k + (i % k)] as number;
    });
    program.run([batch]);
    const expected = [[...out], [...grad]];
    const clear = () => [out, grad].map((a) => a.fill(0));
    clear();
    program.run([table], [numbers]);
    expect([[...out], [...grad]]).toEqual(expected);
    clear();
    expect(await new Promise((resolve) => program.runAsync([table], resolve, [numbers]))).toBe(null);
    expect([[...out], [...grad]]).toEqual(expected);
    clear();
    program.run([batch]);
    expect([[...out], [...grad]]).toEqual(expected);
    // A wrong number is found before anything is written.
    clear();
    for (const wrong of [-1, bound]) {
      expect(() => program.run([table], [numbers.with(m - 1, wrong)])).toThrow(
        `indexSelect: index ${wrong} at position ${m - 1} is outside [0, ${bound})`,
      );
    }
    expect(out.every((x) => x === 0)).toBe(true);
    // As many values in rows of another length are brought together first.
    const narrow = Int32Array.from({ length: 2 * m }, (_, i) => i);
    program.run([table], [narrow]);
    const first = [...out];
    program.run([table.slice(0, m * k)]);
    expect([...out]).toEqual(first);
  });

  it('refuses rows that do not fit, or that are not there', () => {
    const out = shared(0, 4);
    const program = build({ code: ins('exp', vec(4, 2), 0, 1), buffers: [out, input(0, 4)] });
    const table = new Float32Array(10);
    for (const rows of [
      [new Int32Array(0)],
      [new Int32Array(3)],
      [new Int32Array(8)],
      [new Float32Array(2)],
      [new Int32Array(1)],
    ]) {
      rejects(() => program.run([table], rows as never), /do not make input 0/);
    }
    rejects(() => program.run([new Float64Array(10)], [Int32Array.of(1, 2)]), /do not make input 0/);
    for (const bad of [[], [null, null]]) rejects(() => program.run([table], bad), /rows given/);
    for (const bad of [undefined, null, 3, {}]) {
      rejects(() => program.run([table], bad as never), /array of rows/);
    }
    for (const wrong of [-1, 5]) {
      expect(() => program.run([table], [Int32Array.of(1, wrong)])).toThrow(
        expect.objectContaining({
          code: 'SIMDGRAD_INDEX',
          message: `indexSelect: index ${wrong} at position 1 is outside [0, 5)`,
        }),
      );
    }
    expect([...out]).toEqual([0, 0, 0, 0]);
  });

  it('refuses receivers that are not programs', () => {
    const program = build({ code: [], buffers: [] });
    for (const receiver of [
      undefined,
      null,
      1,
      'x',
      {},
      [],
      addon,
      Object.create(program),
      new Proxy(program, {}),
      new Date(),
    ]) {
      for (const method of ['run', 'runAsync', 'bind', 'profile'] as const) {
        const fn = program[method] as (...args: unknown[]) => unknown;
        // V8 refuses most of them before the addon is asked.
        expect(errorOf(() => fn.call(receiver, [], () => 0))?.message).toMatch(
          /Illegal invocation|not a Program/,
        );
      }
    }
  });

  it('replaces pinned buffers by bind', () => {
    const [a, b, x] = [shared(0, 3), shared(0, 3), sharedOf(0, [1, 2, 3])];
    const program = build({ code: ins('neg', vec(3, 2), 0, 1), buffers: [a, x, input(0, 1)] });
    program.run([new Float32Array(1)]);
    program.bind(0, b);
    program.bind(1, sharedOf(0, [4, 5, 6]));
    program.run([new Float32Array(1)]);
    expect([...a]).toEqual([-1, -2, -3]);
    expect([...b]).toEqual([-4, -5, -6]);
    for (const bad of [new Float32Array(3), shared(0, 2), shared(0, 4), shared(1, 3), null, {}]) {
      rejects(() => program.bind(0, bad as never), /takes float32 of length 3 over a SharedArrayBuffer/);
    }
    for (const index of [-1, 2, 3, 0.5, Number.NaN, '0', null]) {
      rejects(() => program.bind(index as never, a), /pinned/);
    }
  });

  it('reports labels out of range with the code of an index error, and runs again afterwards', async () => {
    const loss = shared(0, 2);
    const program = build({
      code: ins('nll', [2, 3, 0, 0, 0, 2 ** 31], 0, 1, 2),
      buffers: [loss, sharedOf(0, [-1, -2, -3, -4, -5, -6]), input(2, 2)],
    });
    const message = /^nll: index 3 at position 1 is outside \[0, 3\)$/;
    rejects(() => program.run([Int32Array.of(0, 3)]), message, 'SIMDGRAD_INDEX');
    await expect(runAsync(program, [Int32Array.of(0, 3)])).rejects.toMatchObject({
      code: 'SIMDGRAD_INDEX',
      message: expect.stringMatching(message),
    });
    program.run([Int32Array.of(0, 2)]);
    expect([...loss]).toEqual([1, 6]);
  });

  it('gives nanoseconds per instruction', () => {
    const program = long(3);
    const times = program.profile([]);
    expect(times).toBeInstanceOf(Float64Array);
    expect(times.length).toBe(3);
    for (const t of times) expect(t).toBeGreaterThan(1000);
    expect(build({ code: [], buffers: [] }).profile([]).length).toBe(0);
  });

  it('runs off the main thread on copies of inputs and slots', async () => {
    const n = 512;
    const out = shared(0, n * n);
    const filled = shared(0, 1);
    const slots = sharedOf(1, [1]);
    const product = ins('matmul', [0, n, n, n, 0, n, 0, n, 1, 0, n, 1, -1, 0], 0, 1, 2, 0);
    const program = build({
      code: [...Array.from({ length: 10 }, () => product).flat(), ...ins('fill', [1, 1, 0, 1, 0], 3)],
      buffers: [
        out,
        input(0, n * n),
        sharedOf(
          0,
          Array.from({ length: n * n }, (_, i) => (i % (n + 1) === 0 ? 1 : 0)),
        ),
        filled,
      ],
      patches: [10, 4, 0],
      slots,
    });
    const x = Float32Array.from({ length: n * n }, (_, i) => i % 7);
    const expected = x.slice();
    let done = false;
    const running = runAsync(program, [x]).then(() => (done = true));
    x.fill(-1);
    structuredClone(x, { transfer: [x.buffer] });
    slots[0] = 2;
    let turns = 0;
    while (!done) {
      turns++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await running;
    expect(turns).toBeGreaterThan(1);
    expect(out).toEqual(sharedOf(0, [...expected]));
    expect([...filled]).toEqual([1]);
  });

  it('is busy while a run is in flight', async () => {
    const program = long(8);
    const running = runAsync(program, []);
    rejects(() => program.run([]), /in flight/, 'SIMDGRAD_BUSY');
    rejects(() => program.runAsync([], () => {}), /in flight/, 'SIMDGRAD_BUSY');
    rejects(() => program.bind(0, shared(0, 512 * 512)), /in flight/, 'SIMDGRAD_BUSY');
    rejects(() => program.profile([]), /in flight/, 'SIMDGRAD_BUSY');
    await running;
    program.run([]);
    await runAsync(program, []);
    rejects(() => program.runAsync([], null as never), /callback/);
    rejects(() => (program.runAsync as (...a: unknown[]) => void)([]), /1 arguments/);
  });

  it('runs several programs at once beside calls of the main thread', async () => {
    const n = 192;
    const values = (seed: number): number[] => Array.from({ length: n * n }, (_, i) => ((i * seed) % 11) - 5);
    const product = ins('matmul', [0, n, n, n, 0, n, 0, n, 1, 0, n, 1, -1, 0], 0, 1, 2, 0);
    const make = (seed: number) => {
      const out = shared(0, n * n);
      const buffers = [out, sharedOf(0, values(seed)), sharedOf(0, values(seed + 1))];
      return { out, program: build({ code: Array.from({ length: 20 }, () => product).flat(), buffers }) };
    };
    const alone = [1, 2, 3, 4].map(make);
    for (const { program } of alone) program.run([]);
    const together = [1, 2, 3, 4].map(make);
    for (let round = 0; round < 5; round++) {
      for (const { out } of together) out.fill(0);
      const running = together.slice(1).map(({ program }) => runAsync(program, []));
      addon.setNumThreads(1 + (round % 3));
      together[0]!.program.run([]);
      await Promise.all(running);
      together.forEach(({ out }, i) => {
        expect(out).toEqual(alone[i]!.out);
      });
    }
    addon.setNumThreads(2);
  });

  it('looks its kernels up again when the instruction set changes', () => {
    const before = addon.info().isa;
    const out = shared(0, 4);
    const program = build({ code: ins('exp', vec(4, 2), 0, 1), buffers: [out, sharedOf(0, [0, 1, 2, 3])] });
    for (const isa of addon.info().isas) {
      addon.setIsa(isa);
      out.fill(0);
      program.run([]);
      [1, Math.E, Math.E ** 2, Math.E ** 3].forEach((e, i) => {
        expect(out[i]! / e).toBeCloseTo(1, 6);
      });
    }
    addon.setIsa(before);
  });

  describe('chains', () => {
    const n = 50_000;
    const local = { type: 0, length: n, local: true };
    const x = Float32Array.from({ length: n }, (_, i) => i % 1000);

    it('run block by block with values that are nowhere else', () => {
      const out = shared(0, n);
      const program = build({
        code: [
          ...ins('mul', vec(n, 3), 1, 2, 2),
          ...ins('add', [1, n, 0, 1, 0, 1, 3, 0], 1, 1, 3),
          ...ins('neg', vec(n, 2), 0, 1),
        ],
        buffers: [out, local, input(0, n), sharedOf(0, [0, 0, 0, 5])],
        chains: [0, 3, n],
      });
      program.run([x]);
      expect(out.every((v, i) => v === -(x[i]! * x[i]! + 5))).toBe(true);
      const times = program.profile([x]);
      expect([times.length, times[0]! > 0, times[1], times[2]]).toEqual([3, true, 0, 0]);
    });

    it('are refused where they are none', () => {
      const code = [...ins('mul', vec(n, 3), 1, 2, 2), ...ins('neg', vec(n, 2), 0, 1)];
      const buffers = [shared(0, n), local, input(0, n)];
      for (const chains of [[], [0, 1, n], [1, 1, n]]) {
        rejects(() => build({ code, buffers, chains }), /local buffer (outside of its chain|is used by two)/);
      }
      for (const chains of [
        [0, 2],
        [0, 3, n],
        [-1, 2, n],
        [0, 0, n],
        [0.5, 2, n],
        [0, 2, n - 1],
        [0, 2, Number.NaN],
        [0, 2, n, 1, 1, n],
        [0, Infinity, n],
        [0, 1e300, n],
      ]) {
        rejects(() => build({ code, buffers, chains }), /^Program: chain/);
      }
      rejects(() => build({ code, buffers, chains: [0, 1, n, 1, 1, n] }), /two chains|local/);
      const bind = build({ code, buffers, chains: [0, 2, n] });
      rejects(() => bind.bind(1, shared(0, n)), /pinned/);
      const strided = [...ins('mul', [1, n, 0, 1, 0, 2, 0, 0], 0, 1, 1)];
      rejects(
        () => build({ code: strided, buffers: [shared(0, n), shared(0, 2 * n)], chains: [0, 1, n] }),
        /stride/,
      );
      const offset = [...ins('neg', [1, n - 1, 1, 1, 0, 1], 0, 1)];
      rejects(
        () => build({ code: offset, buffers: [local, shared(0, n)], chains: [0, 1, n - 1] }),
        /not used as a whole/,
      );
      const sum = ins('sum', [0, 1, n, 0, 0, 1, 1], 0, 1);
      rejects(
        () => build({ code: sum, buffers: [shared(0, 1), shared(0, n)], chains: [0, 1, n] }),
        /elementwise/,
      );
    });
  });
});
