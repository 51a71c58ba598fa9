import { isFloat, isInt32, promote } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import { checkOptions } from '../options.js';
import { checkReadable } from '../program/emit.js';
import { newArray } from '../program/storage.js';
import { checkShape, describe, normalizeAxis, sameShape, showShape } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { abs } from './abs.js';
import { add } from './add.js';
import type { ClampOptions } from './clamp.js';
import { concat } from './concat.js';
import { cos } from './cos.js';
import { div } from './div.js';
import { checkNumber, type Operand } from './elementwise.js';
import { eq } from './eq.js';
import { floor } from './floor.js';
import { full } from './full.js';
import { ge } from './ge.js';
import { gt } from './gt.js';
import { indexSelect } from './indexSelect.js';
import { indexTensor } from './indices.js';
import { composed } from './intermediates.js';
// biome-ignore lint/suspicious/noShadowRestrictedNames: the field's name, in a module of its own
import { isFinite } from './isFinite.js';
import { isNan } from './isNan.js';
import { le } from './le.js';
import { log } from './log.js';
import { logicalAnd } from './logicalAnd.js';
import { logicalNot } from './logicalNot.js';
import { logicalOr } from './logicalOr.js';
import { matmul } from './matmul.js';
import { max } from './max.js';
import { min } from './min.js';
import { mul } from './mul.js';
import { ne } from './ne.js';
import { neg } from './neg.js';
import { pow } from './pow.js';
import { checkTensor, isTensor } from './primitive.js';
import { type AxesOrOptions, axesAndOptions, type ReduceOptions, reducedAxes } from './reduction.js';
import { reshape } from './reshape.js';
import { sign } from './sign.js';
import { sin } from './sin.js';
import { narrow, slice } from './slice.js';
import { softplus } from './softplus.js';
import { sqrt } from './sqrt.js';
import { sqrtFromZero } from './sqrtFromZero.js';
import { sub } from './sub.js';
import { sum } from './sum.js';
import { sumSquaredDeviations } from './sumSquaredDeviations.js';
import { sumSquares } from './sumSquares.js';
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
 * nothing deviates. Reduced axes go, or stay with size 1 where `keepdims`. Whole numbers give float32. Throws
 * ShapeError for an axis that x does not have.
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
  return sumSquaredDeviations(t, { axes, keepdims, scale: 1 / Math.max(0, n - correction) });
}

/** s^(1/p) whose derivative at 0 is taken as 0 instead of infinity, as PyTorch does in norm. */
function rootAwayFromZero(s: Tensor, p: number): Tensor {
  const zero = eq(s, 0);
  return where(zero, mul(s, 0), pow(where(zero, 1, s), 1 / p));
}

/** |t|^p whose derivative at 0 is taken as 0. */
function powerAwayFromZero(t: Tensor, p: number): Tensor {
  const zero = eq(t, 0);
  const there = full([], p > 0 ? 0 : Infinity, t.dtype);
  return where(zero, there, pow(abs(where(zero, full([], 1, t.dtype), t)), p));
}

/**
 * Standard deviation: the square root of the variance (options as there). Where it is 0 its derivative is taken as 0.
 */
export function std(x: Tensor, axis?: AxesOrOptions<VarianceOptions>, options?: VarianceOptions): Tensor {
  return sqrtFromZero(variance(checkTensor('std', x), axis, options));
}

/** Options of norm. */
export interface NormOptions extends ReduceOptions {
  /** 1, 2 (default), Infinity, -Infinity, 0 (how many are not 0), or any other power. */
  readonly p?: number;
}

/**
 * (sum |x|^p)^(1/p) over one axis, several, or all. Its derivative is taken as 0 where it is 0, and by elements that are 0. Reduced axes go,
 * or stay with size 1 where `keepdims`. Whole numbers give float32. Throws ShapeError for an axis that x does not
 * have.
 */
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
  if (p === 2) {
    const { axes, keepdims } = reducedAxes('norm', t.shape, axis, options);
    return sqrtFromZero(sumSquares(t, { axes, keepdims, scale: 1 }));
  }
  if (p === 1) return sum(abs(t), axis, options);
  if (p === Infinity) return max(abs(t), axis, options);
  if (p === -Infinity) return min(abs(t), axis, options);
  if (p === 0) return sum(to(ne(t, 0), t.dtype), axis, options);
  const powers = sum(powerAwayFromZero(t, p), axis, options);
  return p > 0 ? rootAwayFromZero(powers, p) : pow(powers, 1 / p);
}

