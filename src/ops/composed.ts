import { isFloat } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { newArray } from '../program/storage.js';
import { checkShape, describe, normalizeAxis, showShape } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { abs } from './abs.js';
import { add } from './add.js';
import { div } from './div.js';
import { checkNumber } from './elementwise.js';
import { eq } from './eq.js';
import { expm1 } from './expm1.js';
import { full } from './full.js';
import { gt } from './gt.js';
import { indexSelect } from './indexSelect.js';
import { indexTensor } from './indices.js';
import { matmul } from './matmul.js';
import { max } from './max.js';
import { min } from './min.js';
import { minimum } from './minimum.js';
import { mul } from './mul.js';
import { ne } from './ne.js';
import { neg } from './neg.js';
import { pow } from './pow.js';
import { checkTensor } from './primitive.js';
import { type AxesOrOptions, axesAndOptions, type ReduceOptions, reducedAxes } from './reduction.js';
import { reshape } from './reshape.js';
import { sigmoid } from './sigmoid.js';
import { softplus } from './softplus.js';
import { sqrt } from './sqrt.js';
import { sub } from './sub.js';
import { mean, sum } from './sum.js';
import { to } from './to.js';
import { where } from './where.js';

// Operations made of others: one function each. Their derivatives come by themselves.

/** Options of variance and standard deviation. */
export interface VarianceOptions extends ReduceOptions {
  /** The divisor is n - correction: 1 (default, as in PyTorch) is unbiased, 0 the mean square deviation. */
  readonly correction?: number;
  /** true: correction 1; false: correction 0. */
  readonly unbiased?: boolean;
}

/**
 * Variance over one axis, several, or all: sum((x - mean)^2) / max(0, n - correction). NaN where that divisor is 0 and
 * nothing deviates.
 */
export function variance(
  x: Tensor,
  axis?: AxesOrOptions<VarianceOptions>,
  options?: VarianceOptions,
): Tensor {
  checkTensor('var', x);
  const t = isFloat(x.dtype) ? x : to(x, 'float32');
  const [over, given] = axesAndOptions('var', axis, options);
  const { correction: divisor, unbiased, ...rest } = given ?? {};
  const { axes, keepdims } = reducedAxes('var', t.shape, over, rest);
  if (unbiased !== undefined && typeof unbiased !== 'boolean')
    throw new ArgumentError(`var: unbiased must be true or false, not ${describe(unbiased)}`);
  if (unbiased !== undefined && divisor !== undefined)
    throw new ArgumentError('var: unbiased and correction say the same; give one of them');
  const correction = checkNumber('var', 'correction', divisor ?? (unbiased === false ? 0 : 1));
  let n = 1;
  for (const a of axes) n *= t.shape[a] as number;
  const deviation = sub(t, mean(t, axes, { keepdims: true }));
  return div(sum(mul(deviation, deviation), axes, { keepdims }), Math.max(0, n - correction));
}

/** Square root whose derivative at 0 is taken as 0 instead of infinity, as PyTorch does in norm and std. */
function rootOfSquares(s: Tensor): Tensor {
  const one = full([], 1, s.dtype);
  return where(eq(s, 0), mul(s, 0), sqrt(where(eq(s, 0), one, s)));
}

/** Standard deviation: the square root of the variance (options as there). */
export function std(x: Tensor, axis?: AxesOrOptions<VarianceOptions>, options?: VarianceOptions): Tensor {
  return rootOfSquares(variance(checkTensor('std', x), axis, options));
}

/** Options of norm. */
export interface NormOptions extends ReduceOptions {
  /** 1, 2 (default), Infinity, -Infinity, 0 (how many are not 0), or any other power. */
  readonly p?: number;
}

/** (sum |x|^p)^(1/p) over one axis, several, or all. The derivative of the 2-norm at 0 is taken as 0. */
export function norm(
  x: Tensor,
  axisOrOptions?: AxesOrOptions<NormOptions>,
  normOptions?: NormOptions,
): Tensor {
  checkTensor('norm', x);
  const [axis, given] = axesAndOptions('norm', axisOrOptions, normOptions);
  const { p = 2, ...options } = given ?? {};
  checkNumber('norm', 'p', p);
  const t = isFloat(x.dtype) ? x : to(x, 'float32');
  if (p === 2) return rootOfSquares(sum(mul(t, t), axis, options));
  if (p === 1) return sum(abs(t), axis, options);
  if (p === Infinity) return max(abs(t), axis, options);
  if (p === -Infinity) return min(abs(t), axis, options);
  if (p === 0) return sum(to(ne(t, 0), t.dtype), axis, options);
  return pow(sum(pow(abs(t), p), axis, options), 1 / p);
}

