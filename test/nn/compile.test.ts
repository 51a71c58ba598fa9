import { compile, F, Generator, nn, noGrad, optim, randn, type Tensor, tensor } from 'simdgrad';
import { describe, expect, it } from 'vitest';

const labels = tensor([0, 2, 1, 2, 0, 1], { dtype: 'int32' });
const inputs = randn(6, 4, { generator: new Generator(11) });

/** Trains two equal models, one with a compiled step, and compares bits. */
function compare(make: () => nn.Module, change: (m: nn.Module, step: number) => void = () => {}): void {
  const runs = [true, false].map((compiled) => {
    const model = make();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
    const eager = (x: Tensor, y: Tensor): Tensor => {
      optimizer.zeroGrad();
      const loss = F.crossEntropy(model.forward(x), y);
      loss.backward();
      nn.utils.clipGradNorm(model.parameters(), 0.5);
      optimizer.step();
      return loss;
    };
    const step = compiled ? compile(eager) : eager;
    const losses: number[] = [];
    for (let k = 0; k < 8; k++) {
      change(model, k);
      losses.push(step(inputs, labels).item());
    }
    const state = Object.fromEntries(
      Object.entries(model.stateDict()).map(([name, t]) => [name, t.toArray()]),
    );
    return { losses, state };
  });
  expect(runs[0]).toEqual(runs[1]);
}

const init = (): Generator => new Generator(2);

describe('compiled steps with modules', () => {
  it('has the bits of eager training', () => {
    compare(
      () =>
        new nn.Sequential(
          new nn.Linear(4, 8, { generator: init() }),
          new nn.ReLU(),
          new nn.Linear(8, 3, { generator: init() }),
        ),
    );
  });

  it('draws new masks at every replay, and notices train() and eval()', () => {
    compare(
      () => {
        const generator = init();
        return new nn.Sequential(
          new nn.Linear(4, 8, { generator }),
          new nn.Dropout(0.5, { generator }),
          new nn.Linear(8, 3, { generator }),
        );
      },
      (m, k) => m.train(k % 4 !== 2),
    );
  });

  it('moves running statistics', () => {
    const make = (momentum: number | null) => () =>
      new nn.Sequential(
        new nn.Linear(4, 8, { generator: init() }),
        new nn.BatchNorm1d(8, { momentum }),
        new nn.LayerNorm(8),
        new nn.Linear(8, 3, { generator: init() }),
      );
    compare(make(0.1));
    compare(make(null));
  });

  it('notices frozen and replaced parameters', () => {
    compare(
      () =>
        new nn.Sequential(
          new nn.Linear(4, 8, { generator: init() }),
          new nn.Tanh(),
          new nn.Linear(8, 3, { generator: init() }),
        ),
      (m, k) => {
        const first = (m as nn.Sequential).at(0) as nn.Linear;
        if (k === 3) first.requiresGrad_(false);
        if (k === 5) first.weight = nn.Parameter(first.weight.detach().mul(2));
      },
    );
  });

  it('fuses the cross-entropy', () => {
    const model = new nn.Linear(4, 3);
    const step = compile((x: Tensor, y: Tensor) => {
      model.zeroGrad();
      const loss = F.crossEntropy(model.forward(x), y);
      loss.backward();
      return loss;
    });
    step(inputs, labels);
    expect(step.explain()).toMatch(/crossEntropyGrad/);
  });

  it('serves predictions', () => {
    const model = new nn.Sequential(new nn.Linear(4, 3), new nn.Softmax()).eval();
    const predict = compile((x: Tensor) => noGrad(() => model.forward(x)));
    expect(predict(inputs).toArray()).toEqual(model.forward(inputs).toArray());
    (model as nn.Sequential).at(0)?.parameters()[0]?.fill_(0.5);
    expect(predict(inputs).toArray()).toEqual(model.forward(inputs).toArray());
  });
});

describe('gradient clipping', () => {
  function withGrads(): Tensor[] {
    const ps = [
      tensor([0, 0], { requiresGrad: true }),
      tensor([0], { requiresGrad: true }),
      tensor([1], { requiresGrad: true }),
    ];
    (ps[0] as Tensor).grad = tensor([3, 0]);
    (ps[1] as Tensor).grad = tensor([-4]);
    return ps;
  }

  it('scales all gradients to the norm, and never up', () => {
    const ps = withGrads();
    expect(nn.utils.clipGradNorm(ps, 1).item()).toBe(5);
    expect(ps[0]?.grad?.toArray()).toEqual([Math.fround(3 * Math.fround(1 / 5.000001)), 0]);
    expect(ps[1]?.grad?.item()).toBeCloseTo(-0.8, 6);
    expect(nn.utils.clipGradNorm(ps, 10).item()).toBeCloseTo(1, 6);
    expect(ps[1]?.grad?.item()).toBeCloseTo(-0.8, 6);
    expect(nn.utils.clipGradNorm(withGrads(), 1, { normType: Infinity }).item()).toBe(4);
    expect(nn.utils.clipGradNorm([], 1).item()).toBe(0);
  });

  it('limits values', () => {
    const ps = withGrads();
    nn.utils.clipGradValue(ps, 2);
    expect(ps.map((p) => p.grad?.toArray() ?? null)).toEqual([[2, 0], [-2], null]);
  });
});
