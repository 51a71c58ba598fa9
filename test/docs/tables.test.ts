import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { operationShape } from '../../benchmarks/peers/rows.js';
import { withTables } from '../../scripts/performance-tables.mjs';

test('the tables of docs/performance.md are those of the results beside it', () => {
  const text = readFileSync(fileURLToPath(new URL('../../docs/performance.md', import.meta.url)), 'utf8');
  expect(text.match(/<!-- tables: /g)).toHaveLength(4);
  expect(withTables(text)).toBe(text);
});

test('operations are a row each, thread counts side by side, where the results have them', () => {
  const text = '<!-- tables: operations -->\n<!-- end of tables -->';
  const withRows = (rows: object[]) => withTables(text, () => ({ rows }));
  const spread = (median: number) => ({ median, min: median / 2, max: median * 2 });
  const row = (group: string, name: string, threads: number, ours: number) => ({
    group,
    name,
    threads,
    ours: spread(ours),
    results: [1e5, 2e5].map((rate) => ({
      family: 'PyTorch',
      rate: spread(rate),
      ratio: spread(ours / rate),
    })),
  });
  const made = withRows([
    row('training step', 'net A', 1, 5),
    row('operation', 'exp', 1, 4e5),
    row('operation', 'sum', 1, 1e5),
    row('operation', 'exp', 2, 1e5),
    row('operation with backward', 'exp', 1, 2e4),
  ]);
  expect(made).toContain('| exp | 2.50 | 5.00 | 2.00x (1.00–4.00) | 10.00 | 5.00 | 0.50x (0.25–1.00) |');
  expect(made).toContain('| sum | 10.00 | 5.00 | 0.50x (0.25–1.00) |  |  |  |');
  expect(made).toContain('| exp | 50.00 | 5.00 | 0.10x (0.05–0.20) |');
  expect(made).toContain(`float32, ${operationShape.join('x')}, forward`);
  expect(made).not.toContain('net A');
  expect(withRows([row('training step', 'net A', 1, 5)])).toMatch(/have no single operations/);
});
