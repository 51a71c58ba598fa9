import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  backendInfo,
  CompileError,
  compile,
  F,
  Generator,
  grad,
  IndexError,
  noGrad,
  ones,
  optim,
  rand,
  randn,
  ShapeError,
  StateError,
  scope,
  setBackend,
  type Tensor,
  tensor,
  zeros,
} from '../../src/index.js';
import { nll } from '../../src/ops/nll.js';

const leaf = (...values: number[]): Tensor => tensor(values, { requiresGrad: true });
const traces = (step: { explain(): string }): number => step.explain().split('kernel calls').length - 1;

describe('the function is traced, not run', () => {
  test('once, then once more to compare, then never', () => {
    let calls = 0;
    const step = compile((x: Tensor) => {
      calls++;
      return x.mul(2);
    });
    for (let i = 1; i <= 5; i++) expect(step(tensor([i])).item()).toBe(2 * i);
    expect(calls).toBe(2);
  });

  test('reading values while tracing is refused', () => {
    const w = leaf(1, 2);
    for (const read of [
      (x: Tensor) => x.sum().item(),
      (x: Tensor) => x.data,
      (x: Tensor) => x.toArray(),
      () => w.toArray(),
      () => w.data,
      (x: Tensor) => tensor(x.mul(2).data),
    ]) {
      const step = compile((x: Tensor) => {
        read(x);
        return x;
      });
      expect(() => step(tensor([1]))).toThrow(CompileError);
    }
    // Showing it for debugging is not reading it.
    const shown: string[] = [];
    const step = compile((x: Tensor) => {
      const y = x.mul(2);
      shown.push(String(y));
      return y;
    });
    step(tensor([1, 2]));
    expect(shown[0]).toContain('shape=[2]');
    expect(shown[0]).toContain('traced');
  });

  test('tensors of the trace cannot be used after it', () => {
    let leaked: Tensor | null = null;
    const step = compile((x: Tensor) => (leaked = x.mul(2)).sum());
    step(tensor([1]));
    expect(() => (leaked as unknown as Tensor).item()).toThrow(CompileError);
    expect(() => (leaked as unknown as Tensor).add(1)).toThrow(/return it from the step/);
    const other = compile(() => (leaked as unknown as Tensor).add(1));
    expect(() => other()).toThrow(CompileError);
  });

  test('an argument cannot be changed in place, and is not', () => {
    const x = tensor([1, 2]);
    expect(() => compile((t: Tensor) => t.add_(1))(x)).toThrow(/argument .*changed in place.*clone/);
    expect([...x.data]).toEqual([1, 2]);
    const step = compile((t: Tensor) => t.clone().add_(1));
    expect(step(x).toArray()).toEqual([2, 3]);
  });

  test('asynchronous functions are refused', () => {
    expect(() => compile(async (x: Tensor) => x)(tensor([1]))).toThrow(/synchronous/);
  });

  test('an error of the function comes through and leaves everything as it was', () => {
    const w = leaf(1, 2);
    const generator = new Generator(4);
    let fail = true;
    const step = compile((x: Tensor) => {
      const r = rand(2, { generator });
      w.grad = null;
      w.mul(x).mul(r).sum().backward();
      noGrad(() => w.sub_(1));
      if (fail) throw new TypeError('mine');
      return w.sum();
    });
    w.grad = tensor([7, 7]);
    const before = generator.getState();
    expect(() => step(tensor([1, 1]))).toThrow(new TypeError('mine'));
    expect([[...w.data], w.grad?.toArray(), generator.getState()]).toEqual([[1, 2], [7, 7], before]);
    fail = false;
    step(tensor([1, 1]));
    expect([...w.data]).toEqual([0, 1]);
  });
});

