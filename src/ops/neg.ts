import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';

/** -x. */
export const neg: (x: Tensor) => Tensor = unary({
  name: 'neg',
  domain: 'numeric',
  js: (x) => -x,
  saves: [],
  vjp: (g) => [neg(g)],
  samples: unarySamples(),
});
