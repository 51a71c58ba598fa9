import { ArgumentError, F, LinAlgError, noGrad, optim, ShapeError, type Tensor, tensor } from 'simdgrad';
import { convergenceRate, eigh, hessian, hessianMatrix, matrixRank, Quadratic } from 'simdgrad/analysis';
import { describe, expect, it } from 'vitest';

const dtypes = ['float64', 'float32'] as const;
const numbers = (t: Tensor): number[] => [...t.data];
const rounded = (list: Iterable<number>, digits: number): number[] =>
  [...list].map((v) => Number(v.toFixed(digits)) + 0);

describe.each(dtypes)('a quadratic in %s', (dtype) => {
  const digits = dtype === 'float64' ? 12 : 5;
  const matrix = (rows: number[][]): Tensor => tensor(rows, { dtype });

  it('the toy regression has the A and b of its data, and its minimum at w* = A⁻¹b = (0, 1)', () => {
    // Lecture 001: L = ½ Σ (y − wᵀx)² on (2, 2) → 2 and (2, 0) → 0; A = Σ x xᵀ, b = Σ y x, c = ½ Σ y².
    const x = matrix([
      [2, 2],
      [2, 0],
    ]);
    const y = tensor([2, 0], { dtype });
    const loss = (w: Tensor): Tensor => y.sub(x.matmul(w)).square().sum().mul(0.5);
    for (const at of [
      [0, 0],
      [3, -2],
    ]) {
      const q = Quadratic.approximate(loss, tensor(at, { dtype }));
      expect(rounded(numbers(q.A), digits)).toEqual([8, 4, 4, 4]);
      expect(rounded(numbers(q.b), digits)).toEqual([4, 4]);
      expect(q.c).toBeCloseTo(2, digits);
      expect(rounded(numbers(q.minimizer), digits)).toEqual([0, 1]);
      // λ² − 12λ + 16 = 0.
      const [low, high] = [6 - Math.sqrt(20), 6 + Math.sqrt(20)];
      expect(q.eigenvalues[0]).toBeCloseTo(low, digits - 1);
      expect(q.eigenvalues[1]).toBeCloseTo(high, digits - 1);
      expect(q.conditionNumber).toBeCloseTo(high / low, digits - 2);
      // 2/(λ₁ + λ₂) = 1/6 and (κ − 1)/(κ + 1) = √20/6.
      expect(q.optimalLearningRate).toBeCloseTo(1 / 6, digits);
      expect(q.optimalRate).toBeCloseTo(Math.sqrt(20) / 6, digits);
      expect(q.rate(q.optimalLearningRate)).toBeCloseTo(q.optimalRate, digits);
      expect(q.measure().measured).toBeCloseTo(Math.sqrt(20) / 6, dtype === 'float64' ? 8 : 4);
      // It is the loss, everywhere.
      for (const w of [
        [1, 1],
        [-2, 0.5],
      ]) {
        const t = tensor(w, { dtype });
        expect(q.value(t.to('float64')).item()).toBeCloseTo(loss(t).item(), digits - 2);
      }
    }
  });

  it('every component shrinks by a factor of its own per step of gradient descent, 1 − ηλ_m in size', () => {
    // Eigenvectors (1, 1)/√2 and (1, −1)/√2 with the eigenvalues 3 and 1.
    const q = new Quadratic(
      matrix([
        [2, 1],
        [1, 2],
      ]),
      [1, 5],
    );
    expect(rounded(numbers(q.minimizer), digits)).toEqual([-1, 3]);
    const vectors = numbers(q.eigenvectors);
    expect(Math.abs((vectors[0] as number) * (vectors[2] as number))).toBeCloseTo(0.5, digits);
    expect((vectors[0] as number) * (vectors[2] as number)).toBeLessThan(0);
    for (const lr of [0.1, 0.5, 0.6]) {
      const found = q.measure({ lr, steps: 40 });
      const expected = [1, 3].map((v) => Math.abs(1 - lr * v));
      expected.forEach((rate, m) => {
        expect(q.componentRates(lr)[m]).toBeCloseTo(rate, digits);
        expect(found.predictedComponents[m]).toBeCloseTo(rate, digits);
        expect(found.measuredComponents[m]).toBeCloseTo(rate, dtype === 'float64' ? 6 : 3);
      });
      expect(found.measured).toBeCloseTo(Math.max(...expected), dtype === 'float64' ? 6 : 3);
    }
    // η = 2/3 and above diverges, which is measured as well.
    expect(q.rate(0.7)).toBeCloseTo(1.1, digits);
    expect(q.measure({ lr: 0.7 }).measured).toBeCloseTo(1.1, 4);
    // The coordinates z = Qᵀ(w − w*) of w* + q₁.
    const z = q.coordinates(tensor([-1 + (vectors[0] as number), 3 + (vectors[2] as number)], { dtype }));
    expect(rounded(numbers(z), 5)).toEqual([1, 0]);
  });

  it('with κ = 1 gradient descent converges in one iteration', () => {
    const q = new Quadratic(
      matrix([
        [4, 0],
        [0, 4],
      ]),
      [8, -4],
    );
    expect([q.conditionNumber, q.optimalLearningRate, q.optimalRate]).toEqual([1, 0.25, 0]);
    const found = q.measure({ start: [9, 9] });
    expect(found.distances[0]).toBeCloseTo(Math.hypot(7, 10), digits - 1);
    expect(found.distances[1]).toBe(0);
    expect(found.measured).toBe(0);
  });

  it('predicted and measured rates agree where another component is nearly as slow', () => {
    // λ = 1, 1.02, 3: 1 − ηλ = ½, 0.49, −½ for η = ½.
    const q = new Quadratic(matrix([[1, 0, 0], [0, 1.02, 0], [0, 0, 3]]), [1, 2, 3]); // biome-ignore format: a matrix
    const { predicted, measured } = q.measure();
    expect(predicted).toBeCloseTo(0.5, 12);
    expect(measured).toBeCloseTo(0.5, dtype === 'float64' ? 7 : 5);
    // With only the two others in the start it is the one with 0.49.
    expect(q.measure({ start: [1, 4, 1] }).measured).toBeCloseTo(0.49, dtype === 'float64' ? 7 : 5);
  });

  it('measures the rate wherever the minimum is', () => {
    for (const size of [1e-3, 1, 1e3, 1e6]) {
      const q = new Quadratic(matrix([[1, 0.2], [0.2, 2]]), [5 * size, 3 * size]); // biome-ignore format: a matrix
      const { predicted, measured } = q.measure();
      expect(predicted).toBeCloseTo(Math.sqrt(1 + 0.16) / 3, 6); // (λ₂ − λ₁)/(λ₂ + λ₁) of trace 3 and determinant 1.96
      expect(measured).toBeCloseTo(predicted, dtype === 'float64' ? 7 : 4);
    }
  });

  it('measures what is not in the start, but grows from round-off', () => {
    const q = new Quadratic(matrix([[2, 0.7], [0.7, 1.3]]), [0.3, 0.1]); // biome-ignore format: a matrix
    const [w, vectors] = [numbers(q.minimizer), q.eigenvectors.toArray() as number[][]];
    const start = w.map((v, i) => v + vectors[i]![0]!);
    const { measured, predicted, measuredComponents } = q.measure({ lr: 1, start, steps: 150 });
    expect(predicted).toBeGreaterThan(1.4);
    expect(measured).toBeCloseTo(predicted, 4);
    expect([measuredComponents[0]! < 0.2, measuredComponents[1]]).toEqual([true, NaN]);
  });

  it('the larger κ, the slower gradient descent: predicted and measured agree', () => {
    for (const kappa of [1.5, 10, 100, ...(dtype === 'float64' ? [1000] : [])]) {
      const q = new Quadratic(
        matrix([
          [kappa, 0, 0],
          [0, 1, 0],
          [0, 0, (1 + kappa) / 2],
        ]),
        [1, 2, 3],
      );
      expect(q.conditionNumber).toBeCloseTo(kappa, digits - 2);
      const predicted = (kappa - 1) / (kappa + 1);
      expect(q.optimalRate).toBeCloseTo(predicted, digits - 1);
      const found = q.measure();
      expect(found.predicted).toBeCloseTo(predicted, digits - 1);
      expect(found.measured).toBeCloseTo(predicted, dtype === 'float64' ? 7 : 3);
      // No other learning rate is better.
      for (const factor of [0.8, 0.99, 1.01, 1.2]) {
        expect(q.rate(factor * q.optimalLearningRate)).toBeGreaterThan(predicted);
      }
    }
  });

  it('the Hessian of linear regression is the covariance of the inputs', () => {
    // Lecture 001: L = 1/(2N) Σ (y − wᵀx)², H = 1/N Σ x xᵀ.
    const x = [
      [0.5, -1, 2],
      [1.5, 0.25, -1],
      [-2, 0.75, -0.5],
      [0, 0, -0.5],
    ];
    const mean = [0, 1, 2].map((i) => x.reduce((s, row) => s + (row[i] as number), 0));
    expect(mean).toEqual([0, 0, 0]);
    const covariance = [0, 1, 2].map((i) =>
      [0, 1, 2].map((j) => x.reduce((s, row) => s + (row[i] as number) * (row[j] as number), 0) / 4),
    );
    const inputs = matrix(x);
    const y = tensor([1, -2, 0.5, 3], { dtype });
    const loss = (w: Tensor): Tensor => F.mseLoss(inputs.matmul(w), y).mul(0.5);
    for (const at of [
      [0, 0, 0],
      [4, -1, 2],
    ]) {
      const found = hessian(loss, tensor(at, { dtype })).toArray() as number[][];
      found.forEach((row, i) => {
        row.forEach((v, j) => {
          expect(v).toBeCloseTo((covariance[i] as number[])[j] as number, digits);
        });
      });
    }
    expect(hessianMatrix(loss, [0, 0, 0]).dtype).toBe('float64');
  });

  it('inputs with the identity for their covariance let gradient descent converge in one step; standardised ones in fewer', () => {
    // Lectures 001 and 003. Inputs of different size that hang together: x₁ = u, x₂ = 20 u + 5 v, of u and v = ±1.
    const signs = [
      [1, 1],
      [1, -1],
      [-1, 1],
      [-1, -1],
    ];
    const raw = signs.map(([u, v]) => [u as number, 20 * (u as number) + 5 * (v as number)]);
    const deviation = Math.sqrt(425);
    const standard = raw.map(([a, b]) => [a as number, (b as number) / deviation]);
    const y = tensor([1, 2, -1, 0.5], { dtype });
    const approximate = (x: number[][]): Quadratic =>
      Quadratic.approximate(
        (w: Tensor) => F.mseLoss(matrix(x).matmul(w), y).mul(0.5),
        tensor([0, 0], { dtype }),
      );
    const [plain, scaled, white] = [raw, standard, signs].map(approximate) as [
      Quadratic,
      Quadratic,
      Quadratic,
    ];
    // Covariances [[1, 20], [20, 425]] and [[1, ρ], [ρ, 1]] with ρ = 20/√425.
    const root = Math.sqrt(426 ** 2 - 4 * 25);
    expect(plain.conditionNumber / ((426 + root) / (426 - root))).toBeCloseTo(1, dtype === 'float64' ? 9 : 3);
    const rho = 20 / deviation;
    expect(scaled.conditionNumber / ((1 + rho) / (1 - rho))).toBeCloseTo(1, dtype === 'float64' ? 9 : 4);
    expect(white.conditionNumber).toBeCloseTo(1, digits);
    expect(white.measure().distances[1]).toBeLessThan(1e-6);
    expect(scaled.optimalRate).toBeLessThan(plain.optimalRate);
  });

  it('the quadratic approximation is far better than the linear one nearby: errors of third and second order', () => {
    // Lectures 001 and 004. f = exp(a) sin(b) + a b², about (0.3, 0.8).
    const f = (w: Tensor): Tensor => {
      const [a, b] = [w.select(0, 0), w.select(0, 1)];
      return a.exp().mul(b.sin()).add(a.mul(b.square()));
    };
    const [a, b] = [0.3, 0.8];
    const [e, s, c] = [Math.exp(a), Math.sin(b), Math.cos(b)];
    const gradient = [e * s + b * b, e * c + 2 * a * b];
    const q = Quadratic.approximate(f, tensor([a, b], { dtype }));
    const closed = [e * s, e * c + 2 * b, e * c + 2 * b, -e * s + 2 * a];
    numbers(q.A).forEach((v, i) => {
      expect(v).toBeCloseTo(closed[i] as number, digits - 1);
    });
    const exact = (t: number): number => {
      const [u, v] = [a + t, b - 2 * t];
      return Math.exp(u) * Math.sin(v) + u * v * v;
    };
    const linear = (t: number): number => exact(0) + gradient[0]! * t - 2 * gradient[1]! * t;
    const quadratic = (t: number): number => q.value(tensor([a + t, b - 2 * t], { dtype: 'float64' })).item();
    const error = (g: (t: number) => number, t: number): number => Math.abs(g(t) - exact(t));
    // In float32 the terms themselves are off by 1e-7.
    const [far, near] = dtype === 'float64' ? [1e-2, 1e-3] : [0.1, 0.05];
    const order = (g: (t: number) => number): number =>
      Math.log(error(g, far) / error(g, near)) / Math.log(far / near);
    expect(order(linear)).toBeCloseTo(2, dtype === 'float64' ? 1 : 0);
    expect(order(quadratic)).toBeCloseTo(3, dtype === 'float64' ? 1 : 0);
    expect(error(quadratic, near)).toBeLessThan(error(linear, near) / 5);
  });
});