describe('the comparison on the second call', () => {
  const x = tensor([1, 2, 3]);

  test('a number that changes', () => {
    let c = 0.5;
    const step = compile((t: Tensor) => t.mul(c++));
    step(x);
    expect(() => step(x)).toThrow(CompileError);
    expect(() => step(x)).toThrow(/\(full\).*a number was 0.5 and is 2.5 now.*tensor\(value\)/);
  });

  test('an attribute that changes', () => {
    let slope = 0.1;
    const step = compile((t: Tensor) => t.leakyRelu((slope += 0.1)));
    step(x);
    expect(() => step(x)).toThrow(/leakyRelu.*a number was/);
  });

  test('another branch, more operations, fewer', () => {
    for (const [first, second] of [
      [(t: Tensor) => t.exp(), (t: Tensor) => t.sin()],
      [(t: Tensor) => t.exp(), (t: Tensor) => t.exp().sin()],
      [(t: Tensor) => t.exp().sin(), (t: Tensor) => t.exp()],
    ]) {
      let n = 0;
      const step = compile((t: Tensor) => (n++ === 0 ? first : second)(t));
      step(x);
      expect(() => step(x)).toThrow(/came out differently/);
    }
  });

  test('a constant array that changes', () => {
    let n = 0;
    const step = compile((t: Tensor) => t.add(tensor([0, 0, n++])));
    step(x);
    expect(() => step(x)).toThrow(/array whose values changed/);
    const same = compile((t: Tensor) => t.add(tensor([0, 0, 7])));
    expect(same(x).toArray()).toEqual([1, 2, 10]);
    expect(same(x).toArray()).toEqual([1, 2, 10]);
  });

  test('a tensor from outside that is another one', () => {
    const step = compile((t: Tensor) => t.add(held));
    let held = tensor([1, 1, 1]);
    step(x);
    held = tensor([2, 2, 2]);
    expect(() => step(x)).toThrow(/one tensor made outside .* another one now/);
  });

  test('other operands and other results', () => {
    let n = 0;
    const step = compile((t: Tensor) => {
      const [a, b] = [t.exp(), t.exp()];
      return n++ === 0 ? a.sub(b) : a.sub(a);
    });
    step(x);
    expect(() => step(x)).toThrow(/operand/);
    let m = 0;
    const results = compile((t: Tensor) => {
      const [a, b] = [t.exp(), t.exp()];
      return m++ === 0 ? [a, b] : [b, a];
    });
    results(x);
    expect(() => results(x)).toThrow(CompileError);
    let k = 0;
    const value = compile((t: Tensor) => ({ y: t.exp(), epoch: k++ }));
    value(x);
    expect(() => value(x)).toThrow(/returns came out differently/);
  });

  test('gradients that are left behind differently', () => {
    for (const leave of [
      (w: Tensor, n: number) => {
        if (n > 0) w.grad = null;
      },
      (w: Tensor, n: number) => {
        if (n === 0) w.grad = null;
      },
      (w: Tensor, n: number) => {
        if (n > 0) w.grad = w;
      },
    ]) {
      const w = leaf(1, 2, 3);
      let n = 0;
      const step = compile((t: Tensor) => {
        w.grad = null;
        const loss = w.mul(t).sum();
        loss.backward();
        leave(w, n++);
        return loss;
      });
      step(x);
      w.grad = null;
      expect(() => step(x)).toThrow(CompileError);
    }
  });

  test('a shape that comes from outside', () => {
    let n = 1;
    const step = compile((t: Tensor) => t.sum().add(zeros([n++])));
    step(x);
    expect(() => step(x)).toThrow(CompileError);
    let rows = 1;
    const result = compile((t: Tensor) => t.mul(2).reshape(rows++ === 1 ? [1, 3] : [3, 1]));
    result(x);
    expect(() => result(x)).toThrow(CompileError);
  });

  test('another generator', () => {
    const generators = [new Generator(1), new Generator(2)];
    let n = 0;
    const step = compile((t: Tensor) => t.mul(rand(3, { generator: generators[n++ % 2] as Generator })));
    step(x);
    expect(() => step(x)).toThrow(/other optimizers, schedules or generators/);
  });

  test('after a refusal the state is as before the call', () => {
    const w = leaf(1);
    const generator = new Generator(1);
    let c = 1;
    const step = compile((t: Tensor) => {
      w.grad = null;
      w.mul(t.sum()).mul(c++).mul(rand(1, { generator })).sum().backward();
      noGrad(() => w.sub_(w.grad as Tensor));
    });
    step(x);
    const before = [w.item(), w.grad?.item(), generator.getState()];
    expect(() => step(x)).toThrow(CompileError);
    expect([w.item(), w.grad?.item(), generator.getState()]).toEqual(before);
  });

  test('after a refusal graphs from before it can go on', () => {
    const w = leaf(1, 2, 3);
    const step = compile((y: Tensor) => {
      const loss = F.crossEntropy(w.mul(1).reshape([1, 3]), y);
      noGrad(() => w.mul_(0.5));
      return loss;
    });
    const before = w.mul(w).sum();
    expect(() => step(tensor([7], { dtype: 'int32' }))).toThrow(IndexError);
    before.backward();
    expect(w.grad?.toArray()).toEqual([2, 4, 6]);
  });

  test('a graph that left the step knows what the step wrote', () => {
    const w = leaf(1, 2, 3);
    let kept: Tensor | undefined;
    const step = compile((t: Tensor) => {
      noGrad(() => w.mul_(2));
      kept = w.mul(w);
      noGrad(() => w.mul_(3));
      return t.mul(1);
    });
    step(x);
    expect(() => kept?.backward(ones([3]))).toThrow(/changed in place/);
  });

  test('a stateless optimizer that every step makes is no difference', () => {
    const run = (compiled: boolean): unknown[] => {
      const w = leaf(1, 2, 3);
      const body = (t: Tensor) => {
        const sgd = new optim.SGD([w], { lr: 0.1 });
        sgd.zeroGrad();
        const loss = w.mul(t).square().sum();
        loss.backward();
        sgd.step();
        return loss;
      };
      const step = compiled ? compile(body) : body;
      return Array.from({ length: 4 }, () => step(x).item());
    };
    expect(run(true)).toEqual(run(false));
  });

  test('what does not change is no difference: NaN, -0, random numbers, statistics', () => {
    const generator = new Generator(2);
    const step = compile((t: Tensor) => t.mul(Number.NaN).add(-0).add(rand(3, { generator })));
    step(x);
    step(x);
    expect(step(x).isNan().toArray()).toEqual([true, true, true]);
  });
});

