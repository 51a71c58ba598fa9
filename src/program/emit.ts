import type { Node } from '../autograd/graph.js';
import { bufferList, type Kernel } from '../backend/backend.js';
import { backend } from '../backend/load.js';
import { Memory } from '../backend/memory.js';
import type { DType, TypedArray } from '../dtype.js';
import { CompileError } from '../errors.js';
import type { Primitive, Spec } from '../ops/primitive.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Home, Watched } from './cell.js';
import { checkLength, type Deferred, plainMemory, Storage } from './storage.js';
import type { Shape, View } from './view.js';

/** A number of a program that may be another one at every replay; whoever owns it sets `value`. */
export class Slot {
  constructor(public value: number) {}
}

export type Param = number | Slot;

/**
 * State that moves on by one with every step (a step count, a random counter, a schedule). `advance` moves it and
 * returns the numbers that kernels need; `rewind` takes the last move back, for a step that was refused.
 */
export interface Advancing {
  /** Whose state it is: a step that is traced again has to move the same on. Null where nothing lasts from step to step. */
  readonly owner: object | null;
  /** What is done with it, where that could change from step to step. */
  readonly detail?: string;
  advance(): readonly number[];
  rewind(): void;
}

/** One recorded kernel call. */
export interface Recorded {
  readonly kernel: Kernel;
  readonly params: readonly Param[];
  /** Outputs first. */
  readonly storages: readonly Storage[];
  readonly outputs: number;
  /** The operation it belongs to, for messages. */
  readonly op: string;
}

/** Receives what a traced step does instead of the backend. */
export interface Recorder {
  record(call: Recorded): void;
  /** Told of every storage that a call which is about to be recorded writes. */
  writing(storage: Storage): void;
  /** Registers advancing state; the returned slots are refilled on every replay. */
  advancing(state: Advancing): Slot[];
  /** Remembers what a read gave; the program is only replayed while it gives the same. */
  observe(read: () => unknown): void;
  /** Called before a cell is read or written. */
  readCell(cell: Watched): void;
  writeCell(cell: Watched): void;
  /** Called when what was read is replaced by a value of the same content. */
  settleCell(cell: Watched, home: Home): void;
  /** Told of the memory of tensors that are looked for in modules, which may hold others later. */
  looksAt(storage: Storage): void;
  /** Told of lasting state that was made because it is needed for the first time; `undo` takes it away again. */
  created(undo: () => void): void;
  /** Stands for the recorder where that is not to be kept alive. */
  readonly token: object;
  /** Told of every tensor that is made; knows them again. */
  made(owner: object): void;
  owns(owner: object): boolean;
}

/** Looks at everything that is computed, while a mode that wants to is on (autograd/anomaly.ts). */
export interface Inspection {
  /** Runs an operation and looks at its result. */
  operation<A>(op: Primitive<A>, inputs: readonly View[], out: Spec, attrs: A): View;
  /** Told of every operation that is recorded for backward. */
  recorded(node: Node): void;
  /** Runs the derivative of an operation and looks at the gradients. */
  derivative(node: Node, g: Tensor): readonly (Tensor | null)[];
  /** Adds up two gradients of one tensor. */
  sum(e: Node | Tensor, a: Tensor, b: Tensor): Tensor;
  /** Runs a kernel; looks at its results unless it is part of an operation. */
  kernel(call: Recorded, run: () => void): void;
  /** Says what a storage is, for messages. */
  label(storage: Storage, what: string, shape: Shape): void;
}

let recorder: Recorder | null = null;
let opName = '';
/** The first of the names that were entered and not left; nothing while there is none. */
let outerName = '';
/** Finds the inspection that the caller is under. Null while there is none anywhere: the usual case, and one test. */
let inspector: (() => Inspection | null) | null = null;

/** The inspection that the caller is under, or null. */
export function inspecting(): Inspection | null {
  return inspector === null ? null : inspector();
}

/** Switches inspections on, with the function that finds that of the caller, or off. */
export function inspectWith(find: (() => Inspection | null) | null): void {
  inspector = find;
}

/** The outermost operation in progress (an update in place, a step of an optimizer), or ''. */
export function outerOp(): string {
  return opName === '' ? '' : outerName;
}

/** The trace in progress, or null. */
export function tracing(): Recorder | null {
  return recorder;
}

/** Runs `fn` with everything it emits going to `target` (null: to the backend). */
export function withRecorder<T>(target: Recorder | null, fn: () => T): T {
  const before = recorder;
  recorder = target;
  try {
    return fn();
  } finally {
    recorder = before;
  }
}

/** Names the operation whose kernels follow; returns the previous name. */
export function enterOp(name: string): string {
  const before = opName;
  if (before === '') outerName = name;
  opName = name;
  return before;
}

export function leaveOp(before: string): void {
  opName = before;
}

/** Collects every storage that is allocated, while set (backward uses it to know what is its own). */
let allocationLog: Storage[] | null = null;

