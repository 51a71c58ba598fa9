import { ArgumentError } from '../../errors.js';
import type { JsKernel, TypedArray } from '../backend.js';
import { instantiate, integer, typeCode } from './strided.js';

/*
 * Reductions. Params: [nk, nr, keepShape*nk, reduceShape*nr, outOffset, xOffset, xStride*(nk+nr), attrs]; the output is
 * contiguous over the kept dimensions.
 */

/** Dimensions of x, kept ones or reduced ones: sizes and strides, neighbours merged where one walk goes through both. */
interface Dims {
  rank: number;
  count: number;
  done: boolean;
  readonly size: Float64Array;
  readonly stride: Float64Array;
  readonly index: Float64Array;
}

const makeDims = (): Dims => ({
  rank: 0,
  count: 0,
  done: false,
  size: new Float64Array(8),
  stride: new Float64Array(8),
  index: new Float64Array(8),
});

const kept = makeDims();
const reduced = makeDims();

/** Reads n sizes at p[sizesAt] and strides at p[stridesAt]. There is always at least one dimension afterwards. */
function readDims(p: ArrayLike<number>, n: number, sizesAt: number, stridesAt: number, into: Dims): void {
  const { size, stride } = into;
  let rank = 0;
  let count = 1;
  for (let d = 0; d < n; d++) {
    const s = p[sizesAt + d];
    const t = p[stridesAt + d];
    count *= s;
    if (s === 1) continue;
    if (rank > 0 && stride[rank - 1] === s * t) size[rank - 1] *= s;
    else size[rank++] = s;
    stride[rank - 1] = t;
  }
  if (rank === 0) {
    size[0] = 1;
    stride[0] = 0;
    rank = 1;
  }
  into.rank = rank;
  into.count = count;
  into.index.fill(0);
}

/**
 * The move in x to the next position over all dimensions but the last, in row-major order. After the last position `done` is true and
 * the walk is back at its start.
 */
function nextOuter(dims: Dims): number {
  const { index, size, stride } = dims;
  let move = 0;
  dims.done = false;
  for (let d = dims.rank - 2; d >= 0; d--) {
    if (++index[d] < size[d]) return integer(move + stride[d]);
    index[d] = 0;
    move -= stride[d] * (size[d] - 1);
  }
  dims.done = true;
  return integer(move);
}

/** Reads the layout into `kept` and `reduced`; returns the place of the offsets in p. */
function readLayout(p: ArrayLike<number>): number {
  const nk = p[0];
  const nr = p[1];
  const offsetsAt = 2 + nk + nr;
  readDims(p, nk, 2, offsetsAt + 2, kept);
  readDims(p, nr, 2 + nk, offsetsAt + 2 + nk, reduced);
  return offsetsAt;
}

/** acc[k] = combine(acc[k], x[at + k*ks + r*rs]) for k < n and r < m, in increasing r for each k. */
type Accumulate = (
  acc: Float64Array,
  x: TypedArray,
  at: number,
  n: number,
  ks: number,
  m: number,
  rs: number,
) => void;

// Column by column where the reduced dimension is the tight one, else row by row: memory is read in order both ways.
const accumulateSource = `return function accumulate(acc, x, at, n, ks, m, rs) {
  if (n === 1 || Math.abs(rs) < Math.abs(ks)) {
    for (let k = 0; k < n; k++) {
      let s = acc[k];
      let q = at + k * ks;
      if (rs === 1) for (let r = 0; r < m; r++) s = combine(s, x[q + r]);
      else for (let r = 0; r < m; r++, q += rs) s = combine(s, x[q]);
      acc[k] = s;
    }
  } else {
    for (let r = 0; r < m; r++, at += rs) {
      if (ks === 1) for (let k = 0; k < n; k++) acc[k] = combine(acc[k], x[at + k]);
      else for (let k = 0, q = at; k < n; k++, q += ks) acc[k] = combine(acc[k], x[q]);
    }
  }
};`;

const CHUNK = 1024;
const accumulators = new Float64Array(CHUNK);

