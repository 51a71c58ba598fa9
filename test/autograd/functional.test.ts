import {
  ArgumentError,
  eye,
  Generator,
  GradError,
  grad,
  gradcheck,
  hessian,
  hvp,
  jacobian,
  jvp,
  noGrad,
  ones,
  randn,
  ShapeError,
  stack,
  type Tensor,
  tensor,
  valueAndGrad,
  vjp,
  zeros,
} from 'simdgrad';
import { describe, expect, test } from 'vitest';
import { expectClose } from '../support/compare.js';

// Derivatives against closed forms, in float64.

const f64 = { dtype: 'float64' } as const;
const vec = (...values: number[]): Tensor => tensor(values, f64);
const close = (t: Tensor, expected: unknown, tolerance = 1e-12): void => {
  const flat = [expected].flat(8) as number[];
  expectClose(t.data, flat, { rtol: tolerance, atol: tolerance });
};
const random = (...shape: number[]): Tensor =>
  randn(shape, { ...f64, generator: new Generator(shape.length * 7 + 1) });

describe('grad(outputs, inputs)', () => {
  test('leaves grad fields alone and takes lists', () => {
    const [x, y] = [vec(1, 2), vec(3, 4)];
    x.requiresGrad = y.requiresGrad = true;
    const [gx, gy] = grad(x.mul(y).sum(), [x, y]);
    close(gx, [3, 4]);
    close(gy, [1, 2]);
    expect([x.grad, y.grad]).toEqual([null, null]);
    close(grad(x.mul(y).sum(), y), [1, 2]);
  });

  test('of several outputs, with a gradient for each', () => {
    const x = vec(1, 2);
    x.requiresGrad = true;
    close(grad([x.mul(x), x.sum()], x, { gradOutputs: [vec(1, 10), null] }), [3, 41]);
    expect(() => grad([x.mul(x), x.sum()], x, { gradOutputs: [vec(1, 10)] })).toThrow(ArgumentError);
  });

  test('with respect to intermediate values', () => {
    const x = vec(2);
    x.requiresGrad = true;
    const h = x.mul(x);
    const y = h.mul(h).add(x);
    const [gh, gx] = grad(y, [h, x]);
    close(gh, [8]);
    close(gx, [33]);
    const z = x.mul(3);
    close(grad(z, [z])[0], [1]);
  });

  test('refuses inputs that are not used, or gives null', () => {
    const [x, y] = [vec(1), vec(2)];
    x.requiresGrad = y.requiresGrad = true;
    expect(() => grad(x.mul(2), [x, y])).toThrow(/input 1 .*allowUnused/);
    const [gx, gy] = grad(x.mul(2), [x, y], { allowUnused: true });
    close(gx, [2]);
    expect(gy).toBe(null);
    expect(() => grad(x.mul(2), [vec(1)])).toThrow(GradError);
  });

  test('uses the graph up unless it is told not to', () => {
    const x = vec(1);
    x.requiresGrad = true;
    const y = x.exp();
    grad(y, x, { retainGraph: true });
    grad(y, x);
    expect(() => grad(y, x)).toThrow(/retainGraph/);
  });

  test('a gradient with its graph goes on: derivatives of order 1 to 5', () => {
    const x = vec(0.3, -1.2);
    x.requiresGrad = true;
    let y = x.pow(5).sum();
    const coefficients = [5, 20, 60, 120, 120];
    coefficients.forEach((c, k) => {
      const g = grad(y, x, { createGraph: true });
      close(
        g,
        [0.3, -1.2].map((v) => c * v ** (4 - k)),
      );
      y = g.sum();
    });
  });

  test('a penalty on the gradient trains: d/dx of |d/dx f|^2', () => {
    const x = vec(0.5, 2);
    x.requiresGrad = true;
    const g = grad(x.pow(3).sum(), x, { createGraph: true });
    g.pow(2).sum().backward(); // sum 9 x^4
    close(x.grad as Tensor, [36 * 0.125, 36 * 8]);
  });

  test('of results that keep a gradient through backward with createGraph', () => {
    const x = vec(3);
    x.requiresGrad = true;
    x.pow(3).sum().backward(null, { createGraph: true });
    const g = x.grad as Tensor;
    expect(g.requiresGrad).toBe(true);
    x.grad = null;
    g.sum().backward();
    close(x.grad as unknown as Tensor, [18]);
  });
});

