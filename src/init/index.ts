import { erfOf } from '../backend/js/erf.js';
import { isFloat } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import type { Module } from '../nn/module.js';
import { checkNumber } from '../ops/elementwise.js';
import { checkTensor, isTensor } from '../ops/primitive.js';
import * as random from '../ops/random.js';
import { defaultGenerator, Generator } from '../program/generator.js';
import { describe, showShape, sizeOf } from '../program/view.js';
import { camelCase, didYouMean } from '../suggest.js';
import { checkOptions, type Tensor, tensor } from '../tensor/tensor.js';

// Initializers. Each fills a tensor in place, outside the graph, and returns it. For [nIn, nOut] the fan-in
// is shape[0] and the fan-out shape[1]: n^[l-1] and n^[l] of lecture 002, N_x and N_y of lecture 001.

/** Options that every random initializer has. */
export interface InitOptions {
  /** Where the numbers come from; default: the generator that manualSeed() seeds. */
  readonly generator?: Generator | undefined;
}

function generatorOf(op: string, { generator }: InitOptions): Generator {
  if (generator === undefined) return defaultGenerator;
  if (generator instanceof Generator) return generator;
  throw new ArgumentError(`${op}: generator is a Generator, not ${describe(generator)}`);
}

function checkTarget(op: string, t: Tensor): Tensor {
  checkTensor(op, t);
  if (!isFloat(t.dtype)) throw new DTypeError(`${op}: fills float32 or float64, not ${t.dtype}`);
  return t;
}

/**
 * Sets every element to 0: the usual start of biases (lecture 003, (a)). Weights that start so never move in networks of
 * two and more layers with σ(0) = 0 and zero biases (lectures 000, 002 and 004). Any dtype.
 */
export function zeros(t: Tensor): Tensor {
  return checkTensor('init.zeros', t).fill_(0);
}

/** Sets every element to 1. Any dtype. */
export function ones(t: Tensor): Tensor {
  return checkTensor('init.ones', t).fill_(1);
}

/**
 * Sets every element to a value: init.constant(bias, 0.01) is lecture 003's (b) for biases. Any dtype (int32 takes the
 * whole part of the value).
 *
 * @throws ArgumentError for a value that is not a number
 */
export function constant(t: Tensor, value: number): Tensor {
  checkTensor('init.constant', t);
  if (typeof value !== 'number')
    throw new ArgumentError(`init.constant: value must be a number, not ${describe(value)}`);
  return t.fill_(value);
}

/**
 * Sets the matrix [n, m] to the identity: 1 on the diagonal, 0 elsewhere. Any dtype.
 *
 * @throws ShapeError for what is not a matrix
 */
export function eye(t: Tensor): Tensor {
  checkTensor('init.eye', t);
  if (t.rank !== 2) throw new ShapeError(`init.eye: takes a matrix, not shape ${showShape(t.shape)}`);
  const [n, m] = t.shape as [number, number];
  const values = new Float64Array(n * m);
  for (let i = 0; i < Math.min(n, m); i++) values[i * m + i] = 1;
  return t.copy_(tensor(values, { shape: [n, m] }));
}

function checkFinite(op: string, name: string, x: unknown): number {
  const value = checkNumber(op, name, x);
  if (Number.isFinite(value)) return value;
  throw new ArgumentError(`${op}: ${name} must be a finite number, not ${value}`);
}

function checkNonNegative(op: string, name: string, x: unknown): number {
  const value = checkFinite(op, name, x);
  if (value >= 0) return value;
  throw new ArgumentError(`${op}: ${name} must be a finite number >= 0, not ${value}`);
}

/** Options of uniform. */
export interface UniformOptions extends InitOptions {
  /** Lower bound. Default 0. */
  readonly a?: number;
  /** Upper bound. Default 1. */
  readonly b?: number;
}

/** Options that may also be given as two numbers in front. */
function positional<O>(
  names: readonly [string, string],
  x: number | O | undefined,
  y: number | undefined,
  rest: O | undefined,
): O {
  if (typeof x !== 'number') return x ?? ({} as O);
  return { [names[0]]: x, ...(y === undefined ? {} : { [names[1]]: y }), ...rest } as O;
}

/**
 * Uniform on [a, b), of variance (b - a)² / 12: uniform(t, { a, b, generator }) or uniform(t, a, b, { generator }). float32
 * or float64.
 *
 * @throws ArgumentError for bounds that are not finite, or a > b
 */
