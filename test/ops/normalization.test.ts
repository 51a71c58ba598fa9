// Layer and batch normalisation of matrices that are shared between tasks, against loops over plain doubles.
import { nn, setNumThreads, type Tensor, tensor } from 'simdgrad';
import { afterEach, describe, expect, it } from 'vitest';
import { expectClose, source } from '../support/compare.js';
import { isas, onBackend } from '../support/registry.js';

const eps = 1e-5;

interface Case {
  readonly rows: number;
  readonly cols: number;
  readonly x: Float64Array;
  readonly g: Float64Array;
  readonly weight: Float64Array;
  readonly bias: Float64Array;
}

/** Values about `mean`, as float32 has them. */
function make(rows: number, cols: number, mean: number): Case {
  const s = source(rows * 7 + cols);
  const list = (n: number, about: number): Float64Array =>
    Float64Array.from({ length: n }, () => Math.fround(4 * s.next() - 2 + about));
  return {
    rows,
    cols,
    x: list(rows * cols, mean),
    g: list(rows * cols, 0),
    weight: list(cols, 0),
    bias: list(cols, 0),
  };
}

/** y, dx, dweight and dbias, along rows (or columns), and the mean and the unbiased variance of each. */
function expected(c: Case, byRows: boolean) {
  const [lines, n] = byRows ? [c.rows, c.cols] : [c.cols, c.rows];
  const at = (line: number, j: number): number => (byRows ? line * c.cols + j : j * c.cols + line);
  const column = (line: number, j: number): number => (byRows ? j : line);
  const y = new Float64Array(c.x.length);
  const dx = new Float64Array(c.x.length);
  const dweight = new Float64Array(c.cols);
  const dbias = new Float64Array(c.cols);
  const [means, variances] = [new Float64Array(lines), new Float64Array(lines)];
  for (let line = 0; line < lines; line++) {
    const mean = (f: (j: number) => number): number => {
      let sum = 0;
      for (let j = 0; j < n; j++) sum += f(j);
      return sum / n;
    };
    const mu = mean((j) => c.x[at(line, j)] as number);
    const variance = mean((j) => ((c.x[at(line, j)] as number) - mu) ** 2);
    const s = 1 / Math.sqrt(variance + eps);
    means[line] = mu;
    variances[line] = (variance * n) / (n - 1);
    const h = (j: number): number => ((c.x[at(line, j)] as number) - mu) * s;
    const u = (j: number): number => (c.g[at(line, j)] as number) * (c.weight[column(line, j)] as number);
    const [meanU, meanUh] = [mean(u), mean((j) => u(j) * h(j))];
    for (let j = 0; j < n; j++) {
      const [i, k] = [at(line, j), column(line, j)];
      y[i] = h(j) * (c.weight[k] as number) + (c.bias[k] as number);
      dx[i] = s * (u(j) - meanU - h(j) * meanUh);
      dweight[k] = (dweight[k] as number) + (c.g[i] as number) * h(j);
      dbias[k] = (dbias[k] as number) + (c.g[i] as number);
    }
  }
  return { y, dx, dweight, dbias, means, variances };
}

function computed(c: Case, byRows: boolean) {
  const float = (values: Float64Array, shape: number[], requiresGrad = false): Tensor =>
    tensor(Float32Array.from(values), { shape, requiresGrad });
  // With a momentum of 1 the running statistics are those of the batch.
  const m = byRows ? new nn.LayerNorm(c.cols) : new nn.BatchNorm1d(c.cols, { momentum: 1 });
  m.weight?.copy_(float(c.weight, [c.cols]));
  m.bias?.copy_(float(c.bias, [c.cols]));
  const x = float(c.x, [c.rows, c.cols], true);
  const y = m.forward(x);
  y.backward(float(c.g, [c.rows, c.cols]));
  const list = (t: Tensor | null | undefined): Float32Array => (t as Tensor).data as Float32Array;
  return {
    y: list(y),
    dx: list(x.grad),
    dweight: list(m.weight?.grad),
    dbias: list(m.bias?.grad),
    ...(m instanceof nn.BatchNorm1d ? { means: list(m.runningMean), variances: list(m.runningVar) } : {}),
  };
}

