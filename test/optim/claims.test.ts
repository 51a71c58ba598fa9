import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ArgumentError,
  compile,
  type DType,
  F,
  Generator,
  io,
  nn,
  optim,
  randn,
  type Tensor,
  tensor,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';

// What the lectures say about optimizers.

const dtypes = ['float64', 'float32'] as const;
const leaf = (values: number[], dtype: DType = 'float64'): Tensor =>
  tensor(values, { dtype, requiresGrad: true });
const list = (t: Tensor): number[] => Array.from(t.data);

/** The changes of the parameter that the gradients make, one after the other. */
function steps(
  make: (params: Tensor[]) => optim.Optimizer,
  gradients: readonly number[][],
  dtype: DType = 'float64',
): number[][] {
  const p = leaf(
    (gradients[0] as number[]).map(() => 0),
    dtype,
  );
  const optimizer = make([p]);
  return gradients.map((g) => {
    // From 0 each time, so that the change has all its digits.
    p.copy_(
      tensor(
        g.map(() => 0),
        { dtype },
      ),
    );
    p.grad = tensor(g, { dtype });
    optimizer.step();
    return list(p);
  });
}

const close = (actual: readonly number[], expected: readonly number[], relative: number): void => {
  expect(actual.length).toBe(expected.length);
  actual.forEach((a, i) => {
    const e = expected[i] as number;
    expect(Math.abs(a - e), `value ${i}: ${a} for ${e}`).toBeLessThanOrEqual(relative * Math.abs(e));
  });
};

const exactly = (dtype: DType): number => (dtype === 'float64' ? 1e-13 : 1e-6);

describe('the gradient', () => {
  it('points where the function rises most, and its length is the slope there', () => {
    for (const dtype of dtypes) {
      const x = leaf([0.5, -1, 2, 0.25], dtype);
      // f(x) = Σ sin(x_i) + x_i³ / 3, whose gradient is cos(x_i) + x_i².
      const f = (t: Tensor): Tensor => t.sin().add(t.pow(3).div(3)).sum();
      const value = (v: readonly number[]): number => v.reduce((s, u) => s + Math.sin(u) + u ** 3 / 3, 0);
      f(x).backward();
      const g = list(x.grad as Tensor);
      close(
        g,
        list(x).map((u) => Math.cos(u) + u * u),
        exactly(dtype) * 10,
      );
      const length = Math.hypot(...g);
      const slope = (d: readonly number[]): number => {
        const at = (h: number): number => value(list(x).map((u, i) => u + h * (d[i] as number)));
        return (at(1e-5) - at(-1e-5)) / 2e-5;
      };
      expect(Math.abs(slope(g.map((u) => u / length)) / length - 1)).toBeLessThan(1e-6);
      const generator = new Generator(3);
      for (let k = 0; k < 500; k++) {
        const d = list(randn(4, { dtype: 'float64', generator }));
        // A direction of its own kind, or one near the gradient's.
        const y = k % 2 === 0 ? d : g.map((u, i) => u + 0.1 * (d[i] as number));
        expect(slope(y.map((u) => u / Math.hypot(...y)))).toBeLessThan(length * (1 + 1e-6));
      }
    }
  });
});

describe('gradient descent', () => {
  /** Where it comes to from a start. */
  const descend = (start: number[], f: (t: Tensor) => Tensor, dtype: DType, compiled: boolean): number[] => {
    const p = leaf(start, dtype);
    const optimizer = new optim.SGD([p], { lr: 0.05 });
    const train = (): void => {
      optimizer.zeroGrad();
      f(p).backward();
      optimizer.step();
    };
    const step = compiled ? compile(train) : train;
    for (let k = 0; k < 600; k++) step();
    return list(p);
  };
  const starts = [
    [-2, 1.5],
    [0.5, -1.5],
    [1.75, 2],
  ];

  it('finds the global minimum of a convex function from everywhere, and one of the local ones of another', () => {
    for (const dtype of dtypes) {
      for (const compiled of [false, true]) {
        // Convex and no quadratic: Σ log(e^(x - 1) + e^(1 - x)) + (x - 1)² / 2 is least where all x are 1.
        const convex = (t: Tensor): Tensor => {
          const u = t.sub(1);
          return u.exp().add(u.neg().exp()).log().add(u.square().div(2)).sum();
        };
        for (const start of starts)
          for (const v of descend(start, convex, dtype, compiled)) expect(v).toBeCloseTo(1, 6);
        // Two wells for each x, (x² - 1)² + x / 4: the one at -1.03 is deeper, but those who start on the other side stay there.
        const wells = (t: Tensor): Tensor => t.square().sub(1).square().add(t.div(4)).sum();
        for (const start of starts) {
          descend(start, wells, dtype, compiled).forEach((v, i) => {
            // A root of the derivative 4 x (x² - 1) + 1/4 with a positive second derivative.
            expect(Math.abs(4 * v * (v * v - 1) + 0.25)).toBeLessThan(1e-5);
            expect(12 * v * v - 4).toBeGreaterThan(0);
            expect(Math.sign(v)).toBe(Math.sign(start[i] as number));
          });
        }
      }
    }
  });
});

