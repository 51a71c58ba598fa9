import { isGradEnabled } from '../autograd/mode.js';
import { ArgumentError, IndexError, ShapeError } from '../errors.js';
import { stack } from '../ops/index.js';
import { checkTensor, isTensor } from '../ops/primitive.js';
import { tracing } from '../program/emit.js';
import { defaultGenerator, Generator } from '../program/generator.js';
import { RowSource, Rows } from '../program/rows.js';
import { describe, fullView, sameShape, showShape } from '../program/view.js';
import { checkOptions, Tensor, tensor } from '../tensor/tensor.js';

/**
 * Examples by number, each one a list of tensors (say, input and label). Own classes may implement it; those that can
 * fetch many examples at once should add `gather`. The examples of one batch have as many tensors, of the same shapes; a
 * batch stacks them.
 */
export interface Dataset<T extends readonly Tensor[] = readonly Tensor[]> {
  /** Number of examples. */
  readonly size: number;
  /** Example i. */
  get(i: number): T;
  /** The examples that an int32 vector names, each tensor with a leading axis. */
  gather?(indices: Tensor): T;
}

/** A dataset that counts its examples by `length`, as arrays do. Every function here takes one in the place of a Dataset. */
export interface DatasetWithLength<T extends readonly Tensor[] = readonly Tensor[]> {
  /** Number of examples. */
  readonly length: number;
  /** Example i. */
  get(i: number): T;
  /** The examples that an int32 vector names, each tensor with a leading axis. */
  gather?(indices: Tensor): T;
}

/** Whole number in [0, size), counted from the end where negative. */
function checkIndex(op: string, i: unknown, size: number): number {
  if (typeof i !== 'number' || !Number.isInteger(i) || i < -size || i >= size) {
    throw new IndexError(`${op}: ${describe(i)} is not the number of an example; there are ${size}, from 0`);
  }
  return i < 0 ? i + size : i;
}

/**
 * Tensors whose first axes run over the same examples: `new TensorDataset(x, y)`. They are not copied, but their memory
 * is moved to where compiled steps can read it in place, unless somebody holds their `data` already.
 *
 * Throws ShapeError for scalars and for first axes that differ.
 */
export class TensorDataset<T extends readonly Tensor[] = Tensor[]> implements Dataset<T> {
  /** The tensors; example i is row i of each. */
  readonly tensors: T;
  /** Number of examples. */
  readonly size: number;

  constructor(...tensors: T) {
    if (tensors.length === 0) throw new ArgumentError('TensorDataset: takes at least one tensor');
    for (const t of tensors) checkTensor('TensorDataset', t);
    for (const t of tensors) {
      if (t.rank === 0) throw new ShapeError('TensorDataset: a scalar has no axis of examples');
      if (t.shape[0] !== tensors[0].shape[0]) {
        throw new ShapeError(
          `TensorDataset: the first axes differ: ${tensors.map((x) => showShape(x.shape)).join(' and ')}`,
        );
      }
    }
    for (const t of tensors) if (t.view.whole) t.view.storage.share();
    this.tensors = tensors;
    this.size = tensors[0].shape[0];
  }

  /** Number of examples, as `size`. */
  get length(): number {
    return this.size;
  }

  /** Example i (from the end where negative) of every tensor, as views. */
  get(i: number): T {
    const at = checkIndex('TensorDataset.get', i, this.size);
    return this.tensors.map((t) => t.select(0, at)) as unknown as T;
  }

  /** The examples that an int32 vector or an array of whole numbers names, in that order; fresh tensors. */
  gather(indices: Tensor | readonly number[]): T {
    return this.tensors.map((t) => t.indexSelect(0, indices)) as unknown as T;
  }

  /** Some of the examples, without a copy of their values. */
  subset(indices: Indices): Subset<T> {
    return new Subset(this, indices);
  }
}

