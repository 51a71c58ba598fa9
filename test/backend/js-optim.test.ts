import { describe, expect, test } from 'vitest';
import { adamKernel, sgdKernel, sgdMomentumKernel } from '../../src/backend/js/optim.js';
import { expectClose, randomArray } from '../support/compare.js';

test('worked examples', () => {
  const p = Float64Array.of(1);
  const g = Float64Array.of(0.5);
  // g' = 0.5 + 0.1 * 1 = 0.6; p = 1 - 0.1 * 0.6
  sgdKernel([1, 0, 0, 0, 0.1, 0.1, 0], [p, p, g]);
  expect(p[0]).toBeCloseTo(0.94, 15);
  // Gradient 1 three times, momentum 0.9: buf = 1, 1.9, 2.71; p falls by 0.561 in all.
  const q = Float64Array.of(1);
  const buf = Float64Array.of(77);
  for (let t = 0; t < 3; t++) {
    sgdMomentumKernel(
      [1, 0, 0, 0, 0, 0.1, 0, 0, 0.9, 0, 0, Number(t === 0)],
      [q, buf, q, Float64Array.of(1)],
    );
  }
  expect(buf[0]).toBeCloseTo(2.71, 14);
  expect(q[0]).toBeCloseTo(0.439, 14);
  // Adam's first step is lr in the gradient's direction, whatever its size (eps aside).
  for (const size of [1e-3, 1, 1e3]) {
    const [w, m, v] = [Float64Array.of(1), new Float64Array(1), new Float64Array(1)];
    adamKernel(
      [1, 0, 0, 0, 0, 0, 0.01, 0.9, 0.999, 0, 0, 0, 0, 1 - 0.9, 1 - 0.999],
      [w, m, v, w, Float64Array.of(size)],
    );
    expect(w[0]).toBeCloseTo(0.99, 12);
    expect(m[0]).toBeCloseTo(0.1 * size, 12);
    expect(v[0] / size ** 2).toBeCloseTo(0.001, 12);
  }
});

const n = 37;
const PAD = 2;
const STEPS = 6;
const flags = [0, 1];

describe.each(['float32', 'float64'] as const)('%s, step by step against the formulas', (dtype) => {
  const tolerance = dtype === 'float32' ? { rtol: 2e-6, atol: 1e-6 } : { rtol: 1e-13, atol: 1e-14 };

  const start = randomArray(dtype, n + 2 * PAD, 1);
  const gradient = (t: number) => randomArray(dtype, n + PAD, 10 + t);
  const guarded = (p: ArrayLike<number>) =>
    expect([p[0], p[1], p[n + PAD], p[n + PAD + 1]]).toEqual([
      start[0],
      start[1],
      start[n + PAD],
      start[n + PAD + 1],
    ]);

  const hyper = flags.flatMap((maximize) =>
    flags.flatMap((nesterov) => [0, 0.3].map((dampening) => ({ maximize, nesterov, dampening }))),
  );

  test.each(flags)('sgd, maximize %i', (maximize) => {
    const p = start.slice();
    const e = Float64Array.from(start);
    for (let t = 0; t < STEPS; t++) {
      const g = gradient(t);
      sgdKernel([n, PAD, PAD, PAD, 0.1, 0.05, maximize], [p, p, g]);
      for (let i = PAD; i < n + PAD; i++) e[i] -= 0.1 * ((maximize ? -g[i] : g[i]) + 0.05 * e[i]);
    }
    expectClose(p, e, tolerance);
    guarded(p);
  });

  test.each(hyper)('sgdMomentum, %j', ({ maximize, nesterov, dampening }) => {
    const p = start.slice();
    const buf = start.slice().fill(5);
    const e = Float64Array.from(start);
    const m = new Float64Array(n + 2 * PAD);
    for (let t = 0; t < STEPS; t++) {
      const g = gradient(t);
      const first = Number(t === 0);
      sgdMomentumKernel(
        [n, PAD, PAD, PAD, PAD, 0.1, 0.05, maximize, 0.8, dampening, nesterov, first],
        [p, buf, p, g],
      );
      for (let i = PAD; i < n + PAD; i++) {
        const d = (maximize ? -g[i] : g[i]) + 0.05 * e[i];
        m[i] = t === 0 ? d : 0.8 * m[i] + (1 - dampening) * d;
        e[i] -= 0.1 * (nesterov ? d + 0.8 * m[i] : m[i]);
      }
    }
    expectClose(p, e, tolerance);
    guarded(p);
    expect(buf[0]).toBe(5);
    expectClose(buf.subarray(PAD, n + PAD), m.subarray(PAD, n + PAD), tolerance);
  });

  test.each(flags.flatMap((maximize) => flags.map((decoupled) => ({ maximize, decoupled }))))(
    'adam, %j',
    ({ maximize, decoupled }) => {
      const [lr, b1, b2, eps, decay] = [0.02, 0.8, 0.95, 1e-3, 0.1];
      const p = start.slice();
      const m = start.slice().fill(0);
      const v = start.slice().fill(0);
      const e = Float64Array.from(start);
      const em = new Float64Array(n + 2 * PAD);
      const ev = new Float64Array(n + 2 * PAD);
      for (let t = 1; t <= STEPS; t++) {
        const g = gradient(t);
        const [c1, c2] = [1 - b1 ** t, 1 - b2 ** t];
        adamKernel(
          [n, PAD, PAD, PAD, PAD, PAD, lr, b1, b2, eps, decay, decoupled, maximize, c1, c2],
          [p, m, v, p, g],
        );
        for (let i = PAD; i < n + PAD; i++) {
          let d = maximize ? -g[i] : g[i];
          if (decoupled) e[i] *= 1 - lr * decay;
          else d += decay * e[i];
          em[i] = b1 * em[i] + (1 - b1) * d;
          ev[i] = b2 * ev[i] + (1 - b2) * d * d;
          e[i] -= ((lr / c1) * em[i]) / (Math.sqrt(ev[i]) / Math.sqrt(c2) + eps);
        }
      }
      expectClose(p, e, tolerance);
      guarded(p);
      expectClose(m, em, tolerance);
      expectClose(v, ev, tolerance);
    },
  );

  test('the result may go to another array, with the same bits', () => {
    const g = gradient(0);
    const calls: ((out: typeof start) => void)[] = [
      (out) => sgdKernel([n, PAD, PAD, PAD, 0.1, 0.05, 0], [out, start, g]),
      (out) =>
        sgdMomentumKernel([n, PAD, PAD, PAD, PAD, 0.1, 0, 0, 0.9, 0, 1, 0], [out, start.slice(), start, g]),
      (out) =>
        adamKernel(
          [n, PAD, PAD, PAD, PAD, PAD, 0.1, 0.9, 0.99, 1e-8, 0.1, 1, 0, 0.1, 0.01],
          [out, start.slice(), start.map(Math.abs), start, g],
        ),
    ];
    const before = [...start];
    for (const call of calls) {
      const apart = start.slice();
      call(apart);
      expect([...start]).toEqual(before);
      expect([...apart.subarray(PAD, n + PAD)]).not.toEqual(before.slice(PAD, n + PAD));
      call(start);
      expect([...start]).toEqual([...apart]);
      start.set(before);
    }
  });
});
