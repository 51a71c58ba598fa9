import { backend } from '../backend/load.js';
import { Memory } from '../backend/memory.js';
import { arrayType, byteWidth, type DType, PerDType, type TypedArray } from '../dtype.js';
import { CompileError, ShapeError, StateError } from '../errors.js';

/** Values that are computed when somebody reads them. */
export interface Deferred {
  gather(): Memory;
}

/** The values of a storage as they were when this was made: where they lie, or a copy once they were about to change. */
export class Snapshot {
  #copy: TypedArray | null = null;

  constructor(readonly storage: Storage) {}

  get values(): TypedArray {
    return this.#copy ?? this.storage.read('batch');
  }

  /** True when the storage has gone on to other values. */
  get left(): boolean {
    return this.#copy !== null;
  }

  keep(values: TypedArray): void {
    this.#copy = values;
  }
}

/**
 * The memory behind one or more tensors.
 *
 * Two kinds of real memory: what lives long (parameters, optimizer state, arenas) is over a SharedArrayBuffer,
 * which cannot be detached; what eager code makes and drops is over a plain ArrayBuffer, which V8 collects in time.
 * A storage without memory is virtual: it exists only inside the trace that made it. That of a batch may be deferred:
 * its memory is made when somebody asks for it.
 */
export class Storage {
  /** Bumped by every write; a saved value that changed is noticed by comparing it. */
  version = 0;
  /** Set while an asynchronous step writes this storage; says which. */
  busy: string | null = null;
  /** Set while an asynchronous step updates this storage in place, so that reading it would give a mixture. */
  torn = false;
  /** How many asynchronous steps read this storage at the moment. */
  readers = 0;
  /** True once a caller was handed the array itself, so it must not be moved behind their back. */
  exposed = false;
  /** Set for what outlives the scope it was made in (gradients held by leaves). */
  kept = false;
  /** True for a gradient that a caller has read, and may hold. */
  seen = false;
  /** True for memory that only the library has seen: its owner may give it back. */
  unseen = false;
  /** True when the memory was given back. */
  released = false;
  /** True for memory that plainMemory made for this storage alone: it may go to the pool. */
  poolable = false;
  /** How many values of this storage nodes of graphs have saved. */
  savers = 0;
  /** How many gradients of the backward pass in progress use this storage. */
  pins = 0;
  /** The backward pass that allocated this storage. */
  pass: object | null = null;
  #memory: Memory | null;
  /** What the memory will be filled with, as long as nobody has asked for it. */
  #deferred: Deferred | null;
  /** For batches that read these values later. Weak, so that a write need not care for batches that are gone. */
  #snapshot: WeakRef<Snapshot> | null = null;

  constructor(
    readonly dtype: DType,
    readonly length: number,
    memory: Memory | null,
    /** The trace that owns this virtual storage, or in which this constant was made. */
    readonly trace: object | null = null,
    deferred: Deferred | null = null,
  ) {
    this.#memory = memory;
    this.#deferred = deferred;
  }

  get memory(): Memory | null {
    if (this.#deferred !== null) {
      this.#memory = this.#deferred.gather();
      this.poolable = true;
      this.#deferred = null;
    }
    return this.#memory;
  }

  get array(): TypedArray | null {
    const { memory } = this;
    return memory === null ? null : memory.array;
  }

  set array(array: TypedArray | null) {
    this.#memory = array === null ? null : new Memory(array);
    this.#deferred = null;
  }

  /** What nobody has asked for yet, or null. */
  get deferred(): Deferred | null {
    return this.#deferred;
  }

  /** True for memory that cannot be detached. */
  get shared(): boolean {
    return this.#memory !== null && this.#memory.array.buffer instanceof SharedArrayBuffer;
  }

  /** True if every change of the values is announced by preserve(), so that they can be read later instead of now. */
  get deferrable(): boolean {
    return !this.exposed && this.busy === null && !this.released && this.trace === null;
  }

  /** The values as they are now, for later; only while `deferrable`. */
  snapshot(): Snapshot {
    const known = this.#snapshot?.deref();
    if (known) return known;
    const made = new Snapshot(this);
    this.#snapshot = new WeakRef(made);
    return made;
  }

