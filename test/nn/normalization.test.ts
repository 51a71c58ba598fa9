// Batch normalisation of lecture 001, recomputed in float64 with loops over plain arrays.
import { compile, Generator, nn, randn, type Tensor, tensor } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../support/compare.js';

type Rows = number[][];

const tolerance = { float32: { rtol: 1e-5, atol: 2e-6 }, float64: { rtol: 1e-12, atol: 1e-14 } };
const average = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0) / xs.length;

/** Rows of features as lists of the values of each feature; [N, C, L] by element of L too. */
function byFeature(x: Tensor): Rows {
  const values = x.toArray() as (number | number[])[][];
  return (values[0] as unknown[]).map((_, c) => values.flatMap((row) => row[c] as number | number[]));
}

interface Statistics {
  mean: number[];
  variance: number[];
}

/** The lecture's two lines, in their order: the second reads the running mean that the first has moved. */
function track({ mean, variance }: Statistics, x: Tensor, beta: number, form: string): Statistics {
  const features = byFeature(x);
  const moved = mean.map((m, c) => (1 - beta) * m + beta * average(features[c] as number[]));
  return {
    mean: moved,
    variance: variance.map((v, c) => {
      const values = features[c] as number[];
      const about = form === 'unbiased' ? average(values) : (moved[c] as number);
      const squares = values.map((u) => (u - about) ** 2);
      const n = form === 'unbiased' ? values.length - 1 : values.length;
      return (1 - beta) * v + beta * (squares.reduce((a, b) => a + b, 0) / n);
    }),
  };
}

describe.each(['float32', 'float64'] as const)('BatchNorm1d, %s', (dtype) => {
  const batch = (k: number, shape: number[]): Tensor =>
    randn(shape, { dtype, generator: new Generator(k) })
      .mul(k + 1)
      .add(3 - k);

  it('normalizes with the mean and the 1/N variance of the batch, scales by γ and shifts by β', () => {
    const m = new nn.BatchNorm1d(3, { dtype, eps: 1e-3 });
    const [gamma, beta] = [
      [1.5, -2, 0.5],
      [0.25, 1, -1],
    ] as [number[], number[]];
    m.weight?.copy_(gamma);
    m.bias?.copy_(beta);
    const x = batch(1, [6, 3]);
    const features = byFeature(x);
    const expected = (x.toArray() as Rows).flatMap((row) =>
      row.map((u, c) => {
        const values = features[c] as number[];
        const mu = average(values);
        const variance = average(values.map((v) => (v - mu) ** 2));
        return ((gamma[c] as number) * (u - mu)) / Math.sqrt(variance + 1e-3) + (beta[c] as number);
      }),
    );
    expectClose(m.forward(x).data, expected, tolerance[dtype]);
    expectClose(compile((t: Tensor) => m.forward(t))(x).data, expected, tolerance[dtype]);
  });

  for (const runningVariance of ['unbiased', 'aboutRunningMean'] as const) {
    it(`keeps running statistics for evaluation: ${runningVariance}`, () => {
      for (const momentum of [0.1, 0.3, 1, null]) {
        for (const tail of [[], [4]]) {
          for (const compiled of [false, true]) {
            const m = new nn.BatchNorm1d(2, { momentum, runningVariance, dtype });
            const forward = (t: Tensor): Tensor => m.forward(t);
            const step = compiled ? compile(forward) : forward;
            let expected: Statistics = { mean: [0, 0], variance: [1, 1] };
            for (let k = 1; k <= 4; k++) {
              const x = batch(k, [5, 2, ...tail]);
              step(x);
              expected = track(expected, x, momentum ?? 1 / k, runningVariance);
              expectClose(m.runningMean?.data ?? [], expected.mean, tolerance[dtype]);
              expectClose(m.runningVar?.data ?? [], expected.variance, tolerance[dtype]);
            }
            // In evaluation mode they are used, and stay.
            m.eval();
            const x = batch(7, [3, 2]);
            const { mean, variance } = expected;
            const normal = (x.toArray() as Rows).flatMap((row) =>
              row.map((u, c) => (u - (mean[c] as number)) / Math.sqrt((variance[c] as number) + 1e-5)),
            );
            expectClose(m.forward(x).data, normal, tolerance[dtype]);
            expectClose(m.runningVar?.data ?? [], variance, tolerance[dtype]);
          }
        }
      }
    });
  }

  it('keeps the same statistics in asynchronous steps', async () => {
    for (const runningVariance of ['unbiased', 'aboutRunningMean'] as const) {
      const [a, b] = [0, 1].map(() => new nn.BatchNorm1d(2, { momentum: 0.3, runningVariance, dtype })) as [
        nn.BatchNorm1d,
        nn.BatchNorm1d,
      ];
      const step = compile((t: Tensor) => b.forward(t));
      for (let k = 1; k <= 3; k++) {
        const x = batch(k, [5, 2]);
        a.forward(x);
        await step.async(x);
      }
      expect(b.runningMean?.toArray()).toEqual(a.runningMean?.toArray());
      expect(b.runningVar?.toArray()).toEqual(a.runningVar?.toArray());
    }
  });

  it('makes the samples of a batch depend on each other in training, not in evaluation', () => {
    const m = new nn.BatchNorm1d(1, { dtype });
    const [a, b] = [
      [[1], [2], [4]],
      [[1], [2], [9]],
    ].map((rows) => tensor(rows, { dtype })) as [Tensor, Tensor];
    const first = (x: Tensor): number => m.forward(x).select(0, 0).item();
    expect(first(a)).not.toBe(first(b));
    m.eval();
    expect(first(a)).toBe(first(b));
  });

  it("runs lecture 001's model in both modes", () => {
    const model = new nn.Sequential(
      new nn.Linear(1, 100, { dtype }),
      new nn.BatchNorm1d(100, { dtype, runningVariance: 'aboutRunningMean' }),
      new nn.ReLU(),
      new nn.Linear(100, 1, { dtype }),
    );
    const x = batch(2, [16, 1]);
    for (let k = 0; k < 200; k++) model.forward(x);
    // The statistics of one batch over and over are those of the batch.
    const trained = model.forward(x).data;
    expectClose(model.eval().forward(x).data, trained, { rtol: 1e-3, atol: 1e-3 });
  });
});

