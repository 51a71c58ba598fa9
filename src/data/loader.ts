import { ArgumentError, ShapeError } from '../errors.js';
import { isTensor } from '../ops/primitive.js';
import type { Generator } from '../program/generator.js';
import { describe, showShape } from '../program/view.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import {
  batches,
  checkDataset,
  classesOf,
  type Dataset,
  type DatasetWithLength,
  generatorOf,
  type Indices,
  labelsOf,
} from './dataset.js';

/** Options of a DataLoader. */
export interface DataLoaderOptions {
  /** Examples per batch; default 1. */
  readonly batchSize?: number;
  /** A new random order at every iteration; default false. */
  readonly shuffle?: boolean;
  /** Leaves out a last batch that is not full; default false. */
  readonly dropLast?: boolean;
  /**
   * Keeps the balance of the classes (lecture 001): in every batch the count of a class is its share of the dataset times
   * the size of the batch, rounded down or up, and so is its count in all batches so far. true: the classes are the last
   * tensor of a TensorDataset, whole numbers [n] or [n, 1] or one-hot rows [n, C] of any dtype; or the class of each
   * example, as a list of whole numbers or such a tensor. Default false.
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
 * at once.) Without `shuffle` examples come in the order of the dataset; batchSize = the number of examples is full-batch
 * training, batchSize = 1 one example at a time (lectures 001 and 002).
 *
 * @throws ArgumentError for what is no dataset, options that do not exist or have other values, and classes that are not
 *   whole numbers; ShapeError for as many classes as there are not examples. While iterating: ArgumentError and ShapeError
 *   for a dataset whose examples are not lists of tensors of the same shapes
 */
export class DataLoader<T extends readonly Tensor[] = readonly Tensor[]> implements Iterable<T> {
  /** What the batches are from. */
  readonly dataset: Dataset<T>;
  readonly #batchSize: number;
  readonly #shuffle: boolean;
  readonly #dropLast: boolean;
  readonly #generator: Generator;
  /** For stratified batches: members of each class, and which class stands at which place of an epoch. */
  readonly #strata: { readonly members: Int32Array[]; readonly pattern: Int32Array } | null = null;

  constructor(dataset: Dataset<T> | DatasetWithLength<T>, options: DataLoaderOptions = {}) {
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
    this.#batchSize = batchSize;
    this.#shuffle = shuffle;
    this.#dropLast = dropLast;
    this.#generator = generatorOf('DataLoader', options.generator);
    if (stratified !== false) this.#strata = strata(classes(this.dataset, stratified), batchSize);
  }

  /** Examples per batch. */
  get batchSize(): number {
    return this.#batchSize;
  }

  /** Whether each epoch has an order of its own. */
  get shuffle(): boolean {
    return this.#shuffle;
  }

  /** Whether a last batch that is not full is left out. */
  get dropLast(): boolean {
    return this.#dropLast;
  }

  /** Number of batches per epoch. */
  get length(): number {
    const n = this.dataset.size / this.#batchSize;
    return this.#dropLast ? Math.floor(n) : Math.ceil(n);
  }

  /** One epoch. Its order is drawn at once, so that later draws from the generator do not change it. */
  [Symbol.iterator](): IterableIterator<T> {
    return this.#batches(this.#order());
  }

