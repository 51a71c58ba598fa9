// Networks of the lectures, recomputed in float64 with loops over plain arrays.
import {
  compile,
  type DType,
  F,
  Generator,
  init,
  jacobian,
  nn,
  randn,
  type Tensor,
  tensor,
  vjp,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../support/compare.js';

type Matrix = number[][];

const product = (a: Matrix, b: Matrix): Matrix =>
  a.map((row) =>
    (b[0] as number[]).map((_, j) => row.reduce((s, x, k) => s + x * (b[k] as number[])[j]!, 0)),
  );
const turn = (a: Matrix): Matrix => (a[0] as number[]).map((_, j) => a.map((row) => row[j] as number));
const each = (f: (...xs: number[]) => number, ...ms: Matrix[]): Matrix =>
  (ms[0] as Matrix).map((row, i) => row.map((_, j) => f(...ms.map((m) => (m[i] as number[])[j] as number))));
const columnSums = (a: Matrix): number[] => turn(a).map((column) => column.reduce((s, x) => s + x, 0));
const logistic = (x: number): number => 1 / (1 + Math.exp(-x));

const dtypes = ['float32', 'float64'] as const;
const tolerance = { float32: { rtol: 2e-5, atol: 2e-6 }, float64: { rtol: 1e-12, atol: 1e-13 } };
const matrix = (t: Tensor): Matrix => t.toArray() as Matrix;

function close(
  actual: Tensor | null | undefined,
  expected: Matrix | number[],
  dtype: DType,
  what: string,
): void {
  expect(actual?.dtype, what).toBe(dtype);
  expectClose(actual?.data ?? [], expected.flat(), { ...tolerance[dtype as 'float32'], what });
}

/** Random values as a tensor of that dtype and, exactly the same, as an array. */
function random(shape: [number, number], dtype: DType, seed: number): [Tensor, Matrix] {
  const t = randn(shape, { dtype, generator: new Generator(seed) });
  return [t, matrix(t)];
}

describe.each(dtypes)('linear layers, %s', (dtype) => {
  const [x, w, b] = [
    [
      [1, 2, 1],
      [3, 4, 0],
    ],
    [
      [2, 2, 0, 3],
      [0, 1, 1, 5],
      [1, 4, 2, 0],
    ],
    [5, -5, 0, 1],
  ];
  const expected = [
    [8, 3, 4, 14],
    [11, 5, 4, 30],
  ];

  it('gives the worked example of lecture 004, 2 × 3 times 3 × 4, plus b', () => {
    const X = tensor(x as Matrix, { dtype });
    const W = tensor(w as Matrix, { dtype });
    expect(X.matmul(W).toArray()).toEqual([
      [3, 8, 4, 13],
      [6, 10, 4, 29],
    ]);
    const layer = new nn.Linear(3, 4, { dtype });
    layer.weight.copy_(w as Matrix);
    layer.bias?.copy_(b as number[]);
    expect(layer.forward(X).toArray()).toEqual(expected);
    expect(compile((t: Tensor) => layer.forward(t))(X).toArray()).toEqual(expected);
    // The lecture's b is of shape [1, d_out].
    for (const bias of [tensor(b as number[], { dtype }), tensor([b as number[]], { dtype })])
      expect(F.linear(X, W, bias).toArray()).toEqual(expected);
  });

  it('has the formal twin X W + 1 b, with the same values and gradients as the broadcast', () => {
    const W = tensor(w as Matrix, { dtype });
    const layers = [false, true].map((formalBias) => {
      const layer = new nn.Linear(3, 4, { dtype, formalBias });
      layer.weight.copy_(W);
      layer.bias?.copy_(b as number[]);
      return layer;
    });
    const [plain, formal] = layers as [nn.Linear, nn.Linear];
    const X = tensor(x as Matrix, { dtype });
    expect(formal.forward(X).toArray()).toEqual(expected);
    expect(F.linear(X, W, tensor([b as number[]], { dtype }), { formalBias: true }).toArray()).toEqual(
      expected,
    );
    const step = (layer: nn.Linear) => (t: Tensor) => {
      layer.zeroGrad();
      const y = new nn.Sequential(layer, new nn.Sigmoid()).forward(t);
      y.square().sum().backward();
      return y;
    };
    const [batch] = random([7, 3], dtype, 1);
    const y = step(plain)(batch);
    const grads = plain.parameters().map((p) => p.grad as Tensor);
    for (const run of [step(formal), compile(step(formal)), compile(step(plain))]) {
      expectClose(run(batch).data, y.data, tolerance[dtype]);
    }
    step(formal)(batch);
    formal.parameters().forEach((p, i) => {
      expectClose(p.grad?.data ?? [], grads[i]?.data as never, tolerance[dtype]);
    });
    // The product of the column of ones with the row b is there.
    const forward = compile((t: Tensor) => formal.forward(t));
    forward(batch);
    expect(forward.explain()).toMatch(/7x1 · 1x4/);
    // Any leading axes, or none.
    for (const shape of [[3], [2, 5, 3], [0, 3]]) {
      const t = randn(shape, { dtype, generator: new Generator(2) });
      const [u, v] = [plain.forward(t), formal.forward(t)];
      expect(v.shape).toEqual(u.shape);
      expectClose(v.data, u.data, tolerance[dtype]);
    }
    expect(String(formal)).toBe('Linear(3, 4, { formalBias: true })');
    expect(() => F.linear(X, W, tensor([1, 2]), { formalBias: true })).toThrow(/bias of shape \[2\].*\[4\]/);
    expect(() => F.linear(X, W, null, { formlBias: true } as never)).toThrow(/did you mean "formalBias"/);
    expect(() => F.linear(X, W, null, { formalBias: 1 as never })).toThrow(
      /formalBias must be true or false/,
    );
    expect(() => new nn.Linear(3, 4, { formalBias: 'yes' as never })).toThrow(/formalBias/);
  });

  it('is the transposed form Wᵀ z + b for one column z', () => {
    const [W, w] = random([3, 4], dtype, 3);
    const [z, column] = random([3, 1], dtype, 4);
    const y = F.linear(z.reshape([3]), W, tensor([1, 2, 3, 4], { dtype }));
    close(
      y,
      product(turn(w), column).map((row, i) => (row[0] as number) + i + 1),
      dtype,
      'W^T z + b',
    );
  });
});

describe.each(dtypes)('multi-layer perceptrons, %s', (dtype) => {
  const functions: Record<string, (x: number) => number> = {
    relu: (x) => Math.max(x, 0),
    leakyRelu: (x) => (x > 0 ? x : 0.01 * x),
    sigmoid: logistic,
    tanh: Math.tanh,
    elu: (x) => (x > 0 ? x : Math.expm1(x)),
    silu: (x) => x * logistic(x),
    softplus: (x) => Math.log1p(Math.exp(x)),
    identity: (x) => x,
  };

  it('follows the iteration Z_{i+1} = σ_i(Z_i W_i + 1 b_iᵀ) at any depth, with a linear end', () => {
    for (const [name, f] of Object.entries(functions)) {
      for (const sizes of [
        [4, 2],
        [4, 5, 2],
        [4, 5, 3, 6, 5, 2],
      ]) {
        const model = new nn.MLP(sizes, {
          activation: name as nn.ActivationName,
          dtype,
          generator: new Generator(5),
        });
        const [X, x] = random([3, 4], dtype, 6);
        let z = x;
        const ps = model.parameters().map((p) => p.toArray());
        expect(ps).toHaveLength(2 * (sizes.length - 1));
        for (let i = 0; i < ps.length; i += 2) {
          z = each(
            (u, b) => u + b,
            product(z, ps[i] as Matrix),
            x.map(() => ps[i + 1] as number[]) as Matrix,
          );
          if (i + 2 < ps.length) z = each(f, z);
        }
        close(model.forward(X), z, dtype, `${name} ${sizes}`);
        close(compile((t: Tensor) => model.forward(t))(X), z, dtype, `compiled ${name} ${sizes}`);
      }
    }
  });
});

describe('nn.MLP', () => {
  it('takes activations by name, class, function, one or one per layer', () => {
    const kinds = (m: nn.MLP): string[] => m.children().map((c) => c.constructor.name);
    expect(kinds(new nn.MLP([2, 3, 1]))).toEqual(['Linear', 'ReLU', 'Linear']);
    expect(kinds(new nn.MLP([2, 3, 1], { activation: nn.Tanh, outputActivation: 'sigmoid' }))).toEqual([
      'Linear',
      'Tanh',
      'Linear',
      'Sigmoid',
    ]);
    const own = new nn.MLP([2, 3, 4, 1], { activation: ['identity', () => new nn.LeakyReLU(0.2)] });
    expect(kinds(own)).toEqual(['Linear', 'Linear', 'LeakyReLU', 'Linear']);
    expect((own.at(2) as nn.LeakyReLU).negativeSlope).toBe(0.2);
    expect(new nn.MLP([2, 3, 1]).namedParameters().map(([name]) => name)).toEqual([
      '0.weight',
      '0.bias',
      '2.weight',
      '2.bias',
    ]);
    const prelu = new nn.MLP([2, 3, 3, 1], { activation: nn.PReLU, bias: false });
    expect(prelu.parameters()).toHaveLength(5);
    expect(String(new nn.MLP([2, 1]))).toBe('MLP([2, 1]\n  (0): Linear(2, 1)\n)');
  });

  it('is filled by the initializers it is given, and follows its seed', () => {
    const options = { init: init.heNormal, biasInit: (b: Tensor) => init.constant(b, 0.01) };
    const make = (): nn.MLP => new nn.MLP([200, 300, 10], { ...options, generator: new Generator(7) });
    const [a, b] = [make(), make()];
    expect(a.parameters().map((p) => Buffer.from(p.data.buffer).toString('hex') !== '')).not.toContain(false);
    a.parameters().forEach((p, i) => {
      expectClose(p.data, b.parameters()[i]?.data as never, { rtol: 0, atol: 0 });
    });
    const weight = (a.at(0) as nn.Linear).weight;
    expect(Math.abs(weight.square().mean().item() / (2 / 200) - 1)).toBeLessThan(0.02);
    expect((a.at(0) as nn.Linear).bias?.toArray()).toEqual(Array(300).fill(Math.fround(0.01)));
  });

  it('says what is wrong with its arguments', () => {
    const wrong = (sizes: unknown, options: unknown, message: RegExp): void => {
      expect(() => new nn.MLP(sizes as number[], options as nn.MLPOptions)).toThrow(message);
    };
    wrong([3], {}, /at least two sizes/);
    wrong(3, {}, /at least two sizes/);
    wrong([3, 0], {}, /whole numbers >= 1, not 0/);
    wrong([3, 2.5, 1], {}, /2\.5/);
    wrong([3, 2, 1], { activation: 'rellu' }, /did you mean "relu"/);
    wrong([3, 2, 1], { outputActivation: 'sofmax' }, /outputActivation.*did you mean "softmax"/);
    wrong([3, 2, 1], { activation: new nn.ReLU() }, /give the class/);
    wrong([3, 2, 1], { activation: ['relu', 'relu'] }, /2 activations for 1 hidden/);
    wrong([3, 2, 1], { activation: (x: Tensor) => x }, /makes modules/);
    wrong([3, 2, 1], { activations: 'relu' }, /did you mean "activation"/);
    wrong([3, 2, 1], { init: 'heNormal' }, /function that fills/);
    wrong([3, 2, 1], { dtype: 'int32' }, /dtype/);
  });
});

describe.each(dtypes)('backward passes by hand, %s', (dtype) => {
  it('are those of lecture 002: sigmoid hidden layer, linear output, squared error', () => {
    const [p, q] = [4, 3];
    const [W, w] = random([p, q], dtype, 10);
    const [V, v] = random([q, 1], dtype, 11);
    const [X, x] = random([1, p], dtype, 12);
    const y = 0.7;
    const s = each(logistic, product(x, w));
    const yHat = (product(s, v)[0] as number[])[0] as number;
    // ∂L/∂V = 2 (ŷ − y) σ(Wᵀ x), ∂L/∂W = 2 (ŷ − y) x · [Vᵀ ∘ σ ∘ (1 − σ)]
    const dV = turn(s).map((row) => row.map((a) => 2 * (yHat - y) * a));
    const inner = each((a, b) => 2 * (yHat - y) * a * b * (1 - b), turn(v), s);
    const dW = product(turn(x), inner);

    const model = new nn.Sequential(
      new nn.Linear(p, q, { bias: false, dtype }),
      new nn.Sigmoid(),
      new nn.Linear(q, 1, { bias: false, dtype }),
    );
    model.loadStateDict({ '0.weight': W, '2.weight': V });
    const target = tensor([[y]], { dtype });
    const step = (t: Tensor): Tensor => {
      model.zeroGrad();
      const loss = F.mseLoss(model.forward(t), target, { reduction: 'sum' });
      loss.backward();
      return loss;
    };
    for (const run of [step, compile(step)]) {
      close(run(X), [(yHat - y) ** 2], dtype, 'loss');
      close(model.parameters()[0]?.grad, dW, dtype, 'dW');
      close(model.parameters()[1]?.grad, dV, dtype, 'dV');
    }
    // Column by column: ∂L/∂w_r = 2 (ŷ − y) v_r σ(xᵀ w_r) [1 − σ(xᵀ w_r)] x
    const grad = matrix(model.parameters()[0]?.grad as Tensor);
    for (let r = 0; r < q; r++) {
      const a = (s[0] as number[])[r] as number;
      const factor = 2 * (yHat - y) * (v[r] as number[])[0]! * a * (1 - a);
      expectClose(
        grad.map((row) => row[r] as number),
        (x[0] as number[]).map((u) => factor * u),
        tolerance[dtype],
      );
    }
  });

  // σ and σ′ of each activation, at a pre-activation.
  const activations: [string, () => nn.Module, (x: number) => number, (x: number) => number][] = [
    ['relu', () => new nn.ReLU(), (x) => Math.max(x, 0), (x) => (x > 0 ? 1 : 0)],
    ['leakyRelu', () => new nn.LeakyReLU(0.1), (x) => (x > 0 ? x : 0.1 * x), (x) => (x > 0 ? 1 : 0.1)],
    ['sigmoid', () => new nn.Sigmoid(), logistic, (x) => logistic(x) * (1 - logistic(x))],
    ['tanh', () => new nn.Tanh(), Math.tanh, (x) => 1 - Math.tanh(x) ** 2],
    ['elu', () => new nn.ELU(), (x) => (x > 0 ? x : Math.expm1(x)), (x) => (x > 0 ? 1 : Math.exp(x))],
    ['softplus', () => new nn.Softplus(), (x) => Math.log1p(Math.exp(x)), logistic],
    ['silu', () => new nn.SiLU(), (x) => x * logistic(x), (x) => logistic(x) * (1 + x * (1 - logistic(x)))],
    ['identity', () => new nn.Identity(), (x) => x, () => 1],
  ];

  it('of a block are G_i = (G_{i+1} ∘ σ′(Z_i W_i)) W_iᵀ and ∇W_i = Z_iᵀ (G_{i+1} ∘ σ′(Z_i W_i))', () => {
    for (const [name, make, f, df] of activations) {
      const [Z, z] = random([5, 4], dtype, 20);
      const [G, g] = random([5, 3], dtype, 21);
      const layer = new nn.Linear(4, 3, { dtype, generator: new Generator(22) });
      const block = new nn.Sequential(layer, make());
      const w = matrix(layer.weight);
      const b = layer.bias?.toArray() as number[];
      const a = each((u, c) => u + c, product(z, w), z.map(() => b) as Matrix);
      const h = each((u, v) => u * df(v), g, a);

      // The method of the block, eager and in a compiled step.
      const compiled = compile((t: Tensor, u: Tensor) => {
        const { output, inputs, parameters } = block.vjp(t, u);
        return [
          output,
          inputs[0] as Tensor,
          parameters['0.weight'] as Tensor,
          parameters['0.bias'] as Tensor,
        ];
      });
      const { output, inputs, parameters } = block.vjp(Z, G);
      const eager = [output, inputs[0], parameters['0.weight'], parameters['0.bias']];
      // The function vjp of the block as a function of everything that it depends on.
      const [out, grads] = vjp(
        (t: Tensor, u: Tensor, c: Tensor) => make().forward(F.linear(t, u, c)) as Tensor,
        [Z, layer.weight.detach(), (layer.bias as Tensor).detach()],
        G,
      );
      for (const results of [eager, compiled(Z, G), [out, ...grads]]) {
        const [y, gz, gw, gb] = results as Tensor[];
        close(y, each(f, a), dtype, `${name}: Z_{i+1}`);
        close(gz, product(h, turn(w)), dtype, `${name}: G_i`);
        close(gw, product(turn(z), h), dtype, `${name}: W_i`);
        close(gb, columnSums(h), dtype, `${name}: b_i`);
      }
      expect(layer.weight.grad).toBeNull();
      expect(output.requiresGrad).toBe(false);
    }
  });

  it('of blocks in turn, from the outputs to the inputs, are those of the whole network', () => {
    const model = new nn.MLP([4, 6, 5, 3], { activation: 'tanh', dtype, generator: new Generator(30) });
    const blocks = [0, 2, 4].map(
      (i) => new nn.Sequential(...([model.at(i), model.at(i + 1)].filter(Boolean) as nn.Module[])),
    );
    const [X] = random([7, 4], dtype, 31);
    const [G] = random([7, 3], dtype, 32);
    const inputs = [X];
    for (const block of blocks) inputs.push(block.forward(inputs.at(-1) as Tensor).detach());
    let g = G;
    const grads: Tensor[] = [];
    for (let i = 2; i >= 0; i--) {
      const { inputs: gs, parameters } = (blocks[i] as nn.Sequential).vjp(inputs[i], g);
      g = gs[0] as Tensor;
      grads.unshift(parameters['0.weight'] as Tensor, parameters['0.bias'] as Tensor);
    }
    model.zeroGrad();
    const x = X.clone();
    x.requiresGrad = true;
    model.forward(x).backward(G);
    expectClose(g.data, x.grad?.data as never, tolerance[dtype]);
    model.parameters().forEach((p, i) => {
      expectClose(grads[i]?.data as never, p.grad?.data as never, tolerance[dtype]);
    });
  });

  it('multiply Jacobians: ∂y_j/∂x_i = Σ_k ∂y_j/∂u_k ∂u_k/∂x_i', () => {
    const [W, w] = random([3, 4], dtype, 40);
    const [V, v] = random([4, 2], dtype, 41);
    const [X, x] = random([1, 3], dtype, 42);
    const f = (t: Tensor): Tensor => t.reshape([1, 3]).matmul(W).tanh().matmul(V).sigmoid().reshape([2]);
    const u = each(Math.tanh, product(x, w));
    const y = each(logistic, product(u, v));
    const jf = turn(v).map((row, j) => row.map((a) => a * y[0]![j]! * (1 - y[0]![j]!)));
    const jg = turn(w).map((row, k) => row.map((a) => a * (1 - u[0]![k]! ** 2)));
    close(jacobian(f, X.reshape([3])), product(jf, jg), dtype, 'J_f J_g');
  });
});

describe('vjp of a module', () => {
  it('gives null for inputs without a gradient, zeros for what is not used, nothing for what is frozen', () => {
    const layer = new nn.Linear(3, 2);
    class Odd extends nn.Module {
      used = layer;
      spare = nn.Parameter(tensor([1, 2]));
      override forward(x: Tensor, labels: Tensor): Tensor {
        return F.crossEntropy(this.used.forward(x), labels);
      }
    }
    const m = new Odd();
    layer.weight.requiresGrad = false;
    const labels = tensor([0, 1], { dtype: 'int32' });
    const { output, inputs, parameters } = m.vjp([randn(2, 3), labels]);
    expect(output.shape).toEqual([]);
    expect(inputs[1]).toBeNull();
    expect(inputs[0]?.shape).toEqual([2, 3]);
    expect(Object.keys(parameters)).toEqual(['spare', 'used.bias']);
    expect(parameters.spare?.toArray()).toEqual([0, 0]);
    expect(() => layer.vjp(randn(2, 3), randn(3, 2))).toThrow(/Linear\.vjp.*\[3, 2\].*\[2, 2\]/);
    expect(() => layer.vjp(randn(2, 3))).toThrow(/scalar/);
    class Two extends nn.Module {
      override forward(x: Tensor): Tensor[] {
        return [x, x];
      }
    }
    expect(() => new Two().vjp(randn(2))).toThrow(/Two\.vjp.*one tensor/);
  });
});
