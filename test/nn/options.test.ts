// Options of PyTorch's functions that change the result: an option that is ignored is a wrong number.
import { describe, expect, it } from 'vitest';
import { DTypeError, F, Generator, gradcheck, init, nn, optim, tensor, zeros } from '../../src/index.js';

const x = tensor([-3, -1, 0, 0.5, 2], { dtype: 'float64' });

describe('gelu', () => {
  it('takes the approximation by tanh', () => {
    // 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))) in float64
    const expected = [
      -0.0036373920817729943, -0.15880800939172324, 0, 0.34571400982514394, 1.954597694087775,
    ];
    for (const y of [
      F.gelu(x, { approximate: 'tanh' }),
      x.gelu({ approximate: 'tanh' }),
      new nn.GELU({ approximate: 'tanh' }).forward(x),
    ]) {
      (y.toArray() as number[]).forEach((v, i) => {
        expect(v).toBeCloseTo(expected[i] as number, 14);
      });
    }
    expect(gradcheck((t) => t.gelu({ approximate: 'tanh' }), x)).toBe(true);
    expect(() => F.gelu(x, { approximate: 'sigmoid' as 'tanh' })).toThrow(/sigmoid/);
  });
});

describe('softplus', () => {
  it('takes beta and threshold', () => {
    const expected = (beta: number) =>
      (x.toArray() as number[]).map((v) => Math.log1p(Math.exp(beta * v)) / beta);
    const y = F.softplus(x, { beta: 2 }).toArray() as number[];
    expected(2).forEach((v, i) => {
      expect(y[i]).toBeCloseTo(v, 14);
    });
    expect(new nn.Softplus({ beta: 2 }).forward(x).toArray()).toEqual(y);
    expect((x.softplus({ threshold: 1 }).toArray() as number[])[4]).toBe(2);
    expect(gradcheck((t) => t.softplus({ beta: 3 }), x)).toBe(true);
    expect(() => F.softplus(x, { beta: 0 })).toThrow(/beta/);
  });
});

describe('dropout', () => {
  it('takes the mode behind the probability', () => {
    expect(F.dropout(x, 0.9, false)).toBe(x);
  });
});

describe('crossEntropy', () => {
  it('takes one-hot rows of any dtype', () => {
    const logits = tensor([
      [1, 2, 3],
      [1, 0, 0],
    ]);
    const expected = F.crossEntropy(logits, [2, 0]).item();
    const rows = [
      [0, 0, 1],
      [1, 0, 0],
    ];
    for (const dtype of ['float32', 'float64', 'int32', 'bool'] as const) {
      expect(F.crossEntropy(logits, tensor(rows, { dtype })).item()).toBeCloseTo(expected, 6);
    }
  });
});

describe('names in the spelling of Python', () => {
  it('are taken as ours', () => {
    const [a, b] = [
      { mode: 'fan_out', nonlinearity: 'leaky_relu' },
      { mode: 'fanOut', nonlinearity: 'leakyRelu' },
    ].map((options) =>
      init.kaimingUniform(zeros([3, 5]), { ...(options as object), generator: new Generator(1) }).toArray(),
    );
    expect(a).toEqual(b);
    expect(init.calculateGain('leaky_relu' as 'leakyRelu', 1)).toBe(1);
    const optimizer = new optim.SGD([tensor([1], { requiresGrad: true })], { lr: 1, momentum: 0.9 });
    const options = { baseLr: 0.1, maxLr: 1, mode: 'exp_range' as 'expRange' };
    expect(() => new optim.CyclicLR(optimizer, options)).not.toThrow();
  });
});

describe('dtypes', () => {
  it('are refused with DTypeError where they do not exist', () => {
    expect(() => zeros([2], { dtype: 'float16' as 'float32' })).toThrow(DTypeError);
  });
});
