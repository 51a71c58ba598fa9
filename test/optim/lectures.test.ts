import { compile, concat, type DType, optim, type Tensor, tensor } from 'simdgrad';
import { describe, expect, it } from 'vitest';
import { expectClose } from '../goldens/golden.js';

// The optimizers' forms in the lectures, against the equations written out again in plain float64 loops. θ has six elements
// in two parameters; the loss is ½ θᵀPθ + q_tᵀθ, another one in every step (a mini-batch), with gradient Pθ + q_t.

type Vector = number[];
/** What is asked for in step t, counted from 1, at rate lr: the next θ. */
type Rule = (theta: Vector, grad: (theta: Vector) => Vector, lr: number, t: number, s: State) => Vector;
/** State by name, made of zeros when it is first asked for. */
type State = Record<string, Vector>;

const N = 6;
const start: Vector = [0.5, -0.75, 1.25, 0.125, -1.5, 0.875];
const P = [
  [2, 0.5, 0, 0, 0.25, 0],
  [0.5, 1, 0.25, 0, 0, 0],
  [0, 0.25, 3, -0.5, 0, 0.5],
  [0, 0, -0.5, 1.5, 0.25, 0],
  [0.25, 0, 0, 0.25, 2, 0],
  [0, 0, 0.5, 0, 0, 1],
];
/** Changing signs, some zeros, a size that comes and goes; the fourth is always 0. */
const q = (t: number): Vector =>
  start.map((_, i) => (i === 3 ? 0 : ((((7 * i + 5 * t) % 13) - 6) / 8) * 2 ** -(t % 4)));
const rates: Record<number, number> = { 4: 0.02, 11: 0.08 };

const map = (f: (i: number) => number): Vector => start.map((_, i) => f(i));
const at = (v: Vector, i: number): number => v[i] as number;
const of = (s: State, name: string): Vector => {
  s[name] ??= map(() => 0);
  return s[name];
};

interface Case {
  readonly name: string;
  readonly make: (params: Tensor[]) => optim.Optimizer;
  readonly rule: Rule;
  /** Gradients that do not depend on θ: where a sign decides, rounding must not. */
  readonly given?: boolean;
}

/** β u + (1 - β) g and its relatives: β u + c g. */
const mix = (beta: number, u: Vector, c: number, g: Vector): Vector =>
  map((i) => beta * at(u, i) + c * at(g, i));
const minus = (a: Vector, b: Vector, c = 1): Vector => map((i) => at(a, i) - c * at(b, i));

const sgd = (options: optim.SGDOptions) => (params: Tensor[]) =>
  new optim.SGD(params, { lr: 0.05, ...options });
const adam = (options: optim.AdamOptions) => (params: Tensor[]) =>
  new optim.Adam(params, { lr: 0.05, ...options });

/** The gradient that the options weightDecay and maximize make of g at θ. */
const penalised = (g: Vector, theta: Vector, decay: number, maximize: boolean): Vector =>
  map((i) => (maximize ? -at(g, i) : at(g, i)) + decay * at(theta, i));

const average: Rule = (theta, grad, lr, _, s) => {
  s.u = mix(0.9, of(s, 'u'), 0.1, grad(theta));
  return minus(theta, s.u, lr);
};

interface AdamForm {
  readonly correct?: boolean;
  readonly absolute?: boolean;
  readonly largest?: boolean;
  readonly eps?: number;
  readonly coupled?: number;
  readonly decoupled?: number;
  readonly maximize?: boolean;
}
const adamRule =
  (form: AdamForm): Rule =>
  (theta, grad, lr, t, s) => {
    const {
      correct = true,
      absolute,
      largest,
      eps = 1e-8,
      coupled = 0,
      decoupled = 0,
      maximize = false,
    } = form;
    const g = penalised(grad(theta), theta, coupled, maximize);
    s.u = mix(0.9, of(s, 'u'), 1 - 0.9, g);
    s.v = mix(
      0.999,
      of(s, 'v'),
      1 - 0.999,
      g.map((x) => (absolute ? Math.abs(x) : x ** 2)),
    );
    const top = of(s, 'top');
    s.top = map((i) => Math.max(at(top, i), at(s.v as Vector, i)));
    const scale = largest ? s.top : s.v;
    return map((i) => {
      const u = at(s.u as Vector, i) / (correct ? 1 - 0.9 ** t : 1);
      const v = at(scale, i) / (correct ? 1 - 0.999 ** t : 1);
      const divisor = (absolute ? v : Math.sqrt(v)) + eps;
      return at(theta, i) * (1 - lr * decoupled) - (divisor === 0 ? 0 : (lr * u) / divisor);
    });
  };