export function logAllocations(log: Storage[] | null): Storage[] | null {
  const before = allocationLog;
  allocationLog = log;
  return before;
}

/** Memory for a result: virtual while tracing. Its contents are undefined until a kernel fills it. */
export function allocate(dtype: DType, length: number): Storage {
  checkLength(length, dtype, opName);
  let storage: Storage;
  if (recorder === null) {
    storage = new Storage(dtype, length, plainMemory(dtype, length));
    storage.poolable = true;
  } else storage = new Storage(dtype, length, null, recorder);
  if (allocationLog !== null) allocationLog.push(storage);
  return storage;
}

/** Storage whose values are made when somebody reads them. */
export function deferredStorage(dtype: DType, length: number, deferred: Deferred): Storage {
  const storage = new Storage(dtype, length, null, null, deferred);
  if (allocationLog !== null) allocationLog.push(storage);
  return storage;
}

/** Storage around values that exist already. While tracing, a constant of the trace. */
export function constantStorage(dtype: DType, array: TypedArray): Storage {
  return new Storage(dtype, array.length, new Memory(array), recorder);
}

/**
 * A list for the n params of the call of emit that comes next. The engine tells lists by how they came to be, and where
 * more than a few sorts arrive it looks up every number that is read (0.1 µs a call): so emit takes no others.
 */
export function paramList(n: number): Param[] {
  if (recorder !== null) return new Array<Param>(n);
  return backend().paramList(n) as unknown as Param[];
}

/**
 * Runs a kernel with one output and at most three inputs, or records it while a step is traced. `params` are a paramList().
 * The output counts as written. Without lists of operands: what a small operation leaves behind costs as much as the operation.
 */
export function emit(
  kernel: Kernel,
  params: Param[],
  out: Storage,
  a?: Storage,
  b?: Storage,
  c?: Storage,
): void {
  if (recorder !== null || inspector !== null) {
    emitMany(kernel, params, bufferList(out, a, b, c), 1);
    return;
  }
  write(kernel, out);
  backend().call(
    kernel,
    params as unknown as Float64Array,
    memoryOf(kernel, out),
    a === undefined ? a : memoryOf(kernel, a),
    b === undefined ? b : memoryOf(kernel, b),
    c === undefined ? c : memoryOf(kernel, c),
  );
}

/** The same with any number of operands, outputs first. */
export function emitMany(kernel: Kernel, params: Param[], storages: Storage[], outputs: number): void {
  for (let i = 0; i < outputs; i++) write(kernel, storages[i] as Storage);
  if (recorder !== null) {
    recorder.record({ kernel, params, storages, outputs, op: opName || kernel.name });
    return;
  }
  // What is computed when it is read is computed here, and what an inspection computes later: both use the list of params.
  const arrays = storages.map((s) => memoryOf(kernel, s).array);
  const inspection = inspecting();
  if (inspection === null) {
    backend().run(kernel, params as number[], arrays);
    return;
  }
  const call = { kernel, params: [...params], storages, outputs, op: opName || kernel.name };
  inspection.kernel(call, () => backend().run(kernel, call.params as number[], arrays));
}

/**
 * Gives a single number that was just allocated its value, where no call has to be recorded or shown: false where one has. A
 * number beside a tensor is such a tensor, and the call of a kernel takes as long as adding it.
 */
export function setSingle(out: Storage, value: number): boolean {
  const { array } = out;
  if (recorder !== null || inspector !== null || array === null || array.length !== 1) return false;
  array[0] = value;
  out.version++;
  return true;
}

/** Says that a kernel is about to write a storage. */
function write(kernel: Kernel, out: Storage): void {
  if (out.busy !== null) out.checkIdle(opName || kernel.name);
  if (recorder !== null) {
    recorder.writing(out);
    return;
  }
  if (out.readers > 0) out.checkUnread(opName || kernel.name);
  out.preserve();
  out.version++;
}

function memoryOf(kernel: Kernel, s: Storage): Memory {
  const { memory } = s;
  if (memory !== null && !s.torn && memory.array.length === s.length) return memory;
  return s.readable(opName || kernel.name);
}

/** Moves state on by one step and gives its numbers: plain ones in eager mode, slots while tracing. */
export function advance(state: Advancing): Param[] {
  const target = recorder;
  // What is read on the way is not what the trace depends on.
  return target === null ? state.advance().slice() : withRecorder(null, () => target.advancing(state));
}

/** Tells a trace in progress that it depends on what `read` returns, whatever is read on the way. */
export function observe(read: () => unknown): void {
  const target = recorder;
  if (target !== null) withRecorder(null, () => target.observe(read));
}

/** Refuses to hand out values while a step is traced. */
export function checkReadable(what: string): void {
  if (recorder !== null) {
    throw new CompileError(
      `${what}: a value was read while a step is being compiled, where nothing has been computed yet. ` +
        'Return the tensor from the step and read it outside, or keep the computation in tensors.',
    );
  }
}
