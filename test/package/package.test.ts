import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const at = (path: string): URL => new URL(`../../${path}`, import.meta.url);
const read = (path: string): string => readFileSync(at(path), 'utf8');

describe('the package', () => {
  it('has no script that npm runs where it is installed', () => {
    const { scripts, gypfile } = JSON.parse(read('package.json'));
    expect(Object.keys(scripts).filter((name) => /^(pre|post)?install$/.test(name))).toEqual([]);
    expect(gypfile).toBe(false); // else a root binding.gyp makes npm run node-gyp
  });

  it('has a lock file that names no registry', () => {
    const { packages } = JSON.parse(read('package-lock.json'));
    for (const [name, entry] of Object.entries<Record<string, unknown>>(packages)) {
      expect(entry, name).not.toHaveProperty('resolved');
      expect(entry, name).toHaveProperty('version');
    }
  });

  it('lists every C++ source once, for both builds', () => {
    const listed = read('native/sources.txt').split('\n').filter(Boolean);
    const present = readdirSync(at('native/src')).filter((name) => name.endsWith('.cc'));
    expect([...listed].sort()).toEqual(present.map((name) => `native/src/${name}`).sort());
  });

  it('keeps the names of classes in the bundle, which messages show', async () => {
    const { data, nn, Tensor } = await import(at('dist/index.js').href);
    expect([Tensor.name, nn.Module.name, data.Subset.name]).toEqual(['Tensor', 'Module', 'Subset']);
  });
});
