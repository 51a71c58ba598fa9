import { inspect } from 'node:util';
import {
  ArgumentError,
  compile,
  DTypeError,
  Generator,
  nn,
  ones,
  optim,
  randn,
  StateError,
  type Tensor,
  tensor,
  zeros,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';

type AnyOptimizer = optim.Optimizer;
type Make = (params: unknown) => AnyOptimizer;
const make =
  (Class: unknown, options: object): Make =>
  (params) =>
    new (Class as new (params: unknown, options: object) => AnyOptimizer)(params, options);

/** Every optimizer, with rates that suit the problems below. */
const all: [string, Make][] = [
  ['SGD', make(optim.SGD, { lr: 0.02 })],
  ['SGD with momentum', make(optim.SGD, { lr: 0.01, momentum: 0.9, nesterov: true, weightDecay: 1e-4 })],
  [
    'SGD with unbiased momentum',
    make(optim.SGD, { lr: 0.02, momentum: 0.9, momentumForm: 'average', biasCorrection: true }),
  ],
  [
    'SGD with a velocity',
    make(optim.SGD, { lr: 0.01, momentum: 0.9, momentumForm: 'velocity', weightDecay: 1e-4 }),
  ],
  ['SignSGD', make(optim.SignSGD, { lr: 0.005, momentum: 0.9 })],
  ['steepest descent', make(optim.SteepestDescent, { lr: 0.005 })],
  ['Adam', make(optim.Adam, { lr: 0.05 })],
  [
    'Adam of absolute values',
    make(optim.Adam, { lr: 0.05, secondMoment: 'absolute', biasCorrection: false }),
  ],
  ['Adam with amsgrad', make(optim.Adam, { lr: 0.05, amsgrad: true, weightDecay: 1e-4 })],
  ['AdamW', make(optim.AdamW, { lr: 0.05, weightDecay: 1e-4 })],
  ['RMSprop', make(optim.RMSprop, { lr: 0.01 })],
  ['RMSprop, centred with momentum', make(optim.RMSprop, { lr: 0.002, centered: true, momentum: 0.5 })],
  ['RMSprop with eps inside the root', make(optim.RMSprop, { lr: 0.01, eps: 1e-6, epsInsideRoot: true })],
  ['Rprop', make(optim.Rprop, { lr: 0.01 })],
  ['Rprop of the lecture', make(optim.Rprop, { lr: 0.01, variant: 'rprop-' })],
  ['Rprop by signs', make(optim.Rprop, { lr: 0.01, variant: 'sign', eps: 4 })],
  ['Adagrad', make(optim.Adagrad, { lr: 0.3, lrDecay: 1e-4 })],
  ['Adadelta', make(optim.Adadelta, { lr: 0.3, rho: 0.95, eps: 1e-4 })],
  ['Adamax', make(optim.Adamax, { lr: 0.05 })],
  ['NAdam', make(optim.NAdam, { lr: 0.02 })],
  ['RAdam', make(optim.RAdam, { lr: 0.05 })],
];

const f64 = { dtype: 'float64', requiresGrad: true } as const;

describe('every optimizer', () => {
  for (const [name, create] of all) {
    it(`${name} descends a quadratic`, () => {
      const scale = tensor([1, 5, 20], { dtype: 'float64' });
      const p = tensor([1, -1, 0.5], f64);
      const optimizer = create([p]);
      const loss = (): Tensor => p.square().mul(scale).sum();
      const first = loss().item();
      for (let k = 0; k < 400; k++) {
        optimizer.zeroGrad();
        loss().backward();
        optimizer.step();
      }
      expect(loss().item()).toBeLessThan(first * 1e-3);
    });

    it(`${name} descends Rosenbrock's function`, () => {
      const x = tensor(-1.2, f64);
      const y = tensor(1, f64);
      const optimizer = create([x, y]);
      // Gradient descent needs a smaller rate in this valley.
      if (name.startsWith('SGD')) optimizer.lr = name === 'SGD' ? 1.5e-3 : 5e-4;
      const value = (): Tensor => x.sub(1).square().add(y.sub(x.square()).square().mul(100));
      // RAdam's first steps are plain momentum.
      if (name === 'RAdam') optimizer.lr = 4e-3;
      for (let k = 0; k < 2500; k++) {
        optimizer.step(() => {
          optimizer.zeroGrad();
          const loss = value();
          loss.backward();
          return loss;
        });
      }
      // From 24.2; the rest of the way is flat.
      expect(value().item()).toBeLessThan(1);
    });

    it(`${name} compiled has the bits of eager steps, with rates that change`, () => {
      const runs = [true, false].map((compiled) => {
        const generator = new Generator(3);
        const model = new nn.Sequential(
          new nn.Linear(4, 5, { generator }),
          new nn.Tanh(),
          new nn.Linear(5, 1, { generator }),
        );
        const optimizer = create(model.namedParameters());
        const eager = (x: Tensor): Tensor => {
          optimizer.zeroGrad();
          const loss = model.forward(x).square().mean();
          loss.backward();
          optimizer.step();
          return loss;
        };
        const step = compiled ? compile(eager) : eager;
        const losses: number[] = [];
        for (let k = 0; k < 9; k++) {
          if (k === 4) optimizer.lr *= 0.5;
          losses.push(step(randn(6, 4, { generator })).item());
        }
        return {
          losses,
          parameters: model.parameters().map((p) => p.toArray()),
          steps: optimizer.stateDict().state['0.bias']?.step,
        };
      });
      expect(runs[0]).toEqual(runs[1]);
    });

    it(`${name} resumes with the bits of uninterrupted training`, () => {
      const train = (p: Tensor, optimizer: AnyOptimizer, from: number, to: number): void => {
        for (let k = from; k < to; k++) {
          p.grad = randn(7, { generator: new Generator(k) });
          optimizer.step();
        }
      };
      const start = randn(7, { generator: new Generator(99) });
      const p = start.clone();
      p.requiresGrad = true;
      const optimizer = create([p]);
      train(p, optimizer, 0, 5);
      const state = optimizer.stateDict();
      const values = p.clone().detach();
      train(p, optimizer, 5, 10);

      const q = values.clone();
      q.requiresGrad = true;
      const resumed = create([q]);
      resumed.lr = 123;
      resumed.loadStateDict(state);
      expect(resumed.lr).toBe(optimizer.lr);
      train(q, resumed, 5, 10);
      expect(q.toArray()).toEqual(p.toArray());

      // Also into the optimizer that has gone on, whose state is overwritten in place.
      p.copy_(values);
      optimizer.loadStateDict(state);
      train(p, optimizer, 5, 10);
      expect(p.toArray()).toEqual(q.toArray());
    });
  }
});

describe('Optimizer', () => {
  const p = (): Tensor => zeros([2], { requiresGrad: true });

  it('leaves parameters without a gradient alone', () => {
    const [a, b] = [p(), p()];
    const optimizer = new optim.Adam([a, b], { lr: 0.1 });
    a.grad = ones(2);
    optimizer.step();
    expect(b.toArray()).toEqual([0, 0]);
    expect(a.toArray()[0 as never]).toBeCloseTo(-0.1, 6);
    expect(Object.keys(optimizer.stateDict().state)).toEqual(['0']);
  });

  it('calls a closure and returns its value', () => {
    const a = p();
    const optimizer = new optim.SGD([a], { lr: 1 });
    const loss = optimizer.step(() => {
      const l = a.add(1).square().sum();
      l.backward();
      return l;
    });
    expect(loss.item()).toBe(2);
    expect(a.toArray()).toEqual([-2, -2]);
    expect(optimizer.step()).toBeUndefined();
  });

  it('refuses an async closure, whose gradients would come after the step', async () => {
    for (const options of [{}, { momentum: 0.9, nesterov: 'lookahead' }] as const) {
      const a = tensor([1, 2], { requiresGrad: true });
      a.grad = tensor([1, 1]);
      const optimizer = new optim.SGD([a], { lr: 0.1, ...options });
      expect(() => optimizer.step(async () => a.sum().backward())).toThrow(/the function is async/);
      expect(() => optimizer.step(() => Promise.reject(new Error('late')))).toThrow(ArgumentError);
      await Promise.resolve();
      expect(a.toArray()).toEqual([1, 2]);
    }
  });

  it('has groups with options of their own', () => {
    const [a, b, c] = [p(), p(), p()];
    const optimizer = new optim.SGD([{ params: [a] }, { params: b, lr: 1 }], { lr: 0.5 });
    optimizer.addParamGroup({ params: [['c', c]], momentum: 0.9 });
    expect(optimizer.paramGroups.map((g) => [g.lr, g.momentum])).toEqual([
      [0.5, 0],
      [1, 0],
      [0.5, 0.9],
    ]);
    for (const t of [a, b, c]) t.grad = ones(2);
    optimizer.step();
    expect([a, b, c].map((t) => t.toArray())).toEqual([
      [-0.5, -0.5],
      [-1, -1],
      [-0.5, -0.5],
    ]);
    optimizer.lr = 2;
    expect(optimizer.paramGroups.map((g) => g.lr)).toEqual([2, 2, 2]);
    expect(inspect(optimizer.paramGroups[2])).toMatch(/^{\s+lr: 2,\s+momentum: 0.9,/);
    expect(JSON.parse(JSON.stringify({ ...optimizer.paramGroups[2], params: [] }))).toMatchObject({
      lr: 2,
      momentum: 0.9,
    });
    optimizer.zeroGrad();
    expect(a.grad).toBeNull();
  });

  it('keys its state by name where names were given', () => {
    const model = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 1));
    const optimizer = new optim.Adam(model.namedParameters());
    model.forward(ones(1, 2)).sum().backward();
    optimizer.step();
    const { state, paramGroups } = optimizer.stateDict();
    expect(Object.keys(state)).toEqual(['0.weight', '0.bias', '1.weight', '1.bias']);
    expect(Object.keys(state['0.weight'] ?? {})).toEqual(['step', 'expAvg', 'expAvgSq']);
    expect(paramGroups[0]).toMatchObject({ lr: 0.001, betas: [0.9, 0.999], params: Object.keys(state) });
  });

  it('refuses a state that does not fit, and changes nothing then', () => {
    const optimizer = new optim.SGD([p()], { lr: 0.1, momentum: 0.9 });
    const other = new optim.SGD([zeros([3], { requiresGrad: true })], { lr: 0.7, momentum: 0.9 });
    (other.paramGroups[0]?.params[0] as Tensor).grad = ones(3);
    other.step();
    expect(() => optimizer.loadStateDict(other.stateDict())).toThrow(StateError);
    expect(() => optimizer.loadStateDict(other.stateDict())).toThrow(
      /momentumBuffer of 0: float32 \[3\].*\[2\]/,
    );
    expect(optimizer.lr).toBe(0.1);
    const named = new optim.SGD([['w', p()]] as [string, Tensor][], { lr: 0.1 });
    expect(() => optimizer.loadStateDict(named.stateDict())).toThrow(
      /parameters \[w\] where there are \[0\]/,
    );
    expect(() => optimizer.loadStateDict(new optim.Adam([p()]).stateDict() as never)).toThrow(/betas/);
    expect(() => optimizer.loadStateDict(null as never)).toThrow(ArgumentError);
  });

  it('says what is wrong with options and parameters', () => {
    expect(() => new optim.SGD([p()], { momentun: 0.9 } as never)).toThrow(
      /SGD.*"momentun".*did you mean "momentum"/,
    );
    expect(() => new optim.Adam([p()], { lr: -1 })).toThrow(/lr must be a number >= 0, not -1/);
    expect(() => new optim.Adam([p()], { lr: Number.NaN })).toThrow(ArgumentError);
    expect(() => new optim.Adam([p()], { betas: [0.9, 1] })).toThrow(/betas must be two numbers in \[0, 1\)/);
    expect(() => new optim.SGD([p()], { lr: 0.1, nesterov: true })).toThrow(/nesterov needs momentum/);
    expect(() => new optim.SGD([{ params: [p()], learningRate: 1 }] as never, { lr: 0.1 })).toThrow(
      /learningRate/,
    );
    expect(() => new optim.SGD([])).toThrow(/no parameters/);
    expect(() => new optim.SGD(new nn.Linear(1, 1) as never)).toThrow(/model\.parameters\(\)/);
    expect(() => new optim.SGD([3] as never)).toThrow(/parameter 0 must be a tensor/);
    const a = p();
    expect(() => new optim.SGD([a, a])).toThrow(/given twice/);
    expect(() => new optim.SGD([a.mul(2)])).toThrow(/leaves/);
    expect(() => new optim.SGD([zeros(2, 2).narrow(1, 0, 1)])).toThrow(/window/);
    expect(() => new optim.SGD([tensor([1], { dtype: 'int32' })])).toThrow(DTypeError);
    expect(() => {
      new optim.SGD([a]).lr = -1;
    }).toThrow(ArgumentError);
    expect(() => new optim.SGD([a]).step(3 as never)).toThrow(ArgumentError);
    for (const etas of [
      [1.2, 0.5],
      [2, 2],
      [0.5, 1],
      [0, 1.2],
    ] as const)
      expect(() => new optim.Rprop([a], { etas }), String(etas)).toThrow(/Rprop: etas/);
  });

  it('notices in a compiled step that an option switched the formula', () => {
    const runs = [true, false].map((compiled) => {
      const a = tensor([1, 2], { requiresGrad: true });
      const optimizer = new optim.SGD([a], { lr: 0.1 });
      const eager = (x: Tensor): Tensor => {
        optimizer.zeroGrad();
        const loss = a.mul(x).square().sum();
        loss.backward();
        optimizer.step();
        return loss;
      };
      const step = compiled ? compile(eager) : eager;
      for (let k = 0; k < 8; k++) {
        const [group] = optimizer.paramGroups;
        if (group && k === 3) group.momentum = 0.9;
        if (group && k === 5) group.weightDecay = 0.1;
        if (group && k === 6) group.maximize = true;
        step(ones(2));
      }
      return a.toArray();
    });
    expect(runs[0]).toEqual(runs[1]);
  });

  it('goes on after loadStateDict() under a compiled step', () => {
    const a = tensor([1, 2], { requiresGrad: true });
    const optimizer = new optim.Adam([a], { lr: 0.1 });
    const step = compile((x: Tensor) => {
      optimizer.zeroGrad();
      a.mul(x).square().sum().backward();
      optimizer.step();
    });
    step(ones(2));
    step(ones(2));
    const [state, values] = [optimizer.stateDict(), a.detach().clone()];
    step(ones(2));
    step(ones(2));
    const after = a.toArray();
    optimizer.loadStateDict(state);
    a.copy_(values);
    step(ones(2));
    step(ones(2));
    expect(a.toArray()).toEqual(after);
  });
});

