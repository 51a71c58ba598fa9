import { noGrad } from '../autograd/mode.js';
import { isFloat } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import * as ops from '../ops/index.js';
import { indexTensor } from '../ops/indices.js';
import { composed } from '../ops/intermediates.js';
import { checkTensor, isTensor } from '../ops/primitive.js';
import { describe, type Shape, sameShape, showShape } from '../program/view.js';
import { checkOptions, type NestedArray, type Tensor, type TensorValues, tensor } from '../tensor/tensor.js';
import { checkReduction, factors, type ReductionOptions, reduce } from './options.js';

/** Options of nllLoss. */
export interface NLLOptions extends ReductionOptions {
  /** One factor per class [C] (an array will do); with reduction 'mean' the sum is divided by the sum of the factors. */
  readonly weight?: Tensor | TensorValues | undefined;
  /** Rows with this label count for nothing. Default -100, as in PyTorch. */
  readonly ignoreIndex?: number | undefined;
}

/** Options of crossEntropy. */
export interface CrossEntropyOptions extends NLLOptions {
  /** Share of the target that is spread evenly over all classes, in [0, 1]. Default 0. */
  readonly labelSmoothing?: number;
}

/** Classes on the last axis of a matrix: [C] becomes [1, C], and [N, C, d…] becomes [N·d…, C]. */
function asRows(x: Tensor): Tensor {
  const { shape } = x;
  const classes = shape[shape.length === 1 ? 0 : 1] as number;
  if (shape.length === 2) return x;
  if (shape.length === 1) return ops.reshape(x, [1, classes]);
  const order = [0, ...shape.slice(2).map((_, i) => i + 2), 1];
  return ops.reshape(ops.permute(x, order), [x.size / Math.max(classes, 1), classes]);
}

/** Shape of the labels for scores: without the axis of classes. */
function labelShape(shape: Shape): number[] {
  return shape.length === 1 ? [] : shape.filter((_, i) => i !== 1);
}

function checkScores(op: string, x: unknown): Tensor {
  const t = checkTensor(op, x, 'the first argument');
  if (!isFloat(t.dtype)) throw new DTypeError(`${op}: the input must be float32 or float64, not ${t.dtype}`);
  if (t.rank === 0 || (t.shape[t.rank === 1 ? 0 : 1] as number) === 0) {
    throw new ShapeError(
      `${op}: the input is [C], [N, C] or [N, C, d…] with at least one class, not ${showShape(t.shape)}`,
    );
  }
  return t;
}

function checkLabels(op: string, input: Tensor, target: unknown): Tensor {
  const expected = labelShape(input.shape);
  if (isTensor(target) && isFloat(target.dtype)) {
    throw new DTypeError(
      `${op}: labels are int32, not ${target.dtype}; convert with .to('int32')` +
        (op === 'crossEntropy' ? `, or give probabilities of shape ${showShape(input.shape)}` : ''),
    );
  }
  const labels = indexTensor(op, typeof target === 'number' ? [target] : target);
  const scalar = typeof target === 'number' || labels.size === 1;
  if (!sameShape(labels.shape, expected) && !(scalar && expected.length === 0 && labels.rank <= 1)) {
    throw new ShapeError(
      `${op}: labels of shape ${showShape(labels.shape)} do not fit an input of shape ${showShape(input.shape)}: ` +
        `they must have shape ${showShape(expected)}`,
    );
  }
  return ops.reshape(labels, [labels.size]);
}

function checkWeight(
  op: string,
  given: Tensor | TensorValues | undefined,
  classes: number,
  like: Tensor,
): Tensor | undefined {
  if (given === undefined) return undefined;
  const weight = factors(op, 'weight', given, like);
  if (!sameShape(weight.shape, [classes])) {
    throw new ShapeError(
      `${op}: weight has shape ${showShape(weight.shape)}, and there are ${classes} classes`,
    );
  }
  return weight;
}

