import fc from 'fast-check';
import { broadcastTo, concat, ShapeError, stack, type Tensor, tensor, where } from 'simdgrad';
import { describe, expect, test } from 'vitest';
import { firstDifference } from '../support/compare.js';
import * as nd from '../support/ndarray.js';

// Operations on random shapes, strides and axes against arrays written for tests (float64, so that sums are close).

const size = fc.integer({ min: 0, max: 4 });
const shapes = (max = 4) => fc.array(size, { maxLength: max });
const values = fc.integer({ min: -9, max: 9 }).map((v) => v / 4);

function array(shape: readonly number[]): fc.Arbitrary<nd.ND> {
  const n = shape.reduce((a, b) => a * b, 1);
  return fc.array(values, { minLength: n, maxLength: n }).map((data) => ({ shape, data }));
}

const arrays = (max = 4): fc.Arbitrary<nd.ND> => shapes(max).chain(array);

/** Shapes that broadcast to one another: each drops leading axes and turns others into 1. */
const related = (count: number): fc.Arbitrary<nd.ND[]> =>
  shapes().chain((shape) =>
    fc.tuple(
      ...Array.from({ length: count }, () =>
        fc
          .tuple(
            fc.integer({ min: 0, max: shape.length }),
            fc.array(fc.boolean(), { minLength: shape.length, maxLength: shape.length }),
          )
          .chain(([lead, ones]) => array(shape.map((n, i) => (ones[i] ? 1 : n)).slice(lead))),
      ),
    ),
  );

/** How the same values may lie in memory. */
const layout = fc.constantFrom<((t: Tensor) => Tensor)[]>(
  (t) => t,
  (t) => {
    const back = t.shape.map((_, i) => t.rank - 1 - i);
    return t.permute(back).clone().permute(back);
  },
  (t) => {
    if (t.rank === 0) return t;
    const back = t.shape.map(() => [null, null, -1]);
    return t.slice(back).clone().slice(back);
  },
  (t) => (t.rank === 0 || t.rank === 8 ? t : stack([t, t.mul(3)], t.rank).select(t.rank, 0)),
);

const of = (x: nd.ND): Tensor => tensor(Float64Array.from(x.data), { shape: [...x.shape] });

function agree(actual: Tensor, expected: nd.ND, tolerance = 0): void {
  expect([...actual.shape]).toEqual([...expected.shape]);
  const options = { rtol: tolerance, atol: tolerance };
  const values = actual.dtype === 'bool' ? Float64Array.from(actual.data) : actual.data;
  const i = firstDifference(values, expected.data, options);
  if (i >= 0) throw new Error(`element ${i} is ${values[i]}, expected ${expected.data[i]}`);
}

const runs = { numRuns: 150 };

describe('elementwise operations broadcast as NumPy does', () => {
  const cases: [string, (a: Tensor, b: Tensor) => Tensor, (a: number, b: number) => number][] = [
    ['add', (a, b) => a.add(b), (a, b) => a + b],
    ['sub', (a, b) => a.sub(b), (a, b) => a - b],
    ['mul', (a, b) => a.mul(b), (a, b) => a * b],
    ['div', (a, b) => a.div(b), (a, b) => a / b],
    ['maximum', (a, b) => a.maximum(b), Math.max],
    ['lt', (a, b) => a.lt(b), (a, b) => Number(a < b)],
    ['eq', (a, b) => a.eq(b), (a, b) => Number(a === b)],
  ];
  test.each(cases)('%s', (_, f, g) => {
    fc.assert(
      fc.property(related(2), layout, layout, ([a, b], p, q) => {
        agree(f(p(of(a)), q(of(b))), nd.elementwise(g, a, b));
      }),
      runs,
    );
  });

  test('where', () => {
    fc.assert(
      fc.property(related(3), layout, layout, ([c, a, b], p, q) => {
        agree(
          where(p(of(c)).gt(0), p(of(a)), q(of(b))),
          nd.elementwise((x, y, z) => (x > 0 ? y : z), c, a, b),
        );
      }),
      runs,
    );
  });

  test('shapes that do not fit are refused with both named', () => {
    fc.assert(
      fc.property(shapes(), shapes(), (p, q) => {
        fc.pre(nd.broadcastShape(p, q) === null);
        const [a, b] = [
          tensor(new Float64Array(p.reduce((x, y) => x * y, 1)), { shape: p }),
          tensor(new Float64Array(q.reduce((x, y) => x * y, 1)), { shape: q }),
        ];
        let error: unknown;
        try {
          a.add(b);
        } catch (e) {
          error = e;
        }
        expect(error).toBeInstanceOf(ShapeError);
        const { message } = error as Error;
        expect(message).toContain('add');
        expect(message).toContain(`[${p.join(', ')}]`);
        expect(message).toContain(`[${q.join(', ')}]`);
      }),
      { numRuns: 100 },
    );
  });

  test('broadcastTo', () => {
    fc.assert(
      fc.property(related(2), layout, ([a, b], p) => {
        const shape = nd.broadcastShape(a.shape, b.shape) as number[];
        agree(
          broadcastTo(p(of(a)), shape),
          nd.make(shape, (i) => nd.broadcastAt(a, i)),
        );
      }),
      runs,
    );
  });

  test('the gradient of a broadcast operand is summed over what was repeated', () => {
    fc.assert(
      fc.property(related(2), layout, ([a, b], p) => {
        const [x, y] = [of(a), p(of(b))];
        x.requiresGrad = true;
        x.mul(y).sum().backward();
        const shape = nd.broadcastShape(a.shape, b.shape) as number[];
        const sums = new Array<number>(a.data.length).fill(0);
        const strides = a.shape.map((_, i) => a.shape.slice(i + 1).reduce((m, n) => m * n, 1));
        for (const index of nd.indices(shape)) {
          let k = 0;
          a.shape.forEach((n, i) => {
            if (n !== 1) k += strides[i] * index[i + shape.length - a.shape.length];
          });
          sums[k] += nd.broadcastAt(b, index);
        }
        agree(x.grad as Tensor, { shape: a.shape, data: sums }, 1e-12);
      }),
      runs,
    );
  });
});

