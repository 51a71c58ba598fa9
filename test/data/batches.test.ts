import {
  compile,
  data,
  F,
  Generator,
  grad,
  nn,
  noGrad,
  optim,
  randint,
  randn,
  scope,
  type Tensor,
  tensor,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';

// Batches remember which rows of the dataset they are, and gather them when somebody reads them.

const n = 10;
const rowOf = (i: number): number[] => [i, i + 0.25, i + 0.5];

function dataset() {
  const x = tensor(Array.from({ length: n }, (_, i) => rowOf(i)));
  const y = tensor(Int32Array.from({ length: n }, (_, i) => 100 + i));
  const ds = new data.TensorDataset(x, y);
  return { x, y, ds };
}

const inOrder = (ds: data.Dataset<Tensor[]>, batchSize = 4) => new data.DataLoader(ds, { batchSize });
const rows = (...numbers: number[]): number[][] => numbers.map(rowOf);
const waits = (t: Tensor): boolean => t.view.storage.deferred !== null;
const weigh = () =>
  compile((x: Tensor, y: Tensor) => [x.mul(2), x.sum(1).add(y.to('float32'))], { name: 'weigh' });
const values = (t: readonly Tensor[]): unknown => t.map((r) => r.toArray());
const expected = (...numbers: number[]): unknown => [
  rows(...numbers).map((row) => row.map((v) => 2 * v)),
  numbers.map((i) => 3 * i + 0.75 + 100 + i),
];

describe('a batch', () => {
  it('that goes straight to a compiled step is never made', async () => {
    const { ds } = dataset();
    const step = weigh();
    const numbers = [
      [0, 1, 2, 3],
      [4, 5, 6, 7],
      [8, 9],
    ];
    for (let round = 0; round < 3; round++) {
      let k = 0;
      for (const [x, y] of inOrder(ds)) {
        expect(values(step(x, y))).toEqual(expected(...(numbers[k++] as number[])));
        expect([waits(x), waits(y)]).toEqual([true, true]);
      }
      k = 0;
      for (const [x, y] of inOrder(ds)) {
        expect(values(await step.async(x, y))).toEqual(expected(...(numbers[k++] as number[])));
        expect(waits(x)).toBe(true);
      }
    }
    // One step serves batches and tensors of one's own.
    expect(values(step(tensor(rows(1, 2)), tensor(Int32Array.of(101, 102))))).toEqual(expected(1, 2));
  });

  it('trains a net with the bits of batches that are made', async () => {
    // Large enough for products that read rows where they lie.
    const generator = new Generator(3);
    const [x, y] = [randn([90, 40], { generator }), randint(0, 10, [90], { generator })];
    const train = async (kind: 'batches' | 'asynchronous' | 'made'): Promise<unknown> => {
      const own = new Generator(5);
      const model = new nn.Sequential(
        new nn.Linear(40, 48, { generator: own }),
        new nn.ReLU(),
        new nn.Linear(48, 10, { generator: own }),
      );
      const optimizer = new optim.Adam(model.parameters(), { lr: 0.01 });
      const step = compile((a: Tensor, b: Tensor) => {
        optimizer.zeroGrad();
        const loss = F.crossEntropy(model.forward(a), b);
        loss.backward();
        optimizer.step();
        return loss;
      });
      const losses: number[] = [];
      const order = new Generator(6);
      const loader = new data.DataLoader(new data.TensorDataset(x, y), {
        batchSize: 32,
        shuffle: true,
        generator: order,
      });
      for (let epoch = 0; epoch < 3; epoch++) {
        for (const [a, b] of loader as Iterable<[Tensor, Tensor]>) {
          if (kind === 'made') expect([a.data.length, b.data.length]).toEqual([a.size, b.size]);
          const loss = kind === 'asynchronous' ? await step.async(a, b) : step(a, b);
          losses.push(loss.item());
          expect(waits(a)).toBe(kind !== 'made');
        }
      }
      return [losses, model.parameters().map((p) => p.toArray())];
    };
    const made = await train('made');
    expect(await train('batches')).toEqual(made);
    expect(await train('asynchronous')).toEqual(made);
  });

  it('is an ordinary tensor for everything else', () => {
    const { ds } = dataset();
    const [[x, y]] = [...inOrder(ds)] as [[Tensor, Tensor]];
    expect([x.shape, x.dtype, x.size, y.shape, y.dtype]).toEqual([[4, 3], 'float32', 12, [4], 'int32']);
    expect(x.slice(1, 3).toArray()).toEqual(rows(1, 2));
    expect(waits(x)).toBe(false);
    expect([...y.data]).toEqual([100, 101, 102, 103]);
    expect(String([...inOrder(ds)][2]?.[1])).toContain('[108, 109]');
    const [[own]] = [...inOrder(ds)] as [[Tensor]];
    own.add_(1);
    expect(own.toArray()).toEqual(rows(0, 1, 2, 3).map((row) => row.map((v) => v + 1)));
    expect(ds.get(0)[0]?.toArray()).toEqual(rowOf(0));
    expect(step4(own)).toBe(own.sum().item());
  });

  it('may be read long after its epoch', () => {
    const { ds } = dataset();
    const all = [...new data.DataLoader(ds, { batchSize: 3, shuffle: true, generator: new Generator(4) })];
    const again = [...new data.DataLoader(ds, { batchSize: 3, shuffle: true, generator: new Generator(4) })];
    for (const [x, y] of all.reverse()) {
      expect(x?.toArray()).toEqual(rows(...Array.from(y?.data ?? [], (v) => v - 100)));
    }
    for (const [x] of again) expect(waits(x as Tensor)).toBe(true);
  });

  it('works in a step that captures it, and as a leaf', () => {
    const { ds } = dataset();
    const [[x]] = [...inOrder(ds)] as [[Tensor]];
    const step = compile((t: Tensor) => t.mul(x));
    for (let i = 0; i < 3; i++) expect(step(tensor(2)).toArray()).toEqual(x.mul(2).toArray());
    const [[leaf]] = [...inOrder(ds)] as [[Tensor]];
    expect(grad((t: Tensor) => t.mul(t).sum())(leaf).toArray()).toEqual(leaf.mul(2).toArray());
  });

  it('of parts of parts of a dataset is gathered in one go', () => {
    const { ds } = dataset();
    const part = ds.subset([9, 7, 5, 3, 1]).subset([0, 2, 4]);
    const step = weigh();
    for (let i = 0; i < 3; i++) {
      for (const [x, y] of inOrder(part as data.Dataset<Tensor[]>)) {
        expect(values(step(x as Tensor, y as Tensor))).toEqual(expected(9, 5, 1));
        expect(waits(x as Tensor)).toBe(true);
      }
    }
  });

  it('of a window on a tensor reads that window', () => {
    const { x, y } = dataset();
    const ds = new data.TensorDataset(x.slice(2, 8), y.slice(2, 8));
    const step = weigh();
    for (let i = 0; i < 3; i++) {
      const [first] = [...inOrder(ds)] as [[Tensor, Tensor]];
      expect(values(step(...first))).toEqual(expected(2, 3, 4, 5));
      expect(waits(first[0])).toBe(true);
    }
    const columns = new data.TensorDataset(x.slice([0, n], [1, 2]));
    expect([...inOrder(columns)][1]?.[0]?.toArray()).toEqual([[4.25], [5.25], [6.25], [7.25]]);
  });

  for (const dtype of ['float64', 'int32', 'bool'] as const) {
    it(`of ${dtype} too`, () => {
      const x = tensor([
        [0, 1],
        [2, 0],
        [3, 4],
      ]).to(dtype);
      const want = x.to('float32').toArray() as number[][];
      const step = compile((t: Tensor) => t.to('float32'));
      for (let i = 0; i < 3; i++) {
        const [[batch]] = [...inOrder(new data.TensorDataset(x), 2)] as [[Tensor]];
        expect(step(batch).toArray()).toEqual(want.slice(0, 2));
      }
    });
  }

  it('of a dataset that wants gradients is part of the graph', () => {
    const { x, y } = dataset();
    x.requiresGrad = true;
    const [[batch]] = [...inOrder(new data.TensorDataset(x, y))] as [[Tensor]];
    batch.sum().backward();
    expect(x.grad?.sum(1).toArray()).toEqual([3, 3, 3, 3, 0, 0, 0, 0, 0, 0]);
    const [[outside]] = noGrad(() => [...inOrder(new data.TensorDataset(x, y))]) as [[Tensor]];
    expect(outside.toArray()).toEqual(rows(0, 1, 2, 3));
  });
});

function step4(x: Tensor): number {
  return compile((t: Tensor) => t.sum())(x).item();
}

describe('a batch holds the examples as they were when it was made', () => {
  /** Takes a batch, changes the dataset, takes another: one must be old, one new. */
  function around(change: (x: Tensor) => void, now: number) {
    const { x, ds } = dataset();
    const step = weigh();
    const iterator = inOrder(ds)[Symbol.iterator]();
    const next = () => iterator.next().value as [Tensor, Tensor];
    const [a, b] = [next(), next()];
    change(x);
    expect(values(step(...a))).toEqual(expected(0, 1, 2, 3));
    expect(b[0].toArray()).toEqual(rows(4, 5, 6, 7));
    const c = next();
    expect(c[0].toArray()).toEqual([Array(3).fill(now), Array(3).fill(now)]);
    expect([...inOrder(ds)][0]?.[0]?.toArray()).toEqual(Array(4).fill(Array(3).fill(now)));
  }

  it('whatever eager code does to it', () => around((x) => x.fill_(7), 7));

  it('whatever a window on it does', () =>
    around((x) => {
      for (let i = 0; i < n; i++) x.select(0, i).fill_(5);
    }, 5));

  it('whatever is written to its data', () => around((x) => void x.data.fill(3), 3));

  it('whatever a compiled step does to it', () =>
    around((x) => {
      const change = compile((v: Tensor) => {
        x.copy_(v);
        return v.sum();
      });
      for (const v of [1, 2, 6]) change(tensor(v));
    }, 6));

  it('whatever a compiled step does to it in the very step that takes the batch', async () => {
    const { x, ds } = dataset();
    const step = compile((batch: Tensor) => {
      x.add_(1);
      return batch.mul(1);
    });
    const first = (k: number) => [...inOrder(ds)][k]?.[0] as Tensor;
    for (let i = 0; i < 3; i++) {
      const batch = first(0);
      expect(step(batch).toArray()).toEqual(rows(i, i + 1, i + 2, i + 3));
      expect(batch.toArray()).toEqual(rows(i, i + 1, i + 2, i + 3));
    }
    const [batch, other] = [first(0), first(1)];
    const running = step.async(batch);
    const meanwhile = first(1);
    const result = await running;
    expect(result.toArray()).toEqual(rows(3, 4, 5, 6));
    expect(batch.toArray()).toEqual(rows(3, 4, 5, 6));
    for (const t of [other, meanwhile]) expect(t.toArray()).toEqual(rows(7, 8, 9, 10));
    expect(first(0).toArray()).toEqual(rows(4, 5, 6, 7));
  });

  it('whatever a compiled step does to it before it multiplies the batch', () => {
    const generator = new Generator(8);
    const [x, w] = [randn([60, 40], { generator }), randn([40, 48], { generator })];
    const ds = new data.TensorDataset(x);
    const step = compile((batch: Tensor) => {
      x.mul_(2);
      return batch.matmul(w);
    });
    for (let i = 0; i < 4; i++) {
      const [[batch]] = [...inOrder(ds, 32)] as [[Tensor]];
      const want = x.slice(0, 32).matmul(w).toArray();
      expect(step(batch).toArray()).toEqual(want);
    }
  });

  it('in asynchronous steps that wait for their turn, too', async () => {
    const { x, ds } = dataset();
    const step = weigh();
    const results = [...inOrder(ds)].map(([a, b]) => step.async(a as Tensor, b as Tensor));
    x.fill_(-1);
    const found = await Promise.all(results);
    expect(found.map(values)).toEqual([expected(0, 1, 2, 3), expected(4, 5, 6, 7), expected(8, 9)]);
  });

  it('when the dataset is given back', () => {
    const x = tensor(rows(0, 1)).mul(1).slice(0, 2);
    const [[kept]] = [...inOrder(new data.TensorDataset(x.slice(1, 2)))] as [[Tensor]];
    x.dispose();
    expect(kept.toArray()).toEqual(rows(1));
  });

  it('and gives its own memory back like any tensor', () => {
    const { ds } = dataset();
    const [[batch]] = [...inOrder(ds)] as [[Tensor]];
    batch.dispose();
    expect(() => batch.toArray()).toThrow(/given back/);
    expect(String(batch)).toContain('disposed');
    const inside = scope(() => {
      const [[a], [b]] = [...inOrder(ds)] as [[Tensor], [Tensor]];
      return { kept: a, lost: new WeakRef(b) };
    });
    expect(inside.kept.toArray()).toEqual(rows(0, 1, 2, 3));
  });
});
