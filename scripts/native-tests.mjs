// node scripts/native-tests.mjs [--sanitize | --cross=<processor>] [name …]: links the C++ tests of the kernels
// (native/test/<name>_test.cc) with the object files of the addon, as it is shipped or with AddressSanitizer and UBSan, and
// runs them. --cross=aarch64 compiles both for another processor and runs them in an emulator.
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename } from 'node:path';
import process from 'node:process';
import { at, filesUnder, main, printFailure, run, ScriptError, which, windows } from './lib/common.mjs';
import { buildNativeWith, buildSanitized } from './lib/native.mjs';

/** What compiles the tests, what runs them, and the object files that they are linked with. */
async function toolsFor(sanitize) {
  const compiler = process.env.CXX ?? which('g++') ?? which('c++');
  if (windows || !compiler) throw new ScriptError('the C++ tests need g++ or clang++');
  const reason = sanitize ? await buildSanitized() : await buildNativeWith('cmake');
  if (reason !== null) throw new ScriptError(`the C++ tests have nothing to link with: ${reason}`);
  const folder = sanitize ? 'asan' : 'cmake';
  const objects = filesUnder(at('build', folder, 'CMakeFiles'), (path) => /target_\w+\.cc\.o$/.test(path));
  return { compiler, runner: [], objects };
}

/** The same for another processor; the object files are compiled here. */
async function crossToolsFor(processor) {
  const [compiler, emulator] = [`${processor}-linux-gnu-g++`, `qemu-${processor}`].map((name) => which(name));
  if (!compiler || !emulator) {
    throw new ScriptError(
      `tests for ${processor} need ${processor}-linux-gnu-g++ and qemu-${processor} (Debian: ` +
        `g++-${processor.replaceAll('_', '-')}-linux-gnu, qemu-user)`,
    );
  }
  const flags = ['-std=c++20', '-O3', '-fno-exceptions', '-fno-rtti', '-ffp-contract=off', '-fno-math-errno'];
  flags.push('-Wall', '-Wextra', '-Werror', `-I${at('native', 'src')}`);
  const sources = filesUnder(at('native', 'src'), (path) => /target_\w+\.cc$/.test(path));
  const objects = await Promise.all(
    sources.map(async (source) => {
      const object = at('build', 'native-tests', `${processor}-${basename(source)}.o`);
      const result = await run(compiler, [...flags, '-c', '-o', object, source], {
        log: `${processor}-${basename(source)}`,
      });
      if (result.code === 0) return object;
      printFailure(`compiling ${basename(source)} for ${processor}`, result);
      throw new ScriptError(`the kernels do not compile for ${processor}`);
    }),
  );
  return { compiler, runner: [emulator, '-L', `/usr/${processor}-linux-gnu`], objects };
}

await main(async (args) => {
  const sanitize = args.includes('--sanitize');
  const processor = args.find((arg) => arg.startsWith('--cross='))?.slice('--cross='.length);
  const wanted = args.filter((arg) => !arg.startsWith('--'));
  const suffix = '_test.cc';
  const tests = filesUnder(at('native', 'test'), (path) => path.endsWith(suffix)).filter(
    (path) => wanted.length === 0 || wanted.includes(basename(path, suffix)),
  );
  if (tests.length === 0) throw new ScriptError(`there is no test ${wanted.join(' or ')} in native/test`);
  mkdirSync(at('build', 'native-tests'), { recursive: true });
  const { compiler, runner, objects } = await (processor ? crossToolsFor(processor) : toolsFor(sanitize));
  const flags = ['-std=c++20', '-ffp-contract=off', '-pthread'];
  flags.push(...(sanitize ? ['-O1', '-g1', '-fsanitize=address,undefined'] : ['-O2']));

  const failed = [];
  const check = async (test) => {
    const name = basename(test, '.cc') + (sanitize ? '-asan' : processor ? `-${processor}` : '');
    const program = at('build', 'native-tests', name);
    const link = await run(compiler, [...flags, '-o', program, test, ...objects], { log: `${name}-link` });
    // Node loads the addon without looking for leaks, and the tests end with their memory in use.
    const env = { ASAN_OPTIONS: 'detect_leaks=0', UBSAN_OPTIONS: 'halt_on_error=1:print_stacktrace=1' };
    const [command, ...rest] = [...runner, program];
    // The longest takes two; one that hangs is named. An emulator takes hours for some.
    const minutes = processor ? undefined : 15;
    const result = link.code === 0 ? await run(command, rest, { log: name, env, minutes }) : link;
    if (result.code === 0) console.log(`${name}: ${result.output.trim().split('\n').at(-1)}`);
    else {
      failed.push(name);
      printFailure(name, result);
    }
  };
  const queue = [...tests];
  const worker = async () => {
    for (let test = queue.shift(); test !== undefined; test = queue.shift()) await check(test);
  };
  await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker));
  console.log(`native tests: ${tests.length - failed.length} passed, ${failed.length} failed`);
  return failed.length === 0 ? 0 : 1;
});
