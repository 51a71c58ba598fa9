import { noGrad } from '../autograd/mode.js';
import { isFloat } from '../dtype.js';
import { ArgumentError, CompileError, DTypeError, StateError } from '../errors.js';
import { fillKernelRow } from '../ops/full.js';
import * as ops from '../ops/index.js';
import { isTensor } from '../ops/primitive.js';
import { isIterable } from '../options.js';
import { emitMap, fresh } from '../program/calls.js';
import { advance, enterOp, leaveOp, observe, type Param, tracing, withRecorder } from '../program/emit.js';
import { Replays } from '../program/replay.js';
import { describe, sameShape, showShape } from '../program/view.js';
import { checkOptions, persistent, Tensor } from '../tensor/tensor.js';

/** What has parameters: a module, tensors, or `model.namedParameters()`. */
export type Averaged =
  | {
      /** Pairs of name and parameter, as Module.namedParameters gives. */
      namedParameters(): Iterable<readonly [string, Tensor]>;
    }
  | Tensor
  | Iterable<Tensor>
  | Iterable<readonly [string, Tensor]>;

/** Options of EMA. */
export interface EMAOptions {
  /** γ, in [0, 1]: how much of the average stays at each update. Default 0.999. */
  readonly decay?: number;
  /**
   * Starts the average at 0 and divides it by the sum of its weights, 1 - γ^t after t updates, so that the parameters from
   * before the first update have no part in it. Needs decay < 1. Default false: it starts at the parameters as they are.
   */
  readonly biasCorrection?: boolean;
}

/** What stateDict() gives. */
export interface EMAState {
  /** γ. */
  readonly decay: number;
  /** Whether the average started at 0. */
  readonly biasCorrection: boolean;
  /** How many updates were made. */
  readonly updates: number;
  /** Sum of the weights of the parameters in the average: 1 without bias correction. */
  readonly weight: number;
  /** The averages before bias correction, by parameter name where names were given and else by index. */
  readonly averages: Readonly<Record<string, Tensor>>;
}

function named(op: string, given: unknown): [string, Tensor][] {
  const module = given as { namedParameters?: unknown } | null;
  const source: unknown =
    typeof module === 'object' && typeof module?.namedParameters === 'function'
      ? (module.namedParameters as () => unknown).call(module)
      : given;
  if (!isTensor(source) && !isIterable(source)) {
    throw new ArgumentError(`${op}: takes a model or its parameters, not ${describe(given)}`);
  }
  const list: unknown[] = isTensor(source) ? [source] : [...source];
  const names = new Set<string>();
  return list.map((x, i) => {
    const [label, t] = Array.isArray(x) && x.length === 2 ? (x as unknown[]) : [String(i), x];
    const what = `parameter ${String(label)}`;
    if (typeof label !== 'string' || !isTensor(t)) {
      throw new ArgumentError(`${op}: ${what} must be a tensor, not ${describe(t)}`);
    }
    if (!isFloat(t.dtype)) throw new DTypeError(`${op}: ${what} is ${t.dtype}; only floats are averaged`);
    if (names.has(label)) throw new ArgumentError(`${op}: two parameters have the name ${describe(label)}`);
    names.add(label);
    return [label, t];
  });
}

function checkDecay(decay: unknown): number {
  if (typeof decay === 'number' && decay >= 0 && decay <= 1) return decay;
  throw new ArgumentError(`EMA: decay must be a number in [0, 1], not ${describe(decay)}`);
}

/**
 * Exponential moving average of parameters: θ'_t = γ θ'_{t-1} + (1 - γ) θ_t, "another popular way to fine-tune a model"
 * (lecture 001, 001_bc23b3794dd68e11.txt). `update()` is called after every optimizer step, also in a compiled one;
 * `swapIn()` puts the averages into the model for evaluation and `swapOut()` the parameters back.
 *
 * It is computed as θ' + (1 - γ)(θ - θ'), which stays where the parameters stay whatever γ is rounded to. PyTorch's
 * AveragedModel with get_ema_multi_avg_fn(γ) is the same, but that its first update copies the parameters: it is this
 * average made at that moment. The averages have the dtypes of the parameters. Buffers (running statistics of batch
 * normalisation) are not averaged.
 *
 * @example
 * const ema = new optim.EMA(model, { decay: 0.99 });
 * const step = compile((x, y) => {
 *   optimizer.zeroGrad();
 *   const loss = F.crossEntropy(model.forward(x), y);
 *   loss.backward();
 *   optimizer.step();
 *   ema.update();
 *   return loss;
 * });
 * for (const [x, y] of batches) step(x, y);
 * const accuracy = ema.use(() => evaluate(model));
 */