interface Reduction {
  /** The result for no elements. */
  identity: number;
  combine: (a: number, b: number) => number;
  /** Used instead of `combine` for int32. */
  int?: (a: number, b: number) => number;
  /** Refuses to reduce nothing. */
  nonEmpty?: boolean;
  /** Has a `scale` attribute that multiplies the result. */
  scaled?: boolean;
}

/** A reduction kernel that accumulates in double, one accumulator for each kept element. */
function reduceKernel(name: string, reduction: Reduction): JsKernel {
  const { identity, combine, int = combine, nonEmpty = false, scaled = false } = reduction;
  const loops: (Accumulate | undefined)[] = [];
  return (p, b) => {
    const [out, x] = b;
    const offsetsAt = readLayout(p);
    if (nonEmpty && reduced.count === 0) throw new ArgumentError(`${name}: cannot reduce zero elements`);
    if (kept.count === 0) return;
    const scale = scaled ? p[offsetsAt + 2 + p[0] + p[1]] : 1;
    const type = typeCode(x);
    loops[type] ??= instantiate<Accumulate>({ combine: type === 2 ? int : combine }, accumulateSource);
    const accumulate = loops[type];

    const ks = integer(kept.stride[kept.rank - 1]);
    const columns = integer(kept.size[kept.rank - 1]);
    const rs = integer(reduced.stride[reduced.rank - 1]);
    const m = integer(reduced.size[reduced.rank - 1]);
    let o = integer(p[offsetsAt]);
    let row = integer(p[offsetsAt + 1]);
    do {
      for (let k = 0; k < columns; k += CHUNK) {
        const n = Math.min(CHUNK, columns - k);
        accumulators.fill(identity, 0, n);
        if (reduced.count > 0) {
          let at = row + k * ks;
          do {
            accumulate(accumulators, x, at, n, ks, m, rs);
            at += nextOuter(reduced);
          } while (!reduced.done);
        }
        for (let i = 0; i < n; i++) out[o++] = accumulators[i] * scale;
      }
      row += nextOuter(kept);
    } while (!kept.done);
  };
}

/** sum: scale times the sum; integers wrap modulo 2^32. */
export const sumKernel: JsKernel = reduceKernel('sum', {
  identity: 0,
  combine: (a, b) => a + b,
  int: (a, b) => (a + b) | 0,
  scaled: true,
});

/** sumSquares: scale times the sum of x^2. */
export const sumSquaresKernel: JsKernel = reduceKernel('sumSquares', {
  identity: 0,
  combine: (a, b) => a + b * b,
  scaled: true,
});

/** sumSquaredDeviations: scale times the sum of (x - mean)^2, with the mean of the same elements. */
export const sumSquaredDeviationsKernel: JsKernel = (p, b) => {
  const [out, x] = b;
  const offsetsAt = readLayout(p);
  if (kept.count === 0) return;
  const scale = p[offsetsAt + 2 + p[0] + p[1]];
  const ks = integer(kept.stride[kept.rank - 1]);
  const columns = integer(kept.size[kept.rank - 1]);
  const rs = integer(reduced.stride[reduced.rank - 1]);
  const m = integer(reduced.size[reduced.rank - 1]);
  let o = integer(p[offsetsAt]);
  let row = integer(p[offsetsAt + 1]);
  do {
    for (let k = 0; k < columns; k++) {
      let squares = 0;
      if (reduced.count > 0) {
        const start = row + k * ks;
        // From the first element, so that rounding errors are of the size of the deviations.
        const first = x[start];
        let sum = 0;
        let at = start;
        do {
          for (let r = 0, q = at; r < m; r++, q += rs) sum += x[q] - first;
          at += nextOuter(reduced);
        } while (!reduced.done);
        const mean = sum / reduced.count;
        at = start;
        do {
          for (let r = 0, q = at; r < m; r++, q += rs) {
            // Where all are finite and the deviations are not, their squares are infinite, not NaN.
            const d =
              Math.abs(mean) === Number.POSITIVE_INFINITY ? mean + (x[q] - x[q]) : x[q] - first - mean;
            squares += d * d;
          }
          at += nextOuter(reduced);
        } while (!reduced.done);
      }
      out[o++] = squares * scale;
    }
    row += nextOuter(kept);
  } while (!kept.done);
};

