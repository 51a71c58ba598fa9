// Softmax and its kin, running sums, variances and norms over axes, with values that PyTorch 2 gives in float64.
import * as sg from 'simdgrad';
import {
  compile,
  type DType,
  enableGrad,
  gradcheck,
  noGrad,
  ShapeError,
  type Tensor,
  tensor,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../support/compare.js';

const f64 = { dtype: 'float64' } as const;
const rows = [
  [1.5, -2, 0.25, 3],
  [0.5, 4, -1, 2],
  [-3, 1, 2.5, -0.75],
];
const matrix = () => tensor(rows, f64);
/** The matrix, and its rows from the last one on, halved, plus 1: [2, 3, 4]. */
const stack = () => sg.stack([matrix(), matrix().flip(0).mul(0.5).add(1)]);
const weights = Array.from({ length: 12 }, (_, i) => -1 + (2 * i) / 11);
const close = (t: Tensor, expected: readonly number[]): void =>
  expectClose(t.data, expected, { rtol: 1e-13, atol: 1e-14 });
/** Gradient of the sum of f(x), weighted with -1 to 1. */
function gradient(f: (x: Tensor) => Tensor, w: readonly number[] = weights): Tensor {
  const x = matrix();
  x.requiresGrad = true;
  const y = f(x);
  y.mul(tensor([...w], f64).reshape(...y.shape))
    .sum()
    .backward();
  return x.grad as Tensor;
}

describe('along other axes than the last', () => {
  it('softmax', () => {
    close(
      matrix().softmax(0),
      [
        0.7251692419269782, 0.0023556330807966807, 0.09281396564662192, 0.7187020423236421,
        0.2667748554748152, 0.9503302116973794, 0.026591646373374078, 0.2643957056987957,
        0.008055902598206599, 0.04731415522182405, 0.880594387980004, 0.016902251977562115,
      ],
    );
    close(
      gradient((x) => x.softmax(0)),
      [
        -0.14919324019651561, -0.0017902100820478652, -0.1206770841470209, -0.15586698159971676,
        0.1391329508789056, -0.03107304862827915, -0.0152351842985866, 0.13494752787477723,
        0.01006028931761008, 0.03286325871032703, 0.13591226844560755, 0.02091945372493951,
      ],
    );
  });

  it('logSoftmax', () => {
    close(
      stack().logSoftmax(1),
      [
        -0.3213502142290125, -6.050945763522998, -2.3771581586310475, -0.33030841282033196,
        -1.3213502142290126, -0.05094576352299828, -3.6271581586310475, -1.330308412820332,
        -4.821350214229012, -3.050945763522998, -0.12715815863104757, -4.080308412820332, -2.787621321433714,
        -1.7413112966571571, -0.40441549799934273, -2.440248822027973, -1.037621321433714,
        -0.24131129665715703, -2.154415497999343, -1.0652488220279734, -0.5376213214337139,
        -3.241311296657157, -1.5294154979993428, -0.5652488220279734,
      ],
    );
    close(
      gradient((x) => x.logSoftmax(0)),
      [
        -0.40667971115065427, -0.8175393727961463, -0.6616765360854423, -1.042574398264798,
        -0.05445693642969664, 0.168271875917467, 0.0836568237163525, 0.05640351351916713, 0.46113664758035083,
        0.6492674968786792, 0.5780197123690898, 0.986170884745631,
      ],
    );
  });

  it('logSumExp, over one axis and over two that are no neighbours', () => {
    close(
      matrix().logSumExp(0),
      [1.8213502142290126, 4.050945763522998, 2.6271581586310475, 3.3303084128203317],
    );
    const y = stack().logSumExp([0, 2], { keepdims: true });
    expect(y.shape).toEqual([1, 3, 1]);
    close(y, [3.7478742359281227, 4.570759512603256, 3.622746139192477]);
    expect(stack().logSumExp([0, 1]).shape).toEqual([4]);
    expect(gradcheck((x) => x.logSumExp([0, 2]).square(), stack())).toBe(true);
    expect(gradcheck((x) => x.logSumExp([0, 1]).square(), stack())).toBe(true);
  });

  it('infinite and missing values stay in their column', () => {
    const x = tensor([
      [-Infinity, 1, Infinity, NaN],
      [-Infinity, -Infinity, 0, 0],
    ]);
    expect(x.logSumExp(0).toArray()).toEqual([-Infinity, 1, Infinity, NaN]);
    expect(x.softmax(0).toArray()).toEqual([
      [NaN, 1, NaN, NaN],
      [NaN, 0, NaN, NaN],
    ]);
    expect(sg.zeros(0, 2).logSoftmax(0).shape).toEqual([0, 2]);
  });

  it('compiled as eager, of views too', () => {
    const f = (x: Tensor) => [
      x.softmax(0),
      x.transpose().logSoftmax(0),
      x.logSumExp(0),
      x.cumsum(0),
      x.var(0),
    ];
    const step = compile((x: Tensor) => f(x));
    for (let i = 0; i < 3; i++) {
      const x = sg.randn([70, 90]);
      const [a, b] = noGrad(() => [f(x), step(x) as Tensor[]]);
      a.forEach((y, k) => expect([...(b[k] as Tensor).data]).toEqual([...y.data]));
    }
  });
});

describe('running sums', () => {
  it('along any axis, and their derivatives', () => {
    close(
      stack().cumsum(-2),
      [
        1.5, -2, 0.25, 3, 2, 2, -0.75, 5, -1, 3, 1.75, 4.25, -0.5, 1.5, 2.25, 0.625, 0.75, 4.5, 2.75, 2.625,
        2.5, 4.5, 3.875, 5.125,
      ],
    );
    close(
      gradient((x) => x.cumsum(0)),
      [-9, -3, 3, 9, 2, 6, 10, 14, 5, 7, 9, 11].map((n) => n / 11),
    );
    close(
      gradient((x) => x.cumsum(1)),
      [-32, -21, -12, -5, 0, 3, 4, 3, 32, 27, 20, 11].map((n) => n / 11),
    );
    expect(() => matrix().cumsum(2)).toThrow(ShapeError);
  });

  it.each([
    ['float32', 2 ** -24],
    ['float64', 2 ** -53],
  ] as const)('%s: every sum is rounded once, however long', (dtype, unit) => {
    for (const n of [9, 300, 20_000]) {
      const x = sg.rand([3, n]).to(dtype as DType);
      const values = x.data;
      for (const [along, at] of [
        [x.cumsum(1), (r: number, k: number) => r * n + k],
        [x.transpose().contiguous().cumsum(0), (r: number, k: number) => k * 3 + r],
      ] as const) {
        const sums = along.data;
        for (let r = 0; r < 3; r++) {
          // Exact: the values are multiples of 2^-24 below 1.
          let sum = 0;
          for (let k = 0; k < n; k++) {
            sum += values[r * n + k] as number;
            const error = Math.abs((sums[at(r, k)] as number) - sum);
            if (error > unit * sum)
              throw new Error(`${n}, element ${k}: ${sums[at(r, k)]} instead of ${sum}`);
          }
        }
      }
    }
  });

  it('float64 keeps what rounding takes', () => {
    const x = tensor([1e16, ...new Array<number>(100).fill(1), -1e16], f64);
    expect(x.cumsum(0).data[101]).toBe(100);
    expect(
      x
        .reshape(102, 1)
        .mul(tensor([1, 1, 1], f64))
        .cumsum(0).data[305],
    ).toBe(100);
  });

  it('int32 wraps, and bool counts', () => {
    const x = tensor([2 ** 31 - 1, 1, 5], { dtype: 'int32' });
    expect(x.cumsum(0).toArray()).toEqual([2 ** 31 - 1, -(2 ** 31), -(2 ** 31) + 5]);
    expect(x.cumsum(0).dtype).toBe('int32');
    expect(
      tensor([[true], [true]])
        .cumsum(0)
        .toArray(),
    ).toEqual([[1], [2]]);
  });
});

describe('variance and norm', () => {
  it('PyTorch’s values and gradients', () => {
    close(matrix().var(0), [5.583333333333334, 9, 3.145833333333333, 3.770833333333334]);
    close(matrix().var({ correction: 0 }), [4.003472222222222]);
    close(matrix().norm(), [7.305819598101229]);
    close(matrix().norm(1), [3.913118960624632, 4.6097722286464435, 4.100304866714182]);
    close(
      gradient((x) => x.var(0), [1, 2, 3, 4]),
      [11 / 6, -6, -1, 19 / 3, 5 / 6, 6, -4.75, 7 / 3, -8 / 3, 0, 5.75, -26 / 3],
    );
  });

  it('the root of 0 has derivative 0, and a second one', () => {
    const x = tensor(
      [
        [3, 4],
        [0, 0],
      ],
      { ...f64, requiresGrad: true },
    );
    enableGrad(() => x.norm(1).sum().backward());
    close(x.grad as Tensor, [0.6, 0.8, 0, 0]);
    expect(gradcheck((t) => t.norm(1, { keepdims: true }).mul(t.std(0)), matrix())).toBe(true);
    const [g] = sg.grad(x.norm(1).sum(), [x], { createGraph: true }) as [Tensor];
    const [h] = sg.grad(g.sum(), [x]) as [Tensor];
    expect([...h.data].every(Number.isFinite)).toBe(true);
  });

  it.each([
    [[40_000], null] as const,
    [[2000, 20], 0] as const,
    [[20, 2000], 1] as const,
    [[700, 1000], null] as const,
  ])('of %s over %s: small deviations from a large mean', (shape, axis) => {
    // 1e6 and multiples of 1/16 up to 1, which float32 holds: the variance in doubles is all but exact.
    const x = sg
      .randint(0, 17, [...shape])
      .to('float32')
      .mul(1 / 16)
      .add(1e6);
    const values = x.data;
    const [kept, n, step] =
      axis === null
        ? [1, values.length, 1]
        : axis === 0
          ? [shape[1], shape[0], shape[1]]
          : [shape[0], shape[1], 1];
    const got = x.var(axis).data;
    for (let o = 0; o < (kept as number); o++) {
      const at = (k: number) =>
        values[axis === 1 ? o * (n as number) + k : o + k * (step as number)] as number;
      let sum = 0;
      for (let k = 0; k < (n as number); k++) sum += at(k) - 1e6;
      const mean = sum / (n as number);
      let squares = 0;
      for (let k = 0; k < (n as number); k++) squares += (at(k) - 1e6 - mean) ** 2;
      const want = squares / ((n as number) - 1);
      expect(Math.abs((got[o] as number) / want - 1)).toBeLessThan(1e-6);
    }
  });

  it('values that are not finite', () => {
    expect(tensor([1, Infinity]).var().item()).toBeNaN();
    expect(tensor([NaN, 1]).var().item()).toBeNaN();
    expect(tensor([3e38, -3e38, 1]).var().item()).toBe(Infinity);
    expect(
      tensor([[3e38], [-3e38], [1]])
        .mul(tensor([1, 0]))
        .var(0)
        .toArray(),
    ).toEqual([Infinity, 0]);
    expect(tensor([5]).var().item()).toBeNaN();
    expect(tensor([1, 2]).var({ correction: 2 }).item()).toBe(Infinity);
    expect(sg.zeros(0).norm().item()).toBe(0);
  });
});

describe('extremes of columns', () => {
  it.each(['float32', 'float64', 'int32'] as const)('%s: of any number of rows and columns', (dtype) => {
    for (const [n, m] of [
      [1, 5],
      [7, 3],
      [9, 16],
      [40, 67],
      [1100, 20],
      [3, 1500],
    ] as const) {
      const x = sg.randn([n, m]).mul(100).to(dtype);
      const values = x.data as Float32Array;
      if (dtype !== 'int32') values[(n >> 1) * m + 2] = NaN;
      const y = tensor(values.slice(), { shape: [n, m], dtype });
      const [high, low] = [y.max(0).data, y.min(0).data];
      for (let j = 0; j < m; j++) {
        const column = Array.from({ length: n }, (_, i) => values[i * m + j] as number);
        expect(high[j]).toBe(column.reduce((a, b) => Math.max(a, b)));
        expect(low[j]).toBe(column.reduce((a, b) => Math.min(a, b)));
      }
    }
  });
});
