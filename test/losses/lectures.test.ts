// Losses of the lectures, recomputed in float64 with loops over plain arrays.
import { compile, type DType, F, Generator, grad, nn, randn, type Tensor, tensor } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../support/compare.js';

type Rows = number[][];

const tolerance = { float32: { rtol: 1e-5, atol: 1e-6 }, float64: { rtol: 1e-12, atol: 1e-14 } };
const total = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);
const softmax = (h: readonly number[]): number[] => {
  const top = Math.max(...h);
  const e = h.map((v) => Math.exp(v - top));
  return e.map((v) => v / total(e));
};
const random = (shape: number[], dtype: DType, seed: number): Tensor =>
  randn(shape, { dtype, generator: new Generator(seed) });

/** The value and the gradient with respect to the first tensor, eager and compiled. */
function both(f: (...xs: Tensor[]) => Tensor, ...xs: Tensor[]): [Tensor, Tensor][] {
  const step = (...ts: Tensor[]): [Tensor, Tensor] => {
    const leaf = (ts[0] as Tensor).detach().clone();
    leaf.requiresGrad = true;
    const y = f(leaf, ...ts.slice(1));
    return [y.detach(), grad(y, leaf)];
  };
  return [step(...xs), compile(step)(...xs)];
}

describe.each(['float32', 'float64'] as const)('squared errors, %s', (dtype) => {
  const close = (t: Tensor, expected: number | number[], what: string): void => {
    expect(t.dtype).toBe(dtype);
    expectClose(t.data, [expected].flat(), { ...tolerance[dtype], what });
  };
  // Number of samples N, of elements NK: the factor before Σₙ ‖e⁽ⁿ⁾‖².
  const factors = {
    mean: (_: number, elements: number) => 1 / elements,
    batchMean: (n: number) => 1 / n,
    sum: () => 1,
    halfSum: () => 1 / 2,
    halfBatchMean: (n: number) => 1 / (2 * n),
  };

  for (const [reduction, factor] of Object.entries(factors)) {
    it(`have the reduction ${reduction}`, () => {
      for (const shape of [[6, 3], [6], [6, 1], [], [4, 2, 3]]) {
        const [f, y] = [random(shape, dtype, 1), random(shape, dtype, 2)];
        const e = Array.from(f.data, (v, i) => v - (y.data[i] as number));
        const c = factor(shape[0] ?? 1, e.length);
        const options = { reduction: reduction as F.MSEReduction };
        const module = new nn.MSELoss(options);
        for (const loss of [
          (a: Tensor, b: Tensor) => F.mseLoss(a, b, options),
          (a: Tensor, b: Tensor) => module.forward(a, b),
        ]) {
          for (const [value, g] of both(loss as (...xs: Tensor[]) => Tensor, f, y)) {
            close(value, c * total(e.map((v) => v * v)), `${reduction} of ${shape}`);
            close(
              g,
              e.map((v) => 2 * c * v),
              `gradient of ${reduction} of ${shape}`,
            );
          }
        }
      }
    });
  }

  it("give the toy problem's loss ½ Σ (y − wᵀx)² and its gradient A w − b", () => {
    const X = tensor(
      [
        [2, 2],
        [2, 0],
      ],
      { dtype },
    );
    const y = tensor([2, 0], { dtype });
    // A = Σ x xᵀ = [[8, 4], [4, 4]], b = Σ y x = [4, 4], c = ½ Σ y² = 2.
    for (const w of [
      [0, 0],
      [0.5, -1],
      [0, 1],
    ]) {
      const [u, v] = w as [number, number];
      const value = 0.5 * (8 * u * u + 8 * u * v + 4 * v * v) - 4 * u - 4 * v + 2;
      const loss = (t: Tensor): Tensor => F.mseLoss(X.matmul(t), y, { reduction: 'halfSum' });
      for (const [l, g] of both(loss, tensor(w, { dtype }))) {
        close(l, value, 'loss');
        close(g, [8 * u + 4 * v - 4, 4 * u + 4 * v - 4], 'gradient');
      }
    }
  });

  it('are the negative log-likelihood of N(y; f, σ²I), but for scale and a constant', () => {
    const [n, k, variance] = [5, 3, 0.7];
    const [f, y] = [random([n, k], dtype, 3), random([n, k], dtype, 4)];
    let nll = 0;
    for (let i = 0; i < n * k; i++) {
      const d = (y.data[i] as number) - (f.data[i] as number);
      nll -= Math.log(Math.exp(-(d * d) / (2 * variance)) / Math.sqrt(2 * Math.PI * variance));
    }
    const constant = (n * k * Math.log(2 * Math.PI * variance)) / 2;
    const halfSum = F.mseLoss(f, y, { reduction: 'halfSum' });
    close(halfSum.div(variance).add(constant), nll, 'Gaussian');
    close(
      F.mseLoss(f, y, { reduction: 'batchMean' })
        .mul(n / (2 * variance))
        .add(constant),
      nll,
      'Gaussian',
    );
  });

  it('suggest the reduction that was meant', () => {
    const x = random([2], dtype, 5);
    const wrong = (reduction: string): (() => Tensor) => {
      return () => F.mseLoss(x, x, { reduction: reduction as never });
    };
    expect(wrong('batchmean')).toThrow(/must be one of mean, batchMean, sum.*did you mean "batchMean"/);
    expect(wrong('halfsum')).toThrow(/did you mean "halfSum"/);
    expect(wrong('half_batch_mean')).toThrow(/did you mean "halfBatchMean"/);
    expect(() => F.l1Loss(x, x, { reduction: 'halfSum' as never })).toThrow(/l1Loss: reduction/);
    expect(() => new nn.MSELoss({ reduction: 'means' as never }).forward(x, x)).toThrow(
      /did you mean "mean"/,
    );
  });
});

