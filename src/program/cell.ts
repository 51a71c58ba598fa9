import { StateError } from '../errors.js';
import { tracing } from './emit.js';

/** A value of a cell that can take over what else is found there, so that a program can go on with its memory. */
export interface Home {
  readonly value: unknown;
  /** True if `found` can be loaded. */
  accepts(found: unknown): boolean;
  load(found: unknown): void;
}

/**
 * A place that holds a value and that steps may read and replace: a parameter's gradient, a mode. Traces watch it: a program
 * is right while the cells that it read hold what they held, and what a step leaves behind in a cell is put there again by
 * every replay.
 */
export interface Watched {
  value: unknown;
  /** The asynchronous step that is making the gradient which this cell will hold, or null. */
  busy: string | null;
  /** Token of the trace in which its owner was made: to that trace the cell is its own affair. */
  readonly madeIn: object | null;
}

/** Refuses to write a cell that an asynchronous step is going to write. */
export function checkIdle({ busy }: Watched, what: string): void {
  if (busy === null) return;
  throw new StateError(`${what}: this gradient is being computed by ${busy}; await that step first`);
}

export class Cell implements Watched {
  busy: string | null = null;

  constructor(
    public value: unknown,
    readonly madeIn: object | null = null,
  ) {}

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
    checkIdle(this, 'grad');
    tracing()?.writeCell(this);
    this.value = value;
  }
}
