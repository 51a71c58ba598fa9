// node scripts/performance-tables.mjs: writes the tables of docs/performance.md anew from the results beside it, peers.json and
// performance.json. They stand between <!-- tables: … --> and <!-- end of tables -->; what is around them is prose.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const docs = fileURLToPath(new URL('../docs/', import.meta.url));
const resultsBeside = (file) => JSON.parse(readFileSync(docs + file, 'utf8'));

const digits = (x) => (x >= 1000 ? x.toFixed(0) : x >= 100 ? x.toFixed(1) : x.toFixed(2));
const rate = ({ median, min, max }) => `${digits(median)} (${digits(min)}–${digits(max)})`;
const ratio = ({ median, min, max }) => `${digits(median)}x (${digits(min)}–${digits(max)})`;
const percent = (x) => `${(x * 100).toFixed(0)} %`;
const table = (head, rows) =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

/** The fastest variant of a family in a row. */
const best = (row, family) =>
  row.results
    .filter((r) => r.family === family && r.rate && r.ratio)
    .sort((a, b) => b.rate.median - a.rate.median)[0];

function summary({ summary }) {
  return table(
    ['table', 'threads', 'against', 'rows', 'geometric mean', 'least'],
    summary.map(({ group, threads, against, rows, geometricMean, least }) => {
      const show = (x) => (against === 'floor' ? percent(x) : `${x.toFixed(2)}x`);
      const name = against === 'floor' ? 'the floor' : against;
      return [group, threads, name, rows, show(geometricMean), `${show(least.ratio)} (${least.name})`];
    }),
  );
}

function trainingSteps({ rows }) {
  return [...new Set(rows.map((row) => row.threads))]
    .map((threads) => {
      const cells = rows
        .filter((row) => row.group === 'training step' && row.threads === threads)
        .map((row) => {
          const torch = best(row, 'PyTorch');
          const other = (family) => (best(row, family) ? digits(best(row, family).rate.median) : '');
          return [
            row.name,
            rate(row.ours),
            row.ofFloor ? percent(row.ofFloor.median) : '',
            torch ? `${digits(torch.rate.median)} (${torch.variant})` : '',
            torch ? ratio(torch.ratio) : '',
            other('jax-js'),
            other('TensorFlow.js wasm'),
          ];
        });
      const head = [
        '',
        'simdgrad (min–max)',
        'of the floor',
        'PyTorch, best',
        'ours/PyTorch (min–max)',
        'jax-js',
        'TensorFlow.js wasm',
      ];
      return `### Training step, compiled, ${threads} thread${threads > 1 ? 's' : ''}: steps/s\n\n${table(head, cells)}`;
    })
    .join('\n\n');
}

/** Microseconds of a call. */
const time = (perSecond) => digits(1e6 / perSecond);

/** A row per operation; thread counts side by side. */
function operations({ rows }) {
  const tables = [
    ['operation', 'forward'],
    ['operation with backward', 'forward, sum and backward'],
  ].flatMap(([group, title]) => {
    const own = rows.filter((row) => row.group === group);
    if (own.length === 0) return [];
    const counts = [...new Set(own.map((row) => row.threads))];
    const cells = [...new Set(own.map((row) => row.name))].map((name) => [
      name,
      ...counts.flatMap((threads) => {
        const row = own.find((r) => r.name === name && r.threads === threads);
        const torch = row && best(row, 'PyTorch');
        return [
          row ? time(row.ours.median) : '',
          torch ? time(torch.rate.median) : '',
          torch ? ratio(torch.ratio) : '',
        ];
      }),
    ]);
    const head = [
      '',
      ...counts.flatMap((n) => [
        `${n} thread${n > 1 ? 's' : ''}: simdgrad`,
        'PyTorch, best',
        'PyTorch/ours (min–max)',
      ]),
    ];
    return [`### Single operations, eager, float32, 128x256, ${title}: µs a call\n\n${table(head, cells)}`];
  });
  return tables.join('\n\n') || 'The results beside this document have no single operations yet.';
}

function nativeAgainstJs({ rows }) {
  return [...new Set(rows.map((row) => row.group))]
    .map((group) => {
      const own = rows.filter((row) => row.group === group);
      const floor = own.some((row) => row.ofFloor);
      const cells = own.map((row) => [
        row.name,
        rate(row.native),
        row.js ? digits(row.js.median) : 'not run',
        row.ratio ? ratio(row.ratio) : '',
        ...(floor ? [percent(row.ofFloor)] : []),
      ]);
      const head = ['', 'native (min–max)', 'JS', 'native/JS (min–max)', ...(floor ? ['of the floor'] : [])];
      return `### ${group[0].toUpperCase()}${group.slice(1)}, ${own[0].unit}\n\n${table(head, cells)}`;
    })
    .join('\n\n');
}

/** The document with its tables made anew; `json` reads the results. */
export function withTables(text, json = resultsBeside) {
  const make = {
    summary: () => summary(json('peers.json')),
    'training steps': () => trainingSteps(json('peers.json')),
    operations: () => operations(json('peers.json')),
    'native against JS': () => nativeAgainstJs(json('performance.json')),
  };
  return text.replace(
    /(<!-- tables: (.*?) -->\n)[\s\S]*?(<!-- end of tables -->)/g,
    (_, begin, name, end) => {
      if (!make[name]) throw new Error(`no tables called ${name}`);
      return `${begin}\n${make[name]()}\n\n${end}`;
    },
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const file = `${docs}performance.md`;
  writeFileSync(file, withTables(readFileSync(file, 'utf8')));
}
