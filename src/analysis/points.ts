import {
  ArgumentError,
  concat,
  DTypeError,
  hessian,
  isTensor,
  LinAlgError,
  ShapeError,
  type Tensor,
  type TensorValues,
  tensor,
  valueAndGrad,
} from 'simdgrad';
import { describe } from '../options.js';

// What the analyses share: the point where a function is looked at, and its derivatives there as numbers.

/**
 * Where a function is looked at: a tensor, an array of tensors (the function takes as many arguments), or plain numbers,
 * which become a float64 tensor.
 */
export type Point = Tensor | readonly Tensor[] | TensorValues;

/** A function of the tensors of a point that gives a tensor. */
// biome-ignore lint/suspicious/noExplicitAny: as many tensors as the point has
export type PointFunction = (...xs: any[]) => Tensor;

/** A point as a list of float tensors outside any graph, and how to give such a list back in the form it came in. */
export interface Located {
  readonly list: readonly Tensor[];
  readonly single: boolean;
  /** Number of elements of all tensors. */
  readonly size: number;
}

/** A shape in an error message. */
export function shown(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}

/** Tensors outside any graph from tensors, or float64 ones from plain numbers. */
export function valuesOf(op: string, what: string, x: unknown): Tensor {
  let t: Tensor;
  if (isTensor(x)) t = x.detach();
  else if (Array.isArray(x) || ArrayBuffer.isView(x) || typeof x === 'number') {
    t = tensor(x as TensorValues, { dtype: 'float64' });
  } else throw new ArgumentError(`${op}: ${what} is a tensor or an array of numbers, not ${describe(x)}`);
  if (t.dtype !== 'float32' && t.dtype !== 'float64') {
    throw new DTypeError(`${op}: ${what} must be float32 or float64, not ${t.dtype}`);
  }
  return t;
}

export function locate(op: string, point: unknown): Located {
  const many = Array.isArray(point) && point.length > 0 && point.every((x) => isTensor(x));
  const list = many
    ? (point as Tensor[]).map((x, i) => valuesOf(op, `tensor ${i} of the point`, x))
    : [valuesOf(op, 'the point', point)];
  const size = list.reduce((sum, t) => sum + t.size, 0);
  if (size === 0) throw new ArgumentError(`${op}: the point has no elements`);
  return { list, single: !many, size };
}

/** All values of some tensors, one after the other, in double precision. */
export function flatten(list: readonly Tensor[]): Float64Array {
  const out = new Float64Array(list.reduce((sum, t) => sum + t.size, 0));
  let at = 0;
  for (const t of list) {
    // A converted copy: handing out the memory of a parameter would keep compiled steps from owning it.
    const copy = t.dtype === 'float64' ? t.detach().clone() : t.detach().to('float64');
    out.set(copy.data, at);
    at += t.size;
  }
  return out;
}

/** The opposite of flatten(): tensors of the shapes and dtypes of `like`. */
export function unflatten(values: ArrayLike<number>, like: readonly Tensor[]): Tensor[] {
  let at = 0;
  return like.map((t) => {
    const part = Float64Array.from({ length: t.size }, (_, i) => values[at + i] as number);
    at += t.size;
    return tensor(part, { dtype: 'float64' }).reshape(t.shape).to(t.dtype);
  });
}

/** The point with new values, in the form the old one had. */
export function replaced(values: ArrayLike<number>, { list, single }: Located): Tensor | Tensor[] {
  const made = unflatten(values, list);
  return single ? (made[0] as Tensor) : made;
}

export function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] as number) * (b[i] as number);
  return sum;
}

export function norm(a: ArrayLike<number>): number {
  // Scaled, so that squares neither overflow nor vanish.
  let largest = 0;
  for (let i = 0; i < a.length; i++) largest = Math.max(largest, Math.abs(a[i] as number));
  if (!(largest > 0 && largest < Infinity)) return largest;
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += ((a[i] as number) / largest) ** 2;
  return largest * Math.sqrt(sum);
}

/** The distance from 1 to the next number of the coarsest dtype among the tensors. */
export function epsilonOf(list: readonly Tensor[]): number {
  return list.some((t) => t.dtype === 'float32') ? 2 ** -23 : 2 ** -52;
}

