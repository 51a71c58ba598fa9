import { createHash } from 'node:crypto';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import fc from 'fast-check';
import {
  ArgumentError,
  type DType,
  FormatError,
  Generator,
  io,
  ones,
  rand,
  type Tensor,
  type TypedArray,
  tensor,
  zeros,
} from 'simdgrad';
import { afterAll, describe, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'simdgrad-io-'));
afterAll(() => rmSync(folder, { recursive: true }));
const path = join(folder, 'state');

const there = (value: unknown): unknown => {
  io.save(path, value);
  return io.load(path);
};

const bits = (a: TypedArray): string => Buffer.from(a.buffer, a.byteOffset, a.byteLength).toString('hex');

/** Tensors by shape, dtype and bits; everything else as it is. */
function same(actual: unknown, expected: unknown): void {
  const plain = (x: unknown): unknown => {
    if (typeof x !== 'object' || x === null) return x;
    if ('dtype' in x && 'view' in x) {
      const t = x as Tensor;
      return { dtype: t.dtype, shape: t.shape, bits: bits(t.contiguous().data) };
    }
    if (Array.isArray(x)) return x.map(plain);
    return Object.entries(x).map(([key, value]) => [key, plain(value)]);
  };
  expect(plain(actual)).toStrictEqual(plain(expected));
}

/** A safetensors file made by hand, after the format's description. */
function file(header: unknown, values: Uint8Array | number[] = [], length?: bigint): Buffer {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const start = Buffer.alloc(8);
  start.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([start, text, Buffer.from(values)]);
}

