import fc from 'fast-check';
import {
  ArgumentError,
  arange,
  compile,
  data,
  Generator,
  grad,
  IndexError,
  manualSeed,
  ShapeError,
  StateError,
  type Tensor,
  tensor,
  zeros,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';

/** Examples that tell their number: x = [10 i, 10 i + 1], y = i mod classes. */
function numbered(n: number, classes = 3) {
  const x = tensor(
    Array.from({ length: 2 * n }, (_, k) => 10 * Math.floor(k / 2) + (k % 2)),
    { shape: [n, 2] },
  );
  const y = tensor(Int32Array.from({ length: n }, (_, i) => i % classes));
  return new data.TensorDataset(x, y);
}

const numbers = (batch: readonly Tensor[]): number[] => Array.from(batch[0].select(1, 0).data, (v) => v / 10);
const epoch = (loader: Iterable<readonly Tensor[]>): number[] => [...loader].flatMap(numbers);
const dataset = (...tensors: Tensor[]) => new data.TensorDataset(...tensors);
const sorted = (list: number[]): number[] => [...list].sort((a, b) => a - b);
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);

describe('TensorDataset', () => {
  it('gives examples as views and many at once', () => {
    const ds = numbered(5);
    expect([ds.size, ds.length]).toEqual([5, 5]);
    expect(ds.get(3).map((t) => t.toArray())).toEqual([[30, 31], 0]);
    expect(ds.get(-1)[0].toArray()).toEqual([40, 41]);
    expect(ds.gather([4, 0, 4]).map((t) => t.toArray())).toEqual([
      [
        [40, 41],
        [0, 1],
        [40, 41],
      ],
      [1, 0, 1],
    ]);
  });

  it('leaves the values where they are, in shared memory', () => {
    const x = tensor([
      [1, 2],
      [3, 4],
    ]);
    const ds = new data.TensorDataset(x);
    expect(x.data.buffer).toBeInstanceOf(SharedArrayBuffer);
    x.fill_(7);
    expect(ds.get(0)[0].toArray()).toEqual([7, 7]);
    // Memory that somebody holds stays in place.
    const held = tensor([1, 2, 3]);
    const values = held.data;
    new data.TensorDataset(held);
    values[0] = 9;
    expect(held.toArray()).toEqual([9, 2, 3]);
  });

  it('refuses what is not a dataset', () => {
    expect(() => new data.TensorDataset(zeros(2, 3), zeros(3))).toThrow(/\[2, 3\] and \[3\]/);
    expect(() => new data.TensorDataset(zeros(2, 3), zeros(3))).toThrow(ShapeError);
    expect(() => new data.TensorDataset(tensor(1))).toThrow(ShapeError);
    expect(() => new data.TensorDataset()).toThrow(ArgumentError);
    expect(() => new data.TensorDataset([1, 2] as unknown as Tensor)).toThrow(ArgumentError);
    for (const i of [5, -6, 1.5, Number.NaN, '1' as unknown as number]) {
      expect(() => numbered(5).get(i)).toThrow(IndexError);
    }
    expect(() => numbered(5).gather([5])).toThrow(IndexError);
  });
});

describe('Subset', () => {
  it('shows some examples in its own order', () => {
    const part = numbered(6).subset([5, 1, 3]);
    expect([part.size, part.length]).toEqual([3, 3]);
    expect(part.get(0)[0].toArray()).toEqual([50, 51]);
    expect(numbers(part.gather([2, 0]))).toEqual([3, 5]);
    expect(numbers(part.subset(Int32Array.of(1, 1)).gather([1]))).toEqual([1]);
    expect(new data.Subset(numbered(4), tensor([2], { dtype: 'int32' })).get(-1)[0].toArray()).toEqual([
      20, 21,
    ]);
    const indices = Int32Array.of(0, 1);
    const copied = numbered(4).subset(indices);
    indices[0] = 3;
    expect(copied.get(0)[0].toArray()).toEqual([0, 1]);
  });

  it('refuses indices that are none', () => {
    for (const bad of [[6], [-1], [0.5], ['1']]) {
      expect(() => numbered(6).subset(bad as number[])).toThrow(IndexError);
    }
    expect(() => numbered(6).subset('012' as unknown as number[])).toThrow(ArgumentError);
    expect(() => new data.Subset({} as data.Dataset, [0])).toThrow(ArgumentError);
  });
});