/**
 * What gives the batches of an epoch: `order` lists the numbers of the examples, and is not changed any more. A batch of a
 * TensorDataset (or of parts of one) remembers which rows it is, and gathers them when somebody reads it; a compiled step
 * gathers them itself. Other datasets, and tensors whose values may change unseen, are gathered at once.
 */
export function batches<T extends readonly Tensor[]>(
  ds: Dataset<T>,
  order: Int32Array,
): (start: number, end: number) => T {
  const found = tensorsOf(ds, order);
  if (!found) {
    const all = tensor(order);
    return (start, end) => gather(ds, all.narrow(0, start, end - start));
  }
  const { tensors, rows } = found;
  const sources: (RowSource | null)[] = tensors.map(() => null);
  return (start, end) => {
    const indices = rows.subarray(start, end);
    let index: Tensor | null = null;
    return tensors.map((t, i) => {
      sources[i] ??= deferrable(t) ? new RowSource(t.view) : null;
      const source = sources[i];
      if (source?.current && deferrable(t)) {
        const shape = [end - start, ...t.shape.slice(1)];
        return new Tensor(fullView(new Rows(source, indices).storage(), shape));
      }
      index ??= tensor(indices);
      return t.indexSelect(0, index);
    }) as unknown as T;
  };
}

/** True if rows of the tensor can be read later instead of now. */
function deferrable(t: Tensor): boolean {
  const { view } = t;
  if (!view.contiguous || view.size === 0 || tracing() !== null) return false;
  return view.storage.deferrable && !(t.requiresGrad && isGradEnabled());
}

/** The tensors that the examples are rows of, and the number of the row of each in `order`. */
function tensorsOf<T extends readonly Tensor[]>(
  ds: Dataset<T>,
  order: Int32Array,
): { tensors: T; rows: Int32Array } | null {
  if (ds instanceof TensorDataset) {
    return ds.gather === TensorDataset.prototype.gather ? { tensors: ds.tensors as T, rows: order } : null;
  }
  if (!(ds instanceof Subset) || ds.gather !== Subset.prototype.gather) return null;
  const { indices } = ds;
  const list = indices.view.storage.read('Subset') as Int32Array;
  return tensorsOf(
    ds.dataset as Dataset<T>,
    order.map((i) => list[i]),
  );
}

/** Numbers of examples: an array, an Int32Array or an int32 vector. */
export type Indices = readonly number[] | Int32Array | Tensor;

/** Some examples of a dataset, in a given order, without a copy of their values. */
export class Subset<T extends readonly Tensor[] = readonly Tensor[]> implements Dataset<T> {
  /** The dataset that the examples are from. */
  readonly dataset: Dataset<T>;
  /** int32 [size]: the numbers in the dataset. */
  readonly indices: Tensor;
  readonly size: number;

  constructor(dataset: Dataset<T> | DatasetWithLength<T>, indices: Indices) {
    const given = checkDataset('Subset', dataset);
    this.dataset = given;
    const list = isTensor(indices) ? indices.data : indices;
    if (!Array.isArray(list) && !(list instanceof Int32Array)) {
      throw new ArgumentError(`Subset: indices are whole numbers, int32, not ${describe(indices)}`);
    }
    const own = new Int32Array(list.length);
    for (let i = 0; i < own.length; i++) {
      const at = list[i] as number;
      // Negative numbers would count from an end that is not this subset's.
      if (!Number.isInteger(at) || at < 0 || at >= given.size) {
        throw new IndexError(`Subset: index ${describe(at)} at position ${i} is outside [0, ${given.size})`);
      }
      own[i] = at;
    }
    this.indices = tensor(own);
    this.size = own.length;
  }

  /** Number of examples, as `size`. */
  get length(): number {
    return this.size;
  }

  /** Example i of the subset (from the end where negative). */
  get(i: number): T {
    const at = checkIndex('Subset.get', i, this.size);
    return this.dataset.get(this.indices.select(0, at).item());
  }

