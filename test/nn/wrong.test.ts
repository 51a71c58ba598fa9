// Arguments that are wrong in a way that would give a number: refused, by an error that names what was called.
import { ArgumentError, F, nn, ones, ShapeError, type Tensor, tensor } from 'simdgrad';
import { describe, expect, it } from 'vitest';

const x = tensor([
  [1, 2],
  [3, 4],
]);
const none = null as never;

describe('options', () => {
  it('of normalization that leave no variance to divide by are refused', () => {
    for (const eps of [-1, Number.NaN, Infinity, '1e-5', true]) {
      const options = { eps } as never;
      expect(() => new nn.BatchNorm1d(2, options), String(eps)).toThrow(
        /BatchNorm1d: eps must be a number >= 0/,
      );
      expect(() => new nn.LayerNorm(2, options), String(eps)).toThrow(/LayerNorm: eps must be a number >= 0/);
    }
    for (const momentum of [-0.1, 1.1, Infinity, Number.NaN, '0.1']) {
      const options = { momentum } as never;
      expect(() => new nn.BatchNorm1d(2, options), String(momentum)).toThrow(/momentum must lie in \[0, 1\]/);
    }
    for (const momentum of [0, 1, null]) expect(new nn.BatchNorm1d(2, { momentum }).momentum).toBe(momentum);
    expect(new nn.LayerNorm(2, { eps: 0 }).forward(x).toArray()).toEqual([
      [-1, 1],
      [-1, 1],
    ]);
  });

  it('that are flags are true or false: null, which reads like none, is not taken for the default', () => {
    expect(() => new nn.Linear(2, 2, { bias: none })).toThrow(/Linear: bias must be true or false, not null/);
    expect(() => new nn.LayerNorm(2, { bias: none })).toThrow(/LayerNorm: bias/);
    expect(() => new nn.BatchNorm1d(2, { affine: none })).toThrow(/BatchNorm1d: affine/);
    expect(() => new nn.MLP([2, 1], { bias: none })).toThrow(/bias must be true or false/);
    for (const logTarget of [1, 'yes', none])
      expect(() => F.klDiv(x, x, { logTarget: logTarget as never })).toThrow(
        /klDiv: logTarget must be true or false/,
      );
    expect(new nn.Linear(2, 2, { bias: undefined as never }).bias).not.toBeNull();
  });

  it('of modules are refused when the module is made, not with its first input', () => {
    const words = { reduction: 'average' } as never;
    for (const name of [
      'MSELoss',
      'L1Loss',
      'SmoothL1Loss',
      'HuberLoss',
      'CrossEntropyLoss',
      'NLLLoss',
      'BCELoss',
      'BCEWithLogitsLoss',
      'KLDivLoss',
    ] as const)
      expect(() => new nn[name](words), name).toThrow(new RegExp(`^${name}: reduction must be one of mean`));
    expect(() => new nn.L1Loss({ reduction: 'halfSum' as never })).toThrow(/L1Loss: reduction/);
    expect(new nn.MSELoss({ reduction: 'halfSum' }).options).toEqual({ reduction: 'halfSum' });
    expect(new nn.KLDivLoss({ reduction: 'batchMean' }).options).toEqual({ reduction: 'batchMean' });
    expect(() => new nn.GELU({ approximate: 'tnh' as never })).toThrow(
      /GELU: approximate.*did you mean "tanh"/,
    );
    for (const beta of [0, -1, Infinity, Number.NaN]) {
      expect(() => new nn.Softplus({ beta })).toThrow(/Softplus: beta must be/);
      expect(() => F.softplus(x, { beta })).toThrow(/softplus: beta must be/);
    }
    expect(() => new nn.Softplus({ threshold: '20' as never })).toThrow(/Softplus: threshold/);
  });
});

describe('errors name what was called', () => {
  it('in activations that are made of other operations', () => {
    const cases: [string, (t: Tensor) => Tensor][] = [
      ['selu', F.selu],
      ['selu', (t) => new nn.SELU().forward(t)],
      ['silu', F.silu],
      ['silu', (t) => new nn.SiLU().forward(t)],
      ['hardtanh', (t) => F.hardtanh(t)],
      ['hardtanh', (t) => new nn.Hardtanh().forward(t)],
    ];
    for (const [name, f] of cases) expect(() => f(none), name).toThrow(new RegExp(`^${name}: `));
  });

  it('in linear, which says where the weight is the transpose', () => {
    expect(() => F.linear(none, x)).toThrow(/^linear: the input/);
    expect(() => F.linear(x, none)).toThrow(/^linear: the weight/);
    expect(() => F.linear(ones(4, 3), ones(5, 3))).toThrow(
      /^linear: the input \[4, 3\].*5 features.*transpose/,
    );
    expect(() => F.linear(ones(4, 3), ones(5, 3))).toThrow(ShapeError);
    expect(() => F.linear(ones(4, 3), ones(2, 2))).toThrow(/^linear: (?!.*transpose)/);
    expect(() => F.linear(ones(4, 3), ones(3))).toThrow(/^linear: the weight is a matrix/);
    expect(() => F.linear(tensor(1), x)).toThrow(/^linear: the input \[\]/);
    expect(() => F.linear(ones(4, 3), ones(5, 3), null, { formalBias: true })).toThrow(/^linear: the input/);
  });

  it('in MLP, which is given functions of tensors where it makes modules', () => {
    const wrong = (activation: unknown): (() => unknown) => {
      return () => new nn.MLP([2, 3, 1], { activation: activation as never });
    };
    expect(wrong(F.relu)).toThrow(/MLP: the function given for activation makes modules.*such as 'relu'/);
    expect(wrong((t: Tensor) => t.tanh())).toThrow(ArgumentError);
  });
});

describe('selu and hardtanh as functions', () => {
  it('are the modules', () => {
    const t = tensor([-3, -1, -0.5, 0, 0.25, 1, 2], { dtype: 'float64' });
    const [alpha, scale] = [1.6732632423543772, 1.0507009873554805];
    (F.selu(t).toArray() as number[]).forEach((y, i) => {
      const v = t.data[i] as number;
      expect(y).toBeCloseTo(scale * (v > 0 ? v : alpha * Math.expm1(v)), 14);
    });
    expect(new nn.SELU().forward(t).toArray()).toEqual(F.selu(t).toArray());
    expect(F.hardtanh(t).toArray()).toEqual([-1, -1, -0.5, 0, 0.25, 1, 1]);
    expect(F.hardtanh(t, { min: -2, max: 0.5 }).toArray()).toEqual([-2, -1, -0.5, 0, 0.25, 0.5, 0.5]);
    expect(() => F.hardtanh(t, { min: 2, max: 1 })).toThrow(/hardtanh: min must not exceed max/);
    expect(() => F.hardtanh(t, { minVal: 2 } as never)).toThrow(/hardtanh: there is no option "minVal"/);
  });
});