export function uniform(t: Tensor, options?: UniformOptions): Tensor;
export function uniform(t: Tensor, a: number, b?: number, options?: InitOptions): Tensor;
export function uniform(
  t: Tensor,
  first?: number | UniformOptions,
  second?: number,
  rest?: InitOptions,
): Tensor {
  const op = 'init.uniform';
  const options = positional<UniformOptions>(['a', 'b'], first, second, rest);
  checkOptions(op, options, ['a', 'b', 'generator']);
  checkTarget(op, t);
  const [a, b] = [checkFinite(op, 'a', options.a ?? 0), checkFinite(op, 'b', options.b ?? 1)];
  if (!(a <= b && b - a < Infinity)) throw new ArgumentError(`${op}: [${a}, ${b}) is not an interval`);
  return t.copy_(random.uniform(t.shape, a, b, t.dtype, generatorOf(op, options)));
}

/** Options of normal. */
export interface NormalOptions extends InitOptions {
  /** Mean. Default 0. */
  readonly mean?: number;
  /** Standard deviation. Default 1. */
  readonly std?: number;
}

export interface VarianceOptions extends NormalOptions {
  /** σ², in the place of `std` = σ. */
  readonly variance?: number;
}

/**
 * Normal: normal(t, { mean, std, generator }) or normal(t, mean, std, { generator }). With `variance`: W ~ N(0, σ² I), as
 * lectures 000 and 004 write it. float32 or float64.
 *
 * @throws ArgumentError for a negative deviation or variance, numbers that are not finite, and a variance given beside a
 *   standard deviation
 */
export function normal(t: Tensor, options?: VarianceOptions): Tensor;
export function normal(t: Tensor, mean: number, std?: number, options?: InitOptions): Tensor;
export function normal(
  t: Tensor,
  first?: number | VarianceOptions,
  second?: number,
  rest?: InitOptions,
): Tensor {
  const op = 'init.normal';
  const options = positional<VarianceOptions>(['mean', 'std'], first, second, rest);
  checkOptions(op, options, ['mean', 'std', 'variance', 'generator']);
  checkTarget(op, t);
  const mean = checkFinite(op, 'mean', options.mean ?? 0);
  let std = checkNonNegative(op, 'std', options.std ?? 1);
  if (options.variance !== undefined) {
    if (options.std !== undefined) throw new ArgumentError(`${op}: takes std or variance, not both`);
    std = Math.sqrt(checkNonNegative(op, 'variance', options.variance));
  }
  return t.copy_(random.normal(t.shape, mean, std, t.dtype, generatorOf(op, options)));
}

/** Options of truncNormal. */
export interface TruncNormalOptions extends NormalOptions {
  /** Lower bound. Default -2. */
  readonly a?: number;
  /** Upper bound. Default 2. */
  readonly b?: number;
}

/**
 * Normal with the given mean and standard deviation (0, 1), cut off at the values a and b (-2, 2): the
 * inverse of the distribution function, applied to uniform numbers. float32 or float64.
 *
 * @throws ArgumentError for std <= 0, for a >= b, and for bounds of which both lie seven and more standard deviations to
 *   one side of the mean, where the distribution function has no digits left to tell values apart
 */
export function truncNormal(t: Tensor, options: TruncNormalOptions = {}): Tensor {
  const op = 'init.truncNormal';
  checkOptions(op, options, ['mean', 'std', 'a', 'b', 'generator']);
  checkTarget(op, t);
  const mean = checkFinite(op, 'mean', options.mean ?? 0);
  const std = checkFinite(op, 'std', options.std ?? 1);
  const a = checkNumber(op, 'a', options.a ?? -2);
  const b = checkNumber(op, 'b', options.b ?? 2);
  if (!(std > 0)) throw new ArgumentError(`${op}: std must be > 0, not ${std}`);
  if (!(a < b)) throw new ArgumentError(`${op}: [${a}, ${b}] is not an interval`);
  // 2 Φ(z) - 1 = erf(z / √2)
  const low = erfOf((a - mean) / std / Math.SQRT2);
  const high = erfOf((b - mean) / std / Math.SQRT2);
  const far = 7 * std;
  if (!(low < high) || a >= mean + far || b <= mean - far)
    throw new ArgumentError(`${op}: [${a}, ${b}] lies too far from the mean ${mean}`);
  const values = random.uniform(t.shape, low, high, 'float64', generatorOf(op, options)).data as Float64Array;
  for (let i = 0; i < values.length; i++) {
    const x = mean + std * Math.SQRT2 * inverseErf(values[i] as number);
    values[i] = Math.min(Math.max(x, a), b);
  }
  return t.copy_(tensor(values, { shape: [...t.shape] }));
}

