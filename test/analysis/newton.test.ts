import { ArgumentError, DTypeError, LinAlgError, ShapeError, stack, type Tensor, tensor } from 'simdgrad';
import { classifyCriticalPoint, classifyHessian, newton, newtonStep, Quadratic } from 'simdgrad/analysis';
import { describe, expect, it } from 'vitest';

const dtypes = ['float64', 'float32'] as const;
const numbers = (t: Tensor): number[] => [...t.data];

/** ½ θᵀPθ + qᵀθ, written out: not by our class. */
const quadraticForm =
  (p: readonly (readonly number[])[], q: readonly number[]) =>
  (theta: Tensor): Tensor => {
    const at = p.map((_, i) => theta.select(0, i));
    let sum: Tensor = theta.mul(0).sum();
    p.forEach((row, i) => {
      row.forEach((v, j) => {
        sum = sum.add((at[i] as Tensor).mul(at[j] as Tensor).mul(v / 2));
      });
      sum = sum.add((at[i] as Tensor).mul(q[i] as number));
    });
    return sum;
  };

describe.each(dtypes)("Newton's method in %s", (dtype) => {
  const digits = dtype === 'float64' ? 13 : 5;

  it('minimises a quadratic in one full step, θ* = −P⁻¹q', () => {
    // P = [[3, 1], [1, 2]] has the inverse [[2, −1], [−1, 3]] / 5, so −P⁻¹(1, −4) = −(6, −13)/5.
    const f = quadraticForm(
      [
        [3, 1],
        [1, 2],
      ],
      [1, -4],
    );
    for (const start of [
      [0, 0],
      [7, -30],
    ]) {
      const { point, gradientNorm, eigenvalues } = newtonStep(f, tensor(start, { dtype }));
      expect(point.dtype).toBe(dtype);
      expect(numbers(point)[0]).toBeCloseTo(-1.2, digits);
      expect(numbers(point)[1]).toBeCloseTo(2.6, digits);
      const [a, b] = start as [number, number];
      expect(gradientNorm).toBeCloseTo(Math.hypot(3 * a + b + 1, a + 2 * b - 4), digits - 2);
      expect(eigenvalues[0]).toBeCloseTo((5 - Math.sqrt(5)) / 2, digits - 1);
      expect(eigenvalues[1]).toBeCloseTo((5 + Math.sqrt(5)) / 2, digits - 1);
    }
    const found = newton(f, tensor([7, -30], { dtype }), { tolerance: 1e-4 });
    expect([found.steps, found.converged]).toEqual([1, true]);
  });

  it('takes the toy regression to w* = A⁻¹b = (0, 1) in one step', () => {
    // Lecture 001: (2, 2) → 2 and (2, 0) → 0, L = ½ Σ (y − wᵀx)².
    const x = tensor(
      [
        [2, 2],
        [2, 0],
      ],
      { dtype },
    );
    const y = tensor([2, 0], { dtype });
    const loss = (w: Tensor): Tensor => y.sub(x.matmul(w)).square().sum().mul(0.5);
    const { point, value, decrement } = newtonStep(loss, tensor([-1, 3], { dtype }));
    expect(numbers(point)[0]).toBeCloseTo(0, digits);
    expect(numbers(point)[1]).toBeCloseTo(1, digits);
    // Residuals at (−1, 3): 2 − 4 and 0 + 2, so L = 4, and all of it is gained: ½ decrement² = 4.
    expect(value).toBeCloseTo(4, digits);
    expect(decrement ** 2 / 2).toBeCloseTo(4, digits - 1);
  });

  it('comes nearer by the factor 1 − α with every damped step', () => {
    const f = quadraticForm(
      [
        [3, 1],
        [1, 2],
      ],
      [1, -4],
    );
    let theta = tensor([5, 5], { dtype });
    for (let t = 1; t <= 6; t++) {
      theta = newtonStep(f, theta, { stepSize: 0.25 }).point;
      const left = 0.75 ** t;
      expect(numbers(theta)[0]).toBeCloseTo(-1.2 + left * 6.2, digits - 1);
      expect(numbers(theta)[1]).toBeCloseTo(2.6 + left * 2.4, digits - 1);
    }
  });

  it('notices a minimum where the function is so steep that round-off keeps the gradient from zero', () => {
    // Lines through exact data: the minimum is the line itself, the Hessian about 10⁵.
    const line = [3.1, -0.7, -7.3];
    const rows = Array.from({ length: 50 }, (_, i) => [i, (i * i) % 37, 1]);
    const x = tensor(rows, { dtype });
    const y = tensor(
      rows.map((row) => row.reduce((sum, v, j) => sum + v * line[j]!, 0)),
      { dtype },
    );
    const loss = (w: Tensor): Tensor => x.matmul(w).sub(y).square().sum();
    const found = newton(loss, tensor([0, 0, 0], { dtype }));
    expect(found.converged).toBe(true);
    expect(found.steps).toBeLessThan(4);
    expect(numbers(found.point)).toEqual(line.map((v) => expect.closeTo(v, dtype === 'float64' ? 10 : 3)));
    expect(classifyCriticalPoint(loss, found.point).kind).toBe('minimum');
    // Somewhere near it is not it; and what is asked for is taken literally.
    const near = found.point.add(1e-2);
    expect(() => classifyCriticalPoint(loss, near)).toThrow(/no critical point/);
    expect(newton(loss, near, { tolerance: 0, maxSteps: 1 })).toMatchObject({ converged: false, steps: 1 });
  });

  it('refuses a singular Hessian, and steps with a regularization', () => {
    // (a + b − 1)²: the Hessian [[2, 2], [2, 2]] has the eigenvalues 0 and 4.
    const f = (w: Tensor): Tensor => w.sum().sub(1).square();
    const start = tensor([2, 3], { dtype });
    expect(() => newtonStep(f, start)).toThrow(LinAlgError);
    expect(() => newtonStep(f, start)).toThrow(/singular: 1 of its 2 eigenvalues are zero.*regularization/);
    expect(() => newton(f, start)).toThrow(LinAlgError);
    // (H + I)⁻¹ g with g = (8, 8): along (1, 1) the eigenvalue is 5.
    const { point } = newtonStep(f, start, { regularization: 1 });
    expect(numbers(point)[0]).toBeCloseTo(2 - 8 / 5, digits);
    expect(numbers(point)[1]).toBeCloseTo(3 - 8 / 5, digits);
  });

  it('refuses an indefinite Hessian, and goes where it is told to', () => {
    // a² − b² from (1, 1): the saddle point is (0, 0); |λ| leads to (0, 2), down the slope of b.
    const f = (w: Tensor): Tensor =>
      w
        .square()
        .mul(tensor([1, -1], { dtype }))
        .sum();
    const start = tensor([1, 1], { dtype });
    expect(() => newtonStep(f, start)).toThrow(LinAlgError);
    expect(() => newtonStep(f, start)).toThrow(/lowest eigenvalue is -2.*saddle point/);
    const go = (indefinite: 'accept' | 'absolute'): number[] =>
      numbers(newtonStep(f, start, { indefinite }).point).map((v) => Number(v.toFixed(digits)));
    expect(go('accept')).toEqual([0, 0]);
    expect(go('absolute')).toEqual([0, 2]);
    const down = (w: Tensor): Tensor => w.square().sum().neg();
    expect(() => newtonStep(down, start)).toThrow(/maximum/);
  });

  it('converges quadratically on a function of two tensors, and gives back both', () => {
    // Rosenbrock's function, its variables apart.
    const f = (a: Tensor, b: Tensor): Tensor =>
      b.sub(a.square()).square().mul(100).add(a.sub(1).square()).sum();
    const { point, converged, steps, value } = newton(
      f,
      [tensor([-1.2], { dtype }), tensor([1], { dtype })],
      {
        tolerance: dtype === 'float64' ? 1e-10 : 1e-3,
      },
    );
    expect([converged, point.length]).toEqual([true, 2]);
    expect(steps).toBeLessThan(10);
    for (const t of point) expect(t.item()).toBeCloseTo(1, dtype === 'float64' ? 10 : 4);
    expect(value).toBeLessThan(1e-7);
  });
});

