// npm run bench: the native backend against the JS backend, side by side in one run.
import { availableParallelism, loadavg } from 'node:os';
import process from 'node:process';
import { backendInfo, setBackend, setNumThreads } from 'simdgrad';
import { allCases, type Case, nets, stepCost } from './cases.js';
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
import { allCosts } from './costs.js';
import { type Comparison, compare, geometricMean, inProcess, type Spread } from './measure.js';

const usage = `Usage: npm run bench -- [options]

Compares the native backend with the JS backend: matrix products, elementwise operations, optimizer steps and whole
training steps; then what surrounds the steps (--filter costs): import, recording, epochs, asynchronous steps. Samples are interleaved; rates are medians over the rounds, ratios are formed round by round.

  --quick          fewer rounds, and only what both backends do quickly (about a minute)
  --filter TEXT    only cases whose group or name contains TEXT
  --rounds N       samples of each contestant (default 7, quick 3)
  --threads N      threads of the native kernels (default: all processors)
  --json FILE      write the results as JSON too (default benchmarks/results/latest.json; "none" for no file)
  --list           list the cases and end
  --help           this text
`;

export interface Row {
  readonly group: string;
  readonly name: string;
  readonly unit: Case['unit'];
  readonly native: Spread | null;
  readonly js: Spread | null;
  /** Native over JS, formed round by round. */
  readonly ratio: Spread | null;
  /** Training steps: the native median as a share of the floor. */
  readonly ofFloor?: number;
}

export interface Report {
  readonly schema: 'simdgrad-bench-1';
  readonly date: string;
  readonly machine: { cpu: string | null; isa: string | null; threads: number; cores: number; node: string };
  readonly rounds: number;
  readonly sampleMs: number;
  /** The best product measured in this run, and the bytes per second of Adam over 16 M parameters: the floor's terms. */
  readonly floor: { gflops: number | null; gbps: number | null };
  readonly rows: readonly Row[];
  /** What surrounds the steps: import, recording, epochs, asynchronous steps. Native backend. */
  readonly costs: readonly (Spread & {
    readonly name: string;
    readonly unit: string;
    readonly target: string;
  })[];
}

