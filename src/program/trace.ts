import type { DType } from '../dtype.js';
import { CompileError } from '../errors.js';
import { type Home, sameValue, type Watched } from './cell.js';
import { type Advancing, type Param, type Recorded, type Recorder, Slot } from './emit.js';
import { Storage } from './storage.js';

interface Advance {
  readonly state: Advancing;
  readonly slots: readonly Slot[];
}

interface Guard {
  readonly read: () => unknown;
  readonly value: unknown;
}

interface LateGuard extends Guard {
  /** How much state the step had moved on when it was read: it is compared when a replay has moved that on. */
  readonly after: number;
}

interface CellGuard {
  readonly cell: Watched;
  readonly value: unknown;
  home: Home | null;
}

/**
 * Called when a function is about to be traced; what it returns is called when that is done, with the storages that were
 * used. Layers above add what the program depends on beside what was read through observe().
 */
export type TraceWatcher = () => (used: ReadonlySet<Storage>, trace: Recorder) => void;

const watchers: TraceWatcher[] = [];

export function watchTraces(watcher: TraceWatcher): void {
  watchers.push(watcher);
}

/** What one tracing of a step function recorded. */
export class Trace implements Recorder {
  readonly token = {};
  readonly calls: Recorded[] = [];
  readonly inputs: Storage[] = [];
  readonly slots: Slot[] = [];
  #advances: Advance[] = [];
  #guards: Guard[] = [];
  #lateGuards: LateGuard[] = [];
  readonly #watching = watchers.map((begin) => begin());
  /** What cells must hold for the trace to be right. */
  readonly #cellGuards: CellGuard[] = [];
  /** What was in each cell before the step touched it. */
  readonly #cells = new Map<Watched, unknown>();
  readonly #written = new Set<Watched>();
  /** Of memory from outside of the step that it writes: the version before, and when the step had been traced. */
  #versions = new Map<Storage, { readonly before: number; after: number | null }>();
  #finished = false;
  /** Memory of tensors that the step looked for in modules. */
  readonly #looked = new Set<Storage>();
  /** Takes away what the step made to last, until a run has succeeded. */
  #created: (() => void)[] = [];
  /** Tensors made by the step, until it has been traced. */
  readonly #own = new Set<object>();

  /** A virtual storage that a run fills with an argument. */
  input(dtype: DType, length: number): Storage {
    const storage = new Storage(dtype, length, null, this);
    this.inputs.push(storage);
    return storage;
  }

  record(call: Recorded): void {
    for (const s of call.storages) {
      if (s.array === null && s.trace !== this) s.read(call.op);
      s.unseen = false;
    }
    for (let i = 0; i < call.outputs; i++) {
      if (this.inputs.includes(call.storages[i] as Storage)) {
        throw new CompileError(
          `${call.op}: an argument of a compiled step is changed in place; change a clone() of it`,
        );
      }
    }
    this.calls.push(call);
  }

  writing(storage: Storage): void {
    if (storage.trace === null && !this.#versions.has(storage)) {
      this.#versions.set(storage, { before: storage.version, after: null });
    }
    storage.version++;
  }

  advancing(state: Advancing): Slot[] {
    const slots = state.advance().map((value) => new Slot(value));
    this.#advances.push({ state, slots });
    this.slots.push(...slots);
    return slots;
  }

