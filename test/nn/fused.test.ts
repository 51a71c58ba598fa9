import { describe, expect, test } from 'vitest';
import {
  backendInfo,
  compile,
  enableGrad,
  F,
  Generator,
  grad,
  nn,
  noGrad,
  optim,
  randint,
  randn,
  type Tensor,
} from '../../src/index.js';
import { activatedLinear } from '../../src/ops/index.js';

// What eager layers do in one pass has the bits of the separate operations, and memory that goes back to the pool between
// layers is never anything that a person, or a graph, still has.

const activations = {
  none: (x: Tensor) => x,
  relu: (x: Tensor) => x.relu(),
  sigmoid: (x: Tensor) => x.sigmoid(),
  tanh: (x: Tensor) => x.tanh(),
};

function random(shape: number[], seed: number, dtype: 'float32' | 'float64' = 'float32'): Tensor {
  const t = randn(shape, { generator: new Generator(seed), dtype });
  t.requiresGrad = true;
  return t;
}

describe(`a linear layer in one pass (${backendInfo().backend})`, () => {
  for (const [name, activation] of Object.entries(activations)) {
    for (const dtype of ['float32', 'float64'] as const) {
      test.each([
        [1, 1, 1],
        [1, 200, 40],
        [3, 5, 7],
        [32, 17, 33],
        [67, 64, 10],
        [0, 4, 3],
        [2, 0, 3],
      ])(`has the bits of the separate operations: ${name}, ${dtype}, %i×%i×%i`, (m, k, n) => {
        const inputs = [random([m, k], 1, dtype), random([k, n], 2, dtype), random([n], 3, dtype)] as const;
        const [x, w, b] = inputs;
        for (const bias of [b, null]) {
          const used = bias === null ? [x, w] : [x, w, b];
          const fused = activatedLinear(x, w, bias, name as keyof typeof activations);
          const product = x.matmul(w);
          const separate = activation(bias === null ? product : product.add(bias));
          expect(fused.data).toEqual(separate.data);
          const v = random([m, n], 4, dtype).detach();
          const g = (y: Tensor) => (grad([y], used, { gradOutputs: [v] }) as Tensor[]).map((t) => t.data);
          expect(g(fused)).toEqual(g(separate));
        }
      });
    }
  }

  test('takes a bias with gaps, and falls back for shapes that only broadcasting fits', () => {
    const [x, w] = [random([4, 3], 1), random([3, 2], 2)];
    const wide = random([2, 2], 3);
    const bias = wide.slice([0, 2], [0, 1]).reshape(2);
    expect(F.linear(x, w, bias).data).toEqual(x.matmul(w).add(bias).data);
    const turned = wide.T.select(0, 1);
    expect(F.linear(x, w, turned).data).toEqual(x.matmul(w).add(turned).data);
    for (const shape of [[1], [], [4, 1], [4, 2], [3, 1, 2]]) {
      const odd = random(shape, 5);
      expect(F.linear(x, w, odd).data).toEqual(x.matmul(w).add(odd).data);
    }
    expect(() => F.linear(x, w, random([3], 6))).toThrow(/add: shapes/);
    expect(F.linear(random([3], 7), w, random([2], 8)).shape).toEqual([2]);
    expect(F.linear(random([2, 4, 3], 7), w, random([2], 8)).shape).toEqual([2, 4, 2]);
    expect(F.linear(x, random([3, 2], 9, 'float64'), random([2], 8)).dtype).toBe('float64');
  });
});

