import { grad } from '../../src/autograd/functional.js';
import { gradcheck } from '../../src/autograd/gradcheck.js';
import { noGrad } from '../../src/autograd/mode.js';
import { backendInfo, setBackend, setIsa } from '../../src/backend/load.js';
import { type DType, isFloat } from '../../src/dtype.js';
import * as ops from '../../src/ops/index.js';
import {
  apply,
  nonDifferentiable,
  type Primitive,
  type Sample,
  type SampleInput,
} from '../../src/ops/primitive.js';
import { type Tensor, tensor } from '../../src/tensor/tensor.js';
import { expectClose, randomArray, source, type Tolerance } from './compare.js';

// The checks that the table of operations gives every row. They import the sources, so that rows and backends are the
// same ones that the functions under test use.

// biome-ignore lint/suspicious/noExplicitAny: rows with different attributes live in one table
export type Row = Primitive<any>;
// biome-ignore lint/suspicious/noExplicitAny: as above
export type AnySample = Sample<any>;

/** The instruction sets to compare with JavaScript: none where the suite runs on the JS backend or there is no addon. */
export const isas: readonly string[] = (() => {
  if (process.env.SIMDGRAD_BACKEND === 'js') return [];
  const info = backendInfo();
  return info.backend === 'native' ? info.isas : [];
})();

/** Runs `fn` on one backend (and instruction set), and goes back to what was before. */
export function onBackend<T>(name: 'js' | string, fn: () => T): T {
  const before = backendInfo();
  if (name === 'js') setBackend('js');
  else {
    setBackend('native');
    setIsa(name);
  }
  try {
    return fn();
  } finally {
    if (before.isa !== null) setIsa(before.isa);
    setBackend(before.backend);
  }
}

/** A tensor for one input of a sample. */
export function inputOf(input: SampleInput, float: DType, seed: number): Tensor {
  const dtype = input.dtype ?? float;
  const n = input.shape.reduce((a, b) => a * b, 1);
  const range = { low: input.low ?? -2, high: input.high ?? 2 };
  return tensor(randomArray(dtype, n, seed, range), { dtype, shape: [...input.shape] });
}

export function inputsOf(sample: AnySample, float: DType, seed = 1): Tensor[] {
  return sample.inputs.map((input, i) => inputOf(input, float, seed * 101 + i));
}

export function describeSample(row: Row, sample: AnySample): string {
  return `${row.name} of ${sample.inputs.map((x) => `[${x.shape.join(', ')}]`).join(', ')}`;
}

/** Rows whose result is one rounding, a choice or a copy: both backends must give the same bits. */
const exact = new Set([
  ...[
    'add',
    'sub',
    'mul',
    'div',
    'neg',
    'abs',
    'sign',
    'sqrt',
    'floor',
    'relu',
    'clamp',
    'maximum',
    'minimum',
  ],
  ...['reluGrad', 'clampGrad', 'eq', 'ne', 'lt', 'le', 'gt', 'ge', 'isNan', 'isFinite'],
  ...[
    'logicalAnd',
    'logicalOr',
    'logicalNot',
    'where',
    'full',
    'to',
    'clone',
    'max',
    'min',
    'argmax',
    'argmin',
  ],
  ...[
    'reshape',
    'permute',
    'broadcastTo',
    'slice',
    'sliceGrad',
    'concat',
    'gather',
    'indexSelect',
    'nll',
    'nllGrad',
    'countLabels',
  ],
]);

/**
 * How far two ways of computing a row may be apart. Functions are within 2 ulp of the true value on both sides;
 * sums of n terms within n ulp of the sum of magnitudes, which are of order 1 in the samples.
 */
export function toleranceOf(name: string, dtype: DType): Tolerance {
  if (exact.has(name) || !isFloat(dtype)) return { rtol: 0, atol: 0 };
  const ulp = dtype === 'float32' ? 2 ** -23 : 2 ** -52;
  if (name === 'pow') return { rtol: 8 * ulp, atol: 4 * ulp };
  if (/^(matmul|linear\w*|sum|prod)$/.test(name)) return { rtol: 16 * ulp, atol: 64 * ulp };
  return { rtol: 4 * ulp, atol: 8 * ulp };
}

/** Values without marking the memory as handed out. */
function valuesOf(t: Tensor): ArrayLike<number> {
  return t.clone().data;
}

/** A row's result on `isa` and in JavaScript agree. */
export function checkParity(
  row: Row,
  inputs: readonly Tensor[],
  attrs: unknown,
  isa: string,
  what: string,
): void {
  const run = () => noGrad(() => apply(row, inputs, attrs));
  const js = onBackend('js', run);
  const native = onBackend(isa, run);
  if (native.shape.join() !== js.shape.join() || native.dtype !== js.dtype) {
    throw new Error(
      `${what}: ${isa} gives ${native.dtype} [${native.shape}], JavaScript ${js.dtype} [${js.shape}]`,
    );
  }
  const options = { ...toleranceOf(row.name, inputs[0]?.dtype ?? native.dtype), what: `${what} on ${isa}` };
  expectClose(valuesOf(native), valuesOf(js), options);
}

