import { compile, F, noGrad, randn, scope, type Tensor, tensor } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import * as ops from '../../src/ops/index.js';
import { composed } from '../../src/ops/intermediates.js';

/** exp(x)², and the tensor made on the way. */
function twice(x: Tensor): { y: Tensor; between: Tensor } {
  let between: Tensor | undefined;
  const y = composed(() => {
    between = ops.exp(x);
    return ops.mul(between, between);
  });
  return { y, between: between as Tensor };
}

const released = (t: Tensor): boolean => t.view.storage.released;

describe('what a composed operation makes on the way', () => {
  it('is given back at once where no graph needs it', () => {
    const { y, between } = noGrad(() => twice(tensor([0, 1])));
    expect([released(between), released(y)]).toEqual([true, false]);
    expect(y.data[0]).toBe(1);
  });

  it('is given back with the graph that has saved it', () => {
    const x = tensor([0, 0.5], { requiresGrad: true });
    const { y, between } = twice(x);
    expect(released(between)).toBe(false);
    y.sum().backward({ retainGraph: true });
    expect(released(between)).toBe(false);
    y.sum().backward();
    expect(released(between)).toBe(true);
    const g = x.grad as Tensor;
    expect(Math.abs((g.data[1] as number) - 4 * Math.E)).toBeLessThan(1e-5);
  });

  it('is known to the scope around it', () => {
    let between: Tensor | undefined;
    const x = tensor([1, 2], { requiresGrad: true });
    const y = scope(() => {
      const made = twice(x);
      between = made.between;
      return made.y;
    });
    expect(released(between as Tensor)).toBe(false);
    y.sum().backward();
    expect(released(between as Tensor)).toBe(true);
    scope(() => {
      between = twice(x).between;
    });
    expect(released(between as Tensor)).toBe(true);
  });

  it('does not take what was there before, nor the result', () => {
    const x = tensor([1, 2]);
    expect(composed(() => x)).toBe(x);
    const y = noGrad(() => composed(() => ops.reshape(ops.exp(x), [2, 1])));
    expect([released(x), released(y)]).toEqual([false, false]);
    expect(y.shape).toEqual([2, 1]);
  });

  it('leaves the log of allocations as it was after an error', () => {
    expect(() => composed(() => ops.add(tensor([1, 2]), tensor([1, 2, 3])))).toThrow('add');
    const t = ops.exp(tensor([1]));
    expect(released(t)).toBe(false);
  });

  it('gives the same values in compiled steps', () => {
    const [x, target] = [randn([5, 3]), randn([5, 3])];
    for (const loss of [F.mseLoss, F.huberLoss, F.smoothL1Loss, F.l1Loss, F.bceWithLogits]) {
      const step = compile((a: Tensor, b: Tensor) => loss(a, b));
      expect(step(x, target).item()).toBe(loss(x, target).item());
    }
  });
});
