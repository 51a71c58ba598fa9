import type { Tensor } from '../tensor/tensor.js';
import { clamp } from './clamp.js';
import { call, elementwise, unarySamples } from './elementwise.js';
import { mul } from './mul.js';

const op = elementwise({
  name: 'huber',
  inputs: 1,
  attrs: 2,
  domain: 'float',
  js(x, delta, slope) {
    const [d, s] = [delta as number, slope as number];
    const a = Math.abs(x as number);
    return a <= d ? a * a * ((0.5 * s) / d) : s * (a - 0.5 * d);
  },
  saves: [0],
  vjp(g, ctx) {
    const [delta, slope] = ctx.attrs as [number, number];
    const within = clamp(ctx.input(0), -delta, delta);
    return [mul(slope === delta ? within : mul(within, slope / delta), g)];
  },
  samples: unarySamples().map((s) => ({ ...s, attrs: [0.75, 1.5] })),
});

/** A parabola up to |x| = delta, there and beyond a line of the slope given: slope x² / (2 delta), slope (|x| - delta / 2). */
export function huber(x: Tensor, delta: number, slope: number): Tensor {
  return call(op, 'float', [x], [delta, slope]);
}
