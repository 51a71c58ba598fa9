import { enableGrad, isGradEnabled, noGrad } from '../autograd/mode.js';
import type { Input } from '../backend/backend.js';
import { backend } from '../backend/load.js';
import type { DType, TypedArray } from '../dtype.js';
import { ArgumentError, CompileError, StateError } from '../errors.js';
import { isTensor } from '../ops/primitive.js';
import { cloneOf } from '../ops/to.js';
import { isPlainObject } from '../options.js';
import { contiguous, fresh } from '../program/calls.js';
import { GradientCell, sameValue, type Watched } from '../program/cell.js';
import { constantStorage, inspecting, tracing, withRecorder } from '../program/emit.js';
import { explainProgram } from '../program/explain.js';
import { largeResult, Program } from '../program/program.js';
import { Rows } from '../program/rows.js';
import { Storage } from '../program/storage.js';
import { compareTraces, Trace } from '../program/trace.js';
import { describe, fullView, type Shape, sameShape, sizeOf, type View } from '../program/view.js';
import { ConsumedGrad, PublishedGrad } from './published.js';
import { checkOptions, Tensor } from './tensor.js';

/** Options of compile(). */
export interface CompileOptions {
  /** Shown in messages. Default: the function's name. */
  readonly name?: string;
  /** How many programs (one per combination of shapes, modes and frozen parameters) are kept. Default 16. */
  readonly cacheSize?: number;
  /**
   * Keeps the gradients of all parameters for reading after the step. Default false: where the optimizer's update can be
   * made part of the product that computes a gradient, that gradient is never stored, and reading `p.grad` after the step
   * is a StateError. (A gradient that the step does not itself reset, so that calls add to it, is always kept.)
   */
  readonly keepGrads?: boolean;
}

/** A step function that was compiled. Calling it runs the step. */
export interface CompiledStep<A extends readonly unknown[], R> {
  (...args: A): R;
  /**
   * Runs the step off the main thread and resolves to what it returns. Arguments may be changed as soon as the call returns.
   * Until it resolves everyone sees the old parameters, then the new ones, never a mixture. Calls are run one after the
   * other, beside those of other steps; modes, frozen parameters and options of optimizers are those of the moment when a
   * call's turn comes. (The JS backend has no other thread: it works between the events of this one, at least one kernel at a
   * time, so that an event may wait for a large product.)
   *
   * Meanwhile a StateError refuses synchronous calls of the step, operations that write to what it reads or updates (gradients,
   * too), and reads of the optimizer's state and of averages. What is written to an array that `data` gave is not seen by the
   * step, and lost where it updates the tensor. Rejects with what a synchronous call would throw; everything is then as it was
   * before, but for what others have set or drawn meanwhile (a learning rate, random numbers).
   */
  async(...args: A): Promise<R>;
  /**
   * The programs as text: every kernel call with its sizes, operations, bytes and what was fused, and its time in
   * microseconds, measured now on copies of what the step writes. Given arguments: the program for those, timed with their
   * values (ArgumentError where the step was not called with such arguments yet). Without: all programs, on zeros. `?` while
   * an asynchronous run is in flight, or where labels or indices cannot be zero.
   */
  explain(...args: A | []): string;
}

/** An argument as far as the choice of a program depends on it: all of a tensor but its values, or another value. */
type Argument = TensorArgument | string | boolean | null | undefined;

interface TensorArgument {
  readonly dtype: DType;
  readonly shape: Shape;
  readonly requiresGrad: boolean;
}

/** One way in which the step was traced. */
interface Entry {
  readonly key: string;
  /** What `key` says, for comparison without making a key. */
  readonly grad: boolean;
  readonly args: readonly Argument[];
  readonly trace: Trace;
  readonly program: Program;
  readonly outputs: Structure;
  /** Storages of the results, in the order of `outputs`. */
  readonly results: readonly { storage: Storage; shape: readonly number[] }[];
  /** What every replay leaves in cells. */
  readonly effects: readonly { cell: Watched; make: () => unknown }[];
  /** What the trace left in cells: views of its own results, or values as they were. */
  readonly left: ReadonlyMap<Watched, unknown>;
  /** False until the second call has confirmed the trace. */
  confirmed: boolean;
}

