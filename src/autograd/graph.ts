import { GradError } from '../errors.js';
import { nonDifferentiable, type Primitive, type Spec, type VjpContext } from '../ops/primitive.js';
import type { Storage } from '../program/storage.js';
import type { Tensor } from '../tensor/tensor.js';

/** Where a gradient flows on to: the node that made an input, or a leaf tensor that collects it. */
export type Edge = Node | Tensor | null;

let nextId = 1;

/** One operation that was applied, with what its derivative needs. */
export class Node implements VjpContext<unknown> {
  /** Grows with every operation: consumers always have higher ids than what they consume. */
  readonly id = nextId++;
  readonly specs: readonly Spec[];
  readonly edges: readonly Edge[];
  /** Set anew by every backward pass. */
  needs: boolean[] = [];
  /** A result whose gradient was asked for by retainGrad(). */
  retained: Tensor | null = null;
  #saved: (Tensor | null)[] | null;
  #versions: number[];
  #output: Tensor | null = null;
  #outputVersion = 0;

  constructor(
    readonly op: Primitive<unknown>,
    inputs: readonly Tensor[],
    readonly attrs: unknown,
    output: Tensor,
  ) {
    this.specs = inputs.map((x) => ({ shape: x.shape, dtype: x.dtype }));
    this.edges = inputs.map((x) => x.node ?? (x.requiresGrad ? x : null));
    this.#saved = inputs.map((x, i) => (op.saves.includes(i) ? x : null));
    this.#versions = inputs.map((x) => x.view.storage.version);
    if (op.saves.includes('output')) {
      this.#output = output;
      this.#outputVersion = output.view.storage.version;
    }
  }

  get freed(): boolean {
    return this.#saved === null;
  }

  input(i: number): Tensor {
    const x = this.#saved?.[i];
    if (!x) throw this.#missing(`input ${i}`);
    this.#check(x, this.#versions[i] as number, `input ${i}`);
    return x;
  }

  output(): Tensor {
    const y = this.#output;
    if (!y) throw this.#missing('its result');
    this.#check(y, this.#outputVersion, 'its result');
    return y;
  }

  /** The gradients of the inputs that need one, for the gradient of the result. */
  vjp(g: Tensor): readonly (Tensor | null)[] {
    if (this.freed) {
      throw new GradError(
        `backward: the graph of ${this.op.name} was used already and its saved values are gone; ` +
          'pass { retainGraph: true } to the first backward to go through it a second time',
      );
    }
    const { vjp } = this.op;
    if (vjp === nonDifferentiable) throw new GradError(`backward: ${this.op.name} has no derivative`);
    return vjp(g, this);
  }

  /** Memory that the derivative still needs. */
  savedStorages(): Storage[] {
    const saved = this.#output ? [...(this.#saved ?? []), this.#output] : (this.#saved ?? []);
    return saved.flatMap((t) => (t ? [t.view.storage] : []));
  }

  /** Lets go of saved values. */
  free(): void {
    this.#saved = null;
    this.#output = null;
  }

  #missing(what: string): GradError {
    return new GradError(`backward: ${this.op.name} did not save ${what}`);
  }

  #check(x: Tensor, version: number, what: string): void {
    const now = x.view.storage.version;
    if (now !== version) {
      throw new GradError(
        `backward: ${what} of ${this.op.name} (shape [${x.shape.join(', ')}]) was changed in place after it was used ` +
          `(version ${now}, saved at ${version}); change a clone() instead, or call backward before the change`,
      );
    }
  }
}