describe('momentum', () => {
  const gradients = [[1], [-2], [0.5], [3], [-0.25], [2]];

  it('as a moving average is the weighted sum of all gradients so far', () => {
    for (const dtype of dtypes) {
      const p = leaf([0], dtype);
      const optimizer = new optim.SGD([p], { lr: 0.1, momentum: 0.8, momentumForm: 'average' });
      gradients.forEach((g, k) => {
        p.grad = tensor(g, { dtype });
        optimizer.step();
        let u = 0;
        for (let j = 0; j <= k; j++)
          u += 0.8 ** (k - j) * (1 - 0.8) * ((gradients[j] as number[])[0] as number);
        close(list(optimizer.stateDict().state[0]?.momentumBuffer as Tensor), [u], exactly(dtype));
      });
    }
  });

  it('with β = 0 is gradient descent', () => {
    for (const momentumForm of ['accumulation', 'average', 'velocity'] as const) {
      const with0 = steps((p) => new optim.SGD(p, { lr: 0.1, momentum: 0, momentumForm }), gradients);
      close(
        with0.flat(),
        gradients.flat().map((g) => -0.1 * g),
        1e-14,
      );
    }
  });

  it('has forms that agree at rates that stay: (1 - β) in the gradient or the rate, the rate inside or outside', () => {
    const run = (options: optim.SGDOptions): number[] =>
      steps((p) => new optim.SGD(p, { momentum: 0.9, ...options }), gradients).flat();
    const accumulated = run({ lr: 0.01 });
    close(run({ lr: 0.1, momentumForm: 'average' }), accumulated, 1e-13);
    close(run({ lr: 0.01, momentumForm: 'velocity' }), accumulated, 1e-13);
  });

  it('with the rate inside is not changed by a new rate, and with the rate outside it is', () => {
    const second = (momentumForm: 'accumulation' | 'velocity'): number => {
      const p = leaf([0]);
      const optimizer = new optim.SGD([p], { lr: 1, momentum: 0.5, momentumForm });
      p.grad = tensor([1], { dtype: 'float64' });
      optimizer.step();
      const before = p.item();
      p.grad = tensor([0], { dtype: 'float64' });
      optimizer.lr = 0.1;
      optimizer.step();
      return p.item() - before;
    };
    expect(second('velocity')).toBeCloseTo(-0.5, 14);
    expect(second('accumulation')).toBeCloseTo(-0.05, 14);
  });

  it('begins with short steps, and unbiased with those of gradient descent', () => {
    const constant = Array.from({ length: 40 }, () => [2, -3]);
    for (const dtype of dtypes) {
      const run = (biasCorrection: boolean): number[][] =>
        steps(
          (p) => new optim.SGD(p, { lr: 0.1, momentum: 0.9, momentumForm: 'average', biasCorrection }),
          constant,
          dtype,
        );
      const [biased, unbiased] = [run(false), run(true)];
      close(biased[0] as number[], [-0.02, 0.03], exactly(dtype));
      biased.forEach((d, k) =>
        close(
          d,
          [-0.2, 0.3].map((x) => x * (1 - 0.9 ** (k + 1))),
          4 * exactly(dtype),
        ),
      );
      for (const d of unbiased) close(d, [-0.2, 0.3], 4 * exactly(dtype));
    }
  });

  it('steps further than the present gradient where shrinking gradients point one way, and less where they turn', () => {
    const run = (gradients: number[][]): number[] =>
      steps((p) => new optim.SGD(p, { lr: 1, momentum: 0.9, momentumForm: 'average' }), gradients).flat();
    const falling = Array.from({ length: 30 }, (_, k) => [0.8 ** k]);
    const alternating = falling.map((_, k) => [(-1) ** k]);
    expect(Math.abs(run(falling).at(-1) as number)).toBeGreaterThan(3 * 0.8 ** 29);
    for (const d of run(alternating)) expect(Math.abs(d)).toBeLessThan(0.11);
    // A mean is never above the largest of what it is of.
    const same = run(falling.map(() => [1]));
    for (const d of same) expect(Math.abs(d)).toBeLessThanOrEqual(1);
  });

  it('and look-ahead make fewer steps than gradient descent where the curvatures differ', () => {
    const curvature = tensor([1, 100], { dtype: 'float64' });
    const count = (options: optim.SGDOptions): number => {
      const p = leaf([1, 1]);
      const optimizer = new optim.SGD([p], options);
      for (let k = 1; k < 2000; k++) {
        const loss = optimizer.step(() => {
          optimizer.zeroGrad();
          const value = p.square().mul(curvature).sum().mul(0.5);
          value.backward();
          return value;
        });
        if (loss.item() < 1e-10) return k;
      }
      return Infinity;
    };
    // 2 / (λ1 + λM) is the best that gradient descent can have.
    const plain = count({ lr: 2 / 101 });
    const momentum = count({ lr: 0.3, momentum: 0.9, momentumForm: 'average' });
    const ahead = count({ lr: 0.053, momentum: 0.85, momentumForm: 'average', nesterov: 'lookahead' });
    expect(plain).toBeGreaterThan(400);
    expect(momentum).toBeLessThan(plain / 1.5);
    expect(ahead).toBeLessThan(plain / 1.5);
  });
});