afterEach(() => setNumThreads(2));

describe.each(['js', ...isas])('normalisation on %s', (isa) => {
  const shapes = [
    [128, 256],
    [1001, 77],
    [33, 513],
    [5000, 16],
    [3, 1],
  ] as const;
  it.each([true, false])('is what doubles give (by rows: %s)', (byRows) => {
    for (const [rows, cols] of shapes) {
      for (const mean of [0, 100]) {
        const c = make(rows, cols, mean);
        const [got, want] = [onBackend(isa, () => computed(c, byRows)), expected(c, byRows)];
        for (const part of ['y', 'dx', 'dweight', 'dbias'] as const) {
          // A row of one element has no spread: 1 / √eps is all that it is divided by.
          const size = byRows && cols === 1 ? 300 : 1;
          const many = part === 'dweight' || part === 'dbias' ? Math.sqrt(rows) : 1;
          const atol = (mean === 0 ? 3e-6 : 1e-5) * size * many;
          expectClose(got[part], want[part], {
            rtol: 1e-5,
            atol,
            what: `${part} of [${rows}, ${cols}] about ${mean}`,
          });
        }
        for (const part of ['means', 'variances'] as const) {
          const of = got[part];
          if (of !== undefined) expectClose(of, want[part], { rtol: 3e-7, atol: 3e-7, what: part });
        }
      }
    }
  });
});

describe('normalisation', () => {
  it.each([true, false])('does not depend on the number of threads (by rows: %s)', (byRows) => {
    const c = make(1001, 77, 1);
    setNumThreads(1);
    const one = computed(c, byRows);
    setNumThreads(2);
    expect(computed(c, byRows)).toEqual(one);
  });

  it.each(['js', ...isas])('keeps the others apart beside an outlier, wherever it stands (%s)', (isa) => {
    const rest = Array.from({ length: 767 }, (_, i) => Math.fround(Math.sin(i * 1.7) * 2));
    for (const at of [0, 300, 767]) {
      for (const outlier of [1e4, 1e6]) {
        const values = [...rest];
        values.splice(at, 0, outlier);
        const mean = values.reduce((a, b) => a + b, 0) / 768;
        const s = 1 / Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / 768 + eps);
        const want = values.map((v) => (v - mean) * s);
        onBackend(isa, () => {
          for (const y of [
            new nn.LayerNorm(768).forward(tensor([values])),
            new nn.BatchNorm1d(1).forward(tensor(values.map((v) => [v]))),
          ]) {
            const got = y.data as Float32Array;
            // The scale is rounded, and takes all along; differences are what must not be lost.
            for (let i = 0; i < 768; i++) {
              if (i === at) continue;
              const k = at === 5 ? 6 : 5;
              const difference = (got[i] as number) - (got[k] as number);
              expect(Math.abs(difference - ((want[i] as number) - (want[k] as number)))).toBeLessThan(1e-8);
            }
          }
        });
      }
    }
  });

  it.each(['js', ...isas])('takes numbers whose squares overflow (%s)', (isa) => {
    onBackend(isa, () => {
      const row = new nn.LayerNorm(3).forward(tensor([[1e20, 2e20, 4e20]])).data;
      expectClose(row, [-1.069045, -0.2672612, 1.3363062], { rtol: 1e-6, atol: 0 });
      const column = tensor([[1e160], [2e160], [4e160]], { dtype: 'float64' });
      const [a, b, c] = new nn.BatchNorm1d(1, { dtype: 'float64' }).forward(column).data;
      for (const y of [a, b, c]) expect(Math.abs(y as number)).toBe(0);
    });
  });
});
