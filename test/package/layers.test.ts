import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const src = fileURLToPath(new URL('../../src', import.meta.url));

// The house, from the ground up: a file may import from its own floor and from those below (types from anywhere).
const floors = [
  ['errors', 'dtype', 'suggest', 'options', 'linalg'],
  ['backend'],
  ['program'],
  ['ops'],
  ['tensor', 'autograd'],
  ['nn', 'optim', 'init', 'losses', 'data', 'io'],
  ['index'],
  ['analysis'],
];
const floorOf = (file: string): number => {
  const name = file.split('/')[0]!.replace(/\.ts$/, '');
  const floor = floors.findIndex((names) => names.includes(name));
  expect(floor, `src/${file} belongs to no layer`).toBeGreaterThanOrEqual(0);
  return floor;
};

it('imports run downward only', () => {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  const upward: string[] = [];
  for (const path of files) {
    const file = relative(src, join(src, path)).split(sep).join('/');
    const text = readFileSync(join(src, path), 'utf8');
    for (const [, clause, target] of text.matchAll(/^(?:import|export)\s([^;]*?)\sfrom\s'(\.[^']+)'/gm)) {
      if (clause!.startsWith('type ')) continue;
      const to = posix.normalize(posix.join(dirname(file), target!)).replace(/\.js$/, '.ts');
      if (floorOf(to) > floorOf(file)) upward.push(`src/${file} imports src/${to}`);
    }
  }
  expect(upward).toEqual([]);
});