/** prod: the product; 1 for no elements. */
export const prodKernel: JsKernel = reduceKernel('prod', { identity: 1, combine: (a, b) => a * b });

/** max: the largest element; NaN if any is NaN. Throws ArgumentError when there are none. */
export const maxKernel: JsKernel = reduceKernel('max', {
  identity: Number.NEGATIVE_INFINITY,
  combine: (a, b) => (b > a || Number.isNaN(b) ? b : a),
  nonEmpty: true,
});

/** min: the smallest element; NaN if any is NaN. Throws ArgumentError when there are none. */
export const minKernel: JsKernel = reduceKernel('min', {
  identity: Number.POSITIVE_INFINITY,
  combine: (a, b) => (b < a || Number.isNaN(b) ? b : a),
  nonEmpty: true,
});

/** The number of the first best of m elements, or -1 if none is better than `best`. */
type Search = (x: TypedArray, at: number, m: number, rs: number, best: number) => number;

const searchSource = `return function search(x, at, m, rs, best) {
  let found = -1;
  for (let r = 0; r < m; r++, at += rs) {
    const v = x[at];
    if (better(v, best)) {
      best = v;
      found = r;
    }
  }
  return found;
};`;

/** The row-major index, over the reduced dimensions, of the first best element. */
function argKernel(name: string, better: (v: number, best: number) => boolean): JsKernel {
  const loops: (Search | undefined)[] = [];
  return (p, b) => {
    const [out, x] = b;
    const offsetsAt = readLayout(p);
    if (reduced.count === 0) throw new ArgumentError(`${name}: cannot reduce zero elements`);
    if (kept.count === 0) return;
    const type = typeCode(x);
    loops[type] ??= instantiate<Search>({ better }, searchSource);
    const search = loops[type];

    const ks = integer(kept.stride[kept.rank - 1]);
    const columns = integer(kept.size[kept.rank - 1]);
    const rs = integer(reduced.stride[reduced.rank - 1]);
    const m = integer(reduced.size[reduced.rank - 1]);
    let o = integer(p[offsetsAt]);
    let row = integer(p[offsetsAt + 1]);
    do {
      for (let k = 0; k < columns; k++) {
        let at = row + k * ks;
        let best = x[at];
        let bestIndex = 0;
        let base = 0;
        do {
          const found = search(x, at, m, rs, best);
          if (found >= 0) {
            best = x[at + found * rs];
            bestIndex = base + found;
          }
          base += m;
          at += nextOuter(reduced);
        } while (!reduced.done);
        out[o++] = bestIndex;
      }
      row += nextOuter(kept);
    } while (!kept.done);
  };
}

/** argmax: the first of the largest elements; NaN counts as largest. Throws ArgumentError when there are none. */
export const argmaxKernel: JsKernel = argKernel(
  'argmax',
  (v, best) => v > best || (Number.isNaN(v) && !Number.isNaN(best)),
);

/** argmin: the first of the smallest elements; NaN counts as smallest. Throws ArgumentError when there are none. */
export const argminKernel: JsKernel = argKernel(
  'argmin',
  (v, best) => v < best || (Number.isNaN(v) && !Number.isNaN(best)),
);

/** countLabels: how many labels differ from the attr. */
export const countLabelsKernel: JsKernel = (p, b) => {
  const [out, x] = b;
  const offsetsAt = readLayout(p);
  if (kept.count === 0) return;
  const ignore = p[offsetsAt + 2 + p[0] + p[1]];
  const ks = integer(kept.stride[kept.rank - 1]);
  const columns = integer(kept.size[kept.rank - 1]);
  const rs = integer(reduced.stride[reduced.rank - 1]);
  const m = integer(reduced.size[reduced.rank - 1]);
  let o = integer(p[offsetsAt]);
  let row = integer(p[offsetsAt + 1]);
  do {
    for (let k = 0; k < columns; k++) {
      let count = 0;
      if (reduced.count > 0) {
        let at = row + k * ks;
        do {
          for (let r = 0, q = at; r < m; r++, q += rs) if (x[q] !== ignore) count++;
          at += nextOuter(reduced);
        } while (!reduced.done);
      }
      out[o++] = count;
    }
    row += nextOuter(kept);
  } while (!kept.done);
};