/** What tracing a step gave. */
interface Recorded {
  readonly trace: Trace;
  readonly result: Structure;
  readonly kept: Kept;
  /** What was in the cells that the step read or wrote when it was done. */
  readonly left: Map<Watched, unknown>;
}

/** The shape of what a step returns: tensors by position, other values as they were. */
type Structure =
  | { kind: 'tensor'; index: number }
  | { kind: 'list'; items: Structure[] }
  | { kind: 'object'; items: [string, Structure][] }
  | { kind: 'value'; value: unknown };

/**
 * Makes a fast step of a function of tensors.
 *
 * The function is traced on the first call: its operations, the backward pass and the optimizer's update are recorded
 * and planned as one program, which serves that call and all later ones with the same shapes and dtypes. Python-style
 * control flow is resolved while tracing; reading a value (`item()`, `data`) is a CompileError. On the second call the
 * function is traced again and compared, so that a number, array or branch that changes from step to step is a CompileError
 * and not a silently frozen value. From then on it is traced again only where something is different that a step watches:
 * shapes and dtypes of arguments, grad mode, train/eval and frozen parameters, options of optimizers, the fields of modules
 * that hold a tensor of the step, and of the modules in those (but for elements of typed arrays and of lists of more than 64
 * numbers). What a plain closure reads is not watched: a number that changes after the second call is not seen. Pass it as an
 * argument. A step that had to be traced in 64 calls in a row says so once, with a process warning (SIMDGRAD_RETRACED).
 *
 * Arguments are tensors (inputs), or strings, booleans, null and undefined, each combination of which has a program of its
 * own. A view that is not contiguous is copied first. Gradients of arguments end with the call: return `x.grad` to have them.
 * ArgumentError for an argument in memory that the step writes. Returns tensors, or arrays and plain objects of them; they
 * are new ones at every call and outside any graph.
 *
 * @example
 * const step = compile((x, y) => {
 *   optimizer.zeroGrad();
 *   const loss = F.crossEntropy(model.forward(x), y);
 *   loss.backward();
 *   optimizer.step();
 *   return loss;
 * });
 */
export function compile<R>(fn: (...args: Tensor[]) => R, options?: CompileOptions): CompiledStep<Tensor[], R>;
export function compile<A extends readonly unknown[], R>(
  fn: (...args: A) => R,
  options?: CompileOptions,
): CompiledStep<A, R>;
export function compile<A extends readonly unknown[], R>(
  fn: (...args: A) => R,
  options: CompileOptions = {},
): CompiledStep<A, R> {
  if (typeof fn !== 'function') throw new ArgumentError(`compile: takes a function, not ${describe(fn)}`);
  checkOptions('compile', options, ['name', 'cacheSize', 'keepGrads']);
  const { cacheSize = 16, keepGrads = false } = options;
  if (options.name !== undefined && typeof options.name !== 'string') {
    throw new ArgumentError(`compile: name is a string, not ${describe(options.name)}`);
  }
  if (typeof keepGrads !== 'boolean') {
    throw new ArgumentError(`compile: keepGrads is true or false, not ${describe(keepGrads)}`);
  }
  if (!Number.isInteger(cacheSize) || cacheSize < 1) {
    throw new ArgumentError(`compile: cacheSize is a whole number >= 1, not ${describe(cacheSize)}`);
  }
  const step = new Step<A, R>(fn, options.name ?? (fn.name || 'step'), cacheSize, keepGrads);
  return Object.assign((...args: A): R => step.run(args), {
    async: (...args: A): Promise<R> => step.runAsync(args),
    explain: (...args: A | []) => step.explain(args),
  });
}

