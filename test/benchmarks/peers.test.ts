import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { UsageError } from '../../benchmarks/cli.js';
import { operationCall, operations } from '../../benchmarks/operations.js';
import { allRows, ownRows } from '../../benchmarks/peers/rows.js';
import { main, sameAnswer } from '../../benchmarks/peers.js';

async function listed(...args: string[]): Promise<string[]> {
  let text = '';
  expect(
    await main(['--list', ...args], (t) => {
      text += t;
    }),
  ).toBe(0);
  return text.trim().split('\n');
}

test('the tables have their rows, each once', async () => {
  const names = await listed();
  expect(names.length).toBe(16 * 2 + 8 + 4 + 16 * 3 + 46 + 16);
  expect(new Set(names).size).toBe(names.length);
  expect(await listed('--filter', '1x1024x1024')).toEqual(
    ['NN', 'NT', 'TN'].map((form) => `matrix product, 1x1024x1024 ${form}`),
  );
  expect(await listed('--filter', 'layerNorm')).toEqual([
    'operation, layerNorm',
    'operation with backward, layerNorm',
  ]);
});

test('the operations are those of the PyTorch peer, by name', () => {
  const file = fileURLToPath(new URL('../../benchmarks/peers/torch_peer.py', import.meta.url));
  const theirs = [...readFileSync(file, 'utf8').matchAll(/^ {8}"(.*)": lambda: /gm)].map((m) => m[1]);
  expect(theirs).toEqual(Object.keys(operations));
  // Words of the protocol, which spaces separate.
  for (const name of theirs) expect(name).toMatch(/^\S+$/);
});

test.each(Object.keys(operations))('operation %s can be called', (name) => {
  for (const backward of operations[name]?.backward ? [false, true] : [false]) {
    const { run, answer } = operationCall(name, backward, 8, 16);
    run();
    run();
    expect(answer).toMatch(backward ? /^\S+ [\d.e-]+ [\d.e-]+$/ : /^\S+ [\d.e-]+$/);
  }
});

test('an operation that is not there, or computes something else, is noticed', () => {
  expect(() => operationCall('toString', false, 8, 16)).toThrow('there is no operation toString');
  expect(sameAnswer('exp', ['8x16', '3.1', '0.5'], ['8x16', '3.1001', '0.5'])).toBe(true);
  expect(sameAnswer('exp', ['16x8', '3.1'], ['8x16', '3.1'])).toBe(false);
  expect(sameAnswer('exp', ['8x16', '3.1'], ['8x16', '3.2'])).toBe(false);
  expect(sameAnswer('exp', ['8x16', '3.1', '0.5'], ['8x16', '3.1', '0.6'])).toBe(false);
  expect(sameAnswer('exp', ['8x16'], ['8x16', '3.1'])).toBe(false);
  expect(sameAnswer('exp', ['8x16', 'NaN'], ['8x16', '3.1'])).toBe(false);
  expect(sameAnswer('randn', ['8x16', '3.1'], ['8x16', '3.2'])).toBe(true);
});

test("nets and products of one's own come instead of the tables", async () => {
  expect(await listed('--nets', '4-3-2@5', '--products', '7x8x9, 1x2x3')).toEqual([
    'training step, net 4-3-2, batch 5',
    'eager step, net 4-3-2, batch 5',
    'forward, net 4-3-2, batch 5',
    ...['7x8x9', '1x2x3'].flatMap((shape) =>
      ['NN', 'NT', 'TN'].map((form) => `matrix product, ${shape} ${form}`),
    ),
  ]);
  const [step, , forward, product] = ownRows([{ sizes: [4, 3, 2], batch: 5 }], [[7, 8, 9]]);
  expect(step).toMatchObject({
    what: 'step 4,3,2 5',
    flops: 2 * 5 * (18 + 18 + 6),
    loop: 'optimizer adam 23',
  });
  expect(forward).toMatchObject({ what: 'forward 4,3,2 5', flops: 2 * 5 * 18, loop: 'read 23' });
  expect(product).toMatchObject({ what: 'product 7 8 9 NN', flops: 2 * 7 * 8 * 9, loop: null });
  // The same case is spelt in the same way in the tables.
  const tabled = allRows().find((row) => row.name === '1x1024x1024 NN');
  expect(ownRows([], [[1, 1024, 1024]])[0]).toEqual(tabled);
});

test.each([
  ['--nets', '784@64'],
  ['--nets', '784-10'],
  ['--nets', '784-0-10@64'],
  ['--nets', '784-10@99999'],
  ['--nets', ''],
  ['--products', '3x4'],
  ['--products', '3x4x5,'],
  ['--products', '3x4x-5'],
])('%s %s is a usage error', async (option, value) => {
  await expect(main(['--list', `${option}=${value}`])).rejects.toThrow(UsageError);
  await expect(main(['--list', `${option}=${value}`])).rejects.toThrow(/takes items like/);
});
