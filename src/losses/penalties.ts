import { isFloat } from '../dtype.js';
import { ArgumentError, DTypeError, ShapeError } from '../errors.js';
import * as ops from '../ops/index.js';
import { isTensor } from '../ops/primitive.js';
import { describe, showShape } from '../program/view.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';

// Terms that are added to a loss, which make weights small (lecture 002: training minimizes "the loss function plus
// regularization term").

/** A tensor, a module, or a list of tensors or of [name, tensor] pairs such as model.namedParameters(). */
export type PenaltyParameters =
  | Tensor
  | Iterable<Tensor | readonly [string, Tensor]>
  | {
      /** The parameters with their names. */
      namedParameters(): Iterable<readonly [string, Tensor]>;
    };

/** Options of the penalties. */
export interface PenaltyOptions {
  /**
   * Whether biases count: parameters that are named 'bias' or end with '.bias'. Default true; false needs names (a module, or
   * namedParameters()).
   */
  readonly biases?: boolean;
  /** Which parameters count: given the name ('' where there are none) and the tensor. Default: all. */
  readonly filter?: (name: string, parameter: Tensor) => boolean;
}

/** Options of l2Penalty. */
export interface L2PenaltyOptions extends PenaltyOptions {
  /** λ/2 Σ w² instead of λ Σ w², so that the gradient is λ w. Default false. */
  readonly half?: boolean;
}

type Pair = readonly [name: string | null, parameter: Tensor];

function pairsOf(op: string, params: unknown): Pair[] {
  if (isTensor(params)) return [[null, params]];
  if (typeof params === 'object' && params !== null) {
    if ('namedParameters' in params && typeof params.namedParameters === 'function')
      return pairsOf(op, params.namedParameters());
    if (Symbol.iterator in params) {
      return Array.from(params as Iterable<unknown>, (x): Pair => {
        const pair = Array.isArray(x) && x.length === 2 && typeof x[0] === 'string';
        const [name, t] = pair ? (x as [string, unknown]) : [null, x];
        if (isTensor(t)) return [name, t];
        throw new ArgumentError(
          `${op}: takes parameters, or pairs of a name and a parameter, not ${describe(x)}`,
        );
      });
    }
  }
  throw new ArgumentError(`${op}: takes a tensor, a module or a list of parameters, not ${describe(params)}`);
}

function chosen(op: string, params: unknown, options: PenaltyOptions): Tensor[] {
  const { biases = true, filter } = options;
  if (typeof biases !== 'boolean')
    throw new ArgumentError(`${op}: biases must be true or false, not ${describe(biases)}`);
  if (filter !== undefined && typeof filter !== 'function')
    throw new ArgumentError(`${op}: filter is a function of a name and a parameter, not ${describe(filter)}`);
  const out = new Set<Tensor>();
  for (const [name, t] of pairsOf(op, params)) {
    if (!biases && name === null) {
      throw new ArgumentError(
        `${op}: biases: false needs names to know them by; pass the module or its namedParameters()`,
      );
    }
    if (!biases && (name === 'bias' || name?.endsWith('.bias'))) continue;
    if (filter !== undefined && !filter(name ?? '', t)) continue;
    if (!isFloat(t.dtype)) throw new DTypeError(`${op}: parameters are float32 or float64, not ${t.dtype}`);
    out.add(t);
  }
  return [...out];
}

function penalty(
  op: string,
  params: unknown,
  lambda: number | Tensor,
  options: PenaltyOptions,
  term: (w: Tensor) => Tensor,
): Tensor {
  if (isTensor(lambda)) {
    if (lambda.size !== 1)
      throw new ShapeError(
        `${op}: lambda is a number or a scalar, not a tensor of shape ${showShape(lambda.shape)}`,
      );
  } else if (typeof lambda !== 'number' || !(lambda >= 0)) {
    throw new ArgumentError(`${op}: lambda must be a number >= 0, not ${describe(lambda)}`);
  }
  let total: Tensor | null = null;
  for (const w of chosen(op, params, options)) {
    const sum = ops.sum(term(w));
    total = total === null ? sum : ops.add(total, sum);
  }
  const factor = isTensor(lambda) && lambda.rank > 0 ? ops.reshape(lambda, []) : lambda;
  return total === null ? ops.full([], 0, 'float32') : ops.mul(total, factor);
}

/**
 * L1 penalty, λ Σ |w| over all elements of the parameters: a scalar to be added to any loss,
 * `F.crossEntropy(model.forward(x), y).add(F.l1Penalty(model, 1e-4))`. Its derivative is λ sign(w), 0 at 0. λ may be a
 * scalar tensor, so that a compiled step can take it as an input. A parameter that is listed twice counts once; with no
 * parameters it is 0.
 *
 * Throws ArgumentError for a λ below 0 and options that do not exist, DTypeError for parameters that are not float32 or
 * float64.
 */
export function l1Penalty(
  params: PenaltyParameters,
  lambda: number | Tensor,
  options: PenaltyOptions = {},
): Tensor {
  checkOptions('l1Penalty', options, ['biases', 'filter']);
  return penalty('l1Penalty', params, lambda, options, ops.abs);
}

/**
 * L2 penalty, λ ‖w‖² = λ Σ w² over all elements of the parameters, or λ/2 ‖w‖² with `half`: a scalar to be added to any
 * loss. Its derivative is 2λ w (λ w with `half`, which plain SGD with `weightDecay: λ` adds to the gradient). Otherwise as
 * l1Penalty.
 */
export function l2Penalty(
  params: PenaltyParameters,
  lambda: number | Tensor,
  options: L2PenaltyOptions = {},
): Tensor {
  const op = 'l2Penalty';
  checkOptions(op, options, ['biases', 'filter', 'half']);
  const { half = false } = options;
  if (typeof half !== 'boolean')
    throw new ArgumentError(`${op}: half must be true or false, not ${describe(half)}`);
  const sum = penalty(op, params, lambda, options, ops.square);
  return half ? ops.mul(sum, 0.5) : sum;
}