describe('BatchNorm1d', () => {
  it('says which forms of the running variance there are', () => {
    expect(() => new nn.BatchNorm1d(2, { runningVariance: 'unbiassed' as never })).toThrow(
      /must be one of unbiased, aboutRunningMean.*did you mean "unbiased"/,
    );
    expect(() => new nn.BatchNorm1d(2, { runingVariance: 'unbiased' } as never)).toThrow(
      /did you mean "runningVariance"/,
    );
    expect(String(new nn.BatchNorm1d(2, { runningVariance: 'aboutRunningMean' }))).toContain(
      'aboutRunningMean',
    );
  });

  it('notices in compiled steps that the form was changed', () => {
    const m = new nn.BatchNorm1d(1, { momentum: 1 });
    const step = compile((t: Tensor) => m.forward(t));
    const x = tensor([[1], [2], [6]]);
    for (let i = 0; i < 3; i++) step(x);
    expect(m.runningVar?.item()).toBeCloseTo(7, 5);
    m.runningVariance = 'aboutRunningMean';
    for (let i = 0; i < 3; i++) step(x);
    expect(m.runningVar?.item()).toBeCloseTo(14 / 3, 5);
  });
});

describe.each(['float32', 'float64'] as const)('LayerNorm, %s', (dtype) => {
  it('normalizes every sample by itself, in both modes', () => {
    const m = new nn.LayerNorm(4, { dtype });
    m.weight?.copy_([1, 2, 3, 4]);
    m.bias?.copy_([0, -1, 0, 1]);
    const x = randn([5, 4], { dtype, generator: new Generator(3) });
    const expected = (x.toArray() as Rows).flatMap((row) => {
      const mu = average(row);
      const variance = average(row.map((u) => (u - mu) ** 2));
      return row.map(
        (u, i) => ((u - mu) / Math.sqrt(variance + 1e-5)) * (i + 1) + ([0, -1, 0, 1][i] as number),
      );
    });
    for (const run of [(t: Tensor) => m.forward(t), compile((t: Tensor) => m.forward(t))]) {
      expectClose(run(x).data, expected, tolerance[dtype]);
      m.eval();
      expectClose(run(x).data, expected, tolerance[dtype]);
      m.train();
    }
  });
});
