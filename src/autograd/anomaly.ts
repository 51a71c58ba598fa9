import { isFloat, type TypedArray } from '../dtype.js';
import {
  type AnomalyDetails,
  AnomalyError,
  type AnomalyOperand,
  ArgumentError,
  CompileError,
} from '../errors.js';
import { AsyncLocalStorage, fileURLToPath } from '../node.js';
import { add } from '../ops/add.js';
import type { Primitive, Spec } from '../ops/primitive.js';
import { type Inspection, inspectWith, outerOp, type Recorded, tracing } from '../program/emit.js';
import type { Storage } from '../program/storage.js';
import { describe, type Shape, sameShape, showShape, type View } from '../program/view.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import type { Node } from './graph.js';
import { isGradEnabled } from './mode.js';

/** Options of detectAnomaly. */
export interface AnomalyOptions {
  /** Whether infinities made from finite values are errors as well. Default true; false looks for NaN only. */
  readonly inf?: boolean;
}

/** Where an operation was called forward. */
interface Origin {
  /** Its stack; made into text only when somebody asks. */
  readonly at: { readonly stack?: string };
  /** The operation whose derivative called it, in a pass that is itself recorded. */
  readonly within: Node | null;
}

/** A tensor that took part, before it is described. */
interface Operand {
  readonly what: string;
  readonly shape: Shape;
  readonly values: ArrayLike<number>;
  readonly dtype: AnomalyOperand['dtype'];
  /** Index of the value that belongs to element i of the result; null where no single one does. */
  readonly at: ((i: number) => number) | null;
}

const origins = new WeakMap<Node, Origin>();
const labels = new WeakMap<Storage, { readonly what: string; readonly shape: Shape }>();

/** Frames to keep of a stack: operations within modules within modules leave more than the usual ten. */
const depth = 40;

/** One call of detectAnomaly. */
class Anomaly implements Inspection {
  ended = false;
  /** True while an operation, or a derivative, is being made of others: only its result counts. */
  #inside = false;
  #differentiating: Node | null = null;

  constructor(
    private readonly inf: boolean,
    readonly outer: Anomaly | null,
  ) {}

