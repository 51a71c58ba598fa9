import type { Tensor } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import {
  type Attrs,
  callOperation,
  cotangent,
  decode,
  expectSecond,
  expectTensor,
  type GoldenNumber,
  type GoldenTensor,
  isFloating,
  load,
  operation,
  type Tolerance,
  title,
  tolerances,
} from './golden.js';

interface OpCase {
  readonly op: string;
  readonly inputs: readonly GoldenTensor[];
  readonly attrs?: Attrs;
  readonly output: GoldenTensor;
  readonly grads?: readonly (readonly GoldenNumber[] | null)[];
  readonly grads2?: readonly (readonly GoldenNumber[] | null)[];
  readonly signedZero?: boolean;
  readonly note?: string;
}

/** Operations that have numbers but are not in the library yet. One that appears must be taken off this list. */
const notYet: readonly string[] = [];

/** Elementwise functions whose every digit counts however small the result is: no absolute tolerance. */
const relative = new Set(
  'exp expm1 log log1p sqrt sin cos tanh erf sigmoid softplus pow div mul reciprocal square silu logSigmoid'.split(
    ' ',
  ),
);

function forwardTolerance(c: OpCase): Tolerance {
  if (c.output.dtype === 'float32' && relative.has(c.op)) return { relative: 5e-7, absolute: 1e-44 };
  if (c.output.dtype === 'float64' && relative.has(c.op)) return { relative: 5e-15, absolute: 0 };
  // Sums of up to a dozen products of size 4, in another order.
  if (c.output.dtype === 'float32' && (c.op === 'matmul' || c.op === 'linear'))
    return { relative: 1e-6, absolute: 2e-6 };
  return tolerances[c.output.dtype];
}

const { cases } = load<OpCase>('ops');
const byOp = new Map<string, OpCase[]>();
for (const c of cases) byOp.set(c.op, [...(byOp.get(c.op) ?? []), c]);

describe('operations against PyTorch', () => {
  it('lists every missing operation, and no other', () => {
    expect([...byOp.keys()].filter((op) => operation(op) === undefined).sort()).toEqual([...notYet].sort());
  });

  for (const [op, list] of byOp) {
    if (notYet.includes(op)) continue;
    describe(op, () => {
      for (const c of list) {
        const name = title(c.inputs, c.attrs) + (c.note ? ` (${c.note})` : '');
        const wantsGrad = c.grads !== undefined;
        const inputs = (): Tensor[] =>
          c.inputs.map((x, i) => decode(x, wantsGrad && isFloating(x.dtype) && c.grads?.[i] != null));

        it(name, () => {
          const xs = inputs();
          const y = callOperation(op, xs, c.attrs);
          expectTensor(`${op} output`, y, c.output, forwardTolerance(c), { signedZero: c.signedZero });
          if (!c.grads) return;
          y.backward(cotangent(y.shape, y.dtype));
          for (const [i, g] of c.grads.entries()) {
            if (g === null) continue;
            const x = xs[i] as Tensor;
            expectTensor(`${op} gradient ${i}`, x.grad as Tensor, {
              shape: x.shape,
              dtype: x.dtype,
              data: g,
            });
          }
        });

        if (c.grads2) {
          it(`${name}, second derivatives`, () => {
            const xs = inputs();
            expectSecond(xs, callOperation(op, xs, c.attrs), c.grads2 ?? []);
          });
        }
      }
    });
  }
});
