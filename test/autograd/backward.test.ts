import {
  compile,
  concat,
  enableGrad,
  Generator,
  GradError,
  grad,
  isGradEnabled,
  noGrad,
  ones,
  randn,
  ShapeError,
  scope,
  stack,
  type Tensor,
  tensor,
  zeros,
} from 'simdgrad';
import { describe, expect, test } from 'vitest';
import { expectClose } from '../support/compare.js';

const leaf = (...values: number[]): Tensor => tensor(values, { dtype: 'float64', requiresGrad: true });
const of = (t: Tensor): number[] => [...(t.grad as Tensor).data];

describe('backward', () => {
  test('adds to what leaves hold', () => {
    const x = leaf(1, 2, 3);
    x.mul(x).sum().backward();
    expect(of(x)).toEqual([2, 4, 6]);
    x.mul(3).sum().backward();
    expect(of(x)).toEqual([5, 7, 9]);
    x.grad = null;
    x.mul(3).sum().backward();
    expect(of(x)).toEqual([3, 3, 3]);
  });

  test('starts with a gradient that is given', () => {
    const x = leaf(1, 2, 3);
    x.mul(x).backward(tensor([1, 0, -1], { dtype: 'float64' }));
    expect(of(x)).toEqual([2, 0, -6]);
    const y = leaf(1, 2);
    y.mul(2).backward(tensor([1, 2])); // float32: converted
    expect(of(y)).toEqual([2, 4]);
  });

  test('refuses what is no scalar, another shape, and what needs no gradient', () => {
    const x = leaf(1, 2, 3);
    expect(() => x.mul(2).backward()).toThrow(GradError);
    expect(() => x.mul(2).backward()).toThrow(/\[3\] is not a scalar/);
    expect(() => x.mul(2).backward(tensor([1, 2]))).toThrow(ShapeError);
    expect(() => tensor([1]).mul(2).backward()).toThrow(/does not depend/);
    expect(() => noGrad(() => x.sum()).backward()).toThrow(GradError);
    expect(() => x.sum().backward(1 as unknown as Tensor)).toThrow(/gradient is a tensor/);
  });

  test('a second time needs retainGraph', () => {
    const x = leaf(1, 2);
    const y = x.mul(x).sum();
    y.backward(null, { retainGraph: true });
    y.backward();
    expect(of(x)).toEqual([4, 8]);
    expect(() => y.backward()).toThrow(GradError);
    expect(() => y.backward()).toThrow(/retainGraph: true/);
    expect(of(x)).toEqual([4, 8]);
  });

  test('through a part that another backward used up', () => {
    const x = leaf(1, 2);
    const h = x.exp();
    const [a, b] = [h.mul(h).sum(), h.sum()];
    a.backward();
    expect(() => b.backward()).toThrow(/graph of exp was used already/);
  });

  test('sums over every path of a shared subgraph, and visits it once', () => {
    const x = leaf(0.5);
    const h = x.sin();
    // 2 h + h^2 + h x
    h.mul(2).add(h.mul(h)).add(h.mul(x)).sum().backward();
    const [s, c] = [Math.sin(0.5), Math.cos(0.5)];
    expectClose(of(x), [2 * c + 2 * s * c + c * 0.5 + s], { rtol: 1e-14 });
    // 2^40 paths: only visiting nodes once ends.
    const z = leaf(1);
    let y: Tensor = z;
    for (let i = 0; i < 40; i++) y = y.add(y);
    y.sum().backward();
    expect(of(z)).toEqual([2 ** 40]);
  });

  test('a leaf used many times', () => {
    const x = leaf(2);
    const parts = Array.from({ length: 100 }, (_, i) => x.mul(i));
    concat(parts).sum().backward();
    expect(of(x)).toEqual([4950]);
  });

  test('a leaf itself', () => {
    const x = leaf(3);
    x.backward();
    expect(of(x)).toEqual([1]);
    x.backward();
    expect(of(x)).toEqual([2]);
  });

  test('goes through views, and joins gradients of overlapping ones', () => {
    const x = tensor(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      { dtype: 'float64', requiresGrad: true },
    );
    const y = x.T.slice([1, null]).reshape(-1); // 2 5 3 6
    y.mul(tensor([1, 10, 100, 1000], { dtype: 'float64' }))
      .sum()
      .backward();
    expect((x.grad as Tensor).toArray()).toEqual([
      [0, 1, 100],
      [0, 10, 1000],
    ]);
    const z = leaf(1, 2, 3, 4);
    z.slice(0, 3).mul(z.slice(1, 4)).sum().backward();
    expect(of(z)).toEqual([2, 4, 6, 3]);
    const b = leaf(2);
    b.broadcastTo([3, 4]).sum().backward();
    expect(of(b)).toEqual([12]);
  });

  test('gradients have the dtype and shape of their leaves', () => {
    const x = tensor([[1, 2]], { requiresGrad: true });
    const y = tensor([3, 4], { dtype: 'float64', requiresGrad: true });
    const z = x.mul(y);
    expect(z.dtype).toBe('float64');
    z.sum().backward();
    expect([x.grad?.dtype, x.grad?.shape]).toEqual(['float32', [1, 2]]);
    expect([y.grad?.dtype, y.grad?.shape]).toEqual(['float64', [2]]);
  });

  test('an error in mid-pass leaves gradients as they were', () => {
    const x = leaf(1, 2);
    x.sum().backward();
    const h = x.exp();
    const loss = h.mul(x).sum();
    noGrad(() => x.mul_(2));
    expect(() => loss.backward()).toThrow(/changed in place/);
    expect(of(x)).toEqual([1, 1]);
    expect(isGradEnabled()).toBe(true);
  });

  test('a chain of 20,000 operations needs no deep stack', () => {
    const x = leaf(1);
    let y: Tensor = x;
    for (let i = 0; i < 20_000; i++) y = i % 2 ? y.mul(1) : y.add(0.5);
    y.backward();
    expect(of(x)).toEqual([1]);
    const g = grad(x.exp(), x, { createGraph: true });
    let z = g;
    for (let i = 0; i < 20_000; i++) z = z.neg();
    expect(grad(z, x).item()).toBeCloseTo(Math.E, 12);
  });
});

