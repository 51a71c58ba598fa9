import { checkDType, type DType, isFloat } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import { full as fullOp } from '../ops/full.js';
import { isTensor } from '../ops/primitive.js';
import * as random from '../ops/random.js';
import { defaultGenerator, Generator } from '../program/generator.js';
import { newArray } from '../program/storage.js';
import { checkShape, describe, type Shape } from '../program/view.js';
import { checkOptions, type Tensor, type TensorOptions, tensor } from './tensor.js';

// Functions that make tensors. Shapes are arrays or separate numbers: zeros([2, 3]) or zeros(2, 3).

/** Options of functions that make random tensors. */
export interface RandomOptions extends TensorOptions {
  /** Where the numbers come from; default: the generator that manualSeed() seeds. */
  readonly generator?: Generator;
}

/** A shape as an array or as separate numbers, with options behind it: (2, 3), ([2, 3]), (2, 3, { dtype: 'float64' }). */
export type ShapeArgs<O> = readonly [Shape, O?] | readonly number[] | readonly [...number[], O];

const plainOptions = ['dtype', 'requiresGrad'];

function parse<O extends TensorOptions>(
  op: string,
  args: ShapeArgs<O>,
  names: readonly string[],
): [number[], O, DType] {
  const list = [...args] as unknown[];
  let options = {} as O;
  const last = list[list.length - 1];
  if (list.length > 0 && typeof last === 'object' && last !== null && !Array.isArray(last))
    options = list.pop() as O;
  else if (list.length > 0 && last === undefined) list.pop();
  checkOptions(op, options, names);
  const shape = checkShape(op, list.length === 1 && Array.isArray(list[0]) ? list[0] : list);
  return [shape, options, checkDType(options.dtype ?? 'float32', op)];
}

function finish(t: Tensor, options: TensorOptions): Tensor {
  if (options.requiresGrad !== undefined) t.requiresGrad = options.requiresGrad;
  return t;
}

/**
 * Zeros of a shape, given as an array or as separate numbers: zeros(2, 3). float32 by default; int32, bool and float64
 * as well. Throws ShapeError for what is no shape, DTypeError for a dtype that does not exist, ArgumentError for
 * options that do not.
 */
export function zeros(...args: ShapeArgs<TensorOptions>): Tensor {
  const [shape, options, dtype] = parse('zeros', args, plainOptions);
  return finish(fullOp(shape, 0, dtype), options);
}

/**
 * Ones of a shape, given as an array or as separate numbers: ones(2, 3). float32 by default; int32, bool and float64
 * as well. Throws ShapeError for what is no shape, DTypeError for a dtype that does not exist, ArgumentError for
 * options that do not.
 */
export function ones(...args: ShapeArgs<TensorOptions>): Tensor {
  const [shape, options, dtype] = parse('ones', args, plainOptions);
  return finish(fullOp(shape, 1, dtype), options);
}

/**
 * A tensor of one value, any dtype; float32 by default (bool for true and false). Throws ShapeError for what is no
 * shape, DTypeError for a dtype that does not exist, ArgumentError for options that do not.
 */
export function full(shape: Shape, value: number | boolean, options: TensorOptions = {}): Tensor {
  checkOptions('full', options, plainOptions);
  if (typeof value !== 'number' && typeof value !== 'boolean') {
    throw new ArgumentError(`full: the value is a number, not ${describe(value)}`);
  }
  const dtype = checkDType(options.dtype ?? (typeof value === 'boolean' ? 'bool' : 'float32'), 'full');
  return finish(fullOp(checkShape('full', shape), Number(value), dtype), options);
}

function like(op: string, t: Tensor, value: number | boolean, options: TensorOptions): Tensor {
  if (!isTensor(t)) throw new ArgumentError(`${op}: takes a tensor, not ${describe(t)}`);
  return full(t.shape, value, { dtype: t.dtype, ...options });
}

/** Zeros of the shape and dtype of another tensor. Throws as full. */
export function zerosLike(t: Tensor, options: TensorOptions = {}): Tensor {
  return like('zerosLike', t, 0, options);
}

/** Ones of the shape and dtype of another tensor. Throws as full. */
export function onesLike(t: Tensor, options: TensorOptions = {}): Tensor {
  return like('onesLike', t, 1, options);
}

/** One value in the shape and dtype of another tensor. Throws as full. */
export function fullLike(t: Tensor, value: number | boolean, options: TensorOptions = {}): Tensor {
  return like('fullLike', t, value, options);
}

/**
 * The identity matrix [n, m] (m = n by default): 1 where row and column are the same, else 0. float32 by default.
 * Throws as full.
 */
export function eye(n: number, m?: number | TensorOptions, options: TensorOptions = {}): Tensor {
  if (typeof m === 'object' && m !== null) {
    if (typeof n !== 'number') throw new ShapeError(`eye: a size is a whole number >= 0, not ${describe(n)}`);
    return eye(n, n, m);
  }
  const [rows, columns] = checkShape('eye', [n, m ?? n]) as [number, number];
  checkOptions('eye', options, plainOptions);
  const values = newArray('float64', rows * columns, 'eye');
  for (let i = 0; i < Math.min(rows, columns); i++) values[i * columns + i] = 1;
  return tensor(values, { dtype: 'float32', ...options, shape: [rows, columns] });
}

