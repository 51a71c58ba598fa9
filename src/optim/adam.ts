import { defineKernel } from '../backend/backend.js';
import { adamKernel } from '../backend/js/optim.js';
import { ArgumentError } from '../errors.js';
import * as ops from '../ops/index.js';
import { emitOptim } from '../program/calls.js';
import type { Param } from '../program/emit.js';
import type { ParamGroup } from './group.js';
import { type Active, Optimizer, type Params } from './optimizer.js';
import { checks, divisorEps, type OptionTable } from './options.js';

const kernel = defineKernel('adam', adamKernel);

/** Options of Adam. */
export interface AdamOptions {
  /** Learning rate. Default 0.001. */
  lr?: number;
  /** Decay rates of the two moments, in [0, 1). Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /**
   * Added to the root of the second moment. Default 1e-8; lecture 004 takes 1e-6. May be 0: a weight that never had a
   * gradient then stays (0 / 0 counts as 0).
   */
  eps?: number;
  /** Adam: added to the gradient times the parameter, default 0. AdamW: see there, default 0.01. */
  weightDecay?: number;
  /** Divides by the largest second moment so far (Reddi et al., 2018). Default false. */
  amsgrad?: boolean;
  /** Climbs instead of descending. Default false. */
  maximize?: boolean;
  /**
   * Takes weight decay off the parameter, p ← p (1 - lr · weightDecay), instead of adding it to the gradient: this makes
   * Adam AdamW. Default false; always true of AdamW.
   */
  decoupledWeightDecay?: boolean;
  /**
   * Divides the moments, which begin at 0, by 1 - β1^t and 1 - β2^t. Default true, the "Adam with bias correction" of
   * lectures 001 and 004; false gives the first form of lectures 000 and 004: θ ← θ - α u / (√v + eps) with u = β1 u +
   * (1 - β1) g and v = β2 v + (1 - β2) g².
   */
  biasCorrection?: boolean;
  /**
   * What the scale of the gradient is estimated by. `'square'` (default): v = β2 v + (1 - β2) g², and √v divides.
   * `'absolute'`: v = β2 v + (1 - β2) |g|, and v itself divides; the variant that lectures 000 and 004 name, the "average
   * of absolute magnitude rather than squared".
   */
  secondMoment?: 'square' | 'absolute';
}

function table(weightDecay: number, decoupled: boolean): OptionTable<AdamOptions> {
  return {
    lr: [0.001, checks.notNegative],
    betas: [[0.9, 0.999], checks.fractions],
    eps: [1e-8, checks.notNegative],
    weightDecay: [weightDecay, checks.notNegative],
    amsgrad: [false, checks.flag],
    maximize: [false, checks.flag],
    decoupledWeightDecay: [decoupled, checks.flag],
    biasCorrection: [true, checks.flag],
    secondMoment: ['square', checks.oneOf('square', 'absolute')],
  };
}

/**
 * Adam (Kingma and Ba, 2015) as in PyTorch. With g' = ±g + weightDecay p: m = β1 m + (1 - β1) g'; v = β2 v +
 * (1 - β2) g'²; p -= lr / (1 - β1^t) · m / (√v / √(1 - β2^t) + eps).
 *
 * With constant statistics of the gradient a step is at most lr long in every coordinate, and shorter where the gradient
 * changes its sign: it anneals by itself near an optimum (lecture 001). A gradient after a long silence makes a step of lr
 * (1 - β1) / √(1 - β2), and no sequence of gradients one longer than lr (1 - β1) / √((1 - β2) (1 - β1² / β2)) once both
 * bias corrections have faded, if β1² < β2. Without memory (betas [0, 0], eps 0) this is SignSGD.
 */
export class Adam extends Optimizer<AdamOptions> {
  /** Defaults of the options that AdamW has otherwise. */
  protected static readonly weightDecay: number = 0;
  /** The default of decoupledWeightDecay. */
  protected static readonly decoupled: boolean = false;

  constructor(params: Params<AdamOptions>, options: AdamOptions = {}) {
    super(params, options, table(new.target.weightDecay, new.target.decoupled));
  }

