import {
  ArgumentError,
  concat,
  enableGrad,
  grad,
  isTensor,
  jacobian,
  nn,
  noGrad,
  ShapeError,
  StateError,
  type Tensor,
  zerosLike,
} from 'simdgrad';
import { describe } from '../options.js';
import { functionalCall, namedParametersOf } from './call.js';
import { flatten, norm, shown, valuesOf } from './points.js';

/**
 * A function of parameters and inputs, f(θ, …x): the first argument has the form in which θ₀ was given, a tensor or an array
 * of tensors.
 */
// biome-ignore lint/suspicious/noExplicitAny: θ in one form or the other, and inputs of any kind
export type ParametricFunction = (parameters: any, ...inputs: any[]) => Tensor;

/**
 * Δθ = θ − θ₀: tensors like the parameters; one tensor of all elements in a row, [m]; for a single parameter a tensor of its
 * shape. What is omitted is how far the module itself has moved.
 */
export type Displacement = Tensor | readonly Tensor[];

/** How far a network has moved, and how far from its linearisation (all norms are 2-norms over all elements). */
export interface Deviation {
  /** ‖f(x, θ₀ + Δθ) − f(x, θ₀)‖: how far the outputs moved. */
  readonly moved: number;
  /** ‖f(x, θ₀ + Δθ) − (f(x, θ₀) + ⟨∇_θ f, Δθ⟩)‖: what the linear term does not explain. */
  readonly error: number;
  /** error / moved: near 0 in lazy training, near or above 1 where the linearisation says nothing. NaN for Δθ = 0. */
  readonly relative: number;
  /** The same error with the second-order term added. */
  readonly secondOrderError: number;
  /** ‖Δθ‖. */
  readonly distance: number;
  /** ‖Δθ‖ / ‖θ₀‖. NaN where θ₀ is zero. */
  readonly relativeDistance: number;
}

/** One input of the function, or an array of all of them where it takes several. */
type Inputs = unknown;

const listOf = (x: Inputs): readonly unknown[] => (Array.isArray(x) && !isNumbers(x) ? x : [x]);
const isNumbers = (x: readonly unknown[]): boolean => x.length > 0 && x.every((v) => typeof v === 'number');

/**
 * The Taylor expansion of a network in its parameters,
 * f(x, θ₀ + Δθ) = f(x, θ₀) + ⟨∇_θ f(x, θ₀), Δθ⟩ + ½ Δθᵀ ∇²_θ f(x, θ₀) Δθ + …
 *
 * Made by linearize(). θ₀ is a copy: the network may be trained meanwhile. Everything is computed in the dtype of the
 * parameters, by products with derivatives, without a Jacobian or Hessian (except in features() and kernel()).
 *
 * Source: lecture 003, "Feature perspective and Taylor expansion"; the second-order term as in lecture 004's expansion.
 */
export class Linearization {
  /** θ₀. */
  readonly parameters: readonly Tensor[];
  /** Names of the parameters: the module's, else "0", "1", … */
  readonly names: readonly string[];
  /** m: the number of elements of all parameters, so the number of features. */
  readonly size: number;
  readonly #f: (parameters: readonly Tensor[], inputs: readonly unknown[]) => Tensor;
  readonly #model: nn.Module | null;

  /** Not for direct use: see linearize(). */
  constructor(
    f: (parameters: readonly Tensor[], inputs: readonly unknown[]) => Tensor,
    named: readonly (readonly [string, Tensor])[],
    model: nn.Module | null,
  ) {
    this.#f = f;
    this.#model = model;
    this.names = named.map(([name]) => name);
    this.parameters = named.map(([name, t]) => noGrad(() => valuesOf('linearize', name, t).clone()));
    this.size = this.parameters.reduce((sum, t) => sum + t.size, 0);
  }