const nothing = new Float32Array(0);

/** So many calls in a row that are all traced are worth a warning. */
const manyTimes = 64;

class Step<A extends readonly unknown[], R> {
  /** Most recently used first. */
  #entries: Entry[] = [];
  #queue: Promise<unknown> = Promise.resolve();
  #waiting = 0;
  /** How many calls in a row were traced as if they were the first. */
  #anew = 0;
  /** The inputs of a run; kept so that a step need not make them anew. */
  readonly #inputs: Input[] = [];

  constructor(
    private readonly fn: (...args: A) => R,
    private readonly name: string,
    private readonly cacheSize: number,
    private readonly keepGrads: boolean,
  ) {}

  run(args: A): R {
    // Inside another step this one is simply part of it.
    if (tracing() !== null) return this.fn(...args);
    if (this.#waiting > 0) {
      throw new StateError(`${this.name}: an asynchronous run of this step is in flight; await it first`);
    }
    if (inspecting() !== null) return this.#eager(args);
    const inputs = this.#inputs;
    try {
      const found = this.#prepared(args, inputs);
      try {
        found.program.run(inputs);
      } catch (error) {
        this.#rewind(found);
        throw error;
      }
      return this.#finish(found) as R;
    } finally {
      // The arrays are the caller's; the list stays.
      inputs.fill(nothing);
    }
  }

  async runAsync(args: A): Promise<R> {
    if (tracing() !== null) {
      throw new CompileError(`${this.name}: an asynchronous step cannot be part of another compiled step`);
    }
    // A step that has to wait takes its inputs as they are now, and refuses now what it would have to refuse for where they lie.
    if (this.#waiting > 0) {
      for (const e of this.#entries) if (fits(e.args, args)) this.#checkApart(e.program, args);
    }
    const now = this.#waiting === 0 ? args : (args.map((x) => (isTensor(x) ? copied(x) : x)) as unknown as A);
    const before = this.#queue;
    const inMode = isGradEnabled() ? enableGrad : noGrad;
    const mine = async () => {
      if (this.#waiting > 1) await before.catch(() => undefined);
      if (inspecting() !== null) return inMode(() => this.#eager(now));
      // A step that had to wait runs in the mode in which it was called.
      const { found, pending } = inMode(() => {
        const inputs: Input[] = [];
        const found = this.#prepared(now, inputs);
        return { found, pending: found.program.runAsync(inputs) };
      });
      const gradients = found.effects.flatMap(({ cell }) => (cell instanceof GradientCell ? [cell] : []));
      for (const cell of gradients) cell.busy = this.name;
      try {
        await pending;
      } catch (error) {
        this.#rewind(found);
        throw error;
      } finally {
        for (const cell of gradients) cell.busy = null;
      }
      return this.#finish(found) as R;
    };
    this.#waiting++;
    const result = mine();
    this.#queue = result;
    try {
      return await result;
    } finally {
      this.#waiting--;
    }
  }

  /** Runs the function operation by operation, for a mode that looks at each; leaves and returns what the program would. */
  #eager(args: A): R {
    this.#key(args); // refuses what is no argument
    const own = args.map((x) => {
      if (!isTensor(x)) return x;
      // Gradients of arguments end with the step.
      const t = new Tensor(x.view);
      if (x.requiresGrad) t.requiresGrad = true;
      return t;
    });
    const tensors: Tensor[] = [];
    const outputs = structure(this.name, this.#call(own), (t) => tensors.push(t) - 1);
    return rebuild(
      outputs,
      tensors.map((t) => noGrad(() => cloneOf(t))),
    ) as R;
  }

  #call(args: readonly unknown[]): R {
    const value = this.fn(...(args as unknown as A));
    if (value instanceof Promise) {
      value.catch(() => undefined);
      throw new CompileError(
        `${this.name}: a compiled function must be synchronous; use step.async(...) to await it`,
      );
    }
    return value;
  }

  explain(args: A | []): string {
    if (this.#entries.length === 0) return `${this.name}: not traced yet; call it once`;
    const explained = ({ key, program }: Entry, inputs: Input[] | null): string =>
      explainProgram(this.name, key, program, inputs);
    if (args.length === 0) return this.#entries.map((entry) => explained(entry, null)).join('\n\n');
    const key = this.#key(args as A);
    const entry = this.#find(args as A);
    if (entry) return explained(entry, inputsOf(args, []));
    throw new ArgumentError(`${this.name}.explain: the step was not called with (${key}) yet; call it once`);
  }

  /** The program for these arguments, with its state moved on by one step, and in `inputs` what it is to be run on. */
  #prepared(args: A, inputs: Input[]): Entry {
    const found = this.#find(args);
    const key = found?.key ?? this.#key(args);
    inputsOf(args, inputs);
    const entry = this.#ready(found, key, args);
    try {
      this.#checkApart(entry.program, args);
      for (const { cell } of entry.effects) if (cell instanceof GradientCell) cell.checkFree(this.name);
    } catch (error) {
      this.#rewind(entry);
      throw error;
    }
    return entry;
  }

  /** After a run that was refused: takes back what moved on. */
  #rewind(entry: Entry): void {
    if (!entry.trace.rewind()) this.#entries = this.#entries.filter((e) => e !== entry);
  }

  /** Refuses an argument that lies in memory that the step writes: it would change while the step runs. */
  #checkApart(program: Program, args: A): void {
    for (let i = 0; i < args.length; i++) {
      const x: unknown = args[i];
      if (!isTensor(x) || !program.writes(x.view)) continue;
      throw new ArgumentError(
        `${this.name}: argument ${i} lies in memory that the step writes (a parameter that it trains, a gradient that it adds to, ` +
          'a tensor that it changes in place); pass a clone() of it, or use it in the function without passing it',
      );
    }
  }

