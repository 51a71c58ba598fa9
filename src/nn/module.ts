import { grad } from '../autograd/functional.js';
import { enableGrad } from '../autograd/mode.js';
import { type DType, isFloat } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError, StateError } from '../errors.js';
import { isTensor } from '../ops/primitive.js';
import { isPlainObject } from '../options.js';
import { Cell } from '../program/cell.js';
import { observe, tracing, withRecorder } from '../program/emit.js';
import { watchTraces } from '../program/trace.js';
import { describe, sameShape, showShape } from '../program/view.js';
import { full } from '../tensor/create.js';
import { checkOptions, persistent, type Tensor, type TensorValues, tensor } from '../tensor/tensor.js';

/** Tensors that were made parameters; they stay so while frozen. */
const parameters = new WeakSet<Tensor>();

/**
 * Makes a parameter with the values of a tensor (or of arrays, as float32): a leaf in memory that lives long,
 * which modules find in their fields also while `requiresGrad` is off. Throws DTypeError unless it is float32 or
 * float64.
 */
export function Parameter(
  given: Tensor | TensorValues,
  options: { readonly requiresGrad?: boolean } = {},
): Tensor {
  const isArray = Array.isArray(given) || ArrayBuffer.isView(given);
  const values = isArray ? tensor(given as TensorValues) : given;
  if (!isTensor(values)) throw new ArgumentError(`Parameter: takes a tensor, not ${describe(values)}`);
  checkOptions('Parameter', options, ['requiresGrad']);
  if (!isFloat(values.dtype))
    throw new DTypeError(`Parameter: must be float32 or float64, not ${values.dtype}`);
  const p = persistent(values.shape, values.dtype);
  p.copy_(values.detach());
  // Of a parameter that a step makes this is no change that the step leaves behind.
  withRecorder(null, () => {
    p.requiresGrad = options.requiresGrad ?? true;
  });
  parameters.add(p);
  return p;
}

/** A parameter of zeros, to be filled by an initializer. */
export function emptyParameter(shape: readonly number[], dtype: DType): Tensor {
  const p = persistent(shape, dtype);
  withRecorder(null, () => {
    p.requiresGrad = true;
  });
  parameters.add(p);
  return p;
}

function isParameter(t: Tensor): boolean {
  if (parameters.has(t)) return true;
  if (!t.isLeaf || !t.requiresGrad) return false;
  // Remembered, so that freezing it later does not lose it.
  parameters.add(t);
  return true;
}

/** Every module that is in use. */
const live = new Set<WeakRef<Module>>();
const gone = new FinalizationRegistry<WeakRef<Module>>((ref) => live.delete(ref));

type Fields = Record<string, unknown>;

function isName(key: unknown): key is string | number {
  return (typeof key === 'string' && key !== '') || typeof key === 'number';
}

const standIns = new WeakMap<object, Fields>();

/** What stands for an object among the holders of fields, always the same. */
function standInFor(of: object, make: () => Fields): Fields {
  let fields = standIns.get(of);
  if (fields === undefined) standIns.set(of, (fields = make()));
  return fields;
}

/** The entries of a Map as fields; the field '' is its size. */
function mapFields(map: ReadonlyMap<unknown, unknown>): Fields {
  const get = (_: object, key: string | symbol): unknown =>
    key === '' ? map.size : map.has(key) ? map.get(key) : map.get(Number(key));
  return standInFor(map, () => new Proxy<Fields>({}, { get }));
}

/** In its field '' how many fields an object has: one that is added later changes none that was there. */
function fieldCount(holder: Fields): Fields {
  return standInFor(holder, () => ({
    get ''() {
      let n = 0;
      for (const _ in holder) n++; // a list of them would be garbage at every step
      return n;
    },
  }));
}

/** From so many on, fields or elements are data. */
const manyFields = 64;

type VisitField = (holder: Fields, key: string, value: unknown) => void;

