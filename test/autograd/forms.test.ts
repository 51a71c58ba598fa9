// grad and valueAndGrad applied at once, as jacobian and hessian are.
import { describe, expect, it } from 'vitest';
import { GradError, grad, type Tensor, tensor, valueAndGrad } from '../../src/index.js';

const cube = (x: Tensor): Tensor => x.pow(3).sum();
const product = (x: Tensor, y: Tensor): Tensor => x.mul(y).sum();

describe('grad of a function', () => {
  it('at a point', () => {
    const x = tensor([1, 2]);
    expect(grad(cube, x).toArray()).toEqual([3, 12]);
    expect(x.grad).toBeNull();
    expect(x.requiresGrad).toBe(false);
    expect(grad((y: Tensor) => grad(cube, y).sum(), x).toArray()).toEqual([6, 12]);
  });
  it('with respect to several inputs', () => {
    const [gx, gy] = grad(product, [tensor([1, 2]), tensor([3, 4])]) as [Tensor, Tensor];
    expect(gx.toArray()).toEqual([3, 4]);
    expect(gy.toArray()).toEqual([1, 2]);
  });
  it('refuses results that are no scalars', () => {
    expect(() => grad((x: Tensor) => x.mul(2), tensor([1, 2]))).toThrow(GradError);
  });
});

describe('valueAndGrad of a function', () => {
  it('at a point and at several', () => {
    const [y, g] = valueAndGrad(cube, tensor([1, 2]));
    expect([y.item(), g.toArray()]).toEqual([9, [3, 12]]);
    const [z, gs] = valueAndGrad(product, [tensor([1, 2]), tensor([3, 4])]);
    expect([z.item(), gs.map((t) => t.toArray())]).toEqual([
      11,
      [
        [3, 4],
        [1, 2],
      ],
    ]);
  });
});
