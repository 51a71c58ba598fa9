import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { backendInfo, io, nn, setBackend } from 'simdgrad';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { main, type Output, type Report } from '../../examples/mnist.js';

const folder = mkdtempSync(join(tmpdir(), 'simdgrad-mnist-example-'));
afterAll(() => rmSync(folder, { recursive: true }));

const initial = backendInfo().backend;
afterEach(() => setBackend(initial));

class Capture implements Output {
  text = '';
  constructor(readonly isTTY?: boolean) {}
  write(text: string): boolean {
    this.text += text;
    return true;
  }
}

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const [stdout, stderr] = [new Capture(), new Capture()];
  const code = await main(argv, { stdout, stderr });
  return { code, out: stdout.text, err: stderr.text };
}

const small = ['--limit', '1000', '--epochs', '2', '--hidden', '32', '--batch-size', '64', '--lr', '0.005'];

async function report(...argv: string[]): Promise<Report> {
  const { code, out } = await run(...small, '--json', ...argv);
  expect(code).toBe(0);
  return JSON.parse(out) as Report;
}

describe('command line', () => {
  it('prints its options', async () => {
    for (const arg of ['--help', '-h']) {
      const { code, out, err } = await run(arg);
      expect([code, err]).toEqual([0, '']);
      for (const name of 'epochs batch-size lr hidden seed backend threads eager save json help'.split(' ')) {
        expect(out).toContain(`--${name}`);
      }
    }
  });

  it.each([
    ['--epoch 3', /no option --epoch; did you mean --epochs\?/],
    ['--batchsize=3', /did you mean --batch-size\?/],
    ['--sede 1', /did you mean --seed\?/],
    ['--quux', /no option --quux\n/],
    ['--constructor', /no option --constructor/],
    ['train', /'train' is not an option/],
    ['-e', /'-e' is not an option/],
    ['--epochs', /--epochs needs a value/],
    ['--epochs --json', /--epochs needs a value/],
    ['--epochs 0', /--epochs takes a whole number from 1 to 10000, not '0'/],
    ['--epochs 1.5', /not '1\.5'/],
    ['--epochs=', /not ''/],
    ['--batch-size 1e3', /not '1e3'/],
    ['--lr -1', /--lr takes a number above 0, not '-1'/],
    ['--lr x', /not 'x'/],
    ['--lr Infinity', /not 'Infinity'/],
    ['--hidden 256,', /--hidden takes a whole number/],
    ['--hidden 0', /--hidden takes/],
    ['--seed -1', /--seed takes/],
    ['--threads 0', /--threads takes a whole number from 1 to 256/],
    ['--backend nativ', /takes native or js, not 'nativ'; did you mean native\?/],
    ['--backend cuda', /takes native or js, not 'cuda'\n/],
    ['--eager=1', /--eager takes no value/],
    ['--save /nowhere/at/all', /--save takes the path of a file in an existing folder/],
    ['--save /', /--save takes/],
  ])('refuses %s', async (line, message) => {
    const { code, out, err } = await run(...line.split(' '));
    expect([code, out]).toEqual([2, '']);
    expect(err).toMatch(message);
    expect(err).not.toMatch(/\bat .*:\d+/); // no stack
  });
});

