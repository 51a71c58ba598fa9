import { defineKernel } from '../backend/backend.js';
import { adamKernel } from '../backend/js/optim.js';
import * as ops from '../ops/index.js';
import { emitOptim } from '../program/calls.js';
import type { Param } from '../program/emit.js';
import type { Tensor } from '../tensor/tensor.js';
import {
  type Active,
  checks,
  Optimizer,
  type OptionTable,
  type ParamGroup,
  type Params,
} from './optimizer.js';

const kernel = defineKernel('adam', adamKernel);

export interface AdamOptions {
  /** Learning rate. Default 0.001. */
  lr?: number;
  /** Decay rates of the two moments, in [0, 1). Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Added to the root of the second moment. Default 1e-8. */
  eps?: number;
  /** Adam: added to the gradient times the parameter, default 0. AdamW: see there, default 0.01. */
  weightDecay?: number;
  /** Divides by the largest second moment so far (Reddi et al., 2018). Default false. */
  amsgrad?: boolean;
  /** Climbs instead of descending. Default false. */
  maximize?: boolean;
}

function table(weightDecay: number): OptionTable<AdamOptions> {
  return {
    lr: [0.001, checks.notNegative],
    betas: [[0.9, 0.999], checks.fractions],
    eps: [1e-8, checks.notNegative],
    weightDecay: [weightDecay, checks.notNegative],
    amsgrad: [false, checks.flag],
    maximize: [false, checks.flag],
  };
}

/**
 * Adam (Kingma and Ba, 2015) as in PyTorch. With g' = ±g + weightDecay p: m = β1 m + (1 - β1) g'; v = β2 v +
 * (1 - β2) g'²; p -= lr / (1 - β1^t) · m / (√v / √(1 - β2^t) + eps).
 */
export class Adam extends Optimizer<AdamOptions> {
  /** Default of the option, which AdamW has otherwise. */
  protected static readonly weightDecay: number = 0;

  constructor(params: Params<AdamOptions>, options: AdamOptions = {}) {
    super(params, options, table(new.target.weightDecay));
  }

  /** Whether weight decay is taken off the parameter (AdamW) rather than added to the gradient. */
  protected get decoupled(): boolean {
    return false;
  }

  protected override update(group: ParamGroup<AdamOptions>, active: readonly Active[]): void {
    if (this.when(() => group.amsgrad)) {
      this.#amsgrad(group, active);
      return;
    }
    // One list for all steps: a compiled step makes no garbage.
    const list: number[] = [];
    const numbers = this.advance(active, () => {
      const { lr, betas, eps, weightDecay, maximize } = group;
      const beta1 = betas[0];
      const beta2 = betas[1];
      list[0] = lr;
      list[1] = beta1;
      list[2] = beta2;
      list[3] = eps;
      list[4] = weightDecay;
      list[5] = Number(this.decoupled);
      list[6] = Number(maximize);
      for (let i = 0; i < active.length; i++) {
        const { step } = (active[i] as Active).state;
        list[7 + 2 * i] = 1 - beta1 ** step;
        list[8 + 2 * i] = 1 - beta2 ** step;
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

  /** The same with the largest second moment so far in place of the second moment. */
  #amsgrad(group: ParamGroup<AdamOptions>, active: readonly Active[]): void {
    const numbers = this.advance(active, () => {
      const [beta1, beta2] = group.betas;
      const { lr, eps, weightDecay, maximize } = group;
      const sign = maximize ? -1 : 1;
      const [coupled, shrink] = this.decoupled ? [0, 1 - lr * weightDecay] : [weightDecay, 1];
      const out = [beta1, 1 - beta1, beta2, 1 - beta2, eps, sign, coupled, shrink];
      for (const { state } of active)
        out.push(lr / (1 - beta1 ** state.step), Math.sqrt(1 - beta2 ** state.step));
      return out;
    });
    active.forEach((a, i) => {
      const { p } = a;
      const [m, v] = [this.stateTensor(a, 'expAvg'), this.stateTensor(a, 'expAvgSq')];
      const largest = this.stateTensor(a, 'maxExpAvgSq');
      const own: Param[] = [...numbers.slice(0, 8), ...numbers.slice(8 + 2 * i, 10 + 2 * i)];
      const [beta1, rest1, beta2, rest2, eps, sign, coupled, shrink, rate, root2] = this.scalars(
        p.dtype,
        own,
      ) as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
      const value = p.detach();
      const g = ops.add(ops.mul(a.g, sign), ops.mul(value, coupled));
      m.copy_(ops.add(ops.mul(m, beta1), ops.mul(g, rest1)));
      v.copy_(ops.add(ops.mul(v, beta2), ops.mul(ops.square(g), rest2)));
      largest.copy_(ops.maximum(largest, v));
      const root = ops.add(ops.div(ops.sqrt(largest), root2), eps);
      value.copy_(ops.sub(ops.mul(value, shrink), ops.div(ops.mul(m, rate), root)));
    });
  }
}

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter, 2019): p is first multiplied by 1 - lr ·
 * weightDecay (default 0.01), and the gradient has no penalty.
 */
export class AdamW extends Adam {
  protected static override readonly weightDecay: number = 0.01;

  protected override get decoupled(): boolean {
    return true;
  }
}
