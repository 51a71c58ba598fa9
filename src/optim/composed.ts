import { ArgumentError } from '../errors.js';
import * as ops from '../ops/index.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ParamGroup } from './group.js';
import { type Active, Optimizer, type Params } from './optimizer.js';
import { checks, divisorEps, type OptionTable } from './options.js';

// Optimizers whose update is composed of tensor operations. By default all follow torch.optim; g is the gradient,
// negated with `maximize`, plus weightDecay times the parameter. In place means copy_: state and parameters
// keep their memory.

export interface Common {
  /** Learning rate. */
  lr?: number;
  /** Added to the gradient times the parameter. Default 0. */
  weightDecay?: number;
  /** Climbs instead of descending. Default false. */
  maximize?: boolean;
}

export const weightDecay = [0, checks.notNegative] as const;
export const maximize = [false, checks.flag] as const;
const decoupledWeightDecay = [false, checks.flag] as const;

/** Moves a mean by one step: mean = rate mean + rest value. */
export function moveMean(mean: Tensor, value: Tensor, rate: Tensor, rest: Tensor): void {
  mean.copy_(ops.add(ops.mul(mean, rate), ops.mul(value, rest)));
}

export abstract class Composed<O extends Common> extends Optimizer<O> {
  /** The gradient that the update sees. */
  protected gradient({ p, g }: Active, group: ParamGroup<O>, decay: Tensor): Tensor {
    const signed = this.when(() => (group as Common).maximize === true) ? ops.neg(g) : g;
    const decays = this.when(() => (group as Common).weightDecay !== 0);
    return decays ? ops.add(signed, ops.mul(p.detach(), decay)) : signed;
  }
}

/** p -= change, or with decoupled weight decay p = p shrink - change. */
export function subtract(p: Tensor, change: Tensor, shrink?: Tensor): void {
  const value = p.detach();
  value.copy_(ops.sub(shrink ? ops.mul(value, shrink) : value, change));
}

/** Weight decay of a group as what is added to the gradient and what the parameter is multiplied with. */
function decays(group: { lr: number; weightDecay: number; decoupledWeightDecay: boolean }): number[] {
  const { lr, weightDecay, decoupledWeightDecay } = group;
  return decoupledWeightDecay ? [0, 1 - lr * weightDecay] : [weightDecay, 1];
}

/** Options of RMSprop. */
export interface RMSpropOptions extends Common {
  /** Default 0.01. */
  lr?: number;
  /** Decay rate of the mean square, in [0, 1] (β in lecture 001). Default 0.99. */
  alpha?: number;
  /** Added to the root, or under it. Default 1e-8. May be 0: 0 / 0 counts as 0. */
  eps?: number;
  /**
   * Where eps stands. False (default), PyTorch's: g / (√s + eps). True, lecture 001's: g / √(s + eps), which needs an eps
   * of the size of the other's square.
   */
  epsInsideRoot?: boolean;
  /** Default 0. */
  momentum?: number;
  /** Takes the square of the mean off the mean square, which leaves the variance. Default false. */
  centered?: boolean;
}

const rmspropTable: OptionTable<RMSpropOptions> = {
  lr: [0.01, checks.notNegative],
  alpha: [0.99, checks.closedFraction],
  eps: [1e-8, checks.notNegative],
  epsInsideRoot: [false, checks.flag],
  weightDecay,
  momentum: [0, checks.notNegative],
  centered: [false, checks.flag],
  maximize,
};

/**
 * RMSprop (Tieleman and Hinton, 2012) as in PyTorch: s = α s + (1 - α) g²; d = g / (√s + eps); with momentum
 * buf = momentum buf + d; p -= lr d (or lr buf). Lecture 001 has d = g / √(s + eps): `epsInsideRoot`.
 */
export class RMSprop extends Composed<RMSpropOptions> {
  constructor(params: Params<RMSpropOptions>, options: RMSpropOptions = {}) {
    super(params, options, rmspropTable);
  }

