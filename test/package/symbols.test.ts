import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkBinary, functionsBeyondBaseline, symbolsAboveFloor } from '../../scripts/lib/symbols.mjs';

function runs(program: string): boolean {
  try {
    execFileSync(program, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const possible = process.platform === 'linux' && process.arch === 'x64' && runs('g++') && runs('objdump');

// A template between the region's pragmas but outside its namespace: what a standard header included there does.
const source = (leaks: boolean): string => `
inline int plain(int a) { return a * 3; }
int (*keep)(int) = plain;
namespace simdgrad {
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi,bmi2")
namespace avx2 {
float dot(const float* a, const float* b, int n) {
  float sum = 0;
  for (int i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}
}
${leaks ? 'template <class T> T twice(T* a, int n) { for (int i = 0; i < n; i++) a[i] += a[i]; return a[0]; }' : ''}
${leaks ? 'namespace avx2 { float (*use)(float*, int) = twice<float>; }' : ''}
#pragma GCC pop_options
}
int lowest(unsigned x) { return __builtin_ctz(x); }
`;

describe.skipIf(!possible)('the check of a binary', () => {
  let folder = '';
  const compile = (name: string, text: string, ...args: string[]): string => {
    const path = join(folder, name);
    writeFileSync(`${path}.cc`, text);
    execFileSync('g++', ['-O3', '-fPIC', ...args, '-o', path, `${path}.cc`]);
    return path;
  };
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'simdgrad-symbols-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('takes vector code that stays in its namespace', () => {
    expect(checkBinary(compile('clean.o', source(false), '-c'))).toEqual([]);
  });

  it('finds a template that a region compiled for callers of the baseline', () => {
    const path = compile('leak.o', source(true), '-c');
    expect(functionsBeyondBaseline(path).map(({ name }) => name)).toEqual([
      'float simdgrad::twice<float>(float*, int)',
    ]);
    expect(checkBinary(compile('leak.so', source(true), '-shared'))).toHaveLength(1);
  });

  it('names the symbols above the floor', () => {
    // `stat` has been a symbol of its own since glibc 2.33; pthread_cond_clockwait came with 2.30.
    const text = '#include <pthread.h>\nvoid* keep = (void*)&pthread_cond_clockwait;\n';
    const path = compile('new.so', text, '-shared');
    expect(symbolsAboveFloor(path).join()).toMatch(/^pthread_cond_clockwait@GLIBC_2\.3\d$/);
  });
});
