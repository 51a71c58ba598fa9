import { backend } from '../backend/load.js';
import { arrayType, byteWidth, type TypedArray } from '../dtype.js';
import type { Recorded } from './emit.js';
import { roundedSize, type Storage, sharedMemory } from './storage.js';

/** From the first to the last call (inclusive) that touches a storage. */
export interface Interval {
  readonly storage: Storage;
  readonly first: number;
  readonly last: number;
}

/** The intervals of those storages that want a place. What a chain touches is in use from its first call to its last. */
export function lifetimes(
  calls: readonly Recorded[],
  chains: readonly { readonly first: number; readonly count: number }[],
  wants: (s: Storage) => boolean,
): Interval[] {
  const begins: number[] = [];
  for (const { first, count } of chains) for (let i = 0; i < count; i++) begins[first + i] = first;
  const intervals = new Map<Storage, { storage: Storage; first: number; last: number }>();
  calls.forEach((call, position) => {
    const i = begins[position] ?? position;
    for (const s of call.storages) {
      if (!wants(s)) continue;
      const known = intervals.get(s);
      if (known) known.last = i;
      else intervals.set(s, { storage: s, first: i, last: i });
    }
  });
  return [...intervals.values()];
}

export interface Layout {
  /** Byte offset of every storage. */
  readonly offsets: ReadonlyMap<Storage, number>;
  readonly bytes: number;
}

/** Calls per stretch of time: 2 to this power. */
const stretchBits = 5;

/**
 * Places storages in one block so that those in use at the same time do not overlap: largest first, each at the lowest
 * offset that is free during its life.
 */
export function layOut(intervals: readonly Interval[]): Layout {
  const size = (s: Storage) => roundedSize(Math.max(s.length, 1) * byteWidth(s.dtype));
  interface Placed {
    readonly first: number;
    readonly last: number;
    readonly from: number;
    readonly to: number;
    seenFor: number;
  }
  // By stretch of calls, so that only those of about the same time are looked at.
  const placed: Placed[][] = [];
  const offsets = new Map<Storage, number>();
  let bytes = 0;
  const order = [...intervals].sort((a, b) => size(b.storage) - size(a.storage) || a.first - b.first);
  order.forEach(({ storage, first, last }, number) => {
    const need = size(storage);
    const rivals: Placed[] = [];
    for (let k = first >> stretchBits; k <= last >> stretchBits; k++) {
      for (const p of placed[k] ?? []) {
        if (p.first > last || p.last < first || p.seenFor === number) continue;
        p.seenFor = number;
        rivals.push(p);
      }
    }
    rivals.sort((a, b) => a.from - b.from);
    let at = 0;
    for (const p of rivals) {
      if (p.from - at >= need) break;
      at = Math.max(at, p.to);
    }
    const own = { first, last, from: at, to: at + need, seenFor: -1 };
    for (let k = first >> stretchBits; k <= last >> stretchBits; k++) {
      placed[k] ??= [];
      (placed[k] as Placed[]).push(own);
    }
    offsets.set(storage, at);
    bytes = Math.max(bytes, at + need);
  });
  return { offsets, bytes };
}

/** A block of shared memory for the intermediate values of programs that do not run at the same time. */
export class Arena {
  busy = false;
  buffer = new SharedArrayBuffer(0);
  /** Where the first place begins, in bytes. */
  start = 0;
  private room = 0;

  /** Grows to hold at least so many bytes. Programs notice that the buffer is another one. */
  reserve(bytes: number): void {
    if (bytes <= this.room) return;
    const before = this.room;
    ({ buffer: this.buffer, start: this.start, room: this.room } = sharedMemory(bytes));
    backend().adjustExternalMemory(this.room - before);
  }
}

/** A storage's place in an arena. */
export function placeIn(arena: Arena, layout: Layout, s: Storage): TypedArray {
  const offset = arena.start + (layout.offsets.get(s) as number);
  return new (arrayType(s.dtype))(arena.buffer as unknown as ArrayBuffer, offset, s.length);
}

const arenas: Arena[] = [new Arena()];

/** The arena for a run that begins now: all share one, except beside an asynchronous step. */
export function idleArena(): Arena {
  for (const arena of arenas) if (!arena.busy) return arena;
  const arena = new Arena();
  arenas.push(arena);
  return arena;
}