/**
 * Joins the axes from `start` to `end` (default: all of them) into one. [2, 3, 4] becomes [2, 12] from start = 1. A
 * scalar becomes [1]. Any dtype. Throws ShapeError for an axis that x does not have, or a start behind the end.
 */
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

/**
 * Drops an axis of size 1, or all of them. An axis of another size stays, as in PyTorch. Any dtype. Throws ShapeError
 * for an axis that x does not have.
 */
export function squeeze(x: Tensor, axis?: number): Tensor {
  checkTensor('squeeze', x);
  const only = axis === undefined ? -1 : normalizeAxis('squeeze', axis, x.shape.length);
  return reshape(
    x,
    x.shape.filter((n, i) => n !== 1 || (only >= 0 && i !== only)),
  );
}

/**
 * Puts in an axis of size 1. [2, 3] becomes [2, 1, 3] at axis 1. Any dtype. Throws ShapeError for an axis that the
 * result does not have.
 */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  checkTensor('unsqueeze', x);
  const a = normalizeAxis('unsqueeze', axis, x.shape.length + 1);
  return reshape(x, [...x.shape.slice(0, a), 1, ...x.shape.slice(a)]);
}

/**
 * x limited to [min, max] (defaults -1 and 1), element by element, any shape. Unlike clamp's, its derivative at the limits is
 * 0, as in PyTorch.
 *
 * @throws ArgumentError where min exceeds max, for limits that are not numbers and options that do not exist.
 */
export function hardtanh(x: Tensor, options: ClampOptions = {}): Tensor {
  checkTensor('hardtanh', x);
  checkOptions('hardtanh', options, ['min', 'max']);
  const low = checkNumber('hardtanh', 'min', options.min ?? -1);
  const high = checkNumber('hardtanh', 'max', options.max ?? 1);
  if (low > high) throw new ArgumentError(`hardtanh: min must not exceed max: ${low}, ${high}`);
  return composed(() => where(le(x, low), low, where(ge(x, high), high, x)));
}

/** log(sigmoid(x)), without overflow. Element by element, any shape; int32 and bool are taken as float32. */
export function logSigmoid(x: Tensor): Tensor {
  return composed(() => neg(softplus(neg(x))));
}

/** x * x. Element by element, any shape; bool is taken as int32. */
export function square(x: Tensor): Tensor {
  return mul(checkTensor('square', x), x);
}

/** 1 / x. Element by element, any shape; int32 and bool are taken as float32. */
export function reciprocal(x: Tensor): Tensor {
  return div(1, checkTensor('reciprocal', x));
}

/**
 * Scalar product of two vectors of one size. The result is a scalar. Throws ShapeError for anything else than two
 * vectors of one size.
 */
export function dot(a: Tensor, b: Tensor): Tensor {
  checkTensor('dot', a);
  checkTensor('dot', b);
  if (a.shape.length !== 1 || b.shape.length !== 1) {
    throw new ShapeError(`dot: takes two vectors, not ${showShape(a.shape)} and ${showShape(b.shape)}`);
  }
  return matmul(a, b);
}

/**
 * Outer product of two vectors: out[i][j] = a[i] b[j]. Shapes [n] and [m] give [n, m]. Throws ShapeError for anything
 * else than vectors.
 */
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

// ---- elementwise ----

/**
 * The smallest whole number not below x. Whole numbers give float32, as for floor. The derivative is taken as 0.
 * Element by element, any shape.
 */
export function ceil(x: Tensor): Tensor {
  return neg(floor(neg(floats('ceil', x))));
}

/** x as float32 or float64. */
function floats(op: string, x: Tensor): Tensor {
  const t = checkTensor(op, x);
  return isFloat(t.dtype) ? t : to(t, 'float32');
}

/**
 * The nearest whole number, of two equally near the even one, as in PyTorch and NumPy: 1.5 and 2.5 both give 2, and
 * 0.5 gives 0. Whole numbers give float32. The derivative is taken as 0. Element by element, any shape.
 */
