import { ArgumentError, isTensor, nn, ShapeError, type Tensor } from 'simdgrad';
import { describe } from '../options.js';
import { shown } from './points.js';

type Holder = Record<string | number, unknown> | Map<unknown, unknown>;

/** Visits every place, in the fields of a module or in arrays, plain objects and Maps held there, that holds a tensor. */
function eachPlace(m: nn.Module, visit: (holder: Holder, key: string | number, held: Tensor) => void): void {
  const seen = new Set<unknown>();
  const look = (holder: Holder): void => {
    if (seen.has(holder)) return;
    seen.add(holder);
    for (const [key, value] of holder instanceof Map ? [...holder] : Object.entries(holder)) {
      if (isTensor(value)) visit(holder, key as string, value);
      else if (Array.isArray(value) || value instanceof Map || isPlain(value)) look(value as Holder);
    }
  };
  look(m as unknown as Holder);
}

function isPlain(x: unknown): boolean {
  if (typeof x !== 'object' || x === null) return false;
  const prototype: unknown = Object.getPrototypeOf(x);
  return prototype === Object.prototype || prototype === null;
}

function put(holder: Holder, key: string | number, value: Tensor): void {
  if (holder instanceof Map) holder.set(key, value);
  else holder[key] = value;
}

/**
 * Runs a module with other tensors in the place of its parameters, as torch.func.functional_call: f(x, θ) as a function of θ.
 * With it a network becomes a function that hessian(), jvp(), newton() and the others of this module take. The parameters
 * themselves, and their gradients, stay as they are. Buffers do not: put a network with batch normalisation into evaluation
 * mode first.
 *
 * @param model any module; a parameter that it holds twice is replaced twice
 * @param parameters tensors of the shapes of the parameters: an array in the order of model.parameters(), or by name (then
 * those that are missing stay)
 * @param inputs what forward() takes
 * @returns what forward() gives
 * @throws ArgumentError for a name that does not exist, a wrong number of tensors, or a parameter that only a private field
 * holds; ShapeError for a wrong shape
 */
export function functionalCall(
  model: nn.Module,
  parameters: readonly Tensor[] | Readonly<Record<string, Tensor>>,
  ...inputs: unknown[]
): Tensor {
  const own = namedParametersOf('functionalCall', model);
  const given = new Map<Tensor, Tensor>();
  const replace = (name: string, held: Tensor, value: unknown): void => {
    if (!isTensor(value)) {
      throw new ArgumentError(`functionalCall: ${name} is to be a tensor, not ${describe(value)}`);
    }
    if (shown(value.shape) !== shown(held.shape)) {
      throw new ShapeError(
        `functionalCall: ${name} has shape ${shown(held.shape)}, not ${shown(value.shape)}`,
      );
    }
    given.set(held, value);
  };
  if (Array.isArray(parameters)) {
    if (parameters.length !== own.length) {
      throw new ArgumentError(
        `functionalCall: ${parameters.length} tensors for a module with ${own.length} parameters`,
      );
    }
    own.forEach(([name, held], i) => replace(name, held, parameters[i]));
  } else if (isPlain(parameters)) {
    const byName = new Map(own);
    for (const [name, value] of Object.entries(parameters)) {
      const held = byName.get(name);
      if (held === undefined) {
        throw new ArgumentError(
          `functionalCall: there is no parameter ${describe(name)}; there are ${own.map(([key]) => key).join(', ')}`,
        );
      }
      replace(name, held, value);
    }
  } else {
    throw new ArgumentError(
      `functionalCall: parameters are an array of tensors or tensors by name, not ${describe(parameters)}`,
    );
  }
  const undo: (() => void)[] = [];
  const placed = new Set<Tensor>();
  try {
    for (const m of model.modules()) {
      eachPlace(m, (holder, key, held) => {
        const value = given.get(held);
        if (value === undefined) return;
        undo.push(() => put(holder, key, held));
        put(holder, key, value);
        placed.add(held);
      });
    }
    const left = own.find(([, held]) => given.has(held) && !placed.has(held));
    if (left !== undefined) {
      throw new ArgumentError(
        `functionalCall: the parameter ${left[0]} is in no field, array, plain object or Map where it can be replaced`,
      );
    }
    return model.forward(...inputs) as Tensor;
  } finally {
    for (const restore of undo) restore();
  }
}

/** The parameters of a module by name; refuses what is no module. */
export function namedParametersOf(op: string, model: unknown): [string, Tensor][] {
  if (!(model instanceof nn.Module)) {
    throw new ArgumentError(`${op}: takes a module, not ${describe(model)}`);
  }
  return model.namedParameters();
}
