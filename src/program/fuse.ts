import { defineKernel } from '../backend/backend.js';
import { crossEntropyGradKernel, crossEntropyKernel } from '../backend/js/rows.js';
import { Memory } from '../backend/memory.js';
import { activationCodes } from './calls.js';
import {
  countWrites,
  operandOf,
  overwrites,
  type Product,
  productOf,
  readsOf,
  replaced,
  writesOf,
} from './dataflow.js';
import { type Param, type Recorded, Slot } from './emit.js';
import { Storage, sharedArray } from './storage.js';
import { sizeOf } from './view.js';

/** -logSoftmax(x)[label] and logSoftmax(x) in one pass over the rows. */
const crossEntropy = defineKernel('crossEntropy', crossEntropyKernel);
/** Backward of both in one pass. */
const crossEntropyGrad = defineKernel('crossEntropyGrad', crossEntropyGradKernel);

/** Codes of the gradients of activations that a product can apply to its result (native/kernels.def). */
const gradientCodes: Readonly<Record<string, number>> = { reluGrad: 4, sigmoidGrad: 5, tanhGrad: 6 };

/** Which calls touch a storage. */
class Uses {
  readonly #calls = new Map<Storage, number[]>();

  of(s: Storage): readonly number[] {
    return this.#calls.get(s) ?? [];
  }

  note(storages: readonly Storage[], i: number): void {
    for (const s of storages) {
      const list = this.#calls.get(s);
      if (list) list.push(i);
      else this.#calls.set(s, [i]);
    }
  }

  forget(storages: readonly Storage[], i: number): void {
    for (const s of storages) {
      const list = this.#calls.get(s) as number[];
      const at = list.indexOf(i);
      if (at >= 0) list.splice(at, 1);
    }
  }
}

/** A list of calls in which pairs are replaced by one call that does both. */
class Rewriter {
  readonly calls: (Recorded | null)[];
  readonly #readers = new Uses();
  readonly #writers = new Uses();

  constructor(
    calls: readonly Recorded[],
    private readonly kept: ReadonlySet<Storage>,
  ) {
    this.calls = [...calls];
    for (let i = 0; i < calls.length; i++) this.#note(calls[i] as Recorded, i);
  }

  #note(call: Recorded, i: number): void {
    this.#readers.note(readsOf(call), i);
    this.#writers.note(writesOf(call), i);
  }

  #forget(i: number): void {
    const call = this.calls[i] as Recorded;
    this.#readers.forget(readsOf(call), i);
    this.#writers.forget(writesOf(call), i);
  }

  /** The call that makes the virtual storage `s`, if it is the only one and comes before `i`. */
  producer(s: Storage, i: number): number {
    if (s.array !== null) return -1;
    const writers = this.#writers.of(s);
    return writers.length === 1 && (writers[0] as number) < i ? (writers[0] as number) : -1;
  }

  /** True if call `i` is all that ever reads the virtual storage `s`. */
  readOnlyBy(s: Storage, i: number): boolean {
    return s.array === null && !this.kept.has(s) && this.#readers.of(s).every((j) => j === i);
  }

  /** True if nobody reads `s` between the two calls. */
  unreadBetween(s: Storage, first: number, last: number): boolean {
    return this.#readers.of(s).every((j) => j <= first || j >= last);
  }

  /** True if what the first call reads still has the same values at the second. */
  unchangedBetween(first: number, last: number): boolean {
    return readsOf(this.calls[first] as Recorded).every((s) =>
      this.#writers.of(s).every((j) => j <= first || j > last),
    );
  }

  /** Puts one call in the place of the second of two, and drops the first. */
  replace(first: number, last: number, call: Recorded): void {
    this.#forget(first);
    this.#forget(last);
    this.calls[first] = null;
    this.calls[last] = call;
    this.#note(call, last);
  }
}

/** Whether the first params are these. */
export function sameParams(a: readonly Param[], b: readonly Param[]): boolean {
  return b.every((x, i) => a[i] === x);
}

/** The product, if its result fills its storage without gaps. */
function denseProduct(call: Recorded): Product | null {
  const product = productOf(call);
  if (product === null || product.c !== 0 || product.cRow !== product.n) return null;
  return (call.storages[0] as Storage).length === product.rows * product.n ? product : null;
}

