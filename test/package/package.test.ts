import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
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
    const listed = read('native/sources.txt')
      .split('\n')
      .filter((line) => /^[^#]/.test(line));
    const present = readdirSync(at('native/src')).filter((name) => name.endsWith('.cc'));
    expect([...listed].sort()).toEqual(present.map((name) => `native/src/${name}`).sort());
  });

  it('keeps the names of classes in the bundle, which messages show', async () => {
    const { data, nn, Tensor } = await import(at('dist/index.js').href);
    expect([Tensor.name, nn.Module.name, data.Subset.name]).toEqual(['Tensor', 'Module', 'Subset']);
  });

  it('has one copy of its classes, for the subpath and for require() too', () => {
    // In a Node of its own: here the package's name means the sources.
    const program = `
      import { createRequire } from 'node:module';
      import * as simdgrad from 'simdgrad';
      import * as analysis from 'simdgrad/analysis';
      const require = createRequire(process.cwd() + '/package.json');
      const caught = (run) => { try { run(); } catch (error) { return error; } };
      const kinds = [
        [simdgrad.LinAlgError, () => analysis.newtonStep((w) => w.sum(), [1])],
        [simdgrad.ArgumentError, () => analysis.newtonStep((w) => w.sum(), [1], { stepsize: 1 })],
        [simdgrad.ShapeError, () => analysis.eigh([[1, 2]])],
      ];
      const list = kinds.map(([kind, run]) => caught(run) instanceof kind);
      const point = analysis.newtonStep((w) => w.square().sum(), [1]).point;
      list.push(point instanceof simdgrad.Tensor, analysis.hessian === simdgrad.hessian);
      list.push(require('simdgrad').Tensor === simdgrad.Tensor);
      list.push(require('simdgrad/analysis').Quadratic === analysis.Quadratic, analysis.Quadratic.name === 'Quadratic');
      console.log(JSON.stringify(list));`;
    const args = ['--no-warnings', '--input-type=module', '-e', program];
    const out = execFileSync(process.execPath, args, { encoding: 'utf8', cwd: fileURLToPath(at('')) });
    expect(JSON.parse(out)).toEqual(Array.from({ length: 8 }, () => true));
    expect(read('dist/analysis.js')).not.toContain('extends Error');
  });

  it('loads no module of Node that only few programs need', () => {
    for (const file of ['dist/index.js', 'dist/analysis.js']) {
      expect(read(file), file).not.toMatch(/(?:from|import)\s*"node:/);
    }
    const program = `
      await import(${JSON.stringify(at('dist/index.js').href)});
      console.log(JSON.stringify(process.moduleLoadList));`;
    const args = ['--no-warnings', '--input-type=module', '-e', program];
    const loaded: string[] = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }));
    for (const name of ['crypto', 'zlib', 'internal/fs/streams']) {
      expect(loaded).not.toContain(`NativeModule ${name}`);
    }
  });

  it('shows in an anomaly the line of the caller, not of the library', async () => {
    const { AnomalyError, detectAnomaly, tensor } = await import(at('dist/index.js').href);
    const x = tensor([0, 1], { requiresGrad: true });
    try {
      detectAnomaly(() => x.sqrt().mul(0).sum().backward());
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(AnomalyError);
      expect((error as { details: { forwardStack: string } }).details.forwardStack.split('\n')[0]).toContain(
        'package.test.ts',
      );
    }
  });
});
