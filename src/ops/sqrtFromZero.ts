import type { Tensor } from '../tensor/tensor.js';
import { div } from './div.js';
import { unary, unarySamples } from './elementwise.js';
import { eq } from './eq.js';
import { mul } from './mul.js';
import './sqrt.js';
import { where } from './where.js';

/**
 * Square root whose derivative at 0 is taken as 0 instead of infinity.
 *
 * @function
 */
export const sqrtFromZero: (x: Tensor) => Tensor = unary({
  name: 'sqrtFromZero',
  kernel: 'sqrt',
  domain: 'float',
  js: Math.sqrt,
  saves: ['output'],
  vjp: (g, ctx) => {
    const y = ctx.output();
    const zero = eq(y, 0);
    return [div(where(zero, 0, g), where(zero, 1, mul(y, 2)))];
  },
  samples: unarySamples(0.2, 4),
});
