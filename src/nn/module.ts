import { type DType, isFloat } from '../dtype.js';
import { ArgumentError, DTypeError, StateError } from '../errors.js';
import { isTensor } from '../ops/primitive.js';
import { observe, withRecorder } from '../program/emit.js';
import { watchTraces } from '../program/trace.js';
import { describe, sameShape, showShape } from '../program/view.js';
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
  p.requiresGrad = options.requiresGrad ?? true;
  parameters.add(p);
  return p;
}

/** A parameter of zeros, to be filled by an initializer. */
export function emptyParameter(shape: readonly number[], dtype: DType): Tensor {
  const p = persistent(shape, dtype);
  p.requiresGrad = true;
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

const views = new WeakMap<object, Fields>();

/** The entries of a Map as fields, always the same object; the field '' is its size. */
function mapFields(map: ReadonlyMap<unknown, unknown>): Fields {
  let fields = views.get(map);
  if (fields === undefined) {
    const get = (_: object, key: string | symbol): unknown =>
      key === '' ? map.size : map.has(key) ? map.get(key) : map.get(Number(key));
    fields = new Proxy<Fields>({}, { get });
    views.set(map, fields);
  }
  return fields;
}

/** Calls a function with every field of a module, and with those of arrays, plain objects and Maps in its fields. */
function eachField(m: Module, visit: (holder: Fields, key: string, value: unknown) => void): void {
  const look = (holder: Fields, depth: number): void => {
    for (const [key, value] of Object.entries(holder)) {
      visit(holder, key, value);
      if (depth >= 4) continue;
      if (Array.isArray(value)) {
        visit(value as unknown as Fields, 'length', value.length);
        // A long list of numbers is data, not structure.
        if (value.length <= 64 || typeof value[0] === 'object') look(value as unknown as Fields, depth + 1);
      } else if (isPlainObject(value)) look(value, depth + 1);
      else if (value instanceof Map) {
        const fields = mapFields(value);
        visit(fields, '', value.size);
        for (const [k, v] of value) if (isName(k)) visit(fields, String(k), v);
      }
    }
  };
  look(m as unknown as Fields, 0);
}

// A compiled step notices when a field of a module that it uses holds something else than when it was compiled: another
// parameter, layer, number, function. Fields that the step itself sets (a count, kept activations) do not matter.
watchTraces(() => {
  const before = new Map<Fields, Map<string, unknown>>();
  for (const ref of live) {
    const module = ref.deref();
    if (!module) continue;
    eachField(module, (holder, key, value) => {
      const held = before.get(holder);
      if (held) held.set(key, value);
      else before.set(holder, new Map([[key, value]]));
    });
  }
  return (used, trace) => {
    const known = new Map<Module, boolean>();
    /** True for a module that holds, itself or through others, a tensor of the step. */
    const isUsed = (m: Module): boolean => {
      const held = known.get(m);
      if (held !== undefined) return held;
      known.set(m, false); // for modules that hold each other
      let found = m.children().some(isUsed);
      eachField(m, (_holder, _key, value) => {
        if (isTensor(value) && used.has(value.view.storage)) found = true;
      });
      known.set(m, found);
      return found;
    };
    const watched = new Set<Module>();
    for (const ref of live) {
      const module = ref.deref();
      // What it holds counts as well: an activation has no tensor to be known by.
      if (module && isUsed(module)) for (const m of module.modules()) watched.add(m);
    }
    for (const module of watched) {
      trace.observe(() => module.forward); // replaced, or given a hook
      eachField(module, (holder, key, value) => {
        const kept = isTensor(value)
          ? value.view.storage.trace === null && used.has(value.view.storage)
          : before.get(holder)?.has(key) && Object.is(before.get(holder)?.get(key), value);
        if (kept) trace.observe(() => holder[key]);
      });
    }
  };
});

/** Copies of parameters and buffers by name. */
export type StateDict = Record<string, Tensor>;

export type ForwardHook<M extends Module = Module> = (
  module: M,
  inputs: readonly unknown[],
  output: unknown,
) => unknown;

function isPlainObject(x: unknown): x is Record<string, unknown> {
  if (typeof x !== 'object' || x === null) return false;
  const prototype: unknown = Object.getPrototypeOf(x);
  return prototype === Object.prototype || prototype === null;
}

type Visit = (name: string, value: Tensor | Module, owner: Module) => void;

/**
 * Base of layers and models. Subclasses assign parameters (see Parameter), buffers (see registerBuffer) and
 * other modules to fields, also within arrays, plain objects and Maps (with strings or numbers for keys), and
 * define forward(). What is held by a private `#field` is not found.
 */
export class Module {
  #training = true;
  readonly #buffers = new Map<string, boolean>();
  readonly #hooks = new Set<ForwardHook>();

  constructor() {
    const ref = new WeakRef<Module>(this);
    live.add(ref);
    gone.register(this, ref);
  }

  /**
   * True in training mode (the default), false in evaluation mode: Dropout and batch normalisation differ.
   */
  get training(): boolean {
    // Compiled steps notice when a mode that they depend on is switched.
    observe(() => this.#training);
    return this.#training;
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

  /** Visits the tensors and modules held directly by this one, in order of assignment. */
  #each(visit: Visit): void {
    const seen = new Set<unknown>();
    const look = (name: string, value: unknown): void => {
      if (typeof value !== 'object' || value === null) return;
      if (isTensor(value) || value instanceof Module) {
        visit(name, value, this);
      } else if (Array.isArray(value) || isPlainObject(value)) {
        if (seen.has(value)) return;
        seen.add(value);
        for (const [key, v] of Object.entries(value)) look(`${name}.${key}`, v);
      } else if (value instanceof Map) {
        if (seen.has(value)) return;
        seen.add(value);
        for (const [key, v] of value) if (isName(key)) look(`${name}.${key}`, v);
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

  buffers(): Tensor[] {
    return this.namedBuffers().map(([, t]) => t);
  }

  /**
   * Puts a tensor that is state but not trained (running statistics) into the field `name` and returns it.
   * With `persistent: false` it is left out of stateDict().
   */
  registerBuffer(name: string, values: Tensor, options: { readonly persistent?: boolean } = {}): Tensor {
    if (typeof name !== 'string' || name === '' || name.includes('.')) {
      throw new ArgumentError(`registerBuffer: the name is a string without dots, not ${describe(name)}`);
    }
    if (!isTensor(values)) throw new ArgumentError(`registerBuffer: takes a tensor, not ${describe(values)}`);
    checkOptions('registerBuffer', options, ['persistent']);
    const buffer = persistent(values.shape, values.dtype);
    buffer.copy_(values.detach());
    this.#buffers.set(name, options.persistent ?? true);
    (this as Record<string, unknown>)[name] = buffer;
    return buffer;
  }

  /** Switches this module and all in it to training mode (or to evaluation mode, for false). */
  train(mode = true): this {
    if (typeof mode !== 'boolean')
      throw new ArgumentError(`train: takes true or false, not ${describe(mode)}`);
    for (const m of this.modules()) m.#training = mode;
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
  ): { missing: string[]; unexpected: string[] } {
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
    for (const [name, t] of own) {
      const v = given.get(name) as Tensor | undefined;
      if (v !== undefined) t.copy_(v.detach());
    }
    return { missing, unexpected };
  }

  /**
   * Calls a function with (module, inputs, output) after every forward() of this module; what it returns
   * replaces the output, unless undefined. Returns a function that removes it. Inside a compiled step, hooks
   * run while it is traced.
   */
  registerForwardHook(hook: ForwardHook): () => void {
    if (typeof hook !== 'function')
      throw new ArgumentError(`registerForwardHook: takes a function, not ${describe(hook)}`);
    const own: ForwardHook = (m, inputs, output) => hook(m, inputs, output);
    if (this.#hooks.size === 0) {
      const before = Object.getOwnPropertyDescriptor(this, 'forward');
      const plain = this.forward;
      const hooked = (...inputs: unknown[]): unknown => {
        let output: unknown = plain.apply(this, inputs);
        for (const h of this.#hooks) {
          const changed = h(this, inputs, output);
          if (changed !== undefined) output = changed;
        }
        return output;
      };
      Object.defineProperty(this, 'forward', {
        value: hooked,
        configurable: true,
        writable: true,
        enumerable: false,
      });
      this.#restore = () => {
        if (before) Object.defineProperty(this, 'forward', before);
        else Reflect.deleteProperty(this, 'forward');
      };
    }
    this.#hooks.add(own);
    return () => {
      if (this.#hooks.delete(own) && this.#hooks.size === 0) this.#restore();
    };
  }
  #restore: () => void = () => {};

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

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }
}
