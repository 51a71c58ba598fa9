import type { DType, TypedArray } from '../dtype.js';
import { StateError } from '../errors.js';
import type { Shape } from '../program/view.js';
import type { Tensor } from './tensor.js';

/**
 * A gradient that a compiled step left in memory of its own. A later replay overwrites it, so a reader is given a copy,
 * made when (and only if) somebody looks. It refers to nothing of the step: a trace that saw it here would otherwise keep
 * all programs before it alive.
 */
export class PublishedGrad {
  constructor(
    readonly dtype: DType,
    readonly shape: Shape,
    readonly values: TypedArray,
    private readonly make: (dtype: DType, shape: Shape, values: TypedArray) => Tensor,
  ) {}

  read(): Tensor {
    return this.make(this.dtype, this.shape, this.values.slice());
  }

  /** Copies the values into a tensor of the same shape and dtype. */
  copyInto(t: Tensor): void {
    const { storage } = t.view;
    storage.checkIdle('grad');
    storage.preserve();
    storage.read('grad').set(this.values);
    storage.version++;
  }
}

/** In the place of a gradient that a compiled step used up while it was made, and did not store. */
export class ConsumedGrad {
  constructor(private readonly step: string) {}

  refuse(what: string): never {
    throw new StateError(
      `${what}: the compiled step '${this.step}' used this gradient up in the optimizer's update and did not keep it; ` +
        'compile the step with { keepGrads: true } to read gradients after it, or set them to null',
    );
  }
}