  /** After a run: leaves behind what the step leaves, and makes what it returns. */
  #finish(entry: Entry): unknown {
    const { effects, outputs, results } = entry;
    for (let i = 0; i < effects.length; i++) {
      const { cell, make } = effects[i] as Entry['effects'][number];
      cell.value = make();
    }
    if (outputs.kind === 'tensor')
      return this.#output(entry, results[outputs.index] as Entry['results'][number]);
    return rebuild(
      outputs,
      results.map((r) => this.#output(entry, r)),
    );
  }

  /** The entry that was found, or a new one, with its state moved on by one step. */
  #ready(found: Entry | undefined, key: string, args: A): Entry {
    if (found) {
      found.trace.settle();
      if (found.confirmed && found.trace.advance()) {
        this.#anew = 0;
        return found;
      }
      if (!found.confirmed && found.trace.mayAdvance()) {
        this.#confirm(found, this.#record(args));
        return found;
      }
    }
    if (++this.#anew === manyTimes) {
      process.emitWarning(
        `${this.name}: traced in each of ${manyTimes} calls without a repetition. Shapes of arguments, a field of a module or a rate ` +
          'that the step reads seem to change at every call; pass what changes as a tensor, or let an optimizer, a schedule or a ' +
          'generator own it',
        { code: 'SIMDGRAD_RETRACED' },
      );
    }
    const recorded = this.#record(args);
    const entry = this.#same(key, recorded) ?? this.#plan(key, args, recorded);
    this.#entries = [entry, ...this.#entries.filter((e) => e !== entry)].slice(0, this.cacheSize);
    return entry;
  }

  /**
   * The entry that came out the same although something that it depends on reads differently now (a counter in a field
   * of a module, say), or undefined.
   */
  #same(key: string, recorded: Recorded): Entry | undefined {
    for (const entry of this.#entries) {
      if (entry.key !== key || entry.program.backend !== backend() || !entry.trace.settled()) continue;
      try {
        this.#compare(entry, recorded);
      } catch (error) {
        if (error instanceof CompileError) continue;
        throw error;
      }
      entry.trace.rebase(recorded.trace);
      return entry;
    }
    return undefined;
  }

  #output(entry: Entry, { storage, shape }: Entry['results'][number]): Tensor {
    const made = entry.program.take(storage);
    if (made !== null) return new Tensor(fullView(made, shape));
    const values = entry.program.result(storage);
    if (values.byteLength >= largeResult) return cloneOf(around(storage.dtype, shape, values));
    const out = fresh(storage.dtype, shape);
    (out.storage.array as TypedArray).set(values as never);
    return new Tensor(out);
  }

  #key(args: A): string {
    let key = isGradEnabled() ? '' : 'noGrad ';
    args.forEach((x, i) => {
      if (i > 0) key += ', ';
      if (isTensor(x)) {
        key += `${x.dtype}[${x.shape.join(', ')}]`;
        if (x.requiresGrad) key += ' requiring a gradient';
      } else if (x === null || typeof x === 'boolean' || typeof x === 'string' || x === undefined) {
        key += JSON.stringify(x) ?? 'undefined';
      } else {
        throw new ArgumentError(
          `${this.name}: argument ${i} is ${describe(x)}; a compiled step takes tensors (a number as tensor(value)), ` +
            'strings, booleans, null and undefined',
        );
      }
    });
    return key;
  }

  /** The entry that these arguments and all that the step depends on still fit. */
  #find(args: A): Entry | undefined {
    const current = backend();
    const grad = isGradEnabled();
    const entries = this.#entries;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry;
      if (entry.grad !== grad || entry.program.backend !== current) continue;
      if (!fits(entry.args, args) || !entry.trace.holds()) continue;
      if (i > 0) {
        entries.splice(i, 1);
        entries.unshift(entry);
      }
      return entry;
    }
    return undefined;
  }

  /** Records what the function does, without computing anything; puts back what it changed. */
  #record(args: A): Recorded {
    const trace = new Trace();
    // What is asked of the arguments themselves is not what the step depends on.
    const given = args.map(describeArgument);
    try {
      return withRecorder(trace, () => {
        const placeholders = given.map((x) => {
          if (typeof x !== 'object' || x === null) return x;
          const t = new Tensor(fullView(trace.input(x.dtype, sizeOf(x.shape)), x.shape));
          if (x.requiresGrad) t.requiresGrad = true;
          return t;
        });
        const inMode = isGradEnabled() ? enableGrad : noGrad;
        const result = inMode(() => this.#call(placeholders));
        const kept = new Kept(trace);
        const outputs = structure(this.name, result, (t) => kept.add(t.view));
        const left = trace.left();
        for (const [cell, value] of left) {
          // A constant of the step as well: others may change it between two steps.
          if (isTensor(value) && value.view.storage.trace !== null) kept.publish(cell, value.view);
        }
        trace.finish();
        trace.restoreCells();
        return { trace, result: outputs, kept, left };
      });
    } catch (error) {
      trace.rewind();
      trace.restoreCells();
      throw error;
    }
  }

  #plan(key: string, args: A, { trace, result, kept, left }: Recorded): Entry {
    try {
      const consumable = new Set<Storage>();
      if (!this.keepGrads) {
        for (const [cell, { storage }] of kept.published) {
          if (!trace.usedBefore(cell) && !kept.results.some((r) => r.storage === storage))
            consumable.add(storage);
        }
      }
      const returned = new Set(kept.results.map((r) => r.storage));
      const program = new Program(trace, kept.storages, returned, consumable, this.name);
      const consumed = new ConsumedGrad(this.name);
      return {
        key,
        grad: isGradEnabled(),
        args: args.map(describeArgument),
        trace,
        program,
        outputs: result,
        results: kept.results.map((v) => ({ storage: v.storage, shape: v.shape })),
        effects: [...left].flatMap(([cell, value]) => {
          if (!trace.wrote(cell)) return [];
          const view = kept.published.get(cell);
          if (!view) return { cell, make: () => value };
          if (program.consumed.has(view.storage)) return { cell, make: () => consumed };
          return { cell, make: published(view, program) };
        }),
        left: leftBehind(kept, left),
        confirmed: false,
      };
    } catch (error) {
      trace.rewind();
      throw error;
    }
  }

  /** The second call: compares. The new trace's state is already moved on, and the entry goes on with it. */
  #confirm(entry: Entry, again: Recorded): void {
    try {
      this.#compare(entry, again);
      entry.trace.rebase(again.trace);
      entry.confirmed = true;
    } catch (error) {
      again.trace.rewind();
      throw error;
    }
  }

  /** Throws a CompileError that says in what the step came out differently. */
  #compare(entry: Entry, again: Recorded): void {
    const same = compareTraces(entry.trace, again.trace);
    if (!sameStructure(entry.outputs, again.result)) {
      throw new CompileError(
        `${this.name}: what the step returns came out differently when it was traced again`,
      );
    }
    entry.results.forEach((r, i) => {
      const other = again.kept.results[i];
      const isSame = other && (same.get(r.storage) ?? other.storage) === other.storage;
      if (!isSame || !sameShape(r.shape, other.shape)) {
        throw new CompileError(`${this.name}: the step returned another tensor when it was traced again`);
      }
    });
    const left = leftBehind(again.kept, again.left);
    for (const cell of new Set([...entry.left.keys(), ...left.keys()])) {
      if (!entry.trace.wrote(cell) && !again.trace.wrote(cell)) continue;
      const [a, b] = [entry.left.get(cell), left.get(cell)];
      const equal = a instanceof Storage && b instanceof Storage ? (same.get(a) ?? b) === b : sameValue(a, b);
      if (!equal) {
        throw new CompileError(
          `${this.name}: the step left another gradient or mode behind when it was traced again`,
        );
      }
    }
  }
}

