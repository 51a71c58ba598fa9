import { ArgumentError } from '../errors.js';
import { isTensor } from '../ops/primitive.js';
import { logAllocations } from '../program/emit.js';
import { release, type Storage } from '../program/storage.js';
import { describe } from '../program/view.js';
import type { Tensor } from './tensor.js';

/**
 * Runs a synchronous function and gives the memory of every tensor made inside back at once, except of those that it
 * returns (a tensor, or arrays, maps, sets and objects of them), of gradients held by leaves, and of tensors whose `data` was
 * read. For hand-written loops that make large tensors; anything else made inside must not be used afterwards.
 */
export function scope<T>(fn: () => T): T {
  if (typeof fn !== 'function') throw new ArgumentError(`scope: takes a function, not ${describe(fn)}`);
  const log: Storage[] = [];
  const outer = logAllocations(log);
  let result: T;
  try {
    result = fn();
  } finally {
    logAllocations(outer);
  }
  if (result instanceof Promise)
    throw new ArgumentError('scope: the function is async; it must be synchronous');
  const kept = new Set<Storage>();
  const visit = (x: unknown, depth: number): void => {
    if (isTensor(x)) keep(x, kept);
    else if (depth < 8 && (Array.isArray(x) || x instanceof Set)) for (const y of x) visit(y, depth + 1);
    else if (depth < 8 && x instanceof Map) for (const y of x.values()) visit(y, depth + 1);
    else if (depth < 8 && typeof x === 'object' && x !== null)
      for (const y of Object.values(x)) visit(y, depth + 1);
  };
  visit(result, 0);
  for (const s of log) if (!kept.has(s) && !s.kept) release(s);
  if (outer) for (const s of log) if (kept.has(s)) outer.push(s);
  return result;
}

function keep(t: Tensor, kept: Set<Storage>): void {
  kept.add(t.view.storage);
  // What a returned tensor's graph has saved is needed by its backward.
  const stack = t.node ? [t.node] : [];
  const seen = new Set(stack);
  for (let node = stack.pop(); node; node = stack.pop()) {
    for (const s of node.savedStorages()) kept.add(s);
    for (const e of node.edges) {
      if (e && 'edges' in e && !seen.has(e)) {
        seen.add(e);
        stack.push(e);
      }
    }
  }
}