/**
 * The inverse of erf on [-1, 1]: the polynomials of Giles (Approximating the erfinv function, 2010), then two
 * steps of Newton's method.
 */
function inverseErf(x: number): number {
  if (Math.abs(x) >= 1) return x * Infinity;
  let w = -Math.log((1 - x) * (1 + x));
  const central = w < 5;
  w = central ? w - 2.5 : Math.sqrt(w) - 3;
  const coefficients = central
    ? [
        2.81022636e-8, 3.43273939e-7, -3.5233877e-6, -4.39150654e-6, 2.1858087e-4, -1.25372503e-3,
        -4.17768164e-3, 0.246640727, 1.50140941,
      ]
    : [
        -2.00214257e-4, 1.00950558e-4, 1.34934322e-3, -3.67342844e-3, 5.73950773e-3, -7.6224613e-3,
        9.43887047e-3, 1.00167406, 2.83297682,
      ];
  let p = 0;
  for (const c of coefficients) p = p * w + c;
  let y = p * x;
  for (let i = 0; i < 2; i++) y -= (erfOf(y) - x) * (Math.sqrt(Math.PI) / 2) * Math.exp(y * y);
  return y;
}

/** [fan-in, fan-out]: how many inputs an output has, and how many outputs an input. */
function fans(op: string, t: Tensor): [number, number] {
  checkTarget(op, t);
  if (t.rank < 2) {
    throw new ShapeError(
      `${op}: needs at least two axes [nIn, nOut, …] for its fans, not ${showShape(t.shape)}`,
    );
  }
  const [nIn, nOut, ...field] = t.shape as [number, number, ...number[]];
  const n = sizeOf(field);
  return [nIn * n, nOut * n];
}

const nonlinearities = [
  'linear',
  'identity',
  'sigmoid',
  'tanh',
  'relu',
  'leakyRelu',
  'selu',
  'elu',
  'gelu',
  'silu',
  'softplus',
] as const;

/** What a gain is known for; see calculateGain. */
export type Nonlinearity = (typeof nonlinearities)[number];

/**
 * The recommended gain for a nonlinearity, as in PyTorch: linear, identity and sigmoid 1, tanh 5/3, relu √2,
 * leakyRelu √(2 / (1 + a²)) with its negative slope `param` (default 0.01), selu 3/4. For those that PyTorch has no gain
 * for it is He's condition, which gives relu its √2 and keeps the mean square of a signal: 1 / √E[σ(z)²] with z ~ N(0, 1);
 * elu (α = 1) 1.2452, gelu 1.5335, silu 1.6765, softplus 1.0419.
 *
 * @throws ArgumentError for other names
 */
export function calculateGain(nonlinearity: Nonlinearity, param?: number): number {
  switch (camelCase(nonlinearity)) {
    case 'linear':
    case 'identity':
    case 'sigmoid':
      return 1;
    case 'tanh':
      return 5 / 3;
    case 'relu':
      return Math.SQRT2;
    case 'leakyRelu': {
      const a = checkFinite('calculateGain', 'param', param ?? 0.01);
      return Math.sqrt(2 / (1 + a * a));
    }
    case 'selu':
      return 3 / 4;
    case 'elu':
      return 1.2451983007;
    case 'gelu':
      return 1.5335304412;
    case 'silu':
      return 1.6765324703;
    case 'softplus':
      return 1.0418668355;
    default: {
      const hint = typeof nonlinearity === 'string' ? didYouMean(nonlinearity, nonlinearities) : '.';
      throw new ArgumentError(
        `calculateGain: there is no nonlinearity ${describe(nonlinearity)}${hint} They are ${nonlinearities.join(', ')}`,
      );
    }
  }
}

export interface VarianceScalingOptions extends InitOptions {
  /** The variance times the fan. Default 1. */
  readonly scale?: number;
  /** Which fan: 'fanIn' (default), 'fanOut' or 'fanAvg', half the sum of the two. */
  readonly mode?: 'fanIn' | 'fanOut' | 'fanAvg';
  /** 'normal' (default) or 'uniform', which has bounds √3 times the standard deviation. */
  readonly distribution?: 'normal' | 'uniform';
}

