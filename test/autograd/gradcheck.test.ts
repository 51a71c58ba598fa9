import {
  ArgumentError,
  compile,
  F,
  Generator,
  GradError,
  grad,
  gradcheck,
  gradgradcheck,
  nn,
  randn,
  type Tensor,
  tensor,
} from 'simdgrad';
import { describe, expect, test } from 'vitest';

// The check of derivatives, checked with functions whose derivatives are wrong in known ways.

const f64 = { dtype: 'float64' } as const;
const vec = (...values: number[]): Tensor => tensor(values, f64);
const leaf = (...values: number[]): Tensor => tensor(values, { ...f64, requiresGrad: true });
const random = (seed: number, ...shape: number[]): Tensor =>
  randn(shape, { ...f64, generator: new Generator(seed) });

/** slope · x, of which backward sees only (slope - error) · x. */
const off = (x: Tensor, slope: number, error: number): Tensor =>
  x.mul(slope - error).add(x.detach().mul(error));

function message(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    expect(error).toBeInstanceOf(GradError);
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
}

describe('gradcheck', () => {
  test('takes several inputs and outputs of any shape', () => {
    expect(
      gradcheck(
        (x, w, b) => [x.matmul(w).add(b).tanh(), x.sum(), w.reshape(2, 2, 2).exp()],
        [random(1, 3, 4), random(2, 4, 2), random(3, 2)],
      ),
    ).toBe(true);
    expect(gradcheck((x) => x.sin(), tensor(0.3, f64))).toBe(true);
    expect(gradcheck((x) => x.mul(2), vec())).toBe(true);
    expect(gradcheck((x) => [x.square(), x.gt(0), x.argmax()], random(4, 5))).toBe(true);
    // One tensor in two places: the derivatives add up on both sides.
    const x = leaf(1, 2);
    expect(gradcheck((a, b) => a.mul(b), [x, x])).toBe(true);
    expect(gradcheck((a: Tensor) => a.square(), random(5, 3, 2).T)).toBe(true);
    const window = random(5, 3, 2).T.detach();
    window.requiresGrad = true;
    expect(gradcheck((a: Tensor) => a.square(), window)).toBe(true);
  });

  test('names the first derivative that differs, and how many do', () => {
    const x = tensor([[1, 2, 3]], f64);
    const wrong = (a: Tensor) => off(a, 5, 3).mul(tensor([0, 1, 1], f64));
    const said = message(() => gradcheck(wrong, x));
    expect(said).toMatch(
      /^gradcheck: d output\[1\] \/ d input 0\[1\] is 2 by backward and (5|5\.0000\d*|4\.9999\d*) by differences/,
    );
    expect(said).toContain('element [0, 1] of [1, 3]');
    expect(said).toContain('tolerance 0.00001 + 0.001');
    expect(said).toContain('2 of 9 derivatives with respect to input 0 differ');
    expect(said).not.toContain('kink');
    const second = message(() => gradcheck((a, b) => [a.mul(b), off(b, 2, 1).sum()], [x, vec(1, 2, 3)]));
    expect(second).toContain('d output 1[0] / d input 1[0] is 1 by backward');
    expect(gradcheck(wrong, x, { raiseException: false })).toBe(false);
    // A gradient where there should be none, and none where there should be one.
    expect(message(() => gradcheck((a) => a.sub(a.detach()), vec(1)))).toMatch(/is 1 by backward and 0 by/);
    expect(message(() => gradcheck((a) => a.detach(), vec(1)))).toMatch(/is 0 by backward and (1|0\.99)/);
    expect(message(() => gradcheck((a) => a.mul(a.detach().sub(a.detach()).div(0)), vec(1)))).toContain(
      'NaN',
    );
  });

  test('tolerates atol + rtol |difference|, as PyTorch does by default', () => {
    const passes = (slope: number, error: number, options = {}) =>
      gradcheck((x) => off(x, slope, error), vec(0), { ...options, raiseException: false });
    // 1e-5 + 1e-3 · |slope|
    expect([passes(0, 0.9e-5), passes(0, 1.1e-5)]).toEqual([true, false]);
    expect([passes(10, 0.99e-2), passes(10, 1.01e-2)]).toEqual([true, false]);
    expect([passes(-10, -0.99e-2), passes(-10, -1.01e-2)]).toEqual([true, false]);
    expect([passes(0, 0.09, { atol: 0.1 }), passes(0, 0.11, { atol: 0.1 })]).toEqual([true, false]);
    expect([passes(2, 0.19, { rtol: 0.1 }), passes(2, 0.21, { rtol: 0.1 })]).toEqual([true, false]);
    // The quotient of a cube is 3 x² + eps².
    const cube = (x: Tensor) => x.mul(x).mul(x);
    expect(gradcheck(cube, vec(0), { eps: 3e-3, raiseException: false })).toBe(true);
    expect(gradcheck(cube, vec(0), { eps: 4e-3, raiseException: false })).toBe(false);
  });

  test('says where a function has a kink', () => {
    for (const [f, left, right] of [
      [(x: Tensor) => x.relu(), 0, 1],
      [(x: Tensor) => x.leakyRelu(0.1), 0.1, 1],
    ] as const) {
      const said = message(() => gradcheck((x) => f(x).add(x.mul(0.25)), vec(1, 0)));
      expect(said).toContain('d output[1] / d input 0[1]');
      const slopes = /slopes to the left and right are (\S+) and ([\d.e-]+):/.exec(said)!;
      expect(Number(slopes[1])).toBeCloseTo(left + 0.25, 6);
      expect(Number(slopes[2])).toBeCloseTo(right + 0.25, 6);
      expect(gradcheck(f, vec(1, 1e-5, -1e-5))).toBe(true);
    }
    // Here the mean of the slopes is what backward takes.
    expect(gradcheck((x) => x.abs(), vec(0))).toBe(true);
  });

  test('takes float64 only', () => {
    expect(() => gradcheck((x) => x, tensor([1]))).toThrow(/no float64 input/);
    expect(() => gradcheck((x) => x, tensor([1], { requiresGrad: true }))).toThrow(
      /input 0 is float32; differences need float64: convert it/,
    );
    expect(() => gradcheck((x) => x.to('float32').exp(), vec(1))).toThrow(/output 0 is float32/);
    // Others that want no gradient may be of any dtype.
    const labels = tensor([0, 2], { dtype: 'int32' });
    expect(gradcheck((x, y) => F.crossEntropy(x, y), [random(6, 2, 3), labels])).toBe(true);
    expect(gradcheck((x, y) => x.mul(y.to('float64')), [leaf(1, 2), tensor([3, 4])])).toBe(true);
  });

  test('leaves inputs, their gradients and parameters as they were', () => {
    const x = leaf(0.1, 0.2);
    x.grad = vec(7, 8);
    expect(gradcheck((a) => a.exp(), x)).toBe(true);
    expect([...x.data]).toEqual([0.1, 0.2]);
    expect([...(x.grad as Tensor).data]).toEqual([7, 8]);
    let calls = 0;
    expect(() =>
      gradcheck((a) => {
        if (++calls > 3) throw new RangeError('own');
        return a.exp();
      }, x),
    ).toThrow(RangeError);
    expect([...x.data]).toEqual([0.1, 0.2]);
    // A result in a graph is taken as it is.
    expect(gradcheck((a: Tensor) => a.square(), x.mul(2))).toBe(true);
  });

  test('checks modules, and what they use without being passed it', () => {
    const net = new nn.Sequential(new nn.Linear(3, 4, f64), new nn.Tanh(), new nn.Linear(4, 2, f64));
    const x = random(7, 5, 3);
    expect(gradcheck(net, x)).toBe(true);
    const before = net.parameters().map((p) => [...p.data]);
    expect(gradcheck(() => net.forward(x), net.parameters())).toBe(true);
    expect(net.parameters().map((p) => [...p.data])).toEqual(before);
    class Wrong extends nn.Module {
      weight = nn.Parameter(vec(1, 2));
      override forward(input: Tensor): Tensor {
        return off(this.weight, 1, 0.5).mul(input);
      }
    }
    const wrong = new Wrong();
    expect(gradcheck(wrong, vec(1, 1))).toBe(true);
    expect(message(() => gradcheck(() => wrong.forward(vec(1, 1)), wrong.parameters()))).toContain(
      'is 0.5 by backward',
    );
    const norm = new nn.BatchNorm1d(3, f64);
    expect(gradcheck(norm, x)).toBe(true);
  });

  test('refuses functions that are not functions', () => {
    const dropout = new nn.Dropout(0.5);
    expect(message(() => gradcheck(dropout, random(8, 20)))).toMatch(
      /gives other values when it is called again .*eval\(\)/,
    );
    expect(gradcheck(dropout, random(8, 20), { raiseException: false })).toBe(false);
    dropout.eval();
    expect(gradcheck(dropout, random(8, 20))).toBe(true);
    expect(() => gradcheck((x) => x.slice(0, x.sum().item() > 1 ? 2 : 1), vec(1, 0))).toThrow(
      /shape of output 0 depends on the values/,
    );
    // What a compiled step returns is outside of any graph.
    expect(
      message(() =>
        gradcheck(
          compile((x: Tensor) => x.mul(2)),
          vec(1),
        ),
      ),
    ).toContain('is 0 by backward');
  });

  test('mistakes', () => {
    const x = vec(1);
    expect(() => gradcheck(3 as never, x)).toThrow(ArgumentError);
    expect(() => gradcheck((a) => a, 3 as never)).toThrow(/takes tensors, not 3/);
    expect(() => gradcheck((a) => a, [])).toThrow(/no float64 input/);
    const shared = x.broadcastTo(3).detach();
    shared.requiresGrad = true;
    expect(() => gradcheck((a) => a, shared)).toThrow(/elements of input 0 share their memory/);
    expect(() => gradcheck(() => 3 as never, x)).toThrow(/must return a tensor, or an array of them, not 3/);
    expect(() => gradcheck((a) => a.gt(0), x)).toThrow(/nothing that has a derivative/);
    expect(() => gradcheck((a) => a, x, { epsilon: 1 } as never)).toThrow(/no option "epsilon"/);
    for (const eps of [0, -1, Number.NaN, Infinity])
      expect(() => gradcheck((a) => a, x, { eps })).toThrow(/eps is a number > 0/);
    expect(() => gradcheck((a) => a, x, { atol: -1 })).toThrow(/atol/);
    expect(() => gradcheck((a) => a, x, { rtol: '1' as never })).toThrow(/rtol/);
    expect(() => gradcheck((a) => a, x, { raiseException: 0 as never })).toThrow(/raiseException/);
  });
});