  /** f(x, θ₀ + Δθ): the network itself. Gradients flow to a Δθ that requires them. */
  exact(x: Inputs, delta?: Displacement): Tensor {
    const deltas = this.#deltas('exact', delta);
    return this.#run(
      'exact',
      this.parameters.map((p, i) => p.add(deltas[i] as Tensor)),
      x,
    );
  }

  /**
   * The linearised network, f(x, θ₀) + ⟨∇_θ f(x, θ₀), Δθ⟩. It is linear in Δθ, and gradients flow to a Δθ that requires them,
   * so it can be trained.
   */
  linear(x: Inputs, delta?: Displacement): Tensor {
    const { value, first } = this.#terms('linear', x, delta, false);
    return value.add(first);
  }

  /** The expansion to second order, f(x, θ₀) + ⟨∇_θ f, Δθ⟩ + ½ Δθᵀ ∇²_θ f Δθ, for every output. */
  quadratic(x: Inputs, delta?: Displacement): Tensor {
    const { value, first, second } = this.#terms('quadratic', x, delta, true);
    return value.add(first).add(second.mul(0.5));
  }

  /**
   * ∇_θ f(x, θ₀) for every output: the features of the linearised network, of shape [...f(x).shape, m], the parameters in
   * order, each in row-major order. One backward pass per output.
   *
   * @throws ShapeError where they are larger than the memory of the machine
   */
  features(x: Inputs): Tensor {
    let shape: readonly number[] = [];
    const rows = jacobian(
      (...parameters: Tensor[]) => {
        const y = this.#run('features', parameters, x);
        shape = y.shape;
        return y;
      },
      [...this.parameters],
    ).map((j, i) => {
      const columns = (this.parameters[i] as Tensor).size;
      return j.reshape(
        shape.reduce((a, b) => a * b, 1),
        columns,
      );
    });
    const together = rows.length === 1 ? (rows[0] as Tensor) : concat(rows, 1);
    return together.reshape([...shape, this.size]);
  }

  /**
   * The kernel matrix of the features, Φ(x) Φ(x′)ᵀ (the empirical neural tangent kernel, Jacot et al. 2018): [n, n′] for n and
   * n′ outputs in row-major order, so [N, N′] for a network with one output per example. Symmetric and positive semidefinite
   * where x′ is x, the default.
   */
  kernel(x: Inputs, other?: Inputs): Tensor {
    const flat = (inputs: Inputs): Tensor => this.features(inputs).reshape(-1, this.size);
    const left = flat(x);
    return left.matmul((other === undefined ? left : flat(other)).transpose());
  }

  /** Δθ of the module as it is now: its parameters minus θ₀. Only where a module was linearised (ArgumentError). */
  displacement(): Tensor[] {
    if (this.#model === null) {
      throw new ArgumentError('displacement: only a module moves by itself; give Δθ for a function');
    }
    const now = new Map(this.#model.namedParameters());
    return this.parameters.map((p, i) => {
      const name = this.names[i] as string;
      const t = now.get(name);
      if (t === undefined || shown(t.shape) !== shown(p.shape)) {
        throw new ShapeError(
          `displacement: the module has no parameter ${name} of shape ${shown(p.shape)} any more`,
        );
      }
      return noGrad(() => t.detach().to(p.dtype).sub(p));
    });
  }

  /** How far the outputs at x are from the linearisation after Δθ (default: where training has brought the module). */
  deviation(x: Inputs, delta?: Displacement): Deviation {
    const deltas = this.#deltas('deviation', delta).map((d) => d.detach());
    const { value, first, second } = this.#terms('deviation', x, deltas, true);
    const exact = flatten([noGrad(() => this.exact(x, deltas))]);
    const [f0, f1, f2] = [value, first, second].map((t) => flatten([t])) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ];
    const moved = norm(exact.map((v, i) => v - (f0[i] as number)));
    const left = exact.map((v, i) => v - (f0[i] as number) - (f1[i] as number));
    const error = norm(left);
    const distance = norm(flatten(deltas));
    return {
      moved,
      error,
      relative: error / moved,
      secondOrderError: norm(left.map((v, i) => v - (f2[i] as number) / 2)),
      distance,
      relativeDistance: distance / norm(flatten(this.parameters)),
    };
  }

  #run(op: string, parameters: readonly Tensor[], x: Inputs): Tensor {
    for (const [name, m] of this.#model?.namedModules() ?? []) {
      if (m instanceof nn.Dropout && m.training && m.p > 0) {
        throw new StateError(
          `${op}: the Dropout ${describe(name)} drops other elements at every call, so the network is no function of its ` +
            `parameters; call eval() on it first`,
        );
      }
    }
    const y = this.#f(parameters, listOf(x));
    if (!isTensor(y)) throw new ArgumentError(`${op}: the function must return a tensor, not ${describe(y)}`);
    return y;
  }

  /** Δθ as tensors like the parameters. */
  #deltas(op: string, delta?: Displacement): readonly Tensor[] {
    if (delta === undefined) return this.displacement();
    if (Array.isArray(delta)) {
      if (delta.length !== this.parameters.length || !delta.every((d) => isTensor(d))) {
        throw new ArgumentError(
          `${op}: Δθ is ${this.parameters.length} tensors like the parameters, not ${describe(delta)}`,
        );
      }
      delta.forEach((d: Tensor, i) => {
        const p = this.parameters[i] as Tensor;
        if (shown(d.shape) !== shown(p.shape)) {
          throw new ShapeError(
            `${op}: Δθ of ${this.names[i]} has shape ${shown(p.shape)}, not ${shown(d.shape)}`,
          );
        }
      });
      return delta.map((d: Tensor, i) => d.to((this.parameters[i] as Tensor).dtype));
    }
    if (!isTensor(delta)) {
      throw new ArgumentError(`${op}: Δθ is a tensor or an array of tensors, not ${describe(delta)}`);
    }
    const [only] = this.parameters as [Tensor];
    if (this.parameters.length === 1 && shown(delta.shape) === shown(only.shape))
      return [delta.to(only.dtype)];
    if (delta.rank !== 1 || delta.size !== this.size) {
      throw new ShapeError(`${op}: Δθ in a row has shape [${this.size}], not ${shown(delta.shape)}`);
    }
    let at = 0;
    return this.parameters.map((p) => {
      const part = delta
        .slice([at, at + p.size])
        .reshape(p.shape)
        .to(p.dtype);
      at += p.size;
      return part;
    });
  }

  /**
   * f(x, θ₀), ⟨∇_θ f, Δθ⟩ and Δθᵀ∇²_θ f Δθ for every output. u ↦ ∇_θ⟨u, f⟩ is linear in u, so what is linear in u and made
   * of it has the wanted term for its gradient with respect to u.
   */
  #terms(
    op: string,
    x: Inputs,
    delta: Displacement | undefined,
    wantSecond: boolean,
  ): { value: Tensor; first: Tensor; second: Tensor } {
    const deltas = this.#deltas(op, delta);
    // The graph of the result is only wanted where Δθ is trained.
    const createGraph = deltas.some((d) => d.requiresGrad);
    return enableGrad(() => {
      const leaves = this.parameters.map((p) => {
        const t = p.detach();
        t.requiresGrad = true;
        return t;
      });
      const y = this.#run(op, leaves, x);
      const value = y.detach();
      const none = { value, first: zerosLike(value), second: zerosLike(value) };
      if (!y.requiresGrad) return none;
      const u = zerosLike(value);
      u.requiresGrad = true;
      const gradients = grad(y, leaves, { gradOutputs: u, createGraph: true, allowUnused: true });
      const along = innerProduct(gradients, deltas);
      if (along === null) return none;
      const options = { createGraph, retainGraph: true, allowUnused: true };
      const first = (grad(along, u, options) as Tensor | null) ?? none.first;
      if (!wantSecond) return { ...none, first };
      const again = grad(along, leaves, { createGraph: true, allowUnused: true });
      const curved = innerProduct(again, deltas);
      const second = curved === null ? null : (grad(curved, u, options) as Tensor | null);
      return { value, first, second: second ?? none.second };
    });
  }
}

