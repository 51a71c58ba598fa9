import type { Tensor } from '../tensor/tensor.js';
import { call, checkNumber, elementwise, requireTensor, unarySamples } from './elementwise.js';
import { leakyReluGrad } from './leakyReluGrad.js';

const op = elementwise({
  name: 'leakyRelu',
  inputs: 1,
  attrs: 1,
  domain: 'float',
  js: (x, slope) => ((x as number) > 0 ? (x as number) : (slope as number) * (x as number)),
  saves: [0],
  vjp: (g, ctx) => [leakyReluGrad(g, ctx.input(0), ctx.attrs[0] as number)],
  samples: unarySamples().map((s) => ({ ...s, attrs: [0.2] })),
});

/**
 * x where it is positive, else negativeSlope * x (default 0.01). Element by element, any shape; the derivative at 0 is
 * negativeSlope. int32 and bool are taken as float32.
 */
export function leakyRelu(x: Tensor, negativeSlope = 0.01): Tensor {
  return call(
    op,
    'float',
    [requireTensor('leakyRelu', x)],
    [checkNumber('leakyRelu', 'negativeSlope', negativeSlope)],
  );
}
