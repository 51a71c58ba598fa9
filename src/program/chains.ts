import { isElementwise } from '../backend/js/map.js';
import { countWrites, mayRefuse, operandOf, readsOf, writesOf } from './dataflow.js';
import type { Recorded } from './emit.js';
import type { Storage } from './storage.js';

// Chains of elementwise calls over vectors of one length. They run block by block, so that what one call writes is still in
// the cache when the next one reads it; values that only the chain sees never reach memory.

/** Shorter vectors stay in the cache anyway. */
const minLength = 32768;
/** Of one chain: with more of them the blocks could become too short. */
const maxStorages = 32;
/** How far ahead calls are looked for. */
const window = 64;

/** A stretch of calls that run block by block. */
export interface Chain {
  readonly first: number;
  readonly count: number;
  readonly length: number;
  /** Storages that only this chain uses, and which of its blocks of memory each has: in turn, where one ends before another. */
  readonly locals: ReadonlyMap<Storage, string>;
}

/** An elementwise call over n elements, each operand of which is read from end to end or is one number. */
interface Flat {
  readonly n: number;
  /** By operand, output first. */
  readonly offsets: readonly number[];
  readonly strides: readonly number[];
}

function flat(call: Recorded): Flat | null {
  if (!isElementwise(call.kernel.js)) return null;
  const p = call.params as readonly number[];
  const nd = p[0] as number;
  const operands = call.storages.length;
  const shape = p.slice(1, 1 + nd);
  const n = shape.reduce((a, b) => a * b, 1);
  const offsets: number[] = [];
  const strides: number[] = [];
  for (let k = 0; k < operands; k++) {
    const own = operandOf(call, nd, k);
    offsets.push(own.offset);
    let dense = true;
    let single = true;
    let step = 1;
    for (let d = nd - 1; d >= 0; d--) {
      const extent = shape[d] as number;
      const stride = own.strides[d] as number;
      if (extent !== 1 && stride !== step) dense = false;
      if (extent !== 1 && stride !== 0) single = false;
      step *= extent;
    }
    if (!dense && (k === 0 || !single)) return null;
    strides.push(dense ? 1 : 0);
  }
  return { n, offsets, strides };
}

/** The call in the flat layout. */
function flattened(call: Recorded, { n, offsets, strides }: Flat): Recorded {
  const nd = call.params[0] as number;
  const attrs = call.params.slice(1 + nd + call.storages.length * (nd + 1));
  return {
    ...call,
    params: [1, n, ...offsets.flatMap((offset, k) => [offset, strides[k] as number]), ...attrs],
  };
}

/** Fills of single numbers go first: between others they would part what belongs together. */
function fillsFirst(calls: readonly Recorded[]): readonly Recorded[] {
  const writes = countWrites(calls);
  const goesFirst = ({ kernel, storages: [s] }: Recorded): boolean =>
    kernel.name === 'fill' && s?.array === null && s.length === 1 && writes.get(s) === 1;
  const first = calls.filter(goesFirst);
  return first.length === 0 ? calls : [...first, ...calls.filter((call) => !goesFirst(call))];
}

/** What is known about a chain while calls are added to it. */
class Group {
  readonly calls: { readonly index: number; readonly flat: Flat }[] = [];
  /** From which offset on each storage is touched element by element. */
  readonly #places = new Map<Storage, number>();
  /** Storages of which one number is read throughout. */
  readonly #singles = new Set<Storage>();
  readonly #written = new Set<Storage>();
  readonly #skippedReads = new Set<Storage>();
  readonly #skippedWrites = new Set<Storage>();
  #refusal = false;

  constructor(
    private readonly all: readonly Recorded[],
    readonly n: number,
  ) {}

