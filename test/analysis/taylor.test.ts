import {
  ArgumentError,
  compile,
  DTypeError,
  F,
  manualSeed,
  nn,
  optim,
  ShapeError,
  StateError,
  type Tensor,
  tensor,
} from 'simdgrad';
import { eigh, functionalCall, linearize, matrixRank } from 'simdgrad/analysis';
import { describe, expect, it } from 'vitest';

const dtypes = ['float64', 'float32'] as const;
const numbers = (t: Tensor): number[] => [...t.data];

/** A network 1-units-1 with ReLU: f(x) = Σ v_j max(0, w_j x + b_j) + c. */
function reluNet(units: number, dtype: 'float32' | 'float64') {
  const [first, second] = [new nn.Linear(1, units, { dtype }), new nn.Linear(units, 1, { dtype })];
  return { model: new nn.Sequential(first, new nn.ReLU(), second), first, second };
}

describe.each(dtypes)('the linearised network in %s', (dtype) => {
  const digits = dtype === 'float64' ? 12 : 4;

  /** A small network, linearised, and three points to train it on. */
  function threePoints() {
    const model = new nn.Sequential(
      new nn.Linear(1, 6, { dtype }),
      new nn.Tanh(),
      new nn.Linear(6, 1, { dtype }),
    );
    const x = tensor([[-1], [0.2], [1.5]], { dtype });
    const y = tensor([[1], [-1], [0.5]], { dtype });
    return { model, x, y, about: linearize(model) };
  }

  it('its features are the gradients with respect to the parameters, written out', () => {
    const { model, first, second } = reluNet(3, dtype);
    const [w, b, v, c] = [[2, -1, 0.5], [-1, 1, 0.25], [1.5, -2, 0.75], [0.1]];
    first.weight.copy_([w]);
    first.bias!.copy_(b);
    second.weight.copy_(v.map((x) => [x]));
    second.bias!.copy_(c);
    const inputs = [-2, 0.25, 3];
    const x = tensor(
      inputs.map((t) => [t]),
      { dtype },
    );
    const about = linearize(model);
    expect(about.size).toBe(10);
    const features = about.features(x);
    expect(features.shape).toEqual([3, 1, 10]);
    const rows = inputs.map((t) => {
      const on = w.map((wj, j) => (wj * t + b[j]! > 0 ? 1 : 0));
      const h = w.map((wj, j) => on[j]! * (wj * t + b[j]!));
      // In the order of the parameters: ∂f/∂w, ∂f/∂b, ∂f/∂v, ∂f/∂c.
      return [...v.map((vj, j) => vj * on[j]! * t), ...v.map((vj, j) => vj * on[j]!), ...h, 1];
    });
    expect(numbers(features)).toEqual(rows.flat().map((r) => expect.closeTo(r, digits)));
    const kernel = rows.map((r) => rows.map((s) => r.reduce((sum, p, i) => sum + p * s[i]!, 0)));
    expect(numbers(about.kernel(x))).toEqual(kernel.flat().map((k) => expect.closeTo(k, digits - 1)));
    // Linear in Δθ: twice the step, twice the change.
    const step = tensor(
      Array.from({ length: 10 }, (_, i) => (i % 3) - 1),
      { dtype },
    );
    const f0 = numbers(about.exact(x, step.mul(0)));
    expect(f0).toEqual(numbers(model.forward(x)));
    const change = numbers(about.linear(x, step)).map((y, i) => y - f0[i]!);
    expect(change).toEqual(
      rows.map((r) =>
        expect.closeTo(
          r.reduce((sum, p, i) => sum + p * ((i % 3) - 1), 0),
          digits,
        ),
      ),
    );
    expect(numbers(about.linear(x, step.mul(2))).map((y, i) => y - f0[i]!)).toEqual(
      change.map((d) => expect.closeTo(2 * d, digits - 1)),
    );
  });

  it('a network that is linear in its parameters is its own linearisation, with XXᵀ for its kernel', () => {
    manualSeed(3);
    const layer = new nn.Linear(3, 1, { bias: false, dtype });
    const x = tensor([[1, 2, 3], [0, -1, 2]], { dtype }); // biome-ignore format: a matrix
    const about = linearize(layer);
    expect(numbers(about.kernel(x))).toEqual([14, 4, 4, 5].map((k) => expect.closeTo(k, digits)));
    layer.weight.copy_([[5], [-7], [2]]);
    const far = about.deviation(x);
    expect(far.moved).toBeGreaterThan(1);
    expect(far.error).toBeLessThan(dtype === 'float64' ? 1e-13 : 1e-5);
    expect(far.relative).toBeLessThan(dtype === 'float64' ? 1e-13 : 1e-5);
  });

  it('the linear term is wrong by the square of the step, the quadratic one by its cube', () => {
    manualSeed(5);
    const model = new nn.Sequential(
      new nn.Linear(2, 5, { dtype }),
      new nn.Tanh(),
      new nn.Linear(5, 1, { dtype }),
    );
    const x = tensor([[0.3, -0.8], [1.1, 0.4]], { dtype }); // biome-ignore format: a matrix
    const about = linearize(model);
    const direction = tensor(
      Array.from({ length: about.size }, (_, i) => Math.cos(i)),
      { dtype },
    );
    const [far, near] = dtype === 'float64' ? [1e-2, 1e-3] : [0.4, 0.2];
    const at = (t: number) => about.deviation(x, direction.mul(t));
    const order = (name: 'error' | 'secondOrderError'): number =>
      Math.log(at(far)[name] / at(near)[name]) / Math.log(far / near);
    expect(order('error')).toBeCloseTo(2, dtype === 'float64' ? 1 : 0);
    expect(order('secondOrderError')).toBeCloseTo(3, dtype === 'float64' ? 1 : 0);
    expect(at(near).secondOrderError).toBeLessThan(at(near).error / 2);
    expect(at(near).distance).toBeCloseTo(near * Math.hypot(...numbers(direction)), digits);
    // The parts of quadratic() and linear() are those of deviation().
    const step = direction.mul(near);
    const rest = numbers(about.exact(x, step)).map((y, i) => y - numbers(about.quadratic(x, step))[i]!);
    expect(Math.hypot(...rest)).toBeCloseTo(at(near).secondOrderError, dtype === 'float64' ? 15 : 6);
  });

  it('the loss changes by the product of its gradient with a small step', () => {
    // Lecture 003: ℓ(θ + Δθ) = ℓ(θ) + (∂ℓ/∂θ) Δθ + …; here ℓ = ½ (θ₁² + 3 θ₂)², by hand ∂ℓ/∂θ = (θ₁² + 3 θ₂) (2 θ₁, 3).
    const loss = (theta: Tensor): Tensor =>
      theta.select(0, 0).square().add(theta.select(0, 1).mul(3)).square().mul(0.5);
    const about = linearize(loss, tensor([2, 1], { dtype }));
    expect(numbers(about.features([]))).toEqual([28, 21].map((v) => expect.closeTo(v, digits)));
    expect(about.linear([], tensor([0.5, -1], { dtype })).item()).toBeCloseTo(24.5 + 14 - 21, digits);
    // Hessian by hand: (2 θ₁, 3)(2 θ₁, 3)ᵀ + 7 diag(2, 0) = [[30, 12], [12, 9]].
    const second = (30 * 0.25 - 2 * 12 * 0.5 + 9) / 2;
    expect(about.quadratic([], tensor([0.5, -1], { dtype })).item()).toBeCloseTo(17.5 + second, digits);
  });

  it('can be trained: gradient descent on Δθ follows the kernel', () => {
    // On the linearised network with squared error ½‖f − y‖² the outputs obey f_{t+1} − y = (I − ηK)(f_t − y) exactly.
    manualSeed(7);
    const { model, x, y, about } = threePoints();
    const kernel = about.kernel(x).to('float64').toArray() as number[][];
    const lr = 1 / eigh(about.kernel(x)).eigenvalues[2]!;
    const delta = tensor(new Float64Array(about.size), { dtype: 'float64' }).to(dtype);
    delta.requiresGrad = true;
    const optimizer = new optim.SGD([delta], { lr });
    let residual = numbers(model.forward(x)).map((f, i) => f - numbers(y)[i]!);
    for (let t = 0; t < 10; t++) {
      optimizer.zeroGrad();
      about.linear(x, delta).sub(y).square().sum().mul(0.5).backward();
      optimizer.step();
      residual = residual.map((r, i) => r - lr * kernel[i]!.reduce((sum, k, j) => sum + k * residual[j]!, 0));
    }
    const found = numbers(about.linear(x, delta.detach())).map((f, i) => f - numbers(y)[i]!);
    expect(found).toEqual(residual.map((r) => expect.closeTo(r, dtype === 'float64' ? 11 : 4)));
  });

  it('is trained by a compiled step with the numbers of an eager one', () => {
    const { x, y, about } = threePoints();
    const train = (compiled: boolean): number[] => {
      const delta = tensor(new Float64Array(about.size)).to(dtype).clone();
      delta.requiresGrad = true;
      const optimizer = new optim.SGD([delta], { lr: 0.05, momentum: 0.9 });
      const step = (inputs: Tensor, targets: Tensor): Tensor => {
        optimizer.zeroGrad();
        const loss = F.mseLoss(about.linear(inputs, delta), targets);
        loss.backward();
        optimizer.step();
        return loss;
      };
      const run = compiled ? compile(step) : step;
      for (let t = 0; t < 5; t++) run(x, y);
      return numbers(delta);
    };
    const eager = train(false);
    expect(Math.hypot(...eager)).toBeGreaterThan(0.01);
    // To round-off: an eager Sequential runs layer and activation as one operation, whose second derivative adds up in another
    // order.
    expect(train(true)).toEqual(eager.map((v) => expect.closeTo(v, dtype === 'float64' ? 14 : 5)));
  });

  it('the wider the network, the lazier its training: relative weight change and deviation shrink', () => {
    const run = (units: number) => {
      const model = new nn.Sequential(
        new nn.Linear(1, units, { dtype }),
        new nn.Tanh(),
        new nn.Linear(units, 1, { dtype, bias: false }),
      );
      // Jacot et al. 2018: outputs scaled by 1/√units, so that the kernel does not grow with the width.
      model.parameters().forEach((p, i) => p.copy_(tensor(gaussians(p.size, i + 1)).reshape(p.shape)));
      const f = (inputs: Tensor): Tensor => model.forward(inputs).mul(1 / Math.sqrt(units));
      const about = linearize(
        (theta: Tensor[], inputs: Tensor) => functionalCall(model, theta, inputs).mul(1 / Math.sqrt(units)),
        model.parameters(),
      );
      const x = tensor([[-1], [0], [1]], { dtype });
      const y = tensor([[0.5], [-0.5], [0.5]], { dtype });
      const optimizer = new optim.SGD(model.parameters(), { lr: 0.2 });
      const start = model.parameters().map((p) => p.detach().clone());
      for (let t = 0; t < 200; t++) {
        optimizer.zeroGrad();
        f(x).sub(y).square().sum().mul(0.5).backward();
        optimizer.step();
      }
      const delta = model.parameters().map((p, i) => p.detach().sub(start[i] as Tensor));
      return about.deviation(x, delta);
    };
    const [narrow, wide] = [run(16), run(1024)];
    expect(wide.relativeDistance).toBeLessThan(narrow.relativeDistance / 3);
    expect(wide.relative).toBeLessThan(narrow.relative / 3);
    expect(wide.relative).toBeLessThan(0.05);
  });

  it('without elbows in the range of the data the features have rank at most 2, of hidden layer and network alike', () => {
    // Lecture 003: data from 100 to 200; units are 0 or αx + β there.
    const units = 40;
    const { model, first } = reluNet(units, dtype);
    manualSeed(1);
    const w = gaussians(units, 1);
    first.weight.copy_([w]);
    first.bias!.copy_(gaussians(units, 2));
    model
      .at(2)!
      .parameters()[0]!
      .copy_(gaussians(units, 3).map((v) => [v]));
    const points = Array.from({ length: 30 }, (_, i) => [100 + (100 * i) / 29]);
    const x = tensor(points, { dtype });
    const hidden = first.forward(x).relu();
    expect(numbers(hidden).some((h) => h > 0)).toBe(true);
    const tolerance = dtype === 'float64' ? 1e-12 : 1e-5;
    expect(matrixRank(hidden, { tolerance })).toBe(2);
    expect(matrixRank(linearize(model).features(x), { tolerance })).toBe(2);
    expect(matrixRank(linearize(model).kernel(x), { tolerance })).toBeLessThanOrEqual(2);
    // Standardised, the same layer has many.
    const standard = tensor(
      points.map(([p]) => [(p! - 150) / 29.8]),
      { dtype },
    );
    expect(matrixRank(first.forward(standard).relu(), { tolerance })).toBeGreaterThan(8);
    expect(matrixRank(linearize(model).features(standard), { tolerance })).toBeGreaterThan(8);
  });
});