export function round(x: Tensor): Tensor {
  const t = floats('round', x);
  const values = t.detach();
  // Of the absolute value, whose distance to the whole number below is exact.
  const size = abs(values);
  const below = floor(size);
  const rest = sub(size, below);
  const odd = ne(mul(floor(mul(below, 0.5)), 2), below);
  const up = logicalOr(gt(rest, 0.5), logicalAnd(eq(rest, 0.5), odd));
  const rounded = mul(add(below, to(up, t.dtype)), sign(values));
  // A derivative of 0, at infinity and NaN too.
  return t.requiresGrad ? add(rounded, where(isFinite(values), mul(t, 0), 0)) : rounded;
}

/** sin(x) / cos(x). The angle is in radians. Element by element, any shape; int32 and bool are taken as float32. */
export function tan(x: Tensor): Tensor {
  const t = floats('tan', x);
  return div(sin(t), cos(t));
}

/** Logarithm to a whole base, exact for its whole powers, which the quotient of two logarithms need not be. */
function logTo(base: number, t: Tensor): Tensor {
  const y = div(log(t), Math.log(base));
  const rough = y.detach();
  const whole = round(rough);
  const exact = logicalAnd(isFinite(rough), eq(pow(base, whole), t));
  return add(y, where(exact, sub(whole, rough), 0));
}

/** Logarithm to the base 2. Element by element, any shape; int32 and bool are taken as float32. */
export function log2(x: Tensor): Tensor {
  return logTo(2, floats('log2', x));
}

/** Logarithm to the base 10. Element by element, any shape; int32 and bool are taken as float32. */
export function log10(x: Tensor): Tensor {
  return logTo(10, floats('log10', x));
}

/** 1 / √x. Element by element, any shape; int32 and bool are taken as float32. */
export function rsqrt(x: Tensor): Tensor {
  return div(1, sqrt(floats('rsqrt', x)));
}

/**
 * True where the element is Infinity or -Infinity. Element by element, any shape; the result is bool, without a
 * gradient.
 */
export function isInf(x: Tensor): Tensor {
  const t = checkTensor('isInf', x);
  return logicalNot(logicalOr(isFinite(t), isNan(t)));
}

/**
 * x with `value` (a number, a truth value, or a tensor of one element) where the mask is true. Mask and x are
 * broadcast; the dtype stays. Throws DTypeError for a mask that is not bool, or a number that int32 cannot hold next to whole ones.
 */
export function maskedFill(x: Tensor, mask: Tensor, value: Operand): Tensor {
  const t = checkTensor('maskedFill', x);
  checkTensor('maskedFill', mask, 'the mask');
  if (mask.dtype !== 'bool') {
    throw new DTypeError(
      `maskedFill: the mask is bool, not ${mask.dtype}; compare, or convert with .to('bool')`,
    );
  }
  if (isTensor(value)) {
    if (value.shape.length !== 0)
      throw new ShapeError(`maskedFill: the value is one number, not a tensor of ${showShape(value.shape)}`);
    if (promote(t.dtype, value.dtype) !== t.dtype)
      throw new DTypeError(`maskedFill: a ${value.dtype} does not fit into ${t.dtype}`);
    return where(mask, to(value, t.dtype), t);
  }
  if (typeof value !== 'number' && typeof value !== 'boolean')
    throw new ArgumentError(`maskedFill: the value is a number, not ${describe(value)}`);
  if (!isFloat(t.dtype) && !isInt32(Number(value)))
    throw new DTypeError(`maskedFill: ${value} does not fit into ${t.dtype}; convert with .to('float32')`);
  return where(mask, full([], Number(value), t.dtype), t);
}

// ---- reductions and comparisons ----

/**
 * Whether any element is true (not 0; NaN counts as true), over one axis, several, or all: bool, without a gradient.
 * Of nothing: false.
 */
export function any(x: Tensor, axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
  return gt(sum(to(checkTensor('any', x), 'bool'), axis, options), 0);
}

/**
 * Whether all elements are true (not 0; NaN counts as true), over one axis, several, or all: bool, without a gradient.
 * Of nothing: true.
 */
export function all(x: Tensor, axis?: AxesOrOptions, options?: ReduceOptions): Tensor {
  return eq(sum(logicalNot(to(checkTensor('all', x), 'bool')), axis, options), 0);
}

/** Options of allClose, with PyTorch’s and NumPy’s defaults. */
export interface CloseOptions {
  /** Relative to b. Default 1e-5. */
  readonly rtol?: number;
  /** Default 1e-8. */
  readonly atol?: number;
  /** Whether NaN is close to NaN. Default false. */
  readonly equalNan?: boolean;
}

