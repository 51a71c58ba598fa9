import { ArgumentError, DTypeError, Generator, init, ShapeError, type Tensor, zeros } from 'simdgrad';
import { describe, expect, it } from 'vitest';

const f64 = { dtype: 'float64' } as const;

describe('initializers', () => {
  it('fill with constants', () => {
    const t = zeros(2, 3);
    expect(init.ones(t)).toBe(t);
    expect(t.toArray()).toEqual([
      [1, 1, 1],
      [1, 1, 1],
    ]);
    expect(init.constant(t, 2.5).toArray()).toEqual([
      [2.5, 2.5, 2.5],
      [2.5, 2.5, 2.5],
    ]);
    expect(init.eye(t).toArray()).toEqual([
      [1, 0, 0],
      [0, 1, 0],
    ]);
    expect(init.zeros(t).toArray()).toEqual([
      [0, 0, 0],
      [0, 0, 0],
    ]);
  });

  it('uniform and normal take numbers or options, and follow the seed', () => {
    const a = init.uniform(zeros(1000), -2, 3, { generator: new Generator(1) });
    const b = init.uniform(zeros(1000), { a: -2, b: 3, generator: new Generator(1) });
    expect(a.toArray()).toEqual(b.toArray());
    expect(Math.min(...a.data)).toBeGreaterThanOrEqual(-2);
    expect(Math.max(...a.data)).toBeLessThan(3);
    const c = init.normal(zeros(1000), 5, 0.1, { generator: new Generator(1) });
    expect(c.toArray()).toEqual(
      init.normal(zeros(1000), { mean: 5, std: 0.1, generator: new Generator(1) }).toArray(),
    );
    expect(Math.abs(c.mean().item() - 5)).toBeLessThan(0.02);
  });

  it('fills windows and parameters in place, outside the graph', () => {
    const whole = zeros(3, 4);
    init.normal(whole.narrow(1, 1, 2));
    expect(whole.narrow(1, 0, 1).toArray()).toEqual([[0], [0], [0]]);
    expect(whole.narrow(1, 1, 2).abs().sum().item()).toBeGreaterThan(0);
    const p = zeros([3, 3], { requiresGrad: true });
    init.xavierUniform(p);
    expect(p.isLeaf && p.requiresGrad).toBe(true);
    expect(() => init.normal(p.mul(2))).toThrow();
  });

  it('truncNormal has the moments of a normal cut off at its bounds', () => {
    const t = init.truncNormal(zeros([20000], f64), { generator: new Generator(4) }).data as Float64Array;
    const mean = t.reduce((a, b) => a + b, 0) / t.length;
    const variance = t.reduce((a, b) => a + b * b, 0) / t.length - mean ** 2;
    // Var = 1 - 2 · 2 φ(2) / (2 Φ(2) - 1) = 0.7737…
    expect(Math.abs(mean)).toBeLessThan(0.03);
    expect(Math.abs(variance - 0.7737413)).toBeLessThan(0.03);
    expect(Math.max(...t)).toBeLessThanOrEqual(2);
    expect(Math.max(...t)).toBeGreaterThan(1.95);
    const shifted = init.truncNormal(zeros([2000], f64), { mean: 1, std: 0.5, a: 1, b: 1.25 }).data;
    expect(Math.min(...shifted)).toBeGreaterThanOrEqual(1);
    expect(Math.max(...shifted)).toBeLessThanOrEqual(1.25);
    expect(() => init.truncNormal(zeros(3), { a: 2, b: 1 })).toThrow(ArgumentError);
  });

  it('lecunNormal has the deviation 1 / √fanIn', () => {
    const t = init.lecunNormal(zeros([400, 50], f64), { generator: new Generator(3) });
    expect(t.std().item() * 20).toBeCloseTo(1, 1);
    expect(
      init
        .lecunUniform(zeros([300, 50], f64))
        .abs()
        .max()
        .item(),
    ).toBeLessThanOrEqual(0.1);
  });

  for (const shape of [
    [5, 5],
    [3, 8],
    [8, 3],
    [4, 2, 3],
  ]) {
    it(`orthogonal [${shape}] has orthonormal rows or columns`, () => {
      const t = init.orthogonal(zeros(shape, f64), { gain: 2, generator: new Generator(9) });
      const m = t.reshape(shape[0] as number, -1);
      const product: Tensor =
        (m.shape[0] as number) <= (m.shape[1] as number) ? m.matmul(m.T) : m.T.matmul(m);
      const n = product.shape[0] as number;
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          expect(product.select(0, i).select(0, j).item()).toBeCloseTo(i === j ? 4 : 0, 12);
        }
      }
    });
  }

  it('says what is wrong', () => {
    expect(() => init.xavierUniform(zeros(3))).toThrow(ShapeError);
    expect(() => init.normal(zeros([3], { dtype: 'int32' }))).toThrow(DTypeError);
    expect(() => init.kaimingNormal(zeros(2, 2), { nonlinearity: 'leakyrelu' as never })).toThrow(
      /did you mean "leakyRelu"/,
    );
    expect(() => init.kaimingNormal(zeros(2, 2), { mode: 'fanInn' as never })).toThrow(ArgumentError);
    expect(() => init.xavierNormal(zeros(2, 2), { gian: 2 } as never)).toThrow(/did you mean "gain"/);
    expect(() => init.uniform(zeros(2), { generator: 3 as never })).toThrow(ArgumentError);
    expect(() => init.ones(3 as never)).toThrow(ArgumentError);
    const t = zeros(3, 4);
    for (const [op, fill] of [
      ['init.uniform', () => init.uniform(t, 1, 0)],
      ['init.uniform', () => init.uniform(t, 0, Infinity)],
      ['init.uniform', () => init.uniform(t, -1e308, 1e308)],
      ['init.normal', () => init.normal(t, { mean: Infinity })],
      ['init.normal', () => init.normal(t, 0, Infinity)],
      ['init.constant', () => init.constant(t, '1' as never)],
      ['init.xavierUniform', () => init.xavierUniform(t, { gain: -1 })],
      ['init.xavierNormal', () => init.xavierNormal(t, { gain: Infinity })],
      ['init.orthogonal', () => init.orthogonal(t, { gain: Infinity })],
      ['calculateGain', () => init.kaimingNormal(t, { a: Infinity })],
      ['init.truncNormal', () => init.truncNormal(t, { mean: Infinity })],
      ['init.truncNormal', () => init.truncNormal(t, { a: 8, b: 9 })],
      ['init.truncNormal', () => init.truncNormal(t, { a: -9, b: -8 })],
    ] as const) {
      expect(fill).toThrow(ArgumentError);
      expect(fill).toThrow(op);
    }
    expect(t.abs().sum().item()).toBe(0);
  });
});
