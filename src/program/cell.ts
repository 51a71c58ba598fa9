import { StateError } from '../errors.js';
import { tracing } from './emit.js';
import { sameShape, type View } from './view.js';

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
  /** Token of the trace in which its owner was made: to that trace the cell is its own affair. */
  readonly madeIn: object | null;
}

export class Cell implements Watched {
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
    tracing()?.writeCell(this);
    this.value = value;
  }
}

/** What a cell holds, or another tensor over the same memory and outside any graph. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (!isOverMemory(a) || !isOverMemory(b)) return false;
  const [v, w] = [a.view, b.view];
  return (
    v.storage === w.storage &&
    v.offset === w.offset &&
    sameShape(v.shape, w.shape) &&
    sameShape(v.strides, w.strides)
  );
}

function isOverMemory(x: unknown): x is { readonly view: View } {
  return typeof x === 'object' && x !== null && 'view' in x && 'node' in x && x.node === null;
}

/** The cell of a gradient: others may not write it while an asynchronous step computes what it will hold. */
export class GradientCell extends Cell {
  /** That step, or null. */
  busy: string | null = null;

  checkFree(what: string): void {
    if (this.busy === null) return;
    throw new StateError(`${what}: this gradient is being computed by ${this.busy}; await that step first`);
  }

  override set(value: unknown): void {
    // A step that is being traced writes when it runs.
    if (tracing() === null) this.checkFree('grad');
    super.set(value);
  }
}
