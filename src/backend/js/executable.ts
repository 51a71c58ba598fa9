import { arrayType, type DType, dtypes, type TypedArray } from '../../dtype.js';
import { ArgumentError, StateError } from '../../errors.js';
import {
  type Executable,
  type Input,
  isRows,
  type Kernel,
  type ProgramSpec,
  type RowsOf,
} from '../backend.js';
import { indexSelectKernel } from './indexing.js';
import { typeCode } from './strided.js';

interface Step {
  readonly kernel: Kernel;
  readonly params: number[];
  readonly arrays: TypedArray[];
}

/** A place in a step's arrays. */
interface Use {
  readonly arrays: TypedArray[];
  readonly at: number;
}

/** An array of the type with this code. */
export function arrayOver(type: number, buffer: ArrayBufferLike, length: number): TypedArray {
  return new (arrayType(dtypes[type] as DType))(buffer as ArrayBuffer, 0, length);
}

const nothing = [new Float32Array(0), new Float64Array(0), new Int32Array(0), new Uint8Array(0)];

/** Elements of a block of a chain. */
const BLOCK = 4096;

/** For how long an asynchronous run keeps the event loop, in milliseconds. */
const SLICE = 8;

/** Throws ArgumentError unless `inputs` are arrays of the kinds and lengths that the program's inputs have. */
export function checkInputs(
  what: string,
  inputs: readonly Input[],
  expected: readonly { readonly type: number; readonly length: number }[],
): void {
  if (inputs.length !== expected.length) {
    throw new ArgumentError(`${what}: ${inputs.length} inputs given, ${expected.length} expected`);
  }
  for (let i = 0; i < inputs.length; i++) {
    const { type, length } = expected[i]!;
    const input = inputs[i]!;
    if (isRows(input)) {
      checkRows(what, i, input, type, length);
      continue;
    }
    if (typeCode(input) !== type || input.length !== length) {
      throw new ArgumentError(
        `${what}: input ${i} is ${dtypes[typeCode(input)]} of length ${input.length}, ` +
          `but ${dtypes[type]} of length ${length} is expected`,
      );
    }
  }
}

function checkRows(what: string, i: number, rows: RowsOf, type: number, length: number): void {
  const { values, indices } = rows;
  const inner = length / indices.length;
  const whole = Number.isInteger(inner) && inner > 0 && values.length % inner === 0;
  if (typeCode(values) === type && typeCode(indices) === 2 && whole) return;
  throw new ArgumentError(
    `${what}: ${indices.length} rows of ${dtypes[typeCode(values)]} of length ${values.length} do not make input ${i}, ` +
      `which is ${dtypes[type]} of length ${length}`,
  );
}

/** The rows, in an array of `length` elements. */
export function gathered<T extends TypedArray>(rows: RowsOf, out: T): T {
  const { values, indices } = rows;
  const inner = out.length / indices.length;
  indexSelectKernel([1, values.length / inner, inner, indices.length, 0, 0, 0], [out, values, indices]);
  return out;
}

/** A copy of an input that has `length` elements. */
function copyOf(input: Input, length: number): TypedArray {
  if (!isRows(input)) return input.slice();
  return gathered(input, new (input.values.constructor as Float32ArrayConstructor)(length));
}

/** Throws ArgumentError unless buffer `index` is pinned and `array` can take its place. */
export function checkBinding(spec: ProgramSpec, index: number, array: TypedArray): void {
  const buffer = spec.buffers[index];
  if (buffer?.kind !== 'pinned') {
    throw new ArgumentError('Program.bind: the index must be that of a pinned buffer');
  }
  const { array: old } = buffer;
  if (typeCode(array) !== typeCode(old) || array.length !== old.length) {
    throw new ArgumentError(
      `Program.bind: buffer ${index} takes ${dtypes[typeCode(old)]} of length ${old.length}, ` +
        `not ${dtypes[typeCode(array)]} of length ${array.length}`,
    );
  }
}

/**
 * The inputs of an asynchronous run, as `expected`: copies, but for those that the program updates, which must be shared
 * memory, as others may transfer any other meanwhile.
 */
export function asyncInputs(
  inputs: readonly Input[],
  expected: readonly { readonly length: number; readonly writable?: boolean }[],
): TypedArray[] {
  return inputs.map((input, i) => {
    const { length, writable = false } = expected[i]!;
    if (!writable) return copyOf(input, length);
    if (!isRows(input) && input.buffer instanceof SharedArrayBuffer) return input;
    throw new ArgumentError(
      'Program.runAsync: this program updates its inputs, which must be over SharedArrayBuffers then',
    );
  });
}

/** Runs a program's instructions one after the other with the JS kernels. */
export class JsExecutable implements Executable {
  private readonly steps: Step[] = [];
  private readonly inputs: {
    readonly type: number;
    readonly length: number;
    readonly writable: boolean;
    readonly uses: Use[];
    /** Where rows are gathered to. */
    rows: TypedArray | null;
  }[] = [];
  private readonly uses: Use[][] = [];
  private readonly locals = new Map<number, TypedArray>();
  private readonly chainAt: ({ readonly end: number; readonly length: number } | undefined)[] = [];
  private inFlight = false;

