import { isFloat, type TypedArray } from '../dtype.js';
import { ArgumentError, GradError } from '../errors.js';
import { isTensor } from '../ops/primitive.js';
import { normal } from '../ops/random.js';
import { Generator } from '../program/generator.js';
import { describe, rowMajor, type Shape, sameShape, showShape, type View } from '../program/view.js';
import { full } from '../tensor/create.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import { grad } from './functional.js';
import { enableGrad } from './mode.js';

/** What is checked: a function of tensors that gives one or several, or a module. */
export type Differentiable =
  // biome-ignore lint/suspicious/noExplicitAny: a function of tensors and anything else
  | ((...args: any[]) => Tensor | readonly Tensor[])
  | {
      /** What a module computes. */
      // biome-ignore lint/suspicious/noExplicitAny: as above
      forward(...args: any[]): Tensor | readonly Tensor[];
    };

/** Options of gradcheck, with PyTorch's defaults. */
export interface GradcheckOptions {
  /** Step of the central differences. Default 1e-6. */
  readonly eps?: number;
  /** Absolute tolerance. Default 1e-5. */
  readonly atol?: number;
  /** Tolerance relative to the derivative by differences. Default 1e-3. */
  readonly rtol?: number;
  /** Throws where derivatives differ; false: returns false instead. Default true. */
  readonly raiseException?: boolean;
}

/** Options of gradgradcheck. */
export interface GradgradcheckOptions extends GradcheckOptions {
  /** What the outputs' gradients are multiplied with, float64, one per output. Default: drawn from N(0, 1), always the same. */
  readonly gradOutputs?: Tensor | readonly Tensor[];
}

type Inputs = Tensor | readonly Tensor[];
type Call = (...args: readonly Tensor[]) => Tensor[];

const names = ['eps', 'atol', 'rtol', 'raiseException'];

function callOf(name: string, f: Differentiable): Call {
  const run =
    typeof f === 'function'
      ? f
      : typeof f?.forward === 'function'
        ? (...args: readonly Tensor[]) => f.forward(...args)
        : null;
  if (run === null)
    throw new ArgumentError(`${name}: takes a function or a module first, not ${describe(f)}`);
  return (...args) => {
    const y = run(...args);
    const list = Array.isArray(y) ? (y as readonly unknown[]) : [y];
    for (const t of list) {
      if (!isTensor(t))
        throw new ArgumentError(
          `${name}: the function must return a tensor, or an array of them, not ${describe(t)}`,
        );
    }
    const floats = (list as Tensor[]).filter((t) => isFloat(t.dtype));
    if (floats.length === 0)
      throw new ArgumentError(`${name}: the function returns nothing that has a derivative`);
    return floats;
  };
}

/** The inputs as they are passed to the function: those that are checked are float64 leaves. */
function prepared(name: string, inputs: Inputs): { xs: Tensor[]; targets: Tensor[]; places: number[] } {
  const given: readonly unknown[] = Array.isArray(inputs) ? inputs : [inputs];
  for (const t of given)
    if (!isTensor(t)) throw new ArgumentError(`${name}: takes tensors, not ${describe(t)}`);
  const list = given as readonly Tensor[];
  const any = list.some((t) => t.requiresGrad);
  const places = list.flatMap((t, i) => ((any ? t.requiresGrad : t.dtype === 'float64') ? [i] : []));
  for (const i of places) {
    const { dtype } = list[i] as Tensor;
    if (dtype !== 'float64')
      throw new ArgumentError(
        `${name}: input ${i} is ${dtype}; differences need float64: convert it, and the module, with .to('float64')`,
      );
  }
  if (places.length === 0) throw new ArgumentError(`${name}: there is no float64 input to check`);
  const xs = [...list];
  for (const i of places) {
    const t = list[i] as Tensor;
    // A leaf is taken itself, so that a function that uses it without being passed it (a module's weight) is checked too.
    if (t.requiresGrad && t.isLeaf) {
      const { shape, strides } = t.view;
      if (t.size > 0 && strides.some((stride, a) => stride === 0 && (shape[a] as number) > 1))
        throw new ArgumentError(
          `${name}: elements of input ${i} share their memory (it was broadcast); pass a clone()`,
        );
      continue;
    }
    const leaf = t.detach().clone().detach();
    leaf.requiresGrad = true;
    xs[i] = leaf;
  }
  return { xs, targets: places.map((i) => xs[i] as Tensor), places };
}

/** Position of an element in memory, by its number in row-major order. */
function placeOf(view: View, i: number): number {
  const { shape, strides, offset } = view;
  let at = offset;
  let rest = i;
  for (let a = shape.length - 1; a >= 0; a--) {
    const n = shape[a] as number;
    at += (rest % n) * (strides[a] as number);
    rest = Math.floor(rest / n);
  }
  return at;
}

function positionOf(i: number, shape: Shape): string {
  const steps = rowMajor(shape);
  return showShape(shape.map((n, a) => Math.floor(i / (steps[a] as number)) % n));
}

