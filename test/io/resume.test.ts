import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compile, data, F, Generator, io, nn, optim, randint, randn, type Tensor } from 'simdgrad';
import { afterAll, describe, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'simdgrad-resume-'));
afterAll(() => rmSync(folder, { recursive: true }));

const source = new Generator(99);
const examples = new data.TensorDataset(
  randn(50, 6, { generator: source }),
  randint(0, 4, [50], { generator: source }),
);

type Make = (model: nn.Module) => optim.Optimizer;

/** A training run, with everything that decides how it goes on. */
function training(seed: number, make: Make, compiled: boolean) {
  const generator = new Generator(seed);
  const model = new nn.Sequential(
    new nn.Linear(6, 8, { generator }),
    new nn.ReLU(),
    new nn.Dropout(0.3, { generator }),
    new nn.Linear(8, 4, { generator }),
  );
  const optimizer = make(model);
  const loader = new data.DataLoader(examples, { batchSize: 8, shuffle: true, generator });
  const eager = (x: Tensor, y: Tensor): Tensor => {
    optimizer.zeroGrad();
    const loss = F.crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  };
  const step = compiled ? compile(eager) : eager;
  const epoch = (): number[] => [...loader].map(([x, y]) => step(x, y).item());
  return { generator, model, optimizer, epoch };
}

const optimizers: [string, Make][] = [
  [
    'SGD with momentum',
    (m) => new optim.SGD(m.namedParameters(), { lr: 0.1, momentum: 0.9, nesterov: true }),
  ],
  ['Adam', (m) => new optim.Adam(m.namedParameters(), { lr: 0.01 })],
];

describe.each(optimizers)('resuming from a file: %s', (_, make) => {
  it.each([false, true])('goes on bit for bit as if never interrupted (compiled: %s)', (compiled) => {
    const path = join(folder, 'checkpoint');
    const whole = training(7, make, compiled);
    for (let i = 0; i < 2; i++) whole.epoch();
    const { model, optimizer, generator } = whole;
    io.save(path, {
      model: model.stateDict(),
      optimizer: optimizer.stateDict(),
      generator: generator.getState(),
      epoch: 2,
    });
    const expected = [...whole.epoch(), ...whole.epoch()];

    // Another seed: whatever is not in the file would show.
    const resumed = training(8, make, compiled);
    const checkpoint = io.load(path);
    resumed.model.loadStateDict(checkpoint.model);
    resumed.optimizer.loadStateDict(checkpoint.optimizer);
    resumed.generator.setState(checkpoint.generator);
    expect([...resumed.epoch(), ...resumed.epoch()]).toEqual(expected);
    resumed.model.parameters().forEach((p, i) => {
      expect(Array.from(p.data)).toEqual(Array.from(model.parameters()[i].data));
    });
    // And it was not equal for want of any difference.
    expect(training(8, make, compiled).epoch()).not.toEqual(training(7, make, compiled).epoch());
  });
});
