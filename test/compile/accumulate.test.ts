import { compile, F, Generator, nn, optim, randint, randn, type Tensor, tensor } from 'simdgrad';
import { describe, expect, test } from 'vitest';

function setup() {
  const generator = new Generator(5);
  const model = new nn.Sequential(
    new nn.Linear(6, 8, { generator }),
    new nn.ReLU(),
    new nn.Linear(8, 3, { generator }),
  );
  return { model, optimizer: new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 }) };
}

describe('gradients accumulated over several compiled calls', () => {
  test('equal eager ones, and the step is not traced again in every round', () => {
    const a = setup();
    const b = setup();
    let traces = 0;
    const eager = (x: Tensor, y: Tensor) => {
      const loss = F.crossEntropy(a.model.forward(x), y).div(4);
      loss.backward();
      return loss;
    };
    const step = compile((x: Tensor, y: Tensor) => {
      traces++;
      const loss = F.crossEntropy(b.model.forward(x), y).div(4);
      loss.backward();
      return loss;
    });
    const generator = new Generator(6);
    for (let round = 0; round < 6; round++) {
      for (let micro = 0; micro < 4; micro++) {
        const x = randn([5, 6], { generator });
        const y = randint(0, 3, [5], { generator });
        expect(step(x, y).item()).toBe(eager(x, y).item());
      }
      a.optimizer.step();
      b.optimizer.step();
      a.optimizer.zeroGrad();
      b.optimizer.zeroGrad();
      b.model.parameters().forEach((p, i) => {
        expect(p.data).toEqual(a.model.parameters()[i]?.data);
      });
    }
    // Two programs (without and with a gradient to add to), each traced twice.
    expect(traces).toBe(4);
  });

  test('a gradient that was read is not changed by a later round', () => {
    const p = tensor([1, 2], { requiresGrad: true });
    const step = compile((x: Tensor) => {
      const loss = p.mul(x).sum();
      loss.backward();
      return loss;
    });
    const held: Tensor[] = [];
    for (let round = 1; round <= 4; round++) {
      step(tensor([round, 0]));
      step(tensor([0, round]));
      const g = p.grad as Tensor;
      expect(g.toArray()).toEqual([round, round]);
      held.push(g);
      p.grad = null;
    }
    expect(held.map((g) => g.toArray())).toEqual([
      [1, 1],
      [2, 2],
      [3, 3],
      [4, 4],
    ]);
  });
});

test('a field of a module that changes in every step, and changes nothing, does not plan the step again', () => {
  class Counting extends nn.Module {
    calls = 0;
    readonly linear = new nn.Linear(2, 2);
    override forward(x: Tensor): Tensor {
      const y = this.linear.forward(x);
      return this.calls > 20 ? y.mul(2) : y;
    }
  }
  const m = new Counting();
  const step = compile((x: Tensor) => m.forward(x));
  const x = tensor([[1, 1]]);
  const once = m.forward(x).toArray() as number[][];
  for (let i = 0; i < 30; i++) {
    m.calls = i;
    const factor = i > 20 ? 2 : 1;
    expect(step(x).toArray()).toEqual(once.map((row) => row.map((v) => Math.fround(v * factor))));
  }
  // One program up to 20, another one beyond.
  expect(step.explain().match(/kernel calls/g)).toHaveLength(2);
});