describe('nonsense', () => {
  const f = (w: Tensor): Tensor => w.square().sum();
  const any = f as unknown as (...xs: Tensor[]) => Tensor;
  it.each([
    ['no function', () => newtonStep(3 as never, [1]), ArgumentError],
    ['no point', () => newtonStep(any, null as never), ArgumentError],
    ['an empty list', () => newtonStep(any, []), ArgumentError],
    ['integers', () => newtonStep(any, tensor([1], { dtype: 'int32' })), DTypeError],
    ['a vector of values', () => newtonStep((w: Tensor) => w, [1, 2]), ShapeError],
    ['no tensor', () => newtonStep((() => 3) as never, [1, 2]), ArgumentError],
    ['a step of 0', () => newtonStep(any, [1], { stepSize: 0 }), ArgumentError],
    ['a step above 1', () => newtonStep(any, [1], { stepSize: 1.5 }), ArgumentError],
    ['a negative regularization', () => newtonStep(any, [1], { regularization: -1 }), ArgumentError],
    ['another word', () => newtonStep(any, [1], { indefinite: 'ignore' as never }), ArgumentError],
    ['another option', () => newtonStep(any, [1], { stepsize: 1 } as never), ArgumentError],
    ['half a step', () => newton(any, [1], { maxSteps: 1.5 }), ArgumentError],
    ['no tolerance', () => newton(any, [1], { tolerance: NaN }), ArgumentError],
    ['what is not finite', () => newtonStep((w: Tensor) => w.log().sum(), [-1, 1]), LinAlgError],
    ['a slope', () => classifyCriticalPoint(any, [1, 2]), ArgumentError],
    ['a matrix that is not square', () => classifyHessian([[1, 2]]), ShapeError],
    ['a matrix that is not symmetric', () => classifyHessian([[1, 2], [3, 4]]), LinAlgError], // biome-ignore format: a matrix
    ['a matrix with NaN', () => classifyHessian([[NaN]]), LinAlgError],
  ])('is refused: %s', (_, run, error) => {
    expect(run).toThrow(error);
  });

  it('takes plain numbers as float64, and stops after maxSteps', () => {
    const quartic = (w: Tensor): Tensor => w.pow(4).sum();
    const found = newton(quartic, [1, 2], { maxSteps: 3 });
    expect(found.point.dtype).toBe('float64');
    expect([found.converged, found.steps]).toEqual([false, 3]);
    // On w⁴ a Newton step multiplies w by 2/3.
    expect(numbers(found.point)[1]).toBeCloseTo(2 * (2 / 3) ** 3, 12);
  });
});

