import {
  ArgumentError,
  CompileError,
  compile,
  data,
  F,
  manualSeed,
  nn,
  noGrad,
  optim,
  ShapeError,
  StateError,
  type Tensor,
  tensor,
} from 'simdgrad';
import { distances, Recorder } from 'simdgrad/analysis';
import { describe, expect, it } from 'vitest';

const dtypes = ['float64', 'float32'] as const;

describe.each(dtypes)('the recorder in %s', (dtype) => {
  const digits = dtype === 'float64' ? 13 : 5;

  /** x = (1, 2), W = [[1, −1], [0.5, 1]], ReLU, V = (2, −3)ᵀ, L = ½ (f − 1)². */
  function worked() {
    const model = new nn.Sequential(
      new nn.Linear(2, 2, { dtype, bias: false }),
      new nn.ReLU(),
      new nn.Linear(2, 1, { dtype, bias: false }),
    );
    const [w, v] = model.parameters() as [Tensor, Tensor];
    w.copy_([
      [1, -1],
      [0.5, 1],
    ]);
    v.copy_([[2], [-3]]);
    const x = tensor([[1, 2]], { dtype });
    const loss = (): Tensor => model.forward(x).sub(1).square().sum().mul(0.5);
    return { model, loss };
  }

  it('records norms of activations and gradients per layer and per step, worked by hand', () => {
    const { model, loss } = worked();
    using recorder = new Recorder(model);
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1 });
    for (let t = 0; t < 2; t++) {
      optimizer.zeroGrad();
      loss().backward();
      recorder.step();
      optimizer.step();
    }
    // Step 0: Z = (2, 1), ReLU the same, f = 1; L = 0, so all gradients vanish and nothing moves.
    for (const [step, record] of recorder.history.entries()) {
      expect(record.step).toBe(step);
      expect(Object.keys(record.layers)).toEqual(['0', '1', '2']);
      expect(record.layers['0']!.activationNorm).toBeCloseTo(Math.sqrt(5), digits);
      expect(record.layers['1']!.activationRms).toBeCloseTo(Math.sqrt(2.5), digits);
      expect(record.layers['2']).toEqual({
        activationNorm: 1,
        activationRms: 1,
        gradientNorm: 0,
        gradientRms: 0,
      });
      expect(record.parameters['0.weight']).toMatchObject({ gradientNorm: 0, distance: 0 });
    }
    // With f = 4 the error is 3: G = 3, G_h = 3 · (2, −3), ∇V = 3 · (2, 1), ∇W = xᵀG_h.
    const v = model.parameters()[1] as Tensor;
    v.copy_([[2], [0]]);
    optimizer.zeroGrad();
    loss().backward();
    const { layers, parameters } = recorder.step();
    expect(layers['2']).toMatchObject({ activationNorm: 4, gradientNorm: 3, gradientRms: 3 });
    expect(layers['1']!.gradientNorm).toBeCloseTo(6, digits);
    expect(layers['0']!.gradientRms).toBeCloseTo(6 / Math.sqrt(2), digits);
    expect(parameters['2.weight']!.gradientNorm).toBeCloseTo(3 * Math.sqrt(5), digits);
    expect(parameters['0.weight']!.gradientNorm).toBeCloseTo(6 * Math.sqrt(5), digits);
    expect(parameters['0.weight']!.gradientRms).toBeCloseTo((6 * Math.sqrt(5)) / 2, digits);
    // V was (2, −3) when the recorder was attached.
    expect(parameters['2.weight']).toMatchObject({ norm: 2, distance: 3 });
  });

  it('changes no number of the training that it watches, and leaves with detach()', () => {
    const train = (watch: boolean): number[] => {
      const { model, loss } = worked();
      model.parameters()[1]!.copy_([[1], [0.5]]);
      const recorder = watch ? new Recorder(model) : null;
      const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
      for (let t = 0; t < 5; t++) {
        optimizer.zeroGrad();
        loss().backward();
        recorder?.step();
        optimizer.step();
      }
      if (recorder) {
        recorder.detach();
        recorder.detach();
        expect(recorder.history.length).toBe(5);
        expect(Object.hasOwn(model.at(0) as object, 'forward')).toBe(false);
        loss();
        expect(() => recorder.step()).toThrow(StateError);
      }
      return model.parameters().flatMap((p) => [...p.data]);
    };
    expect(train(true)).toEqual(train(false));
  });

  it('adds up the calls of a layer, and knows layers without a gradient', () => {
    const layer = new nn.Linear(1, 1, { dtype, bias: false });
    layer.weight.copy_([[2]]);
    const recorder = new Recorder(layer);
    const x = tensor([[3]], { dtype });
    layer
      .forward(x)
      .add(layer.forward(x.mul(4 / 3)))
      .sum()
      .backward();
    // Outputs 6 and 8; both have the gradient 1.
    const { layers } = recorder.step();
    expect(layers['']!.activationNorm).toBeCloseTo(10, digits);
    expect(layers['']!.activationRms).toBeCloseTo(10 / Math.SQRT2, digits);
    expect(layers['']!.gradientNorm).toBeCloseTo(Math.SQRT2, digits);
    layer.zeroGrad();
    noGrad(() => layer.forward(x));
    expect(recorder.step()).toMatchObject({
      layers: { '': { activationNorm: 6, gradientNorm: null, gradientRms: null } },
      parameters: { weight: { norm: 2, gradientNorm: null, gradientRms: null, distance: 0 } },
    });
    recorder.detach();
  });

  it('records the layers that were chosen', () => {
    const { model, loss } = worked();
    const recorder = new Recorder(model, { layers: (name, m) => name === '' || m instanceof nn.ReLU });
    loss().backward();
    expect(Object.keys(recorder.step().layers)).toEqual(['1', '']);
    recorder.detach();
  });
});