describe.each(['float32', 'float64'] as const)('classification, %s', (dtype) => {
  const close = (t: Tensor, expected: number | readonly number[], what = ''): void => {
    expect(t.dtype).toBe(dtype);
    expectClose(t.data, [expected].flat() as number[], { ...tolerance[dtype], what });
  };
  const labels = [2, 0, 3, 3, 1];
  const [N, K] = [labels.length, 4];
  const H = random([N, K], dtype, 10);
  const h = H.toArray() as Rows;
  const hot = labels.map((c) => Array.from({ length: K }, (_, j) => (j === c ? 1 : 0)));

  it('softmax gives probabilities exp h_j / Σ exp h_j', () => {
    const f = F.softmax(H);
    close(f, h.flatMap(softmax));
    for (const row of f.toArray() as Rows) {
      expect(Math.abs(total(row) - 1)).toBeLessThan(1e-6);
      for (const p of row) expect(p >= 0 && p <= 1).toBe(true);
    }
    expect(new nn.Softmax().forward(H).toArray()).toEqual(f.toArray());
    expectClose(compile((t: Tensor) => F.softmax(t))(H).data, f.data, tolerance[dtype]);
  });

  it('softmax tends to the one-hot vector of the largest, and stays finite', () => {
    const at = (c: number): number[] => F.softmax(tensor([0.5, c, -1], { dtype })).toArray() as number[];
    const distance = [2, 5, 10, 30].map((c) => Math.abs(1 - (at(c)[1] as number)));
    for (let i = 1; i < distance.length; i++) expect(distance[i]).toBeLessThan(distance[i - 1] as number);
    for (const c of [1e3, 1e5, 1e30]) expect(at(c)).toEqual([0, 1, 0]);
    expect(F.softmax(tensor([-1e5, -1e5, -2e5], { dtype })).toArray()).toEqual([0.5, 0.5, 0]);
    // Only differences count.
    close(F.softmax(H.add(3)), h.flatMap(softmax));
  });

  it('one-hot vectors have y_j = 1 for their class and sum to 1', () => {
    expect(F.oneHot([0, 1, 2], 3).toArray()).toEqual([
      [1, 0, 0],
      [0, 1, 0],
      [0, 0, 1],
    ]);
    expect(F.oneHot(labels, K).toArray()).toEqual(hot);
    expect(F.oneHot(labels, K).sum(1).toArray()).toEqual([1, 1, 1, 1, 1]);
  });

  it('cross-entropy is −1/N Σ Σ y_j log f_j, for labels, one-hot rows and probability rows', () => {
    const p = (random([N, K], dtype, 11).softmax().toArray() as Rows).map((row) => row.map((v) => v));
    const expected = (y: Rows): number[] =>
      h.map((row, n) => -total(softmax(row).map((f, j) => ((y[n] as number[])[j] as number) * Math.log(f))));
    // The gradient is (f Σ y − y) / N.
    const slope = (y: Rows): number[] =>
      h.flatMap((row, n) => {
        const yn = y[n] as number[];
        return softmax(row).map((f, j) => (f * total(yn) - (yn[j] as number)) / N);
      });
    const targets: [Parameters<typeof F.crossEntropy>[1], Rows][] = [
      [labels, hot],
      [tensor(labels, { dtype: 'int32' }), hot],
      [F.oneHot(labels, K), hot],
      [hot, hot],
      [tensor(p, { dtype }), p],
      [p, p],
    ];
    for (const [target, y] of targets) {
      const each = expected(y);
      for (const [reduction, value] of [
        ['mean', total(each) / N],
        ['sum', total(each)],
        ['none', each],
      ] as const) {
        close(F.crossEntropy(H, target, { reduction }), value, reduction);
        close(new nn.CrossEntropyLoss({ reduction }).forward(H, target), value, reduction);
      }
      for (const [value, g] of both((t: Tensor) => F.crossEntropy(t, target), H)) {
        close(value, total(each) / N);
        close(g, slope(y));
      }
    }
    // Targets that change from step to step are inputs of a compiled step.
    const step = compile((t: Tensor, y: Tensor) => F.crossEntropy(t, y));
    for (const y of [hot, p]) close(step(H, tensor(y, { dtype })), total(expected(y)) / N);
    const labelled = compile((t: Tensor, y: Tensor) => F.crossEntropy(t, y));
    close(labelled(H, tensor(labels, { dtype: 'int32' })), total(expected(hot)) / N);
  });

  it('cross-entropy is stable for logits of ±1e5, for labels, one-hot rows and probability rows', () => {
    const z = tensor(
      [
        [1e5, 0, -1e5],
        [-1e5, 1e5, 1e5],
        [1e5, -1e5, -1e5],
      ],
      { dtype },
    );
    const value = [0, Math.LN2, 2e5];
    const slope = [0, 0, 0, 0, 0.5, -0.5, 1, -1, 0];
    const y = [
      [1, 0, 0],
      [0, 0, 1],
      [0, 1, 0],
    ];
    for (const target of [[0, 2, 1], F.oneHot([0, 2, 1], 3), y]) {
      for (const [l, g] of both((t: Tensor) => F.crossEntropy(t, target, { reduction: 'none' }).sum(), z)) {
        close(l, total(value));
        close(g, slope);
      }
      close(F.crossEntropy(z, target, { reduction: 'none' }), value);
    }
    const p = [
      [0.5, 0.5, 0],
      [0, 0.25, 0.75],
      [1, 0, 0],
    ];
    close(F.crossEntropy(z, p, { reduction: 'none' }), [0.5e5, Math.LN2, 0]);
    const smooth = F.crossEntropy(z, [0, 2, 0], { labelSmoothing: 0.3, reduction: 'none' });
    close(smooth, [0.1 * 1e5 + 0.1 * 2e5, 0.9 * Math.LN2 + 0.1 * (2e5 + Math.LN2), 0.2 * 2e5]);
  });

  it('cross-entropy of two distributions is −Σ p log q, and the entropy plus the divergence', () => {
    const [p, q] = [
      [0.5, 0.25, 0.25],
      [0.1, 0.6, 0.3],
    ] as [number[], number[]];
    const H = -total(p.map((v, i) => v * Math.log(q[i] as number)));
    const [P, Q] = [tensor([p], { dtype }), tensor([q], { dtype })];
    // softmax(log q) is q.
    close(F.crossEntropy(Q.log(), P), H);
    const entropy = -total(p.map((v) => v * Math.log(v)));
    close(F.klDiv(Q.log(), P, { reduction: 'sum' }).add(entropy), H);
  });

  it('cross-entropy is the negative log-likelihood of Cat(y; f), the product of f_j to the power y_j', () => {
    const likelihood = h.map((row, n) =>
      softmax(row).reduce((product, f, j) => product * f ** ((hot[n] as number[])[j] as number), 1),
    );
    close(F.crossEntropy(H, hot, { reduction: 'none' }).neg().exp(), likelihood);
    h.forEach((row, n) => {
      expect(likelihood[n]).toBe(softmax(row)[labels[n] as number]);
    });
  });

  it('the loss of estimated probabilities is −Σ 1(y in class k) log p̂_k', () => {
    const p = F.softmax(H);
    const expected = h.map((row, n) => -Math.log(softmax(row)[labels[n] as number] as number));
    for (const [value, g] of both((t: Tensor) => F.nllLoss(t.softmax().log(), labels), H)) {
      close(value, total(expected) / N);
      close(
        g,
        h.flatMap((row, n) => softmax(row).map((f, j) => (f - ((hot[n] as number[])[j] as number)) / N)),
      );
    }
    close(F.nllLoss(p.log(), labels, { reduction: 'none' }), expected);
    close(
      new nn.NLLLoss({ reduction: 'sum' }).forward(p.log(), tensor(labels, { dtype: 'int32' })),
      total(expected),
    );
  });

  it('label smoothing takes (1 − ε) y + ε/K for y, with labels and rows; weights and ignored labels count as they should', () => {
    const e = 0.2;
    const weight = [0.5, 2, 1, 3];
    const smooth = hot.map((row) => row.map((v) => (1 - e) * v + e / K));
    const each = h.map((row, n) =>
      total(softmax(row).map((f, j) => -((smooth[n] as number[])[j] as number) * Math.log(f))),
    );
    const weighted = h.map((row, n) =>
      total(
        softmax(row).map(
          (f, j) => -((smooth[n] as number[])[j] as number) * (weight[j] as number) * Math.log(f),
        ),
      ),
    );
    for (const target of [labels, hot, F.oneHot(labels, K)]) {
      close(F.crossEntropy(H, target, { labelSmoothing: e }), total(each) / N);
      close(F.crossEntropy(H, target, { labelSmoothing: e, weight, reduction: 'none' }), weighted);
    }
    // With labels the mean is weighted, and ignored ones are not counted at all.
    const kept = labels.map((c, n) => [c, n] as const).filter(([c]) => c !== 3);
    const mean =
      total(kept.map(([, n]) => weighted[n] as number)) / total(kept.map(([c]) => weight[c] as number));
    const options = { labelSmoothing: e, weight, ignoreIndex: 3 };
    for (const [value] of both((t: Tensor) => F.crossEntropy(t, labels, options), H)) close(value, mean);
  });

  it('the objective is the mean of the losses of the examples, and so is its gradient', () => {
    const theta = random([3, K], dtype, 12);
    const x = random([N, 3], dtype, 13);
    const loss = (t: Tensor, rows: number[]): Tensor =>
      F.crossEntropy(
        x.indexSelect(0, rows).matmul(t),
        rows.map((n) => labels[n] as number),
      );
    const examples = labels.map((_, n) => both((t: Tensor) => loss(t, [n]), theta)[0] as [Tensor, Tensor]);
    const all = labels.map((_, n) => n);
    for (const [value, g] of both((t: Tensor) => loss(t, all), theta)) {
      close(value, total(examples.map(([l]) => l.item())) / N);
      const mean = Array.from(g.data, (_, i) => total(examples.map(([, e]) => e.data[i] as number)) / N);
      close(g, mean);
    }
  });

  it('takes nested arrays for scores with more axes, as labels and as rows', () => {
    const z = random([2, 3, 2], dtype, 14);
    const y = [
      [0, 1],
      [2, 1],
    ];
    const rows = y.map((labels) => [0, 1, 2].map((c) => labels.map((l) => (l === c ? 1 : 0))));
    const expected = F.crossEntropy(z, tensor(y, { dtype: 'int32' }), { reduction: 'none' });
    for (const target of [y, rows]) {
      const loss = F.crossEntropy(z, target, { reduction: 'none' });
      expect(loss.shape).toEqual([2, 2]);
      close(loss, Array.from(expected.data));
    }
    expect(() =>
      F.crossEntropy(z, [
        [0.5, 1],
        [0, 1],
      ]),
    ).toThrow(/index|whole/);
    expect(() =>
      F.crossEntropy(z, [
        [0, 3],
        [0, 1],
      ]),
    ).toThrow(/index 3/);
  });

  it('refuses rows of another shape', () => {
    expect(() => F.crossEntropy(H, hot.slice(1))).toThrow(/rows of shape \[4, 4\].*\[5, 4\]/);
    expect(() => F.crossEntropy(H, [[0], [1], [2], [3], [0]])).toThrow(/rows of shape \[5, 1\]/);
  });
});

