import { Buffer } from 'node:buffer';
import {
  ArgumentError,
  CompileError,
  compile,
  type DType,
  DTypeError,
  F,
  IndexError,
  manualSeed,
  nn,
  optim,
  randn,
  StateError,
  type Tensor,
  tensor,
  zeros,
} from 'simdgrad';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { backend } from '../../src/backend/load.js';

const bytes = (t: Tensor): Buffer => Buffer.from(t.detach().clone().data.slice().buffer);
const close = { float32: 1e-6, float64: 1e-14 } as const;
const dtypes = ['float32', 'float64'] as const;

afterEach(() => {
  vi.restoreAllMocks();
});

function expectNear(actual: ArrayLike<number>, expected: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  for (let i = 0; i < expected.length; i++) {
    expect(Math.abs((actual[i] as number) - (expected[i] as number))).toBeLessThanOrEqual(tolerance);
  }
}

/** θ_t of a few parameters that move, as plain numbers. */
const theta = (t: number, i: number): number => Math.sin(1 + i) + t * 0.05 * Math.cos(i + 0.3 * t);

function following(dtype: DType): { p: Tensor; move: (t: number) => void } {
  const p = zeros([6], { dtype, requiresGrad: true });
  const move = (t: number) => {
    p.copy_(Array.from({ length: 6 }, (_, i) => theta(t, i)));
  };
  move(0);
  return { p, move };
}

const model = (dtype: DType = 'float32'): nn.Sequential => {
  manualSeed(5);
  return new nn.Sequential(
    new nn.Linear(20, 300, { dtype }),
    new nn.ReLU(),
    new nn.Linear(300, 150, { dtype }),
    new nn.ReLU(),
    new nn.Linear(150, 4, { dtype }),
  );
};

