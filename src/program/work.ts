import { isElementwise } from '../backend/js/map.js';
import { byteWidth } from '../dtype.js';
import { isUpdate, operandOf, productOf, readsOf, writesOf } from './dataflow.js';
import type { Recorded } from './emit.js';
import type { Storage } from './storage.js';
import { sizeOf } from './view.js';

// What a kernel call has to do at least: over which sizes it goes, how many operations that takes, how many bytes move.
// The layouts of params are those of native/kernels.def.

/** What a call goes over. */
interface Extent {
  readonly sizes: string;
  /** Additions, multiplications, divisions, comparisons and functions such as exp, each counted as one. */
  readonly flops: number;
  /** How many elements of each buffer are touched, at most. */
  readonly touched: readonly number[];
}

/** Operations on each element, where a kernel does not do one. */
const perElement: Readonly<Record<string, number>> = {
  copy: 0,
  fill: 0,
  silu: 2,
  elu: 3,
  huber: 4,
  geluGrad: 8,
  siluGrad: 6,
  eluGrad: 3,
  axpby: 3,
  sigmoidGrad: 3,
  tanhGrad: 3,
  softmax: 5,
  logSoftmax: 5,
  logSumExp: 4,
  sumSquares: 2,
  sumSquaredDeviations: 4,
  softmaxGrad: 4,
  logSoftmaxGrad: 4,
  crossEntropy: 5,
  crossEntropyGrad: 3,
  layerNorm: 8,
  layerNormGrad: 13,
  batchNorm: 8,
  batchNormGrad: 13,
  layerNormWeightGrad: 8,
  batchNormWeightGrad: 8,
  indexSelect: 0,
  gather: 0,
  sgd: 2,
  sgdMomentum: 5,
  adam: 13,
};

const ofEach = (name: string): number => perElement[name] ?? 1;
const times = (sizes: readonly number[]): string => (sizes.length === 0 ? '1' : sizes.join('x'));
const reductions = new Set([
  'sum',
  'sumSquares',
  'sumSquaredDeviations',
  'prod',
  'max',
  'min',
  'argmax',
  'argmin',
  'countLabels',
]);
const overRows = /^((nll|crossEntropy)(Grad)?|(layer|batch)Norm((Weight)?Grad)?)$/;
const alongAxis = /^(softmax|logSoftmax|logSumExp|softmaxGrad|logSoftmaxGrad|cumsum)$/;
const indexed = /^(indexSelect|gather)(Grad)?$/;

function mapExtent(call: Recorded): Extent {
  const p = call.params as readonly number[];
  const nd = p[0] as number;
  const shape = p.slice(1, 1 + nd);
  const operands = call.storages.map((_, i) => {
    const { strides } = operandOf(call, nd, i);
    return shape.map((n, d) => (strides[d] === 0 ? 1 : n));
  });
  const given = operands.slice(1).map(times);
  const all = given.every((sizes) => sizes === times(shape));
  return {
    sizes: all ? times(shape) : `${times(shape)} <- ${given.join(', ')}`,
    flops: ofEach(call.kernel.name) * sizeOf(shape),
    touched: operands.map(sizeOf),
  };
}

function reduceExtent(call: Recorded): Extent {
  const p = call.params as readonly number[];
  const [nk, nr] = p as [number, number];
  const kept = p.slice(2, 2 + nk);
  const reduced = p.slice(2 + nk, 2 + nk + nr);
  const n = sizeOf(kept) * sizeOf(reduced);
  return { sizes: `${times(kept)} of ${times(reduced)}`, flops: n, touched: [sizeOf(kept), n] };
}

function rowsExtent(call: Recorded): Extent {
  const [rows, cols] = call.params as [number, number];
  const { name } = call.kernel;
  const n = rows * cols;
  return {
    sizes: `${rows}x${cols}`,
    flops: name.startsWith('nll') ? rows : ofEach(name) * n,
    touched: call.storages.map((s) => Math.min(s.length, n)),
  };
}

function axisExtent(call: Recorded): Extent {
  const [outer, n, inner] = call.params as [number, number, number];
  const all = outer * n * inner;
  return {
    sizes: inner === 1 ? `${outer}x${n}` : `${outer}x${n}x${inner}`,
    flops: ofEach(call.kernel.name) * all,
    touched: call.storages.map((s) => Math.min(s.length, all)),
  };
}

function indexExtent(call: Recorded): Extent {
  const [outer, n, inner, count] = call.params as [number, number, number, number];
  const { name } = call.kernel;
  const picked = outer * count * inner;
  const indices = name.startsWith('gather') ? picked : count;
  const gradient = name.endsWith('Grad');
  return {
    sizes: `${outer}x${n}x${inner}, ${count} of ${n}`,
    flops: ofEach(name) * picked,
    touched: [gradient ? outer * n * inner : picked, picked, indices],
  };
}

/** A product with what it does beside: a bias, an activation, an optimizer's step, sums. */
function productExtent(call: Recorded): Extent {
  const { kernel, params, storages, outputs } = call;
  const plain = productOf(call);
  const [rows, cols, depth] = params as [number, number, number];
  const { batch, m, n, k } = plain ?? { batch: [], m: rows, n: cols, k: depth };
  const elements = sizeOf(batch) * m * n;
  let flops = 2 * elements * k;
  if (plain) {
    const { bias, activation } = plain;
    if (bias !== -1 && activation < 4) flops += elements;
    if (activation !== 0) flops += elements * (activation > 4 ? 3 : 1);
  } else {
    const { name } = kernel;
    const update = /^(\w+)Product/.exec(name)?.[1];
    if (update !== undefined) flops += ofEach(update) * elements;
    if (name.endsWith('Sums')) flops += n * k;
  }
  return {
    sizes: `${batch.length > 0 ? `${times(batch)} of ` : ''}${m}x${k} · ${k}x${n}`,
    flops,
    touched: storages.map((s, i) => {
      const factor = plain ? i - outputs : i - (storages.length - 2);
      const size = factor === 0 ? m * k : factor === 1 ? k * n : m * n;
      return Math.min(s.length, sizeOf(batch) * size);
    }),
  };
}

function extent(call: Recorded): Extent {
  const { kernel, params, storages } = call;
  const { name } = kernel;
  if (isElementwise(kernel.js)) return mapExtent(call);
  if (name === 'matmul' || isUpdate(call)) return productExtent(call);
  if (reductions.has(name)) return reduceExtent(call);
  if (overRows.test(name)) return rowsExtent(call);
  if (alongAxis.test(name)) return axisExtent(call);
  if (indexed.test(name)) return indexExtent(call);
  const n = params[0] as number; // random numbers, an optimizer's step
  return { sizes: String(n), flops: ofEach(name) * n, touched: storages.map(() => n) };
}

/** What a call has to do. `local` are storages that never reach memory. */
export interface Work {
  /** Sizes of what it goes over: of the result and, where they differ, of its operands. */
  readonly sizes: string;
  readonly flops: number;
  /** Bytes that are read and written if nothing is in a cache, each element once a direction. */
  readonly bytes: number;
}

export function workOf(call: Recorded, local: ReadonlySet<Storage>): Work {
  const { sizes, flops, touched } = extent(call);
  const of = (storages: readonly Storage[]): number => {
    let bytes = 0;
    for (const s of new Set(storages)) {
      if (local.has(s)) continue;
      const elements = Math.max(...touched.filter((_, i) => call.storages[i] === s));
      bytes += Math.min(s.length, elements) * byteWidth(s.dtype);
    }
    return bytes;
  };
  return { sizes, flops, bytes: of(writesOf(call)) + of(readsOf(call)) };
}
