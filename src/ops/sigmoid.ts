import { sigmoidOf } from '../backend/js/sigmoid.js';
import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { sigmoidGrad } from './sigmoidGrad.js';

/**
 * 1 / (1 + exp(-x)), without overflow for either sign. Element by element, any shape. int32 and bool are taken as
 * float32.
 *
 * @function
 */
export const sigmoid: (x: Tensor) => Tensor = unary({
  name: 'sigmoid',
  domain: 'float',
  js: sigmoidOf,
  saves: ['output'],
  vjp: (g, ctx) => [sigmoidGrad(g, ctx.output())],
  samples: unarySamples(),
});