  /** Adds the call if it can run with the others, and before those that were skipped. */
  add(index: number, f: Flat): boolean {
    const call = this.all[index] as Recorded;
    const [out] = call.storages as [Storage];
    if (f.n !== this.n) return false;
    if (this.#skippedReads.has(out) || this.#skippedWrites.has(out)) return false;
    if (readsOf(call).some((s) => this.#skippedWrites.has(s))) return false;
    // What a refused step has written must be undone: the less, the better.
    if (this.#refusal && out.array !== null) return false;
    const places = new Map(this.#places);
    const singles = new Set(this.#singles);
    for (const [k, s] of call.storages.entries()) {
      const offset = f.offsets[k] as number;
      if (f.strides[k] === 0) singles.add(s);
      else if ((places.get(s) ?? offset) === offset) places.set(s, offset);
      else return false;
    }
    // Block by block a single number would be read before it is written, or after.
    for (const s of singles) if (s === out || this.#written.has(s)) return false;
    if (places.size + singles.size > maxStorages) return false;
    for (const [s, place] of places) this.#places.set(s, place);
    for (const s of singles) this.#singles.add(s);
    this.#written.add(out);
    this.calls.push({ index, flat: f });
    return true;
  }

  skip(index: number): void {
    const call = this.all[index] as Recorded;
    for (const s of readsOf(call)) this.#skippedReads.add(s);
    for (const s of writesOf(call)) this.#skippedWrites.add(s);
    if (mayRefuse(call)) this.#refusal = true;
  }
}

/**
 * Brings elementwise calls that belong together next to each other. The order of all others stays. `kept` are virtual
 * storages that are read after the program.
 */
export function chainElementwise(
  given: readonly Recorded[],
  kept: ReadonlySet<Storage>,
): { calls: readonly Recorded[]; chains: readonly Chain[] } {
  if (!given.some((call) => (flat(call)?.n ?? 0) >= minLength)) return { calls: given, chains: [] };
  const all = fillsFirst(given);
  const flats = all.map(flat);
  const users = new Map<Storage, number>();
  for (const call of all) for (const s of new Set(call.storages)) users.set(s, (users.get(s) ?? 0) + 1);
  const taken = new Set<number>();
  const calls: Recorded[] = [];
  const chains: Chain[] = [];
  all.forEach((call, i) => {
    if (taken.has(i)) return;
    const own = flats[i];
    if (!own || own.n < minLength) {
      calls.push(call);
      return;
    }
    const group = new Group(all, own.n);
    if (!group.add(i, own)) {
      calls.push(call);
      return;
    }
    for (let j = i + 1; j < Math.min(all.length, i + window); j++) {
      if (taken.has(j)) continue;
      const f = flats[j];
      if (!f || !group.add(j, f)) group.skip(j);
    }
    if (group.calls.length === 1) {
      calls.push(call);
      return;
    }
    const uses = new Map<Storage, number>();
    const whole = new Set<Storage>();
    for (const { index, flat: f } of group.calls) {
      taken.add(index);
      const { storages } = all[index] as Recorded;
      for (const s of new Set(storages)) uses.set(s, (uses.get(s) ?? 0) + 1);
      if (f.offsets[0] === 0 && storages[0]?.length === own.n) whole.add(storages[0]);
    }
    const members = group.calls.map(({ index }) => all[index] as Recorded);
    const inside = [...uses].flatMap(([s, n]) => {
      const alone = s.array === null && !kept.has(s) && n === users.get(s);
      return alone && whole.has(s) ? [s] : [];
    });
    chains.push({
      first: calls.length,
      count: members.length,
      length: own.n,
      locals: blocksFor(inside, members),
    });
    for (const { index, flat: f } of group.calls) calls.push(flattened(all[index] as Recorded, f));
  });
  return { calls, chains };
}

/** A block of memory for each of the storages; a result may take the place of an operand that was used for the last time. */
function blocksFor(inside: readonly Storage[], members: readonly Recorded[]): Map<Storage, string> {
  const last = new Map<Storage, number>();
  members.forEach((call, i) => {
    for (const s of call.storages) last.set(s, i);
  });
  const blocks = new Map<Storage, string>();
  const free: string[] = [];
  let made = 0;
  members.forEach((call, i) => {
    const ended = new Set(call.storages.filter((s) => last.get(s) === i));
    for (const s of ended) {
      const block = blocks.get(s);
      if (block !== undefined) free.push(block);
    }
    const out = call.storages[0] as Storage;
    if (!inside.includes(out) || blocks.has(out)) return;
    const fits = free.findIndex((block) => block.startsWith(out.dtype));
    const block = fits >= 0 ? (free.splice(fits, 1)[0] as string) : `${out.dtype} ${made++}`;
    blocks.set(out, block);
    // Nobody reads it: the block is free again.
    if (last.get(out) === i) free.push(block);
  });
  return blocks;
}