/**
 * Whether |a - b| <= atol + rtol |b| for all elements, which are broadcast and compared in float64; equal infinities
 * are close. A plain boolean: it reads the values, and so cannot stand in a compiled step.
 */
export function allClose(a: Operand, b: Operand, options: CloseOptions = {}): boolean {
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new ArgumentError(`allClose: options are an object like { rtol: 1e-5 }, not ${describe(options)}`);
  for (const key of Object.keys(options)) {
    if (key !== 'rtol' && key !== 'atol' && key !== 'equalNan')
      throw new ArgumentError(
        `allClose: there is no option ${describe(key)}. Options are rtol, atol, equalNan`,
      );
  }
  const rtol = checkNumber('allClose', 'rtol', options.rtol ?? 1e-5);
  const atol = checkNumber('allClose', 'atol', options.atol ?? 1e-8);
  if (typeof (options.equalNan ?? false) !== 'boolean')
    throw new ArgumentError(`allClose: equalNan must be true or false, not ${describe(options.equalNan)}`);
  const [p, q] = [a, b].map((x) => comparable('allClose', x)) as [Tensor, Tensor];
  checkReadable('allClose');
  const distance = abs(sub(p, q));
  let close = logicalOr(eq(p, q), logicalAnd(isFinite(distance), le(distance, add(mul(abs(q), rtol), atol))));
  if (options.equalNan === true) close = logicalOr(close, logicalAnd(isNan(p), isNan(q)));
  return Boolean(all(close).item());
}

/** A tensor or number in float64, outside the graph. */
function comparable(op: string, x: unknown): Tensor {
  if (typeof x === 'number' || typeof x === 'boolean') return full([], Number(x), 'float64');
  return to(checkTensor(op, x).detach(), 'float64');
}

/**
 * Whether two tensors have the same shape and equal elements (NaN equals nothing); dtypes may differ. A plain
 * boolean: it reads the values, and so cannot stand in a compiled step. For a comparison by element see eq.
 */
export function equal(a: Tensor, b: Tensor): boolean {
  const [p, q] = [a, b].map((x) => checkTensor('equal', x)) as [Tensor, Tensor];
  checkReadable('equal');
  return sameShape(p.shape, q.shape) && Boolean(all(eq(p.detach(), q.detach())).item());
}

// ---- parts and orders ----

/**
 * Parts along an axis (default 0), without copies: of one size, the last being what remains, or of the given sizes,
 * which add up to that of the axis. Any dtype. Throws ShapeError for sizes that do not add up, ArgumentError for one
 * that is no size.
 */
export function split(x: Tensor, sizeOrSizes: number | readonly number[], axis = 0): Tensor[] {
  checkTensor('split', x);
  if (x.shape.length === 0) throw new ShapeError('split: a scalar has no axis');
  const a = normalizeAxis('split', axis, x.shape.length);
  const n = x.shape[a] as number;
  let sizes: number[];
  if (Array.isArray(sizeOrSizes)) {
    sizes = checkShapeList(sizeOrSizes);
    const total = sizes.reduce((p, q) => p + q, 0);
    if (total !== n)
      throw new ShapeError(
        `split: sizes [${sizes.join(', ')}] add up to ${total}, and axis ${a} has size ${n}`,
      );
  } else {
    const size = countOf('split', 'the size of a part', sizeOrSizes);
    sizes = [];
    for (let at = 0; at < n || sizes.length === 0; at += size) sizes.push(Math.min(size, n - at));
  }
  let at = 0;
  return sizes.map((size) => {
    at += size;
    return narrow(x, a, at - size, size);
  });
}

function checkShapeList(sizes: readonly unknown[]): number[] {
  return sizes.map((n) => {
    if (typeof n === 'number' && Number.isSafeInteger(n) && n >= 0) return n;
    throw new ArgumentError(`split: sizes are whole numbers >= 0, not ${describe(n)}`);
  });
}

function countOf(op: string, what: string, n: unknown): number {
  if (typeof n === 'number' && Number.isSafeInteger(n) && n >= 1) return n;
  throw new ArgumentError(`${op}: ${what} must be a whole number >= 1, not ${describe(n)}`);
}

/**
 * At most n parts of equal size along an axis (default 0), the last one smaller where they do not come out even (and
 * then there may be fewer, as in PyTorch); without copies. Any dtype. Throws ArgumentError unless n is a positive
 * whole number.
 */