  operation<A>(op: Primitive<A>, inputs: readonly View[], out: Spec, attrs: A): View {
    if (this.#inside) return op.run(inputs, out, attrs);
    const result = this.#quietly(() => op.run(inputs, out, attrs));
    if (!isFloat(result.dtype) || inputs.some((x) => x.storage === result.storage)) return result;
    // What has no inputs makes what it was told to make: full(…, Infinity) is meant.
    if (inputs.length === 0) return result;
    const values = valuesOf(result);
    if (!hasNonFinite(values)) return result;
    const operands = inputs.map((x, i): Operand => {
      const wide = op.elementwise === true ? x.broadcast(result.shape) : null;
      const label = x.whole ? labels.get(x.storage) : undefined;
      return {
        what: label === undefined ? `input ${i}` : `input ${i}, ${label.what}`,
        shape: x.shape,
        dtype: x.dtype,
        values: wide === null ? valuesOf(x) : valuesOf(wide),
        at: wide === null ? null : (k) => k,
      };
    });
    const outer = outerOp();
    const updating = outer.endsWith('.step') && !isGradEnabled();
    const name = outer === `${op.name}_` ? outer : op.name;
    this.#check(values, operands, {
      op: name,
      during: updating ? 'update' : 'forward',
      within: updating ? ` in ${outer}` : '',
      result: 'its result',
      shape: result.shape,
      dtype: result.dtype,
      forward: null,
    });
    return result;
  }

  recorded(node: Node): void {
    const at: { stack?: string } = {};
    withDeepStacks(() => Error.captureStackTrace(at, this.recorded));
    origins.set(node, { at, within: this.#differentiating });
  }

  derivative(node: Node, g: Tensor): readonly (Tensor | null)[] {
    const outer = this.#differentiating;
    this.#differentiating = node;
    let grads: readonly (Tensor | null)[];
    try {
      grads = this.#quietly(() => node.vjp(g));
    } finally {
      this.#differentiating = outer;
    }
    let operands: Operand[] | null = null;
    for (let i = 0; i < grads.length; i++) {
      const ge = grads[i];
      if (!ge || node.needs[i] !== true || !isFloat(ge.dtype)) continue;
      const values = valuesOf(ge.view);
      if (!hasNonFinite(values)) continue;
      operands ??= operandsOfDerivative(node, g);
      const shape = ge.shape;
      this.#check(
        values,
        operands.map((o) =>
          node.op.elementwise === true && sameShape(o.shape, shape) ? { ...o, at: (k: number) => k } : o,
        ),
        {
          op: node.op.name,
          during: 'backward',
          within: '',
          result: `the gradient of its input ${i}`,
          shape,
          dtype: ge.dtype,
          forward: node,
        },
      );
    }
    return grads;
  }

  sum(e: Node | Tensor, a: Tensor, b: Tensor): Tensor {
    const total = this.#quietly(() => add(a, b));
    const values = valuesOf(total.view);
    if (!hasNonFinite(values)) return total;
    const node = 'edges' in e ? e : null;
    this.#check(
      values,
      [a, b].map((t, i) => ({
        what: `gradient ${i}`,
        shape: t.shape,
        dtype: t.dtype,
        values: valuesOf(t.view),
        at: (k: number) => k,
      })),
      {
        op: node === null ? 'add' : node.op.name,
        during: 'backward',
        within: '',
        result:
          node === null
            ? 'the sum of the gradients of a leaf that is used several times'
            : 'the sum of the gradients of its result, which is used several times',
        shape: total.shape,
        dtype: total.dtype,
        forward: node,
      },
    );
    return total;
  }

  kernel(call: Recorded, run: () => void): void {
    if (this.#inside) {
      run();
      return;
    }
    const { storages, outputs, op } = call;
    const written = storages.slice(0, outputs);
    const before = new Map(written.map((s) => [s, (s.array as TypedArray).slice()]));
    run();
    // What has no inputs makes what it was told to make: fill_(Infinity) is meant.
    if (storages.length === outputs) return;
    const updating = op.endsWith('.step');
    const operand = (s: Storage, i: number, values: TypedArray): Operand => {
      const { what, shape } = labels.get(s) ?? { what: `operand ${i}`, shape: [s.length] };
      return { what, shape, dtype: s.dtype, values, at: null };
    };
    const operands: Operand[] = [];
    new Set(storages).forEach((s) => {
      const i = storages.indexOf(s);
      // What is only written, such as a copy's target, has no part in the result; state is read as well.
      if (i < outputs && !updating && storages.indexOf(s, outputs) < 0) return;
      operands.push(operand(s, i, before.get(s) ?? s.read(op)));
    });
    written.forEach((s, i) => {
      const values = s.array as TypedArray;
      if (!isFloat(s.dtype) || !hasNonFinite(values)) return;
      const held = before.get(s) as TypedArray;
      const own = operand(s, i, values);
      const like = operands.some((o) => o.values.length === s.length);
      this.#check(
        values,
        operands.flatMap((o) => {
          if (!like) return [o];
          return o.values.length === s.length ? [{ ...o, at: (k: number) => k }] : [];
        }),
        {
          op,
          during: updating ? 'update' : 'forward',
          within: '',
          result: labels.has(s) ? own.what : 'what it wrote',
          shape: own.shape,
          dtype: s.dtype,
          forward: null,
        },
        (k) => Object.is(values[k], held[k]),
      );
    });
  }

  label(storage: Storage, what: string, shape: Shape): void {
    labels.set(storage, { what, shape });
  }

  #quietly<T>(fn: () => T): T {
    const outer = this.#inside;
    this.#inside = true;
    try {
      return fn();
    } finally {
      this.#inside = outer;
    }
  }

  /** Throws for the first value that is NaN while no operand is, or infinite while all operands are finite. */
  #check(
    values: ArrayLike<number>,
    operands: readonly Operand[],
    about: {
      op: string;
      during: AnomalyDetails['during'];
      within: string;
      result: string;
      shape: Shape;
      dtype: AnomalyOperand['dtype'];
      forward: Node | null;
    },
    old: (i: number) => boolean = () => false,
  ): void {
    // Operands of which every element may have a part in every element of the result.
    const whole = operands.filter((o) => o.at === null);
    const anyNaN = whole.some((o) => some(o.values, Number.isNaN));
    const anyInf = anyNaN || whole.some((o) => some(o.values, isNotFinite));
    const made = (i: number): boolean => {
      const v = values[i] as number;
      if (Number.isFinite(v) || old(i)) return false;
      const nan = Number.isNaN(v);
      if (nan ? anyNaN : anyInf || !this.inf) return false;
      return !operands.some((o) => {
        const x = o.at === null ? 0 : (o.values[o.at(i)] as number);
        return nan ? Number.isNaN(x) : !Number.isFinite(x);
      });
    };
    let first = -1;
    let count = 0;
    for (let i = 0; i < values.length; i++) {
      if (!made(i)) continue;
      if (first < 0) first = i;
      count++;
    }
    if (first < 0) return;
    const { op, during, within, result, shape, dtype, forward } = about;
    const value = values[first] as number;
    const described = operands.map((o) => describeOperand(o, first));
    const index = indexOf(first, shape);
    const forwardStack = forward === null ? null : stackOf(forward);
    const from =
      Number.isNaN(value) && described.some((o) => (o.value === null ? o.infinite > 0 : isNotFinite(o.value)))
        ? 'values that are not NaN'
        : 'finite values';
    const others = count === 1 ? '' : `, the first of ${count}`;
    let message =
      `${during === 'backward' ? 'backward of ' : ''}${op}${within}: made ${value} from ${from}, at ` +
      `${showShape(index)} of ${result} (${dtype} ${showShape(shape)})${others}.`;
    for (const o of described) message += `\n  ${show(o)}`;
    if (forward !== null) {
      message +=
        forwardStack === null
          ? `\n  ${op} was called outside detectAnomaly; call it inside to see where.`
          : `\n  ${op} was called here:\n${forwardStack}`;
    }
    withDeepStacks(() => {
      throw new AnomalyError(message, {
        op,
        during,
        value,
        shape: [...shape],
        dtype,
        index,
        count,
        operands: described,
        forwardStack,
      });
    });
  }
}

