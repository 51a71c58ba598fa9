import { SimdgradError } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { type Attrs, callOperation, decode, expectTensor, type GoldenTensor, load, title } from './golden.js';

interface PromotionCase {
  readonly op: string;
  readonly inputs: readonly GoldenTensor[];
  readonly attrs?: Attrs;
  /** null: PyTorch refuses. */
  readonly output: GoldenTensor | null;
}

/** Where the library differs from PyTorch on purpose; the reason is the value. */
const differences: Record<string, string> = {};

describe('dtypes that meet, against PyTorch', () => {
  for (const c of load<PromotionCase>('promotion').cases) {
    const name = `${c.op} ${title(c.inputs, c.attrs)}`;
    if (name in differences) continue;
    it(name, () => {
      const inputs = c.inputs.map((x) => decode(x));
      if (c.output === null) {
        expect(() => callOperation(c.op, inputs, c.attrs)).toThrow(SimdgradError);
      } else {
        expectTensor(name, callOperation(c.op, inputs, c.attrs), c.output, { relative: 5e-7, absolute: 0 });
      }
    });
  }
});
