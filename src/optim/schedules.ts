import { ArgumentError, CompileError, StateError } from '../errors.js';
import { isTensor } from '../ops/primitive.js';
import { advance, observe, tracing, withRecorder } from '../program/emit.js';
import { describe } from '../program/view.js';
import { camelCase } from '../suggest.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import { type BaseOptions, Optimizer } from './optimizer.js';

// Learning-rate schedules, with the formulas and options of torch.optim.lr_scheduler. Most are recursive, as
// there: each step changes the present rate, so that schedules can be combined and rates set by hand.

/** A parameter group as schedules see it. */
export interface Group extends BaseOptions {
  lr: number;
  /** Of SGD and RMSprop, which some schedules cycle. */
  momentum?: number;
  /** Of the Adam family, the first of which some schedules cycle. */
  betas?: readonly [number, number];
}

/** What schedules set in a group. */
type Moving = Pick<Group, 'lr' | 'momentum' | 'betas'>;

function moving({ lr, momentum, betas }: Group): Moving {
  return {
    lr,
    ...(momentum === undefined ? {} : { momentum }),
    ...(betas === undefined ? {} : { betas }),
  };
}

/** What Schedule.stateDict gives: plain values. */
export interface ScheduleState {
  [key: string]: number | number[] | null | string | ScheduleState[];
}

/** The rate of each group before any schedule changed it: what several schedules of one optimizer start from. */
const initialLrs = new WeakMap<Group, number>();

/** What schedules of schedules do with their members. */
interface Member {
  tick(): void;
  begin(): void;
  restart(): void;
}

function checkOptimizer(name: string, optimizer: unknown): Optimizer {
  if (optimizer instanceof Optimizer) return optimizer as Optimizer;
  throw new ArgumentError(`${name}: takes an optimizer first, not ${describe(optimizer)}`);
}

function isNumber(x: unknown): x is number {
  return typeof x === 'number' && Number.isFinite(x);
}

function numeric(
  name: string,
  option: string,
  x: unknown,
  test: (x: number) => boolean = () => true,
  what = 'a number',
): number {
  if (isNumber(x) && test(x)) return x;
  throw new ArgumentError(`${name}: ${option} must be ${what}, not ${describe(x)}`);
}

function count(name: string, option: string, x: unknown, least = 1): number {
  return numeric(name, option, x, (v) => Number.isInteger(v) && v >= least, `a whole number >= ${least}`);
}

/** One number for each group, from one for all or an array. */
function perGroup(
  name: string,
  option: string,
  x: unknown,
  groups: number,
  test?: (x: number) => boolean,
  what?: string,
): number[] {
  if (!Array.isArray(x)) return new Array<number>(groups).fill(numeric(name, option, x, test, what));
  if (x.length !== groups) {
    throw new ArgumentError(
      `${name}: ${option} is a number, or an array of one for each of the ${groups} groups, not of ${x.length}`,
    );
  }
  return x.map((v) => numeric(name, `every ${option}`, v, test, what));
}

function flag(name: string, option: string, x: unknown): boolean {
  if (typeof x === 'boolean') return x;
  throw new ArgumentError(`${name}: ${option} must be true or false, not ${describe(x)}`);
}

function choice<T extends string>(name: string, option: string, x: unknown, values: readonly T[]): T {
  const given = camelCase(x);
  if (typeof given === 'string' && (values as readonly string[]).includes(given)) return given as T;
  throw new ArgumentError(`${name}: ${option} must be one of ${values.join(', ')}, not ${describe(x)}`);
}

/**
 * Base of schedules. `step()` is called once after every epoch (or every optimizer step, as the schedule is
 * meant) and sets the rates of all groups of the optimizer. In a compiled step it moves with every replay.
 *
 * In the formulas t is the number of calls of step() so far, and base the rate that a group had when the first schedule of
 * its optimizer was made.
 */
export abstract class Schedule {
  #lastEpoch = 0;
  /** The rates that the groups had when the first schedule of the optimizer was made. */
  readonly baseLrs: number[];

  constructor(
    /** The optimizer whose learning rate is set. */
    readonly optimizer: Optimizer,
  ) {
    checkOptimizer(this.constructor.name, optimizer);
    this.baseLrs = this.groups.map((g) => {
      const base = initialLrs.get(g) ?? g.lr;
      initialLrs.set(g, base);
      return base;
    });
  }

