// What is measured: each case makes a call for the backend that is current when it is made.
import { compile, F, Generator, nn, noGrad, optim, randint, randn, type Tensor } from 'simdgrad';

export interface Case {
  readonly group: string;
  readonly name: string;
  /** Work of one call in units of `unit` per second: flops for GFLOP/s, bytes for GB/s, 1 for calls. */
  readonly work: number;
  readonly unit: 'GFLOP/s' | 'GB/s' | 'steps/s';
  /** Too slow on the JS backend for a quick run. */
  readonly heavy: boolean;
  readonly make: () => () => void;
}

const generator = new Generator(1);
const random = (...shape: number[]): Tensor => randn(shape, { generator });

/** M, N, K of the products: square ones, and those of the nets below. */
const products: [number, number, number, string[]][] = [
  [64, 64, 64, ['NN']],
  [128, 128, 128, ['NN']],
  [256, 256, 256, ['NN', 'NT', 'TN']],
  [512, 512, 512, ['NN', 'NT', 'TN']],
  [1024, 1024, 1024, ['NN']],
  [128, 256, 784, ['NN', 'NT', 'TN']],
  [128, 10, 256, ['NN']],
  [784, 256, 128, ['TN']],
  [128, 784, 256, ['NT']],
  [1, 1024, 1024, ['NN', 'NT']],
  [8, 1024, 1024, ['NN']],
];

/** One product through the public API; `form` says which operand is a transposed view: NN, NT, TN, TT. */
export function product(m: number, n: number, k: number, form: string): () => void {
  const a = form[0] === 'T' ? random(k, m).T : random(m, k);
  const b = form[1] === 'T' ? random(n, k).T : random(k, n);
  return () => noGrad(() => a.matmul(b).dispose());
}

function productCases(): Case[] {
  return products.flatMap(([m, n, k, forms]) =>
    forms.map((form) => ({
      group: 'matrix product',
      name: `${m}x${n}x${k} ${form}`,
      work: 2 * m * n * k,
      unit: 'GFLOP/s' as const,
      heavy: m * n * k > 2 ** 28,
      make: () => product(m, n, k, form),
    })),
  );
}

function elementwiseCases(): Case[] {
  const bytes = (n: number, arrays: number) => 4 * n * arrays;
  const cases: Case[] = [];
  for (const n of [1000, 100_000, 1_000_000]) {
    const add = (name: string, arrays: number, make: () => () => Tensor): void => {
      cases.push({
        group: 'elementwise and reductions',
        name: `${name} ${n}`,
        work: bytes(n, arrays),
        unit: 'GB/s',
        heavy: n > 1e5,
        make: () => {
          const f = make();
          return () => noGrad(() => f().dispose());
        },
      });
    };
    const x = () => random(n);
    add('add', 3, () => {
      const [a, b] = [x(), x()];
      return () => a.add(b);
    });
    add('row + bias', 2, () => {
      const [a, b] = [random(n / 100, 100), random(100)];
      return () => a.add(b);
    });
    add('relu', 2, () => {
      const a = x();
      return () => a.relu();
    });
    add('exp', 2, () => {
      const a = x();
      return () => a.exp();
    });
    add('tanh', 2, () => {
      const a = x();
      return () => a.tanh();
    });
    add('sum', 1, () => {
      const a = x();
      return () => a.sum();
    });
    add('sum of columns', 1, () => {
      const a = random(n / 100, 100);
      return () => a.sum(0);
    });
    add('softmax of rows of 10', 2, () => {
      const a = random(n / 10, 10);
      return () => a.softmax();
    });
  }
  return cases;
}

/** Reads and writes of each optimizer per parameter: gradient, parameter and state. */
export const optimizerWords = { sgdMomentum: 5, adam: 7 } as const;

/** A step of an optimizer over one vector of n parameters. */
export function optimizerStep(kind: keyof typeof optimizerWords, n: number): () => void {
  const p = random(n);
  p.requiresGrad = true;
  p.grad = random(n);
  const optimizer =
    kind === 'adam' ? new optim.Adam([p], { lr: 1e-3 }) : new optim.SGD([p], { lr: 1e-3, momentum: 0.9 });
  return () => optimizer.step();
}