describe('save and load', () => {
  it('brings back plain values', () => {
    const value = {
      text: 'ünïcode \u0000 \ud800 "quotes" \\',
      numbers: [0, -0, 1.5, -1e300, 5e-324, Number.MAX_SAFE_INTEGER, Number.NaN, Infinity, -Infinity],
      flags: [true, false, null, undefined],
      nested: { empty: {}, list: [[], [[]]], '': 1, 'a.b': 2, 7: 3, t: 'x', o: [['k', 1]], n: 'NaN' },
    };
    same(there(value), value);
    for (const single of [null, undefined, 0, -0, 'x', true, [], {}])
      expect(there(single)).toStrictEqual(single);
  });

  it('brings back numbers bit for bit', () => {
    fc.assert(
      fc.property(fc.array(fc.double()), (list) => {
        expect(there(list)).toStrictEqual(list);
      }),
      { numRuns: 20 },
    );
  });

  it('brings back any tensor bit for bit', () => {
    const arrays: Record<DType, (n: number, bytes: Uint8Array) => TypedArray> = {
      float32: (n, bytes) => new Float32Array(bytes.slice(0, 4 * n).buffer),
      float64: (n, bytes) => new Float64Array(bytes.slice(0, 8 * n).buffer),
      int32: (n, bytes) => new Int32Array(bytes.slice(0, 4 * n).buffer),
      bool: (n, bytes) => bytes.slice(0, n).map((b) => b & 1),
    };
    fc.assert(
      fc.property(
        fc.constantFrom<DType>('float32', 'float64', 'int32', 'bool'),
        fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 4 }),
        fc.uint8Array({ minLength: 8 * 81, maxLength: 8 * 81 }), // NaNs of every kind come along
        (dtype, shape, bytes) => {
          const n = shape.reduce((a, b) => a * b, 1);
          const array = arrays[dtype](n, bytes);
          const t = zeros(shape, { dtype });
          Buffer.from(t.data.buffer, t.data.byteOffset, t.data.byteLength).set(
            new Uint8Array(array.buffer, 0, array.byteLength),
          );
          same(there([t, { t }]), [t, { t }]);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('keeps NaN payloads, signed zeros, infinities and the ends of int32', () => {
    const words = Uint32Array.of(0x7fc00000, 0x7fc12345, 0xffc00001, 0x80000000, 0x7f800000, 0xff800000, 1);
    const floats = zeros(7);
    new Uint32Array(floats.data.buffer, floats.data.byteOffset, 7).set(words);
    const back = there({ floats, ints: tensor(Int32Array.of(-(2 ** 31), 2 ** 31 - 1)) }) as Record<
      string,
      Tensor
    >;
    const stored = back.floats.data;
    expect(new Uint32Array(stored.buffer, stored.byteOffset, 7)).toEqual(words);
    expect(back.ints.toArray()).toEqual([-(2 ** 31), 2 ** 31 - 1]);
  });

  it('stores views by their values, and a tensor that occurs twice once', () => {
    const t = tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    const back = there({ a: t.T, b: t.slice(1), c: tensor(7).broadcastTo([2, 2]), again: [t, t] }) as {
      [key: string]: Tensor;
    } & { again: Tensor[] };
    expect(back.a.toArray()).toEqual([
      [1, 4],
      [2, 5],
      [3, 6],
    ]);
    expect(back.b.toArray()).toEqual([[4, 5, 6]]);
    expect(back.c.toArray()).toEqual([
      [7, 7],
      [7, 7],
    ]);
    expect(back.again[0]).toBe(back.again[1]);
    // Neither graph nor flag is stored, and the loaded tensor is alone in its memory.
    const w = ones(2, { requiresGrad: true });
    const loaded = there({ w, y: w.mul(2) }) as Record<string, Tensor>;
    expect([loaded.w.requiresGrad, loaded.y.requiresGrad]).toEqual([false, false]);
    loaded.w.fill_(3);
    expect([w.toArray(), loaded.y.toArray()]).toEqual([
      [1, 1],
      [2, 2],
    ]);
  });

  it('tells apart names that look alike', () => {
    const value = {
      'a.b': tensor(1),
      a: { b: tensor(2), 'b#2': tensor(3) },
      __metadata__: tensor(4),
      'a.b#2': tensor(5),
    };
    same(there(value), value);
    same(there(tensor([1, 2])), tensor([1, 2]));
  });

  it('takes keys such as __proto__ as keys and nothing else', () => {
    const hostile = JSON.parse(
      '{"__proto__": {"polluted": 1}, "constructor": {"prototype": {"polluted": 2}}}',
    );
    const back = there(hostile) as object;
    expect(Object.keys(back)).toEqual(['__proto__', 'constructor']);
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
    expect(({} as Record<string, unknown>).polluted).toBeUndefined();
    const named = Object.defineProperty({}, '__proto__', { value: tensor(1), enumerable: true });
    io.saveSafetensors(path, named as Record<string, Tensor>);
    const tensors = io.loadSafetensors(path);
    expect(Object.keys(tensors)).toEqual(['__proto__']);
    expect(Object.getPrototypeOf(tensors)).toBe(Object.prototype);
  });

  it('brings back a generator in the middle of its stream', () => {
    const generator = new Generator(2 ** 40 + 5);
    rand(1000, { generator });
    io.save(path, generator.getState());
    const expected = rand(10, { generator }).toArray();
    const other = new Generator();
    other.setState(io.load(path));
    expect(rand(10, { generator: other }).toArray()).toEqual(expected);
  });

  it('refuses what it cannot store, says where, and leaves the old file alone', () => {
    io.save(path, 'old');
    const cyclic: Record<string, unknown> = { deep: {} };
    (cyclic.deep as Record<string, unknown>).self = cyclic;
    let deep: unknown = 1;
    for (let i = 0; i < 1000; i++) deep = [deep];
    const cases: [unknown, RegExp][] = [
      [{ a: { f: () => 0 } }, /a\.f is a function/],
      [{ a: [1, 2n] }, /a\.1 is 2n/],
      [Symbol('s'), /the value itself is Symbol\(s\)/],
      [{ when: new Date(0) }, /when is a Date/],
      [{ m: new Map() }, /m is a Map/],
      [{ g: new Generator() }, /g is a Generator.*getState/],
      [Float32Array.of(1), /Float32Array/],
      [cyclic, /deep\.self contains itself/],
      [deep, /deeper than 500/],
    ];
    for (const [value, message] of cases) {
      expect(() => io.save(path, value)).toThrow(ArgumentError);
      expect(() => io.save(path, value)).toThrow(message);
    }
    const disposed = rand(10);
    disposed.dispose();
    expect(() => io.save(path, disposed)).toThrow(/given back/);
    for (const wrong of ['', 1, null, 'a\0b'])
      expect(() => io.save(wrong as string, 1)).toThrow(ArgumentError);
    expect(io.load(path)).toBe('old');
    expect(readdirSync(folder)).toEqual(['state']); // and no temporary files
  });

  it('replaces files as a whole, through links, keeping their mode', () => {
    const target = join(folder, 'target');
    const link = join(folder, 'link');
    io.save(target, 1);
    chmodSync(target, 0o640);
    symlinkSync(target, link);
    io.save(link, 2);
    expect([io.load(target), io.load(pathToFileURL(link))]).toEqual([2, 2]);
    expect(statSync(target).mode & 0o777).toBe(0o640);
    expect(() => io.save(join(folder, 'no', 'where'), 1)).toThrow(/ENOENT/);
    mkdirSync(join(folder, 'dir'));
    expect(() => io.save(join(folder, 'dir'), 1)).toThrow();
    expect(() => io.load(join(folder, 'dir'))).toThrow();
    expect(() => io.load(join(folder, 'missing'))).toThrow(/ENOENT/);
    expect(readdirSync(folder).filter((name) => name.includes('tmp'))).toEqual([]);
  });

  it('notices every flipped bit and every missing or added byte', () => {
    io.save(path, { w: tensor([1, 2, 3]), b: tensor([true, false]), step: 3, note: 'x' });
    const good = readFileSync(path);
    const damaged = join(folder, 'damaged');
    for (let i = 0; i < good.length; i++) {
      const bytes = Buffer.from(good);
      bytes[i] ^= 1 << (i % 8);
      writeFileSync(damaged, bytes);
      expect(() => io.load(damaged), `byte ${i}`).toThrow(FormatError);
      if (i % 7 === 0) {
        writeFileSync(damaged, good.subarray(0, i));
        expect(() => io.load(damaged), `cut at ${i}`).toThrow(FormatError);
      }
    }
    writeFileSync(damaged, Buffer.concat([good, Buffer.alloc(1)]));
    expect(() => io.load(damaged)).toThrow(/expected 14 bytes of values after the header, found 15/);
  });

  it('refuses later versions and structures that make no sense, even with a right checksum', () => {
    const sealed = (metadata: Record<string, string>, tensors: object = {}): void => {
      const all = { 'simdgrad.sha256': '0'.repeat(64), ...metadata };
      const bytes = file({ __metadata__: all, ...tensors });
      const sum = createHash('sha256').update(bytes).digest('hex');
      bytes.write(sum, bytes.indexOf('0'.repeat(64)), 'latin1');
      writeFileSync(path, bytes);
    };
    const structure = (json: string): void => sealed({ 'simdgrad.version': '1', 'simdgrad.structure': json });
    structure('{"o":[["a",[1,{"n":"-0"}]]]}');
    expect(io.load(path)).toEqual({ a: [1, -0] });
    sealed({ 'simdgrad.version': '2', 'simdgrad.structure': '1' });
    expect(() => io.load(path)).toThrow(/expected version 1 .*found "2"/);
    const empty = { shape: [0], data_offsets: [0, 0], dtype: 'F32' };
    sealed({ 'simdgrad.version': '1', 'simdgrad.structure': '{"t":"toString"}' }, { x: empty });
    expect(() => io.load(path)).toThrow(/no tensor "toString"/);
    for (const bad of [
      '',
      '{',
      '{"t":1}',
      '{"o":1}',
      '{"o":[1]}',
      '{"o":[["a"]]}',
      '{"o":[[1,1]]}',
      '{}',
      '{"x":1}',
      '{"n":"1"}',
      '{"o":[],"t":"x"}',
      '['.repeat(600) + ']'.repeat(600),
    ]) {
      structure(bad);
      expect(() => io.load(path), bad).toThrow(FormatError);
    }
  });
});

describe('safetensors', () => {
  it('writes the format: aligned header, little-endian values without gaps', () => {
    io.saveSafetensors(
      path,
      {
        b: tensor([true, false, true]),
        w: tensor([[1, -2]]),
        d: tensor(0.1, { dtype: 'float64' }),
        i: tensor(Int32Array.of(258)),
      },
      { metadata: { format: 'pt' } },
    );
    const bytes = readFileSync(path);
    const length = Number(bytes.readBigUInt64LE());
    expect(length % 8).toBe(0);
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + length));
    expect(header).toEqual({
      __metadata__: { format: 'pt' },
      d: { dtype: 'F64', shape: [], data_offsets: [0, 8] },
      w: { dtype: 'F32', shape: [1, 2], data_offsets: [8, 16] },
      i: { dtype: 'I32', shape: [1], data_offsets: [16, 20] },
      b: { dtype: 'BOOL', shape: [3], data_offsets: [20, 23] },
    });
    expect(bytes.subarray(8 + length).toString('hex')).toBe(
      '9a9999999999b93f' + '0000803f000000c0' + '02010000' + '010001',
    );
  });

  it('reads files of other writers, in the order of their values', () => {
    const header = {
      z: { dtype: 'F32', shape: [2], data_offsets: [4, 12] },
      a: { dtype: 'BOOL', shape: [2, 2], data_offsets: [0, 4] },
    };
    writeFileSync(path, file(header, [1, 0, 0, 1, 0, 0, 128, 63, 0, 0, 0, 192]));
    const { a, z } = io.loadSafetensors(path);
    expect(a.toArray()).toEqual([
      [true, false],
      [false, true],
    ]);
    expect(z.toArray()).toEqual([1, -2]);
    expect(() => io.load(path)).toThrow(/not one that save\(\) wrote; loadSafetensors/);
    writeFileSync(path, file('{}'));
    expect(io.loadSafetensors(path)).toEqual({});
  });

  it('reads a file that the reference implementation wrote (safetensors 0.8.0 for Python)', () => {
    const bytes =
      'f8000000000000007b225f5f6d657461646174615f5f223a7b226d223a2278227d2c2269223a7b226474797065223a22493634222c227368' +
      '617065223a5b325d2c22646174615f6f666673657473223a5b302c31365d7d2c2277223a7b226474797065223a22463332222c2273686170' +
      '65223a5b322c335d2c22646174615f6f666673657473223a5b31362c34305d7d2c2268223a7b226474797065223a22463136222c22736861' +
      '7065223a5b325d2c22646174615f6f666673657473223a5b34302c34345d7d2c2262223a7b226474797065223a22424f4f4c222c22736861' +
      '7065223a5b325d2c22646174615f6f666673657473223a5b34342c34365d7d7d07000000000000000800000000000000000000000000803f' +
      '0000004000004040000080400000a040003e00c00100';
    writeFileSync(path, Buffer.from(bytes, 'hex'));
    const tensors = io.loadSafetensors(path);
    expect(Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, t.toArray()]))).toEqual({
      w: [
        [0, 1, 2],
        [3, 4, 5],
      ],
      b: [true, false],
      i: [7, 8],
      h: [1.5, -2],
    });
  });

  it.each<[string, number[], number[], DType]>([
    [
      'F16',
      [0x00, 0x3c, 0x00, 0xc0, 0x01, 0x00, 0xff, 0x7b, 0x00, 0x7c],
      [1, -2, 2 ** -24, 65504, Infinity],
      'float32',
    ],
    ['BF16', [0x80, 0x3f, 0x49, 0x40, 0x80, 0xff], [1, 3.140625, -Infinity], 'float32'],
    ['I8', [0xff, 0x7f], [-1, 127], 'int32'],
    ['U8', [0xff, 0x7f], [255, 127], 'int32'],
    ['I16', [0xfe, 0xff], [-2], 'int32'],
    ['U16', [0xfe, 0xff], [65534], 'int32'],
    ['U32', [1, 0, 0, 0], [1], 'int32'],
    ['I64', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 5, 0, 0, 0, 0, 0, 0, 0], [-1, 5], 'int32'],
  ])('converts %s exactly', (dtype, values, expected, to) => {
    writeFileSync(
      path,
      file({ x: { dtype, shape: [expected.length], data_offsets: [0, values.length] } }, values),
    );
    const { x } = io.loadSafetensors(path);
    expect([x.dtype, x.toArray()]).toEqual([to, expected]);
  });

  it('reads what save wrote, names and all', () => {
    io.save(path, { layers: [{ weight: tensor([1, 2]) }], lr: 0.1 });
    expect(Object.keys(io.loadSafetensors(path))).toEqual(['layers.0.weight']);
  });

  it('refuses files that are not right', () => {
    const f32 = (shape: unknown, data_offsets: unknown, dtype: unknown = 'F32') => ({
      dtype,
      shape,
      data_offsets,
    });
    const cases: [Buffer, RegExp][] = [
      [Buffer.alloc(0), /0 bytes do not hold/],
      [Buffer.alloc(100), /length of the header/],
      [file('{}', [], 2n ** 63n), /length of the header/],
      [file('{}', [], 3n), /length of the header/],
      [file('[]'), /not a JSON object/],
      [file('{"a":}'), /not JSON/],
      [Buffer.concat([file('{}', [], 3n), Buffer.from([0xff])]), /not JSON/],
      [file({ a: 1 }), /expected an object/],
      [file({ __metadata__: { a: 1 } }), /expected a string/],
      [file({ a: f32([1], [0, 4], 'F8') }, [0, 0, 0, 0]), /dtype "F8" is not known/],
      [file({ a: f32([1], [0, 4], 'constructor') }, [0, 0, 0, 0]), /not known/],
      [file({ a: f32([1.5], [0, 4]) }, [0, 0, 0, 0]), /shape of whole numbers/],
      [file({ a: f32([-1, -1], [0, 4]) }, [0, 0, 0, 0]), /shape of whole numbers/],
      [file({ a: f32(Array(9).fill(1), [0, 4]) }, [0, 0, 0, 0]), /rank 9/],
      [file({ a: f32([1], [4, 0]) }, [0, 0, 0, 0]), /takes 4 bytes/],
      [file({ a: f32([1], [0]) }, [0, 0, 0, 0]), /data_offsets/],
      [file({ a: f32([2 ** 31, 2 ** 20], [0, 2 ** 53 - 1]) }), /takes/],
      [
        file({ a: f32([2 ** 40], [0, 2 ** 42]) }),
        /expected 4398046511104 bytes of values after the header, found 0/,
      ],
      [file({ a: f32([1], [0, 4]), b: f32([1], [0, 4]) }, [0, 0, 0, 0]), /expected to begin at 4, not at 0/],
      [file({ a: f32([1], [4, 8]) }, Array(8).fill(0)), /expected to begin at 0/],
      [file({ a: f32([2], [0, 2], 'BOOL') }, [1, 2]), /expected 0 or 1/],
      [file({ a: f32([1], [0, 4], 'U32') }, [0, 0, 0, 128]), /U32 value 2147483648 does not fit into int32/],
    ];
    for (const [bytes, message] of cases) {
      writeFileSync(path, bytes);
      expect(() => io.loadSafetensors(path), String(message)).toThrow(FormatError);
      expect(() => io.loadSafetensors(path)).toThrow(message);
      expect(() => io.loadSafetensors(path)).toThrow(path);
    }
  });

  it('refuses what is not a map of tensors', () => {
    const save = io.saveSafetensors as (path: string, x: unknown, o?: unknown) => void;
    expect(() => save(path, { a: 1 })).toThrow(/"a" must be a tensor/);
    expect(() => save(path, [tensor(1)])).toThrow(ArgumentError);
    expect(() => save(path, { __metadata__: tensor(1) })).toThrow(ArgumentError);
    expect(() => save(path, {}, { metadata: { a: 1 } })).toThrow(ArgumentError);
    expect(() => save(path, {}, { meta: {} })).toThrow(/meta/);
  });
});
