// Hooks and buffers of modules, as people who come from PyTorch expect them.
import { ArgumentError, compile, F, nn, noGrad, optim, type Tensor, tensor, zeros } from 'simdgrad';
import { describe, expect, it } from 'vitest';

const x = tensor([-1, 2]);

describe('forward hooks', () => {
  it('are removed by their handle: a call, remove() or using, any number of times', () => {
    const m = new nn.ReLU();
    const calls: number[] = [];
    const handles = [1, 2, 3].map((k) => m.registerForwardHook(() => void calls.push(k)));
    m.forward(x);
    expect(calls.splice(0)).toEqual([1, 2, 3]);
    (handles[1] as nn.HookHandle).remove();
    (handles[1] as nn.HookHandle).remove();
    m.forward(x);
    expect(calls.splice(0)).toEqual([1, 3]);
    handles[0]?.();
    handles[2]?.[Symbol.dispose]();
    expect(m.forward(x).toArray()).toEqual([0, 2]);
    expect(calls).toEqual([]);
    expect(Object.hasOwn(m, 'forward')).toBe(false);
  });

  it('see each other: each takes what the one before made of inputs and output', () => {
    const m = new nn.ReLU();
    m.registerForwardPreHook((_, [t]) => (t as Tensor).add(1));
    m.registerForwardPreHook((_, [t]) => [(t as Tensor).mul(2)]);
    m.registerForwardPreHook((_, [t]) => (t as Tensor).sub(10), { prepend: true });
    m.registerForwardHook((_, [t], y) => (y as Tensor).add(t as Tensor));
    m.registerForwardHook((_, __, y) => (y as Tensor).neg());
    m.registerForwardHook((_, __, y) => (y as Tensor).mul(100), { prepend: true });
    // Inputs 2 ((t - 10) + 1), their relu times 100, plus the inputs, negated.
    expect(m.forward(tensor([3, 11])).toArray()).toEqual([12, -404]);
  });

  it('before forward() may replace all inputs by an array', () => {
    class Weighted extends nn.Module {
      override forward(a: Tensor, b: Tensor): Tensor {
        return a.mul(b);
      }
    }
    const m = new Weighted();
    const seen: unknown[] = [];
    m.registerForwardPreHook((module, inputs) => {
      seen.push(module === m, inputs.length);
      return [...inputs].reverse().map((t) => (t as Tensor).add(1));
    });
    m.registerForwardHook((_, inputs) => void seen.push((inputs[0] as Tensor).toArray()));
    expect(m.forward(tensor([1]), tensor([5])).toArray()).toEqual([12]);
    expect(seen).toEqual([true, 2, [6]]);
  });

  it('that are added or removed by a hook count from the next call on', () => {
    const m = new nn.Identity();
    const calls: string[] = [];
    const first = m.registerForwardHook(() => {
      calls.push('first');
      first.remove();
      m.registerForwardHook(() => void calls.push('later'));
    });
    m.registerForwardHook(() => void calls.push('second'));
    m.forward(x);
    expect(calls.splice(0)).toEqual(['first', 'second']);
    m.forward(x);
    expect(calls).toEqual(['second', 'later']);
  });

  it('stay when forward() is replaced, which stays when they go', () => {
    const m = new nn.ReLU();
    const handle = m.registerForwardHook((_, __, y) => (y as Tensor).add(1));
    m.forward = (t: Tensor) => t.mul(3);
    expect(m.forward(x).toArray()).toEqual([-2, 7]);
    handle.remove();
    expect(m.forward(x).toArray()).toEqual([-3, 6]);
    class Arrow extends nn.Module {
      override forward = (t: Tensor): Tensor => t.mul(5);
    }
    const arrow = new Arrow();
    const other = arrow.registerForwardPreHook((_, [t]) => (t as Tensor).neg());
    expect(arrow.forward(x).toArray()).toEqual([5, -10]);
    other.remove();
    expect(arrow.forward(x).toArray()).toEqual([-5, 10]);
  });

  it('run inside Sequential, Residual and models, with gradients through what they make', () => {
    const inner = new nn.Linear(2, 2, { bias: false });
    inner.weight.copy_([
      [1, 0],
      [0, 1],
    ]);
    const model = new nn.Sequential(new nn.Residual(inner), new nn.ReLU());
    inner.registerForwardPreHook((_, [t]) => (t as Tensor).mul(2));
    inner.registerForwardHook((_, __, y) => (y as Tensor).mul(3));
    expect(model.forward(tensor([[1, 1]])).toArray()).toEqual([[7, 7]]);
    model
      .forward(tensor([[1, 2]]))
      .sum()
      .backward();
    expect(inner.weight.grad?.toArray()).toEqual([
      [6, 6],
      [12, 12],
    ]);
  });

  it('say what is wrong', () => {
    const m = new nn.ReLU();
    expect(() => m.registerForwardPreHook(3 as never)).toThrow(/registerForwardPreHook: takes a function/);
    expect(() => m.registerForwardHook(() => {}, { prepnd: true } as never)).toThrow(
      /did you mean "prepend"/,
    );
    expect(() => m.registerForwardHook(() => {}, { prepend: 1 as never })).toThrow(ArgumentError);
    expect(Object.hasOwn(m, 'forward')).toBe(false);
  });
});

