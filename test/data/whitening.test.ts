import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import {
  ArgumentError,
  compile,
  DTypeError,
  data,
  Generator,
  grad,
  io,
  ones,
  randn,
  ShapeError,
  StateError,
  type Tensor,
  tensor,
  zeros,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';
import {
  decode,
  expectClose,
  expectTensor,
  type GoldenNumber,
  type GoldenTensor,
  load,
} from '../goldens/golden.js';

interface Case {
  readonly kind: string;
  readonly options: data.WhiteningOptions;
  readonly x: GoldenTensor;
  readonly mean: GoldenTensor;
  readonly components: GoldenTensor;
  readonly explainedVariance: GoldenTensor;
  readonly ratio: readonly GoldenNumber[];
  readonly pca: GoldenTensor;
  readonly zca: GoldenTensor;
  readonly back: GoldenTensor;
}

const f64 = { dtype: 'float64' } as const;
const { cases } = load<Case>('whitening');
/** The digits to train on, read once. */
let digits: Tensor | undefined;
function mnist(): Tensor {
  digits ??= data.mnist({ flatten: false }).train.tensors[0];
  return digits;
}
const kinds = [data.PCAWhitening, data.ZCAWhitening] as const;

/** Mean and covariance (divided by n) of rows of p numbers, in plain loops. */
function moments(values: ArrayLike<number>, p: number): { mean: number[]; covariance: number[][] } {
  const n = values.length / p;
  const mean = Array.from({ length: p }, (_, j) => {
    let sum = 0;
    for (let i = 0; i < n; i++) sum += values[i * p + j]!;
    return sum / n;
  });
  const columns = mean.map((m, j) => Float64Array.from({ length: n }, (_, i) => values[i * p + j]! - m));
  const covariance = mean.map(() => new Array<number>(p).fill(0));
  for (let j = 0; j < p; j++) {
    for (let k = 0; k <= j; k++) {
      const [a, b] = [columns[j]!, columns[k]!];
      let sum = 0;
      for (let i = 0; i < n; i++) sum += a[i]! * b[i]!;
      covariance[j]![k] = sum / n;
      covariance[k]![j] = sum / n;
    }
  }
  return { mean, covariance };
}

/** The largest difference between a matrix and what it should be. */
function off(matrix: readonly number[][], want: (i: number, j: number) => number): number {
  return Math.max(...matrix.flatMap((row, i) => row.map((v, j) => Math.abs(v - want(i, j)))));
}

const identity = (i: number, j: number): number => Number(i === j);

describe('whitening against NumPy', () => {
  for (const c of cases) {
    it(`${c.kind} ${JSON.stringify(c.options)}`, () => {
      const exact = { relative: 1e-9, absolute: 1e-10 };
      const single = { relative: 1e-6, absolute: 1e-6 };
      const x = decode(c.x);
      const pca = new data.PCAWhitening(c.options);
      const zca = new data.ZCAWhitening(c.options);
      expectTensor('pca', pca.fitTransform(x), c.pca, exact);
      expectTensor('zca', zca.fitTransform(x), c.zca, exact);
      for (const w of [pca, zca]) {
        expectTensor('mean', w.mean, c.mean, exact);
        expectTensor('components', w.components, c.components, exact);
        expectTensor('variance', w.explainedVariance, c.explainedVariance, exact);
        expectClose('ratio', w.explainedVarianceRatio.data, c.ratio, exact);
        expect(w.nComponents).toBe(c.explainedVariance.shape[0]);
        expectTensor('back', w.inverseTransform(w.transform(x)), c.back, exact);
        // The inputs are float32 numbers, and the fit is float64 whatever it sees.
        const other = new (w.constructor as typeof data.PCAWhitening)(c.options).fit(x.to('float32'));
        expect(other.components.toArray()).toEqual(w.components.toArray());
        const y = other.transform(x.to('float32'));
        const golden = w === pca ? c.pca : c.zca;
        expectTensor('float32', y, { ...golden, dtype: 'float32' }, single);
        expectTensor('float32', other.inverseTransform(y), { ...c.back, dtype: 'float32' }, single);
      }
    });
  }
});

describe('PCAWhitening and ZCAWhitening', () => {
  it('PCA: the covariance of the result is the identity, in descending order of variance', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 0, max: 2 ** 30 }), (p, seed) => {
        const generator = new Generator(seed);
        const n = 3 * p + 5;
        const x = randn([n, p], { ...f64, generator })
          .matmul(randn([p, p], { ...f64, generator }))
          .add(7);
        const w = new data.PCAWhitening({ tolerance: 1e-10 });
        const { mean, covariance } = moments(w.fitTransform(x).data, w.nComponents);
        // What rounds in the covariance is of the size 1e-16 of the largest variance.
        const d = Array.from(w.explainedVariance.data);
        const loss = 1e-14 * n * (d[0]! / d.at(-1)!);
        expect(Math.max(...mean.map(Math.abs))).toBeLessThan(1e-9);
        expect(off(covariance, identity)).toBeLessThan(1e-12 + loss);
        for (let k = 1; k < d.length; k++) expect(d[k]!).toBeLessThanOrEqual(d[k - 1]!);
        for (const row of w.components.toArray() as number[][]) {
          const largest = row.reduce((a, b) => (Math.abs(b) > Math.abs(a) ? b : a));
          if (p > 1) expect(largest).toBeGreaterThan(0);
        }
      }),
      { numRuns: 40, seed: 5 },
    );
  });

  for (const dtype of ['float32', 'float64'] as const) {
    it(`MNIST, ${dtype}: identity on the retained components of PCA, their projector for ZCA`, () => {
      // Every second row and column of 1000 digits: 196 pixels, those at the edge constant.
      const x = mnist().slice([0, 1000], [0, 28, 2], [0, 28, 2]).to(dtype);
      const pca = new data.PCAWhitening();
      const z = pca.fitTransform(x);
      const k = pca.nComponents;
      const pixels = moments(x.data, 196).covariance.map((row, i) => row[i]!);
      const varying = pixels.filter((v) => v > 0).length;
      // NumPy's eigenvalues: the 149th is 1e-8 of the first, the next ones 3e-17 and less. 152 pixels vary.
      expect([varying, k]).toEqual([152, 149]);
      expect([z.shape, z.dtype]).toEqual([[1000, k], dtype]);
      expect(off(moments(z.data, k).covariance, identity)).toBeLessThan(dtype === 'float64' ? 1e-8 : 1e-5);
      const zca = new data.ZCAWhitening();
      const images = zca.fitTransform(x);
      expect(images.shape).toEqual([1000, 14, 14]);
      const e = zca.components.toArray() as number[][];
      const projector = (i: number, j: number): number => e.reduce((sum, row) => sum + row[i]! * row[j]!, 0);
      const { covariance } = moments(images.data, 196);
      expect(off(covariance, projector)).toBeLessThan(dtype === 'float64' ? 1e-8 : 1e-5);
      // A constant pixel stays 0 in every digit.
      for (let i = 0; i < 196; i++) {
        if (pixels[i] === 0) expect(covariance[i]![i]!).toBe(0);
      }
      for (const w of [pca, zca]) {
        const back = w.inverseTransform(w.transform(x));
        expect(back.shape).toEqual([1000, 14, 14]);
        expect(back.sub(x).abs().max().item()).toBeLessThan(dtype === 'float64' ? 1e-9 : 1e-5);
      }
      // Few components hold most of the variance, and give digits that are near the real ones.
      const most = new data.PCAWhitening({ retainedVariance: 0.9 });
      const far = most.inverseTransform(most.fitTransform(x)).sub(x).square().sum().item();
      const all = x.sub(x.mean(0)).square().sum().item();
      expect(most.nComponents).toBeLessThan(80);
      expect(far / all).toBeLessThan(0.1);
      const shares = Array.from(pca.explainedVarianceRatio.data);
      const rest = shares.slice(most.nComponents).reduce((a, b) => a + b, 0);
      expect(far / all).toBeCloseTo(rest, 5);
      expect(rest + shares[most.nComponents - 1]!).toBeGreaterThan(0.1);
    });
  }

  it('MNIST: the middle of the digits, more pixels than digits', () => {
    const x = mnist().slice([0, 300], [4, 24], [4, 24]);
    const w = new data.PCAWhitening({ nComponents: 100 });
    const z = w.fitTransform(x);
    expect(z.shape).toEqual([300, 100]);
    expect(new data.PCAWhitening({ tolerance: 1e-10 }).fit(x).nComponents).toBe(299);
    expect(off(moments(z.data, 100).covariance, identity)).toBeLessThan(1e-5);
  });

  it('take examples of any shape, one or many, and any number of them', () => {
    const x = randn([30, 2, 3], { ...f64, generator: new Generator(1) });
    for (const Whitening of kinds) {
      const w = new Whitening({ nComponents: 4 }).fit(x);
      const after = Whitening === data.PCAWhitening ? [4] : [2, 3];
      const all = w.transform(x);
      expect(all.shape).toEqual([30, ...after]);
      expect(w.mean.shape).toEqual([2, 3]);
      expect(w.components.shape).toEqual([4, 6]);
      expectClose('one', w.transform(x.select(0, 3)).data, Array.from(all.select(0, 3).clone().data), {
        relative: 1e-12,
        absolute: 1e-13,
      });
      expect(w.transform(x.select(0, 3)).shape).toEqual(after);
      expect(w.transform(x.reshape(5, 6, 2, 3)).shape).toEqual([5, 6, ...after]);
      expect(w.transform(zeros([0, 2, 3])).shape).toEqual([0, ...after]);
      expect(w.inverseTransform(all.select(0, 0)).shape).toEqual([2, 3]);
      expect(w.inverseTransform(zeros([0, ...after])).shape).toEqual([0, 2, 3]);
      // More rows than are converted at a time give the same as few.
      const many = zeros([9000, 2, 3], f64).copy_(x.narrow(0, 7, 1));
      const first = Array.from(all.select(0, 7).clone().data);
      for (const i of [0, 4095, 4096, 8999]) {
        expectClose('many', w.transform(many).select(0, i).clone().data, first, {
          relative: 1e-12,
          absolute: 1e-13,
        });
      }
    }
  });

  it('take whole numbers, and features far from zero', () => {
    const x = tensor([1_000_001, 5, 1_000_002, 5, 1_000_004, 5, 1_000_005, 5], {
      shape: [4, 2],
      dtype: 'int32',
    });
    const w = new data.PCAWhitening();
    const z = w.fitTransform(x);
    // By hand: mean 1000003, variance (4 + 1 + 1 + 4) / 4 = 2.5; the second feature does not vary.
    expect(w.mean.toArray()).toEqual([1_000_003, 5]);
    expect(w.explainedVariance.toArray()).toEqual([2.5]);
    expect(z.dtype).toBe('float32');
    expectClose(
      'z',
      z.data,
      [-2, -1, 1, 2].map((v) => Math.fround(v / Math.sqrt(2.5))),
      {
        relative: 1e-7,
        absolute: 0,
      },
    );
    expect(new data.ZCAWhitening().fitTransform(x).toArray()).toEqual([
      [Math.fround(-2 / Math.sqrt(2.5)), 0],
      [Math.fround(-1 / Math.sqrt(2.5)), 0],
      [Math.fround(1 / Math.sqrt(2.5)), 0],
      [Math.fround(2 / Math.sqrt(2.5)), 0],
    ]);
    // A constant whose mean rounds (three times 0.1 is not 0.3) is constant all the same.
    const tenths = tensor([0.1, 1, 0.1, 2, 0.1, 4], { shape: [3, 2], ...f64 });
    expect(new data.PCAWhitening({ tolerance: 0 }).fit(tenths).mean.toArray()).toEqual([0.1, 7 / 3]);
    expect(new data.PCAWhitening({ tolerance: 0 }).fit(tenths).nComponents).toBe(1);
    expect(new data.StandardScaler().fitTransform(tenths).select(1, 0).clone().toArray()).toEqual([0, 0, 0]);
  });

  it('work in compiled steps and pass gradients on', () => {
    const x = randn([6, 3], { ...f64, generator: new Generator(4) });
    for (const Whitening of kinds) {
      const w = new Whitening({ eps: 0.1 }).fit(x);
      const step = compile((batch: Tensor) => w.transform(batch).square().sum());
      for (let i = 0; i < 3; i++) {
        expect(step(x.add(i)).item()).toBeCloseTo(w.transform(x.add(i)).square().sum().item(), 10);
      }
      const leaf = tensor(x.data, { shape: [6, 3], requiresGrad: true });
      const [g] = grad(w.transform(leaf).sum(), [leaf]);
      // transform is affine, so differences of it are its derivative.
      const ahead = w
        .transform(x.add(tensor([1, 0, 0], f64)))
        .sub(w.transform(x))
        .sum(1);
      expectClose('gradient', g!.select(1, 0).clone().data, Array.from(ahead.data), {
        relative: 1e-10,
        absolute: 1e-11,
      });
    }
  });

  it('do the same at any scale of the data', () => {
    const x = randn([12, 3], { ...f64, generator: new Generator(6) });
    for (const Whitening of kinds) {
      const expected = Array.from(new Whitening().fitTransform(x).data);
      for (const scale of [2 ** 500, 2 ** -500]) {
        const z = new Whitening({ correction: 0 }).fitTransform(x.mul(scale));
        expectClose('scaled', z.data, expected, { relative: 1e-12, absolute: 1e-13 });
      }
    }
  });

  it('store their state, in files too', () => {
    const x = randn([20, 4], { ...f64, generator: new Generator(2) });
    const folder = mkdtempSync(join(tmpdir(), 'simdgrad-'));
    try {
      for (const Whitening of kinds) {
        const w = new Whitening({ nComponents: 3, eps: 0.5 }).fit(x);
        const path = join(folder, 'whitening.safetensors');
        io.save(path, w.stateDict());
        const other = new Whitening();
        other.loadStateDict(io.load(path));
        expect(other.transform(x).toArray()).toEqual(w.transform(x).toArray());
        const y = w.transform(x);
        expect(other.inverseTransform(y).toArray()).toEqual(w.inverseTransform(y).toArray());
        expect(other.explainedVarianceRatio.toArray()).toEqual(w.explainedVarianceRatio.toArray());
        const state = w.stateDict();
        for (const bad of [
          undefined,
          {},
          { ...state, mean: zeros([3], f64) },
          { ...state, components: state.components.to('float32') },
          { ...state, explainedVariance: zeros([3], f64) },
          { ...state, explainedVariance: ones([2], f64) },
          { ...state, eps: tensor(-1, f64) },
          { ...state, components: state.components.mul(Number.NaN) },
          { ...state, mean: state.mean.add(Infinity) },
          { ...state, explainedVariance: state.explainedVariance.add(Infinity) },
          { ...state, totalVariance: ones([1], f64) },
        ]) {
          expect(() => new Whitening().loadStateDict(bad as never)).toThrow(StateError);
        }
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('refuse what they cannot whiten', () => {
    for (const Whitening of kinds) {
      const w = new Whitening();
      const x = randn([5, 3], { generator: new Generator(3) });
      for (const use of [
        () => w.transform(x),
        () => w.inverseTransform(x),
        () => w.mean,
        () => w.components,
        () => w.nComponents,
        () => w.stateDict(),
      ]) {
        expect(use).toThrow(StateError);
        expect(use).toThrow(/call fit\(x\) first/);
      }
      expect(() => w.fit(zeros(1, 3))).toThrow(ShapeError);
      expect(() => w.fit(zeros(1, 3))).toThrow(/n >= 2, not \[1, 3\]/);
      expect(() => w.fit(zeros(4, 0))).toThrow(/no features/);
      expect(() => w.fit(tensor(3))).toThrow(ShapeError);
      expect(() => w.fit([1, 2] as never)).toThrow(ArgumentError);
      expect(() => w.fit(x.gt(0))).toThrow(DTypeError);
      expect(() => w.fit(ones(4, 3))).toThrow(/nothing varies/);
      expect(() => w.fit(zeros(2, 10_000))).toThrow(/800000000 bytes/);
      for (const bad of [Number.NaN, Infinity, -Infinity, 1e200]) {
        const spoilt = x.to('float64').clone();
        spoilt.narrow(0, 1, 1).fill_(bad);
        expect(() => w.fit(spoilt)).toThrow(ArgumentError);
        spoilt.narrow(0, 0, 1).fill_(bad);
        expect(() => w.fit(spoilt)).toThrow(/NaN or infinities, or are too large/);
      }
      expect(() => new Whitening({ nComponents: 4 }).fit(x)).toThrow(
        /5 examples of 3 features have at most 3/,
      );
      expect(() => new Whitening({ nComponents: 3 }).fit(x.narrow(0, 0, 3))).toThrow(/at most 2 components/);
      w.fit(x);
      expect(() => w.transform(zeros(2, 4))).toThrow(/\[3\], not to \[2, 4\]/);
      expect(() => w.transform(zeros(2, 4))).toThrow(ShapeError);
      expect(() => w.transform(tensor(1))).toThrow(ShapeError);
      expect(() => w.inverseTransform(zeros(2, 2))).toThrow(ShapeError);
      for (const bad of [
        { nComponents: 0 },
        { nComponents: 0.9 },
        { retainedVariance: 0 },
        { retainedVariance: 1.1 },
        { retainedVariance: '1' },
        { eps: -1 },
        { eps: Infinity },
        { tolerance: 1 },
        { tolerance: Number.NaN },
        { correction: 2 },
        [],
      ]) {
        expect(() => new Whitening(bad as never)).toThrow(ArgumentError);
      }
      expect(() => new Whitening({ components: 3 } as never)).toThrow(/nComponents/);
    }
  });
});
