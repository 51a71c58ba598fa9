import { describe, expect, test } from 'vitest';
import { backendInfo, optim, tensor } from '../../src/index.js';

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

  test('are left alone on the calling thread otherwise', () => {
    const p = tensor([1], { requiresGrad: true });
    p.grad = tensor([1]);
    new optim.Adam([p]).step();
    expect(2 ** -1074 * 1).toBeGreaterThan(0);
    expect(tensor([1e-40]).mul(0.5).item()).toBeGreaterThan(0);
  });
});
