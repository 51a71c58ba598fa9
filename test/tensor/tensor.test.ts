import { inspect } from 'node:util';
import {
  ArgumentError,
  arange,
  DTypeError,
  eye,
  full,
  linspace,
  ones,
  onesLike,
  rand,
  ShapeError,
  SimdgradError,
  StateError,
  Tensor,
  tensor,
  where,
  zeros,
  zerosLike,
} from 'simdgrad';
import { describe, expect, test } from 'vitest';

describe('tensor(values)', () => {
  test('takes numbers, nested arrays and booleans', () => {
    const cases: [unknown, number[], string, unknown][] = [
      [5, [], 'float32', 5],
      [true, [], 'bool', true],
      [[1, 2, 3], [3], 'float32', [1, 2, 3]],
      [[[1], [2]], [2, 1], 'float32', [[1], [2]]],
      [[[[0.5]]], [1, 1, 1], 'float32', [[[0.5]]]],
      [[true, false], [2], 'bool', [true, false]],
      [[true, 2], [2], 'float32', [1, 2]],
      [[], [0], 'float32', []],
      [[[], []], [2, 0], 'float32', [[], []]],
      [
        [new Float64Array([1, 2]), [3, 4]],
        [2, 2],
        'float32',
        [
          [1, 2],
          [3, 4],
        ],
      ],
    ];
    for (const [values, shape, dtype, back] of cases) {
      const t = tensor(values as never);
      expect([t.shape, t.dtype, t.toArray()]).toEqual([shape, dtype, back]);
      expect([t.size, t.rank]).toEqual([shape.reduce((a, b) => a * b, 1), shape.length]);
    }
  });

  test('typed arrays are copied and keep their type', () => {
    for (const [source, dtype] of [
      [new Float32Array([1, 2]), 'float32'],
      [new Float64Array([1, 2]), 'float64'],
      [new Int32Array([1, 2]), 'int32'],
      [new Uint8Array([1, 2]), 'bool'],
      [new Int8Array([1, 2]), 'float32'],
      [new Uint16Array([1, 2]), 'float32'],
      [new Uint8ClampedArray([1, 2]), 'float32'],
    ] as const) {
      const t = tensor(source as never);
      expect(t.dtype).toBe(dtype);
      expect(t.toArray()).toEqual(dtype === 'bool' ? [true, true] : [1, 2]);
      source[0] = 9;
      expect(t.toArray()).toEqual(dtype === 'bool' ? [true, true] : [1, 2]);
    }
    const shared = new Float32Array(new SharedArrayBuffer(8));
    shared.set([3, 4]);
    expect(tensor(shared as never).toArray()).toEqual([3, 4]);
    expect(tensor(new Float32Array(10).subarray(2, 4)).shape).toEqual([2]);
  });

  test('shape arranges a flat list', () => {
    expect(tensor([1, 2, 3, 4, 5, 6], { shape: [2, 3] }).toArray()).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(tensor(new Float64Array(4), { shape: [2, 2] }).dtype).toBe('float64');
    expect(tensor([], { shape: [0, 3] }).shape).toEqual([0, 3]);
    expect(tensor(7, { shape: [1, 1] }).shape).toEqual([1, 1]);
    expect(() => tensor([1, 2, 3], { shape: [2, 2] })).toThrow(/3 values do not fill shape \[2, 2\]/);
    expect(() => tensor([1], { shape: [-2] })).toThrow(ShapeError);
  });

  test('ragged arrays and values that are no numbers are refused', () => {
    for (const ragged of [
      [[1, 2], [3]],
      [[1], 2],
      [1, [2]],
      [[[1]], [[2], [3]]],
      [[], [1]],
      [[1], []],
    ]) {
      expect(() => tensor(ragged as never)).toThrow(ShapeError);
      expect(() => tensor(ragged as never)).toThrow(/ragged/);
    }
    for (const wrong of [
      '1',
      null,
      undefined,
      {},
      1n,
      Symbol('x'),
      () => 1,
      new Map(),
      new Date(),
      [null],
      ['1'],
      [undefined],
      [1n],
      [{}],
      new DataView(new ArrayBuffer(8)),
      new BigInt64Array(2),
      new ArrayBuffer(8),
      tensor([1]),
      [tensor([1])],
    ]) {
      expect(() => tensor(wrong as never), String(typeof wrong)).toThrow(SimdgradError);
    }
    expect(() => tensor([null] as never)).toThrow(DTypeError);
    const deep: unknown[] = [];
    deep.push(deep);
    expect(() => tensor(deep as never)).toThrow(ShapeError);
    let nine: unknown = 1;
    for (let i = 0; i < 9; i++) nine = [nine];
    expect(() => tensor(nine as never)).toThrow(/rank 9/);
    // biome-ignore lint/suspicious/noSparseArray: holes are the point
    expect(() => tensor([1, , 3] as never)).toThrow(DTypeError);
  });

  test('options that are none', () => {
    expect(() => tensor([1], { dtype: 'float' } as never)).toThrow(DTypeError);
    expect(() => tensor([1], { requiresGrad: 1 } as never)).toThrow(ArgumentError);
    expect(() => tensor([1], { Dtype: 'float32' } as never)).toThrow(/Dtype/);
    expect(() => tensor([1], 'float64' as never)).toThrow(ArgumentError);
    expect(() => tensor([1], null as never)).toThrow(ArgumentError);
    expect(() => tensor([1], { dtype: 'int32', requiresGrad: true })).toThrow(DTypeError);
    expect(() => new Tensor(undefined as never)).toThrow(ArgumentError);
  });
});