/**
 * Mean 0 and variance σ² = scale / fan, the form that lectures 000 and 004 vary (1/n, 2/n, 3/n with n the fan-in) and
 * lecture 002 derives: 1 / n^[l-1] (scale 1, 'fanIn') keeps the variance of the signals of linear layers on their way
 * forward, 1 / n^[l] ('fanOut') that of the gradients on their way back, and 2 / (n^[l-1] + n^[l]) ('fanAvg') is the
 * harmonic mean of the two; scale 2 does the same for ReLU. The other initializers here are cases of it. t is
 * [nIn, nOut, …], float32 or float64.
 *
 * @throws ShapeError for fewer than two axes; ArgumentError for a scale below 0
 */
export function varianceScaling(t: Tensor, options: VarianceScalingOptions = {}): Tensor {
  const op = 'init.varianceScaling';
  checkOptions(op, options, ['scale', 'mode', 'distribution', 'generator']);
  const [fanIn, fanOut] = fans(op, t);
  const scale = checkNonNegative(op, 'scale', options.scale ?? 1);
  const { distribution = 'normal', generator } = options;
  const mode: unknown = camelCase(options.mode ?? 'fanIn');
  if (mode !== 'fanIn' && mode !== 'fanOut' && mode !== 'fanAvg') {
    throw new ArgumentError(`${op}: mode must be 'fanIn', 'fanOut' or 'fanAvg', not ${describe(mode)}`);
  }
  const fan = { fanIn, fanOut, fanAvg: (fanIn + fanOut) / 2 }[mode];
  const std = Math.sqrt(scale / (fan || 1));
  if (distribution === 'normal') return normal(t, { std, generator });
  if (distribution === 'uniform') {
    const bound = Math.sqrt(3) * std;
    return uniform(t, { a: -bound, b: bound, generator });
  }
  throw new ArgumentError(`${op}: distribution must be 'normal' or 'uniform', not ${describe(distribution)}`);
}

/** Options of the initializers of Glorot and Bengio, and of orthogonal. */
export interface XavierOptions extends InitOptions {
  /** Default 1; see calculateGain. */
  readonly gain?: number;
}

function xavierStd(op: string, t: Tensor, options: XavierOptions): number {
  checkOptions(op, options, ['gain', 'generator']);
  const [fanIn, fanOut] = fans(op, t);
  return checkNonNegative(op, 'gain', options.gain ?? 1) * Math.sqrt(2 / Math.max(fanIn + fanOut, 1));
}

/**
 * Uniform on ±gain √(6 / (fanIn + fanOut)), of variance gain² · 2 / (fanIn + fanOut) (Glorot and Bengio, 2010): Xavier's
 * initialization in lecture 001. t is [nIn, nOut, …], float32 or float64; throws ShapeError for fewer than two axes.
 */
export function xavierUniform(t: Tensor, options: XavierOptions = {}): Tensor {
  const bound = Math.sqrt(3) * xavierStd('init.xavierUniform', t, options);
  return uniform(t, { a: -bound, b: bound, generator: options.generator });
}

/**
 * Normal with variance gain² · 2 / (fanIn + fanOut) (Glorot and Bengio, 2010): the second of the two forms of Xavier's
 * initialization in lecture 002; the first, N(0, 1/fanIn), is lecunNormal. t is [nIn, nOut, …], float32 or float64; throws
 * ShapeError for fewer than two axes.
 */
export function xavierNormal(t: Tensor, options: XavierOptions = {}): Tensor {
  return normal(t, { std: xavierStd('init.xavierNormal', t, options), generator: options.generator });
}

/** Another name of xavierUniform. */
export const glorotUniform = xavierUniform;

/** Another name of xavierNormal. */
export const glorotNormal = xavierNormal;

/** Options of the initializers of He et al. */
export interface KaimingOptions extends InitOptions {
  /** 'fanIn' (default) keeps the variance of the forward pass, 'fanOut' that of the backward pass. */
  readonly mode?: 'fanIn' | 'fanOut';
  /** Default 'leakyRelu'. */
  readonly nonlinearity?: Nonlinearity;
  /** Negative slope of leakyRelu. Default 0, which makes it relu. */
  readonly a?: number;
}