describe('grad(f)', () => {
  test('of grad of grad', () => {
    const f = (x: Tensor) => x.pow(4).sum();
    const g = grad(grad(grad((x: Tensor) => f(x)) as unknown as (x: Tensor) => Tensor));
    close(g(vec(2)), [48]);
    const sin = grad(grad(grad((x: Tensor) => x.sin())));
    close(sin(tensor(0.7, f64)), [-Math.cos(0.7)]);
  });

  test('works under noGrad, leaves arguments alone, passes others on', () => {
    const x = vec(1, 2);
    const g = noGrad(() => grad((a: Tensor, scale: number) => a.mul(a).mul(scale).sum())(x, 3));
    close(g, [6, 12]);
    expect([x.requiresGrad, x.grad, g.requiresGrad]).toEqual([false, null, false]);
    const [value, slope] = valueAndGrad((a: Tensor) => a.exp().sum())(vec(0, 1));
    close(value, [1 + Math.E]);
    close(slope, [1, Math.E]);
  });

  test('of a constant is 0, of something else an error', () => {
    const x = vec(1, 2);
    expect(() => grad((() => 3) as unknown as () => Tensor)(x)).toThrow(/must return a tensor/);
    expect(() => grad((a: Tensor) => a.mul(2))(x)).toThrow(/not a scalar/);
    close(grad((a: Tensor) => a.mul(0).sum())(x), [0, 0]);
    close(grad((a: Tensor) => a.detach().sum())(x), [0, 0]);
    expect(() => grad((a: Tensor) => a.detach())(x)).toThrow(/not a scalar/);
    expect(() => vjp((a: Tensor) => a.detach(), x)).toThrow(/not a scalar/);
    expect(() => vjp((a: Tensor) => a.detach(), x, vec(1))).toThrow(ShapeError);
  });

  test('of derivatives that do not depend on the input any more are 0', () => {
    for (const f of [(x: Tensor) => x.mul(3), (x: Tensor) => x.relu(), (x: Tensor) => x.abs()]) {
      expect(grad(grad(f))(tensor(0.7, f64)).item()).toBe(0);
      expect(grad(grad(grad(f)))(tensor(0.7, f64)).item()).toBe(0);
    }
    expect(grad(grad((x: Tensor) => x.square()))(tensor(0.7, f64)).item()).toBe(2);
    expect(grad(grad(grad((x: Tensor) => x.square())))(tensor(0.7, f64)).item()).toBe(0);
  });
});

