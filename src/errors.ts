import type { DType } from './dtype.js';

/** Base of every error the library throws on purpose. `code` is stable, the message is for people. */
export class SimdgradError extends Error {
  /** Stable, for programs: 'SIMDGRAD_SHAPE', 'SIMDGRAD_DTYPE'… */
  readonly code: string;
  constructor(message: string, code = 'SIMDGRAD_ERROR') {
    super(message);
    this.name = new.target.name;
    this.code = code;
  }
}

/** Shapes that do not fit together, or a shape that is not one. */
export class ShapeError extends SimdgradError {
  constructor(message: string) {
    super(message, 'SIMDGRAD_SHAPE');
  }
}

/** A dtype that the operation does not take. */
export class DTypeError extends SimdgradError {
  constructor(message: string) {
    super(message, 'SIMDGRAD_DTYPE');
  }
}

/** An index, a label or an axis outside its range. */
export class IndexError extends SimdgradError {
  constructor(message: string) {
    super(message, 'SIMDGRAD_INDEX');
  }
}

/** An argument of the wrong kind or value, or an option that does not exist. */
export class ArgumentError extends SimdgradError {
  constructor(message: string) {
    super(message, 'SIMDGRAD_ARGUMENT');
  }
}

/** Autodiff asked for something it cannot give: no graph, a freed graph, a saved value that was changed in place. */
export class GradError extends SimdgradError {
  constructor(message: string) {
    super(message, 'SIMDGRAD_GRAD');
  }
}

/** A step function that cannot be compiled, or that behaved differently when it was traced again. */
export class CompileError extends SimdgradError {
  constructor(message: string) {
    super(message, 'SIMDGRAD_COMPILE');
  }
}

/** A tensor that took part in what an AnomalyError reports. */
export interface AnomalyOperand {
  /** What it is: 'input 0', 'the gradient of the result', 'momentumBuffer of parameter 3'… */
  readonly what: string;
  /** Its shape. */
  readonly shape: readonly number[];
  /** Its dtype. */
  readonly dtype: DType;
  /** Its value at the element in question; null where the element depends on more than one of its values. */
  readonly value: number | null;
  /** Its least and largest finite value; null where it has none. */
  readonly range: readonly [number, number] | null;
  /** How many of its elements are infinite; none is NaN unless `value` is a number. */
  readonly infinite: number;
}

/** What an AnomalyError says, for programs. */
export interface AnomalyDetails {
  /** The operation: 'log', 'matmul', 'add_', 'SGD.step'… */
  readonly op: string;
  /** Whether it made the value going forward, in its derivative, or in an optimizer's update. */
  readonly during: 'forward' | 'backward' | 'update';
  /** NaN, Infinity or -Infinity. */
  readonly value: number;
  /** Of the result, or of the gradient, in which the value is. */
  readonly shape: readonly number[];
  /** Of the same. */
  readonly dtype: DType;
  /** Position of the first such element, one number per axis. */
  readonly index: readonly number[];
  /** How many elements of the result the operation made NaN or infinite. */
  readonly count: number;
  /** What it was made from. */
  readonly operands: readonly AnomalyOperand[];
  /** In backward: the stack of the forward call whose derivative this is; null where it was made outside the mode. */
  readonly forwardStack: string | null;
}

/** Thrown under detectAnomaly by the first operation that makes a NaN, or an infinity from finite values. */
export class AnomalyError extends SimdgradError {
  /** What the message says, field by field. */
  readonly details: AnomalyDetails;
  constructor(message: string, details: AnomalyDetails) {
    super(message, 'SIMDGRAD_ANOMALY');
    this.details = details;
  }
}

/** The chosen backend cannot be loaded, or refused a call. */
export class BackendError extends SimdgradError {
  constructor(message: string, code = 'SIMDGRAD_BACKEND') {
    super(message, code);
  }
}

/** A state dict or file that does not fit, or an object used when it cannot be: while a step is in flight, for example. */
export class StateError extends SimdgradError {
  constructor(message: string) {
    super(message, 'SIMDGRAD_STATE');
  }
}

/** A matrix that a method cannot work with: singular, not positive definite, or not finite. */
export class LinAlgError extends SimdgradError {
  constructor(message: string) {
    super(message, 'SIMDGRAD_LINALG');
  }
}

/** A file whose content is not what its format says. */
export class FormatError extends SimdgradError {
  constructor(message: string) {
    super(message, 'SIMDGRAD_FORMAT');
  }
}
