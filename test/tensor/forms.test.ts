// Forms in which arguments may be given, beside those of the other tests.
import { describe, expect, it } from 'vitest';
import {
  ArgumentError,
  concat,
  isTensor,
  ones,
  ShapeError,
  SimdgradError,
  scope,
  stack,
  tensor,
  where,
  zeros,
} from '../../src/index.js';

describe('axes and shapes as separate numbers', () => {
  it('transpose takes two axes, all of them, or an array', () => {
    const t = zeros([2, 3, 4]);
    expect(t.transpose(2, 0, 1).shape).toEqual([4, 2, 3]);
    expect(t.transpose([2, 0, 1]).shape).toEqual([4, 2, 3]);
    expect(t.transpose(0, 2).shape).toEqual([4, 3, 2]);
    expect(t.transpose().shape).toEqual([2, 4, 3]);
    expect(() => t.transpose(0, 0, 1)).toThrow(/twice/);
  });
  it('broadcastTo', () => {
    expect(tensor([1, 2]).broadcastTo(3, 2).shape).toEqual([3, 2]);
    expect(tensor([1, 2]).broadcastTo([3, 2]).shape).toEqual([3, 2]);
  });
});

describe('truth values as operands', () => {
  it('compare with bool tensors and with numbers', () => {
    expect(tensor([true, false]).eq(true).toArray()).toEqual([true, false]);
    expect(tensor([1, 0, 2]).eq(true).toArray()).toEqual([true, false, false]);
    expect(tensor([1, 2]).mul(false).toArray()).toEqual([0, 0]);
  });
  it('are branches of where', () => {
    const c = tensor([true, false]);
    expect(where(c, true, false).dtype).toBe('bool');
    expect(where(c, 5, false).toArray()).toEqual([5, 0]);
  });
});

describe('JSON.stringify', () => {
  it('writes the values', () => {
    expect(JSON.stringify({ t: tensor([[1, 2]]), b: tensor(true) })).toBe('{"t":[[1,2]],"b":true}');
  });
});

describe('scope', () => {
  it('keeps what maps and sets hold that are returned, and gradients that were set', () => {
    const p = tensor([1, 2], { requiresGrad: true });
    const [map, set] = scope(() => {
      p.grad = ones([2]);
      return [new Map([['a', ones([2])]]), new Set([ones([2])])] as const;
    });
    expect(map.get('a')?.toArray()).toEqual([1, 1]);
    expect([...set][0]?.toArray()).toEqual([1, 1]);
    expect(p.grad?.toArray()).toEqual([1, 1]);
  });
});

describe('options in first place', () => {
  const x = () =>
    tensor([
      [1, 2, 3],
      [4, 5, 9],
    ]);
  it('reductions', () => {
    expect(x().sum({ keepdims: true }).toArray()).toEqual([[24]]);
    expect(x().sum({ axis: 1 }).toArray()).toEqual([6, 18]);
    expect(x().mean({ axis: [0], keepdims: true }).shape).toEqual([1, 3]);
    expect(x().max({ axis: 0 }).toArray()).toEqual([4, 5, 9]);
    expect(x().argmax({ axis: 1, keepdims: true }).toArray()).toEqual([[2], [2]]);
    expect(x().logSumExp({ axis: 1 }).shape).toEqual([2]);
    expect(x().any({ axis: 0 }).toArray()).toEqual([true, true, true]);
    expect(x().norm({ p: 1 }).item()).toBe(24);
    expect(x().var({ correction: 0 }).item()).toBeCloseTo(20 / 3, 5);
    expect(() => x().sum({ keepdims: true }, {})).toThrow(ArgumentError);
    expect(() => x().sum({ keepDims: true } as object)).toThrow(/keepdims/);
    expect(() => x().sum({ correction: 0 } as object)).toThrow(/correction/);
    expect(() => x().sum(x() as unknown as number)).toThrow(ArgumentError);
  });
  it('var and std take unbiased', () => {
    expect(x().var({ unbiased: false }).item()).toBe(x().var(null, { correction: 0 }).item());
    expect(x().std(1, { unbiased: true }).toArray()).toEqual(x().std(1).toArray());
    expect(() => x().var({ unbiased: false, correction: 0 })).toThrow(/one of them/);
    expect(() => x().std({ unbiased: 0 as unknown as boolean })).toThrow(ArgumentError);
  });
  it('axes of softmax, concat and stack; bounds of clamp', () => {
    expect(x().softmax({ axis: 0 }).toArray()).toEqual(x().softmax(0).toArray());
    expect(x().logSoftmax({ axis: 0 }).toArray()).toEqual(x().logSoftmax(0).toArray());
    expect(concat([x(), x()], { axis: 1 }).shape).toEqual([2, 6]);
    expect(stack([x(), x()], { axis: -1 }).shape).toEqual([2, 3, 2]);
    expect(x().clamp({ max: 3 }).toArray()).toEqual([
      [1, 2, 3],
      [3, 3, 3],
    ]);
    expect(x().clamp({ min: 2, max: 5 }).toArray()).toEqual(x().clamp(2, 5).toArray());
    expect(() => x().softmax({ dim: 0 } as object)).toThrow(/dim/);
    expect(() => x().clamp({ low: 0 } as object)).toThrow(/low/);
    expect(() => x().clamp({})).toThrow(/min, max/);
    expect(() => x().clamp({ min: 0 }, 1)).toThrow(ArgumentError);
  });
  it('backward', () => {
    const w = tensor([2], { requiresGrad: true });
    const loss = w.square().sum();
    loss.backward({ retainGraph: true });
    loss.backward();
    expect(w.grad?.toArray()).toEqual([8]);
    expect(() =>
      w
        .square()
        .sum()
        .backward({ retain: true } as object),
    ).toThrow(/retain/);
  });
  it('a size of -1 in tensor', () => {
    expect(tensor([1, 2, 3, 4], { shape: [2, -1] }).shape).toEqual([2, 2]);
    expect(() => tensor([1, 2, 3], { shape: [2, -1] })).toThrow(ShapeError);
    expect(() => tensor([1, 2, 3, 4], { shape: [-1, -1] })).toThrow(ShapeError);
    expect(() => tensor([], { shape: [0, -1] })).toThrow(ShapeError);
  });
});

describe('a Proxy around a tensor', () => {
  it('is refused by an error of the library', () => {
    const t = tensor([1, 2]);
    const proxy = new Proxy(t, {});
    expect(isTensor(proxy)).toBe(false);
    expect(isTensor(Object.create(t))).toBe(false);
    for (const f of [
      () => t.add(proxy),
      () => proxy.add(1),
      () => proxy.item(),
      () => proxy.toArray(),
      () => proxy.fill_(1),
      () => proxy.add_(1),
      () => proxy.copy_(t),
      () => proxy.requiresGrad,
      () => {
        proxy.requiresGrad = true;
      },
      () => proxy.sum().backward(),
      () => t.where(proxy, 1),
    ]) {
      expect(f).toThrow(SimdgradError);
    }
    const { proxy: revoked, revoke } = Proxy.revocable(t, {});
    revoke();
    expect(isTensor(revoked)).toBe(false);
  });
});
