import { ArgumentError, ShapeError } from '../errors.js';
import type { LinearActivation } from '../ops/index.js';
import { isTensor } from '../ops/primitive.js';
import { observe, tracing } from '../program/emit.js';
import { abandon } from '../program/storage.js';
import { describe, sameShape, showShape } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { ELU, GELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh } from './activations.js';
import { Linear } from './layers.js';
import { Module } from './module.js';

// What Sequential knows of the library's own layers. They are known by their forward(): one that was overridden, replaced or
// given a hook is another function, and then the module is run like any other.

const linearForward = Linear.prototype.forward;

const fusedActivations = new Map<unknown, LinearActivation>([
  [ReLU.prototype.forward, 'relu'],
  [Sigmoid.prototype.forward, 'sigmoid'],
  [Tanh.prototype.forward, 'tanh'],
]);

/** Layers that leave their result in memory of its own and keep nothing of their input but what the graph saves. */
const plainLayers = new Set<unknown>(
  [Linear, ReLU, LeakyReLU, Sigmoid, Tanh, GELU, SiLU, ELU, Softplus].map((layer) => layer.prototype.forward),
);

function isPlainLayer(m: Module): boolean {
  return plainLayers.has(m.forward);
}

/** Runs a module, and lets a compiled step notice hooks and replaced methods. */
function run(m: Module, x: Tensor): Tensor {
  observe(() => m.forward);
  return m.forward(x) as Tensor;
}

/** A linear layer and the activation behind it in one pass, or null where the two are anything else. */
function runFused(m: Module, next: Module | undefined, x: Tensor): Tensor | null {
  if (next === undefined || !(m instanceof Linear) || m.forward !== linearForward) return null;
  const activation = fusedActivations.get(next.forward);
  return activation === undefined ? null : m.activated(x, activation);
}

function checkModule(op: string, m: unknown): Module {
  if (m instanceof Module) return m;
  const hint = typeof m === 'function' ? '; is there a `new` missing?' : '';
  throw new ArgumentError(`${op}: takes modules, not ${describe(m)}${hint}`);
}

/**
 * Modules one after another: new Sequential(a, b, …), an array of them, or an object { name: module }.
 * Parameters are named '0.weight' and so on, or by the given names.
 */
export class Sequential extends Module {
  readonly #names: string[] = [];
  readonly #modules: Module[] = [];

  constructor(
    ...modules: readonly Module[] | readonly [readonly Module[]] | readonly [Readonly<Record<string, Module>>]
  ) {
    super();
    const [only] = modules;
    if (modules.length === 1 && only !== null && typeof only === 'object' && !(only instanceof Module)) {
      for (const [name, m] of Object.entries(only)) this.#add(name, m);
    } else {
      for (const m of modules) this.append(m as Module);
    }
  }