describe('modes', () => {
  test('noGrad records nothing, enableGrad inside it does', () => {
    const x = leaf(1);
    const y = noGrad(() => x.mul(2));
    expect([y.requiresGrad, y.isLeaf]).toEqual([false, true]);
    const z = noGrad(() => enableGrad(() => x.mul(2)));
    expect(z.requiresGrad).toBe(true);
    expect(noGrad(() => isGradEnabled())).toBe(false);
    expect(isGradEnabled()).toBe(true);
  });

  test('backward works inside noGrad, and does not record itself', () => {
    const x = leaf(2);
    const y = x.mul(x).sum();
    noGrad(() => y.backward());
    expect(of(x)).toEqual([4]);
    expect(x.grad?.requiresGrad).toBe(false);
  });

  test('functions that await are refused', () => {
    expect(() => noGrad(async () => 1)).toThrow(/async/);
    expect(() => enableGrad(async () => 1)).toThrow(/async/);
    expect(isGradEnabled()).toBe(true);
  });

  test('detach shares memory and stops gradients', () => {
    const x = leaf(1, 2);
    const d = x.mul(3).detach();
    expect([d.requiresGrad, d.isLeaf]).toEqual([false, true]);
    x.mul(d).sum().backward();
    expect(of(x)).toEqual([3, 6]);
    const e = x.detach();
    e.fill_(7);
    expect([...x.data]).toEqual([7, 7]);
    expect(x.requiresGrad).toBe(true);
  });

  test('clone passes gradients on and shares nothing', () => {
    const x = leaf(1, 2);
    const c = x.clone();
    c.mul(2).sum().backward();
    expect(of(x)).toEqual([2, 2]);
    const d = noGrad(() => x.clone());
    d.fill_(0);
    expect([...x.data]).toEqual([1, 2]);
  });

  test('requiresGrad of a computed tensor stays', () => {
    const x = leaf(1);
    const y = x.mul(2);
    expect(() => {
      y.requiresGrad = false;
    }).toThrow(GradError);
    x.requiresGrad = false;
    expect(x.mul(2).requiresGrad).toBe(false);
    expect(() => {
      x.requiresGrad = 1 as unknown as boolean;
    }).toThrow(/true or false/);
  });

  test('retainGrad keeps the gradient of a computed tensor', () => {
    const x = leaf(1, 2);
    const h = x.mul(x).retainGrad();
    h.mul(3).sum().backward();
    expect(of(h)).toEqual([3, 3]);
    expect(of(x)).toEqual([6, 12]);
    const plain = x.mul(2);
    plain.sum().backward();
    expect(plain.grad).toBe(null);
    expect(() => tensor([1]).retainGrad()).toThrow(GradError);
  });

  test('a gradient that retainGrad kept outlives the scope it was made in', () => {
    const x = leaf(1, 2);
    const h = x.mul(x).retainGrad();
    const y = h.mul(3).sum();
    scope(() => y.backward({ retainGraph: true }));
    expect(of(h)).toEqual([3, 3]);
    scope(() => y.backward());
    expect(of(h)).toEqual([6, 6]);
  });

  test('grad may be set to null or to a tensor that fits', () => {
    const x = leaf(1, 2);
    x.grad = tensor([5, 6], { dtype: 'float64' });
    x.sum().backward();
    expect(of(x)).toEqual([6, 7]);
    expect(() => {
      x.grad = tensor([1, 2]);
    }).toThrow(ShapeError);
    expect(() => {
      x.grad = 3 as unknown as Tensor;
    }).toThrow(/tensor or null/);
  });
});

