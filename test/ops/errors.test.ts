import * as sg from 'simdgrad';
import {
  ArgumentError,
  DTypeError,
  IndexError,
  ones,
  randn,
  ShapeError,
  SimdgradError,
  type Tensor,
  tensor,
} from 'simdgrad';
import { describe, expect, test } from 'vitest';

// Mistakes, the class of the error that each gives, and what its message must say.

const a23 = ones(2, 3);
const a45 = ones(4, 5);
const v3 = ones(3);
const s = ones();
const ints = tensor([0, 1], { dtype: 'int32' });
const wrong = (x: unknown): Tensor => x as Tensor;

type Case = [string, () => unknown, typeof SimdgradError | (new (m: string) => SimdgradError), RegExp];

const binary = [
  'add',
  'sub',
  'mul',
  'div',
  'pow',
  'maximum',
  'minimum',
  'eq',
  'ne',
  'lt',
  'le',
  'gt',
  'ge',
  'logicalAnd',
  'logicalOr',
] as const;
const unary = [
  'abs',
  'cos',
  'exp',
  'expm1',
  'log',
  'log1p',
  'erf',
  'floor',
  'neg',
  'relu',
  'sigmoid',
  'sign',
  'sin',
  'sqrt',
  'tanh',
  'gelu',
  'softplus',
  'isNan',
  'isFinite',
  'logicalNot',
] as const;
const reductions = ['sum', 'mean', 'prod', 'max', 'min', 'variance', 'std', 'norm', 'logSumExp'] as const;

