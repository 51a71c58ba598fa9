import { ArgumentError, compile, type DType, optim, type Tensor, tensor, zeros } from 'simdgrad';
import { describe, expect, it } from 'vitest';

/*
 * Schedules in training. For the quadratic ½ Σ a θ² a step of gradient descent is θ ← θ (1 - η_t a), with the rate η_t of the
 * schedule written out here; the numbers are kept in double precision.
 */

const curvatures = [0.1, 0.5, 1, 1.9];
const start = [1, -2, 3, 0.5];
const base = 0.4;

interface Plan {
  readonly name: string;
  readonly make: (o: optim.SGD) => optim.Schedule;
  /** The rate of update t, counted from 0. */
  readonly rate: (t: number) => number;
}

const cosine = (from: number, to: number, share: number): number =>
  to + ((from - to) * (1 + Math.cos(Math.PI * share))) / 2;

const plans: readonly Plan[] = [
  {
    name: 'StepLR: the rate is decreased after every n updates',
    make: (o) => new optim.StepLR(o, { stepSize: 7, gamma: 0.5 }),
    rate: (t) => base * 0.5 ** Math.floor(t / 7),
  },
  {
    name: 'ExponentialLR: base γ^t',
    make: (o) => new optim.ExponentialLR(o, { gamma: 0.9 }),
    rate: (t) => base * 0.9 ** t,
  },
  {
    name: 'CosineAnnealingLR: half a cosine from base to etaMin',
    make: (o) => new optim.CosineAnnealingLR(o, { tMax: 40, etaMin: 0.01 }),
    rate: (t) => cosine(base, 0.01, t / 40),
  },
  {
    name: 'WarmupLR: a line from 0 to base, then what follows',
    make: (o) =>
      new optim.WarmupLR(o, { warmupSteps: 8, after: new optim.CosineAnnealingLR(o, { tMax: 32 }) }),
    rate: (t) => (t < 8 ? (base * t) / 8 : cosine(base, 0, (t - 8) / 32)),
  },
  {
    name: 'LinearLR: a warm-up from a share of base',
    make: (o) => new optim.LinearLR(o, { startFactor: 0.25, totalIters: 10 }),
    rate: (t) => base * (0.25 + (0.75 * Math.min(t, 10)) / 10),
  },
  {
    name: 'OneCycleLR: up to the highest rate and down to almost nothing',
    make: (o) => new optim.OneCycleLR(o, { maxLr: 0.5, totalSteps: 40, cycleMomentum: false }),
    // 0.3 of the cycle goes up: the highest rate is that of update 0.3 · 40 - 1.
    rate: (t) => (t <= 11 ? cosine(0.5 / 25, 0.5, t / 11) : cosine(0.5, 0.5 / 25 / 1e4, (t - 11) / 28)),
  },
];

const tolerance: Record<'float32' | 'float64', number> = { float32: 3e-6, float64: 1e-12 };

function descend(
  dtype: DType,
  compiled: boolean,
  make: (o: optim.SGD) => { step: (loss: Tensor) => void },
  steps: number,
): { after: (t: number) => number[]; optimizer: optim.SGD } {
  const theta = tensor(start, { dtype, requiresGrad: true });
  const a = tensor(curvatures, { dtype });
  const optimizer = new optim.SGD([theta], { lr: base });
  const schedule = make(optimizer);
  const eager = (weights: Tensor): Tensor => {
    optimizer.zeroGrad();
    const loss = theta.square().mul(weights).sum().mul(0.5);
    loss.backward();
    optimizer.step();
    schedule.step(loss);
    return loss;
  };
  const step = compiled ? compile(eager) : eager;
  const seen: number[][] = [];
  for (let t = 0; t < steps; t++) {
    step(a);
    seen.push(Array.from(theta.data));
  }
  return { after: (t) => seen[t - 1] as number[], optimizer };
}

