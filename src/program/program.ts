import type { Executable, Input } from '../backend/backend.js';
import { backend } from '../backend/load.js';
import { arrayType, byteWidth, type TypedArray } from '../dtype.js';
import { IndexError, StateError } from '../errors.js';
import { type Arena, lifetimes } from './arena.js';
import { Buffers, instructionsOf, slotValues, Temporaries } from './buffers.js';
import { copy } from './calls.js';
import { type Chain, chainElementwise } from './chains.js';
import {
  dropDead,
  lastCheck,
  overwrites,
  readsOutput,
  replaced,
  type Span,
  span,
  spanOf,
  writesOf,
} from './dataflow.js';
import { allocate, type Recorded, type Slot } from './emit.js';
import { fuse, hoistFills } from './fuse.js';
import { release, Storage, sharedArray } from './storage.js';
import type { Trace } from './trace.js';
import { fuseSums, fuseUpdates } from './updates.js';
import type { View } from './view.js';

/** Real memory that lies outside the program and that it uses. */
interface Captured {
  readonly storage: Storage;
  /** Buffer that holds the values from before the step. */
  readonly buffer: number;
  /** Buffer that receives the new values, where they are published as a whole; else `buffer` is written itself. */
  readonly fresh: number;
  readonly written: boolean;
  /** What both buffers are bound to at the moment. */
  bound: TypedArray;
  boundFresh: TypedArray;
  /** The other of the two memories of a published storage. */
  spare: TypedArray | null;
  /** What an asynchronous run reads where somebody holds the array itself. */
  copy: TypedArray | null;
  /** True if it is written before the last call that may refuse the step: a refusal has to undo that. */
  readonly early: boolean;
  /** Its values from before the run, where it is updated in place and `early`. */
  backup: TypedArray | null;
}

/** Memory of a result. The last run's stays readable while the next one writes the other. */
interface Result {
  readonly storage: Storage;
  /** Index of the buffer, or -1 where no call writes it. */
  readonly buffer: number;
  live: TypedArray;
  other: TypedArray | null;
  bound: TypedArray;
}

/** A result that every run writes to memory of its own, which is then the caller's. */
interface Handed {
  readonly storage: Storage;
  /** What a synchronous run writes, until it is handed over. */
  made: Storage | null;
  /** What asynchronous runs write, to be copied: memory that nobody can take away meanwhile. */
  shared: TypedArray | null;
}

/** Bytes from which on results are not copied by the engine, which copies shared memory word by word. */
export const largeResult = 4096;

function madeFor(h: Handed): TypedArray {
  h.made = allocate(h.storage.dtype, h.storage.length);
  return h.made.array as TypedArray;
}

function sharedFor(h: Handed): TypedArray {
  h.made = null;
  h.shared ??= sharedArray(h.storage.dtype, h.storage.length);
  return h.shared;
}

/** A planned trace: the program of one step for one set of shapes. */
export class Program {
  readonly calls: readonly Recorded[];
  /** Of the consumable storages those that no run fills. */
  readonly consumed: ReadonlySet<Storage>;
  /** Stretches of them that run block by block. */
  readonly chains: readonly Chain[];
  /** The backend that the program was made for. */
  readonly backend = backend();
  readonly #executable: Executable;
  readonly #temporaries: Temporaries;
  readonly #captured: Captured[] = [];
  /** Real memory that it writes, and where in it. */
  readonly #writes = new Map<Storage, Span[]>();
  readonly #written: readonly Storage[];
  /** Storages whose array somebody holds and that are written: the program works on a copy beside it. */
  readonly #mirrors: { readonly storage: Storage; readonly array: TypedArray }[] = [];
  /** Sources of the input buffers: an argument's place, plain memory outside, or a result. */
  readonly #inputs: (number | Storage | Handed)[] = [];
  /** The arguments' places in the trace. */
  readonly #arguments: readonly Storage[];
  readonly #results = new Map<Storage, Result>();
  readonly #handed = new Map<Storage, Handed>();
  /** True if a result is written before the last call that may refuse the step. */
  readonly #earlyResults: boolean;
  readonly #slots: readonly Slot[];
  readonly #slotValues: Float64Array;
  #inFlight = false;

