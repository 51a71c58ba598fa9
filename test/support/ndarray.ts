// Arrays with several axes written for tests: slow, plain, by index arithmetic alone, sharing nothing with the library.

export interface ND {
  readonly shape: readonly number[];
  /** Row-major. */
  readonly data: readonly number[];
}

/** Every index of a shape in row-major order. */
export function indices(shape: readonly number[]): number[][] {
  let all: number[][] = [[]];
  for (const n of shape) all = all.flatMap((head) => Array.from({ length: n }, (_, i) => [...head, i]));
  return all;
}

export function at(x: ND, index: readonly number[]): number {
  let k = 0;
  for (let i = 0; i < index.length; i++) k = k * x.shape[i] + index[i];
  return x.data[k];
}

export function make(shape: readonly number[], f: (index: number[]) => number): ND {
  return { shape, data: indices(shape).map(f) };
}

export function toNested(x: ND): unknown {
  const build = (head: number[]): unknown =>
    head.length === x.shape.length
      ? at(x, head)
      : Array.from({ length: x.shape[head.length] }, (_, i) => build([...head, i]));
  return build([]);
}

/** NumPy's rule; null where the shapes do not fit. */
export function broadcastShape(...shapes: (readonly number[])[]): number[] | null {
  const rank = Math.max(...shapes.map((s) => s.length));
  const out: number[] = [];
  for (let i = 1; i <= rank; i++) {
    const sizes = new Set(shapes.map((s) => s[s.length - i] ?? 1).filter((n) => n !== 1));
    if (sizes.size > 1) return null;
    out.unshift(sizes.size === 0 ? 1 : ([...sizes][0] as number));
  }
  return out;
}

export function broadcastAt(x: ND, index: readonly number[]): number {
  const lead = index.length - x.shape.length;
  return at(
    x,
    x.shape.map((n, i) => (n === 1 ? 0 : index[i + lead])),
  );
}

export function elementwise(f: (...args: number[]) => number, ...xs: ND[]): ND {
  const shape = broadcastShape(...xs.map((x) => x.shape));
  if (shape === null) throw new Error('shapes do not fit');
  return make(shape, (index) => f(...xs.map((x) => broadcastAt(x, index))));
}

/** Applies f to the list of elements (in row-major order) that belong to each element of the result. */
export function reduce(
  x: ND,
  axes: readonly number[],
  keepdims: boolean,
  f: (values: number[]) => number,
): ND {
  const kept = x.shape.map((n, i) => (axes.includes(i) ? 1 : n));
  const result = make(kept, (index) => {
    const inner = indices(x.shape.map((n, i) => (axes.includes(i) ? n : 1)));
    return f(
      inner.map((j) =>
        at(
          x,
          index.map((a, i) => a + j[i]),
        ),
      ),
    );
  });
  return { shape: keepdims ? kept : x.shape.filter((_, i) => !axes.includes(i)), data: result.data };
}

export function permute(x: ND, axes: readonly number[]): ND {
  return make(
    axes.map((a) => x.shape[a]),
    (index) => {
      const from: number[] = [];
      axes.forEach((a, i) => {
        from[a] = index[i];
      });
      return at(x, from);
    },
  );
}

/** The places that Python's range(*slice(start, stop, step).indices(n)) gives. */
export function sliceIndices(n: number, start: number | null, stop: number | null, step: number): number[] {
  const clip = (v: number, low: number, high: number) => Math.min(Math.max(v < 0 ? v + n : v, low), high);
  const [low, high] = step > 0 ? [0, n] : [-1, n - 1];
  const from = start === null ? (step > 0 ? low : high) : clip(start, low, high);
  const to = stop === null ? (step > 0 ? high : low) : clip(stop, low, high);
  const out: number[] = [];
  for (let i = from; step > 0 ? i < to : i > to; i += step) out.push(i);
  return out;
}

export function take(x: ND, places: readonly (readonly number[])[]): ND {
  return make(
    places.map((p) => p.length),
    (index) =>
      at(
        x,
        index.map((i, a) => places[a][i]),
      ),
  );
}

export function matmul(a: ND, b: ND): ND {
  const batch = broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2));
  if (batch === null) throw new Error('batch axes do not fit');
  const [m, k] = a.shape.slice(-2);
  const n = b.shape[b.shape.length - 1];
  return make([...batch, m, n], (index) => {
    const head = index.slice(0, -2);
    const [i, j] = index.slice(-2);
    const pick = (x: ND, row: number, col: number): number => {
      const own = x.shape.length - 2;
      const h = head.slice(head.length - own).map((v, p) => (x.shape[p] === 1 ? 0 : v));
      return at(x, [...h, row, col]);
    };
    let sum = 0;
    for (let p = 0; p < k; p++) sum += pick(a, i, p) * pick(b, p, j);
    return sum;
  });
}
