import { defineKernel } from '../backend/backend.js';
import { randintKernel } from '../backend/js/random.js';
import { backend } from '../backend/load.js';
import type { DType } from '../dtype.js';
import { ArgumentError, StateError } from '../errors.js';
import { advance, observe, type Param } from './emit.js';
import { newArray } from './storage.js';
import { checkShape, describe } from './view.js';

/** Whole numbers in a range, from one random word each. */
export const randintRow = defineKernel('randint', randintKernel);

/** What a Generator is: see Generator.getState. */
export interface GeneratorState {
  /** The seed: its lower and its upper 32 bits. */
  readonly key: readonly [number, number];
  /** How many blocks of four 32-bit words were drawn. */
  readonly block: number;
}

type Key = readonly [number, number];

function keyOf(seed: unknown): Key {
  if (typeof seed !== 'number' || !Number.isSafeInteger(seed) || seed < 0) {
    throw new ArgumentError(`Generator: a seed is a whole number in [0, 2^53), not ${describe(seed)}`);
  }
  return [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
}

/**
 * A seeded source of random numbers: Philox4x32-10 (Salmon et al., 2011), which turns a counter into random words. The
 * same seed gives the same numbers on every backend, in eager mode and in compiled steps.
 */
export class Generator {
  #key: Key;
  #block = 0;

  /** @param seed a whole number in [0, 2^53). Default 0. */
  constructor(seed = 0) {
    this.#key = keyOf(seed);
  }

  /** Starts again from a seed, a whole number in [0, 2^53). Throws ArgumentError for another. */
  manualSeed(seed: number): this {
    this.#moveTo(keyOf(seed), 0);
    return this;
  }

  /** Goes on from another state, in a compiled step at every replay. */
  #moveTo(key: Key, block: number): void {
    let before = { key: this.#key, block: this.#block };
    advance({
      owner: this,
      detail: `${key.join()} ${block}`,
      advance: () => {
        before = { key: this.#key, block: this.#block };
        [this.#key, this.#block] = [key, block];
        return [];
      },
      rewind: () => {
        if (this.#key === key && this.#block === block) [this.#key, this.#block] = [before.key, before.block];
      },
    });
  }

  /** The whole state, for checkpoints: the seed in two words, and how many blocks of four words were drawn. */
  getState(): GeneratorState {
    observe(() => this.#block);
    for (const word of [0, 1] as const) observe(() => this.#key[word]);
    return { key: [...this.#key], block: this.#block };
  }

  /** Goes on from a state that getState() gave. Throws StateError for anything else. */
  setState(state: GeneratorState): void {
    const [a, b] = state?.key ?? [];
    const word = (x: unknown) => Number.isInteger(x) && (x as number) >= 0 && (x as number) < 2 ** 32;
    if (!word(a) || !word(b) || !Number.isSafeInteger(state.block) || state.block < 0) {
      throw new StateError('Generator: this is not a generator state: { key: [word, word], block }');
    }
    this.#moveTo([a as number, b as number], state.block);
  }

  /**
   * Takes the numbers for n elements of a dtype; returns [key0, key1, block] for a random kernel.
   *
   * @internal
   */
  reserve(n: number, dtype: DType): Param[] {
    return this.#take(Math.ceil(n / (dtype === 'float64' ? 2 : 4)));
  }

  #take(blocks: number): Param[] {
    let after = 0;
    return advance({
      owner: this,
      advance: () => {
        const block = this.#block;
        this.#block += blocks;
        after = this.#block;
        return [this.#key[0], this.#key[1], block];
      },
      // Where others have drawn meanwhile, beside an asynchronous step, their numbers must not come again.
      rewind: () => {
        if (this.#block === after) this.#block -= blocks;
      },
    });
  }

  /**
   * A random order of 0 … n−1 (Fisher–Yates). Each draw takes 32 bits, so the bias is below n / 2^32. Throws
   * ShapeError where n is no size.
   */
  permutation(n: number): Int32Array {
    checkShape('permutation', [n]);
    const order = newArray('int32', n, 'permutation') as Int32Array;
    for (let i = 0; i < n; i++) order[i] = i;
    const draws = Math.max(n - 1, 0);
    const words = newArray('int32', draws, 'permutation');
    // Over the range of all integers an element is its random word, less 2^31.
    if (draws > 0) {
      const stream = [this.#key[0], this.#key[1], this.#block];
      backend().run(randintRow, [draws, 0, ...stream, -(2 ** 31), 2 ** 31], [words]);
    }
    this.#take(Math.ceil(draws / 4));
    for (let i = draws, used = 0; i > 0; i--) {
      const word = (words[used++] as number) + 2 ** 31;
      const j = Math.floor((word / 2 ** 32) * (i + 1));
      const held = order[i] as number;
      order[i] = order[j] as number;
      order[j] = held;
    }
    return order;
  }
}

/** The generator used where none is given. */
export const defaultGenerator = new Generator();

/**
 * Seeds the generator that is used where none is given, with a whole number in [0, 2^53), and returns it. Throws
 * ArgumentError for another.
 */
export function manualSeed(seed: number): Generator {
  return defaultGenerator.manualSeed(seed);
}
