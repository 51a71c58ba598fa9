import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { backendInfo } from 'simdgrad';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

// Ten thousand steps in a process of their own: what it occupies must not grow once it has warmed up. Garbage is never
// collected by force, so that what is measured is what a person's loop would see.

const run = promisify(execFile);
let folder = '';
let bundle = '';

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'simdgrad-memory-'));
  bundle = join(folder, 'simdgrad.mjs');
  await build({
    entryPoints: [fileURLToPath(new URL('../../src/index.ts', import.meta.url))],
    outfile: bundle,
    bundle: true,
    platform: 'node',
    format: 'esm',
    logLevel: 'error',
  });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Report {
  /** Bytes after each tenth of the steps. */
  readonly rss: number[];
  readonly heap: number[];
  readonly external: number[];
}

/** What a program that runs in a fresh process prints as JSON. */
async function fromProcess<T>(name: string, body: string, flags: readonly string[] = []): Promise<T> {
  const file = join(folder, `${name}.mjs`);
  writeFileSync(
    file,
    `import * as sg from ${JSON.stringify(bundle)};
const { tensor, noGrad, randn, ones, compile, F, nn, optim, scope } = sg;
sg.manualSeed(1);
${body}
`,
  );
  const { addon, backend } = backendInfo();
  const env = { ...process.env, SIMDGRAD_BACKEND: backend, ...(addon ? { SIMDGRAD_ADDON: addon } : {}) };
  const { stdout } = await run(process.execPath, [...flags, file], { env, timeout: 60_000 });
  return JSON.parse(stdout) as T;
}

/** Source that leaves in `garbage` the bytes that each of so many steps of repeat(n) leaves behind, of 20 rounds the least. */
const leastGarbage = (steps: number) => `let garbage = Infinity;
for (let round = 0; round < 20; round++) {
  gc();
  const before = process.memoryUsage().heapUsed;
  repeat(${steps});
  garbage = Math.min(garbage, (process.memoryUsage().heapUsed - before) / ${steps});
}`;

/** Runs `step(i)` that `body` defines so many times in a fresh process. */
function measure(name: string, steps: number, body: string): Promise<Report> {
  return fromProcess<Report>(
    name,
    `${body}
const report = { rss: [], heap: [], external: [] };
for (let part = 0; part < 10; part++) {
  for (let i = 0; i < ${steps / 10}; i++) {
    await step(part * ${steps / 10} + i);
    // As a server would, let the loop turn now and then: finalizers run there.
    if (i % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const m = process.memoryUsage();
  report.rss.push(m.rss);
  report.heap.push(m.heapUsed);
  report.external.push(m.external);
}
console.log(JSON.stringify(report));`,
  );
}

const MB = 2 ** 20;
const mean = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0) / list.length;

/** The last three tenths occupy no more than the third to fifth did, but for garbage that is not yet collected. */
function expectFlat({ rss, heap, external }: Report, slack = 24, heapSlack = 4): void {
  for (const [what, list, limit] of [
    ['rss', rss, slack],
    ['heap', heap, heapSlack],
    ['external', external, slack],
  ] as const) {
    const growth = mean(list.slice(7)) - mean(list.slice(2, 5));
    expect(growth / MB, `${what}: ${list.map((v) => (v / MB).toFixed(1))} MB`).toBeLessThan(limit);
  }
}

const model = `
const w1 = noGrad(() => randn([32, 24]).mul(0.1)), b1 = sg.zeros(24), w2 = noGrad(() => randn([24, 10]).mul(0.1));
const params = [w1, b1, w2];
for (const p of params) p.requiresGrad = true;
const x = randn([16, 32]), y = sg.randint(0, 10, [16]);
const target = sg.oneHot(y, 10);
const train = (x, t) => {
  for (const p of params) p.grad = null;
  const loss = x.matmul(w1).add(b1).relu().matmul(w2).logSoftmax().mul(t).sum().mul(-1 / 16);
  loss.backward();
  noGrad(() => { for (const p of params) p.sub_(p.grad.mul(0.01)); });
  return loss;
};`;