  /** The examples that an int32 vector or an array of whole numbers names, in that order. */
  gather(indices: Tensor | readonly number[]): T {
    return gather(this.dataset, this.indices.indexSelect(0, indices));
  }

  /** Some of these examples. */
  subset(indices: Indices): Subset<T> {
    return new Subset(this, indices);
  }
}

/** Numbers of examples are int32. */
const mostExamples = 2 ** 31 - 1;

/** The argument as a dataset with a `size`, if it is one. */
export function checkDataset<T extends readonly Tensor[]>(
  op: string,
  ds: Dataset<T> | DatasetWithLength<T>,
): Dataset<T> {
  const given: Partial<Dataset<T> & DatasetWithLength<T>> | null | undefined = ds;
  if (typeof given !== 'object' || given === null || typeof given.get !== 'function') {
    throw new ArgumentError(
      `${op}: takes a dataset such as new TensorDataset(x, y), or an object with size and get(i), not ${describe(ds)}`,
    );
  }
  const byLength = given.size === undefined && given.length !== undefined;
  const count = byLength ? given.length : given.size;
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 0) {
    throw new ArgumentError(`${op}: the dataset's size is a whole number >= 0, not ${describe(count)}`);
  }
  if (count > mostExamples) {
    throw new ArgumentError(`${op}: a dataset has at most ${mostExamples} examples, not ${count}`);
  }
  return byLength ? withSize(ds as DatasetWithLength<T>) : (ds as Dataset<T>);
}

function withSize<T extends readonly Tensor[]>(ds: DatasetWithLength<T>): Dataset<T> {
  const counted = {
    get size(): number {
      return ds.length;
    },
    get: (i: number): T => ds.get(i),
  };
  if (typeof ds.gather !== 'function') return counted;
  return Object.assign(counted, { gather: (indices: Tensor): T => ds.gather?.(indices) as T });
}

/** Many examples of any dataset at once: by its own `gather`, or one by one and stacked. */
export function gather<T extends readonly Tensor[]>(ds: Dataset<T>, indices: Tensor): T {
  if (typeof ds.gather === 'function') {
    const found = ds.gather(indices);
    checkList('gather(indices)', found);
    if (found.some((t) => t.shape[0] !== indices.size)) {
      const shapes = found.map((t) => showShape(t.shape)).join(' and ');
      throw new ShapeError(
        `Dataset: gather(indices) of ${indices.size} examples gave ${shapes}, not [${indices.size}, …]`,
      );
    }
    return found;
  }
  const numbers = indices.data as Int32Array;
  const examples = Array.from(numbers, (i) => {
    const example = ds.get(i);
    checkList(`get(${i})`, example);
    return example;
  });
  if (examples.length === 0) throw new ShapeError('gather: no examples to stack');
  const [first] = examples;
  examples.forEach((e, k) => {
    const same = e.length === first.length && e.every((t, j) => sameShape(t.shape, first[j].shape));
    if (!same) {
      const list = (x: T): string => x.map((t) => showShape(t.shape)).join(', ');
      throw new ShapeError(
        `Dataset: get(${numbers[0]}) gave tensors of the shapes ${list(first)} and get(${numbers[k]}) ${list(e)}: ` +
          'the examples of a batch have as many tensors, of the same shapes',
      );
    }
  });
  return first.map((_, k) => stack(examples.map((e) => e[k]))) as unknown as T;
}

/** Refuses what a dataset of somebody else's gives unless it is a list of tensors. */
function checkList(what: string, list: unknown): void {
  if (Array.isArray(list) && list.length > 0 && list.every(isTensor)) return;
  const wrong: unknown = Array.isArray(list) ? list.find((t) => !isTensor(t)) : list;
  const found = Array.isArray(list)
    ? `a list with ${list.length ? describe(wrong) : 'nothing'}`
    : describe(wrong);
  throw new ArgumentError(
    `Dataset: ${what} must give a list of tensors such as [x, y], but gave ${found}; make tensors with tensor(...)`,
  );
}

