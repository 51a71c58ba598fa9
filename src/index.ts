/**
 * simdgrad: neural networks in Node.js at the speed of the machine.
 *
 * @packageDocumentation
 */

export { type AnomalyOptions, detectAnomaly } from './autograd/anomaly.js';
export { grad, hessian, hvp, jacobian, jvp, valueAndGrad, vjp } from './autograd/functional.js';
export { type GradcheckOptions, gradcheck, gradgradcheck } from './autograd/gradcheck.js';
export { enableGrad, isGradEnabled, noGrad } from './autograd/mode.js';
export { backendInfo, setBackend, setNumThreads } from './backend/load.js';
export * as data from './data/index.js';
export type { DType, TypedArray } from './dtype.js';
export * from './errors.js';
export * as init from './init/index.js';
export * as io from './io/index.js';
export * as F from './nn/functional.js';
export * as nn from './nn/index.js';
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
export { isTensor } from './ops/primitive.js';
export * as optim from './optim/index.js';
export { Generator, manualSeed } from './program/generator.js';
export { type CompiledStep, type CompileOptions, compile } from './tensor/compile.js';
export {
  arange,
  eye,
  full,
  fullLike,
  linspace,
  ones,
  onesLike,
  rand,
  randint,
  randLike,
  randn,
  randnLike,
  randperm,
  zeros,
  zerosLike,
} from './tensor/create.js';
export { scope } from './tensor/scope.js';
export { type NestedArray, Tensor, type TensorOptions, type TensorValues, tensor } from './tensor/tensor.js';