describe('one program for each combination of shapes, dtypes and modes', () => {
  test('shapes, dtypes, strings, booleans, null', () => {
    const step = compile((x: Tensor, how?: string | boolean | null) =>
      how === 'double' ? x.mul(2) : how === true ? x.mul(3) : how === null ? x.mul(4) : x,
    );
    for (let round = 0; round < 3; round++) {
      expect(step(tensor([1, 2])).toArray()).toEqual([1, 2]);
      expect(step(tensor([1, 2, 3]), 'double').toArray()).toEqual([2, 4, 6]);
      expect(step(tensor([[1, 2]]), true).toArray()).toEqual([[3, 6]]);
      const y = step(tensor([1, 2], { dtype: 'float64' }), null);
      expect([y.dtype, y.toArray()]).toEqual(['float64', [4, 8]]);
      expect(step(tensor([1, 2], { dtype: 'int32' }), 'double').toArray()).toEqual([2, 4]);
    }
    expect(traces(step)).toBe(5);
  });

  test('strings that look like other arguments are told apart', () => {
    const step = compile<unknown[], unknown>((...args) => [tensor([args.length]), args.join('|')]);
    expect((step('a, "b"', 'c') as unknown[])[1]).toBe('a, "b"|c');
    expect((step('a', 'b", "c') as unknown[])[1]).toBe('a|b", "c');
    expect((step('null') as unknown[])[1]).toBe('null');
    expect((step(null) as unknown[])[1]).toBe('');
    expect((step('undefined') as unknown[])[1]).toBe('undefined');
    expect((step('float32[1]') as unknown[])[1]).toBe('float32[1]');
    expect((step(true) as unknown[])[1]).toBe('true');
    expect((step('true') as unknown[])[1]).toBe('true');
  });

  test('the least recently used goes first', () => {
    let calls = 0;
    const step = compile(
      (x: Tensor) => {
        calls++;
        return x.mul(2);
      },
      { cacheSize: 2 },
    );
    const run = (n: number) => step(ones(n));
    for (const n of [1, 1, 2, 2]) run(n);
    expect([calls, traces(step)]).toEqual([4, 2]);
    run(1);
    run(3); // 2 goes
    expect([calls, traces(step)]).toEqual([5, 2]);
    run(1);
    expect(calls).toBe(5);
    run(2);
    expect(calls).toBe(6);
  });

  test('grad mode and arguments that require a gradient', () => {
    const step = compile((x: Tensor) => {
      const y = x.mul(x).sum();
      return y.requiresGrad ? grad(y, x) : y;
    });
    for (let i = 0; i < 3; i++) {
      expect(step(leaf(1, 2)).toArray()).toEqual([2, 4]);
      expect(step(tensor([1, 2])).toArray()).toBe(5);
      expect(noGrad(() => step(leaf(1, 2))).toArray()).toBe(5);
    }
  });

  test('freezing a parameter', () => {
    const [a, b] = [leaf(1), leaf(2)];
    const step = compile((x: Tensor) => {
      a.grad = b.grad = null;
      a.mul(b).mul(x).sum().backward();
    });
    const run = () => {
      step(tensor([3]));
      return [a.grad?.item(), b.grad?.item()];
    };
    for (let i = 0; i < 3; i++) expect(run()).toEqual([6, 3]);
    b.requiresGrad = false;
    for (let i = 0; i < 3; i++) expect(run()).toEqual([6, undefined]);
    b.requiresGrad = true;
    for (let i = 0; i < 3; i++) expect(run()).toEqual([6, 3]);
  });

  test('gradients that begin with an array: added to, and theirs who read them', () => {
    for (const eager of [true, false]) {
      const w = leaf(1, 2, 3);
      const body = (t: Tensor) => {
        w.grad = tensor([1, 1, 1]);
        w.mul(t).sum().backward();
      };
      const step = eager ? body : compile(body);
      for (let i = 0; i < 4; i++) {
        step(tensor([5, 6, 7]));
        expect(w.grad?.toArray()).toEqual([6, 7, 8]);
        w.grad?.mul_(0.5);
      }
    }
  });

  test('gradients that are there already, or not: accumulation over calls', () => {
    const w = leaf(1, 1);
    const step = compile((x: Tensor) => w.mul(x).sum().backward());
    const expected = [0, 0];
    for (let i = 1; i <= 8; i++) {
      if (i === 5) {
        w.grad = null;
        expected.fill(0);
      }
      step(tensor([i, 10 * i]));
      expected[0] += i;
      expected[1] += 10 * i;
      expect(w.grad?.toArray()).toEqual(expected);
    }
    // An eager pass in between, and a gradient that is set.
    w.mul(2).sum().backward();
    step(tensor([1, 1]));
    expect(w.grad?.toArray()).toEqual(expected.map((v) => v + 3));
    w.grad = tensor([100, 200]);
    step(tensor([1, 1]));
    step(tensor([1, 1]));
    expect(w.grad?.toArray()).toEqual([102, 202]);
  });

  test('another backend', () => {
    const before = backendInfo().backend;
    let calls = 0;
    const step = compile((x: Tensor) => {
      calls++;
      return x.exp();
    });
    step(ones(2));
    step(ones(2));
    try {
      setBackend('js');
      expect(step(ones(2)).toArray()[0 as never]).toBeCloseTo(Math.E, 6);
    } finally {
      setBackend(before);
    }
    expect(calls).toBe(before === 'js' ? 2 : 3);
  });

  test('arguments that are none', () => {
    const step = compile((x: Tensor) => x);
    for (const x of [1, 1n, [tensor([1])], { x: 1 }, () => 1, Symbol('x'), new Float32Array(2)]) {
      expect(() => step(x as never)).toThrow(ArgumentError);
    }
    expect(() => step(3 as never)).toThrow(/argument 0 is 3.*tensor\(value\)/);
    expect(() => compile(3 as never)).toThrow(ArgumentError);
    expect(() => compile((x: Tensor) => x, { cacheSize: 0 })).toThrow(/cacheSize/);
    expect(() => compile((x: Tensor) => x, { cache: 1 } as never)).toThrow(/cache/);
  });
});

