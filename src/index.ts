/**
 * simdgrad: neural networks in Node.js at the speed of the machine.
 *
 * @packageDocumentation
 */

export { grad, gradcheck, hessian, hvp, jacobian, jvp, valueAndGrad, vjp } from './autograd/functional.js';
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
  argmax,
  argmin,
  broadcastTo,
  clamp,
  concat,
  cos,
  div,
  dot,
  elu,
  eq,
  erf,
  exp,
  expm1,
  flatten,
  floor,
  gather,
  ge,
  gelu,
  gt,
  indexSelect,
  isFinite,
  isNan,
  le,
  leakyRelu,
  linear,
  log,
  log1p,
  logicalAnd,
  logicalNot,
  logicalOr,
  logSigmoid,
  logSoftmax,
  logSumExp,
  lt,
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
  select,
  sigmoid,
  sign,
  silu,
  sin,
  slice,
  softmax,
  softplus,
  sqrt,
  square,
  squeeze,
  stack,
  std,
  sub,
  sum,
  tanh,
  transpose,
  unsqueeze,
  variance,
  where,
} from './ops/index.js';
export * as optim from './optim/index.js';
export { Generator, manualSeed } from './program/generator.js';
export { type CompiledStep, type CompileOptions, compile } from './tensor/compile.js';
export {
  arange,
  eye,
  full,
  linspace,
  ones,
  onesLike,
  rand,
  randint,
  randn,
  randperm,
  zeros,
  zerosLike,
} from './tensor/create.js';
export { scope } from './tensor/scope.js';
export { type NestedArray, Tensor, type TensorOptions, type TensorValues, tensor } from './tensor/tensor.js';
