import type { Tensor } from '../tensor/tensor.js';
import { binarySamples, call, elementwise } from './elementwise.js';
import { gt } from './gt.js';
import { mul } from './mul.js';
import { where } from './where.js';

const op = elementwise({
  name: 'eluGrad',
  inputs: 2,
  attrs: 2,
  domain: 'float',
  js: (g, x, alpha, scale) =>
    (x as number) > 0
      ? (scale as number) * (g as number)
      : (scale as number) * (alpha as number) * Math.exp(x as number) * (g as number),
  saves: [0, 1],
  vjp(gg, ctx) {
    const [g, x] = [ctx.input(0), ctx.input(1)];
    const [alpha, scale] = ctx.attrs as [number, number];
    const grad = eluGrad(gg, x, alpha, scale);
    return [grad, ctx.needs[1] ? where(gt(x, 0), 0, mul(grad, g)) : null];
  },
  samples: binarySamples({}, { low: -2, high: -0.1 }).map((s) => ({ ...s, attrs: [0.7, 1.2] })),
});

/** Backward of elu from its input x: scale g where x is positive, else scale alpha exp(x) g. */
export function eluGrad(g: Tensor, x: Tensor, alpha: number, scale: number): Tensor {
  return call(op, 'float', [g, x], [alpha, scale]);
}