export class EMA {
  /** Whether the average starts at 0 and is divided by the sum of its weights. */
  readonly biasCorrection: boolean;
  readonly #names: readonly string[];
  readonly #params: readonly Tensor[];
  readonly #averages: readonly Tensor[];
  readonly #replays = new Replays();
  #decay: number;
  #updates = 0;
  #weight: number;
  /** The parameters while the averages are in their place, and the versions of the memory then. */
  #swapped: { readonly values: readonly Tensor[]; readonly versions: readonly number[] } | null = null;
  /** Memory for them. */
  #spare: readonly Tensor[] | null = null;

  /**
   * @param params a module, its parameters() or its namedParameters(): float32 or float64
   * @throws ArgumentError for anything else, for none, or for options that are not; DTypeError for other dtypes.
   */
  constructor(params: Averaged, options: EMAOptions = {}) {
    checkOptions('EMA', options, ['decay', 'biasCorrection']);
    const { decay = 0.999, biasCorrection = false } = options;
    if (typeof biasCorrection !== 'boolean') {
      throw new ArgumentError(`EMA: biasCorrection must be true or false, not ${describe(biasCorrection)}`);
    }
    this.biasCorrection = biasCorrection;
    this.#decay = this.#checked(decay);
    this.#weight = biasCorrection ? 0 : 1;
    const list = named('EMA', params);
    if (list.length === 0) throw new ArgumentError('EMA: there are no parameters to average');
    this.#names = list.map(([name]) => name);
    this.#params = list.map(([, t]) => t);
    this.#params.forEach((t, i) => {
      if (this.#params.indexOf(t) !== i) {
        throw new ArgumentError(`EMA: parameter ${this.#names[i]} is given twice`);
      }
    });
    this.#averages = withRecorder(null, () =>
      this.#params.map((p) => {
        const average = persistent(p.shape, p.dtype);
        return biasCorrection ? average : average.copy_(p.detach());
      }),
    );
  }

  #checked(decay: unknown): number {
    const value = checkDecay(decay);
    if (this.biasCorrection && value === 1) {
      throw new ArgumentError(
        'EMA: biasCorrection needs decay < 1: an average that nothing enters has no weight',
      );
    }
    return value;
  }

  /** γ. It may be set between updates. */
  get decay(): number {
    observe(() => this.#decay);
    return this.#decay;
  }

  /** @throws ArgumentError outside [0, 1], and for 1 with biasCorrection */
  set decay(value: number) {
    this.#decay = this.#checked(value);
  }

  /** How many updates were made. */
  get updates(): number {
    return this.#updates;
  }

  /** True while the averages are in the place of the parameters. */
  get swapped(): boolean {
    return this.#swapped !== null;
  }

  /**
   * Moves the averages by one step towards the parameters as they are: to be called after optimizer.step(), there also in a
   * compiled step. Outside of one it is a single call of the backend.
   *
   * @throws StateError while the averages are swapped in.
   */
  update(): void {
    this.#checkOut('update');
    observe(() => this.#swapped);
    // All or none.
    if (tracing() === null) for (const { view } of this.#averages) view.storage.checkWrite('EMA.update');
    const before = enterOp('EMA.update');
    try {
      noGrad(() =>
        this.#replays.run('EMA.update', this.#params, this.#params, [], () => {
          const numbers = this.#advance();
          const shares = new Map<string, Tensor>();
          this.#params.forEach((p, i) => {
            const average = this.#averages[i] as Tensor;
            let share = shares.get(p.dtype);
            if (share === undefined) {
              const view = fresh(p.dtype, []);
              emitMap(fillKernelRow, view, [], numbers);
              share = new Tensor(view);
              shares.set(p.dtype, share);
            }
            average.copy_(ops.add(average, ops.mul(ops.sub(p.detach(), average), share)));
          });
        }),
      );
    } finally {
      leaveOp(before);
    }
  }

  /** Counts an update; gives 1 - γ. */
  #advance(): Param[] {
    let weight = this.#weight;
    return advance({
      owner: this,
      advance: () => {
        weight = this.#weight;
        const share = 1 - this.#decay;
        if (this.biasCorrection) this.#weight += share * (1 - weight);
        this.#updates++;
        return [share];
      },
      rewind: () => {
        this.#weight = weight;
        this.#updates--;
      },
    });
  }

  #checkOut(op: string): void {
    if (this.#swapped === null) return;
    throw new StateError(
      `EMA.${op}: the averages are in the place of the parameters; put the parameters back first (swapOut)`,
    );
  }

  #refuseTrace(op: string): void {
    if (tracing() === null) return;
    throw new CompileError(
      `EMA.${op}: this changes what the model holds from outside of the steps, so it cannot be part of a compiled step; ` +
        'call it before and after',
    );
  }

  #checkBegun(op: string): void {
    if (this.#weight > 0) return;
    throw new StateError(`EMA.${op}: there is no average before the first update() with biasCorrection`);
  }

  /** All or none: refuses before anything is written. */
  #checkFree(op: string): void {
    for (const { view } of this.#params) {
      view.storage.checkRead(`EMA.${op}`);
      view.storage.checkWrite(`EMA.${op}`);
    }
    this.#checkStill(op);
  }

  /** Refuses where an asynchronous step is about to move the averages: counts and weight have moved on already. */
  #checkStill(op: string): void {
    for (const { view } of this.#averages) view.storage.checkIdle(`EMA.${op}`);
  }

  /** The average of parameter i, corrected. */
  #value(i: number): Tensor {
    const average = this.#averages[i] as Tensor;
    return this.#weight === 1 ? average : ops.div(average, this.#weight);
  }

  /**
   * Puts the averages in the place of the parameters, whose values are kept. The parameters stay the same tensors, so that
   * the model, optimizers and compiled steps need not be told.
   *
   * @throws StateError where they are in already, where an asynchronous step works on them, and with biasCorrection before
   * the first update; nothing is changed then. CompileError in a compiled step.
   */
  swapIn(): void {
    this.#refuseTrace('swapIn');
    if (this.#swapped !== null) {
      throw new StateError(
        'EMA.swapIn: the averages are in the place of the parameters already; swapOut() first',
      );
    }
    this.#checkBegun('swapIn');
    this.#checkFree('swapIn');
    this.#spare ??= this.#params.map((p) => persistent(p.shape, p.dtype));
    const values = this.#spare;
    noGrad(() => {
      this.#params.forEach((p, i) => {
        (values[i] as Tensor).copy_(p.detach());
        p.detach().copy_(this.#value(i));
      });
    });
    this.#swapped = { values, versions: this.#params.map(({ view }) => view.storage.version) };
  }

  /**
   * Puts the parameters back.
   *
   * @throws StateError where they are there already; where they were changed since swapIn() (by an optimizer's step, say),
   * unless `discard` says that those changes are to be lost; and where an asynchronous step works on them. Nothing is
   * changed then. CompileError in a compiled step.
   */
  swapOut(options: { readonly discard?: boolean } = {}): void {
    this.#refuseTrace('swapOut');
    checkOptions('EMA.swapOut', options, ['discard']);
    const swapped = this.#swapped;
    if (swapped === null) {
      throw new StateError('EMA.swapOut: the parameters are in their place already; swapIn() first');
    }
    this.#checkFree('swapOut');
    const changed = this.#params.findIndex(({ view }, i) => view.storage.version !== swapped.versions[i]);
    if (changed >= 0 && options.discard !== true) {
      throw new StateError(
        `EMA.swapOut: parameter ${this.#names[changed]} was changed while the averages were in its place; training goes on ` +
          'with the parameters swapped out. swapOut({ discard: true }) gives the changes up',
      );
    }
    noGrad(() => {
      this.#params.forEach((p, i) => {
        p.detach().copy_(swapped.values[i] as Tensor);
      });
    });
    this.#swapped = null;
  }

  /**
   * Calls a function with the averages in the place of the parameters, and puts those back whatever happens; returns what it
   * returns. What a function changes in the parameters is given up. It must be synchronous (ArgumentError).
   */
  use<T>(fn: () => T): T {
    if (typeof fn !== 'function') throw new ArgumentError(`EMA.use: takes a function, not ${describe(fn)}`);
    this.swapIn();
    try {
      const value = fn();
      if (value instanceof Promise) {
        value.catch(() => undefined);
        throw new ArgumentError(
          'EMA.use: the function must be synchronous; around an await call swapIn() and swapOut()',
        );
      }
      return value;
    } finally {
      this.swapOut({ discard: true });
    }
  }

  /**
   * Copies of the averages (corrected), in the order of the parameters. StateError before the first update with biasCorrection,
   * and while an asynchronous step updates them.
   */
  averages(): Tensor[] {
    this.#refuseTrace('averages');
    this.#checkBegun('averages');
    this.#checkStill('averages');
    return noGrad(() => this.#averages.map((_, i) => this.#value(i).clone()));
  }

  /**
   * Copies the averages (corrected) into another model of the same structure, or into tensors: by name where both have names,
   * else in order.
   *
   * @throws StateError that lists what does not fit in number, names, shapes or dtypes, before anything is written;
   * with biasCorrection also before the first update; and while an asynchronous step works on either. CompileError in a
   * compiled step.
   */
  copyTo(target: Averaged): void {
    this.#refuseTrace('copyTo');
    this.#checkBegun('copyTo');
    const to = named('EMA.copyTo', target);
    const own = new Map(this.#names.map((name, i) => [name, i]));
    const byIndex = (list: readonly string[]) => list.every((name, i) => name === String(i));
    const inOrder = byIndex(this.#names) || byIndex(to.map(([name]) => name));
    const wrong: string[] = [];
    if (to.length !== own.size) wrong.push(`${to.length} parameters where there are ${own.size} averages`);
    const sources = to.map(([name, t], j) => {
      const i = inOrder ? j : own.get(name);
      const average = i === undefined ? undefined : this.#averages[i];
      if (average === undefined) wrong.push(`there is no average of ${name}`);
      else if (!sameShape(average.shape, t.shape) || average.dtype !== t.dtype) {
        wrong.push(
          `${name}: ${t.dtype} ${showShape(t.shape)} where the average is ${average.dtype} ${showShape(average.shape)}`,
        );
      }
      return i;
    });
    if (wrong.length > 0) throw new StateError(`EMA.copyTo: the target does not fit: ${wrong.join('; ')}`);
    this.#checkStill('copyTo');
    for (const [, { view }] of to) view.storage.checkWrite('EMA.copyTo');
    noGrad(() => {
      to.forEach(([, t], j) => {
        t.detach().copy_(this.#value(sources[j] as number));
      });
    });
  }

  /**
   * A snapshot: decay, count and copies of the averages, by parameter name where names were given and else by index.
   * StateError while an asynchronous step updates them.
   */
  stateDict(): EMAState {
    this.#checkStill('stateDict');
    const averages: Record<string, Tensor> = {};
    this.#names.forEach((name, i) => {
      averages[name] = withRecorder(null, () => (this.#averages[i] as Tensor).clone());
    });
    return {
      decay: this.#decay,
      biasCorrection: this.biasCorrection,
      updates: this.#updates,
      weight: this.#weight,
      averages,
    };
  }

  /**
   * Takes over a snapshot of an average of the same parameters: updates that follow have the same bits as if there had been
   * no interruption. Everything is checked before anything is changed (StateError).
   */
  loadStateDict(state: EMAState): void {
    this.#refuseTrace('loadStateDict');
    this.#checkOut('loadStateDict');
    if (
      typeof state !== 'object' ||
      state === null ||
      typeof state.averages !== 'object' ||
      state.averages === null
    ) {
      throw new ArgumentError(`EMA.loadStateDict: takes what stateDict() gives, not ${describe(state)}`);
    }
    const wrong: string[] = [];
    const { decay, biasCorrection, updates, weight, averages } = state;
    if (!(typeof decay === 'number' && decay >= 0 && decay <= 1)) wrong.push(`decay is ${describe(decay)}`);
    if (biasCorrection !== this.biasCorrection) wrong.push(`biasCorrection is ${describe(biasCorrection)}`);
    if (!(Number.isInteger(updates) && updates >= 0)) wrong.push(`updates is ${describe(updates)}`);
    if (!(typeof weight === 'number' && weight >= 0 && weight <= 1))
      wrong.push(`weight is ${describe(weight)}`);
    this.#names.forEach((name, i) => {
      const own = this.#averages[i] as Tensor;
      const value: unknown = Object.hasOwn(averages, name) ? averages[name] : undefined;
      if (!isTensor(value)) wrong.push(`${name} is ${describe(value)}`);
      else if (!sameShape(value.shape, own.shape) || value.dtype !== own.dtype) {
        wrong.push(
          `${name}: ${value.dtype} ${showShape(value.shape)} for a parameter that is ${own.dtype} ${showShape(own.shape)}`,
        );
      }
    });
    const unexpected = Object.keys(averages).filter((name) => !this.#names.includes(name));
    if (unexpected.length > 0) wrong.push(`unexpected parameters: ${unexpected.join(', ')}`);
    if (wrong.length > 0)
      throw new StateError(`EMA.loadStateDict: the state does not fit: ${wrong.join('; ')}`);
    const given = this.#names.map((name) => averages[name] as Tensor);
    this.#checkStill('loadStateDict');
    this.#decay = this.#checked(decay);
    this.#updates = updates;
    this.#weight = weight;
    noGrad(() => {
      this.#averages.forEach((average, i) => {
        average.copy_(given[i] as Tensor);
      });
    });
  }
}