describe('split', () => {
  it('cuts into parts without common examples, by sizes or fractions', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 60 }),
        fc.array(fc.integer({ min: 0, max: 20 }), { minLength: 1, maxLength: 5 }),
        (n, weights) => {
          const total = weights.reduce((a, b) => a + b, 0);
          fc.pre(total > 0);
          const parts = data.split(
            numbered(n),
            weights.map((w) => w / total),
          );
          expect(sorted(parts.flatMap((p) => Array.from(p.indices.data)))).toEqual(range(n));
          parts.forEach((p, i) => {
            expect(Math.abs(p.size - (n * weights[i]) / total)).toBeLessThan(parts.length);
          });
        },
      ),
    );
    expect(data.split(numbered(10), [7, 2, 1]).map((p) => p.size)).toEqual([7, 2, 1]);
    // What rounding down leaves over goes one each to the first parts, as in PyTorch's random_split.
    expect(data.split(numbered(10), [1 / 3, 1 / 3, 1 / 3]).map((p) => p.size)).toEqual([4, 3, 3]);
    expect(data.split(numbered(7), [0.5, 0.5]).map((p) => p.size)).toEqual([4, 3]);
  });

  it('follows the generator', () => {
    const cut = (seed: number) =>
      Array.from(data.split(numbered(20), [10, 10], { generator: new Generator(seed) })[0].indices.data);
    expect(cut(1)).toEqual(cut(1));
    expect(cut(1)).not.toEqual(cut(2));
    const [first, second] = data.split(numbered(5), [2, 3], { shuffle: false });
    expect([Array.from(first.indices.data), Array.from(second.indices.data)]).toEqual([
      [0, 1],
      [2, 3, 4],
    ]);
  });

  it('refuses parts that do not add up', () => {
    for (const bad of [[0.5, 0.6], [3, 3], [-1, 6], [Number.NaN], 'x', []]) {
      expect(() => data.split(numbered(5), bad as number[])).toThrow(ArgumentError);
    }
    expect(() => data.split(numbered(5), [5], { seed: 1 } as object)).toThrow(/seed/);
    expect(() => data.split(numbered(5), [5], { generator: 1 as unknown as Generator })).toThrow(
      ArgumentError,
    );
  });
});

