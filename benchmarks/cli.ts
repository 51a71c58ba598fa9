// What the benchmark programs share: reading options, printing numbers, writing files.
import { closeSync, existsSync, mkdirSync, openSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import process from 'node:process';
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { suggest } from '../src/suggest.js';
import type { Spread } from './measure.js';

/** A mistake on the command line: one line and exit status 2. */
export class UsageError extends Error {}

/** The values of the options; one that does not exist is an error with a suggestion. */
export function parseOptions<T extends NonNullable<ParseArgsConfig['options']>>(
  argv: readonly string[],
  options: T,
) {
  try {
    return parseArgs({ args: [...argv], options }).values;
  } catch (error) {
    const given = /'--?([^' =]+)/.exec((error as Error).message)?.[1] ?? '';
    const near = given in options ? undefined : suggest(given, Object.keys(options));
    throw new UsageError(
      `${(error as Error).message.split(/[.\n]/)[0]}${near ? `; did you mean --${near}?` : ''}`,
    );
  }
}

/** A whole number from 1 to `high`. */
export function count(name: string, text: string, high: number): number {
  const n = Number(text);
  if (!/^\d+$/.test(text) || n < 1 || n > high) {
    throw new UsageError(`--${name} takes a whole number from 1 to ${high}, not '${text}'`);
  }
  return n;
}

/** A number for people, to three or four digits. */
export function digits(x: number): string {
  return x >= 1000 ? x.toFixed(0) : x >= 100 ? x.toFixed(1) : x.toFixed(2);
}

/** Median (min–max). */
export function showSpread(s: Spread, width = 9): string {
  return `${digits(s.median).padStart(width)} (${digits(s.min)}–${digits(s.max)})`;
}

export function scaleSpread(s: Spread, factor: number): Spread {
  return { median: s.median * factor, min: s.min * factor, max: s.max * factor };
}

/** Refuses a file that cannot be written, before what goes there is measured. Makes the folders it lies in. */
export function checkFile(option: string, file: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true });
    const isNew = !existsSync(file);
    closeSync(openSync(file, 'a'));
    if (isNew) unlinkSync(file);
  } catch (error) {
    throw new UsageError(`--${option}: ${file} cannot be written (${(error as Error).message})`);
  }
}

/** Writes a file, and the folders it lies in. */
export function writeFile(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** Runs a program's main function if this file was started as that program (a test imports it instead). */
export async function runAsProgram(name: string, main: (argv: string[]) => number | Promise<number>) {
  if (!new RegExp(`[\\\\/]${name}\\.js$`).test(process.argv[1] ?? '')) return;
  // Whoever reads the output may have seen enough.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${name}: ${error.message}\nTry --help.\n`);
    process.exitCode = 2;
  }
}
