import { enableGrad, setGradEnabled } from '../autograd/mode.js';
import { type DType, isFloat } from '../dtype.js';
import { ArgumentError, DTypeError, StateError } from '../errors.js';
import { fillKernelRow } from '../ops/full.js';
import { isTensor } from '../ops/primitive.js';
import { isIterable } from '../options.js';
import { contiguous, emitMap, fresh } from '../program/calls.js';
import {
  advance,
  enterOp,
  inspecting,
  leaveOp,
  observe,
  type Param,
  tracing,
  withRecorder,
} from '../program/emit.js';
import { Replays } from '../program/replay.js';
import { describe, sameShape, showShape, type View } from '../program/view.js';
import { didYouMean } from '../suggest.js';
import { persistent, Tensor } from '../tensor/tensor.js';
import { type ParamGroup, unwatched, watchedGroup } from './group.js';
import { type Check, checks, type OptionTable } from './options.js';

/** Options that every optimizer has. */
export interface BaseOptions {
  /** Learning rate, >= 0. */
  lr?: number;
}

/**
 * What optimizers take: tensors, `model.namedParameters()`, or groups of either with options of their own.
 */
export type Params<O> =
  | Tensor
  | Iterable<Tensor>
  | Iterable<readonly [string, Tensor]>
  | Iterable<
      {
        /** The parameters of the group, with names or without. */
        readonly params: Tensor | Iterable<Tensor> | Iterable<readonly [string, Tensor]>;
      } & Partial<O>
    >;

/** What an optimizer remembers of one parameter. */
export interface ParamState {
  /** How many steps were made. */
  step: number;
  /** Moments and the like, by name. */
  readonly tensors: Map<string, Tensor>;
  /** Further numbers that move with the steps. */
  readonly numbers: Record<string, number>;
}

/** A parameter that has a gradient in this step. */
export interface Active {
  /** The parameter. */
  readonly p: Tensor;
  /** Its gradient, contiguous. */
  readonly g: Tensor;
  /** What the optimizer remembers of it. */
  readonly state: ParamState;
}

/** Parameters and state as plain values: see Optimizer.stateDict. */
export interface OptimizerState {
  /** By the key of a parameter (its name, or its index): `step`, further numbers, and copies of the state tensors. */
  state: Record<string, Record<string, number | Tensor>>;
  /** The options of every group, with the keys of its parameters. */
  paramGroups: (Record<string, unknown> & {
    /** Keys of the parameters. */
    params: string[];
  })[];
}

/** A loop, because a callback would be handed every number in memory of its own. */
function allNumbers(list: readonly unknown[]): boolean {
  for (let i = 0; i < list.length; i++) {
    const x = list[i];
    if (typeof x !== 'number' || Number.isNaN(x)) return false;
  }
  return true;
}

/** Memory for one more of the tensors that are updated together with a parameter. */
function anotherLike(p: Tensor, state: ParamState): Tensor {
  return persistent(p.shape, p.dtype, 1 + state.tensors.size);
}

const recordable = new WeakSet<object>();

/**
 * Says that the `update` of these classes is recorded, so that an eager step makes one call for each group: it must not
 * look at values, what it branches on must be observed (`when`), and numbers that change must come from `advance`. An
 * update that a subclass overrides is not recorded.
 */
export function recordUpdates(...classes: readonly { readonly prototype: object }[]): void {
  for (const { prototype } of classes) recordable.add((prototype as { update: object }).update);
}

/**
 * Base of optimizers: parameter groups, options, state. A step updates the parameters in place; those whose
 * `grad` is null are left alone. Inside a compiled step everything that changes from step to step is refilled
 * at every replay, so learning rates and other options may be set at any time. Each step, compiled or not, checks them again
 * and throws ArgumentError for one that is out of range, before anything is updated.
 */
export abstract class Optimizer<O extends BaseOptions = BaseOptions> {
  readonly #groups: ParamGroup<O>[] = [];
  // Without O in their types, so that Optimizer<AdamOptions> is an Optimizer.
  readonly #options: Readonly<Record<string, readonly [unknown, Check]>>;
  readonly #optionNames: readonly string[];
  readonly #defaults: Readonly<Record<string, unknown>>;
  readonly #states = new Map<Tensor, ParamState>();
  readonly #names = new Map<Tensor, string>();
  readonly #replays = new WeakMap<ParamGroup<O>, Replays>();
  readonly #stepName = `${this.constructor.name}.step`;
  /** The group that update() is at work on. */
  #group: ParamGroup<O> | null = null;

