/** Base of every error the library throws on purpose. `code` is stable, the message is for people. */
export class SimdgradError extends Error {
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

/** The chosen backend cannot be loaded, or refused a call. */
export class BackendError extends SimdgradError {
  constructor(message: string, code = 'SIMDGRAD_BACKEND') {
    super(message, code);
  }
}

/** A state dict or file that does not fit, or an object used while a step is in flight. */
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
