import type { View } from '../program/view.js';
import type { Tensor } from './tensor.js';

/**
 * A gradient that a compiled step left in memory of its own. The next replay overwrites it, so a reader is given a
 * copy, made when (and only if) somebody looks.
 */
export class PublishedGrad {
  constructor(
    readonly view: View,
    private readonly copy: (view: View) => Tensor,
  ) {}

  read(): Tensor {
    return this.copy(this.view);
  }
}
