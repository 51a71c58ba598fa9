import { observe, tracing } from '../program/emit.js';
import type { Tensor } from '../tensor/tensor.js';

/** Parameters that are updated with the same options. Options may be set between steps. */
export type ParamGroup<O> = Required<O> & {
  /** The parameters. */
  params: Tensor[];
};

/** By group, its options as plain values. */
const plain = new WeakMap<object, object>();

/**
 * A group whose options a trace is told of when they are read or set, wherever that is: a step that read one is traced
 * again where it is another one, and so is a step that sets one. A refused step leaves options as they were.
 */
export function watchedGroup<G extends object>(values: G): G {
  const group = {};
  plain.set(group, values);
  for (const key of Object.keys(values) as (keyof G)[]) {
    const read = () => values[key];
    Object.defineProperty(group, key, {
      get: () => {
        if (tracing() !== null) watch(read);
        return values[key];
      },
      set: (value: G[keyof G]) => {
        const before = values[key];
        values[key] = value;
        tracing()?.created(() => {
          // What others have set since is theirs.
          if (Object.is(values[key], value)) values[key] = before;
        });
        observe(read);
      },
      configurable: true,
      enumerable: true,
    });
  }
  // Accessors would be printed as such.
  Object.defineProperty(group, Symbol.for('nodejs.util.inspect.custom'), { value: () => ({ ...values }) });
  return group as G;
}

/** The options of a group as plain values, for whoever says itself what a step depends on. */
export function unwatched<G extends object>(group: G): G {
  return (plain.get(group) as G | undefined) ?? group; // somebody may have put one into the list by hand
}

/** Tells the trace in progress that it depends on a value, and on what is in it where that is an array. */
function watch(read: () => unknown): void {
  observe(read);
  const value = read();
  if (!Array.isArray(value)) return;
  const at = (i: number | 'length') =>
    (read() as { readonly [k in number | 'length']: unknown } | undefined)?.[i];
  observe(() => at('length'));
  for (const i of value.keys()) observe(() => at(i));
}