describe('reductions', () => {
  const withAxes = arrays().chain((x) =>
    fc.tuple(
      fc.constant(x),
      fc.subarray(x.shape.map((_, i) => i)),
      fc.boolean(),
      fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
    ),
  );
  const sum = (v: number[]) => v.reduce((a, b) => a + b, 0);
  const mean = (v: number[]) => sum(v) / v.length;
  const variance = (v: number[]) => sum(v.map((x) => (x - mean(v)) ** 2)) / Math.max(0, v.length - 1);
  type Axis = (x: Tensor, axes: number[], options: { keepdims: boolean }) => Tensor;
  const cases: [string, Axis, (v: number[]) => number, boolean][] = [
    ['sum', (x, a, o) => x.sum(a, o), sum, true],
    ['mean', (x, a, o) => x.mean(a, o), mean, true],
    ['prod', (x, a, o) => x.prod(a, o), (v) => v.reduce((a, b) => a * b, 1), true],
    ['max', (x, a, o) => x.max(a, o), (v) => Math.max(...v), false],
    ['min', (x, a, o) => x.min(a, o), (v) => Math.min(...v), false],
    ['var', (x, a, o) => x.var(a, o), variance, true],
    ['norm', (x, a, o) => x.norm(a, o), (v) => Math.hypot(...v), true],
    ['logSumExp', (x, a, o) => x.logSumExp(a, o), (v) => Math.log(sum(v.map(Math.exp))), false],
  ];
  test.each(cases)('%s', (_, f, g, empty) => {
    fc.assert(
      fc.property(withAxes, layout, ([x, axes, keepdims, negative], p) => {
        const named = axes.map((a, i) => (negative[i] ? a - x.shape.length : a));
        const run = () => f(p(of(x)), named, { keepdims });
        if (!empty && axes.some((a) => x.shape[a] === 0)) expect(run).toThrow(ShapeError);
        else agree(run(), nd.reduce(x, axes, keepdims, g), 1e-12);
      }),
      runs,
    );
  });

  test('argmax and argmin take the first of equals', () => {
    const oneAxis = arrays().chain((x) =>
      fc.tuple(fc.constant(x), fc.nat(Math.max(0, x.shape.length - 1)), fc.boolean()),
    );
    fc.assert(
      fc.property(oneAxis, layout, ([x, axis, keepdims], p) => {
        fc.pre(x.shape.length > 0 && x.shape[axis] !== 0);
        agree(
          p(of(x)).argmax(axis, { keepdims }),
          nd.reduce(x, [axis], keepdims, (v) => v.indexOf(Math.max(...v))),
        );
        agree(
          p(of(x)).argmin(axis, { keepdims }),
          nd.reduce(x, [axis], keepdims, (v) => v.indexOf(Math.min(...v))),
        );
      }),
      runs,
    );
  });

  test('softmax and logSoftmax along any axis', () => {
    const oneAxis = arrays().chain((x) => fc.tuple(fc.constant(x), fc.nat(Math.max(0, x.shape.length - 1))));
    fc.assert(
      fc.property(oneAxis, layout, ([x, axis], p) => {
        fc.pre(x.shape.length > 0);
        const total = nd.reduce(x, [axis], true, (v) => Math.log(sum(v.map(Math.exp))));
        agree(
          p(of(x)).softmax(axis),
          nd.elementwise((a, t) => Math.exp(a - t), x, total),
          1e-12,
        );
        agree(
          p(of(x)).logSoftmax(axis - x.shape.length),
          nd.elementwise((a, t) => a - t, x, total),
          1e-12,
        );
      }),
      runs,
    );
  });
});

