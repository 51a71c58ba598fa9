import type { Tensor } from '../tensor/tensor.js';
import { binary, binarySamples, type Operand } from './elementwise.js';
import { mul } from './mul.js';
import { neg } from './neg.js';

/**
 * a / b with broadcasting. Whole numbers give float32. Operands are tensors or numbers; dtypes that differ are
 * promoted as in PyTorch. int32 and bool are taken as float32. Throws ShapeError where shapes do not broadcast.
 *
 * @function
 */
export const div: (a: Operand, b: Operand) => Tensor = binary({
  name: 'div',
  domain: 'float',
  js: (a, b) => a / b,
  saves: [1, 'output'],
  vjp: (g, ctx) => {
    const da = div(g, ctx.input(1));
    return [da, ctx.needs[1] ? neg(mul(da, ctx.output())) : null];
  },
  samples: binarySamples({}, { low: 0.5, high: 2 }),
});
