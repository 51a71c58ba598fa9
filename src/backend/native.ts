import type { TypedArray } from '../dtype.js';
import { ArgumentError, BackendError, IndexError, StateError } from '../errors.js';
import {
  allKernels,
  type Backend,
  bufferList,
  type Executable,
  type Input,
  type Instruction,
  isRows,
  type Kernel,
  type ProgramSpec,
} from './backend.js';
import { arrayOver, asyncInputs, checkBinding, checkInputs, JsExecutable } from './js/executable.js';
import { typeCode } from './js/strided.js';
import type { Memory } from './memory.js';

/** A row of the addon's kernel table. */
export interface NativeKernel {
  readonly name: string;
  readonly outputs: number;
  readonly inputs: number;
  readonly attrs: number;
  /** Bit per dispatch type for which there is a native kernel. */
  readonly types: number;
  /** Bit per dispatch type that the row admits. */
  readonly allTypes: number;
  /** Index of the buffer whose type is the dispatch type. */
  readonly dispatch: number;
}

export interface NativeInfo {
  readonly abi: number;
  readonly cpu: string;
  readonly isa: string;
  readonly isas: readonly string[];
  readonly threads: number;
  readonly l1: number;
  readonly l2: number;
  readonly l3: number;
  /** Bytes of the large pages that the system gives on request, or 0. */
  readonly largePage: number;
}

export interface NativeProgram {
  /** Where `rows` has an Int32Array for an input, that many rows of the input's array are gathered into its place. */
  run(inputs: readonly TypedArray[], rows?: readonly (Int32Array | null)[]): void;
  runAsync(
    inputs: readonly TypedArray[],
    callback: (error: Error | null) => void,
    rows?: readonly (Int32Array | null)[],
  ): void;
  bind(index: number, array: TypedArray): void;
  profile(inputs: readonly TypedArray[], rows?: readonly (Int32Array | null)[]): Float64Array;
}

export interface NativeProgramSpec {
  readonly code: Float64Array;
  readonly buffers: readonly (
    | TypedArray
    | {
        readonly type: number;
        readonly length: number;
        readonly local?: boolean;
        readonly writable?: boolean;
      }
  )[];
  readonly patches: Float64Array;
  /** Triples: first instruction, count, length. */
  readonly chains?: Float64Array;
  readonly slots: Float64Array;
}

/** What native/src/addon.cc exports. */
export interface Addon {
  init(params: Float64Array): void;
  call(kernelId: number, nParamsAndKinds: number, ...buffers: (TypedArray | DataView)[]): void;
  kernels(): NativeKernel[];
  info(): NativeInfo;
  setNumThreads(n: number): void;
  setIsa(name: string): void;
  adjustExternalMemory(delta: number): void;
  misalignment(array: TypedArray): number;
  preparePages(array: TypedArray): void;
  readonly Program: new (spec: NativeProgramSpec) => NativeProgram;
}

/** Length of the block through which params go to the addon. */
const PARAMS_LENGTH = 256;
/** Beside the number of params, in eight bits, a call says what kind each buffer is (see Memory), in three bits each. */
const kindUnit = 2 ** 8;

/** The library's error for an error of the addon. */
export function translate(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { message } = error;
  const code = (error as { code?: unknown }).code;
  switch (code) {
    case 'SIMDGRAD_INDEX':
      return new IndexError(message);
    case 'SIMDGRAD_ARGUMENT':
      return new ArgumentError(message);
    case 'SIMDGRAD_BUSY':
      return new StateError(message);
    case 'SIMDGRAD_MEMORY':
    case 'SIMDGRAD_ERROR':
      return new BackendError(message, code);
    default:
      return error;
  }
}

/** The backend over a loaded addon. Kernels that the addon has not run in JavaScript, on the same arrays. */
export class NativeBackend implements Backend {
  readonly name = 'native';
  private readonly params = new Float64Array(new SharedArrayBuffer(PARAMS_LENGTH * 8));
  /** By length: the beginning of that block. */
  private readonly paramLists: Float64Array[] = [];
  private readonly rows = new Map<string, { readonly id: number; readonly row: NativeKernel }>();
  /** By kernel id: the buffer that decides, and whether every admitted type has a native kernel. */
  private readonly dispatch: number[] = [];
  private readonly complete: boolean[] = [];
  private externalBytes = 0;
  private largePageBytes: number | undefined;

