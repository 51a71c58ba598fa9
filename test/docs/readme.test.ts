import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { transformSync } from 'esbuild';
import { beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const at = (path: string): string => root + path;

/** The first TypeScript block of the README: the twenty lines. */
function script(): string {
  const found = /```ts\n([\s\S]*?)```/.exec(readFileSync(at('README.md'), 'utf8'));
  return (found as RegExpExecArray)[1] as string;
}

beforeAll(() => {
  // The script imports the package by its name, so it needs what is published.
  const published = ['dist/index.js', 'dist/types/index.d.ts'];
  if (!published.every((path) => existsSync(at(path))))
    execFileSync(process.execPath, [at('scripts/build.mjs'), '--ts']);
  mkdirSync(at('dist/readme'), { recursive: true });
});

test('the twenty lines are twenty lines and type-check', () => {
  const code = script();
  expect(code.split('\n').filter((line) => line.trim() !== '').length).toBeLessThanOrEqual(25);
  writeFileSync(at('dist/readme/check.ts'), code);
  const config = {
    extends: '../../tsconfig.json',
    compilerOptions: { noEmit: true, paths: { simdgrad: ['../types/index.d.ts'] } },
    include: ['check.ts'],
  };
  writeFileSync(at('dist/readme/tsconfig.json'), JSON.stringify(config));
  const run = () =>
    execFileSync(
      process.execPath,
      [at('node_modules/typescript/bin/tsc'), '-p', at('dist/readme/tsconfig.json')],
      {
        encoding: 'utf8',
      },
    );
  expect(run()).toBe('');
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
  writeFileSync(at('dist/readme/run.mjs'), transformSync(code, { loader: 'ts', format: 'esm' }).code);
  const out = execFileSync(process.execPath, [at('dist/readme/run.mjs')], { encoding: 'utf8', cwd: root });
  const accuracy = Number(/accuracy ([\d.]+)\s*$/.exec(out)?.[1]);
  expect(accuracy).toBeGreaterThan(js ? 0.85 : 0.96);
}, 180_000);