describe('what a step returns', () => {
  test('tensors in lists and objects, and other values, new at every call', () => {
    const step = compile((x: Tensor) => ({
      a: [x.mul(2), [x.sum()]],
      b: null,
      c: 'text',
      d: undefined,
      e: 3,
      f: x.size,
    }));
    const results = [1, 2, 3].map((k) => step(tensor([k, k])));
    results.forEach((r, i) => {
      const k = i + 1;
      expect((r.a[0] as Tensor).toArray()).toEqual([2 * k, 2 * k]);
      expect((r.a[1] as Tensor[])[0].item()).toBe(2 * k);
      expect([r.b, r.c, r.d, r.e, r.f]).toEqual([null, 'text', undefined, 3, 2]);
    });
  });

  test('nothing, its argument, a parameter, one tensor twice, views', () => {
    expect(compile((x: Tensor) => void x.mul(2))(ones(1))).toBe(undefined);
    const w = leaf(1, 2);
    const step = compile((x: Tensor) => {
      noGrad(() => w.add_(1));
      const y = x.mul(3);
      return [x, w, y, y, y.slice(1), x.reshape(2, 1).T, w.detach().slice(0, 1)];
    });
    for (let i = 1; i <= 3; i++) {
      const x = tensor([i, 10 * i]);
      const out = step(x);
      expect(out.map((t) => t.toArray())).toEqual([
        [i, 10 * i],
        [i + 1, i + 2],
        [3 * i, 30 * i],
        [3 * i, 30 * i],
        [30 * i],
        [[i, 10 * i]],
        [i + 1],
      ]);
      out[0].fill_(99);
      out[1].fill_(99);
      out[2].fill_(99);
      expect([...x.data]).toEqual([i, 10 * i]);
      expect([...w.data]).toEqual([i + 1, i + 2]);
      expect(out[3].toArray()).toEqual([3 * i, 30 * i]);
      expect(out.every((t) => !t.requiresGrad)).toBe(true);
    }
  });

  test('results and gradients that are held stay', () => {
    const w = leaf(1, 2, 3);
    const step = compile((x: Tensor) => {
      w.grad = null;
      const y = w.mul(x);
      y.mul(y).sum().backward();
      return y;
    });
    const held: { y: Tensor; g: Tensor; seen: unknown[] }[] = [];
    for (let i = 0; i < 6; i++) {
      const y = step(tensor([i, i, i]));
      const g = w.grad as Tensor;
      held.push({ y, g, seen: [y.toArray(), g.toArray()] });
    }
    for (const { y, g, seen } of held) expect([y.toArray(), g.toArray()]).toEqual(seen);
    expect(held[2].seen).toEqual([
      [2, 4, 6],
      [8, 16, 24],
    ]);
  });

  test('memory that is given back by dispose() and scope() and used again, and only then', () => {
    for (const shape of [[3], [40, 50], [512, 300]]) {
      const step = compile((x: Tensor) => x.mul(2));
      const inputs = Array.from({ length: 6 }, (_, i) => ones(shape).mul(i));
      const of = (value: number): Tensor => step(inputs[value] as Tensor);
      const held = of(1);
      const before = process.memoryUsage().arrayBuffers;
      for (let i = 0; i < 40; i++) of(i % 6).dispose();
      const gone = of(2);
      gone.dispose();
      const inside: Tensor[] = [];
      const kept = scope(() => {
        inside.push(of(3));
        return of(4);
      });
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(12 * 4 * held.size + 100_000);
      expect(of(5).sum().item()).toBe(10 * held.size);
      expect(held.sum().item()).toBe(2 * held.size);
      expect(kept.sum().item()).toBe(8 * held.size);
      expect(() => gone.data).toThrow(StateError);
      expect(() => (inside[0] as Tensor).data).toThrow(StateError);
    }
  });

  test('results of every size are the caller’s alone, whoever runs the step next', async () => {
    const rows = tensor([0, 1, 2, 1], { dtype: 'int32' });
    const wrong = tensor([0, 1, 2, 999], { dtype: 'int32' });
    const step = compile((x: Tensor, i: Tensor) => {
      const y = x.mul(2);
      const picked = x.indexSelect(0, i);
      return { y, again: y, next: y.add(1), picked, mean: x.mean() };
    });
    const of = (value: number): Tensor => ones([500, 8]).mul(value);
    const all = (r: { y: Tensor; again: Tensor; next: Tensor; picked: Tensor; mean: Tensor }): number[][] =>
      [r.y, r.again, r.next, r.picked, r.mean].map((t) => [...new Set([t.toArray()].flat(2) as number[])]);
    const wanted = (value: number): number[][] => [
      [2 * value],
      [2 * value],
      [2 * value + 1],
      [value],
      [value],
    ];
    const held = [step(of(1), rows), step(of(2), rows)];
    expect(() => step(of(3), wrong)).toThrow(IndexError);
    held.push(step(of(3), rows), await step.async(of(4), rows));
    await expect(step.async(of(5), wrong)).rejects.toThrow(IndexError);
    held.push(...(await Promise.all([step.async(of(5), rows), step.async(of(6), rows)])));
    step.explain();
    held.push(step(of(7), rows));
    held.forEach((r, i) => {
      expect(all(r)).toEqual(wanted(i + 1));
    });
    // Who changes, gives back or transfers one changes no other, and no later one.
    const [first, second, third] = held as [(typeof held)[0], (typeof held)[0], (typeof held)[0]];
    first.y.mul_(10);
    second.y.dispose();
    structuredClone(third.y.data, { transfer: [third.y.data.buffer as ArrayBuffer] });
    expect(all(first)).toEqual([[20], [2], [3], [1], [1]]);
    for (let i = 8; i < 12; i++) held.push(step(of(i), rows));
    held.slice(3).forEach((r, i) => {
      expect(all(r)).toEqual(wanted(i + 4));
    });
    expect([...new Set([second.again.toArray()].flat(2) as number[])]).toEqual([4]);
  });

  test('what cannot be returned', () => {
    for (const value of [() => 1, Symbol('x'), new Map(), new Date()]) {
      expect(() => compile((x: Tensor) => [x, value])(ones(1))).toThrow(CompileError);
    }
    const loop: unknown[] = [];
    loop.push(loop);
    expect(() => compile(() => loop)()).toThrow(/nested too deeply/);
  });

  test('empty tensors and scalars', () => {
    const step = compile((x: Tensor) => [x.mul(2), x.sum(), x.sum().add(1)]);
    for (let i = 0; i < 3; i++) {
      expect(step(zeros(0, 3)).map((t) => t.toArray())).toEqual([[], 0, 1]);
      expect(step(tensor(2)).map((t) => t.toArray())).toEqual([4, 2, 3]);
    }
  });
});