describe.each(dtypes)('critical points in %s', (dtype) => {
  const two = (f: (a: Tensor, b: Tensor) => Tensor) => (w: Tensor) => f(w.select(0, 0), w.select(0, 1));
  it.each([
    ['minimum', two((a, b) => a.square().add(b.square().mul(3))), [0, 0], [2, 6]],
    ['maximum', two((a, b) => a.cos().add(b.cos())), [0, 0], [-1, -1]],
    ['saddle', two((a, b) => a.mul(b)), [0, 0], [-1, 1]],
    // (a³ − 3a) + b²: a minimum at a = 1 and a saddle point at a = −1.
    ['minimum', two((a, b) => a.pow(3).sub(a.mul(3)).add(b.square())), [1, 0], [2, 6]],
    ['saddle', two((a, b) => a.pow(3).sub(a.mul(3)).add(b.square())), [-1, 0], [-6, 2]],
    // Second derivatives do not decide: a⁴ has a minimum, −a⁴ a maximum, a³ neither.
    ['degenerate', two((a, b) => a.pow(4).add(b.square())), [0, 0], [0, 2]],
    ['degenerate', two((a, b) => a.pow(3).sub(b.square())), [0, 0], [-2, 0]],
    ['degenerate', two((a, b) => a.pow(4).add(b.pow(4))), [0, 0], [0, 0]],
  ] as const)('tells a %s by the signs of the eigenvalues', (kind, f, at, expected) => {
    const found = classifyCriticalPoint(f, tensor(at as unknown as number[], { dtype }));
    expect(found.kind).toBe(kind);
    expected.forEach((v, i) => {
      expect(found.eigenvalues[i]).toBeCloseTo(v, dtype === 'float64' ? 12 : 5);
    });
    expect(found.index).toBe(expected.filter((v) => v < 0).length);
    expect(found.gradientNorm).toBeLessThan(1e-6);
  });

  it('are saddle points where some eigenvalues are zero but both signs occur', () => {
    const diagonal = (...values: number[]): Tensor =>
      stack(
        values.map((v, i) =>
          tensor(
            values.map((_, j) => (i === j ? v : 0)),
            { dtype },
          ),
        ),
      );
    expect(classifyHessian(diagonal(-1, 0, 2)).kind).toBe('saddle');
    expect(classifyHessian(diagonal(1, 0, 2)).kind).toBe('degenerate');
    expect(classifyHessian(diagonal(1, 1e-5, 2), { tolerance: 1e-4 }).kind).toBe('degenerate');
    expect(classifyHessian(diagonal(1, 1e-3, 2), { tolerance: 1e-4 }).kind).toBe('minimum');
    expect(classifyHessian(diagonal(-3, -1))).toMatchObject({ kind: 'maximum', index: 2 });
  });
});

it('a second-order approximation can be wildly inaccurate', () => {
  // Lecture 004. Of w ↦ log cosh(w), convex with its minimum at 0: from 1.2 on the quadratic approximation sends the full step
  // further away every time; the damped one arrives.
  const f = (w: Tensor): Tensor => w.exp().add(w.neg().exp()).mul(0.5).log().sum();
  const bad = newtonStep(f, [1.2]).point.item();
  // w − tanh(w) cosh(w)² = w − sinh(2w)/2.
  expect(bad).toBeCloseTo(1.2 - Math.sinh(2.4) / 2, 12);
  expect(Math.abs(bad)).toBeGreaterThan(1.5);
  const approximation = Quadratic.approximate(f, [1.2]);
  expect(approximation.value(tensor([bad], { dtype: 'float64' })).item()).toBeLessThan(0);
  expect(f(tensor([bad], { dtype: 'float64' })).item()).toBeGreaterThan(0.8);
  const damped = newton(f, [1.2], { stepSize: 0.4, maxSteps: 100 });
  expect(damped.converged).toBe(true);
  expect(damped.point.item()).toBeCloseTo(0, 9);
});