describe('forward hooks in compiled steps', () => {
  const train = (compiled: boolean): number[] => {
    const layer = new nn.Linear(2, 1);
    layer.weight.copy_([[0.5], [-0.25]]);
    layer.bias?.fill_(0);
    const model = new nn.Sequential(layer, new nn.Identity());
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    const eager = (a: Tensor, b: Tensor): Tensor => {
      optimizer.zeroGrad();
      const loss = F.mseLoss(model.forward(a), b);
      loss.backward();
      optimizer.step();
      return loss;
    };
    const step = compiled ? compile(eager) : eager;
    const out: number[] = [];
    const run = (): void => {
      for (let k = 0; k < 3; k++) out.push(step(tensor([[1, 2]]), tensor([[3]])).item());
    };
    run();
    const first = layer.registerForwardHook((_, __, y) => (y as Tensor).mul(2));
    run();
    // A second hook on the same module, one on a module without parameters, one in front.
    const second = layer.registerForwardHook((_, __, y) => (y as Tensor).add(1));
    run();
    const third = (model.at(1) as nn.Module).registerForwardPreHook((_, [t]) => (t as Tensor).tanh());
    run();
    second.remove();
    run();
    third.remove();
    first.remove();
    run();
    return out;
  };

  it('take part, and are noticed when they are added and removed', () => {
    expect(train(true)).toEqual(train(false));
  });

  it('are noticed on a module without parameters that a closure calls', () => {
    const m = new nn.ReLU();
    const handle = m.registerForwardHook((_, __, y) => (y as Tensor).mul(10));
    const step = compile((t: Tensor) => m.forward(t));
    for (let k = 0; k < 3; k++) expect(step(x).toArray()).toEqual([0, 20]);
    m.registerForwardHook((_, __, y) => (y as Tensor).add(1));
    for (let k = 0; k < 3; k++) expect(step(x).toArray()).toEqual([1, 21]);
    handle.remove();
    for (let k = 0; k < 3; k++) expect(step(x).toArray()).toEqual([1, 3]);
  });

  it('keep statistics in buffers at every replay', () => {
    const model = new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU());
    const seen = model.registerBuffer('seen', zeros(3));
    model.at(1)?.registerForwardHook((_, __, y) => {
      noGrad(() => seen.add_((y as Tensor).detach().sum(0)));
    });
    const step = compile((t: Tensor) => model.forward(t));
    const expected = new Float64Array(3);
    for (let k = 0; k < 4; k++) {
      const y = step(tensor([[k, 1]])).toArray() as number[][];
      (y[0] as number[]).forEach((v, i) => {
        expected[i] = (expected[i] as number) + v;
      });
    }
    expect(seen.toArray()).toEqual(Array.from(expected, Math.fround));
  });

  it('that read a value are refused', () => {
    const m = new nn.Sequential(new nn.Linear(2, 3), new nn.ReLU());
    m.registerForwardHook((_, __, y) => void (y as Tensor).sum().item());
    expect(() => compile((t: Tensor) => m.forward(t))(tensor([[1, 1]]))).toThrow(/value was read/);
  });
});

describe('buffers', () => {
  it('are in stateDict, unless persistent: false, and follow to()', () => {
    const m = new nn.Module();
    m.registerBuffer('mean', tensor([1, 2]));
    m.registerBuffer('count', tensor(3, { dtype: 'int32' }));
    m.registerBuffer('cache', tensor([5]), { persistent: false });
    const model = new nn.Sequential({ inner: m });
    expect(model.namedBuffers().map(([name]) => name)).toEqual(['inner.mean', 'inner.count', 'inner.cache']);
    expect(model.parameters()).toEqual([]);
    expect(Object.keys(model.stateDict())).toEqual(['inner.mean', 'inner.count']);
    model.to('float64');
    expect(model.buffers().map((t) => t.dtype)).toEqual(['float64', 'int32', 'float64']);
    expect(model.buffers().map((t) => t.toArray())).toEqual([[1, 2], 3, [5]]);
    expect(model.buffers().some((t) => t.requiresGrad)).toBe(false);
    model.loadStateDict({ 'inner.mean': tensor([7, 8]), 'inner.count': tensor(4, { dtype: 'int32' }) });
    expect(model.buffers().map((t) => t.toArray())).toEqual([[7, 8], 4, [5]]);
  });

  it('may be assigned, replaced, and reserved by null', () => {
    const m = new nn.Module() as nn.Module & { mean: Tensor | null };
    expect(m.registerBuffer('mean', null)).toBeNull();
    expect(m.namedBuffers()).toEqual([]);
    expect(Object.keys(m.stateDict())).toEqual([]);
    m.mean = tensor([4]);
    expect(m.stateDict().mean?.toArray()).toEqual([4]);
    const given = tensor([1, 2]);
    const buffer = m.registerBuffer('mean', given);
    expect(m.mean).toBe(buffer);
    given.fill_(9);
    expect(m.stateDict().mean?.toArray()).toEqual([1, 2]);
  });

  it('do not take the place of something else', () => {
    const m = new nn.Linear(2, 2);
    expect(() => m.registerBuffer('weight', zeros(1))).toThrow(/Linear has something else.*"weight"/);
    expect(() => m.registerBuffer('forward', zeros(1))).toThrow(ArgumentError);
    expect(() => m.registerBuffer('training', zeros(1))).toThrow(ArgumentError);
    expect(() => m.registerBuffer('x', zeros(1), { persist: false } as never)).toThrow(
      /did you mean "persistent"/,
    );
    expect(() => m.registerBuffer('x', zeros(1), { persistent: 0 as never })).toThrow(/true or false/);
    expect(() => m.registerBuffer('x', [1] as never)).toThrow(ArgumentError);
    expect(m.namedParameters().map(([name]) => name)).toEqual(['weight', 'bias']);
  });
});
