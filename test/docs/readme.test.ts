import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';
import { beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const at = (path: string): string => root + path;

/** The TypeScript blocks of the README: the twenty lines, then the analysis. */
const blocks = [...readFileSync(at('README.md'), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(
  (found) => found[1] as string,
);
const script = (): string => blocks[0] as string;

function typeCheck(code: string): string {
  writeFileSync(at('dist/readme/check.ts'), code);
  const paths = { simdgrad: ['../types/index.d.ts'], 'simdgrad/analysis': ['../types/analysis/index.d.ts'] };
  const config = {
    extends: '../../tsconfig.json',
    compilerOptions: { noEmit: true, paths },
    include: ['check.ts'],
  };
  writeFileSync(at('dist/readme/tsconfig.json'), JSON.stringify(config));
  const args = [at('node_modules/typescript/bin/tsc'), '-p', at('dist/readme/tsconfig.json')];
  return execFileSync(process.execPath, args, { encoding: 'utf8' });
}

function execute(code: string): string {
  writeFileSync(at('dist/readme/run.mjs'), transformSync(code, { loader: 'ts', format: 'esm' }).code);
  return execFileSync(process.execPath, [at('dist/readme/run.mjs')], { encoding: 'utf8', cwd: root });
}

beforeAll(() => {
  // The script imports the package by its name, so it needs what is published.
  const published = ['dist/index.js', 'dist/analysis.js', 'dist/types/analysis/index.d.ts'];
  if (!published.every((path) => existsSync(at(path))))
    execFileSync(process.execPath, [at('scripts/build.mjs'), '--ts']);
  mkdirSync(at('dist/readme'), { recursive: true });
});

test('the twenty lines are twenty lines and type-check', () => {
  const code = script();
  expect(code.split('\n').filter((line) => line.trim() !== '').length).toBeLessThanOrEqual(25);
  expect(typeCheck(code)).toBe('');
}, 120_000);

test('the twenty lines train on the real digits', () => {
  const js = process.env.SIMDGRAD_BACKEND === 'js';
  let code = script();
  if (js) {
    // One epoch on a part of the data: the JS backend takes its time.
    code = code
      .replace('epoch <= 3', 'epoch <= 1')
      .replace('new data.DataLoader(train,', 'new data.DataLoader(data.split(train, [12000, 48000])[0],');
    expect(code).toContain('split(train');
  }
  const out = execute(code);
  const accuracy = Number(/accuracy ([\d.]+)\s*$/.exec(out)?.[1]);
  expect(accuracy).toBeGreaterThan(js ? 0.85 : 0.96);
}, 180_000);

test('the example of simdgrad/analysis type-checks and says what it promises', () => {
  const code = blocks[1] as string;
  expect(code).toContain("from 'simdgrad/analysis'");
  expect(typeCheck(code)).toBe('');
  const out = execute(code);
  const [, w0, w1] = /minimum \[ (\S+), (\S+) \]/.exec(out) as RegExpExecArray;
  expect([Number(w0), Number(w1)]).toEqual([0, 1].map((v) => expect.closeTo(v, 12)));
  // (κ − 1)/(κ + 1) = √20/6 for the eigenvalues 6 ± √20.
  expect(out).toContain('rate 0.745356 0.745356');
  expect(out).toContain('kernel [ 4, 4 ]');
  expect(Number(/at the start: (\S+)/.exec(out)?.[1])).toBeLessThan(0.2);
}, 120_000);
