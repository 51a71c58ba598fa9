import { erfOf } from '../backend/js/erf.js';
import type { Tensor } from '../tensor/tensor.js';
import { add } from './add.js';
import { unary, unarySamples } from './elementwise.js';
import { erf } from './erf.js';
import { exp } from './exp.js';
import { mul } from './mul.js';

/** x Φ(x), with Φ the normal distribution function (Hendrycks and Gimpel, 2016; the exact form, by erf). */
export const gelu: (x: Tensor) => Tensor = unary({
  name: 'gelu',
  domain: 'float',
  js: (x) => 0.5 * x * (1 + erfOf(x * Math.SQRT1_2)),
  saves: [0],
  vjp: (g, ctx) => {
    const x = ctx.input(0);
    const cdf = mul(add(erf(mul(x, Math.SQRT1_2)), 1), 0.5);
    const pdf = mul(exp(mul(mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
    return [mul(g, add(cdf, mul(x, pdf)))];
  },
  samples: unarySamples(),
});
