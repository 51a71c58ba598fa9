import { type Backend, bufferList } from '../backend.js';
import { JsExecutable } from './executable.js';

const paramLists: Float64Array[] = [];

/** The backend in plain JavaScript: the reference, and what serves where the addon cannot be loaded. */
export const jsBackend: Backend = {
  name: 'js',
  run(kernel, params, buffers) {
    kernel.js(params, buffers);
  },
  call(kernel, params, out, a, b, c) {
    kernel.js(params, bufferList(out.array, a?.array, b?.array, c?.array));
  },
  paramList(n) {
    paramLists[n] ??= new Float64Array(n);
    return paramLists[n];
  },
  has: () => true,
  program: (spec) => new JsExecutable(spec),
  alignedStart: () => 0,
  largePage: 0, // only native code can ask for them
  adjustExternalMemory() {
    // Only native code can tell the engine.
  },
  preparePages() {
    // Only native code can ask.
  },
};
