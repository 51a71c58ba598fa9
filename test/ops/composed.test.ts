// Operations made of others, with values that PyTorch gives for these inputs.
import * as sg from 'simdgrad';
import {
  ArgumentError,
  allClose,
  arange,
  CompileError,
  DTypeError,
  F,
  gradcheck,
  IndexError,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';

const matrix = () =>
  tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
const f64 = { dtype: 'float64' } as const;
const lists = (parts: Tensor[]) => parts.map((t) => t.toArray());

describe('rounding', () => {
  it('ceil, and round with halves to even', () => {
    const x = tensor([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997, -0.49999997, 8388609, NaN, -Infinity]);
    expect(x.round().abs().toArray()).toEqual([2, 2, 0, 0, 2, 2, 0, 0, 8388609, NaN, Infinity]);
    expect(x.round().slice(0, 6).lt(0).toArray()).toEqual([true, true, false, false, false, false]);
    expect(tensor([-1.2, 1.2, 3]).ceil().toArray()).toEqual([-1, 2, 3]);
    expect(tensor([1, -2], { dtype: 'int32' }).round().toArray()).toEqual([1, -2]);
  });
  it('has the derivative 0', () => {
    for (const f of ['round', 'ceil'] as const) {
      const x = tensor([0.3, 1.7, -2.2], { requiresGrad: true });
      x[f]().sum().backward();
      expect(x.grad?.abs().toArray()).toEqual([0, 0, 0]);
    }
  });
});

describe('functions of one number', () => {
  it('tan, log2, log10, rsqrt', () => {
    const x = tensor([0.25, 1, 2, 8, 1000], f64);
    const cases: [keyof Tensor & keyof typeof sg, (v: number) => number][] = [
      ['tan', Math.tan],
      ['log2', Math.log2],
      ['log10', Math.log10],
      ['rsqrt', (v) => 1 / Math.sqrt(v)],
    ];
    for (const [name, f] of cases) {
      const g = sg[name] as unknown as (t: Tensor) => Tensor;
      (x.toArray() as number[]).forEach((v, i) => {
        expect((g(x).toArray() as number[])[i], name).toBeCloseTo(f(v), 12);
      });
      expect(g(tensor([4], { dtype: 'int32' })).dtype).toBe('float32');
      expect(gradcheck(g, tensor([0.25, 1.2, 3], f64)), name).toBe(true);
    }
  });
  it('isInf', () => {
    expect(tensor([1, Infinity, -Infinity, NaN]).isInf().toArray()).toEqual([false, true, true, false]);
    expect(tensor([1], { dtype: 'int32' }).isInf().toArray()).toEqual([false]);
  });
});

describe('any and all', () => {
  it('over all, one axis, several', () => {
    const x = tensor([
      [0, 1, 0],
      [0, 2, NaN],
    ]);
    expect(x.any().item()).toBe(true);
    expect(x.all().item()).toBe(false);
    expect(x.any(0).toArray()).toEqual([false, true, true]);
    expect(x.all(0).toArray()).toEqual([false, true, false]);
    expect(x.all(-1, { keepdims: true }).toArray()).toEqual([[false], [false]]);
    expect(x.any([0, 1]).dtype).toBe('bool');
    expect(sg.zeros(0).any().item()).toBe(false);
    expect(sg.zeros(0).all().item()).toBe(true);
    expect(() => x.any(2)).toThrow(ShapeError);
  });
});

describe('cumsum', () => {
  it('sums along an axis', () => {
    expect(matrix().cumsum(0).toArray()).toEqual([
      [1, 2, 3],
      [5, 7, 9],
    ]);
    expect(matrix().cumsum(-1).toArray()).toEqual([
      [1, 3, 6],
      [4, 9, 15],
    ]);
    const long = sg.arange(1, 101).cumsum(0).toArray() as number[];
    expect(long).toEqual(long.map((_, i) => ((i + 1) * (i + 2)) / 2));
    expect(tensor([true, false, true]).cumsum(0).toArray()).toEqual([1, 1, 2]);
    expect(tensor([1, Infinity, 2]).cumsum(0).toArray()).toEqual([1, Infinity, Infinity]);
    expect(sg.zeros(0, 2).cumsum(0).shape).toEqual([0, 2]);
    expect(tensor(3).cumsum(0).item()).toBe(3);
  });
  it('has a derivative', () => {
    expect(gradcheck((t) => t.cumsum(1).square(), tensor([[1, 2, 3, -4, 5]], f64))).toBe(true);
  });
});

describe('split, chunk and flip', () => {
  it('split', () => {
    const x = sg.arange(5);
    expect(lists(x.split(2))).toEqual([[0, 1], [2, 3], [4]]);
    expect(lists(x.split([1, 0, 4]))).toEqual([[0], [], [1, 2, 3, 4]]);
    expect(lists(matrix().split(2, 1))[1]).toEqual([[3], [6]]);
    expect(
      sg
        .zeros(0, 3)
        .split(2)
        .map((t) => t.shape),
    ).toEqual([[0, 3]]);
    expect(() => x.split([1, 2])).toThrow(/add up to 3/);
    expect(() => x.split(0)).toThrow(ArgumentError);
    expect(() => x.split([-1, 6])).toThrow(ArgumentError);
    expect(() => tensor(1).split(1)).toThrow(ShapeError);
  });
  it('chunk', () => {
    expect(
      sg
        .arange(7)
        .chunk(3)
        .map((t) => t.size),
    ).toEqual([3, 3, 1]);
    expect(
      sg
        .arange(6)
        .chunk(4)
        .map((t) => t.size),
    ).toEqual([2, 2, 2]);
    expect(matrix().chunk(3, -1)).toHaveLength(3);
    expect(() => matrix().chunk(1.5)).toThrow(ArgumentError);
  });
  it('flip', () => {
    expect(matrix().flip(1).toArray()).toEqual([
      [3, 2, 1],
      [6, 5, 4],
    ]);
    expect(matrix().flip([0, -1]).toArray()).toEqual(matrix().flip().toArray());
    expect(matrix().flip().toArray()).toEqual([
      [6, 5, 4],
      [3, 2, 1],
    ]);
    expect(() => matrix().flip([0, 0])).toThrow(/twice/);
    expect(gradcheck((t) => t.flip(0).mul(t), tensor([1, 2, 3], f64))).toBe(true);
  });
});

describe('maskedFill', () => {
  it('keeps the dtype and broadcasts the mask', () => {
    const mask = tensor([true, false, true]);
    expect(matrix().maskedFill(mask, -Infinity).toArray()).toEqual([
      [-Infinity, 2, -Infinity],
      [-Infinity, 5, -Infinity],
    ]);
    expect(tensor([1, 2, 3], { dtype: 'int32' }).maskedFill(mask, 9).dtype).toBe('int32');
    expect(tensor([1, 2, 3]).maskedFill(mask, tensor(0)).toArray()).toEqual([0, 2, 0]);
    expect(() => matrix().maskedFill(tensor([1, 0, 1]), 0)).toThrow(DTypeError);
    expect(() => tensor([1, 2, 3], { dtype: 'int32' }).maskedFill(mask, 0.5)).toThrow(DTypeError);
    expect(() => matrix().maskedFill(mask, tensor([1, 2, 3]))).toThrow(ShapeError);
    expect(gradcheck((t) => t.maskedFill(mask, 2).square(), tensor([1, 2, 3], f64))).toBe(true);
  });
});

describe('triangles and diagonals', () => {
  it('tril and triu', () => {
    expect(matrix().tril().toArray()).toEqual([
      [1, 0, 0],
      [4, 5, 0],
    ]);
    expect(matrix().triu().toArray()).toEqual([
      [1, 2, 3],
      [0, 5, 6],
    ]);
    expect(matrix().tril(1).toArray()).toEqual([
      [1, 2, 0],
      [4, 5, 6],
    ]);
    expect(matrix().triu(1).toArray()).toEqual([
      [0, 2, 3],
      [0, 0, 6],
    ]);
    expect(matrix().tril(-1).toArray()).toEqual([
      [0, 0, 0],
      [4, 0, 0],
    ]);
    expect(sg.ones([2, 2], { dtype: 'bool' }).tril().toArray()).toEqual([
      [true, false],
      [true, true],
    ]);
    expect(sg.ones(4, 2, 2).triu().sum().item()).toBe(12);
    expect(() => tensor([1]).tril()).toThrow(ShapeError);
    expect(() => matrix().triu(0.5)).toThrow(ArgumentError);
  });
  it('diag', () => {
    expect(matrix().diag().toArray()).toEqual([1, 5]);
    expect(matrix().diag(1).toArray()).toEqual([2, 6]);
    expect(matrix().diag(2).toArray()).toEqual([3]);
    expect(matrix().diag(-1).toArray()).toEqual([4]);
    expect(matrix().diag(-2).toArray()).toEqual([]);
    expect(tensor([1, 2]).diag().toArray()).toEqual([
      [1, 0],
      [0, 2],
    ]);
    expect(tensor([1, 2]).diag(1).toArray()).toEqual([
      [0, 1, 0],
      [0, 0, 2],
      [0, 0, 0],
    ]);
    expect(tensor([1, 2]).diag(-1).toArray()).toEqual([
      [0, 0, 0],
      [1, 0, 0],
      [0, 2, 0],
    ]);
    expect(() => sg.zeros(1, 1, 1).diag()).toThrow(ShapeError);
    expect(gradcheck((t) => t.diag(1).square(), tensor([1, 2], f64))).toBe(true);
    expect(gradcheck((t) => t.reshape(2, 2).diag(-1), tensor([1, 2, 3, 4], f64))).toBe(true);
  });
});

describe('comparisons of whole tensors', () => {
  it('equal', () => {
    expect(matrix().equal(matrix())).toBe(true);
    expect(matrix().equal(matrix().add(1e-6))).toBe(false);
    expect(sg.ones(2).equal(sg.ones(1))).toBe(false);
    expect(tensor([NaN]).equal(tensor([NaN]))).toBe(false);
    expect(sg.ones(2).equal(sg.ones([2], { dtype: 'int32' }))).toBe(true);
  });
  it('allClose', () => {
    const x = tensor([1, 1e-9, Infinity], f64);
    expect(allClose(x, tensor([1 + 9e-6, 0, Infinity], f64))).toBe(true);
    expect(allClose(x, tensor([1 + 2e-5, 0, Infinity], f64))).toBe(false);
    expect(allClose(x, tensor([1, 0, -Infinity], f64), { atol: Infinity })).toBe(false);
    expect(allClose(tensor([1.1]), 1, { rtol: 0.2 })).toBe(true);
    expect(allClose(tensor([NaN]), tensor([NaN]))).toBe(false);
    expect(allClose(tensor([NaN]), tensor([NaN]), { equalNan: true })).toBe(true);
    expect(() => allClose(x, x, { rTol: 1 } as object)).toThrow(/rTol/);
  });
  it('cannot be read in a compiled step', () => {
    const step = sg.compile((x: Tensor) => (x.equal(x) ? x : x.neg()));
    expect(() => step(sg.ones(2))).toThrow(CompileError);
  });
});

describe('what a tensor is', () => {
  it('numel, ndim, isTensor', () => {
    expect([matrix().numel(), matrix().ndim]).toEqual([6, 2]);
    expect(sg.isTensor(matrix())).toBe(true);
    expect(sg.isTensor([1])).toBe(false);
    expect(() => matrix().indexSelect(0, [2])).toThrow(IndexError);
  });
  it('fullLike, randLike, randnLike', () => {
    const like = sg.zeros([2, 3], f64);
    const filled = sg.fullLike(like, 7);
    expect([filled.dtype, filled.toArray()]).toEqual(['float64', sg.full([2, 3], 7).toArray()]);
    sg.manualSeed(1);
    const [u, n] = [sg.randLike(like), sg.randnLike(like, { dtype: 'float32' })];
    sg.manualSeed(1);
    expect(u.toArray()).toEqual(sg.rand([2, 3], f64).toArray());
    expect(n.toArray()).toEqual(sg.randn(2, 3).toArray());
    expect(() => sg.randLike(sg.zeros([2], { dtype: 'int32' }))).toThrow(DTypeError);
  });
});

describe('where zeros, infinities and large numbers stand (values and gradients of PyTorch 2.13)', () => {
  const gradOf = (values: number | number[] | number[][], f: (x: Tensor) => Tensor): [unknown, unknown] => {
    const x = tensor(values, { dtype: 'float64', requiresGrad: true });
    const y = f(x);
    y.sum().backward();
    return [y.toArray(), x.grad?.toArray()];
  };

  it.each([
    [
      3,
      [0, 4.497941445275415],
      [
        [0, 0],
        [0.4448513517305356, 0.7908468475209521],
      ],
      [
        [0, 0],
        [3, 4],
      ],
    ],
    [
      1.5,
      [0, 5.584250376480029],
      [
        [0, 0],
        [0.7329564758289748, 0.8463452372482761],
      ],
      [
        [0, 0],
        [3, 4],
      ],
    ],
    [
      0.5,
      [1, 9.898979485566358],
      [
        [0, 1],
        [2.224744871391589, -1.8164965809277265],
      ],
      [
        [0, 1],
        [2, -3],
      ],
    ],
    [-1, [0], [[0, 0]], [[0, 1]]],
    [-2, [1.7888543819998317], [[0.7155417527999326, -0.08944271909999157]], [[2, -4]]],
  ])('norms: p = %s', (p, values, gradients, x) => {
    const [y, g] = gradOf(x, (t) => t.norm(1, { p }));
    const flat = (a: unknown) => tensor(a as number[], { dtype: 'float64' }).data;
    flat(y).forEach((v, i) => expect(v).toBeCloseTo(values[i] as number, 14));
    flat(g).forEach((v, i) => expect(v).toBeCloseTo(gradients.flat()[i] as number, 14));
  });

  it('Huber losses far away', () => {
    for (const loss of [F.huberLoss, F.smoothL1Loss]) {
      const [, g] = gradOf([Infinity, 1, 0.25], (x) => loss(x, zeros([3], { dtype: 'float64' })));
      expect(g).toEqual([1 / 3, 1 / 3, 0.25 / 3]);
    }
  });

  it('smooth L1 losses without a parabola that float32 could hold', () => {
    const [x, y] = [tensor([1, 0], { requiresGrad: true }), tensor([1, 0.5])];
    const loss = F.smoothL1Loss(x, y, { beta: 1e-39 });
    loss.backward();
    expect([loss.item(), (x.grad as Tensor).toArray()]).toEqual([0.25, [0, -0.5]]);
  });

  it('round', () => {
    expect(gradOf([Infinity, Number.NaN, 1.7, -0.3, -0], (x) => x.round())).toEqual([
      [Infinity, Number.NaN, 2, -0, -0],
      [0, 0, 0, 0, 0],
    ]);
  });

  it('log2 and log10 are exact at the powers of their base', () => {
    for (const dtype of ['float32', 'float64'] as const) {
      const exponents = arange(-60, 61);
      const powers = tensor(
        Array.from(exponents.data, (n) => 2 ** n),
        { dtype },
      );
      expect(powers.log2().toArray()).toEqual(exponents.toArray());
    }
    const tens = [0.001, 0.1, 1, 10, 1000, 1e6, 1e9, 1e15];
    expect(tensor(tens, { dtype: 'float64' }).log10().toArray()).toEqual([-3, -1, 0, 1, 3, 6, 9, 15]);
    expect(tensor([0, Infinity, -1, 3]).log2().toArray()).toEqual([
      -Infinity,
      Infinity,
      Number.NaN,
      Math.fround(Math.log2(3)),
    ]);
    expect(gradOf([8, 3], (x) => x.log2())[1]).toEqual([1 / 8 / Math.LN2, 1 / 3 / Math.LN2]);
  });
});

describe('numbers beside a tensor', () => {
  const numbers = [0.1, -0, 1e-40, 1e39, Infinity, NaN, 2 ** 24 + 1];
  it('are rounded to its dtype, eager and compiled', () => {
    for (const b of numbers) {
      const [single, double] = [tensor([3, -0.7]), tensor([3, -0.7], f64)];
      const wanted = [3, Math.fround(-0.7)].map((a) => Math.fround(a * Math.fround(b)));
      const wantedDouble = [3, -0.7].map((a) => a * b);
      for (const f of [(x: Tensor) => x.mul(b), sg.compile((x: Tensor) => x.mul(b))]) {
        expect([...f(single).data].map(String)).toEqual(wanted.map(String));
        expect([...f(double).data].map(String)).toEqual(wantedDouble.map(String));
      }
      expect(Object.is(sg.full([], b).data[0], Math.fround(b))).toBe(true);
      expect(Object.is(sg.full([1], b, f64).data[0], b)).toBe(true);
    }
  });

  it('are tensors of their own each time', () => {
    const [a, b] = [sg.full([], 2), sg.full([], 3)];
    a.add_(5);
    expect([a.item(), b.item(), sg.full([], 2).item()]).toEqual([7, 3, 2]);
  });
});

describe('whole numbers', () => {
  const int = (...values: number[]): Tensor => tensor(values, { dtype: 'int32' });

  it('meet numbers that int32 cannot hold as float32', () => {
    expect(int(2147483647).eq(3e9).toArray()).toEqual([false]);
    expect(int(2147483647).ge(3e9).toArray()).toEqual([false]);
    expect(int(-2147483648).le(-3e9).toArray()).toEqual([false]);
    expect(int(5).add(1e10).toArray()).toEqual([1e10]);
    expect(int(5).add(2147483647).dtype).toBe('int32');
    expect(() => int(1).maskedFill(tensor([true]), 3e9)).toThrow(DTypeError);
  });

  it('are not cut off in place', () => {
    for (const change of [
      () => int(1, 2).mul_(0.5),
      () => int(1, 2).add_(0.7),
      () => int(3, 5).div_(2),
      () => tensor([true, false]).add_(1),
      () => int(1).add_(1e10),
      () => int(1).sub_(tensor(1)),
    ]) {
      expect(change).toThrow(
        /(add|sub|mul|div)_: the result is (float32|int32), which a tensor of (int32|bool) does not hold/,
      );
    }
    expect(int(1, 2).mul_(3).toArray()).toEqual([3, 6]);
    expect(
      tensor([1, 2])
        .add_(tensor(1, { dtype: 'float64' }))
        .toArray(),
    ).toEqual([2, 3]);
  });

  it('give float32 to any power, and have no losses', () => {
    expect([int(3).pow(2).dtype, int(3).pow(3).dtype, tensor([true]).pow(2).dtype]).toEqual([
      'float32',
      'float32',
      'float32',
    ]);
    expect(int(50000).pow(2).toArray()).toEqual([2.5e9]);
    expect(int(50000).square().dtype).toBe('int32');
    expect(() => F.mseLoss(int(0), int(70000))).toThrow(
      /mseLoss: takes float32 or float64, not int32 and int32/,
    );
  });

  it('the default of ignoreIndex may be written down beside probabilities', () => {
    const y = tensor([[0.5, 0.5]]);
    expect(F.crossEntropy(zeros([1, 2]), y, { ignoreIndex: -100 }).item()).toBeCloseTo(Math.LN2, 6);
    expect(() => F.crossEntropy(zeros([1, 2]), y, { ignoreIndex: 0 })).toThrow(ArgumentError);
  });
});