describe('asynchronous steps', () => {
  it('have the bits of eager ones, with state, masks and running statistics', async () => {
    const results = [];
    for (const asynchronous of [true, false]) {
      const generator = new Generator(3);
      const model = new nn.Sequential(
        new nn.Linear(4, 6, { generator }),
        new nn.BatchNorm1d(6),
        new nn.Dropout(0.3, { generator }),
        new nn.Linear(6, 1, { generator }),
      );
      const optimizer: optim.Optimizer = new optim.AdamW(model.namedParameters(), {
        lr: 0.05,
        amsgrad: true,
      });
      const schedule = new optim.ExponentialLR(optimizer, { gamma: 0.9 });
      const eager = (x: Tensor): Tensor => {
        optimizer.zeroGrad();
        const loss = model.forward(x).square().mean();
        loss.backward();
        nn.utils.clipGradValue(model.parameters(), 0.1);
        optimizer.step();
        schedule.step();
        return loss;
      };
      const step = compile(eager);
      const losses: number[] = [];
      for (let k = 0; k < 6; k++) {
        const x = randn(8, 4, { generator });
        losses.push((asynchronous ? await step.async(x) : eager(x)).item());
      }
      const state = Object.values(model.stateDict()).map((t) => t.toArray());
      results.push({ losses, state, lr: optimizer.lr });
    }
    expect(results[0]).toEqual(results[1]);
  });
});

