import { defineKernel } from '../backend/backend.js';
import { sgdKernel, sgdMomentumKernel } from '../backend/js/optim.js';
import { ArgumentError } from '../errors.js';
import * as ops from '../ops/index.js';
import { emitOptim } from '../program/calls.js';
import type { Param } from '../program/emit.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ParamGroup } from './group.js';
import { type Active, Optimizer, type Params } from './optimizer.js';
import { checks, type OptionTable } from './options.js';

const plain = defineKernel('sgd', sgdKernel);
const withMomentum = defineKernel('sgdMomentum', sgdMomentumKernel);

/** Options of SGD. */
export interface SGDOptions {
  /** Learning rate. Default 0.001. */
  lr?: number;
  /** How much of the momentum is kept from step to step, >= 0 (β, in lecture 001 α). Default 0: none. */
  momentum?: number;
  /**
   * How gradients enter the momentum u (which begins at 0) and u the parameters; g is the gradient, β the momentum, α the
   * learning rate:
   *
   * - `'accumulation'` (default), PyTorch's form and the first alternative of lectures 000 and 004: u ← β u + g (with
   *   `dampening` d: + (1 - d) g, but g in the first step); θ ← θ - α u.
   * - `'average'`, the moving average of lectures 000, 002 and 004: u ← β u + (1 - β) g; θ ← θ - α u. Keeps u in the
   *   scale of the gradient. From the first step on, which is where it differs from `dampening: momentum`.
   * - `'velocity'`, the form of lecture 001 (m ← α m - η g; θ ← θ + m, where m = -u) and the second alternative of 000 and
   *   004: u ← β u + α g; θ ← θ - u. Steps like an accumulation while the learning rate stays; a change of the rate
   *   acts on the gradients that come, not on the momentum there is.
   */
  momentumForm?: 'accumulation' | 'average' | 'velocity';
  /**
   * "Unbiases" the moving average (lecture 004): step t, counted from 1, takes θ ← θ - α u / (1 - β^t), so that the first
   * steps are as long as the later ones. Needs `momentumForm: 'average'` and momentum < 1. Default false.
   *
   * Lecture 000 writes u_t / (1 - β^(t+1)), with the momentum before the step, which is 0 in the first: a slip, for its
   * other formulas step with u_(t+1), as 004 does here too.
   */
  biasCorrection?: boolean;
  /** Share of the gradient that does not enter the momentum (of the form 'accumulation'). Default 0. */
  dampening?: number;
  /** Added to the gradient times the parameter (L2 penalty). Default 0. */
  weightDecay?: number;
  /**
   * Nesterov's momentum; needs momentum > 0.
   *
   * - `true`: PyTorch's form, where the gradient is that at the parameters: u ← β u + g; θ ← θ - α (g + β u). Needs
   *   momentumForm 'accumulation' and no dampening. (Written for the points at which gradients are taken, it is the
   *   look-ahead by α β u of Sutskever et al., 2013.)
   * - `'lookahead'`: the form of lecture 004, u ← β u + (1 - β) ∇f(θ - α u); θ ← θ - α u, with `momentumForm: 'average'`;
   *   the other forms take the gradient at the point where u alone would lead in the same way. step() needs a closure: it
   *   is called with the parameters at θ - α u, which are put back before the update. What it returns is what it computed
   *   there, too. A weight decay is that of this point, as if the penalty were a part of f.
   *
   * Lecture 000 has the same but for θ ← θ - α u_t, which steps with the momentum from before the gradient: a slip, that
   * would make each step repeat the look-ahead without the gradient found there. Default false.
   */
  nesterov?: boolean | 'lookahead';
  /** Climbs instead of descending. Default false. */
  maximize?: boolean;
}

