import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { TypedArray } from '../../src/backend/backend.js';
import type { Addon, NativeKernel } from '../../src/backend/native.js';

const at = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** The addon under test; null where there is none, or where the suite runs on the JS backend. */
export const addonPath: string | null =
  process.env.SIMDGRAD_BACKEND === 'js'
    ? null
    : (process.env.SIMDGRAD_ADDON ??
      [at('build/cmake/Release/simdgrad.node'), at('build/Release/simdgrad.node')].find((path) =>
        existsSync(path),
      ) ??
      null);

/** True when the addon was built with sanitizers, which slow everything down. */
export const sanitized = process.env.SIMDGRAD_SANITIZED === '1';

export const block = new Float64Array(new SharedArrayBuffer(256 * 8));

function load(): Addon {
  const addon = createRequire(import.meta.url)(addonPath!) as Addon;
  addon.init(block);
  return addon;
}

export const addon: Addon = addonPath === null ? (null as unknown as Addon) : load();
export const rows: readonly NativeKernel[] = addonPath === null ? [] : addon.kernels();
export const idOf = (name: string): number => rows.findIndex((row) => row.name === name);

/** A call by kernel name. */
export function call(name: string, params: readonly number[], ...buffers: unknown[]): void {
  block.set(params);
  (addon.call as (...args: unknown[]) => void)(idOf(name), params.length, ...buffers);
}

/** What `call` of the addon is told beside the number of params, for buffers handed over as DataViews: three bits each. */
export const kindsOf = (types: readonly (number | null)[]): number =>
  types.reduce<number>((sum, type, b) => sum + (type === null ? 0 : 1 + type) * 256 * 8 ** b, 0);

export const viewOf = (array: TypedArray): DataView =>
  new DataView(array.buffer, array.byteOffset, array.byteLength);

/** The error that fn throws, or null. */
export function errorOf(fn: () => unknown): (Error & { code?: string }) | null {
  try {
    fn();
  } catch (error) {
    return error as Error;
  }
  return null;
}

export const classes = [Float32Array, Float64Array, Int32Array, Uint8Array] as const;

/** Zeroed memory that programs may pin. */
export function shared(type: number, length: number): TypedArray {
  const make = classes[type]!;
  return new make(
    new SharedArrayBuffer(length * make.BYTES_PER_ELEMENT) as unknown as ArrayBuffer,
    0,
    length,
  );
}

export function sharedOf(type: number, values: readonly number[]): TypedArray {
  const array = shared(type, values.length);
  array.set(values);
  return array;
}

/** A seeded generator (mulberry32) of numbers in [0, 1), and helpers over it. */
export class Random {
  constructor(private state: number) {}

  next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** An integer in [low, high). */
  int(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low));
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length)]!;
  }

  chance(p: number): boolean {
    return this.next() < p;
  }
}

/** What a kernel's family needs, in the terms of native/kernels.def. */
export type Family = 'map' | 'reduce' | 'axis' | 'rows' | 'index' | 'random' | 'optim' | 'update' | 'matmul';

const families: readonly [Family, readonly string[]][] = [
  [
    'reduce',
    ['sum', 'sumSquares', 'sumSquaredDeviations', 'prod', 'max', 'min', 'argmax', 'argmin', 'countLabels'],
  ],
  ['axis', ['softmax', 'logSoftmax', 'logSumExp', 'softmaxGrad', 'logSoftmaxGrad', 'cumsum']],
  ['index', ['indexSelect', 'indexSelectGrad', 'gather', 'gatherGrad']],
  ['random', ['uniform', 'normal', 'bernoulli', 'randint']],
  ['optim', ['sgd', 'sgdMomentum', 'adam']],
  ['update', ['sgd', 'sgdMomentum', 'adam'].flatMap((name) => [`${name}Product`, `${name}ProductSums`])],
  ['update', ['matmulSums']],
  ['matmul', ['matmul']],
];

/** Which operands of a rows kernel are matrices (m) and which hold one value per row (v) or per column (c; C where it is there without rows too). */
const rowsOperands: Record<string, string> = {
  nll: 'vmv',
  nllGrad: 'mvv',
  crossEntropy: 'vmmv',
  crossEntropyGrad: 'mvmv',
  layerNorm: 'mmcc',
  layerNormGrad: 'mmmc',
  layerNormWeightGrad: 'Cmm',
  batchNorm: 'mccmcc',
  batchNormGrad: 'mmmc',
  batchNormWeightGrad: 'Cmm',
};