const options = {
  quick: { type: 'boolean' },
  filter: { type: 'string' },
  rounds: { type: 'string' },
  threads: { type: 'string' },
  json: { type: 'string' },
  list: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

function scaled(s: Spread, { work, unit }: Case): Spread {
  return scaleSpread(s, unit === 'steps/s' ? 1 : work / 1e9);
}

function line(row: Row): string {
  const rate = (s: Spread | null) => (s ? showSpread(s) : 'not run').padEnd(30);
  const ratio = row.ratio ? `${showSpread(row.ratio, 8).replace(' (', 'x (')}` : '';
  return `  ${row.name.padEnd(38)} ${rate(row.native)} ${rate(row.js)} ${ratio}`;
}

async function measure(c: Case, native: boolean, js: boolean, rounds: number, ms: number): Promise<Row> {
  const names = [...(native ? (['native'] as const) : []), ...(js ? (['js'] as const) : [])];
  const result: Comparison = await compare(
    names.map((name) => {
      setBackend(name);
      return inProcess(name, () => setBackend(name), c.make());
    }),
    { rounds, ms },
  );
  const rate = (name: string): Spread | null => {
    const found = result.timings.find((t) => t.name === name);
    return found ? scaled(found.rate, c) : null;
  };
  const { median, min, max } = result.ratios[0] ?? { median: 0, min: 0, max: 0 };
  return {
    group: c.group,
    name: c.name,
    unit: c.unit,
    native: rate('native'),
    js: rate('js'),
    ratio: native && js ? { median, min, max } : null,
  };
}

/** Adds to every training step how near it comes to its flops at the best rate plus 28 bytes a parameter. */
function withFloor(rows: readonly Row[], gflops: number | null, gbps: number | null): Row[] {
  return rows.map((row) => {
    const found = /^net (\w+) .*batch (\d+)$/.exec(row.name);
    if (!found || !row.native || gflops === null || gbps === null) return row;
    const { flops, parameters } = stepCost(nets[found[1] as string] ?? [], Number(found[2]));
    const seconds = flops / (gflops * 1e9) + (28 * parameters) / (gbps * 1e9);
    return { ...row, ofFloor: row.native.median * seconds };
  });
}

/** Runs the benchmarks; returns the exit code. */
export async function main(
  argv: readonly string[],
  write: (text: string) => void = (t) => void process.stdout.write(t),
): Promise<number> {
  const given = parseOptions(argv, options);
  if (given.help) {
    write(usage);
    return 0;
  }
  const rounds = given.rounds === undefined ? (given.quick ? 3 : 7) : count('rounds', given.rounds, 1000);
  if (given.threads !== undefined) setNumThreads(count('threads', given.threads, 256));
  const ms = given.quick ? 15 : 60;
  const wanted = (given.filter ?? '').toLowerCase();
  const cases = allCases().filter(
    (c) => `${c.group}, ${c.name}`.toLowerCase().includes(wanted) && !(given.quick && c.heavy),
  );
  const costs = allCosts().filter((c) => `costs, ${c.name}`.toLowerCase().includes(wanted));
  if (cases.length + costs.length === 0)
    throw new UsageError(`no case contains '${given.filter}'; --list shows them`);
  if (given.list) {
    for (const c of cases) write(`${c.group}: ${c.name}\n`);
    for (const c of costs) write(`costs: ${c.name}\n`);
    return 0;
  }
  const file = given.json ?? 'benchmarks/results/latest.json';
  if (file !== 'none') checkFile('json', file);

  let native = true;
  try {
    setBackend('native');
  } catch (error) {
    native = false;
    write(`native: not run: ${(error as Error).message.split('\n')[0]}\n`);
  }
  const info = backendInfo();
  const machine = {
    cpu: info.cpu,
    isa: info.isa,
    threads: info.threads,
    cores: availableParallelism(),
    node: process.version,
  };
  write(
    `${machine.cpu ?? 'CPU'}, ${machine.cores} cores; native: ${machine.isa ?? 'none'}, ${machine.threads} threads; `,
  );
  write(`${rounds} rounds of ${ms} ms, interleaved; median (min–max)\n`);

  const rows: Row[] = [];
  let group = '';
  for (const c of cases) {
    if (c.group !== group) {
      group = c.group;
      write(
        `\n${group}, ${c.unit}\n  ${''.padEnd(38)} ${'native'.padStart(9).padEnd(30)} ${'js'.padStart(9).padEnd(30)} native/js\n`,
      );
    }
    // One call of the largest steps takes the JS backend seconds: those are run natively only.
    const js = !(c.unit === 'steps/s' && c.heavy && / batch 1024| C .*batch 128/.test(c.name));
    const row = await measure(c, native, js, rounds, ms);
    rows.push(row);
    write(`${line(row)}\n`);
  }

  const around: Report['costs'][number][] = [];
  if (native) setBackend('native');
  if (native && costs.length > 0) {
    const load = loadavg()[0] as number;
    write(
      `\ncosts around the steps, native (load of the machine: ${load.toFixed(1)} on ${machine.cores} cores)\n`,
    );
    for (const { name, unit, target, measure } of costs) {
      const value = await measure(rounds, given.quick === true);
      around.push({ name, unit, target, ...value });
      write(`  ${name.padEnd(42)} ${showSpread(value).padEnd(30)} ${unit} (${target})\n`);
    }
  }

  const best = (unit: Case['unit'], text: string): number | null => {
    const found = rows
      .filter((r) => r.unit === unit && r.native && r.name.includes(text))
      .map((r) => r.native?.median ?? 0);
    return found.length > 0 ? Math.max(...found) : null;
  };
  const floor = { gflops: best('GFLOP/s', ''), gbps: best('GB/s', '16 M') };
  const complete = withFloor(rows, floor.gflops, floor.gbps);

  write('\ngeometric means of native/js\n');
  for (const g of new Set(complete.map((r) => r.group))) {
    const ratios = complete.flatMap((r) => (r.group === g && r.ratio ? [r.ratio.median] : []));
    if (ratios.length > 0)
      write(`  ${g.padEnd(38)} ${digits(geometricMean(ratios))}x over ${ratios.length} cases\n`);
  }
  const steps = complete.filter((r) => r.ofFloor !== undefined);
  if (steps.length > 0) {
    write(
      `\nshare of the floor (flops at ${digits(floor.gflops ?? 0)} GFLOP/s, the best product above, plus 28 bytes a parameter at `,
    );
    write(`${digits(floor.gbps ?? 0)} GB/s, the best optimizer step over 16 M)\n`);
    for (const r of steps)
      write(
        `  ${`${r.group.split(', ')[1]}: ${r.name}`.padEnd(50)} ${((r.ofFloor ?? 0) * 100).toFixed(0)} %\n`,
      );
  }

  if (file !== 'none') {
    const report: Report = {
      schema: 'simdgrad-bench-1',
      date: new Date().toISOString(),
      machine,
      rounds,
      sampleMs: ms,
      floor,
      rows: complete,
      costs: around,
    };
    writeFile(file, `${JSON.stringify(report, null, 1)}\n`);
    write(`\nwritten to ${file}\n`);
  }
  return 0;
}

await runAsProgram('bench', main);