  constructor(readonly addon: Addon) {
    addon.init(this.params);
    this.refresh();
  }

  /** Reads the kernel table again, which another instruction set may have changed. */
  refresh(): void {
    this.rows.clear();
    this.addon.kernels().forEach((row, id) => {
      this.rows.set(row.name, { id, row });
      this.dispatch[id] = row.dispatch;
      this.complete[id] = row.types === row.allTypes;
    });
    for (const kernel of allKernels().values()) this.attach(kernel);
  }

  private attach(kernel: Kernel): boolean {
    const found = this.rows.get(kernel.name);
    kernel.nativeTypes = found?.row.types ?? 0;
    kernel.nativeId = kernel.nativeTypes === 0 ? -1 : found!.id;
    return kernel.nativeId >= 0;
  }

  /** Whether the addon runs this kernel on these arrays. */
  private takes(kernel: Kernel, buffers: readonly TypedArray[]): boolean {
    const id = kernel.nativeId;
    // A kernel that was defined after the addon was loaded is attached here.
    if (id < 0) return this.attach(kernel) && this.takes(kernel, buffers);
    if (this.complete[id]) return true;
    const decides = buffers[this.dispatch[id]!];
    return decides === undefined || ((kernel.nativeTypes >> typeCode(decides)) & 1) === 1;
  }

  run(kernel: Kernel, params: ArrayLike<number>, buffers: readonly TypedArray[]): void {
    if (this.complete[kernel.nativeId] !== true && !this.takes(kernel, buffers)) {
      kernel.js(params, buffers);
      return;
    }
    const n = params.length;
    if (n > PARAMS_LENGTH) throw new ArgumentError(`${kernel.name}: ${n} params are too many`);
    const block = this.params;
    // Somebody may be between paramList() and call(): what is computed when it is read is so then.
    const before = params === this.paramLists[n] ? null : block.slice(0, n);
    if (before !== null) for (let i = 0; i < n; i++) block[i] = params[i]!;
    try {
      this.addon.call(kernel.nativeId, n, ...buffers);
    } catch (error) {
      throw translate(error);
    } finally {
      if (before !== null) block.set(before);
    }
  }

  paramList(n: number): Float64Array {
    this.paramLists[n] ??= n <= PARAMS_LENGTH ? this.params.subarray(0, n) : new Float64Array(n);
    return this.paramLists[n];
  }

  call(kernel: Kernel, params: Float64Array, out: Memory, a?: Memory, b?: Memory, c?: Memory): void {
    const id = kernel.nativeId;
    const n = params.length;
    // Whatever is not a plain case: run() has the rest.
    if (this.complete[id] !== true || params !== this.paramLists[n] || n > PARAMS_LENGTH) {
      this.run(kernel, params, bufferList(out.array, a?.array, b?.array, c?.array));
      return;
    }
    const { addon } = this;
    try {
      // Spelt out because spreading an array into a call costs more than the call. (Handles first: making one sets the kind.)
      const o = out.handle();
      let kinds = out.kind * kindUnit;
      if (a === undefined) {
        addon.call(id, n + kinds, o);
        return;
      }
      const x = a.handle();
      kinds += a.kind * kindUnit * 8;
      if (b === undefined) {
        addon.call(id, n + kinds, o, x);
        return;
      }
      const y = b.handle();
      kinds += b.kind * kindUnit * 64;
      // A product without a bias has its result again in the place of the bias: see call() in addon.cc.
      if (c === undefined || (c === out && kernel.name === 'matmul')) {
        addon.call(id, n + kinds, o, x, y);
        return;
      }
      const z = c.handle();
      addon.call(id, n + kinds + c.kind * kindUnit * 512, o, x, y, z);
    } catch (error) {
      throw translate(error);
    }
  }

  has(kernel: Kernel, type: number): boolean {
    if (kernel.nativeId < 0 && !this.attach(kernel)) return false;
    return ((kernel.nativeTypes >> type) & 1) === 1;
  }

  program(spec: ProgramSpec): Executable {
    const native = spec.instructions.map((instruction) => this.takesInstruction(spec, instruction));
    if (native.every((is) => is)) return new NativeExecutable(this.addon, spec);
    return new SegmentedExecutable(this.addon, withoutChains(spec), native);
  }