/** Offset of a bias that an elementwise addition adds to every row of its other operand, else -1. */
function rowBias(call: Recorded, cols: number, rows: number, product: number): number {
  const { params } = call;
  const nd = params[0] as number;
  const shape = params.slice(1, 1 + nd) as number[];
  const out = operandOf(call, nd, 0);
  const matrix = operandOf(call, nd, product);
  const bias = operandOf(call, nd, 3 - product);
  if (sizeOf(shape) !== rows * cols || shape[nd - 1] !== cols) return -1;
  let step = 1;
  for (let i = nd - 1; i >= 0; i--) {
    if (shape[i] !== 1 && (out.strides[i] !== step || matrix.strides[i] !== step)) return -1;
    if (shape[i] !== 1 && bias.strides[i] !== (i === nd - 1 ? 1 : 0)) return -1;
    step *= shape[i] as number;
  }
  return out.offset === 0 && matrix.offset === 0 ? bias.offset : -1;
}

/** The product into `out`, with an operand from an offset on and an activation (params from `at` on) applied to it. */
function withEpilogue(
  product: Recorded,
  at: number,
  epilogue: readonly [Param, number],
  out: Storage,
  operand: Storage,
  op: string,
): Recorded {
  const params = [...product.params];
  params.splice(at, 2, ...epilogue);
  const [, a, b] = product.storages as [Storage, Storage, Storage];
  return {
    kernel: product.kernel,
    params,
    storages: [out, a, b, operand],
    outputs: 1,
    op: `${product.op}+${op}`,
  };
}

/** product, then + bias  →  product with bias. */
function fuseBias(r: Rewriter, i: number): void {
  const add = r.calls[i] as Recorded;
  if (add.kernel.name !== 'add') return;
  for (const which of [1, 2]) {
    const y = add.storages[which] as Storage;
    const first = r.producer(y, i);
    const product = first >= 0 ? r.calls[first] : null;
    const dense = product ? denseProduct(product) : null;
    if (!product || !dense || !r.readOnlyBy(y, i) || !r.unchangedBetween(first, i)) continue;
    if (dense.bias !== -1 || dense.activation !== 0) continue;
    const offset = rowBias(add, dense.n, dense.rows, which);
    const [out, bias] = [add.storages[0] as Storage, add.storages[3 - which] as Storage];
    if (offset < 0 || out.array !== null || out.length !== y.length || bias === y || bias === out) continue;
    r.replace(first, i, withEpilogue(product, dense.biasAt, [offset, 0], out, bias, 'bias'));
    return;
  }
}

/** product (with bias or without), then an activation  →  product with activation. */
function fuseActivation(r: Rewriter, i: number): void {
  const act = r.calls[i] as Recorded;
  const code = (activationCodes as Readonly<Record<string, number>>)[act.kernel.name];
  if (code === undefined) return;
  const [out, y] = act.storages as [Storage, Storage];
  const first = r.producer(y, i);
  const product = first >= 0 ? r.calls[first] : null;
  const dense = product ? denseProduct(product) : null;
  if (!product || !dense || !r.readOnlyBy(y, i) || !r.unchangedBetween(first, i)) return;
  const size = dense.rows * dense.n;
  if (out.array !== null || out.length !== size || !sameParams(act.params, [1, size, 0, 1, 0, 1])) return;
  if (dense.activation !== 0) return;
  const bias = dense.bias === -1 ? out : (product.storages[3] as Storage);
  r.replace(first, i, withEpilogue(product, dense.biasAt, [dense.bias, code], out, bias, act.op));
}

/** product, then the gradient of an activation  →  product with it. */
function fuseActivationGrad(r: Rewriter, i: number): void {
  const grad = r.calls[i] as Recorded;
  const code = gradientCodes[grad.kernel.name];
  if (code === undefined) return;
  const [out, g, y] = grad.storages as [Storage, Storage, Storage];
  const first = r.producer(g, i);
  const product = first >= 0 ? r.calls[first] : null;
  const dense = product ? denseProduct(product) : null;
  if (!product || !dense || g === y || !r.readOnlyBy(g, i) || !r.unchangedBetween(first, i)) return;
  const size = dense.rows * dense.n;
  const [, , , , , , offset, stride] = grad.params;
  if (out.array !== null || out.length !== size || !sameParams(grad.params, [1, size, 0, 1, 0, 1])) return;
  if (typeof offset !== 'number' || (stride !== 1 && size > 1)) return;
  if (dense.bias !== -1 || dense.activation !== 0) return;
  r.replace(first, i, withEpilogue(product, dense.biasAt, [offset, code], out, y, grad.op));
}

