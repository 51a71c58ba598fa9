import type { Tensor } from '../tensor/tensor.js';
import { binarySamples, call, elementwise } from './elementwise.js';
import { mul } from './mul.js';

const op = elementwise({
  name: 'axpby',
  inputs: 2,
  attrs: 2,
  domain: 'float',
  js: (x, y, a, b) => (a as number) * (x as number) + (b as number) * (y as number),
  saves: [],
  vjp: (g, { attrs: [a, b] }) => [mul(g, a as number), mul(g, b as number)],
  samples: binarySamples().map((s) => ({ ...s, attrs: [0.75, -1.5] })),
});

/** a x + b y, for numbers a and b. */
export function axpby(a: number, x: Tensor, b: number, y: Tensor): Tensor {
  return call(op, 'float', [x, y], [a, b]);
}
