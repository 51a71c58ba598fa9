// npm run bench:peers: simdgrad beside what people would pick instead, as far as it is installed. See docs/benchmarks.md.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { setTimeout as pause } from 'node:timers/promises';
import { backendInfo } from 'simdgrad';
import { suggest } from '../src/suggest.js';
import {
  checkFile,
  count,
  digits,
  parseOptions,
  runAsProgram,
  scaleSpread,
  showSpread,
  UsageError,
  writeFile,
} from './cli.js';
import { compare, geometricMean, rateOf, ratioSpread, type Spread, spread } from './measure.js';
import { operations } from './operations.js';
import { ratioChart } from './peers/chart.js';
import { type Command, Lost, PeerProcess } from './peers/process.js';
import { allRows, type Group, isOperation, operationShape, ownRows, type RowSpec } from './peers/rows.js';

const usage = `Usage: npm run bench:peers -- [options]

Runs training steps, predictions, optimizer steps, matrix products and single operations of simdgrad and of every peer
that is installed: OpenBLAS, BLIS, oneDNN, PyTorch, jax-js, TensorFlow.js (WebAssembly) and onnxruntime-node. Each peer
is a process of its own; they work in turn, round by round. Rates are medians over the rounds, ratios (ours over theirs)
are formed round by round. docs/benchmarks.md says how to install the peers.

  --quick          fewer rounds and a few rows of each table
  --filter TEXT    only rows whose group or name contains TEXT ("training step, net A", "1024x1024x1024 NN")
  --nets LIST      nets of your own instead of the tables, sizes and a batch each: 784-300-100-10@64,32-64-1@256
  --products LIST  products of your own instead of the tables, rows x columns x inner: 100x300x784,7x500x500
  --peers LIST     only these, with commas: PEERS
  --threads LIST   thread counts, each measured in turn (default: 1 and the number of processors)
  --rounds N       samples of each contestant (default 5, quick 3)
  --json FILE      where the results go (default benchmarks/results/peers.json; "none" for no file)
  --chart FILE     where the chart goes, an SVG (default benchmarks/results/peers.svg; "none" for no file); it shows single
                   operations only where nothing else was measured
  --list           list the rows and end
  --help           this text
`;