function kaimingStd(op: string, t: Tensor, options: KaimingOptions): number {
  checkOptions(op, options, ['mode', 'nonlinearity', 'a', 'generator']);
  const [fanIn, fanOut] = fans(op, t);
  const { nonlinearity = 'leakyRelu', a = 0 } = options;
  const mode: unknown = camelCase(options.mode ?? 'fanIn');
  if (mode !== 'fanIn' && mode !== 'fanOut') {
    throw new ArgumentError(`${op}: mode must be 'fanIn' or 'fanOut', not ${describe(mode)}`);
  }
  return calculateGain(nonlinearity, a) / Math.sqrt(Math.max(mode === 'fanIn' ? fanIn : fanOut, 1));
}

/**
 * Uniform on ±gain √(3 / fan) (He et al., 2015), with the gain of `nonlinearity`: variance 2 / fan for ReLU. t is
 * [nIn, nOut, …], float32 or float64; throws ShapeError for fewer than two axes.
 */
export function kaimingUniform(t: Tensor, options: KaimingOptions = {}): Tensor {
  const bound = Math.sqrt(3) * kaimingStd('init.kaimingUniform', t, options);
  return uniform(t, { a: -bound, b: bound, generator: options.generator });
}

/**
 * Normal with standard deviation gain / √fan (He et al., 2015), with the gain of `nonlinearity`. For ReLU, whose output is 0
 * half the time, and the default fan-in that is N(0, 2/n), the form of lectures 000, 002, 003 and 004; for leakyRelu with
 * slope `a` N(0, 2 / ((1 + a²) n)). t is [nIn, nOut, …], float32 or float64; throws ShapeError for fewer than two axes.
 */
export function kaimingNormal(t: Tensor, options: KaimingOptions = {}): Tensor {
  return normal(t, { std: kaimingStd('init.kaimingNormal', t, options), generator: options.generator });
}

/** Another name of kaimingUniform. */
export const heUniform = kaimingUniform;

/** Another name of kaimingNormal. */
export const heNormal = kaimingNormal;

/**
 * Normal with variance 1 / fanIn (LeCun et al., 1998): N(0, 1/n), which lectures 002 (in the first of two forms) and 003
 * call Xavier's initialization, and 000, 001 and 004 derive for linear layers. PyTorch's Xavier is xavierNormal. t is
 * [nIn, nOut, …], float32 or float64; throws ShapeError for fewer than two axes.
 */
export function lecunNormal(t: Tensor, options: InitOptions = {}): Tensor {
  const op = 'init.lecunNormal';
  checkOptions(op, options, ['generator']);
  const [fanIn] = fans(op, t);
  return normal(t, { std: 1 / Math.sqrt(Math.max(fanIn, 1)), generator: options.generator });
}

/**
 * Uniform on ±√(3 / fanIn), which has the variance of lecunNormal, 1 / fanIn. t is [nIn, nOut, …], float32 or float64; throws
 * ShapeError for fewer than two axes.
 */
export function lecunUniform(t: Tensor, options: InitOptions = {}): Tensor {
  const op = 'init.lecunUniform';
  checkOptions(op, options, ['generator']);
  const [fanIn] = fans(op, t);
  const bound = Math.sqrt(3 / Math.max(fanIn, 1));
  return uniform(t, { a: -bound, b: bound, generator: options.generator });
}

/**
 * A bias "treated as Xavier" (lecture 003, (c)): normal with variance 1 / d, as the weights of lecunNormal are that it is
 * added to, as though it were one more weight with the constant input 1. d is the fan-in of the layer: a number, or that of
 * its weight [d, nOut, …]. float32 or float64.
 *
 * `init.xavierBias(layer.bias, layer.weight)`, or `init.apply(model, { bias: init.xavierBias })`
 */
export function xavierBias(t: Tensor, fanIn: Tensor | number, options: InitOptions = {}): Tensor {
  const op = 'init.xavierBias';
  checkOptions(op, options, ['generator']);
  checkTarget(op, t);
  const d = isTensor(fanIn) ? fans(op, fanIn)[0] : checkNumber(op, 'fanIn', fanIn);
  if (!(d > 0 && d < Infinity)) throw new ArgumentError(`${op}: the fan-in must be > 0, not ${d}`);
  return normal(t, { std: 1 / Math.sqrt(d), generator: options.generator });
}

