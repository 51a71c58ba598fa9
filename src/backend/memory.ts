import type { TypedArray } from '../dtype.js';
import { typeCode } from './js/strided.js';

/** Uses from which on a view is worth making: it takes as long to make as three uses of it save. */
const fewUses = 3;

/**
 * The array behind a storage, and how the addon is told of it. Node-API tries one kind of typed array after the other to
 * say which one is before it, and has a single kind of DataView: what many calls use is handed over as such.
 */
export class Memory {
  /** What the addon makes of `handle()`: 0 where it is the array; else one more than the type code, and it is a DataView. */
  kind = 0;
  #uses = 0;
  #view: DataView | null = null;

  constructor(readonly array: TypedArray) {}

  /** What the addon is handed. */
  handle(): TypedArray | DataView {
    return this.#view ?? this.#used();
  }

  #used(): TypedArray | DataView {
    const { array } = this;
    if (++this.#uses < fewUses || array.length === 0) return array; // (an empty one may be detached, unnoticed)
    this.kind = 1 + typeCode(array);
    this.#view = new DataView(array.buffer, array.byteOffset, array.byteLength);
    return this.#view;
  }
}