  private takesInstruction(spec: ProgramSpec, { kernel, buffers }: Instruction): boolean {
    if (kernel.nativeId < 0 && !this.attach(kernel)) return false;
    const decides = spec.buffers[buffers[this.dispatch[kernel.nativeId]!]!];
    if (decides === undefined) return true; // the addon says what is wrong
    const type = decides.kind === 'pinned' ? typeCode(decides.array) : decides.type;
    return ((kernel.nativeTypes >> type) & 1) === 1;
  }

  alignedStart(memory: Uint8Array, alignment: number): number {
    return -this.addon.misalignment(memory) & (alignment - 1);
  }

  get largePage(): number {
    this.largePageBytes ??= this.addon.info().largePage;
    return this.largePageBytes;
  }

  adjustExternalMemory(delta: number): void {
    // Memory that was allocated before this backend was chosen was never reported, but its end is.
    const change = Math.max(delta, -this.externalBytes);
    this.externalBytes += change;
    this.addon.adjustExternalMemory(change);
  }

  preparePages(array: TypedArray): void {
    this.addon.preparePages(array);
  }
}

/** The same program instruction by instruction. */
function withoutChains(spec: ProgramSpec): ProgramSpec {
  const { chains: _, ...rest } = spec;
  return {
    ...rest,
    buffers: spec.buffers.map((buffer) =>
      buffer.kind === 'local'
        ? {
            kind: 'pinned',
            array: arrayOver(buffer.type, new SharedArrayBuffer(buffer.length * 8), buffer.length),
          }
        : buffer,
    ),
  };
}

const none = new Float32Array(0);

/** A program that is native from end to end: one crossing per run. */
class NativeExecutable implements Executable {
  private readonly program: NativeProgram;
  /** The inputs of a run, as the addon takes them; kept so that a run need not make them anew. */
  private readonly arrays: TypedArray[] = [];
  private readonly rows: (Int32Array | null)[] = [];

  constructor(addon: Addon, spec: ProgramSpec) {
    const code: number[] = [];
    for (const { kernel, params, buffers } of spec.instructions) {
      code.push(kernel.nativeId, params.length, buffers.length);
      for (const param of params) code.push(param);
      for (const index of buffers) code.push(index);
    }
    try {
      this.program = new addon.Program({
        code: Float64Array.from(code),
        buffers: spec.buffers.map((buffer) =>
          buffer.kind === 'pinned'
            ? buffer.array
            : {
                type: buffer.type,
                length: buffer.length,
                local: buffer.kind === 'local',
                writable: buffer.kind === 'input' && buffer.writable === true,
              },
        ),
        patches: Float64Array.from(
          spec.patches.flatMap(({ instruction, param, slot }) => [instruction, param, slot]),
        ),
        chains: Float64Array.from(
          (spec.chains ?? []).flatMap(({ first, count, length }) => [first, count, length]),
        ),
        slots: spec.slots,
      });
    } catch (error) {
      throw translate(error);
    }
  }

  /** Splits inputs into what the addon takes; true if any of them is rows to gather. */
  private split(inputs: readonly Input[]): boolean {
    let any = false;
    for (let i = 0; i < inputs.length; i++) {
      const input = inputs[i]!;
      if (isRows(input)) {
        any = true;
        this.arrays[i] = input.values;
        this.rows[i] = input.indices;
      } else {
        this.arrays[i] = input;
        this.rows[i] = null;
      }
    }
    this.arrays.length = this.rows.length = inputs.length;
    return any;
  }

  /** Lets go of the inputs, which belong to the caller. */
  private forget(): void {
    this.arrays.fill(none);
    this.rows.fill(null);
  }

  run(inputs: readonly Input[]): void {
    try {
      if (this.split(inputs)) this.program.run(this.arrays, this.rows);
      else this.program.run(this.arrays);
    } catch (error) {
      throw translate(error);
    } finally {
      this.forget();
    }
  }

  runAsync(inputs: readonly Input[]): Promise<void> {
    return new Promise((resolve, reject) => {
      try {
        this.split(inputs);
        this.program.runAsync(
          this.arrays,
          (error) => (error === null ? resolve() : reject(translate(error))),
          this.rows,
        );
      } catch (error) {
        reject(translate(error));
      } finally {
        this.forget();
      }
    });
  }