function describeArgument(x: unknown): Argument {
  return isTensor(x)
    ? { dtype: x.dtype, shape: [...x.shape], requiresGrad: x.requiresGrad }
    : (x as Argument);
}

/** True if the arguments are those that an entry was made for, but for the values of tensors. */
function fits(expected: readonly Argument[], args: readonly unknown[]): boolean {
  if (expected.length !== args.length) return false;
  for (let i = 0; i < args.length; i++) {
    const x = args[i];
    const e = expected[i];
    if (isTensor(x)) {
      if (typeof e !== 'object' || e === null) return false;
      const { dtype, shape, requiresGrad } = e;
      if (x.dtype !== dtype || !sameShape(x.shape, shape) || x.requiresGrad !== requiresGrad) return false;
    } else if (x !== e) return false;
  }
  return true;
}

/** Makes what a step leaves in the cell of a gradient: one object for each memory that the gradient may be in. */
function published({ storage, dtype, shape }: View, program: Program): () => PublishedGrad {
  let last: PublishedGrad | null = null;
  let other: PublishedGrad | null = null;
  return () => {
    const values = program.result(storage);
    if (last?.values === values) return last;
    [last, other] = [
      other?.values === values ? other : new PublishedGrad(dtype, shape, values, around),
      last,
    ];
    return last;
  };
}

