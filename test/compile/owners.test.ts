// What a step reads from and does to optimizers, schedules and generators, beside its operations: the same as in eager mode,
// also where it changes between two calls.
import {
  compile,
  F,
  Generator,
  IndexError,
  nn,
  noGrad,
  optim,
  rand,
  randn,
  StateError,
  type Tensor,
  tensor,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';

type Make = <A extends readonly unknown[], R>(fn: (...args: A) => R) => (...args: A) => R;

const parameter = (value: number): Tensor => tensor([value], { requiresGrad: true });
const one = tensor([1]);

/** A step on a weight whose gradient is 1, with what is done before and after its update. */
function descent(
  make: Make,
  after: (o: optim.SGD, schedule: optim.StepLR, w: Tensor) => Tensor | undefined,
): { step: () => number; o: optim.SGD; schedule: optim.StepLR } {
  const w = parameter(0);
  const o = new optim.SGD([w], { lr: 1 });
  const schedule = new optim.StepLR(o, { stepSize: 4, gamma: 0.1 });
  const step = make((x: Tensor) => {
    o.zeroGrad();
    w.mul(x).sum().backward();
    o.step();
    return after(o, schedule, w) ?? w;
  });
  return { step: () => step(one).item(), o, schedule };
}

const group = (o: optim.SGD) => o.paramGroups[0] as optim.ParamGroup<optim.SGDOptions>;

const cases: Record<string, (make: Make) => unknown[]> = {
  'a rate of a group that is read, and set outside': (make) => {
    const { step, o } = descent(make, (opt, _, w) => w.mul(group(opt).lr));
    return [0, 1, 2, 3, 4].map((i) => {
      if (i === 3) o.lr = 0.5;
      return step();
    });
  },
  'a rate of a group that the step lowers': (make) => {
    const { step } = descent(make, (o) => {
      group(o).lr *= 0.5;
      return undefined;
    });
    return [0, 1, 2, 3].map(step);
  },
  'a rate of a group held outside that the step reads': (make) => {
    let held: optim.ParamGroup<optim.SGDOptions>;
    const { step, o } = descent(make, (_, __, w) => w.mul(held.lr));
    held = group(o);
    return [0, 1, 2, 3, 4].map((i) => {
      if (i === 3) held.lr = 0.5;
      return step();
    });
  },
  'a rate of a group held outside that the step lowers': (make) => {
    let held: optim.ParamGroup<optim.SGDOptions>;
    const { step, o } = descent(make, () => {
      held.lr *= 0.5;
      return undefined;
    });
    held = group(o);
    return [...[0, 1, 2, 3].map(step), o.lr];
  },
  'a number in an option that the step lowers': (make) => {
    const w = parameter(0);
    const o = new optim.Adam([w], { lr: 0.1 });
    const betas = o.paramGroups[0]?.betas as [number, number];
    const step = make((x: Tensor) => {
      o.zeroGrad();
      w.mul(x).sum().backward();
      o.step();
      (o.paramGroups[0]?.betas as [number, number])[0] *= 0.5;
      return w;
    });
    return [...[1, -2, 3, 4].map((x) => step(tensor([x])).item()), ...betas];
  },
  'the rate of an optimizer that the step lowers': (make) => {
    const { step } = descent(make, (o) => {
      o.lr *= 0.5;
      return undefined;
    });
    return [0, 1, 2, 3].map(step);
  },
  'rates that two steps set': (make) => {
    const w = parameter(0);
    const o = new optim.SGD([w], { lr: 1 });
    const steps = [1, 0.01].map((lr) =>
      make((x: Tensor) => {
        o.zeroGrad();
        w.mul(x).sum().backward();
        o.lr = lr;
        o.step();
        return w;
      }),
    );
    return [0, 1, 2, 3, 4, 5].map((i) => (steps[i % 2] as (x: Tensor) => Tensor)(one).item());
  },
  'the last rate of a schedule that moves outside': (make) => {
    const { step, schedule } = descent(make, (_, s, w) => w.mul(s.getLastLr()[0] as number));
    return Array.from({ length: 7 }, () => {
      const y = step();
      schedule.step();
      return y;
    });
  },
  'the last rate of a schedule that the step moves': (make) => {
    const { step } = descent(make, (_, s, w) => {
      s.step();
      return w.mul(s.getLastLr()[0] as number);
    });
    return Array.from({ length: 7 }, step);
  },
  'parameters that are added where the step only resets gradients': (make) => {
    const [a, b, c] = [parameter(1), parameter(2), parameter(3)];
    const o = new optim.SGD([a], { lr: 0.1 });
    const step = make((x: Tensor) => {
      o.zeroGrad();
      a.mul(b).mul(c).mul(x).sum().backward();
      return x;
    });
    return [0, 1, 2, 3, 4, 5].flatMap((i) => {
      if (i === 2) o.addParamGroup({ params: [b] });
      if (i === 4) group(o).params.push(c);
      step(one);
      return [a, b, c].map((p) => p.grad?.item());
    });
  },
  'rates by group': (make) => {
    const w = parameter(0);
    const o = new optim.SGD([w], { lr: 1 });
    const rates = new Map(o.paramGroups.map((g) => [g, 0.5]));
    const step = make((x: Tensor) => {
      o.zeroGrad();
      w.mul(x).sum().backward();
      for (const g of o.paramGroups) g.lr = rates.get(g) ?? 0;
      o.step();
      return w;
    });
    return [0, 1, 2].map(() => step(one).item());
  },
  'the decay of an average and the count of a schedule, which change outside': (make) => {
    const w = parameter(1);
    const ema = new optim.EMA([w], { decay: 0.5 });
    const schedule = new optim.StepLR(new optim.SGD([w], { lr: 1 }), { stepSize: 1 });
    const step = make((x: Tensor) => [x.mul(ema.decay), x.mul(schedule.lastEpoch)]);
    return [0, 1, 2, 3, 4].map((i) => {
      if (i === 3) ema.decay = 0.25;
      if (i > 2) schedule.step();
      return step(one).map((t) => t.item());
    });
  },
  'a module whose gradients it only resets': (make) => {
    const m = new nn.Linear(1, 1);
    const step = make((x: Tensor) => {
      m.zeroGrad();
      return x.mul(2);
    });
    return [0, 1, 2, 3].map((i) => {
      if (i === 1 || i === 3) m.bias = nn.Parameter([1]);
      (m.bias as Tensor).grad = tensor([7]);
      step(one);
      return m.bias?.grad;
    });
  },
  'gradients that are detached, after a refusal, too': (make) => {
    const w = tensor([1, 2], { requiresGrad: true });
    const step = make((x: Tensor, y: Tensor) => {
      if (w.grad) w.grad = w.grad.detach();
      const l = w.indexSelect(0, y).mul(x).sum();
      l.backward();
      return l;
    });
    return [0, 0, 0, 9, 0, 1, 0].map((i) => {
      try {
        return [step(one, tensor([i], { dtype: 'int32' })).item(), w.grad?.toArray()];
      } catch (error) {
        return [(error as Error).name, w.grad?.toArray()];
      }
    });
  },
  'a generator that starts again': (make) => {
    const g = new Generator(1);
    const step = make((x: Tensor) => {
      g.manualSeed(5);
      return x.add(rand([1], { generator: g }));
    });
    return [0, 1, 2, 3].map(() => [step(one).item(), g.getState()]);
  },
  'a generator that goes back to a state': (make) => {
    const g = new Generator(1);
    const step = make((x: Tensor) => {
      const state = g.getState();
      const mask = rand([3], { generator: g });
      g.setState(state);
      return x.mul(mask.sub(rand([3], { generator: g })).sum());
    });
    return [0, 1, 2, 3].map(() => [step(one).item(), g.getState()]);
  },
};

describe('a compiled step is what an eager one is', () => {
  it.each(Object.entries(cases))('with %s', (_, run) => {
    expect(run(compile)).toEqual(run((fn) => fn));
  });
});

it.each([
  'SGD',
  'Adam',
  'AdamW',
  'RMSprop',
  'Rprop',
  'Adagrad',
  'Adadelta',
  'Adamax',
  'NAdam',
  'RAdam',
  'SignSGD',
  'SteepestDescent',
] as const)(
  'a rate that a schedule moves, in the step or outside, is no reason to trace again: %s',
  (name) => {
    for (const inside of [true, false]) {
      const w = tensor([1, 2], { requiresGrad: true });
      const o = new (optim[name] as typeof optim.SGD)([w], { lr: 0.1 });
      const schedule = new optim.ExponentialLR(o, { gamma: 0.9 });
      let traced = 0;
      const step = compile((x: Tensor) => {
        traced++;
        o.zeroGrad();
        w.mul(x).sum().backward();
        o.step();
        if (inside) schedule.step();
      });
      for (let i = 0; i < 6; i++) {
        step(one);
        if (!inside) schedule.step();
      }
      expect(traced).toBe(2);
    }
  },
);

it('a refused step leaves the rate that it sets, but not one that others set', () => {
  const w = tensor([[1, 2]], { requiresGrad: true });
  for (const lower of [
    (o: optim.SGD) => {
      o.lr *= 0.5;
    },
    (o: optim.SGD) => {
      group(o).lr *= 0.5;
    },
  ]) {
    const o = new optim.SGD([w], { lr: 1 });
    const step = compile((y: Tensor) => {
      lower(o);
      return F.crossEntropy(w, y);
    });
    const [good, bad] = [0, 5].map((label) => tensor([label], { dtype: 'int32' })) as [Tensor, Tensor];
    expect(() => step(bad)).toThrow(IndexError);
    expect(o.lr).toBe(1);
    step(good);
    step(good);
    expect(() => step(bad)).toThrow(IndexError);
    expect(o.lr).toBe(0.25);
  }
});

it('another seed in the second call is noticed', () => {
  const g = new Generator();
  let seed = 1;
  const step = compile((x: Tensor) => {
    g.manualSeed(seed++);
    return x.add(rand([1], { generator: g }));
  });
  step(one);
  expect(() => step(one)).toThrow(/other optimizers, schedules or generators/);
});

it('an eager update is made for all parameters or none where a step in flight works on one', async () => {
  const w = noGrad(() => randn([200, 200]).mul(0.01));
  w.requiresGrad = true;
  const x = randn([200, 200]);
  const train = compile((input: Tensor) => {
    w.grad = null;
    const loss = F.mseLoss(input.matmul(w), input);
    loss.backward();
    noGrad(() => w.sub_((w.grad as Tensor).mul(0.1)));
    return loss;
  });
  train(x);
  for (const Kind of [optim.SGD, optim.Adam, optim.RMSprop]) {
    const other = parameter(1);
    const o = new Kind([other, w], { lr: 0.5 });
    const ema = new optim.EMA([other, w], { decay: 0.5 });
    other.grad = tensor([1]);
    w.grad = randn([200, 200]);
    const averaging = compile(() => {
      ema.update();
    });
    averaging();
    const pending = train.async(x);
    const before = other.item();
    expect(() => o.step()).toThrow(StateError);
    expect(other.item()).toBe(before);
    await pending;
    const running = averaging.async();
    const updates = ema.updates;
    expect(() => ema.update()).toThrow(StateError);
    expect(ema.updates).toBe(updates);
    await running;
  }
});
