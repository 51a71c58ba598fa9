import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { backendInfo, setBackend } from 'simdgrad';
import { afterAll, expect, test } from 'vitest';
import { main, type Report } from '../../benchmarks/bench.js';
import { allCases, stepCost } from '../../benchmarks/cases.js';
import { compare, inProcess, spread } from '../../benchmarks/measure.js';

const before = backendInfo().backend;
const folder = mkdtempSync(join(tmpdir(), 'simdgrad-bench-'));
afterAll(() => {
  setBackend(before);
  rmSync(folder, { recursive: true });
});

test('spreads and ratios are those of the samples', async () => {
  expect(spread([3, 1, 2])).toEqual({ median: 2, min: 1, max: 3 });
  expect(spread([4, 1, 2, 3])).toEqual({ median: 2.5, min: 1, max: 4 });
  const busy = (ms: number) => () => {
    const end = performance.now() + ms;
    while (performance.now() < end);
  };
  const order: string[] = [];
  const contestant = (name: string, ms: number) => inProcess(name, () => void order.push(name), busy(ms));
  const { timings, ratios } = await compare([contestant('quick', 0.5), contestant('slow', 2)], {
    rounds: 4,
    ms: 4,
  });
  expect(timings.map((t) => t.name)).toEqual(['quick', 'slow']);
  expect(ratios[0]?.against).toBe('slow');
  expect(ratios[0]?.median).toBeGreaterThan(1);
  // Interleaved: in the measured rounds nobody is sampled twice in a row, but where the order turns round.
  expect(order.slice(-8)).toEqual(['quick', 'slow', 'slow', 'quick', 'quick', 'slow', 'slow', 'quick']);
});

test.each([
  ['six samples, with calls enough', 1e-5, 6],
  ['three thousand calls', 1e-4, 7.5],
  ['fifteen samples, if that takes longer', 1e-3, 15],
])('the warm-up lasts as long as %s', async (_, call, samples) => {
  let seconds = 0;
  const sample = (n: number) => {
    seconds += n * call;
    return n * call;
  };
  const { timings } = await compare([{ name: 'steady', sample }], { rounds: 3, ms: 40 });
  expect((timings[0]?.rate.median ?? 0) * call).toBeCloseTo(1);
  expect(seconds - 3 * 0.04).toBeGreaterThanOrEqual(samples * 0.04);
  expect(seconds - 3 * 0.04).toBeLessThan((samples + 2) * 0.04);
});

test('a contestant over the limit is sampled once', async () => {
  let calls = 0;
  const seconds = (s: number, count: () => void) => ({
    name: `${s}`,
    sample: (n: number) => {
      count();
      return n * s;
    },
  });
  const { timings, ratios } = await compare([seconds(1, () => {}), seconds(8, () => void calls++)], {
    rounds: 5,
    ms: 10,
    slow: 2,
  });
  expect(calls).toBe(2); // the warm-up and the sample
  expect(timings.map((t) => t.rates.length)).toEqual([5, 1]);
  expect(ratios[0]).toEqual({ against: '8', median: 8, min: 8, max: 8 });
});

test('the cost of a step is counted by hand for a small net', () => {
  // Forward 2·b·(3·4 + 4·2), weight gradients the same, input gradient of the second layer only.
  expect(stepCost([3, 4, 2], 5)).toEqual({ flops: 2 * 5 * (20 + 20 + 8), parameters: 3 * 4 + 4 + 4 * 2 + 2 });
});

test('a run writes a table and JSON of what it measured', async () => {
  const file = join(folder, 'out.json');
  let text = '';
  const code = await main(['--filter', '64x64x64', '--rounds', '2', '--quick', '--json', file], (t) => {
    text += t;
  });
  expect(code).toBe(0);
  expect(text).toContain('64x64x64 NN');
  const report = JSON.parse(readFileSync(file, 'utf8')) as Report;
  expect(report.schema).toBe('simdgrad-bench-1');
  expect(report.rows).toHaveLength(1);
  const [row] = report.rows;
  expect(row?.js?.median).toBeGreaterThan(0);
  if (row?.native) expect(row.ratio?.median).toBeGreaterThan(0);
});

test('a wrong option is named, with the one that was meant', async () => {
  await expect(main(['--fliter', 'x'], () => {})).rejects.toThrow(/filter/);
  await expect(main(['--rounds', 'x'], () => {})).rejects.toThrow(/whole number/);
  await expect(main(['--filter', 'no such case'], () => {})).rejects.toThrow(/--list/);
});

test('every case can be made and run', () => {
  for (const c of allCases()) {
    if (c.heavy) continue;
    const run = c.make();
    expect(() => run(), c.name).not.toThrow();
  }
}, 120_000);
