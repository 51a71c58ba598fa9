import {
  compile,
  data,
  F,
  Generator,
  grad,
  init,
  nn,
  noGrad,
  optim,
  randn,
  stack,
  type Tensor,
  tensor,
  vjp,
} from 'simdgrad';
import { beforeAll, describe, expect, it } from 'vitest';
import { alarms, zOfMean } from '../support/laws.js';

// What the lectures claim about initial weights, with the conditions that each claim needs (docs/lectures.md).

const dtypes = ['float32', 'float64'] as const;
type Float = (typeof dtypes)[number];

const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;
const column = (rows: readonly (readonly number[])[], i: number): number[] => rows.map((r) => r[i]!);

/** A network of equal layers, with the loss of a step of training. */
function network(depth: number, activation: () => nn.Module, dtype: Float, width = 6) {
  const layers = Array.from({ length: depth }, (_, i) => {
    return new nn.Linear(i === 0 ? 5 : width, i === depth - 1 ? 3 : width, { dtype });
  });
  const model = new nn.Sequential(
    ...layers.flatMap((layer, i): nn.Module[] => (i === depth - 1 ? [layer] : [layer, activation()])),
  );
  const x = randn([12, 5], { dtype, generator: new Generator(31) });
  const y = tensor(Int32Array.from({ length: 12 }, (_, i) => (i * i) % 3));
  return { layers, model, x, y };
}

/** Ten steps of training, compiled or not. */
function train(
  { model, x, y }: ReturnType<typeof network>,
  optimizer: optim.Optimizer,
  compiled: boolean,
): void {
  const eager = (inputs: Tensor, labels: Tensor): Tensor => {
    optimizer.zeroGrad();
    const loss = F.crossEntropy(model.forward(inputs), labels);
    loss.backward();
    optimizer.step();
    return loss;
  };
  const step = compiled ? compile(eager) : eager;
  for (let i = 0; i < 10; i++) step(x, y);
}

const moved = (t: Tensor): boolean => t.data.some((v) => v !== 0);

describe('weights of zero', () => {
  const optimizers = {
    SGD: (p: Tensor[]) => new optim.SGD(p, { lr: 0.5, momentum: 0.9 }),
    Adam: (p: Tensor[]) => new optim.Adam(p, { lr: 0.1 }),
  };
  for (const dtype of dtypes) {
    it(`${dtype}: never move, in two or more layers with σ(0) = 0 and zero biases`, () => {
      for (const depth of [2, 3, 5]) {
        for (const activation of [() => new nn.ReLU(), () => new nn.Tanh(), () => new nn.SiLU()]) {
          for (const make of Object.values(optimizers)) {
            for (const compiled of [false, true]) {
              const net = network(depth, activation, dtype);
              init.apply(net.model, { weight: init.zeros, bias: 0 });
              train(net, make(net.model.parameters()), compiled);
              expect(net.layers.filter((l) => moved(l.weight))).toEqual([]);
              // The bias of the outputs does learn how frequent each class is.
              expect(net.layers.map((l) => moved(l.bias as Tensor)).indexOf(true)).toBe(depth - 1);
            }
          }
        }
      }
    });

    it(`${dtype}: do move where one of the conditions fails`, () => {
      const last = (depth: number, activation: () => nn.Module, bias: number): boolean => {
        const net = network(depth, activation, dtype);
        init.apply(net.model, { weight: init.zeros, bias });
        train(net, optimizers.SGD(net.model.parameters()), true);
        return moved(net.layers.at(-1)!.weight);
      };
      expect(last(1, () => new nn.ReLU(), 0)).toBe(true); // a single layer is a convex problem
      expect(last(2, () => new nn.Sigmoid(), 0)).toBe(true); // σ(0) = 1/2
      expect(last(2, () => new nn.ReLU(), 0.01)).toBe(true); // biases that are not zero
      expect(last(2, () => new nn.ReLU(), 0)).toBe(false);
    });
  }
});