describe('Nesterov', () => {
  it("in PyTorch's form visits the look-ahead points θ - α β u of Sutskever et al.", () => {
    const [beta, lr] = [0.9, 0.05];
    const gradient = (x: number): number => 3 * x + Math.sin(x);
    const p = leaf([1]);
    const optimizer = new optim.SGD([p], { lr, momentum: beta, nesterov: true });
    // v = β v - α ∇f(θ + β v); θ += v. PyTorch's parameter is θ + β v.
    let [theta, v] = [1, 0];
    for (let k = 0; k < 20; k++) {
      p.grad = tensor([gradient(p.item())], { dtype: 'float64' });
      optimizer.step();
      v = beta * v - lr * gradient(theta + beta * v);
      theta += v;
      close(list(p), [theta + beta * v], 1e-12);
    }
  });

  it('calls the closure at θ - α u, once, and hands out what it returns', () => {
    const p = leaf([2]);
    const optimizer = new optim.SGD([p], {
      lr: 0.5,
      momentum: 0.5,
      momentumForm: 'average',
      nesterov: 'lookahead',
    });
    const seen: number[] = [];
    const step = (): number =>
      optimizer.step(() => {
        optimizer.zeroGrad();
        seen.push(p.item());
        p.square().mul(0.5).sum().backward();
        return p.item();
      });
    // u = 0; then 1, so θ = 1.5; then 0.5 + (1.5 - 0.5) / 2 = 1, so θ = 1.
    expect(step()).toBe(2);
    expect(p.item()).toBe(1.5);
    expect(step()).toBe(1);
    expect(p.item()).toBe(1);
    expect(seen).toEqual([2, 1]);
  });

  it('puts the parameters back where the closure throws', () => {
    const p = leaf([2]);
    const optimizer = new optim.SGD([p], { lr: 0.5, momentum: 0.5, nesterov: 'lookahead' });
    p.grad = tensor([1], { dtype: 'float64' });
    optimizer.step(() => undefined);
    const before = p.item();
    expect(() =>
      optimizer.step(() => {
        expect(p.item()).not.toBe(before);
        throw new Error('no data');
      }),
    ).toThrow('no data');
    expect(p.item()).toBe(before);
  });

  it('by look-ahead trains a network, compiled and asynchronous, with the bits of eager steps; a refused step leaves all', async () => {
    const results: unknown[] = [];
    for (const mode of ['eager', 'compiled', 'async']) {
      const generator = new Generator(5);
      const model = new nn.Sequential(
        new nn.Linear(4, 8, { generator }),
        new nn.Tanh(),
        new nn.Linear(8, 3, { generator }),
      );
      const optimizer = new optim.SGD(model.namedParameters(), {
        lr: 0.1,
        momentum: 0.9,
        momentumForm: 'average',
        nesterov: 'lookahead',
      });
      const eager = (x: Tensor, y: Tensor): Tensor =>
        optimizer.step(() => {
          optimizer.zeroGrad();
          const loss = F.crossEntropy(model.forward(x), y);
          loss.backward();
          return loss;
        });
      const step = compile(eager);
      const losses: number[] = [];
      for (let k = 0; k < 6; k++) {
        const x = randn(8, 4, { generator });
        const y = tensor([0, 1, 2, 0, 1, 2, 0, 1], { dtype: 'int32' });
        if (k === 4) {
          const before = model.parameters().map((p) => p.toArray());
          const wrong = tensor([0, 1, 2, 0, 1, 2, 0, 7], { dtype: 'int32' });
          if (mode === 'async') await expect(step.async(x, wrong)).rejects.toThrow(/7/);
          else expect(() => (mode === 'eager' ? eager : step)(x, wrong)).toThrow(/7/);
          expect(model.parameters().map((p) => p.toArray())).toEqual(before);
        }
        const loss = mode === 'async' ? await step.async(x, y) : (mode === 'eager' ? eager : step)(x, y);
        losses.push(loss.item());
      }
      results.push({ losses, parameters: model.parameters().map((p) => p.toArray()) });
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[2]).toEqual(results[0]);
  });
});

