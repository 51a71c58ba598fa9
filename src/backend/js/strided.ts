import type { TypedArray } from '../backend.js';

/** The highest rank that kernels take. */
export const MAX_RANK = 8;

/** One shape and, for each operand, an offset and a stride per dimension; those of operand k begin at k * MAX_RANK. */
export interface Strided {
  /** Number of dimensions that are left after collapsing; 0 for a single element. */
  rank: number;
  readonly shape: Float64Array;
  readonly offsets: Float64Array;
  readonly strides: Float64Array;
}

/** Space for the layout of up to `operands` operands. Kernels keep one each and use it again at every call. */
export function makeStrided(operands: number): Strided {
  return {
    rank: 0,
    shape: new Float64Array(MAX_RANK),
    offsets: new Float64Array(operands),
    strides: new Float64Array(operands * MAX_RANK),
  };
}

/**
 * Reads a `map` layout, [nd, shape*nd, then per operand: offset, stride*nd], into `s`, without the dimensions of
 * size 1 and with neighbours merged where every operand walks through both as through one.
 * Returns the place of the first attribute in `p`, or -1 when the shape has no elements.
 */
export function readStrided(p: ArrayLike<number>, operands: number, s: Strided): number {
  const nd = p[0];
  const perOperand = nd + 1;
  const first = 1 + nd;
  for (let k = 0; k < operands; k++) s.offsets[k] = p[first + k * perOperand];
  let rank = 0;
  for (let d = 0; d < nd; d++) {
    const size = p[1 + d];
    if (size === 0) return -1;
    if (size === 1) continue;
    let merge = rank > 0;
    for (let k = 0; k < operands && merge; k++) {
      const stride = p[first + k * perOperand + 1 + d];
      merge = s.strides[k * MAX_RANK + rank - 1] === stride * size;
    }
    if (merge) s.shape[rank - 1] *= size;
    else s.shape[rank++] = size;
    for (let k = 0; k < operands; k++) {
      s.strides[k * MAX_RANK + rank - 1] = p[first + k * perOperand + 1 + d];
    }
  }
  s.rank = rank;
  return first + operands * perOperand;
}

/**
 * Steps `index` (over the dimensions [0, rank) of `s`) to the next position in row-major order and moves `offsets` along.
 * Returns false after the last position, with index and offsets back where they began.
 */
export function advance(s: Strided, rank: number, index: Float64Array, offsets: Float64Array): boolean {
  const operands = s.offsets.length;
  for (let d = rank - 1; d >= 0; d--) {
    if (++index[d] < s.shape[d]) {
      for (let k = 0; k < operands; k++) offsets[k] += s.strides[k * MAX_RANK + d];
      return true;
    }
    index[d] = 0;
    for (let k = 0; k < operands; k++) offsets[k] -= s.strides[k * MAX_RANK + d] * (s.shape[d] - 1);
  }
  return false;
}

/**
 * The same number, as an integer where it fits one. V8 reads a Float64Array's elements as floating point, and code that has once seen
 * such a number as an index computes that index in floating point ever after, at twice the cost of the loop.
 */
export function integer(x: number): number {
  const i = x | 0;
  return i === x ? i : x;
}

/** The native type code of an array: float32 0, float64 1, int32 2, bool 3. */
export function typeCode(array: TypedArray): number {
  if (array instanceof Float32Array) return 0;
  if (array instanceof Float64Array) return 1;
  return array instanceof Int32Array ? 2 : 3;
}

let serial = 0;

/**
 * Compiles `body`, the text of a function body that returns a function, with the given values in scope.
 *
 * Loops over elements are compiled anew for each operation and each combination of element types, since V8 specialises and inlines
 * by what it has seen at a place in the code: one loop shared by all operations would call through a pointer for every element,
 * several times slower. (Node started with --disallow-code-generation-from-strings cannot do this.) The serial number keeps V8 from recognising the text and sharing what it learned after all.
 */
export function instantiate<F>(scope: Readonly<Record<string, unknown>>, body: string): F {
  const make = new Function(...Object.keys(scope), `'use strict'; // ${serial++}\n${body}`);
  return make(...Object.values(scope)) as F;
}
