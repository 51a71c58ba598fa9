import { ArgumentError, isTensor, nn, ShapeError, type Tensor } from 'simdgrad';
import { describe } from '../options.js';
import { flatten, norm, shown } from './points.js';

/** How far weights are from where they began. */
export interface Distance {
  /** ‖θ − θ₀‖₂. */
  readonly distance: number;
  /** ‖θ − θ₀‖₂ / ‖θ₀‖₂; Infinity (or NaN, if it did not move) where θ₀ is zero. */
  readonly relative: number;
}

/** The same for all parameters together, and for each. */
export interface Distances extends Distance {
  /** By the name of the parameter. */
  readonly parameters: Readonly<Record<string, Distance>>;
}

/** Parameters by name: a module as it is now, what stateDict() gave, or a Map. */
export type NamedTensors = nn.Module | nn.StateDict | ReadonlyMap<string, Tensor>;

function named(what: string, given: unknown): Map<string, Tensor> {
  let entries: [string, unknown][];
  if (given instanceof nn.Module) entries = given.namedParameters();
  else if (given instanceof Map) entries = [...given];
  else if (typeof given === 'object' && given !== null && !Array.isArray(given) && !isTensor(given)) {
    entries = Object.entries(given);
  } else {
    throw new ArgumentError(
      `distances: ${what} is a module or what its stateDict() gave, not ${describe(given)}`,
    );
  }
  for (const [name, t] of entries) {
    if (!isTensor(t))
      throw new ArgumentError(`distances: ${name} of ${what} is ${describe(t)}, not a tensor`);
  }
  return new Map(entries as [string, Tensor][]);
}

/**
 * How far parameters are from where they began (or two networks from each other): the Euclidean distance over all parameters
 * and for each. What only `from` has (buffers in a state dict) does not count.
 *
 * Source: lectures 000 and 004, "Weights don't move that much": weights often stay much closer to their initialization than
 * to the final point after optimization from a different one.
 *
 * @example
 * const start = model.stateDict();
 * // … train the model …
 * distances(model, start).relative;
 *
 * @param to a module, or parameters by name
 * @param from the same for where they began: `model.stateDict()` before training
 * @throws ArgumentError where a parameter is missing in `from`; ShapeError where it has another shape there
 */
export function distances(to: NamedTensors, from: NamedTensors): Distances {
  const now = named('the first argument', to);
  const start = named('the second argument', from);
  const parameters: Record<string, Distance> = {};
  const moved: number[] = [];
  const began: number[] = [];
  for (const [name, t] of now) {
    const t0 = start.get(name);
    if (t0 === undefined) throw new ArgumentError(`distances: there is no ${name} in the second argument`);
    if (shown(t.shape) !== shown(t0.shape)) {
      throw new ShapeError(`distances: ${name} has shape ${shown(t.shape)} and shape ${shown(t0.shape)}`);
    }
    const before = flatten([t0]);
    const distance = norm(flatten([t]).map((v, i) => v - (before[i] as number)));
    const length = norm(before);
    parameters[name] = { distance, relative: distance / length };
    moved.push(distance);
    began.push(length);
  }
  return { distance: norm(moved), relative: norm(moved) / norm(began), parameters };
}