  /**
   * @param kept virtual storages whose values are read after a run: results and gradients
   * @param returned those of them that are results
   * @param consumable those of them that need not be there afterwards, where that is faster
   * @param name of the step, for messages
   */
  constructor(
    trace: Trace,
    kept: readonly Storage[],
    returned: ReadonlySet<Storage>,
    consumable: ReadonlySet<Storage>,
    readonly name: string,
    readonly traced = trace.calls.length,
  ) {
    const wanted = new Set(kept);
    const fused = fuse(dropDead(thaw(trace), wanted), wanted);
    const { calls, consumed } = fuseUpdates(hoistFills(fused, wanted, trace), wanted, consumable);
    this.consumed = consumed;
    const keep = new Set(kept.filter((s) => !consumed.has(s)));
    const fusedSums = fuseSums(dropDead(calls, keep));
    for (const call of fusedSums) {
      writesOf(call).forEach((s, i) => {
        if (s.array !== null) this.#writes.set(s, [...(this.#writes.get(s) ?? []), spanOf(call, i)]);
      });
    }
    this.#written = [...this.#writes.keys()];
    const { calls: ordered, chains } = chainElementwise(publish(fusedSums), keep);
    this.calls = ordered;
    this.chains = chains;
    this.#slots = trace.slots;
    this.#arguments = trace.inputs;
    this.#slotValues = slotValues(trace.slots);

    const buffers = new Buffers(chains);
    const freshIndex = new Map<Storage, number>();
    this.#temporaries = new Temporaries(
      lifetimes(
        this.calls,
        chains,
        (s) => s.array === null && !trace.inputs.includes(s) && !keep.has(s) && !buffers.isLocal(s),
      ),
    );
    trace.inputs.forEach((s, i) => {
      buffers.set(s, buffers.input(s));
      this.#inputs.push(i);
    });
    const inPlace = updatedInPlace(this.calls);
    const last = lastCheck(this.calls);
    const early = new Set(this.calls.slice(0, Math.max(0, last)).flatMap((call) => [...writesOf(call)]));
    this.#earlyResults = [...keep].some((s) => early.has(s));
    for (const call of this.calls) {
      for (const s of call.storages) {
        if (buffers.has(s)) continue;
        if (buffers.isLocal(s)) {
          buffers.set(s, buffers.local(s));
        } else if (s.array === null) {
          if (returned.has(s) && s.length * byteWidth(s.dtype) >= largeResult) {
            buffers.set(s, buffers.input(s, true));
            const handed = { storage: s, made: null, shared: null };
            this.#handed.set(s, handed);
            this.#inputs.push(handed);
          } else if (keep.has(s)) {
            const array = sharedArray(s.dtype, s.length);
            const buffer = buffers.set(s, buffers.pin(array));
            this.#results.set(s, { storage: s, buffer, live: array, other: null, bound: array });
          } else {
            buffers.set(s, this.#temporaries.add(s, buffers));
          }
        } else if (s.trace === trace) {
          // A constant of the step: its values can be kept where they cannot be detached.
          s.share();
          buffers.set(s, buffers.pin(s.array as TypedArray));
        } else if (s.share()) {
          const array = s.array as TypedArray;
          const buffer = buffers.set(s, buffers.pin(array));
          const written = this.#writes.has(s);
          const fresh = written && !inPlace.has(s) ? buffers.pin(array) : buffer;
          if (fresh !== buffer) freshIndex.set(s, fresh);
          this.#captured.push({
            storage: s,
            buffer,
            fresh,
            written,
            bound: array,
            boundFresh: array,
            spare: null,
            copy: null,
            early: early.has(s),
            backup: null,
          });
        } else {
          if (this.#writes.has(s)) {
            const array = sharedArray(s.dtype, s.length);
            buffers.set(s, buffers.pin(array));
            this.#mirrors.push({ storage: s, array });
          } else {
            buffers.set(s, buffers.input(s));
            this.#inputs.push(s);
          }
        }
      }
    }
    for (const s of keep) {
      if (this.#results.has(s) || this.#handed.has(s)) continue;
      const array = sharedArray(s.dtype, s.length);
      this.#results.set(s, { storage: s, buffer: -1, live: array, other: null, bound: array });
    }

    const renewed = new Set<Storage>();
    const current = (s: Storage) => (renewed.has(s) ? (freshIndex.get(s) as number) : buffers.of(s));
    const { instructions, patches } = instructionsOf(this.calls, trace.slots, (call) => {
      const ins = call.storages.slice(call.outputs).map(current);
      const outs = writesOf(call).map((s) => {
        if (freshIndex.has(s)) renewed.add(s);
        return current(s);
      });
      return [...outs, ...ins];
    });
    this.#executable = this.backend.program({
      instructions,
      buffers: buffers.list,
      patches,
      chains,
      slots: this.#slotValues,
    });
  }

  /** Where the values of a result are after a run, if take() gives nothing. */
  result(s: Storage): TypedArray {
    return this.#handed.get(s)?.shared ?? (this.#results.get(s) as Result).live;
  }

  /** The memory that the last run wrote a result to, which is the caller's then; null where it is to be copied. */
  take(s: Storage): Storage | null {
    const handed = this.#handed.get(s);
    if (!handed || handed.made === null) return null;
    const { made } = handed;
    handed.made = null;
    return made;
  }

  /** True if a run writes between the first and the last element of the view. */
  writes(view: View): boolean {
    const spans = this.#writes.get(view.storage);
    if (spans === undefined || view.size === 0) return false;
    const [first, last] = span(view.offset, view.shape, view.strides);
    return spans.some((written) => written[0] <= last && first <= written[1]);
  }

  /** Bytes of intermediate values. */
  get arenaBytes(): number {
    return this.#temporaries.bytes;
  }

  #checkIdle(): void {
    if (this.#inFlight) {
      throw new StateError(`${this.name}: an asynchronous run of this step is in flight; await it first`);
    }
    for (const s of this.#written) s.checkIdle(this.name);
    for (const c of this.#captured) if (c.written && c.fresh === c.buffer) c.storage.checkUnread(this.name);
  }

  /** Binds what moved since the last run, and returns the arena that the run uses. */
  #prepare(): Arena {
    for (const s of this.#written) s.preserve();
    const arena = this.#temporaries.bind(this.#executable);
    for (const c of this.#captured) {
      const array = c.storage.read(this.name);
      if (c.bound !== array) {
        this.#executable.bind(c.buffer, array);
        c.bound = array;
        if (c.fresh === c.buffer) c.boundFresh = array;
      }
    }
    for (const m of this.#mirrors) m.array.set(m.storage.read(this.name));
    for (let i = 0; i < this.#slots.length; i++) this.#slotValues[i] = (this.#slots[i] as Slot).value;
    return arena;
  }

  #bindFresh(c: Captured, array: TypedArray): void {
    if (c.boundFresh === array) return;
    this.#executable.bind(c.fresh, array);
    c.boundFresh = array;
  }

  /** What fills the input buffers; `target` makes the memory that a result is written to. */
  #sources(args: readonly Input[], target: (h: Handed) => TypedArray): Input[] {
    return this.#inputs.map((source) => {
      if (typeof source === 'number') return args[source] as Input;
      return source instanceof Storage ? source.read(this.name) : target(source);
    });
  }

  /** Takes the memory of a run that was refused back. */
  #dropHanded(): void {
    for (const h of this.#handed.values()) {
      if (h.made !== null) release(h.made);
      h.made = null;
    }
  }

  #touched(): void {
    for (const { storage, array } of this.#mirrors) {
      // Memory that was transferred during the run is gone, for everybody.
      if (storage.array?.length === array.length) storage.array.set(array);
    }
    for (const s of this.#written) s.version++;
  }

  /** Results go to memory in which no older ones are still to be read (`beside`), or to the same as before. */
  #bindResults(beside: boolean): void {
    for (const r of this.#results.values()) {
      if (r.buffer < 0) continue;
      if (beside) r.other ??= sharedArray(r.storage.dtype, r.storage.length);
      const array = beside ? (r.other as TypedArray) : r.live;
      if (r.bound !== array) this.#executable.bind(r.buffer, array);
      r.bound = array;
    }
  }

  /** Gives a published storage memory for its new values that nobody reads. */
  #bindSpare(c: Captured): void {
    c.spare ??= sharedArray(c.storage.dtype, c.storage.length);
    this.#bindFresh(c, c.spare);
  }

  #saveEarly(): void {
    for (const c of this.#captured) {
      if (!c.early || c.fresh !== c.buffer) continue;
      c.backup ??= sharedArray(c.storage.dtype, c.storage.length);
      c.backup.set(c.bound);
    }
  }

  /** Undoes what a refused run updated in place. */
  #restoreEarly(): void {
    for (const c of this.#captured) if (c.early && c.fresh === c.buffer) c.bound.set(c.backup as TypedArray);
  }

  /** After a run: new values become those that everyone reads. */
  #complete(): void {
    for (const c of this.#captured) {
      if (c.fresh !== c.buffer && c.boundFresh === c.spare) this.#publish(c);
    }
    for (const r of this.#results.values()) {
      if (r.bound === r.live) continue;
      r.other = r.live;
      r.live = r.bound;
    }
    this.#touched();
  }

  /** Runs on the calling thread. `args` are the arguments' values. */
  run(args: readonly Input[]): void {
    this.#checkIdle();
    this.#prepare();
    for (const c of this.#captured) {
      if (c.fresh === c.buffer) continue;
      if (c.early || c.storage.readers > 0) this.#bindSpare(c);
      else this.#bindFresh(c, c.bound);
    }
    this.#bindResults(this.#earlyResults);
    this.#saveEarly();
    try {
      const own = this.#inputs.length === args.length;
      this.#executable.run(own ? args : this.#sources(args, madeFor));
    } catch (error) {
      this.#dropHanded();
      this.#restoreEarly();
      throw error;
    }
    this.#complete();
  }

  /**
   * Runs off the calling thread on copies of the arguments. What the step writes goes to memory beside the old values,
   * which everyone else goes on reading; it is published when the step completes.
   */
  async runAsync(args: readonly Input[]): Promise<void> {
    this.#checkIdle();
    const arena = this.#prepare();
    const read: Storage[] = [];
    for (const c of this.#captured) {
      if (c.fresh !== c.buffer) this.#bindSpare(c);
      const inPlace = c.written && c.fresh === c.buffer;
      if (c.storage.exposed && !inPlace) this.#bindCopy(c);
      if (!c.written) read.push(c.storage);
    }
    for (const source of this.#inputs) if (source instanceof Storage) read.push(source);
    this.#bindResults(true);
    this.#saveEarly();
    this.#inFlight = true;
    arena.busy = true;
    for (const s of read) s.readers++;
    for (const m of this.#mirrors) m.storage.busy = this.name;
    for (const c of this.#captured) {
      if (!c.written) continue;
      c.storage.busy = this.name;
      c.storage.torn = c.fresh === c.buffer;
    }
    try {
      await this.#executable.runAsync(this.#sources(args, sharedFor));
      this.#complete();
    } catch (error) {
      this.#restoreEarly();
      throw error;
    } finally {
      for (const s of read) s.readers--;
      for (const m of this.#mirrors) m.storage.busy = null;
      for (const c of this.#captured) {
        if (!c.written) continue;
        c.storage.busy = null;
        c.storage.torn = false;
      }
      arena.busy = false;
      this.#inFlight = false;
    }
  }

  /** Reads a copy of memory that somebody holds, and may write, during the run. */
  #bindCopy(c: Captured): void {
    c.copy ??= sharedArray(c.storage.dtype, c.storage.length);
    c.copy.set(c.storage.array as TypedArray);
    this.#executable.bind(c.buffer, c.copy);
    c.bound = c.copy;
  }

  #publish(c: Captured): void {
    const { storage } = c;
    const old = storage.array as TypedArray;
    const spare = c.spare as TypedArray;
    if (storage.exposed) {
      // Somebody holds the array as a live view of the values: it has to stay.
      old.set(spare);
      return;
    }
    storage.array = spare;
    // Memory that an asynchronous step still reads is left to that step.
    c.spare = storage.readers > 0 ? null : old;
  }

  /**
   * Nanoseconds of every call, the median of a few runs on these arguments (null: zeros) and on copies of all that the step
   * writes: nothing changes. Null where that is not possible (a run is in flight, or zeros are no labels or indices).
   */
  times(args: readonly Input[] | null): Float64Array | null {
    const gone = (s: Storage): boolean => s.array?.length !== s.length;
    if (this.#inFlight || this.#written.some((s) => s.busy !== null || gone(s))) return null;
    if (this.#captured.some((c) => gone(c.storage))) return null;
    if (this.#inputs.some((source) => source instanceof Storage && gone(source))) return null;
    this.#prepare();
    for (const c of this.#captured) {
      if (!c.written) continue;
      const copied = sharedArray(c.storage.dtype, c.storage.length);
      copied.set(c.bound);
      c.bound = copied;
      this.#executable.bind(c.buffer, copied);
      if (c.fresh !== c.buffer) this.#bindFresh(c, copied);
      else c.boundFresh = copied;
    }
    this.#bindResults(true);
    const zeros = (s: Storage): TypedArray => new (arrayType(s.dtype))(s.length);
    const inputs = this.#sources(args ?? this.#arguments.map(zeros), (h) => zeros(h.storage));
    const runs: Float64Array[] = [];
    const until = performance.now() + 200;
    try {
      do runs.push(this.#executable.profile(inputs));
      while (runs.length < 9 && performance.now() < until);
    } catch (error) {
      if (args === null && error instanceof IndexError) return null;
      throw error;
    }
    return Float64Array.from(this.calls, (_, i) => {
      const sorted = runs.map((run) => run[i] as number).sort((x, y) => x - y);
      return sorted[sorted.length >> 1] as number;
    });
  }
}

/** Constants that the step changes in place start from their values at every run: they are copied first. */
function thaw(trace: Trace): readonly Recorded[] {
  const copies = new Map<Storage, Storage>();
  for (const call of trace.calls) {
    for (const s of writesOf(call)) {
      if (s.trace === trace && s.array !== null && !copies.has(s)) {
        copies.set(s, new Storage(s.dtype, s.length, null, trace));
      }
    }
  }
  if (copies.size === 0) return trace.calls;
  const flat = (n: number): number[] => [1, n, 0, 1, 0, 1];
  return [
    ...[...copies].map(([from, to]) => ({
      kernel: copy,
      params: flat(from.length),
      storages: [to, from],
      outputs: 1,
      op: 'constant',
    })),
    ...replaced(trace.calls, copies),
  ];
}

/** Storages that some call updates in place by one buffer, so that their new values cannot go to other memory. */
function updatedInPlace(calls: readonly Recorded[]): Set<Storage> {
  const found = new Set<Storage>();
  for (const call of calls) {
    writesOf(call).forEach((s, i) => {
      if (readsOutput(call, i)) found.add(s);
    });
  }
  return found;
}

/**
 * Makes the first write of every published storage complete: where only a part is set, the old values are copied over
 * first (onto themselves, in a synchronous run).
 */
function publish(calls: readonly Recorded[]): Recorded[] {
  const seen = new Set<Storage>();
  const inPlace = updatedInPlace(calls);
  const out: Recorded[] = [];
  for (const call of calls) {
    writesOf(call).forEach((s, i) => {
      if (s.array === null || seen.has(s)) return;
      seen.add(s);
      if (overwrites(call, i) || inPlace.has(s)) return;
      out.push({
        kernel: copy,
        params: [1, s.length, 0, 1, 0, 1],
        storages: [s, s],
        outputs: 1,
        op: 'publish',
      });
    });
    out.push(call);
  }
  return out;
}
