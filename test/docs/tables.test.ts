import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { withTables } from '../../scripts/performance-tables.mjs';

test('the tables of docs/performance.md are those of the results beside it', () => {
  const text = readFileSync(fileURLToPath(new URL('../../docs/performance.md', import.meta.url)), 'utf8');
  expect(text.match(/<!-- tables: /g)).toHaveLength(3);
  expect(withTables(text)).toBe(text);
});
