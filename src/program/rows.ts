import { defineKernel, type RowsOf } from '../backend/backend.js';
import { indexSelectKernel } from '../backend/js/indexing.js';
import { backend } from '../backend/load.js';
import type { Memory } from '../backend/memory.js';
import type { TypedArray } from '../dtype.js';
import { deferredStorage } from './emit.js';
import { type Deferred, plainMemory, type Snapshot, type Storage } from './storage.js';
import type { View } from './view.js';

/** Selection by index along one axis. */
export const indexSelect = defineKernel('indexSelect', indexSelectKernel);

/** The rows of a contiguous tensor as they were when this was made, from which batches are gathered by number. */
export class RowSource {
  /** Elements of a row. */
  readonly inner: number;
  readonly #snapshot: Snapshot;
  #base: TypedArray | null = null;
  #values: TypedArray | null = null;

  constructor(readonly view: View) {
    this.inner = view.size / (view.shape[0] as number);
    this.#snapshot = view.storage.snapshot();
  }

  /** True while the tensor has the values of this source. */
  get current(): boolean {
    return !this.#snapshot.left && this.view.storage.deferrable;
  }

  /** All rows. */
  get values(): TypedArray {
    const base = this.#snapshot.values;
    if (this.#base !== base) {
      const { offset, size } = this.view;
      this.#base = base;
      this.#values = base.length === size ? base : base.subarray(offset, offset + size);
    }
    return this.#values as TypedArray;
  }
}

/** Some rows of a source: what the storage of a batch holds until somebody reads its values. */
export class Rows implements RowsOf, Deferred {
  constructor(
    readonly source: RowSource,
    /** Nobody may change these any more. */
    readonly indices: Int32Array,
  ) {}

  get values(): TypedArray {
    return this.source.values;
  }

  /** Storage with these values, which are gathered when somebody reads them. */
  storage(): Storage {
    const { dtype } = this.source.view;
    return deferredStorage(dtype, this.indices.length * this.source.inner, this);
  }

  gather(): Memory {
    const { values, indices } = this;
    const { view, inner } = this.source;
    const out = plainMemory(view.dtype, indices.length * inner);
    const n = view.shape[0] as number;
    backend().run(indexSelect, [1, n, inner, indices.length, 0, 0, 0], [out.array, values, indices]);
    return out;
  }
}
