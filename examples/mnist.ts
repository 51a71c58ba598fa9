// Trains a multilayer perceptron on the MNIST digits: `npm start -- --help` lists the options.

import { existsSync, realpathSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import process from 'node:process';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  backendInfo,
  compile,
  data,
  F,
  Generator,
  init,
  io,
  nn,
  noGrad,
  optim,
  SimdgradError,
  setBackend,
  setNumThreads,
  type Tensor,
} from 'simdgrad';
import { suggest } from '../src/suggest.js';

const usage = `Usage: npm start -- [options]

Trains a network of fully connected layers on the 60,000 MNIST digits and tests it on 10,000 others.

  --epochs n           passes over the training digits (default 5)
  --batch-size n       digits per step (default 128)
  --lr x               Adam's learning rate at the start; it falls evenly to 0 (default 0.001)
  --hidden n,n,…       sizes of the hidden layers (default 256,128)
  --seed n             of the initial weights and the order of the digits (default 0)
  --limit n            train on the first n digits only (default 60000)
  --backend name       native or js (default: native where it loads)
  --threads n          threads of the native kernels (default: all processors)
  --eager              run operation by operation, without compile()
  --save FILE          store the trained model (its stateDict) in FILE
  --json               print one JSON document instead of text
  -h, --help           this text
`;

/** Where the program writes; process fits. */
export interface Streams {
  readonly stdout: Output;
  readonly stderr: Output;
}

export interface Output {
  write(text: string): unknown;
  readonly isTTY?: boolean;
}

export interface Options {
  epochs: number;
  batchSize: number;
  lr: number;
  hidden: number[];
  seed: number;
  limit: number;
  backend: 'native' | 'js' | null;
  threads: number | null;
  eager: boolean;
  save: string | null;
  json: boolean;
  help: boolean;
}

/** A mistake on the command line. */
class UsageError extends Error {}

/** What --json prints. */
export interface Report {
  readonly backend: {
    readonly name: string;
    readonly isa: string | null;
    readonly threads: number;
    readonly cpu: string | null;
  };
  readonly compiled: boolean;
  readonly options: Pick<Options, 'epochs' | 'batchSize' | 'lr' | 'hidden' | 'seed' | 'limit'>;
  /** Of the first batch, before any update. */
  readonly firstLoss: number;
  readonly epochs: readonly Epoch[];
  /** Mean over the epochs, without the first batch (which is when the step is compiled). */
  readonly samplesPerSecond: number;
  readonly testAccuracy: number;
}

export interface Epoch {
  readonly epoch: number;
  /** Mean over the epoch's examples, as they were trained on. */
  readonly loss: number;
  readonly testAccuracy: number;
  readonly samplesPerSecond: number;
}

function wholeNumber(text: string, low: number, high: number): number {
  const n = Number(text);
  if (!/^\d+$/.test(text) || n < low || n > high) {
    throw new UsageError(`takes a whole number from ${low} to ${high}, not '${text}'`);
  }
  return n;
}

/** Options that take a value, and what they do with it. */
const valued: Record<string, (o: Options, text: string) => void> = {
  epochs: (o, text) => (o.epochs = wholeNumber(text, 1, 10_000)),
  'batch-size': (o, text) => (o.batchSize = wholeNumber(text, 1, 60_000)),
  lr: (o, text) => {
    o.lr = Number(text);
    if (text.trim() === '' || !(o.lr > 0) || o.lr === Infinity)
      throw new UsageError(`takes a number above 0, not '${text}'`);
  },
  hidden: (o, text) => (o.hidden = text.split(',').map((size) => wholeNumber(size.trim(), 1, 65_536))),
  seed: (o, text) => (o.seed = wholeNumber(text, 0, Number.MAX_SAFE_INTEGER)),
  limit: (o, text) => (o.limit = wholeNumber(text, 1, 60_000)),
  backend: (o, text) => {
    if (text !== 'native' && text !== 'js') {
      const near = suggest(text, ['native', 'js']);
      throw new UsageError(`takes native or js, not '${text}'${near ? `; did you mean ${near}?` : ''}`);
    }
    o.backend = text;
  },
  threads: (o, text) => (o.threads = wholeNumber(text, 1, 256)),
  save: (o, text) => {
    const path = resolve(text);
    // Better now than after the training.
    if (text === '' || !existsSync(dirname(path)) || (existsSync(path) && !statSync(path).isFile())) {
      throw new UsageError(`takes the path of a file in an existing folder, not '${text}'`);
    }
    o.save = path;
  },
};

const flags: Record<string, (o: Options) => void> = {
  eager: (o) => (o.eager = true),
  json: (o) => (o.json = true),
  help: (o) => (o.help = true),
};