describe('training', () => {
  it('says what it uses, how it goes, and the accuracy', async () => {
    const { code, out, err } = await run(...small);
    const { backend, isa, threads } = backendInfo();
    expect([code, err]).toEqual([0, '']);
    const lines = out.trimEnd().split('\n');
    expect(lines[0]).toMatch(
      backend === 'js' ? /^backend: js$/ : `backend: native, ${isa}, ${threads} thread`,
    );
    expect(lines[1]).toMatch(/784-32-10, .*batches of 64, seed 0/);
    expect(lines[2]).toMatch(/^epoch 1\/2: loss \d\.\d{4}, test accuracy 0\.\d{4}, [\d,]+ samples\/s$/);
    expect(lines[3]).toMatch(/^epoch 2\/2: /);
    expect(lines[4]).toMatch(/^test accuracy: 0\.\d{4}$/);
    expect(lines).toHaveLength(5);
  });

  it('prints one JSON document and nothing else on stdout', async () => {
    const { code, out, err } = await run(...small, '--json', '--seed', '3');
    expect(code).toBe(0);
    const result = JSON.parse(out) as Report;
    expect(result.options).toEqual({
      epochs: 2,
      batchSize: 64,
      lr: 0.005,
      hidden: [32],
      seed: 3,
      limit: 1000,
    });
    expect(result.backend).toMatchObject({ name: backendInfo().backend, threads: backendInfo().threads });
    expect(result.compiled).toBe(true);
    expect(result.epochs).toHaveLength(2);
    expect(result.epochs[1].loss).toBeLessThan(result.epochs[0].loss);
    expect(result.testAccuracy).toBe(result.epochs[1].testAccuracy);
    // Ten classes: a network that has learnt nothing starts near log 10, and is right once in ten times.
    expect(result.firstLoss).toBeGreaterThan(1.9);
    expect(result.firstLoss).toBeLessThan(2.9);
    expect(result.testAccuracy).toBeGreaterThan(0.75);
    expect(result.samplesPerSecond).toBeGreaterThan(0);
    expect(err).toMatch(/epoch 2\/2/);
  });

  it('follows the seed, compiled or not', async () => {
    const numbers = (r: Report) => [r.firstLoss, ...r.epochs.flatMap((e) => [e.loss, e.testAccuracy])];
    const a = numbers(await report());
    expect(numbers(await report())).toEqual(a);
    const eager = numbers(await report('--eager'));
    eager.forEach((x, i) => {
      expect(Math.abs(x - a[i])).toBeLessThan(i === 0 ? 1e-6 : 2e-3);
    });
    expect(numbers(await report('--seed', '1'))).not.toEqual(a);
  });

  it.skipIf(initial !== 'native')('gives the same first loss on both backends', async () => {
    const native = await report();
    const js = await report('--backend', 'js');
    expect([native.backend.name, js.backend.name]).toEqual(['native', 'js']);
    expect(Math.abs(native.firstLoss - js.firstLoss)).toBeLessThan(1e-5);
    expect(Math.abs(native.testAccuracy - js.testAccuracy)).toBeLessThan(0.005);
  });

  it('stores the trained model', async () => {
    const file = join(folder, 'model.safetensors');
    const { code, out } = await run(...small, '--save', file);
    expect(code).toBe(0);
    expect(out).toContain(`saved: ${file}`);
    const model = new nn.Sequential(new nn.Linear(784, 32), new nn.ReLU(), new nn.Linear(32, 10));
    model.loadStateDict(io.load(file));
    expect(Object.keys(io.loadSafetensors(file)).length).toBe(model.parameters().length);
  });

  it('draws a bar on a terminal, and puts the cursor back', async () => {
    const stdout = new Capture(true);
    const code = await main(small, { stdout, stderr: new Capture() });
    expect(code).toBe(0);
    expect(stdout.text).toMatch(/epoch 1\/2 .*loss/);
    expect(stdout.text).toMatch(/test accuracy: 0\.\d{4}\n$/);
    const [hides, shows] = ['\x1b[?25l', '\x1b[?25h'].map((code) => stdout.text.lastIndexOf(code));
    expect(shows).toBeGreaterThan(hides);
  });
});

describe('Ctrl-C', () => {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  // Inside the package, where the loader finds the addon.
  const program = join(root, 'build', `mnist-test-${process.pid}.mjs`);
  let child: ChildProcess | null = null;

  beforeAll(async () => {
    await build({
      entryPoints: [join(root, 'examples', 'mnist.ts')],
      outfile: program,
      bundle: true,
      platform: 'node',
      format: 'esm',
      packages: 'external',
      alias: { simdgrad: join(root, 'src', 'index.ts') },
      tsconfigRaw: {},
      logLevel: 'error',
    });
  });
  afterAll(() => {
    child?.kill('SIGKILL');
    rmSync(program, { force: true });
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s ends it with a message and code %i', async (signal, expected) => {
    const file = join(folder, 'never');
    child = spawn(process.execPath, [program, '--epochs', '1000', '--save', file], { cwd: root });
    let [out, err] = ['', ''];
    child.stdout?.on('data', (text) => (out += text));
    child.stderr?.on('data', (text) => (err += text));
    const started = new Promise<void>((resolve) => {
      child?.stdout?.on('data', () => {
        if (out.includes('model:')) resolve();
      });
    });
    const ended = new Promise<number | null>((resolve) => child?.on('exit', (code) => resolve(code)));
    await Promise.race([started, ended]);
    setTimeout(() => child?.kill(signal), 300);
    expect(await ended).toBe(expected);
    expect(err).toBe('interrupted; nothing was saved\n');
    expect(existsSync(file)).toBe(false);
  });

  it('reports mistakes as a process, with code 2 and no stack', async () => {
    child = spawn(process.execPath, [program, '--epohcs', '3'], { cwd: root });
    let err = '';
    child.stderr?.on('data', (text) => (err += text));
    const code = await new Promise((resolve) => child?.on('exit', resolve));
    expect([code, err]).toEqual([
      2,
      'mnist: there is no option --epohcs; did you mean --epochs?\nTry --help.\n',
    ]);
  });
});
