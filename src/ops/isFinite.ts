import type { Tensor } from '../tensor/tensor.js';
import { unary, unarySamples } from './elementwise.js';
import { nonDifferentiable } from './primitive.js';

/** True where the element is neither infinite nor NaN. */
// biome-ignore lint/suspicious/noShadowRestrictedNames: the field's name, in a module of its own
export const isFinite: (x: Tensor) => Tensor = unary({
  name: 'isFinite',
  domain: 'float',
  result: 'bool',
  js: (x) => Number.isFinite(x),
  saves: [],
  vjp: nonDifferentiable,
  samples: unarySamples(),
});
