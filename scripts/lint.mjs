// npm run lint: Biome on TypeScript and scripts, clang-format on C++, tsc on the types. npm run format (--fix) writes.
import { chmodSync } from 'node:fs';
import { arch, platform } from 'node:os';
import { at, filesUnder, main, packageFile, run, runNode, which, windows } from './lib/common.mjs';

/** The binary which the npm package carries (one version for everybody), else the system's, else null. */
function clangFormat() {
  const folder = windows ? 'win32' : `${platform()}_${arch()}`;
  const bundled = packageFile('clang-format', `bin/${folder}/clang-format${windows ? '.exe' : ''}`);
  if (bundled === null) return which('clang-format');
  if (!windows) chmodSync(bundled, 0o755);
  return bundled;
}

await main(async (args) => {
  const fix = args.includes('--fix');
  const failed = [];
  const step = async (name, result) => {
    const { code } = await result;
    if (code !== 0) failed.push(name);
  };
  const biome = packageFile('@biomejs/biome', 'bin/biome');
  await step('biome', runNode(biome, ['check', '--error-on-warnings', ...(fix ? ['--write'] : [])]));
  const formatter = clangFormat();
  const sources = ['native', 'benchmarks'].flatMap((folder) =>
    filesUnder(at(folder), (path) => /\.(c|cc|h|inc)$/.test(path)),
  );
  if (formatter === null) {
    console.log('clang-format: not available for this platform, skipped');
  } else if (sources.length > 0) {
    await step('clang-format', run(formatter, [...(fix ? ['-i'] : ['--dry-run', '--Werror']), ...sources]));
  }
  if (!fix)
    await step(
      'typecheck',
      runNode(packageFile('typescript', 'bin/tsc'), ['--noEmit', '-p', at('tsconfig.json')]),
    );
  const steps = fix ? 'formatting' : 'biome, clang-format and typecheck';
  console.log(failed.length === 0 ? `lint: ${steps} passed` : `lint: failed: ${failed.join(', ')}`);
  return failed.length === 0 ? 0 : 1;
});