/** The values of all outputs, copied. */
function valuesOf(call: Call, xs: readonly Tensor[]): Float64Array[] {
  // Recording stays on: the function may itself be made of derivatives.
  return enableGrad(() => call(...xs)).map((y) => Float64Array.from(y.detach().clone().data));
}

/** For every output the rows of its Jacobian (one per element), for every target. */
function byBackward(call: Call, xs: readonly Tensor[], targets: readonly Tensor[]) {
  return enableGrad(() => {
    const ys = call(...xs);
    const jacobians = ys.map((y) =>
      Array.from({ length: y.size }, (_, o): readonly (ArrayLike<number> | null)[] => {
        if (!y.requiresGrad) return targets.map(() => null);
        const seed = full(y.shape, 0, { dtype: y.dtype });
        seed.data[o] = 1;
        const gs = grad(y, targets, { gradOutputs: seed, retainGraph: true, allowUnused: true });
        return gs.map((g) => (g as Tensor | null)?.data ?? null);
      }),
    );
    return { shapes: ys.map((y) => y.shape), dtypes: ys.map((y) => y.dtype), jacobians };
  });
}

/** What is wrong, or null. */
function compare(name: string, call: Call, inputs: Inputs, { eps, atol, rtol }: Required<GradcheckOptions>) {
  const { xs, targets, places } = prepared(name, inputs);
  const { shapes, dtypes, jacobians } = byBackward(call, xs, targets);
  dtypes.forEach((dtype, o) => {
    if (dtype !== 'float64')
      throw new ArgumentError(`${name}: output ${o} is ${dtype}; differences need float64 throughout`);
  });
  const base = valuesOf(call, xs);
  const again = valuesOf(call, xs);
  if (!base.every((v, o) => v.every((x, i) => Object.is(x, again[o]?.[i])))) {
    return (
      `${name}: the function gives other values when it is called again with the same inputs: ` +
      'it draws random numbers (call eval() on a module with dropout), or changes what it reads'
    );
  }
  for (let t = 0; t < targets.length; t++) {
    const { view } = targets[t] as Tensor;
    const { storage, size } = view;
    storage.checkIdle(name);
    storage.preserve();
    const array = storage.read(name) as TypedArray;
    let wrong = 0;
    let first: string | null = null;
    for (let i = 0; i < size; i++) {
      const at = placeOf(view, i);
      const held = array[at] as number;
      let above: Float64Array[];
      let below: Float64Array[];
      try {
        array[at] = held + eps;
        above = valuesOf(call, xs);
        array[at] = held - eps;
        below = valuesOf(call, xs);
      } finally {
        array[at] = held;
      }
      above.forEach((high, o) => {
        const [low, middle] = [below[o] as Float64Array, base[o] as Float64Array];
        const shape = shapes[o] as Shape;
        if (high.length !== middle.length || low.length !== middle.length)
          throw new ArgumentError(`${name}: the shape of output ${o} depends on the values of the inputs`);
        for (let k = 0; k < high.length; k++) {
          const [a, b, c] = [low[k] as number, middle[k] as number, high[k] as number];
          const numeric = (c - a) / (2 * eps);
          const exact = jacobians[o]?.[k]?.[t]?.[i] ?? 0;
          if (Math.abs(exact - numeric) <= atol + rtol * Math.abs(numeric)) continue;
          wrong++;
          if (first !== null) continue;
          const [left, right] = [(b - a) / eps, (c - b) / eps];
          const kink = Math.abs(right - left) > 10 * (atol + rtol * Math.abs(numeric));
          const output = shapes.length === 1 ? 'output' : `output ${o}`;
          first =
            `${name}: d ${output}[${k}] / d input ${places[t]}[${i}] is ${exact} by backward and ${numeric} by ` +
            `differences (element ${positionOf(k, shape)} of ${showShape(shape)}, element ${positionOf(i, view.shape)} of ` +
            `${showShape(view.shape)}; tolerance ${atol} + ${rtol} · |by differences|)`;
          if (kink)
            first +=
              `. The slopes to the left and right are ${left} and ${right}: if the function has a kink or a step there, ` +
              `check it at a point further than eps = ${eps} from it`;
        }
      });
    }
    if (first !== null) {
      const total = size * base.reduce((n, y) => n + y.length, 0);
      return `${first}. ${wrong} of ${total} derivatives with respect to input ${places[t]} differ`;
    }
  }
  return null;
}

function settings(name: string, options: GradcheckOptions): Required<GradcheckOptions> {
  const { eps = 1e-6, atol = 1e-5, rtol = 1e-3, raiseException = true } = options;
  if (!(Number.isFinite(eps) && eps > 0))
    throw new ArgumentError(`${name}: eps is a number > 0, not ${describe(eps)}`);
  for (const [key, value] of [
    ['atol', atol],
    ['rtol', rtol],
  ] as const) {
    if (!(Number.isFinite(value) && value >= 0))
      throw new ArgumentError(`${name}: ${key} is a number >= 0, not ${describe(value)}`);
  }
  if (typeof raiseException !== 'boolean')
    throw new ArgumentError(`${name}: raiseException is true or false, not ${describe(raiseException)}`);
  return { eps, atol, rtol, raiseException };
}