function lookAt(holder: Fields, depth: number, visit: VisitField): void {
  if (!Array.isArray(holder)) {
    const count = fieldCount(holder);
    const n = count[''] as number;
    // An object with many is data, not structure, and may grow at every step.
    if (n <= manyFields) visit(count, '', n);
  }
  for (const key in holder) {
    if (!Object.hasOwn(holder, key)) continue;
    const value = holder[key];
    visit(holder, key, value);
    if (typeof value !== 'object' || value === null || depth >= 4) continue;
    if (Array.isArray(value)) {
      visit(value as unknown as Fields, 'length', value.length);
      // A long list of numbers is data, not structure.
      if (value.length <= manyFields || typeof value[0] === 'object')
        lookAt(value as unknown as Fields, depth + 1, visit);
    } else if (isPlainObject(value)) lookAt(value, depth + 1, visit);
    else if (value instanceof Map) {
      const fields = mapFields(value);
      visit(fields, '', value.size);
      for (const [k, v] of value) if (isName(k)) visit(fields, String(k), v);
    }
  }
}

/** Calls a function with every field of a module, and with those of arrays, plain objects and Maps in its fields. */
function eachField(m: Module, visit: VisitField): void {
  lookAt(m as unknown as Fields, 0, visit);
}

/** The fields of a module as they were: holder, key and value in turn. */
function fieldsOf(m: Module): unknown[] {
  const list: unknown[] = [];
  eachField(m, (holder, key, value) => {
    list.push(holder, key, value);
  });
  return list;
}

/** These modules, those that they lead to, and so on. */
function spread(from: Iterable<Module>, to: ReadonlyMap<Module, readonly Module[]>): Set<Module> {
  const found = new Set(from);
  // What is added on the way is visited, too.
  for (const m of found) for (const next of to.get(m) ?? []) found.add(next);
  return found;
}

// A compiled step notices when a field of a module that it uses holds something else than when it was compiled: another
// parameter, layer, number, function. Fields that the step itself sets (a count, kept activations) do not matter.
watchTraces(() => {
  const before = new Map<Module, unknown[]>();
  for (const ref of live) {
    const module = ref.deref();
    if (module) before.set(module, fieldsOf(module));
  }
  return (used, trace) => {
    const children = new Map<Module, Module[]>();
    const holders = new Map<Module, Module[]>();
    const users: Module[] = [];
    // Looking for them is not what the step depends on.
    withRecorder(null, () => {
      for (const ref of live) {
        const module = ref.deref();
        if (!module) continue;
        let uses = false;
        const own: Module[] = [];
        eachHeld(module, (held) => {
          if (isTensor(held)) uses ||= used.has(held.view.storage);
          else own.push(held);
        });
        if (uses) users.push(module);
        children.set(module, own);
        for (const m of own) {
          const list = holders.get(m);
          if (list) list.push(module);
          else holders.set(m, [module]);
        }
      }
    });
    // Modules that hold a tensor of the step, those that hold such modules, and whatever all of these hold: an activation
    // has no tensor to be known by.
    const watched = spread(spread(users, holders), children);
    const held = new Map<Fields, Map<string, unknown>>();
    for (const module of watched) {
      const list = before.get(module) ?? [];
      for (let i = 0; i < list.length; i += 3) {
        const [holder, key] = [list[i] as Fields, list[i + 1] as string];
        let fields = held.get(holder);
        if (fields === undefined) held.set(holder, (fields = new Map<string, unknown>()));
        fields.set(key, list[i + 2]);
      }
    }
    for (const module of watched) {
      trace.observe(() => module.forward); // replaced, or given a hook
      eachField(module, (holder, key, value) => {
        const kept = isTensor(value)
          ? value.view.storage.trace === null && used.has(value.view.storage)
          : held.get(holder)?.has(key) && Object.is(held.get(holder)?.get(key), value);
        if (kept) trace.observe(() => holder[key]);
      });
    }
  };
});

/** What Module.loadStateDict found. */
export interface LoadReport {
  /** Parameters and buffers that the state did not have; they are as they were. */
  missing: string[];
  /** What the state had and the module has not. */
  unexpected: string[];
}

/** Copies of parameters and buffers by name. */
export type StateDict = Record<string, Tensor>;

/** Called after forward(): what it returns replaces the output, unless undefined. */
export type ForwardHook<M extends Module = Module> = (
  module: M,
  inputs: readonly unknown[],
  output: unknown,
) => unknown;

/**
 * Called before forward(): an array that it returns replaces the inputs, anything else but undefined replaces them by
 * itself alone.
 */