function operandsOfDerivative(node: Node, g: Tensor): Operand[] {
  const { inputs, output } = node.saved();
  const list: [string, Tensor | null][] = [
    ['the gradient of the result', g],
    ...inputs.map((x, i): [string, Tensor | null] => [`input ${i}`, x]),
    ['the result', output],
  ];
  return list.flatMap(([what, t]) =>
    t === null ? [] : [{ what, shape: t.shape, dtype: t.dtype, values: valuesOf(t.view), at: null }],
  );
}

function withDeepStacks<T>(fn: () => T): T {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = Math.max(before, depth);
  try {
    return fn();
  } finally {
    Error.stackTraceLimit = before;
  }
}

/** Where the library's own frames lie: in the sources, or in the file that they were bundled into. */
const root = import.meta.url.replace(/\/autograd\/anomaly\.ts$/, '/');
const library = [root, fileURLToPath(root)];

/** Where the operation of a node was called, from the caller up to detectAnomaly; null if that was outside the mode. */
function stackOf(node: Node): string | null {
  const origin = origins.get(node);
  if (origin === undefined) return null;
  const frames = (origin.at.stack ?? '').split('\n').slice(1);
  const from = frames.findIndex((line) => !library.some((place) => line.includes(place)));
  const to = frames.findIndex((line) => /^\s*at (?:async )?detectAnomaly /.test(line));
  const own = frames
    .slice(Math.max(from, 0), to < 0 ? frames.length : to)
    .filter((line) => !/[( ]node:/.test(line))
    .join('\n');
  if (origin.within === null) return own;
  const outer = stackOf(origin.within);
  const name = origin.within.op.name;
  return `${own}\n  which was itself part of the backward of ${name}${outer === null ? '' : `, called here:\n${outer}`}`;
}

/** The elements of a view in row-major order. */
function valuesOf(view: View): ArrayLike<number> {
  const array = view.storage.read('detectAnomaly');
  const { shape, strides, offset, size } = view;
  if (view.contiguous) return view.whole ? array : array.subarray(offset, offset + size);
  const out = new Float64Array(size);
  const index = new Array<number>(shape.length).fill(0);
  let at = offset;
  for (let i = 0; i < size; i++) {
    out[i] = array[at] as number;
    for (let a = shape.length - 1; a >= 0; a--) {
      at += strides[a] as number;
      if (++(index[a] as number) < (shape[a] as number)) break;
      at -= (strides[a] as number) * (shape[a] as number);
      index[a] = 0;
    }
  }
  return out;
}

function isNotFinite(x: number): boolean {
  return !Number.isFinite(x);
}

function some(values: ArrayLike<number>, test: (x: number) => boolean): boolean {
  for (let i = 0; i < values.length; i++) if (test(values[i] as number)) return true;
  return false;
}

function hasNonFinite(values: ArrayLike<number>): boolean {
  return some(values, isNotFinite);
}

/** The position of element i, one number per axis. */
function indexOf(i: number, shape: Shape): number[] {
  const index = new Array<number>(shape.length);
  let rest = i;
  for (let a = shape.length - 1; a >= 0; a--) {
    const n = shape[a] as number;
    index[a] = rest % n;
    rest = Math.floor(rest / n);
  }
  return index;
}

function describeOperand({ what, shape, dtype, values, at }: Operand, i: number): AnomalyOperand {
  let [low, high, infinite] = [Infinity, -Infinity, 0];
  for (let k = 0; k < values.length; k++) {
    const v = values[k] as number;
    if (Number.isFinite(v)) {
      low = Math.min(low, v);
      high = Math.max(high, v);
    } else if (!Number.isNaN(v)) infinite++;
  }
  return {
    what,
    shape: [...shape],
    dtype,
    value: at === null ? null : (values[at(i)] as number),
    range: low <= high ? [low, high] : null,
    infinite,
  };
}

function show({ what, shape, dtype, value, range, infinite }: AnomalyOperand): string {
  const kind = `${dtype} ${showShape(shape)}`;
  // As many digits as the dtype has.
  const digits = (x: number): string => String(dtype === 'float32' ? Number(x.toPrecision(8)) : x);
  if (value !== null) return `${what} (${kind}) is ${digits(value)} there`;
  const finite =
    range === null ? 'has no finite values' : `has values from ${digits(range[0])} to ${digits(range[1])}`;
  return `${what} (${kind}) ${finite}${infinite === 0 ? '' : ` and ${infinite} infinite ones`}`;
}

/** Which call of detectAnomaly an asynchronous function belongs to, whatever else runs between its steps. */
const contexts = new AsyncLocalStorage<Anomaly>();
let active = 0;

function current(): Anomaly | null {
  let mode: Anomaly | null = contexts.getStore() ?? null;
  // What a function left running when it returned is no longer looked at.
  while (mode?.ended) mode = mode.outer;
  return mode;
}

/**
 * Runs a function and throws an AnomalyError at the first operation in it that makes a NaN from values that are not, or an
 * infinity from finite ones: going forward, in backward, in place or in an optimizer's update. The error names the
 * operation, the element and the values that it was made from; in backward it is the operation whose derivative it was,
 * with the stack of its forward call (if that was made inside as well, as torch.autograd.detect_anomaly wants it).
 *
 * Values that come from outside (data with NaN in it, a weight that is infinite already, `maskedFill(mask, -Infinity)`)
 * are nobody's fault and are passed on. An infinity that is meant and made by an operation, as log(0) where the result
 * is masked later, is reported unless `inf` is false; its gradient, 0 · Infinity = NaN, is reported anyway, and is the
 * usual reason for NaN behind a `where`: mask the input of the logarithm instead.
 *
 * A compiled step that is called inside runs operation by operation, like the function that it was compiled from, because
 * a fused program has no place in that function to name: the results have the same bits, but nothing runs off the calling
 * thread, gradients of parameters are kept, and values are looked at, which makes it many times slower. What was changed before
 * the error (statistics, the parameters before the one in question) stays changed. Outside the mode costs nothing.
 *
 * The mode holds for what the function does, also behind an `await`, and not for anything that runs meanwhile; steps that
 * were begun with `step.async` before are not looked at. It may be nested: the innermost options hold. Each worker has
 * its own.
 *
 * @param fn a function, synchronous or not
 * @returns what the function returns; a promise of it where that is a promise
 * @throws AnomalyError as said; ArgumentError for options that do not exist; CompileError inside a step that is being
 *   compiled, where nothing is computed (put the call of the step inside instead)
 * @example
 * detectAnomaly(() => step(x, y));
 */
export function detectAnomaly<T>(fn: () => T, options: AnomalyOptions = {}): T {
  if (typeof fn !== 'function')
    throw new ArgumentError(`detectAnomaly: takes a function, not ${describe(fn)}`);
  checkOptions('detectAnomaly', options, ['inf']);
  const { inf = true } = options;
  if (typeof inf !== 'boolean') {
    throw new ArgumentError(`detectAnomaly: inf is true or false, not ${describe(inf)}`);
  }
  if (tracing() !== null) {
    throw new CompileError(
      'detectAnomaly: while a step is being compiled nothing is computed; put the call of the step inside instead',
    );
  }
  const mode = new Anomaly(inf, current());
  active++;
  inspectWith(current);
  const end = (): void => {
    mode.ended = true;
    if (--active === 0) {
      inspectWith(null);
      contexts.disable();
    }
  };
  let result: T;
  try {
    result = contexts.run(mode, fn);
  } catch (error) {
    end();
    throw error;
  }
  if (!(result instanceof Promise)) {
    end();
    return result;
  }
  return result.finally(end) as T;
}
