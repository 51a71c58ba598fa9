import { describe, expect, it } from 'vitest';
import type { TypedArray } from '../../src/backend/backend.js';
import {
  addon,
  addonPath,
  block,
  call,
  classes,
  errorOf,
  idOf,
  kindsOf,
  Random,
  rows,
  shared,
  validCall,
  viewOf,
} from './support.js';

/*
 * Nonsense thrown at the entry, from a fixed seed. Nothing may crash, hang or write outside the arrays that were given,
 * and whatever is thrown must be an Error with one of the addon's codes. Run under AddressSanitizer and UBSan by
 * scripts/sanitize.mjs.
 */

/** On the instruction set that would be chosen; the others get a tenth. */
const CALLS = 100_000;
const GUARD = 64;
const TIMEOUT = 240_000;

/** Numbers that break things; none so large that a legal call would take seconds. */
const numbers = [
  0,
  -0,
  1,
  -1,
  2,
  3,
  7,
  8,
  9,
  16,
  64,
  255,
  256,
  1000,
  70_000,
  0.5,
  -0.5,
  1e-300,
  Number.NaN,
  Infinity,
  -Infinity,
  2 ** 31,
  -(2 ** 31),
  2 ** 32 - 1,
  2 ** 32,
  -(2 ** 32),
  2 ** 33,
  2 ** 52,
  2 ** 53 - 1,
  2 ** 53,
  -(2 ** 53),
  2 ** 53 + 2,
  2 ** 62,
  2 ** 63,
  -(2 ** 63),
  2 ** 64,
  1e300,
  -1e300,
  Number.MAX_VALUE,
];

const detached = (): TypedArray => {
  const array = new Float32Array(16);
  structuredClone(array, { transfer: [array.buffer] });
  return array;
};

const detachedView = (): DataView => {
  const view = viewOf(new Float32Array(16));
  structuredClone(view, { transfer: [view.buffer as ArrayBuffer] });
  return view;
};

const shrunk = (tracking: boolean): TypedArray => {
  const buffer = new ArrayBuffer(64, { maxByteLength: 256 });
  const array = tracking ? new Float32Array(buffer) : new Float32Array(buffer, 16, 8);
  buffer.resize(20);
  return array;
};

/** Values that are not arrays that kernels take, or that are in a strange state. */
const oddities: readonly ((rng: Random) => unknown)[] = [
  () => undefined,
  () => null,
  (rng) => rng.pick(numbers),
  () => 'text',
  () => 12n,
  () => Symbol('s'),
  () => ({}),
  () => ({ length: 8, buffer: new ArrayBuffer(8), byteLength: 8 }),
  () => [1, 2, 3],
  () => () => 0,
  () => new ArrayBuffer(64),
  () => new SharedArrayBuffer(64),
  () => new DataView(new ArrayBuffer(64)),
  () => new Proxy(new Float32Array(8), {}),
  () => Object.create(Float32Array.prototype),
  () => new Int16Array(32),
  () => new BigInt64Array(8),
  () => new Uint8ClampedArray(64),
  () => Buffer.alloc(64),
  () => new Date(),
  () =>
    new addon.Program({
      code: new Float64Array(0),
      buffers: [],
      patches: new Float64Array(0),
      slots: shared(1, 0) as Float64Array,
    }),
  () => detached(),
  () => shrunk(true),
  () => shrunk(false),
  (rng) => new classes[rng.int(0, 4)]!(rng.int(0, 40)),
  (rng) => shared(rng.int(0, 4), rng.int(0, 40)),
];

/** An array between two guards, which must not change. */
class Guarded {
  readonly array: TypedArray;
  private readonly bytes: Uint8Array;

  constructor(
    private readonly type: number,
    length: number,
    overShared: boolean,
  ) {
    const width = classes[type]!.BYTES_PER_ELEMENT;
    const size = length * width + 2 * GUARD;
    const buffer = overShared ? new SharedArrayBuffer(size) : new ArrayBuffer(size);
    this.bytes = new Uint8Array(buffer).fill(0xa5);
    this.array = new classes[type]!(buffer as ArrayBuffer, GUARD, length);
  }

  fill(rng: Random, labels: { offset: number; bound: number } | null): void {
    const { array } = this;
    for (let i = 0; i < array.length; i++) {
      if (labels !== null)
        array[i] = rng.chance(0.98)
          ? rng.int(0, labels.bound)
          : rng.pick([-1, 2 ** 31 - 1, -(2 ** 31), labels.bound]);
      else
        array[i] =
          this.type >= 2 ? rng.int(-3, 4) : rng.chance(0.02) ? rng.pick(numbers) : rng.next() * 4 - 2;
    }
  }

  intact(): boolean {
    const end = this.bytes.length - GUARD;
    for (let i = 0; i < GUARD; i++) if (this.bytes[i] !== 0xa5 || this.bytes[end + i] !== 0xa5) return false;
    return true;
  }
}

const known = /^SIMDGRAD_(ARGUMENT|INDEX|BUSY|MEMORY)$/;

