import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import '../../src/index.js';
import '../../src/optim/index.js';
import { allKernels } from '../../src/backend/backend.js';

const rows = [
  ...readFileSync(new URL('../../native/kernels.def', import.meta.url), 'utf8').matchAll(
    /^KERNEL\((\w+),\s*(\w+),\s*(\d+),\s*(\d+),\s*(\d+),\s*(\w+)\)/gm,
  ),
].map(([, name, family]) => ({ name, family }));

describe('the kernel table', () => {
  test('has a JavaScript kernel for every row of native/kernels.def', () => {
    expect(rows.length).toBeGreaterThan(60);
    // A kernel may be JavaScript alone: the addon's row is optional.
    expect(rows.map((row) => row.name).filter((name) => !allKernels().has(name as string))).toEqual([]);
  });

  test('names every row once', () => {
    expect(new Set(rows.map((row) => row.name)).size).toBe(rows.length);
  });

  test('is executable throughout', () => {
    for (const kernel of allKernels().values()) expect(typeof kernel.js).toBe('function');
  });
});
