import type { Tensor } from '../tensor/tensor.js';
import { binarySamples, call, elementwise } from './elementwise.js';

const op = elementwise({
  name: 'reluGrad',
  inputs: 2,
  domain: 'float',
  js: (g, y) => (y > 0 ? g : 0),
  saves: [1],
  vjp: (g, ctx) => [reluGrad(g, ctx.input(1)), null],
  samples: binarySamples({}, { low: 0.1, high: 0.9 }),
});

/** Backward of relu from its result y. */
export function reluGrad(g: Tensor, y: Tensor): Tensor {
  return call(op, 'float', [g, y]);
}