const table: OptionTable<SGDOptions> = {
  lr: [0.001, checks.notNegative],
  momentum: [0, checks.notNegative],
  momentumForm: ['accumulation', checks.oneOf('accumulation', 'average', 'velocity')],
  biasCorrection: [false, checks.flag],
  dampening: [0, checks.finite],
  weightDecay: [0, checks.notNegative],
  nesterov: [false, checks.oneOf(false, true, 'lookahead')],
  maximize: [false, checks.flag],
};

/**
 * Gradient descent, θ ← θ - α g: stochastic where g is the gradient of a mini-batch. As in PyTorch unless options say
 * otherwise. With g' = ±g + weightDecay p: buf = momentum buf + (1 - dampening) g' (g' itself in the first step); p -= lr d,
 * where d is g' without momentum, g' + momentum buf with nesterov, else buf. The forms of momentum that the lectures write
 * are those of the options momentumForm, biasCorrection and nesterov; of these, some exclude each other.
 *
 * @throws ArgumentError naming options that do not exist, are out of range or contradict each other; DTypeError for
 * parameters that are neither float32 nor float64.
 */
export class SGD extends Optimizer<SGDOptions> {
  constructor(params: Params<SGDOptions>, options: SGDOptions = {}) {
    super(params, options, table);
  }

  protected override validate(o: Required<SGDOptions>): void {
    const { momentum, momentumForm: form, dampening, nesterov } = o;
    if (nesterov === true && !(momentum > 0 && dampening === 0 && form === 'accumulation')) {
      wrong(
        `nesterov needs momentum > 0 and dampening 0, not momentum ${momentum} and dampening ${dampening}, and ` +
          `momentumForm 'accumulation', not '${form}' (nesterov: 'lookahead' goes with every form)`,
      );
    }
    if (nesterov === 'lookahead' && !(momentum > 0))
      wrong(`nesterov 'lookahead' needs momentum > 0, not ${momentum}`);
    if (form !== 'accumulation' && dampening !== 0) {
      wrong(`dampening goes with momentumForm 'accumulation', not '${form}': leave it out`);
    }
    if (form === 'average' && momentum > 1) {
      wrong(`a moving average needs momentum <= 1, not ${momentum}`);
    }
    if (!o.biasCorrection) return;
    if (form !== 'average') {
      wrong(`biasCorrection corrects a moving average: it needs momentumForm 'average', not '${form}'`);
    }
    if (momentum >= 1) wrong(`biasCorrection needs momentum < 1, not ${momentum}`);
    if (nesterov !== false) {
      wrong("biasCorrection and nesterov 'lookahead' exclude each other: take one of them");
    }
  }

  /**
   * Updates every parameter that has a gradient. A closure is called first, with recording switched on, to compute the loss
   * and its gradients; its value is returned. With nesterov 'lookahead' it is called at the look-ahead point.
   *
   * @throws ArgumentError where nesterov is 'lookahead' and there is no closure.
   */
  override step(): undefined;
  override step<T>(closure: () => T): T;
  override step<T>(closure?: () => T): T | undefined {
    if (!this.when(() => this.paramGroups.some(looksAhead))) {
      return closure === undefined ? super.step() : super.step(closure);
    }
    if (typeof closure !== 'function') {
      throw new ArgumentError(
        "SGD.step: with nesterov 'lookahead' the gradient is that at θ - lr · momentum: give step() a function that " +
          'computes the loss and calls backward()',
      );
    }
    return super.step(() => {
      const restore = this.#lookAhead();
      try {
        return closure();
      } finally {
        restore();
      }
    });
  }

