import { describe, expect, test } from 'vitest';
import {
  compile,
  F,
  Generator,
  nn,
  optim,
  randint,
  randn,
  StateError,
  type Tensor,
  tensor,
} from '../../src/index.js';

type Kind = 'adam' | 'adamw' | 'sgd' | 'momentum';

function setUp(kind: Kind, seed = 3) {
  const generator = new Generator(seed);
  const model = new nn.Sequential(
    new nn.Linear(20, 33, { generator }),
    new nn.ReLU(),
    new nn.Linear(33, 17, { generator }),
    new nn.Tanh(),
    new nn.Linear(17, 5, { generator }),
  );
  const params = model.namedParameters();
  const optimizer =
    kind === 'adam'
      ? new optim.Adam(params, { lr: 0.01, weightDecay: 0.01 })
      : kind === 'adamw'
        ? new optim.AdamW(params, { lr: 0.01 })
        : new optim.SGD(params, { lr: 0.05, ...(kind === 'momentum' && { momentum: 0.9, nesterov: true }) });
  const step = (x: Tensor, y: Tensor): Tensor => {
    optimizer.zeroGrad();
    const loss = F.crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  };
  const state = () => JSON.stringify([model.parameters().map((p) => p.toArray()), optimizer.stateDict()]);
  return { model, optimizer, step, state };
}

function batches(sizes: readonly number[]): [Tensor, Tensor][] {
  const generator = new Generator(9);
  return sizes.map((n) => [randn([n, 20], { generator }), randint(0, 5, [n], { generator })]);
}

const callsOf = (text: string, kernel: RegExp): number =>
  text.split('\n').filter((line) => kernel.test(line)).length;
const fusedCalls = (text: string): number => callsOf(text, /Product(Sums)?\s/);