export function chunk(x: Tensor, n: number, axis = 0): Tensor[] {
  checkTensor('chunk', x);
  countOf('chunk', 'the number of parts', n);
  if (x.shape.length === 0) throw new ShapeError('chunk: a scalar has no axis');
  const size = x.shape[normalizeAxis('chunk', axis, x.shape.length)] as number;
  return split(x, Math.max(1, Math.ceil(size / n)), axis);
}

/**
 * The elements in reverse along one axis, several, or (without `axes`) all; without a copy. Any dtype. Throws
 * ShapeError for an axis that x does not have.
 */
export function flip(x: Tensor, axes?: number | readonly number[] | null): Tensor {
  checkTensor('flip', x);
  const rank = x.shape.length;
  const list = (axes == null ? x.shape.map((_, i) => i) : [axes].flat()).map((a) =>
    normalizeAxis('flip', a as number, rank),
  );
  if (new Set(list).size !== list.length) throw new ShapeError(`flip: an axis stands twice in [${list}]`);
  if (rank === 0) return x;
  return slice(x, ...x.shape.map((_, i) => (list.includes(i) ? [null, null, -1] : null)));
}

function checkDiagonal(op: string, diagonal: unknown): number {
  if (typeof diagonal === 'number' && Number.isInteger(diagonal) && Math.abs(diagonal) < 2 ** 30)
    return diagonal;
  throw new ArgumentError(`${op}: the diagonal must be a whole number, not ${describe(diagonal)}`);
}

/** first, first + 1, … as int32. */
function sequence(op: string, first: number, n: number): Tensor {
  checkShape(op, [n]);
  return indexTensor(
    op,
    Int32Array.from({ length: n }, (_, i) => first + i),
  );
}

function column(t: Tensor): Tensor {
  return reshape(t, [t.shape[0] as number, 1]);
}

function triangle(op: string, x: Tensor, diagonal: number, lower: boolean): Tensor {
  checkTensor(op, x);
  const k = checkDiagonal(op, diagonal);
  const { shape } = x;
  if (shape.length < 2) throw new ShapeError(`${op}: takes matrices [..., n, m], not ${showShape(shape)}`);
  const [n, m] = shape.slice(-2) as [number, number];
  const rows = column(sequence(op, k, n));
  const columns = sequence(op, 0, m);
  return where(lower ? le(columns, rows) : le(rows, columns), x, full([], 0, x.dtype));
}

/**
 * The elements on and below a diagonal (0: the main one, > 0: above it) of matrices [..., n, m]; 0 elsewhere. Any
 * dtype. Throws ShapeError for a rank below 2.
 */
export function tril(x: Tensor, diagonal = 0): Tensor {
  return triangle('tril', x, diagonal, true);
}

/**
 * The elements on and above a diagonal (0: the main one, > 0: above it) of matrices [..., n, m]; 0 elsewhere. Any
 * dtype. Throws ShapeError for a rank below 2.
 */
export function triu(x: Tensor, diagonal = 0): Tensor {
  return triangle('triu', x, diagonal, false);
}

/**
 * The diagonal of a matrix as a vector, or the square matrix with a vector on its diagonal and 0 elsewhere; `diagonal`
 * is 0 for the main one, > 0 above it, < 0 below.
 */
export function diag(x: Tensor, diagonal = 0): Tensor {
  checkTensor('diag', x);
  const k = checkDiagonal('diag', diagonal);
  const { shape } = x;
  if (shape.length === 2) {
    const [n, m] = shape as [number, number];
    const count = Math.max(0, Math.min(n + Math.min(k, 0), m - Math.max(k, 0)));
    const first = k >= 0 ? k : -k * m;
    return indexSelect(
      reshape(x, [n * m]),
      0,
      indexTensor(
        'diag',
        Int32Array.from({ length: count }, (_, i) => first + i * (m + 1)),
      ),
    );
  }
  if (shape.length !== 1)
    throw new ShapeError(`diag: takes a matrix or a vector, not shape ${showShape(shape)}`);
  const size = (shape[0] as number) + Math.abs(k);
  checkShape('diag', [size, size]);
  const padded = k === 0 ? x : concat([x, full([Math.abs(k)], 0, x.dtype)]);
  const on = eq(sequence('diag', 0, size), column(sequence('diag', k, size)));
  return where(on, k >= 0 ? column(padded) : padded, full([], 0, x.dtype));
}