const rprop =
  (maximize: boolean): Rule =>
  (theta, grad, _, t, s) => {
    const g = penalised(grad(theta), theta, 0, maximize);
    const last = of(s, 'g');
    const size = t === 1 ? map(() => 0.05) : (s.size as Vector);
    s.size = map((i) => {
      if (t === 1) return at(size, i);
      const agree = at(g, i) * at(last, i) > 0;
      return Math.min(0.09, Math.max(0.003, at(size, i) * (agree ? 1.2 : 0.5)));
    });
    s.g = g;
    return map((i) => at(theta, i) - Math.sign(at(g, i)) * at(s.size as Vector, i));
  };

const cases: Case[] = [
  { name: 'gradient descent: θ - α ∇f(θ)', make: sgd({}), rule: (x, grad, lr) => minus(x, grad(x), lr) },
  {
    name: 'momentum as a moving average: u = β u + (1 - β) ∇f(θ); θ - α u',
    make: sgd({ momentum: 0.9, momentumForm: 'average' }),
    rule: average,
  },
  {
    name: 'moving average with weight decay, climbing',
    make: sgd({ momentum: 0.8, momentumForm: 'average', weightDecay: 0.1, maximize: true }),
    rule: (theta, grad, lr, _, s) => {
      s.u = mix(0.8, of(s, 'u'), 1 - 0.8, penalised(grad(theta), theta, 0.1, true));
      return minus(theta, s.u, lr);
    },
    given: true,
  },
  {
    name: 'unbiased momentum: θ - α u / (1 - β^(t+1))',
    make: sgd({ momentum: 0.9, momentumForm: 'average', biasCorrection: true }),
    rule: (theta, grad, lr, t, s) => {
      s.u = mix(0.9, of(s, 'u'), 1 - 0.9, grad(theta));
      return minus(theta, s.u, lr / (1 - 0.9 ** t));
    },
  },
  {
    name: 'momentum as an accumulation: u = β u + ∇f(θ); θ - α u',
    make: sgd({ momentum: 0.9 }),
    rule: (theta, grad, lr, _, s) => {
      s.u = mix(0.9, of(s, 'u'), 1, grad(theta));
      return minus(theta, s.u, lr);
    },
  },
  {
    name: 'momentum as a velocity: m = α m - η g; θ + m',
    make: sgd({ momentum: 0.9, momentumForm: 'velocity' }),
    rule: (theta, grad, lr, _, s) => {
      s.m = mix(0.9, of(s, 'm'), -lr, grad(theta));
      return minus(theta, s.m, -1);
    },
  },
  {
    name: 'velocity with weight decay, climbing',
    make: sgd({ momentum: 0.5, momentumForm: 'velocity', weightDecay: 0.1, maximize: true }),
    rule: (theta, grad, lr, _, s) => {
      s.m = mix(0.5, of(s, 'm'), -lr, penalised(grad(theta), theta, 0.1, true));
      return minus(theta, s.m, -1);
    },
    given: true,
  },
  {
    name: 'Nesterov: u = β u + (1 - β) ∇f(θ - α u); θ - α u',
    make: sgd({ momentum: 0.9, momentumForm: 'average', nesterov: 'lookahead' }),
    rule: (theta, grad, lr, _, s) => {
      s.u = mix(0.9, of(s, 'u'), 1 - 0.9, grad(minus(theta, of(s, 'u'), lr)));
      return minus(theta, s.u, lr);
    },
  },
  {
    name: 'Nesterov by look-ahead, accumulating',
    make: sgd({ momentum: 0.6, nesterov: 'lookahead' }),
    rule: (theta, grad, lr, _, s) => {
      s.u = mix(0.6, of(s, 'u'), 1, grad(minus(theta, of(s, 'u'), lr)));
      return minus(theta, s.u, lr);
    },
  },
  {
    name: 'Nesterov by look-ahead, as a velocity',
    make: sgd({ momentum: 0.6, momentumForm: 'velocity', nesterov: 'lookahead' }),
    rule: (theta, grad, lr, _, s) => {
      s.u = mix(0.6, of(s, 'u'), lr, grad(minus(theta, of(s, 'u'))));
      return minus(theta, s.u);
    },
  },
  ...[false, true].flatMap((maximize) => [
    {
      name: `Nesterov by look-ahead with the penalty's gradient at that point${maximize ? ', climbing' : ''}`,
      make: sgd({
        momentum: 0.9,
        momentumForm: 'average',
        nesterov: 'lookahead',
        weightDecay: 0.1,
        maximize,
      }),
      rule: ((theta, grad, lr, _, s) => {
        const ahead = minus(theta, of(s, 'u'), lr);
        s.u = mix(0.9, of(s, 'u'), 1 - 0.9, penalised(grad(ahead), ahead, 0.1, maximize));
        return minus(theta, s.u, lr);
      }) as Rule,
      given: maximize,
    },
    {
      name: `Nesterov by look-ahead as a velocity with a penalty${maximize ? ', climbing' : ''}`,
      make: sgd({
        momentum: 0.5,
        momentumForm: 'velocity',
        nesterov: 'lookahead',
        weightDecay: 0.1,
        maximize,
      }),
      rule: ((theta, grad, lr, _, s) => {
        const ahead = minus(theta, of(s, 'u'));
        s.u = mix(0.5, of(s, 'u'), lr, penalised(grad(ahead), ahead, 0.1, maximize));
        return minus(theta, s.u);
      }) as Rule,
      given: maximize,
    },
  ]),
  {
    name: 'RMSprop with ε inside the root: θ - η g / √(v + ε)',
    make: (params) => new optim.RMSprop(params, { lr: 0.05, alpha: 0.9, eps: 1e-3, epsInsideRoot: true }),
    rule: (theta, grad, lr, _, s) => {
      const g = grad(theta);
      const v = of(s, 'v');
      s.v = map((i) => 0.9 * at(v, i) + (1 - 0.9) * at(g, i) ** 2);
      return map((i) => at(theta, i) - (lr * at(g, i)) / Math.sqrt(at(s.v as Vector, i) + 1e-3));
    },
  },
  {
    name: 'RMSprop with ε inside the root, centred, with momentum and weight decay, climbing',
    make: (params) =>
      new optim.RMSprop(params, {
        lr: 0.05,
        alpha: 0.9,
        eps: 1e-2,
        epsInsideRoot: true,
        centered: true,
        momentum: 0.5,
        weightDecay: 0.1,
        maximize: true,
      }),
    rule: (theta, grad, lr, _, s) => {
      const g = penalised(grad(theta), theta, 0.1, true);
      s.v = mix(
        0.9,
        of(s, 'v'),
        1 - 0.9,
        g.map((x) => x * x),
      );
      s.mean = mix(0.9, of(s, 'mean'), 1 - 0.9, g);
      const d = map((i) => at(g, i) / Math.sqrt(at(s.v as Vector, i) - at(s.mean as Vector, i) ** 2 + 1e-2));
      s.buffer = mix(0.5, of(s, 'buffer'), 1, d);
      return minus(theta, s.buffer, lr);
    },
    given: true,
  },
  {
    name: 'RMSprop with ε = 0, where 0 / 0 counts as 0',
    make: (params) => new optim.RMSprop(params, { lr: 0.05, alpha: 0.9, eps: 0, epsInsideRoot: true }),
    rule: (theta, grad, lr, _, s) => {
      const g = grad(theta);
      s.v = mix(
        0.9,
        of(s, 'v'),
        1 - 0.9,
        g.map((x) => x * x),
      );
      return map((i) => {
        const v = at(s.v as Vector, i);
        return at(theta, i) - (v === 0 ? 0 : (lr * at(g, i)) / Math.sqrt(v));
      });
    },
    given: true,
  },
  {
    name: 'Rprop as the sign of the gradient: θ - η g / √(g² + ε)',
    make: (params) => new optim.Rprop(params, { lr: 0.05, variant: 'sign', eps: 1e-2 }),
    rule: (theta, grad, lr) => {
      const g = grad(theta);
      return map((i) => at(theta, i) - (lr * at(g, i)) / Math.sqrt(at(g, i) ** 2 + 1e-2));
    },
  },
  {
    name: 'Rprop as the sign of the gradient, ε = 0, climbing',
    make: (params) => new optim.Rprop(params, { lr: 0.05, variant: 'sign', maximize: true }),
    rule: (theta, grad, lr) => minus(theta, grad(theta).map(Math.sign), -lr),
    given: true,
  },
  ...[false, true].map((maximize) => ({
    name: `Rprop with step sizes times 1.2 where two signs agree, otherwise times 0.5, limited${maximize ? ', climbing' : ''}`,
    make: (params: Tensor[]) =>
      new optim.Rprop(params, { lr: 0.05, variant: 'rprop-', stepSizes: [0.003, 0.09], maximize }),
    rule: rprop(maximize),
    given: true,
  })),
  {
    name: 'Adam without bias correction, ε = 1e-6: θ - α u / (√v + ε)',
    make: adam({ biasCorrection: false, eps: 1e-6 }),
    rule: adamRule({ correct: false, eps: 1e-6 }),
    given: true,
  },
  {
    name: 'Adam with bias correction, ε = 1e-6: θ - α û / (√v̂ + ε)',
    make: adam({ eps: 1e-6 }),
    rule: adamRule({ eps: 1e-6 }),
    given: true,
  },
  {
    name: 'Adam with ε = 0, where 0 / 0 counts as 0',
    make: adam({ eps: 0 }),
    rule: adamRule({ eps: 0 }),
    given: true,
  },
  {
    name: 'Adam with the mean absolute value instead of the square',
    make: adam({ secondMoment: 'absolute' }),
    rule: adamRule({ absolute: true }),
    given: true,
  },
  {
    name: 'Adam with the mean absolute value, not corrected, the largest of them, decoupled weight decay',
    make: adam({
      secondMoment: 'absolute',
      biasCorrection: false,
      amsgrad: true,
      eps: 1e-3,
      weightDecay: 0.1,
      decoupledWeightDecay: true,
      maximize: true,
    }),
    rule: adamRule({
      absolute: true,
      correct: false,
      largest: true,
      eps: 1e-3,
      decoupled: 0.1,
      maximize: true,
    }),
    given: true,
  },
  {
    name: 'AMSGrad without bias correction, with weight decay',
    make: adam({ biasCorrection: false, amsgrad: true, eps: 1e-3, weightDecay: 0.1 }),
    rule: adamRule({ correct: false, largest: true, eps: 1e-3, coupled: 0.1 }),
    given: true,
  },
  {
    name: 'AdamW without bias correction',
    make: (params) =>
      new optim.AdamW(params, { lr: 0.05, weightDecay: 0.2, biasCorrection: false, eps: 1e-6 }),
    rule: adamRule({ correct: false, decoupled: 0.2, eps: 1e-6 }),
    given: true,
  },
  {
    name: 'SignSGD: θ - η sgn(∇ℓ)',
    make: (params) => new optim.SignSGD(params, { lr: 0.05 }),
    rule: (theta, grad, lr) => minus(theta, grad(theta).map(Math.sign), lr),
    given: true,
  },
  {
    name: 'SignSGD of a moving average, with weight decay, climbing',
    make: (params) =>
      new optim.SignSGD(params, { lr: 0.05, momentum: 0.7, weightDecay: 0.0625, maximize: true }),
    rule: (theta, grad, lr, _, s) => {
      s.m = mix(0.7, of(s, 'm'), 1 - 0.7, penalised(grad(theta), theta, 0.0625, true));
      return minus(theta, s.m.map(Math.sign), lr);
    },
    given: true,
  },
  {
    name: 'steepest descent under ‖Δθ‖∞ ≤ η: -η sign(g)',
    make: (params) => new optim.SteepestDescent(params, { lr: 0.05, norm: Infinity }),
    rule: (theta, grad, lr) => minus(theta, grad(theta).map(Math.sign), lr),
    given: true,
  },
  {
    name: 'steepest descent under ‖Δθ‖₂ ≤ η: -η g / ‖g‖₂',
    make: (params) => new optim.SteepestDescent(params, { lr: 0.05 }),
    rule: (theta, grad, lr) => {
      const g = grad(theta);
      return minus(theta, g, lr / Math.hypot(...g));
    },
  },
  {
    name: 'steepest descent under ‖Δθ‖₂ ≤ η with weight decay, climbing',
    make: (params) =>
      new optim.SteepestDescent(params, { lr: 0.05, norm: 2, weightDecay: 0.1, maximize: true }),
    rule: (theta, grad, lr) => {
      const g = penalised(grad(theta), theta, 0.1, true);
      return minus(theta, g, lr / Math.hypot(...g));
    },
    given: true,
  },
];