describe('values that a derivative needs and that were changed in place', () => {
  // For every operation that saves something: change it, and backward must refuse; change what it does not save, and it must not.
  const unary: [string, (x: Tensor) => Tensor, boolean][] = [
    ['abs', (x) => x.abs(), true],
    ['clamp', (x) => x.clamp(0, 1), true],
    ['cos', (x) => x.cos(), true],
    ['erf', (x) => x.erf(), true],
    ['exp', (x) => x.exp(), false],
    ['gelu', (x) => x.gelu(), true],
    ['leakyRelu', (x) => x.leakyRelu(0.1), true],
    ['log', (x) => x.log(), true],
    ['log1p', (x) => x.log1p(), true],
    ['logSumExp', (x) => x.logSumExp(), true],
    ['max', (x) => x.max(), true],
    ['min', (x) => x.min(), true],
    ['prod', (x) => x.prod(), true],
    ['relu', (x) => x.relu(), false],
    ['sigmoid', (x) => x.sigmoid(), false],
    ['sin', (x) => x.sin(), true],
    ['softmax', (x) => x.softmax(), false],
    ['logSoftmax', (x) => x.logSoftmax(), false],
    ['softplus', (x) => x.softplus(), true],
    ['square', (x) => x.square(), true],
    ['sum', (x) => x.sum(), false],
    ['tanh', (x) => x.tanh(), false],
    ['neg', (x) => x.neg(), false],
    ['add', (x) => x.add(x), false],
    ['transpose', (x) => x.transpose(), false],
    ['slice', (x) => x.slice(1), false],
  ];
  test.each(unary)('%s and its input', (_, f, saves) => {
    const x = leaf(0.5, 0.25, 0.75);
    const y = f(x);
    noGrad(() => x.add_(0.125));
    const run = () => y.sum().backward();
    if (saves) {
      expect(run).toThrow(GradError);
      expect(run).toThrow(/was changed in place after it was used .*clone/);
    } else run();
  });

  const binary: [string, (a: Tensor, b: Tensor) => Tensor, boolean, boolean][] = [
    ['mul', (a, b) => a.mul(b), true, true],
    ['div', (a, b) => a.div(b), false, true],
    ['pow', (a, b) => a.pow(b), true, true],
    ['maximum', (a, b) => a.maximum(b), true, true],
    ['sub', (a, b) => a.sub(b), false, false],
    ['matmul', (a, b) => a.matmul(b), true, true],
    ['where', (a, b) => a.gt(0.4).where(a, b), false, false],
    ['concat', (a, b) => concat([a, b]), false, false],
  ];
  test.each(binary)('%s and its operands', (_, f, first, second) => {
    for (const [which, saves] of [
      [0, first],
      [1, second],
    ] as const) {
      const operands = [leaf(0.5, 0.25), leaf(2, 3)];
      const y = f(...(operands as [Tensor, Tensor]));
      noGrad(() => operands[which].mul_(2));
      const run = () => y.sum().backward();
      if (saves) expect(run).toThrow(/changed in place/);
      else run();
    }
  });

  test('results that are saved', () => {
    for (const f of [
      (x: Tensor) => x.exp(),
      (x: Tensor) => x.sqrt(),
      (x: Tensor) => x.tanh(),
      (x: Tensor) => x.sigmoid(),
      (x: Tensor) => x.relu(),
      (x: Tensor) => x.softmax(),
    ]) {
      const x = leaf(0.5, 0.25);
      const y = f(x);
      expect(() => y.mul_(2)).toThrow(GradError);
      y.detach().mul_(2);
      expect(() => y.sum().backward()).toThrow(/its result of \w+ .*changed in place/);
    }
  });

  test('through a view of the same memory, and by copy_, fill_, zero_', () => {
    for (const change of [
      (x: Tensor) => x.detach().slice(0, 1).fill_(9),
      (x: Tensor) => x.copy_([1, 2]),
      (x: Tensor) => x.zero_(),
      (x: Tensor) => x.detach().reshape(2, 1).sub_(1),
      (x: Tensor) => x.div_(2),
    ]) {
      const x = leaf(0.5, 0.25);
      const y = x.mul(x);
      change(x);
      expect(() => y.sum().backward()).toThrow(/changed in place/);
    }
  });

  test('by a compiled step', () => {
    const x = leaf(0.5, 0.25);
    const step = compile(() => noGrad(() => x.mul_(2).sum()));
    const y = x.mul(x);
    step();
    expect(() => y.sum().backward()).toThrow(/changed in place/);
  });
});

