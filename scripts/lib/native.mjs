// Building the addon: through cmake-js where CMake is, through node-gyp where it is not.
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { availableParallelism, homedir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import process from 'node:process';
import {
  addonPaths,
  at,
  filesUnder,
  isStale,
  packageFile,
  printFailure,
  root,
  runNode,
  which,
  windows,
} from './common.mjs';

/** Everything that a build of the addon reads. */
export function nativeSources() {
  const code = (path) => /\.(cc|h|inc|def|txt)$/.test(path);
  return [
    ...filesUnder(at('native', 'src'), code),
    at('native', 'kernels.def'),
    at('native', 'sources.txt'),
    at('CMakeLists.txt'),
    at('binding.gyp'),
  ].filter((path) => existsSync(path));
}

export const nativeIsStale = (path) => isStale(path, nativeSources());

function hasCompiler() {
  if (windows) return true; // Visual Studio is not in PATH; the build tools look for it themselves
  const compilers = process.env.CXX ? [process.env.CXX.split(' ')[0]] : ['c++', 'g++', 'clang++'];
  return compilers.some((name) => which(name) !== null || existsSync(name));
}

/** Why the addon cannot be built through CMake here, or null when it can. */
export function cmakeObstacle() {
  if (packageFile('cmake-js', 'bin/cmake-js') === null) return 'cmake-js is not installed';
  if (which('cmake') === null) return 'there is no cmake';
  if (!hasCompiler()) return 'there is no C++ compiler';
  if (!windows && which('make') === null && which('ninja') === null) return 'there is no make or ninja';
  return null;
}

/** A folder whose include/node holds Node's headers (beside node, or where node-gyp keeps them), or null. */
function nodeHeaders() {
  const version = process.versions.node;
  const candidates = [
    process.env.npm_config_nodedir,
    join(dirname(realpathSync(process.execPath)), '..'),
    process.config.variables.node_prefix,
    join(homedir(), '.cache', 'node-gyp', version),
    join(homedir(), 'Library', 'Caches', 'node-gyp', version),
  ];
  const needed = ['node_api.h', 'common.gypi'];
  const complete = (prefix) => needed.every((name) => existsSync(join(prefix, 'include', 'node', name)));
  return candidates.find((prefix) => prefix && complete(prefix)) ?? null;
}

/** Such a folder made from the package node-api-headers: all that an addon of Node-API includes. */
function nodeApiHeaders() {
  const header = packageFile('node-api-headers', 'include/node_api.h');
  if (header === null || windows) return null; // Windows also links against node.lib
  const prefix = at('build', 'headers');
  const include = join(prefix, 'include', 'node');
  cpSync(dirname(header), include, { recursive: true });
  // What node-gyp expects of Node's own common.gypi; the compiler's flags are in binding.gyp.
  const defaults = {
    default_configuration: 'Release',
    configurations: { Release: {}, Debug: {} },
    cflags: ['-fPIC', '-pthread'],
    ldflags: ['-pthread'],
  };
  writeFileSync(join(include, 'common.gypi'), JSON.stringify({ target_defaults: defaults }));
  return prefix;
}

/** Why the addon cannot be built through node-gyp here, or null when it can. */
export function gypObstacle() {
  if (packageFile('node-gyp', 'bin/node-gyp.js') === null) return 'node-gyp is not installed';
  if (!windows && which('python3') === null && which('python') === null) return 'there is no python3';
  if (!hasCompiler()) return 'there is no C++ compiler';
  if (!windows && which('make') === null) return 'there is no make';
  if (nodeHeaders() === null && packageFile('node-api-headers', 'package.json') === null) {
    return "Node's headers are not on this machine";
  }
  return null;
}

/** Builds through cmake-js into `out`; `definitions` are CMake's -D. Gives run()'s result. */
export function runCmake({ out = 'build/cmake', config = 'Release', definitions = {}, log = 'cmake' } = {}) {
  const args = ['compile', '--out', at(...out.split('/')), '--config', config];
  args.push('--parallel', String(availableParallelism()));
  for (const [name, value] of Object.entries(definitions)) args.push(`--CD${name}=${value}`);
  return runNode(packageFile('cmake-js', 'bin/cmake-js'), args, { log });
}

/** The addon with AddressSanitizer and UBSan. */
export const sanitizedAddon = at('build', 'asan', 'Release', 'simdgrad.node');

/** Builds it; gives null when that worked, else the reason it did not. */
export async function buildSanitized() {
  const obstacle = cmakeObstacle();
  if (obstacle !== null) return obstacle;
  const definitions = { SIMDGRAD_SANITIZE: 'address,undefined' };
  const result = await runCmake({ out: 'build/asan', definitions, log: 'asan' });
  if (result.code === 0 && existsSync(sanitizedAddon)) return null;
  printFailure('the sanitizer build', result);
  return 'the sanitizer build failed';
}

/** Builds through node-gyp into build/Release. Never `rebuild` or `clean`: they delete all of build/. */
export function runGyp() {
  const nodedir = nodeHeaders() ?? nodeApiHeaders();
  const args = ['configure', 'build', `--jobs=${availableParallelism()}`, `--nodedir=${nodedir}`];
  // node-gyp takes the environment before its arguments.
  const env = { npm_config_nodedir: nodedir };
  return runNode(packageFile('node-gyp', 'bin/node-gyp.js'), args, { log: 'node-gyp', env });
}

const builders = {
  cmake: { name: 'cmake-js', obstacle: cmakeObstacle, run: () => runCmake() },
  gyp: { name: 'node-gyp', obstacle: gypObstacle, run: runGyp },
};

/** Builds one way unless it is fresh; gives null when that worked, else the reason it did not. */
export async function buildNativeWith(kind, { force = false } = {}) {
  const { name, obstacle, run } = builders[kind];
  const path = addonPaths[kind];
  if (!force && !nativeIsStale(path)) return null;
  const reason = obstacle();
  if (reason !== null) return reason;
  console.log(`simdgrad: building the addon with ${name} (a minute or two)`);
  const started = Date.now();
  const result = await run();
  if (result.code !== 0 || !existsSync(path)) {
    printFailure(`building the addon with ${name}`, result);
    rmSync(path, { force: true }); // what lies there is older than the sources
    return `the build with ${name} failed`;
  }
  const now = new Date();
  utimesSync(path, now, now); // a build that found nothing to do is fresh all the same
  const seconds = ((Date.now() - started) / 1000).toFixed(0);
  console.log(`simdgrad: built ${relative(root, path)} with ${name} in ${seconds} s`);
  return null;
}

// A build that failed is not tried again by `npm start` until the sources or the tools change.
const failureFile = at('build', 'native-failed');

function failureKey() {
  const hash = createHash('sha256')
    .update(process.version)
    .update(process.env.PATH ?? '');
  for (const path of nativeSources()) hash.update(path).update(readFileSync(path));
  return hash.digest('hex');
}

/**
 * Makes the addon available if this machine can: a fresh build of either kind is left alone, else cmake-js, else
 * node-gyp. Gives null when there is an addon, else the reasons in one line. Never throws for want of a tool.
 */
export async function ensureNative({ retry = true } = {}) {
  if (process.env.SIMDGRAD_ADDON) return null; // the loader takes that one and no other
  if (['cmake', 'gyp'].some((kind) => !nativeIsStale(addonPaths[kind]))) return null;
  if (cmakeObstacle() !== null && gypObstacle() !== null) {
    return [...new Set([cmakeObstacle(), gypObstacle()])].join(', ');
  }
  if (!retry && existsSync(failureFile) && readFileSync(failureFile, 'utf8') === failureKey()) {
    return 'the last build failed (npm run build tries again)';
  }
  const reasons = [];
  for (const kind of ['cmake', 'gyp']) {
    const reason = await buildNativeWith(kind);
    if (reason === null) {
      rmSync(failureFile, { force: true });
      // What the other way built from older sources must not be what is loaded.
      for (const path of [addonPaths.cmake, addonPaths.gyp]) {
        if (existsSync(path) && nativeIsStale(path)) rmSync(path);
      }
      return null;
    }
    reasons.push(reason);
  }
  mkdirSync(dirname(failureFile), { recursive: true });
  writeFileSync(failureFile, failureKey());
  return [...new Set(reasons)].join(', ');
}
