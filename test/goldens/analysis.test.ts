import { F, nn, optim, type Tensor, tensor } from 'simdgrad';
import {
  convergenceRate,
  distances,
  eigh,
  functionalCall,
  hessianMatrix,
  hvp,
  linearize,
  newton,
  newtonStep,
  Quadratic,
  Recorder,
} from 'simdgrad/analysis';
import { describe, expect, it } from 'vitest';
import { decode, expectClose, type GoldenTensor, load, type Tolerance } from './golden.js';

interface NetworkCase {
  readonly case: 'network';
  readonly x: GoldenTensor;
  readonly other: GoldenTensor;
  readonly y: GoldenTensor;
  readonly parameters: readonly GoldenTensor[];
  readonly delta: GoldenTensor;
  readonly output: GoldenTensor;
  readonly features: GoldenTensor;
  readonly kernel: GoldenTensor;
  readonly kernelOther: GoldenTensor;
  readonly exact: GoldenTensor;
  readonly linear: GoldenTensor;
  readonly quadratic: GoldenTensor;
  readonly loss: number;
  readonly hessian: GoldenTensor;
  readonly eigenvalues: readonly number[];
  readonly hvp: readonly number[];
  readonly regularization: number;
  readonly newton: readonly number[];
  readonly activationNorms: readonly number[];
  readonly gradientNorms: readonly number[];
  readonly parameterGradientNorms: readonly number[];
}

interface LogisticCase {
  readonly case: 'logistic';
  readonly x: GoldenTensor;
  readonly labels: readonly number[];
  readonly penalty: number;
  readonly stepSize: number;
  readonly path: readonly (readonly number[])[];
}

interface QuadraticCase {
  readonly case: 'quadratic';
  readonly A: GoldenTensor;
  readonly b: readonly number[];
  readonly minimizer: readonly number[];
  readonly eigenvalues: readonly number[];
  readonly conditionNumber: number;
  readonly lr: number;
  readonly start: readonly number[];
  readonly distances: readonly number[];
}

type Case = NetworkCase | LogisticCase | QuadraticCase;

const { cases } = load<Case>('analysis');
const ofKind = <K extends Case['case']>(kind: K): Extract<Case, { case: K }>[] =>
  cases.filter((c) => c.case === kind) as Extract<Case, { case: K }>[];

const dtypes = ['float64', 'float32'] as const;
const tolerance: Record<(typeof dtypes)[number], Tolerance> = {
  float64: { relative: 1e-11, absolute: 1e-12 },
  float32: { relative: 2e-5, absolute: 5e-6 },
};

const [golden] = ofKind('network') as [NetworkCase];

