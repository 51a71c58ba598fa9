import {
  ArgumentError,
  DTypeError,
  F,
  Generator,
  manualSeed,
  nn,
  ones,
  StateError,
  type Tensor,
  tensor,
  zeros,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';

class Block extends nn.Module {
  scale = nn.Parameter(ones(2));
  layers = [new nn.Linear(2, 2), new nn.Linear(2, 2)];
  heads = { a: new nn.Linear(2, 1), list: [new nn.Linear(2, 1, { bias: false })] };
  shared = this.layers[0] as nn.Linear;
  notTrained = zeros(3);
  steps: Tensor;
  scratch: Tensor;

  constructor() {
    super();
    this.steps = this.registerBuffer('steps', zeros([], { dtype: 'int32' }));
    this.scratch = this.registerBuffer('scratch', zeros(1), { persistent: false });
  }

  override forward(x: Tensor): Tensor {
    let y = x.mul(this.scale);
    for (const l of this.layers) y = l.forward(y);
    return this.heads.a.forward(y);
  }
}

describe('Module', () => {
  it('finds parameters in fields, arrays and objects, shared ones once', () => {
    const names = new Block().namedParameters().map(([name]) => name);
    expect(names).toEqual([
      'scale',
      'layers.0.weight',
      'layers.0.bias',
      'layers.1.weight',
      'layers.1.bias',
      'heads.a.weight',
      'heads.a.bias',
      'heads.list.0.weight',
    ]);
  });

  it('finds modules, children and buffers', () => {
    const m = new Block();
    expect(m.namedModules().map(([name]) => name)).toEqual([
      '',
      'layers.0',
      'layers.1',
      'heads.a',
      'heads.list.0',
    ]);
    expect(m.namedChildren().map(([name]) => name)).toEqual([
      'layers.0',
      'layers.1',
      'heads.a',
      'heads.list.0',
    ]);
    expect(m.namedBuffers().map(([name]) => name)).toEqual(['steps', 'scratch']);
    expect(m.children()).toHaveLength(4);
  });

  it('survives modules that refer to each other', () => {
    class Loop extends nn.Module {
      other: nn.Module = this;
      layer = new nn.Linear(1, 1);
    }
    expect(new Loop().parameters()).toHaveLength(2);
  });

  it('finds leaves that require a gradient, also once they are frozen', () => {
    class M extends nn.Module {
      w = tensor([1, 2], { requiresGrad: true });
      cache: Tensor | null = null;
      override forward(x: Tensor): Tensor {
        return (this.cache = x.mul(this.w));
      }
    }
    const m = new M();
    m.forward(ones(2));
    expect(m.namedParameters().map(([name]) => name)).toEqual(['w']);
    m.requiresGrad_(false);
    expect(m.w.requiresGrad).toBe(false);
    expect(m.parameters()).toHaveLength(1);
    expect(m.requiresGrad_().w.requiresGrad).toBe(true);
  });

  it('switches modes in the whole tree', () => {
    const m = new nn.Sequential(new nn.Dropout(), new nn.Sequential(new nn.Dropout()));
    expect(m.eval()).toBe(m);
    expect(m.modules().map((x) => x.training)).toEqual([false, false, false, false]);
    m.train();
    expect(m.modules().every((x) => x.training)).toBe(true);
    expect(() => m.train(1 as unknown as boolean)).toThrow(ArgumentError);
  });

  it('zeroes gradients', () => {
    const m = new nn.Linear(2, 2);
    m.forward(ones(1, 2)).sum().backward();
    expect(m.weight.grad).not.toBeNull();
    m.zeroGrad();
    expect(m.parameters().every((p) => p.grad === null)).toBe(true);
  });

  it('gives a snapshot that later changes do not touch, and takes it back', () => {
    const m = new Block();
    const dict = m.stateDict();
    expect(Object.keys(dict)).toContain('steps');
    expect(Object.keys(dict)).not.toContain('scratch');
    const before = dict['layers.0.weight']?.toArray();
    m.layers[0]?.weight.fill_(7);
    m.steps.add_(3);
    expect(dict['layers.0.weight']?.toArray()).toEqual(before);
    expect(m.loadStateDict(dict)).toEqual({ missing: [], unexpected: [] });
    expect(m.layers[0]?.weight.toArray()).toEqual(before);
    expect(m.steps.item()).toBe(0);
    expect(new Block().loadStateDict(new Map(Object.entries(dict)))).toEqual({ missing: [], unexpected: [] });
  });

  it('loads all or nothing, and lists what does not fit', () => {
    const m = new nn.Sequential(new nn.Linear(2, 3), new nn.Linear(3, 1));
    const before = m.stateDict();
    const dict: nn.StateDict = { ...before, '0.weight': ones(2, 3), '1.weight': ones(1, 3), extra: ones(1) };
    delete dict['0.bias'];
    expect(() => m.loadStateDict(dict)).toThrow(StateError);
    expect(() => m.loadStateDict(dict)).toThrow(
      /missing: 0\.bias.*unexpected: extra.*1\.weight: shape \[1, 3\].*\[3, 1\]/,
    );
    expect(m.stateDict()['0.weight']?.toArray()).toEqual(before['0.weight']?.toArray());
    const partial = { '0.weight': ones(2, 3), extra: ones(1) };
    expect(m.loadStateDict(partial, { strict: false })).toEqual({
      missing: ['0.bias', '1.weight', '1.bias'],
      unexpected: ['extra'],
    });
    expect((m.at(0) as nn.Linear).weight.toArray()).toEqual([
      [1, 1, 1],
      [1, 1, 1],
    ]);
    expect(() => m.loadStateDict(null as never)).toThrow(ArgumentError);
    expect(() => m.loadStateDict({ '0.weight': 3 } as never, { strict: false })).toThrow(
      /0\.weight: not a tensor/,
    );
  });

  it('runs forward hooks, which may replace the output, until they are removed', () => {
    const m = new nn.ReLU();
    const seen: unknown[] = [];
    const remove = m.registerForwardHook((module, inputs, output) => {
      seen.push(module === m, inputs.length);
      return (output as Tensor).mul(10);
    });
    const x = tensor([-1, 2]);
    expect(m.forward(x).toArray()).toEqual([0, 20]);
    expect(new nn.Sequential(m).forward(x).toArray()).toEqual([0, 20]);
    remove();
    remove();
    expect(m.forward(x).toArray()).toEqual([0, 2]);
    expect(seen).toEqual([true, 1, true, 1]);
  });

  it('applies a function to children before parents', () => {
    const order: string[] = [];
    new nn.Sequential(new nn.ReLU(), new nn.Sequential(new nn.Tanh())).apply((m) =>
      order.push(m.constructor.name),
    );
    expect(order).toEqual(['ReLU', 'Tanh', 'Sequential', 'Sequential']);
  });

  it('converts to another dtype', () => {
    const m = new nn.Sequential(new nn.Linear(2, 2), new nn.BatchNorm1d(2));
    const before = m.stateDict();
    m.to('float64');
    const after = m.stateDict();
    for (const [name, t] of Object.entries(after)) {
      expect(t.dtype).toBe(name.endsWith('numBatchesTracked') ? 'int32' : 'float64');
      expect(t.toArray()).toEqual(before[name]?.toArray());
    }
    expect(m.parameters()).toHaveLength(4);
    expect(m.forward(ones([3, 2], { dtype: 'float64' })).dtype).toBe('float64');
    expect(() => m.to('int32')).toThrow(DTypeError);
  });

  it('shows itself as a tree', () => {
    expect(String(new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU()))).toBe(
      'Sequential(\n  (0): Linear(2, 3)\n  (1): ReLU()\n)',
    );
  });

  it('refuses what is no parameter or buffer', () => {
    expect(() => nn.Parameter(3 as never)).toThrow(ArgumentError);
    expect(() => nn.Parameter(tensor([1], { dtype: 'int32' }))).toThrow(DTypeError);
    expect(() => new nn.Module().registerBuffer('a.b', ones(1))).toThrow(ArgumentError);
    expect(() => new nn.Module().forward()).toThrow(/does not define forward/);
  });
});

