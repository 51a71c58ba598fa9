import {
  ArgumentError,
  DTypeError,
  F,
  gradcheck,
  IndexError,
  nn,
  ones,
  randn,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from 'simdgrad';
import { describe, expect, it } from 'vitest';

const f64 = { dtype: 'float64' } as const;

describe('cross-entropy', () => {
  it('neither overflows nor loses digits for logits of 1e5', () => {
    const z = tensor(
      [
        [1e5, 0, -1e5],
        [0, 1e5, 1e5],
      ],
      { requiresGrad: true },
    );
    const loss = F.crossEntropy(z, [0, 2], { reduction: 'none' });
    expect(loss.abs().toArray()).toEqual([0, Math.fround(Math.LN2)]);
    loss.sum().backward();
    expect(z.grad?.toArray()).toEqual([
      [0, 0, 0],
      [0, 0.5, -0.5],
    ]);
  });

  it('takes labels as arrays, tensors and one number, and probabilities', () => {
    const z = tensor(
      [
        [0.3, -1, 2],
        [1, 0, 0.5],
      ],
      f64,
    );
    const expected = F.crossEntropy(z, tensor([2, 0], { dtype: 'int32' })).item();
    expect(F.crossEntropy(z, [2, 0]).item()).toBe(expected);
    expect(F.crossEntropy(z, Int32Array.of(2, 0)).item()).toBe(expected);
    expect(F.crossEntropy(z, F.oneHot([2, 0], 3)).item()).toBeCloseTo(expected, 14);
    expect(F.crossEntropy(z.select(0, 0), 2).item()).toBeCloseTo(
      Math.log(Math.exp(0.3 - 2) + Math.exp(-3) + 1),
      14,
    );
  });

  it('leaves out ignored labels, also where their loss is infinite', () => {
    const z = tensor(
      [
        [0, 1],
        [Infinity, 0],
      ],
      { requiresGrad: true },
    );
    const loss = F.crossEntropy(z, [1, -100]);
    expect(loss.item()).toBeCloseTo(Math.log(1 + Math.exp(-1)), 6);
    expect(
      F.crossEntropy(
        tensor([
          [0, 1],
          [5, 0],
        ]),
        [1, 0],
        { ignoreIndex: 0 },
      ).item(),
    ).toBeCloseTo(loss.item(), 6);
    expect(F.crossEntropy(zeros(2, 2), [-100, -100]).item()).toBeNaN();
    expect(F.crossEntropy(zeros(2, 2), [-100, -100], { reduction: 'sum' }).item()).toBe(0);
  });

  it('gives ignored rows no gradient, and checks the other labels', () => {
    const labels = [2, -1, 0, -1];
    for (const options of [{}, { weight: [1, 2, 3] }, { labelSmoothing: 0.1 }] as const) {
      const z = randn(4, 3, f64);
      z.requiresGrad = true;
      F.crossEntropy(z, labels, { ...options, ignoreIndex: -1 }).backward();
      const rows = z.detach().indexSelect(0, [0, 2]);
      rows.requiresGrad = true;
      F.crossEntropy(rows, [2, 0], options).backward();
      const grad = z.grad as Tensor;
      expect(grad.indexSelect(0, [1, 3]).toArray()).toEqual(zeros(2, 3).toArray());
      expect(grad.indexSelect(0, [0, 2]).toArray()).toEqual(rows.grad?.toArray());
    }
    expect(() => F.crossEntropy(zeros(2, 3), [-100, 3])).toThrow(/index 3 at position 1 is outside \[0, 3\)/);
    expect(() => F.crossEntropy(zeros(2, 3), [-100, 1], { ignoreIndex: -1 })).toThrow(IndexError);
    // No label can be this one, nor an int32 that it would wrap to.
    expect(() => F.crossEntropy(zeros(1, 3), [-1], { ignoreIndex: 2 ** 32 - 1 })).toThrow(IndexError);
  });

  it('has first and second derivatives', () => {
    const z = randn(3, 4, f64);
    const labels = tensor([1, 0, 3], { dtype: 'int32' });
    const p = randn(3, 4, f64).softmax();
    const weight = tensor([0.5, 2, 1, 1.5], f64);
    expect(gradcheck((x) => F.crossEntropy(x, labels, { labelSmoothing: 0.1, weight }), z)).toBe(true);
    expect(gradcheck((x, q) => F.crossEntropy(x, q as never), [z, p])).toBe(true);
  });

  it('says what is wrong with labels, shapes, dtypes and options', () => {
    const z = zeros(2, 3);
    expect(() => F.crossEntropy(z, [0, 3])).toThrow(IndexError);
    expect(() => F.crossEntropy(z, [0, -1])).toThrow(IndexError);
    expect(() => F.crossEntropy(z, [0, 1, 2])).toThrow(
      /crossEntropy: labels of shape \[3\].*\[2, 3\].*\[2\]/,
    );
    expect(() => F.crossEntropy(z, tensor([0, 1]))).toThrow(DTypeError);
    expect(() => F.crossEntropy(z, tensor([0, 1]))).toThrow(/\.to\('int32'\)/);
    expect(() => F.crossEntropy(z.to('int32'), [0, 1])).toThrow(DTypeError);
    expect(() => F.crossEntropy(z, [0, 1], { weight: ones(2) })).toThrow(ShapeError);
    expect(() => F.crossEntropy(z, [0, 1], { labelSmothing: 0.1 } as never)).toThrow(
      /did you mean "labelSmoothing"/,
    );
    expect(() => F.crossEntropy(z, [0, 1], { reduction: 'men' as never })).toThrow(/did you mean "mean"/);
    expect(() => F.crossEntropy(z, [0, 1], { labelSmoothing: 2 })).toThrow(ArgumentError);
    expect(() => F.crossEntropy(z, [0.5, 1])).toThrow(ArgumentError);
    expect(() => F.crossEntropy(zeros([]), 0)).toThrow(ShapeError);
    expect(() => new nn.CrossEntropyLoss({ reducton: 'sum' } as never)).toThrow(
      /CrossEntropyLoss.*did you mean "reduction"/,
    );
  });
});

describe('other losses', () => {
  const x = tensor([0.2, 0.7, 0.4], f64);
  const t = tensor([0.1, 1, 0], f64);

  it('have first and second derivatives', () => {
    const both = [x, t];
    expect(gradcheck((a, b) => F.mseLoss(a as never, b as never), both)).toBe(true);
    expect(gradcheck((a, b) => F.huberLoss(a as never, b as never, { delta: 0.2 }), both)).toBe(true);
    expect(gradcheck((a, b) => F.smoothL1Loss(a as never, b as never, { beta: 0.2 }), both)).toBe(true);
    expect(gradcheck((a) => F.bce(a, t), x)).toBe(true);
    expect(
      gradcheck((a, b) => F.bceWithLogits(a as never, b as never, { posWeight: tensor([3], f64) }), both),
    ).toBe(true);
    expect(gradcheck((a) => F.klDiv(a, t), x)).toBe(true);
    expect(gradcheck((a, b) => F.klDiv(a as never, b as never, { logTarget: true }), both)).toBe(true);
  });

  it('bceWithLogits is stable for logits of 1e5', () => {
    const z = tensor([1e5, -1e5, 1e5, -1e5], { requiresGrad: true });
    const loss = F.bceWithLogits(z, tensor([1, 0, 0, 1]), { reduction: 'none' });
    expect(loss.toArray()).toEqual([0, 0, 1e5, 1e5]);
    loss.sum().backward();
    expect(Array.from(z.grad?.data ?? [], (v) => v + 0)).toEqual([0, 0, 1, -1]);
  });

  it('klDiv by hand', () => {
    const p = tensor(
      [
        [0.5, 0.5, 0],
        [0.25, 0.25, 0.5],
      ],
      f64,
    );
    const q = tensor(
      [
        [0.25, 0.5, 0.25],
        [0.25, 0.25, 0.5],
      ],
      f64,
    );
    const sum = 0.5 * Math.log(2);
    expect(F.klDiv(q.log(), p, { reduction: 'sum' }).item()).toBeCloseTo(sum, 14);
    expect(F.klDiv(q.log(), p, { reduction: 'batchMean' }).item()).toBeCloseTo(sum / 2, 14);
    expect(new nn.KLDivLoss().forward(q.log(), p).item()).toBeCloseTo(sum / 6, 14);
  });

  it('refuse shapes that would broadcast, and unknown options', () => {
    expect(() => F.mseLoss(zeros(4, 1), zeros(4))).toThrow(
      /mseLoss: the input has shape \[4, 1\], the target \[4\]/,
    );
    expect(() => F.bce(zeros(2), zeros(3))).toThrow(ShapeError);
    expect(() => F.huberLoss(x, t, { delta: 0 })).toThrow(ArgumentError);
    expect(() => F.l1Loss(x, 3 as never)).toThrow(ArgumentError);
    expect(() => F.mseLoss(x, t, { redution: 'sum' } as never)).toThrow(/did you mean "reduction"/);
  });

  it('oneHot counts classes where none are given', () => {
    expect(F.oneHot([1, 0, 2]).toArray()).toEqual([
      [0, 1, 0],
      [1, 0, 0],
      [0, 0, 1],
    ]);
    expect(() => F.oneHot([3], 3)).toThrow(IndexError);
  });
});
