import {
  compile,
  F,
  full,
  Generator,
  IndexError,
  nn,
  noGrad,
  randint,
  randn,
  type Tensor,
  tensor,
  where,
  zeros,
} from 'simdgrad';
import { expect, test } from 'vitest';
import { nll } from '../../src/ops/nll.js';

const generator = new Generator(11);
const w = randn([4, 3], { generator });
const biases = randn([9], { generator });
const bias = biases.slice(5, 8);
const labels = randint(0, 3, [6], { generator });

/** Three calls of the compiled function against the plain one, bit for bit; returns the program as text. */
function same(f: (x: Tensor) => Tensor | Tensor[]): string {
  const step = compile(f);
  for (let i = 0; i < 3; i++) {
    const x = randn([6, 4], { generator });
    const [got, want] = [step(x), f(x)].map((r) => [r].flat().map((t) => t.toArray()));
    expect(got).toEqual(want);
  }
  return step.explain();
}

test('product, bias and activation become one call, also where the bias lies inside other memory', () => {
  for (const act of ['relu', 'sigmoid', 'tanh'] as const) {
    const text = same((x) => x.matmul(w).add(bias)[act]());
    expect(text).toContain(`matmul+bias+${act}`);
    expect(text).toContain(': 1 kernel calls (3 before fusion)');
  }
  expect(same((x) => bias.add(x.matmul(w)))).toContain('matmul+bias');
  expect(same((x) => x.matmul(w).relu())).toContain('matmul+relu');
});

test('what somebody else reads stays', () => {
  const product = same((x) => {
    const y = x.matmul(w);
    return [y.add(bias), y.mul(2).sum(0)];
  });
  expect(product).not.toContain('matmul+bias');
  const result = same((x) => {
    const y = x.matmul(w);
    return [y.add(bias), y];
  });
  expect(result).not.toContain('matmul+bias');
  const sum = same((x) => {
    const y = x.matmul(w).add(bias);
    return [y.relu(), y.neg()];
  });
  expect(sum).toContain('matmul+bias');
  expect(sum).not.toContain('relu+');
  expect(sum).not.toContain('bias+relu');
});

test('a bias that is not added to every row alike is not fused', () => {
  const column = randn([6, 1], { generator });
  const whole = randn([6, 3], { generator });
  for (const b of [column, whole]) expect(same((x) => x.matmul(w).add(b))).not.toContain('matmul+bias');
});

test('an operand that changes between the product and the bias keeps them apart', () => {
  const weight = randn([4, 3], { generator });
  const twin = weight.clone();
  const make = (v: Tensor) => (x: Tensor) => {
    const y = x.matmul(v);
    v.mul_(0.5);
    return y.add(bias);
  };
  const step = compile(make(weight));
  const eager = make(twin);
  for (let i = 0; i < 3; i++) {
    const x = randn([6, 4], { generator });
    expect(step(x).toArray()).toEqual(noGrad(() => eager(x)).toArray());
  }
  expect(step.explain()).not.toContain('matmul+bias');
});

test('logSoftmax and nll become cross-entropy, and log probabilities that are read stay', () => {
  expect(same((x) => nll(x.matmul(w).logSoftmax(), labels).mean())).toContain('crossEntropy');
  expect(
    same((x) => {
      const lp = x.matmul(w).logSoftmax();
      return [nll(lp, labels), lp, lp.exp()];
    }),
  ).toContain('crossEntropy');
});

test('a step with the cross-entropy of labels ignores some without calls of its own', () => {
  const v = randn([4, 3], { generator });
  const twin = v.clone();
  const make = (weight: Tensor) => {
    weight.requiresGrad = true;
    return (x: Tensor, y: Tensor): Tensor[] => {
      weight.grad = null;
      const loss = F.crossEntropy(x.matmul(weight), y, { ignoreIndex: -1 });
      loss.backward();
      return [loss, weight.grad as unknown as Tensor];
    };
  };
  const step = compile(make(v));
  const eager = make(twin);
  const x = randn([6, 4], { generator });
  for (const y of [
    [0, 1, 2, 0, 1, 2],
    [-1, 1, -1, 0, 2, -1],
    [-1, -1, -1, -1, -1, -1],
  ]) {
    const t = tensor(y, { dtype: 'int32' });
    expect(step(x, t).map((r) => r.toArray())).toEqual(eager(x, t).map((r) => r.toArray()));
  }
  const calls = step.explain().match(/^\d+ +\w+/gm) ?? [];
  expect(calls.map((line) => line.replace(/\d+ +/, ''))).toEqual([
    ...['matmul', 'crossEntropy', 'countLabels', 'sum', 'div'],
    ...['div', 'copy', 'crossEntropyGrad', 'matmul', 'copy'],
  ]);
  const wrong = tensor([-1, 1, -100, 0, 2, 0], { dtype: 'int32' });
  expect(() => step(x, wrong)).toThrow(IndexError);
  expect(() => step(x, wrong)).toThrow(/index -100 at position 2 is outside \[0, 3\)/);
});