/** The class of each example: the last tensor of a TensorDataset; undefined where there is none to be found. */
export function labelsOf(ds: Dataset): Float64Array | undefined {
  if (ds instanceof Subset) {
    const all = labelsOf(ds.dataset);
    return all && Float64Array.from(ds.indices.data, (i) => all[i]);
  }
  if (!(ds instanceof TensorDataset)) return undefined;
  return classesOf(ds.tensors[ds.tensors.length - 1]);
}

/**
 * The classes that a tensor holds, one for each index of its first axis: whole numbers [n] or [n, 1], or one-hot rows
 * [n, C]; of any dtype. undefined for other tensors.
 */
export function classesOf(y: Tensor): Float64Array | undefined {
  const [n, width = 1] = y.shape;
  if (n === undefined || y.rank > 2) return undefined;
  const values = Float64Array.from(y.to('float64').detach().clone().data);
  if (y.rank === 1 || width === 1) return values.every(Number.isInteger) ? values : undefined;
  const classes = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const row = values.subarray(i * width, (i + 1) * width);
    const at = row.indexOf(1);
    if (at < 0 || row.some((v, j) => v !== Number(j === at))) return undefined;
    classes[i] = at;
  }
  return classes;
}

/** Options of split. */
export interface SplitOptions {
  /** Where the order comes from; default: the generator that manualSeed() seeds. */
  readonly generator?: Generator;
  /** Default true; false cuts the examples in their order. */
  readonly shuffle?: boolean;
}

/** The generator of an options object, or the default one. */
export function generatorOf(op: string, generator: Generator | undefined): Generator {
  const g = generator ?? defaultGenerator;
  if (!(g instanceof Generator))
    throw new ArgumentError(`${op}: generator is a Generator, not ${describe(g)}`);
  return g;
}

/**
 * Cuts a dataset at random into subsets that have no example in common: `split(ds, [0.8, 0.2])` or `split(ds, [800, 200])`.
 *
 * @param parts fractions that add up to 1 (each is rounded down, what remains goes one each to the first ones, as in
 *   PyTorch's random_split), or whole numbers that add up to the size
 * @throws ArgumentError for parts that are neither
 */
export function split<T extends readonly Tensor[]>(
  ds: Dataset<T> | DatasetWithLength<T>,
  parts: readonly number[],
  options: SplitOptions = {},
): Subset<T>[] {
  const { size } = checkDataset('split', ds);
  checkOptions('split', options, ['generator', 'shuffle']);
  const generator = generatorOf('split', options.generator);
  const { shuffle = true } = options;
  if (typeof shuffle !== 'boolean')
    throw new ArgumentError(`split: shuffle is true or false, not ${describe(shuffle)}`);
  if (!Array.isArray(parts) || parts.some((p) => typeof p !== 'number' || !(p >= 0))) {
    throw new ArgumentError(`split: parts are fractions that add up to 1 or sizes that add up to ${size}`);
  }
  const total = parts.reduce((a, b) => a + b, 0);
  let sizes: number[];
  if (total === size && parts.every(Number.isInteger)) sizes = [...parts];
  else if (Math.abs(total - 1) < 1e-9) {
    sizes = parts.map((p) => Math.floor(size * p));
    const rest = size - sizes.reduce((a, b) => a + b, 0);
    for (let i = 0; i < rest; i++) sizes[i % sizes.length]++;
  } else {
    throw new ArgumentError(
      `split: [${parts.join(', ')}] adds up to ${total}; fractions must add up to 1, sizes to the ${size} examples`,
    );
  }
  const order = shuffle ? generator.permutation(size) : Int32Array.from({ length: size }, (_, i) => i);
  let start = 0;
  return sizes.map((n) => new Subset(ds, order.slice(start, (start += n))));
}

/** Another name of split, as in PyTorch. */
export const randomSplit = split;
