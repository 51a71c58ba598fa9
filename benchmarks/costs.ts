// What surrounds the steps: import, recording, epochs over a loader, asynchronous steps beside other work.
import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import process from 'node:process';
import { pathToFileURL } from 'node:url';
import { type CompiledStep, compile, data, Generator, randint, randn, type Tensor } from 'simdgrad';
import { nets, trainer } from './cases.js';
import { type Spread, spread } from './measure.js';

export interface Cost {
  readonly name: string;
  readonly unit: string;
  /** What the project wants; the value is to stay below, or above where it says so. */
  readonly target: string;
  /** `rounds` samples of each side, taken in turn. */
  readonly measure: (rounds: number, quick: boolean) => Promise<Spread>;
}

const now = () => performance.now();

const entry = (): string => pathToFileURL(createRequire(import.meta.url).resolve('simdgrad')).href;

/** The number that a program prints. */
function inFreshProcess(program: string): number {
  return Number(execFileSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' }));
}

/** Milliseconds in a fresh process to import the package and load the kernels. */
async function importTime(rounds: number): Promise<Spread> {
  const program = `const t = performance.now(); const m = await import(${JSON.stringify(entry())}); m.backendInfo();
console.log(performance.now() - t);`;
  inFreshProcess(program);
  return spread(Array.from({ length: rounds * 3 }, () => inFreshProcess(program)));
}

/**
 * What the first call of a compiled step costs beside running it (recording and planning), in eager steps of the net. Eager
 * steps come before it: the state of the optimizer, which somebody has to make, is there.
 */
async function recording(net: string, batch: number, rounds: number): Promise<Spread> {
  const timed = (run: () => void): number => {
    const begin = now();
    run();
    return now() - begin;
  };
  const { step, x, y } = trainer(nets[net] as number[], batch);
  const ratios: number[] = [];
  // The first rounds warm the engine up.
  for (let round = -5; round < 2 * rounds; round++) {
    const steps = Array.from({ length: 9 }, () => timed(() => step(x, y)));
    const compiled = compile(step);
    const first = timed(() => compiled(x, y));
    compiled(x, y); // is recorded again, and compared
    const replays = Array.from({ length: 9 }, () => timed(() => compiled(x, y)));
    if (round >= 0) ratios.push((first - spread(replays).median) / spread(steps).median);
  }
  return spread(ratios);
}

/** The same in a fresh process, where nothing is warm: the first compiled call in first eager steps. */
async function coldRecording(net: string, batch: number, rounds: number): Promise<Spread> {
  const program = (
    compiled: boolean,
  ) => `const { compile, F, Generator, nn, optim, randint, randn } = await import(${JSON.stringify(entry())});
const sizes = ${JSON.stringify(nets[net])}, generator = new Generator(7);
const layers = sizes.slice(1).flatMap((n, i) => [new nn.Linear(sizes[i], n, { generator }), new nn.ReLU()]);
const model = new nn.Sequential(...layers.slice(0, -1)), optimizer = new optim.Adam(model.parameters(), { lr: 1e-3 });
const x = randn([${batch}, sizes[0]], { generator }), y = randint(0, sizes.at(-1), [${batch}], { generator });
const step = (x, y) => {
  optimizer.zeroGrad();
  const loss = F.crossEntropy(model.forward(x), y);
  loss.backward();
  optimizer.step();
  return loss;
};
const run = ${compiled} ? compile(step) : step;
const t = performance.now();
run(x, y);
console.log(performance.now() - t);`;
  return spread(
    Array.from({ length: rounds }, () => inFreshProcess(program(true)) / inFreshProcess(program(false))),
  );
}

type Step = CompiledStep<[Tensor, Tensor], Tensor>;

/** An epoch through a shuffling DataLoader, in as many steps on one batch. */
async function epoch(net: string, rounds: number, quick: boolean): Promise<Spread> {
  const batch = 128;
  const n = quick ? 12_800 : 60_000;
  const generator = new Generator(3);
  const images = randn([n, 784], { generator });
  const labels = randint(0, 10, [n], { generator });
  const loader = new data.DataLoader(new data.TensorDataset(images, labels), {
    batchSize: batch,
    shuffle: true,
    dropLast: true,
    generator,
  });
  const { step, x, y } = trainer(nets[net] as number[], batch);
  const compiled: Step = compile(step);
  const timed = (run: () => void): number => {
    const begin = now();
    run();
    return now() - begin;
  };
  const through = () =>
    timed(() => {
      for (const [a, b] of loader) compiled(a, b);
    });
  const bare = () =>
    timed(() => {
      for (let i = loader.length; i > 0; i--) compiled(x, y);
    });
  through();
  bare();
  const ratios: number[] = [];
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) ratios.push(through() / bare());
    else {
      const base = bare();
      ratios.push(through() / base);
    }
  }
  return spread(ratios);
}