describe('DataLoader', () => {
  it('gives batches in order, the last one smaller', () => {
    const loader = new data.DataLoader(numbered(7), { batchSize: 3 });
    expect(loader.length).toBe(3);
    expect([...loader].map((b) => b[0].shape)).toEqual([
      [3, 2],
      [3, 2],
      [1, 2],
    ]);
    expect(epoch(loader)).toEqual(range(7));
    expect(epoch(loader)).toEqual(range(7));
    expect(new data.DataLoader(numbered(3)).length).toBe(3);
    const dropping = new data.DataLoader(numbered(7), { batchSize: 3, dropLast: true });
    expect([dropping.length, epoch(dropping)]).toEqual([2, range(6)]);
    const empty = new data.DataLoader(numbered(0), { batchSize: 3, shuffle: true });
    expect([empty.length, [...empty]]).toEqual([0, []]);
    expect(epoch(new data.DataLoader(numbered(2), { batchSize: 5, dropLast: true }))).toEqual([]);
  });

  it('keeps inputs and labels together', () => {
    const loader = new data.DataLoader(numbered(50, 7), { batchSize: 8, shuffle: true });
    for (const [x, y] of loader) {
      expect(Array.from(y.data)).toEqual(numbers([x]).map((i) => i % 7));
      expect([x.dtype, y.dtype]).toEqual(['float32', 'int32']);
    }
  });

  it('shuffles anew in every epoch, as the seed says', () => {
    const epochs = (seed: number): number[][] => {
      const loader = new data.DataLoader(numbered(40), {
        batchSize: 6,
        shuffle: true,
        generator: new Generator(seed),
      });
      return [epoch(loader), epoch(loader)];
    };
    const [a, b] = epochs(3);
    expect(sorted(a)).toEqual(range(40));
    expect(sorted(b)).toEqual(range(40));
    expect(a).not.toEqual(b);
    expect(a).not.toEqual(range(40));
    expect(epochs(3)).toEqual([a, b]);
    expect(epochs(4)).not.toEqual([a, b]);
    const byDefault = (): number[] => {
      manualSeed(11);
      return epoch(new data.DataLoader(numbered(40), { shuffle: true }));
    };
    expect(byDefault()).toEqual(byDefault());
  });

  it('resumes from the state of its generator', () => {
    const generator = new Generator(5);
    const loader = new data.DataLoader(numbered(30), { batchSize: 4, shuffle: true, generator });
    epoch(loader);
    const state = generator.getState();
    const expected = epoch(loader);
    const other = new Generator();
    other.setState(state);
    expect(
      epoch(new data.DataLoader(numbered(30), { batchSize: 4, shuffle: true, generator: other })),
    ).toEqual(expected);
  });

  it('draws the order of an epoch when it starts, so that epochs can overlap', () => {
    const make = () => new data.DataLoader(numbered(20), { shuffle: true, generator: new Generator(1) });
    const apart = make();
    const [a, b] = [epoch(apart), epoch(apart)];
    const together = make();
    const [i, j] = [together[Symbol.iterator](), together[Symbol.iterator]()];
    expect([epoch(j), epoch(i)]).toEqual([b, a]);
  });

  it('gives fresh tensors', () => {
    const ds = numbered(4);
    const loader = new data.DataLoader(ds, { batchSize: 4 });
    const [[first]] = [...loader];
    first.fill_(-1);
    const [[second]] = [...loader];
    expect(numbers([second])).toEqual(range(4));
    expect(ds.get(1)[0].toArray()).toEqual([10, 11]);
  });

  it('takes subsets and datasets of other kinds', () => {
    const part = numbered(9).subset([8, 6, 4, 2]);
    expect(epoch(new data.DataLoader(part, { batchSize: 3 }))).toEqual([8, 6, 4, 2]);
    const squares: data.Dataset<[Tensor, Tensor]> = {
      size: 5,
      get: (i) => [tensor([10 * i, 0]), tensor(i * i)],
    };
    const loader = new data.DataLoader(squares, { batchSize: 2, shuffle: true });
    const seen = [...loader].flatMap(([x, y]) => numbers([x]).map((i, k) => [i, y.data[k]]));
    expect(seen.sort(([a], [b]) => a - b)).toEqual([
      [0, 0],
      [1, 1],
      [2, 4],
      [3, 9],
      [4, 16],
    ]);
  });

  it('takes datasets that count by length', () => {
    class Squares {
      readonly length = 5;
      get(i: number): [Tensor, Tensor] {
        return [tensor([10 * i, 0]), tensor(i * i)];
      }
    }
    const loader = new data.DataLoader(new Squares(), { batchSize: 2 });
    expect(loader.length).toBe(3);
    expect([...loader].map(([, y]) => y.toArray())).toEqual([[0, 1], [4, 9], [16]]);
    expect(epoch(new data.DataLoader(new data.Subset(new Squares(), [3, 1])))).toEqual([3, 1]);
    expect(data.randomSplit(new Squares(), [2, 3]).map((p) => p.length)).toEqual([2, 3]);
    const many = { length: 3, get: () => [zeros(2)], gather: (i: Tensor) => [zeros(i.size, 2).add(7)] };
    expect([...new data.DataLoader(many, { batchSize: 2 })].map(([x]) => x.toArray())).toEqual([
      [
        [7, 7],
        [7, 7],
      ],
      [[7, 7]],
    ]);
  });

  it('says what is wrong with a dataset', () => {
    const from = (get: (i: number) => unknown) => () => [
      ...new data.DataLoader({ size: 2, get } as data.Dataset, { batchSize: 2 }),
    ];
    for (const example of [undefined, null, zeros(2), [[1, 2], 3], [zeros(2), 3], []]) {
      expect(from(() => example)).toThrow(ArgumentError);
      expect(from(() => example)).toThrow(/get\(0\) must give a list of tensors/);
    }
    expect(from((i) => [zeros(2 + i)])).toThrow(/get\(0\) .* \[2\] and get\(1\) \[3\]/);
    expect(from((i) => [zeros(2), zeros(3)].slice(i))).toThrow(ShapeError);
    expect(from((i) => [zeros(2), zeros(3)].slice(0, i + 1))).toThrow(ShapeError);
    const gathering = (found: unknown) => () => [
      ...new data.DataLoader({ size: 2, get: () => [], gather: () => found } as never, { batchSize: 2 }),
    ];
    expect(gathering(null)).toThrow(ArgumentError);
    expect(gathering([zeros(3, 2)])).toThrow(/2 examples gave \[3, 2\]/);
    for (const size of [2 ** 31, 1e12, Infinity, 0.5, '3']) {
      expect(() => new data.DataLoader({ size, get: () => [] } as never)).toThrow(ArgumentError);
    }
  });

  it('keeps its options', () => {
    const loader = new data.DataLoader(numbered(4), { batchSize: 3, shuffle: true });
    expect([loader.batchSize, loader.shuffle, loader.dropLast]).toEqual([3, true, false]);
    // A batch size of 0 would never get to the end.
    expect(() => Object.assign(loader, { batchSize: 0 })).toThrow(TypeError);
    expect(loader.length).toBe(2);
  });

  it('stratified: takes classes as whole numbers or one-hot rows, of any dtype', () => {
    const classes = [2, 0, 0, 1, 2, 0, 0, 1];
    const oneHot = tensor(classes.map((c) => [0, 1, 2].map((j) => Number(j === c))));
    const y = tensor(Int32Array.from(classes));
    const x = tensor(range(8).map((i) => [10 * i, 0]));
    const expected = epoch(new data.DataLoader(dataset(x, y), { batchSize: 4, stratified: true }));
    expect(sorted(expected.slice(0, 4).map((i) => classes[i]))).toEqual([0, 0, 1, 2]);
    for (const labels of [
      y,
      y.to('float32'),
      y.to('float64'),
      y.reshape(8, 1),
      oneHot,
      oneHot.to('int32'),
      oneHot.gt(0),
    ]) {
      expect(epoch(new data.DataLoader(dataset(x, labels), { batchSize: 4, stratified: true }))).toEqual(
        expected,
      );
      expect(epoch(new data.DataLoader(dataset(x), { batchSize: 4, stratified: labels }))).toEqual(expected);
    }
    for (const none of [
      oneHot.mul(0.5),
      oneHot.add(1),
      oneHot.mul(0),
      oneHot.reshape(8, 3, 1),
      y.to('float32').add(0.5),
    ]) {
      expect(() => new data.DataLoader(dataset(x, none), { stratified: true })).toThrow(/holds classes/);
      expect(() => new data.DataLoader(dataset(x), { stratified: none })).toThrow(ArgumentError);
    }
    // Classes are told apart by their whole value.
    const large = [0, 0, 2 ** 32, 2 ** 32];
    const apart = new data.DataLoader(dataset(x.slice(0, 4)), { batchSize: 2, stratified: large });
    for (const [t] of apart) expect(numbers([t]).filter((i) => i < 2)).toHaveLength(1);
  });

  it('stratified: every batch has every class in its share, rounded down or up', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 40 }), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 40 }),
        fc.boolean(),
        fc.boolean(),
        (sizes, batchSize, shuffle, dropLast) => {
          const n = sizes.reduce((a, b) => a + b, 0);
          fc.pre(n > 0);
          const grouped = sizes.flatMap((size, c) => new Array<number>(size).fill(c));
          const labels = Array.from(new Generator(n).permutation(n), (i) => grouped[i]);
          const ds = new data.TensorDataset(arange(n), tensor(Int32Array.from(labels)));
          const generator = new Generator(n);
          const loader = new data.DataLoader(ds, {
            batchSize,
            shuffle,
            dropLast,
            stratified: true,
            generator,
          });
          const batches = [...loader].map(([i]) => Array.from(i.data));
          expect(batches).toHaveLength(loader.length);
          const order = batches.flat();
          const whole = dropLast ? n - (n % batchSize) : n;
          expect(order).toHaveLength(whole);
          expect(new Set(order).size).toBe(whole);
          const far = sizes.map((size, c) => {
            let seen = 0;
            let places = 0;
            let worst = 0;
            for (const batch of batches) {
              const count = batch.filter((i) => labels[i] === c).length;
              seen += count;
              places += batch.length;
              // Exact, in whole numbers: how far n count lies from size times places.
              worst = Math.max(
                worst,
                Math.abs(n * count - size * batch.length),
                Math.abs(n * seen - size * places),
              );
            }
            return worst;
          });
          for (const d of far) expect(d).toBeLessThan(n);
        },
      ),
      {
        numRuns: 400,
        seed: 11,
        // Classes that leave no way out unless ties between deadlines are decided rightly, which is rarely so.
        examples: [
          [[2, 2, 2, 3, 3], 3, false, false],
          [[2, 6, 2, 3, 3], 4, true, false],
          [[3, 3, 3, 4, 4, 4], 5, false, false],
          [[4, 4, 3, 5, 5], 4, true, true],
        ],
      },
    );
  });

  it('stratified: the digits of MNIST, in batches of any size', () => {
    const { train, test } = data.mnist();
    for (const [ds, batchSize] of [
      [test, 1],
      [test, 7],
      [train, 100],
      [train, 128],
      [train, 6000],
    ] as const) {
      const sizes = new Array<number>(10).fill(0);
      for (const c of ds.tensors[1].data) sizes[c]++;
      const loader = new data.DataLoader(ds, { batchSize, shuffle: true, stratified: true });
      let seen = 0;
      for (const [, y] of loader) {
        const counts = new Array<number>(10).fill(0);
        for (const c of y.data) counts[c]++;
        counts.forEach((count, c) => {
          if (Math.abs(count - (y.size * sizes[c]) / ds.size) >= 1)
            throw new Error(`batch of ${batchSize}: ${counts}`);
        });
        seen += y.size;
      }
      expect(seen).toBe(ds.size);
    }
  });

  it('stratified: shuffles within classes, and takes classes from outside', () => {
    const classes = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1];
    const ds = new data.TensorDataset(tensor(range(12).map((i) => [10 * i, 0])));
    const options = { batchSize: 4, shuffle: true, stratified: classes, generator: new Generator(0) };
    const loader = new data.DataLoader(ds, options);
    const [a, b] = [epoch(loader), epoch(loader)];
    expect(a).not.toEqual(b);
    for (let k = 0; k < 12; k += 4) expect(a.slice(k, k + 4).filter((i) => i < 6)).toHaveLength(2);
    expect(() => new data.DataLoader(ds, { stratified: true })).toThrow(/last tensor holds classes/);
    expect(() => new data.DataLoader(ds, { stratified: [1, 2] })).toThrow(ShapeError);
    expect(() => new data.DataLoader(ds, { stratified: classes.map(() => 0.5) })).toThrow(ArgumentError);
    const part = numbered(12, 2).subset([0, 2, 4, 1, 3, 5]);
    const halves = [...new data.DataLoader(part, { batchSize: 2, stratified: true })];
    for (const [, y] of halves) expect(sorted(Array.from(y.data))).toEqual([0, 1]);
  });

  it('refuses wrong options', () => {
    const ds = numbered(4);
    for (const bad of [
      { batchSize: 0 },
      { batchSize: 1.5 },
      { batchSize: '2' },
      { shuffle: 1 },
      { dropLast: null },
    ]) {
      expect(() => new data.DataLoader(ds, bad as object)).toThrow(ArgumentError);
    }
    expect(() => new data.DataLoader(ds, { batch_size: 2 } as object)).toThrow(/batch_size.*batchSize/);
    expect(() => new data.DataLoader(ds, { generator: 1 as unknown as Generator })).toThrow(ArgumentError);
    expect(() => new data.DataLoader(ds, { stratified: 'yes' as unknown as boolean })).toThrow(ArgumentError);
    expect(() => new data.DataLoader([1, 2] as unknown as data.Dataset)).toThrow(ArgumentError);
    expect(() => new data.DataLoader({ size: -1, get: () => [] })).toThrow(ArgumentError);
  });
});