describe('Adam', () => {
  const example = [1, 500, 0.0001, -8];
  const signs = [1, 1, 1, -1];

  it('takes the magnitudes out of the gradient (1, 500, 0.0001, -8)', () => {
    for (const dtype of dtypes) {
      for (const options of [{ betas: [0, 0] }, {}] as optim.AdamOptions[]) {
        const [d] = steps((p) => new optim.Adam(p, { lr: 1, eps: 0, ...options }), [example], dtype);
        close(
          d as number[],
          signs.map((s) => -s),
          exactly(dtype),
        );
      }
      const [rms] = steps((p) => new optim.RMSprop(p, { lr: 1, alpha: 0, eps: 0 }), [example], dtype);
      close(
        rms as number[],
        signs.map((s) => -s),
        exactly(dtype),
      );
    }
  });

  it('with β = 0 is SignSGD', () => {
    const generator = new Generator(1);
    const gradients = Array.from({ length: 20 }, () => [0, ...list(randn(9, { generator }))]);
    for (const dtype of dtypes) {
      const adam = steps((p) => new optim.Adam(p, { lr: 0.01, betas: [0, 0], eps: 0 }), gradients, dtype);
      const sign = steps((p) => new optim.SignSGD(p, { lr: 0.01 }), gradients, dtype);
      adam.forEach((d, k) => {
        close(d, sign[k] as number[], exactly(dtype));
        close(
          d,
          (gradients[k] as number[]).map((g) => -0.01 * Math.sign(g)),
          exactly(dtype),
        );
      });
    }
  });

  it('without β1 and bias correction is RMSprop', () => {
    const generator = new Generator(2);
    const gradients = Array.from({ length: 20 }, () => list(randn(9, { generator })));
    const adam = steps(
      (p) => new optim.Adam(p, { lr: 0.01, betas: [0, 0.9], biasCorrection: false }),
      gradients,
    );
    const rms = steps((p) => new optim.RMSprop(p, { lr: 0.01, alpha: 0.9 }), gradients);
    adam.forEach((d, k) => close(d, rms[k] as number[], 1e-13));
  });

  it('and RMSprop make steps without a unit: they are the same for gradients times 1024', () => {
    const generator = new Generator(3);
    const gradients = Array.from({ length: 12 }, () => list(randn(5, { generator })));
    const larger = gradients.map((g) => g.map((x) => 1024 * x));
    for (const dtype of dtypes) {
      for (const make of [
        (p: Tensor[]) => new optim.Adam(p, { eps: 0 }),
        (p: Tensor[]) => new optim.RMSprop(p, { eps: 0 }),
      ]) {
        steps(make, larger, dtype).forEach((d, k) => {
          close(d, steps(make, gradients, dtype)[k] as number[], exactly(dtype));
        });
      }
    }
  });

  const [beta1, beta2] = [0.9, 0.999];

  it('makes a step of η (1 - β1) / √(1 - β2) for the first gradient after a long silence', () => {
    for (const dtype of dtypes) {
      const p = leaf([0], dtype);
      const optimizer = new optim.Adam([p], { lr: 0.01, eps: 0 });
      // As after 100,000 steps without a gradient, when both bias corrections have faded.
      const { paramGroups } = optimizer.stateDict();
      const nothing = tensor([0], { dtype });
      optimizer.loadStateDict({
        state: { 0: { step: 100_000, expAvg: nothing, expAvgSq: nothing } },
        paramGroups,
      });
      p.grad = tensor([3], { dtype });
      optimizer.step();
      close(list(p), [(-0.01 * (1 - beta1)) / Math.sqrt(1 - beta2)], exactly(dtype));
    }
  });

  it('typically makes steps of at most η, and none beyond η (1 - β1) / √((1 - β2) (1 - β1² / β2))', () => {
    const bound = (1 - beta1) / Math.sqrt((1 - beta2) * (1 - beta1 ** 2 / beta2));
    const generator = new Generator(4);
    const lr = 0.01;
    // Gradients whose mean is not 0; of unequal sizes; seldom others than 0; growing; and the worst by Cauchy and Schwarz.
    const n = 3000;
    const noise = Array.from(randn(n, { generator }).data);
    const kinds: Record<string, (k: number) => number> = {
      steady: (k) => 1 + 0.3 * (noise[k] as number),
      noisy: (k) => noise[k] as number,
      heavy: (k) => (noise[k] as number) ** 5,
      sparse: (k) => (k % 100 === 99 ? (noise[k] as number) : 0),
      growing: (k) => 1.01 ** k,
      worst: (k) => (beta2 / beta1) ** (k - n),
    };
    const longest = Object.fromEntries(
      Object.entries(kinds).map(([kind, gradient]) => {
        const d = steps(
          (p) => new optim.Adam(p, { lr, eps: 0 }),
          Array.from({ length: n }, (_, k) => [gradient(k)]),
        );
        const lengths = d.flat().map((x) => Math.abs(x) / lr);
        for (const x of lengths) expect(x).toBeLessThanOrEqual(bound * (1 + 1e-9));
        if (kind === 'steady' || kind === 'noisy') {
          const mean = Math.sqrt(lengths.reduce((sum, x) => sum + x * x, 0) / n);
          expect(mean).toBeLessThanOrEqual(1);
        }
        return [kind, Math.max(...lengths)];
      }),
    );
    expect(longest.steady).toBeLessThan(1.5);
    expect(longest.noisy).toBeLessThan(1.5);
    // Growing gradients go beyond (1 - β1) / √(1 - β2) = 3.16, towards the bound, 7.27.
    expect(longest.worst).toBeGreaterThan(0.97 * bound);
    expect(bound).toBeGreaterThan(2 * ((1 - beta1) / Math.sqrt(1 - beta2)));
  });

  it('anneals by itself: far from the optimum its steps are η long, around it η √((1 - β1) / (1 + β1))', () => {
    const generator = new Generator(6);
    const n = 400;
    const p = leaf(Array.from({ length: n }, () => 5));
    const lr = 0.002;
    // The second moment forgets the way there.
    const optimizer = new optim.Adam([p], { lr, betas: [beta1, 0.99] });
    const lengths: number[] = [];
    for (let k = 0; k < 6000; k++) {
      const before = list(p);
      // The gradient of a quadratic, and the noise of mini-batches.
      p.grad = p.detach().add(randn(n, { dtype: 'float64', generator }).mul(0.5));
      optimizer.step();
      lengths.push(Math.sqrt(list(p).reduce((sum, x, i) => sum + (x - (before[i] as number)) ** 2, 0) / n));
    }
    const mean = (from: number, to: number): number =>
      lengths.slice(from, to).reduce((a, b) => a + b, 0) / (to - from) / lr;
    expect(mean(50, 500)).toBeGreaterThan(0.93);
    expect(mean(50, 500)).toBeLessThan(1.01);
    // E[m²] / E[g²] of a moving average of independent gradients.
    const expected = Math.sqrt((1 - beta1) / (1 + beta1));
    expect(mean(5500, 6000)).toBeGreaterThan(0.9 * expected);
    expect(mean(5500, 6000)).toBeLessThan(1.1 * expected);
  });
});

