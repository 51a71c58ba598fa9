// npm run build [-- --cmake | --gyp | --native | --ts] [--force]: builds what is stale; without a choice, the addon
// by whichever way works here and the TypeScript.
import { main, ScriptError } from './lib/common.mjs';
import { buildNativeWith, ensureNative } from './lib/native.mjs';
import { bundleStale, canBuildTypeScript, declareStale } from './lib/typescript.mjs';

const known = ['--cmake', '--gyp', '--native', '--ts', '--force'];

await main(async (args) => {
  const unknown = args.find((arg) => !known.includes(arg));
  if (unknown !== undefined) throw new ScriptError(`unknown option ${unknown}; there are ${known.join(' ')}`);
  const force = args.includes('--force');
  const chosen = args.filter((arg) => arg !== '--force');
  const want = (name) => chosen.includes(name);
  const problems = [];
  const note = (reason) => reason !== null && problems.push(reason);

  if (want('--cmake')) note(await buildNativeWith('cmake', { force }));
  if (want('--gyp')) note(await buildNativeWith('gyp', { force }));
  if (want('--native') || chosen.length === 0) note(await ensureNative());
  if (problems.length > 0) console.error(`simdgrad: the addon was not built: ${problems.join(', ')}`);

  if (want('--ts') || chosen.length === 0) {
    if (!canBuildTypeScript()) throw new ScriptError('the dev dependencies are not installed: run npm ci');
    await bundleStale({ force });
    if (!(await declareStale({ force }))) return 1;
  }
  return problems.length > 0 ? 1 : 0;
});