const cases: Case[] = [
  ...binary.flatMap((name): Case[] => [
    [
      `${name} of shapes that do not fit`,
      () => sg[name](a23, a45),
      ShapeError,
      new RegExp(`^${name}: .*\\[2, 3\\].*\\[4, 5\\]`),
    ],
    [`${name} of a string`, () => sg[name](a23, wrong('x')), ArgumentError, new RegExp(`^${name}: .*"x"`)],
    [
      `${name} of undefined`,
      () => sg[name](wrong(undefined), a23),
      ArgumentError,
      new RegExp(`^${name}: .*undefined`),
    ],
  ]),
  ...unary.map(
    (name): Case => [
      `${name} of an array`,
      () => sg[name](wrong([1])),
      ArgumentError,
      new RegExp(`^${name}: .*array`),
    ],
  ),
  ...reductions.flatMap((name): Case[] => {
    const own = name === 'variance' ? 'var' : name;
    return [
      [`${name} over an axis that is not there`, () => sg[name](a23, 2), ShapeError, /axis 2 .*rank 2/],
      [`${name} over half an axis`, () => sg[name](a23, 0.5), ShapeError, /axis 0.5/],
      [`${name} over an axis twice`, () => sg[name](a23, [0, -2]), ShapeError, /twice/],
      [
        `${name} with an unknown option`,
        () => sg[name](a23, 0, { keepDim: true } as object),
        ArgumentError,
        /keepDim.*keepdims/,
      ],
      [`${name} of a number array`, () => sg[name](wrong([1, 2])), ArgumentError, new RegExp(own)],
    ];
  }),
  ['max of nothing', () => sg.max(ones(0, 3), 0), ShapeError, /^max: nothing to reduce in shape \[0, 3\]/],
  ['min of nothing', () => sg.min(ones(0)), ShapeError, /^min: nothing/],
  ['argmax of nothing', () => sg.argmax(ones(3, 0), 1), ShapeError, /^argmax: nothing/],
  ['logSumExp of nothing', () => sg.logSumExp(ones(0)), ShapeError, /nothing/],
  [
    'matmul of sizes that do not fit',
    () => a23.matmul(a45),
    ShapeError,
    /^matmul: \[2, 3\] times \[4, 5\].*3 and 4/,
  ],
  ['matmul with a vector', () => a45.matmul(v3), ShapeError, /^matmul: \[4, 5\] times \[3\]/],
  ['matmul with a scalar', () => a23.matmul(s), ShapeError, /scalar/],
  [
    'matmul of batches that do not fit',
    () => ones(2, 3, 3).matmul(ones(4, 3, 3)),
    ShapeError,
    /\[2\].*\[4\]/,
  ],
  ['dot of matrices', () => sg.dot(a23, a23), ShapeError, /two vectors/],
  ['outer of matrices', () => sg.outer(a23, v3), ShapeError, /two vectors/],
  [
    'reshape to another size',
    () => a23.reshape(4),
    ShapeError,
    /^reshape: \[2, 3\] has 6 elements, \[4\] wants 4/,
  ],
  [
    'reshape with a rest that is no whole number',
    () => a23.reshape(4, -1),
    ShapeError,
    /does not fit \[4, -1\]/,
  ],
  ['reshape with two unknown sizes', () => a23.reshape(-1, -1), ShapeError, /not a shape/],
  ['reshape to half a size', () => a23.reshape(1.5, 4), ShapeError, /not a shape/],
  [
    'broadcastTo a shape that does not fit',
    () => v3.broadcastTo([2, 4]),
    ShapeError,
    /^broadcastTo: .*\[3\]/,
  ],
  ['broadcastTo fewer axes', () => a23.broadcastTo([3]), ShapeError, /\[2, 3\] does not broadcast to \[3\]/],
  ['permute with an axis twice', () => a23.permute(0, 0), ShapeError, /twice/],
  ['permute with too few axes', () => a23.permute(0), ShapeError, /rank 2/],
  ['transpose of axes that are not there', () => a23.transpose(0, 2), ShapeError, /axis 2/],
  ['squeeze of an axis that is not there', () => a23.squeeze(5), ShapeError, /axis 5/],
  ['flatten from behind to the front', () => ones(2, 3, 4).flatten(2, 1), ShapeError, /flatten/],
  ['slice with a step of 0', () => a23.slice([0, 2, 0]), ArgumentError, /step of 0/],
  ['slice with too many ranges', () => v3.slice([0, 1], [0, 1]), ShapeError, /2 ranges/],
  ['slice at an index that is not there', () => v3.slice([[0, 1]], 5 as unknown as null), SimdgradError, /./],
  ['select beyond the end', () => a23.select(1, 3), IndexError, /index 3 .*axis 1 of size 3/],
  ['select before the start', () => a23.select(0, -3), IndexError, /index -3/],
  ['narrow beyond the end', () => a23.narrow(1, 2, 2), IndexError, /2 elements from 2/],
  ['concat of shapes that differ', () => sg.concat([a23, a45]), ShapeError, /\[2, 3\], \[4, 5\]/],
  ['concat of nothing', () => sg.concat([]), ArgumentError, /at least one/],
  ['concat of scalars', () => sg.concat([s, s]), ShapeError, /stack/],
  ['stack of shapes that differ', () => sg.stack([a23, a45]), ShapeError, /equal/],
  ['gather with fractions for indices', () => a23.gather(1, a23), DTypeError, /int32, not float32/],
  ['gather with another rank', () => a23.gather(1, ints), ShapeError, /rank/],
  [
    'gather with an index out of range',
    () =>
      a23.gather(
        1,
        tensor(
          [
            [0, 3],
            [0, 0],
          ],
          { dtype: 'int32' },
        ),
      ),
    IndexError,
    /index 3 at position 1 .*\[0, 3\)/,
  ],
  [
    'indexSelect with an index out of range',
    () => a23.indexSelect(0, [0, 2]),
    IndexError,
    /index 2 .*\[0, 2\)/,
  ],
  ['indexSelect with a negative index', () => a23.indexSelect(0, [-1]), IndexError, /index -1/],
  ['indexSelect with half an index', () => a23.indexSelect(0, [0.5]), ArgumentError, /0.5/],
  [
    'oneHot with a label out of range',
    () => sg.oneHot(tensor([0, 4], { dtype: 'int32' }), 3),
    IndexError,
    /4/,
  ],
  ['clamp without bounds', () => sg.clamp(a23), ArgumentError, /min, max or both/],
  ['clamp to a string', () => sg.clamp(a23, wrong('0') as unknown as number), ArgumentError, /min/],
  ['where without a condition', () => sg.where(wrong(true), a23, a23), ArgumentError, /condition/],
  [
    'a gradient for whole numbers',
    () => tensor([1], { dtype: 'int32', requiresGrad: true }),
    DTypeError,
    /int32/,
  ],
  ['a dtype that does not exist', () => a23.to('float16' as 'float32'), DTypeError, /float16.*float32/],
  [
    'an option that does not exist',
    () => tensor([1], { dType: 'float64' } as object),
    ArgumentError,
    /dType.*dtype/,
  ],
  ['a rank of nine', () => ones(1, 1, 1, 1, 1, 1, 1, 1, 1), ShapeError, /rank 9/],
  ['a result of rank nine', () => ones(1, 1, 1, 1, 1, 1, 1, 1).unsqueeze(0), ShapeError, /rank 9/],
  ['normal numbers of whole type', () => randn([2], { dtype: 'int32' }), DTypeError, /int32/],
  ['a random interval of nothing', () => sg.randint(3, 3, [2]), ArgumentError, /\[3, 3\)/],
  ['softmax along an axis that is not there', () => a23.softmax(2), ShapeError, /axis 2/],
  ['item of several values', () => a23.item(), ShapeError, /\[2, 3\]/],
  ['copy_ of another shape', () => a23.copy_(a45), ShapeError, /\[4, 5\].*\[2, 3\]/],
  ['add_ that would grow', () => ones(3).add_(a23), ShapeError, /\[2, 3\].*\[3\]/],
];

describe('mistakes give typed errors that name the operation', () => {
  test.each(cases)('%s', (_, f, type, message) => {
    let error: unknown;
    try {
      f();
    } catch (e) {
      error = e;
    }
    expect(error).toBeInstanceOf(type);
    expect((error as Error).message).toMatch(message);
    expect((error as SimdgradError).code).toMatch(/^SIMDGRAD_/);
  });

  test('an error leaves nothing behind', () => {
    const w = tensor([1, 2], { requiresGrad: true });
    expect(() => w.mul(ones(3))).toThrow(ShapeError);
    w.mul(2).sum().backward();
    expect(w.grad?.toArray()).toEqual([2, 2]);
    expect(sg.isGradEnabled()).toBe(true);
    expect(() =>
      sg.noGrad(() => {
        throw new RangeError('mine');
      }),
    ).toThrow(RangeError);
    expect(sg.isGradEnabled()).toBe(true);
  });
});