describe('shapes', () => {
  const bound = fc.option(fc.integer({ min: -7, max: 7 }), { nil: null });
  const step = fc.integer({ min: -3, max: 3 }).filter((s) => s !== 0);

  test('slices are those of Python, and slices of slices', () => {
    const ranges = fc.array(fc.tuple(bound, bound, step), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(arrays(), ranges, ranges, layout, (x, first, second, p) => {
        let [t, expected] = [p(of(x)), x];
        for (const list of [first, second]) {
          const used = list.slice(0, x.shape.length);
          t = used.length === 0 ? t : t.slice(used);
          expected = nd.take(
            expected,
            used.map((r, i) => nd.sliceIndices(expected.shape[i], ...r)),
          );
          agree(t, expected);
        }
        agree(
          t.mul(2),
          nd.elementwise((v) => v * 2, expected),
        );
        agree(
          t.sum(),
          nd.reduce(
            expected,
            expected.shape.map((_, i) => i),
            false,
            (v) => v.reduce((a, b) => a + b, 0),
          ),
          1e-12,
        );
      }),
      runs,
    );
  });

  test('the gradient of a slice stands where its elements came from', () => {
    const ranges = fc.array(fc.tuple(bound, bound, step), { minLength: 4, maxLength: 4 });
    fc.assert(
      fc.property(arrays(), ranges, (x, list) => {
        fc.pre(x.shape.length > 0);
        const t = of(x);
        t.requiresGrad = true;
        const used = list.slice(0, x.shape.length);
        const y = t.slice(used);
        y.mul(y).sum().backward();
        const places = used.map((r, i) => nd.sliceIndices(x.shape[i], ...r));
        agree(
          t.grad as Tensor,
          nd.make(x.shape, (i) => (i.every((v, a) => places[a].includes(v)) ? 2 * nd.at(x, i) : 0)),
        );
      }),
      runs,
    );
  });

  test('permute, transpose, reshape, flatten', () => {
    const permuted = arrays().chain((x) =>
      fc.tuple(
        fc.constant(x),
        fc.shuffledSubarray(
          x.shape.map((_, i) => i),
          { minLength: x.shape.length },
        ),
      ),
    );
    fc.assert(
      fc.property(permuted, layout, ([x, axes], p) => {
        const expected = nd.permute(x, axes);
        const t = p(of(x)).permute(axes);
        agree(t, expected);
        agree(t.flatten(), { shape: [expected.data.length], data: expected.data });
        agree(t.reshape([...expected.shape].reverse()), {
          shape: [...expected.shape].reverse(),
          data: expected.data,
        });
        agree(t.clone(), expected);
        expect(t.toArray()).toEqual(nd.toNested(expected));
        if (x.shape.length >= 2) {
          const swap = x.shape.map((_, i) => i);
          [swap[swap.length - 1], swap[swap.length - 2]] = [swap.length - 2, swap.length - 1];
          agree(p(of(x)).T, nd.permute(x, swap));
        }
      }),
      runs,
    );
  });

  test('concat and stack', () => {
    const parts = fc
      .tuple(
        fc.array(size, { minLength: 1, maxLength: 3 }),
        fc.nat(2),
        fc.array(size, { minLength: 1, maxLength: 3 }),
      )
      .chain(([shape, a, sizes]) => {
        const axis = a % shape.length;
        return fc.tuple(
          fc.constant(axis),
          fc.tuple(...sizes.map((n) => array(shape.map((m, i) => (i === axis ? n : m))))),
        );
      });
    fc.assert(
      fc.property(parts, layout, ([axis, list], p) => {
        const rank = list[0].shape.length;
        const starts = list.map((_, k) => list.slice(0, k).reduce((n, x) => n + x.shape[axis], 0));
        const total = list.reduce((n, x) => n + x.shape[axis], 0);
        const shape = list[0].shape.map((n, i) => (i === axis ? total : n));
        const expected = nd.make(shape, (index) => {
          const k = starts.findLastIndex((s, j) => s <= index[axis] && list[j].shape[axis] > index[axis] - s);
          return nd.at(
            list[k],
            index.map((v, i) => (i === axis ? v - starts[k] : v)),
          );
        });
        agree(
          concat(
            list.map((x) => p(of(x))),
            axis,
          ),
          expected,
        );
        agree(
          concat(
            list.map((x) => p(of(x))),
            axis - rank,
          ),
          expected,
        );
        const [x] = list;
        const stacked = nd.make(
          [...x.shape.slice(0, axis), 2, ...x.shape.slice(axis)],
          (index) =>
            nd.at(
              x,
              index.filter((_, i) => i !== axis),
            ) * (index[axis] === 0 ? 1 : -1),
        );
        agree(stack([p(of(x)), of(x).mul(-1)], axis), stacked);
      }),
      runs,
    );
  });
});