describe('gradgradcheck', () => {
  test('passes second derivatives that are right', () => {
    expect(gradgradcheck((x, y) => [x.mul(y).sin(), y.exp().sum()], [random(1, 2, 3), random(2, 3)])).toBe(
      true,
    );
    expect(gradgradcheck((x) => x.mul(3), vec(1, 2))).toBe(true);
    expect(gradgradcheck(new nn.Linear(3, 2, f64), random(3, 4, 3))).toBe(true);
    expect(
      gradgradcheck((x) => [x.square(), x.detach()], vec(1, 2), { gradOutputs: [vec(1, 2), vec(3, 4)] }),
    ).toBe(true);
    expect(gradgradcheck((a) => grad(a.pow(4).sum(), a, { createGraph: true }), leaf(1, 2))).toBe(true);
  });

  test('finds first derivatives that are right but cannot be differentiated', () => {
    // x³, with the derivative 3 x² as a constant.
    const cube = (x: Tensor) => {
      const at = x.detach();
      return x.mul(at.square().mul(3)).sub(at.pow(3).mul(2));
    };
    expect(gradcheck(cube, vec(1, 2))).toBe(true);
    const said = message(() => gradgradcheck(cube, vec(1, 2), { gradOutputs: vec(1, 10) }));
    expect(said).toMatch(/^gradgradcheck: d output\[0\] \/ d input 0\[0\] is 0 by backward and (6|5\.99)/);
    expect(gradgradcheck(cube, vec(1, 2), { raiseException: false })).toBe(false);
  });

  test('mistakes', () => {
    const x = vec(1, 2);
    expect(() => gradgradcheck((a) => a, x, { gradOutputs: vec(1) })).toThrow(
      /gradOutputs\[0\] is a float64 tensor of shape \[2\], not float64 \[1\]/,
    );
    expect(() => gradgradcheck((a) => a, x, { gradOutputs: [] })).toThrow(/0 gradOutputs for 1 outputs/);
    expect(() => gradgradcheck((a) => a.detach(), x)).toThrow(GradError);
    expect(() => gradgradcheck((a) => a, x, { gradOutput: x } as never)).toThrow(
      /did you mean "gradOutputs"/,
    );
  });
});
