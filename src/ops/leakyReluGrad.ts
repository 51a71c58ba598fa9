import type { Tensor } from '../tensor/tensor.js';
import { binarySamples, call, elementwise } from './elementwise.js';

const op = elementwise({
  name: 'leakyReluGrad',
  inputs: 2,
  attrs: 1,
  domain: 'float',
  js: (g, x, slope) => (x > 0 ? g : slope * g),
  saves: [1],
  vjp: (g, ctx) => [leakyReluGrad(g, ctx.input(1), ctx.attrs[0] as number), null],
  samples: binarySamples({}, { low: 0.1, high: 2 }).map((s) => ({ ...s, attrs: [0.2] })),
});

/** Backward of leakyRelu from its input x. */
export function leakyReluGrad(g: Tensor, x: Tensor, slope: number): Tensor {
  return call(op, 'float', [g, x], [slope]);
}
