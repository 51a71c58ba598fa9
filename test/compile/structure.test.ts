// What a compiled step depends on beside its arguments: fields of modules and groups of optimizers may be replaced at any
// time, and the next call has to see it. What the step itself writes into a module must not make it trace again.
import { describe, expect, it } from 'vitest';
import {
  compile,
  F,
  Generator,
  nn,
  noGrad,
  ones,
  optim,
  ShapeError,
  StateError,
  type Tensor,
  tensor,
} from '../../src/index.js';

const x = tensor([[1, 2]]);

class Model extends nn.Module {
  w = nn.Parameter(tensor([1, 1]));
  scale = 2;
  missing = Number.NaN;
  inverted = false;
  activation: (y: Tensor) => Tensor = (y) => y;
  layers: nn.Module[] = [new nn.ReLU()];
  nested = { p: [nn.Parameter(tensor([1, 1]))], settings: { shift: 0 } };
  factors: Record<string, number> = {};
  declare offset?: number; // not there until it is set
  traces = 0;
  last: Tensor | null = null;

  override forward(input: Tensor): Tensor {
    this.traces++;
    let y = this.activation(input.mul(this.w).mul(this.scale)).mul(this.nested.p[0] as Tensor);
    y = y.add(this.nested.settings.shift);
    for (const factor of Object.values(this.factors)) y = y.mul(factor);
    if (this.offset !== undefined) y = y.add(this.offset);
    for (const layer of this.layers) y = layer.forward(y);
    this.last = y;
    return this.inverted ? y.neg() : y;
  }
}

const changes: [string, (m: Model) => void, number[][]][] = [
  [
    'a parameter',
    (m) => {
      m.w = nn.Parameter(tensor([2, 2]));
    },
    [[4, 8]],
  ],
  [
    'a number',
    (m) => {
      m.scale = 3;
    },
    [[3, 6]],
  ],
  [
    'a flag',
    (m) => {
      m.inverted = true;
    },
    [[-2, -4]],
  ],
  [
    'a function',
    (m) => {
      m.activation = (y) => y.add(1);
    },
    [[3, 5]],
  ],
  [
    'a layer in a list',
    (m) => {
      m.layers[0] = new nn.Sequential(new nn.ReLU(), new nn.ReLU());
    },
    [[2, 4]],
  ],
  [
    'the length of a list',
    (m) => {
      m.layers.push(new nn.Softmax());
    },
    F.softmax(tensor([[2, 4]])).toArray() as number[][],
  ],
  [
    'a list',
    (m) => {
      m.layers = [new nn.Softmax()];
    },
    F.softmax(tensor([[2, 4]])).toArray() as number[][],
  ],
  [
    'a parameter in an object',
    (m) => {
      m.nested.p[0] = nn.Parameter(tensor([3, 3]));
    },
    [[6, 12]],
  ],
  [
    'an object',
    (m) => {
      m.nested = { ...m.nested, p: [nn.Parameter(tensor([3, 3]))] };
    },
    [[6, 12]],
  ],
  [
    'a number in an object',
    (m) => {
      m.nested.settings.shift = 5;
    },
    [[7, 9]],
  ],
  [
    'a new number in an object',
    (m) => {
      m.factors.second = 5;
    },
    [[10, 20]],
  ],
  [
    'a field that was not there',
    (m) => {
      m.offset = 5;
    },
    [[7, 9]],
  ],
];

