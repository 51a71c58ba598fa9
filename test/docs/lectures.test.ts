import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const page = fileURLToPath(new URL('../../docs/lectures.md', import.meta.url));

// A row of a table with a lecture (or a dash) in its first cell and `[title of a test](path of the test file)`, once or
// more, in its last.
const rows = readFileSync(page, 'utf8')
  .split('\n')
  .filter((line) => /^\| *(00[0-4][,; –-]*|[—–])+ *\|/.test(line))
  .map((line) => line.slice(1, -1).split(/(?<!\\)\|/))
  .filter((cells) => cells.length === 4);

test('every row of docs/lectures.md names tests that exist', () => {
  expect(rows.length).toBeGreaterThan(100);
  const wrong: string[] = [];
  for (const cells of rows) {
    const links = [...(cells[3] as string).matchAll(/\[([^\]]+)\]\(([^)]+)\)/g)];
    if (links.length === 0) wrong.push(`no test: ${cells.join('|')}`);
    for (const [, title, target] of links as unknown as [string, string, string][]) {
      const file = join(dirname(page), target);
      if (!existsSync(file)) wrong.push(`no file ${target}`);
      else if (!readFileSync(file, 'utf8').includes(title)) wrong.push(`${target} has no test "${title}"`);
    }
  }
  expect(wrong).toEqual([]);
});
