/**
 * Modules of Node. An import statement reads every export of such a module, which loads streams for node:fs (2 ms of the
 * 30 that importing this package takes); and it loads what only few programs need (node:crypto 3 ms, node:zlib 1 ms).
 */
const builtin = process.getBuiltinModule;

export const fs = builtin('node:fs');
export const { createRequire } = builtin('node:module');
export const { basename, dirname, join, resolve } = builtin('node:path');
export const { fileURLToPath } = builtin('node:url');
export const { AsyncLocalStorage } = builtin('node:async_hooks');
export const crypto = () => builtin('node:crypto');
export const os = () => builtin('node:os');
export const zlib = () => builtin('node:zlib');