  protected override update(group: ParamGroup<RMSpropOptions>, active: readonly Active[]): void {
    const numbers = this.advance(active, () => [
      group.lr,
      group.alpha,
      1 - group.alpha,
      divisorEps(group.eps),
      group.weightDecay,
      group.momentum,
    ]);
    const centered = this.when(() => group.centered);
    const withMomentum = this.when(() => group.momentum !== 0);
    // With 0 both are the same, and what stands for 0 is meant for beside the root.
    const inside = this.when(() => group.epsInsideRoot && group.eps !== 0);
    for (const a of active) {
      const [lr, alpha, rest, eps, decay, momentum] = this.scalars(a.p.dtype, numbers);
      const g = this.gradient(a, group, decay);
      const square = this.stateTensor(a, 'squareAvg');
      moveMean(square, ops.square(g), alpha, rest);
      let spread = square;
      if (centered) {
        const mean = this.stateTensor(a, 'gradAvg');
        moveMean(mean, g, alpha, rest);
        // A variance; rounding may leave it below 0, where it has no root.
        spread = ops.maximum(ops.sub(square, ops.square(mean)), 0);
      }
      const root = inside ? ops.sqrt(ops.add(spread, eps)) : ops.add(ops.sqrt(spread), eps);
      let d = ops.div(g, root);
      if (withMomentum) {
        const buffer = this.stateTensor(a, 'momentumBuffer');
        buffer.copy_(ops.add(ops.mul(buffer, momentum), d));
        d = buffer;
      }
      subtract(a.p, ops.mul(d, lr));
    }
  }
}

/** Options of Rprop. */
export interface RpropOptions {
  /** The first step size; with variant 'sign' that of every step. Default 0.01. */
  lr?: number;
  /**
   * Factors of the step size where the sign of the gradient changed, in (0, 1), and where it stayed, > 1. Default [0.5, 1.2].
   */
  etas?: readonly [number, number];
  /** Least and largest step size. Default [1e-6, 50]. */
  stepSizes?: readonly [number, number];
  /**
   * What a change of sign does, and whether there are step sizes at all:
   *
   * - `'irprop-'` (default), PyTorch's (iRprop⁻ of Igel and Hüsken, 2003): the size shrinks, the weight waits for one step,
   *   and the gradient counts as 0 in the next comparison. The size stays where a gradient is 0.
   * - `'rprop-'`, lecture 001's: "times 1.2 if the signs of the last two gradients agree, otherwise times 0.5", and every
   *   step goes by sign(g) · size. Signs agree where the product of the gradients is > 0; the first step, which has no
   *   gradient before it, leaves the sizes.
   * - `'sign'`, lecture 001's first formula, without sizes of its own for each weight: p -= lr g / √(g² + eps).
   */
  variant?: 'irprop-' | 'rprop-' | 'sign';
  /** With variant 'sign' what stands under the root. Default 0: the sign itself, 0 where the gradient is 0. */
  eps?: number;
  /** Climbs instead of descending. Default false. */
  maximize?: boolean;
}

const rpropTable: OptionTable<RpropOptions> = {
  lr: [0.01, checks.notNegative],
  etas: [[0.5, 1.2], checks.positives],
  stepSizes: [[1e-6, 50], checks.positives],
  variant: ['irprop-', checks.oneOf('irprop-', 'rprop-', 'sign')],
  eps: [0, checks.notNegative],
  maximize,
};

/**
 * Rprop (Riedmiller and Braun, 1993) as in PyTorch: each element has a step size of its own, which grows
 * while the sign of its gradient stays and shrinks where it changed (there the gradient counts as 0); p -=
 * sign(g) · size. For full batches: of mini-batches it follows the majority and not the mean (lecture 001). The lecture's
 * forms are those of `variant`.
 */
export class Rprop extends Optimizer<RpropOptions> {
  constructor(params: Params<RpropOptions>, options: RpropOptions = {}) {
    super(params, options, rpropTable);
  }

  protected override validate({ eps, variant, etas, stepSizes }: Required<RpropOptions>): void {
    const [shrink, grow] = etas;
    const [least, largest] = stepSizes;
    if (!(shrink < 1 && grow > 1)) {
      throw new ArgumentError(
        `Rprop: etas are a factor < 1 that shrinks steps and one > 1 that makes them grow, not [${shrink}, ${grow}]`,
      );
    }
    if (eps !== 0 && variant !== 'sign') {
      throw new ArgumentError(`Rprop: eps goes with variant 'sign', not '${variant}': leave it out`);
    }
    if (least > largest) {
      throw new ArgumentError(`Rprop: stepSizes are the least and the largest, not [${least}, ${largest}]`);
    }
  }