/** Nested arrays: probabilities in the shape of the scores, or labels of [N, d…]. */
function rowsOf(op: string, given: readonly NestedArray[], x: Tensor): Tensor {
  if (x.rank === 2) {
    const rows = tensor(given as NestedArray[], { dtype: x.dtype });
    if (sameShape(rows.shape, x.shape)) return rows;
    throw new ShapeError(
      `${op}: rows of shape ${showShape(rows.shape)} do not fit an input of shape ${showShape(x.shape)}: they must be equal`,
    );
  }
  let depth = 0;
  for (let a: unknown = given; Array.isArray(a); a = a[0]) depth++;
  const values = tensor(given as NestedArray[], { dtype: x.dtype });
  // Through the flat list, which refuses what is no whole number.
  const flat = (): number[] => (given as readonly unknown[]).flat(Infinity) as number[];
  return depth === x.rank ? values : ops.reshape(indexTensor(op, flat()), values.shape);
}

interface Labelled {
  /** -log p of the labels, times weight, per row; 0 for ignored rows. */
  readonly losses: Tensor;
  /** What 'mean' divides by: the sum of the weights of rows that count. */
  readonly total: Tensor;
}

function labelled(lp: Tensor, labels: Tensor, weight: Tensor | undefined, ignoreIndex: number): Labelled {
  const losses = ops.nll(lp, labels, ignoreIndex);
  if (weight === undefined) return { losses, total: ops.countLabels(labels, ignoreIndex, lp.dtype) };
  const keep = ops.ne(labels, ignoreIndex);
  // Any class does for the rows that count for nothing.
  const picked = ops.indexSelect(weight, 0, ops.where(keep, labels, 0));
  const factor = ops.where(keep, picked, 0);
  return { losses: ops.mul(losses, factor), total: ops.sum(factor) };
}

function checkIgnore(op: string, ignoreIndex = -100): number {
  if (Number.isInteger(ignoreIndex)) return ignoreIndex;
  throw new ArgumentError(`${op}: ignoreIndex must be a whole number, not ${describe(ignoreIndex)}`);
}

function finish(losses: Tensor, total: Tensor | null, reduction: string, shape: Shape): Tensor {
  if (reduction === 'none') return ops.reshape(losses, shape);
  return reduction === 'mean' && total !== null ? ops.div(ops.sum(losses), total) : reduce(losses, reduction);
}

/**
 * Negative log likelihood: -weight[y] · input[y] for rows of log probabilities. `input` is [N, C], [C] or [N,
 * C, d…], `target` int32 labels of shape [N], [] or [N, d…] (arrays will do). With the logarithm of estimated probabilities
 * p̂ as the input it is lecture 002's cross-entropy loss, −Σ_k 1(y in class k) log p̂_k: nllLoss(p.log(), y).
 *
 * Throws IndexError for a label outside [0, C), ShapeError and DTypeError for shapes and dtypes that do not
 * fit.
 */
export function nllLoss(
  input: Tensor,
  target: Tensor | readonly number[] | Int32Array,
  options: NLLOptions = {},
): Tensor {
  const op = 'nllLoss';
  checkOptions(op, options, ['reduction', 'weight', 'ignoreIndex']);
  const reduction = checkReduction(op, options.reduction);
  const x = checkScores(op, input);
  const labels = checkLabels(op, x, target);
  const lp = asRows(x);
  const weight = checkWeight(op, options.weight, lp.shape[1] as number, lp);
  const ignoreIndex = checkIgnore(op, options.ignoreIndex);
  return composed(() => {
    const { losses, total } = labelled(lp, labels, weight, ignoreIndex);
    return finish(losses, total, reduction, labelShape(x.shape));
  });
}

