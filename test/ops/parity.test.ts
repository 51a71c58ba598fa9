import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { noGrad } from '../../src/autograd/mode.js';
import { allKernels } from '../../src/backend/backend.js';
import { backend } from '../../src/backend/load.js';
import '../../src/index.js';
import { type DType, isFloat } from '../../src/dtype.js';
import { allPrimitives, apply } from '../../src/ops/primitive.js';
import { tensor } from '../../src/tensor/tensor.js';
import { expectClose, randomArray } from '../support/compare.js';
import {
  checkParity,
  describeSample,
  inputsOf,
  isas,
  layouts,
  onBackend,
  repeated,
  toleranceOf,
  withSpecials,
} from '../support/registry.js';

// What every row of the table of operations must satisfy, with no code of its own.

const rows = [...allPrimitives().values()];
const floats = ['float32', 'float64'] as const;

test('the table holds the operations', () => {
  expect(rows.length).toBeGreaterThan(60);
  for (const row of rows) {
    if (!['uniform', 'normal', 'bernoulli', 'randint'].includes(row.name)) {
      expect(row.samples.length, `${row.name} has no samples`).toBeGreaterThan(0);
    }
  }
});

/** Names of the rows of the native table. */
const table = new Set(
  [
    ...readFileSync(new URL('../../native/kernels.def', import.meta.url), 'utf8').matchAll(
      /^KERNEL\((\w+),/gm,
    ),
  ].map(([, name]) => name),
);

describe.each([...isas])('the %s kernels agree with JavaScript', (isa) => {
  test('every row of native/kernels.def is native for both float types', () => {
    onBackend(isa, () => {
      const missing = [...allKernels().values()].filter((k) => {
        if (!table.has(k.name)) return false;
        const types = k.name === 'randint' ? [2] : k.name.startsWith('logical') ? [3] : [0, 1];
        return !types.every((type) => backend().has(k, type));
      });
      expect(missing.map((k) => k.name)).toEqual([]);
    });
  });

  test.each(rows.map((row) => [row.name, row] as const))('%s', (_, row) => {
    for (const dtype of floats) {
      row.samples.forEach((sample, k) => {
        const what = `${describeSample(row, sample)} ${dtype}`;
        const inputs = inputsOf(sample, dtype, k + 1);
        checkParity(row, inputs, sample.attrs, isa, what);
        for (let seed = 1; seed <= 3; seed++) {
          const odd = inputs.map((x, i) => withSpecials(row, x, seed * 100 + i));
          checkParity(row, odd, sample.attrs, isa, `${what} with special values`);
        }
        for (const [name, layout] of Object.entries(layouts)) {
          checkParity(row, inputs.map(layout), sample.attrs, isa, `${what} ${name}`);
        }
      });
    }
  });

  test('elementwise rows at sizes around the vector length and at the highest rank', () => {
    for (const row of rows) {
      const sample = row.samples[0];
      if (!sample || sample.inputs.length === 0 || !Array.isArray(sample.attrs)) continue;
      if (!sample.inputs.every((x) => x.shape.join() === '7')) continue;
      for (const dtype of floats) {
        for (const shape of [
          [1],
          [2],
          [3],
          [15],
          [16],
          [17],
          [31],
          [33],
          [64],
          [259],
          [1, 1, 1, 1, 1, 1, 1, 1],
          [2, 1, 2, 1, 3, 1, 2, 2],
          [0],
          [2, 0, 3],
        ]) {
          const sized = { ...sample, inputs: sample.inputs.map((x) => ({ ...x, shape })) };
          const inputs = inputsOf(sized, dtype, shape.length + shape[0]);
          checkParity(row, inputs, sample.attrs, isa, `${row.name} ${dtype} [${shape}]`);
          checkParity(
            row,
            inputs.map(layouts.transposed),
            sample.attrs,
            isa,
            `${row.name} ${dtype} [${shape}] transposed`,
          );
          checkParity(
            row,
            inputs.map(layouts.reversed),
            sample.attrs,
            isa,
            `${row.name} ${dtype} [${shape}] reversed`,
          );
        }
      }
    }
  });

  test('whole numbers and truth values', () => {
    const numeric = [
      'neg',
      'abs',
      'sign',
      'relu',
      'add',
      'sub',
      'mul',
      'maximum',
      'minimum',
      'clamp',
      'sum',
      'max',
      'min',
    ];
    const any = [
      'eq',
      'ne',
      'lt',
      'le',
      'gt',
      'ge',
      'where',
      'argmax',
      'argmin',
      'concat',
      'gather',
      'indexSelect',
      'clone',
    ];
    for (const name of [...numeric, ...any]) {
      const row = allPrimitives().get(name)!;
      const dtypes: DType[] = any.includes(name) && !name.startsWith('arg') ? ['int32', 'bool'] : ['int32'];
      for (const dtype of dtypes) {
        row.samples.forEach((sample, k) => {
          const attrs =
            name === 'sum' ? { ...sample.attrs, scale: 1 } : name === 'clamp' ? [-1, 1] : sample.attrs;
          const inputs = sample.inputs.map((x, i) => {
            const n = x.shape.reduce((a, b) => a * b, 1);
            const range = x.dtype === 'int32' ? { low: x.low, high: x.high } : { low: -5, high: 6 };
            return tensor(randomArray(x.dtype ?? dtype, n, 31 * k + i, range), { shape: [...x.shape] });
          });
          checkParity(row, inputs, attrs, isa, `${name} ${dtype} sample ${k}`);
          checkParity(row, inputs.map(layouts.reversed), attrs, isa, `${name} ${dtype} sample ${k} reversed`);
        });
      }
    }
    // Overflow wraps around on both.
    const big = tensor([2 ** 31 - 1, -(2 ** 31), 123456789], { dtype: 'int32' });
    for (const name of ['add', 'sub', 'mul']) {
      checkParity(
        allPrimitives().get(name)!,
        [big, layouts.reversed(big)],
        [],
        isa,
        `${name} int32 overflow`,
      );
      checkParity(allPrimitives().get(name)!, [big, big], [], isa, `${name} int32 overflow`);
    }
    for (const name of ['neg', 'abs', 'sign'])
      checkParity(allPrimitives().get(name)!, [big], [], isa, `${name} int32 overflow`);
  });

  test('conversions of every dtype to every other', () => {
    const odd = [
      0,
      -0,
      0.5,
      -0.5,
      1.9,
      -1.9,
      255,
      256,
      -1,
      1e10,
      -1e10,
      2147483647,
      2147483648,
      -2147483649,
      NaN,
      Infinity,
      -Infinity,
      1e-310,
      1e300,
      16777217,
    ];
    const row = allPrimitives().get('to')!;
    for (const from of ['float32', 'float64', 'int32', 'bool'] as const) {
      for (const to of ['float32', 'float64', 'int32', 'bool'] as const) {
        const x = tensor(odd, { dtype: from });
        checkParity(row, [x], to, isa, `${from} to ${to}`);
        checkParity(row, [layouts.strided(x)], to, isa, `${from} to ${to}, strided`);
      }
    }
  });
});

describe('memory that is not contiguous gives what contiguous memory gives', () => {
  test.each(rows.map((row) => [row.name, row] as const))('%s', (_, row) => {
    for (const dtype of floats) {
      row.samples.forEach((sample, k) => {
        const inputs = inputsOf(sample, dtype, k + 1);
        const options = toleranceOf(row.name, dtype);
        const run = (xs: typeof inputs) => noGrad(() => apply(row, xs, sample.attrs)).clone().data;
        const expected = run(inputs);
        for (const [name, layout] of Object.entries(layouts)) {
          const moved = inputs.map(layout);
          moved.forEach((t, i) => expect(t.toArray()).toEqual(inputs[i].toArray()));
          expectClose(run(moved), expected, { ...options, what: `${describeSample(row, sample)} ${name}` });
        }
        const pairs = inputs.map((t) => (isFloat(t.dtype) ? repeated(t) : { plain: t, broadcast: t }));
        expectClose(run(pairs.map((p) => p.broadcast)), run(pairs.map((p) => p.plain)), {
          ...options,
          what: `${describeSample(row, sample)} with stride 0`,
        });
      });
    }
  });
});