it('gradient descent stops improving in the direction of a zero eigenvalue, and climbs out along a negative one', () => {
  const flat = new Quadratic([
    [2, 0],
    [0, 0],
  ]);
  expect([flat.conditionNumber, flat.optimalRate, flat.optimalLearningRate]).toEqual([Infinity, 1, 1]);
  expect(() => flat.minimizer).toThrow(LinAlgError);
  expect(() => flat.measure()).toThrow(/singular/);
  const saddle = new Quadratic([
    [2, 0],
    [0, -1],
  ]);
  for (const run of [
    () => saddle.conditionNumber,
    () => saddle.optimalRate,
    () => saddle.optimalLearningRate,
    () => saddle.measure(),
  ])
    expect(run).toThrow(LinAlgError);
  // |1 + 0.1| per step, away from the saddle point.
  expect(saddle.measure({ lr: 0.1 }).measured).toBeCloseTo(1.1, 10);
});

it('measures on its own what optim.SGD does', () => {
  const q = new Quadratic([
    [2, 1],
    [1, 2],
  ]);
  const w = tensor([1, 0], { dtype: 'float64', requiresGrad: true });
  const optimizer = new optim.SGD([w], { lr: 0.3 });
  const lengths = [1];
  for (let t = 0; t < 30; t++) {
    optimizer.zeroGrad();
    q.value(w).backward();
    optimizer.step();
    lengths.push(noGrad(() => w.norm().item()));
  }
  expect([...q.measure({ lr: 0.3, start: [1, 0], steps: 30 }).distances]).toEqual(
    lengths.map((v) => expect.closeTo(v, 13)),
  );
  expect(convergenceRate(lengths)).toBeCloseTo(0.7, 6);
  expect(convergenceRate([1, 0.5, 0.25, 0])).toBe(0.5);
  expect(convergenceRate([3, 0])).toBe(0);
});

