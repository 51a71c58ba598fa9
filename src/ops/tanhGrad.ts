import type { Tensor } from '../tensor/tensor.js';
import { binarySamples, call, elementwise } from './elementwise.js';
import { mul } from './mul.js';

const op = elementwise({
  name: 'tanhGrad',
  inputs: 2,
  domain: 'float',
  js: (g, y) => g * (1 - y * y),
  saves: [0, 1],
  vjp: (gg, ctx) => {
    const [g, y] = [ctx.input(0), ctx.input(1)];
    return [tanhGrad(gg, y), ctx.needs[1] ? mul(mul(gg, g), mul(y, -2)) : null];
  },
  samples: binarySamples({}, { low: 0.1, high: 0.9 }),
});

/** Backward of tanh from its result y. */
export function tanhGrad(g: Tensor, y: Tensor): Tensor {
  return call(op, 'float', [g, y]);
}