export function familyOf(name: string): Family {
  if (name in rowsOperands) return 'rows';
  return families.find(([, names]) => names.includes(name))?.[0] ?? 'map';
}

const comparisons = ['eq', 'ne', 'lt', 'le', 'gt', 'ge', 'isNan', 'isFinite'];
const labelled = ['nll', 'nllGrad', 'crossEntropy', 'crossEntropyGrad'];
const indexed = [...labelled, 'countLabels', ...(families.find(([family]) => family === 'index')?.[1] ?? [])];

/** The element types of a kernel's buffers for dispatch type T. */
export function bufferTypes(row: NativeKernel, T: number, rng: Random): number[] {
  const n = row.outputs + row.inputs;
  const types = Array.from({ length: n }, () => T);
  if (row.name === 'copy') types[1] = rng.int(0, 4);
  if (comparisons.includes(row.name)) types[0] = 3;
  if (row.name === 'where') types[1] = 3;
  if (row.name === 'argmax' || row.name === 'argmin') types[0] = 2;
  if (indexed.includes(row.name)) types[n - 1] = 2;
  return types;
}

export interface ValidCall {
  readonly row: NativeKernel;
  readonly params: number[];
  readonly types: readonly number[];
  /** The least length that each buffer may have. */
  readonly lengths: number[];
  /** Where labels lie in the last buffer and what they must stay below; null where there are none. */
  readonly labels: { readonly offset: number; readonly count: number; readonly bound: number } | null;
}

const product = (list: readonly number[]): number => list.reduce((a, b) => a * b, 1);

/** Strides and offset of a random view of `shape`, and the length it needs. */
function view(rng: Random, shape: readonly number[], output: boolean) {
  const order = shape.map((_, d) => d);
  if (rng.chance(0.3)) order.reverse();
  const strides = shape.map(() => 0);
  let step = rng.chance(0.2) ? 2 : 1;
  for (const d of order.reverse()) {
    strides[d] = step;
    step *= Math.max(shape[d]!, 1);
  }
  let low = 0;
  let high = 0;
  shape.forEach((extent, d) => {
    if (!output && rng.chance(0.15)) strides[d] = 0;
    if (rng.chance(0.15)) strides[d] = -strides[d]!;
    const reach = strides[d]! * Math.max(extent - 1, 0);
    if (reach < 0) low += reach;
    else high += reach;
  });
  const offset = -low + rng.int(0, 4);
  return { offset, strides, length: product(shape) === 0 ? 0 : offset + high + 1 };
}

const attr = (rng: Random): number => rng.pick([0, 1, 0.5, -1, 2, 0.001, 3.25]);

