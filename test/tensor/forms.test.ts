// Forms in which arguments may be given, beside those of the other tests.
import { describe, expect, it } from 'vitest';
import { ones, scope, tensor, where, zeros } from '../../src/index.js';

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