describe('memory that backward reuses', () => {
  const big = 3000; // beyond the size below which arrays are not pooled
  test('held gradients of leaves and intermediates keep their values', () => {
    const generator = new Generator(1);
    const w = randn([big], { generator, requiresGrad: true });
    const held: [Tensor, number[]][] = [];
    for (let i = 0; i < 20; i++) {
      w.grad = null;
      const x = randn([big], { generator });
      const h = w.mul(x).retainGrad();
      const y = h.tanh().mul(h.sigmoid()).add(h.mul(0.5));
      y.sum().backward();
      for (const t of [w.grad as unknown as Tensor, h.grad as unknown as Tensor])
        held.push([t, [...t.clone().data]]);
      const gs = grad(w.mul(x).exp().sum(), [w]);
      held.push([gs[0], [...gs[0].clone().data]]);
    }
    for (const [t, values] of held) expect(firstOther(t, values)).toBe(-1);
  });

  test('two leaves never share a gradient, nor a gradient what it was made from', () => {
    const [a, b] = [zeros([big], { requiresGrad: true }), zeros([big], { requiresGrad: true })];
    const seed = ones(big);
    a.add(b).backward(seed);
    (a.grad as Tensor).fill_(5);
    expect(firstOther(b.grad as Tensor, new Array(big).fill(1))).toBe(-1);
    expect(firstOther(seed, new Array(big).fill(1))).toBe(-1);
    const c = zeros([big], { requiresGrad: true });
    const [g1, g2] = grad(c.add(a).sum(), [c, a]);
    g1.fill_(9);
    expect(firstOther(g2, new Array(big).fill(1))).toBe(-1);
  });

  test('a graph that is kept can be gone through again after other passes', () => {
    const generator = new Generator(2);
    const w = randn([big], { generator, requiresGrad: true });
    const y = w.tanh().mul(w.exp()).sum();
    const [first] = grad(y, [w], { retainGraph: true });
    const before = [...first.clone().data];
    for (let i = 0; i < 5; i++) grad(w.sin().mul(w).sum(), [w]);
    const [again] = grad(y, [w]);
    expect(firstOther(again, before)).toBe(-1);
    expect(firstOther(first, before)).toBe(-1);
  });

  test('scope() leaves what it returns, gradients of leaves, and what was read', () => {
    const generator = new Generator(3);
    const w = randn([big], { generator, requiresGrad: true });
    for (const createGraph of [false, true]) {
      w.grad = null;
      let read: ArrayLike<number> = [];
      const { loss, kept } = scope(() => {
        const h = w.tanh();
        read = w.mul(2).data;
        for (let i = 0; i < 2; i++) h.mul(h).sum().backward(null, { createGraph, retainGraph: true });
        return { loss: h.sum(), kept: [h.mul(3)] };
      });
      const expected = [...w.clone().data].map((v) => 4 * Math.tanh(v) * (1 - Math.tanh(v) ** 2));
      // New memory of the same sizes must not be theirs.
      scope(() => Array.from({ length: 8 }, () => ones(big)).length);
      Array.from({ length: 8 }, () => ones(big));
      expectClose((w.grad as unknown as Tensor).data, expected, { rtol: 1e-4, atol: 1e-5 });
      expectClose(
        kept[0].data,
        [...w.data].map((v) => 3 * Math.tanh(v)),
        { rtol: 1e-5, atol: 1e-6 },
      );
      expectClose(
        read,
        [...w.data].map((v) => 2 * v),
        { rtol: 1e-6 },
      );
      loss.backward();
      w.grad = null;
    }
  });

  test('scope() within scope(), errors and views', () => {
    const x = ones(big);
    const y = scope(() => {
      const inner = scope(() => x.mul(2).slice(10, 20));
      return inner.add(1);
    });
    expect([...y.data]).toEqual(new Array(10).fill(3));
    expect(() =>
      scope(() => {
        x.mul(2);
        throw new Error('mine');
      }),
    ).toThrow('mine');
    expect(x.sum().item()).toBe(big);
    let gone: Tensor = x;
    scope(() => {
      gone = x.mul(2);
    });
    expect(() => gone.data).toThrow(/given back/);
    expect(() => gone.add(1)).toThrow(/given back/);
    expect(() => scope(async () => 1)).toThrow(/async/);
    const list = scope(() => stack([x, x]));
    expect(list.sum().item()).toBe(2 * big);
  });
});

function firstOther(t: Tensor, values: readonly number[]): number {
  const { data } = t.clone();
  for (let i = 0; i < data.length; i++) if (!Object.is(data[i], values[i])) return i;
  return data.length === values.length ? -1 : data.length;
}