describe('dtypes', () => {
  const odd = [0.5, -0.5, 1.9, -1.9, 2 ** 31, -(2 ** 31) - 1, 1e300, NaN, Infinity, -Infinity, 16777217];
  test('numbers are converted when a tensor is made as they are by to()', () => {
    const exact = tensor(odd, { dtype: 'float64' });
    for (const dtype of ['float32', 'int32', 'bool', 'float64'] as const) {
      expect(exact.to(dtype).toArray()).toEqual(tensor(odd, { dtype }).toArray());
    }
    expect(exact.to('int32').toArray()).toEqual([
      0, 0, 1, -1, 2147483647, -2147483648, 2147483647, 0, 2147483647, -2147483648, 16777217,
    ]);
    expect(exact.to('bool').toArray()).toEqual(new Array(11).fill(true));
    expect(exact.to('float32').toArray()).toEqual([...Float32Array.from(odd)]);
    expect(exact.to('float64')).toBe(exact);
  });

  test("arithmetic promotes as PyTorch does; numbers take the tensor's dtype", () => {
    const [f, d, i, b] = [
      tensor([1.5]),
      tensor([1.5], { dtype: 'float64' }),
      tensor([2], { dtype: 'int32' }),
      tensor([true]),
    ];
    expect([f.add(d).dtype, f.add(i).dtype, i.add(b).dtype, b.add(b).dtype]).toEqual([
      'float64',
      'float32',
      'int32',
      'int32',
    ]);
    expect([f.add(1).dtype, d.mul(0.5).dtype, i.add(1).dtype, i.add(0.5).dtype, i.div(2).dtype]).toEqual([
      'float32',
      'float64',
      'int32',
      'float32',
      'float32',
    ]);
    const c = tensor([true, false]);
    const pair = tensor([1, 5], { dtype: 'int32' });
    expect([where(c, pair, 0.5).toArray(), where(c, pair, 9).dtype, where(c, c, 2).toArray()]).toEqual([
      [1, 0.5],
      'int32',
      [1, 2],
    ]);
    expect([pair.clamp(1.5, 4.5).toArray(), pair.clamp(2, 4).dtype, pair.clamp(2).toArray()]).toEqual([
      [1.5, 4.5],
      'int32',
      [2, 5],
    ]);
    expect([i.add(0.5).item(), i.div(4).item(), i.add(1).item()]).toEqual([2.5, 0.5, 3]);
    expect([f.lt(2).dtype, i.eq(2).item(), i.sum().dtype, b.sum().item(), i.mean().dtype]).toEqual([
      'bool',
      true,
      'int32',
      1,
      'float32',
    ]);
    expect(
      tensor([2 ** 31 - 1], { dtype: 'int32' })
        .add(1)
        .item(),
    ).toBe(-(2 ** 31));
  });
});

