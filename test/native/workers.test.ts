import { spawn } from 'node:child_process';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { addon, addonPath, idOf, sanitized, shared } from './support.js';

/* Each environment has its own instance of the addon and its own threads; none may outlive or disturb another. */

const N = 384;

/** What workers and child processes start with: the addon, and a program of `times` matrix products. */
const prelude = `
const addon = require(${JSON.stringify(addonPath)});
const block = new Float64Array(new SharedArrayBuffer(2048));
addon.init(block);
addon.setNumThreads(2);
const shared = (n) => new Float32Array(new SharedArrayBuffer(4 * n));
const products = (times, n = ${N}) => {
  const params = [0, n, n, n, 0, n, 0, n, 1, 0, n, 1, -1, 0];
  const one = [${idOf('matmul')}, params.length, 4, ...params, 0, 1, 2, 0];
  const out = shared(n * n);
  const x = shared(n * n).map((_, i) => (i % 13) - 6);
  const y = shared(n * n).map((_, i) => (i % 7) - 3);
  const pinned = [out, shared(n * n), shared(n * n)];
  pinned[1].set(x);
  pinned[2].set(y);
  const program = new addon.Program({
    code: Float64Array.from(Array.from({ length: times }, () => one).flat()),
    buffers: pinned,
    patches: new Float64Array(0),
    slots: new Float64Array(new SharedArrayBuffer(0)),
  });
  return { program, out };
};
const sum = (array) => array.reduce((a, b) => a + b, 0);
`;

/** The sum of the product that the workers compute, from integers and so exact. */
function expectedSum(): number {
  let total = 0;
  const columns = new Float64Array(N);
  const rowsOf = new Float64Array(N);
  for (let i = 0; i < N; i++) {
    for (let k = 0; k < N; k++) {
      columns[k]! += ((i * N + k) % 13) - 6;
      rowsOf[i]! += ((i * N + k) % 7) - 3;
    }
  }
  for (let k = 0; k < N; k++) total += columns[k]! * rowsOf[k]!;
  return total;
}

const worker = (body: string): Worker =>
  new Worker(`const { parentPort } = require('node:worker_threads');${prelude}${body}`, { eval: true });

const message = (w: Worker): Promise<unknown> =>
  new Promise((resolve, reject) => {
    w.once('message', resolve);
    w.once('error', reject);
  });

const ended = (w: Worker): Promise<number> => new Promise((resolve) => w.once('exit', resolve));

interface Outcome {
  readonly code: number | null;
  readonly signal: string | null;
  readonly output: string;
}

