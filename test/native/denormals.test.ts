import { describe, expect, test } from 'vitest';
import {
  backendInfo,
  compile,
  F,
  Generator,
  nn,
  optim,
  randn,
  setNumThreads,
  tensor,
} from '../../src/index.js';
import { activatedLinear } from '../../src/ops/linear.js';

// Gradients of a net that has converged are near the smallest numbers there are, where most processors are several
// times slower.
describe.skipIf(backendInfo().backend !== 'native')('numbers below the smallest normal one', () => {
  test('are zero in the state of an optimizer, unless a tiny eps makes them count', () => {
    const moments = (eps: number) => {
      const p = tensor(new Float32Array(40).fill(1), { requiresGrad: true });
      const optimizer = new optim.Adam([p], { eps });
      for (const g of [1e-20, 0]) {
        p.grad = tensor(new Float32Array(40).fill(g));
        optimizer.step();
      }
      const { expAvg, expAvgSq } = optimizer.stateDict().state['0'] as Record<string, { item(): number }>;
      return [expAvg, expAvgSq].map((t) => (t as unknown as { data: Float32Array }).data);
    };
    const [m, v] = moments(1e-8);
    expect(m?.every((x) => x > 0)).toBe(true);
    expect(v?.every((x) => x === 0)).toBe(true);
    expect(moments(1e-30)[1]?.every((x) => x > 0)).toBe(true);
    const small = tensor(new Float32Array(40).fill(1), { requiresGrad: true });
    const sgd = new optim.SGD([small], { lr: 1, momentum: 0.5 });
    for (const g of [3e-38, 0, 0, 0]) {
      small.grad = tensor(new Float32Array(40).fill(g));
      sgd.step();
    }
    const { momentumBuffer } = sgd.stateDict().state['0'] as unknown as {
      momentumBuffer: { data: Float32Array };
    };
    expect(momentumBuffer.data.every((x) => x === 0)).toBe(true);
  });

  test('are zero in products of float32, and kept in those of float64', () => {
    for (const [m, n, k] of [
      [1, 1, 1],
      [1, 300, 40],
      [40, 50, 60],
      [100, 3, 70],
    ] as const) {
      const product = (dtype: 'float32' | 'float64') => {
        const a = tensor(Array(m * k).fill(1e-25), { shape: [m, k], dtype });
        return a.matmul(tensor(Array(k * n).fill(1e-16), { shape: [k, n], dtype }));
      };
      expect(product('float32').data.every((x) => x === 0)).toBe(true);
      expect(product('float64').data.every((x) => x > 0)).toBe(true);
    }
  });

  test('are zero behind a bias, too, however the product is cut and shared', () => {
    const threads = backendInfo().threads;
    for (const [m, k] of [
      [1, 64],
      [2, 200],
      [5, 9],
      [32, 1024],
      [64, 300],
    ] as const) {
      for (const transposed of [false, true]) {
        const n = 128;
        const one = tensor(
          new Float32Array(m * k).map((_, i) => Number(i % k === 0)),
          { shape: [m, k] },
        );
        const w = new Float32Array(k * n);
        for (let j = 0; j < n; j++) w[transposed ? j * k : j] = 1.5e-38;
        const weight = tensor(w, { shape: transposed ? [n, k] : [k, n] });
        const bias = tensor(new Float32Array(n).fill(-1.2e-38)); // leaves 3e-39
        for (const count of [1, 2, 3]) {
          setNumThreads(count);
          for (const activation of ['none', 'relu', 'tanh'] as const) {
            const y = activatedLinear(one, transposed ? weight.transpose() : weight, bias, activation);
            expect(y.data.every((v) => v === 0)).toBe(true);
          }
        }
      }
    }
    setNumThreads(threads);
  });

  // What is fused into a product is computed as it is outside of it.
  test.each(['Sigmoid', 'Tanh', 'ReLU'] as const)('are the same in eager and compiled steps: %s', (name) => {
    const generator = new Generator(5);
    const make = () => {
      const g = new Generator(1);
      const first = new nn.Linear(6, 24, { generator: g });
      const model = new nn.Sequential(first, new nn[name](), new nn.Linear(24, 3, { generator: g }));
      const sgd = new optim.SGD(model.parameters(), { lr: 1, momentum: 0.9 });
      return { first, model, sgd };
    };
    // Saturated units, and gradients about the smallest normal number.
    const x = randn([16, 6], { generator }).mul(60);
    const scale = randn([16, 3], { generator }).mul(1e-36);
    const run = (compiled: boolean) => {
      const { model, sgd } = make();
      const body = (input: typeof x) => {
        sgd.zeroGrad();
        const out = model.forward(input);
        out.mul(scale).sum().backward();
        sgd.step();
        return out;
      };
      const step = compiled ? compile(body) : body;
      const outs = [step(x), step(x), step(x)].map((t) => [...t.data]);
      const buffers = Object.values(sgd.stateDict().state).map((s) => [
        ...(s as unknown as { momentumBuffer: { data: Float32Array } }).momentumBuffer.data,
      ]);
      return { outs, buffers };
    };
    expect(run(true)).toEqual(run(false));
    const { weight, bias } = make().first;
    const direct = (input: typeof x) => {
      const z = input.matmul(weight).add(bias as NonNullable<typeof bias>);
      return name === 'Sigmoid' ? z.sigmoid() : name === 'Tanh' ? z.tanh() : z.relu();
    };
    expect([...compile(direct)(x).data]).toEqual([...direct(x).data]);
  });

  test.each([5, 10, 40])(
    'are zero in the gradient of cross-entropy, eager and compiled: %d classes',
    (classes) => {
      const rows = 6;
      const values = Float32Array.from({ length: rows * classes }, (_, i) => -((i * 7) % 110));
      const labels = tensor(Int32Array.from({ length: rows }, (_, i) => i % classes));
      const gradient = (compiled: boolean) => {
        const x = tensor(values, { shape: [rows, classes], requiresGrad: true });
        const body = () => {
          x.grad = null;
          const loss = F.crossEntropy(x.mul(1), labels);
          loss.backward();
          return loss;
        };
        const step = compiled ? compile(body) : body;
        step();
        step();
        return [...(x.grad?.data ?? [])];
      };
      const eager = gradient(false);
      expect(eager).toHaveLength(rows * classes);
      expect(eager.every((g) => g === 0 || Math.abs(g) >= 2 ** -126)).toBe(true);
      expect(gradient(true)).toEqual(eager);
    },
  );

  test('are left alone on the calling thread otherwise', () => {
    const p = tensor([1], { requiresGrad: true });
    p.grad = tensor([1]);
    new optim.Adam([p]).step();
    expect(2 ** -1074 * 1).toBeGreaterThan(0);
    expect(tensor([1e-40]).mul(0.5).item()).toBeGreaterThan(0);
  });
});
