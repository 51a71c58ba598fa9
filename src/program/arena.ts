import { backend } from '../backend/load.js';
import { byteWidth } from '../dtype.js';
import type { Storage } from './storage.js';

/** From the first to the last call (inclusive) that touches a storage. */
export interface Interval {
  readonly storage: Storage;
  readonly first: number;
  readonly last: number;
}

export interface Layout {
  /** Byte offset of every storage. */
  readonly offsets: ReadonlyMap<Storage, number>;
  readonly bytes: number;
}

const alignment = 64;

/**
 * Places storages in one block so that those in use at the same time do not overlap: largest first, each at the lowest
 * offset that is free during its life.
 */
export function layOut(intervals: readonly Interval[]): Layout {
  const size = (s: Storage) =>
    Math.ceil((Math.max(s.length, 1) * byteWidth(s.dtype)) / alignment) * alignment;
  const placed: { first: number; last: number; from: number; to: number }[] = [];
  const offsets = new Map<Storage, number>();
  let bytes = 0;
  const order = [...intervals].sort((a, b) => size(b.storage) - size(a.storage) || a.first - b.first);
  for (const { storage, first, last } of order) {
    const need = size(storage);
    const rivals = placed.filter((p) => p.first <= last && p.last >= first).sort((a, b) => a.from - b.from);
    let at = 0;
    for (const p of rivals) {
      if (p.from - at >= need) break;
      at = Math.max(at, p.to);
    }
    placed.push({ first, last, from: at, to: at + need });
    offsets.set(storage, at);
    bytes = Math.max(bytes, at + need);
  }
  return { offsets, bytes };
}

/** A block of shared memory for the intermediate values of programs that do not run at the same time. */
export class Arena {
  busy = false;
  buffer = new SharedArrayBuffer(0);
  /** Where the first place begins, in bytes. */
  start = 0;

  /** Grows to hold at least so many bytes. Programs notice that the buffer is another one. */
  reserve(bytes: number): void {
    if (this.start + bytes <= this.buffer.byteLength) return;
    const before = this.buffer.byteLength;
    this.buffer = new SharedArrayBuffer(Math.ceil((bytes + alignment) / 4096) * 4096);
    this.start = backend().lineStart(this.buffer);
    backend().adjustExternalMemory(this.buffer.byteLength - before);
  }
}

const arenas: Arena[] = [new Arena()];

/** The arena for a run that begins now: all share one, except beside an asynchronous step. */
export function idleArena(): Arena {
  for (const arena of arenas) if (!arena.busy) return arena;
  const arena = new Arena();
  arenas.push(arena);
  return arena;
}
