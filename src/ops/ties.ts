import type { Tensor } from '../tensor/tensor.js';
import { add } from './add.js';
import { eq } from './eq.js';
import { gt } from './gt.js';
import { mul } from './mul.js';
import { sub } from './sub.js';
import { to } from './to.js';

/** Splits a gradient between two operands: all to the larger one, half to each where they are equal. */
export function tieShares(g: Tensor, a: Tensor, b: Tensor): [Tensor, Tensor] {
  const share = add(to(gt(a, b), g.dtype), mul(to(eq(a, b), g.dtype), 0.5));
  return [mul(g, share), mul(g, sub(1, share))];
}