  protected override update(group: ParamGroup<RpropOptions>, active: readonly Active[]): void {
    const climbs = this.when(() => group.maximize);
    if (this.when(() => group.variant === 'sign')) {
      this.#sign(group, active, climbs);
      return;
    }
    const waits = this.when(() => group.variant === 'irprop-');
    const numbers = this.advance(active, () => {
      const [shrink, grow] = group.etas;
      return [
        grow,
        ...group.stepSizes,
        ...active.map(({ state }) => (!waits && state.step === 1 ? 1 : shrink)),
      ];
    });
    active.forEach((a, i) => {
      const own = [...numbers.slice(0, 3), ...numbers.slice(3 + i, 4 + i)];
      const [grow, least, largest, shrink] = this.scalars(a.p.dtype, own);
      const g = climbs ? ops.neg(a.g) : a.g;
      const before = this.stateTensor(a, 'prev');
      const size = this.stateTensor(a, 'stepSize', group.lr);
      // Signs and not gradients, whose product may underflow.
      const agreement = ops.mul(ops.sign(g), ops.sign(before));
      const turned = ops.lt(agreement, 0);
      const otherwise = waits ? ops.where(turned, shrink, 1) : shrink;
      const factor = ops.where(ops.gt(agreement, 0), grow, otherwise);
      size.copy_(ops.minimum(ops.maximum(ops.mul(size, factor), least), largest));
      before.copy_(waits ? ops.where(turned, 0, g) : g);
      subtract(a.p, ops.mul(ops.sign(before), size));
    });
  }

  /** p -= lr g / √(g² + eps). */
  #sign(group: ParamGroup<RpropOptions>, active: readonly Active[], climbs: boolean): void {
    const numbers = this.advance(active, () => [climbs ? -group.lr : group.lr, group.eps]);
    const exact = this.when(() => group.eps === 0);
    for (const { p, g } of active) {
      const [lr, eps] = this.scalars(p.dtype, numbers);
      const d = exact ? ops.sign(g) : ops.div(g, ops.sqrt(ops.add(ops.square(g), eps)));
      subtract(p, ops.mul(d, lr));
    }
  }
}

/** Options of Adagrad. */
export interface AdagradOptions extends Common {
  /** Default 0.01. */
  lr?: number;
  /** lr / (1 + (t - 1) lrDecay) is used in step t. Default 0. */
  lrDecay?: number;
  /** What the sums of squares start with. Default 0. */
  initialAccumulatorValue?: number;
  /** Added to the root. Default 1e-10. May be 0: 0 / 0 counts as 0. */
  eps?: number;
}

const adagradTable: OptionTable<AdagradOptions> = {
  lr: [0.01, checks.notNegative],
  lrDecay: [0, checks.notNegative],
  weightDecay,
  initialAccumulatorValue: [0, checks.notNegative],
  eps: [1e-10, checks.notNegative],
  maximize,
};

/** Adagrad (Duchi et al., 2011): s += g²; p -= lr / (1 + (t - 1) lrDecay) · g / (√s + eps). */
export class Adagrad extends Composed<AdagradOptions> {
  constructor(params: Params<AdagradOptions>, options: AdagradOptions = {}) {
    super(params, options, adagradTable);
  }

  protected override update(group: ParamGroup<AdagradOptions>, active: readonly Active[]): void {
    const numbers = this.advance(active, () => [
      divisorEps(group.eps),
      group.weightDecay,
      ...active.map(({ state }) => group.lr / (1 + (state.step - 1) * group.lrDecay)),
    ]);
    active.forEach((a, i) => {
      const own = [...numbers.slice(0, 2), ...numbers.slice(2 + i, 3 + i)];
      const [eps, decay, lr] = this.scalars(a.p.dtype, own);
      const g = this.gradient(a, group, decay);
      const sum = this.stateTensor(a, 'sum', group.initialAccumulatorValue);
      sum.copy_(ops.add(sum, ops.square(g)));
      subtract(a.p, ops.div(ops.mul(g, lr), ops.add(ops.sqrt(sum), eps)));
    });
  }
}

/** Options of Adadelta. */
export interface AdadeltaOptions extends Common {
  /** Default 1. */
  lr?: number;
  /** Decay rate of the means, in [0, 1]. Default 0.9. */
  rho?: number;
  /** Added under the roots. Default 1e-6. */
  eps?: number;
}

const adadeltaTable: OptionTable<AdadeltaOptions> = {
  lr: [1, checks.notNegative],
  rho: [0.9, checks.closedFraction],
  eps: [1e-6, checks.notNegative],
  weightDecay,
  maximize,
};

/**
 * Adadelta (Zeiler, 2012): s = ρ s + (1 - ρ) g²; d = √(u + eps) / √(s + eps) · g; u = ρ u + (1 - ρ) d²; p -=
 * lr d.
 */
export class Adadelta extends Composed<AdadeltaOptions> {
  constructor(params: Params<AdadeltaOptions>, options: AdadeltaOptions = {}) {
    super(params, options, adadeltaTable);
  }

