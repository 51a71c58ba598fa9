import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { mul } from './mul.js';
import { sigmoid } from './sigmoid.js';

/** log(1 + exp(x)), without overflow. */
export const softplus: (x: Tensor) => Tensor = unary({
  name: 'softplus',
  domain: 'float',
  js: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  saves: [0],
  vjp: (g, ctx) => [mul(g, sigmoid(ctx.input(0)))],
  samples: unarySamples(),
});
