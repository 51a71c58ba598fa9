import { sigmoidOf } from '../backend/js/sigmoid.js';
import type { Tensor } from '../tensor/tensor.js';
import { add } from './add.js';
import { binarySamples, call, elementwise } from './elementwise.js';
import { mul } from './mul.js';
import { sigmoid } from './sigmoid.js';
import { sub } from './sub.js';

const op = elementwise({
  name: 'siluGrad',
  inputs: 2,
  domain: 'float',
  js(g, x) {
    const s = sigmoidOf(x);
    return g * (s * (1 + x * (1 - s)));
  },
  saves: [0, 1],
  vjp(gg, ctx) {
    const [g, x] = [ctx.input(0), ctx.input(1)];
    if (!ctx.needs[1]) return [siluGrad(gg, x), null];
    // s (1 - s) (2 + x (1 - 2 s))
    const s = sigmoid(x);
    const second = mul(mul(s, sub(1, s)), add(mul(x, sub(1, mul(s, 2))), 2));
    return [siluGrad(gg, x), mul(mul(gg, g), second)];
  },
  samples: binarySamples(),
});

/** Backward of silu from its input x: g s (1 + x (1 - s)) with s = sigmoid(x). */
export function siluGrad(g: Tensor, x: Tensor): Tensor {
  return call(op, 'float', [g, x]);
}
