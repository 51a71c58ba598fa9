import { compile, type DType, optim, type Tensor, tensor } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { expectClose, type GoldenNumber, load, type Tolerance } from './golden.js';

interface OptimizerCase {
  readonly optimizer: string;
  readonly dtype: 'float32' | 'float64';
  readonly options: Readonly<Record<string, unknown>>;
  /** Options of each parameter's own group. */
  readonly groups?: readonly Readonly<Record<string, unknown>>[];
  /** Learning rates set before a step. */
  readonly lrChanges?: Readonly<Record<string, number>>;
  /** Values of every parameter after so many steps. */
  readonly after: Readonly<Record<string, readonly (readonly GoldenNumber[])[]>>;
}

/** Optimizers that have numbers but are not in the library yet. One that appears must be taken off this list. */
const notYet: readonly string[] = [];

interface Optimizer {
  lr: number;
  step(): unknown;
  zeroGrad(): void;
}
type OptimizerClass = new (params: unknown, options: unknown) => Optimizer;

const classes = optim as unknown as Record<string, OptimizerClass | undefined>;
interface Header {
  readonly shapes: readonly (readonly number[])[];
}
const first = load<OptimizerCase, Header>('optimizers');
const { shapes } = first;
const cases = [...first.cases, ...load<OptimizerCase, Header>('optimizerOptions').cases];

/** Relative to the largest value that a parameter had on its way: what that was rounded to stays when it shrinks again. */
const tolerances: Record<OptimizerCase['dtype'], Tolerance> = {
  float64: { relative: 5e-14, absolute: 1e-16 },
  float32: { relative: 1.5e-6, absolute: 2e-7 },
};

/** One value per element of parameter k, by the formulas in the header of the file. */
function filled(k: number, dtype: DType, value: (i: number) => number): Tensor {
  const shape = shapes[k] as readonly number[];
  const n = shape.reduce((a, b) => a * b, 1);
  return tensor(
    Float64Array.from({ length: n }, (_, i) => value(i)),
    { dtype: 'float64', shape: [...shape] },
  ).to(dtype);
}

function initial(k: number, dtype: DType): Tensor {
  const p = filled(k, dtype, (i) => (((5 * i + 3 * k) % 17) - 8) / 16 + 1 / 32);
  p.requiresGrad = true;
  return p;
}

const gradient = (k: number, step: number, dtype: DType): Tensor =>
  filled(k, dtype, (i) => ((((7 * i + 5 * step + 3 * k) % 13) - 6) / 8) * 2 ** -(step % 4));

const names = [...new Set(cases.map((c) => c.optimizer))];

describe('optimizers against PyTorch', () => {
  it('lists every missing optimizer, and no other', () => {
    expect(names.filter((name) => !classes[name]).sort()).toEqual([...notYet].sort());
  });

  for (const c of cases) {
    if (notYet.includes(c.optimizer)) continue;
    const what = JSON.stringify(c.options) + (c.groups ? ` groups ${JSON.stringify(c.groups)}` : '');
    const changes = c.lrChanges ? ` lr set to ${JSON.stringify(c.lrChanges)}` : '';
    const run = (compiled: boolean): void => {
      const params = shapes.map((_, k) => initial(k, c.dtype));
      const Optimizer = classes[c.optimizer] as OptimizerClass;
      const groups = c.groups?.map((g, k) => ({ params: [params[k]], ...g }));
      const optimizer = new Optimizer(groups ?? params, c.options);
      const eager = (...gradients: readonly Tensor[]): void => {
        for (const [k, p] of params.entries()) p.grad = gradients[k] as Tensor;
        optimizer.step();
      };
      // The gradient of sum(p * g) is g.
      const step = compiled
        ? compile((...gradients: readonly Tensor[]) => {
            optimizer.zeroGrad();
            for (const [k, p] of params.entries())
              p.mul(gradients[k] as Tensor)
                .sum()
                .backward();
            optimizer.step();
          })
        : eager;
      const { relative, absolute } = tolerances[c.dtype];
      const largest = params.map((p) => Float64Array.from(p.data, Math.abs));
      for (let t = 1; t <= 30; t++) {
        const lr = c.lrChanges?.[t];
        if (lr !== undefined) optimizer.lr = lr;
        step(...params.map((_, k) => gradient(k, t, c.dtype)));
        for (const [k, sizes] of largest.entries())
          for (const [i, x] of (params[k] as Tensor).data.entries())
            sizes[i] = Math.max(sizes[i] as number, Math.abs(x));
        for (const [k, values] of (c.after[t] ?? []).entries()) {
          const { data } = params[k] as Tensor;
          expect(data.length).toBe(values.length);
          for (const [i, value] of values.entries()) {
            const most = relative * ((largest[k] as Float64Array)[i] as number);
            expectClose(`element ${i} of parameter ${k} after ${t} steps`, data.slice(i, i + 1), [value], {
              relative,
              absolute: Math.max(absolute, most),
            });
          }
        }
      }
    };
    it(`${c.optimizer} ${c.dtype} ${what}${changes}`, () => run(false));
    it(`${c.optimizer} ${c.dtype} ${what}${changes}, compiled`, () => run(true));
  }
});