  protected override update(group: ParamGroup<AdadeltaOptions>, active: readonly Active[]): void {
    const numbers = this.advance(active, () => [
      group.lr,
      group.rho,
      1 - group.rho,
      group.eps,
      divisorEps(group.eps),
      group.weightDecay,
    ]);
    for (const a of active) {
      const [lr, rho, rest, eps, floor, decay] = this.scalars(a.p.dtype, numbers);
      const g = this.gradient(a, group, decay);
      const square = this.stateTensor(a, 'squareAvg');
      const moved = this.stateTensor(a, 'accDelta');
      moveMean(square, ops.square(g), rho, rest);
      const d = ops.mul(ops.div(ops.sqrt(ops.add(moved, eps)), ops.sqrt(ops.add(square, floor))), g);
      moveMean(moved, ops.square(d), rho, rest);
      subtract(a.p, ops.mul(d, lr));
    }
  }
}

/** Options of Adamax. */
export interface AdamaxOptions extends Common {
  /** Default 0.002. */
  lr?: number;
  /** Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Default 1e-8. */
  eps?: number;
}

const adamaxTable: OptionTable<AdamaxOptions> = {
  lr: [0.002, checks.notNegative],
  betas: [[0.9, 0.999], checks.fractions],
  eps: [1e-8, checks.notNegative],
  weightDecay,
  maximize,
};

/** Adamax (Kingma and Ba, 2015): m as in Adam; u = max(β2 u, |g| + eps); p -= lr / (1 - β1^t) · m / u. */
export class Adamax extends Composed<AdamaxOptions> {
  constructor(params: Params<AdamaxOptions>, options: AdamaxOptions = {}) {
    super(params, options, adamaxTable);
  }

  protected override update(group: ParamGroup<AdamaxOptions>, active: readonly Active[]): void {
    const numbers = this.advance(active, () => {
      const [beta1, beta2] = group.betas;
      const rates = active.map(({ state }) => group.lr / (1 - beta1 ** state.step));
      return [beta1, 1 - beta1, beta2, divisorEps(group.eps), group.weightDecay, ...rates];
    });
    active.forEach((a, i) => {
      const own = [...numbers.slice(0, 5), ...numbers.slice(5 + i, 6 + i)];
      const [beta1, rest1, beta2, eps, decay, rate] = this.scalars(a.p.dtype, own);
      const g = this.gradient(a, group, decay);
      const m = this.stateTensor(a, 'expAvg');
      const u = this.stateTensor(a, 'expInf');
      moveMean(m, g, beta1, rest1);
      u.copy_(ops.maximum(ops.mul(u, beta2), ops.add(ops.abs(g), eps)));
      subtract(a.p, ops.mul(ops.div(m, u), rate));
    });
  }
}

/** Options of NAdam. */
export interface NAdamOptions extends Common {
  /** Default 0.002. */
  lr?: number;
  /** Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Default 1e-8. */
  eps?: number;
  /** How fast the momentum approaches β1. Default 0.004. */
  momentumDecay?: number;
  /** Takes weight decay off the parameter, p ← p (1 - lr · weightDecay), as in AdamW. Default false. */
  decoupledWeightDecay?: boolean;
}

const nadamTable: OptionTable<NAdamOptions> = {
  lr: [0.002, checks.notNegative],
  betas: [[0.9, 0.999], checks.fractions],
  eps: [1e-8, checks.notNegative],
  weightDecay,
  momentumDecay: [0.004, checks.notNegative],
  decoupledWeightDecay,
  maximize,
};

/**
 * NAdam (Dozat, 2016): Adam with Nesterov momentum. With μ_t = β1 (1 - 0.96^(t · momentumDecay) / 2) and M_t
 * = μ_1 ⋯ μ_t: p -= lr ((1 - μ_t) / (1 - M_t) · g + μ_(t+1) / (1 - M_(t+1)) · m) / (√(v / (1 - β2^t)) + eps).
 */
export class NAdam extends Composed<NAdamOptions> {
  constructor(params: Params<NAdamOptions>, options: NAdamOptions = {}) {
    super(params, options, nadamTable);
  }

