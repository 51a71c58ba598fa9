import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const addon = ['cmake/Release', 'Release']
  .map((name) => join(root, 'build', name, 'simdgrad.node'))
  .find(existsSync);
const platform = `${process.platform}-${process.arch}`;
const program = `import { backendInfo, ones } from 'simdgrad';
const { backend, reason } = backendInfo();
console.log(JSON.stringify({ backend, reason, sum: ones([2, 3]).sum().item() }));`;

// The package as npm would lay it out, with a prebuilt addon that each test damages in its own way.
describe('the loader in an installed package', () => {
  let folder = '';
  let installed = '';
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'simdgrad-loader-'));
    installed = join(folder, 'node_modules', 'simdgrad');
    const outfile = join(installed, 'dist', 'index.js');
    await build({
      entryPoints: [join(root, 'src', 'index.ts')],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      packages: 'external',
      logLevel: 'silent',
    });
    cpSync(join(root, 'package.json'), join(installed, 'package.json'));
    writeFileSync(join(folder, 'program.mjs'), program);
    writeFileSync(
      join(folder, 'program.cjs'),
      `${program.replace(/^import (.*) from (.*);/, 'const $1 = require($2);')}`,
    );
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function prebuild(damage: (bytes: Buffer) => Buffer): void {
    const bytes = readFileSync(addon!);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const path = join(installed, 'prebuilds', platform, 'simdgrad.node');
    mkdirSync(dirname(path), { recursive: true });
    rmSync(path, { force: true });
    writeFileSync(path, damage(bytes));
    const manifest = { [platform]: { file: `${platform}/simdgrad.node`, size: bytes.length, sha256 } };
    writeFileSync(join(installed, 'prebuilds', 'manifest.json'), JSON.stringify(manifest));
  }

  function start(env: Record<string, string> = {}, name = 'program.mjs'): SpawnSyncReturns<string> {
    const { SIMDGRAD_BACKEND: _, SIMDGRAD_ADDON: __, SIMDGRAD_ISA: ___, ...rest } = process.env;
    return spawnSync(process.execPath, [join(folder, name)], { encoding: 'utf8', env: { ...rest, ...env } });
  }

  function expectJs({ stdout, stderr, status }: SpawnSyncReturns<string>, why: RegExp): void {
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ backend: 'js', sum: 6 });
    expect(stderr.trim().split('\n')).toHaveLength(1);
    expect(stderr).toMatch(why);
  }

  it('falls back to JS with one line where there is no addon', () => {
    expectJs(start(), /JS backend.*no build/);
  });

  it('says what to do where the native backend was asked for', () => {
    const { status, stderr } = start({ SIMDGRAD_BACKEND: 'native' });
    expect(status).toBe(1);
    expect(stderr).toMatch(/BackendError.*cannot be loaded.*no build/s);
    expect(stderr).toMatch(/SIMDGRAD_BACKEND=js/);
  });

  it('refuses a backend that does not exist', () => {
    expect(start({ SIMDGRAD_BACKEND: 'cuda' }).stderr).toMatch(/'cuda'.*'native' or 'js'/);
  });

  it.skipIf(addon === undefined)('loads a prebuilt addon, from ESM and through require()', () => {
    prebuild((bytes) => bytes);
    for (const name of ['program.mjs', 'program.cjs']) {
      const { stdout, stderr } = start({}, name);
      expect(stderr).toBe('');
      expect(JSON.parse(stdout)).toMatchObject({ backend: 'native', sum: 6 });
    }
  });

  it.skipIf(addon === undefined)('does not load one that is truncated or changed', () => {
    prebuild((bytes) => bytes.subarray(0, bytes.length >> 1));
    expectJs(start(), /bytes/);
    prebuild((bytes) => {
      bytes[bytes.length >> 1]! ^= 1;
      return bytes;
    });
    expectJs(start(), /not what was published/);
    prebuild(() => Buffer.alloc(0));
    expectJs(start(), /0 bytes/);
  });

  it.skipIf(addon === undefined)('takes the addon that the environment names before all others', () => {
    prebuild(() => Buffer.alloc(0));
    expect(JSON.parse(start({ SIMDGRAD_ADDON: addon! }).stdout)).toMatchObject({ backend: 'native' });
    expectJs(start({ SIMDGRAD_ADDON: join(folder, 'none.node') }), /SIMDGRAD_ADDON names .*none\.node/);
  });
});
