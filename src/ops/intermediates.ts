import { inspecting, logAllocations, tracing } from '../program/emit.js';
import { abandon, type Storage } from '../program/storage.js';
import type { Tensor } from '../tensor/tensor.js';

/**
 * The result of a function that composes operations and lets nobody see what it makes on the way. The memory of that goes
 * back to the pool: at once, or with the graph that has saved it. `f` may not keep or hand out other tensors that it makes.
 */
export function composed(f: () => Tensor): Tensor {
  if (tracing() !== null || inspecting() !== null) return f();
  const log: Storage[] = [];
  const outer = logAllocations(log);
  let result: Tensor;
  try {
    result = f();
  } finally {
    logAllocations(outer);
  }
  const { storage } = result.view;
  for (let i = 0; i < log.length; i++) {
    const s = log[i] as Storage;
    if (s !== storage) abandon(s);
    // What a surrounding scope or backward pass gives back, it has to know.
    if (outer !== null && !s.released) outer.push(s);
  }
  return result;
}
