// node scripts/sanitize.mjs [-- vitest options]: builds the addon with AddressSanitizer and UBSan into build/asan and
// runs the tests that throw everything at it (test/native, or what is named) on that build.
import { execFileSync } from 'node:child_process';
import process from 'node:process';
import { main, packageFile, runNode, ScriptError, which } from './lib/common.mjs';
import { buildSanitized, sanitizedAddon } from './lib/native.mjs';

await main(async (args) => {
  if (process.platform !== 'linux') throw new ScriptError('the sanitizer run is for Linux');
  const reason = await buildSanitized();
  if (reason !== null) throw new ScriptError(`there is no sanitizer run: ${reason}`);
  // Node itself is not instrumented, so the run-time library must be loaded before it.
  const compiler = which('g++') ?? which('c++');
  const library = execFileSync(compiler, ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
  const env = {
    LD_PRELOAD: library,
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:halt_on_error=1:allocator_may_return_null=1',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
    SIMDGRAD_ADDON: sanitizedAddon,
    SIMDGRAD_BACKEND: 'native',
    SIMDGRAD_SANITIZED: '1',
  };
  const tests = args.length > 0 ? args : ['test/native'];
  const vitest = packageFile('vitest', 'vitest.mjs');
  const { code } = await runNode(vitest, ['run', '--testTimeout=240000', ...tests], { env });
  return code;
});