describe('equal weights', () => {
  for (const dtype of dtypes) {
    it(`${dtype}: make a layer act, and train, as a single unit`, () => {
      const [units, lr] = [8, 0.1];
      const x = randn([20, 4], { dtype, generator: new Generator(9) });
      const y = randn([20, 2], { dtype, generator: new Generator(10) });
      const build = (width: number, outgoing: number): [nn.Linear, nn.Linear] => {
        const a = new nn.Linear(4, width, { dtype });
        const b = new nn.Linear(width, 2, { dtype });
        a.weight.copy_(tensor([[0.5], [-0.25], [0.75], [0.3]], { dtype }).broadcastTo(4, width));
        init.constant(a.bias as Tensor, 0.1);
        b.weight.copy_(tensor([[outgoing, -2 * outgoing]], { dtype }).broadcastTo(width, 2));
        init.constant(b.bias as Tensor, 0);
        return [a, b];
      };
      const wide = build(units, 0.1);
      const single = build(1, 0.1 * units);
      // The one unit has the sum of the outgoing weights. Each of the eight moves by its own gradient, so that the sum
      // moves eight times as fast, and the incoming weights, which feel one outgoing weight, an eighth as fast.
      const groups = ([a, b]: readonly nn.Linear[], n: number) => [
        { params: a!.parameters(), lr: lr / n },
        { params: [b!.weight], lr: lr * n },
        { params: [b!.bias as Tensor], lr },
      ];
      const stepOf = ([a, b]: readonly nn.Linear[], optimizer: optim.Optimizer) =>
        compile((inputs: Tensor, targets: Tensor) => {
          optimizer.zeroGrad();
          const loss = F.mseLoss(b!.forward(a!.forward(inputs).tanh()), targets);
          loss.backward();
          optimizer.step();
          return loss;
        });
      const steps = [
        stepOf(wide, new optim.SGD(groups(wide, 1), { lr })),
        stepOf(single, new optim.SGD(groups(single, units), { lr })),
      ];
      const losses: number[] = [];
      for (let i = 0; i < 200; i++) {
        const [all, one] = steps.map((step) => step(x, y).item()) as [number, number];
        expect(Math.abs(all / one - 1)).toBeLessThan(dtype === 'float32' ? 1e-4 : 1e-12);
        losses.push(all);
      }
      expect(losses.at(-1)!).toBeLessThan(0.95 * losses[0]!);
      // Incoming weights are equal columns, outgoing ones equal rows, and the eight activations are one.
      const spread = (t: Tensor, axis: number): number => t.max(axis).sub(t.min(axis)).max().item();
      const tolerance = dtype === 'float32' ? 1e-5 : 1e-14;
      expect(spread(wide[0].weight, 1)).toBeLessThan(tolerance);
      expect(spread(wide[1].weight, 0)).toBeLessThan(tolerance);
      expect(spread(wide[0].forward(x).tanh(), 1)).toBeLessThan(tolerance);
    });
  }
});