/**
 * Cross-entropy of softmax(logits) with the targets, lecture 001's L = −1/N Σₙ Σ_j y_j⁽ⁿ⁾ log f_j⁽ⁿ⁾ with f = softmax(h):
 * nllLoss(logSoftmax(logits)), which neither overflows nor loses digits (logits of ±1e5 are fine). `logits` is [N, C],
 * [C] or [N, C, d…], float32 or float64. Targets are int32 labels of shape [N], [] or [N, d…] (arrays will do), or one-hot rows or
 * probabilities in the shape of the logits (tensors, or nested arrays). With `labelSmoothing` ε the target is
 * (1 − ε) y + ε/C (Szegedy et al., 2016). Weights, label smoothing and 'mean' are as in PyTorch.
 *
 * Throws IndexError for a label outside [0, C), ShapeError and DTypeError for shapes and dtypes that do not
 * fit, ArgumentError for options that do not exist or have no such value.
 */
export function crossEntropy(
  logits: Tensor,
  target: Tensor | readonly number[] | readonly NestedArray[] | Int32Array | number,
  options: CrossEntropyOptions = {},
): Tensor {
  const op = 'crossEntropy';
  checkOptions(op, options, ['reduction', 'weight', 'ignoreIndex', 'labelSmoothing']);
  const reduction = checkReduction(op, options.reduction);
  const x = checkScores(op, logits);
  const smoothing = options.labelSmoothing ?? 0;
  if (!(typeof smoothing === 'number' && smoothing >= 0 && smoothing <= 1)) {
    throw new ArgumentError(`${op}: labelSmoothing must lie in [0, 1], not ${describe(smoothing)}`);
  }
  const ignoreIndex = checkIgnore(op, options.ignoreIndex);
  const shape = labelShape(x.shape);
  const z = asRows(x);
  const classes = z.shape[1] as number;
  const weight = checkWeight(op, options.weight, classes, z);
  // Rows as arrays may have fractions, which labels cannot.
  const nested = Array.isArray(target) && Array.isArray(target[0]) && x.rank > 1;
  const y = nested ? rowsOf(op, target as readonly NestedArray[], x) : target;

  // Where there is an axis of classes, a target with that axis can only be rows of probabilities, or one-hot ones.
  const rows = isTensor(y) && sameShape(y.shape, x.shape) && (isFloat(y.dtype) || x.rank > 1);
  if (rows) {
    if (ignoreIndex !== -100) {
      throw new ArgumentError(`${op}: ignoreIndex goes with labels; these targets are probabilities`);
    }
    return composed(() => {
      let p = ops.to(asRows(y), z.dtype);
      if (smoothing > 0) p = ops.add(ops.mul(p, 1 - smoothing), smoothing / classes);
      if (weight !== undefined) p = ops.mul(p, weight);
      return finish(ops.neg(ops.sum(ops.mul(p, ops.logSoftmax(z)), 1)), null, reduction, shape);
    });
  }

  const labels = checkLabels(op, x, y);
  return composed(() => {
    const lp = ops.logSoftmax(z);
    const { losses, total } = labelled(lp, labels, weight, ignoreIndex);
    if (smoothing === 0) return finish(losses, total, reduction, shape);
    // (1 - ε) of the loss at the label, and ε / C of the (weighted) losses of all classes.
    const all = ops.neg(ops.sum(weight === undefined ? lp : ops.mul(lp, weight), 1));
    const spread = ops.where(ops.ne(labels, ignoreIndex), all, 0);
    const mixed = ops.add(ops.mul(losses, 1 - smoothing), ops.mul(spread, smoothing / classes));
    return finish(mixed, total, reduction, shape);
  });
}

/**
 * One-hot rows (lecture 001: class j of K as a vector y with y_j = 1 and zeros elsewhere, classes counted from 0 here): a 1
 * at each label and 0 elsewhere, float32: labels of shape s give [...s, classes]. Without
 * `classes` it is the largest label plus one, which reads the labels and so cannot be used in a compiled
 * step.
 */
export function oneHot(labels: Tensor | readonly number[] | Int32Array, classes?: number): Tensor {
  const t = indexTensor('oneHot', labels);
  if (classes !== undefined) return ops.oneHot(t, classes);
  if (t.size === 0)
    throw new ArgumentError('oneHot: there are no labels to count classes from; give the number of classes');
  return ops.oneHot(t, noGrad(() => ops.max(t).item()) + 1);
}