export type ForwardPreHook<M extends Module = Module> = (module: M, inputs: readonly unknown[]) => unknown;

/** Options of hooks. */
export interface HookOptions {
  /** Whether the hook comes before those that are there already. Default false. */
  readonly prepend?: boolean;
}

/** Takes a hook away: call it, or its remove(), or let `using` do it. A second time does nothing. */
export interface HookHandle {
  (): void;
  /** Takes the hook away. */
  remove(): void;
  /** Takes the hook away, for `using`. */
  [Symbol.dispose](): void;
}

/** What Module.vjp gives. */
export interface BlockGradients {
  /** The block's output, without a graph. */
  readonly output: Tensor;
  /** The gradient of every input, in the order given; null for one that is no float32 or float64 tensor. */
  readonly inputs: (Tensor | null)[];
  /** The gradient of every parameter that is not frozen, by name; zeros where the output does not depend on it. */
  readonly parameters: Record<string, Tensor>;
}

// biome-ignore lint/suspicious/noExplicitAny: every module takes and gives what it likes
type Forward = (...inputs: any[]) => any;

/** A function with a hook in it: at the end, or in front. Returns the handle that takes it away. */
function addHook<H>(
  hooks: { fn: H }[],
  fn: H,
  { prepend = false }: HookOptions,
  changed: () => void,
): HookHandle {
  const entry = { fn };
  if (prepend) hooks.unshift(entry);
  else hooks.push(entry);
  changed();
  const remove = (): void => {
    const i = hooks.indexOf(entry);
    if (i < 0) return;
    hooks.splice(i, 1);
    changed();
  };
  return Object.assign((): void => remove(), { remove, [Symbol.dispose]: remove });
}

type Visit = (name: string, value: Tensor | Module, owner: Module) => void;

/** Visits the tensors and modules that a module holds directly. Set where #each can be reached. */
let eachHeld: (m: Module, visit: (held: Tensor | Module) => void) => void;

/**
 * Base of layers and models. Subclasses assign parameters (see Parameter), buffers (see registerBuffer) and
 * other modules to fields, also within arrays, plain objects and Maps (with strings or numbers for keys), and
 * define forward(). What is held by a private `#field` is not found.
 */
export class Module {
  /** A cell, so that compiled steps notice when it is switched, and switch it themselves where the step does. */
  readonly #training = new Cell(true, tracing()?.token);
  readonly #buffers = new Map<string, boolean>();
  readonly #preHooks: { fn: ForwardPreHook }[] = [];
  readonly #hooks: { fn: ForwardHook }[] = [];
  /** While there are hooks: forward() with them, and what it was replaced by in this object, if anything. */
  #hooked: Forward | null = null;
  #replaced: Forward | null = null;

  constructor() {
    const ref = new WeakRef<Module>(this);
    live.add(ref);
    gone.register(this, ref);
  }

  /**
   * True in training mode (the default), false in evaluation mode: Dropout and batch normalisation differ.
   */
  get training(): boolean {
    return this.#training.get() as boolean;
  }

  /** Computes the output. The arguments and the result are for subclasses to choose. */
  // biome-ignore lint/suspicious/noExplicitAny: every module takes and gives what it likes
  forward(..._inputs: any[]): any {
    throw new ArgumentError(`${this.constructor.name}: this module does not define forward()`);
  }

  /** Fields in which parameters, buffers and modules are looked for. */
  protected fields(): Iterable<readonly [string, unknown]> {
    return Object.entries(this);
  }

  static {
    eachHeld = (m, visit) => m.#each((_name, held) => visit(held));
  }

