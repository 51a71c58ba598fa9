import { compile, F, nn, noGrad, optim, type Tensor, tensor } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import {
  expectClose,
  expectTensor,
  type GoldenNumber,
  type GoldenTensor,
  load,
  type Tolerance,
} from './golden.js';

interface TrainingCase {
  readonly model: 'relu' | 'batchNorm' | 'layerNorm';
  readonly optimizer: string;
  readonly dtype: 'float32' | 'float64';
  readonly options: Readonly<Record<string, unknown>>;
  readonly losses: readonly GoldenNumber[];
  readonly parameters: readonly GoldenTensor[];
  /** In eval mode, for the first three rows. */
  readonly evalOutput: GoldenTensor;
}

interface Header {
  readonly sizes: readonly number[];
  readonly rows: number;
  readonly batch: number;
  readonly steps: number;
  readonly seed: number;
}

/** Models and optimizers whose parts are not in the library yet. Parts that appear must be taken off this list. */
const notYet: readonly string[] = [];

const { cases, sizes, rows, batch, steps, seed } = load<TrainingCase, Header>('training');

/** Rounding errors grow over fifty steps. */
const tolerances: Record<TrainingCase['dtype'], Tolerance> = {
  float64: { relative: 1e-11, absolute: 1e-12 },
  float32: { relative: 5e-5, absolute: 5e-6 },
};

/** The Lehmer generator of README.md: values in [-1, 1) with 24 bits. */
function minstd(state: number): () => number {
  return () => {
    state = (state * 16807) % 2147483647;
    return (2 * Math.floor(state / 128)) / 2 ** 24 - 1;
  };
}

interface Task {
  readonly x: Float64Array;
  readonly labels: Int32Array;
  readonly model: nn.Sequential;
}

type ModuleClass = new (...args: unknown[]) => nn.Module;
const modules = nn as unknown as Record<string, ModuleClass | undefined>;
const make = (name: string, ...args: unknown[]): nn.Module => new (modules[name] as ModuleClass)(...args);

function task(c: TrainingCase): Task {
  const next = minstd(seed);
  const fill = (n: number, scale = 1): Float64Array => Float64Array.from({ length: n }, () => next() * scale);
  const [nIn = 0] = sizes;
  const x = fill(rows * nIn);
  const labels = Int32Array.from({ length: rows }, (_, r) => {
    const sums = Array.from({ length: 5 }, (_, k) =>
      x.subarray(r * nIn + 4 * k, r * nIn + 4 * k + 4).reduce((a, b) => a + b, 0),
    );
    return sums.indexOf(Math.max(...sums));
  });
  const layers: nn.Module[] = [];
  const { dtype } = c;
  for (let n = 0; n + 1 < sizes.length; n++) {
    const [a, b] = [sizes[n] as number, sizes[n + 1] as number];
    const last = n === sizes.length - 2;
    const bias = last || c.model !== 'batchNorm';
    const linear = new nn.Linear(a, b, { bias, dtype });
    linear.weight.copy_(tensor(fill(a * b, 0.5), { dtype: 'float64', shape: [a, b] }).to(dtype));
    if (bias) linear.bias?.copy_(tensor(fill(b, 0.25), { dtype: 'float64' }).to(dtype));
    layers.push(linear);
    if (last) continue;
    if (c.model === 'batchNorm') layers.push(make('BatchNorm1d', b, { dtype }));
    if (c.model === 'layerNorm') layers.push(make('LayerNorm', b, { dtype }));
    layers.push(make(c.model === 'layerNorm' ? 'GELU' : 'ReLU'));
  }
  return { x, labels, model: new nn.Sequential(...layers) };
}

interface Optimizer {
  zeroGrad(): void;
  step(): unknown;
}
type OptimizerClass = new (params: unknown, options: unknown) => Optimizer;
const optimizers = optim as unknown as Record<string, OptimizerClass | undefined>;

const parts = { relu: ['ReLU'], batchNorm: ['BatchNorm1d', 'ReLU'], layerNorm: ['LayerNorm', 'GELU'] };

function missing(c: TrainingCase): boolean {
  return !optimizers[c.optimizer] || parts[c.model].some((name) => !modules[name]);
}

describe('fifty steps of training against PyTorch', () => {
  it('lists every missing case, and no other', () => {
    const names = cases.filter(missing).map((c) => `${c.model} ${c.optimizer}`);
    expect([...new Set(names)].sort()).toEqual([...notYet].sort());
  });

  for (const c of cases) {
    if (notYet.includes(`${c.model} ${c.optimizer}`)) continue;
    for (const way of ['eager', 'compiled'] as const) {
      it(`${c.model} ${c.optimizer} ${c.dtype} ${way}`, () => {
        const { x, labels, model } = task(c);
        const Optimizer = optimizers[c.optimizer] as OptimizerClass;
        const optimizer = new Optimizer(model.parameters(), c.options);
        const eager = (inputs: Tensor, targets: Tensor): Tensor => {
          optimizer.zeroGrad();
          const loss = F.crossEntropy(model.forward(inputs), targets);
          loss.backward();
          optimizer.step();
          return loss;
        };
        const step = way === 'compiled' ? compile(eager) : eager;
        const nIn = sizes[0] as number;
        const input = (from: number, count: number): Tensor =>
          tensor(x.slice(from * nIn, (from + count) * nIn), { dtype: 'float64', shape: [count, nIn] }).to(
            c.dtype,
          );

        const losses: number[] = [];
        for (let k = 0; k < steps; k++) {
          const at = (k * batch) % rows;
          losses.push(
            step(input(at, batch), tensor(labels.slice(at, at + batch), { dtype: 'int32' })).item(),
          );
        }
        const tolerance = tolerances[c.dtype];
        expectClose('losses', losses, c.losses, tolerance);
        for (const [i, p] of model.parameters().entries()) {
          expectTensor(`parameter ${i}`, p, c.parameters[i] as GoldenTensor, tolerance);
        }
        model.eval();
        expectTensor(
          'output',
          noGrad(() => model.forward(input(0, 3))),
          c.evalOutput,
          tolerance,
        );
      });
    }
  }
});
