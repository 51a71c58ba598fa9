import { describe, expect, test } from 'vitest';
import {
  compile,
  Generator,
  nn,
  noGrad,
  ones,
  optim,
  rand,
  randn,
  StateError,
  type Tensor,
  tensor,
  zeros,
} from '../../src/index.js';
import { nll } from '../../src/ops/nll.js';

const leaf = (...values: number[]): Tensor => tensor(values, { requiresGrad: true });
const labels = (...values: number[]): Tensor => tensor(values, { dtype: 'int32' });

/** A step that takes a while, so that something can happen during it. */
function slow(n = 200) {
  const generator = new Generator(1);
  const w = noGrad(() => randn([n, n], { generator }).mul(0.05));
  w.requiresGrad = true;
  const forward = (x: Tensor): Tensor => {
    let h = x;
    for (let i = 0; i < 4; i++) h = h.matmul(w).tanh();
    return h;
  };
  const train = compile(
    (x: Tensor) => {
      w.grad = null;
      const loss = forward(x).pow(2).mean();
      loss.backward();
      noGrad(() => w.sub_((w.grad as Tensor).sign().mul(0.01)));
      return loss;
    },
    { name: 'train' },
  );
  const predict = compile((x: Tensor) => forward(x).sum(), { name: 'predict' });
  return { w, train, predict, forward, x: randn([n, n], { generator }) };
}