/** For every cell the storage that its new value is read from, or the value itself. */
function leftBehind(kept: Kept, left: ReadonlyMap<Watched, unknown>): Map<Watched, unknown> {
  return new Map([...left].map(([cell, value]) => [cell, kept.published.get(cell)?.storage ?? value]));
}

/** Virtual storages whose values are read after a run. */
class Kept {
  readonly results: View[] = [];
  readonly published = new Map<Watched, View>();
  readonly storages: Storage[] = [];

  constructor(private readonly trace: Trace) {}

  /** A result: whole, made in this trace, and shared with no other, so that it can have memory of its own. */
  add(view: View): number {
    const own = this.#own(view);
    this.results.push(own);
    return this.results.length - 1;
  }

  publish(cell: Watched, view: View): void {
    this.published.set(cell, this.#own(view));
  }

  #own(view: View): View {
    const { storage } = view;
    const usable =
      view.whole &&
      storage.array === null &&
      storage.trace === this.trace &&
      !this.trace.inputs.includes(storage) &&
      !this.storages.includes(storage);
    const own = usable ? view : noGrad(() => cloneOf(new Tensor(view))).view;
    this.storages.push(own.storage);
    return own;
  }
}

function around(dtype: DType, shape: Shape, values: TypedArray): Tensor {
  return new Tensor(fullView(constantStorage(dtype, values), shape));
}

