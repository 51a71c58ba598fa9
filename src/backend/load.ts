import { ArgumentError, BackendError } from '../errors.js';
import { createRequire, crypto, dirname, fileURLToPath, fs, join, resolve } from '../node.js';
import type { Backend } from './backend.js';
import { jsBackend } from './js/index.js';
import { type Addon, NativeBackend, type NativeInfo, translate } from './native.js';

/** The backends: C++ kernels, or JavaScript. */
export type BackendName = 'native' | 'js';

/** What runs the kernels, and why. */
export interface BackendInfo {
  /** The backend in use. */
  readonly backend: BackendName;
  /** The instruction set in use ('baseline', 'avx2', 'avx512'), or null on the JS backend. */
  readonly isa: string | null;
  /** The instruction sets that SIMDGRAD_ISA may name on this machine. */
  readonly isas: readonly string[];
  /** How many threads one kernel may use; 1 on the JS backend. */
  readonly threads: number;
  /** The file the native kernels came from, or null. */
  readonly addon: string | null;
  /** What the processor calls itself, or null. */
  readonly cpu: string | null;
  /** Bytes per level of data cache, as the kernels' block sizes assume them. */
  readonly cache: {
    /** The first level, of one core. */
    readonly l1: number;
    /** The second level, of one core. */
    readonly l2: number;
    /** The third level, shared by cores. */
    readonly l3: number;
  } | null;
  /** Why the backend is this one. */
  readonly reason: string;
}

/** Of the addon's exports and of native/kernels.def; the same number is in native/src/addon.cc. */
const ABI = 6;
const MAX_THREADS = 256;

interface Loaded {
  readonly native: NativeBackend;
  readonly path: string;
}

let current: Backend | null = null;
let loaded: Loaded | null = null;
/** Why the addon could not be loaded; looked for once. */
let failure: string | null = null;
let reason = '';
let threads: number | null = null;

/** The folder of this package, whether this code runs from src/ or from the bundle in dist/. */
function packageRoot(): string | null {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    try {
      const { name } = JSON.parse(fs.readFileSync(join(folder, 'package.json'), 'utf8')) as {
        name?: unknown;
      };
      if (name === 'simdgrad') return folder;
    } catch {
      // no package.json here
    }
    if (dirname(folder) === folder) return null;
  }
}

/** Loads one file; throws with the reason where it is not our addon. */
function open(path: string): Loaded {
  const addon = createRequire(import.meta.url)(path) as Addon;
  if (typeof addon.info !== 'function') throw new Error('it is not the addon of simdgrad');
  const { abi } = addon.info();
  if (abi !== ABI) {
    throw new Error(`it was built from another version (interface ${abi}, not ${ABI}); run npm run build`);
  }
  return { native: new NativeBackend(addon), path };
}

/** Throws where the prebuilt addon is not the file that was published: loading a truncated one kills the process. */
function checkPrebuild(folder: string, platform: string, path: string): void {
  const manifest = JSON.parse(fs.readFileSync(join(folder, 'manifest.json'), 'utf8')) as Record<
    string,
    { size?: unknown; sha256?: unknown } | undefined
  >;
  const listed = manifest[platform];
  const bytes = fs.readFileSync(path);
  if (listed?.size !== bytes.length) {
    throw new Error(
      `it has ${bytes.length} bytes where ${listed?.size} were published; install simdgrad again`,
    );
  }
  if (listed.sha256 !== crypto().createHash('sha256').update(bytes).digest('hex')) {
    throw new Error('its content is not what was published; install simdgrad again');
  }
}

/** Tries every place an addon may be in; throws an error that lists what was wrong with each. */
function findAddon(): Loaded {
  const override = process.env.SIMDGRAD_ADDON;
  if (override) {
    try {
      return open(resolve(override));
    } catch (error) {
      throw new Error(`SIMDGRAD_ADDON names ${override}: ${messageOf(error)}`);
    }
  }
  const root = packageRoot();
  if (root === null) throw new Error('the folder of the package simdgrad was not found');
  const platform = `${process.platform}-${process.arch}`;
  const prebuilds = join(root, 'prebuilds');
  const candidates: { path: string; check?: () => void }[] = [
    { path: join(root, 'build', 'cmake', 'Release', 'simdgrad.node') },
    { path: join(root, 'build', 'Release', 'simdgrad.node') },
  ];
  const prebuild = join(prebuilds, platform, 'simdgrad.node');
  candidates.push({ path: prebuild, check: () => checkPrebuild(prebuilds, platform, prebuild) });
  const wrong: string[] = [];
  for (const { path, check } of candidates) {
    if (!fs.existsSync(path)) continue;
    try {
      check?.();
      return open(path);
    } catch (error) {
      wrong.push(`${path}: ${messageOf(error)}`);
    }
  }
  if (wrong.length === 0) throw new Error(`there is no build for ${platform}`);
  throw new Error(wrong.join('; '));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message.split('\n')[0]! : String(error);
}

