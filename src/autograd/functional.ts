import { ArgumentError, GradError, ShapeError } from '../errors.js';
import { stack } from '../ops/concat.js';
import { isTensor } from '../ops/primitive.js';
import { tracing } from '../program/emit.js';
import { describe, sameShape, showShape } from '../program/view.js';
import { full } from '../tensor/create.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import { backwardPass, checkSeed, seedGradient } from './engine.js';
import { checkFits } from './fits.js';
import { enableGrad } from './mode.js';

/** Options of grad(outputs, inputs). */
export interface GradOptions {
  /** Start of the pass: dL/d(outputs); default 1 for scalars. */
  readonly gradOutputs?: Tensor | readonly (Tensor | null)[] | null;
  /** Record the pass, so that its results can be differentiated again. Default false. */
  readonly createGraph?: boolean;
  /** Keep the graph for another pass. Default: the value of createGraph. */
  readonly retainGraph?: boolean;
  /** Give null for an input that the outputs do not depend on, instead of a GradError. Default false. */
  readonly allowUnused?: boolean;
}

/** A function of tensors, and of anything else, that gives a tensor. */
// biome-ignore lint/suspicious/noExplicitAny: a function of tensors and anything else
export type TensorFunction = (...args: any[]) => Tensor;

function asList(name: string, x: unknown): Tensor[] {
  const list = Array.isArray(x) ? x : [x];
  for (const t of list)
    if (!isTensor(t)) throw new ArgumentError(`${name}: takes tensors, not ${describe(t)}`);
  if (list.length === 0) throw new ArgumentError(`${name}: takes at least one tensor`);
  return list as Tensor[];
}

/**
 * Derivatives, in one of two forms.
 *
 * `grad(outputs, inputs, options)` as torch.autograd.grad: the gradients of the outputs with respect to the inputs, an
 * array for an array of inputs and one tensor for one; `grad` fields stay untouched.
 *
 * `grad(f)` as in functional style: the function x ↦ ∂f/∂x for a scalar-valued f (with respect to its first argument),
 * which can itself be given to grad; `grad(f, x)` applies it at once, and for an array of inputs gives the gradients
 * with respect to all of them. Where f does not depend on x the gradient is zeros.
 *
 * Gradients have the shape and dtype (float32 or float64) of their input.
 *
 * @throws GradError for outputs that are no scalars and have no gradOutputs, for an input that does not require a gradient, or
 * that the outputs do not depend on (see allowUnused); ShapeError for gradOutputs of another shape; DTypeError for inputs that
 * are not float32 or float64; ArgumentError for what is no tensor or function
 */
export function grad(outputs: Tensor | readonly Tensor[], inputs: Tensor, options?: GradOptions): Tensor;
export function grad(
  outputs: Tensor | readonly Tensor[],
  inputs: readonly Tensor[],
  options?: GradOptions,
): Tensor[];
export function grad(f: TensorFunction): TensorFunction;
export function grad(f: TensorFunction, inputs: Tensor): Tensor;
export function grad(f: TensorFunction, inputs: readonly Tensor[]): Tensor[];
export function grad(
  outputs: Tensor | readonly Tensor[] | TensorFunction,
  inputs?: Tensor | readonly Tensor[],
  options: GradOptions = {},
): Tensor | Tensor[] | TensorFunction {
  if (typeof outputs === 'function') {
    if (inputs !== undefined) return valueAndGrad(outputs, inputs as Tensor)[1];
    const f = valueAndGrad(outputs as TensorFunction);
    return (...args: unknown[]) => f(...args)[1];
  }
  checkOptions('grad', options, ['gradOutputs', 'createGraph', 'retainGraph', 'allowUnused']);
  const roots = asList('grad', outputs);
  const wanted = asList('grad', inputs);
  const given = options.gradOutputs;
  const seeds = given === undefined || given === null ? [] : Array.isArray(given) ? given : [given];
  if (seeds.length > 0 && seeds.length !== roots.length) {
    throw new ArgumentError(`grad: ${seeds.length} gradOutputs for ${roots.length} outputs`);
  }
  for (const t of wanted) {
    if (!t.requiresGrad)
      throw new GradError('grad: an input does not require a gradient; set requiresGrad on it');
  }
  const createGraph = options.createGraph ?? false;
  const results = backwardPass(
    roots,
    roots.map((t, i) => seedGradient('grad', t, seeds[i] as Tensor | null | undefined)),
    new Set(wanted),
    { createGraph, retainGraph: options.retainGraph ?? createGraph },
  );
  const out = wanted.map((t, i) => {
    const g = results.get(t);
    if (!g && !options.allowUnused) {
      throw new GradError(
        `grad: input ${i} (shape ${showShape(t.shape)}) is not used; pass { allowUnused: true } for null`,
      );
    }
    return g ?? null;
  });
  return (Array.isArray(inputs) ? out : out[0]) as Tensor | Tensor[];
}