  protected override update(group: ParamGroup<NAdamOptions>, active: readonly Active[]): void {
    let products: (number | undefined)[] = [];
    const numbers = this.advance(
      active,
      () => {
        const [beta1, beta2] = group.betas;
        const { lr, momentumDecay } = group;
        const out = [beta1, 1 - beta1, beta2, 1 - beta2, divisorEps(group.eps), ...decays(group)];
        products = active.map(({ state }) => state.numbers.muProduct);
        for (const { state } of active) {
          const t = state.step;
          const mu = beta1 * (1 - 0.5 * 0.96 ** (t * momentumDecay));
          const next = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentumDecay));
          const product = (state.numbers.muProduct ?? 1) * mu;
          state.numbers.muProduct = product;
          out.push(1 - beta2 ** t, (lr * (1 - mu)) / (1 - product), (lr * next) / (1 - product * next));
        }
        return out;
      },
      () => {
        active.forEach(({ state }, i) => {
          const before = products[i];
          if (before === undefined) delete state.numbers.muProduct;
          else state.numbers.muProduct = before;
        });
      },
    );
    const decoupled = this.when(() => group.decoupledWeightDecay);
    active.forEach((a, i) => {
      const own = [...numbers.slice(0, 7), ...numbers.slice(7 + 3 * i, 10 + 3 * i)];
      const [beta1, rest1, beta2, rest2, eps, decay, shrink, c2, ofGradient, ofMean] = this.scalars(
        a.p.dtype,
        own,
      );
      const g = this.gradient(a, group, decay);
      const m = this.stateTensor(a, 'expAvg');
      const v = this.stateTensor(a, 'expAvgSq');
      moveMean(m, g, beta1, rest1);
      moveMean(v, ops.square(g), beta2, rest2);
      const root = ops.add(ops.sqrt(ops.div(v, c2)), eps);
      const d = ops.div(ops.add(ops.mul(g, ofGradient), ops.mul(m, ofMean)), root);
      subtract(a.p, d, decoupled ? shrink : undefined);
    });
  }
}

/** Options of RAdam. */
export interface RAdamOptions extends Common {
  /** Default 0.001. */
  lr?: number;
  /** Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Default 1e-8. */
  eps?: number;
  /** Takes weight decay off the parameter, p ← p (1 - lr · weightDecay), as in AdamW. Default false. */
  decoupledWeightDecay?: boolean;
}

const radamTable: OptionTable<RAdamOptions> = {
  lr: [0.001, checks.notNegative],
  betas: [[0.9, 0.999], checks.fractions],
  eps: [1e-8, checks.notNegative],
  weightDecay,
  decoupledWeightDecay,
  maximize,
};

/**
 * RAdam (Liu et al., 2020): Adam whose adaptive rate is rectified, and left out while its variance is
 * unknown. With ρ∞ = 2 / (1 - β2) - 1 and ρ = ρ∞ - 2 t β2^t / (1 - β2^t): p -= lr m / (1 - β1^t) · r √(1 -
 * β2^t) / (√v + eps) where ρ > 5, else p -= lr m / (1 - β1^t), with r² = (ρ - 4)(ρ - 2) ρ∞ / ((ρ∞ - 4)(ρ∞ -
 * 2) ρ).
 */
export class RAdam extends Composed<RAdamOptions> {
  constructor(params: Params<RAdamOptions>, options: RAdamOptions = {}) {
    super(params, options, radamTable);
  }

  protected override update(group: ParamGroup<RAdamOptions>, active: readonly Active[]): void {
    const numbers = this.advance(active, () => {
      const [beta1, beta2] = group.betas;
      const out = [beta1, 1 - beta1, beta2, 1 - beta2, divisorEps(group.eps), ...decays(group)];
      const infinite = 2 / (1 - beta2) - 1;
      for (const { state } of active) {
        const t = state.step;
        const c2 = 1 - beta2 ** t;
        const rho = infinite - (2 * t * beta2 ** t) / c2;
        const rate = group.lr / (1 - beta1 ** t);
        const rectified = rho > 5;
        const r = rectified
          ? Math.sqrt(((rho - 4) * (rho - 2) * infinite) / ((infinite - 4) * (infinite - 2) * rho))
          : 0;
        // Both forms are computed and one has the factor 0: which one may change from one replay to the next.
        out.push(rate * r * Math.sqrt(c2), rectified ? 0 : rate);
      }
      return out;
    });
    const decoupled = this.when(() => group.decoupledWeightDecay);
    active.forEach((a, i) => {
      const own = [...numbers.slice(0, 7), ...numbers.slice(7 + 2 * i, 9 + 2 * i)];
      const [beta1, rest1, beta2, rest2, eps, decay, shrink, adaptive, plain] = this.scalars(a.p.dtype, own);
      const g = this.gradient(a, group, decay);
      const m = this.stateTensor(a, 'expAvg');
      const v = this.stateTensor(a, 'expAvgSq');
      moveMean(m, g, beta1, rest1);
      moveMean(v, ops.square(g), beta2, rest2);
      const rate = ops.add(ops.div(adaptive, ops.add(ops.sqrt(v), eps)), plain);
      subtract(a.p, ops.mul(m, rate), decoupled ? shrink : undefined);
    });
  }
}
