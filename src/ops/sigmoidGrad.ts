import type { Tensor } from '../tensor/tensor.js';
import { binarySamples, call, elementwise } from './elementwise.js';
import { mul } from './mul.js';
import { sub } from './sub.js';

const op = elementwise({
  name: 'sigmoidGrad',
  inputs: 2,
  domain: 'float',
  js: (g, y) => g * y * (1 - y),
  saves: [0, 1],
  vjp: (gg, ctx) => {
    const [g, y] = [ctx.input(0), ctx.input(1)];
    return [sigmoidGrad(gg, y), ctx.needs[1] ? mul(mul(gg, g), sub(1, mul(y, 2))) : null];
  },
  samples: binarySamples({}, { low: 0.1, high: 0.9 }),
});

/** Backward of sigmoid from its result y. */
export function sigmoidGrad(g: Tensor, y: Tensor): Tensor {
  return call(op, 'float', [g, y]);
}
