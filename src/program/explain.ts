import type { Input } from '../backend/backend.js';
import type { Program } from './program.js';
import { workOf } from './work.js';

function short(n: number): string {
  if (n >= 1e9) return `${(n / 1e9).toFixed(2)} G`;
  if (n >= 1e6) return `${(n / 1e6).toFixed(2)} M`;
  if (n >= 1e3) return `${(n / 1e3).toFixed(1)} k`;
  return `${n} `;
}

/**
 * A program as a table: one line per kernel call. A `+` in the operation's name marks what was fused, a bar what runs block
 * by block (with one time for all). Times are measured now, on these arguments (null: zeros) and on copies of what the step
 * writes.
 */
export function explainProgram(
  name: string,
  key: string,
  program: Program,
  args: readonly Input[] | null,
): string {
  const times = program.times(args);
  const local = new Set(program.chains.flatMap(({ locals }) => [...locals.keys()]));
  const work = program.calls.map((call) => workOf(call, local));
  const chained = new Map(
    program.chains.flatMap(({ first, count }) =>
      Array.from(
        { length: count },
        (_, i) => [first + i, i === 0 ? '┌ ' : i + 1 < count ? '│ ' : '└ '] as const,
      ),
    ),
  );
  const rows = program.calls.map((call, i) => {
    const { sizes, flops, bytes } = work[i] as (typeof work)[number];
    return [
      String(i),
      (chained.get(i) ?? '') + call.kernel.name,
      call.op,
      sizes,
      `${short(flops)}flop`,
      `${short(bytes)}B`,
      chained.has(i) && chained.get(i) !== '┌ '
        ? ''
        : times
          ? `${((times[i] as number) / 1000).toFixed(2)} us`
          : '?',
    ];
  });
  const head = ['', 'kernel', 'operation', 'sizes', 'work', 'data', 'time'];
  const widths = head.map((h, c) => Math.max(h.length, ...rows.map((r) => (r[c] as string).length)));
  const line = (r: readonly string[]) =>
    r
      .map((x, c) => x.padEnd(widths[c] as number))
      .join('  ')
      .trimEnd();
  const total = work.reduce((n, { flops }) => n + flops, 0);
  return [
    `${name}(${key}): ${program.calls.length} kernel calls (${program.traced} before fusion), ` +
      `${short(total)}flop, ${short(program.arenaBytes)}B of intermediate values` +
      (times ? `, ${(times.reduce((a, b) => a + b, 0) / 1000).toFixed(1)} us` : ''),
    line(head),
    ...rows.map(line),
  ].join('\n');
}