/**
 * The function x ↦ [f(x), ∂f/∂x] for a scalar-valued f, with respect to its first argument. With inputs it is applied at
 * once; an array of inputs gives an array of gradients. The gradients have the shapes and dtypes of the inputs, zeros where f
 * does not depend on them.
 *
 * @throws GradError for a function that gives no scalar; DTypeError for inputs that are not float32 or float64; ArgumentError
 * for what is no function, or gives no tensor
 */
export function valueAndGrad(f: TensorFunction): (...args: unknown[]) => [Tensor, Tensor];
export function valueAndGrad(f: TensorFunction, inputs: Tensor): [Tensor, Tensor];
export function valueAndGrad(f: TensorFunction, inputs: readonly Tensor[]): [Tensor, Tensor[]];
export function valueAndGrad(
  f: TensorFunction,
  inputs?: Tensor | readonly Tensor[],
): ((...args: unknown[]) => [Tensor, Tensor]) | [Tensor, Tensor | Tensor[]] {
  if (typeof f !== 'function') throw new ArgumentError(`valueAndGrad: takes a function, not ${describe(f)}`);
  if (inputs !== undefined) return vjp(f, inputs as Tensor);
  return (...args) => {
    const [x, ...rest] = args;
    const [given] = asList('grad', x) as [Tensor];
    // An argument that is being differentiated already stays in its graph: that makes grad of grad work.
    const nested = given.requiresGrad;
    return enableGrad(() => {
      const input = nested ? given.mul(1) : leaf(given);
      const y = tensorOf('grad', f(input, ...rest));
      return [nested ? y : y.detach(), gradientsOf('grad', y, [input], nested)[0] as Tensor];
    });
  };
}

function leaf(x: Tensor): Tensor {
  const t = x.detach().contiguous().detach();
  t.requiresGrad = true;
  return t;
}

function zerosOf(x: Tensor): Tensor {
  return full(x.shape, 0, { dtype: x.dtype });
}

/**
 * The gradients of y, times v (default 1, for a scalar). Zeros where y does not depend on an input: a derivative of a
 * derivative often does not, as the second one of a linear function.
 */
function gradientsOf(
  name: string,
  y: Tensor,
  xs: readonly Tensor[],
  createGraph: boolean,
  v?: Tensor,
): Tensor[] {
  if (!y.requiresGrad) {
    checkSeed(name, y, v);
    return xs.map(zerosOf);
  }
  const gs = grad(y, xs, { gradOutputs: v ?? null, createGraph, allowUnused: true }) as (Tensor | null)[];
  return xs.map((x, i) => gs[i] ?? zerosOf(x));
}

function tensorOf(name: string, y: unknown): Tensor {
  if (isTensor(y)) return y;
  throw new ArgumentError(`${name}: the function must return a tensor, not ${describe(y)}`);
}

type Inputs = Tensor | readonly Tensor[];

function run(name: string, f: TensorFunction, inputs: Inputs): { xs: Tensor[]; y: Tensor } {
  if (typeof f !== 'function') throw new ArgumentError(`${name}: takes a function first, not ${describe(f)}`);
  const given = asList(name, inputs);
  const xs = given.map((x) => (x.requiresGrad ? x.mul(1) : leaf(x)));
  return { xs, y: tensorOf(name, f(...xs)) };
}

/** True where the result is itself to be differentiated: an input belongs to a graph already. */
function nested(name: string, inputs: Inputs): boolean {
  return asList(name, inputs).some((x) => x.requiresGrad);
}

function shaped<T>(inputs: Inputs, out: T[]): T | T[] {
  return Array.isArray(inputs) ? out : (out[0] as T);
}

/**
 * The pair of `f(x)` and `vᵀ J`, the product of v (of the shape of f(x); default 1 for a scalar) with the Jacobian of
 * f: one gradient of the shape of x, or an array of them for an array of inputs. Zeros where f does not depend on an
 * input.
 *
 * Source: lecture 001, the backward computation of a block: from ∂L/∂y to ∂L/∂x.
 *
 * @throws ShapeError for a v that does not have the shape of f(x); GradError for no v where f(x) is no scalar; DTypeError for
 * inputs that are not float32 or float64; ArgumentError for what is no function, or gives no tensor
 */
export function vjp(f: TensorFunction, inputs: Tensor, v?: Tensor): [Tensor, Tensor];
export function vjp(f: TensorFunction, inputs: readonly Tensor[], v?: Tensor): [Tensor, Tensor[]];
export function vjp(f: TensorFunction, inputs: Inputs, v?: Tensor): [Tensor, Tensor | Tensor[]] {
  const createGraph = nested('vjp', inputs);
  return enableGrad(() => {
    const { xs, y } = run('vjp', f, inputs);
    return [createGraph ? y : y.detach(), shaped(inputs, gradientsOf('vjp', y, xs, createGraph, v))];
  });
}

