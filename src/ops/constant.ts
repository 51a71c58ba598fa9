import type { View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';

type Wrap = (view: View) => Tensor;

let implementation: Wrap | null = null;

/** Called once by the tensor layer above. */
export function installConstant(f: Wrap): void {
  implementation = f;
}

/** A tensor around values that exist, outside any graph. */
export function constant(view: View): Tensor {
  return (implementation as Wrap)(view);
}