describe('Rprop', () => {
  // +0.1 nine times, then -0.9.
  const batches = Array.from({ length: 4000 }, (_, k) => [k % 10 === 9 ? -0.9 : 0.1]);
  const sum = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0);

  it('follows the majority of mini-batches, where gradient descent and RMSprop stay: +0.1 nine times, -0.9 once', () => {
    const net = (make: (p: Tensor[]) => optim.Optimizer): number =>
      // The last thousand steps, when RMSprop knows the mean square.
      sum(steps(make, batches).flat().slice(3000)) / 1000;
    expect(net((p) => new optim.SGD(p, { lr: 0.01 }))).toBeCloseTo(0, 14);
    expect(net((p) => new optim.Rprop(p, { lr: 0.01, variant: 'sign' }))).toBeCloseTo(-0.008, 14);
    expect(Math.abs(net((p) => new optim.RMSprop(p, { lr: 0.01, alpha: 0.999 })))).toBeLessThan(1e-4);
  });

  it('leaves a plateau of tiny gradients with steps that grow by 1.2', () => {
    const flat = Array.from({ length: 20 }, () => [1e-30]);
    for (const variant of ['irprop-', 'rprop-'] as const) {
      for (const dtype of dtypes) {
        const d = steps((p) => new optim.Rprop(p, { lr: 0.01, variant }), flat, dtype).flat();
        close(
          d,
          flat.map((_, k) => -0.01 * 1.2 ** k),
          4 * exactly(dtype),
        );
      }
    }
  });

  it('of PyTorch waits where the sign changed, and that of the lecture steps on', () => {
    const turning = [[1], [-1], [-1]];
    const run = (variant: 'irprop-' | 'rprop-'): number[] =>
      steps((p) => new optim.Rprop(p, { lr: 0.25, variant }), turning).flat();
    close(run('irprop-'), [-0.25, 0, 0.125], 1e-14);
    close(run('rprop-'), [-0.25, 0.125, 0.15], 1e-14);
  });
});