  constructor(private readonly spec: ProgramSpec) {
    for (const buffer of spec.buffers) {
      const uses: Use[] = [];
      this.uses.push(uses);
      if (buffer.kind === 'input')
        this.inputs.push({
          type: buffer.type,
          length: buffer.length,
          writable: buffer.writable === true,
          uses,
          rows: null,
        });
    }
    for (const instruction of spec.instructions) {
      const arrays: TypedArray[] = [];
      for (const index of instruction.buffers) {
        const buffer = spec.buffers[index];
        if (buffer === undefined) {
          throw new ArgumentError(
            `Program: ${instruction.kernel.name} uses buffer ${index}, which does not exist`,
          );
        }
        this.uses[index]!.push({ arrays, at: arrays.length });
        arrays.push(
          buffer.kind === 'pinned'
            ? buffer.array
            : buffer.kind === 'input'
              ? nothing[buffer.type]!
              : this.local(index, buffer.type),
        );
      }
      this.steps.push({ kernel: instruction.kernel, params: Array.from(instruction.params), arrays });
    }
    for (const { first, count, length } of spec.chains ?? []) {
      for (let i = first; i < first + count; i++) this.chainAt[i] = { end: first + count, length };
    }
    for (const { instruction, param, slot } of spec.patches) {
      const step = this.steps[instruction];
      if (step === undefined || !(param in step.params) || !(slot in spec.slots)) {
        throw new ArgumentError(`Program: patch (${instruction}, ${param}, ${slot}) does not fit`);
      }
    }
  }

  /** One block of memory, for all instructions of a chain. */
  private local(index: number, type: number): TypedArray {
    const known = this.locals.get(index);
    if (known) return known;
    const made = arrayOver(type, new ArrayBuffer(BLOCK * 8), BLOCK);
    this.locals.set(index, made);
    return made;
  }

  /** Runs instruction i, or the chain that begins there; returns the next one. */
  private step(i: number): number {
    const chain = this.chainAt[i];
    if (chain === undefined) {
      const { kernel, params, arrays } = this.steps[i]!;
      kernel.js(params, arrays);
      return i + 1;
    }
    for (let begin = 0; begin < chain.length; begin += BLOCK) {
      for (let j = i; j < chain.end; j++) {
        const { kernel, params, arrays } = this.steps[j]!;
        const part = params.slice();
        part[1] = Math.min(BLOCK, chain.length - begin);
        arrays.forEach((_, b) => {
          const buffer = this.spec.instructions[j]!.buffers[b]!;
          if (!this.locals.has(buffer)) part[2 + 2 * b]! += begin * params[3 + 2 * b]!;
        });
        kernel.js(part, arrays);
      }
    }
    return chain.end;
  }

  private checkIdle(what: string): void {
    if (this.inFlight) {
      throw new StateError(`Program.${what}: a run of this program is in flight; wait for it first`);
    }
  }

  private patch(): void {
    const { patches, slots } = this.spec;
    for (const { instruction, param, slot } of patches) this.steps[instruction]!.params[param] = slots[slot]!;
  }

  private place(inputs: readonly Input[]): void {
    for (let i = 0; i < inputs.length; i++) {
      const place = this.inputs[i]!;
      const input = inputs[i]!;
      let array: TypedArray;
      if (isRows(input)) {
        place.rows ??= new (input.values.constructor as Float32ArrayConstructor)(place.length);
        array = gathered(input, place.rows);
      } else array = input;
      for (const use of place.uses) use.arrays[use.at] = array;
    }
  }

  /** Lets go of the inputs, which belong to the caller. */
  private displace(): void {
    for (const { type, uses } of this.inputs) {
      for (const use of uses) use.arrays[use.at] = nothing[type]!;
    }
  }

  private prepare(what: string, inputs: readonly Input[]): void {
    this.checkIdle(what);
    checkInputs(`Program.${what}`, inputs, this.inputs);
    this.patch();
  }

  run(inputs: readonly Input[]): void {
    this.prepare('run', inputs);
    try {
      this.place(inputs);
      for (let i = 0; i < this.steps.length; ) i = this.step(i);
    } finally {
      this.displace();
    }
  }

  /** Runs on this thread, but lets the event loop turn every few milliseconds. */
  async runAsync(inputs: readonly Input[]): Promise<void> {
    this.prepare('runAsync', inputs);
    this.place(asyncInputs(inputs, this.inputs));
    this.inFlight = true;
    try {
      let until = 0;
      for (let i = 0; i < this.steps.length; ) {
        if (performance.now() >= until) {
          await new Promise((resolve) => setImmediate(resolve));
          until = performance.now() + SLICE;
        }
        i = this.step(i);
      }
    } finally {
      this.inFlight = false;
      this.displace();
    }
  }

  bind(index: number, array: TypedArray): void {
    this.checkIdle('bind');
    checkBinding(this.spec, index, array);
    for (const use of this.uses[index]!) use.arrays[use.at] = array;
  }

  profile(inputs: readonly Input[]): Float64Array {
    this.prepare('profile', inputs);
    const times = new Float64Array(this.steps.length);
    try {
      this.place(inputs);
      for (let i = 0; i < times.length; ) {
        const begin = performance.now();
        const next = this.step(i);
        times[i] = (performance.now() - begin) * 1e6;
        i = next;
      }
    } finally {
      this.displace();
    }
    return times;
  }
}