function child(body: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const process_ = spawn(process.execPath, ['-e', prelude + body], { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    process_.stdout.on('data', (chunk) => (output += chunk));
    process_.stderr.on('data', (chunk) => (output += chunk));
    process_.once('close', (code, signal) => resolve({ code, signal, output }));
  });
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** This environment still works. */
function check(): void {
  const out = shared(0, 4);
  const program = new addon.Program({
    code: Float64Array.of(idOf('fill'), 5, 1, 1, 4, 0, 1, 3, 0),
    buffers: [out],
    patches: new Float64Array(0),
    slots: shared(1, 0) as Float64Array,
  });
  program.run([]);
  expect([...out]).toEqual([3, 3, 3, 3]);
}

describe.skipIf(addonPath === null)('environments', { timeout: sanitized ? 240_000 : 30_000 }, () => {
  it('load in several workers at once and give the same result in each', async () => {
    const workers = Array.from({ length: 4 }, () =>
      worker(`
        const { program, out } = products(5);
        program.run([]);
        const first = sum(out);
        out.fill(0);
        program.runAsync([], (error) => parentPort.postMessage([error, first, sum(out)]));
      `),
    );
    const ends = workers.map(ended);
    const results = await Promise.all(workers.map(message));
    for (const result of results) expect(result).toEqual([null, expectedSum(), expectedSum()]);
    expect(await Promise.all(ends)).toEqual([0, 0, 0, 0]);
    check();
  });

  it('end while a worker is in the middle of a synchronous step', async () => {
    for (let round = 0; round < 3; round++) {
      const w = worker(`
        const { program } = products(10);
        parentPort.postMessage('ready');
        for (;;) program.run([]);
      `);
      await message(w);
      await pause(15 + 10 * round);
      expect(await w.terminate()).toBe(1);
      check();
    }
  });

  it('end while a worker has asynchronous steps in flight', async () => {
    for (let round = 0; round < 4; round++) {
      const w = worker(`
        const running = [products(20), products(20), products(20)];
        const again = ({ program }) => program.runAsync([], () => again({ program }));
        running.forEach(again);
        parentPort.postMessage('ready');
        ${round % 2 === 0 ? '' : 'for (;;) products(1).program.run([]);'}
      `);
      await message(w);
      await pause(10 + 15 * round);
      expect(await w.terminate()).toBe(1);
      check();
    }
  });

  it('end when a worker exits by itself with a step in flight', async () => {
    const w = worker(`
      products(20).program.runAsync([], () => {});
      setTimeout(() => process.exit(3), 5);
    `);
    expect(await ended(w)).toBe(3);
    check();
  });

  it('survive the exit of the process while steps run', async () => {
    const outcome = await child(`
      for (let i = 0; i < 3; i++) products(30).program.runAsync([], () => console.log('completed'));
      setTimeout(() => process.exit(7), 20);
    `);
    expect(outcome).toMatchObject({ code: 7, signal: null });
  });

  it('survive the exit of the process while workers run steps', async () => {
    const body = `${prelude}
      const again = ({ program }) => program.runAsync([], () => again({ program }));
      again(products(10));
      require('node:worker_threads').parentPort.postMessage('ready');
      for (;;) products(1).program.run([]);`;
    const outcome = await child(`
      const { Worker } = require('node:worker_threads');
      let ready = 0;
      for (let i = 0; i < 2; i++) {
        new Worker(${JSON.stringify(body)}, { eval: true }).once('message', () => {
          if (++ready === 2) setTimeout(() => process.exit(5), 20);
        });
      }
    `);
    expect(outcome).toMatchObject({ code: 5, signal: null, output: '' });
  });

  it('keep the process alive until a step has completed, and no longer', async () => {
    const outcome = await child(`
      const { program, out } = products(10);
      program.run([]);
      const expected = sum(out);
      out.fill(0);
      program.runAsync([], (error) => console.log(error, sum(out) === expected));
    `);
    expect(outcome).toEqual({ code: 0, signal: null, output: 'null true\n' });
  });

  it('treat what a callback throws as an uncaught exception', async () => {
    const outcome = await child(`
      process.on('uncaughtException', (error) => console.log('caught', error.message));
      products(1).program.runAsync([], () => { throw new Error('from the callback'); });
    `);
    expect(outcome).toEqual({ code: 0, signal: null, output: 'caught from the callback\n' });
  });

  it('keep a program that is in flight although nobody refers to it', async () => {
    const outcome = await child(`
      const v8 = require('node:v8');
      v8.setFlagsFromString('--expose-gc');
      const gc = require('node:vm').runInNewContext('gc');
      let left = 3;
      for (let i = 0; i < 3; i++) products(20).program.runAsync([], (error) => { if (--left === 0) console.log(error); });
      for (let i = 0; i < 5; i++) gc();
      setTimeout(gc, 5);
    `);
    expect(outcome).toEqual({ code: 0, signal: null, output: 'null\n' });
  });

  it('let programs and their memory be collected', async () => {
    const outcome = await child(`
      const v8 = require('node:v8');
      v8.setFlagsFromString('--expose-gc');
      const gc = require('node:vm').runInNewContext('gc');
      let collected = 0;
      const registry = new FinalizationRegistry(() => collected++);
      for (let i = 0; i < 50; i++) {
        const { program, out } = products(1, 32);
        program.run([]);
        registry.register(program);
        registry.register(out);
      }
      (async () => {
        for (let i = 0; i < 20 && collected < 90; i++) {
          gc();
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
        console.log(collected >= 90);
      })();
    `);
    expect(outcome).toEqual({ code: 0, signal: null, output: 'true\n' });
  });
});