describe('products and matrices of derivatives', () => {
  const a = random(3, 3);
  const quadratic = (x: Tensor): Tensor => x.matmul(a.matmul(x));
  const x = vec(0.4, -1, 2);
  const v = vec(1, 0.5, -2);
  const symmetric = a.add(a.T);

  test('jacobian', () => {
    close(
      jacobian((t: Tensor) => a.matmul(t), x),
      a.toArray(),
    );
    close(
      jacobian((t: Tensor) => t.mul(t), x),
      eye(3, f64).mul(x.mul(2)).toArray(),
    );
    const j = jacobian((t: Tensor) => t.reshape(1, 3).mul(t.reshape(3, 1)), x);
    expect(j.shape).toEqual([3, 3, 3]);
    const at = [...x.data];
    const expected = [0, 1, 2].map((i) =>
      [0, 1, 2].map((k) => [0, 1, 2].map((l) => (l === k ? at[i] : 0) + (l === i ? at[k] : 0))),
    );
    close(j, expected);
    expect(jacobian((t: Tensor) => t.sum())(zeros(2, 2, f64)).shape).toEqual([2, 2]);
    const [jx, jy] = jacobian((p: Tensor, q: Tensor) => p.mul(q), [vec(1, 2), vec(3, 4)]);
    close(jx, [3, 0, 0, 4]);
    close(jy, [1, 0, 0, 2]);
  });

  test('hessian', () => {
    close(hessian(quadratic, x), symmetric.toArray());
    close(
      hessian((t: Tensor) => t.exp().sum(), x),
      eye(3, f64).mul(x.exp()).toArray(),
    );
    // Rosenbrock's function at (1, 1).
    const rosenbrock = (t: Tensor) => {
      const [p, q] = [t.select(0, 0), t.select(0, 1)];
      return q.sub(p.mul(p)).pow(2).mul(100).add(p.sub(1).pow(2));
    };
    close(hessian(rosenbrock, vec(1, 1)), [802, -400, -400, 200], 1e-9);
    const blocks = hessian((p: Tensor, q: Tensor) => p.mul(q).mul(q).sum(), [vec(1, 2), vec(3, 4)]);
    close(blocks[0][0], [0, 0, 0, 0]);
    close(blocks[0][1], [6, 0, 0, 8]);
    close(blocks[1][0], [6, 0, 0, 8]);
    close(blocks[1][1], [2, 0, 0, 4]);
    close(
      hessian((t: Tensor) => t.sum(), x),
      new Array(9).fill(0),
    );
  });

  test('vjp, jvp, hvp', () => {
    const [y, left] = vjp((t: Tensor) => a.matmul(t), x, v);
    close(y, a.matmul(x).toArray());
    close(left, a.T.matmul(v).toArray());
    const [z, right] = jvp((t: Tensor) => a.matmul(t).tanh(), x, v);
    const t = a.matmul(x).tanh();
    close(z, t.toArray());
    close(right, a.matmul(v).mul(t.mul(t).neg().add(1)).toArray());
    const [q, product] = hvp(quadratic, x, v);
    close(q, [quadratic(x).item()]);
    close(product, symmetric.matmul(v).toArray());
    const [, [h0, h1]] = hvp(
      (p: Tensor, r: Tensor) => p.mul(p).mul(r).sum(),
      [vec(2), vec(5)],
      [vec(1), vec(10)],
    );
    close(h0, [2 * 5 * 1 + 2 * 2 * 10]);
    close(h1, [2 * 2 * 1]);
    const [, pair] = jvp((p: Tensor, r: Tensor) => p.mul(r), [vec(2), vec(5)], [vec(1), vec(10)]);
    close(pair, [25]);
    const [, lists] = vjp((p: Tensor, r: Tensor) => p.mul(r).sum(), [vec(2), vec(5)]);
    expect(lists.map((g) => g.item())).toEqual([5, 2]);
  });

  test('functions that do not depend on their arguments have derivatives 0', () => {
    const constant = () => vec(1, 2);
    close(jacobian(constant, x), new Array(6).fill(0));
    close(vjp(constant, x, vec(1, 1))[1], [0, 0, 0]);
    close(jvp(constant, x, v)[1], [0, 0]);
    close(
      hessian(() => vec(1), x),
      new Array(9).fill(0),
    );
    close(hvp(() => vec(1), x, v)[1], [0, 0, 0]);
    close(jvp((t: Tensor) => stack([t.sum(), vec(3).sum()]), x, v)[1], [-0.5, 0]);
  });

  test('can be differentiated again', () => {
    // d/dx of sum(H v) for f = sum x^4: 24 x v.
    const w = vec(1, 2);
    w.requiresGrad = true;
    const [, h] = hvp((t: Tensor) => t.pow(4).sum(), w, vec(1, 10));
    close(grad(h.sum(), w), [24, 480]);
    const [, left] = vjp((t: Tensor) => t.pow(3), w, vec(1, 10));
    close(grad(left.sum(), w), [6, 120]);
    const [, right] = jvp((t: Tensor) => t.pow(3), w, vec(1, 10));
    close(grad(right.sum(), w), [6, 120]);
    close(grad(hessian((t: Tensor) => t.pow(3).sum(), w).sum(), w), [6, 6]);
    close(grad(jacobian((t: Tensor) => t.pow(3), w).sum(), w), [6, 12]);
    close(
      jacobian((t: Tensor) => jacobian((u: Tensor) => u.mul(u), t).sum(0), w),
      [2, 0, 0, 2],
    );
  });

  test('mistakes', () => {
    expect(() => hessian((t: Tensor) => t.mul(t), x)).toThrow(ShapeError);
    expect(() => hvp((t: Tensor) => t.mul(t), x, v)).toThrow(ShapeError);
    expect(() => jvp((t: Tensor) => t, x, vec(1))).toThrow(ShapeError);
    expect(() => vjp((t: Tensor) => t, x, vec(1))).toThrow(ShapeError);
    expect(() => hvp((t: Tensor) => t.sum(), x, vec(1))).toThrow(ShapeError);
    expect(() => jacobian(3 as never, x)).toThrow(ArgumentError);
    expect(() => jacobian((t: Tensor) => t, 3 as never)).toThrow(ArgumentError);
  });

  test('of no function are refused at once', () => {
    for (const f of [jacobian, hessian] as ((x: never) => unknown)[]) {
      expect(() => f(3 as never)).toThrow(/takes a function first, not 3/);
    }
  });
});

describe('gradcheck', () => {
  test('passes what is right and names what is wrong', () => {
    const x = random(2, 3);
    expect(gradcheck((t: Tensor) => t.sin().mul(t), x)).toBe(true);
    const wrong = (t: Tensor) => t.mul(t.detach());
    expect(() => gradcheck(wrong, x)).toThrow(GradError);
    expect(() => gradcheck(wrong, x)).toThrow(/d output\[0\] \/ d input 0\[0\]/);
    expect(gradcheck(wrong, x, { raiseException: false })).toBe(false);
    expect(() => gradcheck((t: Tensor) => t, ones(2))).toThrow(/float64/);
  });

  test('checks only inputs that want a gradient, if any does', () => {
    const [x, y] = [random(2), random(2)];
    x.requiresGrad = true;
    expect(gradcheck((a: Tensor, b: Tensor) => a.mul(b.detach()), [x, y])).toBe(true);
    expect(x.grad).toBe(null);
    expect(gradcheck((a: Tensor) => grad(a.pow(3).sum(), a, { createGraph: true }), x)).toBe(true);
  });
});

