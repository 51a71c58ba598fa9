import { readFileSync } from 'node:fs';
import * as simdgrad from 'simdgrad';
import { type DType, grad, type Tensor, tensor } from 'simdgrad';

/** A number as the files have it: NaN and the infinities are strings. */
export type GoldenNumber = number | 'NaN' | 'Infinity' | '-Infinity';

export interface GoldenTensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly data: readonly GoldenNumber[];
}

/** Cases and header of one of the files in this folder; README.md describes them. */
export function load<Case, Header = unknown>(name: string): Header & { readonly cases: readonly Case[] } {
  return JSON.parse(readFileSync(new URL(`./${name}.json`, import.meta.url), 'utf8'));
}

const arrays = { float32: Float32Array, float64: Float64Array, int32: Int32Array, bool: Uint8Array };

export function decode(g: GoldenTensor, requiresGrad = false): Tensor {
  const values = arrays[g.dtype].from(g.data.map(Number));
  return tensor(values, { dtype: g.dtype, shape: [...g.shape], requiresGrad });
}

export function isFloating(dtype: DType): boolean {
  return dtype === 'float32' || dtype === 'float64';
}

/** Weights that make a scalar of a tensor: see README.md. */
export function cotangent(shape: readonly number[], dtype: DType, phase = 0): Tensor {
  const n = shape.reduce((a, b) => a * b, 1);
  const values = Array.from({ length: n }, (_, i) => (2 * ((7 * i + 3 * phase) % 11) - 11) / 8);
  return tensor(Float64Array.from(values), { dtype: 'float64', shape: [...shape] }).to(dtype);
}

export interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
}

/** A few rounding errors of a short computation. */
export const tolerances: Record<DType, Tolerance> = {
  float64: { relative: 2e-13, absolute: 1e-14 },
  float32: { relative: 1e-6, absolute: 5e-7 },
  int32: { relative: 0, absolute: 0 },
  bool: { relative: 0, absolute: 0 },
};

/** Throws unless every value is within tolerance of the expected one; NaN must meet NaN. */
export function expectClose(
  what: string,
  actual: ArrayLike<number>,
  expected: readonly GoldenNumber[],
  tolerance: Tolerance,
  options: { readonly signedZero?: boolean } = {},
): void {
  if (actual.length !== expected.length) {
    throw new Error(`${what}: ${actual.length} values where ${expected.length} are expected`);
  }
  for (let i = 0; i < expected.length; i++) {
    const e = Number(expected[i]);
    const a = actual[i] as number;
    const same = options.signedZero ? Object.is(a, e) : a === e || (Number.isNaN(a) && Number.isNaN(e));
    if (same) continue;
    // An infinity is met by itself only, and so is a zero whose sign counts. NaN fails the comparison.
    const exact = !Number.isFinite(e) || (e === 0 && options.signedZero);
    const off = Math.abs(a - e);
    if (!exact && (off <= tolerance.relative * Math.abs(e) || off <= tolerance.absolute)) continue;
    throw new Error(`${what}: value ${i} is ${a}, expected ${e} (off by ${off})`);
  }
}

/** The same for a tensor: its shape and dtype must be the expected ones too. */
export function expectTensor(
  what: string,
  actual: Tensor,
  expected: GoldenTensor,
  tolerance: Tolerance = tolerances[expected.dtype],
  options: { readonly signedZero?: boolean } = {},
): void {
  if (actual.dtype !== expected.dtype)
    throw new Error(`${what}: dtype ${actual.dtype}, expected ${expected.dtype}`);
  const [a, e] = [JSON.stringify(actual.shape), JSON.stringify(expected.shape)];
  if (a !== e) throw new Error(`${what}: shape ${a}, expected ${e}`);
  expectClose(what, actual.data, expected.data, tolerance, options);
}

/** sum of x * c over all tensors that are there. */
function weighted(tensors: readonly Tensor[], phase: number): Tensor {
  const terms = tensors.map((t, k) => t.mul(cotangent(t.shape, t.dtype, phase + k)).sum());
  return terms.reduce((a, b) => a.add(b));
}