  protected override update(group: ParamGroup<AdamOptions>, active: readonly Active[]): void {
    if (this.when(() => group.amsgrad || group.secondMoment === 'absolute')) {
      this.#composed(group, active);
      return;
    }
    // One list for all steps: a compiled step makes no garbage.
    const list: number[] = [];
    const numbers = this.advance(active, () => {
      const { lr, betas, eps, weightDecay, decoupledWeightDecay, maximize, biasCorrection } = group;
      const beta1 = betas[0];
      const beta2 = betas[1];
      list[0] = lr;
      list[1] = beta1;
      list[2] = beta2;
      list[3] = divisorEps(eps);
      list[4] = weightDecay;
      list[5] = Number(decoupledWeightDecay);
      list[6] = Number(maximize);
      for (let i = 0; i < active.length; i++) {
        const { step } = (active[i] as Active).state;
        list[7 + 2 * i] = biasCorrection ? 1 - beta1 ** step : 1;
        list[8 + 2 * i] = biasCorrection ? 1 - beta2 ** step : 1;
      }
      return list;
    });
    const attrs = numbers.slice(0, 9);
    for (let i = 0; i < active.length; i++) {
      const a = active[i] as Active;
      const { view } = a.p;
      const m = this.stateTensor(a, 'expAvg').view;
      const v = this.stateTensor(a, 'expAvgSq').view;
      attrs[7] = numbers[7 + 2 * i] as Param;
      attrs[8] = numbers[8 + 2 * i] as Param;
      emitOptim(kernel, view.size, [view, m, v], [view, a.g.view], attrs);
    }
  }

  /** The same with the largest second moment so far in place of the second moment, or with a mean of absolute values. */
  #composed(group: ParamGroup<AdamOptions>, active: readonly Active[]): void {
    const absolute = this.when(() => group.secondMoment === 'absolute');
    const amsgrad = this.when(() => group.amsgrad);
    const numbers = this.advance(active, () => {
      const [beta1, beta2] = group.betas;
      const { lr, weightDecay, biasCorrection } = group;
      const sign = group.maximize ? -1 : 1;
      const [coupled, shrink] = group.decoupledWeightDecay ? [0, 1 - lr * weightDecay] : [weightDecay, 1];
      const out = [beta1, 1 - beta1, beta2, 1 - beta2, divisorEps(group.eps), sign, coupled, shrink];
      for (const { state } of active) {
        const c1 = biasCorrection ? 1 - beta1 ** state.step : 1;
        const c2 = biasCorrection ? 1 - beta2 ** state.step : 1;
        out.push(lr / c1, absolute ? c2 : Math.sqrt(c2));
      }
      return out;
    });
    active.forEach((a, i) => {
      const { p } = a;
      const m = this.stateTensor(a, 'expAvg');
      const v = this.stateTensor(a, absolute ? 'expAvgAbs' : 'expAvgSq');
      const own: Param[] = [...numbers.slice(0, 8), ...numbers.slice(8 + 2 * i, 10 + 2 * i)];
      const [beta1, rest1, beta2, rest2, eps, sign, coupled, shrink, rate, correction] = this.scalars(
        p.dtype,
        own,
      );
      const value = p.detach();
      const g = ops.add(ops.mul(a.g, sign), ops.mul(value, coupled));
      m.copy_(ops.add(ops.mul(m, beta1), ops.mul(g, rest1)));
      v.copy_(ops.add(ops.mul(v, beta2), ops.mul(absolute ? ops.abs(g) : ops.square(g), rest2)));
      let scale = v;
      if (amsgrad) {
        scale = this.stateTensor(a, absolute ? 'maxExpAvgAbs' : 'maxExpAvgSq');
        scale.copy_(ops.maximum(scale, v));
      }
      if (!absolute) scale = ops.sqrt(scale);
      const divisor = ops.add(ops.div(scale, correction), eps);
      value.copy_(ops.sub(ops.mul(value, shrink), ops.div(ops.mul(m, rate), divisor)));
    });
  }
}

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter, 2019): p is first multiplied by 1 - lr ·
 * weightDecay (default 0.01), and the gradient has no penalty.
 */
export class AdamW extends Adam {
  protected static override readonly weightDecay: number = 0.01;
  /** The default of decoupledWeightDecay. */
  protected static override readonly decoupled: boolean = true;

  protected override validate(options: Required<AdamOptions>): void {
    if (!options.decoupledWeightDecay) {
      throw new ArgumentError('AdamW: its weight decay is decoupled; use Adam for the other kind');
    }
  }
}