const tolerances = {
  float64: { relative: 1e-12, absolute: 1e-14 },
  float32: { relative: 3e-6, absolute: 1.5e-6 },
};

/** Two parameters with the elements of θ. */
function parameters(dtype: DType, values: Vector = start): Tensor[] {
  const part = (a: number, b: number, shape: number[]): Tensor =>
    tensor(Float64Array.from(values.slice(a, b)), { dtype: 'float64', shape }).to(dtype);
  const params = [part(0, 4, [2, 2]), part(4, N, [2])];
  for (const p of params) p.requiresGrad = true;
  return params;
}

const values = (params: readonly Tensor[]): Vector => params.flatMap((p) => Array.from(p.data));
const constant = (x: Vector | Vector[], dtype: DType): Tensor => tensor(x, { dtype: 'float64' }).to(dtype);

/** A step of training on the loss above; q_t is its argument. */
function training(optimizer: optim.Optimizer, params: Tensor[], given: boolean, dtype: DType) {
  const matrix = constant(given ? P.map((row) => row.map(() => 0)) : P, dtype);
  return (linear: Tensor): Tensor =>
    optimizer.step(() => {
      optimizer.zeroGrad();
      const theta = concat(
        params.map((p) => p.flatten()),
        0,
      );
      const curved = theta.reshape([1, N]).matmul(matrix).reshape([N]).mul(theta).sum().mul(0.5);
      const loss = curved.add(theta.mul(linear).sum());
      loss.backward();
      return loss;
    });
}