describe('steps inside steps and around eager code', () => {
  test('a compiled step called by another is part of it', () => {
    const w = leaf(2);
    const inner = compile((x: Tensor) => x.mul(w));
    const outer = compile((x: Tensor) => {
      w.grad = null;
      const y = inner(x).add(1).sum();
      y.backward();
      return y;
    });
    for (let i = 1; i < 4; i++) {
      expect(outer(tensor([i])).item()).toBe(2 * i + 1);
      expect(w.grad?.item()).toBe(i);
      expect(inner(tensor([i])).item()).toBe(2 * i);
    }
    const wrong = compile((x: Tensor) => {
      void inner.async(x).catch(() => undefined);
      return x;
    });
    expect(wrong(tensor([1])).item()).toBe(1);
  });

  test('captured tensors are read anew at every call', () => {
    const shift = tensor([1, 2]);
    const view = tensor([
      [1, 2],
      [3, 4],
    ]);
    const step = compile((x: Tensor) => x.add(shift).add(view.T.slice(0, 1).reshape(2)));
    const run = () => step(zeros(2)).toArray();
    expect(run()).toEqual([2, 5]);
    shift.copy_([10, 20]);
    expect(run()).toEqual([11, 23]);
    shift.data[0] = 100;
    view.data[2] = 1000;
    expect(run()).toEqual([101, 1020]);
    expect(run()).toEqual([101, 1020]);
  });

  test('memory that was handed out before stays what the person holds', () => {
    const w = tensor([1, 2]);
    const { data } = w;
    w.requiresGrad = true;
    const step = compile(() => noGrad(() => w.mul_(2).sum()));
    for (let i = 1; i <= 3; i++) {
      step();
      expect([...data]).toEqual([2 ** i, 2 ** (i + 1)]);
      expect(w.data).toBe(data);
    }
  });

  test('views of one memory written and read', () => {
    const w = zeros(6);
    const step = compile((x: Tensor) => {
      w.slice(0, 2).copy_(x);
      w.slice(2, 4).copy_(w.slice(0, 2).mul(2));
      w.slice([1, 5]).add_(1);
      return w.sum();
    });
    const run = (eager: boolean) => {
      const x = tensor([1, 2]);
      if (!eager) return step(x).item();
      return 0;
    };
    run(false);
    expect([...w.data]).toEqual([1, 3, 3, 5, 1, 0]);
    run(false);
    expect([...w.data]).toEqual([1, 3, 3, 5, 2, 0]);
    run(false);
    expect([...w.data]).toEqual([1, 3, 3, 5, 3, 0]);
  });

  test('non-contiguous, sliced and shared arguments', () => {
    const step = compile((x: Tensor, y: Tensor) => x.sub(y));
    const m = tensor([
      [1, 2],
      [3, 4],
    ]);
    for (let i = 0; i < 3; i++) {
      expect(step(m, m.T).toArray()).toEqual([
        [0, -1],
        [1, 0],
      ]);
      expect(step(m, m).toArray()).toEqual([
        [0, 0],
        [0, 0],
      ]);
      expect(step(m.slice(1), m.slice(0, 1)).toArray()).toEqual([[2, 2]]);
      expect(step(tensor([1]).broadcastTo([2, 2]), m).toArray()).toEqual([
        [0, -1],
        [-2, -3],
      ]);
    }
  });

  test('optimizer-like counters advance once per call', () => {
    const generator = new Generator(9);
    const eager = new Generator(9);
    const step = compile((x: Tensor) => [rand(3, { generator }), x.mul(randn(2, { generator }))]);
    for (let i = 0; i < 4; i++) {
      const [a, b] = step(ones(2));
      expect(a.toArray()).toEqual(rand(3, { generator: eager }).toArray());
      expect(b.toArray()).toEqual(randn(2, { generator: eager }).toArray());
      if (i === 2) expect(rand(1, { generator }).toArray()).toEqual(rand(1, { generator: eager }).toArray());
    }
    generator.manualSeed(1);
    eager.manualSeed(1);
    expect(step(ones(2))[0].toArray()).toEqual(rand(3, { generator: eager }).toArray());
  });
});