  /**
   * To be called before the values change, or may change unseen: who has a snapshot of them goes on with a copy (with the
   * memory itself, where it is given up). True if there is somebody who has.
   */
  preserve(givenUp = false): boolean {
    if (this.#snapshot === null) return false;
    const { array } = this.#memory as Memory;
    const wanted = this.#snapshot.deref();
    wanted?.keep(givenUp ? array : array.slice());
    this.#snapshot = null;
    return wanted !== undefined;
  }

  /** The array, if it may be read now. */
  read(what: string): TypedArray {
    return this.readable(what).array;
  }

  /** The memory, if it may be read now. */
  readable(what: string): Memory {
    if (this.torn) this.checkIdle(what);
    if (this.released) {
      throw new StateError(`${what}: the memory of this tensor was given back (by scope, dispose or using)`);
    }
    const { memory } = this;
    if (memory === null) {
      throw new CompileError(
        `${what}: this tensor exists only inside the compiled step that made it; return it from the step to read it`,
      );
    }
    if (memory.array.length !== this.length) {
      throw new StateError(
        `${what}: the memory of this tensor is gone: the ArrayBuffer of its data was transferred; transfer a copy`,
      );
    }
    return memory;
  }

  /**
   * To be called before a caller is handed the array, as its values may change unseen from then on. An asynchronous step
   * that works on them goes on with the memory that it has; the caller is given other memory.
   */
  expose(): void {
    if (this.exposed) return;
    this.preserve();
    if (this.readers > 0 || this.busy !== null) {
      const other = sharedArray(this.dtype, this.length);
      other.set(this.array as TypedArray);
      this.array = other;
    }
    this.exposed = true;
  }

  /** Moves the memory into a SharedArrayBuffer; false if someone holds the array and it has to stay. */
  share(): boolean {
    if (this.array === null || this.shared) return true;
    if (this.exposed) return false;
    const moved = sharedArray(this.dtype, this.length);
    moved.set(this.array);
    this.array = moved;
    this.poolable = false;
    return true;
  }

  checkIdle(what: string): void {
    if (this.busy !== null) {
      throw new StateError(`${what}: this tensor is being updated by ${this.busy}; await that step first`);
    }
  }

  /** Refuses at once what a write would refuse, for who writes several storages or none. */
  checkWrite(what: string): void {
    this.checkIdle(what);
    this.checkUnread(what);
  }

  /** The same of a read. */
  checkRead(what: string): void {
    if (this.trace === null) this.read(what);
  }

  /** Refuses a write in place while an asynchronous step reads. */
  checkUnread(what: string): void {
    if (this.readers > 0) {
      throw new StateError(
        `${what}: this tensor is being read by an asynchronous step; await that step first`,
      );
    }
  }
}

const maxElements = 2 ** 32;

export function checkLength(length: number, dtype: DType, what: string): void {
  if (!(length * byteWidth(dtype) <= maxElements * 2)) {
    throw new ShapeError(`${what}: ${length} elements of ${dtype} do not fit into one tensor`);
  }
}

/** A zeroed typed array of plain memory, or a ShapeError where there is not so much. */
export function newArray(dtype: DType, length: number, what: string): TypedArray {
  checkLength(length, dtype, what);
  return allocated(what, length, dtype, () => new (arrayType(dtype))(length));
}

function allocated<T>(what: string, length: number, dtype: DType, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new ShapeError(`${what}: there is no memory for ${length} elements of ${dtype} (${error.message})`);
  }
}

const registry = new FinalizationRegistry<number>((bytes) => backend().adjustExternalMemory(-bytes));

const line = 64;
/** Shorter arrays are not worth aligning. */
const alignedMinimum = 256;
/** Where a load waits for a store before it: at addresses whose last 12 bits are the same. */
const page = 4096;
/** From so many bytes on arrays begin at a page: what a loop reads is never where it has just written another array. */
const pagedMinimum = 4 * page;
/** How far apart within a page arrays begin that one loop both reads and writes, and in how many places. */
const streamStep = 512;
const streamSteps = page / streamStep;

/** Bytes from which memory may come from the system in fresh pages. */
const preparedFrom = 2 ** 17;

/** What so many bytes begin at and are rounded up to, unless they are few or fill large pages. */
function unitOf(bytes: number): number {
  return bytes >= pagedMinimum ? page : line;
}

/** `bytes` as memory is laid out: whole cache lines, and whole pages if there are many. */
export function roundedSize(bytes: number): number {
  const unit = unitOf(bytes);
  return Math.ceil(bytes / unit) * unit;
}

/**
 * How so many bytes are placed: at the start of a cache line, of a page, or of a large page of the system if they fill
 * one, so that streams from memory meet fewer boundaries. The last large page is completed where that takes at most a
 * quarter more.
 */
function placeFor(bytes: number): { alignment: number; room: number } {
  const large = backend().largePage;
  if (bytes >= pagedMinimum && large > 0) {
    const whole = Math.ceil(bytes / large) * large;
    if (whole <= bytes * 1.25) return { alignment: large, room: whole };
    if (bytes >= large) return { alignment: large, room: bytes };
  }
  return { alignment: bytes >= alignedMinimum ? unitOf(bytes) : 0, room: roundedSize(bytes) };
}

/**
 * Zeroed shared memory, well placed: `room` bytes from `start` on, of which at least so many were asked for; the rest is
 * never touched. Arrays that one loop updates together are different streams: each begins a little further before a page (at
 * large pages that makes no difference).
 */
export function sharedMemory(
  bytes: number,
  stream = 0,
): { buffer: SharedArrayBuffer; start: number; room: number } {
  const { alignment, room } = placeFor(bytes);
  const before = alignment === page ? (stream % streamSteps) * streamStep : 0;
  const buffer = new SharedArrayBuffer(room + alignment);
  const memory = new Uint8Array(buffer);
  const aligned = alignment > 0 ? backend().alignedStart(memory, alignment) : 0;
  const start = aligned >= before ? aligned - before : aligned - before + alignment;
  if (bytes >= preparedFrom) backend().preparePages(memory.subarray(start, start + room));
  return { buffer, start, room };
}