describe('gradient descent with a schedule', () => {
  for (const { name, make, rate } of plans) {
    for (const dtype of ['float32', 'float64'] as const) {
      for (const compiled of [false, true]) {
        it(`${name}, ${dtype}${compiled ? ', compiled' : ''}`, () => {
          const { after } = descend(
            dtype,
            compiled,
            (o) => {
              const schedule = make(o);
              return { step: () => schedule.step() };
            },
            30,
          );
          const expected = [...start];
          for (let t = 0; t < 30; t++) {
            curvatures.forEach((a, i) => {
              (expected[i] as number) *= 1 - rate(t) * a;
            });
            if (![1, 2, 10, 30].includes(t + 1)) continue;
            after(t + 1).forEach((x, i) => {
              expect(Math.abs(x - (expected[i] as number))).toBeLessThan(tolerance[dtype]);
            });
          }
        });
      }
    }
  }

  it('ReduceLROnPlateau: the rate is halved when the loss has not got smaller for more than two updates', () => {
    for (const dtype of ['float32', 'float64'] as const) {
      const theta = tensor([1], { dtype, requiresGrad: true });
      const o = new optim.SGD([theta], { lr: 2 });
      const schedule = new optim.ReduceLROnPlateau(o, { factor: 0.5, patience: 2 });
      // With rate 2 the parameter jumps from side to side: the loss θ²/2 stays. With rate 1 it is at the minimum at once.
      const seen: [number, number][] = [];
      for (let t = 0; t < 8; t++) {
        o.zeroGrad();
        const loss = theta.square().sum().mul(0.5);
        loss.backward();
        o.step();
        schedule.step(loss);
        seen.push([o.lr, theta.item()]);
      }
      expect(seen).toEqual([
        [2, -1],
        [2, 1],
        [2, -1],
        [1, 1],
        [1, 0],
        [1, 0],
        [1, 0],
        [1, 0],
      ]);
    }
  });
});

describe('noisy gradients near the optimum', () => {
  // g = θ - ξ with ξ normal, of variance 1: a mini-batch of the quadratic with its minimum at 0. The components are
  // independent runs. Plain SGD is then an autoregression with ρ = 1 - η, whose variance settles at η / (2 - η).
  const runs = 20_000;
  const rate = 0.5;

  function noisy(make: (o: optim.SGD) => { step: () => void }, p: Tensor): void {
    const o = new optim.SGD([p], { lr: rate });
    const { step } = make(o);
    const noise = new Float64Array(runs);
    let state = 12345;
    const uniform = (): number => {
      state = (state * 16807) % 2147483647;
      return state / 2147483647;
    };
    const update = compile((xi: Tensor) => {
      p.grad = p.detach().sub(xi);
      o.step();
      step();
      return xi.sum();
    });
    for (let t = 0; t < 60; t++) {
      for (let i = 0; i < runs; i += 2) {
        const r = Math.sqrt(-2 * Math.log(uniform()));
        const phi = 2 * Math.PI * uniform();
        noise[i] = r * Math.cos(phi);
        noise[i + 1] = r * Math.sin(phi);
      }
      update(tensor(noise, { dtype: 'float64' }));
    }
  }

  const variance = (t: Tensor): number => Array.from(t.data).reduce((a, x) => a + x * x, 0) / runs;
  const parameter = (): Tensor => zeros([runs], { dtype: 'float64', requiresGrad: true });
  // Of a variance that is estimated from so many values: 5 standard errors.
  const error = (v: number): number => 5 * v * Math.sqrt(2 / runs);

  it('keep the parameters moving with a variance of η / (2 - η), which annealing takes away', () => {
    const [constant, annealed] = [parameter(), parameter()];
    noisy(() => ({ step: () => undefined }), constant);
    const expected = rate / (2 - rate);
    expect(Math.abs(variance(constant) - expected)).toBeLessThan(error(expected));
    noisy((o) => {
      const schedule = new optim.StepLR(o, { stepSize: 10, gamma: 0.5 });
      return { step: () => schedule.step() };
    }, annealed);
    // v ← (1 - η_t)² v + η_t²
    let v = 0;
    for (let t = 0; t < 60; t++) {
      const eta = rate * 0.5 ** Math.floor(t / 10);
      v = (1 - eta) ** 2 * v + eta ** 2;
    }
    expect(v).toBeLessThan(expected / 10);
    expect(Math.abs(variance(annealed) - v)).toBeLessThan(error(v));
  });

  it('leave an average of the parameters with less variance than the parameters', () => {
    const p = parameter();
    const ema = new optim.EMA(p, { decay: 0.8 });
    noisy(() => ({ step: () => ema.update() }), p);
    // Of an average with decay γ of an autoregression with ρ: v (1 - γ) / (1 + γ) · (1 + γ ρ) / (1 - γ ρ).
    const [rho, decay] = [1 - rate, 0.8];
    const v = rate / (2 - rate);
    const expected = (((v * (1 - decay)) / (1 + decay)) * (1 + decay * rho)) / (1 - decay * rho);
    expect(expected).toBeLessThan(0.3 * v);
    expect(Math.abs(variance(ema.averages()[0] as Tensor) - expected)).toBeLessThan(error(expected));
    ema.swapIn();
    expect(Math.abs(variance(p) - expected)).toBeLessThan(error(expected));
    ema.swapOut();
    expect(Math.abs(variance(p) - v)).toBeLessThan(error(v));
  });
});

