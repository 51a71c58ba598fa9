// A step that is refused leaves everything as it was, and one beside which other things happen leaves those alone.
import { describe, expect, it } from 'vitest';
import {
  ArgumentError,
  compile,
  F,
  full,
  Generator,
  IndexError,
  nn,
  noGrad,
  ones,
  optim,
  randn,
  StateError,
  type Tensor,
  tensor,
  zeros,
} from '../../src/index.js';

const labels = (...values: number[]): Tensor => tensor(values, { dtype: 'int32' });
const [good, bad] = [labels(0, 1, 2, 2), labels(0, 1, 1, 7)];

type Made = { step(): void; state(): unknown };

const moving: [string, (params: Tensor[]) => Made][] = [
  ...(
    [
      ['NAdam', (p) => new optim.NAdam(p)],
      ['RAdam', (p) => new optim.RAdam(p)],
      ['Adam', (p) => new optim.Adam(p, { amsgrad: true })],
      ['Rprop', (p) => new optim.Rprop(p)],
      ['RMSprop', (p) => new optim.RMSprop(p, { momentum: 0.9, centered: true })],
      ['SGD', (p) => new optim.SGD(p, { lr: 0.1, momentum: 0.9 })],
    ] as [string, (p: Tensor[]) => optim.Optimizer][]
  ).map(([name, make]): [string, (p: Tensor[]) => Made] => [
    name,
    (p) => {
      const optimizer = make(p);
      return { step: () => optimizer.step(), state: () => optimizer.stateDict() };
    },
  ]),
  ...(
    [
      ['StepLR', (o) => new optim.StepLR(o, { stepSize: 1, gamma: 0.5 })],
      ['ExponentialLR', (o) => new optim.ExponentialLR(o, { gamma: 0.5 })],
      ['CosineAnnealingLR', (o) => new optim.CosineAnnealingLR(o, { tMax: 10 })],
      ['OneCycleLR', (o) => new optim.OneCycleLR(o, { maxLr: 0.1, totalSteps: 20 })],
      ['CyclicLR', (o) => new optim.CyclicLR(o, { baseLr: 0.01, maxLr: 0.1, stepSizeUp: 3 })],
      ['LambdaLR', (o) => new optim.LambdaLR(o, (t) => 0.9 ** t)],
    ] as [string, (o: optim.SGD) => optim.Schedule][]
  ).map(([name, make]): [string, (p: Tensor[]) => Made] => [
    name,
    (p) => {
      const optimizer = new optim.SGD(p, { lr: 1, momentum: 0.5 });
      const schedule = make(optimizer);
      return {
        step: () => {
          optimizer.step();
          schedule.step();
        },
        state: () => [optimizer.stateDict(), schedule.stateDict()],
      };
    },
  ]),
];

describe('labels out of range leave as it was', () => {
  it.each(moving)('%s, whichever call they come in', async (_name, make) => {
    for (const before of [0, 1, 2, 3]) {
      const generator = new Generator(5);
      const model = new nn.Sequential(
        new nn.Linear(2, 3, { generator }),
        new nn.BatchNorm1d(3),
        new nn.Dropout(0.5, { generator }),
      );
      const { step: move, state } = make(model.parameters());
      const step = compile((x: Tensor, y: Tensor) => {
        for (const p of model.parameters()) p.grad = null;
        F.crossEntropy(model.forward(x), y).backward();
        move();
      });
      const x = randn([4, 2], { generator });
      for (let i = 0; i < before; i++) step(x, good);
      const all = () => JSON.stringify([state(), model.stateDict(), generator.getState()]);
      const was = all();
      expect(() => step(x, bad)).toThrow(IndexError);
      expect(all()).toBe(was);
      await expect(step.async(x, bad)).rejects.toThrow(IndexError);
      expect(all()).toBe(was);
      step(x, good);
      expect(all()).not.toBe(was);
    }
  });

  it('the programs: no refused call leaves one behind that nobody can use', () => {
    const model = new nn.Linear(2, 3);
    const optimizer = new optim.Adam(model.parameters());
    const step = compile((x: Tensor, y: Tensor) => {
      optimizer.zeroGrad();
      F.crossEntropy(model.forward(x), y).backward();
      optimizer.step();
    });
    const programs = () => step.explain().split('kernel calls').length - 1;
    for (let i = 0; i < 5; i++) expect(() => step(ones([4, 2]), bad)).toThrow(IndexError);
    expect(programs()).toBe(0);
    for (let i = 0; i < 3; i++) step(ones([4, 2]), good);
    expect(() => step(ones([4, 2]), bad)).toThrow(IndexError);
    expect(programs()).toBe(1);
  });

  it('nothing, where the loss is not used: they are refused all the same', () => {
    const step = compile((x: Tensor, y: Tensor) => {
      F.crossEntropy(x, y);
      return x.sum();
    });
    for (let i = 0; i < 3; i++) {
      expect(() => step(ones([4, 3]), bad)).toThrow(IndexError);
      expect(step(ones([4, 3]), good).item()).toBe(12);
    }
    // One check is enough.
    const w = ones([4, 3]);
    w.requiresGrad = true;
    const train = compile((y: Tensor) => {
      w.grad = null;
      F.crossEntropy(w, y).backward();
    });
    train(good);
    expect(train.explain()).not.toMatch(/crossEntropy /);
    expect(() => train(bad)).toThrow(IndexError);
  });

  it('a parameter that is updated before labels of its own step change', () => {
    const [y, w] = [labels(0, 1), tensor([[1, 2, 3], [4, 5, 6]], { requiresGrad: true })]; // biome-ignore format: a matrix
    const optimizer = new optim.SGD([w], { lr: 1 });
    const step = compile((x: Tensor, d: Tensor) => {
      optimizer.zeroGrad();
      F.crossEntropy(x.matmul(w), y).backward();
      optimizer.step();
      noGrad(() => y.add_(d));
      return F.crossEntropy(x.matmul(w).detach(), y);
    });
    const x = ones(2, 2);
    step(x, labels(0, 0));
    const was = JSON.stringify([w, y]);
    expect(() => step(x, labels(0, 5))).toThrow(IndexError);
    expect(JSON.stringify([w, y])).toBe(was);
    step(x, labels(1, 1));
    expect(y.toArray()).toEqual([1, 2]);
  });
});

