// Options of PyTorch's functions that change the result: an option that is ignored is a wrong number.
import { describe, expect, it } from 'vitest';
import { DTypeError, F, gradcheck, nn, tensor, zeros } from '../../src/index.js';

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

describe('dtypes', () => {
  it('are refused with DTypeError where they do not exist', () => {
    expect(() => zeros([2], { dtype: 'float16' as 'float32' })).toThrow(DTypeError);
  });
});