describe('reading', () => {
  test('item gives the one value', () => {
    expect([
      tensor(3.5).item(),
      tensor([[2]]).item(),
      tensor([true]).item(),
      tensor(7, { dtype: 'int32' }).item(),
    ]).toEqual([3.5, 2, true, 7]);
    expect(() => tensor([1, 2]).item()).toThrow(ShapeError);
    expect(() => tensor([]).item()).toThrow(ShapeError);
  });

  test('data is a live view where memory is contiguous, else a copy', () => {
    const t = tensor([
      [1, 2],
      [3, 4],
    ]);
    expect(t.data).toBeInstanceOf(Float32Array);
    t.data[1] = 20;
    expect(t.toArray()).toEqual([
      [1, 20],
      [3, 4],
    ]);
    expect(t.slice(1).data[0]).toBe(3);
    t.slice(1).data[0] = 30;
    expect(t.toArray()).toEqual([
      [1, 20],
      [30, 4],
    ]);
    expect([...t.T.data]).toEqual([1, 30, 20, 4]);
    t.T.data[0] = 99;
    expect(t.toArray()).toEqual([
      [1, 20],
      [30, 4],
    ]);
    t.fill_(5);
    expect([...t.data]).toEqual([5, 5, 5, 5]);
    expect(tensor([true]).data).toBeInstanceOf(Uint8Array);
    expect(tensor([1], { dtype: 'int32' }).data).toBeInstanceOf(Int32Array);
    expect(zeros(0, 3).data.length).toBe(0);
  });

  test('an array that was read stays when the tensor becomes a parameter', () => {
    const t = tensor([1, 2]);
    const { data } = t;
    t.requiresGrad = true;
    expect(t.data).toBe(data);
    data[0] = 9;
    expect(t.toArray()).toEqual([9, 2]);
  });

  test('views share memory', () => {
    const t = arange(6).to('float32').reshape(2, 3);
    t.T.slice(0, 1).fill_(9);
    expect(t.toArray()).toEqual([
      [9, 1, 2],
      [9, 4, 5],
    ]);
    expect(t.contiguous()).toBe(t);
    expect(t.T.contiguous().toArray()).toEqual([
      [9, 9],
      [1, 4],
      [2, 5],
    ]);
  });

  test('memory that was given back or taken away is an error', () => {
    const t = tensor([1, 2, 3]);
    t.dispose();
    expect(() => t.data).toThrow(StateError);
    expect(() => t.add(1)).toThrow(StateError);
    const u = tensor(new Float32Array(2000));
    const { data } = u;
    structuredClone(data.buffer, { transfer: [data.buffer as ArrayBuffer] });
    expect(() => u.add(1)).toThrow(SimdgradError);
  });

  // What many operations use is known to the addon in another way (backend/memory.ts).
  test('so it is after many uses, and nothing is wrong with none that is gone', () => {
    const used = tensor(new Float32Array(2000));
    const empty = zeros([0, 3]);
    for (const x of [used, empty]) {
      for (let i = 0; i < 5; i++) expect(x.add(1).mul(x).sum().item()).toBe(0);
      structuredClone(x.data.buffer, { transfer: [x.data.buffer as ArrayBuffer] });
    }
    for (let i = 0; i < 5; i++) {
      expect(() => used.add(1)).toThrow(/was transferred; transfer a copy/);
      expect(() => used.add_(1)).toThrow(/was transferred; transfer a copy/);
      expect(empty.add(1).shape).toEqual([0, 3]);
    }
    const fresh = zeros([0, 3]);
    structuredClone(fresh.data.buffer, { transfer: [fresh.data.buffer as ArrayBuffer] });
    for (let i = 0; i < 5; i++) expect(fresh.add(1).shape).toEqual([0, 3]);
  });
});

