import type { Tensor } from '../tensor/tensor.js';
import { binarySamples, call, elementwise } from './elementwise.js';

const op = elementwise({
  name: 'clampGrad',
  inputs: 2,
  attrs: 2,
  domain: 'float',
  js: (g, x, low, high) => (x >= low && x <= high ? g : 0),
  saves: [1],
  vjp: (g, ctx) => [clampGrad(g, ctx.input(1), ctx.attrs[0] as number, ctx.attrs[1] as number), null],
  samples: binarySamples({}, { low: 0.1, high: 2 }).map((s) => ({ ...s, attrs: [0.5, 1.5] })),
});

/** Backward of clamp from its input x. */
export function clampGrad(g: Tensor, x: Tensor, low: number, high: number): Tensor {
  return call(op, 'float', [g, x], [low, high]);
}
