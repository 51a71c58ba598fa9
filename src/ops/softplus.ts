import { ArgumentError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { div } from './div.js';
import { checkNumber, unary, unarySamples } from './elementwise.js';
import { gt } from './gt.js';
import { mul } from './mul.js';
import { checkTensor } from './primitive.js';
import { sigmoid } from './sigmoid.js';
import { where } from './where.js';

const plain: (x: Tensor) => Tensor = unary({
  name: 'softplus',
  domain: 'float',
  js: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  saves: [0],
  vjp: (g, ctx) => [mul(g, sigmoid(ctx.input(0)))],
  samples: unarySamples(),
});

/** Options of softplus. */
export interface SoftplusOptions {
  /** Sharpness, > 0. Default 1. */
  readonly beta?: number;
  /** Where beta x is above it, the result is x. Not applied unless given (PyTorch applies 20, where float32 sees no difference). */
  readonly threshold?: number;
}

/** The options, with their defaults; no threshold unless it is given. */
export function checkSoftplus(
  op: string,
  options: SoftplusOptions,
): { readonly beta: number; readonly threshold: number | undefined } {
  const beta = checkNumber(op, 'beta', options?.beta ?? 1);
  if (!(beta > 0 && beta < Infinity))
    throw new ArgumentError(`${op}: beta must be > 0 and finite, not ${beta}`);
  const threshold = options?.threshold;
  if (threshold !== undefined) checkNumber(op, 'threshold', threshold);
  return { beta, threshold };
}

/**
 * log(1 + exp(beta x)) / beta, without overflow. Element by element, any shape; int32 and bool are taken as float32.
 */
export function softplus(x: Tensor, options: SoftplusOptions = {}): Tensor {
  const { beta, threshold } = checkSoftplus('softplus', options);
  const scaled = beta === 1 ? x : mul(checkTensor('softplus', x), beta);
  const y = beta === 1 ? plain(x) : div(plain(scaled), beta);
  return threshold === undefined ? y : where(gt(scaled, threshold), x, y);
}