describe('a ReLU network of depth 50 and width 100 on MNIST, σ² = 1/n, 2/n, 3/n', () => {
  const [depth, width, networks, batch] = [50, 100, 64, 4];
  const scales = [1, 2, 3] as const;

  interface Measured {
    /** Mean squares by network: Z_0 … Z_50, the gradients G_0 … G_50 by them, and those by W_0 … W_49. */
    readonly Z: number[][];
    readonly G: number[][];
    readonly W: number[][];
  }
  const results = new Map<string, Measured>();
  beforeAll(() => void measure(), 180_000);

  /** 64 networks in both dtypes, on the first 256 digits, four to a network. */
  function measure(): Map<string, Measured> {
    if (results.size > 0) return results;
    const { train } = data.mnist();
    const build = (dtype: Float) => {
      const hidden = Array.from({ length: depth }, (_, i) => {
        return new nn.Linear(i === 0 ? 784 : width, width, { bias: false, dtype });
      });
      const out = new nn.Linear(width, 10, { bias: false, dtype });
      /** Mean squares of all Z, of the gradients by them and of those by the weights, one after another. */
      const step = compile((x: Tensor, y: Tensor) => {
        const z = [x];
        for (const l of hidden) z.push(l.forward(z.at(-1)!).relu());
        const loss = F.crossEntropy(out.forward(z.at(-1)!), y, { reduction: 'sum' });
        const g = grad(loss, [...z, ...hidden.map((l) => l.weight)]) as Tensor[];
        return stack([...z, ...g].map((t) => t.square().mean()));
      });
      return { hidden, out, step };
    };
    const nets = { float32: build('float32'), float64: build('float64') };
    for (const dtype of dtypes) for (const s of scales) results.set(`${dtype} ${s}`, { Z: [], G: [], W: [] });
    const generator = new Generator(0);
    for (let k = 0; k < networks; k++) {
      const [images, labels] = train.tensors;
      const [x, y] = [images.narrow(0, batch * k, batch), labels.narrow(0, batch * k, batch)];
      for (const l of nets.float32.hidden) init.varianceScaling(l.weight, { generator });
      init.lecunNormal(nets.float32.out.weight, { generator });
      nets.float64.hidden.forEach((l, i) => l.weight.copy_(nets.float32.hidden[i]!.weight.detach()));
      nets.float64.out.weight.copy_(nets.float32.out.weight.detach());
      for (const dtype of dtypes) {
        const { hidden, step } = nets[dtype];
        const input = x.to(dtype).clone();
        input.requiresGrad = true;
        let drawn = 1;
        for (const s of scales) {
          // N(0, s/n) is √s times N(0, 1/n): the weights are drawn once for the three variances and both dtypes.
          noGrad(() => hidden.forEach((l) => l.weight.mul_(Math.sqrt(s / drawn))));
          drawn = s;
          const found = Array.from(step(input, y).data);
          const { Z, G, W } = results.get(`${dtype} ${s}`)!;
          Z.push(found.slice(0, depth + 1));
          G.push(found.slice(depth + 1, 2 * depth + 2));
          W.push(found.slice(2 * depth + 2));
        }
      }
    }
    return results;
  }

  it('draws √s times the same numbers for the variance s/n', () => {
    const draw = (scale: number): Float64Array => {
      const { weight } = new nn.Linear(784, width, { dtype: 'float64' });
      return init.varianceScaling(weight, { scale, generator: new Generator(1) }).data as Float64Array;
    };
    const one = draw(1);
    for (const s of scales) {
      const off = draw(s).map((v, i) => Math.abs(v - Math.sqrt(s) * one[i]!));
      expect(Math.max(...off.subarray(0, 1000))).toBeLessThan(1e-15);
    }
  });

  // The ratio of the mean squares of two layers has the mean γ = s/2 whatever came before, and a deviation of 0.21: over
  // 64 networks of 50 layers its mean is right to 0.0037, and 2 % are five times that. The mean over networks of a single
  // layer's mean square wanders much more: the logarithm of one network's has a deviation of about 1.5 in the last layer.
  for (const dtype of dtypes) {
    for (const s of scales) {
      const gamma = s / 2;
      const what = { 1: 'shrink', 2: 'hold', 3: 'grow' }[s];
      it(`${dtype}, ${s}/n: mean squares of activations ${what} by γ = ${gamma} per layer`, () => {
        const { Z } = measure().get(`${dtype} ${s}`)!;
        const ratios = Z.flatMap((z) => z.slice(1).map((v, i) => v / z[i]!));
        expect(Math.abs(mean(ratios) / gamma - 1)).toBeLessThan(0.02);
        for (let i = 1; i <= depth; i++) {
          const grown = mean(column(Z, i)) / mean(column(Z, 0));
          expect(Math.abs(Math.log(grown) - i * Math.log(gamma))).toBeLessThan(1.5);
        }
        // One network says little: at γ = 1 the last layer of some is ten times as active as that of others.
        const last = Z.map((z) => z[depth]! / z[0]!);
        expect(Math.max(...last) / Math.min(...last)).toBeGreaterThan(10);
      });

      it(`${dtype}, ${s}/n: mean squares of gradients are γ^(D-i) with γ = ${gamma}`, () => {
        const { G } = measure().get(`${dtype} ${s}`)!;
        const ratios = G.flatMap((g) => g.slice(2).map((v, i) => g[i + 1]! / v));
        expect(Math.abs(mean(ratios) / gamma - 1)).toBeLessThan(0.02);
        for (let i = 1; i < depth; i++) {
          const grown = mean(column(G, i)) / mean(column(G, depth));
          expect(Math.abs(Math.log(grown) - (depth - i) * Math.log(gamma))).toBeLessThan(1.5);
        }
        // Into the first layer come 784 pixels from 100 units: the fans differ.
        const first = G.map((g) => g[0]! / g[1]!);
        expect(Math.abs(zOfMean(first, gamma * (width / 784)))).toBeLessThan(5);
      });
    }

    it(`${dtype}: ∇W is about constant over layers, and goes with γ^D`, () => {
      const measured = measure();
      const layers = scales.map((s) => {
        const { W } = measured.get(`${dtype} ${s}`)!;
        return W[0]!.map((_, i) => mean(column(W, i)));
      });
      // Within a factor of 5 over 50 layers, where activations and gradients change by γ^50: 1e-15 and 6e8.
      for (const list of layers) expect(Math.max(...list) / Math.min(...list)).toBeLessThan(5);
      // From 1/n to 3/n they grow by 3^50, but for what the loss makes of logits that have grown as well.
      const grown = Math.log(mean(layers[2]!) / mean(layers[0]!));
      expect(Math.abs(grown - depth * Math.log(3))).toBeLessThan(2);
    });
  }
});