/** logSoftmax, then the entry of the label  →  both in one pass. */
function fuseCrossEntropy(r: Rewriter, i: number): void {
  const nll = r.calls[i] as Recorded;
  if (nll.kernel.name !== 'nll') return;
  const [loss, lp, labels] = nll.storages as [Storage, Storage, Storage];
  const first = r.producer(lp, i);
  const soft = first >= 0 ? r.calls[first] : null;
  if (soft?.kernel.name !== 'logSoftmax' || loss.array !== null) return;
  const [rows, cols, lossAt, lpAt, ...label] = nll.params as [Param, Param, Param, Param, ...Param[]];
  if (!sameParams(soft.params, [rows, cols, 1, lpAt]) || !r.unreadBetween(lp, first, i)) return;
  if (!r.unchangedBetween(first, i)) return;
  r.replace(first, i, {
    kernel: crossEntropy,
    params: [rows, cols, lossAt, lpAt, soft.params[4] as Param, ...label],
    storages: [loss, lp, soft.storages[1] as Storage, labels],
    outputs: 2,
    op: 'crossEntropy',
  });
}

/** Backward of the label's entry, then of logSoftmax  →  both in one pass. */
function fuseCrossEntropyGrad(r: Rewriter, i: number): void {
  const grad = r.calls[i] as Recorded;
  if (grad.kernel.name !== 'logSoftmaxGrad') return;
  const [dx, dlp, lp] = grad.storages as [Storage, Storage, Storage];
  const first = r.producer(dlp, i);
  const nllGrad = first >= 0 ? r.calls[first] : null;
  if (nllGrad?.kernel.name !== 'nllGrad' || !r.readOnlyBy(dlp, i) || dx.array !== null || lp === dlp) return;
  const [rows, cols, inner, dxAt, dlpAt, lpAt] = grad.params as [Param, Param, Param, Param, Param, Param];
  if (inner !== 1) return;
  if (!sameParams(nllGrad.params, [rows, cols, dlpAt]) || !r.unchangedBetween(first, i)) return;
  const [, g, labels] = nllGrad.storages as [Storage, Storage, Storage];
  r.replace(first, i, {
    kernel: crossEntropyGrad,
    params: [rows, cols, dxAt, nllGrad.params[3] as Param, lpAt, ...nllGrad.params.slice(4)],
    storages: [dx, g, lp, labels],
    outputs: 1,
    op: 'crossEntropyGrad',
  });
}

/**
 * Replaces sequences of calls by one that does the same arithmetic in one pass. `kept` are virtual storages that are
 * read after the program.
 */
export function fuse(calls: readonly Recorded[], kept: ReadonlySet<Storage>): Recorded[] {
  const r = new Rewriter(calls, kept);
  for (const rule of [fuseBias, fuseActivation, fuseActivationGrad, fuseCrossEntropy, fuseCrossEntropyGrad]) {
    for (let i = 0; i < r.calls.length; i++) if (r.calls[i]) rule(r, i);
  }
  return r.calls.filter((call) => call !== null);
}

/** Constants larger than this are made at every run, in the arena: reading them from memory would cost as much. */
const maxConstant = 1024;

/**
 * Makes what a `fill` gives at every run alike (the gradient that backward starts from, a 0 to choose) a constant of the
 * trace, and drops the call.
 */
export function hoistFills(
  calls: readonly Recorded[],
  kept: ReadonlySet<Storage>,
  trace: object,
): readonly Recorded[] {
  const writes = countWrites(calls);
  const constants = new Map<Storage, Storage>();
  const rest = calls.filter((call) => {
    const s = call.storages[0] as Storage;
    if (call.kernel.name !== 'fill' || call.params.some((p) => p instanceof Slot)) return true;
    if (s.array !== null || s.length > maxConstant || kept.has(s)) return true;
    if (writes.get(s) !== 1 || !overwrites(call, 0)) return true;
    const array = sharedArray(s.dtype, s.length);
    call.kernel.js(call.params as number[], [array]); // converts the value as every run would
    constants.set(s, new Storage(s.dtype, s.length, new Memory(array), trace));
    return false;
  });
  return replaced(rest, constants);
}

/** Fills of single numbers that give the same become one: what a group of parameters shares is then there once. */
export function shareFills(calls: readonly Recorded[]): readonly Recorded[] {
  const writes = countWrites(calls);
  const known = new Map<number | Slot, { readonly call: Recorded; readonly storage: Storage }[]>();
  const same = new Map<Storage, Storage>();
  const rest = calls.filter((call) => {
    const [s] = call.storages as [Storage];
    if (call.kernel.name !== 'fill' || s.array !== null || s.length !== 1 || writes.get(s) !== 1) return true;
    const value = call.params[call.params.length - 1] as number | Slot;
    const list = known.get(value) ?? [];
    known.set(value, list);
    const found = list.find(
      (other) =>
        other.storage.dtype === s.dtype && other.call.params.every((p, i) => Object.is(p, call.params[i])),
    );
    if (found) same.set(s, found.storage);
    else list.push({ call, storage: s });
    return found === undefined;
  });
  return replaced(rest, same);
}