it('eigh orders eigenvalues as the lecture does, and matrixRank counts singular values', () => {
  const { eigenvalues, eigenvectors } = eigh([
    [2, 0, 0],
    [0, 5, 0],
    [0, 0, -1],
  ]);
  expect([...eigenvalues]).toEqual([-1, 2, 5]);
  expect(numbers(eigenvectors).map(Math.abs)).toEqual([0, 1, 0, 0, 0, 1, 1, 0, 0]);
  expect(matrixRank([[1, 2], [2, 4], [3, 6]])).toBe(1); // biome-ignore format: a matrix
  expect(matrixRank([[1, 2, 3], [2, 4, 7]])).toBe(2); // biome-ignore format: a matrix
  expect(matrixRank([[0, 0], [0, 0]])).toBe(0); // biome-ignore format: a matrix
  expect(matrixRank([[1, 0], [0, 1e-5]], { tolerance: 1e-4 })).toBe(1); // biome-ignore format: a matrix
});

describe('nonsense', () => {
  const q = new Quadratic([[1]]);
  it('has eigenvalues and a rank for numbers whose squares overflow or vanish', () => {
    for (const s of [8e307, 1e-300]) {
      expect(eigh([[s, s], [s, s]]).eigenvalues[1]! / s).toBeCloseTo(2, 12); // biome-ignore format: a matrix
      expect(matrixRank([[s, s], [s, s]])).toBe(1); // biome-ignore format: a matrix
      expect(matrixRank([[s, 0], [0, s / 3]])).toBe(2); // biome-ignore format: a matrix
    }
    const large = Array.from({ length: 4 }, () => [1e308, 1e308, 1e308, 1e308]);
    expect(() => eigh(large)).toThrow(/so large that the result overflows/);
    expect(() => matrixRank(large)).toThrow(LinAlgError);
  });

  it.each([
    ['a matrix that is not square', () => new Quadratic([[1, 2]]), ShapeError],
    ['a matrix that is not symmetric', () => new Quadratic([[1, 2], [0, 1]]), LinAlgError], // biome-ignore format: a matrix
    ['a wrong b', () => new Quadratic([[1]], [1, 2]), ShapeError],
    ['a wrong c', () => new Quadratic([[1]], [1], 'x' as never), ArgumentError],
    ['a wrong w', () => q.value(tensor([1, 2], { dtype: 'float64' })), ShapeError],
    ['a wrong start', () => q.measure({ start: [1, 2] }), ShapeError],
    ['no learning rate', () => q.rate(0), ArgumentError],
    ['no steps', () => q.measure({ steps: 0 }), ArgumentError],
    ['another option', () => q.measure({ learningRate: 1 } as never), ArgumentError],
    ['one distance', () => convergenceRate([1]), ArgumentError],
    ['negative distances', () => convergenceRate([1, -1]), ArgumentError],
    ['a negative tolerance', () => matrixRank([[1]], { tolerance: -1 }), ArgumentError],
    ['a floor that is no number', () => convergenceRate([1, 0.5], { floor: NaN }), ArgumentError],
    ['distances that are words', () => convergenceRate(['1', '2'] as never), ArgumentError],
    ['distances of big integers', () => convergenceRate(BigInt64Array.of(4n, 2n) as never), ArgumentError],
    ['a matrix with NaN for a rank', () => matrixRank([[NaN, 1], [1, 2]]), LinAlgError], // biome-ignore format: a matrix
    ['a matrix with Infinity for eigenvalues', () => eigh([[Infinity]]), LinAlgError],
    ['a b with NaN', () => new Quadratic([[1]], [NaN]), LinAlgError],
    ['a c that is NaN', () => new Quadratic([[1]], [1], NaN), ArgumentError],
    ['a start with NaN', () => q.measure({ start: [NaN] }), LinAlgError],
    ['a word for a matrix', () => eigh('A' as never), ArgumentError],
  ])('is refused: %s', (_, run, error) => {
    expect(run).toThrow(error);
  });
});
