// What the scripts share: paths, finding programs, running them quietly with a log, and asking what is stale.
import { spawn } from 'node:child_process';
import {
  accessSync,
  constants,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join, relative } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const windows = process.platform === 'win32';
export const at = (...parts) => join(root, ...parts);
const require = createRequire(join(root, 'package.json'));

/** Where the two builds of the addon and the prebuilt one lie. */
export const addonPaths = {
  cmake: at('build', 'cmake', 'Release', 'simdgrad.node'),
  gyp: at('build', 'Release', 'simdgrad.node'),
  prebuild: at('prebuilds', `${process.platform}-${process.arch}`, 'simdgrad.node'),
};

/** A mistake of the user or the machine: printed as one line, without a stack. */
export class ScriptError extends Error {}

/** Runs a script's main function and turns a failure into an exit status. */
export async function main(body) {
  try {
    process.exitCode = (await body(process.argv.slice(2))) ?? 0;
  } catch (error) {
    console.error(error instanceof ScriptError ? `simdgrad: ${error.message}` : error);
    process.exitCode = 1;
  }
}

/** The path of a program found in PATH, or null. */
export function which(name) {
  const suffixes = windows ? ['.exe', '.cmd', '.bat'] : [''];
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const suffix of suffixes) {
      const path = join(folder, name + suffix);
      try {
        accessSync(path, constants.X_OK);
        if (statSync(path).isFile()) return path;
      } catch {
        // not here
      }
    }
  }
  return null;
}

/** The path of a file inside an installed package (also where its exports hide it), or null. */
export function packageFile(name, file) {
  for (const folder of require.resolve.paths(name) ?? []) {
    const path = join(folder, name, file);
    if (existsSync(path)) return path;
  }
  return null;
}

/** The npm that runs with this node, as arguments for it: `node <npm-cli.js>`. */
export function npmCli() {
  const home = dirname(process.execPath);
  const candidates = [
    process.env.npm_execpath,
    join(home, '..', 'lib', 'node_modules', 'npm', 'bin', 'npm-cli.js'),
    join(home, 'node_modules', 'npm', 'bin', 'npm-cli.js'),
    join(home, '..', 'share', 'nodejs', 'npm', 'bin', 'npm-cli.js'),
  ];
  const path = candidates.find((name) => name?.endsWith('npm-cli.js') && existsSync(name));
  if (path === undefined) throw new ScriptError('npm was not found beside node');
  return path;
}

/**
 * Runs a program and waits for it. With `log` its output goes to that file under build/logs; without it, to this
 * terminal. What runs for more than `minutes` is killed, and has failed. Gives { code, output, logFile }; output is
 * empty without a log.
 */
export function run(program, args, { log, env, cwd = root, minutes } = {}) {
  return new Promise((resolve) => {
    const logFile = log === undefined ? null : at('build', 'logs', `${log}.log`);
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: logFile === null ? 'inherit' : ['ignore', 'pipe', 'pipe'],
      windowsHide: true,
      ...(minutes === undefined ? {} : { timeout: 60_000 * minutes, killSignal: 'SIGKILL' }),
    });
    let output = '';
    let file = null;
    if (logFile !== null) {
      mkdirSync(dirname(logFile), { recursive: true });
      file = createWriteStream(logFile);
      const keep = (chunk) => {
        output += chunk;
        file.write(chunk);
      };
      child.stdout.setEncoding('utf8').on('data', keep);
      child.stderr.setEncoding('utf8').on('data', keep);
    }
    const finish = (code, text) => {
      if (text !== undefined) {
        output += text;
        file?.write(text);
      }
      const done = () => resolve({ code, output, logFile });
      if (file === null) done();
      else file.end(done);
    };
    child.once('error', (error) => finish(127, `${program}: ${error.message}\n`));
    child.once('close', (code, signal) => {
      const late = signal === 'SIGKILL' && minutes !== undefined;
      finish(code ?? (signal === 'SIGINT' ? 130 : 1), late ? `killed after ${minutes} minutes\n` : undefined);
    });
  });
}

/** Like run(), for this node and a script. */
export const runNode = (script, args, options) => run(process.execPath, [script, ...args], options);

/** Prints the end of what a failed command said, and where the rest is. */
export function printFailure(what, { output, logFile }) {
  const lines = output.trimEnd().split('\n').slice(-25);
  console.error(`simdgrad: ${what} failed:`);
  for (const line of lines) console.error(`    ${line}`);
  console.error(`simdgrad: the whole log is in ${relative(root, logFile)}`);
}

/** Every file below a folder (or the file itself) that the filter takes, as absolute paths; not in node_modules. */
export function filesUnder(path, filter = () => true) {
  if (!existsSync(path)) return [];
  if (statSync(path).isFile()) return filter(path) ? [path] : [];
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) => {
    if (entry.isSymbolicLink() || entry.name === 'node_modules') return [];
    return filesUnder(join(path, entry.name), filter);
  });
}

/** Whether the output is missing, or older than one of the inputs. */
export function isStale(output, inputs) {
  if (!existsSync(output)) return true;
  const made = statSync(output).mtimeMs;
  return inputs.some((input) => statSync(input).mtimeMs > made);
}

export const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));