/** Reads the command line. Throws UsageError for anything that is not an option or not a value of one. */
function parse(argv: readonly string[]): Options {
  const options: Options = {
    epochs: 5,
    batchSize: 128,
    lr: 0.001,
    hidden: [256, 128],
    seed: 0,
    limit: 60_000,
    backend: null,
    threads: null,
    eager: false,
    save: null,
    json: false,
    help: false,
  };
  const names = [...Object.keys(valued), ...Object.keys(flags)];
  for (let i = 0; i < argv.length; i++) {
    const arg = argv[i] === '-h' ? '--help' : argv[i];
    const [, name, inline] = /^--([^=]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (name === undefined) throw new UsageError(`'${arg}' is not an option (options begin with --)`);
    if (Object.hasOwn(flags, name)) {
      if (inline !== undefined) throw new UsageError(`--${name} takes no value`);
      flags[name](options);
    } else if (Object.hasOwn(valued, name)) {
      const value = inline ?? argv[++i];
      if (value === undefined || (inline === undefined && value.startsWith('--'))) {
        throw new UsageError(`--${name} needs a value`);
      }
      try {
        valued[name](options, value);
      } catch (error) {
        if (error instanceof UsageError) throw new UsageError(`--${name} ${error.message}`);
        throw error;
      }
    } else {
      const near = suggest(name, names);
      throw new UsageError(
        `there is no option --${name}${near === undefined ? '' : `; did you mean --${near}?`}`,
      );
    }
  }
  return options;
}

/** Set by Ctrl-C; looked at whenever training lets the event loop run. */
interface Interruption {
  signal: NodeJS.Signals | null;
}

class Interrupted extends Error {}

/** What an epoch shows while it runs. */
interface Progress {
  update(batches: number, loss: number): void;
  stop(): void;
}

const noProgress = (): Progress => ({ update: () => {}, stop: () => {} });

/** Shows a bar where there is a terminal to draw it on. */
async function progressBars(out: Output): Promise<(epoch: string, batches: number) => Progress> {
  if (out.isTTY !== true) return noProgress;
  const { SingleBar } = (await import('cli-progress')).default;
  return (epoch, batches) => {
    const bar = new SingleBar({
      format: `${epoch} {bar} {percentage}% | loss {loss} | {eta_formatted} left`,
      barCompleteChar: '█',
      barIncompleteChar: '░',
      barsize: 30,
      hideCursor: true,
      clearOnComplete: true,
      gracefulExit: false, // Ctrl-C is handled below
      stream: out as unknown as NodeJS.WritableStream,
    });
    bar.start(batches, 0, { loss: '–' });
    return { update: (n, loss) => bar.update(n, { loss: loss.toFixed(4) }), stop: () => bar.stop() };
  };
}

/** Lets timers and signals in, but not so often that it costs anything. */
function breather(interruption: Interruption): () => Promise<void> {
  let last = performance.now();
  return async () => {
    if (performance.now() - last < 40) return;
    await setImmediate();
    last = performance.now();
    if (interruption.signal !== null) throw new Interrupted();
  };
}

async function run(options: Options, streams: Streams, interruption: Interruption): Promise<Report> {
  const { epochs, batchSize, lr, hidden, seed, limit, eager, json } = options;
  const log = (line: string): unknown => (json ? streams.stderr : streams.stdout).write(`${line}\n`);
  const breathe = breather(interruption);

  if (options.backend !== null) setBackend(options.backend);
  if (options.threads !== null) setNumThreads(options.threads);
  const { backend, isa, threads, cpu } = backendInfo();
  const details = backend === 'js' ? '' : `, ${isa}, ${threads} thread${threads === 1 ? '' : 's'}`;
  log(`backend: ${backend}${details}${cpu === null ? '' : ` (${cpu})`}`);

  const { train: digits, test } = data.mnist();
  const train = limit < digits.size ? digits.subset(Array.from({ length: limit }, (_, i) => i)) : digits;

  // One generator for the weights and the order of the digits: the seed decides everything.
  const generator = new Generator(seed);
  const sizes = [784, ...hidden, 10];
  const layers: nn.Module[] = [];
  for (let i = 0; i + 1 < sizes.length; i++) {
    if (i > 0) layers.push(new nn.ReLU());
    const layer = new nn.Linear(sizes[i], sizes[i + 1], { generator });
    // Wider than Linear's own, as suits ReLU: five epochs are enough with it.
    init.kaimingUniform(layer.weight, { nonlinearity: 'relu', generator });
    layers.push(layer);
  }
  const model = new nn.Sequential(...layers);
  const optimizer = new optim.Adam(model.namedParameters(), { lr });
  const loader = new data.DataLoader(train, { batchSize, shuffle: true, generator });
  log(`model: ${sizes.join('-')}, Adam with lr ${lr} falling to 0, batches of ${batchSize}, seed ${seed}`);

  const trainStep = (x: Tensor, y: Tensor): Tensor => {
    optimizer.zeroGrad();
    const loss = F.crossEntropy(model.forward(x), y);
    loss.backward();
    optimizer.step();
    return loss;
  };
  const predict = (x: Tensor): Tensor => noGrad(() => model.forward(x).argmax(1));
  const step = eager ? trainStep : compile(trainStep);
  const classify = eager ? predict : compile(predict);

  const testAccuracy = async (): Promise<number> => {
    model.eval();
    let right = 0;
    for (const [x, y] of new data.DataLoader(test, { batchSize: 1000 })) {
      right += classify(x).eq(y).to('int32').sum().item();
      await breathe();
    }
    model.train();
    return right / test.size;
  };

  const startBar = json ? noProgress : await progressBars(streams.stdout);
  const results: Epoch[] = [];
  let firstLoss = Number.NaN;
  let [samples, seconds, updates] = [0, 0, 0];
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const name = `epoch ${String(epoch).padStart(String(epochs).length)}/${epochs}`;
    const bar = startBar(name, loader.length);
    let [sum, count, batches] = [0, 0, 0];
    const start = performance.now();
    // The first step of all is when the program is made.
    let skipped = { milliseconds: 0, samples: 0 };
    try {
      for (const [x, y] of loader) {
        optimizer.lr = lr * (1 - updates++ / (epochs * loader.length));
        const loss = step(x, y).item();
        sum += loss * x.shape[0];
        count += x.shape[0];
        if (Number.isNaN(firstLoss)) {
          firstLoss = loss;
          skipped = { milliseconds: performance.now() - start, samples: x.shape[0] };
        }
        bar.update(++batches, loss);
        await breathe();
      }
    } finally {
      bar.stop();
    }
    const taken = (performance.now() - start - skipped.milliseconds) / 1000;
    samples += count - skipped.samples;
    seconds += taken;
    const result = {
      epoch,
      loss: sum / count,
      testAccuracy: await testAccuracy(),
      samplesPerSecond: Math.round((count - skipped.samples) / taken),
    };
    results.push(result);
    log(
      `${name}: loss ${result.loss.toFixed(4)}, test accuracy ${result.testAccuracy.toFixed(4)}, ` +
        `${result.samplesPerSecond.toLocaleString('en')} samples/s`,
    );
  }

  if (options.save !== null) {
    io.save(options.save, model.stateDict());
    log(`saved: ${options.save}`);
  }
  return {
    backend: { name: backend, isa, threads, cpu },
    compiled: !eager,
    options: { epochs, batchSize, lr, hidden, seed, limit },
    firstLoss,
    epochs: results,
    samplesPerSecond: Math.round(samples / seconds),
    testAccuracy: results[results.length - 1].testAccuracy,
  };
}

