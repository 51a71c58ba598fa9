import { noGrad } from '../autograd/mode.js';
import { isFloat } from '../dtype.js';
import { ArgumentError, CompileError, DTypeError, StateError } from '../errors.js';
import * as ops from '../ops/index.js';
import { checkTensor, isTensor } from '../ops/primitive.js';
import { tracing } from '../program/emit.js';
import { describe } from '../program/view.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';

/** A parameter, or several. */
export type Tensors = Tensor | Iterable<Tensor>;

function listOf(op: string, given: Tensors, what: string): Tensor[] {
  if (isTensor(given)) return [given];
  if (typeof (given as Partial<Iterable<Tensor>> | null)?.[Symbol.iterator] !== 'function') {
    throw new ArgumentError(`${op}: takes ${what}s, not ${describe(given)}`);
  }
  return [...given].map((t) => checkTensor(op, t, `every ${what}`));
}

function gradients(op: string, params: Tensors): Tensor[] {
  return listOf(op, params, 'parameter').flatMap((p) => p.peekGrad() ?? []);
}

function floats(op: string, tensors: Tensors): Tensor[] {
  return listOf(op, tensors, 'tensor').map((t) => {
    if (!isFloat(t.dtype)) throw new DTypeError(`${op}: norms are of float32 and float64, not ${t.dtype}`);
    return t;
  });
}

/** Options of the norm of several tensors taken together. */
export interface TotalNormOptions {
  /** p of the norm: 2 (default), 1, Infinity (or 'inf') for the largest absolute value, or any other number but 0. */
  readonly normType?: number | 'inf';
  /** Throws a StateError where the norm is NaN or infinite, before anything is changed. Default false. */
  readonly errorIfNonfinite?: boolean;
}

function normType(op: string, given: unknown): number {
  if (given === 'inf') return Infinity;
  if (typeof given === 'number' && given !== 0 && !Number.isNaN(given)) return given;
  throw new ArgumentError(
    `${op}: normType is a number other than 0 (2, 1, Infinity…) or 'inf', not ${describe(given)}`,
  );
}

function totalNorm(op: string, tensors: readonly Tensor[], options: TotalNormOptions): Tensor {
  checkOptions(op, options, ['normType', 'errorIfNonfinite']);
  const p = normType(op, options.normType ?? 2);
  const { errorIfNonfinite = false } = options;
  if (typeof errorIfNonfinite !== 'boolean') {
    throw new ArgumentError(
      `${op}: errorIfNonfinite must be true or false, not ${describe(errorIfNonfinite)}`,
    );
  }
  // The largest of no elements would be an error.
  const filled = tensors.filter((t) => t.size > 0);
  if (filled.length === 0) return ops.full([], 0, 'float32');
  const norms = filled.map((t) => t.detach().norm(null, { p }));
  const dtype = norms.some((n) => n.dtype === 'float64') ? 'float64' : 'float32';
  const total =
    norms.length === 1
      ? (norms[0] as Tensor)
      : ops.stack(norms.map((n) => ops.to(n, dtype))).norm(null, { p });
  if (!errorIfNonfinite) return total;
  if (tracing() !== null) {
    throw new CompileError(
      `${op}: errorIfNonfinite looks at a value, which a compiled step cannot; return the norm from the step and look there`,
    );
  }
  const value = total.item();
  if (!Number.isFinite(value)) {
    throw new StateError(
      `${op}: the norm of order ${p} of all gradients together is ${value}, so they cannot be clipped; look for NaN and ` +
        'Infinity in the gradients, or leave errorIfNonfinite out',
    );
  }
  return total;
}

function maximum(op: string, maxNorm: unknown): number {
  if (typeof maxNorm === 'number' && maxNorm >= 0) return maxNorm;
  throw new ArgumentError(`${op}: maxNorm must be a number >= 0, not ${describe(maxNorm)}`);
}

function scaleDown(grads: readonly Tensor[], max: number, total: Tensor): void {
  const factor = ops.clamp(ops.div(max, ops.add(total, 1e-6)), null, 1);
  for (const g of grads) g.detach().mul_(ops.to(factor, g.dtype));
}

/**
 * The norm of all tensors together, as if they were one vector, as a scalar tensor (float64 if one of them is; 0 for none).
 * torch.nn.utils.get_total_norm; for gradients pass `model.parameters().map((p) => p.grad)`.
 *
 * @throws ArgumentError for what is no float tensor and for options that are not; StateError with `errorIfNonfinite`,
 * CompileError with that in a compiled step.
 */
export function getTotalNorm(tensors: Tensors, options: TotalNormOptions = {}): Tensor {
  const op = 'getTotalNorm';
  return noGrad(() => totalNorm(op, floats(op, tensors), options));
}

/**
 * Scales all gradients by min(1, maxNorm / (totalNorm + 1e-6)): clipGradNorm with a norm that is there already
 * (torch.nn.utils.clip_grads_with_norm_). Parameters without a gradient are left out.
 *
 * @param maxNorm >= 0
 * @param total a tensor of one value, as getTotalNorm gives it, or a number
 */
export function clipGradsWithNorm(params: Tensors, maxNorm: number, total: Tensor | number): void {
  const op = 'clipGradsWithNorm';
  const max = maximum(op, maxNorm);
  if (!(typeof total === 'number' || (isTensor(total) && total.size === 1 && isFloat(total.dtype)))) {
    throw new ArgumentError(
      `${op}: the norm is a float tensor of one value or a number, not ${describe(total)}`,
    );
  }
  noGrad(() => {
    const grads = gradients(op, params);
    const wide = grads.some((g) => g.dtype === 'float64');
    const norm = isTensor(total)
      ? ops.reshape(total.detach(), [])
      : ops.full([], total, wide ? 'float64' : 'float32');
    scaleDown(grads, max, norm);
  });
}

/**
 * Scales all gradients by one factor so that the norm of all of them together is at most maxNorm; returns the
 * norm before, as a scalar tensor. The factor is min(1, maxNorm / (norm + 1e-6)), as in PyTorch (clip_grad_norm_; Pascanu et
 * al., 2013). Parameters without a gradient are left out. Nothing is read, so it may stand in a compiled step (without
 * `errorIfNonfinite`).
 *
 * @param maxNorm >= 0
 * @throws ArgumentError for a limit or options that are not; StateError with `errorIfNonfinite`, before anything is changed.
 */
export function clipGradNorm(params: Tensors, maxNorm: number, options: TotalNormOptions = {}): Tensor {
  const op = 'clipGradNorm';
  const max = maximum(op, maxNorm);
  return noGrad(() => {
    const grads = gradients(op, params);
    const total = totalNorm(op, grads, options);
    scaleDown(grads, max, total);
    return total;
  });
}

/**
 * Limits every element of every gradient to [-limit, limit] (torch.nn.utils.clip_grad_value_); NaN stays NaN. Parameters
 * without a gradient are left out.
 *
 * @param limit >= 0
 */
export function clipGradValue(params: Tensors, limit: number): void {
  const op = 'clipGradValue';
  if (!(typeof limit === 'number' && limit >= 0)) {
    throw new ArgumentError(`${op}: the limit must be a number >= 0, not ${describe(limit)}`);
  }
  noGrad(() => {
    for (const grad of gradients(op, params)) {
      const g = grad.detach();
      g.copy_(ops.clamp(g, -limit, limit));
    }
  });
}
