import { ArgumentError, ShapeError } from '../errors.js';
import { isTensor } from '../ops/primitive.js';
import type { Generator } from '../program/generator.js';
import { describe } from '../program/view.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import { batches, checkDataset, type Dataset, generatorOf, type Indices, labelsOf } from './dataset.js';

export interface DataLoaderOptions {
  /** Examples per batch; default 1. */
  readonly batchSize?: number;
  /** A new random order at every iteration; default false. */
  readonly shuffle?: boolean;
  /** Leaves out a last batch that is not full; default false. */
  readonly dropLast?: boolean;
  /**
   * Every batch holds each class in its share of the dataset, as nearly as whole numbers allow (the count of a class in
   * the first k examples is always within one of k times its share). true: the classes are the last tensor of a
   * TensorDataset, an int32 or bool vector; or the class of each example, whole numbers. Default false.
   */
  readonly stratified?: boolean | Indices;
  /** Where the order comes from; default: the generator that manualSeed() seeds. */
  readonly generator?: Generator;
}

/**
 * A dataset in batches: `for (const [x, y] of new DataLoader(ds, { batchSize: 128, shuffle: true })) …`. Each iteration
 * is one epoch. A batch holds the examples as they are when it is made, whatever becomes of the dataset. The values of a
 * TensorDataset stay where they are: a batch gathers its rows when somebody reads them, and one that goes straight to a
 * compiled step is gathered by that step and never made. (A dataset that is changed in place while such batches wait is
 * copied once for them; where the `data` of its tensors was handed out, or a gradient is wanted, batches are gathered
 * at once.)
 */
export class DataLoader<T extends readonly Tensor[] = readonly Tensor[]> implements Iterable<T> {
  readonly dataset: Dataset<T>;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly dropLast: boolean;
  readonly #generator: Generator;
  /** For stratified batches: members of each class, and which class stands at which place of an epoch. */
  readonly #strata: { readonly members: Int32Array[]; readonly pattern: Int32Array } | null = null;

  constructor(dataset: Dataset<T>, options: DataLoaderOptions = {}) {
    this.dataset = checkDataset('DataLoader', dataset);
    checkOptions('DataLoader', options, ['batchSize', 'shuffle', 'dropLast', 'stratified', 'generator']);
    const { batchSize = 1, shuffle = false, dropLast = false, stratified = false } = options;
    if (!Number.isSafeInteger(batchSize) || batchSize < 1) {
      throw new ArgumentError(`DataLoader: batchSize is a whole number >= 1, not ${describe(batchSize)}`);
    }
    for (const [name, value] of Object.entries({ shuffle, dropLast })) {
      if (typeof value !== 'boolean') {
        throw new ArgumentError(`DataLoader: ${name} is true or false, not ${describe(value)}`);
      }
    }
    this.batchSize = batchSize;
    this.shuffle = shuffle;
    this.dropLast = dropLast;
    this.#generator = generatorOf('DataLoader', options.generator);
    if (stratified !== false) this.#strata = strata(classes(dataset, stratified));
  }

  /** Number of batches per epoch. */
  get length(): number {
    const n = this.dataset.size / this.batchSize;
    return this.dropLast ? Math.floor(n) : Math.ceil(n);
  }

  /** One epoch. Its order is drawn at once, so that later draws from the generator do not change it. */
  [Symbol.iterator](): IterableIterator<T> {
    return this.#batches(this.#order());
  }

  *#batches(order: Int32Array): IterableIterator<T> {
    const n = order.length;
    const end = this.dropLast ? n - (n % this.batchSize) : n;
    const batch = batches(this.dataset, order);
    for (let start = 0; start < end; start += this.batchSize) {
      yield batch(start, Math.min(start + this.batchSize, end));
    }
  }

  /** The numbers of the examples in the order of an epoch. */
  #order(): Int32Array {
    const { size } = this.dataset;
    if (this.#strata === null) {
      return this.shuffle
        ? this.#generator.permutation(size)
        : Int32Array.from({ length: size }, (_, i) => i);
    }
    const { members, pattern } = this.#strata;
    const queues = members.map((list) =>
      this.shuffle ? this.#generator.permutation(list.length).map((i) => list[i]) : list,
    );
    const next = new Int32Array(queues.length);
    return pattern.map((c) => queues[c][next[c]++]);
  }
}

function classes(ds: Dataset, stratified: true | Indices): Int32Array {
  let list: ArrayLike<number> | undefined;
  if (stratified === true) {
    list = labelsOf(ds);
    if (list === undefined) {
      throw new ArgumentError(
        'DataLoader: stratified: true needs a TensorDataset whose last tensor is an int32 or bool vector of classes; ' +
          'else pass the class of each example: stratified: [0, 1, …]',
      );
    }
  } else if (isTensor(stratified)) list = stratified.data;
  else list = stratified;
  if (typeof list !== 'object' || list === null || !Number.isInteger(list.length)) {
    throw new ArgumentError(
      `DataLoader: stratified is true, false or the class of each example, not ${describe(list)}`,
    );
  }
  if (list.length !== ds.size) {
    throw new ShapeError(`DataLoader: ${list.length} classes for ${ds.size} examples`);
  }
  const out = new Int32Array(list.length);
  for (let i = 0; i < out.length; i++) {
    const c = list[i];
    if (!Number.isInteger(c))
      throw new ArgumentError(`DataLoader: class ${describe(c)} is not a whole number`);
    out[i] = c;
  }
  return out;
}

/**
 * Spreads classes evenly over an epoch. Place by place, of the classes that are due (fewer placed so far than their
 * share of the places so far), the one whose next member is due soonest: every prefix then holds every class to within
 * one of its share (R. Tijdeman, "The chairman assignment problem", 1980).
 */
function strata(labels: Int32Array): { members: Int32Array[]; pattern: Int32Array } {
  const lists = new Map<number, number[]>();
  labels.forEach((c, i) => {
    const list = lists.get(c);
    if (list) list.push(i);
    else lists.set(c, [i]);
  });
  const members = [...lists].sort(([a], [b]) => a - b).map(([, list]) => Int32Array.from(list));
  const n = labels.length;
  const placed = new Int32Array(members.length);
  const pattern = new Int32Array(n);
  for (let k = 1; k <= n; k++) {
    let best = -1;
    let soonest = Infinity;
    for (let c = 0; c < members.length; c++) {
      const count = members[c].length;
      if (placed[c] * n >= k * count) continue;
      const due = (placed[c] + 1) / count;
      if (due < soonest) {
        soonest = due;
        best = c;
      }
    }
    pattern[k - 1] = best;
    placed[best]++;
  }
  return { members, pattern };
}