/** Box and Muller on a Lehmer generator: not our normals. */
function gaussians(n: number, seed: number): number[] {
  let s = (seed * 7919 + 12345) % 2147483647;
  const next = (): number => (s = (s * 16807) % 2147483647) / 2147483647;
  for (let i = 0; i < 10; i++) next();
  return Array.from({ length: n }, () => Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next()));
}

describe('functionalCall', () => {
  it('replaces parameters by name or in order, tied ones everywhere, and leaves the module as it was', () => {
    const shared = new nn.Linear(2, 2);
    const model = new nn.Sequential(shared, new nn.ReLU(), shared);
    const x = tensor([[1, 2]]);
    const before = model.forward(x).toArray();
    const own = model.parameters();
    const eye = tensor([[1, 0], [0, 1]]); // biome-ignore format: a matrix
    expect(functionalCall(model, [eye, tensor([1, 1])], x).toArray()).toEqual([[3, 4]]);
    expect(functionalCall(model, { '0.weight': eye, '0.bias': tensor([0, 0]) }, x).toArray()).toEqual([
      [1, 2],
    ]);
    expect(model.parameters()).toEqual(own);
    expect(model.forward(x).toArray()).toEqual(before);
    expect(own.every((p) => p.grad === null)).toBe(true);
  });

  it('finds parameters in arrays, objects and Maps, and puts them back after an error', () => {
    class Odd extends nn.Module {
      list = [nn.Parameter([1]), { deep: nn.Parameter([2]) }];
      map = new Map([['k', nn.Parameter([3])]]);
      override forward(fail: boolean): Tensor {
        if (fail) throw new Error('on purpose');
        const [a, b] = this.list as [Tensor, { deep: Tensor }];
        return a.add(b.deep).add(this.map.get('k') as Tensor);
      }
    }
    const odd = new Odd();
    const own = odd.parameters();
    expect(functionalCall(odd, [tensor([10]), tensor([20]), tensor([30])], false).item()).toBe(60);
    expect(() => functionalCall(odd, [tensor([10]), tensor([20]), tensor([30])], true)).toThrow('on purpose');
    expect(odd.parameters()).toEqual(own);
    expect(odd.forward(false).item()).toBe(6);
  });

  it('says that a parameter of a private field cannot be replaced', () => {
    class Hidden extends nn.Module {
      readonly #own = nn.Parameter([1]);
      protected override fields(): Iterable<readonly [string, unknown]> {
        return [['own', this.#own]];
      }
      override forward(): Tensor {
        return this.#own.mul(2);
      }
    }
    expect(() => functionalCall(new Hidden(), [tensor([3])])).toThrow(/parameter own is in no field/);
  });

  it('refuses what does not fit', () => {
    const layer = new nn.Linear(2, 1);
    const x = tensor([[1, 2]]);
    expect(() => functionalCall({} as never, [], x)).toThrow(ArgumentError);
    expect(() => functionalCall(layer, [tensor([1])], x)).toThrow(/1 tensors for a module with 2 parameters/);
    expect(() => functionalCall(layer, { wieght: tensor([1]) }, x)).toThrow(
      /"wieght"; there are weight, bias/,
    );
    expect(() => functionalCall(layer, { bias: tensor([1, 2]) }, x)).toThrow(ShapeError);
    expect(() => functionalCall(layer, { bias: [1] as never }, x)).toThrow(ArgumentError);
    expect(() => functionalCall(layer, null as never, x)).toThrow(ArgumentError);
  });
});

describe('linearize', () => {
  const f = (w: Tensor, x: Tensor): Tensor => w.mul(x).sum();

  it('keeps θ₀ while the module is trained, and gives what it moved', () => {
    const layer = new nn.Linear(1, 1, { dtype: 'float64' });
    layer.weight.copy_([[2]]);
    layer.bias!.copy_([1]);
    const about = linearize(layer);
    layer.weight.copy_([[3]]);
    const x = tensor([[10]], { dtype: 'float64' });
    expect(about.displacement().map((t) => t.toArray())).toEqual([[[1]], [0]]);
    expect(about.linear(x).item()).toBe(31);
    expect(about.exact(x).item()).toBe(31);
    expect(about.deviation(x)).toMatchObject({ moved: 10, error: 0, distance: 1 });
    expect(about.names).toEqual(['weight', 'bias']);
    expect(layer.parameters().every((p) => p.grad === null)).toBe(true);
  });

  it('is exact to first order for what does not depend on the parameters', () => {
    const about = linearize((_: Tensor, x: Tensor) => x, tensor([1, 2]));
    const x = tensor([5, 6]);
    expect(about.linear(x, tensor([1, 1])).toArray()).toEqual([5, 6]);
    expect(about.quadratic(x, tensor([1, 1])).toArray()).toEqual([5, 6]);
    expect(about.features(x).toArray()).toEqual([[0, 0], [0, 0]]); // biome-ignore format: a matrix
  });

  it.each([
    ['no function', () => linearize(3 as never, tensor([1])), ArgumentError],
    ['no parameters', () => linearize(f, undefined as never), ArgumentError],
    ['integers', () => linearize(f, tensor([1], { dtype: 'int32' })), DTypeError],
    ['a module without parameters', () => linearize(new nn.ReLU()), ArgumentError],
    ['a module and parameters', () => linearize(new nn.Linear(1, 1) as never, tensor([1])), ArgumentError],
    ['no Δθ for a function', () => linearize(f, tensor([1])).linear(tensor([1])), ArgumentError],
    ['a Δθ of another size', () => linearize(f, tensor([1])).linear(tensor([1]), tensor([1, 2])), ShapeError],
    ['a list of another length', () => linearize(f, tensor([1])).linear(tensor([1]), []), ArgumentError],
    ['another shape', () => linearize(f, tensor([1])).linear(tensor([1]), [tensor([[1]])]), ShapeError],
    ['no tensor', () => linearize((() => 3) as never, tensor([1])).exact(1, tensor([1])), ArgumentError],
  ])('refuses %s', (_, run, error) => {
    expect(run).toThrow(error);
  });

  it('refuses dropout in training mode, with which there is no function to expand', () => {
    const model = new nn.Sequential(
      new nn.Linear(2, 3),
      new nn.Sequential(new nn.Dropout(0.5)),
      new nn.Linear(3, 1),
    );
    const about = linearize(model);
    const x = tensor([[1, 2]]);
    for (const run of [() => about.deviation(x), () => about.features(x), () => about.linear(x)]) {
      expect(run).toThrow(StateError);
      expect(run).toThrow(/the Dropout "1\.0" drops.*eval\(\)/);
    }
    model.eval();
    expect(about.deviation(x).error).toBe(0);
    model.train();
    (model.at(1) as nn.Sequential).at(0)!.eval();
    expect(about.deviation(x).error).toBe(0);
  });

  it('says that a module has other parameters now', () => {
    const layer = new nn.Linear(1, 1);
    const about = linearize(layer);
    layer.weight = new nn.Linear(2, 2).weight;
    expect(() => about.displacement()).toThrow(ShapeError);
  });
});

it('works on cross-entropy over a network with batch normalisation in evaluation mode', () => {
  manualSeed(2);
  const model = new nn.Sequential(
    new nn.Linear(2, 4),
    new nn.BatchNorm1d(4),
    new nn.ReLU(),
    new nn.Linear(4, 3),
  ).eval();
  const x = tensor([[1, -1], [0.5, 2]]); // biome-ignore format: a matrix
  const about = linearize(
    (theta: Tensor[], inputs: Tensor) => F.logSoftmax(functionalCall(model, theta, inputs)),
    model.parameters(),
  );
  const features = about.features(x);
  expect(features.shape).toEqual([2, 3, 2 * 4 + 4 + 4 + 4 + 12 + 3]);
  // Σ_k p_k ∇ log p_k = 0.
  const p = numbers(F.logSoftmax(model.forward(x)).exp());
  const rows = numbers(features);
  for (const n of [0, 1]) {
    for (let i = 0; i < 35; i++) {
      const sum = [0, 1, 2].reduce((s, k) => s + p[3 * n + k]! * rows[(3 * n + k) * 35 + i]!, 0);
      expect(Math.abs(sum)).toBeLessThan(1e-5);
    }
  }
});
