// Layers, options and names that people look for, with values that PyTorch gives.
import {
  ArgumentError,
  compile,
  DTypeError,
  data,
  F,
  gradcheck,
  IndexError,
  init,
  manualSeed,
  nn,
  ones,
  optim,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';

function close(actual: Tensor, expected: number[], digits = 6): void {
  const values = actual.reshape(-1).toArray() as number[];
  expect(values).toHaveLength(expected.length);
  values.forEach((v, i) => {
    expect(v).toBeCloseTo(expected[i] as number, digits);
  });
}

describe('activations', () => {
  const x = tensor([-2, -0.5, 0, 3], { dtype: 'float64' });
  it('SELU and Hardtanh', () => {
    close(new nn.SELU().forward(x), [-1.5201664685956948, -0.6917581878028713, 0, 3.1521029620664414], 14);
    expect(new nn.Hardtanh().forward(x).toArray()).toEqual([-1, -0.5, 0, 1]);
    expect(new nn.Hardtanh({ min: -0.25, max: 2 }).forward(x).toArray()).toEqual([-0.25, -0.25, 0, 2]);
    expect(() => new nn.Hardtanh({ min: 2 })).toThrow(ArgumentError);
  });
  it('PReLU learns its slope', () => {
    const layer = new nn.PReLU({ dtype: 'float64' });
    const y = layer.forward(x);
    expect(y.toArray()).toEqual([-0.5, -0.125, 0, 3]);
    y.sum().backward();
    expect(layer.weight.grad?.toArray()).toEqual([-2.5]);
    const two = new nn.PReLU({ numParameters: 2 });
    two.weight.copy_([0.5, 2]);
    expect(two.forward(ones(1, 2).neg()).toArray()).toEqual([[-0.5, -2]]);
    expect(two.forward(ones(1, 2, 1).neg()).toArray()).toEqual([[[-0.5], [-2]]]);
    expect(() => two.forward(ones(2, 3))).toThrow(ShapeError);
    expect(gradcheck((t) => layer.forward(t), tensor([-1, 2], { dtype: 'float64' }))).toBe(true);
  });
  it('take their number as an option', () => {
    expect(new nn.LeakyReLU({ negativeSlope: 0.2 }).negativeSlope).toBe(0.2);
    expect(new nn.ELU({ alpha: 2 }).alpha).toBe(2);
    expect(new nn.Softmax({ axis: 0 }).axis).toBe(0);
    expect(new nn.Dropout({ p: 0.1 }).p).toBe(0.1);
    expect(() => new nn.LeakyReLU({ slope: 1 } as object)).toThrow(/slope/);
    expect(() => new nn.Dropout({ rate: 0.1 } as object)).toThrow(/rate/);
    expect(() => new nn.Dropout(0.5, { p: 0.1 })).toThrow(ArgumentError);
  });
});

describe('Embedding', () => {
  it('selects rows, and learns them', () => {
    const layer = new nn.Embedding(4, 2);
    layer.weight.copy_([
      [0, 1],
      [2, 3],
      [4, 5],
      [6, 7],
    ]);
    const index = tensor(
      [
        [1, 3],
        [1, 0],
      ],
      { dtype: 'int32' },
    );
    const y = layer.forward(index);
    expect(y.toArray()).toEqual([
      [
        [2, 3],
        [6, 7],
      ],
      [
        [2, 3],
        [0, 1],
      ],
    ]);
    y.sum().backward();
    expect(layer.weight.grad?.toArray()).toEqual([
      [1, 1],
      [2, 2],
      [0, 0],
      [1, 1],
    ]);
    expect(() => layer.forward([4])).toThrow(IndexError);
    expect(() => layer.forward(ones(1))).toThrow(DTypeError);
    const step = compile((i: Tensor) => layer.forward(i));
    expect(step(index).toArray()).toEqual(y.toArray());
    manualSeed(3);
    const big = new nn.Embedding(50, 40).weight;
    expect(Math.abs(big.mean().item())).toBeLessThan(0.1);
    expect(big.std().item()).toBeCloseTo(1, 1);
  });
});

describe('weights of losses', () => {
  const logits = tensor([
    [1, 2, 0.5],
    [0, -1, 3],
  ]);
  it('are arrays or numbers too', () => {
    const labels = [0, 2];
    const weight = [0.2, 0.3, 0.5];
    expect(F.crossEntropy(logits, labels, { weight }).item()).toBe(
      F.crossEntropy(logits, labels, { weight: tensor(weight) }).item(),
    );
    const target = tensor([
      [1, 0, 1],
      [0, 1, 1],
    ]);
    expect(F.bceWithLogits(logits, target, { posWeight: 2 }).item()).toBe(
      F.bceWithLogits(logits, target, { posWeight: tensor([2, 2, 2]) }).item(),
    );
    expect(new nn.BCEWithLogitsLoss({ posWeight: [1, 2, 3] }).forward(logits, target).item()).toBe(
      F.bceWithLogits(logits, target, { posWeight: tensor([1, 2, 3]) }).item(),
    );
    expect(() => F.crossEntropy(logits, labels, { weight: [1, 2] })).toThrow(ShapeError);
    expect(() => F.crossEntropy(logits, labels, { weight: 'x' as unknown as number[] })).toThrow(
      ArgumentError,
    );
  });
  it('bce of an input outside [0, 1] is NaN', () => {
    expect(F.bce(tensor([1.5]), tensor([1])).item()).toBeNaN();
    expect(F.bce(tensor([-0.5]), tensor([1])).item()).toBeNaN();
  });
});

describe('other names', () => {
  it('init.heNormal, init.heUniform, data.randomSplit', () => {
    for (const [a, b] of [
      [init.heNormal, init.kaimingNormal],
      [init.heUniform, init.kaimingUniform],
    ] as const) {
      manualSeed(5);
      const x = a(zeros(4, 3));
      manualSeed(5);
      expect(x.toArray()).toEqual(b(zeros(4, 3)).toArray());
    }
    const ds = new data.TensorDataset(zeros(10, 2));
    expect(data.randomSplit(ds, [0.7, 0.3]).map((s) => s.size)).toEqual([7, 3]);
  });
  it('StandardScaler takes int32, and no options', () => {
    const scaler = new data.StandardScaler();
    const y = scaler.fitTransform(tensor([[1], [3]], { dtype: 'int32' }));
    expect([y.dtype, y.toArray()]).toEqual(['float32', [[-1], [1]]]);
    expect(() => scaler.fit(tensor([[true]]))).toThrow(DTypeError);
    expect(() => new data.StandardScaler({ withMean: false } as never)).toThrow(/withMean/);
  });
});

describe('schedules of functions', () => {
  const sgd = (lr = 1) => new optim.SGD([zeros([1], { requiresGrad: true })], { lr });
  it('LambdaLR takes the function as such', () => {
    const o = sgd();
    const s = new optim.LambdaLR(o, (t) => 1 / (1 + t));
    s.step();
    expect(o.lr).toBe(0.5);
    expect(() => new optim.LambdaLR(o, 3 as unknown as () => number)).toThrow(ArgumentError);
  });
  it('MultiplicativeLR', () => {
    const o = sgd();
    const s = new optim.MultiplicativeLR(o, (t) => (t === 2 ? 0.1 : 0.5));
    const rates = [0, 1, 2].map(() => {
      s.step();
      return o.lr;
    });
    expect(rates[0]).toBe(0.5);
    expect(rates[1]).toBeCloseTo(0.05, 12);
    expect(rates[2]).toBeCloseTo(0.025, 12);
  });
});

describe('containers', () => {
  it('ModuleList and ModuleDict hold modules under their names', () => {
    const list = new nn.ModuleList([new nn.Linear(2, 3), new nn.ReLU()]);
    list.append(new nn.Linear(3, 1, { bias: false }));
    expect(list.namedParameters().map(([name]) => name)).toEqual(['0.weight', '0.bias', '2.weight']);
    expect([list.length, [...list].length, list.at(-1) === list.at(2)]).toEqual([3, 3, true]);
    const dict = new nn.ModuleDict({ a: new nn.Linear(1, 1), b: new nn.ReLU() });
    expect(dict.namedParameters().map(([name]) => name)).toEqual(['a.weight', 'a.bias']);
    expect([dict.has('b'), dict.has('c'), dict.keys()]).toEqual([true, false, ['a', 'b']]);
    list.eval();
    expect(list.at(1)?.training).toBe(false);
    expect(() => list.append(nn.ReLU as unknown as nn.Module)).toThrow(/new/);
    expect(() => dict.set('a.b', new nn.ReLU())).toThrow(ArgumentError);
    expect(() => list.forward(ones(1))).toThrow(ArgumentError);
  });
  it('a compiled step sees a module that was exchanged', () => {
    const dict = new nn.ModuleDict({ f: new nn.ReLU() });
    const step = compile((x: Tensor) => dict.get('f')?.forward(x) as Tensor);
    for (let i = 0; i < 2; i++) expect(step(ones(1).neg()).item()).toBe(0);
    dict.set('f', new nn.Identity());
    expect(step(ones(1).neg()).item()).toBe(-1);
  });
  it('modules and parameters in Maps are found, converted and watched', () => {
    class Net extends nn.Module {
      readonly heads = new Map<string | number, nn.Module>([
        ['a', new nn.Linear(1, 1)],
        [2, new nn.Linear(1, 1, { bias: false })],
      ]);
      readonly extra = new Map([['scale', nn.Parameter([[2]])]]);
      override forward(x: Tensor): Tensor {
        return (this.heads.get('a') as nn.Module).forward(x).mul(this.extra.get('scale') as Tensor);
      }
    }
    const net = new Net();
    expect(net.namedParameters().map(([name]) => name)).toEqual([
      'extra.scale',
      'heads.a.weight',
      'heads.a.bias',
      'heads.2.weight',
    ]);
    const step = compile((x: Tensor) => net.forward(x));
    const x = ones(1, 1);
    for (let i = 0; i < 2; i++) expect(step(x).item()).toBe(net.forward(x).item());
    net.heads.set('a', new nn.Linear(1, 1));
    expect(step(x).item()).toBe(net.forward(x).item());
    net.to('float64');
    expect(net.parameters().map((p) => p.dtype)).toEqual(Array(4).fill('float64'));
  });
  it('Parameter takes arrays', () => {
    const p = nn.Parameter([
      [1, 2],
      [3, 4],
    ]);
    expect([p.dtype, p.requiresGrad, p.shape]).toEqual(['float32', true, [2, 2]]);
    expect(() => nn.Parameter('x' as unknown as number[])).toThrow(ArgumentError);
    expect(() => nn.Parameter([true])).toThrow(DTypeError);
  });
});
