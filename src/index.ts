/**
 * simdgrad: neural networks in Node.js at the speed of the machine.
 *
 * @module simdgrad
 */

export { type AnomalyOptions, detectAnomaly } from './autograd/anomaly.js';
export {
  type GradOptions,
  grad,
  hessian,
  hvp,
  jacobian,
  jvp,
  type TensorFunction,
  valueAndGrad,
  vjp,
} from './autograd/functional.js';
export {
  type Differentiable,
  type GradcheckOptions,
  type GradgradcheckOptions,
  gradcheck,
  gradgradcheck,
} from './autograd/gradcheck.js';
export { enableGrad, isGradEnabled, noGrad } from './autograd/mode.js';
export {
  type BackendInfo,
  type BackendName,
  backendInfo,
  setBackend,
  setNumThreads,
} from './backend/load.js';
/** Datasets, loaders of mini-batches, and what prepares data. */
export * as data from './data/index.js';
export type { DType, TypedArray } from './dtype.js';
export * from './errors.js';
/** Initializers: they fill a tensor in place and return it. */
export * as init from './init/index.js';
/** Files: whole values with tensors in them, and the safetensors format. */
export * as io from './io/index.js';
/** Layers and losses as functions, under PyTorch's names. */
export * as F from './nn/functional.js';
/** Modules: layers, containers, activations, losses. */
export * as nn from './nn/index.js';
export type { AxisOption } from './ops/axis.js';
export type { ClampOptions } from './ops/clamp.js';
export type { CloseOptions, NormOptions, VarianceOptions } from './ops/composed.js';
export type { Operand } from './ops/elementwise.js';
export type { GeluOptions } from './ops/gelu.js';
export {
  abs,
  add,
  all,
  allClose,
  any,
  argmax,
  argmin,
  broadcastTo,
  ceil,
  chunk,
  clamp,
  concat,
  cos,
  cumsum,
  diag,
  div,
  dot,
  elu,
  eq,
  equal,
  erf,
  exp,
  expm1,
  flatten,
  flip,
  floor,
  gather,
  ge,
  gelu,
  gt,
  indexSelect,
  isFinite,
  isInf,
  isNan,
  le,
  leakyRelu,
  linear,
  log,
  log1p,
  log2,
  log10,
  logicalAnd,
  logicalNot,
  logicalOr,
  logSigmoid,
  logSoftmax,
  logSumExp,
  lt,
  maskedFill,
  matmul,
  max,
  maximum,
  mean,
  min,
  minimum,
  mul,
  narrow,
  ne,
  neg,
  norm,
  oneHot,
  outer,
  permute,
  pow,
  prod,
  reciprocal,
  relu,
  reshape,
  round,
  rsqrt,
  select,
  sigmoid,
  sign,
  silu,
  sin,
  slice,
  softmax,
  softplus,
  split,
  sqrt,
  square,
  squeeze,
  stack,
  std,
  sub,
  sum,
  tan,
  tanh,
  transpose,
  tril,
  triu,
  unsqueeze,
  variance,
  where,
} from './ops/index.js';
export type { LinearForm } from './ops/linear.js';
export { isTensor } from './ops/primitive.js';
export type { Axes, AxesOrOptions, ReduceOptions } from './ops/reduction.js';
export type { Range } from './ops/slice.js';
export type { SoftplusOptions } from './ops/softplus.js';
/** Optimizers and schedules of learning rates. */
export * as optim from './optim/index.js';
export { Generator, type GeneratorState, manualSeed } from './program/generator.js';
export type { Shape } from './program/view.js';
export { type CompiledStep, type CompileOptions, compile } from './tensor/compile.js';
export {
  arange,
  eye,
  full,
  fullLike,
  linspace,
  ones,
  onesLike,
  type RandomOptions,
  rand,
  randint,
  randLike,
  randn,
  randnLike,
  randperm,
  type ShapeArgs,
  zeros,
  zerosLike,
} from './tensor/create.js';
export { scope } from './tensor/scope.js';
export {
  type BackwardOptions,
  type NestedArray,
  Tensor,
  type TensorOptions,
  type TensorValues,
  tensor,
} from './tensor/tensor.js';