/** Fills a list with the values of the arguments that are tensors. */
function inputsOf(args: readonly unknown[], inputs: Input[]): Input[] {
  let n = 0;
  for (let i = 0; i < args.length; i++) {
    const x = args[i];
    if (isTensor(x)) inputs[n++] = values(x);
  }
  if (inputs.length !== n) inputs.length = n;
  return inputs;
}

/** The values of an argument as one typed array, or the rows that the step is to gather. */
function values(x: Tensor): Input {
  const { deferred } = x.view.storage;
  if (deferred instanceof Rows && x.view.whole) return deferred;
  const view = x.view.contiguous ? x.view : contiguous(x.view);
  const array = view.storage.read('compile');
  return view.whole ? array : array.subarray(view.offset, view.offset + view.size);
}

function copied(x: Tensor): Tensor {
  const { deferred } = x.view.storage;
  const t =
    deferred instanceof Rows && x.view.whole
      ? new Tensor(fullView(deferred.storage(), x.shape))
      : noGrad(() => cloneOf(x));
  if (x.requiresGrad) t.requiresGrad = true;
  return t;
}

function structure(name: string, x: unknown, add: (t: Tensor) => number, depth = 0): Structure {
  if (isTensor(x)) return { kind: 'tensor', index: add(x) };
  if (depth > 8) throw new CompileError(`${name}: what the step returns is nested too deeply`);
  if (Array.isArray(x)) return { kind: 'list', items: x.map((y) => structure(name, y, add, depth + 1)) };
  if (x === null || typeof x !== 'object') {
    if (typeof x === 'function' || typeof x === 'symbol') {
      throw new CompileError(`${name}: a compiled step returns tensors, not ${describe(x)}`);
    }
    return { kind: 'value', value: x };
  }
  if (!isPlainObject(x)) {
    throw new CompileError(
      `${name}: a compiled step returns tensors, arrays or plain objects of them, not ${describe(x)}`,
    );
  }
  return {
    kind: 'object',
    items: Object.entries(x).map(([k, v]) => [k, structure(name, v, add, depth + 1)]),
  };
}

function rebuild(s: Structure, tensors: readonly Tensor[]): unknown {
  switch (s.kind) {
    case 'tensor':
      return tensors[s.index];
    case 'list':
      return s.items.map((x) => rebuild(x, tensors));
    case 'object':
      return Object.fromEntries(s.items.map(([k, v]) => [k, rebuild(v, tensors)]));
    default:
      return s.value;
  }
}

function sameStructure(a: Structure, b: Structure): boolean {
  if (a.kind === 'tensor') return b.kind === 'tensor' && a.index === b.index;
  if (a.kind === 'value') return b.kind === 'value' && Object.is(a.value, b.value);
  if (a.kind !== b.kind || a.items.length !== b.items.length) return false;
  if (a.kind === 'list') {
    return a.items.every((x, i) => sameStructure(x, (b as typeof a).items[i] as Structure));
  }
  return a.items.every(([key, x], i) => {
    const [other, y] = (b as typeof a).items[i] as [string, Structure];
    return key === other && sameStructure(x, y);
  });
}