describe('optimizers as the lectures write them', () => {
  for (const { name, make, rule, given = false } of cases) {
    for (const dtype of ['float64', 'float32'] as const) {
      for (const compiled of [false, true]) {
        // The name alone is what docs/lectures.md links to.
        describe(`${name}`, () => {
          it(`${dtype}${compiled ? ', compiled' : ''}`, () => {
            const params = parameters(dtype);
            const optimizer = make(params);
            const eager = training(optimizer, params, given, dtype);
            const step = compiled ? compile(eager) : eager;
            let theta = start;
            const state: State = {};
            for (let t = 1; t <= 30; t++) {
              if (rates[t] !== undefined) optimizer.lr = rates[t] as number;
              const linear = q(t);
              const gradient = (x: Vector): Vector =>
                map(
                  (i) =>
                    at(linear, i) + (given ? 0 : x.reduce((sum, v, j) => sum + at(P[i] as Vector, j) * v, 0)),
                );
              theta = rule(theta, gradient, rates[t] ?? optimizer.lr, t, state);
              step(constant(linear, dtype));
              if ([1, 2, 10, 30].includes(t))
                expectClose(`θ after ${t} steps`, values(params), theta, tolerances[dtype]);
            }
          });
        });
      }
    }

    it(`${name}: resumes with the bits of uninterrupted training`, () => {
      const run = (optimizer: optim.Optimizer, params: Tensor[], from: number, to: number): void => {
        const step = training(optimizer, params, given, 'float32');
        for (let t = from; t < to; t++) step(constant(q(t), 'float32'));
      };
      const params = parameters('float32');
      const optimizer = make(params);
      run(optimizer, params, 1, 6);
      const copy = parameters('float32', values(params));
      const resumed = make(copy);
      resumed.lr = 0.3;
      resumed.loadStateDict(optimizer.stateDict());
      run(optimizer, params, 6, 12);
      run(resumed, copy, 6, 12);
      expect(values(copy)).toEqual(values(params));
    });
  }
});