describe('a compiled step sees a replaced field of a module', () => {
  it.each(changes)('%s', (_what, change, expected) => {
    const m = new Model();
    const step = compile((input: Tensor) => m.forward(input));
    for (let i = 0; i < 5; i++) expect(step(x).toArray()).toEqual([[2, 4]]);
    // The fields that forward sets (traces, last) are no reason to trace again.
    expect(m.traces).toBe(2);
    change(m);
    for (let i = 0; i < 5; i++) expect(step(x).toArray()).toEqual(expected);
    expect(m.traces).toBe(4);
  });

  it('that has no tensors of its own, within one that has', () => {
    class Scale extends nn.Module {
      k = 2;
      override forward(input: Tensor): Tensor {
        return input.mul(this.k);
      }
    }
    const scale = new Scale();
    const m = new nn.Sequential(new nn.Linear(2, 2), scale);
    const step = compile((input: Tensor) => m.forward(input));
    for (let i = 0; i < 3; i++) step(x);
    scale.k = 5;
    expect(step(x).toArray()).toEqual(m.forward(x).toArray());
  });

  it('but is not traced for each of many entries, and says when it is traced at every call', async () => {
    const warnings: Error[] = [];
    const listen = (warning: Error) => warnings.push(warning);
    process.on('warning', listen);
    const m = new Model();
    const step = compile((input: Tensor) => m.forward(input), { name: 'logging' });
    const history: Record<string, number> = {};
    Object.assign(m, { history });
    for (let i = 0; i < 300; i++) {
      step(x);
      history[`step ${i}`] = i;
    }
    expect(m.traces).toBeLessThan(70);
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', listen);
    expect(warnings.map((w) => (w as NodeJS.ErrnoException).code)).toEqual(['SIMDGRAD_RETRACED']);
    expect(warnings[0]?.message).toMatch(/^logging: traced in each of 64 calls/);
  });

  it('that holds a module which is held by one of its own', () => {
    class Block extends nn.Module {
      parent: nn.Module | null = null; // looked at before the layer
      layer = new nn.Linear(2, 2);
      override forward(input: Tensor): Tensor {
        return this.layer.forward(input);
      }
    }
    class Holder extends nn.Module {
      scale = 1;
      constructor(readonly inner: nn.Module) {
        super();
        if (inner instanceof Block) inner.parent = this;
      }
      override forward(input: Tensor): Tensor {
        return (this.inner.forward(input) as Tensor).mul(this.scale);
      }
    }
    const outer = new Holder(new Holder(new Block()));
    const step = compile((input: Tensor) => outer.forward(input));
    for (let i = 0; i < 3; i++) step(x);
    outer.scale = 100;
    expect(step(x).toArray()).toEqual(outer.forward(x).toArray());
  });

  it.each([
    [
      'ModuleList',
      (m: nn.Module) => new nn.ModuleList(m),
      (l: nn.Module) => (l as nn.ModuleList).append(new nn.Tanh()),
    ],
    [
      'Sequential',
      (m: nn.Module) => new nn.Sequential(m),
      (l: nn.Module) => (l as nn.Sequential).append(new nn.Tanh()),
    ],
    [
      'ModuleDict',
      (m: nn.Module) => new nn.ModuleDict({ m }),
      (l: nn.Module) => (l as nn.ModuleDict).set('last', new nn.Tanh()),
    ],
  ])('that goes through the children of a %s', (_name, make, extend) => {
    class Walk extends nn.Module {
      w = nn.Parameter(tensor([1, 1]));
      layers = make(new nn.ReLU());
      override forward(input: Tensor): Tensor {
        return this.layers.children().reduce((y, layer) => layer.forward(y) as Tensor, input.mul(this.w));
      }
    }
    const m = new Walk();
    const step = compile((input: Tensor) => m.forward(input));
    for (let i = 0; i < 3; i++) step(x);
    extend(m.layers);
    expect(step(x).toArray()).toEqual(x.tanh().toArray());
  });
});