describe('steepest descent', () => {
  it('of length η goes down most among all steps within the norm', () => {
    const generator = new Generator(8);
    const g = list(randn(6, { dtype: 'float64', generator }));
    const dot = (a: readonly number[]): number => a.reduce((sum, x, i) => sum + x * (g[i] as number), 0);
    for (const norm of [2, Infinity] as const) {
      const length = (x: readonly number[]): number =>
        norm === 2 ? Math.hypot(...x) : Math.max(...x.map(Math.abs));
      const [best] = steps((p) => new optim.SteepestDescent(p, { lr: 0.1, norm }), [g]) as [number[]];
      expect(length(best)).toBeCloseTo(0.1, 14);
      for (let k = 0; k < 2000; k++) {
        const x = list(randn(6, { dtype: 'float64', generator }));
        // Random directions, and random changes of the best one.
        const y = k % 2 === 0 ? x : best.map((b, i) => b + 0.01 * (x[i] as number));
        const scale = 0.1 / length(y);
        expect(dot(y.map((v) => v * scale))).toBeGreaterThanOrEqual(dot(best));
      }
    }
  });

  it('has one norm for a group, whatever the size and type of the gradients, and none where they are 0', () => {
    for (const scale of [1, 1e-30, 1e30]) {
      const [a, b, c] = [leaf([0, 0], 'float32'), leaf([0], 'float64'), leaf([0], 'float32')];
      const optimizer = new optim.SteepestDescent([{ params: [a, b] }, { params: c, lr: 0.25 }], { lr: 1 });
      a.grad = tensor([3 * scale, 0], { dtype: 'float32' });
      b.grad = tensor([-4 * scale], { dtype: 'float64' });
      c.grad = tensor([7 * scale], { dtype: 'float32' });
      optimizer.step();
      close([...list(a), ...list(b), ...list(c)], [-0.6, 0, 0.8, -0.25], 1e-6);
    }
    const [p, empty] = [leaf([1, 2]), leaf([])];
    p.grad = tensor([0, 0], { dtype: 'float64' });
    empty.grad = tensor([], { dtype: 'float64' });
    new optim.SteepestDescent([empty, p], { lr: 1 }).step();
    expect(list(p)).toEqual([1, 2]);
    new optim.SteepestDescent([empty], { lr: 1 }).step();
    p.grad = tensor([0, 3], { dtype: 'float64' });
    new optim.SteepestDescent([empty, p], { lr: 1 }).step();
    expect(list(p)).toEqual([1, 1]);
  });
});

describe('stochastic gradient descent', () => {
  it('steps by the mean gradient of a batch, θ - α / B Σ ∇ℓ, which over all batches is that of the whole', () => {
    for (const dtype of dtypes) {
      const generator = new Generator(9);
      const x = randn(12, 3, { dtype, generator });
      const y = randn(12, 1, { dtype, generator });
      const change = (from: number, to: number): number[] => {
        const w = leaf([0.5, -1, 2], dtype);
        const optimizer = new optim.SGD([w], { lr: 0.1 });
        const rows = x.narrow(0, from, to - from);
        F.mseLoss(rows.matmul(w.reshape([3, 1])), y.narrow(0, from, to - from)).backward();
        optimizer.step();
        return list(w).map((v, i) => v - ([0.5, -1, 2][i] as number));
      };
      const byHand = (from: number, to: number): number[] => {
        const sum = [0, 0, 0];
        for (let i = from; i < to; i++) {
          const row = list(x).slice(3 * i, 3 * i + 3);
          const error =
            row.reduce((s, v, j) => s + v * ([0.5, -1, 2][j] as number), 0) - (list(y)[i] as number);
          for (let j = 0; j < 3; j++) sum[j] = (sum[j] as number) + 2 * error * (row[j] as number);
        }
        return sum.map((s) => (-0.1 * s) / (to - from));
      };
      const whole = change(0, 12);
      const mean = [0, 0, 0];
      for (let k = 0; k < 12; k += 4) {
        const d = change(k, k + 4);
        d.forEach((v, j) => {
          expect(Math.abs(v - (byHand(k, k + 4)[j] as number))).toBeLessThan(
            dtype === 'float64' ? 1e-14 : 1e-6,
          );
          mean[j] = (mean[j] as number) + v / 3;
        });
      }
      whole.forEach((v, j) => {
        expect(Math.abs(v - (mean[j] as number))).toBeLessThan(dtype === 'float64' ? 1e-14 : 1e-6);
      });
    }
  });
});