describe('changes in place', () => {
  test('arithmetic and assignment, broadcast and converted', () => {
    const t = tensor([
      [1, 2],
      [3, 4],
    ]);
    expect(
      t
        .add_(1)
        .mul_(tensor([1, 2]))
        .sub_(tensor([[1], [2]]))
        .div_(2)
        .toArray(),
    ).toEqual([
      [0.5, 2.5],
      [1, 4],
    ]);
    expect(
      t
        .copy_([
          [1, 2],
          [3, 4],
        ])
        .toArray(),
    ).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(t.copy_(new Float64Array([5, 6, 7, 8])).toArray()).toEqual([
      [5, 6],
      [7, 8],
    ]);
    expect(t.copy_(tensor([1, 2], { dtype: 'int32' })).toArray()).toEqual([
      [1, 2],
      [1, 2],
    ]);
    expect(t.fill_(7).zero_().toArray()).toEqual([
      [0, 0],
      [0, 0],
    ]);
    const i = tensor([1, 2], { dtype: 'int32' });
    expect(i.add_(3).toArray()).toEqual([4, 5]);
    // As in PyTorch: nothing is cut off silently.
    expect(() => i.add_(0.9)).toThrow(DTypeError);
    expect(i.toArray()).toEqual([4, 5]);
  });

  test('overlapping windows are copied as if through a temporary', () => {
    const t = arange(6).to('float32');
    t.slice(1).copy_(t.slice(0, 5));
    expect(t.toArray()).toEqual([0, 0, 1, 2, 3, 4]);
    t.copy_(t.slice([null, null, -1]));
    expect(t.toArray()).toEqual([4, 3, 2, 1, 0, 0]);
    const m = tensor([
      [1, 2],
      [3, 4],
    ]);
    m.add_(m.T);
    expect(m.toArray()).toEqual([
      [2, 5],
      [5, 8],
    ]);
    m.slice(0, 1).mul_(m.slice(1));
    expect(m.toArray()).toEqual([
      [10, 40],
      [5, 8],
    ]);
  });

  test('broadcast views and computed tensors are refused', () => {
    expect(() =>
      tensor([1])
        .broadcastTo([3])
        .add_(tensor([1, 2, 3])),
    ).toThrow(/share their memory/);
    expect(zeros(3, 2, 0).fill_(1).size).toBe(0); // what has no elements has none to share
    const w = tensor([1, 2], { requiresGrad: true });
    expect(() => w.mul(2).add_(1)).toThrow(/computed by mul/);
  });
});

describe('functions that make tensors', () => {
  test('zeros, ones, full, eye and their shapes', () => {
    expect(zeros(2, 3).shape).toEqual([2, 3]);
    expect(zeros([2, 3]).shape).toEqual([2, 3]);
    expect([zeros().shape, zeros([]).shape, zeros(0).shape]).toEqual([[], [], [0]]);
    expect(ones(2, { dtype: 'bool' }).toArray()).toEqual([true, true]);
    expect(full([2], 7, { dtype: 'int32' }).toArray()).toEqual([7, 7]);
    expect(full([1], true).dtype).toBe('bool');
    expect(eye(2).toArray()).toEqual([
      [1, 0],
      [0, 1],
    ]);
    expect(eye(1, 3, { dtype: 'float64' }).toArray()).toEqual([[1, 0, 0]]);
    const like = tensor([[1, 2]], { dtype: 'float64' });
    expect([zerosLike(like).dtype, onesLike(like).toArray()]).toEqual(['float64', [[1, 1]]]);
    expect(rand(3, { requiresGrad: true }).requiresGrad).toBe(true);
  });

  test('arange and linspace', () => {
    expect(arange(3).toArray()).toEqual([0, 1, 2]);
    expect([arange(3).dtype, arange(0, 1, 0.25).dtype]).toEqual(['int32', 'float32']);
    expect(arange(1, 4).toArray()).toEqual([1, 2, 3]);
    expect(arange(5, 0, -2).toArray()).toEqual([5, 3, 1]);
    expect(arange(0, 1, 0.25, { dtype: 'float64' }).toArray()).toEqual([0, 0.25, 0.5, 0.75]);
    expect(arange(3, 3).shape).toEqual([0]);
    expect(arange(4, { dtype: 'float64' }).dtype).toBe('float64');
    expect(linspace(0, 1, 5).toArray()).toEqual([0, 0.25, 0.5, 0.75, 1]);
    expect([linspace(2, 3, 1).toArray(), linspace(0, 1, 0).toArray()]).toEqual([[2], []]);
    const x = linspace(-0.1, 0.7, 1001, { dtype: 'float64' }).data;
    expect([x[0], x[1000]]).toEqual([-0.1, 0.7]);
    expect(() => arange(0, 1, 0)).toThrow(/step of 0/);
    expect(() => arange(0, Infinity)).toThrow(ArgumentError);
    expect(() => linspace(0, 1, -1)).toThrow(ShapeError);
  });

  test('sizes that no machine has are refused with a typed error, before anything is allocated', () => {
    for (const make of [
      () => zeros(2 ** 32, 2 ** 20),
      () => zeros(2 ** 33, { dtype: 'float64' }),
      () => ones([1e9, 1e9]),
      () => full([2 ** 53], 1),
      () => eye(90_000),
      () => eye(2 ** 31),
      () => arange(2 ** 33),
      () => arange(1e15),
      () => linspace(0, 1, 2 ** 33),
      () => rand(1e10),
      () => zeros(2, 3).broadcastTo([1e6, 1e6, 2, 3]).clone(),
      () =>
        ones(1)
          .broadcastTo([2 ** 33])
          .add(1),
      () => zeros(2 ** 53 + 2),
      () => zeros(NaN),
      () => zeros(Infinity),
      () => zeros(-1),
      () => zeros(1.5),
      () => zeros('3' as never),
      () => zeros([2, [3]] as never),
    ]) {
      expect(make, String(make)).toThrow(SimdgradError);
    }
  });
});