/** The value and the gradient of a scalar-valued function, in double precision. */
export function firstOrder(
  op: string,
  f: PointFunction,
  at: Located,
): { value: number; gradient: Float64Array } {
  if (typeof f !== 'function')
    throw new ArgumentError(`${op}: takes a function of tensors first, not ${describe(f)}`);
  const checked = (...xs: Tensor[]): Tensor => {
    const y = f(...xs);
    if (!isTensor(y)) throw new ArgumentError(`${op}: the function must return a tensor, not ${describe(y)}`);
    if (y.size !== 1)
      throw new ShapeError(`${op}: the function must give a scalar, not shape ${shown(y.shape)}`);
    return y;
  };
  const [y, gradients] = valueAndGrad(checked, at.list);
  const value = y.item();
  const gradient = flatten(gradients);
  if (!Number.isFinite(value) || !gradient.every(Number.isFinite)) {
    throw new LinAlgError(
      `${op}: the function or its gradient is not finite at this point (its value is ${value})`,
    );
  }
  return { value, gradient };
}

/**
 * The Hessian of a scalar-valued function at a point, of shape [n, n], where n is the number of elements of the point; for a
 * point of several tensors the blocks of all pairs, in order, each flattened in row-major order. dtype: the point's (that of
 * its first tensor). Costs n backward passes.
 *
 * Source: lectures 000, 001 and 004, ∇²f = (∂²f/∂θᵢ∂θⱼ).
 *
 * @throws ShapeError where f does not give a scalar, or where the matrix is larger than the memory of the machine (with the
 * bytes it would need); DTypeError for a point that is not float32 or float64.
 */
export function hessianMatrix(f: PointFunction, point: Point): Tensor {
  const { list, size } = locate('hessianMatrix', point);
  const [first] = list as [Tensor];
  if (list.length === 1) return hessian(f, first).reshape(size, size);
  const rows = hessian(f, list).map((row, i) =>
    concat(
      row.map((block, j) =>
        block.reshape((list[i] as Tensor).size, (list[j] as Tensor).size).to(first.dtype),
      ),
      1,
    ),
  );
  return concat(rows, 0);
}

/** The Hessian as numbers in double precision, row-major, made exactly symmetric. */
export function hessianValues(op: string, f: PointFunction, at: Located): Float64Array {
  const n = at.size;
  return symmetrized(op, flatten([hessianMatrix(f, at.list)]), n, Infinity);
}

/** Refuses NaN and ±Infinity, with which no analysis means anything. */
export function checkFinite(op: string, what: string, values: Float64Array): Float64Array {
  for (const v of values) {
    if (!Number.isFinite(v)) throw new LinAlgError(`${op}: ${what} has an element that is ${v}`);
  }
  return values;
}

/**
 * (A + Aᵀ)/2 for a matrix that is symmetric to within `tolerance` (relative to its largest element). LinAlgError for one that
 * is not, or that is not finite.
 */
export function symmetrized(op: string, a: Float64Array, n: number, tolerance: number): Float64Array {
  checkFinite(op, 'the matrix', a);
  const largest = a.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j < n; j++) {
      const upper = a[i * n + j] as number;
      const lower = a[j * n + i] as number;
      if (Math.abs(upper - lower) > tolerance * largest) {
        throw new LinAlgError(
          `${op}: the matrix is not symmetric: [${i}, ${j}] is ${upper}, [${j}, ${i}] is ${lower}`,
        );
      }
      out[i * n + j] = upper === lower ? upper : upper / 2 + lower / 2;
    }
  }
  return out;
}

/** A square matrix given as a tensor or as nested arrays: its values in double precision, made exactly symmetric. */
export function symmetricMatrix(op: string, matrix: unknown): { t: Tensor; a: Float64Array; n: number } {
  const t = valuesOf(op, 'the matrix', matrix);
  const [n, columns] = t.shape;
  if (t.rank !== 2 || n !== columns || n === 0) {
    throw new ShapeError(`${op}: takes a square matrix [n, n], not shape ${shown(t.shape)}`);
  }
  return { t, a: symmetrized(op, flatten([t]), n as number, 64 * epsilonOf([t])), n: n as number };
}
