import { ArgumentError } from '../errors.js';
import { describe } from '../program/view.js';
import { isTensor } from './primitive.js';

/** An axis as a number, or as { axis }. */
export type AxisOption =
  | number
  | {
      /** The axis. */
      readonly axis?: number;
    };

/** The axis that is meant. Throws ArgumentError for options other than `axis`. */
export function axisOption(op: string, axis: AxisOption | undefined, otherwise: number): number {
  if (typeof axis !== 'object' || axis === null || Array.isArray(axis) || isTensor(axis)) {
    return axis === undefined ? otherwise : (axis as number);
  }
  for (const key of Object.keys(axis)) {
    if (key !== 'axis')
      throw new ArgumentError(`${op}: there is no option ${describe(key)}; did you mean axis?`);
  }
  return axis.axis ?? otherwise;
}
