import { nn, type Tensor } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import {
  cotangent,
  decode,
  expectClose,
  expectTensor,
  type GoldenNumber,
  type GoldenTensor,
  load,
  type Tolerance,
  title,
} from './golden.js';

interface Call {
  readonly input: GoldenTensor;
  readonly output: GoldenTensor;
  readonly grad: readonly GoldenNumber[];
  readonly parameterGrads: Readonly<Record<string, readonly GoldenNumber[]>>;
}

interface ModuleCase {
  readonly module: string;
  readonly args: readonly unknown[];
  readonly options: Readonly<Record<string, unknown>>;
  readonly dtype: 'float32' | 'float64';
  readonly parameters: Readonly<Record<string, GoldenTensor>>;
  /** Forward and backward, one after another. */
  readonly calls: readonly Call[];
  /** Running statistics after the calls. */
  readonly buffers: Readonly<Record<string, GoldenTensor>>;
  /** One more call in eval mode. */
  readonly eval?: Call;
}

/** Modules that have numbers but are not in the library yet. One that appears must be taken off this list. */
const notYet: readonly string[] = [];

/** PyTorch's names of the running statistics and ours. */
const bufferNames: Record<string, string> = {
  running_mean: 'runningMean',
  running_var: 'runningVar',
  num_batches_tracked: 'numBatchesTracked',
};

const tolerances: Record<ModuleCase['dtype'], Tolerance> = {
  float64: { relative: 1e-12, absolute: 1e-13 },
  float32: { relative: 5e-6, absolute: 1e-6 },
};

type ModuleClass = new (...args: unknown[]) => nn.Module;
const classes = nn as unknown as Record<string, ModuleClass | undefined>;
const { cases } = load<ModuleCase>('modules');

function check(module: nn.Module, call: Call, tolerance: Tolerance): void {
  module.zeroGrad();
  const x = decode(call.input, true);
  const y = module.forward(x) as Tensor;
  expectTensor('output', y, call.output, tolerance);
  y.backward(cotangent(y.shape, y.dtype));
  expectClose('gradient of the input', x.grad?.data ?? [], call.grad, tolerance);
  const parameters = new Map(module.namedParameters());
  expect([...parameters.keys()].sort()).toEqual(Object.keys(call.parameterGrads).sort());
  for (const [name, g] of Object.entries(call.parameterGrads)) {
    expectClose(`gradient of ${name}`, parameters.get(name)?.grad?.data ?? [], g, tolerance);
  }
}

describe('modules against PyTorch', () => {
  it('lists every missing module, and no other', () => {
    const names = [...new Set(cases.map((c) => c.module))];
    expect(names.filter((name) => !classes[name]).sort()).toEqual([...notYet].sort());
  });

  for (const c of cases) {
    if (notYet.includes(c.module)) continue;
    const inputs = title(c.calls.map((call) => call.input));
    it(`${c.module}(${JSON.stringify(c.args).slice(1, -1)}) ${JSON.stringify(c.options)} ${inputs}`, () => {
      const hasDtype = c.module.endsWith('Norm') || c.module.startsWith('BatchNorm');
      const options = hasDtype ? [{ ...c.options, dtype: c.dtype }] : [];
      const module = new (classes[c.module] as ModuleClass)(...c.args, ...options);
      for (const [name, p] of module.namedParameters()) p.copy_(decode(c.parameters[name] as GoldenTensor));
      if (c.module === 'Dropout') module.eval();
      const tolerance = tolerances[c.dtype];
      for (const call of c.calls) check(module, call, tolerance);
      const state = module.stateDict() as Record<string, Tensor>;
      for (const [name, b] of Object.entries(c.buffers)) {
        expectClose(name, state[bufferNames[name] as string]?.data ?? [], b.data, tolerance);
      }
      if (c.eval) {
        module.eval();
        check(module, c.eval, tolerance);
      }
    });
  }
});
