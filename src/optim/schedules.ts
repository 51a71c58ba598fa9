import { ArgumentError, CompileError, StateError } from '../errors.js';
import { isTensor } from '../ops/primitive.js';
import { advance, tracing } from '../program/emit.js';
import { describe } from '../program/view.js';
import { camelCase } from '../suggest.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import { type BaseOptions, Optimizer } from './optimizer.js';

// Learning-rate schedules, with the formulas and options of torch.optim.lr_scheduler. Most are recursive, as
// there: each step changes the present rate, so that schedules can be combined and rates set by hand.

/** A parameter group as schedules see it. */
interface Group extends BaseOptions {
  lr: number;
  momentum?: number;
  betas?: readonly [number, number];
}

export interface ScheduleState {
  [key: string]: number | number[] | null | string;
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

function choice<T extends string>(name: string, option: string, x: unknown, values: readonly T[]): T {
  const given = camelCase(x);
  if (typeof given === 'string' && (values as readonly string[]).includes(given)) return given as T;
  throw new ArgumentError(`${name}: ${option} must be one of ${values.join(', ')}, not ${describe(x)}`);
}

/**
 * Base of schedules. `step()` is called once after every epoch (or every optimizer step, as the schedule is
 * meant) and sets the rates of all groups of the optimizer. In a compiled step it moves with every replay.
 */
export abstract class Schedule {
  /** How often step() was called. */
  lastEpoch = 0;
  /** The rates that the groups had when the schedule was made. */
  readonly baseLrs: number[];

  constructor(readonly optimizer: Optimizer) {
    checkOptimizer(this.constructor.name, optimizer);
    this.baseLrs = this.groups.map((g) => g.lr);
  }

  protected get groups(): Group[] {
    return this.optimizer.paramGroups as unknown as Group[];
  }

  /** The rate of group i after `lastEpoch` steps, from its present rate. */
  protected abstract rate(group: Group, i: number): number;

  /** Sets the rates for the present epoch. */
  protected set(): void {
    this.groups.forEach((g, i) => {
      g.lr = this.rate(g, i);
    });
  }

  /** The rates of the groups. */
  getLastLr(): number[] {
    return this.groups.map((g) => g.lr);
  }

  /** Moves on by one step. */
  step(): void {
    this.move(() => {
      this.lastEpoch++;
      this.set();
    });
  }

  /** Runs a change of this schedule's state and of the groups, now and at every replay of a compiled step. */
  protected move(change: () => void): void {
    let state: ScheduleState = {};
    let groups: Group[] = [];
    advance({
      advance: () => {
        state = this.stateDict();
        groups = this.groups.map(({ lr, momentum, betas }) => ({
          lr,
          ...(momentum === undefined ? {} : { momentum }),
          ...(betas === undefined ? {} : { betas }),
        }));
        change();
        return [];
      },
      rewind: () => {
        this.loadStateDict(state);
        groups.forEach((g, i) => {
          Object.assign(this.groups[i] as Group, g);
        });
      },
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
      out[name] = Array.isArray(value) ? [...value] : value;
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
      if (Array.isArray(value)) (own[key] as number[]).splice(0, value.length, ...value);
      else own[key] = value;
    }
  }
}

/** Multiplies the rate by gamma (default 0.1) every stepSize steps. */
export class StepLR extends Schedule {
  readonly stepSize: number;
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

/** Multiplies the rate by gamma (default 0.1) at every milestone. */
export class MultiStepLR extends Schedule {
  readonly milestones: readonly number[];
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
  }
  protected override rate({ lr }: Group): number {
    return lr * this.gamma ** this.milestones.filter((m) => m === this.lastEpoch).length;
  }
}

/** Multiplies the rate by gamma at every step. */
export class ExponentialLR extends Schedule {
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
  readonly tMax: number;
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
      return lr + (((this.baseLrs[i] as number) - etaMin) * (1 - Math.cos(Math.PI / tMax))) / 2;
    }
    const now = 1 + Math.cos((Math.PI * lastEpoch) / tMax);
    const before = 1 + Math.cos((Math.PI * (lastEpoch - 1)) / tMax);
    return (now / before) * (lr - etaMin) + etaMin;
  }
}

/** A factor from startFactor (default 1/3) to endFactor (1), in equal steps over totalIters (5) steps. */
export class LinearLR extends Schedule {
  readonly startFactor: number;
  readonly endFactor: number;
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
    for (const g of this.groups) g.lr *= this.startFactor;
  }
  protected override rate({ lr }: Group): number {
    const { startFactor: a, endFactor: b, totalIters: n, lastEpoch: t } = this;
    return t > n ? lr : lr * (1 + (b - a) / (n * a + (t - 1) * (b - a)));
  }
}