describe('layers of unequal width', () => {
  const widths = [60, 24, 40, 12];
  const runs = 2000;
  type Fill = (w: Tensor, generator: Generator, layer: number) => unknown;

  /** By run: mean squares of a^[0] … a^[3] over that of a^[0], and of the gradients by them over that by a^[3]. */
  function signals(dtype: Float, fill: Fill, activation: (t: Tensor) => Tensor = (t) => t, size = 1) {
    const layers = widths.slice(1).map((n, i) => new nn.Linear(widths[i]!, n, { bias: false, dtype }));
    const generator = new Generator(77);
    const forward: number[][] = [];
    const backward: number[][] = [];
    const step = compile((x: Tensor, top: Tensor) => {
      const a = [x];
      for (const l of layers) a.push(activation(l.forward(a.at(-1)!)));
      const [g] = grad(a.at(-1)!.mul(top).sum(), [x]) as [Tensor];
      return stack([...a, g].map((t) => t.square().mean()));
    });
    const xs = randn([runs, widths[0]!], { dtype, generator }).mul(size);
    const tops = randn([runs, widths.at(-1)!], { dtype, generator });
    const topSquares = tops.square().mean(1).data;
    for (let r = 0; r < runs; r++) {
      layers.forEach((l, i) => fill(l.weight, generator, i));
      const x = xs.narrow(0, r, 1).clone();
      x.requiresGrad = true;
      const found = Array.from(step(x, tops.narrow(0, r, 1)).data);
      const g = found.pop()!;
      forward.push(found.map((v) => v / found[0]!));
      backward.push([g / topSquares[r]!]);
    }
    return { forward, backward };
  }

  /** Π n^[s-1] Var W^[s] for every layer, and Π n^[s] Var W^[s]. */
  const products = (variances: readonly number[]) => {
    const forward = [1];
    let backward = 1;
    variances.forEach((v, i) => {
      forward.push(forward[i]! * widths[i]! * v);
      backward *= widths[i + 1]! * v;
    });
    return { forward, backward };
  };

  const schemes: [name: string, variances: number[], fill: Fill][] = [
    [
      'lecunNormal',
      widths.slice(0, 3).map((n) => 1 / n),
      (w, generator) => init.lecunNormal(w, { generator }),
    ],
    [
      'xavierUniform',
      widths.slice(0, 3).map((n, i) => 2 / (n + widths[i + 1]!)),
      (w, generator) => init.xavierUniform(w, { generator }),
    ],
    [
      'varianceScaling fanOut',
      widths.slice(1).map((n) => 1 / n),
      (w, generator) => init.varianceScaling(w, { mode: 'fanOut', generator }),
    ],
    [
      'normal with 0.7/n, 1.5/n and 2.2/n',
      [0.7 / 60, 1.5 / 24, 2.2 / 40],
      (w, generator, i) => init.normal(w, { variance: [0.7 / 60, 1.5 / 24, 2.2 / 40][i]!, generator }),
    ],
  ];
  for (const dtype of dtypes) {
    for (const [name, variances, fill] of schemes) {
      it(`${dtype}, ${name}: Var a is Var x times the product of n Var W over the layers`, () => {
        const { forward, backward } = signals(dtype, fill);
        const expected = products(variances);
        for (const layer of [1, 2, 3]) {
          expect(Math.abs(zOfMean(column(forward, layer), expected.forward[layer]!))).toBeLessThan(5);
          // The test can fail: a tenth more would be noticed.
          expect(Math.abs(zOfMean(column(forward, layer), 1.1 * expected.forward[layer]!))).toBeGreaterThan(
            5,
          );
        }
        expect(Math.abs(zOfMean(column(backward, 0), expected.backward))).toBeLessThan(5);
        expect(Math.abs(zOfMean(column(backward, 0), 1.1 * expected.backward))).toBeGreaterThan(5);
        // 1/n^[l-1] keeps the variance of activations, 1/n^[l] that of gradients, and neither does the other's.
        if (name === 'lecunNormal')
          expect([expected.forward[3], expected.backward]).toEqual([1, expect.closeTo(12 / 60, 12)]);
        if (name === 'varianceScaling fanOut') {
          expect(expected.forward[3]).toBeCloseTo(60 / 12, 12);
          expect(expected.backward).toBeCloseTo(1, 12);
        }
      });
    }

    it(`${dtype}: tanh keeps it where it is near the identity, and only there`, () => {
      const small = signals(dtype, schemes[0]![2], (t) => t.tanh(), 0.01);
      const large = signals(dtype, schemes[0]![2], (t) => t.tanh(), 1);
      for (const layer of [1, 2, 3]) {
        expect(Math.abs(zOfMean(column(small.forward, layer), 1))).toBeLessThan(5);
        expect(zOfMean(column(large.forward, layer), 1)).toBeLessThan(-5);
      }
      expect(Math.abs(zOfMean(column(small.backward, 0), 12 / 60))).toBeLessThan(5);
    });
  }
});