describe.each(dtypes)('a network of PyTorch in %s', (dtype) => {
  const near = tolerance[dtype];
  const read = (g: GoldenTensor): Tensor => decode(g).to(dtype);
  const close = (what: string, actual: Tensor, expected: GoldenTensor): void => {
    expect(actual.dtype).toBe(dtype);
    expect(actual.shape).toEqual([...expected.shape]);
    expectClose(what, actual.data, expected.data, near);
  };
  const parameters = golden.parameters.map(read);
  const [x, y, delta] = [read(golden.x), read(golden.y), read(golden.delta)];
  const model = new nn.Sequential(
    new nn.Linear(3, 4, { dtype }),
    new nn.Tanh(),
    new nn.Linear(4, 2, { dtype }),
  );
  model.parameters().forEach((p, i) => p.copy_(parameters[i] as Tensor));
  const loss = (...theta: Tensor[]): Tensor => F.mseLoss(functionalCall(model, theta, x), y);

  it('has the Taylor expansion of PyTorch, of a module and of a function', () => {
    const [w1, b1] = parameters as [Tensor, Tensor];
    const f = ([a, b, c, d]: [Tensor, Tensor, Tensor, Tensor], inputs: Tensor): Tensor =>
      inputs.matmul(a).add(b).tanh().matmul(c).add(d);
    for (const about of [linearize(model), linearize(f, parameters)]) {
      close('features', about.features(x), golden.features);
      close('kernel', about.kernel(x), golden.kernel);
      close('kernel with other inputs', about.kernel(x, read(golden.other)), golden.kernelOther);
      close('exact', about.exact(x, delta), golden.exact);
      close('linear', about.linear(x, delta), golden.linear);
      close('quadratic', about.quadratic(x, delta), golden.quadratic);
      // Δθ in pieces is the same.
      const pieces = [
        delta.slice([0, 12]).reshape(w1.shape),
        delta.slice([12, 16]).reshape(b1.shape),
        delta.slice([16, 24]).reshape(4, 2),
        delta.slice([24, 26]),
      ];
      close('linear in pieces', about.linear(x, pieces), golden.linear);
    }
    // The parameters of the module are where they were.
    model.parameters().forEach((p, i) => {
      expectClose('parameter', p.data, [...(parameters[i] as Tensor).data], { relative: 0, absolute: 0 });
    });
  });

  it('has the Hessian of PyTorch, with its eigenvalues and its products', () => {
    expect(loss(...parameters).item()).toBeCloseTo(golden.loss, dtype === 'float64' ? 13 : 6);
    close('hessian', hessianMatrix(loss, parameters), golden.hessian);
    expectClose('eigenvalues', eigh(hessianMatrix(loss, parameters)).eigenvalues, golden.eigenvalues, near);
    const pieces = linearize((theta: Tensor[]) => loss(...theta), parameters);
    expect(pieces.size).toBe(26);
    let at = 0;
    const directions = parameters.map((p) => {
      at += p.size;
      return delta.slice([at - p.size, at]).reshape(p.shape);
    });
    const [, products] = hvp(loss, parameters, directions);
    expectClose(
      'hvp',
      products.flatMap((t) => [...t.data]),
      golden.hvp,
      near,
    );
  });

  it('takes the regularized Newton step that NumPy solves for', () => {
    const { regularization } = golden;
    const step = newtonStep(loss, parameters, { regularization });
    expect(step.value).toBeCloseTo(golden.loss, 5);
    expectClose(
      'newton',
      step.point.flatMap((t) => [...t.data]),
      golden.newton,
      {
        relative: 10 * near.relative,
        absolute: 10 * near.absolute,
      },
    );
  });

  it('has the norms of activations and gradients of PyTorch', () => {
    const recorder = new Recorder(model);
    model.zeroGrad();
    F.mseLoss(model.forward(x), y).backward();
    const { layers, parameters: held } = recorder.step();
    recorder.detach();
    expect(Object.keys(layers)).toEqual(['0', '1', '2']);
    const all = Object.values(layers);
    expectClose(
      'activations',
      all.map((r) => r.activationNorm),
      golden.activationNorms,
      near,
    );
    expectClose(
      'gradients',
      all.map((r) => r.gradientNorm as number),
      golden.gradientNorms,
      near,
    );
    const sizes = [20, 20, 10];
    expectClose(
      'root mean squares',
      all.map((r) => r.activationRms),
      golden.activationNorms.map((n, i) => n / Math.sqrt(sizes[i] as number)),
      near,
    );
    expect(Object.keys(held)).toEqual(model.namedParameters().map(([name]) => name));
    expectClose(
      'gradients of parameters',
      Object.values(held).map((r) => r.gradientNorm as number),
      golden.parameterGradientNorms,
      near,
    );
  });

  it('is as far from its linearisation after training as the numbers say', () => {
    const about = linearize(model);
    const start = model.stateDict();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.5 });
    for (let i = 0; i < 20; i++) {
      optimizer.zeroGrad();
      F.mseLoss(model.forward(x), y).backward();
      optimizer.step();
    }
    const far = about.deviation(x);
    expect(far.distance).toBeCloseTo(distances(model, start).distance, 6);
    const now = [...model.forward(x).data];
    const before = golden.output.data as readonly number[];
    const moves = about.displacement().flatMap((t) => [...t.data]);
    const linear = before.map((v, k) => {
      const row = golden.features.data.slice(26 * k, 26 * (k + 1)) as number[];
      return v + row.reduce((sum, phi, i) => sum + phi * (moves[i] as number), 0);
    });
    const length = (v: number[]): number => Math.hypot(...v);
    const error = length(now.map((v, k) => v - (linear[k] as number)));
    const moved = length(now.map((v, k) => v - (before[k] as number)));
    expectClose('deviation', [far.error, far.moved, far.relative], [error, moved, error / moved], {
      relative: dtype === 'float64' ? 1e-9 : 1e-4,
      absolute: 0,
    });
    model.loadStateDict(start);
  });
});

