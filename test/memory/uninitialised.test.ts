import { describe, expect, test } from 'vitest';
import { noGrad } from '../../src/autograd/mode.js';
import { byteWidth, type DType, isFloat } from '../../src/dtype.js';
import { allPrimitives, apply } from '../../src/ops/primitive.js';
import { plainMemory, release, Storage } from '../../src/program/storage.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { type AnySample, describeSample, inputsOf, type Row } from '../support/registry.js';
import '../../src/index.js';

/** Puts memory full of one byte (255 gives NaN as a float) where the next allocations of this size are taken from. */
function leave(byte: number, dtype: DType, length: number): void {
  const memories = Array.from({ length: 4 }, () => plainMemory(dtype, length));
  for (const memory of memories) {
    const { array } = memory;
    new Uint8Array(array.buffer, array.byteOffset, array.byteLength).fill(byte);
    const storage = new Storage(dtype, length, memory);
    storage.poolable = true;
    release(storage);
  }
}

/** The bytes of a result in memory that was full of one byte before. */
function bytesOf(row: Row, inputs: readonly Tensor[], sample: AnySample, before: number): number[] {
  const sizes = [...inputs, row.infer(inputs, sample.attrs)].map((x) => x.shape.reduce((a, b) => a * b, 1));
  for (const dtype of ['float32', 'float64', 'int32', 'bool'] as const) {
    for (const n of new Set(sizes)) leave(before, dtype, n);
  }
  const y = noGrad(() => apply(row, inputs, sample.attrs)).contiguous();
  const { buffer, byteOffset } = y.data;
  return [...new Uint8Array(buffer, byteOffset, y.size * byteWidth(y.dtype))];
}

describe('results do not depend on what was in their memory', () => {
  for (const row of allPrimitives().values() as Iterable<Row>) {
    test(row.name, () => {
      for (const sample of row.samples as readonly AnySample[]) {
        for (const dtype of ['float32', 'float64'] as const) {
          const inputs = inputsOf(sample, dtype);
          if (inputs.length > 0 && !inputs.some((x) => isFloat(x.dtype)) && dtype === 'float64') continue;
          const zeroed = bytesOf(row, inputs, sample, 0);
          expect(bytesOf(row, inputs, sample, 255), describeSample(row, sample)).toEqual(zeroed);
        }
      }
    });
  }

  test('what was left is what the next allocation gets', () => {
    leave(255, 'float32', 12_345);
    expect(plainMemory('float32', 12_345).array[7]).toBeNaN();
  });
});