describe('memory stays flat', () => {
  test('over 10,000 eager steps', async () => {
    expectFlat(await measure('eager', 10_000, `${model}\nconst step = () => { train(x, target); };`));
  });

  for (const name of ['Adam', 'RMSprop']) {
    test(`over 10,000 eager steps of ${name}`, async () => {
      expectFlat(
        await measure(
          `eager${name}`,
          10_000,
          `const net = new nn.Sequential(new nn.Linear(32, 24), new nn.ReLU(), new nn.Linear(24, 10));
const o = new optim.${name}(net.parameters());
const x = randn([16, 32]), y = sg.randint(0, 10, [16]);
const step = (i) => {
  o.zeroGrad();
  F.crossEntropy(net.forward(x), y).backward();
  if (i % 3 === 0) net.parameters()[i % 4].grad = null;
  o.step();
};`,
        ),
      );
    });
  }

  // On the JS backend nothing tells the engine of shared memory, with recorded steps or without.
  const native = test.skipIf(backendInfo().backend === 'js');
  native('over 400 optimizers of 2.4 MB each, made in one turn of the event loop', async () => {
    const { rss } = await fromProcess<{ rss: number[] }>(
      'optimizers',
      `const rss = [];
for (let i = 0; i < 400; i++) {
  const w = randn([200_000]);
  w.requiresGrad = true;
  const o = new optim.Adam([w]);
  for (let k = 0; k < 3; k++) { w.grad = w.detach().clone(); o.step(); }
  rss.push(process.memoryUsage().rss);
}
console.log(JSON.stringify({ rss }));`,
    );
    // What is kept until the loop turns would be 480 MB of parameters and moments, and more.
    expect((Math.max(...rss.slice(200)) - Math.max(...rss.slice(0, 100))) / MB).toBeLessThan(400);
  });

  test('over 10,000 compiled steps', async () => {
    expectFlat(
      await measure(
        'compiled',
        10_000,
        `${model}
const compiled = compile(train);
const last = randn([5, 32]), lastTarget = target.slice(0, 5);
const step = (i) => { const loss = i % 7 === 0 ? compiled(last, lastTarget) : compiled(x, target); if (i % 100 === 0) { loss.item(); w1.grad.data; } };`,
      ),
    );
  });

  test('over 3,000 asynchronous steps', async () => {
    expectFlat(
      await measure(
        'async',
        3_000,
        `${model}\nconst compiled = compile(train);\nconst step = () => compiled.async(x, target);`,
      ),
    );
  });

  test('over 1,000 eager steps with arrays of 400 KB, which only pools and scopes keep small', async () => {
    const { rss } = await measure(
      'large',
      1_000,
      `const w = randn([100_000]); w.requiresGrad = true;
const step = () => scope(() => { w.grad = null; w.tanh().mul(w).add(1).sum().backward(); noGrad(() => w.sub_(w.grad.mul(0.01))); });`,
    );
    expect(Math.max(...rss) - rss[0]).toBeLessThan(100 * MB);
  });

  test('where second derivatives are taken in every step', async () => {
    expectFlat(
      await measure(
        'second',
        2_000,
        `const w = randn([200]); w.requiresGrad = true;
const step = () => { const g = sg.grad(w.pow(3).sum(), w, { createGraph: true }); g.pow(2).sum().backward(); w.grad = null; };`,
      ),
    );
  });

  test('where steps are compiled anew and thrown away', async () => {
    expectFlat(
      await measure(
        'recompiled',
        1_000,
        `const w = randn([64, 64]); w.requiresGrad = true;
const step = (i) => { const f = compile((x) => { w.grad = null; const l = x.matmul(w).tanh().sum(); l.backward(); return l; }); f(ones(4, 64)); f(ones(4, 64)); };`,
      ),
      40,
    );
  });

  test('the measure notices a leak', async () => {
    const leak = await measure(
      'leak',
      2_000,
      `const kept = [];\nconst step = () => { kept.push(randn([10_000])); };`,
    );
    expect(() => expectFlat(leak)).toThrow();
    const chain = await measure(
      'chain',
      20_000,
      `let total = tensor([0]); const w = tensor([1], { requiresGrad: true });\nconst step = () => { total = total.add(w.mul(2)); };`,
    );
    expect(() => expectFlat(chain)).toThrow();
  });
});

