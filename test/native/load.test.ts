import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addonPath, sanitized } from './support.js';

/*
 * The loader, bundled and put into folders that look like an installed package: as it is after a build, as it is
 * published, and as it is when a file is damaged. Each case is a process of its own.
 */

const platform = `${process.platform}-${process.arch}`;
let folder: string;
let bundle: string;
let packages = 0;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'simdgrad-load-'));
  bundle = join(folder, 'load.js');
  buildSync({
    entryPoints: [fileURLToPath(new URL('../../src/backend/load.ts', import.meta.url))],
    outfile: bundle,
    bundle: true,
    platform: 'node',
    format: 'esm',
  });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Layout {
  /** Where the addon lies: as built, or as published. */
  readonly addon?: 'build/cmake/Release' | 'build/Release' | 'prebuild';
  /** Done to the addon's file after its hash was taken. */
  readonly damage?: (path: string) => void;
}

/** A folder of a package with the loader in dist/ and, maybe, an addon. */
function makePackage({ addon, damage }: Layout): string {
  const root = join(folder, `package${packages++}`);
  mkdirSync(join(root, 'dist'), { recursive: true });
  writeFileSync(join(root, 'package.json'), '{ "name": "simdgrad", "type": "module" }');
  copyFileSync(bundle, join(root, 'dist', 'index.js'));
  if (addon === undefined) return root;
  const place = join(root, addon === 'prebuild' ? join('prebuilds', platform) : addon);
  mkdirSync(place, { recursive: true });
  const path = join(place, 'simdgrad.node');
  copyFileSync(addonPath!, path);
  if (addon === 'prebuild') {
    const bytes = readFileSync(path);
    const entry = {
      file: `${platform}/simdgrad.node`,
      size: bytes.length,
      sha256: createHash('sha256').update(bytes).digest('hex'),
    };
    writeFileSync(join(root, 'prebuilds', 'manifest.json'), JSON.stringify({ [platform]: entry }));
  }
  damage?.(path);
  return root;
}

interface Outcome {
  readonly status: number | null;
  readonly signal: string | null;
  readonly stderr: string;
  // biome-ignore lint/suspicious/noExplicitAny: whatever the script printed
  readonly result: any;
}

