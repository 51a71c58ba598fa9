import type { Tensor } from '../tensor/tensor.js';
import { binary, binarySamples, type Operand } from './elementwise.js';

/**
 * a * b, element by element, with broadcasting; int32 wraps around. Operands are tensors or numbers; dtypes that
 * differ are promoted as in PyTorch. bool is taken as int32. Throws ShapeError where shapes do not broadcast.
 *
 * @function
 */
export const mul: (a: Operand, b: Operand) => Tensor = binary({
  name: 'mul',
  domain: 'numeric',
  int: Math.imul,
  js: (a, b) => a * b,
  saves: [0, 1],
  vjp: (g, ctx) => [ctx.needs[0] ? mul(g, ctx.input(1)) : null, ctx.needs[1] ? mul(g, ctx.input(0)) : null],
  samples: binarySamples(),
});