describe('a compiled step', () => {
  /** Bytes of garbage per step, the growth of heap and RSS over 10,000 steps, and how often the addon was entered. */
  const figures = (name: string, step: string) =>
    fromProcess<{ garbage: number; heap: number; rss: number; entered: Record<string, number> }>(
      name,
      `import { createRequire } from 'node:module';
const layers = [new nn.Linear(24, 16), new nn.ReLU(), new nn.Linear(16, 10)];
const model = new nn.Sequential(...layers), optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });
const train = compile((x, y) => {
  optimizer.zeroGrad();
  const loss = F.crossEntropy(model.forward(x), y);
  loss.backward();
  optimizer.step();
  return loss;
});
const x = randn([8, 24]), y = sg.randint(0, 10, [8]);
const loader = new sg.data.DataLoader(new sg.data.TensorDataset(randn([800, 24]), sg.randint(0, 10, [800])), { batchSize: 8 });
const kept = [];
const step = ${step};
const repeat = (n) => { for (let i = 0; i < n; i++) step(); };
repeat(5000);
${leastGarbage(100)}
gc();
const before = process.memoryUsage();
repeat(10000);
gc();
const after = process.memoryUsage();
const entered = {};
const { addon } = sg.backendInfo();
if (addon) {
  const native = createRequire(import.meta.url)(addon);
  for (const holder of [native, native.Program.prototype]) for (const name of Object.getOwnPropertyNames(holder)) {
    const f = holder[name];
    if (typeof f !== 'function' || name === 'constructor' || name === 'Program') continue;
    holder[name] = function (...args) { entered[name] = (entered[name] ?? 0) + 1; return f.apply(this, args); };
  }
  repeat(100);
}
console.log(JSON.stringify({ garbage, heap: after.heapUsed - before.heapUsed, rss: after.rss - before.rss, entered }));`,
      ['--expose-gc'],
    );

  test('makes no garbage but what it returns, and crosses the boundary once', async () => {
    const { garbage, heap, rss, entered } = await figures('garbage', '() => train(x, y)');
    // A loss is about 600 bytes. (The JS kernels make some garbage of their own.)
    expect(garbage).toBeLessThan(backendInfo().backend === 'native' ? 1200 : 12_000);
    expect(heap).toBeLessThan(0.25 * MB);
    expect(rss).toBeLessThan(8 * MB);
    if (backendInfo().backend === 'native') expect(entered).toEqual({ run: 100 });
  });

  test('that takes its batches from a loader crosses it once for each of them, too', async () => {
    const { garbage, heap, rss, entered } = await figures(
      'epochs',
      '() => { for (const [a, b] of loader) { train(a, b); break; } }',
    );
    expect(garbage).toBeLessThan(12_000); // most of it is the order of the epoch
    expect(heap).toBeLessThan(0.25 * MB);
    expect(rss).toBeLessThan(16 * MB);
    if (backendInfo().backend === 'native') expect(entered).toEqual({ run: 100 });
  });

  test('whose garbage, leak or second crossing the measure would notice', async () => {
    const { garbage, heap, entered } = await figures(
      'dirty',
      '() => { kept.push(train(x, y)); kept.push(new Array(200).fill(0.5)); x.add_(0); }',
    );
    expect(garbage).toBeGreaterThan(2000);
    expect(heap).toBeGreaterThan(2 * MB);
    if (backendInfo().backend === 'native') expect(entered.call).toBeGreaterThan(99);
  });
});

test('an eager operation leaves little garbage and keeps nothing of its operands', async () => {
  const { garbage, alive } = await fromProcess<{ garbage: number; alive: number }>(
    'eager',
    `const a = randn([4, 4]), b = randn([4, 4]);
const repeat = (n) => { for (let i = 0; i < n; i++) a.matmul(b).dispose(); };
repeat(30_000);
${leastGarbage(1000)}
const used = () => {
  const x = randn([5, 6]), y = randn([6, 7]);
  return [x, y, x.matmul(y), x.exp(), x.add(x), x.sum(0)].map((t) => new WeakRef(t.view.storage));
};
const refs = used();
await new Promise((resolve) => setImmediate(resolve));
gc();
console.log(JSON.stringify({ garbage, alive: refs.filter((r) => r.deref() !== undefined).length }));`,
    ['--expose-gc'],
  );
  // Tensor, view, storage, shape, the list of operands: 490 bytes. (The JS kernels make some garbage of their own.)
  if (backendInfo().backend === 'native') expect(garbage).toBeLessThan(600);
  expect(alive).toBe(0);
});

test('a Jacobian takes its own memory once, not twice', async () => {
  const n = 4000;
  const { peak, shape } = await fromProcess<{ peak: number; shape: number[] }>(
    'jacobian',
    `const x = randn([${n}], { dtype: 'float64' });
sg.jacobian((t) => t.mul(2), x.slice([0, 8]));
const before = process.memoryUsage().rss;
const { shape } = sg.jacobian((t) => t.mul(2), x);
console.log(JSON.stringify({ shape, peak: process.resourceUsage().maxRSS * 1024 - before }));`,
  );
  expect(shape).toEqual([n, n]);
  expect(peak / (8 * n * n)).toBeLessThan(1.6);
});