describe.each(['float32', 'float64'] as const)('binary cross-entropy, %s', (dtype) => {
  const close = (t: Tensor, expected: number | number[]): void => {
    expect(t.dtype).toBe(dtype);
    expectClose(t.data, [expected].flat(), { ...tolerance[dtype], what: 'bce' });
  };
  const z = random([7], dtype, 20);
  const y = [0, 1, 1, 0, 1, 0.25, 0.9];
  const Y = tensor(y, { dtype });
  const p = Array.from(z.data, (v) => 1 / (1 + Math.exp(-v)));
  const each = p.map((v, i) => -(y[i] as number) * Math.log(v) - (1 - (y[i] as number)) * Math.log(1 - v));

  it('is −y log p̂ − (1 − y) log(1 − p̂), from probabilities and from logits', () => {
    for (const [value, g] of both((t: Tensor) => F.bce(t.sigmoid(), Y), z)) {
      close(value, total(each) / 7);
      close(
        g,
        p.map((v, i) => (v - (y[i] as number)) / 7),
      );
    }
    for (const [value, g] of both((t: Tensor) => F.bceWithLogits(t, Y), z)) {
      close(value, total(each) / 7);
      close(
        g,
        p.map((v, i) => (v - (y[i] as number)) / 7),
      );
    }
    close(F.bce(tensor(p, { dtype }), Y, { reduction: 'none' }), each);
    close(new nn.BCELoss({ reduction: 'sum' }).forward(tensor(p, { dtype }), Y), total(each));
    close(new nn.BCEWithLogitsLoss({ reduction: 'none' }).forward(z, Y), each);
  });

  it('from logits is the cross-entropy of two classes, and stable for ±1e5', () => {
    const two = z.unsqueeze(1).mul(tensor([[0, 1]], { dtype }));
    const rows = Y.unsqueeze(1)
      .mul(tensor([[-1, 1]], { dtype }))
      .add(tensor([[1, 0]], { dtype }));
    close(F.crossEntropy(two, rows, { reduction: 'none' }), each);
    const wide = tensor([1e5, -1e5, 1e5, -1e5], { dtype });
    for (const [value, g] of both(
      (t: Tensor) => F.bceWithLogits(t, tensor([1, 0, 0, 1], { dtype })).mul(4),
      wide,
    )) {
      close(value, 2e5);
      close(g, [0, 0, 1, -1]);
    }
  });
});
