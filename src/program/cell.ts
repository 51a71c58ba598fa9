import { tracing } from './emit.js';

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

  set(value: unknown): void {
    tracing()?.writeCell(this);
    this.value = value;
  }
}