describe('a compiled step sees other behaviour of a module', () => {
  const model = (): nn.Linear => {
    const m = new nn.Linear(2, 1, { bias: false });
    m.weight.copy_([[1], [1]]);
    return m;
  };
  it.each<[string, (m: nn.Linear) => void, number[][]]>([
    ['a hook', (m) => void m.registerForwardHook((_m, _inputs, y) => (y as Tensor).mul(10)), [[30]]],
    ['another forward', (m) => void (m.forward = (input) => input), [[1, 2]]],
  ])('%s', (_what, change, expected) => {
    const m = model();
    const step = compile((input: Tensor) => m.forward(input));
    for (let i = 0; i < 3; i++) expect(step(x).toArray()).toEqual([[3]]);
    change(m);
    for (let i = 0; i < 3; i++) expect(step(x).toArray()).toEqual(expected);
  });
  it('the function of a Residual', () => {
    const m = new nn.Residual((y) => y);
    const step = compile((input: Tensor) => m.forward(input));
    for (let i = 0; i < 3; i++) step(x);
    (m as { fn: unknown }).fn = (y: Tensor) => y.mul(9);
    expect(step(x).toArray()).toEqual([[10, 20]]);
  });
});

describe('a compiled step sees changed groups of an optimizer', () => {
  const run = (compiled: boolean, change: (o: optim.SGD, a: Tensor, b: Tensor) => void): unknown => {
    const a = tensor([1, 2], { requiresGrad: true });
    const b = tensor([3, 4], { requiresGrad: true });
    const optimizer = new optim.SGD([a], { lr: 0.1, momentum: 0.5 });
    const body = (input: Tensor): Tensor => {
      optimizer.zeroGrad();
      const loss = input.mul(a).mul(b).square().sum();
      loss.backward();
      optimizer.step();
      return loss;
    };
    const step = compiled ? compile(body) : body;
    const losses: number[] = [];
    for (let i = 0; i < 8; i++) {
      if (i === 3) change(optimizer, a, b);
      losses.push(step(x).item());
    }
    return [losses, a.toArray(), b.toArray()];
  };
  it.each<[string, (o: optim.SGD, a: Tensor, b: Tensor) => void]>([
    [
      'a group',
      (o) => {
        o.paramGroups[0] = { ...(o.paramGroups[0] as optim.SGD['paramGroups'][0]), lr: 0.01 };
      },
    ],
    [
      'a parameter of a group',
      (o, _a, b) => {
        (o.paramGroups[0] as optim.SGD['paramGroups'][0]).params[0] = b;
      },
    ],
    [
      'one parameter more',
      (o, _a, b) => {
        o.addParamGroup({ params: [b], lr: 0.001 });
      },
    ],
  ])('%s', (_what, change) => {
    expect(run(true, change)).toEqual(run(false, change));
  });
});

describe('memory that was transferred away', () => {
  it('is an error in every operation, not zeros', () => {
    const t = tensor([1, 2]);
    const { buffer } = t.data;
    structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
    for (const use of [
      () => t.add(1),
      () => t.sum(),
      () => t.toArray(),
      () => t.data,
      () => t.fill_(1),
      () => ones([2]).copy_(t),
    ]) {
      expect(use).toThrow(StateError);
    }
  });
});

