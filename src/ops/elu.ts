import type { Tensor } from '../tensor/tensor.js';
import { call, checkNumber, elementwise, requireTensor, unarySamples } from './elementwise.js';
import { eluGrad } from './eluGrad.js';

const op = elementwise({
  name: 'elu',
  inputs: 1,
  attrs: 2,
  domain: 'float',
  js: (x, alpha, scale) =>
    (x as number) > 0
      ? (scale as number) * (x as number)
      : (scale as number) * (alpha as number) * Math.expm1(x as number),
  saves: [0],
  vjp: (g, ctx) => [eluGrad(g, ctx.input(0), ctx.attrs[0] as number, ctx.attrs[1] as number)],
  samples: unarySamples().map((s) => ({ ...s, attrs: [0.7, 1.2] })),
});

/**
 * x where it is positive, else alpha (exp(x) - 1) (Clevert et al., 2015; alpha defaults to 1). The derivative at 0 is alpha.
 * Element by element, any shape; int32 and bool are taken as float32.
 */
export function elu(x: Tensor, alpha = 1): Tensor {
  return call(op, 'float', [requireTensor('elu', x)], [checkNumber('elu', 'alpha', alpha), 1]);
}

/**
 * scale (x where it is positive, else alpha (exp(x) - 1)) with the constants of Klambauer et al. (2017), alpha
 * 1.6732632423543772 and scale 1.0507009873554805. Element by element, any shape; int32 and bool are taken as float32.
 */
export function selu(x: Tensor): Tensor {
  return call(op, 'float', [requireTensor('selu', x)], [1.6732632423543772, 1.0507009873554805]);
}
