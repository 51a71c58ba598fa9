import { defineKernel } from '../backend/backend.js';
import { sgdKernel, sgdMomentumKernel } from '../backend/js/optim.js';
import { ArgumentError } from '../errors.js';
import { emitOptim } from '../program/calls.js';
import type { Param } from '../program/emit.js';
import {
  type Active,
  checks,
  Optimizer,
  type OptionTable,
  type ParamGroup,
  type Params,
} from './optimizer.js';

const plain = defineKernel('sgd', sgdKernel);
const withMomentum = defineKernel('sgdMomentum', sgdMomentumKernel);

export interface SGDOptions {
  /** Learning rate. Default 0.001. */
  lr?: number;
  /** Default 0. */
  momentum?: number;
  /** Share of the gradient that does not enter the momentum. Default 0. */
  dampening?: number;
  /** Added to the gradient times the parameter (L2 penalty). Default 0. */
  weightDecay?: number;
  /** Looks ahead along the momentum; needs momentum > 0 and no dampening. Default false. */
  nesterov?: boolean;
  /** Climbs instead of descending. Default false. */
  maximize?: boolean;
}

const table: OptionTable<SGDOptions> = {
  lr: [0.001, checks.notNegative],
  momentum: [0, checks.notNegative],
  dampening: [0, checks.finite],
  weightDecay: [0, checks.notNegative],
  nesterov: [false, checks.flag],
  maximize: [false, checks.flag],
};

/**
 * Stochastic gradient descent as in PyTorch. With g' = ±g + weightDecay p: buf = momentum buf + (1 -
 * dampening) g' (g' itself in the first step); p -= lr d, where d is g' without momentum, g' + momentum buf
 * with nesterov, else buf.
 */
export class SGD extends Optimizer<SGDOptions> {
  constructor(params: Params<SGDOptions>, options: SGDOptions = {}) {
    super(params, options, table);
  }

  protected override validate(o: Required<SGDOptions>): void {
    if (o.nesterov && !(o.momentum > 0 && o.dampening === 0)) {
      throw new ArgumentError(
        `SGD: nesterov needs momentum > 0 and dampening 0, not momentum ${o.momentum} and dampening ${o.dampening}`,
      );
    }
  }

  protected override update(group: ParamGroup<SGDOptions>, active: readonly Active[]): void {
    if (!this.when(() => group.momentum !== 0)) {
      // One list for all steps: a compiled step makes no garbage.
      const list: number[] = [];
      const numbers = this.advance([], () => {
        list[0] = group.lr;
        list[1] = group.weightDecay;
        list[2] = Number(group.maximize);
        return list;
      });
      for (const { p, g } of active) emitOptim(plain, p.size, [p.view], [p.view, g.view], numbers);
      return;
    }
    // A parameter's first step with momentum starts its buffer.
    const list: number[] = [];
    const numbers = this.advance(active, () => {
      list[0] = group.lr;
      list[1] = group.weightDecay;
      list[2] = Number(group.maximize);
      list[3] = group.momentum;
      list[4] = group.dampening;
      list[5] = Number(group.nesterov);
      for (let i = 0; i < active.length; i++) list[6 + i] = Number((active[i] as Active).state.step === 1);
      return list;
    });
    const attrs = numbers.slice(0, 7);
    for (let i = 0; i < active.length; i++) {
      const a = active[i] as Active;
      const { view } = a.p;
      const buffer = this.stateTensor(a, 'momentumBuffer').view;
      attrs[6] = numbers[6 + i] as Param;
      emitOptim(withMomentum, view.size, [view, buffer], [view, a.g.view], attrs);
    }
  }
}