const options = {
  quick: { type: 'boolean' },
  filter: { type: 'string' },
  nets: { type: 'string' },
  products: { type: 'string' },
  peers: { type: 'string' },
  threads: { type: 'string' },
  rounds: { type: 'string' },
  json: { type: 'string' },
  chart: { type: 'string' },
  list: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

/** Everything that runs: our own processes, the floor and the peers. */
interface Entrant {
  readonly id: string;
  /** Peers with the same family are alternatives of which the best counts. */
  readonly family: string;
  readonly label: string;
  /** How to install it. */
  readonly hint: string;
  /** Variants by group; it takes part in these groups only. */
  readonly variants: Readonly<Partial<Record<Group, readonly string[]>>>;
  /** A case with more flops takes this peer minutes, and is left out. */
  readonly mostFlops?: number;
  readonly command: (threads: number) => Command;
}

const folder = join('benchmarks', 'peers');
const node = (script: string, ...args: string[]) => ({ file: process.execPath, args: [script, ...args] });

let compiled: Command | null = null;

/** The C peer, compiled at most once per run. */
function blas(library: string, threads: number): Command {
  compiled ??= compileBlas();
  return 'missing' in compiled ? compiled : { ...compiled, args: [library, String(threads)] };
}

function compileBlas(): Command {
  const file = join('build', 'peers', 'blas');
  mkdirSync(join('build', 'peers'), { recursive: true });
  const flags = ['-O3', '-march=native', '-fno-math-errno', '-fno-trapping-math', '-o', file];
  try {
    execFileSync(process.env.CC ?? 'cc', [...flags, join(folder, 'blas.c'), '-ldl', '-lpthread', '-lm'], {
      stdio: 'pipe',
    });
    return { file, args: [] };
  } catch (error) {
    const { stderr } = error as { stderr?: Buffer };
    return {
      missing: stderr ? `cc failed: ${stderr.toString().trim().split('\n')[0]}` : 'no C compiler (cc) here',
    };
  }
}

const systemPython = '/usr/bin/python3';
const torchFolders = new Map<string, string | null>();

/** Where this Python has PyTorch, or null. */
function torchFolder(python: string): string | null {
  let found = torchFolders.get(python);
  if (found === undefined) {
    const script = 'import importlib.util; print(importlib.util.find_spec("torch").origin)';
    try {
      const stdio = ['ignore', 'pipe', 'ignore'] as const;
      found = execFileSync(python, ['-c', script], { stdio: [...stdio], encoding: 'utf8' }).trim();
    } catch {
      found = null;
    }
    torchFolders.set(python, found);
  }
  return found;
}

const torchPeer = (python: string, threads: number) => ({
  file: python,
  args: [join(folder, 'torch_peer.py'), String(threads)],
});

/** The first Python that has PyTorch. */
function firstPython(): string | undefined {
  const named = process.env.SIMDGRAD_PEERS_PYTHON;
  return [...(named ? [named] : []), 'python3', systemPython].find((file) => torchFolder(file) !== null);
}

function torch(threads: number): Command {
  const file = firstPython();
  return file === undefined ? { missing: 'no python3 here has torch' } : torchPeer(file, threads);
}

/** The distribution's PyTorch beside another one. */
function systemTorch(threads: number): Command {
  const here = torchFolder(systemPython);
  if (here === null) return { missing: `${systemPython} has no torch` };
  if (here === torchFolder(firstPython() ?? '')) return { missing: 'it is the PyTorch above' };
  return torchPeer(systemPython, threads);
}

/** The distribution's PyTorch over BLIS: the dynamic linker chooses libblas.so.3 by folder. */
function torchOnBlis(threads: number): Command {
  if (torchFolder(systemPython) === null) return { missing: `${systemPython} has no torch` };
  const found = ['x86_64-linux-gnu', 'aarch64-linux-gnu']
    .map((name) => join('/usr/lib', name, 'blis-openmp'))
    .find((path) => existsSync(join(path, 'libblas.so.3')));
  if (found === undefined) return { missing: 'BLIS is not installed' };
  return { ...torchPeer(systemPython, threads), env: { LD_LIBRARY_PATH: found } };
}

const torchOptimizers = ['loop', 'foreach', 'fused'];
const torchVariants: Entrant['variants'] = {
  'training step': [...torchOptimizers, 'compile', 'compile-all'],
  'eager step': torchOptimizers,
  forward: ['eager', 'compile'],
  'optimizer step': torchOptimizers,
  operation: ['eager'],
  'operation with backward': ['eager'],
};
const npmHint = 'npm install --prefix benchmarks/peers --ignore-scripts';

const ours: Entrant = {
  id: 'ours',
  family: 'simdgrad',
  label: 'simdgrad',
  hint: 'npm run build',
  variants: {
    'training step': ['compiled'],
    'eager step': ['eager'],
    forward: ['compiled'],
    'optimizer step': ['eager'],
    'matrix product': ['eager'],
    operation: ['eager'],
    'operation with backward': ['eager'],
  },
  command: () => node(join('dist', 'benchmarks', 'ours.js'), 'api'),
};

/** Our kernel without the TypeScript above it: what of a product's time is JavaScript. */
const kernel: Entrant = {
  id: 'kernel',
  family: 'the kernel alone',
  label: 'the kernel alone',
  hint: 'npm run build',
  variants: { 'matrix product': ['call'] },
  command: () => node(join('dist', 'benchmarks', 'ours.js'), 'addon'),
};

const floor: Entrant = {
  id: 'floor',
  family: 'floor',
  label: 'floor',
  hint: 'a C compiler',
  variants: {},
  command: (threads) => blas('floor', threads),
};

const library = (id: string, label: string, hint: string): Entrant => ({
  id,
  family: 'BLAS',
  label,
  hint: `apt install gcc ${hint}`,
  variants: { 'matrix product': ['sgemm'] },
  command: (threads) => blas(id, threads),
});

const jsBackend = 'our JS backend';
const tensorFlow = 'TensorFlow.js wasm';

const peers: readonly Entrant[] = [
  library('openblas', 'OpenBLAS', 'libopenblas0-openmp'),
  library('blis', 'BLIS', 'libblis4-openmp'),
  library('onednn', 'oneDNN', 'libdnnl2'),
  {
    id: 'torch',
    family: 'PyTorch',
    label: 'PyTorch',
    hint: 'apt install python3-torch, or pip install torch',
    variants: torchVariants,
    command: torch,
  },
  {
    id: 'torch-system',
    family: 'PyTorch',
    label: 'PyTorch of the system',
    hint: 'apt install python3-torch',
    variants: torchVariants,
    command: systemTorch,
  },
  {
    id: 'torch-blis',
    family: 'PyTorch',
    label: 'PyTorch on BLIS',
    hint: 'apt install python3-torch libblis4-openmp',
    variants: { 'training step': torchOptimizers, 'eager step': torchOptimizers, forward: ['eager'] },
    command: torchOnBlis,
  },
  {
    id: 'jax',
    family: 'jax-js',
    label: 'jax-js',
    hint: npmHint,
    variants: { 'training step': ['jit'], forward: ['jit'] },
    command: () => node(join(folder, 'jax.mjs')),
  },
  {
    id: 'tfjs',
    family: tensorFlow,
    label: tensorFlow,
    hint: npmHint,
    variants: { 'training step': ['eager'], forward: ['eager'] },
    mostFlops: 1e10,
    command: (threads) => node(join(folder, 'tfjs.mjs'), String(threads)),
  },
  {
    id: 'js',
    family: jsBackend,
    label: jsBackend,
    hint: 'npm run build',
    variants: { 'training step': ['compiled'], forward: ['compiled'] },
    mostFlops: 1e9,
    command: () => node(join('dist', 'benchmarks', 'ours.js'), 'js'),
  },
  {
    id: 'ort',
    family: 'onnxruntime-node',
    label: 'onnxruntime-node',
    hint: npmHint,
    variants: { forward: ['session'] },
    command: (threads) => node(join(folder, 'ort.mjs'), String(threads)),
  },
];

/** What a contestant did in a row. */
export interface Result {
  readonly peer: string;
  readonly family: string;
  readonly variant: string;
  /** In the row's unit; null where it did not run. */
  readonly rate: Spread | null;
  /** Ours over this, round by round. */
  readonly ratio: Spread | null;
  /** Why it did not run. */
  readonly note?: string;
}

export interface PeerRow {
  readonly group: Group;
  readonly name: string;
  readonly unit: RowSpec['unit'];
  readonly threads: number;
  readonly ours: Spread;
  /** Share of the floor that ours reaches, formed round by round; null where the floor could not be measured. */
  readonly ofFloor: Spread | null;
  readonly results: readonly Result[];
}

export interface Summary {
  readonly threads: number;
  readonly group: Group;
  /** A family of peers, of which the best counts in every row; or "floor": then the numbers are shares of it. */
  readonly against: string;
  readonly rows: number;
  readonly geometricMean: number | null;
  readonly least: { readonly name: string; readonly ratio: number } | null;
  /** Why there is no number. */
  readonly note?: string;
}

export interface PeersReport {
  readonly schema: 'simdgrad-bench-peers-1';
  readonly date: string;
  readonly machine: {
    cpu: string;
    cores: number;
    node: string;
    isa: string | null;
    load: { before: number; after: number };
  };
  readonly rounds: number;
  readonly sampleMs: number;
  readonly peers: Readonly<Record<string, { version: string } | { missing: string; hint: string }>>;
  readonly rows: readonly PeerRow[];
  readonly summary: readonly Summary[];
}

/** The processes of one thread count. */
interface Field {
  readonly threads: number;
  readonly running: Map<string, PeerProcess>;
  /** By id of the entrant: why it does not take part. */
  readonly missing: Map<string, string>;
}

/** For every library that a peer may use to share work. */
function threadsEnvironment(threads: number): Record<string, string> {
  const names = ['SIMDGRAD', 'OMP_NUM', 'OPENBLAS_NUM', 'BLIS_NUM', 'MKL_NUM'];
  return Object.fromEntries(names.map((name) => [`${name}_THREADS`, String(threads)]));
}

async function startAll(entrants: readonly Entrant[], threads: number): Promise<Field> {
  const field: Field = { threads, running: new Map(), missing: new Map() };
  for (const entrant of entrants) {
    const command = entrant.command(threads);
    const started = await PeerProcess.start(
      'missing' in command
        ? command
        : { ...command, env: { ...threadsEnvironment(threads), ...command.env } },
    );
    if (typeof started === 'string') field.missing.set(entrant.id, started);
    else field.running.set(entrant.id, started);
  }
  // Not every build of PyTorch takes the BLAS that the linker offers: then this is the same as the one above.
  const onBlis = field.running.get('torch-blis');
  if (onBlis && !onBlis.version.endsWith('BLIS')) {
    onBlis.stop();
    field.running.delete('torch-blis');
    field.missing.set('torch-blis', 'this PyTorch does not use the libblas.so.3 of the system');
  }
  return field;
}

interface Prepared {
  readonly entrant: Entrant;
  readonly variant: string;
  readonly process: PeerProcess;
  readonly id: number;
  /** What the peer added when it prepared the case. */
  readonly answer: string;
}

/** Goes on without a peer that broke down. */
function lose(field: Field, id: string, row: RowSpec, error: Lost): void {
  field.running.delete(id);
  field.missing.set(id, `lost in ${row.group}, ${row.name}: ${error.message}`);
}

/** Whether two answers to `operation` say the same: shape, then weighed values and gradient. */
export function sameAnswer(
  name: string,
  [shape, ...numbers]: string[],
  [otherShape, ...others]: string[],
): boolean {
  // Means over 32,768 drawn numbers differ by less than 5 %. Gradients of softmax's sum, which is always 1, are rounding errors.
  const relative = operations[name]?.random ? 0.05 : 1e-3;
  const close = (a: number, b: number) => Math.abs(a - b) <= relative * Math.abs(b) + 1e-5;
  if (shape !== otherShape || numbers.length !== others.length) return false;
  return numbers.every((x, i) => close(Number(x), Number(others[i])));
}

/**
 * Has everybody compute each operation once, and fails where one does not have it or something else comes out: rows that
 * quietly compare different work, or nothing, would be believed.
 */
async function checkOperations(
  rows: readonly RowSpec[],
  entrants: readonly Entrant[],
  field: Field,
): Promise<void> {
  for (const row of rows) {
    const { group, name, what } = row;
    if (!isOperation(group)) continue;
    let own: string[] | undefined;
    for (const { id, label, variants } of entrants) {
      const process = field.running.get(id);
      const variant = variants[group]?.[0];
      if (process === undefined || variant === undefined) continue;
      let text: string;
      try {
        text = await process.make(0, what, variant);
      } catch (error) {
        if (error instanceof Lost && id !== ours.id) {
          lose(field, id, row, error);
          continue;
        }
        throw new Error(`${group}, ${name}: ${label} does not run it: ${(error as Error).message}`);
      }
      await process.clear();
      const answer = text.split(' ');
      own ??= answer;
      if (!sameAnswer(name, answer, own)) {
        throw new Error(
          `${group}, ${name}: ${label} computes something else than simdgrad (shape, weighed values and gradient: ${text}, not ${own.join(' ')})`,
        );
      }
    }
  }
}

/** Threads that spin for a moment after their last work (those of OpenMP up to 9 ms) must be asleep before the next contestant begins. */
const settleMs = 12;

async function measureRow(
  row: RowSpec,
  entrants: readonly Entrant[],
  field: Field,
  rounds: number,
  ms: number,
): Promise<PeerRow | string> {
  const prepared: Prepared[] = [];
  const refused: Result[] = [];
  const prepare = async (entrant: Entrant, what: string, variant: string): Promise<Prepared | null> => {
    const process = field.running.get(entrant.id);
    const refuse = (note: string): null => {
      const { label: peer, family } = entrant;
      refused.push({ peer, family, variant, rate: null, ratio: null, note });
      return null;
    };
    if (process === undefined) return refuse(field.missing.get(entrant.id) ?? 'not started');
    if (row.flops > (entrant.mostFlops ?? Infinity)) return refuse('left out: a call takes it too long');
    const id = prepared.length;
    try {
      const answer = await process.make(id, what, variant);
      const made = { entrant, variant, process, id, answer };
      prepared.push(made);
      return made;
    } catch (error) {
      if (error instanceof Lost) lose(field, entrant.id, row, error);
      return refuse((error as Error).message);
    }
  };
  const peak = isOperation(row.group) ? null : await prepare(floor, 'peak', '-');
  const loop = row.loop === null ? null : await prepare(floor, row.loop, '-');
  for (const entrant of entrants) {
    for (const variant of entrant.variants[row.group] ?? []) await prepare(entrant, row.what, variant);
  }
  const own = prepared.find((p) => p.entrant === ours);
  if (own === undefined) return refused.find((r) => r.family === ours.family)?.note ?? 'not run';

  // Ours first: ratios are formed against it.
  const order = [own, ...prepared.filter((p) => p !== own)];
  let sampled: Prepared = own;
  let timings: Awaited<ReturnType<typeof compare>>['timings'];
  try {
    ({ timings } = await compare(
      order.map((p) => ({
        name: p.entrant.label,
        sample: async (calls) => {
          sampled = p;
          await pause(settleMs);
          return p.process.time(p.id, calls);
        },
      })),
      { rounds, ms, slow: 1 },
    ));
  } catch (error) {
    if (!(error instanceof Lost) || sampled.entrant === ours) throw error;
    // Without the one that broke down, from the start.
    lose(field, sampled.entrant.id, row, error);
    for (const process of field.running.values()) await process.clear();
    return measureRow(row, entrants, field, rounds, ms);
  }
  for (const process of new Set(order.map((p) => p.process))) await process.clear();

  const rates = (p: Prepared | null): readonly number[] =>
    p === null ? [] : (timings[order.indexOf(p)]?.rates ?? []);
  const mine = rates(own);
  let ofFloor: Spread | null = null;
  if (peak !== null && (row.loop === null || loop !== null)) {
    const seconds = (r: number): number =>
      row.flops / (rateOf(rates(peak), r) * Number(peak.answer)) +
      (loop === null ? 0 : 1 / rateOf(rates(loop), r));
    ofFloor = spread(mine.map((rate, r) => rate * seconds(r)));
  }
  const results = order.slice(1).flatMap((p): Result[] => {
    if (p.entrant === floor) return [];
    const theirs = rates(p);
    const { label: peer, family } = p.entrant;
    const rate = scaleSpread(spread(theirs), row.work);
    return [{ peer, family, variant: p.variant, rate, ratio: ratioSpread(mine, theirs) }];
  });
  return {
    group: row.group,
    name: row.name,
    unit: row.unit,
    threads: field.threads,
    ours: scaleSpread(spread(mine), row.work),
    ofFloor,
    results: [...results, ...refused.filter((r) => r.family !== floor.family)],
  };
}

/** The fastest of each family, and for a family of which nobody ran the reason. */
function bestOf(results: readonly Result[]): Result[] {
  const families = [...new Set(results.map((r) => r.family))];
  return families.map((family) => {
    const members = results.filter((r) => r.family === family);
    return members.reduce((best, r) => ((r.rate?.median ?? -1) > (best.rate?.median ?? -1) ? r : best));
  });
}

/** What is said of a peer that did not run: the first line of the reason. */
const shortNote = (note = ''): string => (note.length > 90 ? `${note.slice(0, 87)}…` : note);

/** Microseconds of a call for a rate in calls a second. */
const microseconds = ({ median, min, max }: Spread): Spread => ({
  median: 1e6 / median,
  min: 1e6 / max,
  max: 1e6 / min,
});

/** The heading of a table. */
function heading({ group, unit }: RowSpec, threads: number): string {
  const what = isOperation(group) ? `float32, ${operationShape.join('x')}, µs a call` : unit;
  return `\n${group}, ${what}, ${threads} thread(s)\n`;
}

function showRow(row: PeerRow): string {
  const show = (rate: Spread) => showSpread(isOperation(row.group) ? microseconds(rate) : rate);
  const share = row.ofFloor
    ? `  ${(row.ofFloor.median * 100).toFixed(0)} % of the floor (${(row.ofFloor.min * 100).toFixed(0)}–${(row.ofFloor.max * 100).toFixed(0)})`
    : '';
  const lines = [`  ${row.name.padEnd(36)} ${show(row.ours).padEnd(32)}${share}`];
  for (const r of bestOf(row.results)) {
    const name = r.rate ? `${r.peer} (${r.variant})` : r.family;
    const text =
      r.rate && r.ratio
        ? `${show(r.rate).padEnd(32)}  ${showSpread(r.ratio, 6).replace(' (', 'x (')}`
        : `${''.padStart(9)} ${shortNote(r.note)}`;
    lines.push(`    ${name.padEnd(34)} ${text}`);
  }
  return `${lines.join('\n')}\n`;
}

export function summarize(rows: readonly PeerRow[]): Summary[] {
  const summary: Summary[] = [];
  const add = (
    threads: number,
    group: Group,
    against: string,
    found: readonly { name: string; ratio: number }[],
    note = 'not run',
  ): void => {
    const least = found.reduce<{ name: string; ratio: number } | null>(
      (low, r) => (low === null || r.ratio < low.ratio ? r : low),
      null,
    );
    const mean = found.length > 0 ? geometricMean(found.map((r) => r.ratio)) : null;
    const shared = { threads, group, against, rows: found.length, geometricMean: mean, least };
    summary.push(mean === null ? { ...shared, note } : shared);
  };
  for (const threads of new Set(rows.map((r) => r.threads))) {
    for (const group of new Set(rows.map((r) => r.group))) {
      const own = rows.filter((r) => r.threads === threads && r.group === group);
      if (own.length === 0) continue;
      if (!isOperation(group)) {
        add(
          threads,
          group,
          'floor',
          own.flatMap(({ name, ofFloor }) => (ofFloor ? [{ name, ratio: ofFloor.median }] : [])),
          'needs a C compiler',
        );
      }
      for (const family of new Set(own.flatMap((r) => r.results.map((x) => x.family)))) {
        const best = own.flatMap(({ name, results }) =>
          bestOf(results)
            .filter((r) => r.family === family)
            .map(({ ratio, note }) => ({ name, ratio: ratio?.median, note })),
        );
        const found = best.flatMap(({ name, ratio }) => (ratio === undefined ? [] : [{ name, ratio }]));
        add(threads, group, family, found, best[0]?.note);
      }
      // What people would pick where there is no addon: the two of them, by their medians.
      const scripts = own.flatMap(({ name, results }) => {
        const [js, tf] = [jsBackend, tensorFlow].map((f) => results.find((r) => r.family === f)?.rate);
        return js && tf ? [{ name, ratio: js.median / tf.median }] : [];
      });
      if (scripts.length > 0) add(threads, group, `${jsBackend} / ${tensorFlow}`, scripts);
    }
  }
  return summary;
}

function showSummary(summary: readonly Summary[]): string {
  const lines = ['ours over theirs (the best of each family in every row), and our share of the floor'];
  for (const s of summary) {
    const head = `  ${`${s.threads} thread${s.threads > 1 ? 's' : ''}, ${s.group}`.padEnd(36)} ${s.against.padEnd(35)}`;
    if (s.geometricMean === null || s.least === null) {
      lines.push(`${head} ${shortNote(s.note)}`);
    } else if (s.against === 'floor') {
      const [mean, least] = [s.geometricMean, s.least.ratio].map((x) => `${(x * 100).toFixed(0)} %`);
      lines.push(`${head} ${mean?.padStart(8)} over ${s.rows} rows; least ${least} (${s.least.name})`);
    } else {
      const mean = `${digits(s.geometricMean)}x`;
      lines.push(
        `${head} ${mean.padStart(8)} over ${s.rows} rows; least ${digits(s.least.ratio)}x (${s.least.name})`,
      );
    }
  }
  return `${lines.join('\n')}\n`;
}

/** The peers that were asked for; our own processes always run. */
function chosenPeers(list: string | undefined): Entrant[] {
  if (list === undefined) return [...peers];
  const ids = peers.map((p) => p.id);
  const wanted = list.split(',').map((name) => name.trim());
  for (const name of wanted) {
    if (ids.includes(name)) continue;
    const near = suggest(name, ids);
    throw new UsageError(
      `--peers: there is no '${name}'${near ? `; did you mean ${near}?` : ''} (there are ${ids.join(', ')})`,
    );
  }
  return peers.filter(({ id }) => wanted.includes(id));
}

/** The numbers of every item of a list; `form` has a group for each number or for each list of them. */
function items(name: string, list: string | undefined, form: RegExp, example: string): number[][] {
  return (list === undefined ? [] : list.split(',')).map((text) => {
    const found = form.exec(text.trim());
    const numbers = (found?.slice(1) ?? []).flatMap((part) => part.split('-').map(Number));
    if (found === null || numbers.some((n) => n < 1 || n > 65_536)) {
      throw new UsageError(
        `--${name} takes items like ${example}, of numbers from 1 to 65536, not '${text}'`,
      );
    }
    return numbers;
  });
}

/** The tables, or the rows of what was given instead. */
function chosenRows(nets: string | undefined, products: string | undefined): RowSpec[] {
  if (nets === undefined && products === undefined) return allRows();
  return ownRows(
    items('nets', nets, /^(\d+(?:-\d+)+)@(\d+)$/, '784-300-10@64').map((numbers) => ({
      sizes: numbers.slice(0, -1),
      batch: numbers.at(-1) as number,
    })),
    items('products', products, /^(\d+)x(\d+)x(\d+)$/, '100x300x784') as [number, number, number][],
  );
}

/** Runs the comparison; returns the exit code. */
export async function main(
  argv: readonly string[],
  write: (text: string) => void = (t) => void process.stdout.write(t),
): Promise<number> {
  const given = parseOptions(argv, options);
  if (given.help) {
    write(usage.replace('PEERS', peers.map(({ id }) => id).join(',')));
    return 0;
  }
  const rounds = given.rounds === undefined ? (given.quick ? 3 : 5) : count('rounds', given.rounds, 1000);
  const ms = given.quick ? 15 : 40;
  const cores = availableParallelism();
  const threadCounts = (given.threads ?? (cores > 1 ? `1,${cores}` : '1'))
    .split(',')
    .map((text) => count('threads', text.trim(), 256));
  const entrants = [ours, kernel, ...chosenPeers(given.peers)];
  const wanted = (given.filter ?? '').toLowerCase();
  const rows = chosenRows(given.nets, given.products).filter(
    (r) => `${r.group}, ${r.name}`.toLowerCase().includes(wanted) && (r.quick || !given.quick),
  );
  if (rows.length === 0) throw new UsageError(`no row contains '${given.filter}'; --list shows them`);
  if (given.list) {
    for (const r of rows) write(`${r.group}, ${r.name}\n`);
    return 0;
  }
  const json = given.json ?? join('benchmarks', 'results', 'peers.json');
  const file = given.chart ?? join('benchmarks', 'results', 'peers.svg');
  if (json !== 'none') checkFile('json', json);
  if (file !== 'none') checkFile('chart', file);

  const machine = {
    cpu: backendInfo().cpu ?? cpus()[0]?.model ?? 'CPU',
    cores,
    node: process.version,
    isa: backendInfo().isa,
    load: { before: loadavg()[0] ?? 0, after: 0 },
  };
  write(
    `${machine.cpu}, ${cores} cores, load ${digits(machine.load.before)}; ${rounds} rounds of ${ms} ms, `,
  );
  write('interleaved; median (min–max), ratios are ours over theirs\n');
  if (machine.load.before > 0.3 * cores) {
    write(
      'Warning: the machine is busy. Peers whose threads wait for each other by spinning (OpenMP) suffer most: ',
    );
    write('ratios at more than one thread will flatter simdgrad.\n');
  }
  const found: Record<string, { version: string } | { missing: string; hint: string }> = {};
  const measured: PeerRow[] = [];
  for (const threads of threadCounts) {
    const field = await startAll([floor, ...entrants], threads);
    try {
      write(`\n==== ${threads} thread${threads > 1 ? 's' : ''} ====\n`);
      for (const { id, label, hint } of [floor, ...entrants]) {
        const version = field.running.get(id)?.version;
        const missing = field.missing.get(id) ?? '';
        found[id] = version === undefined ? { missing, hint } : { version };
        write(`  ${label.padEnd(22)} ${version ?? `not installed: ${shortNote(missing)} (${hint})`}\n`);
      }
      for (const [id, why] of field.missing) field.missing.set(id, `not installed: ${why}`);
      await checkOperations(rows, entrants, field);
      let group = '';
      for (const row of rows) {
        if (row.group !== group) write(heading(row, threads));
        group = row.group;
        // Half as long is thousands of these calls, and there are many rows.
        const sampleMs = isOperation(row.group) ? ms / 2 : ms;
        const result = await measureRow(row, entrants, field, rounds, sampleMs);
        if (typeof result === 'string') {
          write(`  ${row.name.padEnd(36)} ${result}\n`);
          continue;
        }
        measured.push(result);
        write(showRow(result));
      }
    } finally {
      for (const peer of field.running.values()) peer.stop();
    }
  }
  machine.load.after = loadavg()[0] ?? 0;
  const summary = summarize(measured);
  write(`\n${showSummary(summary)}`);

  if (json !== 'none') {
    const report: PeersReport = {
      schema: 'simdgrad-bench-peers-1',
      date: new Date().toISOString(),
      machine,
      rounds,
      sampleMs: ms,
      peers: found,
      rows: measured,
      summary,
    };
    writeFile(json, `${JSON.stringify(report, null, 1)}\n`);
    write(`\nwritten to ${json}\n`);
  }
  if (file !== 'none' && measured.length > 0) {
    // The many operations would stretch the chart beyond reading; by themselves they fit.
    const others = measured.filter(({ group }) => !isOperation(group));
    const svg = await ratioChart(
      (others.length > 0 ? others : measured).map((row) => ({
        name: `${row.group}, ${row.name}, ${row.threads}T`,
        ratios: bestOf(row.results).flatMap((r) => (r.ratio ? [{ family: r.family, ...r.ratio }] : [])),
      })),
    );
    if (svg === null) {
      write(`no chart: echarts is not installed (${npmHint})\n`);
    } else {
      writeFile(file, svg);
      write(`written to ${file}\n`);
    }
  }
  return measured.length > 0 ? 0 : 1;
}

await runAsProgram('peers', main);