/** Checks the gradients of gradients of y with respect to those of the inputs that require one: `grads2` of README.md. */
export function expectSecond(
  inputs: readonly Tensor[],
  y: Tensor,
  grads2: readonly (readonly GoldenNumber[] | null)[],
): void {
  const wanted = inputs.filter((x) => x.requiresGrad);
  const scalar = weighted(grad(weighted([y], 0), wanted, { createGraph: true }), 1);
  // Linear operations have constant gradients: nothing to differentiate again.
  const second = scalar.requiresGrad ? grad(scalar, wanted, { allowUnused: true }) : wanted.map(() => null);
  const expected = grads2.filter((g) => g !== null);
  if (expected.length !== wanted.length)
    throw new Error(`${expected.length} gradients for ${wanted.length} inputs`);
  for (const [k, e] of expected.entries()) {
    const actual = second[k]?.data ?? new Float64Array(e.length);
    expectClose(`second gradient ${k}`, actual, e, { relative: 1e-11, absolute: 1e-12 });
  }
}

type Callable = (...args: unknown[]) => unknown;

function member(holder: unknown, name: string): Callable | undefined {
  const value = (holder as Record<string, unknown> | undefined)?.[name];
  return typeof value === 'function' ? (value as Callable) : undefined;
}

/** The public operation of that name: a method of Tensor, a free function or one in F; undefined where there is none. */
export function operation(name: string): Callable | undefined {
  const method = member(simdgrad.Tensor.prototype, name);
  if (method) return (self, ...args) => method.apply(self, args);
  return member(simdgrad, name) ?? member(simdgrad.F, name);
}

export type Attrs = Readonly<Record<string, unknown>>;

/** Arguments after the tensors, by operation; those not listed take none. */
const argumentsOf: Record<string, (attrs: Attrs) => unknown[]> = {
  leakyRelu: (a) => [a.negativeSlope],
  clamp: (a) => [a.min, a.max],
  softmax: (a) => [a.axis],
  logSoftmax: (a) => [a.axis],
  argmax: (a) => [a.axis],
  argmin: (a) => [a.axis],
  squeeze: (a) => [a.axis],
  unsqueeze: (a) => [a.axis],
  reshape: (a) => [a.shape],
  broadcastTo: (a) => [a.shape],
  permute: (a) => [a.axes],
  transpose: (a) => (a.axes as unknown[] | undefined) ?? [],
  flatten: (a) => [a.startAxis],
  to: (a) => [a.dtype],
};

/** Trailing `undefined`s are left out, so that defaults are taken as a caller would take them. */
function trimmed(args: unknown[]): unknown[] {
  while (args.length > 0 && args.at(-1) === undefined) args.pop();
  return args;
}

const reductions = new Set(['sum', 'mean', 'max', 'min', 'prod', 'var', 'std', 'logSumExp', 'norm']);

/** Calls the operation of a case as a person would write it. */
export function callOperation(name: string, inputs: readonly Tensor[], attrs: Attrs = {}): Tensor {
  const f = operation(name) as Callable;
  if ('scalar' in attrs) return f(inputs[0], attrs.scalar) as Tensor;
  if (reductions.has(name)) {
    const { axis, ...options }: Attrs = 'p' in attrs ? { ...attrs, p: Number(attrs.p) } : attrs;
    return f(inputs[0], ...trimmed([axis, Object.keys(options).length > 0 ? options : undefined])) as Tensor;
  }
  switch (name) {
    case 'concat':
    case 'stack':
      return f(inputs, attrs.axis) as Tensor;
    case 'gather':
    case 'indexSelect':
      return f(inputs[0], attrs.axis, inputs[1]) as Tensor;
    case 'slice':
      return f(inputs[0], ...(attrs.ranges as unknown[])) as Tensor;
    default:
      return f(...inputs, ...trimmed(argumentsOf[name]?.(attrs) ?? [])) as Tensor;
  }
}

/** A short title that tells cases of one operation apart. */
export function title(inputs: readonly GoldenTensor[], attrs?: Attrs): string {
  const shapes = inputs.map((x) => `${x.dtype}[${x.shape.join(',')}]`).join(' ');
  return attrs ? `${shapes} ${JSON.stringify(attrs)}` : shapes;
}