/** Refuses directions that do not have the shapes of the inputs. */
function checkDirections(name: string, xs: readonly Tensor[], vs: readonly Tensor[]): void {
  if (vs.length !== xs.length)
    throw new ArgumentError(`${name}: ${vs.length} directions for ${xs.length} inputs`);
  xs.forEach((x, i) => {
    const v = vs[i] as Tensor;
    if (!sameShape(x.shape, v.shape)) {
      throw new ShapeError(`${name}: v has shape ${showShape(v.shape)}, the input ${showShape(x.shape)}`);
    }
  });
}

/**
 * The pair of `f(x)` and `J v`, the directional derivative along v (of the shape of x; an array for an array of
 * inputs), of the shape of f(x). By differentiating the vector-Jacobian product.
 *
 * @throws ShapeError for a v that does not have the shape of x; DTypeError for inputs that are not float32 or float64;
 * ArgumentError for what is no function, or gives no tensor
 */
export function jvp(f: TensorFunction, inputs: Tensor, v: Tensor): [Tensor, Tensor];
export function jvp(f: TensorFunction, inputs: readonly Tensor[], v: readonly Tensor[]): [Tensor, Tensor];
export function jvp(f: TensorFunction, inputs: Inputs, v: Inputs): [Tensor, Tensor] {
  const createGraph = nested('jvp', inputs);
  return enableGrad(() => {
    const { xs, y } = run('jvp', f, inputs);
    const vs = asList('jvp', v);
    checkDirections('jvp', xs, vs);
    if (!y.requiresGrad) return [y, zerosOf(y)];
    // J v is the derivative of u ↦ uᵀ J with respect to u, along v.
    const u = zerosOf(y);
    u.requiresGrad = true;
    const gs = grad(y, xs, { gradOutputs: u, createGraph: true, allowUnused: true }) as (Tensor | null)[];
    let out = zerosOf(y);
    gs.forEach((g, i) => {
      if (!g?.requiresGrad) return;
      const part = grad([g], [u], {
        gradOutputs: [vs[i] as Tensor],
        createGraph,
        retainGraph: true,
        allowUnused: true,
      })[0];
      if (part) out = out.add(part);
    });
    return [createGraph ? y : y.detach(), out];
  });
}

/**
 * The pair of `f(x)` and `H v`, the product of the Hessian of a scalar-valued f with v (of the shape of x; arrays for
 * an array of inputs). The Hessian itself is never made.
 *
 * @throws ShapeError for a function that gives no scalar, or a v that does not have the shape of x; DTypeError for inputs that
 * are not float32 or float64; ArgumentError for what is no function, or gives no tensor
 */
export function hvp(f: TensorFunction, inputs: Tensor, v: Tensor): [Tensor, Tensor];
export function hvp(f: TensorFunction, inputs: readonly Tensor[], v: readonly Tensor[]): [Tensor, Tensor[]];
export function hvp(f: TensorFunction, inputs: Inputs, v: Inputs): [Tensor, Tensor | Tensor[]] {
  const createGraph = nested('hvp', inputs);
  return enableGrad(() => {
    const { xs, y } = run('hvp', f, inputs);
    const vs = asList('hvp', v);
    checkDirections('hvp', xs, vs);
    if (y.size !== 1)
      throw new ShapeError(`hvp: the function must give a scalar, not shape ${showShape(y.shape)}`);
    const zero = () => xs.map(zerosOf);
    if (!y.requiresGrad) return [y, shaped(inputs, zero())];
    const gs = grad(y, xs, { createGraph: true, allowUnused: true }) as (Tensor | null)[];
    const pairs = gs.flatMap((g, i) => (g?.requiresGrad ? [[g, vs[i] as Tensor] as const] : []));
    if (pairs.length === 0) return [y.detach(), shaped(inputs, zero())];
    const hs = grad(
      pairs.map(([g]) => g),
      xs,
      { gradOutputs: pairs.map(([, w]) => w), createGraph, allowUnused: true },
    ) as (Tensor | null)[];
    return [
      createGraph ? y : y.detach(),
      shaped(
        inputs,
        xs.map((x, i) => hs[i] ?? zerosOf(x)),
      ),
    ];
  });
}

