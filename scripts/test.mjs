// npm test [-- vitest options]: builds what is stale and runs the suite on the native backend and on the JS one.
// SIMDGRAD_BACKEND picks one of the two.
import process from 'node:process';
import { main, packageFile, runNode, ScriptError } from './lib/common.mjs';
import { ensureNative } from './lib/native.mjs';
import { bundleStale, canBuildTypeScript, declareStale } from './lib/typescript.mjs';

await main(async (args) => {
  const vitest = packageFile('vitest', 'vitest.mjs');
  if (vitest === null || !canBuildTypeScript()) {
    throw new ScriptError('the dev dependencies are not installed: run npm ci');
  }
  const asked = process.env.SIMDGRAD_BACKEND;
  let backends = asked ? [asked] : ['native', 'js'];
  if (asked !== 'js') {
    const reason = await ensureNative();
    if (reason !== null) {
      if (asked) throw new ScriptError(`the native backend cannot be tested: ${reason}`);
      console.log(`simdgrad: only the JS backend is tested, for there is no addon: ${reason}`);
      backends = ['js'];
    }
  }
  await bundleStale();
  const failed = [];
  if (!(await declareStale())) failed.push('types');
  for (const backend of backends) {
    console.log(`\nsimdgrad: the suite on the ${backend} backend`);
    const env = { SIMDGRAD_BACKEND: backend };
    const { code } = await runNode(vitest, ['run', ...args], { env });
    if (code !== 0) failed.push(backend);
  }
  if (failed.length > 0) console.log(`simdgrad: failed: ${failed.join(', ')}`);
  else console.log(`simdgrad: passed on ${backends.join(' and ')}`);
  return failed.length === 0 ? 0 : 1;
});
