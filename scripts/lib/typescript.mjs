// Building the TypeScript: one bundled ESM file for the package, one per example and benchmark, and declarations.
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { at, filesUnder, isStale, packageFile, printFailure, runNode } from './common.mjs';

const isSource = (path) => path.endsWith('.ts');
const settings = () => [at('package.json'), at('tsconfig.json'), at('tsconfig.build.json')];

/** What is built: the package itself, its subpaths, then the programs that import it by name. */
function targets() {
  const targets = [
    { out: at('dist', 'index.js'), entry: at('src', 'index.ts'), inputs: [at('src')] },
    { out: at('dist', 'analysis.js'), entry: at('src', 'analysis', 'index.ts'), inputs: [at('src')] },
  ];
  for (const folder of ['examples', 'benchmarks']) {
    if (!existsSync(at(folder))) continue;
    for (const name of readdirSync(at(folder)).filter(isSource)) {
      const out = at('dist', folder, name.replace(/\.ts$/, '.js'));
      targets.push({ out, entry: at(folder, name), inputs: [at(folder), at('src')] });
    }
  }
  return targets.filter(({ entry }) => existsSync(entry));
}

/** Whether the tools for building TypeScript are installed (they are dev dependencies). */
export const canBuildTypeScript = () =>
  packageFile('esbuild', 'package.json') !== null && packageFile('typescript', 'package.json') !== null;

/**
 * For every bundle but the package's own: what has an identity (the error classes, which people test with instanceof)
 * is imported from the package by name, also where a stateless helper shared by both asks for it by its path.
 */
const oneCopy = {
  name: 'one-copy',
  setup(build) {
    build.onResolve({ filter: /^\.{1,2}\/(.*\/)?errors\.js$/ }, () => ({ path: 'simdgrad', external: true }));
  },
};

async function bundle({ out, entry }) {
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    entryPoints: [entry],
    outfile: out,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    // The package's own name stays an import: a program must share the one copy of the classes in dist/index.js.
    packages: 'external',
    external: ['simdgrad'],
    plugins: entry === at('src', 'index.ts') ? [] : [oneCopy],
    tsconfigRaw: { compilerOptions: { target: 'ES2023', verbatimModuleSyntax: true } },
    legalComments: 'none',
    logLevel: 'warning',
    write: false,
  });
  // A class that names itself comes out as `var Tensor = class _Tensor`, and people would read _Tensor in messages.
  let code = outputFiles[0].text;
  for (const [, name] of code.matchAll(/^var (\w+) = class _\1\b/gm)) {
    code = code.replaceAll(new RegExp(`\\b_${name}\\b`, 'g'), name);
  }
  mkdirSync(dirname(out), { recursive: true });
  writeFileSync(out, code);
}

/** Bundles what is stale. Throws where a source does not build. */
export async function bundleStale({ force = false } = {}) {
  for (const target of targets()) {
    const inputs = [...target.inputs.flatMap((folder) => filesUnder(folder, isSource)), ...settings()];
    if (force || isStale(target.out, inputs)) await bundle(target);
  }
}

/** Writes dist/types with tsc when it is stale; false when tsc found an error (which has been printed). */
export async function declareStale({ force = false } = {}) {
  const folder = at('dist', 'types');
  const inputs = [...filesUnder(at('src'), isSource), ...settings()];
  const entry = join(folder, 'index.d.ts');
  if (!force && !isStale(entry, inputs)) return true;
  rmSync(folder, { recursive: true, force: true }); // declarations of sources that are gone
  const tsc = packageFile('typescript', 'bin/tsc');
  const result = await runNode(tsc, ['-p', at('tsconfig.build.json')], { log: 'tsc' });
  if (result.code === 0) return true;
  rmSync(entry, { force: true }); // so that the next build tries again
  printFailure('tsc', result);
  return false;
}