  *#batches(order: Int32Array): IterableIterator<T> {
    const n = order.length;
    const end = this.#dropLast ? n - (n % this.#batchSize) : n;
    const batch = batches(this.dataset, order);
    for (let start = 0; start < end; start += this.#batchSize) {
      yield batch(start, Math.min(start + this.#batchSize, end));
    }
  }

  /** The numbers of the examples in the order of an epoch. */
  #order(): Int32Array {
    const { size } = this.dataset;
    if (this.#strata === null) {
      return this.#shuffle
        ? this.#generator.permutation(size)
        : Int32Array.from({ length: size }, (_, i) => i);
    }
    const { members, pattern } = this.#strata;
    const queues = members.map((list) =>
      this.#shuffle ? this.#generator.permutation(list.length).map((i) => list[i]) : list,
    );
    const next = new Int32Array(queues.length);
    return pattern.map((c) => queues[c][next[c]++]);
  }
}

function classes(ds: Dataset, stratified: true | Indices): Float64Array {
  let list: ArrayLike<number> | undefined;
  if (stratified === true) {
    list = labelsOf(ds);
    if (list === undefined) {
      throw new ArgumentError(
        'DataLoader: stratified: true needs a TensorDataset whose last tensor holds classes, whole numbers [n] or [n, 1] or ' +
          'one-hot rows [n, C]; else pass the class of each example: stratified: [0, 1, …]',
      );
    }
  } else if (isTensor(stratified)) {
    list = classesOf(stratified);
    if (list === undefined) {
      throw new ArgumentError(
        `DataLoader: stratified holds classes, whole numbers [n] or [n, 1] or one-hot rows [n, C], and this tensor ` +
          `${showShape(stratified.shape)} does not`,
      );
    }
  } else list = stratified;
  if (typeof list !== 'object' || list === null || !Number.isInteger(list.length)) {
    throw new ArgumentError(
      `DataLoader: stratified is true, false or the class of each example, not ${describe(list)}`,
    );
  }
  if (list.length !== ds.size) {
    throw new ShapeError(`DataLoader: ${list.length} classes for ${ds.size} examples`);
  }
  return Float64Array.from(list, (c) => {
    if (Number.isInteger(c)) return c;
    throw new ArgumentError(`DataLoader: class ${describe(c)} is not a whole number`);
  });
}

/** Rounds a / b to whole numbers, without the error of a quotient in floating point. */
const floorDiv = (a: number, b: number): number => (a - (a % b)) / b;
const ceilDiv = (a: number, b: number): number => floorDiv(a + b - 1, b);

/**
 * Spreads classes evenly over an epoch: members of each class, and which class stands at which place.
 *
 * Of a class with N of the n examples a batch of b gets b N / n, rounded down or up. What is rounded away is a fraction
 * w / n, w = b N mod n, that the class is owed in every batch, and the fractions of a batch add up to a whole number of
 * places. To give those places so that no class is ever a whole place behind or ahead is to schedule tasks of weight w / n
 * on as many processors, one slot to a batch (Baruah et al., "Proportionate progress", 1996); the rule that decides is PD²
 * (Anderson and Srinivasan, "Mixed Pfair/ERfair scheduling of asynchronous periodic tasks", 2004).
 */
function strata(labels: Float64Array, batchSize: number): { members: Int32Array[]; pattern: Int32Array } {
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
  let at = 0;
  /** Writes a batch with `take[c]` members of each class, the one that is due soonest first. */
  const write = (take: Int32Array): void => {
    const due: { readonly c: number; readonly when: number }[] = [];
    take.forEach((count, c) => {
      for (let i = 1; i <= count; i++) due.push({ c, when: (placed[c] + i) / members[c].length });
      placed[c] += count;
    });
    due.sort((a, b) => a.when - b.when || a.c - b.c);
    for (const { c } of due) pattern[at++] = c;
  };

  const full = floorDiv(n, batchSize);
  const tasks = members.map(({ length }) => new Task((batchSize * length) % n, n));
  const base = Int32Array.from(members, ({ length }) => floorDiv(batchSize * length, n));
  const places = batchSize - base.reduce((a, b) => a + b, 0);
  for (let slot = 0; slot < full; slot++) {
    const take = base.slice();
    for (let k = 0; k < places; k++) {
      let best = -1;
      tasks.forEach((task, c) => {
        if (take[c] > base[c] || task.release > slot) return;
        if (best < 0 || task.before(tasks[best])) best = c;
      });
      take[best]++;
      tasks[best].next();
    }
    write(take);
  }
  // What is left is the last batch.
  write(Int32Array.from(members, ({ length }, c) => length - placed[c]));
  return { members, pattern };
}

/** A class that is owed w / n of a place in every slot: when its next place may and must be given. */
class Task {
  #count = 0;
  /** The first slot that may give the next place. */
  release = 0;
  /** The place has to be given in a slot before this one. */
  #deadline = 0;
  /** The slot before the deadline may give the place after it as well. */
  #overlap = false;
  /** Until when places given at the last moment leave no choice for the next ones. */
  #group = 0;

  constructor(
    readonly w: number,
    readonly n: number,
  ) {
    this.next();
  }

  /** Goes on to the place after. */
  next(): void {
    const { w, n } = this;
    if (w === 0) {
      this.release = Infinity;
      return;
    }
    this.release = floorDiv(this.#count * n, w);
    const i = ++this.#count;
    this.#deadline = ceilDiv(i * n, w);
    this.#overlap = (i * n) % w !== 0;
    this.#group = 2 * w < n ? 0 : ceilDiv(ceilDiv(this.#deadline * (n - w), n) * n, n - w);
  }

  /** True if this task goes first. */
  before(other: Task): boolean {
    if (this.#deadline !== other.#deadline) return this.#deadline < other.#deadline;
    if (this.#overlap !== other.#overlap) return this.#overlap;
    return this.#overlap && this.#group > other.#group;
  }
}