const exitCodes: Partial<Record<NodeJS.Signals, number>> = { SIGINT: 130, SIGTERM: 143 };

/**
 * The program: trains as `argv` says and writes to `streams`.
 *
 * @returns the exit code: 0, 2 for a mistake in `argv`, 1 for other failures, 130 after Ctrl-C
 */
export async function main(argv: readonly string[], streams: Streams): Promise<number> {
  let options: Options;
  try {
    options = parse(argv);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    streams.stderr.write(`mnist: ${error.message}\nTry --help.\n`);
    return 2;
  }
  if (options.help) {
    streams.stdout.write(usage);
    return 0;
  }
  const interruption: Interruption = { signal: null };
  const onSignal = (signal: NodeJS.Signals): void => {
    interruption.signal = signal;
  };
  // Once: a second Ctrl-C ends the process at once.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal);
  try {
    const report = await run(options, streams, interruption);
    streams.stdout.write(
      options.json
        ? `${JSON.stringify(report, null, 2)}\n`
        : `test accuracy: ${report.testAccuracy.toFixed(4)}\n`,
    );
    return 0;
  } catch (error) {
    if (error instanceof Interrupted) {
      streams.stderr.write('interrupted; nothing was saved\n');
      return exitCodes[interruption.signal ?? 'SIGINT'] ?? 1;
    }
    // What people can do something about; anything else is a bug and keeps its stack.
    if (!(error instanceof SimdgradError) && (error as NodeJS.ErrnoException).syscall === undefined)
      throw error;
    streams.stderr.write(`mnist: ${(error as Error).message}\n`);
    return 1;
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.removeListener(signal, onSignal);
  }
}

/** True if this file is the program, and not imported by one. */
function isMain(): boolean {
  const program = process.argv[1];
  try {
    return program !== undefined && realpathSync(program) === realpathSync(fileURLToPath(import.meta.url));
  } catch {
    return false;
  }
}

if (isMain()) {
  // A reader that has seen enough (`npm start | head`) is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(0);
  });
  process.exitCode = await main(process.argv.slice(2), process);
}
