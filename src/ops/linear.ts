import { isFloat } from '../dtype.js';
import { ArgumentError, ShapeError } from '../errors.js';
import { type ActivationCode, activationCodes, contiguous, emitMatmul, fresh } from '../program/calls.js';
import { inspecting, tracing } from '../program/emit.js';
import { describe, showShape, type View } from '../program/view.js';
import { didYouMean } from '../suggest.js';
import type { Tensor } from '../tensor/tensor.js';
import { add } from './add.js';
import { full } from './full.js';
import { matmul, matmulKernelRow, product } from './matmul.js';
import {
  apply,
  checkTensor,
  isTensor,
  type Primitive,
  primitive,
  type Sample,
  type Spec,
} from './primitive.js';
import { relu } from './relu.js';
import { reluGrad } from './reluGrad.js';
import { reshape } from './reshape.js';
import { sigmoid } from './sigmoid.js';
import { sigmoidGrad } from './sigmoidGrad.js';
import { sumTo } from './sum.js';
import { tanh } from './tanh.js';
import { tanhGrad } from './tanhGrad.js';

/** Activations that a product applies to its result. */
export type LinearActivation = 'none' | 'relu' | 'sigmoid' | 'tanh';

interface Activation {
  readonly apply: (x: Tensor) => Tensor;
  /** The gradient before the activation, from the one behind it and the result. */
  readonly grad: (g: Tensor, y: Tensor) => Tensor;
}

const activations: Readonly<Record<Exclude<LinearActivation, 'none'>, Activation>> = {
  relu: { apply: relu, grad: reluGrad },
  sigmoid: { apply: sigmoid, grad: sigmoidGrad },
  tanh: { apply: tanh, grad: tanhGrad },
};

const samples: readonly Sample<null>[] = [
  { inputs: [{ shape: [3, 4] }, { shape: [4, 5] }, { shape: [5] }], attrs: null },
  { inputs: [{ shape: [3, 4] }, { shape: [4, 5] }], attrs: null },
  { inputs: [{ shape: [1, 7] }, { shape: [7, 1] }, { shape: [1] }], attrs: null },
  { inputs: [{ shape: [0, 4] }, { shape: [4, 2] }, { shape: [2] }], attrs: null },
  { inputs: [{ shape: [2, 0] }, { shape: [0, 3] }, { shape: [3] }], attrs: null },
];

/** activation(x · W + b), or without b, in one pass over the result: matrices x and W, a vector b, of one dtype. */
function row(name: string, code: ActivationCode, activation: Activation | null): Primitive<null> {
  return primitive<null>({
    name,
    infer: (inputs) => {
      const { shape, dtype } = inputs[0] as Spec;
      return { shape: [shape[0] as number, (inputs[1] as Spec).shape[1] as number], dtype };
    },
    run(inputs, out) {
      const result = fresh(out.dtype, out.shape);
      const b = inputs[2] && contiguous(inputs[2]);
      emitMatmul(matmulKernelRow, result, inputs[0] as View, inputs[1] as View, b, code);
      return result;
    },
    saves: activation === null ? [0, 1] : [0, 1, 'output'],
    vjp: (g, ctx) => {
      const h = activation === null ? g : activation.grad(g, ctx.output());
      const b = ctx.specs[2];
      return [
        ctx.needs[0] ? product(h, ctx.input(1), false, true) : null,
        ctx.needs[1] ? product(ctx.input(0), h, true, false) : null,
        b !== undefined && ctx.needs[2] ? sumTo(h, b.shape) : null,
      ];
    },
    samples,
  });
}

const rows: Readonly<Record<LinearActivation, Primitive<null>>> = {
  none: row('linear', activationCodes.none, null),
  relu: row('linearRelu', activationCodes.relu, activations.relu),
  sigmoid: row('linearSigmoid', activationCodes.sigmoid, activations.sigmoid),
  tanh: row('linearTanh', activationCodes.tanh, activations.tanh),
};

/** True where the fused rows apply: everything else takes the way over matmul and add, which also say what is wrong. */
function fits(x: Tensor, w: Tensor, b: Tensor | null): boolean {
  if (!isTensor(x) || !isTensor(w) || !(b === null || isTensor(b))) return false;
  const p = x.view;
  const q = w.view;
  if (p.shape.length !== 2 || q.shape.length !== 2 || p.shape[1] !== q.shape[0]) return false;
  if (!isFloat(p.dtype) || q.dtype !== p.dtype) return false;
  if (b === null) return true;
  const { shape, dtype } = b.view;
  return shape.length === 1 && shape[0] === q.shape[1] && dtype === p.dtype;
}