/** Rows of a Jacobian: one backward pass per element of y. */
function rowsOfJacobian(y: Tensor, xs: readonly Tensor[], createGraph: boolean): Tensor[] {
  const shapes = xs.map((x) => [...y.shape, ...x.shape]);
  if (y.size === 0 || !y.requiresGrad) {
    return xs.map((x, j) => full(shapes[j] as number[], 0, { dtype: x.dtype }));
  }
  const flat = y.reshape(-1);
  const row = (i: number): (Tensor | null)[] =>
    grad(flat.select(0, i), [...xs], { createGraph, retainGraph: true, allowUnused: true });
  if (createGraph || tracing() !== null) {
    const rows = Array.from({ length: flat.size }, (_, i) => row(i));
    return xs.map((x, j) => stack(rows.map((gs) => gs[j] ?? zerosOf(x))).reshape(shapes[j] as number[]));
  }
  // Each row goes to its place at once: a list of them to be joined would take the memory of the matrix twice.
  const out = xs.map((x) => full([flat.size, ...x.shape], 0, { dtype: x.dtype }));
  for (let i = 0; i < flat.size; i++) {
    row(i).forEach((g, j) => {
      if (g !== null) (out[j] as Tensor).select(0, i).copy_(g);
    });
  }
  return out.map((t, j) => t.reshape(shapes[j] as number[]));
}

/**
 * The Jacobian of f at the inputs, of shape [...f(x).shape, ...x.shape] (one per input for an array of
 * inputs), in the dtype of x. Without inputs: the function x ↦ J(x). One backward pass per element of f(x).
 *
 * Source: lecture 001, "Backpropagation": ∂y_j/∂x_i.
 *
 * @throws ShapeError, with the bytes it would need, for a Jacobian that is larger than the memory of the machine; DTypeError
 * for inputs that are not float32 or float64; ArgumentError for what is no function, or gives no tensor
 */
export function jacobian(f: TensorFunction, inputs: Tensor): Tensor;
export function jacobian(f: TensorFunction, inputs: readonly Tensor[]): Tensor[];
export function jacobian(f: TensorFunction): (x: Tensor) => Tensor;
export function jacobian(f: TensorFunction, inputs?: Inputs): Tensor | Tensor[] | ((x: Tensor) => Tensor) {
  if (typeof f !== 'function')
    throw new ArgumentError(`jacobian: takes a function first, not ${describe(f)}`);
  if (inputs === undefined) return (x) => jacobian(f, x);
  const createGraph = nested('jacobian', inputs);
  return enableGrad(() => {
    const { xs, y } = run('jacobian', f, inputs);
    const columns = xs.reduce((sum, x) => sum + x.size, 0);
    checkFits('jacobian', y.size, columns, (xs[0] as Tensor).dtype, 'use vjp or jvp for products with it');
    return shaped(inputs, rowsOfJacobian(y, xs, createGraph));
  });
}

/**
 * The Hessian of a scalar-valued f, of shape [...x.shape, ...x.shape]; for an array of inputs the block
 * matrix hessian[i][j] = ∂²f / ∂xᵢ∂xⱼ. In the dtype of x. Without inputs: the function x ↦ H(x). One backward pass per
 * element of x. hvp() gives its products with vectors, simdgrad/analysis' hessianMatrix() one matrix for several inputs.
 *
 * Source: lectures 001 and 004, ∇²f = (∂²f/∂θᵢ∂θⱼ).
 *
 * @throws ShapeError for a function that gives no scalar, and, with the bytes it would need, for a Hessian that is larger than
 * the memory of the machine (lecture 004: for 10⁹ parameters 4,000,000,000 GB); DTypeError for inputs that are not float32 or
 * float64; ArgumentError for what is no function, or gives no tensor
 */
export function hessian(f: TensorFunction, inputs: Tensor): Tensor;
export function hessian(f: TensorFunction, inputs: readonly Tensor[]): Tensor[][];
export function hessian(f: TensorFunction): (x: Tensor) => Tensor;
export function hessian(f: TensorFunction, inputs?: Inputs): Tensor | Tensor[][] | ((x: Tensor) => Tensor) {
  if (typeof f !== 'function') throw new ArgumentError(`hessian: takes a function first, not ${describe(f)}`);
  if (inputs === undefined) return (x) => hessian(f, x);
  const createGraph = nested('hessian', inputs);
  const given = asList('hessian', inputs);
  const n = given.reduce((sum, x) => sum + x.size, 0);
  checkFits('hessian', n, n, (given[0] as Tensor).dtype, 'use hvp for products with it');
  return enableGrad(() => {
    const { xs, y } = run('hessian', f, inputs);
    if (y.size !== 1)
      throw new ShapeError(`hessian: the function must give a scalar, not shape ${showShape(y.shape)}`);
    const gs = y.requiresGrad
      ? (grad(y, xs, { createGraph: true, allowUnused: true }) as (Tensor | null)[])
      : xs.map(() => null);
    const blocks = gs.map((g, i) => rowsOfJacobian(g ?? zerosOf(xs[i] as Tensor), xs, createGraph));
    return Array.isArray(inputs) ? blocks : ((blocks[0] as Tensor[])[0] as Tensor);
  });
}