/** Numbers that go wrong first. */
const specials = [Number.NaN, Infinity, -Infinity, 0, -0, 1e-40, -1e-310];
/** Those that overflow, or not, by the order in which a sum is taken. */
const huge = [3e38, -3e38];
/** Rows that sum, where huge values may differ. */
const sums =
  /^(sum|prod|matmul|linear\w*|pow|softmaxGrad|logSoftmaxGrad|sigmoidGrad|tanhGrad|geluGrad|siluGrad|layerNorm\w*|batchNorm\w*|indexSelectGrad|gatherGrad)$/;

/** Rows that compute with deviations from another element, where infinities may become NaN earlier or later. */
const deviations = /^batchNorm/;

/** The tensor with some elements replaced by special values (NaN and, mostly, infinities among them). */
export function withSpecials(row: Row, t: Tensor, seed: number): Tensor {
  if (!isFloat(t.dtype)) return t;
  const s = source(seed);
  let list = sums.test(row.name) ? specials : [...specials, ...huge];
  if (deviations.test(row.name)) list = list.filter((v) => Math.abs(v) !== Infinity);
  const values = t.clone().data;
  for (let i = 0; i < values.length; i++) if (s.next() < 0.4) values[i] = s.pick(list);
  return tensor(values, { shape: [...t.shape] });
}

/** The same values and shape in memory that is not contiguous. */
export const layouts: Readonly<Record<string, (t: Tensor) => Tensor>> = {
  /** Axes stored in reverse order. */
  transposed(t) {
    const reversed = t.shape.map((_, i) => t.shape.length - 1 - i);
    return ops.permute(ops.permute(t, reversed).clone(), reversed);
  },
  /** Every axis backwards. */
  reversed(t) {
    if (t.rank === 0) return t;
    const back = t.shape.map(() => [null, null, -1]);
    return ops.slice(ops.slice(t, ...back).clone(), ...back);
  },
  /** A window on a larger memory, every second element of the last axis, offset by one row. */
  strided(t) {
    if (t.rank === 0) return ops.select(ops.stack([ops.full([], 7, t.dtype), t]), 0, 1);
    const last = t.rank - 1;
    const filler = ops.full(t.shape, 1, t.dtype);
    const wide = ops.reshape(ops.stack([filler, t], t.rank), [
      ...t.shape.slice(0, last),
      2 * (t.shape[last] as number),
    ]);
    const row = ops.full([1, ...wide.shape.slice(1)], 1, t.dtype);
    const tall = t.rank === 1 ? wide : ops.concat([row, wide], 0);
    return ops.slice(
      tall,
      ...t.shape.map((_, i) => (i === last ? [1, null, 2] : i === 0 ? [1, null] : null)),
    );
  },
};

/** The first of each axis repeated along it: contiguous, and with stride 0. */
export function repeated(t: Tensor): { plain: Tensor; broadcast: Tensor } {
  const one = t.rank === 0 ? t : ops.slice(t, ...t.shape.map((n) => [0, Math.min(n, 1)]));
  const broadcast = ops.broadcastTo(one, t.shape);
  return { plain: broadcast.clone(), broadcast };
}

/** True if a finite difference of this sample means anything. */
export function differentiable(row: Row, sample: AnySample): boolean {
  if (row.vjp === nonDifferentiable) return false;
  if (!sample.inputs.some((x) => (x.dtype ?? 'float64') === 'float64')) return false;
  const specs = sample.inputs.map((x) => ({ shape: x.shape, dtype: x.dtype ?? ('float64' as const) }));
  return row.infer(specs, sample.attrs).dtype === 'float64';
}

function leaves(sample: AnySample, seed: number): Tensor[] {
  const inputs = inputsOf(sample, 'float64', seed);
  for (const t of inputs) if (isFloat(t.dtype)) t.requiresGrad = true;
  return inputs;
}

/** The derivative of a row against central differences. */
export function checkGradient(row: Row, sample: AnySample, seed = 1): void {
  gradcheck((...xs: Tensor[]) => apply(row, xs, sample.attrs), leaves(sample, seed), {
    atol: 1e-7,
    rtol: 1e-6,
  });
}

/** The derivative of the derivative, with respect to the inputs and to the gradient that comes in. */
export function checkSecondGradient(row: Row, sample: AnySample, seed = 1): void {
  const inputs = leaves(sample, seed);
  const out = noGrad(() => apply(row, inputs, sample.attrs));
  const v = tensor(randomArray('float64', out.size, seed + 7), { shape: [...out.shape], requiresGrad: true });
  const f = (v: Tensor, ...xs: Tensor[]): Tensor => {
    const y = apply(row, xs, sample.attrs);
    const wanted = xs.filter((x) => isFloat(x.dtype));
    const gs = grad([y], wanted, {
      gradOutputs: [v],
      createGraph: true,
      allowUnused: true,
    }) as (Tensor | null)[];
    return ops.concat(gs.map((g, i) => ops.reshape(g ?? ops.mul(wanted[i] as Tensor, 0), [-1])));
  };
  gradcheck(f, [v, ...inputs], { atol: 1e-6, rtol: 1e-5 });
}