/** Σᵢ ⟨gᵢ, dᵢ⟩ over the gradients that depend on something; null where none does. */
function innerProduct(gradients: readonly (Tensor | null)[], deltas: readonly Tensor[]): Tensor | null {
  let sum: Tensor | null = null;
  gradients.forEach((g, i) => {
    if (!g?.requiresGrad) return;
    const part = g.mul(deltas[i] as Tensor).sum();
    sum = sum === null ? part : (sum as Tensor).add(part);
  });
  return sum;
}

/**
 * The Taylor expansion of a network about its parameters: the linearised network, its features, its tangent kernel.
 *
 * The network is run in the mode it is in. Dropout has to be in evaluation mode (StateError); batch normalisation in training
 * mode takes the statistics of x, and moves its running ones at every call.
 *
 * `linearize(model)` takes the parameters that a module has now for θ₀, copies of which it keeps; the outputs are those of
 * forward(). `linearize(f, θ₀)` takes a function f(θ, …x), θ in the form of θ₀: a tensor or an array of tensors.
 *
 * @example
 * const start = linearize(model);
 * // … train the model …
 * start.deviation(x).relative; // how much of the change of the outputs is not explained by the features at θ₀
 *
 * @throws ArgumentError for a module without parameters, or what is no function; DTypeError for parameters that are not
 * float32 or float64
 */
export function linearize(model: nn.Module): Linearization;
export function linearize(f: ParametricFunction, parameters: Tensor | readonly Tensor[]): Linearization;
export function linearize(
  given: nn.Module | ParametricFunction,
  parameters?: Tensor | readonly Tensor[],
): Linearization {
  if (given instanceof nn.Module) {
    if (parameters !== undefined) {
      throw new ArgumentError('linearize: a module brings its own parameters; give them only for a function');
    }
    const named = namedParametersOf('linearize', given);
    if (named.length === 0) throw new ArgumentError('linearize: the module has no parameters');
    const names = named.map(([name]) => name);
    const byName = (list: readonly Tensor[]): Record<string, Tensor> =>
      Object.fromEntries(names.map((name, i) => [name, list[i] as Tensor]));
    return new Linearization((list, inputs) => functionalCall(given, byName(list), ...inputs), named, given);
  }
  if (typeof given !== 'function') {
    throw new ArgumentError(
      `linearize: takes a module, or a function and its parameters, not ${describe(given)}`,
    );
  }
  const many = Array.isArray(parameters);
  const list = (many ? parameters : [parameters]) as readonly Tensor[];
  if (list.length === 0 || !list.every((t) => isTensor(t))) {
    throw new ArgumentError(
      `linearize: the parameters are a tensor or an array of tensors, not ${describe(parameters)}`,
    );
  }
  return new Linearization(
    (theta, inputs) => given(many ? theta : theta[0], ...inputs),
    list.map((t, i) => [String(i), t] as const),
    null,
  );
}