  /** How often step() was called. */
  get lastEpoch(): number {
    observe(() => this.#lastEpoch);
    return this.#lastEpoch;
  }

  /** Sets the count; the rates stay as they are. */
  set lastEpoch(value: number) {
    this.#lastEpoch = value;
  }

  /** The groups of the optimizer. */
  protected get groups(): Group[] {
    return withRecorder(null, () => this.optimizer.paramGroups as unknown as Group[]);
  }

  /** The rate of group i after `lastEpoch` steps, from its present rate. */
  protected abstract rate(group: Group, i: number): number;

  /** Sets the rates for the present epoch. */
  protected set(): void {
    this.groups.forEach((g, i) => {
      g.lr = this.rate(g, i);
    });
  }

  /** What there is for group i, or a StateError where that was added when the schedule was there. */
  protected at<T>(list: readonly T[], i: number): T {
    const x = list[i];
    if (x !== undefined) return x;
    throw new StateError(
      `${this.constructor.name}: the optimizer has ${this.groups.length} parameter groups now, and had ${list.length} when ` +
        'the schedule was made; make the schedule when all groups are there',
    );
  }

  /** The rates of the groups. */
  getLastLr(): number[] {
    return this.optimizer.paramGroups.map((g) => g.lr as number);
  }

  /** Moves on by one step. */
  step(): void {
    this.move(() => this.tick());
  }

  /** What step() changes. */
  protected tick(): void {
    this.lastEpoch++;
    this.set();
  }

  /** What a new schedule makes of the present rates. */
  protected begin(): void {
    this.lastEpoch = 0;
  }

  /** Starts anew from the base rates, whatever the present ones are. */
  protected restart(): void {
    this.groups.forEach((g, i) => {
      g.lr = this.at(this.baseLrs, i);
    });
    this.begin();
  }

  /** Runs a change of this schedule's state and of the groups, now and at every replay of a compiled step. */
  protected move(change: () => void): void {
    let before = { state: {} as ScheduleState, groups: [] as Moving[] };
    let after: Moving[] = [];
    let epoch = 0;
    const back = (): void => {
      // What others have set meanwhile, beside an asynchronous step, is theirs.
      if (this.lastEpoch === epoch) this.loadStateDict(before.state);
      before.groups.forEach((then, i) => {
        const group = this.groups[i];
        if (group === undefined) return;
        for (const key of Object.keys(then) as (keyof Moving)[]) {
          if (group[key] === after[i]?.[key]) Object.assign(group, { [key]: then[key] });
        }
      });
    };
    const moved = (): void => {
      after = this.groups.map(moving);
      epoch = this.lastEpoch;
    };
    advance({
      owner: this,
      advance: () => {
        before = { state: this.stateDict(), groups: this.groups.map(moving) };
        try {
          change();
        } catch (error) {
          moved();
          back();
          throw error;
        }
        moved();
        return [];
      },
      rewind: back,
    });
  }

  /** Names of the fields that move. */
  protected stateNames(): readonly string[] {
    return ['lastEpoch', 'baseLrs'];
  }

  /** What moves, as plain values. The rates themselves are in the optimizer's stateDict(). */
  stateDict(): ScheduleState {
    const out: ScheduleState = {};
    for (const name of this.stateNames()) {
      const value = (this as unknown as ScheduleState)[name] as ScheduleState[string];
      out[name] = Array.isArray(value) ? [...(value as number[])] : value;
    }
    return out;
  }

  /** Takes over what stateDict() gave. Throws StateError for another schedule's state. */
  loadStateDict(state: ScheduleState): void {
    const name = this.constructor.name;
    if (typeof state !== 'object' || state === null) {
      throw new ArgumentError(`${name}: loadStateDict takes what stateDict() gives, not ${describe(state)}`);
    }
    const own = this as unknown as Record<string, unknown>;
    for (const key of this.stateNames()) {
      const value: unknown = state[key];
      const fits = Array.isArray(own[key])
        ? Array.isArray(value) &&
          value.every((x) => typeof x === 'number') &&
          value.length === (own[key] as unknown[]).length
        : typeof value === 'number' || (value === null && own[key] === null);
      if (!fits) throw new StateError(`${name}: loadStateDict: ${key} is ${describe(value)}`);
    }
    for (const key of this.stateNames()) {
      const value = state[key];
      if (Array.isArray(value)) (own[key] as number[]).splice(0, value.length, ...(value as number[]));
      else own[key] = value;
    }
  }
}

/**
 * Multiplies the rate by gamma (default 0.1) every stepSize steps: base · gamma^⌊t / stepSize⌋. "The simplest schedule is to
 * decrease the learning rate after every n updates" (lecture 001, 001_bc23b3794dd68e11.txt): call step() after every
 * update, with stepSize n.
 */
export class StepLR extends Schedule {
  /** Steps between two decays. */
  readonly stepSize: number;
  /** Factor at every decay. */
  readonly gamma: number;
  constructor(optimizer: Optimizer, options: { readonly stepSize: number; readonly gamma?: number }) {
    super(optimizer);
    checkOptions('StepLR', options, ['stepSize', 'gamma']);
    this.stepSize = count('StepLR', 'stepSize', options.stepSize);
    this.gamma = numeric('StepLR', 'gamma', options.gamma ?? 0.1);
  }
  protected override rate({ lr }: Group): number {
    return this.lastEpoch % this.stepSize === 0 ? lr * this.gamma : lr;
  }
}

/** Multiplies the rate by gamma (default 0.1) at every milestone (a number of steps; one may stand there twice). */
export class MultiStepLR extends Schedule {
  /** Numbers of steps after which the learning rate decays. */
  readonly milestones: readonly number[];
  /** Factor at every decay. */
  readonly gamma: number;
  constructor(
    optimizer: Optimizer,
    options: { readonly milestones: readonly number[]; readonly gamma?: number },
  ) {
    super(optimizer);
    checkOptions('MultiStepLR', options, ['milestones', 'gamma']);
    if (!Array.isArray(options.milestones)) {
      throw new ArgumentError(`MultiStepLR: milestones is an array, not ${describe(options.milestones)}`);
    }
    this.milestones = options.milestones.map((m) => count('MultiStepLR', 'every milestone', m, 0));
    this.gamma = numeric('MultiStepLR', 'gamma', options.gamma ?? 0.1);
    this.begin();
  }
  protected override begin(): void {
    super.begin();
    this.set();
  }
  protected override rate({ lr }: Group): number {
    return lr * this.gamma ** this.milestones.filter((m) => m === this.lastEpoch).length;
  }
}

/** Multiplies the rate by gamma at every step: base · gamma^t. */
export class ExponentialLR extends Schedule {
  /** Factor at every step. */
  readonly gamma: number;
  constructor(optimizer: Optimizer, options: { readonly gamma: number }) {
    super(optimizer);
    checkOptions('ExponentialLR', options, ['gamma']);
    this.gamma = numeric('ExponentialLR', 'gamma', options.gamma);
  }
  protected override rate({ lr }: Group): number {
    return lr * this.gamma;
  }
}

/**
 * Half a cosine from the first rate down to etaMin (default 0) in tMax steps, and up again: etaMin + (base -
 * etaMin) (1 + cos(π t / tMax)) / 2 (Loshchilov and Hutter, 2017, without restarts), computed from the rate
 * before.
 */
export class CosineAnnealingLR extends Schedule {
  /** Steps from the first learning rate to the least one. */
  readonly tMax: number;
  /** The least learning rate. */
  readonly etaMin: number;
  constructor(optimizer: Optimizer, options: { readonly tMax: number; readonly etaMin?: number }) {
    super(optimizer);
    checkOptions('CosineAnnealingLR', options, ['tMax', 'etaMin']);
    this.tMax = count('CosineAnnealingLR', 'tMax', options.tMax);
    this.etaMin = numeric('CosineAnnealingLR', 'etaMin', options.etaMin ?? 0);
  }
  protected override rate({ lr }: Group, i: number): number {
    const { tMax, etaMin, lastEpoch } = this;
    if ((lastEpoch - 1 - tMax) % (2 * tMax) === 0) {
      return lr + ((this.at(this.baseLrs, i) - etaMin) * (1 - Math.cos(Math.PI / tMax))) / 2;
    }
    const now = 1 + Math.cos((Math.PI * lastEpoch) / tMax);
    const before = 1 + Math.cos((Math.PI * (lastEpoch - 1)) / tMax);
    return (now / before) * (lr - etaMin) + etaMin;
  }
}

/**
 * A factor from startFactor (default 1/3) to endFactor (1), in equal steps over totalIters (5) steps: base · (start + (end -
 * start) · min(t, n) / n). From a small factor to 1 this is a warm-up (see WarmupLR for one from 0, with what follows).
 */
export class LinearLR extends Schedule {
  /** Factor of the learning rate at the beginning. */
  readonly startFactor: number;
  /** Factor of the learning rate in the end. */
  readonly endFactor: number;
  /** Steps from one to the other. */
  readonly totalIters: number;
  constructor(
    optimizer: Optimizer,
    options: {
      readonly startFactor?: number;
      readonly endFactor?: number;
      readonly totalIters?: number;
    } = {},
  ) {
    super(optimizer);
    checkOptions('LinearLR', options, ['startFactor', 'endFactor', 'totalIters']);
    this.startFactor = numeric(
      'LinearLR',
      'startFactor',
      options.startFactor ?? 1 / 3,
      (x) => x > 0 && x <= 1,
      'in (0, 1]',
    );
    this.endFactor = numeric(
      'LinearLR',
      'endFactor',
      options.endFactor ?? 1,
      (x) => x >= 0 && x <= 1,
      'in [0, 1]',
    );
    this.totalIters = count('LinearLR', 'totalIters', options.totalIters ?? 5);
    this.begin();
  }
  protected override begin(): void {
    super.begin();
    for (const g of this.groups) g.lr *= this.startFactor;
  }
  protected override rate({ lr }: Group): number {
    const { startFactor: a, endFactor: b, totalIters: n, lastEpoch: t } = this;
    return t > n ? lr : lr * (1 + (b - a) / (n * a + (t - 1) * (b - a)));
  }
}

/** A factor (default 1/3) for the first totalIters (5) steps, then 1. */
export class ConstantLR extends Schedule {
  /** Factor of the learning rate at the beginning. */
  readonly factor: number;
  /** Steps for which it holds. */
  readonly totalIters: number;
  constructor(
    optimizer: Optimizer,
    options: { readonly factor?: number; readonly totalIters?: number } = {},
  ) {
    super(optimizer);
    checkOptions('ConstantLR', options, ['factor', 'totalIters']);
    this.factor = numeric(
      'ConstantLR',
      'factor',
      options.factor ?? 1 / 3,
      (x) => x > 0 && x <= 1,
      'in (0, 1]',
    );
    this.totalIters = count('ConstantLR', 'totalIters', options.totalIters ?? 5);
    this.begin();
  }
  protected override begin(): void {
    super.begin();
    for (const g of this.groups) g.lr *= this.factor;
  }
  protected override rate({ lr }: Group): number {
    return this.lastEpoch === this.totalIters ? lr / this.factor : lr;
  }
}

/** base · (1 - t / totalIters)^power (defaults 5 and 1), 0 from totalIters on. */
export class PolynomialLR extends Schedule {
  /** Steps until the learning rate is 0. */
  readonly totalIters: number;
  /** Of the polynomial. */
  readonly power: number;
  constructor(optimizer: Optimizer, options: { readonly totalIters?: number; readonly power?: number } = {}) {
    super(optimizer);
    checkOptions('PolynomialLR', options, ['totalIters', 'power']);
    this.totalIters = count('PolynomialLR', 'totalIters', options.totalIters ?? 5);
    this.power = numeric('PolynomialLR', 'power', options.power ?? 1);
  }
  protected override rate({ lr }: Group): number {
    const { lastEpoch: t, totalIters: n, power } = this;
    return t > n ? lr : lr * ((1 - t / n) / (1 - (t - 1) / n)) ** power;
  }
}

/** A factor by the number of steps so far. */
export type Lambda = (epoch: number) => number;
/** One factor for all groups, or one for each. */
export type Lambdas = Lambda | readonly Lambda[];

/** A class is a function too, but cannot be called. */
function isPlainFunction(f: unknown): boolean {
  return typeof f === 'function' && !/^class\b/.test(Function.prototype.toString.call(f));
}

/** One function per group, from { lrLambda } or what would stand there. */
function lambdas(
  name: string,
  groups: number,
  given: Lambdas | { readonly lrLambda: Lambdas },
): readonly Lambda[] {
  let lrLambda = given as Lambdas;
  if (typeof given !== 'function' && !Array.isArray(given)) {
    checkOptions(name, given, ['lrLambda']);
    lrLambda = (given as { readonly lrLambda: Lambdas }).lrLambda;
  }
  const list = typeof lrLambda === 'function' ? Array.from({ length: groups }, () => lrLambda) : lrLambda;
  if (!Array.isArray(list) || list.length !== groups || !list.every(isPlainFunction)) {
    throw new ArgumentError(
      `${name}: lrLambda is a function, or an array of one for each of the ${groups} groups`,
    );
  }
  return list as Lambda[];
}

/** rate · lrLambda(t) at every step: a function of the number of steps, or one per group, as such or as { lrLambda }. */
export class MultiplicativeLR extends Schedule {
  readonly #lambdas: readonly Lambda[];
  constructor(optimizer: Optimizer, options: Lambdas | { readonly lrLambda: Lambdas }) {
    super(optimizer);
    this.#lambdas = lambdas('MultiplicativeLR', this.groups.length, options);
  }
  protected override rate({ lr }: Group, i: number): number {
    const factor = this.at(this.#lambdas, i)(this.lastEpoch);
    return lr * numeric('MultiplicativeLR', 'what lrLambda returns', factor);
  }
  /** As in PyTorch, where a sequence of schedules goes on from the present rate here. */
  protected override restart(): void {
    this.lastEpoch = 0;
    this.set();
  }
}

/** base · lrLambda(t): a function of the number of steps, or one per group, as such or as { lrLambda }. */
export class LambdaLR extends Schedule {
  readonly #lambdas: readonly Lambda[];
  constructor(optimizer: Optimizer, options: Lambdas | { readonly lrLambda: Lambdas }) {
    super(optimizer);
    this.#lambdas = lambdas('LambdaLR', this.groups.length, options);
    this.begin();
  }
  protected override begin(): void {
    super.begin();
    this.set();
  }
  protected override rate(_: Group, i: number): number {
    const factor = this.at(this.#lambdas, i)(this.lastEpoch);
    return this.at(this.baseLrs, i) * numeric('LambdaLR', 'what lrLambda returns', factor);
  }
}

/** Momentum of a group: `momentum`, or the first of `betas`. */
function getMomentum(name: string, g: Group): number {
  const m = g.momentum ?? g.betas?.[0];
  if (m === undefined) {
    throw new ArgumentError(
      `${name}: this optimizer has neither momentum nor betas; set cycleMomentum: false`,
    );
  }
  return m;
}

function setMomentum(g: Group, value: number): void {
  if (g.momentum !== undefined) g.momentum = value;
  else if (g.betas !== undefined) g.betas = [value, g.betas[1]];
}

/** Options of OneCycleLR. */
export interface OneCycleOptions {
  /** The highest rate; an array has one for each group. */
  readonly maxLr: number | readonly number[];
  /** Length of the cycle; or give epochs and stepsPerEpoch. */
  readonly totalSteps?: number;
  /** Instead of totalSteps, with stepsPerEpoch: how many epochs. */
  readonly epochs?: number;
  /** Instead of totalSteps, with epochs: steps in each. */
  readonly stepsPerEpoch?: number;
  /** Share of the cycle in which the rate grows. Default 0.3. */
  readonly pctStart?: number;
  /** Default 'cos'. */
  readonly annealStrategy?: 'cos' | 'linear';
  /** Whether momentum moves against the rate. Default true. */
  readonly cycleMomentum?: boolean;
  /** Momentum at the highest rate; an array has one for each group. Default 0.85. */
  readonly baseMomentum?: number | readonly number[];
  /** Momentum at the lowest rates. Default 0.95. */
  readonly maxMomentum?: number | readonly number[];
  /** The first rate is maxLr / divFactor. Default 25. */
  readonly divFactor?: number;
  /** The last rate is the first / finalDivFactor. Default 1e4. */
  readonly finalDivFactor?: number;
  /** Comes down to the first rate as it went up, then anneals. Default false. */
  readonly threePhase?: boolean;
}

/**
 * One rise from maxLr / divFactor to maxLr in pctStart of the cycle, and one descent to a 1 / finalDivFactor of the first rate
 * (Smith and Topin, 2018), each along half a cosine or a line, while the momentum (or β1) falls from maxMomentum to
 * baseMomentum and comes back. step() is called after every optimizer step; more than totalSteps times is an ArgumentError.
 */
export class OneCycleLR extends Schedule {
  /** Steps of the cycle. */
  readonly totalSteps: number;
  readonly #options: Required<
    Omit<
      OneCycleOptions,
      'totalSteps' | 'epochs' | 'stepsPerEpoch' | 'maxLr' | 'baseMomentum' | 'maxMomentum'
    >
  >;
  readonly #momenta: { readonly low: readonly number[]; readonly high: readonly number[] };
  readonly #maxLrs: readonly number[];