it('says that it cannot read values inside compile()', () => {
  const model = new nn.Linear(1, 1);
  const recorder = new Recorder(model);
  const step = compile((x: Tensor) => model.forward(x));
  expect(() => step(tensor([[1]]))).toThrow(CompileError);
  expect(() => step(tensor([[1]]))).toThrow(/without compile\(\)/);
  recorder.detach();
  model.weight.copy_([[2]]);
  model.bias!.copy_([1]);
  expect(step(tensor([[1]])).item()).toBe(3);
});

it('refuses nonsense', () => {
  const model = new nn.Linear(1, 1);
  expect(() => new Recorder(3 as never)).toThrow(ArgumentError);
  expect(() => new Recorder(model, { layer: 1 } as never)).toThrow(/did you mean "layers"/);
  expect(() => new Recorder(model, { layers: 'all' as never })).toThrow(ArgumentError);
  expect(() => new Recorder(model, { layers: () => false })).toThrow(/no layer/);
  const recorder = new Recorder(model);
  expect(() => recorder.step()).toThrow(StateError);
  recorder.detach();
});

describe.each(dtypes)('the distance of the weights in %s', (dtype) => {
  it('is that from where they began, over all and for each', () => {
    const layer = new nn.Linear(1, 2, { dtype });
    layer.weight.copy_([[3, 4]]);
    layer.bias!.copy_([0, 0]);
    const start = layer.stateDict();
    layer.weight.copy_([[3, 7]]);
    layer.bias!.copy_([0, -4]);
    expect(distances(layer, start)).toEqual({
      distance: 5,
      relative: 1,
      parameters: {
        weight: { distance: 3, relative: 0.6 },
        bias: { distance: 4, relative: Infinity },
      },
    });
    const other = new nn.Linear(1, 2, { dtype });
    other.loadStateDict(start);
    expect(distances(layer, other).distance).toBe(5);
    expect(distances(new Map([['a', tensor([1])]]), { a: tensor([3]) }).relative).toBeCloseTo(2 / 3);
  });

  it('refuses what cannot be compared', () => {
    const layer = new nn.Linear(1, 2, { dtype });
    expect(() => distances(layer, { weight: layer.weight })).toThrow(/no bias/);
    expect(() => distances(layer, { weight: tensor([1]), bias: tensor([1, 2]) })).toThrow(ShapeError);
    expect(() => distances(3 as never, layer)).toThrow(ArgumentError);
    expect(() => distances(layer, { weight: 3 } as never)).toThrow(ArgumentError);
  });

  it('weights stay closer to where they began than to where other training ends', () => {
    // Lectures 000 and 004, key idea 2: two networks with different seeds on the same digits.
    const { test } = data.mnist();
    const [images, labels] = test.tensors as [Tensor, Tensor];
    const x = images.slice([0, 1000]).to(dtype);
    const y = labels.slice([0, 1000]);
    const run = (seed: number) => {
      manualSeed(seed);
      const model = new nn.Sequential(
        new nn.Linear(784, 32, { dtype }),
        new nn.ReLU(),
        new nn.Linear(32, 10, { dtype }),
      );
      const start = model.stateDict();
      const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
      let loss = Infinity;
      for (let t = 0; t < 60; t++) {
        const at = (t % 10) * 100;
        optimizer.zeroGrad();
        const value = F.crossEntropy(model.forward(x.slice([at, at + 100])), y.slice([at, at + 100]));
        value.backward();
        optimizer.step();
        loss = value.item();
      }
      return { start, end: model.stateDict(), loss };
    };
    const [a, b] = [run(1), run(2)];
    for (const { loss } of [a, b]) expect(loss).toBeLessThan(0.4);
    for (const { start, end } of [a, b]) {
      const moved = distances(end, start).distance;
      expect(moved).toBeGreaterThan(0.5);
      expect(moved).toBeLessThan(0.75 * distances(a.end, b.end).distance);
    }
  });
});