  observe(read: () => unknown): void {
    const after = this.#advances.length;
    if (after === 0 || this.#finished) this.#guards.push({ read, value: read() });
    else this.#lateGuards.push({ read, value: read(), after });
  }

  readCell(cell: Watched): void {
    if (cell.madeIn === this.token || this.#cells.has(cell)) return;
    const { value } = cell;
    this.#cells.set(cell, value);
    this.#cellGuards.push({ cell, value, home: null });
  }

  looksAt(storage: Storage): void {
    this.#looked.add(storage);
  }

  created(undo: () => void): void {
    this.#created.push(undo);
  }

  made(owner: object): void {
    this.#own.add(owner);
  }

  owns(owner: object): boolean {
    return this.#own.has(owner);
  }

  /** What is in all cells that the step read or wrote, when it is done. */
  left(): Map<Watched, unknown> {
    return new Map([...this.#cells.keys()].map((cell) => [cell, cell.value]));
  }

  /** True if the step left something in the cell, and not only looked at it. */
  wrote(cell: Watched): boolean {
    return this.#written.has(cell);
  }

  /** True if the step used what was in the cell before. */
  usedBefore(cell: Watched): boolean {
    return this.#cellGuards.some((guard) => guard.cell === cell);
  }

  settleCell(cell: Watched, home: Home): void {
    const guard = this.#cellGuards.find((g) => g.cell === cell);
    if (!guard) return;
    guard.home = home;
    this.#written.add(cell);
  }

  writeCell(cell: Watched): void {
    if (cell.madeIn === this.token) return;
    if (!this.#cells.has(cell)) this.#cells.set(cell, cell.value);
    this.#written.add(cell);
  }

  /** To be called when the function has returned. */
  finish(): void {
    this.#finished = true;
    for (const [storage, versions] of this.#versions) versions.after = storage.version;
    const used = new Set([...this.#looked, ...this.calls.flatMap((call) => call.storages)]);
    for (const watch of this.#watching) watch(used, this);
    this.#own.clear();
  }

  /** True while everything that the trace depended on reads as it did. */
  holds(): boolean {
    for (const { read, value } of this.#guards) if (!Object.is(read(), value)) return false;
    for (const { cell, value, home } of this.#cellGuards) {
      const found = cell.value;
      if (home === null ? !sameValue(found, value) : found !== home.value && !home.accepts(found))
        return false;
    }
    return true;
  }

  /** Brings what is in the cells to where the program works on it; only where holds(). */
  settle(): void {
    for (const { cell, home } of this.#cellGuards) {
      if (home === null || cell.value === home.value) continue;
      home.load(cell.value);
      cell.value = home.value;
    }
  }

  /** True if the cells hold the very values of the trace. */
  settled(): boolean {
    for (const { cell, value, home } of this.#cellGuards) {
      if (!sameValue(cell.value, home === null ? value : home.value)) return false;
    }
    return true;
  }

  /** Goes on as another trace of the step that came out the same: with what that depends on, advances and can take back. */
  rebase(other: Trace): void {
    this.#guards = other.#guards;
    this.#lateGuards = other.#lateGuards;
    this.#created = other.#created;
    this.#versions = other.#versions;
    // What this trace made for itself to last (a layer that is made when it is first needed) the other one found.
    for (const guard of other.#cellGuards) {
      if (this.#cells.has(guard.cell)) continue;
      this.#cells.set(guard.cell, guard.value);
      this.#cellGuards.push(guard);
    }
    this.#advances = this.#advances.map(({ slots }, i) => ({
      state: (other.#advances[i] as Advance).state,
      slots,
    }));
    other.slots.forEach((slot, i) => {
      (this.slots[i] as Slot).value = slot.value;
    });
  }

  /** True if both move on the same optimizers, schedules and generators, in the same order. */
  keepsPaceWith(other: Trace): boolean {
    const theirs = other.#advances;
    return (
      this.#advances.length === theirs.length &&
      this.#advances.every(({ state, slots }, i) => {
        const { state: s, slots: t } = theirs[i] as Advance;
        return s.owner === state.owner && s.detail === state.detail && t.length === slots.length;
      })
    );
  }

  /**
   * Moves all advancing state on by one step and refills the slots. False, and everything as it was, where the step read
   * something behind such state (a rate behind its schedule) that reads differently now.
   */
  advance(): boolean {
    let done = 0;
    try {
      for (const { state, slots } of this.#advances) {
        const values = state.advance();
        done++;
        for (let i = 0; i < slots.length; i++) (slots[i] as Slot).value = values[i] as number;
        for (const { read, value, after } of this.#lateGuards) {
          if (after !== done || Object.is(read(), value)) continue;
          this.#rewind(done);
          return false;
        }
      }
    } catch (error) {
      this.#rewind(done);
      throw error;
    }
    return true;
  }

  /** Whether advance() would succeed. */
  mayAdvance(): boolean {
    if (this.#lateGuards.length === 0) return true;
    if (!this.advance()) return false;
    this.#rewind(this.#advances.length);
    return true;
  }

  /**
   * Takes the last advance back, for a step that was refused, and what was made for the first. False if that leaves the trace
   * without what it works on.
   */
  rewind(): boolean {
    this.#rewind(this.#advances.length);
    const created = this.#created.splice(0);
    for (const undo of created.toReversed()) undo();
    // What was only traced has written nothing; what has run since has another version.
    for (const [storage, { before, after }] of this.#versions) {
      if (after === null || storage.version === after) storage.version = before;
    }
    return created.length === 0;
  }

  #rewind(count: number): void {
    for (let i = count - 1; i >= 0; i--) (this.#advances[i] as Advance).state.rewind();
  }

  /** Puts back what the cells held before. */
  restoreCells(): void {
    for (const [cell, before] of this.#cells) cell.value = before;
  }
}

const advice =
  'What changes from step to step has to be an input: pass it to the step as a tensor (a number as tensor(value)), ' +
  'or let an optimizer, a schedule or a generator own it';

function show(p: Param): string {
  return p instanceof Slot ? 'a changing number' : String(p);
}

/**
 * Maps every storage of trace `a` to its counterpart in `b`, or throws a CompileError naming the first operation that
 * came out differently.
 */
export function compareTraces(a: Trace, b: Trace): Map<Storage, Storage> {
  const same = new Map<Storage, Storage>();
  a.inputs.forEach((s, i) => {
    same.set(s, b.inputs[i] as Storage);
  });
  const slotsA = new Map(a.slots.map((s, i) => [s, i]));
  const slotsB = new Map(b.slots.map((s, i) => [s, i]));
  const fail = (i: number, op: string, what: string): never => {
    throw new CompileError(
      `compile: operation ${i} (${op}) came out differently when the step was traced again: ${what}. ${advice}.`,
    );
  };
  const n = Math.min(a.calls.length, b.calls.length);
  for (let i = 0; i < n; i++) {
    const p = a.calls[i] as Recorded;
    const q = b.calls[i] as Recorded;
    if (p.kernel !== q.kernel || p.op !== q.op)
      fail(i, p.op, `it is ${q.op} now; the function took another branch`);
    if (p.params.length !== q.params.length) fail(i, p.op, 'shapes differ');
    for (let j = 0; j < p.params.length; j++) {
      const [x, y] = [p.params[j] as Param, q.params[j] as Param];
      const equal =
        x instanceof Slot ? y instanceof Slot && slotsA.get(x) === slotsB.get(y) : Object.is(x, y);
      if (!equal) fail(i, p.op, `a number was ${show(x)} and is ${show(y)} now`);
    }
    p.storages.forEach((s, j) => {
      const t = q.storages[j] as Storage;
      const known = same.get(s);
      if (known) {
        if (known !== t) fail(i, p.op, `operand ${j} is another tensor`);
        return;
      }
      if (s.trace === a) {
        if (
          t.trace !== b ||
          s.dtype !== t.dtype ||
          s.length !== t.length ||
          (s.array === null) !== (t.array === null)
        ) {
          fail(i, p.op, `operand ${j} is another tensor`);
        }
        if (s.array !== null && !s.array.every((v, k) => Object.is(v, t.array?.[k]))) {
          fail(i, p.op, `operand ${j} is made from an array whose values changed`);
        }
      } else if (s !== t) {
        fail(i, p.op, `operand ${j} was one tensor made outside the step and is another one now`);
      }
      same.set(s, t);
    });
  }
  if (a.calls.length !== b.calls.length) {
    const longer = a.calls.length > b.calls.length ? a : b;
    fail(
      n,
      (longer.calls[n] as Recorded).op,
      `there were ${a.calls.length} operations, now ${b.calls.length}`,
    );
  }
  if (!a.keepsPaceWith(b)) {
    throw new CompileError(
      'compile: the step moved on other optimizers, schedules or generators when it was traced again. ' +
        'Steps that differ need compiled functions of their own',
    );
  }
  return same;
}