/** Runs `body`, which returns something, with the loader's exports in scope. */
function run(root: string, env: Record<string, string>, body = 'return backendInfo();'): Outcome {
  const script = `
    import { backend, backendInfo, setBackend, setIsa, setNumThreads } from ${JSON.stringify(`file://${root}/dist/index.js`)};
    const caught = (fn) => { try { return fn(); } catch (e) { return { name: e.name, code: e.code, message: e.message }; } };
    console.log(JSON.stringify(caught(() => { ${body} })));`;
  const {
    SIMDGRAD_ADDON: _,
    SIMDGRAD_BACKEND: __,
    SIMDGRAD_ISA: ___,
    SIMDGRAD_THREADS: ____,
    ...inherited
  } = process.env;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    env: { ...inherited, ...env },
  });
  return {
    status: child.status,
    signal: child.signal,
    stderr: child.stderr,
    result: child.stdout === '' ? null : JSON.parse(child.stdout),
  };
}

describe('the loader without an addon', () => {
  it('falls back to JavaScript and says so in one line', () => {
    const { status, stderr, result } = run(
      makePackage({}),
      {},
      'backend(); backend(); return backendInfo();',
    );
    expect(status).toBe(0);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toMatch(/^simdgrad: using the slower JS backend \(there is no build for /);
    expect(result).toMatchObject({ backend: 'js', isa: null, threads: 1, addon: null });
    expect(result.reason).toMatch(/no build/);
  });

  it('is silent where JavaScript was asked for', () => {
    const { stderr, result } = run(makePackage({}), { SIMDGRAD_BACKEND: 'js' });
    expect(stderr).toBe('');
    expect(result).toMatchObject({ backend: 'js', reason: 'SIMDGRAD_BACKEND=js' });
  });

  it('throws where native was asked for, with the reason and what to do', () => {
    for (const [env, body] of [
      [{ SIMDGRAD_BACKEND: 'native' }, 'return backend().name;'],
      [{}, "return setBackend('native');"],
    ] as const) {
      const { result } = run(makePackage({}), env, body);
      expect(result).toMatchObject({ name: 'BackendError', code: 'SIMDGRAD_BACKEND' });
      expect(result.message).toMatch(
        /cannot be loaded: there is no build for .*npm run build.*SIMDGRAD_BACKEND=js/,
      );
    }
  });

  it('refuses names, thread counts and overrides that are not', () => {
    const root = makePackage({});
    expect(run(root, { SIMDGRAD_BACKEND: 'gpu' }).result).toMatchObject({
      name: 'BackendError',
      message: "SIMDGRAD_BACKEND is 'gpu'; it must be 'native' or 'js'",
    });
    expect(run(root, {}, "return setBackend('gpu');").result).toMatchObject({ name: 'ArgumentError' });
    for (const n of ['0', '1.5', 'NaN', '257', "'2'", 'undefined']) {
      expect(run(root, {}, `return setNumThreads(${n});`).result).toMatchObject({ name: 'ArgumentError' });
    }
    const missing = run(root, { SIMDGRAD_BACKEND: 'native', SIMDGRAD_ADDON: '/nowhere/simdgrad.node' });
    expect(missing.result.message).toMatch(
      /SIMDGRAD_ADDON names \/nowhere\/simdgrad.node: Cannot find module/,
    );
    const wrong = join(folder, 'not-an-addon.cjs');
    writeFileSync(wrong, 'module.exports = {};');
    expect(run(root, { SIMDGRAD_BACKEND: 'native', SIMDGRAD_ADDON: wrong }).result.message).toMatch(
      /not the addon/,
    );
  });
});

describe.skipIf(addonPath === null)('the loader with an addon', () => {
  it('finds each kind of build, and uses it without a word', () => {
    for (const addon of ['build/cmake/Release', 'build/Release', 'prebuild'] as const) {
      const root = makePackage({ addon });
      const { status, stderr, result } = run(root, {});
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(result).toMatchObject({ backend: 'native', reason: 'the addon could be loaded' });
      expect(result.addon.startsWith(root)).toBe(true);
      expect(result.isas).toContain(result.isa);
      expect(result.cache.l1).toBeGreaterThan(1024);
    }
  });

  it('takes SIMDGRAD_ADDON before everything else', () => {
    const { result } = run(makePackage({ addon: 'prebuild' }), { SIMDGRAD_ADDON: addonPath! });
    expect(result.addon).toBe(addonPath);
  });

  it('does what SIMDGRAD_ISA and SIMDGRAD_THREADS ask for, or says why it cannot', () => {
    const root = makePackage({ addon: 'prebuild' });
    const { result } = run(root, { SIMDGRAD_ISA: 'baseline', SIMDGRAD_THREADS: '3' });
    expect(result).toMatchObject({ backend: 'native', isa: 'baseline', threads: 3 });
    const isa = run(root, { SIMDGRAD_ISA: 'avx1024' }).result;
    expect(isa).toMatchObject({ name: 'BackendError' });
    expect(isa.message).toMatch(/SIMDGRAD_ISA: setIsa: 'avx1024' cannot run here; available: baseline/);
    for (const threads of ['0', '-1', 'many', '1.5', '1000']) {
      const error = run(root, { SIMDGRAD_THREADS: threads }).result;
      expect(error).toMatchObject({ name: 'BackendError' });
      expect(error.message).toMatch(/SIMDGRAD_THREADS is '.*'; it must be an integer from 1 to 256/);
    }
  });

  it('sets threads, instruction set and backend at run time', () => {
    const root = makePackage({ addon: 'prebuild' });
    const body = `
      setNumThreads(5);
      const before = backendInfo();
      setNumThreads(2);
      setIsa('baseline');
      const native = backendInfo();
      setBackend('js');
      const js = backendInfo();
      setBackend('native');
      return [before.threads, native.threads, native.isa, js.backend, js.reason, backendInfo().backend, caught(() => setIsa('x')).name];`;
    expect(run(root, {}, body).result).toEqual([
      5,
      2,
      'baseline',
      'js',
      "setBackend('js')",
      'native',
      'ArgumentError',
    ]);
  });

  // Under AddressSanitizer a damaged library is not opened either; nothing new to see.
  it.skipIf(sanitized)('never opens a published file that is truncated or changed', () => {
    const damages: [(path: string) => void, RegExp][] = [
      [(path) => truncateSync(path, 5000), /5000 bytes where \d+ were published/],
      [(path) => truncateSync(path, 0), /0 bytes/],
      [
        (path) => {
          const bytes = readFileSync(path);
          bytes[bytes.length >> 1]! ^= 1;
          writeFileSync(path, bytes);
        },
        /content is not what was published/,
      ],
      [
        (path) => writeFileSync(join(path, '..', '..', 'manifest.json'), '{}'),
        /bytes where undefined were published/,
      ],
      [(path) => writeFileSync(join(path, '..', '..', 'manifest.json'), '{'), /JSON/],
      [(path) => rmSync(join(path, '..', '..', 'manifest.json')), /ENOENT/],
    ];
    for (const [damage, pattern] of damages) {
      const root = makePackage({ addon: 'prebuild', damage });
      const { status, signal, stderr, result } = run(root, {});
      expect({ status, signal }).toEqual({ status: 0, signal: null });
      expect(result.backend).toBe('js');
      expect(stderr).toMatch(pattern);
      expect(stderr.trimEnd().split('\n')).toHaveLength(1);
      const asked = run(root, { SIMDGRAD_BACKEND: 'native' });
      expect(asked.result).toMatchObject({ name: 'BackendError' });
      expect(asked.result.message).toMatch(pattern);
    }
  });

  it('goes on to the next place where a build is no addon', () => {
    const root = makePackage({ addon: 'prebuild' });
    mkdirSync(join(root, 'build', 'Release'), { recursive: true });
    writeFileSync(join(root, 'build', 'Release', 'simdgrad.node'), 'not a library');
    expect(run(root, {}).result).toMatchObject({
      backend: 'native',
      addon: join(root, 'prebuilds', platform, 'simdgrad.node'),
    });
  });
});