  /** Moves the parameters to where the momentum alone would lead; returns what puts them back. */
  #lookAhead(): () => void {
    const moved: [Tensor, Tensor][] = [];
    for (const group of this.paramGroups) {
      if (!this.when(() => looksAhead(group))) continue;
      const numbers = this.advance([], () => [rateOf(group)]);
      for (const p of group.params) {
        if (!p.requiresGrad) continue;
        const value = p.detach();
        const u = this.stateTensor({ p, state: this.stateOf(p) }, 'momentumBuffer');
        const [rate] = this.scalars(p.dtype, numbers);
        moved.push([value, value.clone()]);
        value.copy_(ops.sub(value, ops.mul(u, rate)));
      }
    }
    return () => {
      for (const [value, before] of moved) value.copy_(before);
    };
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
    const decaysAhead = this.when(() => looksAhead(group) && group.weightDecay !== 0);
    const gradients = decaysAhead ? this.#decayedAhead(group, active) : active.map(({ g }) => g);
    if (this.when(() => group.momentumForm === 'velocity')) {
      this.#velocity(group, active, gradients);
      return;
    }
    const list: number[] = [];
    const numbers = this.advance(active, () => {
      const { momentum } = group;
      const averages = group.momentumForm === 'average';
      list[0] = looksAhead(group) ? 0 : group.weightDecay;
      list[1] = Number(group.maximize);
      list[2] = momentum;
      // 1 - dampening is what enters. Only an accumulation starts with a whole gradient.
      list[3] = averages ? momentum : group.dampening;
      list[4] = Number(group.nesterov === true);
      for (let i = 0; i < active.length; i++) {
        const { step } = (active[i] as Active).state;
        list[5 + 2 * i] = group.biasCorrection ? group.lr / (1 - momentum ** step) : group.lr;
        list[6 + 2 * i] = Number(step === 1 && !averages);
      }
      return list;
    });
    const attrs = [0, ...numbers.slice(0, 5), 0] as Param[];
    for (let i = 0; i < active.length; i++) {
      const a = active[i] as Active;
      const { view } = a.p;
      const buffer = this.stateTensor(a, 'momentumBuffer').view;
      attrs[0] = numbers[5 + 2 * i] as Param;
      attrs[6] = numbers[6 + 2 * i] as Param;
      emitOptim(withMomentum, view.size, [view, buffer], [view, (gradients[i] as Tensor).view], attrs);
    }
  }

  /** Gradients with the penalty's gradient at the look-ahead point. The parameters are back from there, u is as it was. */
  #decayedAhead(group: ParamGroup<SGDOptions>, active: readonly Active[]): Tensor[] {
    const numbers = this.advance([], () => [
      rateOf(group),
      group.maximize ? -group.weightDecay : group.weightDecay,
    ]);
    return active.map((a) => {
      const [rate, decay] = this.scalars(a.p.dtype, numbers);
      const u = this.stateTensor(a, 'momentumBuffer');
      return ops.add(a.g, ops.mul(ops.sub(a.p.detach(), ops.mul(u, rate)), decay));
    });
  }

  /** u = momentum u + lr g'; p -= u. */
  #velocity(group: ParamGroup<SGDOptions>, active: readonly Active[], gradients: readonly Tensor[]): void {
    const numbers = this.advance(active, () => [
      group.maximize ? -group.lr : group.lr,
      group.lr * group.weightDecay,
      group.momentum,
    ]);
    const decays = this.when(() => !looksAhead(group) && group.weightDecay !== 0);
    active.forEach((a, i) => {
      const [rate, decay, momentum] = this.scalars(a.p.dtype, numbers);
      const value = a.p.detach();
      const u = this.stateTensor(a, 'momentumBuffer');
      const change = ops.mul(gradients[i] as Tensor, rate);
      u.copy_(ops.add(ops.mul(u, momentum), decays ? ops.add(change, ops.mul(value, decay)) : change));
      value.copy_(ops.sub(value, u));
    });
  }
}

function wrong(what: string): never {
  throw new ArgumentError(`SGD: ${what}`);
}

function looksAhead(group: ParamGroup<SGDOptions>): boolean {
  return group.nesterov === 'lookahead' && group.momentum !== 0;
}

/** What the momentum is multiplied with when it moves the parameters: a velocity has the rate inside. */
function rateOf(group: ParamGroup<SGDOptions>): number {
  return group.momentumForm === 'velocity' ? 1 : group.lr;
}