describe('kinks and special places', () => {
  const slope = (f: (x: Tensor) => Tensor, at: number): number =>
    grad((x: Tensor) => f(x).sum())(vec(at)).item();
  const second = (f: (x: Tensor) => Tensor, at: number): number =>
    grad(grad((x: Tensor) => f(x).sum()) as (x: Tensor) => Tensor)(tensor(at, f64)).item();

  test('derivatives where there is none are what PyTorch takes', () => {
    expect(slope((x) => x.relu(), 0)).toBe(0);
    expect(slope((x) => x.abs(), 0)).toBe(0);
    expect(slope((x) => x.sign(), 3)).toBe(0);
    expect(slope((x) => x.floor(), 1.5)).toBe(0);
    expect(slope((x) => x.clamp(0, 1), 0)).toBe(1);
    expect(slope((x) => x.clamp(0, 1), 1)).toBe(1);
    expect(slope((x) => x.norm(), 0)).toBe(0);
    expect(slope((x) => x.maximum(0), 0)).toBe(0.5);
    expect(slope((x) => x.minimum(1), 0.5)).toBe(1);
    expect(slope((x) => x.minimum(1), 1.5)).toBe(0);
    expect(slope((x) => x.elu(), -1)).toBeCloseTo(Math.exp(-1), 12);
    expect(slope((x) => x.leakyRelu(0.1), -2)).toBe(0.1);
    expect(slope((x) => x.pow(2), 0)).toBe(0);
    expect(slope((x) => x.pow(1), 0)).toBe(1);
    expect(slope((x) => x.pow(0), 0)).toBe(0);
    expect(second((x) => x.pow(2), 0)).toBe(2);
    expect(second((x) => x.pow(3), 0)).toBe(0);
    expect(second((x) => x.pow(1), 0)).toBe(0);
    expect(second((x) => x.pow(0), 0)).toBe(0);
    expect(second((x) => x.relu(), 2)).toBe(0);
    const third = (f: (x: Tensor) => Tensor, at: number): number =>
      grad(grad(grad(f)))(tensor(at, f64)).item();
    for (const n of [0, 1, 2, 3, 4]) expect(third((x) => x.pow(n), 0)).toBe(n === 3 ? 6 : 0);
  });

  test('equal maxima share the gradient', () => {
    close(grad((x: Tensor) => x.max())(vec(1, 3, 3)), [0, 0.5, 0.5]);
    close(grad((x: Tensor) => x.min())(vec(1, 3, 1)), [0.5, 0, 0.5]);
  });

  test('saturated functions have derivative 0 and no NaN', () => {
    for (const at of [-1000, 1000]) {
      for (const f of [(x: Tensor) => x.sigmoid(), (x: Tensor) => x.tanh(), (x: Tensor) => x.erf()]) {
        expect(slope(f, at)).toBe(0);
        expect(Math.abs(second(f, at))).toBe(0);
      }
    }
    expect(slope((x) => x.softplus(), -1000)).toBe(0);
    expect(slope((x) => x.softplus(), 1000)).toBe(1);
    expect(slope((x) => x.logSigmoid(), -1000)).toBe(1);
    expect(slope((x) => x.gelu(), -1000)).toBeCloseTo(0, 12);
    close(grad((x: Tensor) => x.logSoftmax().select(0, 0))(vec(1000, -1000)), [0, 0]);
    close(grad((x: Tensor) => x.logSumExp())(vec(1000, 1000)), [0.5, 0.5]);
  });

  test('products with factors 0: first and second derivatives', () => {
    const product = (x: Tensor) => x.prod();
    close(grad(product)(vec(2, 0, 3)), [0, 6, 0]);
    close(grad(product)(vec(0, 0, 3)), [0, 0, 0]);
    close(grad(product)(vec(2, 3, 4)), [12, 8, 6]);
    const hess = (a: number, b: number, c: number) => [0, c, b, c, 0, a, b, a, 0];
    close(hessian(product, vec(2, 3, 4)), hess(2, 3, 4));
    close(hessian(product, vec(2, 0, 3)), hess(2, 0, 3));
    close(hessian(product, vec(0, 0, 3)), hess(0, 0, 3));
    const x = tensor(
      [
        [1, 2, 0],
        [4, 0, 0],
      ],
      f64,
    );
    close(grad((t: Tensor) => t.prod(1).sum())(x), [0, 0, 2, 0, 0, 0]);
    close(grad((t: Tensor) => t.prod(0).sum())(x), [4, 0, 0, 1, 2, 0]);
    close(grad((t: Tensor) => t.prod())(vec()), []);
  });
});