describe('an eps of 0', () => {
  const adam = (options: optim.AdamOptions) => (p: Tensor[]) => new optim.Adam(p, { eps: 0, ...options });
  const makers: [string, (p: Tensor[]) => optim.Optimizer][] = [
    ['Adam', adam({})],
    ['AMSGrad', adam({ amsgrad: true })],
    ['Adam of absolute values', adam({ secondMoment: 'absolute' })],
    ['AdamW', (p) => new optim.AdamW(p, { eps: 0 })],
    ['NAdam', (p) => new optim.NAdam(p, { eps: 0 })],
    ['RAdam', (p) => new optim.RAdam(p, { eps: 0 })],
    ['Adamax', (p) => new optim.Adamax(p, { eps: 0 })],
    ['Adagrad', (p) => new optim.Adagrad(p, { eps: 0 })],
    ['Adadelta', (p) => new optim.Adadelta(p, { eps: 0 })],
    ['RMSprop', (p) => new optim.RMSprop(p, { eps: 0 })],
    ['RMSprop, centred', (p) => new optim.RMSprop(p, { eps: 0, centered: true })],
    ['RMSprop with eps inside', (p) => new optim.RMSprop(p, { eps: 0, epsInsideRoot: true })],
  ];
  for (const [name, make] of makers) {
    it(`leaves a weight alone that never had a gradient: ${name}`, () => {
      for (const dtype of dtypes) {
        for (const [d0, d1] of steps(
          make,
          [
            [0, 1],
            [0, 2],
            [0, -1],
          ],
          dtype,
        ) as [number, number][]) {
          expect(d0).toBe(0);
          // Adadelta begins with the root of eps, and goes nowhere without.
          if (name === 'Adadelta') expect(d1).toBeCloseTo(0, 14);
          else expect(d1 !== 0 && Number.isFinite(d1)).toBe(true);
        }
      }
    });
  }

  it('is 0 also beside small gradients', () => {
    for (const epsInsideRoot of [false, true]) {
      const [d] = steps(
        (p) => new optim.RMSprop(p, { lr: 1, alpha: 0.75, eps: 0, epsInsideRoot }),
        [[1e-18]],
      );
      close(d as number[], [-2], 1e-13);
    }
  });
});

describe('RMSprop, centred', () => {
  it('takes no root of a variance that rounding left below 0', () => {
    for (const dtype of dtypes) {
      for (const g of [0.1, 0.3, 0.7, 1 / 3]) {
        const gradients = Array.from({ length: 60 }, () => [g]);
        const d = steps((p) => new optim.RMSprop(p, { alpha: 0.5, centered: true }), gradients, dtype);
        for (const [x] of d as [number][]) expect(x).not.toBeNaN();
      }
    }
  });
});