/** Joins the axes from `start` to `end` (default: all of them) into one. */
export function flatten(x: Tensor, start = 0, end = -1): Tensor {
  checkTensor('flatten', x);
  const rank = x.shape.length;
  if (rank === 0) return reshape(x, [1]);
  const a = normalizeAxis('flatten', start, rank);
  const b = normalizeAxis('flatten', end, rank);
  if (a > b) throw new ShapeError(`flatten: axis ${start} lies behind axis ${end} in ${showShape(x.shape)}`);
  let n = 1;
  for (let i = a; i <= b; i++) n *= x.shape[i] as number;
  return reshape(x, [...x.shape.slice(0, a), n, ...x.shape.slice(b + 1)]);
}

/** Drops an axis of size 1, or all of them. An axis of another size stays, as in PyTorch. */
export function squeeze(x: Tensor, axis?: number): Tensor {
  checkTensor('squeeze', x);
  const only = axis === undefined ? -1 : normalizeAxis('squeeze', axis, x.shape.length);
  return reshape(
    x,
    x.shape.filter((n, i) => n !== 1 || (only >= 0 && i !== only)),
  );
}

/** Puts in an axis of size 1. */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  checkTensor('unsqueeze', x);
  const a = normalizeAxis('unsqueeze', axis, x.shape.length + 1);
  return reshape(x, [...x.shape.slice(0, a), 1, ...x.shape.slice(a)]);
}

/** x where it is positive, else alpha (exp(x) - 1) (Clevert et al., 2015; alpha defaults to 1). */
export function elu(x: Tensor, alpha = 1): Tensor {
  checkTensor('elu', x);
  return where(gt(x, 0), x, mul(expm1(minimum(x, 0)), checkNumber('elu', 'alpha', alpha)));
}

/** x sigmoid(x), also called swish. */
export function silu(x: Tensor): Tensor {
  return mul(x, sigmoid(x));
}

/** log(sigmoid(x)), without overflow. */
export function logSigmoid(x: Tensor): Tensor {
  return neg(softplus(neg(x)));
}

/** x * x. */
export function square(x: Tensor): Tensor {
  return mul(checkTensor('square', x), x);
}

/** 1 / x. */
export function reciprocal(x: Tensor): Tensor {
  return div(1, checkTensor('reciprocal', x));
}

/** x · W + b: x is [..., nIn], W [nIn, nOut], b [nOut] or left out. */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor | null): Tensor {
  const y = matmul(x, weight);
  return bias === undefined || bias === null ? y : add(y, bias);
}

/** Scalar product of two vectors of one size. */
export function dot(a: Tensor, b: Tensor): Tensor {
  checkTensor('dot', a);
  checkTensor('dot', b);
  if (a.shape.length !== 1 || b.shape.length !== 1) {
    throw new ShapeError(`dot: takes two vectors, not ${showShape(a.shape)} and ${showShape(b.shape)}`);
  }
  return matmul(a, b);
}

/** Outer product of two vectors: out[i][j] = a[i] b[j]. */
export function outer(a: Tensor, b: Tensor): Tensor {
  checkTensor('outer', a);
  checkTensor('outer', b);
  if (a.shape.length !== 1 || b.shape.length !== 1) {
    throw new ShapeError(`outer: takes two vectors, not ${showShape(a.shape)} and ${showShape(b.shape)}`);
  }
  return mul(unsqueeze(a, 1), unsqueeze(b, 0));
}

/**
 * Rows with a 1 at each label and 0 elsewhere: labels of shape s give float32 of shape [...s, classes]. Throws IndexError
 * for a label outside [0, classes).
 */
export function oneHot(labels: Tensor, classes: number): Tensor {
  checkTensor('oneHot', labels);
  if (!Number.isInteger(classes) || classes < 1) {
    throw new ArgumentError(`oneHot: classes must be a whole number >= 1, not ${describe(classes)}`);
  }
  checkShape('oneHot', [...labels.shape, classes]);
  const values = newArray('int32', classes, 'oneHot') as Int32Array;
  for (let i = 0; i < classes; i++) values[i] = i;
  const order = indexTensor('oneHot', values);
  // Selecting each label from 0 … classes - 1 changes nothing but refuses those out of range.
  const checked = reshape(indexSelect(order, 0, flatten(labels)), [...labels.shape, 1]);
  return to(eq(checked, order), 'float32');
}
