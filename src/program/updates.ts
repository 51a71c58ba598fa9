import { defineKernel, type Kernel } from '../backend/backend.js';
import {
  adamProductKernel,
  adamProductSumsKernel,
  matmulSumsKernel,
  sgdMomentumProductKernel,
  sgdMomentumProductSumsKernel,
  sgdProductKernel,
  sgdProductSumsKernel,
} from '../backend/js/update.js';
import { lastCheck, type Product, productOf, readsOf, writesOf } from './dataflow.js';
import type { Param, Recorded } from './emit.js';
import { sameParams } from './fuse.js';
import type { Storage } from './storage.js';

// The optimizer's update behind the product that makes the gradient of a weight: the gradient is used tile by tile and
// never stored. And the gradient of the bias, which is summed from what that product reads.

/** For every optimizer kernel the one that makes its gradient itself. */
const withProduct: Readonly<Record<string, Kernel>> = {
  sgd: defineKernel('sgdProduct', sgdProductKernel),
  sgdMomentum: defineKernel('sgdMomentumProduct', sgdMomentumProductKernel),
  adam: defineKernel('adamProduct', adamProductKernel),
};

/** For every product of a weight's gradient the one that sums the columns of its last factor as well. */
const withSums: Readonly<Record<string, Kernel>> = {
  matmul: defineKernel('matmulSums', matmulSumsKernel),
  sgdProduct: defineKernel('sgdProductSums', sgdProductSumsKernel),
  sgdMomentumProduct: defineKernel('sgdMomentumProductSums', sgdMomentumProductSumsKernel),
  adamProduct: defineKernel('adamProductSums', adamProductSumsKernel),
};

/**
 * Up to this depth a product is one block of K on every machine (native/src/kernels/product_forms.inc), so that its tiles are
 * finished when they leave the registers, and each element is one chain of additions here and there.
 */
const maxDepth = 256;

/** Products of so few rows may take K in pieces from so much on (the stream form there). */
const fewRows = 2;
const inPieces = 128;

/** The product of two matrices, if that is all that the call does, with rows that follow on from each other. */
function matrixProduct(call: Recorded): Product | null {
  const product = productOf(call);
  if (product === null) return null;
  const { batch, n, cRow, bias, activation } = product;
  return batch.length === 0 && cRow === n && bias === -1 && activation === 0 ? product : null;
}

/** The same bits as the product and the update one after the other need the order of additions of a plain product. */
function plainProduct(call: Recorded): Product | null {
  const product = matrixProduct(call);
  if (product === null) return null;
  const { m, n, k, c, factors } = product;
  const [, aRow, , , , bCol] = factors;
  if (c !== 0 || k > maxDepth || (m <= fewRows && k >= inPieces)) return null;
  return (m !== 1 && aRow !== 1) || n === 1 || bCol !== 1 ? null : product;
}

/** A call with what it reads and writes. */
interface Step {
  readonly call: Recorded;
  readonly reads: ReadonlySet<Storage>;
  readonly writes: ReadonlySet<Storage>;
}

function stepOf(call: Recorded): Step {
  return { call, reads: new Set(readsOf(call)), writes: new Set(writesOf(call)) };
}

/**
 * Replaces products whose result only an optimizer reads, and the optimizer's call, by one call. It stands as early as it
 * may: behind the last use of the weight and the last call that may refuse the step. `kept` are virtual storages that are
 * read after the program; of these, `consumable` ones need not be there. Returns those that are not.
 */
