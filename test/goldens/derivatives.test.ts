import { F, grad, hessian, hvp, jacobian, jvp, stack, type Tensor, tensor, vjp } from 'simdgrad';
import { describe, it } from 'vitest';
import {
  cotangent,
  decode,
  expectClose,
  expectTensor,
  type GoldenNumber,
  type GoldenTensor,
  load,
  type Tolerance,
} from './golden.js';

type Fn = (x: Tensor) => Tensor;

interface ScalarCase {
  readonly function: string;
  readonly input: GoldenTensor;
  readonly value: number;
  readonly grad: readonly GoldenNumber[];
  readonly hessian: GoldenTensor;
  readonly hvp: readonly GoldenNumber[];
}

interface VectorCase {
  readonly function: string;
  readonly input: GoldenTensor;
  readonly output: GoldenTensor;
  readonly jacobian: GoldenTensor;
  readonly vjp: readonly GoldenNumber[];
  readonly jvp: readonly GoldenNumber[];
}

interface OrdersCase {
  readonly function: string;
  readonly input: GoldenTensor;
  /** First to fourth derivative. */
  readonly orders: readonly (readonly GoldenNumber[])[];
}

interface PenaltyCase {
  readonly function: 'gradientPenalty';
  readonly inputs: readonly GoldenTensor[];
  readonly value: number;
  readonly grads: readonly (readonly GoldenNumber[])[];
}

const tolerance: Tolerance = { relative: 1e-11, absolute: 1e-12 };
const classes = tensor([1, 0, 3], { dtype: 'int32' });
const at = (x: Tensor, i: number): Tensor => x.slice([i, i + 1]).reshape([]);

/** The functions of generate.py. */
const scalar: Record<string, Fn> = {
  tanhPoly: (x) => x.tanh().pow(3).mul(x.div(-2).exp()).sum(),
  rosenbrock: (x) => {
    const [a, b] = [x.slice([0, -1]), x.slice([1, null])];
    return b.sub(a.mul(a)).pow(2).mul(100).add(a.sub(1).pow(2)).sum();
  },
  entropy: (x) => x.softmax(-1).mul(x.logSoftmax(-1)).sum().neg(),
  crossEntropy: (x) => F.crossEntropy(x, classes),
  bceWithLogits: (x) => F.bceWithLogits(x, tensor([0, 1, 0.25], { dtype: 'float64' })),
  geluTimes: (x) => x.gelu().mul(x).sum(),
  softplusLog: (x) => x.softplus().add(1).log().sum().pow(2),
  logSumExp: (x) => x.mul(x).logSumExp(0).sum(),
  normed: (x) => {
    const deviation = x.var(1, { correction: 0, keepdims: true }).add(1e-5).sqrt();
    return x
      .sub(x.mean(1, { keepdims: true }))
      .div(deviation)
      .pow(3)
      .sum();
  },
  normPow: (x) => x.norm().pow(3).div(x.pow(2).sum()),
  stdOverMean: (x) => x.std().div(x.mean()),
  matrix: (x) => x.matmul(x.transpose()).tanh().matmul(x).pow(2).mean(),
  sigmoidProduct: (x) => x.sigmoid().prod(),
  gathered: (x) =>
    x
      .indexSelect(0, tensor([2, 0, 2], { dtype: 'int32' }))
      .mul(x)
      .sum()
      .exp()
      .div(10),
  maxed: (x) => x.mul(x).maximum(x.sin().add(1)).sum().mul(x.max()),
};

const vector: Record<string, Fn> = {
  polar: (x) => {
    const [r, a] = [at(x, 0), at(x, 1)];
    return stack([r.mul(a.cos()), r.mul(a.sin()), r.mul(a)]);
  },
  softmax: (x) => x.softmax(-1),
  gram: (x) => x.matmul(x.transpose()),
  cumulative: (x) => {
    const [a, b, c] = [at(x, 0), at(x, 1), at(x, 2)];
    return stack([a, a.mul(b), a.mul(b).mul(c)]);
  },
};

const orders: Record<string, Fn> = {
  tanh: (x) => x.tanh(),
  sigmoid: (x) => x.sigmoid(),
  exp: (x) => x.exp(),
  gelu: (x) => x.gelu(),
  softplus: (x) => x.softplus(),
  sin: (x) => x.sin(),
  log: (x) => x.log(),
  sqrt: (x) => x.sqrt(),
  erf: (x) => x.erf(),
  cube: (x) => x.pow(3),
};

const { cases } = load<ScalarCase | VectorCase | OrdersCase | PenaltyCase>('derivatives');

describe('derivatives of functions against PyTorch', () => {
  for (const c of cases) {
    if ('hessian' in c) {
      const f = scalar[c.function] as Fn;
      it(`${c.function}: value, gradient, Hessian and its product with a vector`, () => {
        const x = decode(c.input);
        expectClose('value', f(x).data, [c.value], tolerance);
        expectClose('gradient', grad(f)(x).data, c.grad, tolerance);
        expectTensor('Hessian', hessian(f, x), c.hessian, tolerance);
        expectClose('product', hvp(f, x, cotangent(x.shape, 'float64'))[1].data, c.hvp, tolerance);
      });
    } else if ('jacobian' in c) {
      const f = vector[c.function] as Fn;
      it(`${c.function}: Jacobian and its products with vectors`, () => {
        const x = decode(c.input);
        expectTensor('output', f(x), c.output, tolerance);
        expectTensor('Jacobian', jacobian(f, x), c.jacobian, tolerance);
        const u = cotangent(c.output.shape, 'float64');
        expectClose('vjp', vjp(f, x, u)[1].data, c.vjp, tolerance);
        expectClose('jvp', jvp(f, x, cotangent(x.shape, 'float64', 1))[1].data, c.jvp, tolerance);
      });
    } else if ('orders' in c) {
      it(`${c.function}: first to fourth derivative`, () => {
        let f = orders[c.function] as Fn;
        for (const [k, expected] of c.orders.entries()) {
          const g = f;
          f = grad((x: Tensor) => g(x).sum());
          // Each order loses some digits in both libraries.
          const looser = { relative: tolerance.relative * 10 ** k, absolute: tolerance.absolute * 10 ** k };
          expectClose(`derivative ${k + 1}`, f(decode(c.input)).data, expected, looser);
        }
      });
    } else {
      it('gradient of a squared gradient norm', () => {
        const [x, w1, w2] = c.inputs.map((t) => decode(t, true)) as [Tensor, Tensor, Tensor];
        const inner = (input: Tensor): Tensor => input.matmul(w1).tanh().matmul(w2).sum();
        const penalty = grad(inner)(x).pow(2).sum();
        expectClose('value', penalty.data, [c.value], tolerance);
        penalty.backward();
        for (const [i, t] of [x, w1, w2].entries()) {
          expectClose(`gradient ${i}`, t.grad?.data ?? [], c.grads[i] ?? [], tolerance);
        }
      });
    }
  }
});
