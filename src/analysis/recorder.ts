import { ArgumentError, CompileError, isTensor, nn, noGrad, StateError, type Tensor } from 'simdgrad';
import { checkOptions, describe } from '../options.js';
import { distances } from './distance.js';
import { flatten, norm } from './points.js';

/** Options of a recorder. */
export interface RecorderOptions {
  /**
   * Which modules to record, by path and module. Default: those that hold no other module (Linear, ReLU, …), which are the
   * layers. The path of the recorded module itself is ''.
   */
  readonly layers?: (name: string, module: nn.Module) => boolean;
}

/** Norms of the outputs of one layer in one step, over all elements of the batch (and all calls of the layer). */
export interface LayerRecord {
  /** ‖Z‖₂ of the outputs. */
  readonly activationNorm: number;
  /** Root of the mean square of the outputs: its square is the variance of activations with mean 0. */
  readonly activationRms: number;
  /** ‖∂L/∂Z‖₂; null where no gradient reached the outputs. */
  readonly gradientNorm: number | null;
  /** Root of the mean square of ∂L/∂Z; null where no gradient reached the outputs. */
  readonly gradientRms: number | null;
}

/** Norms of one parameter in one step. */
export interface ParameterRecord {
  /** ‖θ‖₂ at the time of step(). */
  readonly norm: number;
  /** ‖∂L/∂θ‖₂ of the gradient it holds; null where it has none. */
  readonly gradientNorm: number | null;
  /** Root of the mean square of the gradient; null where there is none. */
  readonly gradientRms: number | null;
  /** ‖θ − θ₀‖₂: the distance from where it was when the recorder was attached. */
  readonly distance: number;
}

/** What a recorder noted of one step. */
export interface StepRecord {
  /** 0 for the first call of step(). */
  readonly step: number;
  /** By the path of the layer, in the order of their first calls. */
  readonly layers: Readonly<Record<string, LayerRecord>>;
  /** By the name of the parameter. */
  readonly parameters: Readonly<Record<string, ParameterRecord>>;
}

interface Seen {
  sum: number;
  size: number;
  readonly outputs: Tensor[];
}

const rms = (length: number, size: number): number => length / Math.sqrt(size);

/**
 * Records, per layer and per step, how large activations and gradients are: the plots by which lectures 000 and 004 show what
 * the variance of the initial weights does. It attaches forward hooks; call step() after every backward():
 *
 * @example
 * using recorder = new Recorder(model);
 * for (const [x, y] of batches) {
 *   optimizer.zeroGrad();
 *   F.crossEntropy(model.forward(x), y).backward();
 *   const { layers, parameters } = recorder.step();
 *   optimizer.step();
 * }
 *
 * It reads values, so it works on eager steps: inside compile() a CompileError says so. Gradients of activations are kept
 * until step(). Layers with a hook are not fused with their neighbours, so a recorded step is slower, with the same numbers.
 */
export class Recorder {
  /** Every record so far. */
  readonly history: StepRecord[] = [];
  readonly #start: Map<string, Tensor>;
  readonly #model: nn.Module;
  readonly #removers: (() => void)[];
  readonly #seen = new Map<string, Seen>();

  /** @throws ArgumentError for anything but a module, or where no layer is chosen */
  constructor(model: nn.Module, options: RecorderOptions = {}) {
    if (!(model instanceof nn.Module)) {
      throw new ArgumentError(`Recorder: takes a module, not ${describe(model)}`);
    }
    checkOptions('Recorder', options, ['layers']);
    const chosen = options.layers ?? ((_name: string, m: nn.Module) => m.children().length === 0);
    if (typeof chosen !== 'function') {
      throw new ArgumentError(`Recorder: layers is a function of name and module, not ${describe(chosen)}`);
    }
    const layers = model.namedModules().filter(([name, m]) => chosen(name, m));
    if (layers.length === 0) throw new ArgumentError('Recorder: no layer was chosen to be recorded');
    this.#model = model;
    this.#start = snapshotOf(model);
    this.#removers = layers.map(([name, m]) =>
      m.registerForwardHook((_module, _inputs, output) => this.#see(name, output)),
    );
  }

  #see(name: string, output: unknown): void {
    for (const t of Array.isArray(output) ? output : [output]) {
      if (!isTensor(t) || (t.dtype !== 'float32' && t.dtype !== 'float64')) continue;
      let length: number;
      try {
        length = norm(flatten([t]));
      } catch (error) {
        if (!(error instanceof CompileError)) throw error;
        throw new CompileError(
          'Recorder: values cannot be read while a step is compiled; run recorded steps without compile(), or detach() the recorder first',
        );
      }
      let seen = this.#seen.get(name);
      if (seen === undefined) this.#seen.set(name, (seen = { sum: 0, size: 0, outputs: [] }));
      seen.sum = Math.hypot(seen.sum, length);
      seen.size += t.size;
      if (t.requiresGrad) seen.outputs.push(t.retainGrad());
    }
  }

  /**
   * Closes a step: what forward() and backward() did since the last call. Call it after backward(), before the gradients are
   * zeroed.
   *
   * @throws StateError where no recorded layer was run since the last call
   */
  step(): StepRecord {
    if (this.#seen.size === 0) {
      throw new StateError(
        'Recorder.step: no recorded layer was run since the last call; run forward() and backward() first',
      );
    }
    const layers: Record<string, LayerRecord> = {};
    for (const [name, { sum, size, outputs }] of this.#seen) {
      const gradients = outputs.flatMap((t) => (t.grad === null ? [] : [t.grad]));
      const length = gradients.length === 0 ? null : norm(gradients.map((g) => norm(flatten([g]))));
      const count = gradients.reduce((n, g) => n + g.size, 0);
      layers[name] = {
        activationNorm: sum,
        activationRms: rms(sum, size),
        gradientNorm: length,
        gradientRms: length === null ? null : rms(length, count),
      };
    }
    this.#seen.clear();
    const { parameters: far } = distances(this.#model, this.#start);
    const parameters: Record<string, ParameterRecord> = {};
    for (const [name, p] of this.#model.namedParameters()) {
      const gradient = p.grad;
      const length = gradient === null ? null : norm(flatten([gradient]));
      parameters[name] = {
        norm: norm(flatten([p])),
        gradientNorm: length,
        gradientRms: length === null ? null : rms(length, p.size),
        distance: far[name]?.distance ?? NaN,
      };
    }
    const record = { step: this.history.length, layers, parameters };
    this.history.push(record);
    return record;
  }

  /** Removes the hooks; the history stays. */
  detach(): void {
    for (const remove of this.#removers.splice(0)) remove();
    this.#seen.clear();
  }

  /** As detach(), for `using`. */
  [Symbol.dispose](): void {
    this.detach();
  }
}

function snapshotOf(model: nn.Module): Map<string, Tensor> {
  return new Map(
    model.namedParameters().map(([name, p]) => [name, noGrad(() => p.detach().clone())] as const),
  );
}