  #add(name: string, m: Module): void {
    if (name.includes('.') || name === '')
      throw new ArgumentError(`Sequential: ${describe(name)} is not a name`);
    checkModule('Sequential', m);
    this.#names.push(name);
    this.#modules.push(m);
  }

  protected override fields(): Iterable<readonly [string, unknown]> {
    observe(() => this.#modules.length);
    const own = [...super.fields()];
    return [...this.#modules.map((m, i) => [this.#names[i] as string, m] as const), ...own];
  }

  /** How many modules there are. */
  get length(): number {
    observe(() => this.#modules.length);
    return this.#modules.length;
  }

  /** Module i; negative numbers count from the end. Undefined outside. */
  at(i: number): Module | undefined {
    observe(() => this.#modules.at(i));
    return this.#modules.at(i);
  }

  /** The modules in order. */
  [Symbol.iterator](): Iterator<Module> {
    observe(() => this.#modules.length);
    return this.#modules[Symbol.iterator]();
  }

  /** Adds a module at the end, named by its position. */
  append(m: Module): this {
    this.#add(String(this.#modules.length), m);
    return this;
  }

  override forward(x: Tensor): Tensor {
    observe(() => this.#modules.length);
    const modules = this.#modules;
    let y = x;
    if (tracing() !== null) {
      for (const m of modules) y = run(m, y);
      return y;
    }
    // True while y is a result that only this loop and the graph have.
    let own = false;
    for (let i = 0; i < modules.length; i++) {
      const m = modules[i] as Module;
      const z = runFused(m, modules[i + 1], y);
      const result = z ?? run(m, y);
      if (z !== null) i++;
      const plain = isPlainLayer(m);
      if (own && plain) abandon(y.view.storage);
      own = plain;
      y = result;
    }
    return y;
  }
}

/** A list of modules, named by position: new ModuleList(a, b, …) or an array of them. It has no forward(). */
export class ModuleList extends Module {
  readonly #modules: Module[] = [];

  constructor(...modules: readonly Module[] | readonly [readonly Module[]]) {
    super();
    const [only] = modules;
    const list = modules.length === 1 && Array.isArray(only) ? only : modules;
    for (const m of list) this.append(m as Module);
  }

  protected override fields(): Iterable<readonly [string, unknown]> {
    observe(() => this.#modules.length);
    return [...this.#modules.map((m, i) => [String(i), m] as const), ...super.fields()];
  }

  /** How many modules there are. */
  get length(): number {
    observe(() => this.#modules.length);
    return this.#modules.length;
  }

  /** Module i; negative numbers count from the end. Undefined outside. */
  at(i: number): Module | undefined {
    observe(() => this.#modules.at(i));
    return this.#modules.at(i);
  }

  /** The modules in order. */
  *[Symbol.iterator](): Iterator<Module> {
    for (let i = 0; i < this.length; i++) yield this.at(i) as Module;
  }

  /** Adds a module at the end. */
  append(m: Module): this {
    this.#modules.push(checkModule('ModuleList', m));
    return this;
  }
}

/** Modules by name: new ModuleDict({ name: module }). It has no forward(). */
export class ModuleDict extends Module {
  readonly #modules = new Map<string, Module>();
  /** Counts what is set, for compiled steps. */
  #changes = 0;

  constructor(modules: Readonly<Record<string, Module>> = {}) {
    super();
    if (typeof modules !== 'object' || modules === null || modules instanceof Module) {
      throw new ArgumentError(`ModuleDict: takes an object { name: module }, not ${describe(modules)}`);
    }
    for (const [name, m] of Object.entries(modules)) this.set(name, m);
  }

  protected override fields(): Iterable<readonly [string, unknown]> {
    observe(() => this.#changes);
    return [...this.#modules, ...super.fields()];
  }

  /** The module of that name, or undefined. */
  get(name: string): Module | undefined {
    observe(() => this.#modules.get(name));
    return this.#modules.get(name);
  }

  /** Puts a module under a name, in place of what was there. */
  set(name: string, m: Module): this {
    if (typeof name !== 'string' || name === '' || name.includes('.'))
      throw new ArgumentError(`ModuleDict: ${describe(name)} is not a name`);
    this.#modules.set(name, checkModule('ModuleDict', m));
    this.#changes++;
    return this;
  }

  /** Whether there is a module of this name. */
  has(name: string): boolean {
    return this.get(name) !== undefined;
  }

  /** The names, in order. */
  keys(): string[] {
    observe(() => this.#changes);
    return [...this.#modules.keys()];
  }
}

/**
 * x + f(x) (He et al., 2015), for a module f or a function of one tensor that keeps the shape of x. Throws ShapeError where
 * it does not.
 */
export class Residual extends Module {
  /** What is added to the input. */
  readonly fn: Module | ((x: Tensor) => Tensor);

  constructor(fn: Module | ((x: Tensor) => Tensor)) {
    super();
    const isClass = typeof fn === 'function' && fn.prototype instanceof Module;
    if (isClass || (!(fn instanceof Module) && typeof fn !== 'function')) checkModule('Residual', fn);
    this.fn = fn;
  }

  override forward(x: Tensor): Tensor {
    if (!isTensor(x)) throw new ArgumentError(`Residual: the input is a tensor, not ${describe(x)}`);
    observe(() => this.fn);
    const y = this.fn instanceof Module ? run(this.fn, x) : this.fn(x);
    if (!isTensor(y))
      throw new ArgumentError(`Residual: the function must give a tensor, not ${describe(y)}`);
    if (!sameShape(y.shape, x.shape)) {
      throw new ShapeError(
        `Residual: the function made ${showShape(y.shape)} of an input ${showShape(x.shape)}; both must have one shape ` +
          'to be added',
      );
    }
    return x.add(y);
  }
}
