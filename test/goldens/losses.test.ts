import { type DType, F, nn, type Tensor, tensor } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import {
  type Attrs,
  cotangent,
  decode,
  expectClose,
  expectSecond,
  expectTensor,
  type GoldenNumber,
  type GoldenTensor,
  load,
  title,
  tolerances,
} from './golden.js';

interface LossCase {
  readonly op: string;
  readonly inputs: readonly GoldenTensor[];
  readonly attrs?: Attrs;
  readonly output: GoldenTensor;
  readonly grads?: readonly (readonly GoldenNumber[] | null)[];
  readonly grads2?: readonly (readonly GoldenNumber[] | null)[];
  /** A looser tolerance, where PyTorch's own digits end. */
  readonly relative?: number;
  readonly note?: string;
}

/** Losses that have numbers but are not in the library yet. One that appears must be taken off this list. */
const notYet: readonly string[] = [];

const modules: Record<string, string> = {
  crossEntropy: 'CrossEntropyLoss',
  nllLoss: 'NLLLoss',
  mseLoss: 'MSELoss',
  l1Loss: 'L1Loss',
  smoothL1Loss: 'SmoothL1Loss',
  huberLoss: 'HuberLoss',
  bce: 'BCELoss',
  bceWithLogits: 'BCEWithLogitsLoss',
};

type Loss = (input: Tensor, target: Tensor, options?: Attrs) => Tensor;
type LossModule = new (options?: Attrs) => { forward(input: Tensor, target: Tensor): Tensor };

const functions = F as unknown as Record<string, Loss | undefined>;
const classes = nn as unknown as Record<string, LossModule | undefined>;

/** Class weights are given as tensors. */
function optionsOf(attrs: Attrs | undefined, dtype: DType): Attrs | undefined {
  if (!attrs) return undefined;
  return Object.fromEntries(
    Object.entries(attrs).map(([k, v]) => [k, Array.isArray(v) ? tensor(v, { dtype }) : v]),
  );
}

const byLoss = new Map<string, LossCase[]>();
for (const c of load<LossCase>('losses').cases) byLoss.set(c.op, [...(byLoss.get(c.op) ?? []), c]);

describe('losses against PyTorch', () => {
  it('lists every missing loss, and no other', () => {
    expect([...byLoss.keys()].filter((name) => !functions[name]).sort()).toEqual([...notYet].sort());
    expect([...byLoss.keys()].filter((name) => !classes[modules[name] as string]).sort()).toEqual(
      [...notYet].sort(),
    );
  });

  for (const [loss, list] of byLoss) {
    if (notYet.includes(loss)) continue;
    describe(loss, () => {
      for (const c of list) {
        const dtype = c.output.dtype;
        const name = title(c.inputs, c.attrs) + (c.note ? ` (${c.note})` : '');
        const inputs = (): Tensor[] => c.inputs.map((x, i) => decode(x, c.grads?.[i] != null));
        const f = functions[loss] as Loss;
        const options = optionsOf(c.attrs, dtype);

        it(name, () => {
          const xs = inputs();
          const [input, target] = xs as [Tensor, Tensor];
          const y = f(input, target, options);
          expectTensor(`${loss} value`, y, c.output);

          const Module = classes[modules[loss] as string] as LossModule;
          const again = new Module(options).forward(input, target);
          expectClose(`${modules[loss]} value`, again.data, Array.from(y.data), {
            relative: 0,
            absolute: 0,
          });

          if (!c.grads) return;
          y.backward(cotangent(y.shape, dtype));
          const { relative, absolute } = tolerances[dtype];
          const tolerance = { relative: Math.max(relative, c.relative ?? 0), absolute };
          for (const [i, g] of c.grads.entries()) {
            if (g === null) continue;
            expectClose(`${loss} gradient ${i}`, (xs[i] as Tensor).grad?.data ?? [], g, tolerance);
          }
        });

        if (c.grads2) {
          it(`${name}, second derivatives`, () => {
            const xs = inputs();
            const [input, target] = xs as [Tensor, Tensor];
            expectSecond(xs, f(input, target, options), c.grads2 ?? []);
          });
        }
      }
    });
  }
});