describe.each(dtypes)("Newton's method in %s", (dtype) => {
  /** Logistic regression with a penalty on squares, as a function of the weights. */
  function regression(c: LogisticCase) {
    const x = decode(c.x).to(dtype);
    const labels = tensor([...c.labels], { dtype });
    return (w: Tensor): Tensor => {
      const penalty = w
        .square()
        .sum()
        .mul(c.penalty / 2);
      return F.bceWithLogits(x.matmul(w), labels, { reduction: 'sum' }).add(penalty);
    };
  }

  it('follows the path of NumPy on logistic regression, full and damped', () => {
    for (const c of ofKind('logistic')) {
      const f = regression(c);
      let w = tensor([0, 0, 0], { dtype });
      for (const expected of c.path) {
        w = newtonStep(f, w, { stepSize: c.stepSize }).point;
        expectClose(`step ${c.stepSize}`, w.data, expected, tolerance[dtype]);
      }
    }
  });

  it('goes on until the gradient is as good as zero', () => {
    const c = ofKind('logistic')[0] as LogisticCase;
    const f = regression(c);
    const found = newton(f, tensor([0, 0, 0], { dtype }));
    expect(found.converged).toBe(true);
    expect(found.steps).toBeLessThan(10);
    expect(found.gradientNorm).toBeLessThanOrEqual(dtype === 'float64' ? 1e-10 : 1e-5);
    expect(found.values.length).toBe(found.steps + 1);
    expect(found.values.at(-1)).toBe(found.value);
    // Strictly convex: at the optimum, w = Xᵀ(labels − σ(Xw)) / penalty.
    const w = [...found.point.data];
    const rows = decode(c.x).toArray() as number[][];
    for (let i = 0; i < 3; i++) {
      const sum = rows.reduce((s, row, n) => {
        const p = 1 / (1 + Math.exp(-row.reduce((t, v, k) => t + v * (w[k] as number), 0)));
        return s + (row[i] as number) * ((c.labels[n] as number) - p);
      }, 0);
      expect(sum / c.penalty).toBeCloseTo(w[i] as number, dtype === 'float64' ? 8 : 3);
    }
  });
});

describe.each(dtypes)('gradient descent on a quadratic in %s', (dtype) => {
  it('has the eigenvalues, condition number and minimum of NumPy and keeps the distances of its descent', () => {
    for (const c of ofKind('quadratic')) {
      const q = new Quadratic(decode(c.A).to(dtype), [...c.b]);
      expectClose('eigenvalues', q.eigenvalues, c.eigenvalues, tolerance[dtype]);
      expectClose('condition number', [q.conditionNumber], [c.conditionNumber], tolerance[dtype]);
      expectClose('minimizer', q.minimizer.data, c.minimizer, tolerance[dtype]);
      const found = q.measure({ lr: c.lr, start: [...c.start], steps: 60 });
      expectClose('distances', found.distances, c.distances, {
        relative: dtype === 'float64' ? 1e-9 : 1e-5,
        absolute: dtype === 'float64' ? 1e-13 : 2e-6,
      });
      expect(found.learningRate).toBe(c.lr);
    }
  });

  it('measures the rate of convergence that the eigenvalues predict', () => {
    for (const c of ofKind('quadratic')) {
      const [low, high] = [c.eigenvalues[0] as number, c.eigenvalues[4] as number];
      const predicted = Math.max(Math.abs(1 - c.lr * low), Math.abs(1 - c.lr * high));
      const found = new Quadratic(decode(c.A).to(dtype), [...c.b]).measure({ lr: c.lr });
      expect(found.predicted).toBeCloseTo(predicted, 6);
      expect(found.measured).toBeCloseTo(predicted, dtype === 'float64' ? 6 : 3);
      // The same from the distances that NumPy found.
      expect(convergenceRate(c.distances)).toBeCloseTo(predicted, 3);
    }
  });
});