/** How late a timer of 5 ms is: the 99th percentile of each round, while `work` goes on. */
async function lateness(work: () => Promise<void>): Promise<number> {
  const late: number[] = [];
  let timer: NodeJS.Timeout | undefined;
  const arm = () => {
    const due = now() + 5;
    timer = setTimeout(() => {
      late.push(now() - due);
      arm();
    }, 5);
  };
  arm();
  await work();
  clearTimeout(timer);
  late.sort((a, b) => a - b);
  return late[Math.floor(late.length * 0.99)] ?? NaN;
}

function asynchronous(quick: boolean) {
  const { step, x, y } = trainer(nets.C as number[], 128);
  const compiled: Step = compile(step);
  const steps = quick ? 20 : 100;
  return {
    async: async () => {
      for (let i = 0; i < steps; i++) await compiled.async(x, y);
    },
    sync: async () => {
      for (let i = 0; i < steps; i++) compiled(x, y);
    },
  };
}

async function throughput(rounds: number, quick: boolean): Promise<Spread> {
  const run = asynchronous(quick);
  const timed = async (work: () => Promise<void>) => {
    const begin = now();
    await work();
    return now() - begin;
  };
  await run.async();
  await run.sync();
  const ratios: number[] = [];
  for (let round = 0; round < rounds; round++) {
    if (round % 2 === 0) {
      const a = await timed(run.async);
      ratios.push((await timed(run.sync)) / a);
    } else {
      const b = await timed(run.sync);
      ratios.push(b / (await timed(run.async)));
    }
  }
  return spread(ratios);
}

async function trainingLateness(rounds: number, quick: boolean): Promise<Spread> {
  const run = asynchronous(quick);
  await run.async();
  const list: number[] = [];
  for (let round = 0; round < rounds; round++) list.push(await lateness(run.async));
  return spread(list);
}

async function idleLateness(rounds: number, quick: boolean): Promise<Spread> {
  const list: number[] = [];
  const wait = () => new Promise<void>((resolve) => setTimeout(resolve, quick ? 200 : 800));
  for (let round = 0; round < rounds; round++) list.push(await lateness(wait));
  return spread(list);
}

export function allCosts(): Cost[] {
  return [
    { name: 'import, with the kernels', unit: 'ms', target: 'under 40', measure: importTime },
    ...(
      [
        ['A', 1],
        ['A', 128],
        ['C', 128],
      ] as const
    ).map(
      ([net, batch]): Cost => ({
        name: `recording, net ${net}, batch ${batch}`,
        unit: 'eager steps',
        target: 'under 3',
        measure: (rounds) => recording(net, batch, rounds),
      }),
    ),
    ...[1, 128].map(
      (batch): Cost => ({
        name: `first call in a fresh process, net A, batch ${batch}`,
        unit: 'first eager steps',
        target: 'under 3 and the step',
        measure: (rounds) => coldRecording('A', batch, rounds),
      }),
    ),
    ...['A', 'B'].map(
      (net): Cost => ({
        name: `epoch through the loader, net ${net}`,
        unit: 'of bare steps',
        target: 'at most 1.10',
        measure: (rounds, quick) => epoch(net, rounds, quick),
      }),
    ),
    {
      name: 'asynchronous steps, net C',
      unit: 'of the synchronous rate',
      target: 'at least 0.95',
      measure: throughput,
    },
    {
      name: 'lateness of a 5 ms timer, idle',
      unit: 'ms, 99th percentile',
      target: 'what the machine gives',
      measure: idleLateness,
    },
    {
      name: 'lateness of a 5 ms timer, training net C',
      unit: 'ms, 99th percentile',
      target: 'under 5',
      measure: trainingLateness,
    },
  ];
}
