import { isGradEnabled } from '../autograd/mode.js';
import { isFloat } from '../dtype.js';
import { DTypeError, ShapeError } from '../errors.js';
import { concat } from '../ops/index.js';
import { checkTensor } from '../ops/primitive.js';
import { sameShape, showShape, sizeOf } from '../program/view.js';
import { zeros } from '../tensor/create.js';
import type { Tensor } from '../tensor/tensor.js';

// What the transforms that are fitted to a dataset share: the check of what they take, and sums over examples in float64.

/** Rows converted to float64 at a time, so that a large dataset is never held twice. */
const chunk = 4096;

function checkValues(op: string, x: Tensor): void {
  checkTensor(op, x);
  if (x.dtype === 'bool') throw new DTypeError(`${op}: takes float32, float64 or int32, not ${x.dtype}`);
}

/** Refuses what is not numbers [n, …] with at least `least` examples. */
export function checkExamples(op: string, x: Tensor, least: number): void {
  checkValues(op, x);
  if (x.rank === 0 || (x.shape[0] as number) < least) {
    throw new ShapeError(`${op}: takes examples [n, …] with n >= ${least}, not ${showShape(x.shape)}`);
  }
}

/** Refuses what does not end with the axes of one example. */
export function checkExampleShape(op: string, x: Tensor, shape: readonly number[]): void {
  checkValues(op, x);
  if (x.rank < shape.length || !sameShape(x.shape.slice(x.rank - shape.length), shape)) {
    throw new ShapeError(
      `${op}: fitted to examples of shape ${showShape(shape)}, not to ${showShape(x.shape)}`,
    );
  }
}

/** The sum over chunks of examples of what `f` makes of one, in float64; `f` gives tensors of the given shape. */
export function total(x: Tensor, shape: readonly number[], f: (rows: Tensor) => Tensor): Tensor {
  const n = x.shape[0] as number;
  const sum = zeros([...shape], { dtype: 'float64' });
  for (let start = 0; start < n; start += chunk) {
    sum.add_(f(x.narrow(0, start, Math.min(chunk, n - start)).to('float64')));
  }
  return sum;
}

/**
 * The mean over the first axis, in float64. A feature that does not vary has its very value as mean, which the sum divided
 * by n may miss (three times 0.1 is not 0.3): what is left of it would then look like a small variance.
 */
export function meanOf(x: Tensor): Tensor {
  const shape = x.shape.slice(1);
  const first = x.select(0, 0).to('float64');
  const mean = total(x, shape, (rows) => rows.sum(0)).div(x.shape[0] as number);
  const spread = total(x, shape, (rows) => rows.sub(first).abs().sum(0));
  return spread.eq(0).where(first, mean);
}

/** `f` on the examples as rows in float64; the result has the shape of an example after, and the dtype of x. */
export function rowwise(
  x: Tensor,
  before: readonly number[],
  after: readonly number[],
  f: (rows: Tensor) => Tensor,
): Tensor {
  const batch = x.shape.slice(0, x.rank - before.length);
  const n = sizeOf(batch);
  const dtype = isFloat(x.dtype) ? x.dtype : 'float32';
  const flat = x.reshape(n, sizeOf(before));
  const some = (rows: Tensor): Tensor => f(rows.to('float64')).to(dtype);
  let out: Tensor;
  // A large dataset is not held twice, unless a graph has to hold it anyway.
  if (n <= chunk || (x.requiresGrad && isGradEnabled())) out = some(flat);
  else {
    const parts: Tensor[] = [];
    for (let start = 0; start < n; start += chunk) {
      parts.push(some(flat.narrow(0, start, Math.min(chunk, n - start))));
    }
    out = concat(parts, 0);
  }
  return out.reshape(...batch, ...after);
}
