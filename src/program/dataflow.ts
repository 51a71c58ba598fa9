import { isElementwise } from '../backend/js/map.js';
import type { Recorded } from './emit.js';
import type { Storage } from './storage.js';
import { sizeOf } from './view.js';

// Who reads and writes what in a list of recorded calls.

/** Outputs that a kernel also reads, although they stand only once among its buffers. */
const updatedInPlace: Readonly<Record<string, readonly number[]>> = {
  sgdMomentum: [1],
  adam: [1, 2],
  sgdMomentumProduct: [1],
  adamProduct: [1, 2],
  sgdMomentumProductSums: [1],
  adamProductSums: [1, 2],
};

/** Position of the bias offset among the params of a matrix product with `nb` batch axes. */
function biasPosition(nb: number): number {
  return 1 + nb + 3 + (nb + 2) + 2 * (nb + 3);
}

/** What a `matmul` call computes: c = activation(a · b + bias), by the layout of native/kernels.def. */
export interface Product {
  readonly batch: readonly number[];
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Of all matrices of the batch. */
  readonly rows: number;
  /** Offset of c, and from row to row. */
  readonly c: number;
  readonly cRow: number;
  /** Offset, and strides of rows and columns, of a and then of b. */
  readonly factors: readonly number[];
  /** Where among the params the offset of the bias stands (-1: none), and behind it the activation. */
  readonly biasAt: number;
  readonly bias: number;
  readonly activation: number;
}

const none: readonly number[] = [];

/** The product that the call is, or null for other kernels. */
export function productOf(call: Recorded): Product | null {
  if (call.kernel.name !== 'matmul') return null;
  const p = call.params as readonly number[];
  const nb = p[0] as number;
  // Offset, strides of the batch axes, and of the last two.
  const [c, biasAt] = [4 + nb, biasPosition(nb)];
  const [a, b] = [c + nb + 2, c + nb + 2 + nb + 3];
  const batch = nb === 0 ? none : p.slice(1, 1 + nb);
  const m = p[1 + nb] as number;
  return {
    batch,
    m,
    n: p[2 + nb] as number,
    k: p[3 + nb] as number,
    rows: sizeOf(batch) * m,
    c: p[c] as number,
    cRow: p[c + nb + 1] as number,
    factors: [p[a], p[a + nb + 1], p[a + nb + 2], p[b], p[b + nb + 1], p[b + nb + 2]] as number[],
    biasAt,
    bias: p[biasAt] as number,
    activation: p[biasAt + 1] as number,
  };
}

/** True for a product that does more (an optimizer's step, sums of columns): its sizes come first among the params. */
export function isUpdate(call: Recorded): boolean {
  return /(Product|Sums)$/.test(call.kernel.name);
}

/** True for output `i` of a product that has the sums over the columns of its last factor. */
function isSums(call: Recorded, i: number): boolean {
  return call.kernel.name.endsWith('Sums') && i === call.outputs - 1;
}

/** True if buffer `i` is an output that the kernel reads too. */
export function readsOutput(call: Recorded, i: number): boolean {
  return updatedInPlace[call.kernel.name]?.includes(i) ?? false;
}

export function readsOf(call: Recorded): Storage[] {
  const reads = call.storages.slice(call.outputs);
  // A product without bias names its result again in the place of the bias.
  if (call.kernel.name === 'matmul' && call.params[biasPosition(call.params[0] as number)] === -1)
    reads.pop();
  for (let i = 0; i < call.outputs; i++) if (readsOutput(call, i)) reads.push(call.storages[i] as Storage);
  return reads;
}

export function writesOf(call: Recorded): readonly Storage[] {
  return call.storages.slice(0, call.outputs);
}

/** How often each storage is written. */
export function countWrites(calls: readonly Recorded[]): ReadonlyMap<Storage, number> {
  const writes = new Map<Storage, number>();
  for (const call of calls) for (const s of writesOf(call)) writes.set(s, (writes.get(s) ?? 0) + 1);
  return writes;
}

/** The calls on other storages in the place of some. */
export function replaced(calls: readonly Recorded[], by: ReadonlyMap<Storage, Storage>): readonly Recorded[] {
  if (by.size === 0) return calls;
  return calls.map((call) =>
    call.storages.some((s) => by.has(s))
      ? { ...call, storages: call.storages.map((s) => by.get(s) ?? s) }
      : call,
  );
}

/** First and last of a stretch of elements. */
export type Span = readonly [number, number];

/** From the first to the last element of a view that is not empty. */
export function span(offset: number, shape: readonly number[], strides: readonly number[]): Span {
  let [first, last] = [offset, offset];
  shape.forEach((n, d) => {
    const reach = (n - 1) * (strides[d] as number);
    if (reach < 0) first += reach;
    else last += reach;
  });
  return [first, last];
}

