import type { Backend } from '../backend.js';
import { JsExecutable } from './executable.js';

/** The backend in plain JavaScript: the reference, and what serves where the addon cannot be loaded. */
export const jsBackend: Backend = {
  name: 'js',
  run(kernel, params, buffers) {
    kernel.js(params, buffers);
  },
  has: () => true,
  program: (spec) => new JsExecutable(spec),
  lineStart: () => 0,
  adjustExternalMemory() {
    // Only native code can tell the engine.
  },
  preparePages() {
    // Only native code can ask.
  },
};
