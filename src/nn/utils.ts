import { noGrad } from '../autograd/mode.js';
import { ArgumentError } from '../errors.js';
import { checkNumber } from '../ops/elementwise.js';
import * as ops from '../ops/index.js';
import { checkTensor, isTensor } from '../ops/primitive.js';
import { describe } from '../program/view.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';

type Tensors = Tensor | Iterable<Tensor>;

function parametersWithGrad(op: string, params: Tensors): Tensor[] {
  if (isTensor(params)) return params.peekGrad() === null ? [] : [params];
  if (typeof (params as Partial<Iterable<Tensor>> | null)?.[Symbol.iterator] !== 'function') {
    throw new ArgumentError(`${op}: takes parameters, not ${describe(params)}`);
  }
  return [...params].filter((p) => checkTensor(op, p, 'every parameter').peekGrad() !== null);
}

/**
 * Scales all gradients by one factor so that the norm of all of them together is at most maxNorm; returns the
 * norm before, as a scalar tensor. `normType` is 2 by default; Infinity is the largest absolute value. The
 * factor is min(1, maxNorm / (norm + 1e-6)), as in PyTorch. Parameters without a gradient are left out.
 * Nothing is read, so it may stand in a compiled step.
 */
export function clipGradNorm(
  params: Tensors,
  maxNorm: number,
  options: { readonly normType?: number } = {},
): Tensor {
  const op = 'clipGradNorm';
  checkOptions(op, options, ['normType']);
  const max = checkNumber(op, 'maxNorm', maxNorm);
  const p = checkNumber(op, 'normType', options.normType ?? 2);
  return noGrad(() => {
    const grads = parametersWithGrad(op, params).map((t) => t.peekGrad() as Tensor);
    if (grads.length === 0) return ops.full([], 0, 'float32');
    const norms = grads.map((g) => g.detach().norm(null, { p }));
    const [first] = norms as [Tensor, ...Tensor[]];
    const total =
      norms.length === 1 ? first : ops.stack(norms.map((n) => ops.to(n, first.dtype))).norm(null, { p });
    const factor = ops.clamp(ops.div(max, ops.add(total, 1e-6)), null, 1);
    for (const g of grads) g.detach().mul_(ops.to(factor, g.dtype));
    return total;
  });
}

/** Limits every element of every gradient to [-limit, limit]. */
export function clipGradValue(params: Tensors, limit: number): void {
  const op = 'clipGradValue';
  const c = checkNumber(op, 'limit', limit);
  if (c < 0) throw new ArgumentError(`${op}: the limit must be >= 0, not ${c}`);
  noGrad(() => {
    for (const p of parametersWithGrad(op, params)) {
      const g = (p.peekGrad() as Tensor).detach();
      g.copy_(ops.clamp(g, -c, c));
    }
  });
}