  constructor(optimizer: Optimizer, options: OneCycleOptions) {
    super(optimizer);
    const name = 'OneCycleLR';
    checkOptions(name, options, [
      'maxLr',
      'totalSteps',
      'epochs',
      'stepsPerEpoch',
      'pctStart',
      'annealStrategy',
      'cycleMomentum',
      'baseMomentum',
      'maxMomentum',
      'divFactor',
      'finalDivFactor',
      'threePhase',
    ]);
    if (
      options.totalSteps === undefined &&
      (options.epochs === undefined || options.stepsPerEpoch === undefined)
    ) {
      throw new ArgumentError(`${name}: give totalSteps, or epochs and stepsPerEpoch`);
    }
    this.totalSteps =
      options.totalSteps === undefined
        ? count(name, 'epochs', options.epochs) * count(name, 'stepsPerEpoch', options.stepsPerEpoch)
        : count(name, 'totalSteps', options.totalSteps);
    const n = this.groups.length;
    this.#maxLrs = perGroup(name, 'maxLr', options.maxLr, n);
    this.#momenta = {
      low: perGroup(name, 'baseMomentum', options.baseMomentum ?? 0.85, n),
      high: perGroup(name, 'maxMomentum', options.maxMomentum ?? 0.95, n),
    };
    const factor = (option: 'divFactor' | 'finalDivFactor', otherwise: number): number =>
      numeric(name, option, options[option] ?? otherwise, (x) => x > 0, 'a number > 0');
    this.#options = {
      pctStart: numeric(name, 'pctStart', options.pctStart ?? 0.3, (x) => x >= 0 && x <= 1, 'in [0, 1]'),
      annealStrategy: choice(name, 'annealStrategy', options.annealStrategy ?? 'cos', ['cos', 'linear']),
      cycleMomentum: flag(name, 'cycleMomentum', options.cycleMomentum ?? true),
      divFactor: factor('divFactor', 25),
      finalDivFactor: factor('finalDivFactor', 1e4),
      threePhase: flag(name, 'threePhase', options.threePhase ?? false),
    };
    if (this.#options.cycleMomentum) for (const g of this.groups) getMomentum(name, g);
    this.groups.forEach((g, i) => {
      const first = (this.#maxLrs[i] as number) / this.#options.divFactor;
      initialLrs.set(g, first);
      this.baseLrs[i] = first;
    });
    this.begin();
  }

  protected override begin(): void {
    super.begin();
    this.set();
  }

  /** Value at step t of a curve through points [step, value]. */
  #curve(points: readonly (readonly [number, number])[]): number {
    const t = this.lastEpoch;
    let [from, start] = points[0] as [number, number];
    for (const [k, [to, end]] of points.entries()) {
      if (k === 0) continue;
      if (t <= to || k === points.length - 1) {
        const x = to === from ? 1 : (t - from) / (to - from);
        return this.#options.annealStrategy === 'cos'
          ? end + ((start - end) / 2) * (1 + Math.cos(Math.PI * x))
          : start + (end - start) * x;
      }
      [from, start] = [to, end];
    }
    return start;
  }

