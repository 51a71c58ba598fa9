import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, posix, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const src = fileURLToPath(new URL('../../src', import.meta.url));

// The house, from the ground up: a file may import from its own floor and from those below (types from anywhere).
const floors = [
  ['node', 'errors', 'dtype', 'suggest', 'options', 'linalg'],
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

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'));

it('imports run downward only', () => {
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

it('the analysis stands on the public API, so that there is one copy of every class', () => {
  // It is a bundle of its own. Of the sources it may take functions without state, which are bundled twice.
  const stateless = ['../linalg.js', '../options.js'];
  for (const file of files.filter((name) => name.startsWith('analysis'))) {
    const text = readFileSync(join(src, file), 'utf8');
    for (const [, target] of text.matchAll(/\sfrom\s'([^']+)'/g)) {
      const allowed = target === 'simdgrad' || target!.startsWith('./') || stateless.includes(target!);
      expect(allowed, `src/${file} imports ${target}`).toBe(true);
    }
  }
});