describe('console.log', () => {
  const cases: [string, () => Tensor, string][] = [
    ['a scalar', () => tensor(3.5), 'Tensor(3.5000, shape=[], dtype=float32)'],
    ['a whole number', () => tensor(3, { dtype: 'int32' }), 'Tensor(3, shape=[], dtype=int32)'],
    ['whole floats', () => tensor([1, -2, 10]), 'Tensor([ 1., -2., 10.], shape=[3], dtype=float32)'],
    ['fractions', () => tensor([0.5, 1.25]), 'Tensor([0.5000, 1.2500], shape=[2], dtype=float32)'],
    [
      'a matrix',
      () =>
        tensor(
          [
            [1, 2],
            [3, 4],
          ],
          { dtype: 'int32' },
        ),
      'Tensor([[1, 2],\n        [3, 4]],\n       shape=[2, 2], dtype=int32)',
    ],
    ['truth values', () => tensor([true, false]), 'Tensor([ true, false], shape=[2], dtype=bool)'],
    [
      'NaN and infinities',
      () => tensor([NaN, Infinity, -Infinity, 1]),
      'Tensor([ nan,  inf, -inf,   1.], shape=[4], dtype=float32)',
    ],
    [
      'sizes that differ',
      () => tensor([1e-8, 1e8]),
      'Tensor([1.0000e-8, 1.0000e+8], shape=[2], dtype=float32)',
    ],
    ['nothing', () => zeros(0, 3), 'Tensor([], shape=[0, 3], dtype=float32)'],
    [
      'a parameter',
      () => tensor([1], { requiresGrad: true }),
      'Tensor([1.], shape=[1], dtype=float32, requiresGrad=true)',
    ],
    [
      'a result',
      () => tensor([1], { requiresGrad: true }).mul(2),
      'Tensor([2.], shape=[1], dtype=float32, gradOf=mul)',
    ],
    [
      'a transposed view',
      () =>
        tensor([
          [1, 2],
          [3, 4],
        ]).T,
      'Tensor([[1., 3.],\n        [2., 4.]],\n       shape=[2, 2], dtype=float32)',
    ],
  ];
  test.each(cases)('shows %s', (_, make, expected) => {
    const t = make();
    expect(inspect(t)).toBe(expected);
    expect(String(t)).toBe(expected);
    expect(`${inspect({ t })}`).toContain('Tensor(');
  });

  test('shortens what is large', () => {
    const text = inspect(zeros(2000, 3000));
    expect(text.length).toBeLessThan(1000);
    expect(text).toContain('...');
    expect(text).toContain('shape=[2000, 3000]');
    expect(inspect(arange(100_000))).toBe(
      'Tensor([    0,     1,     2, ..., 99997, 99998, 99999], shape=[100000], dtype=int32)',
    );
    for (const line of inspect(zeros(10, 90)).split('\n')) expect(line.length).toBeLessThanOrEqual(110);
    expect(inspect(ones(1, 1, 1, 1, 1, 1, 1, 1).broadcastTo([9, 9, 9, 9, 9, 9, 9, 9])).length).toBeLessThan(
      1_000_000,
    );
  });

  test('does not change the tensor, nor fails for one without memory', () => {
    const t = tensor([1, 2]);
    t.dispose();
    expect(inspect(t)).toContain('disposed');
  });
});
