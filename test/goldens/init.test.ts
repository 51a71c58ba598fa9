import { Generator, init, type Tensor, zeros } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { load } from './golden.js';

interface GainCase {
  readonly gain: string;
  readonly param?: number;
  readonly value: number;
}

interface FillCase {
  readonly init: string;
  readonly shape: readonly number[];
  readonly options: Readonly<Record<string, unknown>>;
  /** The bounds, or mean and deviation, that PyTorch asked for. */
  readonly fill:
    | { readonly low: number; readonly high: number }
    | { readonly mean: number; readonly std: number };
}

type Fill = (t: Tensor, options: unknown) => Tensor;
const fills = init as unknown as Record<string, Fill>;
const { cases } = load<GainCase | FillCase>('init');

describe('initializers against PyTorch', () => {
  for (const c of cases) {
    if ('gain' in c) {
      it(`gain of ${c.gain} ${c.param ?? ''}`, () => {
        expect(init.calculateGain(c.gain as Parameters<typeof init.calculateGain>[0], c.param)).toBeCloseTo(
          c.value,
          14,
        );
      });
      continue;
    }
    it(`${c.init} ${JSON.stringify(c.shape)} ${JSON.stringify(c.options)}`, () => {
      const t = zeros([...c.shape], { dtype: 'float64' });
      const result = (fills[c.init] as Fill)(t, { ...c.options, generator: new Generator(7) });
      expect(result).toBe(t);
      const values = t.data as Float64Array;
      const n = values.length;
      const mean = values.reduce((a, b) => a + b, 0) / n;
      const std = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / n);
      const expectedStd = 'std' in c.fill ? c.fill.std : (c.fill.high - c.fill.low) / Math.sqrt(12);
      // The mean of n values is off by about std / sqrt n, the deviation by std / sqrt 2n or less: six of those.
      expect(Math.abs(mean)).toBeLessThan((6 * expectedStd) / Math.sqrt(n));
      expect(Math.abs(std / expectedStd - 1)).toBeLessThan(6 / Math.sqrt(2 * n));
      if ('high' in c.fill) {
        const largest = values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
        expect(largest).toBeLessThanOrEqual(c.fill.high);
        // n uniform values come within 20/n of the bound but for one time in 10^8.
        expect(largest / c.fill.high).toBeGreaterThan(1 - 20 / n);
      }
    });
  }
});
