// npm run bench [-- options] and npm run bench:peers [-- options]: builds what is stale, then runs benchmarks/bench.ts
// or benchmarks/peers.ts (`node scripts/bench.mjs peers`).
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { at, main, ScriptError } from './lib/common.mjs';
import { ensureNative } from './lib/native.mjs';
import { bundleStale, canBuildTypeScript } from './lib/typescript.mjs';

await main(async () => {
  if (!canBuildTypeScript()) throw new ScriptError('the dev dependencies are not installed: run npm ci');
  const reason = await ensureNative();
  if (reason !== null) console.log(`simdgrad: there is no addon to measure: ${reason}`);
  await bundleStale();
  const [name] = process.argv[2] === 'peers' ? process.argv.splice(2, 1) : ['bench'];
  const program = at('dist', 'benchmarks', `${name}.js`);
  process.argv[1] = program;
  await import(pathToFileURL(program).href);
  return process.exitCode;
});
