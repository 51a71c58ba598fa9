// What is compared with peers: the tables of the performance targets.
import { optimizerWords, nets as smallNets, stepCost } from '../cases.js';
import { operations } from '../operations.js';

/** Layer sizes of the nets of the targets. */
export const nets: Readonly<Record<string, readonly number[]>> = {
  ...smallNets,
  D: [256, 2048, 2048, 2048, 256],
};

export type Group =
  | 'matrix product'
  | 'training step'
  | 'eager step'
  | 'forward'
  | 'optimizer step'
  | 'operation'
  | 'operation with backward';

/** Calls of microseconds, of which no floor is known: the two tables of single operations. */
export const isOperation = (group: Group): boolean => group.startsWith('operation');

/** Activations of a hidden layer: what the operations are applied to. */
export const operationShape: readonly [number, number] = [128, 256];

/** What one row measures, for everybody. */
export interface RowSpec {
  readonly group: Group;
  readonly name: string;
  readonly unit: 'GFLOP/s' | 'GB/s' | 'calls/s';
  /** Flops or bytes of one call, in units of `unit`. */
  readonly work: number;
  /** The case as the protocol of serve.mjs spells it. */
  readonly what: string;
  readonly flops: number;
  /** The loop over memory that belongs to the floor, as blas.c spells it; null for products. */
  readonly loop: string | null;
  /** Measured by --quick. */
  readonly quick: boolean;
}

const products: readonly (readonly [number, number, number])[] = [
  [64, 64, 64],
  [128, 128, 128],
  [256, 256, 256],
  [512, 512, 512],
  [1024, 1024, 1024],
  [2048, 2048, 2048],
  [32, 256, 784],
  [128, 256, 784],
  [128, 10, 256],
  [784, 256, 128],
  [128, 784, 256],
  [1, 1024, 1024],
  [8, 1024, 1024],
  [4096, 4096, 256],
  [256, 10, 128],
  [128, 256, 10],
];

/** The shape and form in which each product occurs in the table of the targets: what --quick takes. */
const tabled = ['64x64x64 NN', '512x512x512 NN', '128x256x784 NN', '784x256x128 TN', '1x1024x1024 NN'];

/** The rows of a net in every table that has nets. */
function netRows(label: string, sizes: readonly number[], batch: number, quick: boolean, forward: boolean) {
  const { flops, parameters } = stepCost(sizes, batch);
  const name = `${label}, batch ${batch}`;
  const case_ = `${sizes.join(',')} ${batch}`;
  const shared = { name, unit: 'calls/s', work: 1, quick } as const;
  const loop = `optimizer adam ${parameters}`;
  const rows: RowSpec[] = [
    { ...shared, group: 'training step', what: `step ${case_}`, flops, loop },
    { ...shared, group: 'eager step', what: `step ${case_}`, flops, loop },
  ];
  if (forward) {
    const weights = sizes.slice(1).reduce((sum, n, i) => sum + n * (sizes[i] as number), 0);
    rows.push({
      ...shared,
      group: 'forward',
      what: `forward ${case_}`,
      flops: 2 * batch * weights,
      loop: `read ${parameters}`,
    });
  }
  return rows;
}

function productRows(m: number, n: number, k: number, quick: (name: string) => boolean): RowSpec[] {
  return ['NN', 'NT', 'TN'].map((form) => {
    const name = `${m}x${n}x${k} ${form}`;
    return {
      group: 'matrix product',
      name,
      unit: 'GFLOP/s',
      work: (2 * m * n * k) / 1e9,
      what: `product ${m} ${n} ${k} ${form}`,
      flops: 2 * m * n * k,
      loop: null,
      quick: quick(name),
    };
  });
}

function operationRows(): RowSpec[] {
  return Object.entries(operations).flatMap(([name, { backward = false, quick = false }]) =>
    (backward ? (['forward', 'backward'] as const) : (['forward'] as const)).map((pass) => ({
      group: pass === 'forward' ? 'operation' : 'operation with backward',
      name,
      unit: 'calls/s',
      work: 1,
      what: `operation ${name} ${pass} ${operationShape.join(' ')}`,
      flops: 0,
      loop: null,
      quick,
    })),
  );
}

const order: readonly Group[] = [
  'training step',
  'eager step',
  'forward',
  'optimizer step',
  'matrix product',
  'operation',
  'operation with backward',
];
const inOrder = (rows: RowSpec[]) => rows.sort((a, b) => order.indexOf(a.group) - order.indexOf(b.group));

/** The tables of the targets. */
export function allRows(): RowSpec[] {
  const rows: RowSpec[] = [];
  for (const [net, sizes] of Object.entries(nets)) {
    for (const batch of [1, 32, 128, 1024]) {
      const quick = (net === 'A' || net === 'B') && batch !== 32;
      const label = `net ${net} (${sizes.join('-')})`;
      rows.push(...netRows(label, sizes, batch, quick, batch === 1 || batch === 128));
    }
  }
  for (const [n, label] of [
    [2 ** 20, '1 M'],
    [2 ** 24, '16 M'],
  ] as const) {
    for (const [kind, name] of [
      ['adam', 'Adam'],
      ['sgdMomentum', 'SGD with momentum'],
    ] as const) {
      rows.push({
        group: 'optimizer step',
        name: `${name}, ${label} parameters`,
        unit: 'GB/s',
        work: (4 * n * optimizerWords[kind]) / 1e9,
        what: `optimizer ${kind} ${n}`,
        flops: 0,
        loop: `optimizer ${kind} ${n}`,
        quick: true,
      });
    }
  }
  for (const [m, n, k] of products) rows.push(...productRows(m, n, k, (name) => tabled.includes(name)));
  rows.push(...operationRows());
  return inOrder(rows);
}

/** Rows of shapes that are not in the tables: nets as sizes and a batch, products as m, n and k. */
export function ownRows(
  someNets: readonly { readonly sizes: readonly number[]; readonly batch: number }[],
  someProducts: readonly (readonly [number, number, number])[],
): RowSpec[] {
  return inOrder([
    ...someNets.flatMap(({ sizes, batch }) => netRows(`net ${sizes.join('-')}`, sizes, batch, true, true)),
    ...someProducts.flatMap(([m, n, k]) => productRows(m, n, k, () => true)),
  ]);
}