/** Refuses what is no linear layer, although matmul and add would make something of it. */
function checkLinear(x: Tensor, weight: Tensor): void {
  const from = checkTensor('linear', x, 'the input').shape;
  const to = checkTensor('linear', weight, 'the weight').shape;
  if (to.length !== 2)
    throw new ShapeError(`linear: the weight is a matrix [nIn, nOut], not ${showShape(to)}`);
  if (from.length === 0 || from.at(-1) !== to[0]) {
    const turned = from.length > 0 && from.at(-1) === to[1];
    const hint = turned ? "; it is the transpose of PyTorch's: weight.transpose(0, 1) would fit" : '';
    throw new ShapeError(
      `linear: the input ${showShape(from)} does not end with the ${to[0]} features that a weight ` +
        `[nIn, nOut] of shape ${showShape(to)} takes${hint}`,
    );
  }
}

/**
 * activation(x · W + b), as linear. The same operations with the same bits as matmul, add and the activation: a traced
 * step records those, which `program/fuse.ts` joins where nothing else reads what is between them. `formal`: see LinearForm.
 */
export function activatedLinear(
  x: Tensor,
  weight: Tensor,
  bias: Tensor | null,
  activation: LinearActivation,
  formal = false,
): Tensor {
  if ((!formal || bias === null) && tracing() === null && inspecting() === null && fits(x, weight, bias)) {
    return apply(rows[activation], bias === null ? [x, weight] : [x, weight, bias], null);
  }
  checkLinear(x, weight);
  if (formal && bias !== null) {
    const z = formalLinear(x, weight, bias);
    return activation === 'none' ? z : activations[activation].apply(z);
  }
  const y = matmul(x, weight);
  const z = bias === null ? y : add(y, bias);
  return activation === 'none' ? z : activations[activation].apply(z);
}

/** Options of linear. */
export interface LinearForm {
  /** Adds the bias as the product 1·bᵀ of a column of ones with the row b, instead of by broadcasting. Default false. */
  readonly formalBias?: boolean;
}

/**
 * x · W + b: x is [..., nIn], W [nIn, nOut], b [nOut], [1, nOut] (or another shape that broadcasts) or
 * left out; float32 or float64. b is broadcast: no copies of it are made. With `formalBias` it is the matrix form as it is written, Z W + 1 bᵀ with 1 of shape [m, 1]
 * (lecture 000, "Matrix form and broadcasting subtleties"; lecture 004, "Bias broadcasting"): the same numbers, for a
 * matrix of copies that is formed.
 *
 * The result is [..., nOut]. Throws ShapeError for shapes that do not fit, ArgumentError for an option that does not exist.
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor | null, options: LinearForm = {}): Tensor {
  return activatedLinear(x, weight, bias ?? null, 'none', formalBias('linear', options));
}

function formalBias(op: string, options: LinearForm): boolean {
  if (typeof options !== 'object' || options === null)
    throw new ArgumentError(
      `${op}: options are an object like { formalBias: true }, not ${describe(options)}`,
    );
  for (const key of Object.keys(options)) {
    if (key !== 'formalBias')
      throw new ArgumentError(`${op}: there is no option ${describe(key)}${didYouMean(key, ['formalBias'])}`);
  }
  const { formalBias: formal = false } = options;
  if (typeof formal !== 'boolean')
    throw new ArgumentError(`${op}: formalBias must be true or false, not ${describe(formal)}`);
  return formal;
}

/** x · W + 1 · bᵀ, with the ones and the product. */
function formalLinear(x: Tensor, weight: Tensor, bias: Tensor): Tensor {
  checkTensor('linear', bias, 'the bias');
  const y = matmul(x, weight);
  const n = y.shape.at(-1) as number;
  const { shape } = bias;
  if (bias.size !== n || shape.slice(0, -1).some((size) => size !== 1)) {
    throw new ShapeError(`linear: a bias of shape ${showShape(shape)} where ${showShape([n])} is expected`);
  }
  const ones = full([...y.shape.slice(0, -1), 1], 1, y.dtype);
  return add(y, matmul(ones, reshape(bias, [1, n])));
}
