// npm run prebuild: builds the addon for release and lays it into prebuilds/<platform>-<arch>/, with its size and
// hash in prebuilds/manifest.json (the loader checks both: dlopen of a truncated file kills the process).
// --check builds nothing and fails where the prebuild of this platform is missing, changed or older than its sources.
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, relative } from 'node:path';
import process from 'node:process';
import { addonPaths, at, main, readJson, root, run, ScriptError, which } from './lib/common.mjs';
import { buildNativeWith, nativeIsStale } from './lib/native.mjs';
import { checkBinary } from './lib/symbols.mjs';

const platform = `${process.platform}-${process.arch}`;
const manifestPath = at('prebuilds', 'manifest.json');

const describe = (path) => {
  const bytes = readFileSync(path);
  return { size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
};

function check() {
  const path = addonPaths.prebuild;
  const again = 'run npm run prebuild';
  if (!existsSync(path) || !existsSync(manifestPath))
    throw new ScriptError(`no prebuild for ${platform}: ${again}`);
  if (nativeIsStale(path))
    throw new ScriptError(`the prebuild for ${platform} is older than its sources: ${again}`);
  const listed = readJson(manifestPath)[platform];
  const actual = describe(path);
  if (listed?.size !== actual.size || listed?.sha256 !== actual.sha256) {
    throw new ScriptError(`the prebuild for ${platform} is not the one in its manifest: ${again}`);
  }
}

async function strip(path) {
  if (process.platform === 'win32') return; // the linker keeps debug information in another file
  if (which('strip') === null) throw new ScriptError('strip is not installed (it comes with binutils)');
  const flag = process.platform === 'darwin' ? '-x' : '--strip-unneeded';
  const { code } = await run('strip', [flag, path]);
  if (code !== 0) throw new ScriptError(`strip failed on ${path}`);
}

await main(async (args) => {
  if (args.includes('--check')) return check();
  const reason = await buildNativeWith('cmake');
  if (reason !== null) throw new ScriptError(`no prebuild: ${reason}`);
  if (process.platform === 'linux') {
    const problems = checkBinary(addonPaths.cmake); // before stripping: it needs the functions' names
    if (problems.length > 0) throw new ScriptError(`not fit for release:\n    ${problems.join('\n    ')}`);
  }
  const target = addonPaths.prebuild;
  mkdirSync(dirname(target), { recursive: true });
  // Stripped beside and moved over: a process that has the old file mapped keeps it.
  const temporary = `${target}.new`;
  copyFileSync(addonPaths.cmake, temporary);
  await strip(temporary);
  renameSync(temporary, target);
  const manifest = existsSync(manifestPath) ? readJson(manifestPath) : {};
  const entry = { file: `${platform}/simdgrad.node`, ...describe(target) };
  writeFileSync(manifestPath, `${JSON.stringify({ ...manifest, [platform]: entry }, null, 2)}\n`);
  console.log(`simdgrad: ${relative(root, target)}, ${(entry.size / 1024).toFixed(0)} KiB`);
});