describe('the optimizer behind the product that makes the gradient', () => {
  test.each(['adam', 'adamw', 'sgd', 'momentum'] as const)('%s: the bits of the eager step', (kind) => {
    const [eager, compiled] = [setUp(kind), setUp(kind)];
    const step = compile(compiled.step);
    for (const [x, y] of batches([8, 8, 1, 64, 8, 1, 256, 257, 64])) {
      expect(step(x, y).item()).toBe(eager.step(x, y).item());
      expect(compiled.state()).toBe(eager.state());
    }
    // Three weights; not where one block of K is not enough (257 rows).
    expect(fusedCalls(step.explain())).toBe(12);
    // The biases' gradients are summed beside the weights', in every batch.
    expect(callsOf(step.explain(), /(Product|matmul)Sums\s/)).toBe(15);
  });

  test('weights of few rows: the bits of the eager step where a product takes its depth in pieces', () => {
    const setUpFew = () => {
      const generator = new Generator(5);
      const model = new nn.Sequential(
        new nn.Linear(1, 80, { generator }),
        new nn.Tanh(),
        new nn.Linear(80, 2, { generator }),
      );
      const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
      const step = (x: Tensor, y: Tensor): Tensor => {
        optimizer.zeroGrad();
        const loss = F.mseLoss(model.forward(x), y);
        loss.backward();
        optimizer.step();
        return loss;
      };
      return { step, weights: () => JSON.stringify(model.parameters().map((p) => p.toArray())) };
    };
    const [eager, compiled] = [setUpFew(), setUpFew()];
    const step = compile(compiled.step);
    const generator = new Generator(6);
    for (const n of [100, 200, 200, 256, 256]) {
      const [x, y] = [randn([n, 1], { generator }), randn([n, 2], { generator })];
      expect(step(x, y).item()).toBe(eager.step(x, y).item());
      expect(compiled.weights()).toBe(eager.weights());
    }
  });

  test('asynchronous steps publish the same weights', async () => {
    const [eager, compiled] = [setUp('adam'), setUp('adam')];
    const step = compile(compiled.step);
    for (const [x, y] of batches([16, 16, 16, 16])) {
      const pending = step.async(x, y);
      eager.step(x, y);
      await pending;
      expect(compiled.state()).toBe(eager.state());
    }
  });

  test('a gradient that was used up says so, until it is set to null', () => {
    const { model, optimizer, step: train, state } = setUp('adam');
    const step = compile(train, { name: 'train' });
    const [[x, y]] = batches([8]) as [[Tensor, Tensor]];
    step(x, y);
    const [weight, bias] = [...model.parameters()] as [Tensor, Tensor];
    expect(() => weight.grad).toThrow(StateError);
    expect(() => weight.grad).toThrow(/step 'train' used this gradient up.*keepGrads: true/);
    expect(bias.grad?.shape).toEqual([33]);
    const before = state();
    expect(() => optimizer.step()).toThrow(/^Adam.step: .*keepGrads/);
    const groups = new optim.SGD([{ params: bias }, { params: weight }], { lr: 1 });
    expect(() => groups.step()).toThrow(/keepGrads/);
    expect(state()).toBe(before);
    const gradient = bias.grad?.toArray();
    expect(() => F.crossEntropy(model.forward(x), y).backward()).toThrow(/^backward: .*keepGrads/);
    expect(bias.grad?.toArray()).toEqual(gradient);
    expect(state()).toBe(before);
    step(x, y);
    optimizer.zeroGrad();
    expect(weight.grad).toBeNull();
    F.crossEntropy(model.forward(x), y).backward();
    expect(weight.grad?.shape).toEqual([20, 33]);
    expect(step(x, y).shape).toEqual([]);
  });

  test('keepGrads keeps them', () => {
    const [eager, compiled] = [setUp('adam'), setUp('adam')];
    const step = compile(compiled.step, { keepGrads: true });
    for (const [x, y] of batches([8, 8, 8])) {
      step(x, y);
      eager.step(x, y);
      expect(compiled.model.parameters().map((p) => p.grad?.toArray())).toEqual(
        eager.model.parameters().map((p) => p.grad?.toArray()),
      );
      expect(compiled.state()).toBe(eager.state());
    }
    expect(fusedCalls(step.explain())).toBe(0);
    expect(() => compile(compiled.step, { keepGrads: 1 as never })).toThrow(/keepGrads is true or false/);
  });

  test('gradients that calls add up, or that the step returns or reads, are kept', () => {
    const w = randn([4, 3], { generator: new Generator(1) });
    w.requiresGrad = true;
    const optimizer = new optim.SGD([w], { lr: 0.1 });
    const x = randn([2, 4], { generator: new Generator(2) });
    const adding = compile((input: Tensor) => {
      const loss = input.matmul(w).sum();
      loss.backward();
      optimizer.step();
      return loss;
    });
    for (let i = 1; i <= 3; i++) {
      adding(x);
      const once = x.sum(0).toArray() as number[];
      expect((w.grad as Tensor).toArray()).toEqual(once.map((v) => [0, 0, 0].map(() => Math.fround(v * i))));
    }
    const returning = compile((input: Tensor) => {
      optimizer.zeroGrad();
      input.matmul(w).sum().backward();
      optimizer.step();
      return w.grad as Tensor;
    });
    optimizer.zeroGrad();
    expect(returning(x).shape).toEqual([4, 3]);
    expect(w.grad?.shape).toEqual([4, 3]);
    const clipping = compile((input: Tensor) => {
      optimizer.zeroGrad();
      input.matmul(w).sum().backward();
      nn.utils.clipGradNorm([w], 1);
      optimizer.step();
    });
    clipping(x);
    for (const step of [adding, returning, clipping]) expect(fusedCalls(step.explain())).toBe(0);
  });

  test('a gradient that calls add up is kept although a product makes it and an optimizer reads it', () => {
    const make = () => {
      const w = randn([4, 3], { generator: new Generator(1) });
      w.requiresGrad = true;
      const optimizer = new optim.SGD([w], { lr: 0.1 });
      const step = (x: Tensor) => {
        x.matmul(w).square().sum().backward();
        optimizer.step();
      };
      return { w, step };
    };
    const [eager, compiled] = [make(), make()];
    const step = compile(compiled.step);
    const x = randn([2, 4], { generator: new Generator(2) });
    for (let i = 0; i < 3; i++) {
      step(x);
      eager.step(x);
      expect((compiled.w.grad as Tensor).toArray()).toEqual((eager.w.grad as Tensor).toArray());
    }
  });

  test('a weight that is used after the update is read with its new values', () => {
    const make = () => {
      const w = tensor(
        [
          [1, 2],
          [3, 4],
        ],
        { requiresGrad: true },
      );
      const optimizer = new optim.SGD([w], { lr: 0.5 });
      return (x: Tensor) => {
        optimizer.zeroGrad();
        x.matmul(w).square().sum().backward();
        optimizer.step();
        return x.matmul(w);
      };
    };
    const [eager, compiled] = [make(), compile(make())];
    const x = tensor([
      [1, -1],
      [0.5, 2],
    ]);
    for (let i = 0; i < 3; i++) expect(compiled(x).toArray()).toEqual(eager(x).toArray());
    expect(fusedCalls(compiled.explain())).toBe(1);
  });

  test('a weight used twice has a sum for a gradient: nothing is fused', () => {
    const w = tensor(
      [
        [1, 0.5],
        [0.25, 1],
      ],
      { requiresGrad: true },
    );
    const optimizer = new optim.SGD([w], { lr: 0.1 });
    const step = compile((x: Tensor) => {
      optimizer.zeroGrad();
      x.matmul(w).matmul(w).sum().backward();
      optimizer.step();
    });
    step(tensor([[1, 2]]));
    expect(fusedCalls(step.explain())).toBe(0);
    expect(w.grad?.shape).toEqual([2, 2]);
  });
});