function verdict(complaint: string | null, raise: boolean): boolean {
  if (complaint !== null && raise) throw new GradError(complaint);
  return complaint === null;
}

/**
 * Compares the derivatives that backward gives with central differences (f(x + eps) − f(x − eps)) / 2 eps, for every
 * element of every input against every element of every output, as torch.autograd.gradcheck does: they may differ by
 * atol + rtol · |difference quotient|.
 *
 * The inputs that require a gradient are checked, or all of float64 where none does; they have to be float64 (in float32
 * differences are mostly rounding), of any shape. The others are passed on as they are. Leaves are moved in place while the
 * function runs, and put back: a function that reads one without being passed it, such as the weight of a module in
 * `gradcheck(() => model.forward(x), model.parameters())`, is checked as well. Outputs that are no floats are ignored.
 *
 * Differences are no measure at points without a derivative: at the kink of relu they give 1/2, the mean of the slopes to both
 * sides, and backward gives PyTorch's choice, 0. (At the kink of abs both are 0.) The error says so where the slopes differ.
 *
 * @param f a function of the inputs that returns a tensor or an array of them, or a module
 * @param inputs a tensor, or an array of them
 * @returns true; false where derivatives differ and `raiseException` is false
 * @throws GradError where derivatives differ, with the first entry in which the two Jacobians do, and how many do; or where the
 *   function gives other values when it is called again (dropout)
 * @throws ArgumentError for inputs or outputs that are not float64, or options that do not exist
 * @example
 * gradcheck((x, w) => x.matmul(w).tanh(), [randn(3, 4, { dtype: 'float64' }), randn(4, 2, { dtype: 'float64' })]);
 */
export function gradcheck(
  f: Differentiable,
  inputs: Tensor | readonly Tensor[],
  options: GradcheckOptions = {},
): boolean {
  checkOptions('gradcheck', options, names);
  const checked = settings('gradcheck', options);
  return verdict(compare('gradcheck', callOf('gradcheck', f), inputs, checked), checked.raiseException);
}

/**
 * Checks second derivatives: gradcheck of the function that maps the inputs and the gradients of the outputs to the
 * gradients of the inputs, as torch.autograd.gradgradcheck.
 *
 * @param f as for gradcheck
 * @param inputs as for gradcheck
 * @returns true; false where derivatives differ and `raiseException` is false
 * @throws GradError, ArgumentError as gradcheck; the inputs in the message are those of f, then the gradients of its outputs
 */
export function gradgradcheck(
  f: Differentiable,
  inputs: Tensor | readonly Tensor[],
  options: GradgradcheckOptions = {},
): boolean {
  checkOptions('gradgradcheck', options, [...names, 'gradOutputs']);
  const { gradOutputs, ...rest } = options;
  const checked = settings('gradgradcheck', rest);
  const call = callOf('gradgradcheck', f);
  const { xs, places } = prepared('gradgradcheck', inputs);
  const ys = enableGrad(() => call(...xs));
  const which = ys.flatMap((y, o) => (y.requiresGrad ? [o] : []));
  if (which.length === 0)
    throw new GradError('gradgradcheck: no output depends on the inputs that are checked');
  const seeds = seedsOf(gradOutputs, ys).filter((_, o) => which.includes(o));
  const first: Call = (...args) => {
    const outputs = call(...args.slice(0, xs.length));
    const wanted = places.map((i) => args[i] as Tensor);
    const gs = grad(
      which.map((o) => outputs[o] as Tensor),
      wanted,
      { gradOutputs: args.slice(xs.length), createGraph: true, allowUnused: true },
    ) as (Tensor | null)[];
    return gs.map((g, i) => g ?? full((wanted[i] as Tensor).shape, 0, { dtype: 'float64' }));
  };
  return verdict(compare('gradgradcheck', first, [...xs, ...seeds], checked), checked.raiseException);
}

/** What second derivatives start from, one leaf per output. */
function seedsOf(given: Inputs | undefined, ys: readonly Tensor[]): Tensor[] {
  const generator = new Generator(0);
  const list: readonly unknown[] | null = given === undefined ? null : Array.isArray(given) ? given : [given];
  if (list !== null && list.length !== ys.length)
    throw new ArgumentError(`gradgradcheck: ${list.length} gradOutputs for ${ys.length} outputs`);
  return ys.map((y, o) => {
    const g = list === null ? normal(y.shape, 0, 1, 'float64', generator) : list[o];
    if (!isTensor(g) || g.dtype !== 'float64' || !sameShape(g.shape, y.shape)) {
      throw new ArgumentError(
        `gradgradcheck: gradOutputs[${o}] is a float64 tensor of shape ${showShape(y.shape)}, not ` +
          (isTensor(g) ? `${g.dtype} ${showShape(g.shape)}` : describe(g)),
      );
    }
    const leaf = g.detach().clone().detach();
    leaf.requiresGrad = true;
    return leaf;
  });
}
