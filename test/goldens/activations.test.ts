import { compile, F, nn, type Tensor, tensor } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import {
  cotangent,
  expectClose,
  type GoldenNumber,
  type GoldenTensor,
  load,
  type Tolerance,
} from './golden.js';

interface ActivationCase {
  readonly module: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly input: GoldenTensor;
  readonly output: GoldenTensor;
  readonly grad: readonly GoldenNumber[];
}

const classes = nn as unknown as Record<string, new (options?: object) => nn.Module>;
const { cases } = load<ActivationCase>('activations');

// Where 1 + tanh or 1 + erf cancels, what is left is an absolute error of one rounding of x.
const tolerances: Record<'float32' | 'float64', Tolerance> = {
  float64: { relative: 2e-13, absolute: 2e-14 },
  float32: { relative: 2e-6, absolute: 2e-6 },
};

/** The function of the module, with the options as it takes them. */
const functions: Record<string, (x: Tensor, o: Readonly<Record<string, never>>) => Tensor> = {
  ReLU: F.relu,
  LeakyReLU: (x, o) => F.leakyRelu(x, o.negativeSlope),
  Sigmoid: F.sigmoid,
  Tanh: F.tanh,
  ELU: (x, o) => F.elu(x, o.alpha),
  GELU: F.gelu,
  SiLU: F.silu,
  Softplus: F.softplus,
  Softmax: (x) => F.softmax(x),
  LogSoftmax: (x) => F.logSoftmax(x),
};

describe.each(['float32', 'float64'] as const)('activations against PyTorch, %s', (dtype) => {
  for (const { module, options, input, output, grad } of cases) {
    const settings = Object.keys(options).length === 0 ? '' : ` ${JSON.stringify(options)}`;
    it(`${module}${settings}: value and gradient, as a module, as a function, and compiled`, () => {
      const make = (): nn.Module => new (classes[module] as (typeof classes)[string])(options);
      const f = functions[module];
      const ways: ((x: Tensor) => Tensor)[] = [(x) => make().forward(x)];
      if (f) ways.push((x) => f(x, options as never));
      for (const way of ways) {
        const step = (x: Tensor): [Tensor, Tensor] => {
          const leaf = x.detach().clone();
          leaf.requiresGrad = true;
          const y = way(leaf);
          y.backward(cotangent(y.shape, dtype));
          return [y.detach(), leaf.grad as Tensor];
        };
        const x = tensor(input.data.map(Number), { dtype });
        for (const run of [step, compile(step)]) {
          const [y, g] = run(x);
          expect(y.dtype).toBe(dtype);
          expectClose('value', y.data, output.data, tolerances[dtype]);
          expectClose('gradient', g.data, grad, tolerances[dtype]);
        }
      }
    });
  }
});
