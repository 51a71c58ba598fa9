import { erfOf } from '../backend/js/erf.js';
import { ArgumentError } from '../errors.js';
import { describe } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { add } from './add.js';
import { unary, unarySamples } from './elementwise.js';
import { geluGrad } from './geluGrad.js';
import { composed } from './intermediates.js';
import { mul } from './mul.js';
import { checkTensor } from './primitive.js';
import { tanh } from './tanh.js';

const exact: (x: Tensor) => Tensor = unary({
  name: 'gelu',
  domain: 'float',
  js: (x) => 0.5 * x * (1 + erfOf(x * Math.SQRT1_2)),
  saves: [0],
  vjp: (g, ctx) => [geluGrad(g, ctx.input(0))],
  samples: unarySamples(),
});

/** Options of gelu. */
export interface GeluOptions {
  /** 'none' (default): exact, by erf. 'tanh': x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))). */
  readonly approximate?: 'none' | 'tanh';
}

/**
 * x Φ(x), with Φ the normal distribution function (Hendrycks and Gimpel, 2016), or its approximation by tanh. Element
 * by element, any shape; int32 and bool are taken as float32.
 */
export function gelu(x: Tensor, options: GeluOptions = {}): Tensor {
  const approximate = options?.approximate ?? 'none';
  if (approximate === 'none') return exact(x);
  if (approximate !== 'tanh') {
    throw new ArgumentError(`gelu: approximate must be 'none' or 'tanh', not ${describe(approximate)}`);
  }
  checkTensor('gelu', x);
  return composed(() => {
    const inner = mul(add(x, mul(mul(mul(x, x), x), 0.044715)), Math.sqrt(2 / Math.PI));
    return mul(mul(x, 0.5), add(tanh(inner), 1));
  });
}
