import { isFloat } from '../dtype.js';
import { ArgumentError } from '../errors.js';
import { describe } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { clampGrad } from './clampGrad.js';
import { call, checkNumber, elementwise, requireTensor, unarySamples } from './elementwise.js';
import { isTensor } from './primitive.js';
import { to } from './to.js';

const op = elementwise({
  name: 'clamp',
  inputs: 1,
  attrs: 2,
  domain: 'numeric',
  js: (x, low, high) => {
    const y = (x as number) < (low as number) ? (low as number) : (x as number);
    return y > (high as number) ? (high as number) : y;
  },
  saves: [0],
  vjp: (g, ctx) => [clampGrad(g, ctx.input(0), ctx.attrs[0] as number, ctx.attrs[1] as number)],
  samples: unarySamples().map((s) => ({ ...s, attrs: [-0.5, 1.5] })),
});

/** Bounds of clamp, by name. */
export interface ClampOptions {
  /** The lower bound. Default: none. */
  readonly min?: number | null;
  /** The upper bound. Default: none. */
  readonly max?: number | null;
}

/**
 * Limits every element to [min, max], given as two numbers or as { min, max }; a bound left out or null is no bound.
 * Where min > max the result is max, as in PyTorch, and a bound that is a fraction makes whole numbers float32. The
 * gradient passes where min <= x <= max. Element by element, any shape; bool is taken as int32. Throws ArgumentError
 * where there is no bound.
 */
export function clamp(x: Tensor, bounds?: number | ClampOptions | null, upper?: number | null): Tensor {
  const t = requireTensor('clamp', x);
  let [min, max] = [bounds as number | null | undefined, upper];
  if (typeof bounds === 'object' && bounds !== null && !isTensor(bounds)) {
    for (const key of Object.keys(bounds)) {
      if (key !== 'min' && key !== 'max')
        throw new ArgumentError(`clamp: there is no option ${describe(key)}. Options are min, max`);
    }
    if (upper !== undefined)
      throw new ArgumentError('clamp: give numbers, or options { min, max }, not both');
    ({ min, max } = bounds);
  }
  if (min == null && max == null) throw new ArgumentError('clamp: give min, max or both');
  const low = min == null ? -Infinity : checkNumber('clamp', 'min', min);
  const high = max == null ? Infinity : checkNumber('clamp', 'max', max);
  const whole = [low, high].every((x) => Number.isInteger(x) || !Number.isFinite(x));
  // Whole numbers have no infinity: their own limits stand in.
  if (!isFloat(t.dtype) && whole)
    return call(op, 'numeric', [t], [Math.max(low, -(2 ** 31)), Math.min(high, 2 ** 31 - 1)]);
  return call(op, 'numeric', [isFloat(t.dtype) ? t : to(t, 'float32')], [low, high]);
}
