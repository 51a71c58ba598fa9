import type { TypedArray } from '../dtype.js';
import { SimdgradError } from '../errors.js';
import type { Memory } from './memory.js';

export type { TypedArray };

/**
 * One kernel in plain JavaScript. `p` holds the numbers and `b` the buffers (outputs first) in the layout that
 * native/kernels.def gives for the kernel's family.
 */
export type JsKernel = (p: ArrayLike<number>, b: readonly TypedArray[]) => void;

/** A row of the kernel table. */
export interface Kernel {
  readonly name: string;
  /** The reference, and the fallback. */
  readonly js: JsKernel;
  /** Row in the native table, or -1 where the loaded addon has none (or none is loaded). */
  nativeId: number;
  /** Bit per dispatch dtype (float32 1, float64 2, int32 4, bool 8) that the native kernel takes. */
  nativeTypes: number;
}

const kernels = new Map<string, Kernel>();

/** Adds a kernel to the table. Called once per name, when the file that owns the kernel is loaded. */
export function defineKernel(name: string, js: JsKernel): Kernel {
  if (kernels.has(name)) throw new SimdgradError(`kernel ${name} is defined twice`);
  const kernel: Kernel = { name, js, nativeId: -1, nativeTypes: 0 };
  kernels.set(name, kernel);
  return kernel;
}

/** Every kernel by name. */
export function allKernels(): ReadonlyMap<string, Kernel> {
  return kernels;
}

/** A buffer of a program: memory that stays, a place that each run fills, or values that live inside one chain. */
export type ProgramBuffer =
  | { readonly kind: 'pinned'; readonly array: TypedArray }
  | {
      readonly kind: 'input';
      readonly like: TypedArray['constructor'];
      readonly type: number;
      readonly length: number;
      /** Instructions may write it: the array that a run is given is updated in place. In asynchronous runs it must be shared memory. */
      readonly writable?: boolean;
    }
  | { readonly kind: 'local'; readonly type: number; readonly length: number };

/** One kernel call of a program. */
export interface Instruction {
  readonly kernel: Kernel;
  readonly params: readonly number[];
  /** Indices into the program's buffers, outputs first. */
  readonly buffers: readonly number[];
}

/** params[param] of instruction is read from slots[slot] before each run. Only scalar attributes may be patched. */
export interface Patch {
  readonly instruction: number;
  readonly param: number;
  readonly slot: number;
}

/**
 * A stretch of elementwise instructions over `length` elements, all in the flat layout [1, length, offset and stride per
 * buffer, attrs] with strides 1 and 0, that may run block by block.
 */
export interface Stretch {
  readonly first: number;
  readonly count: number;
  readonly length: number;
}

/** What a backend needs to build an executable. */
export interface ProgramSpec {
  readonly instructions: readonly Instruction[];
  readonly buffers: readonly ProgramBuffer[];
  readonly patches: readonly Patch[];
  readonly chains?: readonly Stretch[];
  /** Over shared memory; its owner writes it before each run. */
  readonly slots: Float64Array;
}

/** Some rows of an array, by number. */
export interface RowsOf {
  /** All rows, each as long as the result's length divided by the number of indices. */
  readonly values: TypedArray;
  readonly indices: Int32Array;
}

/** What fills an input buffer: an array, or rows that the run gathers. */
export type Input = TypedArray | RowsOf;

export function isRows(input: Input): input is RowsOf {
  return !ArrayBuffer.isView(input);
}

/** A planned program, ready to run any number of times without allocating. */
export interface Executable {
  /** Runs all instructions. `inputs` fill the input buffers in order of appearance. */
  run(inputs: readonly Input[]): void;
  /** Runs off the main thread where the backend can; inputs that it does not write are copied, or gathered, first. */
  runAsync(inputs: readonly Input[]): Promise<void>;
  /** Replaces pinned buffer `index` by another array of the same class and length. */
  bind(index: number, array: TypedArray): void;
  /** Runs once and returns nanoseconds per instruction. */
  profile(inputs: readonly Input[]): Float64Array;
}

/** The operands of Backend.call() as a list. */
export function bufferList<T>(out: T, a?: T, b?: T, c?: T): T[] {
  if (a === undefined) return [out];
  if (b === undefined) return [out, a];
  return c === undefined ? [out, a, b] : [out, a, b, c];
}

/** A table of kernels over buffers. */
export interface Backend {
  readonly name: 'native' | 'js';
  /** Runs one kernel at once. */
  run(kernel: Kernel, params: ArrayLike<number>, buffers: readonly TypedArray[]): void;
  /**
   * The same for up to four buffers, without a list of them: what an eager operation leaves behind costs as much as the call.
   * `params` are what paramList() gave.
   */
  call(kernel: Kernel, params: Float64Array, out: Memory, a?: Memory, b?: Memory, c?: Memory): void;
  /** A list for the n params of the call() that comes next, used again for every call; run() leaves it as it is. */
  paramList(n: number): Float64Array;
  /** True if this backend has its own kernel for this dispatch type (else the JS kernel serves). */
  has(kernel: Kernel, type: number): boolean;
  program(spec: ProgramSpec): Executable;
  /** Offset in bytes of the first cache line, or large page, that begins in this memory: vectors across two lines cost twice. */
  alignedStart(memory: Uint8Array, alignment: number): number;
  /** Bytes of the pages that the system gives large memory if asked to, or 0. A power of two. */
  readonly largePage: number;
  /** Tells the engine about memory that it does not count (SharedArrayBuffers). */
  adjustExternalMemory(delta: number): void;
  /** Has the system back shared memory, just allocated and not yet touched, by large pages if it has them. */
  preparePages(array: TypedArray): void;
}