describe('errors while a step runs', () => {
  const rows = (n: number) => ones(n, 3);
  const labels = (...values: number[]) => tensor(values, { dtype: 'int32' });

  function training() {
    const w = tensor(
      [
        [1, 2, 3],
        [4, 5, 6],
        [7, 8, 9],
      ],
      { requiresGrad: true },
    );
    const generator = new Generator(3);
    const step = compile((x: Tensor, y: Tensor) => {
      w.grad = null;
      const loss = nll(x.matmul(w).mul(rand(3, { generator })).logSoftmax(), y).mean();
      loss.backward();
      noGrad(() => w.sub_((w.grad as Tensor).mul(0.1)));
      return loss;
    });
    const state = () => [[...w.clone().data], w.grad?.toArray() ?? null, generator.getState()];
    return { w, generator, step, state };
  }

  test('a bad label names it and leaves all state, on the first call, the second and later ones', async () => {
    for (const good of [0, 1, 2, 4]) {
      const { step, state } = training();
      for (let i = 0; i < good; i++) step(rows(2), labels(0, 1));
      const before = state();
      expect(() => step(rows(2), labels(0, 3))).toThrow(/3 at position 1 .*\[0, 3\)/);
      expect(() => step(rows(2), labels(-1, 0))).toThrow(/-1 at position 0/);
      expect(state()).toEqual(before);
      await expect(step.async(rows(2), labels(0, 3))).rejects.toThrow(/3 at position 1/);
      expect(state()).toEqual(before);
      // And it goes on as if nothing had been.
      const other = training();
      for (let i = 0; i < good; i++) other.step(rows(2), labels(0, 1));
      expect(step(rows(2), labels(2, 2)).item()).toBe(other.step(rows(2), labels(2, 2)).item());
      expect(state()).toEqual(other.state());
    }
  });

  test('shapes that do not fit fail while tracing, with the message of the operation', () => {
    const { step, state } = training();
    const before = state();
    expect(() => step(ones(2, 4), labels(0, 1))).toThrow(ShapeError);
    expect(state()).toEqual(before);
  });

  test('a bad index behind an update', () => {
    const w = leaf(1, 2, 3);
    const step = compile((i: Tensor) => {
      noGrad(() => w.mul_(2));
      return w.indexSelect(0, i);
    });
    step(labels(0));
    step(labels(1));
    expect([...w.clone().data]).toEqual([4, 8, 12]);
    expect(() => step(labels(3))).toThrow(/3/);
    expect([...w.clone().data]).toEqual([4, 8, 12]);
  });

  test('gradients of the step before stay when a later step fails behind its backward', () => {
    const w = leaf(1, 2, 3);
    const step = compile((x: Tensor, i: Tensor) => {
      w.grad = null;
      w.mul(x).sum().backward();
      return w.indexSelect(0, i);
    });
    step(tensor([1, 1, 1]), labels(0));
    step(tensor([2, 2, 2]), labels(0));
    step(tensor([3, 3, 3]), labels(0));
    expect(() => step(tensor([4, 4, 4]), labels(5))).toThrow(/5/);
    expect(w.grad?.toArray()).toEqual([3, 3, 3]);
  });
});

