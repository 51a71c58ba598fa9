import * as ops from '../ops/index.js';
import type { Param } from '../program/emit.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Common, Composed, maximize, moveMean, subtract, weightDecay } from './composed.js';
import type { ParamGroup } from './group.js';
import type { Active, Params } from './optimizer.js';
import { checks, type OptionTable } from './options.js';

// Steps of a given length in a norm of choice.

/** Options of SignSGD. */
export interface SignSGDOptions extends Common {
  /** How far every weight goes in a step. Default 0.001. */
  lr?: number;
  /** β of a moving average m = β m + (1 - β) g whose sign is then taken, in [0, 1). Default 0: the gradient's sign. */
  momentum?: number;
}

const signTable: OptionTable<SignSGDOptions> = {
  lr: [0.001, checks.notNegative],
  momentum: [0, checks.fraction],
  weightDecay,
  maximize,
};

/**
 * Gradient descent by signs: θ ← θ - η sgn(g), and sgn(0) = 0 (lecture 003; Bernstein et al., 2018, where the form with
 * momentum is called Signum). It is the steepest descent under ‖Δθ‖∞ ≤ η, see SteepestDescent, and Adam without
 * memory. Every weight goes by η or not at all, whatever the size of its gradient, so it needs a rate that falls.
 */
export class SignSGD extends Composed<SignSGDOptions> {
  constructor(params: Params<SignSGDOptions>, options: SignSGDOptions = {}) {
    super(params, options, signTable);
  }

  protected override update(group: ParamGroup<SignSGDOptions>, active: readonly Active[]): void {
    const numbers = this.advance(active, () => [
      group.lr,
      group.weightDecay,
      group.momentum,
      1 - group.momentum,
    ]);
    const averages = this.when(() => group.momentum !== 0);
    for (const a of active) {
      const [lr, decay, beta, rest] = this.scalars(a.p.dtype, numbers);
      let d = this.gradient(a, group, decay);
      if (averages) {
        const mean = this.stateTensor(a, 'expAvg');
        moveMean(mean, d, beta, rest);
        d = mean;
      }
      subtract(a.p, ops.mul(ops.sign(d), lr));
    }
  }
}

/** Options of SteepestDescent. */
export interface SteepestDescentOptions extends Common {
  /** The length of a step, η, in the norm. Default 0.001. */
  lr?: number;
  /** The norm of Δθ that η bounds: 2 (default) or Infinity; there are no others. */
  norm?: number;
}

const steepestTable: OptionTable<SteepestDescentOptions> = {
  lr: [0.001, checks.notNegative],
  norm: [2, checks.oneOf(2, Infinity)],
  weightDecay,
  maximize,
};

/**
 * The step of length η that goes down most in the linear approximation of the loss, argmin ⟨g, Δθ⟩ under ‖Δθ‖ ≤ η (lecture
 * 003):
 *
 * - `norm: Infinity`, max_j |Δθ_j| ≤ η: each coordinate on its own, Δθ = -η sign(g).
 * - `norm: 2`: by Cauchy and Schwarz ⟨g, Δθ⟩ ≥ -‖g‖₂ ‖Δθ‖₂, with equality for Δθ = -η g / ‖g‖₂. Here θ is all parameters of a
 *   group together (those that have a gradient): they share one norm. The lecture states the constraint and leaves the
 *   solution to the reader.
 *
 * Where g = 0 nothing goes down, and Δθ = 0. The norm is computed of the gradient divided by its largest element,
 * so that it neither overflows nor vanishes.
 */
export class SteepestDescent extends Composed<SteepestDescentOptions> {
  constructor(params: Params<SteepestDescentOptions>, options: SteepestDescentOptions = {}) {
    super(params, options, steepestTable);
  }

  protected override update(group: ParamGroup<SteepestDescentOptions>, active: readonly Active[]): void {
    const numbers = this.advance(active, () => [group.lr, group.weightDecay]);
    const gradients = active.map((a) => {
      const [decay] = this.scalars(a.p.dtype, [numbers[1] as Param]);
      return this.gradient(a, group, decay);
    });
    const steps = this.when(() => group.norm === Infinity)
      ? gradients.map((g) => ops.sign(g))
      : unitVector(gradients);
    active.forEach(({ p }, i) => {
      const [lr] = this.scalars(p.dtype, [numbers[0] as Param]);
      subtract(p, ops.mul(steps[i] as Tensor, lr));
    });
  }
}

/** The parts of a vector divided by its length, or zeros. */
function unitVector(parts: readonly Tensor[]): Tensor[] {
  // In float64, for a group may have parameters of both kinds.
  const join = (values: readonly Tensor[], f: (x: Tensor) => Tensor, two: typeof ops.add): Tensor =>
    values
      .filter((x) => x.size > 0)
      .map((x) => ops.to(f(x), 'float64'))
      .reduce((a, b) => two(a, b));
  if (parts.every((x) => x.size === 0)) return [...parts];
  const largest = join(parts, (x) => ops.max(ops.abs(x)), ops.maximum);
  const scale = ops.where(ops.eq(largest, 0), 1, largest);
  const scaled = parts.map((x) => ops.div(x, ops.to(scale, x.dtype)));
  // At least 1, unless all is 0.
  const squares = ops.maximum(
    join(scaled, (x) => ops.sum(ops.square(x)), ops.add),
    1,
  );
  return scaled.map((x) => ops.div(x, ops.to(ops.sqrt(squares), x.dtype)));
}
