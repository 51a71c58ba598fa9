import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { gzipSync } from 'node:zlib';
import { ArgumentError, DTypeError, data, FormatError } from 'simdgrad';
import { afterAll, describe, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'simdgrad-idx-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A file in the idx format, written byte by byte after the format's description. */
function file(code: number, dims: number[], values: number[]): Uint8Array {
  const header = [0, 0, code, dims.length];
  for (const d of dims) header.push((d >>> 24) & 255, (d >>> 16) & 255, (d >>> 8) & 255, d & 255);
  return Uint8Array.from([...header, ...values]);
}

const cube = file(0x08, [2, 1, 3], [0, 1, 127, 128, 254, 255]);

function problem(bytes: Uint8Array): string {
  try {
    data.idx(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(FormatError);
    return (error as Error).message;
  }
  throw new Error('the file was accepted');
}

describe('idx', () => {
  it('reads unsigned bytes of any rank as int32', () => {
    const t = data.idx(cube);
    expect([t.dtype, t.shape]).toEqual(['int32', [2, 1, 3]]);
    expect(t.toArray()).toEqual([[[0, 1, 127]], [[128, 254, 255]]]);
    expect(data.idx(file(0x08, [], [7])).item()).toBe(7);
  });

  it.each([
    ['signed byte', 0x09, [0x00, 0x7f, 0x80, 0xff], [0, 127, -128, -1], 'int32'],
    ['short', 0x0b, [0x00, 0x01, 0x7f, 0xff, 0x80, 0x00, 0xff, 0xfe], [1, 32767, -32768, -2], 'int32'],
    ['int', 0x0c, [0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00], [2147483647, -2147483648], 'int32'],
    ['float', 0x0d, [0x3f, 0x80, 0x00, 0x00, 0xc0, 0x20, 0x00, 0x00], [1, -2.5], 'float32'],
    ['double', 0x0e, [0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xc0, 0x04, 0, 0, 0, 0, 0, 0], [1, -2.5], 'float64'],
  ])('reads big-endian values of type %s', (_, code, bytes, values, dtype) => {
    const t = data.idx(file(code, [values.length], bytes));
    expect(t.dtype).toBe(dtype);
    expect(t.toArray()).toEqual(values);
  });

  it('converts to the dtype asked for', () => {
    expect(data.idx(cube, { dtype: 'float32' }).flatten().toArray()).toEqual([0, 1, 127, 128, 254, 255]);
    const t = data.idx(cube, { dtype: 'bool' });
    expect(t.flatten().toArray()).toEqual([false, true, true, true, true, true]);
    expect(() => data.idx(cube, { dtype: 'int8' as 'int32' })).toThrow(DTypeError);
    expect(() => data.idx(cube, { type: 'int32' } as object)).toThrow(/dtype/);
  });

  it('reads files by path and URL, also gzipped', () => {
    const plain = join(folder, 'cube');
    const packed = join(folder, 'cube.gz');
    writeFileSync(plain, cube);
    writeFileSync(packed, gzipSync(cube));
    for (const source of [plain, packed, pathToFileURL(plain), gzipSync(cube)]) {
      expect(data.idx(source).flatten().toArray()).toEqual([0, 1, 127, 128, 254, 255]);
    }
    expect(() => data.idx(join(folder, 'missing'))).toThrow(/ENOENT/);
    expect(() => data.idx(42 as unknown as string)).toThrow(ArgumentError);
  });

  it('reads empty tensors', () => {
    expect(data.idx(file(0x0e, [0, 5], [])).shape).toEqual([0, 5]);
  });

  it('says where a wrong file is wrong', () => {
    expect(problem(new Uint8Array())).toMatch(/offset 0 expected the 4 bytes .* found the end after 0/);
    expect(problem(cube.with(0, 1))).toMatch(/offset 0 expected a zero byte.*found 0x01/);
    expect(problem(cube.with(1, 9))).toMatch(/offset 1 expected a zero byte.*found 0x09/);
    expect(problem(cube.with(2, 0x0a))).toMatch(/offset 2 expected an idx type code .*found 0x0a/);
    expect(problem(cube.with(3, 9))).toMatch(/offset 3 expected at most 8 dimensions, found 9/);
    expect(problem(cube.subarray(0, 10))).toMatch(
      /offset 4 expected 3 dimensions of 4 bytes each, found the end at 10/,
    );
  });

  it('refuses any other length, longer or shorter', () => {
    for (let n = 0; n < cube.length; n++) problem(cube.subarray(0, n));
    expect(problem(cube.subarray(0, cube.length - 1))).toMatch(
      /offset 21 expected 6 bytes .*found a length of 21/,
    );
    expect(problem(Uint8Array.from([...cube, 0]))).toMatch(
      /offset 22 expected .* a length of 22, found a length of 23/,
    );
    // Dimensions whose product is far beyond any memory: refused before anything is allocated.
    problem(file(0x0e, [0xffffffff, 0xffffffff, 0xffffffff], []));
  });

  it('refuses damaged gzip content and names the file', () => {
    const packed = gzipSync(cube);
    expect(problem(packed.subarray(0, packed.length - 9))).toMatch(/cannot be unpacked/);
    const path = join(folder, 'broken');
    writeFileSync(path, cube.with(2, 0));
    expect(() => data.idx(path)).toThrow(path);
  });
});