describe('options of the forms', () => {
  const p = (): Tensor[] => [leaf([1])];

  it('that contradict each other are errors', () => {
    const sgd = (options: optim.SGDOptions) => () => new optim.SGD(p(), options);
    const average = { momentum: 0.9, momentumForm: 'average' } as const;
    expect(sgd({ ...average, dampening: 0.1 })).toThrow(
      /dampening goes with momentumForm 'accumulation', not 'average'/,
    );
    expect(sgd({ momentum: 0.9, momentumForm: 'velocity', dampening: 0.1 })).toThrow(ArgumentError);
    expect(sgd({ ...average, nesterov: true })).toThrow(/momentumForm 'accumulation', not 'average'/);
    expect(sgd({ momentumForm: 'average', momentum: 1.5 })).toThrow(/momentum <= 1, not 1.5/);
    expect(sgd({ momentum: 0.9, biasCorrection: true })).toThrow(
      /needs momentumForm 'average', not 'accumulation'/,
    );
    expect(sgd({ ...average, momentum: 1, biasCorrection: true })).toThrow(/momentum < 1/);
    expect(sgd({ ...average, biasCorrection: true, nesterov: 'lookahead' })).toThrow(/exclude each other/);
    expect(sgd({ nesterov: 'lookahead' })).toThrow(/'lookahead' needs momentum > 0, not 0/);
    expect(sgd({ momentumForm: 'mean' as never })).toThrow(
      /momentumForm must be one of "accumulation", "average", "velocity", not "mean"/,
    );
    expect(sgd({ nesterov: 'yes' as never })).toThrow(/nesterov must be one of false, true, "lookahead"/);
    expect(() => new optim.AdamW(p(), { decoupledWeightDecay: false })).toThrow(/AdamW.*use Adam/);
    expect(() => new optim.Adam(p(), { secondMoment: 'cube' as never })).toThrow(/"square", "absolute"/);
    expect(() => new optim.Rprop(p(), { eps: 1e-3 })).toThrow(/eps goes with variant 'sign', not 'irprop-'/);
    expect(() => new optim.Rprop(p(), { stepSizes: [1, 0.1] })).toThrow(/least and the largest/);
    expect(() => new optim.SteepestDescent(p(), { norm: 1 as never })).toThrow(
      /norm must be one of 2, Infinity/,
    );
    // In groups, and in states that are loaded, as well.
    const optimizer = new optim.SGD(p(), average);
    expect(() => optimizer.addParamGroup({ params: p(), dampening: 0.5 })).toThrow(/dampening/);
    const state = new optim.SGD(p(), { momentum: 0.9, dampening: 0.5 }).stateDict();
    expect(() =>
      optimizer.loadStateDict({
        ...state,
        paramGroups: [{ ...state.paramGroups[0], momentumForm: 'average' }] as never,
      }),
    ).toThrow(/dampening/);
  });

  it('that look ahead want a closure', () => {
    const optimizer = new optim.SGD(p(), { momentum: 0.9, nesterov: 'lookahead' });
    expect(() => optimizer.step()).toThrow(/give step\(\) a function/);
    expect(() => optimizer.step(3 as never)).toThrow(ArgumentError);
  });

  it('may change between the steps of a compiled one', () => {
    const runs = [true, false].map((compiled) => {
      const a = leaf([1, 2]);
      const optimizer = new optim.SGD([a], { lr: 0.1, momentum: 0.5 });
      const eager = (): Tensor =>
        optimizer.step(() => {
          optimizer.zeroGrad();
          const loss = a.square().sum();
          loss.backward();
          return loss;
        });
      const step = compiled ? compile(eager) : eager;
      for (let k = 0; k < 12; k++) {
        const [group] = optimizer.paramGroups as [optim.ParamGroup<optim.SGDOptions>];
        if (k === 3) group.momentumForm = 'average';
        if (k === 5) group.biasCorrection = true;
        if (k === 7) [group.momentumForm, group.biasCorrection] = ['velocity', false];
        if (k === 9) group.nesterov = 'lookahead';
        if (k === 10) group.weightDecay = 0.1;
        step();
      }
      return list(a);
    });
    expect(runs[0]).toEqual(runs[1]);
  });

  it('are saved with the state and come back', () => {
    const folder = mkdtempSync(join(tmpdir(), 'optimizer-'));
    try {
      const a = p();
      const optimizer = new optim.SGD(a, { momentum: 0.9, momentumForm: 'average', nesterov: 'lookahead' });
      const steepest = new optim.SteepestDescent(p(), { norm: Infinity });
      (a[0] as Tensor).grad = tensor([1], { dtype: 'float64' });
      optimizer.step(() => undefined);
      const file = join(folder, 'state');
      io.save(file, [optimizer.stateDict(), steepest.stateDict()]);
      const [one, two] = io.load(file) as [optim.OptimizerState, optim.OptimizerState];
      const other = new optim.SGD(p());
      other.loadStateDict(one);
      expect(other.paramGroups[0]).toMatchObject({ momentumForm: 'average', nesterov: 'lookahead' });
      expect(list(other.stateDict().state[0]?.momentumBuffer as Tensor)).toEqual([1 - 0.9]);
      const fresh = new optim.SteepestDescent(p());
      fresh.loadStateDict(two);
      expect(fresh.paramGroups[0]).toMatchObject({ norm: Infinity });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