describe('layers', () => {
  it('Linear starts uniform on ±1/√nIn from its generator', () => {
    const a = new nn.Linear(100, 50, { generator: new Generator(3) });
    const b = new nn.Linear(100, 50, { generator: new Generator(3) });
    expect(a.weight.toArray()).toEqual(b.weight.toArray());
    expect(a.weight.shape).toEqual([100, 50]);
    const values = Array.from(a.weight.data);
    expect(Math.max(...values)).toBeLessThanOrEqual(0.1);
    expect(Math.max(...values)).toBeGreaterThan(0.099);
    expect(Math.min(...values)).toBeLessThan(-0.099);
    expect(new Set(Array.from(a.bias?.data ?? [])).size).toBeGreaterThan(40);
    manualSeed(5);
    const c = new nn.Linear(3, 2).weight.toArray();
    manualSeed(5);
    expect(new nn.Linear(3, 2).weight.toArray()).toEqual(c);
  });

  it('Linear is x · W + b for any leading axes', () => {
    const m = new nn.Linear(2, 3);
    m.weight.copy_([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    m.bias?.copy_([10, 20, 30]);
    expect(m.forward(tensor([1, 1])).toArray()).toEqual([15, 27, 39]);
    expect(m.forward(ones(4, 5, 2)).shape).toEqual([4, 5, 3]);
    expect(() => m.forward(ones(4, 3))).toThrow(/Linear: the input \[4, 3\].*2 features/);
    expect(() => m.forward([1, 2] as never)).toThrow(ArgumentError);
    expect(() => new nn.Linear(0, 3)).toThrow(ArgumentError);
    expect(() => new nn.Linear(2, 3, { baias: false } as never)).toThrow(/baias.*did you mean "bias"/);
    expect(new nn.Linear(2, 3, { bias: false }).parameters()).toHaveLength(1);
  });

  it('Sequential takes modules, a list or named modules', () => {
    const list = [new nn.Linear(2, 2), new nn.ReLU()];
    expect(new nn.Sequential(list).length).toBe(2);
    const named = new nn.Sequential({ first: list[0] as nn.Module, act: list[1] as nn.Module });
    expect(named.namedParameters().map(([name]) => name)).toEqual(['first.weight', 'first.bias']);
    expect(
      new nn.Sequential(...list)
        .append(new nn.Tanh())
        .namedChildren()
        .map(([name]) => name),
    ).toEqual(['0', '1', '2']);
    expect([...named]).toEqual(list);
    expect(() => new nn.Sequential(nn.ReLU as never)).toThrow(/new/);
    expect(new nn.Sequential().forward(ones(2)).toArray()).toEqual([1, 1]);
  });

  it('Residual adds its input', () => {
    expect(new nn.Residual(new nn.ReLU()).forward(tensor([-1, 2])).toArray()).toEqual([-1, 4]);
    expect(new nn.Residual((x) => x.mul(3)).forward(tensor([1])).toArray()).toEqual([4]);
    expect(new nn.Residual(new nn.Linear(2, 2)).namedParameters()[0]?.[0]).toBe('fn.weight');
  });

  it('Dropout keeps the mean, follows its seed, and does nothing in evaluation mode', () => {
    const x = ones(20000);
    const m = new nn.Dropout(0.25, { generator: new Generator(1) });
    const y = m.forward(x).data;
    const zero = Array.from(y).filter((v) => v === 0).length;
    expect(Math.abs(zero / 20000 - 0.25)).toBeLessThan(0.02);
    expect(new Set(y)).toEqual(new Set([0, Math.fround(4 / 3)]));
    expect(new nn.Dropout(0.25, { generator: new Generator(1) }).forward(x).toArray()).toEqual(Array.from(y));
    expect(m.eval().forward(x)).toBe(x);
    expect(Array.from(F.dropout(x, 1).data).every((v) => v === 0)).toBe(true);
    expect(F.dropout(x, { p: 0 })).toBe(x);
    expect(() => new nn.Dropout(1.5)).toThrow(ArgumentError);
    expect(() => F.dropout(x, { rate: 0.5 } as never)).toThrow(ArgumentError);
  });

  it('the gradient of dropout has the zeros of its mask', () => {
    const x = ones(100);
    x.requiresGrad = true;
    const y = F.dropout(x, 0.5);
    y.sum().backward();
    expect(x.grad?.toArray()).toEqual(y.toArray());
  });

  it('BatchNorm1d refuses what it cannot normalise', () => {
    const m = new nn.BatchNorm1d(3);
    expect(() => m.forward(ones(1, 3))).toThrow(/more than one value/);
    expect(() => m.forward(ones(4, 2))).toThrow(/BatchNorm1d/);
    expect(m.eval().forward(ones(1, 3)).shape).toEqual([1, 3]);
    expect(() => new nn.LayerNorm(3).forward(ones(2, 4))).toThrow(/LayerNorm/);
    expect(() => new nn.LayerNorm([])).toThrow(ArgumentError);
  });
});