describe('a linear layer', () => {
  for (const dtype of dtypes) {
    it(`${dtype}: x ~ N(0, 1) and w ~ N(0, 1/n) give wᵀx ~ N(0, 1)`, () => {
      const generator = new Generator(12);
      const [draws, n] = [5000, 64];
      const x = randn([draws, n], { dtype, generator });
      const w = init.normal(randn([draws, n], { dtype, generator }), { variance: 1 / n, generator });
      const products = x.mul(w);
      expect(Math.abs(zOfMean(Array.from(products.data), 0))).toBeLessThan(5); // E[x_i w_i] = 0
      const squares = Array.from(products.data, (v) => v * v);
      expect(Math.abs(zOfMean(squares, 1 / n))).toBeLessThan(5); // Var[x_i w_i] = 1/n
      expect(alarms(products.sum(1).data, { shape: 'normal', variance: 1 })).toEqual([]);
    });

    it(`${dtype}: of whitened inputs Var y_i = Σ w_ij², on average N_x Var w, and backward N_y Var w`, () => {
      const generator = new Generator(13);
      const mixed = randn([500, 40], { dtype: 'float64', generator }).matmul(
        randn([40, 40], { dtype: 'float64', generator }),
      );
      const x = new data.PCAWhitening().fitTransform(mixed).to(dtype);
      const layer = new nn.Linear(40, 900, { bias: false, dtype });
      init.normal(layer.weight, { variance: 0.3, generator });
      const y = layer.forward(x).detach();
      const w = layer.weight.toArray() as number[][];
      const variances = Array.from(y.var(0, { correction: 0 }).data);
      variances.forEach((v, i) => {
        const sum = w.reduce((total, row) => total + row[i]! ** 2, 0);
        expect(Math.abs(v / sum - 1)).toBeLessThan(dtype === 'float32' ? 1e-5 : 1e-9);
      });
      expect(Math.abs(zOfMean(variances, 40 * 0.3))).toBeLessThan(5);
      expect(Math.abs(zOfMean(variances, 40 * 0.33))).toBeGreaterThan(5);
      const back = vjp((t: Tensor) => layer.forward(t), x, randn([500, 900], { dtype, generator }))[1];
      // By input: 500 gradients that share the weights, so a mean over them is one number.
      const byInput = Array.from(back.square().mean(0).data);
      expect(Math.abs(zOfMean(byInput, 900 * 0.3))).toBeLessThan(5);
    });

    it(`${dtype}: He's variance makes up for what the nonlinearity behind it takes away`, () => {
      const generator = new Generator(14);
      const [n, units] = [20, 20_000];
      const z = randn([units, n], { dtype, generator });
      const functions: [init.Nonlinearity, (t: Tensor) => Tensor][] = [
        ['linear', (t) => t],
        ['relu', (t) => t.relu()],
        ['leakyRelu', (t) => t.leakyRelu(0.25)],
        ['elu', (t) => F.elu(t)],
        ['gelu', (t) => t.gelu()],
        ['silu', (t) => F.silu(t)],
        ['softplus', (t) => t.softplus()],
      ];
      for (const [nonlinearity, f] of functions) {
        const h = f(z);
        const weight = init.heNormal(randn([n, units], { dtype }), { nonlinearity, a: 0.25, generator });
        // What a unit with weights of its own takes in has the variance that went into the nonlinearity, 1.
        const squares = Array.from(h.mul(weight.T).sum(1).data, (v) => v * v);
        expect(Math.abs(zOfMean(squares, 1))).toBeLessThan(5);
        expect(Math.abs(zOfMean(squares, 1.1))).toBeGreaterThan(5);
        if (nonlinearity !== 'relu') continue;
        // The output of a ReLU is 0 half the time.
        const zero = h.eq(0).sum().item() / h.size;
        expect(Math.abs(zero - 0.5)).toBeLessThan((5 * 0.5) / Math.sqrt(h.size));
      }
    }, 60_000);

    it(`${dtype}: a bias of 0, of 0.01, or drawn as one more weight with the input 1`, () => {
      const d = 4;
      const h = [0.5, -1.2, 0.8, 1.6];
      const size = h.reduce((sum, v) => sum + v * v, 0);
      const layer = new nn.Linear(d, 60_000, { dtype });
      const draw = (bias: init.ApplyOptions['bias']): Float64Array => {
        init.apply(layer, { weight: init.lecunNormal, bias, generator: new Generator(15) });
        return Float64Array.from(layer.forward(tensor([h], { dtype })).data);
      };
      const without = { shape: 'normal', variance: size / d } as const;
      expect(alarms(draw(0), without)).toEqual([]);
      expect(
        alarms(
          draw(0.01).map((v) => v - 0.01),
          without,
        ),
      ).toEqual([]);
      const xavier = draw(init.xavierBias);
      expect(alarms(xavier, { shape: 'normal', variance: (size + 1) / d })).toEqual([]);
      expect(alarms(xavier, without)).toContain('variance');
    });
  }
});