describe('matrix products', () => {
  test('of matrices with batch axes', () => {
    const pair = fc
      .tuple(
        size,
        size,
        size,
        fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 2 }),
        fc.nat(2),
        fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
      )
      .chain(([m, k, n, batch, lead, ones]) => {
        const own = (o: number) => batch.map((s, i) => (ones[o + i] ? 1 : s));
        return fc.tuple(array([...own(0), m, k]), array([...own(2).slice(lead), k, n]));
      });
    fc.assert(
      fc.property(pair, layout, layout, ([a, b], p, q) => {
        agree(p(of(a)).matmul(q(of(b))), nd.matmul(a, b), 1e-12);
      }),
      runs,
    );
  });

  test('larger ones, in every order of memory', () => {
    const dims = fc.tuple(
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 1, max: 40 }),
    );
    fc.assert(
      fc.property(
        dims,
        layout,
        layout,
        fc.constantFrom('float32' as const, 'float64' as const),
        ([m, k, n], p, q, dtype) => {
          const x = nd.make([m, k], ([i, j]) => ((i * 7 + j * 3) % 11) - 5);
          const y = nd.make([k, n], ([i, j]) => ((i * 5 + j * 2) % 13) - 6);
          // Whole numbers: every order of summation gives the same.
          agree(p(of(x).to(dtype)).matmul(q(of(y).to(dtype))), nd.matmul(x, y));
        },
      ),
      { numRuns: 40 },
    );
  });

  test('of vectors', () => {
    const a = tensor([1, 2, 3]);
    const b = tensor([
      [1, 2],
      [3, 4],
      [5, 6],
    ]);
    expect(a.matmul(b).toArray()).toEqual([22, 28]);
    expect(b.T.matmul(a).toArray()).toEqual([22, 28]);
    expect(a.matmul(a).toArray()).toBe(14);
    expect(stack([b, b]).transpose().matmul(a).toArray()).toEqual([
      [22, 28],
      [22, 28],
    ]);
    expect(a.matmul(stack([b, b])).toArray()).toEqual([
      [22, 28],
      [22, 28],
    ]);
  });
});

describe('picking by index', () => {
  test('indexSelect and gather', () => {
    const picked = fc
      .array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 3 })
      .chain((shape) =>
        fc.tuple(array(shape), fc.nat(shape.length - 1), fc.array(fc.nat(3), { maxLength: 6 }), fc.nat(1000)),
      );
    fc.assert(
      fc.property(picked, layout, ([x, axis, list, seed], p) => {
        const places = list.map((i) => i % x.shape[axis]);
        const expected = nd.take(
          x,
          x.shape.map((n, a) => (a === axis ? places : Array.from({ length: n }, (_, i) => i))),
        );
        agree(p(of(x)).indexSelect(axis, places), expected);
        agree(p(of(x)).indexSelect(axis - x.shape.length, tensor(places, { dtype: 'int32' })), expected);
        const shape = x.shape.map((n, a) => (a === axis ? list.length : Math.max(0, n - (seed % 2))));
        const index = nd.make(shape, (i) => (i.reduce((s, v) => s * 5 + v, seed) * 7) % x.shape[axis]);
        agree(
          p(of(x)).gather(axis, p(tensor(Int32Array.from(index.data), { shape }))),
          nd.make(shape, (i) =>
            nd.at(
              x,
              i.map((v, a) => (a === axis ? nd.at(index, i) : v)),
            ),
          ),
        );
      }),
      runs,
    );
  });
});
