import { ArgumentError, Generator, init, nn, ShapeError, type Tensor, tensor, zeros } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { alarms, type Law, momentAlarms } from '../support/laws.js';

// Unequal sides, so that fan-in, fan-out and their mean are told apart: 60,000 values tell variances apart that differ
// by 3 %, and these are 300, 200 and 250.
const [nIn, nOut] = [300, 200];
const a = 0.25;

type Fill = (t: Tensor, generator: Generator) => Tensor;

/** The gains, written as the literature has them. */
const gains = {
  linear: 1,
  identity: 1,
  sigmoid: 1,
  tanh: 5 / 3,
  relu: Math.sqrt(2),
  leakyRelu: Math.sqrt(2 / (1 + a ** 2)),
  selu: 3 / 4,
  elu: 1.2451983,
  gelu: 1.5335304,
  silu: 1.6765325,
  softplus: 1.0418668,
} as const satisfies Record<init.Nonlinearity, number>;

const cases: [name: string, law: Law, fill: Fill][] = [
  [
    'normal, variance 0.3',
    { shape: 'normal', variance: 0.3 },
    (t, generator) => init.normal(t, { variance: 0.3, generator }),
  ],
  [
    'normal, std 0.2',
    { shape: 'normal', variance: 0.04 },
    (t, generator) => init.normal(t, 0, 0.2, { generator }),
  ],
  [
    'uniform on ±0.6',
    { shape: 'uniform', variance: 0.12 },
    (t, generator) => init.uniform(t, -0.6, 0.6, { generator }),
  ],
  [
    'lecunNormal, 1/n',
    { shape: 'normal', variance: 1 / nIn },
    (t, generator) => init.lecunNormal(t, { generator }),
  ],
  [
    'lecunUniform, 1/n',
    { shape: 'uniform', variance: 1 / nIn },
    (t, generator) => init.lecunUniform(t, { generator }),
  ],
];
for (const gain of [1, 5 / 3]) {
  const variance = (gain ** 2 * 2) / (nIn + nOut);
  cases.push(
    [
      `xavierNormal, gain ${gain}`,
      { shape: 'normal', variance },
      (t, generator) => init.xavierNormal(t, { gain, generator }),
    ],
    [
      `xavierUniform, gain ${gain}`,
      { shape: 'uniform', variance },
      (t, generator) => init.xavierUniform(t, { gain, generator }),
    ],
  );
}
for (const [mode, fan] of [
  ['fanIn', nIn],
  ['fanOut', nOut],
] as const) {
  for (const [nonlinearity, gain] of Object.entries(gains) as [init.Nonlinearity, number][]) {
    const variance = gain ** 2 / fan;
    const options = { mode, nonlinearity, a };
    cases.push(
      [
        `heNormal ${mode} ${nonlinearity}`,
        { shape: 'normal', variance },
        (t, generator) => init.heNormal(t, { ...options, generator }),
      ],
      [
        `heUniform ${mode} ${nonlinearity}`,
        { shape: 'uniform', variance },
        (t, generator) => init.heUniform(t, { ...options, generator }),
      ],
    );
  }
}
for (const [mode, fan] of [
  ['fanIn', nIn],
  ['fanOut', nOut],
  ['fanAvg', (nIn + nOut) / 2],
] as const) {
  for (const scale of [1, 2, 3]) {
    for (const distribution of ['normal', 'uniform'] as const) {
      cases.push([
        `varianceScaling ${mode} ${scale}/n ${distribution}`,
        { shape: distribution, variance: scale / fan },
        (t, generator) => init.varianceScaling(t, { mode, scale, distribution, generator }),
      ]);
    }
  }
}

