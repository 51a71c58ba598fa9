import { optim, zeros } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { expectClose, load } from './golden.js';

interface ScheduleCase {
  readonly schedule: string;
  readonly lr: number;
  readonly options: Readonly<Record<string, unknown>>;
  /** Before the first step and after each. */
  readonly lrs: readonly number[];
  /** The optimizer's momentum, where the schedule moves that too. */
  readonly momentum?: readonly number[];
  /** What ReduceLROnPlateau is told at each step. */
  readonly metrics?: readonly number[];
}

/** Schedules that have numbers but are not in the library yet. One that appears must be taken off this list. */
const notYet: readonly string[] = [];

type ScheduleClass = new (optimizer: unknown, options: unknown) => { step(metric?: number): unknown };
const classes = optim as unknown as Record<string, ScheduleClass | undefined>;
const { cases } = load<ScheduleCase>('schedules');

describe('learning-rate schedules against PyTorch', () => {
  it('lists every missing schedule, and no other', () => {
    const names = [...new Set(cases.map((c) => c.schedule))];
    expect(names.filter((name) => !classes[name]).sort()).toEqual([...notYet].sort());
  });

  for (const c of cases) {
    if (notYet.includes(c.schedule)) continue;
    it(`${c.schedule} ${JSON.stringify(c.options)}`, () => {
      const optimizer = new optim.SGD([zeros([1], { requiresGrad: true })], { lr: c.lr, momentum: 0.9 });
      const schedule = new (classes[c.schedule] as ScheduleClass)(optimizer, c.options);
      const [lrs, momenta] = [[optimizer.lr], [optimizer.paramGroups[0]?.momentum as number]];
      for (let k = 0; k + 1 < c.lrs.length; k++) {
        optimizer.step();
        schedule.step(...(c.metrics ? [c.metrics[k]] : []));
        lrs.push(optimizer.lr);
        momenta.push(optimizer.paramGroups[0]?.momentum as number);
      }
      const tolerance = { relative: 1e-12, absolute: 1e-15 };
      expectClose('learning rates', lrs, c.lrs, tolerance);
      if (c.momentum) expectClose('momentum', momenta, c.momentum, tolerance);
    });
  }
});