  /** For subclasses: what was given, and the table of options. */
  constructor(params: Params<O>, options: O, table: OptionTable<O>) {
    const name = this.constructor.name;
    if (new.target === Optimizer) {
      throw new ArgumentError(
        'Optimizer: this is the base class; use SGD, Adam, … or a subclass of your own',
      );
    }
    this.#options = table;
    this.#optionNames = Object.keys(table);
    if (typeof options !== 'object' || options === null || isIterable(options)) {
      throw new ArgumentError(`${name}: options are an object like { lr: 0.01 }, not ${describe(options)}`);
    }
    const defaults: Record<string, unknown> = {};
    for (const key of Object.keys(table) as (keyof O & string)[]) defaults[key] = table[key][0];
    this.#defaults = { ...(defaults as Required<O>), ...this.#checked(options as Record<string, unknown>) };
    this.validate(this.#defaults as Required<O>);
    if (!isIterable(params) && !isTensor(params)) {
      const hint = typeof params === 'object' && params !== null ? '; pass model.parameters()' : '';
      throw new ArgumentError(`${name}: takes a list of parameters first, not ${describe(params)}${hint}`);
    }
    const list: unknown[] = isTensor(params) ? [params] : [...params];
    if (list.length === 0) throw new ArgumentError(`${name}: there are no parameters to train`);
    const grouped = list.some(
      (x) => typeof x === 'object' && x !== null && !isTensor(x) && !Array.isArray(x),
    );
    if (grouped) for (const g of list) this.#addGroup(g);
    else this.#addGroup({ params: list });
  }

  /** The groups of parameters with their options, which may be set between steps. */
  get paramGroups(): ParamGroup<O>[] {
    if (tracing() !== null) this.#watchGroups();
    return this.#groups;
  }

  /** For subclasses: rules that concern several options. Throws ArgumentError. */
  protected validate(_options: Required<O>): void {}

  /** For subclasses: updates the parameters of one group. Called without recording. */
  protected abstract update(group: ParamGroup<O>, active: readonly Active[]): void;

  #checked(options: Record<string, unknown>): Partial<Required<O>> {
    const name = this.constructor.name;
    const names = Object.keys(this.#options);
    const out: Record<string, unknown> = {};
    for (const [key, value] of Object.entries(options)) {
      if (!Object.hasOwn(this.#options, key)) {
        throw new ArgumentError(
          `${name}: there is no option ${describe(key)}${didYouMean(key, names)} Options are ${names.join(', ')}`,
        );
      }
      if (value === undefined) continue;
      const wrong = (this.#options[key] as readonly [unknown, Check])[1](value);
      if (wrong !== undefined) throw new ArgumentError(`${name}: ${key} ${wrong}`);
      out[key] = Array.isArray(value) ? [...value] : value;
    }
    return out as Partial<Required<O>>;
  }

  #addGroup(given: unknown): void {
    const name = this.constructor.name;
    if (
      typeof given !== 'object' ||
      given === null ||
      isTensor(given) ||
      Array.isArray(given) ||
      !('params' in given)
    ) {
      throw new ArgumentError(`${name}: a parameter group is { params, …options }, not ${describe(given)}`);
    }
    const { params, ...options } = given as { params: unknown } & Record<string, unknown>;
    if (!isIterable(params) && !isTensor(params)) {
      throw new ArgumentError(`${name}: params of a group is a list of parameters, not ${describe(params)}`);
    }
    const list: unknown[] = isTensor(params) ? [params] : [...params];
    const tensors: Tensor[] = [];
    const named = new Map<Tensor, string>();
    for (const [i, x] of list.entries()) {
      const [label, t] = Array.isArray(x) && x.length === 2 ? (x as unknown[]) : [undefined, x];
      if (!isTensor(t))
        throw new ArgumentError(`${name}: parameter ${i} must be a tensor, not ${describe(t)}`);
      const what = typeof label === 'string' ? `parameter ${label}` : `parameter ${i}`;
      this.#checkParameter(what, t);
      if (this.#states.has(t) || tensors.includes(t))
        throw new ArgumentError(`${name}: ${what} is given twice`);
      if (typeof label === 'string') {
        if ([...this.#names.values(), ...named.values()].includes(label)) {
          throw new ArgumentError(`${name}: two parameters have the name ${describe(label)}`);
        }
        named.set(t, label);
      }
      tensors.push(t);
    }
    const own = { ...(this.#defaults as Required<O>), ...this.#checked(options) };
    for (const [key, value] of Object.entries(own)) {
      if (Array.isArray(value)) (own as Record<string, unknown>)[key] = [...value];
    }
    this.validate(own);
    for (const t of tensors) this.#states.set(t, { step: 0, tensors: new Map(), numbers: {} });
    for (const [t, label] of named) this.#names.set(t, label);
    this.#groups.push(watchedGroup({ ...own, params: tensors }));
  }

  #checkParameter(what: string, t: Tensor): void {
    const name = this.constructor.name;
    if (!isFloat(t.dtype))
      throw new DTypeError(`${name}: ${what} is ${t.dtype}; only float32 and float64 are trained`);
    if (!t.isLeaf) {
      throw new ArgumentError(
        `${name}: ${what} was computed from others; only leaves are trained (detach() makes one)`,
      );
    }
    if (!t.view.whole) {
      throw new ArgumentError(`${name}: ${what} is a window on another tensor; train that one, or a clone()`);
    }
  }

  /** Adds a group: { params, …options }; options left out are those of the constructor. */
  addParamGroup(
    group: { readonly params: Tensor | Iterable<Tensor> | Iterable<readonly [string, Tensor]> } & Partial<O>,
  ): void {
    this.#addGroup(group);
  }

  /** Learning rate of the first group; setting it sets that of all groups. */
  get lr(): number {
    return (this.#groups[0] as ParamGroup<O>).lr as number;
  }

  /** Sets the learning rate, >= 0, of all groups (ArgumentError otherwise). */
  set lr(value: number) {
    const wrong = checks.notNegative(value);
    if (wrong !== undefined) throw new ArgumentError(`${this.constructor.name}: lr ${wrong}`);
    for (const group of this.#groups) (group as BaseOptions).lr = value;
  }

  /** Sets the gradient of every parameter to null. */
  zeroGrad(): void {
    for (const { params } of this.paramGroups) for (const p of params) p.grad = null;
  }

  /**
   * Updates every parameter that has a gradient. A closure is called first, with recording switched on, to
   * compute the loss and its gradients; its value is returned.
   *
   * @throws ArgumentError for an async closure, whose gradients would come too late, and for options of a group that were
   * set to what they cannot be.
   */
  step(): undefined;
  step<T>(closure: () => T): T;
  step<T>(closure?: () => T): T | undefined {
    if (closure !== undefined && typeof closure !== 'function') {
      throw new ArgumentError(
        `${this.constructor.name}: step takes a function or nothing, not ${describe(closure)}`,
      );
    }
    const value = closure === undefined ? undefined : enableGrad(closure);
    const before = enterOp(this.#stepName);
    const mode = setGradEnabled(false);
    try {
      const { paramGroups } = this;
      // All or none.
      for (const group of paramGroups) {
        let active = false;
        for (const p of group.params) {
          p.checkGradKept(this.#stepName);
          if (p.peekGrad() === null) continue;
          active = true;
          if (tracing() === null) p.view.storage.checkWrite(this.#stepName);
        }
        if (active) this.#checkGroup(group);
      }
      for (const group of paramGroups) {
        const params: Tensor[] = [];
        const grads: View[] = [];
        for (const p of unwatched(group).params) {
          const g = p.peekGrad();
          if (g === null) continue;
          params.push(p);
          grads.push(g.view.contiguous ? g.view : contiguous(g.view));
        }
        if (params.length > 0) this.#updateGroup(group, params, grads);
      }
    } finally {
      this.#group = null;
      setGradEnabled(mode);
      leaveOp(before);
    }
    return value;
  }

  #updateGroup(group: ParamGroup<O>, params: readonly Tensor[], grads: readonly View[]): void {
    // One that says itself what it depends on.
    const known = recordable.has(this.update);
    const update = (views: readonly View[]): void => {
      const active = params.map(
        (p, i): Active => ({ p, g: new Tensor(views[i] as View), state: this.#state(p) }),
      );
      if (inspecting() !== null) for (const { p, g } of active) this.#label(p, g, 'the gradient of ');
      this.#group = group;
      this.update(known ? unwatched(group) : group, active);
    };
    if (!known) {
      update(grads);
      return;
    }
    let replays = this.#replays.get(group);
    if (replays === undefined) {
      replays = new Replays();
      this.#replays.set(group, replays);
    }
    replays.run(this.#stepName, params, unwatched(group).params, grads, update);
  }

  /** Says what belongs to a parameter, for an inspection in progress. */
  #label(p: Tensor, t: Tensor, what: string): void {
    const name = `parameter ${this.#keys().get(p)}`;
    inspecting()?.label(p.view.storage, name, p.shape);
    inspecting()?.label(t.view.storage, what + name, p.shape);
  }

  /** Options may be set between steps, so each step looks at them again. Makes no garbage where all is well. */
  #checkGroup(group: ParamGroup<O>): void {
    const options = unwatched(group);
    for (let i = 0; i < this.#optionNames.length; i++) {
      const key = this.#optionNames[i] as keyof typeof options & string;
      const wrong = (this.#options[key] as readonly [unknown, Check])[1](options[key]);
      if (wrong !== undefined) {
        throw new ArgumentError(
          `${this.constructor.name}: an option in paramGroups[${this.#groups.indexOf(group)}] was set wrong: ${key} ${wrong}`,
        );
      }
    }
    this.validate(options);
  }

  /** Tells the trace in progress which groups there are. */
  #watchGroups(): void {
    observe(() => this.#groups.length);
    for (const i of this.#groups.keys()) observe(() => this.#groups[i]);
  }

  #state(p: Tensor): ParamState {
    let state = this.#states.get(p);
    if (state === undefined) {
      // Someone put a parameter into a group by hand.
      this.#checkParameter('a parameter', p);
      state = { step: 0, tensors: new Map(), numbers: {} };
      this.#states.set(p, state);
    }
    return state;
  }

  /** For subclasses: what is remembered of a parameter, before its gradient is there. */
  protected stateOf(p: Tensor): ParamState {
    return this.#state(p);
  }

  /** A choice that depends on options: a compiled step is compiled anew where it comes out differently. */
  protected when(test: () => boolean): boolean {
    observe(test);
    return withRecorder(null, test);
  }

  /**
   * State of a parameter: a tensor like it, filled with `initial` when it is first asked for. It is real
   * memory also while a step is compiled, so that programs can keep it.
   */
  protected stateTensor({ p, state }: Omit<Active, 'g'>, name: string, initial = 0): Tensor {
    const trace = tracing();
    let t = state.tensors.get(name);
    if (t === undefined) {
      t = anotherLike(p, state);
      const made = t;
      if (initial !== 0) withRecorder(null, () => made.fill_(initial));
      state.tensors.set(name, t);
      trace?.created(() => state.tensors.delete(name));
    }
    trace?.observe(() => state.tensors.get(name));
    if (inspecting() !== null) this.#label(p, t, `${name} of `);
    return t;
  }

  /**
   * Counts one step for the given parameters and returns the numbers of that step, refilled at every replay
   * of a compiled step. `undo` takes back what `numbers` changed beside the step counts.
   */
  protected advance(active: readonly Active[], numbers: () => number[], undo?: () => void): Param[] {
    const states = active.map((a) => a.state);
    const group = this.#group;
    return advance({
      owner: active.length === 0 ? null : (group ?? this),
      advance: () => {
        if (group !== null) this.#checkGroup(group);
        for (const s of states) s.step++;
        const list = numbers();
        if (allNumbers(list)) return list;
        undo?.();
        for (const s of states) s.step--;
        throw new ArgumentError(
          `${this.constructor.name}: an option of a parameter group is not a number; look at optimizer.paramGroups`,
        );
      },
      rewind: () => {
        undo?.();
        for (const s of states) s.step--;
      },
    });
  }

  /** Numbers of a step as scalar tensors, for updates composed of tensor operations. */
  protected scalars(dtype: DType, numbers: readonly Param[]): Tensor[] {
    return numbers.map((x) => {
      const view = fresh(dtype, []);
      emitMap(fillKernelRow, view, [], [x]);
      return new Tensor(view);
    });
  }

  #keys(): Map<Tensor, string> {
    const keys = new Map<Tensor, string>();
    let i = 0;
    for (const { params } of this.#groups) {
      for (const p of params) keys.set(p, this.#names.get(p) ?? String(i++));
    }
    return keys;
  }

  /**
   * A snapshot: `state`, by parameter name where names were given and else by index, with the step count and
   * copies of the state tensors; and `paramGroups`, the options with the keys of the parameters.
   *
   * @throws StateError while an asynchronous step updates the parameters: its counts have moved on, its tensors not yet.
   */
  stateDict(): OptimizerState {
    const keys = this.#keys();
    const state: OptimizerState['state'] = {};
    const op = `${this.constructor.name}.stateDict`;
    for (const [p, key] of keys) {
      const s = this.#state(p);
      p.view.storage.checkIdle(op);
      for (const t of s.tensors.values()) t.view.storage.checkIdle(op);
      if (s.step === 0 && s.tensors.size === 0) continue;
      const entry: Record<string, number | Tensor> = { step: s.step, ...s.numbers };
      for (const [name, t] of s.tensors) entry[name] = withRecorder(null, () => t.clone());
      state[key] = entry;
    }
    const paramGroups = this.#groups.map(({ params, ...options }) => {
      const copied: Record<string, unknown> = {};
      for (const [key, value] of Object.entries(options))
        copied[key] = Array.isArray(value) ? [...value] : value;
      return { ...copied, params: params.map((p) => keys.get(p) as string) };
    });
    return { state, paramGroups };
  }

  /**
   * Takes over a snapshot of an optimizer of the same kind with the same parameters: steps that follow have
   * the same bits as if training had not been interrupted. Everything is checked before anything is changed
   * (StateError).
   */
  loadStateDict(dict: OptimizerState): void {
    const name = this.constructor.name;
    if (typeof dict?.state !== 'object' || dict.state === null || !Array.isArray(dict.paramGroups)) {
      throw new ArgumentError(`${name}: loadStateDict takes what stateDict() gives, not ${describe(dict)}`);
    }
    const keys = this.#keys();
    const wrong: string[] = [];
    if (dict.paramGroups.length !== this.#groups.length) {
      wrong.push(`${dict.paramGroups.length} parameter groups where there are ${this.#groups.length}`);
    }
    const options = this.#groups.map((group, i) => {
      const { params, ...given } = (dict.paramGroups[i] ?? { params: null }) as Record<string, unknown>;
      const own = group.params.map((p) => keys.get(p) as string);
      if (!Array.isArray(params)) wrong.push(`group ${i} has no list of parameters`);
      else if (params.length !== own.length || own.some((k, j) => k !== params[j])) {
        wrong.push(`group ${i} has parameters [${params.join(', ')}] where there are [${own.join(', ')}]`);
      }
      try {
        const checked = this.#checked(given);
        this.validate({ ...group, ...checked });
        return checked;
      } catch (e) {
        wrong.push((e as Error).message);
        return {};
      }
    });
    const next = new Map<Tensor, ParamState>();
    for (const [p, key] of keys) {
      const state: ParamState = { step: 0, tensors: new Map(), numbers: {} };
      for (const [field, value] of Object.entries(dict.state[key] ?? {})) {
        if (isTensor(value)) {
          if (!sameShape(value.shape, p.shape) || value.dtype !== p.dtype) {
            wrong.push(
              `${field} of ${key}: ${value.dtype} ${showShape(value.shape)} for a parameter that is ${p.dtype} ${showShape(p.shape)}`,
            );
          }
          state.tensors.set(field, value);
        } else if (typeof value !== 'number' || !Number.isFinite(value)) {
          wrong.push(`${field} of ${key}: ${describe(value)}`);
        } else if (field === 'step') {
          if (!Number.isSafeInteger(value) || value < 0)
            wrong.push(`step of ${key} is a whole number >= 0, not ${value}`);
          state.step = value;
        } else state.numbers[field] = value;
      }
      next.set(p, state);
    }
    const known = new Set(keys.values());
    const unexpected = Object.keys(dict.state).filter((key) => !known.has(key));
    if (unexpected.length > 0) wrong.push(`unexpected parameters: ${unexpected.join(', ')}`);
    if (wrong.length > 0) throw new StateError(`${name}: the state does not fit: ${wrong.join('; ')}`);

    for (const [p, { tensors }] of next) {
      const own = this.#state(p).tensors;
      for (const [field, value] of tensors) {
        own.get(field)?.view.storage.checkWrite(`${name}.loadStateDict`);
        value.view.storage.checkRead(`${name}.loadStateDict`);
      }
    }
    this.#groups.forEach((group, i) => {
      Object.assign(group, options[i]);
    });
    for (const [p, { step, tensors, numbers }] of next) {
      const own = this.#state(p);
      own.step = step;
      for (const key of Object.keys(own.numbers)) delete own.numbers[key];
      Object.assign(own.numbers, numbers);
      for (const key of [...own.tensors.keys()]) if (!tensors.has(key)) own.tensors.delete(key);
      for (const [field, value] of tensors) {
        // Written in place where there is one, so that compiled steps go on with it.
        let t = own.tensors.get(field);
        if (t === undefined) {
          t = anotherLike(p, own);
          own.tensors.set(field, t);
        }
        t.copy_(value);
      }
    }
  }
}
