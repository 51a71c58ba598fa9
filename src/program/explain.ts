import { byteWidth } from '../dtype.js';
import { isUpdate } from './dataflow.js';
import type { Recorded } from './emit.js';
import type { Program } from './program.js';

/** Multiplications and additions of a call, each counted as one. */
function flops(call: Recorded): number {
  const { kernel, params, storages } = call;
  if (kernel.name === 'matmul') {
    const nb = params[0] as number;
    let n = 2;
    for (let i = 1; i <= nb + 3; i++) n *= params[i] as number;
    return n;
  }
  const n = storages[0]?.length ?? 0;
  if (!isUpdate(call)) return n;
  const [, cols, depth] = params as [number, number, number];
  const { name } = kernel;
  return n * (2 * depth + (name.startsWith('matmul') ? 0 : 1)) + (name.endsWith('Sums') ? cols * depth : 0);
}

/** Bytes of all operands, each counted once: the least that has to move if nothing is in a cache. */
function bytes({ storages }: Recorded): number {
  return [...new Set(storages)].reduce((n, s) => n + s.length * byteWidth(s.dtype), 0);
}

function shapes(call: Recorded): string {
  const { kernel, params, storages } = call;
  if (kernel.name === 'matmul') {
    const nb = params[0] as number;
    const [m, n, k] = params.slice(nb + 1, nb + 4);
    const batch = nb > 0 ? `${params.slice(1, nb + 1).join('x')} of ` : '';
    return `${batch}${m}x${k} · ${k}x${n}`;
  }
  if (isUpdate(call)) {
    const [m, n, k] = params;
    return `${m}x${k} · ${k}x${n}`;
  }
  return storages.map((s) => s.length).join(', ');
}

function short(n: number): string {
  if (n >= 1e9) return `${(n / 1e9).toFixed(2)} G`;
  if (n >= 1e6) return `${(n / 1e6).toFixed(2)} M`;
  if (n >= 1e3) return `${(n / 1e3).toFixed(1)} k`;
  return `${n} `;
}

/**
 * A program as a table: one line per kernel call. A `+` in the operation's name marks what was fused, a bar what runs block
 * by block (with one time for all). Times are measured now, on copies of what the step writes.
 */
export function explainProgram(name: string, key: string, program: Program): string {
  const times = program.times();
  const chained = new Map(
    program.chains.flatMap(({ first, count }) =>
      Array.from(
        { length: count },
        (_, i) => [first + i, i === 0 ? '┌ ' : i + 1 < count ? '│ ' : '└ '] as const,
      ),
    ),
  );
  const rows = program.calls.map((call, i) => [
    String(i),
    (chained.get(i) ?? '') + call.kernel.name,
    call.op,
    shapes(call),
    `${short(flops(call))}flop`,
    `${short(bytes(call))}B`,
    chained.has(i) && chained.get(i) !== '┌ '
      ? ''
      : times
        ? `${((times[i] as number) / 1000).toFixed(2)} us`
        : '?',
  ]);
  const head = ['', 'kernel', 'operation', 'sizes', 'work', 'data', 'time'];
  const widths = head.map((h, c) => Math.max(h.length, ...rows.map((r) => (r[c] as string).length)));
  const line = (r: readonly string[]) =>
    r
      .map((x, c) => x.padEnd(widths[c] as number))
      .join('  ')
      .trimEnd();
  const total = program.calls.reduce((n, c) => n + flops(c), 0);
  return [
    `${name}(${key}): ${program.calls.length} kernel calls (${program.traced} before fusion), ` +
      `${short(total)}flop, ${short(program.arenaBytes)}B of intermediate values` +
      (times ? `, ${(times.reduce((a, b) => a + b, 0) / 1000).toFixed(1)} us` : ''),
    line(head),
    ...rows.map(line),
  ].join('\n');
}
