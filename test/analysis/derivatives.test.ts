import { hessian, hvp, jacobian, ShapeError, type Tensor, tensor, zeros } from 'simdgrad';
import * as analysis from 'simdgrad/analysis';
import { describe, expect, it } from 'vitest';

const dtypes = ['float64', 'float32'] as const;

it('gives the derivatives of simdgrad itself', () => {
  expect(analysis.hessian).toBe(hessian);
  expect(analysis.jacobian).toBe(jacobian);
  expect(analysis.hvp).toBe(hvp);
});

describe.each(dtypes)('the chain rule in %s', (dtype) => {
  it('the Jacobian of a composition is the product of the Jacobians', () => {
    // Lecture 001: y = f(u), u = g(x), J_{f∘g}(x) = J_f(u) J_g(x), and both written out.
    const g = (x: Tensor): Tensor => {
      const [a, b] = [x.select(0, 0), x.select(0, 1)];
      return tensor([0, 0, 0], { dtype })
        .add(
          a
            .mul(b)
            .mul(tensor([1, 0, 0], { dtype }))
            .add(a.sin().mul(tensor([0, 1, 0], { dtype }))),
        )
        .add(b.square().mul(tensor([0, 0, 1], { dtype })));
    };
    const f = (u: Tensor): Tensor => {
      const [p, q, r] = [u.select(0, 0), u.select(0, 1), u.select(0, 2)];
      return p
        .mul(q)
        .mul(tensor([1, 0], { dtype }))
        .add(
          q
            .exp()
            .add(r)
            .mul(tensor([0, 1], { dtype })),
        );
    };
    const [a, b] = [0.7, -1.3];
    const jg = [
      [b, a],
      [Math.cos(a), 0],
      [0, 2 * b],
    ];
    const [p, q] = [a * b, Math.sin(a)];
    const jf = [
      [q, p, 0],
      [0, Math.exp(q), 1],
    ];
    const x = tensor([a, b], { dtype });
    const found = jacobian((t: Tensor) => f(g(t)), x).toArray() as number[][];
    const parts = jacobian(f, g(x)).matmul(jacobian(g, x)).toArray() as number[][];
    jf.forEach((row, i) => {
      for (const j of [0, 1]) {
        const expected = row.reduce((sum, v, k) => sum + v * ((jg[k] as number[])[j] as number), 0);
        expect((found[i] as number[])[j]).toBeCloseTo(expected, dtype === 'float64' ? 13 : 5);
        expect((parts[i] as number[])[j]).toBeCloseTo(expected, dtype === 'float64' ? 13 : 5);
      }
    });
  });
});

describe('sizes that cannot fit', () => {
  const square = (w: Tensor): Tensor => w.square().sum();

  it('hessian() refuses a thousand million parameters with the 4,000,000,000 GB it would need', () => {
    // Lecture 004. A view: nothing is allocated.
    const w = zeros(1).broadcastTo([1e9]);
    expect(() => hessian(square, w)).toThrow(ShapeError);
    expect(() => hessian(square, w)).toThrow(/need 4000000000000000000 bytes \(4,000,000,000 GB\).*hvp/);
    expect(() => hessian((a: Tensor, b: Tensor) => a.sum().add(b.sum()), [w, w])).toThrow(
      /16000000000000000000 bytes/,
    );
    expect(() => analysis.hessianMatrix(square, w.to('float32'))).toThrow(/4000000000000000000 bytes/);
    expect(() => analysis.classifyCriticalPoint(square, zeros(3e6))).toThrow(/36000000000000 bytes/);
    expect(() =>
      analysis.newtonStep((t: Tensor) => t.mul(0).sum(), zeros(3e6, { dtype: 'float64' })),
    ).toThrow(/72000000000000 bytes/);
  });

  it('jacobian() and features refuse what is larger than the memory', () => {
    const w = zeros(3e6);
    expect(() => jacobian((t: Tensor) => t.mul(2), w)).toThrow(ShapeError);
    expect(() => jacobian((t: Tensor) => t.mul(2), w)).toThrow(
      /36000000000000 bytes \(36,000 GB\).*vjp or jvp/,
    );
    const about = analysis.linearize((t: Tensor) => t.mul(2), w);
    expect(() => about.features([])).toThrow(/36000000000000 bytes/);
  });

  it('hvp gives the product that a refused Hessian would have', () => {
    // A million parameters: the Hessian of Σ i w_i² / 2 is diag(i), and would need 4 TB.
    const n = 1_000_000;
    const scale = tensor(Float32Array.from({ length: n }, (_, i) => i % 1000));
    const f = (w: Tensor): Tensor => w.square().mul(scale).sum().mul(0.5);
    expect(() => hessian(f, zeros(n))).toThrow(/4000000000000 bytes/);
    const [, product] = hvp(f, zeros(n), zeros(n).add(1));
    expect(
      Buffer.compare(
        Buffer.from(product.data.buffer, product.data.byteOffset, 4 * n),
        Buffer.from(scale.data.buffer, scale.data.byteOffset, 4 * n),
      ),
    ).toBe(0);
  });
});