describe('what a step switches itself', () => {
  const modes = (m: nn.Module): boolean[] => m.modules().map((x) => x.training);
  const make = () => {
    const generator = new Generator(4);
    return new nn.Sequential(
      new nn.Linear(4, 4, { generator }),
      new nn.Dropout(0.5, { generator }),
      new nn.BatchNorm1d(4),
    );
  };

  it.each<[string, (m: nn.Module, x: Tensor) => Tensor]>([
    [
      'a prediction and back',
      (m, x) => {
        m.eval();
        const y = m.forward(x) as Tensor;
        m.train();
        return y;
      },
    ],
    [
      'both modes in one step',
      (m, x) => {
        const y = m.train().forward(x) as Tensor;
        return y.add(m.eval().forward(x) as Tensor);
      },
    ],
    [
      'frozen for a while',
      (m, x) => {
        const { weight } = m.modules()[1] as nn.Linear;
        weight.requiresGrad = false;
        const y = (m.forward(x) as Tensor).sum();
        weight.requiresGrad = true;
        y.add(weight.sum()).backward();
        return y;
      },
    ],
  ])('is switched by every call, without tracing again: %s', (_name, run) => {
    const [compiled, eager] = [make(), make()];
    let traces = 0;
    const step = compile((input: Tensor) => {
      traces++;
      return run(compiled, input);
    });
    const input = ones([3, 4]);
    for (let i = 0; i < 12; i++) {
      // Whatever it was before.
      for (const m of [compiled, eager]) if (i > 1) m.train(i % 2 === 0);
      expect(step(input).toArray()).toEqual(run(eager, input).toArray());
      expect(modes(compiled)).toEqual(modes(eager));
      expect(compiled.parameters().map((p) => p.grad?.toArray())).toEqual(
        eager.parameters().map((p) => p.grad?.toArray()),
      );
    }
    expect(traces).toBeLessThanOrEqual(6);
  });

  it('a flag that it reads is one that it depends on', () => {
    const set = () => {
      const w = ones([2]);
      w.requiresGrad = true;
      const probe = (input: Tensor): unknown => {
        const was = w.requiresGrad;
        w.requiresGrad = false;
        const y = w.mul(input).sum();
        w.requiresGrad = was;
        if (was) noGrad(() => w.mul_(0.5));
        return [y, was];
      };
      return { w, probe };
    };
    const [compiled, eager] = [set(), set()];
    const step = compile(compiled.probe);
    for (const flag of [true, true, true, false, false, false, true]) {
      for (const { w } of [compiled, eager]) w.requiresGrad = flag;
      expect(JSON.stringify(step(ones(2)))).toBe(JSON.stringify(eager.probe(ones(2))));
      expect([compiled.w.requiresGrad, compiled.w.toArray()]).toEqual([flag, eager.w.toArray()]);
    }
  });

  it('a parameter that it makes itself is trained, also if the first call fails', () => {
    let m: nn.Linear | undefined;
    const step = compile((input: Tensor, y: Tensor) => {
      m ??= new nn.Linear(2, 3);
      m.zeroGrad();
      F.crossEntropy(m.forward(input), y).backward();
    });
    const y = tensor([0], { dtype: 'int32' });
    expect(() => step(ones([2, 2]), y)).toThrow(ShapeError);
    expect(m?.weight.requiresGrad).toBe(true);
    step(ones([1, 2]), y);
    expect(m?.weight.grad?.shape).toEqual([2, 3]);
  });

  it('modules that it makes itself, for good or for the moment', () => {
    let lasting: nn.Dropout | undefined;
    let traces = 0;
    const run = (input: Tensor): Tensor => {
      traces++;
      lasting ??= new nn.Dropout(1);
      const passing = new nn.Sequential(new nn.Dropout(1));
      passing.eval();
      return lasting.forward(passing.forward(input));
    };
    const step = compile(run);
    for (let i = 0; i < 4; i++) expect(step(ones(2)).toArray()).toEqual([0, 0]);
    lasting?.eval();
    for (let i = 0; i < 4; i++) expect(step(ones(2)).toArray()).toEqual([1, 1]);
    lasting?.train();
    expect(step(ones(2)).toArray()).toEqual([0, 0]);
    expect(traces).toBeLessThanOrEqual(5);
  });

  it('a leaf of its own does not make it trace again', () => {
    let traces = 0;
    const step = compile((input: Tensor) => {
      traces++;
      const w = input.detach();
      w.requiresGrad = true;
      w.mul(w).sum().backward();
      return w.grad as Tensor;
    });
    for (let i = 1; i < 5; i++) expect(step(tensor([i])).toArray()).toEqual([2 * i]);
    expect(traces).toBe(2);
  });

  it('what it returns beside tensors is compared', () => {
    for (const values of [
      [undefined, 'undefined'],
      [5n, '5'],
      [0, -0],
      [Number.NaN, null],
      [1, 2],
    ]) {
      let calls = 0;
      const step = compile((input: Tensor) => [input.add(1), values[calls++]]);
      step(x);
      expect(() => step(x)).toThrow(/what the step returns came out differently/);
    }
  });
});