function describeCall(name: unknown, params: readonly number[], buffers: readonly unknown[]): string {
  const shapes = buffers.map((b) =>
    ArrayBuffer.isView(b) ? `${b.constructor.name}(${(b as TypedArray).length})` : typeof b,
  );
  return `${String(name)} [${params}] ${shapes}`;
}

describe.skipIf(addonPath === null)('the entry', () => {
  for (const isa of addonPath === null ? [] : addon.info().isas) {
    const before = addon.info().isa;
    const calls = isa === before ? CALLS : CALLS / 10;
    it(`survives ${calls} calls on ${isa}`, { timeout: TIMEOUT }, () => {
      addon.setIsa(isa);
      const raw = addon.call as (...args: unknown[]) => void;
      const rng = new Random(20_240_607);
      const choice = new Random(4); // of DataViews, so that the calls are the same without
      const outcomes = { fine: 0, refused: 0, index: 0 };
      for (let i = 0; i < calls; i++) {
        let id: unknown;
        let n: unknown;
        let params: number[];
        const guards: Guarded[] = [];
        let buffers: unknown[];
        let valid = false;
        if (rng.chance(0.15)) {
          // Nonsense from end to end.
          id = rng.chance(0.8) ? rng.int(0, rows.length) : rng.pick(oddities)(rng);
          params = Array.from({ length: rng.int(0, 60) }, () => rng.pick(numbers));
          n = rng.chance(0.8) ? params.length : rng.pick(oddities)(rng);
          buffers = Array.from({ length: rng.int(0, 7) }, () => rng.pick(oddities)(rng));
        } else {
          const row = rng.pick(rows);
          const made = validCall(rng, row);
          const lengths = [...made.lengths];
          const types = [...made.types];
          params = made.params;
          id = idOf(row.name);
          valid = rng.chance(0.25);
          if (!valid) {
            for (let mutations = rng.int(1, 4); mutations > 0; mutations--) {
              const at = rng.int(0, Math.max(params.length, 1));
              switch (rng.int(0, 8)) {
                case 0:
                case 1:
                  params[at] = rng.pick(numbers);
                  break;
                case 2:
                case 3:
                  params[at] = params[at]! + rng.pick([-1, 1, 2, -8, 8]);
                  break;
                case 4:
                  params[at] = -params[at]!;
                  break;
                case 5:
                  if (rng.chance(0.5)) params.splice(at, 1);
                  else params.splice(at, 0, rng.pick(numbers));
                  break;
                case 6: {
                  const b = rng.int(0, lengths.length);
                  lengths[b] = Math.max(0, lengths[b]! + rng.pick([-1, -2, -8, 1, 8]));
                  break;
                }
                default:
                  types[rng.int(0, types.length)] = rng.int(0, 4);
              }
            }
          }
          n = params.length;
          buffers = types.map((type, b) => {
            const guarded = new Guarded(type, lengths[b]!, rng.chance(0.1));
            guarded.fill(rng, made.labels !== null && b === types.length - 1 ? made.labels : null);
            guards.push(guarded);
            return guarded.array;
          });
          if (choice.chance(0.3)) {
            // Some of them as DataViews, mostly of what they hold.
            const viewed = types.map(() => choice.chance(0.7));
            buffers = buffers.map((array, b) => (viewed[b] ? viewOf(array as TypedArray) : array));
            const lie = !valid && choice.chance(0.02) ? choice.int(0, 8) : -1;
            n = params.length + kindsOf(types.map((type, b) => (viewed[b] ? (lie < 0 ? type : lie) : null)));
          }
          if (!valid && choice.chance(0.01)) buffers[choice.int(0, buffers.length)] = detachedView();
          if (!valid && rng.chance(0.1)) buffers[rng.int(0, buffers.length)] = rng.pick(oddities)(rng);
          if (!valid && rng.chance(0.05)) buffers[rng.int(0, buffers.length)] = buffers[0];
          if (!valid && rng.chance(0.03)) buffers.push(rng.pick(oddities)(rng));
          if (!valid && rng.chance(0.03)) buffers.pop();
        }
        block.set(params.slice(0, 256));
        const error = errorOf(() => raw(id, n, ...buffers));
        const code = error?.code ?? '';
        if (error === null) outcomes.fine++;
        else if (code === 'SIMDGRAD_INDEX') outcomes.index++;
        else outcomes.refused++;
        // Plain conditions: a matcher per call would take most of the time.
        if (error !== null && (!(error instanceof Error) || !known.test(code))) {
          expect.fail(`call ${i}: ${describeCall(id, params, buffers)} threw ${String(error)} (${code})`);
        }
        if (valid && error !== null && code !== 'SIMDGRAD_INDEX') {
          expect.fail(`call ${i}: ${describeCall(id, params, buffers)} is valid, but threw ${error.message}`);
        }
        if (!guards.every((guard) => guard.intact())) {
          expect.fail(`call ${i}: ${describeCall(id, params, buffers)} wrote outside its arrays`);
        }
      }
      addon.setIsa(before);
      // The numbers show that calls get deep as well as refused.
      expect(outcomes.fine).toBeGreaterThan(calls * 0.2);
      expect(outcomes.refused).toBeGreaterThan(calls * 0.3);
      // A tenth of the kernels take labels or indices.
      expect(outcomes.index).toBeGreaterThan((calls * 0.45) / rows.length);
    });
  }

  it('survives random programs', { timeout: TIMEOUT }, async () => {
    const rng = new Random(77);
    const slots = shared(1, 4) as Float64Array;
    let built = 0;
    let ran = 0;
    let running: Promise<unknown>[] = [];
    for (let i = 0; i < 5000; i++) {
      const code: number[] = [];
      const buffers: unknown[] = [];
      const inputs: unknown[] = [];
      const patches: number[] = [];
      const count = rng.int(1, 5);
      for (let k = 0; k < count; k++) {
        const { row, params, types, lengths, labels } = validCall(rng, rng.pick(rows));
        const first = buffers.length;
        types.forEach((type, b) => {
          const guarded = new Guarded(type, lengths[b]!, true);
          guarded.fill(rng, labels !== null && b === types.length - 1 ? labels : null);
          const writable = rng.chance(0.3);
          if ((b >= row.outputs || writable) && rng.chance(0.3)) {
            buffers.push({ type, length: lengths[b], writable });
            inputs.push(guarded.array);
          } else {
            buffers.push(guarded.array);
          }
        });
        if (row.attrs > 0 && rng.chance(0.3)) patches.push(k, params.length - 1, rng.int(0, 4));
        code.push(idOf(row.name), params.length, types.length, ...params, ...types.map((_, b) => first + b));
      }
      if (rng.chance(0.4)) code[rng.int(0, code.length)] = rng.pick(numbers);
      if (rng.chance(0.1)) buffers[rng.int(0, buffers.length)] = rng.pick(oddities)(rng);
      if (rng.chance(0.1)) inputs[rng.int(0, inputs.length + 1)] = rng.pick(oddities)(rng);
      if (rng.chance(0.1)) patches.push(...[0, 1, 2].map(() => rng.pick(numbers)));
      for (let s = 0; s < 4; s++) slots[s] = rng.pick(numbers);
      const row = (): Int32Array | null =>
        rng.chance(0.5) ? Int32Array.from({ length: rng.int(0, 6) }, () => rng.int(-1, 8)) : null;
      const gathers: [(Int32Array | null)[]?] = rng.chance(0.3) ? [inputs.map(row)] : [];
      if (gathers[0] && rng.chance(0.1)) gathers[0][rng.int(0, 3)] = rng.pick(oddities)(rng) as null;
      const error = errorOf(() => {
        const program = new addon.Program({
          code: Float64Array.from(code),
          buffers: buffers as TypedArray[],
          patches: Float64Array.from(patches),
          slots,
        });
        built++;
        if (rng.chance(0.2)) {
          let settle: (failure: unknown) => void = () => {};
          const settled = new Promise((resolve) => {
            settle = resolve;
          });
          program.runAsync(inputs as TypedArray[], settle, ...gathers);
          running.push(settled);
        } else {
          program.run(inputs as TypedArray[], ...gathers);
        }
        ran++;
      });
      // What a proxy throws when it is read comes through as it is.
      if (error !== null && !known.test(error.code ?? '') && !(error instanceof TypeError))
        expect.fail(`program ${i}: ${String(error)} (${error.code})`);
      if (running.length >= 16) {
        for (const failure of (await Promise.all(running)) as (typeof error)[]) {
          if (failure !== null && !known.test(failure.code ?? '')) expect.fail(`program: ${String(failure)}`);
        }
        running = [];
      }
    }
    await Promise.all(running);
    expect(built).toBeGreaterThan(1500);
    expect(ran).toBeGreaterThan(1000);
  });

  it('survives nonsense at every other export', () => {
    const rng = new Random(3);
    for (let i = 0; i < 5000; i++) {
      const args = Array.from({ length: rng.int(0, 4) }, () => rng.pick(oddities)(rng));
      const name = rng.pick([
        'init',
        'kernels',
        'info',
        'setIsa',
        'adjustExternalMemory',
        'preparePages',
        'setNumThreads',
      ] as const);
      const error = errorOf(() => (addon[name] as (...a: unknown[]) => unknown)(...args));
      if (error !== null && !known.test(error.code ?? '')) expect.fail(`${name}: ${String(error)}`);
      const wrong = errorOf(() => new (addon.Program as new (...a: unknown[]) => unknown)(...args));
      if (wrong !== null && !known.test(wrong.code ?? '')) expect.fail(`Program: ${String(wrong)}`);
    }
    addon.setNumThreads(2);
    const out = new Float32Array(2);
    call('add', [1, 2, 0, 1, 0, 1, 0, 1], out, Float32Array.of(1, 2), Float32Array.of(3, 4));
    expect([...out]).toEqual([4, 6]);
  });
});
