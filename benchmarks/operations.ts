// Single operations of the public API, called one by one. torch_peer.py has an entry of the same name for each; that both
// compute the same is checked before anything is measured (checkOperations in peers.ts).
import { concat, F, nn, noGrad, randn, scope, type Tensor, tensor, where } from 'simdgrad';

/** What the operations are applied to. The values are given by formulas that torch_peer.py has too. */
interface Inputs {
  readonly rows: number;
  readonly columns: number;
  /** Nearly normal, [rows, columns], like y; x is the leaf of backward(). */
  readonly x: Tensor;
  readonly y: Tensor;
  /** In (0, 1). */
  readonly positive: Tensor;
  /** [columns] */
  readonly row: Tensor;
  /** A class for every row. */
  readonly labels: Tensor;
  /** A permutation of the rows. */
  readonly order: Tensor;
  readonly layerNorm: nn.LayerNorm;
  readonly batchNorm1d: nn.BatchNorm1d;
}

export interface Operation {
  readonly call: (inputs: Inputs) => Tensor;
  /** Measured with its backward pass as well. */
  readonly backward?: boolean;
  /** Measured by --quick. */
  readonly quick?: boolean;
  /** The values are drawn, and equal PyTorch's in their distribution only. */
  readonly random?: boolean;
}

/** A number in brackets is an axis, or the power of pow. Options left out are the defaults, which are PyTorch's. */
export const operations: Readonly<Record<string, Operation>> = {
  relu: { call: ({ x }) => x.relu(), backward: true, quick: true },
  leakyRelu: { call: ({ x }) => x.leakyRelu(), backward: true },
  sigmoid: { call: ({ x }) => x.sigmoid(), backward: true },
  tanh: { call: ({ x }) => x.tanh(), backward: true },
  gelu: { call: ({ x }) => x.gelu(), backward: true, quick: true },
  silu: { call: ({ x }) => F.silu(x), backward: true },
  elu: { call: ({ x }) => F.elu(x), backward: true },
  softplus: { call: ({ x }) => x.softplus(), backward: true },
  exp: { call: ({ x }) => x.exp(), quick: true },
  log: { call: ({ positive }) => positive.log() },
  sqrt: { call: ({ positive }) => positive.sqrt() },
  sin: { call: ({ x }) => x.sin() },
  'pow(3)': { call: ({ x }) => x.pow(3) },
  'pow(2.5)': { call: ({ positive }) => positive.pow(2.5) },
  add: { call: ({ x, y }) => x.add(y), quick: true },
  'add(row)': { call: ({ x, row }) => x.add(row) },
  mul: { call: ({ x, y }) => x.mul(y) },
  div: { call: ({ x, positive }) => x.div(positive) },
  maximum: { call: ({ x, y }) => x.maximum(y) },
  clamp: { call: ({ x }) => x.clamp(-1, 1) },
  'where(x>0)': { call: ({ x, y }) => where(x.gt(0), x, y) },
  sum: { call: ({ x }) => x.sum() },
  'sum(0)': { call: ({ x }) => x.sum(0), quick: true },
  'sum(1)': { call: ({ x }) => x.sum(1) },
  mean: { call: ({ x }) => x.mean() },
  'max(0)': { call: ({ x }) => x.max(0) },
  'max(1)': { call: ({ x }) => x.max(1) },
  'argmax(1)': { call: ({ x }) => x.argmax(1) },
  'var(1)': { call: ({ x }) => x.var(1) },
  norm: { call: ({ x }) => x.norm() },
  'softmax(1)': { call: ({ x }) => x.softmax(1), backward: true, quick: true },
  'softmax(0)': { call: ({ x }) => x.softmax(0) },
  'logSoftmax(1)': { call: ({ x }) => x.logSoftmax(1), backward: true },
  'logSumExp(1)': { call: ({ x }) => x.logSumExp(1) },
  'cumsum(1)': { call: ({ x }) => x.cumsum(1) },
  'transpose().clone()': { call: ({ x }) => x.transpose().clone() },
  'concat(0)': { call: ({ x, y }) => concat([x, y], 0) },
  'indexSelect(0)': { call: ({ x, order }) => x.indexSelect(0, order) },
  randn: { call: ({ rows, columns }) => randn(rows, columns), random: true },
  dropout: { call: ({ x }) => F.dropout(x, 0.5), random: true },
  layerNorm: { call: ({ layerNorm, x }) => layerNorm.forward(x), backward: true, quick: true },
  batchNorm1d: { call: ({ batchNorm1d, x }) => batchNorm1d.forward(x), backward: true },
  crossEntropy: { call: ({ x, labels }) => F.crossEntropy(x, labels), backward: true, quick: true },
  mseLoss: { call: ({ x, y }) => F.mseLoss(x, y), backward: true },
  bceWithLogits: { call: ({ x, positive }) => F.bceWithLogits(x, positive), backward: true },
  huberLoss: { call: ({ x, y }) => F.huberLoss(x, y), backward: true },
};