describe('EMA', () => {
  for (const dtype of dtypes) {
    it(`is the average of lecture 001, θ'_t = γ θ'_{t-1} + (1 - γ) θ_t, ${dtype}`, () => {
      for (const decay of [0, 0.5, 0.9, 0.999, 1]) {
        const { p, move } = following(dtype);
        const ema = new optim.EMA([p], { decay });
        const expected = Array.from({ length: 6 }, (_, i) => theta(0, i));
        for (let t = 1; t <= 30; t++) {
          move(t);
          ema.update();
          expected.forEach((x, i) => {
            expected[i] = decay * x + (1 - decay) * theta(t, i);
          });
          if (![1, 2, 10, 30].includes(t)) continue;
          expectNear(ema.averages()[0]?.data ?? [], expected, close[dtype]);
        }
        expect(ema.updates).toBe(30);
      }
    });

    it(`with bias correction is the weighted mean of the parameters after each update, ${dtype}`, () => {
      const { p, move } = following(dtype);
      const ema = new optim.EMA([p], { decay: 0.9, biasCorrection: true });
      // The decay may change in between: the weights are what they are.
      const decays = Array.from({ length: 12 }, (_, k) => (k < 6 ? 0.9 : 0.5));
      for (let t = 1; t <= 12; t++) {
        move(t);
        ema.decay = decays[t - 1] as number;
        ema.update();
        const weights = Array.from({ length: t }, (_, k) =>
          decays.slice(k + 1, t).reduce((a, b) => a * b, 1 - (decays[k] as number)),
        );
        const sum = weights.reduce((a, b) => a + b);
        const mean = Array.from(
          { length: 6 },
          (_, i) => weights.reduce((a, w, k) => a + w * theta(k + 1, i), 0) / sum,
        );
        expectNear(ema.averages()[0]?.data ?? [], mean, 3 * close[dtype]);
      }
    });

    for (const kind of ['SGD', 'Adam', 'RMSprop'] as const) {
      it(`has the same bits in a compiled step and an asynchronous one, ${kind}, ${dtype}`, async () => {
        const runs: Buffer[][] = [];
        for (const mode of ['eager', 'compiled', 'async'] as const) {
          const net = model(dtype);
          const o = new optim[kind](net.parameters(), { lr: 0.01 });
          const emas = [
            new optim.EMA(net, { decay: 0.9 }),
            new optim.EMA(net.namedParameters(), { decay: 0.5, biasCorrection: true }),
          ];
          const eager = (x: Tensor, y: Tensor): Tensor => {
            o.zeroGrad();
            const loss = F.crossEntropy(net.forward(x), y);
            loss.backward();
            o.step();
            for (const ema of emas) ema.update();
            return loss;
          };
          const step = compile(eager);
          manualSeed(8);
          for (let k = 0; k < 7; k++) {
            const x = randn([16, 20], { dtype });
            const y = tensor(Int32Array.from({ length: 16 }, (_, i) => (i * 7 + k) % 4));
            if (k === 4) (emas[0] as optim.EMA).decay = 0.75;
            if (mode === 'eager') eager(x, y);
            else if (mode === 'compiled') step(x, y);
            else await step.async(x, y);
          }
          expect(emas.map((e) => e.updates)).toEqual([7, 7]);
          runs.push(emas.flatMap((e) => e.averages().map(bytes)));
        }
        for (const run of runs.slice(1)) {
          run.forEach((b, i) => {
            expect(b.equals(runs[0]?.[i] as Buffer), `average ${i}`).toBe(true);
          });
        }
      });
    }
  }

  it('updates by one call of the backend', () => {
    const net = model();
    const ema = new optim.EMA(net);
    ema.update();
    ema.update();
    const run = vi.spyOn(backend(), 'run');
    ema.update();
    expect(run).not.toHaveBeenCalled();
  });

  it('averages parameters of both dtypes at once', () => {
    const params = [
      tensor([1, 2], { requiresGrad: true }),
      tensor([3], { dtype: 'float64', requiresGrad: true }),
    ];
    const ema = new optim.EMA(params, { decay: 0.9 });
    for (let k = 0; k < 4; k++) {
      for (const p of params) p.detach().add_(1);
      ema.update();
    }
    // 4 - Σ γ^k … of what was added.
    const lag = 0.9 + 0.81 + 0.729 + 0.6561;
    const [a, b] = ema.averages() as [Tensor, Tensor];
    expect([a.dtype, b.dtype]).toEqual(['float32', 'float64']);
    expectNear(a.data, [5 - lag, 6 - lag], 1e-6);
    expectNear(b.data, [7 - lag], 1e-14);
  });

  it('does not drift where the parameters stay, whatever the decay is rounded to', () => {
    const p = tensor([1, 3, -7e5], { requiresGrad: true });
    const ema = new optim.EMA(p, { decay: 0.9999 });
    for (let k = 0; k < 3000; k++) ema.update();
    expect(ema.averages()[0]?.toArray()).toEqual(p.toArray());
  });

  it('swaps the averages in and the parameters out', () => {
    const net = model();
    const x = randn([3, 20]);
    const ema = new optim.EMA(net, { decay: 0.5, biasCorrection: true });
    const evaluate = compile((input: Tensor) => net.forward(input));
    evaluate(x);
    for (const p of net.parameters()) p.detach().mul_(2);
    ema.update();
    for (const p of net.parameters()) p.detach().mul_(2);
    ema.update();
    const raw = net.parameters().map(bytes);
    const averages = ema.averages();
    const other = model();
    ema.copyTo(other);
    other.parameters().forEach((p, i) => {
      expect(bytes(p).equals(bytes(averages[i] as Tensor))).toBe(true);
    });
    // (1/4 · 2θ + 1/2 · 4θ) / (3/4)
    const untouched = model().parameters()[0] as Tensor;
    expectNear(
      (averages[0] as Tensor).data.subarray(0, 9),
      Array.from(untouched.data.subarray(0, 9), (v) => (v * 10) / 3),
      1e-6,
    );
    const [before, expected] = [net.parameters(), other.forward(x)];
    expect(ema.swapped).toBe(false);
    ema.swapIn();
    expect(ema.swapped).toBe(true);
    expect(net.parameters()).toEqual(before);
    net.parameters().forEach((p, i) => {
      expect(bytes(p).equals(bytes(averages[i] as Tensor))).toBe(true);
      expect(p.requiresGrad).toBe(true);
    });
    // Also for a compiled step, which works on the same memory.
    expect(bytes(evaluate(x)).equals(bytes(expected))).toBe(true);
    ema.swapOut();
    net.parameters().forEach((p, i) => {
      expect(bytes(p).equals(raw[i] as Buffer)).toBe(true);
    });
    const shown = ema.use(() => bytes(evaluate(x)));
    expect(shown.equals(bytes(expected))).toBe(true);
    expect(() =>
      ema.use(() => {
        throw new RangeError('from inside');
      }),
    ).toThrow(RangeError);
    expect(ema.swapped).toBe(false);
    net.parameters().forEach((p, i) => {
      expect(bytes(p).equals(raw[i] as Buffer)).toBe(true);
    });
  });

  it('refuses to swap twice, to update while swapped, and to lose training steps', () => {
    const p = tensor([1, 2], { requiresGrad: true });
    const o = new optim.SGD([p], { lr: 1 });
    const ema = new optim.EMA([p], { decay: 0.5 });
    const corrected = new optim.EMA([p], { decay: 0.5, biasCorrection: true });
    for (const early of [
      () => corrected.swapIn(),
      () => corrected.averages(),
      () => corrected.copyTo(zeros([2])),
    ]) {
      expect(early).toThrow(StateError);
      expect(early).toThrow(/before the first update/);
    }
    expect(() => ema.swapOut()).toThrow(StateError);
    const compiled = compile((x: Tensor) => {
      ema.update();
      return x.add(1);
    });
    compiled(zeros([]));
    compiled(zeros([]));
    ema.swapIn();
    expect(() => ema.swapIn()).toThrow(StateError);
    expect(() => ema.update()).toThrow(StateError);
    expect(() => compiled(zeros([]))).toThrow(/EMA\.update: the averages are in the place/);
    expect(() => ema.loadStateDict(ema.stateDict())).toThrow(StateError);
    expect(ema.updates).toBe(2);
    p.grad = tensor([1, 1]);
    o.step();
    expect(() => ema.swapOut()).toThrow(/parameter 0 was changed while/);
    expect(ema.swapped).toBe(true);
    ema.swapOut({ discard: true });
    expect(p.toArray()).toEqual([1, 2]);
    compiled(zeros([]));
    expect(ema.updates).toBe(3);
    for (const inside of [
      () => ema.swapIn(),
      () => ema.swapOut(),
      () => ema.averages(),
      () => ema.copyTo(p),
      () => ema.loadStateDict(ema.stateDict()),
    ]) {
      expect(() =>
        compile((x: Tensor) => {
          inside();
          return x.add(1);
        })(zeros([])),
      ).toThrow(CompileError);
    }
    expect(() => ema.use(async () => 1)).toThrow(/synchronous/);
    expect(() => ema.use(3 as never)).toThrow(ArgumentError);
    expect(ema.swapped).toBe(false);
  });

  it('refuses to swap while an asynchronous step works on the model, all or none', async () => {
    const net = model();
    const ema = new optim.EMA(net);
    const o = new optim.Adam(net.parameters());
    const step = compile((x: Tensor) => {
      o.zeroGrad();
      const loss = net.forward(x).square().mean();
      loss.backward();
      o.step();
      ema.update();
      return loss;
    });
    const x = randn([64, 20]);
    step(x);
    const pending = step.async(x);
    expect(() => ema.swapIn()).toThrow(StateError);
    expect(ema.swapped).toBe(false);
    await pending;
    ema.swapIn();
    const reading = compile((input: Tensor) => net.forward(input));
    reading(x);
    const raw = net.parameters().map(bytes);
    // Only the last parameter is read: nothing before it may be changed either.
    const last = net.parameters().at(-1) as Tensor;
    const partly = compile((input: Tensor) => input.matmul(input.transpose()).exp().sum().add(last));
    partly(x);
    const summing = partly.async(x);
    expect(() => ema.swapOut()).toThrow(/being read by an asynchronous step/);
    await summing;
    net.parameters().forEach((p, i) => {
      expect(bytes(p).equals(raw[i] as Buffer)).toBe(true);
    });
    const evaluating = reading.async(x);
    expect(() => ema.swapOut()).toThrow(/being read by an asynchronous step/);
    net.parameters().forEach((p, i) => {
      expect(bytes(p).equals(raw[i] as Buffer)).toBe(true);
    });
    await evaluating;
    ema.swapOut();
    expect(ema.updates).toBe(2);
  });

  it('counts no update of a compiled step that is refused', () => {
    const table = zeros([3, 2], { requiresGrad: true });
    const ema = new optim.EMA([table], { decay: 0.5, biasCorrection: true });
    const step = compile((index: Tensor) => {
      ema.update();
      return table.indexSelect(0, index).sum();
    });
    step(tensor(Int32Array.of(1)));
    step(tensor(Int32Array.of(2)));
    const state = ema.stateDict();
    expect(() => step(tensor(Int32Array.of(7)))).toThrow(IndexError);
    expect(ema.updates).toBe(2);
    expect(ema.stateDict().weight).toBe(state.weight);
    expect(state.weight).toBe(0.75);
  });

  it('resumes from its state, bit for bit, and refuses what does not fit', () => {
    for (const biasCorrection of [false, true]) {
      const [a, b] = [model(), model()];
      const options = { decay: 0.9, biasCorrection };
      const first = new optim.EMA(a, options);
      const train = (net: nn.Sequential, k: number) => {
        for (const p of net.parameters()) p.detach().mul_(1 + 0.01 * k);
      };
      for (let k = 0; k < 5; k++) {
        train(a, k);
        train(b, k);
        first.update();
      }
      const state = first.stateDict();
      const second = new optim.EMA(b, { ...options, decay: 0.1 });
      second.update();
      second.loadStateDict(state);
      expect(second.decay).toBe(0.9);
      for (let k = 5; k < 9; k++) {
        train(a, k);
        train(b, k);
        first.update();
        second.update();
      }
      expect(second.updates).toBe(9);
      first.averages().forEach((t, i) => {
        expect(bytes(t).equals(bytes(second.averages()[i] as Tensor))).toBe(true);
      });
      const now = second.averages().map(bytes);
      const some = Object.keys(state.averages)[0] as string;
      for (const wrong of [
        { ...state, biasCorrection: !biasCorrection },
        { ...state, decay: 2 },
        { ...state, updates: -1 },
        { ...state, weight: 'x' as never },
        { ...state, averages: { ...state.averages, [some]: zeros([1]) } },
        { ...state, averages: { ...state.averages, more: zeros([1]) } },
        { ...state, averages: { [some]: state.averages[some] as Tensor } },
      ]) {
        expect(() => second.loadStateDict(wrong)).toThrow(StateError);
      }
      expect(() => second.loadStateDict(3 as never)).toThrow(ArgumentError);
      second.averages().forEach((t, i) => {
        expect(bytes(t).equals(now[i] as Buffer)).toBe(true);
      });
    }
  });

  it('copies to a model of the same structure, by name or in order', () => {
    const net = new nn.Sequential(new nn.Linear(2, 2), new nn.Linear(2, 2));
    const ema = new optim.EMA(net);
    const [a, b, c, d] = net.parameters() as [Tensor, Tensor, Tensor, Tensor];
    const targets = [zeros([2]), zeros([2, 2]), zeros([2]), zeros([2, 2])] as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    const names = [...net.namedParameters()].map(([name]) => name);
    // In another order, by name.
    ema.copyTo([3, 2, 1, 0].map((i, j) => [names[i] as string, targets[j] as Tensor] as const));
    expect(targets.map((t) => t.toArray())).toEqual([d, c, b, a].map((t) => t.toArray()));
    ema.copyTo([zeros([2, 2]), zeros([2]), zeros([2, 2]), zeros([2])]);
    const untouched = zeros([2, 2]);
    for (const wrong of [
      [untouched],
      [untouched, zeros([2]), zeros([2, 2]), zeros([3])],
      [untouched, zeros([2]), zeros([2, 2]), zeros([2], { dtype: 'float64' })],
      [['0.weight', untouched] as const, ['0.bias', zeros([2])] as const],
      [0, 1, 2, 3].map((i) => [`x${i}`, zeros(i % 2 ? [2] : [2, 2])] as const),
    ]) {
      expect(() => ema.copyTo(wrong as never)).toThrow(StateError);
    }
    expect(untouched.toArray()).toEqual([
      [0, 0],
      [0, 0],
    ]);
    expect(() => ema.copyTo(3 as never)).toThrow(ArgumentError);
  });

  it('says what is wrong', () => {
    const p = zeros([2], { requiresGrad: true });
    expect(() => new optim.EMA([p], { Decay: 0.5 } as never)).toThrow(/did you mean "decay"/);
    for (const decay of [-0.1, 1.1, Number.NaN, '0.9' as never]) {
      expect(() => new optim.EMA([p], { decay })).toThrow(ArgumentError);
    }
    expect(() => new optim.EMA([p], { decay: 1, biasCorrection: true })).toThrow(/decay < 1/);
    expect(() => new optim.EMA([p], { biasCorrection: 1 as never })).toThrow(ArgumentError);
    expect(() => new optim.EMA([])).toThrow(/no parameters/);
    expect(() => new optim.EMA(3 as never)).toThrow(ArgumentError);
    expect(() => new optim.EMA([p, p])).toThrow(/given twice/);
    expect(() => new optim.EMA([['a', p] as const, ['a', zeros([1])] as const])).toThrow(/two parameters/);
    expect(() => new optim.EMA([tensor(Int32Array.of(1))])).toThrow(DTypeError);
    const ema = new optim.EMA(p);
    expect(() => {
      ema.decay = 2;
    }).toThrow(ArgumentError);
    expect(() => ema.swapOut({ force: true } as never)).toThrow(/no option "force"/);
  });
});
