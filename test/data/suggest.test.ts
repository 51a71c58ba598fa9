import { describe, expect, it } from 'vitest';
import { suggest } from '../../src/suggest.js';

const names = ['epochs', 'batch-size', 'lr', 'hidden', 'seed', 'weightDecay'];

describe('suggest', () => {
  it.each([
    ['epoch', 'epochs'],
    ['epohcs', 'epochs'],
    ['Epochs', 'epochs'],
    ['batch_size', 'batch-size'],
    ['batchSzie', 'batch-size'],
    ['l', 'lr'],
    ['weight_decay', 'weightDecay'],
    ['weight', 'weightDecay'],
    ['hid', 'hidden'],
  ])('%s: did you mean %s?', (word, name) => {
    expect(suggest(word, names)).toBe(name);
  });

  it('keeps quiet where nothing is near', () => {
    for (const word of ['', 'x', 'momentum', 'quux', '-', 'z'.repeat(1000), '__proto__']) {
      expect(suggest(word, names), word).toBeUndefined();
    }
    expect(suggest('lr', [])).toBeUndefined();
  });
});
