import { type DType, SimdgradError } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { type Attrs, callOperation, decode, expectTensor, type GoldenTensor, load, title } from './golden.js';

interface PromotionCase {
  readonly op: string;
  readonly inputs: readonly GoldenTensor[];
  readonly attrs?: Attrs;
  /** null: PyTorch refuses. */
  readonly output: GoldenTensor | null;
}

/**
 * Where the library differs on purpose: these operations take such inputs as if they had another dtype. PyTorch's
 * arithmetic of bool is logic in some operations, an error in others and int32 in the rest; ours counts bool as int32
 * everywhere. PyTorch refuses the mean of whole numbers; ours is float32, as the quotient of whole numbers is.
 */
const differences: readonly { readonly ops: readonly string[]; readonly dtype: DType; readonly as: DType }[] =
  [
    {
      ops: ['add', 'mul', 'maximum', 'minimum', 'sub', 'neg', 'abs', 'sign', 'relu', 'max'],
      dtype: 'bool',
      as: 'int32',
    },
    { ops: ['mean'], dtype: 'bool', as: 'float32' },
    { ops: ['mean'], dtype: 'int32', as: 'float32' },
  ];

function difference(c: PromotionCase): DType | undefined {
  const has = (dtype: DType): boolean => c.inputs.some((x) => x.dtype === dtype);
  const found = differences.find(({ ops, dtype }) => ops.includes(c.op) && has(dtype));
  // Where PyTorch promotes bool to another dtype, we agree.
  return found && (c.output === null || c.output.dtype === 'bool') ? found.as : undefined;
}

describe('dtypes that meet, against PyTorch', () => {
  for (const c of load<PromotionCase>('promotion').cases) {
    const name = `${c.op} ${title(c.inputs, c.attrs)}`;
    const as = difference(c);
    it(as ? `${name}, taken as ${as}` : name, () => {
      const inputs = c.inputs.map((x) => decode(x));
      if (as) {
        const converted = inputs.map((x) => (x.dtype === 'bool' || x.dtype === 'int32' ? x.to(as) : x));
        const expected = callOperation(c.op, converted, c.attrs);
        const actual = callOperation(c.op, inputs, c.attrs);
        expect([actual.dtype, actual.toArray()]).toEqual([expected.dtype, expected.toArray()]);
      } else if (c.output === null) {
        expect(() => callOperation(c.op, inputs, c.attrs)).toThrow(SimdgradError);
      } else {
        expectTensor(name, callOperation(c.op, inputs, c.attrs), c.output, { relative: 5e-7, absolute: 0 });
      }
    });
  }
});
