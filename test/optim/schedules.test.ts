import {
  ArgumentError,
  CompileError,
  compile,
  ones,
  optim,
  StateError,
  type Tensor,
  tensor,
  zeros,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';

const optimizer = (lr = 0.1): optim.SGD =>
  new optim.SGD([zeros([1], { requiresGrad: true })], { lr, momentum: 0.9 });

const schedules: [string, (o: optim.SGD) => optim.Schedule][] = [
  ['StepLR', (o) => new optim.StepLR(o, { stepSize: 2, gamma: 0.5 })],
  ['MultiStepLR', (o) => new optim.MultiStepLR(o, { milestones: [2, 5] })],
  ['ExponentialLR', (o) => new optim.ExponentialLR(o, { gamma: 0.9 })],
  ['CosineAnnealingLR', (o) => new optim.CosineAnnealingLR(o, { tMax: 4, etaMin: 0.01 })],
  ['LinearLR', (o) => new optim.LinearLR(o, { totalIters: 6 })],
  ['ConstantLR', (o) => new optim.ConstantLR(o, { totalIters: 3 })],
  ['PolynomialLR', (o) => new optim.PolynomialLR(o, { totalIters: 9, power: 2 })],
  ['LambdaLR', (o) => new optim.LambdaLR(o, { lrLambda: (t) => 1 / (1 + t) })],
  ['OneCycleLR', (o) => new optim.OneCycleLR(o, { maxLr: 0.5, totalSteps: 12 })],
  ['CosineAnnealingWarmRestarts', (o) => new optim.CosineAnnealingWarmRestarts(o, { t0: 2, tMult: 2 })],
  ['CyclicLR', (o) => new optim.CyclicLR(o, { baseLr: 0.01, maxLr: 0.1, stepSizeUp: 3 })],
];

describe('schedules', () => {
  for (const [name, create] of schedules) {
    it(`${name} moves inside a compiled step as outside`, () => {
      const runs = [true, false].map((compiled) => {
        const p = tensor([1], { requiresGrad: true });
        const o = new optim.SGD([p], { lr: 0.1, momentum: 0.9 });
        const schedule = create(o);
        const eager = (x: Tensor): Tensor => {
          o.zeroGrad();
          const loss = p.mul(x).square().sum();
          loss.backward();
          o.step();
          schedule.step();
          return loss;
        };
        const step = compiled ? compile(eager) : eager;
        const rates: number[] = [];
        for (let k = 0; k < 9; k++) {
          step(ones(1));
          rates.push(o.lr);
        }
        return { rates, epoch: schedule.lastEpoch, p: p.item() };
      });
      expect(runs[0]).toEqual(runs[1]);
      expect(runs[0]?.epoch).toBe(9);
    });

    it(`${name} resumes from its state`, () => {
      const o = optimizer();
      const schedule = create(o);
      for (let k = 0; k < 4; k++) schedule.step();
      const [a, b] = [schedule.stateDict(), o.stateDict()];
      const next: number[] = [];
      for (let k = 0; k < 4; k++) {
        schedule.step();
        next.push(o.lr);
      }
      const again = optimizer();
      const resumed = create(again);
      again.loadStateDict(b);
      resumed.loadStateDict(a);
      for (const lr of next) {
        resumed.step();
        expect(again.lr).toBe(lr);
      }
    });
  }

  it('LambdaLR multiplies the first rate', () => {
    const o = optimizer(2);
    const schedule = new optim.LambdaLR(o, { lrLambda: (t) => 0.5 ** t });
    expect(o.lr).toBe(2);
    schedule.step();
    schedule.step();
    expect(schedule.getLastLr()).toEqual([0.5]);
  });

  it('ReduceLROnPlateau takes tensors, and refuses to be part of a compiled step', () => {
    const o = optimizer(1);
    const schedule = new optim.ReduceLROnPlateau(o, { patience: 0 });
    schedule.step(tensor(1));
    schedule.step(tensor(2));
    expect(o.lr).toBeCloseTo(0.1, 12);
    const state = schedule.stateDict();
    expect(state).toMatchObject({ best: 1, numBadEpochs: 0, lastEpoch: 2 });
    expect(() => schedule.step()).toThrow(ArgumentError);
    expect(() => compile((x: Tensor) => schedule.step(x))(ones([]))).toThrow(CompileError);
  });

  it('says what is wrong', () => {
    const o = optimizer();
    expect(() => new optim.StepLR(o, { stepsize: 3 } as never)).toThrow(/did you mean "stepSize"/);
    expect(() => new optim.StepLR(o, { stepSize: 0 })).toThrow(ArgumentError);
    expect(() => new optim.StepLR(zeros(1) as never, { stepSize: 1 })).toThrow(/takes an optimizer/);
    expect(() => new optim.OneCycleLR(o, { maxLr: 1 })).toThrow(/totalSteps/);
    expect(
      () =>
        new optim.OneCycleLR(new optim.Adagrad([zeros([1], { requiresGrad: true })]), {
          maxLr: 1,
          totalSteps: 5,
        }),
    ).toThrow(/cycleMomentum/);
    const short = new optim.OneCycleLR(o, { maxLr: 1, totalSteps: 2 });
    // As in PyTorch, a call after the last step is all right: a loop steps the schedule once after every update.
    short.step();
    short.step();
    const last = [o.lr, o.paramGroups[0]?.momentum, short.lastEpoch];
    expect(() => short.step()).toThrow(/beyond the cycle/);
    expect([o.lr, o.paramGroups[0]?.momentum, short.lastEpoch]).toEqual(last);
    expect(() => new optim.StepLR(o, { stepSize: 1 }).loadStateDict({ lastEpoch: 'x' } as never)).toThrow(
      StateError,
    );
  });
});
