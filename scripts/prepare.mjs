// What `npm ci` runs in a clone (and `npm pack` before packing): builds the addon if this machine can, then the
// TypeScript. A machine without a compiler is no failure: the pure-JS backend does everything the addon does.
import { existsSync } from 'node:fs';
import { addonPaths, at, main, ScriptError } from './lib/common.mjs';
import { ensureNative, nativeIsStale } from './lib/native.mjs';
import { bundleStale, canBuildTypeScript, declareStale } from './lib/typescript.mjs';

await main(async () => {
  if (!existsSync(at('src', 'index.ts'))) return; // not a clone
  if (!canBuildTypeScript()) {
    console.log('simdgrad: the dev dependencies are not installed, so nothing is built');
    return;
  }
  const stale = nativeIsStale(addonPaths.cmake) && nativeIsStale(addonPaths.gyp);
  const reason = stale ? await ensureNative() : null;
  if (reason !== null) console.log(`simdgrad: the JS backend will serve, for no addon was built: ${reason}`);
  await bundleStale();
  if (!(await declareStale())) throw new ScriptError('the type declarations could not be written');
});
