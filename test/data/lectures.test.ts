import {
  compile,
  data,
  F,
  Generator,
  grad,
  init,
  nn,
  optim,
  randn,
  type Tensor,
  tensor,
  zeros,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { zOfMean } from '../support/laws.js';

// What the lectures claim about mini-batches and about the scale of inputs (docs/lectures.md).

const dtypes = ['float32', 'float64'] as const;
type Float = (typeof dtypes)[number];

/** The digits to train on, read once. */
let digits: readonly [Tensor, Tensor] | undefined;
function mnist(): readonly [Tensor, Tensor] {
  digits ??= data.mnist().train.tensors;
  return digits;
}

const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;

/** Gradient and Hessian of 1/(2N) Σ (y - wᵀx)² in plain loops; w has as many entries as x has columns. */
function regression(x: readonly number[][], y: readonly number[], w: readonly number[]) {
  const gradient = w.map((_, j) =>
    mean(x.map((row, n) => (row.reduce((sum, v, i) => sum + v * w[i]!, 0) - y[n]!) * row[j]!)),
  );
  const hessian = w.map((_, i) => w.map((_, j) => mean(x.map((row) => row[i]! * row[j]!))));
  return { gradient, hessian };
}

describe('mini-batches', () => {
  const size = 64;
  const w = [0.5, -1];

  /** A regression problem, and a compiled gradient at w of a batch's loss. */
  function problem(dtype: Float) {
    const generator = new Generator(3);
    const x = randn([size, 2], { dtype, generator });
    const y = x.sum(1).add(randn([size], { dtype, generator }));
    const ds = new data.TensorDataset(x, y);
    const [rows, targets] = [x.toArray() as number[][], y.toArray() as number[]];
    const full = regression(rows, targets, w).gradient;
    const singles = rows.map((row, n) => regression([row], [targets[n]!], w).gradient);
    const at = tensor(w, { dtype, requiresGrad: true });
    const gradient = compile((inputs: Tensor, targets: Tensor) => {
      const loss = inputs.matmul(at).sub(targets).square().mean().mul(0.5);
      return grad(loss, [at])[0] as Tensor;
    });
    return { ds, full, singles, gradient };
  }

  for (const dtype of dtypes) {
    const digits = dtype === 'float32' ? 5 : 12;

    it(`${dtype}: of one, of some and of all examples have gradients whose mean over an epoch is the whole one`, () => {
      const { ds, full, singles, gradient } = problem(dtype);
      for (const batchSize of [1, 8, size]) {
        const loader = new data.DataLoader(ds, { batchSize, shuffle: true, generator: new Generator(1) });
        for (let epoch = 0; epoch < 3; epoch++) {
          const found = [...loader].map(([x, y]) => gradient(x!, y!).toArray() as number[]);
          expect(found).toHaveLength(size / batchSize);
          for (const j of [0, 1]) {
            expect(mean(found.map((g) => g[j]!))).toBeCloseTo(full[j]!, digits);
            if (batchSize > 1) continue;
            // Batches of one: the gradients of the examples, in another order.
            const sorted = (list: number[][]): number[] => list.map((g) => g[j]!).sort((a, b) => a - b);
            sorted(found).forEach((v, i) => expect(v).toBeCloseTo(sorted(singles)[i]!, digits));
          }
        }
      }
    });

    it(`${dtype}: reshuffled, they are unbiased and noisier the smaller they are; a fixed split stays off`, () => {
      const { ds, full, singles, gradient } = problem(dtype);
      const population = mean(singles.map((g) => (g[0]! - full[0]!) ** 2));
      const epochs = 1000;
      for (const batchSize of [1, 4, 16]) {
        const first = (shuffle: boolean): number[] => {
          const loader = new data.DataLoader(ds, { batchSize, shuffle, generator: new Generator(batchSize) });
          return Array.from({ length: epochs }, () => {
            const [x, y] = loader[Symbol.iterator]().next().value as [Tensor, Tensor];
            return (gradient(x, y).toArray() as number[])[0]!;
          });
        };
        const found = first(true);
        expect(Math.abs(zOfMean(found, full[0]!))).toBeLessThan(5);
        // Drawn without replacement: σ²/B (N - B)/(N - 1).
        const variance = (population / batchSize) * ((size - batchSize) / (size - 1));
        const squares = found.map((g) => (g - full[0]!) ** 2);
        expect(Math.abs(zOfMean(squares, variance))).toBeLessThan(5);
        expect(Math.abs(zOfMean(squares, 2 * variance))).toBeGreaterThan(5);
        const fixed = first(false);
        expect(new Set(fixed).size).toBe(1);
        expect(Math.abs(fixed[0]! - full[0]!)).toBeGreaterThan(0.05);
      }
    });

    it(`${dtype}: large data are redundant, so that two parts of MNIST have nearly the same gradient`, () => {
      const weight = zeros([784, 10], { dtype, requiresGrad: true });
      const [a, b] = [0, 6000].map((start) => {
        const [x, y] = mnist().map((t) => t.narrow(0, start, 6000)) as [Tensor, Tensor];
        const g = grad(F.crossEntropy(x.to(dtype).matmul(weight), y), [weight])[0] as Tensor;
        return Array.from(g.data);
      }) as [number[], number[]];
      const dot = (p: number[], q: number[]): number => p.reduce((sum, v, i) => sum + v * q[i]!, 0);
      expect(dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b))).toBeGreaterThan(0.98);
    });
  }
});