/**
 * Numbers from `start` (default 0) up to, but not including, `end` by `step` (default 1, may be negative): a vector.
 * int32 where all are whole, else float32; the option dtype says otherwise. Throws ArgumentError for a step of 0 or
 * what is no number.
 */
export function arange(
  start: number,
  end?: number | TensorOptions,
  step?: number | TensorOptions,
  options?: TensorOptions,
): Tensor {
  if (typeof end === 'object') return arange(0, start, 1, end);
  if (typeof step === 'object') return arange(start, end, 1, step);
  const [from, to] = end === undefined ? [0, start] : [start, end];
  const by = step ?? 1;
  for (const x of [from, to, by]) {
    if (typeof x !== 'number' || !Number.isFinite(x))
      throw new ArgumentError(`arange: ${describe(x)} is not a number`);
  }
  if (by === 0) throw new ArgumentError('arange: a step of 0 leads nowhere');
  const n = Math.max(0, Math.ceil((to - from) / by));
  checkShape('arange', [n]);
  const values = newArray('float64', n, 'arange');
  for (let i = 0; i < n; i++) values[i] = from + i * by;
  const whole = [from, to, by].every(Number.isInteger);
  return tensor(values, { dtype: whole ? 'int32' : 'float32', ...options });
}

/**
 * `steps` numbers evenly spaced from `start` to `end`, both included: a vector; float32 by default. Throws ShapeError
 * where `steps` is no size.
 */
export function linspace(start: number, end: number, steps: number, options: TensorOptions = {}): Tensor {
  const [n] = checkShape('linspace', [steps]) as [number];
  for (const x of [start, end]) {
    if (typeof x !== 'number' || !Number.isFinite(x))
      throw new ArgumentError(`linspace: ${describe(x)} is not a number`);
  }
  const step = n > 1 ? (end - start) / (n - 1) : 0;
  // From both ends, so that both are hit exactly and the list is symmetric.
  const values = newArray('float64', n, 'linspace');
  for (let i = 0; i < n; i++) values[i] = i < n / 2 ? start + i * step : end - (n - 1 - i) * step;
  return tensor(values, { dtype: 'float32', ...options });
}

const randomNames = ['dtype', 'requiresGrad', 'generator'];

function generatorOf(op: string, options: RandomOptions): Generator {
  const g = options.generator ?? defaultGenerator;
  if (!(g instanceof Generator))
    throw new ArgumentError(`${op}: generator is a Generator, not ${describe(g)}`);
  return g;
}

function floatOnly(op: string, dtype: DType): DType {
  if (!isFloat(dtype)) throw new DTypeError(`${op}: makes float32 or float64, not ${dtype}; see randint`);
  return dtype;
}

/**
 * Uniform random numbers in [0, 1) of a shape; float32 by default, or float64 (DTypeError otherwise). The same
 * generator state gives the same numbers on every backend.
 */
export function rand(...args: ShapeArgs<RandomOptions>): Tensor {
  const [shape, options, dtype] = parse<RandomOptions>('rand', args, randomNames);
  return finish(random.uniform(shape, 0, 1, floatOnly('rand', dtype), generatorOf('rand', options)), options);
}

/**
 * Standard normal random numbers of a shape; float32 by default, or float64 (DTypeError otherwise). The same generator
 * state gives the same numbers on every backend.
 */
export function randn(...args: ShapeArgs<RandomOptions>): Tensor {
  const [shape, options, dtype] = parse<RandomOptions>('randn', args, randomNames);
  return finish(
    random.normal(shape, 0, 1, floatOnly('randn', dtype), generatorOf('randn', options)),
    options,
  );
}

function randomLike(op: string, t: Tensor, options: RandomOptions): RandomOptions {
  if (!isTensor(t)) throw new ArgumentError(`${op}: takes a tensor, not ${describe(t)}`);
  checkOptions(op, options, randomNames);
  return { ...options, dtype: options.dtype ?? t.dtype };
}

/** Uniform random numbers in [0, 1), in the shape and dtype (float32 or float64) of another tensor. */
export function randLike(t: Tensor, options: RandomOptions = {}): Tensor {
  const given = randomLike('randLike', t, options);
  return rand(t.shape, given);
}

/** Standard normal random numbers, in the shape and dtype (float32 or float64) of another tensor. */
export function randnLike(t: Tensor, options: RandomOptions = {}): Tensor {
  const given = randomLike('randnLike', t, options);
  return randn(t.shape, given);
}

/**
 * Random whole numbers in [low, high) of a shape, int32. Throws ArgumentError unless low < high are whole numbers that
 * int32 holds.
 */
export function randint(
  low: number,
  high: number,
  shape: Shape,
  options: { readonly generator?: Generator } = {},
): Tensor {
  checkOptions('randint', options, ['generator']);
  return random.randint(checkShape('randint', shape), low, high, generatorOf('randint', options));
}

/** A random order of 0 … n−1: an int32 vector (Fisher–Yates). */
export function randperm(n: number, options: { generator?: Generator } = {}): Tensor {
  checkOptions('randperm', options, ['generator']);
  const [size] = checkShape('randperm', [n]) as [number];
  return tensor(generatorOf('randperm', options).permutation(size));
}
