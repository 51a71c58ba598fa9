import { describe, expect, test } from 'vitest';
import '../../src/index.js';
import { grad } from '../../src/autograd/functional.js';
import { allKernels } from '../../src/backend/backend.js';
import { backend, setBackend } from '../../src/backend/load.js';
import * as ops from '../../src/ops/index.js';
import {
  allPrimitives,
  apply,
  nonDifferentiable,
  type Primitive,
  primitive,
} from '../../src/ops/primitive.js';
import { emitMap, fresh } from '../../src/program/calls.js';
import type { View } from '../../src/program/view.js';
import { tensor } from '../../src/tensor/tensor.js';
import {
  checkGradient,
  checkParity,
  checkSecondGradient,
  differentiable,
  inputsOf,
  isas,
  type Row,
} from '../support/registry.js';

const rows = [...allPrimitives().values()].filter((row) => row.vjp !== nonDifferentiable);

describe('float64 derivatives against central differences', () => {
  test.each(rows.map((row) => [row.name, row] as const))('%s', (_, row) => {
    row.samples.forEach((sample, k) => {
      if (!differentiable(row, sample)) return;
      checkGradient(row, sample, k + 1);
      checkSecondGradient(row, sample, k + 1);
    });
  });

  test('nearly every row has one', () => {
    const checked = rows
      .filter((row) => row.samples.some((s) => differentiable(row, s)))
      .map((row) => row.name);
    const without = [...allPrimitives().keys()].filter((name) => !checked.includes(name)).sort();
    expect(without).toEqual(
      [
        ...['argmax', 'argmin', 'countLabels', 'eq', 'ne', 'lt', 'le', 'gt', 'ge', 'isNan', 'isFinite'],
        ...['logicalAnd', 'logicalOr', 'logicalNot', 'uniform', 'normal', 'bernoulli', 'randint', 'full'],
      ].sort(),
    );
  });

  test('float32 gradients are the float64 ones, rounded', () => {
    for (const row of rows) {
      row.samples.forEach((sample, k) => {
        if (!differentiable(row, sample) || row.name === 'to') return;
        const of = (dtype: 'float32' | 'float64') => {
          // The same values, so that both differentiate at the same point.
          const xs = inputsOf(sample, 'float32', k + 1).map((t) => (t.dtype === 'float32' ? t.to(dtype) : t));
          for (const t of xs) if (t.dtype === dtype) t.requiresGrad = true;
          const y = apply(row, xs, sample.attrs);
          const v = ops.full(y.shape, 0.5, dtype);
          const gs = grad(
            [y],
            xs.filter((t) => t.dtype === dtype),
            { gradOutputs: [v], allowUnused: true },
          );
          return gs.flatMap((g) => (g === null ? [] : [...g.data]));
        };
        const [single, double] = [of('float32'), of('float64')];
        expect(single.length).toBe(double.length);
        single.forEach((x, i) => {
          expect(Math.abs(x - double[i]), `${row.name} sample ${k}`).toBeLessThan(
            2e-5 * (1 + Math.abs(double[i])),
          );
        });
      });
    }
  });
});

// The checks above are worth something only if they fail for rows that are wrong.
describe('the checks notice', () => {
  const exp = allKernels().get('exp')!;
  const base: Pick<Primitive<number[]>, 'infer' | 'run' | 'samples' | 'saves'> = {
    infer: ([x]) => x,
    run([x], out) {
      const y = fresh(out.dtype, out.shape);
      emitMap(exp, y, [x as View]);
      return y;
    },
    saves: [0, 'output'],
    samples: [{ inputs: [{ shape: [5] }], attrs: [] }],
  };

  test('a right derivative, which passes', () => {
    const row: Row = primitive({ ...base, name: 'test: exp', vjp: (g, ctx) => [ops.mul(g, ctx.output())] });
    checkGradient(row, row.samples[0]);
    checkSecondGradient(row, row.samples[0]);
  });

  test('a wrong derivative', () => {
    const row: Row = primitive({
      ...base,
      name: 'test: wrong',
      vjp: (g, ctx) => [ops.mul(g, ops.mul(ctx.output(), 1.0001))],
    });
    expect(() => checkGradient(row, row.samples[0])).toThrow(/gradcheck/);
  });

  test('a derivative that is right and cannot be differentiated', () => {
    const row: Row = primitive({
      ...base,
      name: 'test: constant',
      vjp: (g, ctx) => [ops.mul(g, ctx.output().detach())],
    });
    checkGradient(row, row.samples[0]);
    expect(() => checkSecondGradient(row, row.samples[0])).toThrow(/gradcheck/);
  });

  test('a derivative of another shape', () => {
    const row: Row = primitive({ ...base, name: 'test: shape', vjp: (g) => [ops.sum(g)] });
    expect(() => checkGradient(row, row.samples[0])).toThrow(/derivative of test: shape gave float64 \[\]/);
  });

  test('a derivative that reads what it did not save', () => {
    const row: Row = primitive({
      ...base,
      saves: [],
      name: 'test: unsaved',
      vjp: (g, ctx) => [ops.mul(g, ctx.output())],
    });
    expect(() => checkGradient(row, row.samples[0])).toThrow(/test: unsaved did not save its result/);
  });

  test.skipIf(isas.length === 0)('backends that differ', () => {
    const sin = allKernels().get('sin')!;
    const row: Row = primitive({
      ...base,
      name: 'test: differs',
      run([x], out) {
        const y = fresh(out.dtype, out.shape);
        emitMap(backend().name === 'js' ? exp : sin, y, [x as View]);
        return y;
      },
      vjp: nonDifferentiable,
    });
    const x = tensor([0.5, 1], { dtype: 'float64' });
    expect(() => checkParity(row, [x], [], isas[0], 'sin against exp')).toThrow(
      /sin against exp on .*element 0/,
    );
    expect(backend().name).toBe('native');
    void setBackend;
  });
});