  /** Visits the tensors and modules held directly by this one, in order of assignment. */
  #each(visit: Visit): void {
    let seen: Set<unknown> | null = null;
    const look = (name: string, value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      if (isTensor(value) || value instanceof Module) {
        visit(name, value, this);
        return;
      }
      const map = value instanceof Map;
      if (!map && !Array.isArray(value) && !isPlainObject(value)) return;
      seen ??= new Set();
      if (seen.has(value)) return;
      seen.add(value);
      if (map) {
        for (const [key, v] of value) if (isName(key)) look(`${name}.${key}`, v);
      } else {
        for (const [key, v] of Object.entries(value)) look(`${name}.${key}`, v);
      }
    };
    for (const [name, value] of this.fields()) look(name, value);
  }

  /** Every module in this one, itself first (named ''), each once: pairs of path and module. */
  namedModules(): [string, Module][] {
    const out: [string, Module][] = [];
    const seen = new Set<Module>();
    const walk = (path: string, m: Module): void => {
      if (seen.has(m)) return;
      seen.add(m);
      out.push([path, m]);
      m.#each((name, value) => {
        if (value instanceof Module) walk(path === '' ? name : `${path}.${name}`, value);
      });
    };
    walk('', this);
    return out;
  }

  /** Every module in this one, itself first, each once. */
  modules(): Module[] {
    return this.namedModules().map(([, m]) => m);
  }

  /** Modules held directly by this one: pairs of name and module. */
  namedChildren(): [string, Module][] {
    const out: [string, Module][] = [];
    const seen = new Set<Module>();
    this.#each((name, value) => {
      if (!(value instanceof Module) || seen.has(value)) return;
      seen.add(value);
      out.push([name, value]);
    });
    return out;
  }

  /** Modules held directly by this one, each once. */
  children(): Module[] {
    return this.namedChildren().map(([, m]) => m);
  }

  #tensors(wanted: (t: Tensor, name: string, owner: Module) => boolean): [string, Tensor][] {
    const out: [string, Tensor][] = [];
    const seen = new Set<Tensor>();
    for (const [path, m] of this.namedModules()) {
      m.#each((name, value, owner) => {
        if (value instanceof Module || seen.has(value) || !wanted(value, name, owner)) return;
        seen.add(value);
        tracing()?.looksAt(value.view.storage);
        out.push([path === '' ? name : `${path}.${name}`, value]);
      });
    }
    return out;
  }

  /** Every parameter once, with the path of fields that leads to it: `[['0.weight', Tensor], …]`. */
  namedParameters(): [string, Tensor][] {
    return this.#tensors((t, name, owner) => !owner.#buffers.has(name) && isParameter(t));
  }

  /** Every parameter once. */
  parameters(): Tensor[] {
    return this.namedParameters().map(([, t]) => t);
  }

  /** Every buffer once, with its path. */
  namedBuffers(): [string, Tensor][] {
    return this.#tensors((_, name, owner) => owner.#buffers.has(name));
  }

  /** Every buffer once: see registerBuffer. */
  buffers(): Tensor[] {
    return this.namedBuffers().map(([, t]) => t);
  }

  /**
   * Puts a copy of a tensor that is state but not trained (running statistics) into the field `name` and returns it: it is
   * among buffers(), in stateDict() (not with `persistent: false`), and follows to(dtype) if it is floating point. Another
   * tensor that is assigned to the field later is the buffer then. null reserves the name.
   *
   * Throws ArgumentError for a name that is no name or that something else has: a method, a parameter, a layer.
   */
  registerBuffer(name: string, values: Tensor, options?: { readonly persistent?: boolean }): Tensor;
  registerBuffer(name: string, values: null, options?: { readonly persistent?: boolean }): null;
  registerBuffer(
    name: string,
    values: Tensor | null,
    options: { readonly persistent?: boolean } = {},
  ): Tensor | null {
    const op = 'registerBuffer';
    if (typeof name !== 'string' || name === '' || name.includes('.')) {
      throw new ArgumentError(`${op}: the name is a string without dots, not ${describe(name)}`);
    }
    if (values !== null && !isTensor(values))
      throw new ArgumentError(`${op}: takes a tensor (or null), not ${describe(values)}`);
    checkOptions(op, options, ['persistent']);
    const { persistent: kept = true } = options;
    if (typeof kept !== 'boolean')
      throw new ArgumentError(`${op}: persistent must be true or false, not ${describe(kept)}`);
    const fields = this as unknown as Fields;
    const free = Object.hasOwn(this, name)
      ? fields[name] === undefined || fields[name] === null
      : !(name in this);
    if (!free && !this.#buffers.has(name)) {
      throw new ArgumentError(
        `${op}: ${this.constructor.name} has something else by the name ${describe(name)}`,
      );
    }
    const buffer = values === null ? null : persistent(values.shape, values.dtype);
    if (values !== null) buffer?.copy_(values.detach());
    this.#buffers.set(name, kept);
    fields[name] = buffer;
    return buffer;
  }

  /** Switches this module and all in it to training mode (or to evaluation mode, for false). */
  train(mode = true): this {
    if (typeof mode !== 'boolean')
      throw new ArgumentError(`train: takes true or false, not ${describe(mode)}`);
    for (const m of this.modules()) m.#training.set(mode);
    return this;
  }

  /** Switches to evaluation mode. */
  eval(): this {
    return this.train(false);
  }

  /** Freezes (false) or unfreezes (true) every parameter. */
  requiresGrad_(flag = true): this {
    for (const p of this.parameters()) p.requiresGrad = flag;
    return this;
  }

  /** Sets the gradient of every parameter to null. */
  zeroGrad(): void {
    for (const p of this.parameters()) p.grad = null;
  }

  /** Calls a function with every module in this one, children before parents. */
  apply(fn: (module: Module) => void): this {
    if (typeof fn !== 'function') throw new ArgumentError(`apply: takes a function, not ${describe(fn)}`);
    for (const child of this.children()) child.apply(fn);
    fn(this);
    return this;
  }

  /**
   * Converts parameters and floating-point buffers to float32 or float64. They become new tensors in the same
   * fields: make optimizers and compiled steps afterwards.
   */
  to(dtype: DType): this {
    if (!isFloat(dtype)) throw new DTypeError(`to: modules are float32 or float64, not ${describe(dtype)}`);
    const made = new Map<Tensor, Tensor>();
    const convert = (t: Tensor, buffer: boolean): Tensor => {
      const held = made.get(t);
      if (held) return held;
      const next = persistent(t.shape, dtype);
      next.copy_(t.detach());
      if (!buffer) {
        next.requiresGrad = t.requiresGrad;
        parameters.add(next);
      }
      made.set(t, next);
      return next;
    };
    for (const m of this.modules()) {
      const seen = new Set<unknown>();
      const look = (holder: Record<string, unknown>, key: string, buffer: boolean): void => {
        const value = holder[key];
        if (isTensor(value)) {
          if (isFloat(value.dtype) && value.dtype !== dtype && (buffer || isParameter(value))) {
            holder[key] = convert(value, buffer);
          }
        } else if ((Array.isArray(value) || isPlainObject(value)) && !seen.has(value)) {
          seen.add(value);
          for (const k of Object.keys(value)) look(value as Record<string, unknown>, k, buffer);
        } else if (value instanceof Map && !seen.has(value)) {
          seen.add(value);
          for (const [k, v] of value) {
            const entry = { v };
            if (isName(k)) look(entry, 'v', buffer);
            if (entry.v !== v) value.set(k, entry.v);
          }
        }
      };
      for (const key of Object.keys(m))
        look(m as unknown as Record<string, unknown>, key, m.#buffers.has(key));
    }
    return this;
  }

  /** What stateDict() covers: the live tensors. */
  #state(): Map<string, Tensor> {
    const buffers = this.#tensors((_, name, owner) => owner.#buffers.get(name) === true);
    return new Map([...this.namedParameters(), ...buffers]);
  }

  /** Copies of all parameters and buffers by name: a snapshot that later steps do not change. */
  stateDict(): StateDict {
    const out: StateDict = {};
    for (const [name, t] of this.#state()) out[name] = withRecorder(null, () => t.detach().clone());
    return out;
  }

  /**
   * Copies values into the parameters and buffers of the same names. Everything is checked first: names (with
   * `strict`, the default, none may be missing or unexpected), shapes and dtypes; a StateError lists all that
   * does not fit, and nothing is written then. Returns the names that were missing and unexpected.
   */
  loadStateDict(
    dict: StateDict | ReadonlyMap<string, Tensor>,
    options: { readonly strict?: boolean } = {},
  ): LoadReport {
    checkOptions('loadStateDict', options, ['strict']);
    if (typeof dict !== 'object' || dict === null || Array.isArray(dict)) {
      throw new ArgumentError(`loadStateDict: takes what stateDict() gives, not ${describe(dict)}`);
    }
    const given: ReadonlyMap<string, unknown> = dict instanceof Map ? dict : new Map(Object.entries(dict));
    const own = this.#state();
    const missing = [...own.keys()].filter((name) => !given.has(name));
    const unexpected = [...given.keys()].filter((name) => !own.has(name));
    const wrong: string[] = [];
    if (options.strict ?? true) {
      if (missing.length > 0) wrong.push(`missing: ${missing.join(', ')}`);
      if (unexpected.length > 0) wrong.push(`unexpected: ${unexpected.join(', ')}`);
    }
    for (const [name, t] of own) {
      if (!given.has(name)) continue;
      const v = given.get(name);
      if (!isTensor(v)) wrong.push(`${name}: not a tensor but ${describe(v)}`);
      else if (!sameShape(v.shape, t.shape)) {
        wrong.push(`${name}: shape ${showShape(v.shape)} where the module has ${showShape(t.shape)}`);
      } else if (isFloat(v.dtype) !== isFloat(t.dtype)) {
        wrong.push(`${name}: ${v.dtype} where the module has ${t.dtype}`);
      }
    }
    if (wrong.length > 0) {
      throw new StateError(
        `loadStateDict: the state does not fit ${this.constructor.name}: ${wrong.join('; ')}`,
      );
    }
    const pairs = [...own].flatMap(([name, t]) => {
      const v = given.get(name) as Tensor | undefined;
      return v === undefined ? [] : [[t, v] as const];
    });
    for (const [t, v] of pairs) {
      t.view.storage.checkWrite('loadStateDict');
      v.view.storage.checkRead('loadStateDict');
    }
    for (const [t, v] of pairs) t.copy_(v.detach());
    return { missing, unexpected };
  }

  /**
   * Calls hook(module, inputs, output) after every forward() of this module; what it returns replaces the output, unless
   * undefined. Hooks run in the order of registration (`prepend: true`: in front of those that are there), each with what the
   * one before made of the output. Returns a handle: call it, or its `remove()`.
   *
   * Inside a compiled step a hook runs while the step is traced, with tensors that have no values yet: what it computes
   * (or writes into a buffer) is part of the step and is done again at every replay, what it does besides is not. Adding or
   * removing a hook makes the step be traced anew. Throws ArgumentError for anything but a function.
   */
  registerForwardHook(hook: ForwardHook, options: HookOptions = {}): HookHandle {
    this.#checkHook('registerForwardHook', hook, options);
    return addHook(this.#hooks, hook, options, () => this.#rehook());
  }

  /**
   * Calls hook(module, inputs) before every forward() of this module. An array that it returns takes the place of all
   * inputs, anything else but undefined that of a single one. Otherwise as registerForwardHook.
   */
  registerForwardPreHook(hook: ForwardPreHook, options: HookOptions = {}): HookHandle {
    this.#checkHook('registerForwardPreHook', hook, options);
    return addHook(this.#preHooks, hook, options, () => this.#rehook());
  }

  #checkHook(op: string, hook: unknown, options: HookOptions): void {
    if (typeof hook !== 'function') throw new ArgumentError(`${op}: takes a function, not ${describe(hook)}`);
    checkOptions(op, options, ['prepend']);
    const { prepend = false } = options;
    if (typeof prepend !== 'boolean')
      throw new ArgumentError(`${op}: prepend must be true or false, not ${describe(prepend)}`);
  }

  /**
   * Puts forward() with the hooks in front of the plain one, or takes it away with the last. It is a new function
   * each time, which is how compiled steps notice.
   */
  #rehook(): void {
    if (this.#hooked === null) {
      const own = Object.getOwnPropertyDescriptor(this, 'forward');
      this.#replaced = (own?.value as Forward | undefined) ?? null;
    }
    if (this.#hooks.length === 0 && this.#preHooks.length === 0) {
      this.#hooked = null;
      Reflect.deleteProperty(this, 'forward');
      if (this.#replaced !== null) this.forward = this.#replaced;
      return;
    }
    const [before, after] = [[...this.#preHooks], [...this.#hooks]];
    const hooked = (...given: unknown[]): unknown => {
      observe(() => this.#hooked);
      let inputs = given;
      for (const { fn } of before) {
        const changed = fn(this, inputs);
        if (changed !== undefined) inputs = Array.isArray(changed) ? changed : [changed];
      }
      const plain = this.#replaced ?? (Object.getPrototypeOf(this) as Module).forward;
      let output: unknown = plain.apply(this, inputs);
      for (const { fn } of after) {
        const changed = fn(this, inputs, output);
        if (changed !== undefined) output = changed;
      }
      return output;
    };
    this.#hooked = hooked;
    Object.defineProperty(this, 'forward', {
      get: () => this.#hooked,
      // Hooks stay when forward() is replaced.
      set: (forward: Forward) => {
        this.#replaced = forward;
        this.#rehook();
      },
      configurable: true,
      enumerable: false,
    });
  }

  /**
   * Forward and backward of this block by itself, as lecture 001 asks of every block: from the derivative of a loss with
   * respect to the block's output, ∂L/∂x_l = Σ_k ∂L/∂y_k ∂y_k/∂x_l for its inputs and ∂L/∂θ_j = Σ_k ∂L/∂y_k ∂y_k/∂θ_j for
   * its parameters. For Linear and an activation σ that is lectures 000 and 004's
   * G_i = (G_{i+1} ∘ σ′(Z_i W_i)) W_iᵀ and ∇W_i = Z_iᵀ (G_{i+1} ∘ σ′(Z_i W_i)).
   *
   * `inputs` is what forward() takes, an array where it takes several; `gradient` is ∂L/∂y in the shape of the output
   * (may be left out where that is a scalar: 1). The `grad` fields of the parameters stay untouched, and nothing of the
   * graph is kept. Inside a compiled step as well. Throws ArgumentError where the output is not one tensor, ShapeError for
   * a gradient of another shape.
   */
  vjp(inputs: unknown, gradient?: Tensor): BlockGradients {
    const op = `${this.constructor.name}.vjp`;
    if (gradient !== undefined && !isTensor(gradient))
      throw new ArgumentError(
        `${op}: the gradient is a tensor in the shape of the output, not ${describe(gradient)}`,
      );
    const given: unknown[] = Array.isArray(inputs) ? inputs : [inputs];
    const parameters = this.namedParameters().filter(([, p]) => p.requiresGrad);
    return enableGrad(() => {
      const leaves = given.map((x) => {
        if (!isTensor(x) || !isFloat(x.dtype)) return null;
        const leaf = x.detach().contiguous().detach();
        leaf.requiresGrad = true;
        return leaf;
      });
      const output: unknown = this.forward(...given.map((x, i) => leaves[i] ?? x));
      if (!isTensor(output))
        throw new ArgumentError(`${op}: forward() must give one tensor, not ${describe(output)}`);
      if (gradient !== undefined && !sameShape(gradient.shape, output.shape)) {
        throw new ShapeError(
          `${op}: the gradient has shape ${showShape(gradient.shape)}, the output ${showShape(output.shape)}`,
        );
      }
      const wanted = [...leaves.filter((x) => x !== null), ...parameters.map(([, p]) => p)];
      const found =
        output.requiresGrad && wanted.length > 0
          ? (grad([output], wanted, {
              gradOutputs: gradient ?? null,
              allowUnused: true,
            }) as (Tensor | null)[])
          : [];
      const of = new Map(wanted.map((t, i) => [t, found[i] ?? full(t.shape, 0, { dtype: t.dtype })]));
      return {
        output: output.detach(),
        inputs: leaves.map((x) => (x === null ? null : (of.get(x) as Tensor))),
        parameters: Object.fromEntries(parameters.map(([name, p]) => [name, of.get(p) as Tensor])),
      };
    });
  }

  /** What the constructor was given, for display: `Linear(784, 256)`. */
  protected describe(): string {
    return '';
  }

  /** The tree of modules. */
  toString(): string {
    const children = this.namedChildren();
    const name = `${this.constructor.name}(${this.describe()}`;
    if (children.length === 0) return `${name})`;
    const lines = children.map(([key, m]) => `  (${key}): ${m.toString().replaceAll('\n', '\n  ')}`);
    return `${name}\n${lines.join('\n')}\n)`;
  }

  /** @internal */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}