describe('mean, variance and distribution of the initializers', () => {
  for (const [name, law, fill] of cases) {
    it(name, () => {
      for (const [k, dtype] of (['float32', 'float64'] as const).entries()) {
        const values = fill(zeros([nIn, nOut], { dtype }), new Generator(20 + k)).data;
        expect(alarms(values, law)).toEqual([]);
        // The tests can fail: for a variance or a mean that is slightly wrong, and for the other distribution.
        expect(
          momentAlarms(
            values.map((v) => 1.03 * v),
            law,
          ),
        ).toContain('variance');
        expect(
          momentAlarms(
            values.map((v) => v + 0.05 * Math.sqrt(law.variance)),
            law,
          ),
        ).toContain('mean');
        const other = law.shape === 'normal' ? 'uniform' : 'normal';
        expect(alarms(values, { ...law, shape: other })).toContain('law');
      }
    });
  }

  it('xavierBias has the variance 1/d of the weights', () => {
    for (const dtype of ['float32', 'float64'] as const) {
      const law: Law = { shape: 'normal', variance: 1 / nIn };
      const weight = zeros([nIn, 7], { dtype: 'float32' });
      for (const fanIn of [nIn, weight]) {
        const values = init.xavierBias(zeros([60_000], { dtype }), fanIn, {
          generator: new Generator(3),
        }).data;
        expect(alarms(values, law)).toEqual([]);
        expect(
          alarms(
            values.map((v) => 1.03 * v),
            law,
          ),
        ).toContain('variance');
      }
    }
    expect(() => init.xavierBias(zeros(3), 0)).toThrow(ArgumentError);
    expect(() => init.xavierBias(zeros(3), zeros(3))).toThrow(ShapeError);
    expect(() => init.xavierBias(zeros(3), 'x' as never)).toThrow(ArgumentError);
    expect(() => init.xavierBias(zeros(3), 3, { gain: 1 } as never)).toThrow(/gain/);
  });

  it('orthogonal has entries of mean 0 and variance gain²/n, and exact products', () => {
    for (const [dtype, digits] of [
      ['float32', 5],
      ['float64', 12],
    ] as const) {
      const gain = Math.SQRT2;
      const t = init.orthogonal(zeros([nIn, nOut], { dtype }), { gain, generator: new Generator(8) });
      // nOut columns of nIn entries, each of length √2: the mean square is exact, the mean is near that of a normal law.
      expect(t.to('float64').square().mean().item()).toBeCloseTo(2 / nIn, digits);
      expect(alarms(t.data, { shape: 'normal', variance: 2 / nIn })).toEqual([]);
      const off = t.T.matmul(t).sub(
        tensor(
          Float64Array.from({ length: nOut ** 2 }, (_, i) => (i % (nOut + 1) === 0 ? 2 : 0)),
          { shape: [nOut, nOut] },
        ),
      );
      expect(off.abs().max().item()).toBeLessThan(10 ** -digits);
    }
  });

  it('zeros and constants fill every element, biases with 0.01 among them', () => {
    for (const dtype of ['float32', 'float64'] as const) {
      expect(init.zeros(init.constant(zeros([50], { dtype }), 3)).toArray()).toEqual(new Array(50).fill(0));
      const small = dtype === 'float32' ? Math.fround(0.01) : 0.01;
      expect(init.constant(zeros([50], { dtype }), 0.01).toArray()).toEqual(new Array(50).fill(small));
    }
  });
});

describe('gains', () => {
  it('that PyTorch has none for keep the mean square of a normal signal', () => {
    const functions: [init.Nonlinearity, (z: number, cdf: number) => number][] = [
      ['relu', (z) => Math.max(z, 0)],
      ['elu', (z) => (z > 0 ? z : Math.expm1(z))],
      ['silu', (z) => z / (1 + Math.exp(-z))],
      ['softplus', (z) => Math.log1p(Math.exp(z))],
      ['gelu', (z, cdf) => z * cdf],
    ];
    for (const [name, f] of functions) {
      // The trapezoidal rule on [-12, 12], beyond which nothing is left.
      let mean = 0;
      let cdf = 0;
      const h = 1e-4;
      for (let i = -120_000; i <= 120_000; i++) {
        const z = h * i;
        const mass = (h * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI);
        mean += mass * f(z, cdf + mass / 2) ** 2;
        cdf += mass;
      }
      expect(init.calculateGain(name)).toBeCloseTo(1 / Math.sqrt(mean), 7);
    }
  });
});

