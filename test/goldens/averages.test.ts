import { compile, type DType, optim, type Tensor, tensor, zeros } from 'simdgrad';
import { describe, it } from 'vitest';
import { expectClose, type GoldenNumber, type GoldenTensor, load } from './golden.js';

interface Case {
  readonly dtype: DType;
  readonly decay: number;
  /** The averages after so many updates. */
  readonly after: Readonly<Record<string, readonly (readonly GoldenNumber[])[]>>;
}

interface Header {
  readonly initial: readonly GoldenTensor[];
  /** What each step adds to the parameters. */
  readonly changes: readonly (readonly (readonly number[])[])[];
}

const { cases, initial, changes } = load<Case, Header>('averages');

describe('moving averages against PyTorch (swa_utils.AveragedModel)', () => {
  for (const { dtype, decay, after } of cases) {
    for (const compiled of [false, true]) {
      it(`EMA of decay ${decay}, ${dtype}${compiled ? ', compiled' : ''}`, () => {
        const like = (values: readonly GoldenNumber[], shape: readonly number[]): Tensor =>
          tensor(Float64Array.from(values.map(Number)), { shape: [...shape] }).to(dtype);
        const params = initial.map(({ data, shape }) => {
          const p = like(data, shape);
          p.requiresGrad = true;
          return p;
        });
        const ema = new optim.EMA(params, { decay });
        const eager = (...by: Tensor[]): Tensor => {
          params.forEach((p, i) => {
            p.detach().add_(by[i] as Tensor);
          });
          ema.update();
          return zeros([1]);
        };
        const step = compiled ? compile(eager) : eager;
        changes.forEach((by, k) => {
          step(...by.map((values, i) => like(values, (initial[i] as GoldenTensor).shape)));
          const expected = after[k + 1];
          if (!expected) return;
          ema.averages().forEach((average, i) => {
            // PyTorch's lerp counts from the other end where that is nearer: some roundings of 30 updates.
            const bits = dtype === 'float32' ? 2 ** -22 : 2 ** -51;
            expectClose(`average ${i} after ${k + 1}`, average.data, expected[i] as GoldenNumber[], {
              relative: 8 * bits,
              absolute: bits,
            });
          });
        });
      });
    }
  }
});