describe('sums of columns beside the product with the same factor', () => {
  // Two programs of the same bits, one compiled; and how many of its products sum columns.
  const compare = (f: (a: Tensor, b: Tensor) => Tensor[], shapes: readonly (readonly number[])[]): number => {
    const generator = new Generator(4);
    const [a, b] = shapes.map((shape) => randn([...shape], { generator })) as [Tensor, Tensor];
    const compiled = compile(f);
    const results = compiled(a, b).map((t) => t.toArray());
    expect(results).toStrictEqual(f(a, b).map((t) => t.toArray()));
    return callsOf(compiled.explain(), /matmulSums\s/);
  };

  test.each([
    [
      [5, 7],
      [7, 9],
    ],
    [
      [1, 7],
      [7, 1],
    ],
    [
      [64, 300],
      [300, 130],
    ],
    [
      [3, 600],
      [600, 1100],
    ], // columns that take their rows in several blocks
    [
      [130, 1030],
      [1030, 70],
    ],
  ])('%j by %j', (a, b) => {
    expect(compare((x, y) => [x.matmul(y), y.sum(0)], [a, b])).toBe(1);
    expect(compare((x, y) => [y.sum(0), x.matmul(y)], [a, b])).toBe(1);
    expect(compare((x, y) => [x.T.matmul(y), y.sum(0)], [[a[1] as number, a[0] as number], b])).toBe(1);
  });

  test('stay alone where they cannot be beside it', () => {
    const shapes = [
      [5, 7],
      [7, 9],
    ];
    // Something between reads the sums, the matrix is another one, the sums are of rows or a mean, the product has a bias.
    expect(compare((x, y) => [x.mul(y.sum(0).sum()).matmul(y)], shapes)).toBe(0);
    expect(compare((x, y) => [x.matmul(y), y.relu().sum(0)], shapes)).toBe(0);
    expect(compare((x, y) => [x.matmul(y), y.sum(1)], shapes)).toBe(0);
    expect(compare((x, y) => [x.matmul(y), y.mean(0)], shapes)).toBe(0);
    expect(compare((x, y) => [x.matmul(y).relu(), y.sum(0)], shapes)).toBe(0);
    expect(compare((x, y) => [x.matmul(y.slice([0, 7], [0, 4])), y.sum(0)], shapes)).toBe(0);
  });
});

describe('updates behind products see the weights that eager ones see', () => {
  // Each of two weights is, detached, a factor of the other's gradient; whichever is updated first.
  const losses: [string, (a: Tensor, b: Tensor, x: Tensor) => Tensor][] = [
    [
      'a in the gradient of b',
      (a, b, x) => a.detach().matmul(b).square().sum().add(x.matmul(a).square().sum()),
    ],
    [
      'b in the gradient of a',
      (a, b, x) => b.detach().matmul(a).square().sum().add(x.matmul(b).square().sum()),
    ],
    ['both', (a, b) => a.detach().matmul(b).square().sum().add(b.detach().matmul(a).square().sum())],
    [
      'a factor on the right',
      (a, b, x) => b.matmul(a.detach()).square().sum().add(a.matmul(x).square().sum()),
    ],
  ];
  const optimizers: [string, (p: Tensor[]) => optim.Optimizer][] = [
    ['SGD', (p) => new optim.SGD(p, { lr: 0.01 })],
    ['momentum', (p) => new optim.SGD(p, { lr: 0.01, momentum: 0.9 })],
    ['Adam', (p) => new optim.Adam(p, { lr: 0.01 })],
  ];
  const cases = losses.flatMap(([what, loss]) =>
    optimizers.map(([name, make]) => ({ what, loss, name, make })),
  );
  test.each(cases)('$what, $name', ({ loss, make }) => {
    for (const order of [0, 1]) {
      const set = () => {
        const a = tensor([1, 2, 3, 4], { shape: [2, 2], requiresGrad: true });
        const b = tensor([1, 0, 0, 1], { shape: [2, 2], requiresGrad: true });
        const optimizer = make(order === 0 ? [a, b] : [b, a]);
        const step = (x: Tensor): void => {
          optimizer.zeroGrad();
          loss(a, b, x).backward();
          optimizer.step();
        };
        return { a, b, step };
      };
      const [eager, compiled] = [set(), set()];
      const step = compile(compiled.step);
      const x = tensor([1, 1, 1, 2], { shape: [2, 2] });
      for (let i = 0; i < 3; i++) {
        eager.step(x);
        step(x);
        expect(compiled.a.toArray()).toEqual(eager.a.toArray());
        expect(compiled.b.toArray()).toEqual(eager.b.toArray());
      }
    }
  });

  test('a gradient that is an argument', () => {
    const w = tensor([1, 2], { requiresGrad: true });
    const optimizer = new optim.SGD([w], { lr: 1 });
    const step = compile((g: Tensor) => {
      w.grad = g;
      optimizer.step();
    });
    for (let i = 0; i < 3; i++) step(tensor([1, 0]));
    expect(w.toArray()).toEqual([-2, 2]);
  });
});
