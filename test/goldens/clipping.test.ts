import { CompileError, compile, type DType, nn, StateError, type Tensor, zeros } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { decode, expectClose, type GoldenNumber, type GoldenTensor, load, tolerances } from './golden.js';

interface Case {
  readonly dtype: DType;
  readonly grads: readonly GoldenTensor[];
  readonly after: readonly (readonly GoldenNumber[])[];
  readonly normType?: GoldenNumber;
  readonly maxNorm?: number;
  readonly total?: GoldenNumber;
  /** Whether errorIfNonfinite refuses. */
  readonly refused?: boolean;
  readonly limit?: number;
}

const { cases } = load<Case>('clipping');
const { clipGradNorm, clipGradsWithNorm, clipGradValue, getTotalNorm } = nn.utils;

describe('gradient clipping against PyTorch', () => {
  cases.forEach((c, number) => {
    const title =
      c.limit === undefined ? `norm of type ${c.normType} at most ${c.maxNorm}` : `values at most ${c.limit}`;
    const tolerance = tolerances[c.dtype];
    const make = (): Tensor[] => {
      const params = c.grads.map((g) => zeros([...g.shape], { dtype: c.dtype, requiresGrad: true }));
      params.forEach((p, i) => {
        p.grad = decode(c.grads[i] as GoldenTensor);
      });
      // Without a gradient.
      params.splice(1, 0, zeros([3], { dtype: c.dtype, requiresGrad: true }));
      return params;
    };
    const expectGrads = (params: readonly Tensor[], after: Case['after']): void => {
      const grads = params.flatMap((p) => p.grad ?? []);
      expect(grads.length).toBe(after.length);
      grads.forEach((g, i) => {
        expectClose(`gradient ${i}`, g.data, after[i] as GoldenNumber[], tolerance);
      });
    };

    if (c.limit !== undefined) {
      const limit = c.limit;
      it(`${number}: ${title}, ${c.dtype}`, () => {
        const params = make();
        clipGradValue(params, limit);
        expectGrads(params, c.after);
      });
      return;
    }
    const normType = Number(c.normType);
    const maxNorm = c.maxNorm as number;
    const expected = [c.total as GoldenNumber];

    it(`${number}: ${title}, ${c.dtype}`, () => {
      const params = make();
      const total = clipGradNorm(params, maxNorm, { normType });
      expect(total.dtype).toBe(c.dtype);
      expectClose('norm', total.data, expected, tolerance);
      expectGrads(params, c.after);

      const again = make();
      const norm = getTotalNorm(
        again.flatMap((p) => p.grad ?? []),
        { normType },
      );
      expectClose('norm', norm.data, expected, tolerance);
      clipGradsWithNorm(again, maxNorm, norm);
      expectGrads(again, c.after);
      if (normType === Infinity) {
        expect(getTotalNorm([again[0] as Tensor], { normType: 'inf' }).item()).toBe(0);
      }
    });

    it(`${number}: ${title}, ${c.dtype}, errorIfNonfinite`, () => {
      const params = make();
      const clip = () => clipGradNorm(params, maxNorm, { normType, errorIfNonfinite: true });
      if (c.refused) {
        expect(clip).toThrow(StateError);
        expect(clip).toThrow(/is (NaN|Infinity)/);
        // Nothing is changed.
        expectGrads(
          params,
          c.grads.map((g) => g.data),
        );
      } else {
        clip();
        expectGrads(params, c.after);
      }
    });

    it(`${number}: ${title}, ${c.dtype}, compiled`, () => {
      const params = c.grads.map((g) => zeros([...g.shape], { dtype: c.dtype, requiresGrad: true }));
      const step = compile((...grads: Tensor[]) => {
        params.forEach((p, i) => {
          p.grad = (grads[i] as Tensor).mul(1);
        });
        return clipGradNorm(params, maxNorm, { normType });
      });
      for (let k = 0; k < 3; k++) {
        expectClose('norm', step(...c.grads.map((g) => decode(g))).data, expected, tolerance);
        expectGrads(params, c.after);
      }
      const reading = compile((x: Tensor) => getTotalNorm(x, { errorIfNonfinite: true }));
      expect(() => reading(zeros([2]))).toThrow(CompileError);
    });
  });
});