test('a step is refused as a whole where other labels of the same memory, or other ignored ones, are wrong', () => {
  const total = zeros([]);
  const parts: ((lp: Tensor, y: Tensor, which: number) => Tensor)[] = [
    (lp, y, which) => nll(lp, y.slice([3 * which, 3 * which + 3])),
    (lp, y, which) => nll(lp, y.slice([3, 6]), which - 1),
  ];
  for (const loss of parts) {
    const step = compile((x: Tensor, y: Tensor) => {
      const lp = x.matmul(w).logSoftmax();
      total.add_(loss(lp, y, 0).sum());
      return loss(lp, y, 1);
    });
    const x = randn([3, 4], { generator });
    noGrad(() => step(x, tensor([0, 1, 2, 0, 1, 2], { dtype: 'int32' })));
    const before = total.item();
    const wrong = tensor([0, 1, 2, 0, -1, 2], { dtype: 'int32' });
    expect(() => noGrad(() => step(x, wrong))).toThrow(/index -1 at position 1/);
    expect(total.item()).toBe(before);
  }
});

test('what a fill gives at every run alike is a constant, unless it is changed, returned or large', () => {
  expect(same((x) => x.add(full([6, 4], 2)).div(full([], 4)))).not.toContain('fill');
  expect(
    same((x) => {
      const total = zeros([6, 4]);
      total.add_(x);
      return total.mul(2);
    }),
  ).toContain('fill');
  expect(same((x) => [x.mul(2), zeros([3])])).toContain('fill');
  expect(same((x) => x.sum().add(zeros([40, 40])))).toContain('fill');
  // Converted as by the kernel: int32 saturates, and what is not 0 is true.
  expect(same((x) => where(full([], 0.5, { dtype: 'bool' }), x, x.neg()))).not.toContain('fill');
  expect(
    same((x) => {
      const large = full([4], 2 ** 31, { dtype: 'int32' });
      return large.to('float32').add(x);
    }),
  ).not.toContain('fill');
});

test('a field that changed once, and changes nothing, is traced once more only', () => {
  class Named extends nn.Module {
    label = 'a';
    readonly linear = new nn.Linear(4, 3);
    override forward(x: Tensor): Tensor {
      return this.linear.forward(x);
    }
  }
  const m = new Named();
  let traces = 0;
  const step = compile((x: Tensor) => {
    traces++;
    return m.forward(x);
  });
  const x = randn([2, 4], { generator });
  for (let i = 0; i < 3; i++) step(x);
  m.label = 'b';
  for (let i = 0; i < 3; i++) step(x);
  expect(traces).toBe(3);
});

test.each(['relu', 'sigmoid', 'tanh'] as const)(
  "%s': the gradient of the activation goes into the product before",
  (act) => {
    // Every form of product: streams, tiles with and without tails, few columns, dot products, batches.
    const shapes = [
      [1, 40, 70],
      [3, 130, 64],
      [6, 200, 33],
      [40, 33, 10],
      [64, 128, 300],
      [150, 20, 7],
      [17, 1, 5],
    ] as const;
    for (const [rows, hidden, outputs] of shapes) {
      const first = randn([12, hidden], { generator });
      const second = randn([hidden, outputs], { generator });
      for (const t of [first, second]) t.requiresGrad = true;
      const run = (x: Tensor) => {
        for (const t of [first, second]) t.grad = null;
        const y = x.matmul(first)[act]().matmul(second);
        y.square().sum().backward();
        return [first, second].map((t) => t.grad as Tensor);
      };
      const step = compile(run);
      for (const x of [randn([rows, 12], { generator }), randn([2, rows, 12], { generator })]) {
        const [got, want] = [step(x), run(x)].map((r) => r.map((t) => t.toArray()));
        expect(got).toEqual(want);
      }
      expect(step.explain().match(new RegExp(`matmul\\+${act}Grad`, 'g'))).toHaveLength(2);
    }
    // Not where the gradient behind the activation is used as well.
    const hidden = randn([4, 8], { generator });
    hidden.requiresGrad = true;
    const both = (x: Tensor) => {
      hidden.grad = null;
      const y = x.matmul(hidden);
      y.retainGrad();
      const z = y[act]();
      z.retainGrad();
      z.matmul(w.slice([0, 1]).broadcastTo([8, 3]))
        .sum()
        .backward();
      return [z, hidden].map((t) => t.grad as Tensor);
    };
    expect(same(both)).not.toContain(`matmul+${act}Grad`);
  },
);
