import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

// The suite runs on the sources; SIMDGRAD_TEST_DIST=1 runs it on the bundle that is published.
const dist = process.env.SIMDGRAD_TEST_DIST === '1';

export default defineConfig({
  resolve: {
    alias: [
      { find: /^simdgrad$/, replacement: at(dist ? './dist/index.js' : './src/index.ts') },
      {
        find: /^simdgrad\/analysis$/,
        replacement: at(dist ? './dist/analysis.js' : './src/analysis/index.ts'),
      },
    ],
  },
  test: {
    include: ['test/**/*.test.ts'],
    environment: 'node',
    pool: 'forks',
    // Vitest leaves one processor free, which on a machine with two leaves one.
    maxWorkers: '100%',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
    restoreMocks: true,
  },
});