describe('options that were spoilt after the optimizer was made', () => {
  it('are an error before anything is written, eager and compiled', () => {
    for (const compiled of [false, true]) {
      const p = tensor([1, 2], { requiresGrad: true });
      const optimizer = new optim.Adam([p], { lr: 0.1 });
      const train = (): Tensor => {
        optimizer.zeroGrad();
        const loss = p.square().sum();
        loss.backward();
        optimizer.step();
        return loss;
      };
      const step = compiled ? compile(train) : train;
      for (let i = 0; i < 3; i++) step();
      const before = p.toArray();
      (optimizer.paramGroups[0] as { lr: unknown }).lr = 'fast';
      expect(() => step()).toThrow(ArgumentError);
      (optimizer.paramGroups[0] as { lr: unknown }).lr = Number.NaN;
      expect(() => step()).toThrow(/Adam: an option/);
      expect(p.toArray()).toEqual(before);
      (optimizer.paramGroups[0] as { lr: unknown }).lr = 0;
      step();
      expect(p.toArray()).toEqual(before);
    }
  });

  it('name the option, whatever was put in its place, in every optimizer', () => {
    const wrong: unknown[] = [Number.NaN, 'x', undefined, null, {}, [1], [Number.NaN, 0.9], [2, -2]];
    for (const [name, create] of all) {
      for (const compiled of [false, true]) {
        const [a, b] = [[1, 2], [3]].map((v) => tensor(v, { requiresGrad: true })) as [Tensor, Tensor];
        const optimizer = create([{ params: [a] }, { params: [b] }]);
        const train = (): Tensor => {
          optimizer.zeroGrad();
          const loss = a.square().sum().add(b.square().sum());
          loss.backward();
          optimizer.step();
          return loss;
        };
        const step = compiled ? compile(train) : train;
        step();
        step();
        const group = optimizer.paramGroups[1] as unknown as Record<string, unknown>;
        for (const [key, good] of Object.entries(group)) {
          if (key === 'params') continue;
          for (const value of compiled ? wrong.slice(1, 4) : wrong) {
            const before = [...a.data, ...b.data];
            group[key] = value;
            const what = `${name}: ${key} = ${JSON.stringify(value)}`;
            expect(step, what).toThrow(ArgumentError);
            expect(step, what).toThrow(new RegExp(`paramGroups\\[1\\] was set wrong: ${key} must be`));
            // Not the group before it either.
            expect([...a.data, ...b.data], what).toEqual(before);
          }
          group[key] = good;
        }
        const before = a.toArray();
        step();
        expect(a.toArray(), name).not.toEqual(before);
      }
    }
  });

  it('may be below 0 by a rounding error, which schedules that end at 0 leave', () => {
    for (const compiled of [false, true]) {
      const p = tensor([1, 2], { requiresGrad: true });
      const optimizer = new optim.SGD([p], { lr: 0.7 });
      const schedule = new optim.LinearLR(optimizer, { startFactor: 0.7, endFactor: 0, totalIters: 6 });
      const train = (): void => {
        optimizer.zeroGrad();
        p.sum().backward();
        optimizer.step();
      };
      const step = compiled ? compile(train) : train;
      for (let k = 0; k < 8; k++) {
        step();
        schedule.step();
      }
      expect(optimizer.lr).toBeLessThan(0);
      expect(optimizer.lr).toBeGreaterThan(-1e-15);
      // A state saved then can be loaded.
      const resumed = new optim.SGD([tensor([1, 2], { requiresGrad: true })], { lr: 0.7 });
      resumed.loadStateDict(optimizer.stateDict());
      expect(resumed.lr).toBe(optimizer.lr);
      (optimizer.paramGroups[0] as { lr: number }).lr = -1e-3;
      expect(step).toThrow(/lr must be a number >= 0, not -0\.001/);
    }
  });

  it('are an error where they contradict each other', () => {
    const p = tensor([1, 2], { requiresGrad: true });
    p.grad = tensor([1, 1]);
    const optimizer = new optim.SGD([p]);
    (optimizer.paramGroups[0] as { nesterov: boolean }).nesterov = true;
    expect(() => optimizer.step()).toThrow(/nesterov needs momentum/);
    expect(p.toArray()).toEqual([1, 2]);
  });

  it('are refused in a state that is loaded, with the numbers of steps', () => {
    const p = tensor([1, 2], { requiresGrad: true });
    p.grad = tensor([1, 1]);
    const optimizer = new optim.NAdam([p]);
    optimizer.step();
    const load = (entry: Record<string, unknown>): (() => void) => {
      const dict = optimizer.stateDict();
      return () =>
        optimizer.loadStateDict({ ...dict, state: { 0: { ...dict.state[0], ...entry } } } as never);
    };
    for (const step of [Number.NaN, -5, 1.5, Infinity, 'a'])
      expect(load({ step }), String(step)).toThrow(/state does not fit: step of 0/);
    expect(load({ muProduct: Number.NaN })).toThrow(StateError);
    load({ step: 7 })();
    expect(optimizer.stateDict().state[0]?.step).toBe(7);
  });
});