it('elbows -b/w of w, b ~ N(0, 1) are Cauchy: half of them in ±1, hardly one between 100 and 200', () => {
  const generator = new Generator(16);
  const n = 200_000;
  const layer = new nn.Linear(1, n, { dtype: 'float64' });
  init.apply(layer, { weight: init.normal, bias: (b, _, o) => init.normal(b, o), generator });
  const elbows = layer.bias!.neg().div(layer.weight.reshape(n)).data as Float64Array;
  const share = (low: number, high: number): number => elbows.filter((e) => e > low && e < high).length / n;
  // The density 1 / (π (x² + 1)) integrated. The lecture rounds to 50, 70, 80 and 90 %; its 0.6 % for the range from 100
  // to 200 is the share beyond ±100, and it is 0.16 %: the "1-2 units out of 1000" that it goes on with.
  for (const [low, high, percent] of [
    [-1, 1, 50],
    [-2, 2, 70.48],
    [-3, 3, 79.52],
    [-7, 7, 90.97],
    [100, 200, 0.159],
  ] as const) {
    const p = (Math.atan(high) - Math.atan(low)) / Math.PI;
    expect(100 * p).toBeCloseTo(percent, 2);
    expect(Math.abs(share(low, high) - p)).toBeLessThan(5 * Math.sqrt((p * (1 - p)) / n));
  }
});