export interface ApplyOptions extends InitOptions {
  /** Fills the weight of each layer: any initializer of matrices, or an own function. Default: left as it is. */
  readonly weight?: (weight: Tensor, options: InitOptions) => unknown;
  /** A value for all biases, or what fills the bias of each layer: xavierBias or an own function. Default: left as they are. */
  readonly bias?: number | ((bias: Tensor, weight: Tensor, options: InitOptions) => unknown);
}

/**
 * Initializes a whole model: the layers y = x · W + b in it, which are the modules with a `weight` of two or more axes and a
 * `bias` (or null in its place); normalisation layers and embeddings are left alone. `init.apply(model, { weight:
 * init.kaimingNormal, bias: 0 })`; with options: `weight: (w, o) => init.varianceScaling(w, { ...o, scale: 3 })`. Layers
 * come in the order of `model.modules()`, the weight before the bias, and `generator` is handed on to both. For other rules
 * there is `model.apply(fn)`. Returns the model.
 *
 * @throws ArgumentError if there is no such layer in the model
 */
export function apply<M extends Module>(model: M, options: ApplyOptions): M {
  const op = 'init.apply';
  checkOptions(op, options, ['weight', 'bias', 'generator']);
  const given: { readonly modules?: unknown } | null | undefined = model;
  if (typeof given?.modules !== 'function') {
    throw new ArgumentError(`${op}: takes a module, not ${describe(model)}`);
  }
  const { weight, bias } = options;
  if (weight !== undefined && typeof weight !== 'function') {
    throw new ArgumentError(
      `${op}: weight is an initializer such as init.kaimingNormal, not ${describe(weight)}`,
    );
  }
  if (bias !== undefined && typeof bias !== 'function') checkNumber(op, 'bias', bias);
  const handed: InitOptions = { generator: generatorOf(op, options) };
  let found = false;
  for (const layer of model.modules() as { readonly weight?: unknown; readonly bias?: unknown }[]) {
    const { weight: w, bias: b } = layer;
    if (!isTensor(w) || w.rank < 2 || !(isTensor(b) || b === null)) continue;
    found = true;
    weight?.(w, handed);
    if (b === null || bias === undefined) continue;
    if (typeof bias === 'number') constant(b, bias);
    else bias(b, w, handed);
  }
  if (!found) throw new ArgumentError(`${op}: the model has no layer with a weight matrix and a bias`);
  return model;
}

/**
 * gain (default 1) times a random matrix with orthonormal rows or columns, whichever are fewer (Saxe et al.,
 * 2013); axes behind the first are taken as one. Gram–Schmidt on normal vectors, each orthogonalised twice,
 * in float64. t has two axes or more, float32 or float64; throws ShapeError for fewer.
 */
export function orthogonal(t: Tensor, options: XavierOptions = {}): Tensor {
  const op = 'init.orthogonal';
  checkOptions(op, options, ['gain', 'generator']);
  fans(op, t);
  const gain = checkFinite(op, 'gain', options.gain ?? 1);
  if (t.size === 0) return t;
  const rows = t.shape[0] as number;
  const cols = t.size / rows;
  const count = Math.min(rows, cols);
  const n = Math.max(rows, cols);
  // `count` vectors of n numbers, one after another. Gram–Schmidt leaves the diagonal of R positive, so that
  // the result is uniformly distributed.
  const q = random.normal([count, n], 0, 1, 'float64', generatorOf(op, options)).data as Float64Array;
  for (let i = 0; i < count; i++) {
    const v = q.subarray(i * n, (i + 1) * n);
    for (let pass = 0; pass < 2; pass++) {
      for (let j = 0; j < i; j++) {
        const u = q.subarray(j * n, (j + 1) * n);
        let dot = 0;
        for (let k = 0; k < n; k++) dot += (u[k] as number) * (v[k] as number);
        for (let k = 0; k < n; k++) v[k] = (v[k] as number) - dot * (u[k] as number);
      }
    }
    let square = 0;
    for (let k = 0; k < n; k++) square += (v[k] as number) ** 2;
    const scale = 1 / Math.sqrt(square);
    for (let k = 0; k < n; k++) v[k] = (v[k] as number) * scale;
  }
  const values = new Float64Array(t.size);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      values[r * cols + c] = gain * (q[rows <= cols ? r * n + c : c * n + r] as number);
    }
  }
  return t.copy_(tensor(values, { shape: [...t.shape] }));
}
