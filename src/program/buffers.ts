import type { Executable, Instruction, Patch, ProgramBuffer } from '../backend/backend.js';
import { typeCode } from '../backend/js/strided.js';
import { arrayType, type TypedArray } from '../dtype.js';
import { type Arena, type Interval, idleArena, type Layout, layOut, placeIn } from './arena.js';
import type { Chain } from './chains.js';
import { type Recorded, Slot } from './emit.js';
import type { Storage } from './storage.js';

// What programs are made of, whatever they are for: buffers, the place of temporaries, instructions.

/** The buffers of a program that is being made, and which of them each storage is. */
export class Buffers {
  readonly list: ProgramBuffer[] = [];
  readonly #index = new Map<Storage, number>();
  /** Of values that only a chain sees: the block that each has, and the buffer of each block. */
  readonly #blockOf = new Map<Storage, string>();
  readonly #blocks = new Map<string, number>();

  constructor(chains: readonly Chain[]) {
    chains.forEach(({ locals }, c) => {
      for (const [s, block] of locals) this.#blockOf.set(s, `${c} ${block}`);
    });
  }

  has(s: Storage): boolean {
    return this.#index.has(s);
  }

  of(s: Storage): number {
    return this.#index.get(s) as number;
  }

  set(s: Storage, buffer: number): number {
    this.#index.set(s, buffer);
    return buffer;
  }

  /** True for values that never reach memory. */
  isLocal(s: Storage): boolean {
    return this.#blockOf.has(s);
  }

  /** Memory that the program holds. */
  pin(array: TypedArray): number {
    return this.list.push({ kind: 'pinned', array }) - 1;
  }

  /** What a run is given: an array like that of the storage. */
  input(s: Storage, writable = false): number {
    const { dtype, length } = s;
    return this.list.push({ kind: 'input', like: arrayType(dtype), type: codeOf(s), length, writable }) - 1;
  }

  /** A block of the chain that the storage belongs to. */
  local(s: Storage): number {
    const block = this.#blockOf.get(s) as string;
    let buffer = this.#blocks.get(block);
    if (buffer === undefined) {
      buffer = this.list.push({ kind: 'local', type: codeOf(s), length: s.length }) - 1;
      this.#blocks.set(block, buffer);
    }
    return buffer;
  }
}

function codeOf({ dtype }: Storage): number {
  return typeCode(new (arrayType(dtype))(0));
}

/** The intermediate values of a program, in the arena that is idle when a run begins. */
export class Temporaries {
  readonly #layout: Layout;
  readonly #buffers: { readonly storage: Storage; readonly buffer: number }[] = [];
  #arena: Arena;
  #memory: SharedArrayBuffer;

  constructor(intervals: readonly Interval[]) {
    this.#layout = layOut(intervals);
    this.#arena = this.#idle();
    this.#memory = this.#arena.buffer;
  }

  /** How much memory they take. */
  get bytes(): number {
    return this.#layout.bytes;
  }

  #idle(): Arena {
    const arena = idleArena();
    arena.reserve(this.#layout.bytes);
    return arena;
  }

  /** Makes a buffer of one of them, where it is now. */
  add(storage: Storage, buffers: Buffers): number {
    const buffer = buffers.pin(placeIn(this.#arena, this.#layout, storage));
    this.#buffers.push({ storage, buffer });
    return buffer;
  }

  /** The arena for a run that begins now. Their buffers are bound to it. */
  bind(executable: Executable): Arena {
    const arena = this.#idle();
    if (arena !== this.#arena || arena.buffer !== this.#memory) {
      for (const { storage, buffer } of this.#buffers) {
        executable.bind(buffer, placeIn(arena, this.#layout, storage));
      }
      this.#arena = arena;
      this.#memory = arena.buffer;
    }
    return arena;
  }
}

/** The calls on numbered buffers; `buffersOf` gives those of a call. Numbers that change are read from `slots` at every run. */
export function instructionsOf(
  calls: readonly Recorded[],
  slots: readonly Slot[],
  buffersOf: (call: Recorded) => number[],
): { instructions: Instruction[]; patches: Patch[] } {
  const places = new Map(slots.map((slot, i) => [slot, i]));
  const patches: Patch[] = [];
  const instructions = calls.map((call, instruction): Instruction => {
    const params = call.params.map((p, param) => {
      if (!(p instanceof Slot)) return p;
      patches.push({ instruction, param, slot: places.get(p) as number });
      return p.value;
    });
    return { kernel: call.kernel, params, buffers: buffersOf(call) };
  });
  return { instructions, patches };
}

/** Memory for the values of the slots, as they are. */
export function slotValues(slots: readonly Slot[]): Float64Array {
  const values = new Float64Array(new SharedArrayBuffer(Math.max(1, slots.length) * 8));
  slots.forEach((slot, i) => {
    values[i] = slot.value;
  });
  return values;
}