describe('StandardScaler', () => {
  // By hand: column means 3 and 20, population variances 8/3 and 0.
  const x = tensor([
    [1, 20],
    [3, 20],
    [5, 20],
  ]);

  it('gives mean 0 and standard deviation 1, and goes back', () => {
    const scaler = new data.StandardScaler();
    const z = scaler.fitTransform(x);
    expect(scaler.mean.toArray()).toEqual([3, 20]);
    expect(scaler.std.toArray()).toEqual([Math.sqrt(8 / 3), 1]);
    expect(z.dtype).toBe('float32');
    // Correctly rounded: float64 is rounded to float32 once.
    expect(z.toArray()).toEqual([
      [Math.fround(-2 / Math.sqrt(8 / 3)), 0],
      [0, 0],
      [Math.fround(2 / Math.sqrt(8 / 3)), 0],
    ]);
    const back = scaler.inverseTransform(z).data;
    x.data.forEach((v, i) => {
      expect(back[i]).toBeCloseTo(v, 5);
    });
    expect(scaler.transform(tensor([3, 21])).toArray()).toEqual([0, 1]);
  });

  it('keeps its precision far from zero and over many rows', () => {
    const n = 10_000;
    const far = tensor(
      Array.from({ length: n }, (_, i) => 1e6 + (i % 2)),
      { shape: [n, 1] },
    );
    const scaler = new data.StandardScaler().fit(far);
    expect(scaler.mean.item()).toBe(1e6 + 0.5);
    expect(scaler.std.item()).toBe(0.5);
    // float32 cannot hold the mean 16777217, nor int32 numbers of this size.
    for (const column of [tensor([16777216, 16777218]), tensor([2e9, 2e9 + 2], { dtype: 'int32' })]) {
      const z = new data.StandardScaler().fit(column);
      expect(z.transform(column).toArray()).toEqual([-1, 1]);
      expect(z.inverseTransform(tensor([-1, 1], { dtype: 'float64' })).toArray()).toEqual(
        column.to('float64').toArray(),
      );
    }
  });

  it('scales what is too large or too small to be squared', () => {
    for (const size of [1e200, 1e-200, 1e-300]) {
      const x = tensor([-3 * size, size, 2 * size, 0], { dtype: 'float64' });
      const z = new data.StandardScaler().fitTransform(x).data;
      [-3, 1, 2, 0].forEach((v, i) => {
        expect(z[i]).toBeCloseTo(v / Math.sqrt(3.5), 14);
      });
    }
  });

  it('passes gradients on, in compiled steps too', () => {
    for (const dtype of ['float32', 'float64'] as const) {
      const scaler = new data.StandardScaler().fit(x);
      const step = compile((t: Tensor) => grad(scaler.transform(t).sum(), [t])[0] as Tensor);
      for (let i = 0; i < 3; i++) {
        const leaf = tensor([[1 + i, 2]], { dtype, requiresGrad: true });
        const [first, second] = Array.from(step(leaf).data);
        expect(first).toBeCloseTo(Math.sqrt(3 / 8), 6);
        expect(second).toBe(1);
      }
    }
  });

  it('stores its state', () => {
    const scaler = new data.StandardScaler().fit(x);
    const other = new data.StandardScaler();
    other.loadStateDict(scaler.stateDict());
    expect(other.transform(x).toArray()).toEqual(scaler.transform(x).toArray());
    expect(() => other.loadStateDict({ mean: x, std: x })).toThrow(StateError);
    const { mean } = scaler;
    for (const bad of [0, -1, Number.NaN, Infinity]) {
      const std = tensor([1, bad], { dtype: 'float64' });
      expect(() => other.loadStateDict({ mean, std })).toThrow(/standard deviations > 0/);
      if (bad > 0 || Number.isNaN(bad))
        expect(() => other.loadStateDict({ mean: std, std: mean })).toThrow(StateError);
    }
  });

  it('refuses what it cannot scale', () => {
    expect(() => new data.StandardScaler().transform(x)).toThrow(StateError);
    expect(() => new data.StandardScaler().fit(zeros(0, 2))).toThrow(ShapeError);
    expect(() => new data.StandardScaler().fit(arange(3).gt(0))).toThrow(/bool/);
    for (const bad of [Number.NaN, Infinity, -Infinity]) {
      expect(() =>
        new data.StandardScaler().fit(
          tensor([
            [1, 2],
            [bad, 3],
          ]),
        ),
      ).toThrow(/StandardScaler.fit: .*NaN/);
    }
    expect(() => new data.StandardScaler({ withMean: false } as never)).toThrow(/there are none/);
    expect(() => new data.StandardScaler().fit(x).transform(zeros(2, 3))).toThrow(/\[2\], not to \[2, 3\]/);
  });
});
