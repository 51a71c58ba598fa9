import { isFloat } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import * as ops from '../ops/index.js';
import { checkTensor, isTensor } from '../ops/primitive.js';
import { describe, sameShape, showShape } from '../program/view.js';
import { didYouMean } from '../suggest.js';
import { type Tensor, type TensorValues, tensor } from '../tensor/tensor.js';

/** 'mean' (default) of all elements, their 'sum', or 'none': one loss per element. */
export type Reduction = 'mean' | 'sum' | 'none';

/** Options that every loss has. */
export interface ReductionOptions {
  /** Default 'mean'. */
  readonly reduction?: Reduction;
}

export const reductions = ['mean', 'sum', 'none'] as const;
export const divergenceReductions = ['mean', 'batchMean', 'sum', 'none'] as const;
export const squaredReductions = ['mean', 'batchMean', 'sum', 'halfSum', 'halfBatchMean', 'none'] as const;

export function checkReduction(
  op: string,
  reduction: unknown = 'mean',
  names: readonly string[] = reductions,
): string {
  if (typeof reduction === 'string' && names.includes(reduction)) return reduction;
  const hint = typeof reduction === 'string' ? didYouMean(reduction, names) : '';
  throw new ArgumentError(
    `${op}: reduction must be one of ${names.join(', ')}, not ${describe(reduction)}${hint}`,
  );
}

/** What the sum over all elements is divided by. A sample is an index of the first axis (all of a scalar is one sample). */
function divisorOf(loss: Tensor, reduction: string): number {
  const samples = loss.rank === 0 ? 1 : (loss.shape[0] as number);
  switch (reduction) {
    case 'sum':
      return 1;
    case 'batchMean':
      return samples;
    case 'halfSum':
      return 2;
    case 'halfBatchMean':
      return 2 * samples;
    default: // 'mean'
      return loss.size;
  }
}

/** One number of the losses of all elements, or the losses themselves; the names are explained where they are public. */
export function reduce(loss: Tensor, reduction: string): Tensor {
  if (reduction === 'none') return loss;
  if (reduction === 'mean') return ops.mean(loss);
  const sum = ops.sum(loss);
  return reduction === 'sum' ? sum : ops.div(sum, divisorOf(loss, reduction));
}

/** The same of the squares of errors, which are floats, in one pass. */
export function reduceSquares(errors: Tensor, reduction: string): Tensor {
  if (reduction === 'none') return ops.square(errors);
  const axes = errors.shape.map((_, i) => i);
  return ops.sumSquares(errors, { axes, keepdims: false, scale: 1 / divisorOf(errors, reduction) });
}

/** Refuses inputs and targets of different shapes: broadcasting them is nearly always a mistake. */
export function checkSameShape(op: string, input: Tensor, target: Tensor): void {
  checkTensor(op, input, 'the input');
  checkTensor(op, target, 'the target');
  if (!isFloat(input.dtype) && !isFloat(target.dtype)) {
    throw new DTypeError(
      `${op}: takes float32 or float64, not ${input.dtype} and ${target.dtype}; convert with .to('float32')`,
    );
  }
  if (!sameShape(input.shape, target.shape)) {
    throw new ShapeError(
      `${op}: the input has shape ${showShape(input.shape)}, the target ${showShape(target.shape)}; they must be equal ` +
        '(reshape or broadcastTo one of them)',
    );
  }
}

/** Factors of a loss: a tensor, or a number or arrays that become one of the dtype of `like`. */
export function factors(op: string, what: string, given: Tensor | TensorValues, like: Tensor): Tensor {
  if (isTensor(given)) return ops.to(given, like.dtype);
  if (typeof given === 'number' || Array.isArray(given) || ArrayBuffer.isView(given))
    return tensor(given as TensorValues, { dtype: like.dtype });
  return checkTensor(op, given, what);
}