/** The native backend, or null with `failure` set. */
function native(): NativeBackend | null {
  if (loaded === null && failure === null) {
    try {
      const found = findAddon();
      configure(found.native);
      loaded = found;
    } catch (error) {
      if (error instanceof BackendError) throw error;
      failure = messageOf(error);
    }
  }
  return loaded?.native ?? null;
}

/** Applies what the environment asks for; a wish that cannot be met is an error. */
function configure(native: NativeBackend): void {
  const { addon } = native;
  try {
    const isa = process.env.SIMDGRAD_ISA;
    if (isa) addon.setIsa(isa);
    native.refresh();
  } catch (error) {
    throw new BackendError(`SIMDGRAD_ISA: ${messageOf(error)}`);
  }
  const wanted = threads ?? threadsOfEnvironment();
  if (wanted !== null) addon.setNumThreads(wanted);
}

function threadsOfEnvironment(): number | null {
  const text = process.env.SIMDGRAD_THREADS;
  if (!text) return null;
  const n = Number(text);
  if (Number.isInteger(n) && n >= 1 && n <= MAX_THREADS) return n;
  throw new BackendError(`SIMDGRAD_THREADS is '${text}'; it must be an integer from 1 to ${MAX_THREADS}`);
}

function cannotLoad(): BackendError {
  return new BackendError(
    `the native backend cannot be loaded: ${failure}. Build it with 'npm run build' (needs a C++20 compiler and CMake ` +
      'or Python), or use SIMDGRAD_BACKEND=js.',
  );
}

function choose(): Backend {
  const wanted = process.env.SIMDGRAD_BACKEND;
  if (wanted && wanted !== 'native' && wanted !== 'js') {
    throw new BackendError(`SIMDGRAD_BACKEND is '${wanted}'; it must be 'native' or 'js'`);
  }
  if (wanted === 'js') {
    reason = 'SIMDGRAD_BACKEND=js';
    return (current = jsBackend);
  }
  const found = native();
  if (found !== null) {
    reason = wanted ? 'SIMDGRAD_BACKEND=native' : 'the addon could be loaded';
    return (current = found);
  }
  if (wanted === 'native') throw cannotLoad();
  reason = failure ?? '';
  process.stderr.write(`simdgrad: using the slower JS backend (${reason})\n`);
  return (current = jsBackend);
}

/**
 * The backend in use. Chosen at the first call: the addon where it loads, else JavaScript (and one line on stderr).
 *
 * @throws BackendError where SIMDGRAD_BACKEND, SIMDGRAD_ISA or SIMDGRAD_THREADS ask for what there is not
 */
export function backend(): Backend {
  return current ?? choose();
}

/**
 * Which backend runs the kernels, on what, and why.
 *
 * @throws BackendError as backend()
 */
export function backendInfo(): BackendInfo {
  const chosen = backend();
  const info: NativeInfo | null =
    loaded !== null && chosen === loaded.native ? loaded.native.addon.info() : null;
  return {
    backend: chosen.name,
    isa: info?.isa ?? null,
    isas: info?.isas ?? [],
    threads: info?.threads ?? 1,
    addon: info === null ? null : (loaded?.path ?? null),
    cpu: info?.cpu ?? null,
    cache: info === null ? null : { l1: info.l1, l2: info.l2, l3: info.l3 },
    reason,
  };
}

/**
 * Chooses the backend from here on. Tensors keep their memory and work on either; compiled steps keep the backend
 * they were compiled for.
 *
 * @throws ArgumentError for another name; BackendError where the addon cannot be loaded, with the reason
 */
export function setBackend(name: BackendName): void {
  if (name !== 'native' && name !== 'js') {
    throw new ArgumentError(
      `setBackend: there is no backend ${typeof name === 'string' ? `'${name}'` : typeof name}; use 'native' or 'js'`,
    );
  }
  if (name === 'js') {
    current = jsBackend;
  } else {
    const found = native();
    if (found === null) throw cannotLoad();
    current = found;
  }
  reason = `setBackend('${name}')`;
}

/**
 * Sets the number of threads that one kernel may use (native backend; the JS backend always uses one). The default is
 * SIMDGRAD_THREADS, else the number of cores that this process may use: two threads on the halves of one core are no faster
 * than one.
 *
 * @throws ArgumentError unless n is an integer from 1 to 256
 */
export function setNumThreads(n: number): void {
  if (!Number.isInteger(n) || n < 1 || n > MAX_THREADS) {
    throw new ArgumentError(
      `setNumThreads: ${typeof n === 'number' ? n : typeof n} is not an integer from 1 to ${MAX_THREADS}`,
    );
  }
  threads = n;
  loaded?.native.addon.setNumThreads(n);
}

/**
 * Chooses the instruction set of the native kernels; for tests and benchmarks (SIMDGRAD_ISA chooses it for a process).
 *
 * @throws ArgumentError where this machine cannot run it, with those it can; BackendError without the addon
 */
export function setIsa(name: string): void {
  const found = native();
  if (found === null) throw cannotLoad();
  try {
    found.addon.setIsa(name);
  } catch (error) {
    throw translate(error);
  }
  found.refresh();
}