/** Offset and strides of a buffer in an elementwise call of `nd` axes. */
export function operandOf(call: Recorded, nd: number, i: number): { offset: number; strides: number[] } {
  const at = 1 + nd + i * (nd + 1);
  const [offset, ...strides] = call.params.slice(at, at + 1 + nd) as [number, ...number[]];
  return { offset, strides };
}

/** Where output `i` of the call is written: exactly so for elementwise calls, for others all of its storage. */
export function spanOf(call: Recorded, i: number): Span {
  const params = call.params as readonly number[];
  if (!isElementwise(call.kernel.js)) return [0, (call.storages[i] as Storage).length - 1];
  const nd = params[0] as number;
  const { offset, strides } = operandOf(call, nd, i);
  return span(offset, params.slice(1, 1 + nd), strides);
}

/** True if output `i` of the call sets every element of its storage. */
export function overwrites(call: Recorded, i: number): boolean {
  const { kernel, params, storages } = call;
  const { length } = storages[i] as Storage;
  if (readsOutput(call, i)) return false;
  if (kernel.name === 'sgd' || kernel.name === 'sgdMomentum' || kernel.name === 'adam') {
    return params[0] === length && params[1 + i] === 0;
  }
  if (isUpdate(call)) {
    const rows = isSums(call, i) ? 1 : (params[0] as number);
    return rows * (params[1] as number) === length && params[3 + i] === 0;
  }
  // A flat elementwise call: [1, n, offset, 1, …].
  return call.outputs === 1 && params[0] === 1 && params[1] === length && params[2] === 0 && params[3] === 1;
}

/** Kernels that refuse labels or indices out of range; these are the last of their buffers. */
const checked = new Set(
  ['nll', 'crossEntropy', 'indexSelect', 'gather'].flatMap((name) => [name, `${name}Grad`]),
);

/** True if the call may refuse the step. */
export function mayRefuse(call: Recorded): boolean {
  return checked.has(call.kernel.name);
}

/** For every call what it checks, as far as it may refuse the step: calls that check the same refuse the same. */
function checksOf(calls: readonly Recorded[]): readonly (string | null)[] {
  const ids = new Map<Storage, number>();
  /** How often each storage was written so far. */
  const writes = new Map<Storage, number>();
  return calls.map((call) => {
    for (const s of writesOf(call)) writes.set(s, (writes.get(s) ?? 0) + 1);
    if (!mayRefuse(call)) return null;
    const labels = call.storages[call.storages.length - 1] as Storage;
    const id = ids.get(labels) ?? ids.size;
    ids.set(labels, id);
    const p = call.params as readonly number[];
    const rows = call.kernel.name.startsWith('nll') || call.kernel.name.startsWith('cross');
    const select = call.kernel.name.startsWith('indexSelect');
    const n = rows ? p[0] : select ? p[3] : (p[0] as number) * (p[2] as number) * (p[3] as number);
    // Which labels (since which write, from where and, for rows, which of them are ignored; how many), and what they must
    // stay below.
    return `${id} ${writes.get(labels) ?? 0} ${p.slice(rows ? -2 : -1)} ${n} ${p[1]}`;
  });
}

/**
 * Position of the last call that may refuse its labels or indices, or -1. A backward operation refuses nothing that its
 * forward operation took.
 */
export function lastCheck(calls: readonly Recorded[]): number {
  const known = new Set<string>();
  let last = -1;
  checksOf(calls).forEach((check, i) => {
    if (check === null || known.has(check)) return;
    known.add(check);
    last = i;
  });
  return last;
}

/**
 * Drops calls whose results nobody reads, unless they are the only ones to refuse some labels or indices. `kept` are virtual
 * storages that are read after the program.
 */
export function dropDead(calls: readonly Recorded[], kept: ReadonlySet<Storage>): Recorded[] {
  const read = living(calls, kept, new Set());
  if (read.length === calls.length || !calls.some(mayRefuse)) return read;
  const checks = checksOf(calls);
  const present = new Set(read);
  const covered = new Set(checks.filter((_, i) => present.has(calls[i] as Recorded)));
  const needed = new Set<Recorded>();
  calls.forEach((call, i) => {
    const check = checks[i] as string | null;
    if (check === null || covered.has(check)) return;
    covered.add(check);
    needed.add(call);
  });
  return needed.size === 0 ? read : living(calls, kept, needed);
}

/** Calls whose results are read, and those that are needed for another reason. */
function living(
  calls: readonly Recorded[],
  kept: ReadonlySet<Storage>,
  needed: ReadonlySet<Recorded>,
): Recorded[] {
  const live = new Set(kept);
  const out: Recorded[] = [];
  for (let i = calls.length - 1; i >= 0; i--) {
    const call = calls[i] as Recorded;
    const used = needed.has(call) || writesOf(call).some((s) => s.array !== null || live.has(s));
    if (!used) continue;
    for (const s of readsOf(call)) live.add(s);
    out.push(call);
  }
  return out.reverse();
}
