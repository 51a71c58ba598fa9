import type { DType } from '../dtype.js';
import { ArgumentError } from '../errors.js';
import { isTensor } from '../ops/primitive.js';
import type { Generator } from '../program/generator.js';
import { describe } from '../program/view.js';
import { didYouMean } from '../suggest.js';
import { checkOptions, type Tensor } from '../tensor/tensor.js';
import {
  ELU,
  GELU,
  LeakyReLU,
  LogSoftmax,
  ReLU,
  Sigmoid,
  SiLU,
  Softmax,
  Softplus,
  Tanh,
} from './activations.js';
import { Sequential } from './containers.js';
import { Identity, Linear } from './layers.js';
import { Module } from './module.js';

const named = {
  relu: ReLU,
  leakyRelu: LeakyReLU,
  sigmoid: Sigmoid,
  tanh: Tanh,
  elu: ELU,
  gelu: GELU,
  silu: SiLU,
  softplus: Softplus,
  softmax: Softmax,
  logSoftmax: LogSoftmax,
  identity: Identity,
} as const;

/** Activations that MLP knows by name. */
export type ActivationName = keyof typeof named;

/** An activation: its name, its class, or a function that makes the module (`() => new nn.LeakyReLU(0.2)`). */
export type ActivationChoice = ActivationName | (new () => Module) | (() => Module);

/** Fills a tensor in place: any of `init`, or a function of one's own. */
export type Initializer = (t: Tensor, options: { readonly generator?: Generator | undefined }) => unknown;

/** Options of an MLP. */
export interface MLPOptions {
  /** σ_i behind every layer but the last; an array has one for each of them. Default 'relu'. */
  readonly activation?: ActivationChoice | readonly ActivationChoice[];
  /** σ_L, behind the last layer. Default 'identity': none, "usually σ_L(x) = x". */
  readonly outputActivation?: ActivationChoice;
  /** Whether layers have a bias. Default true. */
  readonly bias?: boolean;
  /** Fills every weight [nIn, nOut], first to last: `init.heNormal` for example. Default: that of Linear. */
  readonly init?: Initializer;
  /** Fills every bias [nOut]: `init.zeros`, or `(b) => init.constant(b, 0.01)`. Default: that of Linear. */
  readonly biasInit?: Initializer;
  /** Default float32. */
  readonly dtype?: DType;
  /** Where the initial values come from; default: the generator that manualSeed() seeds. */
  readonly generator?: Generator;
}

const names = ['activation', 'outputActivation', 'bias', 'init', 'biasInit', 'dtype', 'generator'];

function isModuleClass(f: unknown): boolean {
  return f === Module || (typeof f === 'function' && f.prototype instanceof Module);
}

function makeActivation(what: string, choice: unknown): Module {
  if (typeof choice === 'string') {
    if (Object.hasOwn(named, choice)) return new named[choice as ActivationName]();
    throw new ArgumentError(
      `MLP: there is no ${what} ${describe(choice)}${didYouMean(choice, Object.keys(named))} ` +
        `They are ${Object.keys(named).join(', ')}`,
    );
  }
  if (typeof choice === 'function') {
    if (!isModuleClass(choice) && choice.length > 0) {
      throw new ArgumentError(
        `MLP: the function given for ${what} makes modules and takes no argument; for an activation give its name, ` +
          "such as 'relu', or () => new nn.ReLU()",
      );
    }
    const made: unknown = isModuleClass(choice) ? new (choice as new () => Module)() : choice();
    if (made instanceof Module) return made;
    throw new ArgumentError(`MLP: the function given for ${what} makes modules, not ${describe(made)}`);
  }
  const hint =
    choice instanceof Module ? '; layers do not share modules: give the class, or () => new …(…)' : '';
  throw new ArgumentError(
    `MLP: ${what} is a name, a class or a function that makes a module, not ${describe(choice)}${hint}`,
  );
}

/**
 * Fully connected network of any depth, a multi-layer perceptron: Z₁ = X, Z_{i+1} = σ_i(Z_i W_i + b_i) for i = 1 … L, and the output
 * is Z_{L+1} (lectures 000 and 004; 004 writes Linear_i(X) where Linear_i(Z_i) is meant; lecture 002's
 * a⁽ˡ⁾ = σ⁽ˡ⁾(W⁽ˡ⁾ a⁽ˡ⁻¹⁾ + b⁽ˡ⁾) with the transposed weight).
 *
 * `sizes` are [n₁, …, n_{L+1}], inputs first, outputs last, so that new nn.MLP([784, 256, 10]) has one hidden layer: it takes
 * [..., 784] and gives [..., 10]. It is a Sequential of Linear layers and activations (none for 'identity'), with
 * parameters '0.weight', '0.bias', '2.weight' and so on.
 *
 * Throws ArgumentError for fewer than two sizes, an activation that does not exist, a list of another length than there
 * are hidden layers, and options that do not exist.
 */
export class MLP extends Sequential {
  /** Features of the input, of every hidden layer, and of the result. */
  readonly sizes: readonly number[];

  constructor(sizes: readonly number[], options: MLPOptions = {}) {
    super();
    if (!Array.isArray(sizes) || sizes.length < 2) {
      throw new ArgumentError(
        `MLP: takes a list of at least two sizes, [nIn, …, nOut], not ${describe(sizes)}`,
      );
    }
    for (const n of sizes) {
      if (!Number.isSafeInteger(n) || n < 1)
        throw new ArgumentError(`MLP: sizes are whole numbers >= 1, not ${describe(n)}`);
    }
    checkOptions('MLP', options, names);
    this.sizes = Object.freeze([...sizes]);
    const { activation = 'relu', outputActivation = 'identity', bias, dtype, generator } = options;
    for (const key of ['init', 'biasInit'] as const) {
      const f: unknown = options[key];
      if (f !== undefined && (typeof f !== 'function' || isModuleClass(f)))
        throw new ArgumentError(
          `MLP: ${key} is a function that fills a tensor, such as init.heNormal, not ${describe(f)}`,
        );
    }
    const hidden = sizes.length - 2;
    const perLayer = Array.isArray(activation) && !isTensor(activation);
    if (perLayer && (activation as readonly unknown[]).length !== hidden) {
      throw new ArgumentError(
        `MLP: ${(activation as readonly unknown[]).length} activations for ${hidden} hidden layers`,
      );
    }
    for (let i = 0; i <= hidden; i++) {
      const layer = new Linear(sizes[i] as number, sizes[i + 1] as number, {
        ...(bias === undefined ? {} : { bias }),
        ...(dtype === undefined ? {} : { dtype }),
        ...(generator === undefined ? {} : { generator }),
      });
      options.init?.(layer.weight, { generator });
      if (layer.bias !== null) options.biasInit?.(layer.bias, { generator });
      this.append(layer);
      const last = i === hidden;
      const choice = last ? outputActivation : perLayer ? (activation as readonly unknown[])[i] : activation;
      const made = makeActivation(last ? 'outputActivation' : 'activation', choice);
      if (made.constructor !== Identity) this.append(made);
    }
  }

  protected override describe(): string {
    return `[${this.sizes.join(', ')}]`;
  }
}