function optimizerCases(): Case[] {
  const cases: Case[] = [];
  for (const [n, label] of [
    [2 ** 16, '64 k'],
    [2 ** 20, '1 M'],
    [2 ** 24, '16 M'],
  ] as const) {
    for (const [name, kind] of [
      ['SGD with momentum', 'sgdMomentum'],
      ['Adam', 'adam'],
    ] as const) {
      cases.push({
        group: 'optimizer step',
        name: `${name}, ${label} parameters`,
        work: 4 * n * optimizerWords[kind],
        unit: 'GB/s',
        heavy: n > 2 ** 20,
        make: () => optimizerStep(kind, n),
      });
    }
  }
  return cases;
}

/** The nets of the performance targets: layer sizes. */
export const nets: Readonly<Record<string, readonly number[]>> = {
  A: [784, 128, 10],
  B: [784, 256, 256, 10],
  C: [784, 1024, 1024, 10],
};

/** Flops of a training step without the gradient of the input, and parameters. */
export function stepCost(sizes: readonly number[], batch: number): { flops: number; parameters: number } {
  let flops = 0;
  let parameters = 0;
  for (let i = 0; i + 1 < sizes.length; i++) {
    const [a, b] = [sizes[i] as number, sizes[i + 1] as number];
    flops += 2 * batch * a * b * (i === 0 ? 2 : 3);
    parameters += a * b + b;
  }
  return { flops, parameters };
}

function network(sizes: readonly number[], generator: Generator): nn.Sequential {
  const layers = sizes.slice(1).flatMap((n, i) => {
    const linear = new nn.Linear(sizes[i] as number, n, { generator });
    return i + 2 < sizes.length ? [linear, new nn.ReLU()] : [linear];
  });
  return new nn.Sequential(...layers);
}

/** A compiled prediction. */
export function forwardPass(sizes: readonly number[], batch: number): () => void {
  const own = new Generator(7);
  const model = network(sizes, own);
  model.eval();
  const x = randn([batch, sizes[0] as number], { generator: own });
  const run = compile((input: Tensor) => noGrad(() => model.forward(input)));
  return () => {
    run(x);
  };
}

/** A whole training step (forward, cross-entropy, backward, Adam) and a batch for it. */
export function trainer(
  sizes: readonly number[],
  batch: number,
): { step: (x: Tensor, y: Tensor) => Tensor; x: Tensor; y: Tensor } {
  const own = new Generator(7);
  const model = network(sizes, own);
  const optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });
  const x = randn([batch, sizes[0] as number], { generator: own });
  const y = randint(0, sizes[sizes.length - 1] as number, [batch], { generator: own });
  const step = (input: Tensor, labels: Tensor): Tensor => {
    optimizer.zeroGrad();
    const loss = F.crossEntropy(model.forward(input), labels);
    loss.backward();
    optimizer.step();
    return loss;
  };
  return { step, x, y };
}

/** A whole training step on one batch. */
export function trainingStep(sizes: readonly number[], batch: number, compiled: boolean): () => void {
  const { step, x, y } = trainer(sizes, batch);
  const run = compiled ? compile(step) : step;
  return () => {
    run(x, y);
  };
}

function stepCases(): Case[] {
  const cases: Case[] = [];
  for (const [net, sizes] of Object.entries(nets)) {
    for (const batch of [1, 32, 128, 1024]) {
      for (const compiled of [true, false]) {
        cases.push({
          group: `training step, ${compiled ? 'compiled' : 'eager'}`,
          name: `net ${net} (${sizes.join('-')}), batch ${batch}`,
          work: 1,
          unit: 'steps/s',
          heavy: stepCost(sizes, batch).flops > 2e8,
          make: () => trainingStep(sizes, batch, compiled),
        });
      }
    }
  }
  return cases.sort((a, b) => a.group.localeCompare(b.group));
}

export function allCases(): Case[] {
  return [...productCases(), ...elementwiseCases(), ...optimizerCases(), ...stepCases()];
}
