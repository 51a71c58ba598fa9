import { compile, optim, type Tensor, zeros } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { expectClose, load } from './golden.js';

interface Spec {
  readonly schedule: string;
  readonly options: Readonly<Record<string, unknown>>;
}

interface Case extends Spec {
  readonly optimizer: 'SGD' | 'Adam';
  /** The rates of the groups. */
  readonly groups: readonly number[];
  /** Of each group, before the first step and after each. */
  readonly lrs: readonly (readonly number[])[];
  /** Momentum or β1, where the schedule moves it. */
  readonly momenta?: readonly (readonly number[])[];
  /** What step() is given: an epoch, or nothing. */
  readonly epochs?: readonly (number | null)[];
  readonly metrics?: readonly number[];
}

const functions: Readonly<Record<string, (t: number) => number>> = {
  inverse: (t) => 1 / (1 + t),
  halves: (t) => 0.5 ** t,
  wave: (t) => 1 + 0.25 * (t % 3),
};

type ScheduleClass = new (...args: unknown[]) => optim.Schedule & { step(x?: number): void };

function build({ schedule, options }: Spec, optimizer: optim.Optimizer): InstanceType<ScheduleClass> {
  const value = (x: unknown): unknown => {
    if (Array.isArray(x)) return x.map(value);
    if (typeof x !== 'object' || x === null) return x;
    if ('fn' in x) return functions[x.fn as string];
    return 'schedule' in x ? build(x as Spec, optimizer) : x;
  };
  const given = Object.fromEntries(Object.entries(options).map(([key, x]) => [key, value(x)]));
  const Class = (optim as unknown as Record<string, ScheduleClass>)[schedule] as ScheduleClass;
  return new Class(optimizer, given);
}

function make(c: Case): {
  optimizer: optim.Optimizer;
  groups: { lr: number; momentum?: number; betas?: number[] }[];
} {
  const params = c.groups.map((lr) => ({ params: [zeros([1], { requiresGrad: true })], lr }));
  const optimizer = (c.optimizer === 'Adam'
    ? new optim.Adam(params)
    : new optim.SGD(params, { momentum: 0.9 })) as unknown as optim.Optimizer;
  return { optimizer, groups: optimizer.paramGroups as never };
}

const tolerance = { relative: 1e-12, absolute: 1e-15 };
const { cases } = load<Case>('combinedSchedules');

describe('learning-rate schedules against PyTorch 2.13: groups, sequences, chains, warm-up', () => {
  cases.forEach((c, number) => {
    for (const compiled of [false, true]) {
      if (compiled && (c.epochs || c.metrics)) continue;
      it(`${number}: ${c.schedule} ${JSON.stringify(c.options).slice(0, 160)}${compiled ? ', compiled' : ''}`, () => {
        const { optimizer, groups } = make(c);
        const schedule = build(c, optimizer);
        const lrs: number[][] = [];
        const momenta: number[][] = [];
        const look = () => {
          lrs.push(groups.map((g) => g.lr));
          momenta.push(groups.map((g) => g.momentum ?? (g.betas?.[0] as number)));
        };
        const update = (x: Tensor): Tensor => {
          for (const { params } of optimizer.paramGroups) for (const p of params) p.grad = zeros([1]);
          optimizer.step();
          schedule.step();
          return x.add(1);
        };
        const step = compiled ? compile(update) : update;
        const x = zeros([]);
        look();
        for (let k = 0; k + 1 < c.lrs.length; k++) {
          if (c.metrics) schedule.step(c.metrics[k]);
          else if (c.epochs && c.epochs[k] !== null) schedule.step(c.epochs[k] as number);
          else step(x);
          look();
        }
        expectClose('learning rates', lrs.flat(), c.lrs.flat(), tolerance);
        if (c.momenta) expectClose('momenta', momenta.flat(), c.momenta.flat(), tolerance);
        else expect(new Set(momenta.flat())).toEqual(new Set([0.9]));
      });
    }

    it(`${number}: ${c.schedule} resumes from its state`, () => {
      const advance = (schedule: InstanceType<ScheduleClass>, from: number, to: number) => {
        for (let k = from; k < to; k++) {
          if (c.metrics) schedule.step(c.metrics[k]);
          else if (c.epochs && c.epochs[k] !== null) schedule.step(c.epochs[k] as number);
          else schedule.step();
        }
      };
      const last = c.lrs.length - 1;
      const half = last >> 1;
      const first = make(c);
      const schedule = build(c, first.optimizer);
      advance(schedule, 0, half);
      // As they would be in a file.
      const saved = JSON.parse(JSON.stringify(schedule.stateDict())) as optim.ScheduleState;
      const state = first.optimizer.stateDict();
      advance(schedule, half, last);
      const second = make(c);
      const resumed = build(c, second.optimizer);
      second.optimizer.loadStateDict(state);
      resumed.loadStateDict(saved);
      advance(resumed, half, last);
      expect(second.groups.map((g) => g.lr)).toEqual(first.groups.map((g) => g.lr));
    });
  });
});
