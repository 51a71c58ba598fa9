import { tracing } from './emit.js';

/** A value of a cell that can take over what else is found there, so that a program can go on with its memory. */
export interface Home {
  readonly value: unknown;
  /** True if `found` can be loaded. */
  accepts(found: unknown): boolean;
  load(found: unknown): void;
}

/**
 * A place that holds a value and that steps may replace, such as a parameter's gradient. Traces watch it: what a step
 * leaves behind in a cell is put there again by every replay.
 */
export class Cell {
  constructor(public value: unknown) {}

  get(): unknown {
    tracing()?.readCell(this);
    return this.value;
  }

  /** Replaces what was read by a value with the same content that is able to take over others like it. */
  settle(home: Home): void {
    tracing()?.settleCell(this, home);
    this.value = home.value;
  }

  set(value: unknown): void {
    tracing()?.writeCell(this);
    this.value = value;
  }
}