describe(`Sequential in eager mode (${backendInfo().backend})`, () => {
  const make = (seed = 7): nn.Sequential => {
    const generator = new Generator(seed);
    return new nn.Sequential(
      new nn.Linear(6, 40, { generator }),
      new nn.ReLU(),
      new nn.Linear(40, 40, { generator }),
      new nn.Tanh(),
      new nn.Linear(40, 30, { generator }),
      new nn.GELU(),
      new nn.Flatten(),
      new nn.Linear(30, 4, { generator }),
    );
  };
  const layers = (model: nn.Sequential): nn.Module[] => [...model];
  /** Layer by layer, by a caller who keeps everything. */
  const byHand = (model: nn.Sequential, x: Tensor): Tensor[] => {
    const kept = [x];
    for (const layer of layers(model)) kept.push(layer.forward(kept.at(-1)) as Tensor);
    return kept;
  };
  const gradients = (model: nn.Sequential, loss: Tensor): Tensor['data'][] => {
    model.zeroGrad();
    loss.backward();
    return model.parameters().map((p) => (p.grad as Tensor).data);
  };

  test('has the bits of its layers one by one, over many steps', () => {
    const [model, other] = [make(), make()];
    const optimizers = [model, other].map((m) => new optim.Adam(m.parameters(), { lr: 1e-2 }));
    const [x, y] = [randn([9, 6], { generator: new Generator(1) }), randint(0, 4, [9])];
    for (let step = 0; step < 20; step++) {
      const loss = F.crossEntropy(model.forward(x), y);
      const kept = byHand(other, x);
      const values = kept.map((t) => t.detach().clone().data);
      const reference = F.crossEntropy(kept.at(-1) as Tensor, y);
      expect(loss.data).toEqual(reference.data);
      expect(gradients(model, loss)).toEqual(gradients(other, reference));
      for (const o of optimizers) o.step();
      // Nothing that the caller kept was changed by what came after.
      expect(kept.map((t) => t.data)).toEqual(values);
    }
  });

  test('is the same when compiled', () => {
    const [model, other] = [make(), make()];
    const [a, b] = [model, other].map((m) => new optim.Adam(m.parameters(), { lr: 1e-2 }));
    const step = (m: nn.Sequential, o: optim.Adam | undefined) => (x: Tensor, y: Tensor) => {
      o?.zeroGrad();
      const loss = F.crossEntropy(m.forward(x), y);
      loss.backward();
      o?.step();
      return loss;
    };
    const [eager, compiled] = [step(model, a), compile(step(other, b))];
    const [x, y] = [randn([9, 6], { generator: new Generator(1) }), randint(0, 4, [9])];
    for (let i = 0; i < 5; i++) expect(eager(x, y).data).toEqual(compiled(x, y).data);
    const values = (m: nn.Sequential) => m.parameters().map((p) => p.data);
    expect(values(model)).toEqual(values(other));
  });

  test('gives hooks and layers of their own what they saw, unchanged', () => {
    const model = make();
    const seen: Tensor[] = [];
    class Keep extends nn.ReLU {
      override forward(x: Tensor): Tensor {
        seen.push(x);
        return super.forward(x);
      }
    }
    const list = layers(model);
    list[1]?.registerForwardHook((_, inputs, output) => {
      seen.push(inputs[0] as Tensor, output as Tensor);
    });
    list[5]?.registerForwardHook((_, inputs) => {
      seen.push(inputs[0] as Tensor);
    });
    const kept = new nn.Sequential(...list.slice(0, 3), new Keep(), ...list.slice(3));
    const x = randn([9, 6], { generator: new Generator(1) });
    const loss = kept.forward(x).square().mean();
    const values = seen.map((t) => t.detach().clone().data);
    loss.backward();
    for (let i = 0; i < 4; i++) kept.forward(x).square().mean().backward();
    expect(seen.slice(0, values.length).map((t) => t.data)).toEqual(values);
  });

  test('leaves the result and the input alone, under noGrad as well', () => {
    const x = randn([9, 6], { generator: new Generator(1) });
    const before = x.detach().clone().data;
    for (const mode of [noGrad, enableGrad]) {
      for (const model of [make(), new nn.Sequential(new nn.ReLU(), new nn.Flatten(), new nn.Sigmoid())]) {
        const y = mode(() => model.forward(x) as Tensor);
        const values = y.detach().clone().data;
        for (let i = 0; i < 4; i++) mode(() => model.forward(x) as Tensor);
        expect(y.data).toEqual(values);
        expect(x.detach().clone().data).toEqual(before);
      }
    }
  });

  test('keeps what a graph still needs: retainGraph, second derivatives, parts of a graph', () => {
    const model = make();
    const x = randn([9, 6], { generator: new Generator(1) });
    const loss = model.forward(x).square().mean();
    model.zeroGrad();
    loss.backward({ retainGraph: true });
    const once = model.parameters().map((p) => (p.grad as Tensor).detach().clone());
    for (let i = 0; i < 3; i++) model.forward(x).square().mean().backward();
    model.zeroGrad();
    loss.backward();
    expect(model.parameters().map((p) => p.grad?.data)).toEqual(once.map((t) => t.data));
    expect(() => loss.backward()).toThrow(/used already/);

    // The gradient of the last weight uses up the last layer only.
    const weights = model.parameters();
    const part = model.forward(x).square().mean();
    const [last] = [weights.at(-2) as Tensor];
    const g1 = grad(part, last, { retainGraph: true }).data;
    for (let i = 0; i < 3; i++) model.forward(x).square().mean().backward();
    expect(grad(part, last, { retainGraph: true }).data).toEqual(g1);
    expect(grad(part, weights[0] as Tensor).data).toEqual(once[0]?.data);

    const second = (): unknown[] => {
      const y = model.forward(x).square().mean();
      const gs = grad(y, weights, { createGraph: true }) as Tensor[];
      const norm = gs.map((g) => g.square().sum()).reduce((a, b) => a.add(b));
      return (grad(norm, weights, { allowUnused: true }) as (Tensor | null)[]).map((t) => t?.data);
    };
    const reference = second();
    for (let i = 0; i < 3; i++) expect(second()).toEqual(reference);
  });
});