/** Numbers in (0, 1) that look random. */
const uniform = (n: number, prime: number): number[] =>
  Array.from({ length: n }, (_, i) => (((i * 4099) % prime) + 0.5) / prime);

/** The sum of three of them with the mean 0 and the variance 1. */
function nearlyNormal(n: number, primes: readonly [number, number, number]): Float32Array {
  const parts = primes.map((prime) => uniform(n, prime));
  return Float32Array.from({ length: n }, (_, i) => 2 * (parts.reduce((sum, u) => sum + u[i]!, 0) - 1.5));
}

function makeInputs(rows: number, columns: number): Inputs {
  const n = rows * columns;
  const whole = (count: number, f: (i: number) => number): Tensor =>
    tensor(
      Array.from({ length: count }, (_, i) => f(i)),
      { dtype: 'int32' },
    );
  return {
    rows,
    columns,
    x: tensor(nearlyNormal(n, [10007, 9973, 9629])).reshape(rows, columns),
    y: tensor(nearlyNormal(n, [10009, 9967, 9631])).reshape(rows, columns),
    positive: tensor(Float32Array.from(uniform(n, 9973))).reshape(rows, columns),
    row: tensor(Float32Array.from(uniform(columns, 10007))),
    labels: whole(rows, (i) => (37 * i) % columns),
    order: whole(rows, (i) => (7 * i) % rows),
    layerNorm: new nn.LayerNorm(columns),
    batchNorm1d: new nn.BatchNorm1d(columns),
  };
}

/** A number that changes with the order of the elements too. */
function weigh(t: Tensor): number {
  const values = Array.from(t.data as ArrayLike<number>, Math.abs);
  return values.reduce((sum, x, i) => sum + x * ((i % 97) + 1), 0) / values.length;
}

/** A call of an operation, and what it computes, for comparing: shape, weighed values, weighed gradient of x. */
export function operationCall(
  name: string,
  backward: boolean,
  rows: number,
  columns: number,
): { run: () => void; answer: string } {
  const operation = Object.hasOwn(operations, name) ? operations[name] : undefined;
  if (operation === undefined) throw new Error(`there is no operation ${name}`);
  const { call } = operation;
  const inputs = makeInputs(rows, columns);
  const { x, layerNorm, batchNorm1d } = inputs;
  if (!backward) {
    // Temporaries are given back too, as PyTorch does by counting references.
    const discard = (): void => {
      call(inputs);
    };
    const work = (): void => noGrad(discard);
    return { run: () => scope(work), answer: noGrad(() => describe(call(inputs))) };
  }
  x.requiresGrad = true;
  const first = call(inputs);
  const scalar = first.rank === 0;
  (scalar ? first : first.sum()).backward();
  const answer = `${describe(first)} ${weigh(x.grad!)}`;
  const leaves = [x, ...layerNorm.parameters(), ...batchNorm1d.parameters()].filter((t) => t.grad !== null);
  const work = (): void => {
    const y = call(inputs);
    (scalar ? y : y.sum()).backward();
  };
  const run = (): void => {
    scope(work);
    for (const leaf of leaves) leaf.grad = null;
  };
  for (const leaf of leaves) leaf.grad = null;
  return { run, answer };
}

const describe = (t: Tensor): string => `${t.shape.join('x') || 'scalar'} ${weigh(t)}`;