/** A random call that the kernel must accept, with minimal buffers. */
export function validCall(rng: Random, row: NativeKernel): ValidCall {
  const T = rng.pick([0, 1, 2, 3].filter((type) => (row.types >> type) & 1));
  const types = bufferTypes(row, T, rng);
  const n = row.outputs + row.inputs;
  const params: number[] = [];
  const lengths: number[] = [];
  let attrs = Array.from({ length: row.attrs }, () => attr(rng));
  let labels: ValidCall['labels'] = null;
  // Mostly small; sometimes long enough for vector loops and for a second thread.
  const extent = (): number =>
    rng.chance(0.08) ? 0 : rng.chance(0.04) ? rng.int(100, 3000) : rng.int(1, 12);
  const run = (count: number): void => {
    const offset = rng.int(0, 5);
    params.push(offset);
    lengths.push(count === 0 ? 0 : offset + count);
  };
  switch (familyOf(row.name)) {
    case 'map': {
      const shape = Array.from({ length: rng.int(0, 5) }, extent);
      while (product(shape) > 100_000) shape.pop();
      params.push(shape.length, ...shape);
      for (let b = 0; b < n; b++) {
        const { offset, strides, length } = view(rng, shape, b < row.outputs);
        params.push(offset, ...strides);
        lengths.push(length);
      }
      break;
    }
    case 'reduce': {
      const kept = Array.from({ length: rng.int(0, 3) }, extent);
      const reduced = Array.from({ length: rng.int(0, 3) }, extent);
      if (!['sum', 'prod', 'countLabels'].includes(row.name)) {
        for (let d = 0; d < reduced.length; d++) reduced[d] = Math.max(reduced[d]!, 1);
      }
      while (product(kept) * product(reduced) > 100_000) (kept.length > 0 ? kept : reduced).pop();
      const x = view(rng, [...kept, ...reduced], false);
      const out = rng.int(0, 4);
      params.push(kept.length, reduced.length, ...kept, ...reduced, out, x.offset, ...x.strides);
      lengths.push(product(kept) === 0 ? 0 : out + product(kept), x.length);
      if (row.name === 'sum') attrs = [T === 2 ? 1 : attr(rng)];
      break;
    }
    case 'rows': {
      const [r, c] = [extent(), Math.max(extent(), 1)];
      params.push(r, c);
      for (const operand of rowsOperands[row.name]!)
        run({ m: r * c, v: r, c: r === 0 ? 0 : c, C: c }[operand]!);
      if (labelled.includes(row.name)) labels = { offset: params[1 + n]!, count: r, bound: c };
      break;
    }
    case 'axis': {
      const [outer, size, inner] = [extent(), extent(), rng.int(0, 40)];
      params.push(outer, size, inner);
      for (let b = 0; b < n; b++)
        run(b === 0 && row.name === 'logSumExp' ? outer * inner : outer * size * inner);
      if (outer * inner === 0) lengths.fill(0); // nothing to do, and nothing is read
      break;
    }
    case 'index': {
      const [outer, size, inner, count] = [extent(), Math.max(extent(), 1), rng.int(0, 6), extent()];
      params.push(outer, size, inner, count);
      const grad = row.name.endsWith('Grad');
      const [source, selected] = [outer * size * inner, outer * count * inner];
      run(grad ? source : selected);
      run(grad ? selected : source);
      const picked = row.name.startsWith('gather') ? selected : count;
      run(picked);
      if (outer * inner === 0 || (!grad && count === 0)) lengths.fill(0); // nothing to do, and nothing is read
      labels = { offset: params.at(-1)!, count: picked, bound: size };
      break;
    }
    case 'random': {
      const count = extent();
      params.push(count);
      run(count);
      params.push(rng.int(0, 2 ** 32), rng.int(0, 2 ** 32), rng.pick([0, 7, 2 ** 32 - 1, 2 ** 40]));
      attrs = row.name === 'randint' ? [-3, rng.int(-2, 2 ** 31)] : [0, 1];
      break;
    }
    case 'optim': {
      const count = extent();
      params.push(count);
      for (let b = 0; b < n; b++) run(count);
      break;
    }
    case 'update': {
      const [M, N, K] = [rng.int(0, 20), rng.int(0, 40), rng.int(0, 40)];
      params.push(M, N, K);
      const sums = row.name.endsWith('Sums') ? row.outputs - 1 : -1;
      for (let b = 0; b < n - 2; b++) run(b === sums ? N : M * N);
      for (const shape of [
        [M, K],
        [K, N],
      ]) {
        const v = view(rng, shape, false);
        params.push(v.offset, ...v.strides);
        const unread = sums < 0 || shape[0] !== K ? M * N * K === 0 : K * N === 0;
        lengths.push(unread ? 0 : v.length);
      }
      break;
    }
    case 'matmul': {
      const batch = Array.from({ length: rng.int(0, 3) }, () => rng.int(0, 4));
      const [M, N, K] = [rng.int(0, 20), rng.int(0, 40), rng.int(0, 40)];
      params.push(batch.length, ...batch, M, N, K);
      const c = { offset: rng.int(0, 4), rowStride: N + rng.int(0, 3) };
      const batchStrides = batch.map(
        (_, d) => product(batch.slice(d + 1)) * Math.max(M, 1) * Math.max(c.rowStride, 1),
      );
      params.push(c.offset, ...batchStrides, c.rowStride);
      const size = product(batch) * M * N;
      const reach = (strides: readonly number[], extents: readonly number[]): number =>
        strides.reduce((sum, s, d) => sum + s * Math.max(extents[d]! - 1, 0), 0);
      const lengthOfC = c.offset + reach([...batchStrides, c.rowStride, 1], [...batch, M, N]) + 1;
      lengths.push(size === 0 ? 0 : lengthOfC);
      for (const [r, s] of [
        [M, K],
        [K, N],
      ] as const) {
        const v = view(rng, [...batch, r, s], false);
        params.push(v.offset, ...v.strides);
        lengths.push(size === 0 || K === 0 ? 0 : v.length);
      }
      const activation = rng.int(0, 7);
      const bias = activation > 3 || rng.chance(0.5) ? rng.int(0, 4) : -1;
      params.push(bias);
      lengths.push(bias < 0 || size === 0 ? 0 : bias + (activation > 3 ? size : N));
      attrs = [activation];
      break;
    }
  }
  params.push(...attrs);
  return { row, params, types, lengths, labels };
}