describe('asynchronous steps', () => {
  test('give what synchronous ones give', async () => {
    const [a, b] = [slow(40), slow(40)];
    for (let i = 0; i < 5; i++) {
      const [p, q] = [a.train(a.x).item(), (await b.train.async(b.x)).item()];
      expect(q).toBe(p);
      expect(b.w.clone().data).toEqual(a.w.clone().data);
      expect(b.w.grad?.clone().data).toEqual(a.w.grad?.clone().data);
    }
  });

  test('publish parameters at once when they complete: everyone sees the old ones until then', async () => {
    const { w, train, predict, forward, x } = slow();
    train(x);
    predict(x);
    for (let round = 0; round < 3; round++) {
      const before = [...w.clone().data];
      const seen = [predict(x).item(), noGrad(() => forward(x).sum().item())];
      const p = train.async(x);
      for (let i = 0; i < 5; i++) {
        expect(predict(x).item()).toBe(seen[0]);
        expect(noGrad(() => forward(x).sum().item())).toBe(seen[1]);
        expect([...w.clone().data]).toEqual(before);
        await new Promise((resolve) => setImmediate(resolve));
        if (predict(x).item() !== seen[0]) break; // it has completed
      }
      await p;
      expect(predict(x).item()).not.toBe(seen[0]);
      expect([...w.clone().data]).not.toEqual(before);
    }
  });

  test('a live view of a parameter sees the update, when it is published', async () => {
    const { w, train, x } = slow(40);
    train(x);
    const { data } = w;
    const before = [...data];
    const p = train.async(x);
    expect([...data]).toEqual(before);
    await p;
    expect([...data]).not.toEqual(before);
    expect(w.data).toBe(data);
  });

  test('arguments may be changed as soon as the call returns, in a queue too', async () => {
    const step = compile((x: Tensor) => x.mul(2).sum());
    const x = ones(1000);
    const results: Promise<Tensor>[] = [];
    for (let i = 1; i <= 5; i++) {
      x.fill_(i);
      results.push(step.async(x));
    }
    x.fill_(-1);
    expect((await Promise.all(results)).map((t) => t.item())).toEqual([2000, 4000, 6000, 8000, 10000]);
  });

  test('a state that is refused while a step is in flight changes nothing', async () => {
    const generator = new Generator(2);
    const model = new nn.Sequential(
      new nn.Linear(4, 40, { generator }),
      new nn.ReLU(),
      new nn.Linear(40, 3, { generator }),
    );
    const last = (model.modules().at(-1) as nn.Linear).parameters();
    const optimizer = new optim.Adam(last, { lr: 0.001 });
    const train = compile(
      (x: Tensor) => {
        optimizer.zeroGrad();
        const loss = model.forward(x).pow(2).mean();
        loss.backward();
        optimizer.step();
        return loss;
      },
      { name: 'train' },
    );
    const x = randn([64, 4], { generator });
    train(x);
    const other = new optim.Adam(last, { lr: 0.5 });
    const others = other.stateDict();
    const state = structuredClone(others.paramGroups);
    const given = { paramGroups: state, state: optimizer.stateDict().state };
    const zero = Object.fromEntries(
      Object.entries(model.stateDict()).map(([name, t]) => [name, zeros(t.shape)]),
    );
    const first = (model.modules()[1] as nn.Linear).weight;
    const before = [...first.clone().data];
    const pending = train.async(x);
    expect(() => optimizer.loadStateDict(given)).toThrow(/Adam.loadStateDict: .* being updated by train/);
    expect(optimizer.paramGroups[0]?.lr).toBe(0.001);
    expect(() => model.loadStateDict(zero)).toThrow(/loadStateDict: .* being (updated|read) by/);
    expect([...first.clone().data]).toEqual(before);
    await pending;
    model.loadStateDict(zero);
    expect([...first.clone().data].every((v) => v === 0)).toBe(true);
    optimizer.loadStateDict(given);
    expect(optimizer.paramGroups[0]?.lr).toBe(0.5);
  });

  test('the event loop goes round while JavaScript works beside runs that have ended by then', async () => {
    const { train, x } = slow(100);
    await train.async(x);
    const others = [slow(40), slow(40)];
    for (const other of others) await other.predict.async(other.x);
    let [turns, running] = [0, true];
    const turn = () => {
      turns++;
      if (running) setTimeout(turn, 1);
    };
    turn();
    const end = performance.now() + 400;
    const busy = (ms: number) => {
      for (const until = performance.now() + ms; performance.now() < until; );
    };
    const loops = others.map(async ({ predict, x }) => {
      while (performance.now() < end) {
        await predict.async(x);
        busy(0.5);
      }
    });
    while (performance.now() < end) {
      const pending = train.async(x);
      busy(3); // prepares the next batch, say
      await pending;
    }
    await Promise.all(loops);
    running = false;
    expect(turns).toBeGreaterThan(8);
  });

  test('calls run one after the other, in order', async () => {
    const w = leaf(0);
    const step = compile((x: Tensor) => {
      noGrad(() => w.mul_(10).add_(x));
      return w.mul(1);
    });
    const results = await Promise.all([1, 2, 3, 4].map((k) => step.async(tensor([k]))));
    expect(results.map((t) => t.item())).toEqual([1, 12, 123, 1234]);
    expect(w.item()).toBe(1234);
  });

  test('a call in the queue runs in the grad mode in which it was made', async () => {
    const step = compile((x: Tensor) => tensor([x.mul(1).requiresGrad ? 1 : 0]));
    const x = leaf(1);
    const list: Promise<Tensor>[] = [];
    for (let i = 0; i < 2; i++) {
      list.push(step.async(x));
      noGrad(() => {
        list.push(step.async(x));
      });
    }
    expect((await Promise.all(list)).map((t) => t.item())).toEqual([1, 0, 1, 0]);
  });

  test('synchronous calls while one is in flight are refused', async () => {
    const { train, x } = slow(40);
    train(x);
    const p = train.async(x);
    expect(() => train(x)).toThrow(StateError);
    expect(() => train(x)).toThrow(/train: an asynchronous run .* in flight/);
    await p;
    train(x);
  });

  test('writing what the step updates is refused until it completes', async () => {
    const { w, train, x } = slow();
    const other = compile(() => noGrad(() => w.mul_(2).sum()), { name: 'other' });
    train(x);
    other();
    const p = train.async(x);
    for (const write of [() => w.fill_(0), () => noGrad(() => w.slice(0, 1).mul_(2)), () => other()]) {
      expect(write).toThrow(StateError);
      expect(write).toThrow(/being updated by train; await/);
    }
    await expect(other.async()).rejects.toThrow(StateError);
    await p;
    w.fill_(0.5);
    expect([...w.clone().data].every((v) => v === 0.5)).toBe(true);
  });

  test('gradients that a step in flight adds to are left to it', async () => {
    const w = leaf(0, 0);
    const clear = () => {
      w.grad = null;
    };
    const accumulate = (name: string) => compile((x: Tensor) => w.mul(x).sum().backward(), { name });
    const [first, second] = [accumulate('first'), accumulate('second')];
    const p = first.async(tensor([1, 0]));
    await expect(second.async(tensor([0, 1]))).rejects.toThrow(/gradient is being computed by first; await/);
    expect(() => second(tensor([0, 1]))).toThrow(StateError);
    expect(() =>
      w
        .mul(tensor([0, 1]))
        .sum()
        .backward(),
    ).toThrow(StateError);
    expect(clear).toThrow(StateError);
    await p;
    second(tensor([0, 1]));
    w.mul(tensor([0, 1]))
      .sum()
      .backward();
    expect(w.grad?.toArray()).toEqual([1, 2]);
    // Also where the steps find a gradient that is there already, end without one, or take over one that was read.
    const apply = compile(
      () => {
        noGrad(() => w.sub_(w.grad as Tensor));
        w.grad = null;
      },
      { name: 'apply' },
    );
    for (let round = 0; round < 4; round++) {
      clear();
      second(tensor([1, 2]));
      const before = w.toArray();
      const q = first.async(tensor([1, 0]));
      expect(w.grad?.toArray()).toEqual([1, 2]); // as it was
      expect(() => w.sum().backward()).toThrow(StateError);
      expect(clear).toThrow(StateError);
      await expect(apply.async()).rejects.toThrow(/computed by first; await/);
      await q;
      expect(w.grad?.toArray()).toEqual([2, 2]);
      const r = apply.async();
      expect(() => w.sum().backward()).toThrow(StateError);
      await r;
      expect(w.grad).toBe(null);
      expect(w.toArray()).toEqual((before as number[]).map((v) => v - 2));
    }
  });

  test('counts and averages are not read without the tensors that belong to them', async () => {
    const w = leaf(1, 1);
    const optimizer = new optim.NAdam([w], { lr: 0 });
    const ema = new optim.EMA([w], { decay: 0.9, biasCorrection: true });
    const copy = leaf(0, 0);
    const step = compile((x: Tensor) => {
      optimizer.zeroGrad();
      w.mul(x).sum().backward();
      optimizer.step();
      ema.update();
    });
    step(ones([2]));
    const p = step.async(ones([2]));
    for (const read of [
      () => optimizer.stateDict(),
      () => ema.stateDict(),
      () => ema.averages(),
      () => ema.copyTo([copy]),
    ]) {
      expect(read).toThrow(StateError);
    }
    await p;
    expect(optimizer.stateDict().state['0']?.step).toBe(2);
    for (const average of ema.averages()) for (const v of average.data) expect(v).toBeCloseTo(1, 6);
  });

  test('an error rejects and leaves state, and the queue goes on', async () => {
    const w = tensor([[1, 2, 3]], { requiresGrad: true });
    const generator = new Generator(3);
    const step = compile((y: Tensor) => {
      w.grad = null;
      const loss = nll(w.add(rand([1, 3], { generator })).logSoftmax(), y).sum();
      loss.backward();
      noGrad(() => w.sub_(w.grad as Tensor));
      return loss;
    });
    const state = () => [[...w.clone().data], w.grad?.toArray() ?? null, generator.getState()];
    const before = state();
    await expect(step.async(labels(3))).rejects.toThrow(/index 3|label 3|3 at position/);
    expect(state()).toEqual(before);
    const settled = await Promise.allSettled([
      step.async(labels(1)),
      step.async(labels(7)),
      step.async(labels(2)),
    ]);
    expect(settled.map((r) => r.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    // As if the bad one had never been.
    const v = tensor([[1, 2, 3]], { requiresGrad: true });
    const again = new Generator(3);
    for (const y of [1, 2]) {
      v.grad = null;
      nll(v.add(rand([1, 3], { generator: again })).logSoftmax(), labels(y))
        .sum()
        .backward();
      noGrad(() => v.sub_(v.grad as Tensor));
    }
    expect(state()).toEqual([[...v.data], v.grad?.toArray(), again.getState()]);
    await expect(step.async(3 as never)).rejects.toThrow(/argument 0/);
    await expect(
      compile(() => {
        throw new RangeError('mine');
      }).async(),
    ).rejects.toThrow('mine');
  });

  test('two steps at once, each with an arena of its own', async () => {
    const [a, b, c] = [slow(), slow(), slow()];
    const expected = [];
    for (let i = 0; i < 4; i++) expected.push(c.train(c.x).item());
    const results = await Promise.all([0, 1, 2, 3].flatMap(() => [a.train.async(a.x), b.train.async(b.x)]));
    expect(results.map((t) => t.item())).toEqual(expected.flatMap((v) => [v, v]));
    expect(a.w.clone().data).toEqual(c.w.clone().data);
    expect(b.w.clone().data).toEqual(c.w.clone().data);
  });

  test('synchronous steps with larger arenas beside one in flight', async () => {
    const [a, b] = [slow(100), slow(100)];
    const expected = [b.train(b.x).item(), b.train(b.x).item()];
    a.train(a.x);
    const p = a.train.async(a.x);
    for (const n of [10, 150, 300]) {
      const big = compile((x: Tensor) => x.exp().matmul(x).add(x.sin()).sum());
      const x = ones(n, n).mul(0.01);
      const eager = x.exp().matmul(x).add(x.sin()).sum().item();
      expect(big(x).item()).toBe(eager);
    }
    expect((await p).item()).toBe(expected[1]);
    expect(a.w.clone().data).toEqual(b.w.clone().data);
  });

  test('the gradient of the step before can be read while the next is in flight', async () => {
    const { w, train, x } = slow();
    const other = slow();
    other.train(other.x);
    const first = [...(other.w.grad as Tensor).clone().data];
    await train.async(x);
    const p = train.async(x);
    for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
    const g = w.grad as Tensor;
    const read = [...g.clone().data];
    await p;
    other.train(other.x);
    const second = [...(other.w.grad as Tensor).clone().data];
    // It may have completed meanwhile; but it is one of the two, and not a mixture.
    expect([JSON.stringify(first), JSON.stringify(second)]).toContain(JSON.stringify(read));
    expect([...(w.grad as Tensor).clone().data]).toEqual(second);
  });

  test('reads one version of a parameter that a synchronous step updates meanwhile', async () => {
    const { w, train, predict, forward, x } = slow();
    train(x);
    predict(x);
    for (let round = 0; round < 3; round++) {
      const expected = noGrad(() => forward(x).sum().item());
      const p = predict.async(x);
      train(x);
      train(x);
      expect((await p).item()).toBe(expected);
      const p2 = predict.async(x);
      let refused = false;
      try {
        w.fill_(0.01);
      } catch (error) {
        refused = error instanceof StateError;
      }
      expect(refused).toBe(true);
      await p2;
    }
  });

  test('updates that are in place, as those with momentum, are never seen half done', async () => {
    const w = zeros(50_000);
    const step = compile((x: Tensor) => {
      noGrad(() => {
        w.add_(x);
        w.slice(0, 25_000).add_(1);
        w.slice(25_000).add_(1);
      });
      return w.sum();
    });
    step(tensor(1));
    const p = step.async(tensor(1));
    const values = new Set(w.clone().data);
    expect([...values]).toEqual([2]);
    await p;
    expect([...new Set(w.clone().data)]).toEqual([4]);
  });
});