  protected override rate(_: Group, i: number): number {
    const { pctStart, divFactor, finalDivFactor, threePhase } = this.#options;
    const top = this.at(this.#maxLrs, i);
    const first = top / divFactor;
    const last = first / finalDivFactor;
    const n = this.totalSteps;
    const up = pctStart * n - 1;
    const points: [number, number][] = [
      [0, first],
      [up, top],
    ];
    if (threePhase) points.push([2 * pctStart * n - 2, first]);
    points.push([n - 1, last]);
    return this.#curve(points);
  }

  protected override set(): void {
    // After the last step of the cycle one more call is all right: nobody uses the rate that it gives.
    if (this.lastEpoch > this.totalSteps) {
      throw new ArgumentError(
        `OneCycleLR: step ${this.lastEpoch} is beyond the cycle of ${this.totalSteps} steps`,
      );
    }
    super.set();
    const { pctStart, cycleMomentum, threePhase } = this.#options;
    if (!cycleMomentum) return;
    const n = this.totalSteps;
    this.groups.forEach((g, i) => {
      const low = this.#momenta.low[i] as number;
      const high = this.#momenta.high[i] as number;
      const points: [number, number][] = [
        [0, high],
        [pctStart * n - 1, low],
      ];
      if (threePhase) points.push([2 * pctStart * n - 2, high]);
      points.push([n - 1, high]);
      setMomentum(g, this.#curve(points));
    });
  }
}

/**
 * Half a cosine from the first rate to etaMin (default 0), again and again: the first takes t0 steps, each
 * further one tMult (1) times as long (Loshchilov and Hutter, 2017).
 */
export class CosineAnnealingWarmRestarts extends Schedule {
  /** lastEpoch with its fraction, where step(epoch) was given one. */
  position = 0;
  /** Steps until the first restart. */
  readonly t0: number;
  /** Factor of that number after every restart. */
  readonly tMult: number;
  /** The least learning rate. */
  readonly etaMin: number;
  constructor(
    optimizer: Optimizer,
    options: { readonly t0: number; readonly tMult?: number; readonly etaMin?: number },
  ) {
    super(optimizer);
    const name = 'CosineAnnealingWarmRestarts';
    checkOptions(name, options, ['t0', 'tMult', 'etaMin']);
    this.t0 = count(name, 't0', options.t0);
    this.tMult = count(name, 'tMult', options.tMult ?? 1);
    this.etaMin = numeric(name, 'etaMin', options.etaMin ?? 0);
    this.begin();
  }
  protected override begin(): void {
    super.begin();
    this.position = 0;
    this.set();
  }
  protected override tick(): void {
    this.position++;
    super.tick();
  }
  protected override stateNames(): readonly string[] {
    return [...super.stateNames(), 'position'];
  }

  /**
   * Moves on by one step; or to an epoch, which may be a fraction (`epoch + batch / batches` moves the rate at every batch).
   * The latter is refused in a compiled step (CompileError), where the number would be the same at every replay.
   */
  override step(epoch?: number): void {
    if (epoch === undefined) {
      super.step();
      return;
    }
    if (tracing() !== null) {
      throw new CompileError(
        'CosineAnnealingWarmRestarts: step(epoch) sets a number that a compiled step cannot change; call it outside, or step()',
      );
    }
    const at = numeric('CosineAnnealingWarmRestarts', 'epoch', epoch, (x) => x >= 0, 'a number >= 0');
    this.move(() => {
      this.position = at;
      this.lastEpoch = Math.floor(at);
      this.set();
    });
  }
  protected override rate(_: Group, i: number): number {
    let at = this.position;
    let length = this.t0;
    if (this.tMult === 1) at %= length;
    else {
      while (at >= length) {
        at -= length;
        length *= this.tMult;
      }
    }
    return (
      this.etaMin + ((this.at(this.baseLrs, i) - this.etaMin) * (1 + Math.cos((Math.PI * at) / length))) / 2
    );
  }
}

/** Options of CyclicLR. */
export interface CyclicOptions {
  /** The lowest rate; an array has one for each group. */
  readonly baseLr: number | readonly number[];
  /** The highest rate, before it is scaled. */
  readonly maxLr: number | readonly number[];
  /** Steps up. Default 2000. */
  readonly stepSizeUp?: number;
  /** Steps down. Default stepSizeUp. */
  readonly stepSizeDown?: number;
  /** Constant height, half of it after every cycle, or gamma^t of it. Default 'triangular'. */
  readonly mode?: 'triangular' | 'triangular2' | 'expRange' | 'exp_range';
  /** Default 1. */
  readonly gamma?: number;
  /** Scales the height in place of `mode`: a function of the number of the cycle, from 1, or of the steps (scaleMode). */
  readonly scaleFn?: (x: number) => number;
  /** What scaleFn is given. Default 'cycle'. */
  readonly scaleMode?: 'cycle' | 'iterations';
  /** Whether momentum moves against the rate. Default true. */
  readonly cycleMomentum?: boolean;
  /** Default 0.8. */
  readonly baseMomentum?: number | readonly number[];
  /** Default 0.9. */
  readonly maxMomentum?: number | readonly number[];
}

/** Triangles between baseLr and maxLr (Smith, 2017); step() is called after every optimizer step. */
export class CyclicLR extends Schedule {
  readonly #up: number;
  readonly #down: number;
  /** Scale of the height in cycle c (from 1) at step t. */
  readonly #scale: (c: number, t: number) => number;
  readonly #lrs: { readonly low: readonly number[]; readonly high: readonly number[] };
  readonly #momenta: { readonly low: readonly number[]; readonly high: readonly number[] } | null;

  constructor(optimizer: Optimizer, options: CyclicOptions) {
    const name = 'CyclicLR';
    checkOptimizer(name, optimizer);
    checkOptions(name, options, [
      'baseLr',
      'maxLr',
      'stepSizeUp',
      'stepSizeDown',
      'mode',
      'gamma',
      'scaleFn',
      'scaleMode',
      'cycleMomentum',
      'baseMomentum',
      'maxMomentum',
    ]);
    const groups = optimizer.paramGroups as unknown as Group[];
    const n = groups.length;
    const lrs = {
      low: perGroup(name, 'baseLr', options.baseLr, n),
      high: perGroup(name, 'maxLr', options.maxLr, n),
    };
    const up = count(name, 'stepSizeUp', options.stepSizeUp ?? 2000);
    const down = count(name, 'stepSizeDown', options.stepSizeDown ?? up);
    const mode = choice(name, 'mode', options.mode ?? 'triangular', [
      'triangular',
      'triangular2',
      'expRange',
      'exp_range',
    ]);
    const gamma = numeric(name, 'gamma', options.gamma ?? 1);
    const { scaleFn } = options;
    if (scaleFn !== undefined && !isPlainFunction(scaleFn)) {
      throw new ArgumentError(`${name}: scaleFn is a function, not ${describe(scaleFn)}`);
    }
    const byCycle =
      choice(name, 'scaleMode', options.scaleMode ?? 'cycle', ['cycle', 'iterations']) === 'cycle';
    const cycleMomentum = flag(name, 'cycleMomentum', options.cycleMomentum ?? true);
    const momenta = {
      low: perGroup(name, 'baseMomentum', options.baseMomentum ?? 0.8, n),
      high: perGroup(name, 'maxMomentum', options.maxMomentum ?? 0.9, n),
    };
    if (cycleMomentum) for (const g of groups) getMomentum(name, g);
    groups.forEach((g, i) => {
      g.lr = lrs.low[i] as number;
    });
    super(optimizer);
    this.#up = up;
    this.#down = down;
    this.#lrs = lrs;
    this.#momenta = cycleMomentum ? momenta : null;
    if (scaleFn) {
      this.#scale = (c, t) => numeric(name, 'what scaleFn returns', scaleFn(byCycle ? c : t));
    } else if (mode === 'triangular') this.#scale = () => 1;
    else if (mode === 'triangular2') this.#scale = (c) => 1 / 2 ** (c - 1);
    else this.#scale = (_, t) => gamma ** t;
    this.baseLrs.splice(0, n, ...lrs.low);
    this.begin();
  }

  protected override begin(): void {
    super.begin();
    this.set();
  }

  /** How far up the triangle the present step is, in [0, 1], times the scale. */
  #height(): number {
    const up = this.#up;
    const down = this.#down;
    const t = this.lastEpoch;
    const cycle = Math.floor(1 + t / (up + down));
    const x = 1 + t / (up + down) - cycle;
    const ratio = up / (up + down);
    const height = x <= ratio ? x / ratio : (x - 1) / (ratio - 1);
    return height * this.#scale(cycle, t);
  }

  protected override rate(_: Group, i: number): number {
    const low = this.at(this.#lrs.low, i);
    return low + (this.at(this.#lrs.high, i) - low) * this.#height();
  }

  protected override set(): void {
    super.set();
    const momenta = this.#momenta;
    if (momenta === null) return;
    const height = this.#height();
    this.groups.forEach((g, i) => {
      const high = momenta.high[i] as number;
      setMomentum(g, high - (high - (momenta.low[i] as number)) * height);
    });
  }
}

/** Options of ReduceLROnPlateau. */
export interface PlateauOptions {
  /** Whether less or more is better. Default 'min'. */
  readonly mode?: 'min' | 'max';
  /** Default 0.1. */
  readonly factor?: number;
  /** Steps without improvement that are allowed. Default 10. */
  readonly patience?: number;
  /** What counts as an improvement. Default 1e-4. */
  readonly threshold?: number;
  /** Whether the threshold is a share of the best value ('rel', default) or a difference. */
  readonly thresholdMode?: 'rel' | 'abs';
  /** Steps to wait after a reduction. Default 0. */
  readonly cooldown?: number;
  /** The rate is not reduced below this; an array has one for each group. Default 0. */
  readonly minLr?: number | readonly number[];
  /** Smaller changes of the rate are not made. Default 1e-8. */
  readonly eps?: number;
}

/**
 * Multiplies the rate by `factor` when a metric has not improved for more than `patience` steps:
 * step(metric).
 */
export class ReduceLROnPlateau extends Schedule {
  /** The best value so far. */
  best: number;
  /** Steps since then. */
  numBadEpochs = 0;
  /** Steps for which no worse value counts. */
  cooldownCounter = 0;
  readonly #options: Required<PlateauOptions>;

  constructor(optimizer: Optimizer, options: PlateauOptions = {}) {
    super(optimizer);
    const name = 'ReduceLROnPlateau';
    checkOptions(name, options, [
      'mode',
      'factor',
      'patience',
      'threshold',
      'thresholdMode',
      'cooldown',
      'minLr',
      'eps',
    ]);
    this.#options = {
      mode: choice(name, 'mode', options.mode ?? 'min', ['min', 'max']),
      factor: numeric(name, 'factor', options.factor ?? 0.1, (x) => x >= 0 && x < 1, 'in [0, 1)'),
      patience: count(name, 'patience', options.patience ?? 10, 0),
      threshold: numeric(name, 'threshold', options.threshold ?? 1e-4),
      thresholdMode: choice(name, 'thresholdMode', options.thresholdMode ?? 'rel', ['rel', 'abs']),
      cooldown: count(name, 'cooldown', options.cooldown ?? 0, 0),
      minLr: Array.isArray(options.minLr)
        ? perGroup(name, 'minLr', options.minLr, this.groups.length)
        : numeric(name, 'minLr', options.minLr ?? 0),
      eps: numeric(name, 'eps', options.eps ?? 1e-8),
    };
    this.best = this.#options.mode === 'min' ? Infinity : -Infinity;
  }

  protected override stateNames(): readonly string[] {
    return [...super.stateNames(), 'best', 'numBadEpochs', 'cooldownCounter'];
  }

  #better(metric: number): boolean {
    const { mode, threshold, thresholdMode } = this.#options;
    const down = mode === 'min';
    const bar =
      thresholdMode === 'rel'
        ? this.best * (down ? 1 - threshold : 1 + threshold)
        : this.best + (down ? -threshold : threshold);
    return down ? metric < bar : metric > bar;
  }

  protected override rate({ lr }: Group, i: number): number {
    const { factor, minLr, eps } = this.#options;
    const next = Math.max(lr * factor, typeof minLr === 'number' ? minLr : this.at(minLr, i));
    return lr - next > eps ? next : lr;
  }

  /** Moves on by one step, told the metric: a number, or a tensor of one value. */
  override step(metric?: number | Tensor): void {
    if (tracing() !== null) {
      throw new CompileError(
        'ReduceLROnPlateau: step(metric) reads a value, which a compiled step cannot; call it outside',
      );
    }
    const value = isTensor(metric) ? metric.item() : metric;
    if (typeof value !== 'number') {
      throw new ArgumentError(`ReduceLROnPlateau: step takes the metric, a number, not ${describe(metric)}`);
    }
    const { patience, cooldown } = this.#options;
    this.lastEpoch++;
    if (this.#better(value)) {
      this.best = value;
      this.numBadEpochs = 0;
    } else this.numBadEpochs++;
    if (this.cooldownCounter > 0) {
      this.cooldownCounter--;
      this.numBadEpochs = 0;
    }
    if (this.numBadEpochs > patience) {
      this.set();
      this.cooldownCounter = cooldown;
      this.numBadEpochs = 0;
    }
  }
}

/** The schedules of a schedule, checked. */
function members(name: string, optimizer: Optimizer, given: unknown): readonly Schedule[] {
  if (!Array.isArray(given) || given.length === 0) {
    throw new ArgumentError(`${name}: schedulers is an array of schedules, not ${describe(given)}`);
  }
  given.forEach((s: unknown, i) => {
    if (!(s instanceof Schedule)) {
      throw new ArgumentError(`${name}: schedulers[${i}] must be a schedule, not ${describe(s)}`);
    }
    if (s instanceof ReduceLROnPlateau) {
      throw new ArgumentError(
        `${name}: schedulers[${i}] is a ReduceLROnPlateau, whose step takes a metric; step it on its own`,
      );
    }
    if (s.optimizer !== optimizer) {
      throw new ArgumentError(`${name}: schedulers[${i}] (${s.constructor.name}) is of another optimizer`);
    }
    if (given.indexOf(s) !== i) throw new ArgumentError(`${name}: schedulers[${i}] is given twice`);
  });
  return [...(given as Schedule[])];
}

/** Base of schedules that move others. */
abstract class Combined extends Schedule {
  /** The schedules that are moved. */
  readonly schedulers: readonly Schedule[];

  constructor(optimizer: Optimizer, name: string, schedulers: unknown) {
    super(optimizer);
    this.schedulers = members(name, this.optimizer, schedulers);
  }

  /** @internal */
  protected member(i: number): Member {
    return this.schedulers[i] as unknown as Member;
  }

  protected override rate({ lr }: Group): number {
    return lr;
  }

  /** What moves, and under `schedulers` that of the members. */
  override stateDict(): ScheduleState {
    return { ...super.stateDict(), schedulers: this.schedulers.map((s) => s.stateDict()) };
  }

  override loadStateDict(state: ScheduleState): void {
    const given = (state as ScheduleState | null)?.schedulers;
    if (typeof state === 'object' && state !== null) {
      if (!Array.isArray(given) || given.length !== this.schedulers.length) {
        throw new StateError(
          `${this.constructor.name}: loadStateDict: the state has not that of ${this.schedulers.length} schedulers`,
        );
      }
    }
    super.loadStateDict(state);
    this.schedulers.forEach((s, i) => {
      s.loadStateDict((given as ScheduleState[])[i] as ScheduleState);
    });
  }
}

/**
 * Schedules one after the other: schedulers[i] from step milestones[i - 1] on, where it starts as if it were new, from the base
 * rates (MultiplicativeLR from the present ones, as in PyTorch). The members are stepped by this schedule only. Making it
 * puts the rates back to the base rates and begins the first member.
 *
 * @example
 * const warmup = new optim.LinearLR(optimizer, { startFactor: 0.01, totalIters: 100 });
 * const decay = new optim.CosineAnnealingLR(optimizer, { tMax: 900 });
 * const schedule = new optim.SequentialLR(optimizer, { schedulers: [warmup, decay], milestones: [100] });
 *
 * @throws ArgumentError unless there is one milestone less than schedulers, in ascending order, and all schedules are of
 * this optimizer and none is a ReduceLROnPlateau.
 */
export class SequentialLR extends Combined {
  /** The steps at which the next schedule begins. */
  readonly milestones: readonly number[];

  constructor(
    optimizer: Optimizer,
    options: { readonly schedulers: readonly Schedule[]; readonly milestones: readonly number[] },
  ) {
    const name = new.target.name;
    checkOptimizer(name, optimizer);
    checkOptions(name, options, ['schedulers', 'milestones']);
    super(optimizer, name, options.schedulers);
    const { milestones } = options;
    if (!Array.isArray(milestones)) {
      throw new ArgumentError(`${name}: milestones is an array, not ${describe(milestones)}`);
    }
    this.milestones = milestones.map((m) => count(name, 'every milestone', m, 0));
    if (this.milestones.some((m, i) => i > 0 && m < (this.milestones[i - 1] as number))) {
      throw new ArgumentError(`${name}: milestones must ascend, not [${this.milestones.join(', ')}]`);
    }
    if (this.milestones.length !== this.schedulers.length - 1) {
      throw new ArgumentError(
        `${name}: ${this.schedulers.length} schedulers need ${this.schedulers.length - 1} milestones, not ${this.milestones.length}`,
      );
    }
    this.restart();
  }

  /** Which member moves at step t. */
  #at(t: number): number {
    return this.milestones.filter((m) => m <= t).length;
  }

  protected override begin(): void {
    super.begin();
    this.member(this.#at(0)).begin();
  }

  protected override tick(): void {
    this.lastEpoch++;
    const i = this.#at(this.lastEpoch);
    if (i > 0 && this.milestones[i - 1] === this.lastEpoch) this.member(i).restart();
    else this.member(i).tick();
  }
}

/**
 * Schedules at the same time: step() steps all, in order, so that the factors of recursive ones multiply (ConstantLR with
 * ExponentialLR, say). The members are stepped by this schedule only.
 *
 * @throws ArgumentError unless all schedules are of one optimizer and none is a ReduceLROnPlateau.
 */
export class ChainedScheduler extends Combined {
  constructor(schedulers: readonly Schedule[], optimizer?: Optimizer);
  constructor(optimizer: Optimizer, options: { readonly schedulers: readonly Schedule[] });
  constructor(
    first: Optimizer | readonly Schedule[],
    second?: Optimizer | { readonly schedulers: readonly Schedule[] },
  ) {
    const name = 'ChainedScheduler';
    if (Array.isArray(first)) {
      const own: unknown = (first[0] as Schedule | undefined)?.optimizer;
      super((second ?? own) as Optimizer, name, first);
      return;
    }
    checkOptimizer(name, first);
    checkOptions(name, second as { readonly schedulers: readonly Schedule[] }, ['schedulers']);
    super(first as Optimizer, name, (second as { readonly schedulers: unknown } | undefined)?.schedulers);
  }

  protected override begin(): void {
    super.begin();
    for (let i = 0; i < this.schedulers.length; i++) this.member(i).begin();
  }

  protected override tick(): void {
    this.lastEpoch++;
    for (let i = 0; i < this.schedulers.length; i++) this.member(i).tick();
  }
}

/** base · (start + (1 - start) · min(t, n) / n). */
class Ramp extends Schedule {
  constructor(
    optimizer: Optimizer,
    private readonly n: number,
    private readonly start: number,
  ) {
    super(optimizer);
  }
  protected override begin(): void {
    super.begin();
    this.set();
  }
  protected override rate(_: Group, i: number): number {
    const share = Math.min(this.lastEpoch, this.n) / this.n;
    return this.at(this.baseLrs, i) * (this.start + (1 - this.start) * share);
  }
}

/** Options of WarmupLR. */
export interface WarmupOptions {
  /** Steps until the base rate is reached, >= 1. */
  readonly warmupSteps: number;
  /** The first rate as a share of the base rate, in [0, 1]. Default 0: the first update then moves nothing. */
  readonly startFactor?: number;
  /** The schedule that starts, from the base rate, when it is reached. Default: the rate stays. */
  readonly after?: Schedule;
}

/**
 * Linear warm-up (Goyal et al., 2017): base · (start + (1 - start) · t / warmupSteps) in step t < warmupSteps, then the rates of
 * the schedule `after`, counted from there. step() is called after every optimizer step. The same as SequentialLR of a
 * LinearLR and `after`, but that it may start from 0.
 *
 * @example
 * const after = new optim.CosineAnnealingLR(optimizer, { tMax: 900 });
 * const schedule = new optim.WarmupLR(optimizer, { warmupSteps: 100, after });
 *
 * @throws ArgumentError for a number of steps below 1, a factor outside [0, 1], or a schedule of another optimizer.
 */
export class WarmupLR extends SequentialLR {
  constructor(optimizer: Optimizer, options: WarmupOptions) {
    const name = 'WarmupLR';
    checkOptimizer(name, optimizer);
    checkOptions(name, options, ['warmupSteps', 'startFactor', 'after']);
    const n = count(name, 'warmupSteps', options.warmupSteps);
    const start = numeric(
      name,
      'startFactor',
      options.startFactor ?? 0,
      (x) => x >= 0 && x <= 1,
      'in [0, 1]',
    );
    const ramp = new Ramp(optimizer, n, start);
    const { after } = options;
    super(optimizer, {
      schedulers: after === undefined ? [ramp] : [ramp, after],
      milestones: after === undefined ? [] : [n],
    });
  }
}