  bind(index: number, array: TypedArray): void {
    try {
      this.program.bind(index, array);
    } catch (error) {
      throw translate(error);
    }
  }

  profile(inputs: readonly Input[]): Float64Array {
    try {
      this.split(inputs);
      return this.program.profile(this.arrays, this.rows);
    } catch (error) {
      throw translate(error);
    } finally {
      this.forget();
    }
  }
}

/** A stretch of instructions that one side runs, over a part of the program's buffers. */
interface Segment {
  readonly executable: Executable;
  /** The program's inputs that it uses, by position, in order. */
  readonly inputs: readonly number[];
  /** From the program's buffer indices to its own. */
  readonly local: ReadonlyMap<number, number>;
}

/** A program with kernels that the addon has not: native and JS stretches run in turn on the same memory. */
class SegmentedExecutable implements Executable {
  private readonly segments: Segment[] = [];
  private readonly inputs: {
    readonly type: number;
    readonly length: number;
    readonly writable?: boolean;
  }[] = [];
  /** The slots as they were when the run began. */
  private readonly slots: Float64Array;
  private inFlight = false;

  constructor(
    addon: Addon,
    private readonly spec: ProgramSpec,
    native: readonly boolean[],
  ) {
    this.slots = new Float64Array(new SharedArrayBuffer(spec.slots.byteLength));
    const inputAt = new Map<number, number>();
    spec.buffers.forEach((buffer, index) => {
      if (buffer.kind !== 'input') return;
      inputAt.set(index, this.inputs.length);
      this.inputs.push(buffer);
    });
    for (let begin = 0, end = 0; begin < native.length; begin = end) {
      while (end < native.length && native[end] === native[begin]) end++;
      const instructions = spec.instructions.slice(begin, end);
      const used = [...new Set(instructions.flatMap(({ buffers }) => buffers))].sort((a, b) => a - b);
      const local = new Map(used.map((index, i) => [index, i]));
      const part: ProgramSpec = {
        instructions: instructions.map((instruction) => ({
          ...instruction,
          buffers: instruction.buffers.map((index) => local.get(index)!),
        })),
        buffers: used.map((index) => spec.buffers[index]!),
        patches: spec.patches
          .filter(({ instruction }) => instruction >= begin && instruction < end)
          .map((patch) => ({ ...patch, instruction: patch.instruction - begin })),
        slots: this.slots,
      };
      this.segments.push({
        executable: native[begin] ? new NativeExecutable(addon, part) : new JsExecutable(part),
        inputs: used.flatMap((index) => inputAt.get(index) ?? []),
        local,
      });
    }
  }

  private prepare(what: string, inputs: readonly Input[]): void {
    this.checkIdle(what);
    checkInputs(`Program.${what}`, inputs, this.inputs);
    this.slots.set(this.spec.slots);
  }

  private checkIdle(what: string): void {
    if (this.inFlight) {
      throw new StateError(`Program.${what}: a run of this program is in flight; wait for it first`);
    }
  }

  run(inputs: readonly Input[]): void {
    this.prepare('run', inputs);
    for (const { executable, inputs: used } of this.segments) executable.run(used.map((i) => inputs[i]!));
  }

  async runAsync(inputs: readonly Input[]): Promise<void> {
    this.prepare('runAsync', inputs);
    const copies = asyncInputs(inputs, this.inputs);
    this.inFlight = true;
    try {
      for (const { executable, inputs: used } of this.segments) {
        await executable.runAsync(used.map((i) => copies[i]!));
      }
    } finally {
      this.inFlight = false;
    }
  }

  bind(index: number, array: TypedArray): void {
    this.checkIdle('bind');
    checkBinding(this.spec, index, array);
    if (!(array.buffer instanceof SharedArrayBuffer)) {
      throw new ArgumentError(`Program.bind: buffer ${index} takes an array over a SharedArrayBuffer`);
    }
    for (const { executable, local } of this.segments) {
      const at = local.get(index);
      if (at !== undefined) executable.bind(at, array);
    }
  }

  profile(inputs: readonly Input[]): Float64Array {
    this.prepare('profile', inputs);
    return Float64Array.from(
      this.segments.flatMap(({ executable, inputs: used }) => [
        ...executable.profile(used.map((i) => inputs[i]!)),
      ]),
    );
  }
}
