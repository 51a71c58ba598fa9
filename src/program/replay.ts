import type { Executable } from '../backend/backend.js';
import { backend } from '../backend/load.js';
import type { TypedArray } from '../dtype.js';
import { CompileError } from '../errors.js';
import { lifetimes } from './arena.js';
import { Buffers, instructionsOf, slotValues, Temporaries } from './buffers.js';
import { chainElementwise } from './chains.js';
import { dropDead, writesOf } from './dataflow.js';
import {
  type Advancing,
  inspecting,
  type Recorded,
  type Recorder,
  Slot,
  tracing,
  withRecorder,
} from './emit.js';
import { hoistFills, shareFills } from './fuse.js';
import { Storage } from './storage.js';
import { fullView, type View } from './view.js';

// Eager code that updates state in place by a fixed list of kernels (an optimizer's step, a moving average) is recorded
// once and from then on runs as one call of the backend. Unlike the program of a compiled step this one owns none of the
// memory that it works on: every run is handed the arrays anew, so nothing is pinned, moved or kept alive by it.

/** Receives what an update does. */
class UpdateRecorder implements Recorder {
  readonly token = {};
  readonly calls: Recorded[] = [];
  readonly slots: Slot[] = [];
  readonly advances: { readonly state: Advancing; readonly first: number; readonly count: number }[] = [];
  readonly guards: { readonly read: () => unknown; readonly value: unknown }[] = [];

  constructor(private readonly given: ReadonlySet<Storage>) {}

  record(call: Recorded): void {
    for (let i = 0; i < call.outputs; i++) {
      if (this.given.has(call.storages[i] as Storage)) {
        throw new CompileError(`${call.op}: an update changes what it is given`);
      }
    }
    this.calls.push(call);
  }

  advancing(state: Advancing): Slot[] {
    const slots = state.advance().map((value) => new Slot(value));
    this.advances.push({ state, first: this.slots.length, count: slots.length });
    this.slots.push(...slots);
    return slots;
  }

  observe(read: () => unknown): void {
    this.guards.push({ read, value: read() });
  }

  // An update is handed its gradients and reads no cells; every run counts as a write.
  writing(): void {}
  readCell(): void {}
  writeCell(): void {}
  settleCell(): void {}
  created(): void {}
  looksAt(): void {}
  made(): void {}
  owns(): boolean {
    return false;
  }
}

const nothing = new Float32Array(0);

/** One update, recorded. */
class Replay {
  readonly backend = backend();
  readonly #recorder: UpdateRecorder;
  readonly #executable: Executable;
  readonly #slots: Float64Array;
  /** Of every input of the program: the memory it stands for, or the position of what is given. */
  readonly #inputs: readonly (Storage | number)[];
  readonly #arrays: TypedArray[];
  readonly #own = new Set<Storage>();
  readonly #written: readonly Storage[];
  readonly #temporaries: Temporaries;

  /** Records the update, which moves its state on: to be followed by run(given, true). */
  constructor(
    private readonly name: string,
    given: readonly View[],
    update: (given: readonly View[]) => void,
  ) {
    const places = given.map((v) => new Storage(v.dtype, v.size, null));
    const recorder = new UpdateRecorder(new Set(places));
    this.#recorder = recorder;
    try {
      withRecorder(recorder, () => update(places.map((s, i) => fullView(s, (given[i] as View).shape))));
      const none = new Set<Storage>();
      const live = shareFills(hoistFills(dropDead(recorder.calls, none), none, recorder));
      const { calls, chains } = chainElementwise(live, none);
      const buffers = new Buffers(chains);
      const isPlace = new Set(places);
      this.#temporaries = new Temporaries(
        lifetimes(calls, chains, (s) => s.array === null && !isPlace.has(s) && !buffers.isLocal(s)),
      );

      const written = new Set(calls.flatMap((call) => writesOf(call).filter((s) => s.array !== null)));
      this.#written = [...written];
      const inputs: (Storage | number)[] = [];
      const input = (s: Storage, source: Storage | number): number => {
        inputs.push(source);
        return buffers.input(s, written.has(s));
      };
      places.forEach((s, i) => {
        buffers.set(s, input(s, i));
      });
      for (const call of calls) {
        for (const s of call.storages) {
          if (buffers.has(s)) continue;
          if (buffers.isLocal(s)) buffers.set(s, buffers.local(s));
          else if (s.array === null) buffers.set(s, this.#temporaries.add(s, buffers));
          else if (s.trace === recorder && !written.has(s)) {
            // A constant of the update.
            s.share();
            buffers.set(s, buffers.pin(s.array));
          } else {
            buffers.set(s, input(s, s));
            this.#own.add(s);
          }
        }
      }
      this.#inputs = inputs;
      this.#arrays = new Array<TypedArray>(inputs.length).fill(nothing);

      const { slots } = recorder;
      this.#slots = slotValues(slots);
      const program = instructionsOf(calls, slots, ({ storages }) => storages.map((s) => buffers.of(s)));
      this.#executable = this.backend.program({
        ...program,
        buffers: buffers.list,
        chains,
        slots: this.#slots,
      });
    } catch (error) {
      this.#rewind(recorder.advances.length);
      throw error;
    }
  }

  /** True while everything that the update depended on reads as it did. */
  holds(): boolean {
    const { guards } = this.#recorder;
    for (let i = 0; i < guards.length; i++) {
      const { read, value } = guards[i] as (typeof guards)[number];
      if (!Object.is(read(), value)) return false;
    }
    return true;
  }

  /** True if what is given lies in memory that the update works on beside it: the order of kernels then matters. */
  overlaps(given: readonly View[]): boolean {
    for (let i = 0; i < given.length; i++) if (this.#own.has((given[i] as View).storage)) return true;
    return false;
  }

  /** Runs the update. A run that is refused leaves the state that moves with the steps as it was. */
  run(given: readonly View[], advanced: boolean): void {
    let moved = advanced ? this.#recorder.advances.length : 0;
    const arrays = this.#arrays;
    try {
      this.#check(given);
      if (!advanced) for (; moved < this.#recorder.advances.length; moved++) this.#advance(moved);
      this.#temporaries.bind(this.#executable);
      const written = this.#written;
      for (let i = 0; i < written.length; i++) (written[i] as Storage).preserve();
      this.#executable.run(arrays);
      for (let i = 0; i < written.length; i++) (written[i] as Storage).version++;
    } catch (error) {
      this.#rewind(moved);
      throw error;
    } finally {
      // The arrays are their owners'; the list stays.
      arrays.fill(nothing);
    }
  }

  /** Refuses what an asynchronous step works on, and looks up the arrays. */
  #check(given: readonly View[]): void {
    const { name } = this;
    const written = this.#written;
    for (let i = 0; i < written.length; i++) {
      const s = written[i] as Storage;
      if (s.busy !== null) s.checkIdle(name);
      if (s.readers > 0) s.checkUnread(name);
    }
    const inputs = this.#inputs;
    for (let i = 0; i < inputs.length; i++) {
      const source = inputs[i] as Storage | number;
      const view = typeof source === 'number' ? (given[source] as View) : null;
      const s = view === null ? (source as Storage) : view.storage;
      const { array } = s;
      const read = array === null || s.torn || array.length !== s.length ? s.read(name) : array;
      this.#arrays[i] =
        view === null || view.size === s.length ? read : read.subarray(view.offset, view.offset + view.size);
    }
  }

  /** Takes back that recording moved the state on. */
  undo(): void {
    this.#rewind(this.#recorder.advances.length);
  }

  #advance(i: number): void {
    const { state, first, count } = this.#recorder.advances[i] as UpdateRecorder['advances'][number];
    const values = state.advance();
    for (let k = 0; k < count; k++) this.#slots[first + k] = values[k] as number;
  }

  #rewind(count: number): void {
    for (let i = count - 1; i >= 0; i--) {
      (this.#recorder.advances[i] as UpdateRecorder['advances'][number]).state.rewind();
    }
  }
}

