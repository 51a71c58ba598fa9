// Blocks that networks are made of, in both dtypes, eager and compiled.
import {
  compile,
  F,
  Generator,
  manualSeed,
  nn,
  randn,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../support/compare.js';

const tolerance = { float32: { rtol: 1e-5, atol: 1e-6 }, float64: { rtol: 1e-12, atol: 1e-14 } };

describe.each(['float32', 'float64'] as const)('blocks, %s', (dtype) => {
  const random = (shape: number[], seed: number): Tensor =>
    randn(shape, { dtype, generator: new Generator(seed) });

  /** Output and gradient of the input, eager and compiled. */
  function both(m: nn.Module, x: Tensor, g: Tensor): [Tensor, Tensor][] {
    const step = (t: Tensor, u: Tensor): [Tensor, Tensor] => {
      const { output, inputs } = m.vjp(t, u);
      return [output, inputs[0] as Tensor];
    };
    return [step(x, g), compile(step)(x, g)];
  }

  it('Flatten joins all axes but the first, and its backward pass parts them', () => {
    const [x, g] = [random([2, 3, 4], 1), random([2, 12], 2)];
    for (const [y, gx] of both(new nn.Flatten(), x, g)) {
      expect(y.shape).toEqual([2, 12]);
      expect(gx.shape).toEqual([2, 3, 4]);
      expectClose(y.data, x.data, { rtol: 0, atol: 0 });
      expectClose(gx.data, g.data, { rtol: 0, atol: 0 });
    }
    expect(new nn.Flatten(0, 1).forward(x).shape).toEqual([6, 4]);
    expect(new nn.Flatten(0).forward(x).shape).toEqual([24]);
  });

  it('Identity is σ(x) = x', () => {
    const [x, g] = [random([3, 2], 3), random([3, 2], 4)];
    expect(new nn.Identity().forward(x)).toBe(x);
    for (const [y, gx] of both(new nn.Identity(), x, g)) {
      expectClose(y.data, x.data, { rtol: 0, atol: 0 });
      expectClose(gx.data, g.data, { rtol: 0, atol: 0 });
    }
  });

  it('Sequential applies its modules in order, and Residual adds its input', () => {
    const [x, g] = [random([5], 5), random([5], 6)];
    const inner = new nn.Sequential(new nn.Tanh(), new nn.LeakyReLU(0.5));
    const f = (v: number): number => (v > 0 ? Math.tanh(v) : 0.5 * Math.tanh(v));
    const df = (v: number): number => (1 - Math.tanh(v) ** 2) * (v > 0 ? 1 : 0.5);
    for (const [y, gx] of both(inner, x, g)) {
      expectClose(y.data, Array.from(x.data, f), tolerance[dtype]);
      expectClose(
        gx.data,
        Array.from(x.data, (v, i) => df(v) * (g.data[i] as number)),
        tolerance[dtype],
      );
    }
    for (const fn of [inner, (t: Tensor) => inner.forward(t)]) {
      for (const [y, gx] of both(new nn.Residual(fn), x, g)) {
        expectClose(
          y.data,
          Array.from(x.data, (v) => v + f(v)),
          tolerance[dtype],
        );
        expectClose(
          gx.data,
          Array.from(x.data, (v, i) => (1 + df(v)) * (g.data[i] as number)),
          tolerance[dtype],
        );
      }
    }
  });

  it('Dropout scales what it keeps by 1/(1 − p) in training, with a new mask at every step, and is off in evaluation', () => {
    const n = 40_000;
    const p = 0.3;
    const x = random([n], 7);
    for (const compiled of [false, true]) {
      const m = new nn.Dropout(p, { generator: new Generator(8) });
      const forward = (t: Tensor): Tensor => m.forward(t);
      const step = compiled ? compile(forward) : forward;
      const masks = [0, 1, 2].map(() => {
        const y = step(x);
        let dropped = 0;
        const mask = new Uint8Array(n);
        y.data.forEach((v, i) => {
          mask[i] = v === 0 ? 0 : 1;
          if (v === 0) dropped++;
          else expectCloseTo(v, (x.data[i] as number) / (1 - p), dtype);
        });
        // Five standard deviations of a binomial count.
        expect(Math.abs(dropped / n - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / n));
        return Buffer.from(mask);
      });
      expect((masks[0] as Buffer).equals(masks[1] as Buffer)).toBe(false);
      expect((masks[1] as Buffer).equals(masks[2] as Buffer)).toBe(false);
      m.eval();
      expectClose(step(x).data, x.data, { rtol: 0, atol: 0 });
    }
    // manualSeed sets where the masks begin.
    const draw = (): Tensor => {
      manualSeed(3);
      return F.dropout(x, p);
    };
    expect(Buffer.from(draw().data.slice().buffer).equals(Buffer.from(draw().data.slice().buffer))).toBe(
      true,
    );
  });

  it("are lecture 004's classifiers: h(X) = Xθ and h(X) = σ(XW₁)W₂", () => {
    const x = random([4, 5], 9);
    const one = new nn.Linear(5, 3, { bias: false, dtype });
    expectClose(one.forward(x).data, x.matmul(one.weight).data, tolerance[dtype]);
    const two = new nn.MLP([5, 6, 3], { activation: 'relu', bias: false, dtype });
    const [w1, w2] = two.parameters().map((w) => w.toArray()) as [number[][], number[][]];
    const expected = (x.toArray() as number[][]).flatMap((row) => {
      const hidden = Array.from({ length: 6 }, (_, j) =>
        Math.max(
          0,
          row.reduce((s, v, i) => s + v * ((w1[i] as number[])[j] as number), 0),
        ),
      );
      return Array.from({ length: 3 }, (_, k) =>
        hidden.reduce((s, v, j) => s + v * ((w2[j] as number[])[k] as number), 0),
      );
    });
    expectClose(two.forward(x).data, expected, tolerance[dtype]);
  });

  it('pass scalar derivatives along a chain: ∂L/∂w = ∂L/∂y ∂y/∂h ∂h/∂w', () => {
    // L = (y − 1)², y = θ sin h, h = exp(w x)
    const [x, w, theta] = [0.3, -0.7, 1.2];
    const h = Math.exp(w * x);
    const y = theta * Math.sin(h);
    const dy = 2 * (y - 1);
    const step = (W: Tensor, T: Tensor): [Tensor, Tensor] => {
      const [a, b] = [W.detach().clone(), T.detach().clone()];
      a.requiresGrad = true;
      b.requiresGrad = true;
      a.mul(x).exp().sin().mul(b).sub(1).square().backward();
      return [a.grad as Tensor, b.grad as Tensor];
    };
    for (const run of [step, compile(step)]) {
      const [gw, gt] = run(tensor(w, { dtype }), tensor(theta, { dtype }));
      expectClose(gt.data, [dy * Math.sin(h)], tolerance[dtype]);
      expectClose(gw.data, [dy * theta * Math.cos(h) * h * x], tolerance[dtype]);
    }
  });

  it('broadcast a bias without copies: a view of m rows follows the one that is there', () => {
    const b = tensor([1, 2], { dtype });
    const rows = b.broadcastTo([1_000_000, 2]);
    b.copy_([5, 6]);
    expect(rows.slice([0, 2]).toArray()).toEqual([
      [5, 6],
      [5, 6],
    ]);
    // An n × 1 column is taken as p columns.
    const column = tensor([[1], [2]], { dtype });
    expect(zeros([2, 3], { dtype }).add(column).toArray()).toEqual([
      [1, 1, 1],
      [2, 2, 2],
    ]);
  });
});

function expectCloseTo(actual: number, expected: number, dtype: 'float32' | 'float64'): void {
  if (!(Math.abs(actual - expected) <= tolerance[dtype].rtol * Math.abs(expected)))
    throw new Error(`${actual} where ${expected} is expected`);
}

describe('Residual', () => {
  it('refuses a function that does not keep the shape', () => {
    const x = zeros(4, 3);
    expect(() => new nn.Residual(new nn.Linear(3, 1)).forward(x)).toThrow(ShapeError);
    expect(() => new nn.Residual(new nn.Linear(3, 1)).forward(x)).toThrow(/Residual.*\[4, 1\].*\[4, 3\]/);
    expect(() => new nn.Residual(() => 3 as never).forward(x)).toThrow(/must give a tensor/);
  });
});
