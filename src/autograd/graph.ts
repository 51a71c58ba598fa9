import { GradError } from '../errors.js';
import { nonDifferentiable, type Primitive, type Spec, type VjpContext } from '../ops/primitive.js';
import { release, type Storage } from '../program/storage.js';
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
  /** Which inputs want a gradient in the pass in progress. */
  readonly needs: boolean[];
  /** A result whose gradient was asked for by retainGrad(). */
  retained: Tensor | null = null;
  /** The last backward pass that came here, what has arrived so far, and whether anything behind wants it. */
  pass = 0;
  pending: Tensor | null = null;
  needed = false;
  #saved: (Tensor | null)[] | null;
  readonly #versions: readonly number[];
  #output: Tensor | null = null;
  #outputVersion = 0;

  constructor(
    readonly op: Primitive<unknown>,
    inputs: readonly Tensor[],
    readonly attrs: unknown,
    output: Tensor,
  ) {
    const n = inputs.length;
    const specs = new Array<Spec>(n);
    const edges = new Array<Edge>(n);
    const needs = new Array<boolean>(n);
    const saved = new Array<Tensor | null>(n);
    const versions = new Array<number>(n);
    for (let i = 0; i < n; i++) {
      const x = inputs[i] as Tensor;
      const { shape, dtype, storage } = x.view;
      specs[i] = { shape, dtype };
      edges[i] = x.node ?? (x.requiresGrad ? x : null);
      needs[i] = edges[i] !== null;
      const saves = op.saves.includes(i);
      if (saves) storage.savers++;
      saved[i] = saves ? x : null;
      versions[i] = storage.version;
    }
    this.specs = specs;
    this.edges = edges;
    this.needs = needs;
    this.#saved = saved;
    this.#versions = versions;
    if (op.saves.includes('output')) {
      const { storage } = output.view;
      storage.savers++;
      this.#output = output;
      this.#outputVersion = storage.version;
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

  /** What was saved: inputs (null where an input was not) and the result, or null. For inspection. */
  saved(): { readonly inputs: readonly (Tensor | null)[]; readonly output: Tensor | null } {
    return { inputs: this.#saved ?? [], output: this.#output };
  }

  /** Memory that the derivative still needs. */
  savedStorages(): Storage[] {
    const saved = this.#output ? [...(this.#saved ?? []), this.#output] : (this.#saved ?? []);
    return saved.flatMap((t) => (t ? [t.view.storage] : []));
  }

  /** Lets go of saved values. */
  free(): void {
    const saved = this.#saved;
    if (saved === null) return;
    this.#saved = null;
    for (let i = 0; i < saved.length; i++) {
      const x = saved[i];
      if (x) letGo(x.view.storage);
    }
    if (this.#output !== null) letGo(this.#output.view.storage);
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

/** Memory that only nodes had goes back to the pool with the last of them. */
function letGo(storage: Storage): void {
  storage.savers--;
  if (storage.savers === 0 && storage.unseen) release(storage);
}