describe('init.apply', () => {
  const model = () =>
    new nn.Sequential(
      new nn.Linear(30, 20),
      new nn.LayerNorm(20),
      new nn.ReLU(),
      new nn.Residual(new nn.Linear(20, 20, { bias: false })),
      new nn.Linear(20, 3),
    );

  it('fills the layers of a whole model in order, and leaves the rest alone', () => {
    const m = model();
    expect(init.apply(m, { weight: init.kaimingNormal, bias: 0.01, generator: new Generator(5) })).toBe(m);
    const generator = new Generator(5);
    for (const [name, p] of m.namedParameters()) {
      if (name.startsWith('1.')) expect(p.toArray()).toEqual(new Array(20).fill(name === '1.weight' ? 1 : 0));
      else if (p.rank === 2)
        expect(p.toArray()).toEqual(init.kaimingNormal(zeros(p.shape), { generator }).toArray());
      else expect(new Set(p.data)).toEqual(new Set([Math.fround(0.01)]));
    }
    const before = m.parameters().map((p) => p.toArray());
    init.apply(m, { bias: init.xavierBias, generator: new Generator(6) });
    const drawn = new Generator(6);
    m.namedParameters().forEach(([name, p], i) => {
      if (!name.endsWith('bias') || name.startsWith('1.')) expect(p.toArray()).toEqual(before[i]);
      else
        expect(p.toArray()).toEqual(
          init.xavierBias(zeros(p.shape), name === '0.bias' ? 30 : 20, { generator: drawn }).toArray(),
        );
    });
    expect(m.parameters().every((p) => p.isLeaf && p.requiresGrad)).toBe(true);
  });

  it('takes own functions', () => {
    const m = init.apply(model(), {
      weight: (w, o) => init.varianceScaling(w, { ...o, scale: 0 }),
      bias: (b) => b.fill_(2),
    });
    expect(m.forward(zeros(1, 30)).shape).toEqual([1, 3]);
    const weights = m.parameters().filter((p) => p.rank === 2);
    expect(weights).toHaveLength(3);
    for (const w of weights) expect(new Set(w.data)).toEqual(new Set([0]));
    expect(new nn.Linear(2, 2).apply((l) => init.ones((l as nn.Linear).weight)).weight.toArray()).toEqual([
      [1, 1],
      [1, 1],
    ]);
  });

  it('says what is wrong', () => {
    expect(() => init.apply(new nn.ReLU(), { bias: 0 })).toThrow(/no layer/);
    expect(() => init.apply(new nn.Embedding(3, 4), { weight: init.zeros })).toThrow(ArgumentError);
    expect(() => init.apply(zeros(2, 2) as never, { bias: 0 })).toThrow(/takes a module/);
    expect(() => init.apply(model(), { weigth: init.zeros } as never)).toThrow(/did you mean "weight"/);
    expect(() => init.apply(model(), { weight: 'he' } as never)).toThrow(/init.kaimingNormal/);
    expect(() => init.apply(model(), { bias: '0' } as never)).toThrow(ArgumentError);
    expect(() => init.apply(model(), { generator: 1 } as never)).toThrow(ArgumentError);
    for (const bad of [
      () => init.normal(zeros(3), { variance: -1 }),
      () => init.normal(zeros(3), { variance: 1, std: 1 }),
      () => init.normal(zeros(3), { std: -1 }),
      () => init.varianceScaling(zeros(3, 3), { scale: -1 }),
      () => init.varianceScaling(zeros(3, 3), { scale: Infinity }),
      () => init.varianceScaling(zeros(3, 3), { mode: 'fan' as never }),
      () => init.varianceScaling(zeros(3, 3), { distribution: 'gauss' as never }),
    ]) {
      expect(bad).toThrow(ArgumentError);
    }
    expect(() => init.varianceScaling(zeros(3))).toThrow(ShapeError);
  });
});