describe('a refused asynchronous step takes back only what is its own', () => {
  it('not a rate that was set meanwhile', async () => {
    const w = ones([50, 50]);
    w.requiresGrad = true;
    const optimizer = new optim.SGD([w], { lr: 0.5 });
    const schedule = new optim.ExponentialLR(optimizer, { gamma: 0.5 });
    const step = compile((x: Tensor, y: Tensor) => {
      optimizer.zeroGrad();
      F.crossEntropy(x.matmul(w), y).backward();
      optimizer.step();
      schedule.step();
    });
    const x = ones([20, 50]);
    for (let i = 0; i < 3; i++) step(x, zeros([20], { dtype: 'int32' }));
    const pending = step.async(x, full([20], 99, { dtype: 'int32' }));
    optimizer.lr = 7;
    await expect(pending).rejects.toThrow(IndexError);
    expect(optimizer.lr).toBe(7);
    expect(schedule.lastEpoch).toBe(3);
  });

  it('not random numbers that others drew meanwhile', async () => {
    const generator = new Generator(3);
    const dropout = new nn.Dropout(0.5, { generator });
    const [model, draw] = [new nn.Linear(50, 3, { generator }), compile((x: Tensor) => dropout.forward(x))];
    const step = compile((x: Tensor, y: Tensor) => F.crossEntropy(dropout.forward(model.forward(x)), y));
    const [x, z] = [ones([20, 50]), ones([60])];
    for (let i = 0; i < 2; i++) step(x, zeros([20], { dtype: 'int32' }));
    for (let i = 0; i < 2; i++) draw(z);
    const pending = step.async(x, full([20], 99, { dtype: 'int32' }));
    const masks = [draw(z).toString()];
    await expect(pending).rejects.toThrow(IndexError);
    for (let i = 0; i < 30; i++) masks.push(draw(z).toString());
    expect(new Set(masks).size).toBe(masks.length);
  });
});