interface Entry {
  readonly keys: readonly object[];
  readonly replay: Replay;
  runs: number;
}

/** How many recordings are kept, and how many sets of keys are remembered as seen. */
const cacheSize = 4;
/** So many recordings that were hardly used say that recording does not pay. */
const maxWasted = 16;
const hardlyUsed = 4;

function same(a: readonly object[], b: readonly object[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/**
 * Recordings of one update, by what it is about (`keys`: the parameters). The first time it simply runs; where it comes
 * again it is recorded, and is one call of the backend from then on. What it reads and branches on has to be observed, and
 * numbers that change have to come from advance(), as in a compiled step.
 */
export class Replays {
  #entries: Entry[] = [];
  #seen: (readonly object[])[] = [];
  #wasted = 0;

  /**
   * Runs the update. `given` are contiguous views that may be others at every run, of the same shapes for the same keys;
   * `members` are all keys that may still come: recordings about others are let go.
   */
  run(
    name: string,
    keys: readonly object[],
    members: readonly object[],
    given: readonly View[],
    update: (given: readonly View[]) => void,
  ): void {
    if (tracing() !== null || inspecting() !== null) {
      update(given);
      return;
    }
    const entries = this.#entries;
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry;
      if (!same(entry.keys, keys) || entry.replay.backend !== backend() || !entry.replay.holds()) continue;
      if (i > 0) {
        entries.splice(i, 1);
        entries.unshift(entry);
      }
      if (entry.replay.overlaps(given)) break;
      entry.runs++;
      entry.replay.run(given, false);
      return;
    }
    const replay =
      this.#wasted < maxWasted && this.#comesAgain(keys) ? this.#record(name, given, update) : null;
    if (replay === null) {
      update(given);
      return;
    }
    this.#keep({ keys: [...keys], replay, runs: 1 }, members);
    if (replay.overlaps(given)) {
      replay.undo();
      update(given);
    } else replay.run(given, true);
  }

  /** True if these keys were seen lately; now they were. */
  #comesAgain(keys: readonly object[]): boolean {
    if (this.#seen.some((known) => same(known, keys))) return true;
    this.#seen = [[...keys], ...this.#seen.slice(0, cacheSize - 1)];
    return false;
  }

  #record(name: string, given: readonly View[], update: (given: readonly View[]) => void): Replay | null {
    try {
      return new Replay(name, given, update);
    } catch (error) {
      // An update that looks at values, or changes what it is given, cannot be recorded.
      if (!(error instanceof CompileError)) throw error;
      this.#wasted = maxWasted;
      return null;
    }
  }

  #keep(entry: Entry, members: readonly object[]): void {
    const present = new Set(members);
    const isPresent = (keys: readonly object[]): boolean => keys.every((key) => present.has(key));
    const kept = this.#entries.filter(({ keys }) => isPresent(keys)).slice(0, cacheSize - 1);
    for (const { runs } of this.#entries.slice(kept.length)) if (runs < hardlyUsed) this.#wasted++;
    this.#entries = [entry, ...kept];
    this.#seen = this.#seen.filter(isPresent);
  }
}
