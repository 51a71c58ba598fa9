// L1 and L2 penalties, recomputed in float64 with loops over plain arrays.
import {
  ArgumentError,
  compile,
  DTypeError,
  F,
  Generator,
  nn,
  optim,
  randn,
  ShapeError,
  type Tensor,
  tensor,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../support/compare.js';

const tolerance = { float32: { rtol: 1e-5, atol: 1e-7 }, float64: { rtol: 1e-13, atol: 1e-15 } };
const values = (ts: readonly Tensor[]): number[] => ts.flatMap((t) => Array.from(t.data));
const total = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0);

describe.each(['float32', 'float64'] as const)('penalties, %s', (dtype) => {
  const make = (): nn.MLP => new nn.MLP([3, 4, 2], { dtype, generator: new Generator(1) });
  const x = randn([5, 3], { dtype, generator: new Generator(2) });
  const labels = tensor([0, 1, 1, 0, 1], { dtype: 'int32' });

  it('are λ ‖w‖₁, λ ‖w‖² and λ/2 ‖w‖², of a tensor, a list, named parameters or a module', () => {
    const m = make();
    const w = values(m.parameters());
    const l1 = 0.3 * total(w.map(Math.abs));
    const l2 = 0.3 * total(w.map((v) => v * v));
    for (const params of [m, m.parameters(), m.namedParameters(), new Set(m.parameters())]) {
      expectClose(F.l1Penalty(params, 0.3).data, [l1], tolerance[dtype]);
      expectClose(F.l2Penalty(params, 0.3).data, [l2], tolerance[dtype]);
      expectClose(F.l2Penalty(params, 0.3, { half: true }).data, [l2 / 2], tolerance[dtype]);
    }
    const first = m.parameters()[0] as Tensor;
    expectClose(F.l2Penalty(first, 1).data, [total(values([first]).map((v) => v * v))], tolerance[dtype]);
    expect(F.l2Penalty([first, first], 1).item()).toBe(F.l2Penalty(first, 1).item());
    expect(F.l1Penalty(m, 0.3).shape).toEqual([]);
    expect(F.l1Penalty(m, 0.3).dtype).toBe(dtype);
    expect(F.l1Penalty([], 0.3).item()).toBe(0);
  });

  it('leave out biases, and what a filter leaves out', () => {
    const m = make();
    const weights = [m.parameters()[0], m.parameters()[2]] as Tensor[];
    const l2 = total(values(weights).map((v) => v * v));
    for (const params of [m, m.namedParameters()])
      expectClose(F.l2Penalty(params, 1, { biases: false }).data, [l2], tolerance[dtype]);
    const filter = (name: string, p: Tensor): boolean => name.startsWith('2.') && p.rank === 2;
    const last = total(values([weights[1] as Tensor]).map(Math.abs));
    expectClose(F.l1Penalty(m, 1, { filter }).data, [last], tolerance[dtype]);
    const byRank = { filter: (_: string, p: Tensor) => p.rank > 1 };
    expectClose(F.l2Penalty(m.parameters(), 1, byRank).data, [l2], tolerance[dtype]);
    expect(() => F.l2Penalty(m.parameters(), 1, { biases: false })).toThrow(/needs names/);
  });

  it('add λ sign(w), 2λ w and λ w to the gradient of any loss, eager and compiled', () => {
    const slopes: [(m: nn.Module) => Tensor, (w: number) => number][] = [
      [(m) => F.l1Penalty(m, 0.2), (w) => 0.2 * Math.sign(w)],
      [(m) => F.l2Penalty(m, 0.2), (w) => 0.4 * w],
      [(m) => F.l2Penalty(m, 0.2, { half: true }), (w) => 0.2 * w],
      [(m) => F.l2Penalty(m, tensor(0.2, { dtype })), (w) => 0.4 * w],
      [(m) => F.l1Penalty(m, 0.1).add(F.l2Penalty(m, 0.2)), (w) => 0.1 * Math.sign(w) + 0.4 * w],
    ];
    for (const [penalty, slope] of slopes) {
      const m = make();
      m.parameters()[1]?.fill_(0);
      const step = (t: Tensor, y: Tensor): Tensor => {
        m.zeroGrad();
        const loss = F.crossEntropy(m.forward(t), y).add(penalty(m));
        loss.backward();
        return loss;
      };
      m.zeroGrad();
      F.crossEntropy(m.forward(x), labels).backward();
      const plain = m.parameters().map((p) => Array.from((p.grad as Tensor).data));
      for (const run of [step, compile(step)]) {
        run(x, labels);
        m.parameters().forEach((p, i) => {
          const expected = (plain[i] as number[]).map((g, j) => g + slope(p.data[j] as number));
          expectClose((p.grad as Tensor).data, expected, tolerance[dtype]);
        });
      }
    }
  });

  it('train as weight decay does, for λ/2 ‖w‖² and plain SGD', () => {
    const [a, b] = [make(), make()];
    const train = (m: nn.Module, weightDecay: number, lambda: number): void => {
      const optimizer = new optim.SGD(m.parameters(), { lr: 0.1, weightDecay });
      const step = compile((t: Tensor, y: Tensor) => {
        optimizer.zeroGrad();
        const loss = F.crossEntropy(m.forward(t), y).add(F.l2Penalty(m, lambda, { half: true }));
        loss.backward();
        optimizer.step();
        return loss;
      });
      for (let k = 0; k < 10; k++) step(x, labels);
    };
    train(a, 0.05, 0);
    train(b, 0, 0.05);
    expectClose(values(a.parameters()), values(b.parameters()), tolerance[dtype]);
  });

  it('take λ as an input of a compiled step', () => {
    const m = make();
    const step = compile((lambda: Tensor) => F.l2Penalty(m, lambda));
    for (const v of [0.5, 2, 0])
      expectClose(
        step(tensor(v, { dtype })).data,
        [v * total(values(m.parameters()).map((w) => w * w))],
        tolerance[dtype],
      );
  });
});

describe('penalties', () => {
  it('say what is wrong', () => {
    const w = tensor([1, -2]);
    expect(() => F.l1Penalty(3 as never, 1)).toThrow(/l1Penalty: takes a tensor, a module or a list/);
    expect(() => F.l1Penalty([3] as never, 1)).toThrow(/takes parameters/);
    expect(() => F.l2Penalty(w, -1)).toThrow(/lambda must be a number >= 0, not -1/);
    expect(() => F.l2Penalty(w, Number.NaN)).toThrow(ArgumentError);
    expect(() => F.l2Penalty(w, tensor([1, 2]))).toThrow(ShapeError);
    expect(() => F.l2Penalty(tensor([1], { dtype: 'int32' }), 1)).toThrow(DTypeError);
    expect(() => F.l2Penalty(w, 1, { hallf: true } as never)).toThrow(/did you mean "half"/);
    expect(() => F.l2Penalty(w, 1, { half: 1 as never })).toThrow(/true or false/);
    expect(() => F.l1Penalty(w, 1, { half: true } as never)).toThrow(ArgumentError);
    expect(() => F.l1Penalty(w, 1, { filter: 'weight' as never })).toThrow(/filter is a function/);
    expect(() => F.l1Penalty(w, 1, { biases: 0 as never })).toThrow(/true or false/);
  });
});