describe('an argument in memory that the step writes', () => {
  it('is refused in every call, and nothing has moved on', async () => {
    const b = zeros([6]);
    const w = ones([6]);
    w.requiresGrad = true;
    const optimizer = new optim.Adam([w]);
    const step = compile((x: Tensor) => {
      noGrad(() => b.add_(1));
      optimizer.zeroGrad();
      x.mul(w).sum().backward();
      optimizer.step();
      return x.add(b);
    });
    const reversed = b.slice([[null, null, -1]]);
    for (const x of [b, w, w.detach(), reversed]) {
      expect(() => step(x)).toThrow(/argument 0 lies in memory that the step writes .*clone\(\)/);
      await expect(step.async(x)).rejects.toThrow(ArgumentError);
    }
    expect([b.toArray(), optimizer.stateDict().state]).toEqual([[0, 0, 0, 0, 0, 0], {}]);
    expect(step(b.clone()).toArray()).toEqual([1, 1, 1, 1, 1, 1]);
    expect(() => step(b)).toThrow(ArgumentError);
    expect(step(b.clone()).toArray()).toEqual([3, 3, 3, 3, 3, 3]);
    expect(optimizer.stateDict().state['0']?.step).toBe(2);
  });

  it('is refused by an asynchronous call that has to wait, too', async () => {
    const w = ones([3]);
    const step = compile((x: Tensor) => {
      noGrad(() => w.add_(1));
      return x.add(w);
    });
    const first = step.async(ones([3]));
    await expect(step.async(w)).rejects.toThrow(/argument 0 lies in memory/);
    expect((await first).toArray()).toEqual([3, 3, 3]);
  });

  it('is taken where the step only reads it, or writes elsewhere in it', () => {
    const w = ones([3]);
    const step = compile((x: Tensor) => x.add(w));
    for (let i = 0; i < 3; i++) expect(step(w).toArray()).toEqual([2, 2, 2]);

    const ring = tensor([1, 2, 3, 4, 5, 6], { shape: [3, 2] });
    const top = ring.slice([0, 1]);
    const push = compile((x: Tensor) => {
      noGrad(() => top.copy_(x));
      return x.sum();
    });
    for (let i = 0; i < 3; i++) expect(push(ring.slice([1, 2])).item()).toBe(7);
    expect(ring.toArray()).toEqual([[3, 4], [3, 4], [5, 6]]); // biome-ignore format: a matrix
    expect(() => push(top)).toThrow(ArgumentError);
    const twoRows = compile((x: Tensor) => {
      noGrad(() => top.copy_(x.slice([0, 1])));
      return x.sum();
    });
    expect(twoRows(ring.slice([1, 3])).item()).toBe(18);
    expect(() => twoRows(ring.slice([0, 2]))).toThrow(ArgumentError);
    expect(() => twoRows(ring.slice([[1, null, -1]]))).toThrow(ArgumentError);
  });
});

describe('memory that a caller has in hand', () => {
  it('is not what an asynchronous step in flight reads', async () => {
    for (const exposed of [false, true]) {
      const [c, w] = [ones([60, 60]), ones([60, 60])];
      w.requiresGrad = true;
      const optimizer = new optim.SGD([w], { lr: 0 });
      const step = compile((x: Tensor) => {
        optimizer.zeroGrad();
        const loss = x.matmul(w).add(c).sum();
        loss.backward();
        optimizer.step();
        return loss;
      });
      const x = ones([60, 60]);
      const expected = step(x).item();
      step(x);
      if (exposed) for (const t of [c, w]) expect(t.data[0]).toBe(1);
      const pending = step.async(x);
      for (const t of [c, w]) t.data.fill(2);
      for (const t of [c, w]) expect(() => noGrad(() => t.add_(1))).toThrow(StateError);
      expect((await pending).item()).toBe(expected);
      // The step updated w, from what it was.
      expect([c.data[0], w.data[0]]).toEqual([2, 1]);
      expect(step(x).item()).toBe(expected + 3600);
      c.data.fill(1);
      expect(step(x).item()).toBe(expected);
    }
  });

  it('may be transferred: the next step is a StateError, one in flight goes on', async () => {
    const statistics = zeros([3]);
    const data = statistics.data as Float32Array<ArrayBuffer>;
    const w = ones([3, 3]);
    w.requiresGrad = true;
    const optimizer = new optim.Adam([w]);
    const step = compile((x: Tensor) => {
      optimizer.zeroGrad();
      const h = x.matmul(w);
      noGrad(() => statistics.add_(h.detach().sum(0)));
      h.square().sum().backward();
      optimizer.step();
    });
    const x = ones([2, 3]);
    step(x);
    step(x);
    const pending = step.async(x);
    structuredClone(data, { transfer: [data.buffer] });
    await pending;
    const was = [w.toArray(), optimizer.stateDict().state['0']?.step];
    expect(was[1]).toBe(3);
    expect(() => step(x)).toThrow(StateError);
    await expect(step.async(x)).rejects.toThrow(/was transferred/);
    expect(step.explain()).toContain('matmul');
    expect([w.toArray(), optimizer.stateDict().state['0']?.step]).toEqual(was);

    const constant = tensor([1, 2, 3]);
    const held = constant.data as Float32Array<ArrayBuffer>;
    const reads = compile((y: Tensor) => y.add(constant));
    reads(constant.clone());
    structuredClone(held, { transfer: [held.buffer] });
    expect(() => reads(ones(3))).toThrow(StateError);
  });
});