describe('the scale of inputs', () => {
  for (const dtype of dtypes) {
    it(`${dtype}: StandardScaler gives every pixel of MNIST that varies mean 0 and variance 1`, () => {
      const x = mnist()[0].narrow(0, 0, 2000).to(dtype);
      const z = new data.StandardScaler().fitTransform(x);
      expect(z.dtype).toBe(dtype);
      const [before, after] = [x.data, z.data];
      let constant = 0;
      for (let j = 0; j < 784; j++) {
        let [sum, squares, varies] = [0, 0, false];
        for (let i = 0; i < 2000; i++) {
          sum += after[784 * i + j]!;
          squares += after[784 * i + j]! ** 2;
          varies ||= before[784 * i + j] !== before[j];
        }
        if (!varies) constant++;
        const tolerance = dtype === 'float32' ? 1e-5 : 1e-12;
        if (!(Math.abs(sum / 2000) < tolerance)) throw new Error(`pixel ${j} has mean ${sum / 2000}`);
        if (!(Math.abs(squares / 2000 - Number(varies)) < tolerance)) {
          throw new Error(`pixel ${j} has variance ${squares / 2000}`);
        }
      }
      expect(constant).toBeGreaterThan(50);
    });

    it(`${dtype}: gradient descent on a linear regression: slow, faster standardised, a single step whitened`, () => {
      const generator = new Generator(21);
      const n = 200;
      // Two features of scales 1 and 10 that hang together, far from zero.
      const u = randn([n, 2], { dtype, generator });
      const x = u
        .matmul(
          tensor(
            [
              [1, 5],
              [0, 10],
            ],
            { dtype },
          ),
        )
        .add(tensor([4, -30], { dtype }));
      const noise = randn([n], { dtype, generator });
      const y = u.matmul(tensor([1, -2], { dtype })).add(noise);
      const targets = y.sub(y.mean());

      /** Steps with the best rate 2/(λ₁ + λ₂) until w is within 1e-3 of the optimum, relative to where it began. */
      const steps = (inputs: Tensor): { count: number; condition: number } => {
        const { gradient, hessian } = regression(
          inputs.toArray() as number[][],
          targets.toArray() as number[],
          [0, 0],
        );
        const [[a, b], [, d]] = hessian as [[number, number], [number, number]];
        const root = Math.sqrt(((a - d) / 2) ** 2 + b * b);
        const [high, low] = [(a + d) / 2 + root, (a + d) / 2 - root];
        // H w* = -g at w = 0
        const best = [
          (b * gradient[1]! - d * gradient[0]!) / (a * d - b * b),
          (b * gradient[0]! - a * gradient[1]!) / (a * d - b * b),
        ];
        const layer = init.apply(new nn.Linear(2, 1, { bias: false, dtype }), { weight: init.zeros });
        const optimizer = new optim.SGD(layer.parameters(), { lr: 2 / (high + low) });
        const step = compile((xs: Tensor, ys: Tensor) => {
          optimizer.zeroGrad();
          const loss = layer.forward(xs).flatten(0).sub(ys).square().mean().mul(0.5);
          loss.backward();
          optimizer.step();
          return loss;
        });
        let count = 0;
        const off = (): number =>
          Math.hypot(...best.map((v, i) => v - layer.weight.data[i]!)) / Math.hypot(...best);
        while (off() > 1e-3 && count < 2000) {
          step(inputs, targets);
          count++;
        }
        return { count, condition: high / low };
      };
      const centred = steps(x.sub(x.mean(0)));
      const standardised = steps(new data.StandardScaler().fitTransform(x));
      expect(centred.condition).toBeGreaterThan(100);
      expect(standardised.condition).toBeLessThan(5);
      expect(centred.count).toBeGreaterThan(20 * standardised.count);
      expect(standardised.count).toBeGreaterThan(1);
      for (const Whitening of [data.PCAWhitening, data.ZCAWhitening]) {
        const whitened = steps(new Whitening().fitTransform(x));
        // H = C_x = I: all directions converge at once, with η = 1.
        expect(whitened.condition).toBeCloseTo(1, dtype === 'float32' ? 4 : 9);
        expect(whitened.count).toBe(1);
      }
    });

    it(`${dtype}: of 1000 ReLU units one or two bend between 100 and 200, and two thirds where data are standardised`, () => {
      const generator = new Generator(22);
      const units = 20_000;
      const layer = new nn.Linear(1, units, { dtype });
      init.apply(layer, { weight: init.normal, bias: (b, _, o) => init.normal(b, o), generator });
      const x = tensor(
        Float64Array.from({ length: 51 }, (_, i) => 100 + 2 * i),
        { shape: [51, 1] },
      ).to(dtype);
      /** The share of units that are neither 0 nor linear on all of the data. */
      const bent = (inputs: Tensor): number => {
        const on = layer.forward(inputs).gt(0).to('float32').sum(0).data;
        return on.filter((k) => k > 0 && k < 51).length / units;
      };
      const cauchy = (low: number, high: number): number => (Math.atan(high) - Math.atan(low)) / Math.PI;
      const check = (found: number, p: number): void => {
        expect(Math.abs(found - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / units));
      };
      check(bent(x), cauchy(100, 200)); // 0.16 %
      const scaled = new data.StandardScaler().fitTransform(x);
      const edge = scaled.max().item();
      check(bent(scaled), cauchy(-edge, edge));
      expect(cauchy(-edge, edge)).toBeCloseTo(0.66, 1);
    });
  }
});