describe('explain()', () => {
  test('lists calls, sizes and what was fused', () => {
    const w = tensor(new Float32Array(12), { shape: [4, 3], requiresGrad: true });
    const b = leaf(0, 0, 0);
    const step = compile(
      (x: Tensor, y: Tensor) => {
        w.grad = b.grad = null;
        const loss = nll(x.matmul(w).add(b).relu().logSoftmax(), y).mean();
        loss.backward();
        return loss;
      },
      { name: 'train' },
    );
    expect(step.explain()).toMatch(/^train: not traced yet/);
    step(ones(2, 4), tensor([0, 1], { dtype: 'int32' }));
    const text = step.explain();
    expect(text).toMatch(/^train\(float32\[2, 4\], int32\[2\]\): (\d+) kernel calls \((\d+) before fusion\)/);
    expect(text).toContain('matmul+bias+relu');
    expect(text).toMatch(/crossEntropy\s/);
    expect(text).toContain('crossEntropyGrad');
    expect(text).toContain('2x4 · 4x3');
    const [, after, before] = /: (\d+) kernel calls \((\d+) before/.exec(text) as unknown as [
      string,
      string,
      string,
    ];
    expect(Number(after)).toBeLessThan(Number(before));
  });

  test('measures each call and changes nothing', async () => {
    const w = leaf(1, 2, 3);
    const optimizer = new optim.Adam([w], { lr: 0.1 });
    const step = compile((x: Tensor, y: Tensor) => {
      optimizer.zeroGrad();
      const loss = nll(x.mul(w).logSoftmax(), y).mean();
      loss.backward();
      optimizer.step();
      return loss;
    });
    const [x, y] = [ones(2, 3), tensor([0, 1], { dtype: 'int32' })];
    step(x, y);
    const state = () => JSON.stringify([w.toArray(), w.grad?.toArray(), optimizer.stateDict()]);
    const before = state();
    const lines = step.explain().split('\n').slice(2);
    expect(state()).toBe(before);
    for (const line of lines) expect(line).toMatch(/ \d+\.\d\d us$/);
    const pending = step.async(x, y);
    await Promise.resolve();
    if (backendInfo().backend === 'native') expect(step.explain()).toMatch(/ \?$/m);
    await pending;
    const after = state();
    expect(step.explain()).toMatch(/ us$/m);
    expect(state()).toBe(after);
    expect(step(x, y).item()).toBeGreaterThan(0);
  });

  test('counts operations and bytes', () => {
    const step = compile((x: Tensor) => [x.sum(), x.sum(0), x.softmax(), x.add(x.sum(0)).exp()]);
    step(ones(200, 100));
    const work = step.explain().split('\n').slice(2).map((line) => line.split(/ {2,}/).slice(3, 6)); // biome-ignore format: one line
    expect(work).toEqual([
      ['1 of 200x100', '20.0 kflop', '80.0 kB'],
      ['100 of 200', '20.0 kflop', '80.4 kB'],
      ['200x100', '100.0 kflop', '160.0 kB'],
      ['100 of 200', '20.0 kflop', '80.4 kB'],
      ['200x100 <- 200x100, 1x100', '20.0 kflop', '160.4 kB'],
      ['20000', '20.0 kflop', '160.0 kB'],
    ]);

    const w = randn([300, 400]);
    w.requiresGrad = true;
    const optimizer = new optim.Adam([w]);
    const train = compile(
      (x: Tensor) => {
        optimizer.zeroGrad();
        x.matmul(w).sum().backward();
        optimizer.step();
      },
      { keepGrads: true },
    );
    train(ones(2, 300));
    // Four vectors are read and three written.
    expect(train.explain()).toMatch(/adam +Adam\.step +120000 +1\.56 Mflop +3\.36 MB/);

    const chain = compile((x: Tensor) => x.add(1).mul(2).exp());
    chain(ones(40000));
    const data = chain.explain().split('\n').slice(2).map((line) => line.split(/ {2,}/)[5]); // biome-ignore format: one line
    expect(data).toEqual(['160.0 kB', '4 B', '160.0 kB']);
  });

  test('takes arguments to run on, as labels that are computed cannot be zero', () => {
    const w = leaf(1, 2, 3);
    const step = compile((x: Tensor, y: Tensor) => nll(x.mul(w).logSoftmax(), y.sub(1)).mean(), {
      name: 's',
    });
    const [x, y] = [ones(2, 3), tensor([1, 3], { dtype: 'int32' })];
    step(x, y);
    expect(step.explain()).toMatch(/ \?$/m);
    expect(step.explain(x, y)).toMatch(/^s\(float32\[2, 3\], int32\[2\]\): [^?]* us$/s);
    expect(() => step.explain(x, y.add(2))).toThrow(IndexError);
    expect(() => step.explain(ones(1, 3), y)).toThrow(
      /s.explain: the step was not called with \(float32\[1, 3\]/,
    );
    expect(() => step.explain(x, 5 as never)).toThrow(ArgumentError);
    expect(step(x, y).item()).toBeGreaterThan(0);
  });
});