describe('schedules of schedules', () => {
  const make = (): optim.SGD => new optim.SGD([zeros([1], { requiresGrad: true })], { lr: 1 });

  it('say what is wrong', () => {
    const o = make();
    const step = new optim.StepLR(o, { stepSize: 2 });
    const other = new optim.StepLR(make(), { stepSize: 2 });
    const plateau = new optim.ReduceLROnPlateau(o);
    for (const [schedulers, what] of [
      [[], /array of schedules/],
      [3, /array of schedules/],
      [[step, 3], /schedulers\[1\] must be a schedule/],
      [[step, plateau], /schedulers\[1\] is a ReduceLROnPlateau/],
      [[step, other], /another optimizer/],
      [[step, step], /given twice/],
    ] as const) {
      const milestones = [2];
      expect(() => new optim.SequentialLR(o, { schedulers: schedulers as never, milestones })).toThrow(what);
      expect(() => new optim.ChainedScheduler(o, { schedulers: schedulers as never })).toThrow(what);
      expect(() => new optim.ChainedScheduler(o, { schedulers: schedulers as never })).toThrow(ArgumentError);
    }
    const second = new optim.ExponentialLR(o, { gamma: 0.5 });
    const schedulers = [step, second];
    expect(() => new optim.SequentialLR(o, { schedulers, milestones: [] })).toThrow(
      /need 1 milestones, not 0/,
    );
    expect(() => new optim.SequentialLR(o, { schedulers, milestones: [1.5] })).toThrow(/whole number/);
    expect(() => new optim.SequentialLR(o, { schedulers, milestones: 3 as never })).toThrow(/is an array/);
    expect(() => new optim.SequentialLR(o, { schedulers, milestone: [2] } as never)).toThrow(/"milestones"/);
    expect(
      () =>
        new optim.SequentialLR(o, {
          schedulers: [...schedulers, new optim.ConstantLR(o)],
          milestones: [3, 2],
        }),
    ).toThrow(/ascend/);
    expect(() => new optim.WarmupLR(o, { warmupSteps: 0 })).toThrow(/whole number >= 1/);
    expect(() => new optim.WarmupLR(o, { warmupSteps: 2, startFactor: 2 })).toThrow(/\[0, 1\]/);
    expect(() => new optim.WarmupLR(o, { warmupSteps: 2, after: other })).toThrow(/another optimizer/);
    expect(() => new optim.WarmupLR(zeros([1]) as never, { warmupSteps: 2 })).toThrow(/takes an optimizer/);
    expect(() => new optim.ChainedScheduler([other], o)).toThrow(/another optimizer/);
  });

  it('may be members of each other, and carry the state of all', () => {
    const build = (o: optim.SGD): optim.Schedule =>
      new optim.SequentialLR(o, {
        schedulers: [
          new optim.WarmupLR(o, { warmupSteps: 2, startFactor: 0.5 }),
          new optim.ChainedScheduler([
            new optim.ConstantLR(o, { factor: 0.5, totalIters: 2 }),
            new optim.ExponentialLR(o, { gamma: 0.5 }),
          ]),
        ],
        milestones: [3],
      });
    const o = make();
    const schedule = build(o);
    const rates = [o.lr];
    for (let t = 1; t <= 7; t++) {
      schedule.step();
      rates.push(o.lr);
    }
    // Up to 1; then 0.5 · 0.5^t, doubled after two steps.
    expect(rates).toEqual([0.5, 0.75, 1, 0.5, 0.25, 0.25, 0.125, 0.0625]);
    const again = make();
    const resumed = build(again);
    resumed.loadStateDict(schedule.stateDict());
    again.loadStateDict(o.stateDict());
    resumed.step();
    schedule.step();
    expect(again.lr).toBe(o.lr);
    expect(() => resumed.loadStateDict({ lastEpoch: 1, baseLrs: [1] })).toThrow(/2 schedulers/);
  });

  it('and single ones say so where a parameter group came later', () => {
    const o = make();
    const cosine = new optim.LambdaLR(o, (t) => 1 / (1 + t));
    o.addParamGroup({ params: [zeros([1], { requiresGrad: true })] });
    expect(() => cosine.step()).toThrow(/has 2 parameter groups now, and had 1/);
  });
});