export function fuseUpdates(
  calls: readonly Recorded[],
  kept: ReadonlySet<Storage>,
  consumable: ReadonlySet<Storage>,
): { calls: readonly Recorded[]; consumed: ReadonlySet<Storage> } {
  const consumed = new Set<Storage>();
  // One after the other, each on the list that the ones before it left: what was moved may read or write what moves next.
  const steps = calls.map(stepOf);
  const last = calls[lastCheck(calls)];

  for (const update of calls) {
    const kernel = withProduct[update.kernel.name];
    if (!kernel) continue;
    const vectors = update.outputs + 1;
    const g = update.storages[vectors] as Storage;
    if (g.array !== null || (kept.has(g) && !consumable.has(g))) continue;
    const i = steps.findIndex(({ writes }) => writes.has(g));
    const j = steps.findIndex(({ call }) => call === update);
    if (i < 0 || i > j) continue;
    const product = (steps[i] as Step).call;
    const size = plainProduct(product);
    if (!size || size.m * size.n !== g.length || update.params[0] !== g.length) continue;
    if (update.params[1 + vectors] !== 0) continue;
    if (steps.some(({ reads, writes }, c) => (c !== i && writes.has(g)) || (c !== j && reads.has(g))))
      continue;

    const [, a, b] = product.storages as [Storage, Storage, Storage];
    const state = update.storages.slice(0, vectors);
    // Operands that the update itself writes would change while the product is made.
    if (state.includes(a) || state.includes(b)) continue;
    const written = update.storages.slice(0, update.outputs);
    const clashes = ({ reads, writes }: Step): boolean =>
      state.some((s) => writes.has(s)) || written.some((s) => reads.has(s));
    const refusal = steps.findIndex(({ call }) => call === last);
    let at = j;
    while (at - 1 > Math.max(i, refusal) && !clashes(steps[at - 1] as Step)) at--;
    if (steps.slice(i + 1, at).some(({ writes }) => writes.has(a) || writes.has(b))) continue;

    steps.splice(j, 1);
    steps.splice(
      at,
      0,
      stepOf({
        kernel,
        params: [
          size.m,
          size.n,
          size.k,
          ...update.params.slice(1, 1 + vectors),
          ...size.factors,
          ...update.params.slice(2 + vectors),
        ],
        storages: [...state, a, b],
        outputs: update.outputs,
        op: `${product.op}+${update.op}`,
      }),
    );
    steps.splice(i, 1);
    if (kept.has(g)) consumed.add(g);
  }
  return { calls: steps.map(({ call }) => call), consumed };
}

/** A matrix that a call reads: its storage, rows, columns, offset and strides. */
interface Matrix {
  readonly storage: Storage;
  readonly params: readonly Param[];
}

/** The matrix whose columns the call sums, if that is all it does. */
function summed(call: Recorded): Matrix | null {
  const [kept, reduced, cols, rows, , offset, col, row, scale] = call.params as Param[];
  if (call.kernel.name !== 'sum' || kept !== 1 || reduced !== 1 || scale !== 1 || col !== 1) return null;
  return { storage: call.storages[1] as Storage, params: [rows, cols, offset, row, col] as Param[] };
}

/** A product that can sum the columns of its last factor: that factor, and the call in the layout of the update family. */
interface Summing {
  readonly factor: Matrix;
  readonly params: readonly Param[];
  /** Its factors, and p. */
  readonly inputs: readonly Storage[];
}

function summing(call: Recorded): Summing | null {
  const { kernel, storages, outputs } = call;
  if (!Object.hasOwn(withSums, kernel.name)) return null;
  let params = call.params as readonly Param[];
  const inputs = storages.slice(outputs, kernel.name === 'matmul' ? 3 : undefined);
  if (kernel.name === 'matmul') {
    const product = matrixProduct(call);
    if (product === null) return null;
    const { m, n, k, c, factors } = product;
    params = [m, n, k, c, ...factors];
  }
  const [, n, k] = params as [Param, Param, Param];
  // Behind the offsets of outputs and p there are the first factor's three params, then the last one's.
  const at = 3 + outputs + (inputs.length - 2) + 3;
  return {
    factor: { storage: inputs.at(-1) as Storage, params: [k, n, ...params.slice(at, at + 3)] },
    params,
    inputs,
  };
}

/**
 * Replaces sums over the rows of a matrix, and a product that has the same matrix as its last factor, by one call: a
 * weight's gradient and its bias' are made of the same gradient.
 */
export function fuseSums(calls: readonly Recorded[]): readonly Recorded[] {
  const out: (Recorded | null)[] = [...calls];
  calls.forEach((sum, i) => {
    const matrix = summed(sum);
    const to = sum.storages[0] as Storage;
    if (!matrix || to.array !== null) return;
    // Between the sum and the product nobody may read or write the sums, nor change what is summed.
    const mayMove = (j: number): boolean =>
      out.slice(Math.min(i, j), Math.max(i, j) + 1).every((call) => {
        if (!call || call === sum) return true;
        const writes = writesOf(call);
        return !readsOf(call).includes(to) && !writes.includes(to) && !writes.includes(matrix.storage);
      });
    for (let j = 0; j < out.length; j++) {
      const product = out[j];
      const s = product && summing(product);
      if (s?.factor.storage !== matrix.storage || !sameParams(s.factor.params, matrix.params)) continue;
      if (!product || !mayMove(j)) continue;
      const at = 3 + product.outputs;
      out[i] = null;
      out[j] = {
        kernel: withSums[product.kernel.name] as Kernel,
        params: [...s.params.slice(0, at), sum.params[4] as Param, ...s.params.slice(at)],
        storages: [...writesOf(product), to, ...s.inputs],
        outputs: product.outputs + 1,
        op: `${product.op}+${sum.op}`,
      };
      return;
    }
  });
  return out.filter((call) => call !== null);
}