/**
 * A zeroed typed array over a SharedArrayBuffer, well placed (see sharedMemory), reported to the engine, which does not
 * count such memory itself.
 */
export function sharedArray(dtype: DType, length: number, stream = 0): TypedArray {
  const bytes = Math.max(length, 1) * byteWidth(dtype);
  const { buffer, start, room } = allocated('allocation', length, dtype, () => sharedMemory(bytes, stream));
  if (bytes >= 4096) {
    backend().adjustExternalMemory(room);
    registry.register(buffer, room);
  }
  return new (arrayType(dtype))(buffer as unknown as ArrayBuffer, start, length);
}

/** Storage that lives long: zeroed shared memory, real even while a step is traced. */
export function sharedStorage(dtype: DType, length: number, stream = 0): Storage {
  checkLength(length, dtype, 'allocation');
  return new Storage(dtype, length, new Memory(sharedArray(dtype, length, stream)));
}

/** What a small array costs beside its elements, with its DataView. */
const memoryOverhead = 384;

/** What the pool has of one dtype and length. */
class Shelf {
  readonly memories: Memory[] = [];

  constructor(
    readonly length: number,
    /** What one of them takes. */
    readonly bytes: number,
  ) {}
}

/** Where nothing is. */
const noShelf = new Shelf(-1, 0);

/**
 * Memory of one dtype that nobody can see any more, by length. Only memory that the library made and never handed out
 * comes here, so that reusing it cannot change a value that a person holds.
 */
class Pool {
  static bytes = 0;
  readonly #shelves = new Map<number, Shelf>();
  /** The shelves that were used last, by a hash: small operations ask twice, for a tenth of their time by the map. */
  readonly #recent = new Array<Shelf>(32).fill(noShelf);

  take(length: number): Memory | undefined {
    const shelf = this.#shelf(length);
    const memory = shelf.memories.pop();
    if (memory !== undefined) Pool.bytes -= shelf.bytes;
    return memory;
  }

  give(memory: Memory): void {
    const { length } = memory.array;
    let shelf = this.#shelf(length);
    if (shelf === noShelf) {
      shelf = new Shelf(length, memory.array.byteLength + memoryOverhead);
      this.#shelves.set(length, shelf);
    }
    shelf.memories.push(memory);
    Pool.bytes += shelf.bytes;
  }

  #shelf(length: number): Shelf {
    const at = (length ^ (length >> 5) ^ (length >> 10)) & 31;
    const recent = this.#recent[at] as Shelf;
    if (recent.length === length) return recent;
    const found = this.#shelves.get(length);
    if (found === undefined) return noShelf;
    this.#recent[at] = found;
    return found;
  }

  clear(): void {
    this.#shelves.clear();
    this.#recent.fill(noShelf);
  }
}

const pools = new PerDType(new Pool(), new Pool(), new Pool(), new Pool());
const poolLimit = 256 * 2 ** 20;
/** Bytes from which on memory that is not zeroed costs less, in spite of the way there; and what Buffers reach at most. */
const unzeroedMinimum = 4096;
const unzeroedMaximum = 2 ** 30;

/** Uninitialised memory for a kernel to fill, at the start of a cache line or a page where it is not small. */
export function plainMemory(dtype: DType, length: number, what = 'allocation'): Memory {
  const memory = pools.of(dtype).take(length);
  return memory ?? new Memory(allocated(what, length, dtype, () => freshArray(dtype, length)));
}

function freshArray(dtype: DType, length: number): TypedArray {
  const Type = arrayType(dtype);
  const bytes = length * byteWidth(dtype);
  if (bytes < unzeroedMinimum || bytes > unzeroedMaximum) return new Type(length);
  const alignment = unitOf(bytes);
  const memory = Buffer.allocUnsafeSlow(bytes + alignment);
  if (memory.byteOffset !== 0 || memory.buffer.byteLength !== bytes + alignment) return new Type(length);
  return new Type(memory.buffer as ArrayBuffer, backend().alignedStart(memory, alignment), length);
}

/** Gives the memory of a storage that nothing refers to any more back to the pool. */
export function release(storage: Storage): void {
  if (storage.deferred !== null) {
    storage.released = true;
    storage.array = null;
    return;
  }
  const { memory } = storage;
  if (memory === null || storage.released || storage.exposed || storage.busy !== null) return;
  const wanted = storage.preserve(true);
  storage.released = true;
  storage.array = null;
  if (wanted || !storage.poolable || memory.array.length !== storage.length) return;
  pools.of(storage.dtype).give(memory);
  if (Pool.bytes > poolLimit) {
    for (const pool of pools.all()) pool.clear();
    Pool.bytes = 0;
  }
}

/**
 * Says that only nodes of graphs still use a storage: its memory goes back to the pool with the last of them, or at once
 * where there is none.
 */
export function abandon(storage: Storage): void {
  storage.unseen = true;
  if (storage.savers === 0) release(storage);
}