/** A factor (default 1/3) for the first totalIters (5) steps, then 1. */
export class ConstantLR extends Schedule {
  readonly factor: number;
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
    for (const g of this.groups) g.lr *= this.factor;
  }
  protected override rate({ lr }: Group): number {
    return this.lastEpoch === this.totalIters ? lr / this.factor : lr;
  }
}

/** base · (1 - t / totalIters)^power (defaults 5 and 1), 0 from totalIters on. */
export class PolynomialLR extends Schedule {
  readonly totalIters: number;
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

type Lambda = (epoch: number) => number;
type Lambdas = Lambda | readonly Lambda[];

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
    const factor = (this.#lambdas[i] as Lambda)(this.lastEpoch);
    return lr * numeric('MultiplicativeLR', 'what lrLambda returns', factor);
  }
}

/** base · lrLambda(t): a function of the number of steps, or one per group, as such or as { lrLambda }. */
export class LambdaLR extends Schedule {
  readonly #lambdas: readonly Lambda[];
  constructor(optimizer: Optimizer, options: Lambdas | { readonly lrLambda: Lambdas }) {
    super(optimizer);
    this.#lambdas = lambdas('LambdaLR', this.groups.length, options);
    this.set();
  }
  protected override rate(_: Group, i: number): number {
    const factor = (this.#lambdas[i] as (epoch: number) => number)(this.lastEpoch);
    return (this.baseLrs[i] as number) * numeric('LambdaLR', 'what lrLambda returns', factor);
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

export interface OneCycleOptions {
  /** The highest rate; an array has one for each group. */
  readonly maxLr: number | readonly number[];
  /** Length of the cycle; or give epochs and stepsPerEpoch. */
  readonly totalSteps?: number;
  readonly epochs?: number;
  readonly stepsPerEpoch?: number;
  /** Share of the cycle in which the rate grows. Default 0.3. */
  readonly pctStart?: number;
  /** Default 'cos'. */
  readonly annealStrategy?: 'cos' | 'linear';
  /** Whether momentum moves against the rate. Default true. */
  readonly cycleMomentum?: boolean;
  /** Default 0.85. */
  readonly baseMomentum?: number;
  /** Default 0.95. */
  readonly maxMomentum?: number;
  /** The first rate is maxLr / divFactor. Default 25. */
  readonly divFactor?: number;
  /** The last rate is the first / finalDivFactor. Default 1e4. */
  readonly finalDivFactor?: number;
  /** Comes down to the first rate as it went up, then anneals. Default false. */
  readonly threePhase?: boolean;
}

/** One rise to maxLr and one descent (Smith and Topin, 2018); step() is called after every optimizer step. */
export class OneCycleLR extends Schedule {
  readonly totalSteps: number;
  readonly #options: Required<Omit<OneCycleOptions, 'totalSteps' | 'epochs' | 'stepsPerEpoch' | 'maxLr'>>;
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
    const { maxLr } = options;
    this.#maxLrs = typeof maxLr === 'number' ? this.groups.map(() => maxLr) : maxLr;
    if (
      !Array.isArray(this.#maxLrs) ||
      this.#maxLrs.length !== this.groups.length ||
      !this.#maxLrs.every(isNumber)
    ) {
      throw new ArgumentError(
        `${name}: maxLr is a number, or an array of one for each of the ${this.groups.length} groups`,
      );
    }
    const factor = (option: 'divFactor' | 'finalDivFactor', otherwise: number): number =>
      numeric(name, option, options[option] ?? otherwise, (x) => x > 0, 'a number > 0');
    this.#options = {
      pctStart: numeric(name, 'pctStart', options.pctStart ?? 0.3, (x) => x >= 0 && x <= 1, 'in [0, 1]'),
      annealStrategy: choice(name, 'annealStrategy', options.annealStrategy ?? 'cos', ['cos', 'linear']),
      cycleMomentum: options.cycleMomentum ?? true,
      baseMomentum: numeric(name, 'baseMomentum', options.baseMomentum ?? 0.85),
      maxMomentum: numeric(name, 'maxMomentum', options.maxMomentum ?? 0.95),
      divFactor: factor('divFactor', 25),
      finalDivFactor: factor('finalDivFactor', 1e4),
      threePhase: options.threePhase ?? false,
    };
    if (this.#options.cycleMomentum) for (const g of this.groups) getMomentum(name, g);
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
    const top = this.#maxLrs[i] as number;
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
    if (this.lastEpoch >= this.totalSteps) {
      throw new ArgumentError(
        `OneCycleLR: step ${this.lastEpoch} is beyond the cycle of ${this.totalSteps} steps`,
      );
    }
    super.set();
    const { pctStart, cycleMomentum, baseMomentum: low, maxMomentum: high, threePhase } = this.#options;
    if (!cycleMomentum) return;
    const n = this.totalSteps;
    const points: [number, number][] = [
      [0, high],
      [pctStart * n - 1, low],
    ];
    if (threePhase) points.push([2 * pctStart * n - 2, high]);
    points.push([n - 1, high]);
    const momentum = this.#curve(points);
    for (const g of this.groups) setMomentum(g, momentum);
  }
}

/**
 * Half a cosine from the first rate to etaMin (default 0), again and again: the first takes t0 steps, each
 * further one tMult (1) times as long (Loshchilov and Hutter, 2017).
 */
export class CosineAnnealingWarmRestarts extends Schedule {
  readonly t0: number;
  readonly tMult: number;
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
  }
  protected override rate(_: Group, i: number): number {
    let at = this.lastEpoch;
    let length = this.t0;
    if (this.tMult === 1) at %= length;
    else {
      while (at >= length) {
        at -= length;
        length *= this.tMult;
      }
    }
    return (
      this.etaMin +
      (((this.baseLrs[i] as number) - this.etaMin) * (1 + Math.cos((Math.PI * at) / length))) / 2
    );
  }
}

export interface CyclicOptions {
  readonly baseLr: number;
  readonly maxLr: number;
  /** Steps up. Default 2000. */
  readonly stepSizeUp?: number;
  /** Steps down. Default stepSizeUp. */
  readonly stepSizeDown?: number;
  /** Constant height, half of it after every cycle, or gamma^t of it. Default 'triangular'. */
  readonly mode?: 'triangular' | 'triangular2' | 'expRange' | 'exp_range';
  /** Default 1. */
  readonly gamma?: number;
  /** Whether momentum moves against the rate. Default true. */
  readonly cycleMomentum?: boolean;
  /** Default 0.8. */
  readonly baseMomentum?: number;
  /** Default 0.9. */
  readonly maxMomentum?: number;
}

/** Triangles between baseLr and maxLr (Smith, 2017); step() is called after every optimizer step. */
export class CyclicLR extends Schedule {
  readonly #options: Required<CyclicOptions>;
  constructor(optimizer: Optimizer, options: CyclicOptions) {
    super(optimizer);
    const name = 'CyclicLR';
    checkOptions(name, options, [
      'baseLr',
      'maxLr',
      'stepSizeUp',
      'stepSizeDown',
      'mode',
      'gamma',
      'cycleMomentum',
      'baseMomentum',
      'maxMomentum',
    ]);
    const up = count(name, 'stepSizeUp', options.stepSizeUp ?? 2000);
    this.#options = {
      baseLr: numeric(name, 'baseLr', options.baseLr),
      maxLr: numeric(name, 'maxLr', options.maxLr),
      stepSizeUp: up,
      stepSizeDown: count(name, 'stepSizeDown', options.stepSizeDown ?? up),
      mode: choice(name, 'mode', options.mode ?? 'triangular', [
        'triangular',
        'triangular2',
        'expRange',
        'exp_range',
      ]),
      gamma: numeric(name, 'gamma', options.gamma ?? 1),
      cycleMomentum: options.cycleMomentum ?? true,
      baseMomentum: numeric(name, 'baseMomentum', options.baseMomentum ?? 0.8),
      maxMomentum: numeric(name, 'maxMomentum', options.maxMomentum ?? 0.9),
    };
    if (this.#options.cycleMomentum) for (const g of this.groups) getMomentum(name, g);
    this.baseLrs.fill(this.#options.baseLr);
    this.set();
  }

  /** How far up the triangle the present step is, in [0, 1], times the factor of the mode. */
  #height(): number {
    const { stepSizeUp: up, stepSizeDown: down, mode, gamma } = this.#options;
    const t = this.lastEpoch;
    const cycle = Math.floor(1 + t / (up + down));
    const x = 1 + t / (up + down) - cycle;
    const ratio = up / (up + down);
    const height = x <= ratio ? x / ratio : (x - 1) / (ratio - 1);
    if (mode === 'triangular') return height;
    return height * (mode === 'triangular2' ? 1 / 2 ** (cycle - 1) : gamma ** t);
  }

  protected override rate(): number {
    const { baseLr, maxLr } = this.#options;
    return baseLr + (maxLr - baseLr) * this.#height();
  }

  protected override set(): void {
    super.set();
    const { cycleMomentum, baseMomentum, maxMomentum } = this.#options;
    if (!cycleMomentum) return;
    const momentum = maxMomentum - (maxMomentum - baseMomentum) * this.#height();
    for (const g of this.groups) setMomentum(g, momentum);
  }
}

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
  /** Default 0. */
  readonly minLr?: number;
  /** Smaller changes of the rate are not made. Default 1e-8. */
  readonly eps?: number;
}

/**
 * Multiplies the rate by `factor` when a metric has not improved for more than `patience` steps:
 * step(metric).
 */
export class ReduceLROnPlateau extends Schedule {
  best: number;
  numBadEpochs = 0;
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
      minLr: numeric(name, 'minLr', options.minLr ?? 0),
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

  protected override rate({ lr }: Group): number {
    const { factor, minLr, eps } = this.#options;
    const next = Math.max(lr * factor, minLr);
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
