import { erfOf } from '../backend/js/erf.js';
import type { Tensor } from '../tensor/tensor.js';
import { binarySamples, call, elementwise } from './elementwise.js';
import { exp } from './exp.js';
import { mul } from './mul.js';
import { sub } from './sub.js';

const density = 1 / Math.sqrt(2 * Math.PI);

const op = elementwise({
  name: 'geluGrad',
  inputs: 2,
  domain: 'float',
  js: (g, x) => g * (0.5 * (1 + erfOf(x * Math.SQRT1_2)) + x * (density * Math.exp(-0.5 * x * x))),
  saves: [0, 1],
  vjp(gg, ctx) {
    const [g, x] = [ctx.input(0), ctx.input(1)];
    if (!ctx.needs[1]) return [geluGrad(gg, x), null];
    // φ(x) (2 - x²)
    const square = mul(x, x);
    const second = mul(mul(exp(mul(square, -0.5)), density), sub(2, square));
    return [geluGrad(gg, x), mul(mul(gg, g), second)];
  },
  samples: binarySamples(),
});

/** Backward of gelu (the exact one) from its input x: g (Φ(x) + x φ(x)), with Φ the normal distribution function, φ its density. */
export function geluGrad(g: Tensor, x: Tensor): Tensor {
  return call(op, 'float', [g, x]);
}
