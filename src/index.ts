/**
 * simdgrad: neural networks in Node.js at the speed of the machine.
 *
 * @packageDocumentation
 */
export * from './errors.js';
export type { DType, TypedArray } from './dtype.js';
export * from './ops/index.js';
export { variance as var_ } from './ops/composed.js';
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
export { type NestedArray, Tensor, type TensorOptions, type TensorValues, tensor } from './tensor/tensor.js';
export { scope } from './tensor/scope.js';
export { Generator, manualSeed } from './program/generator.js';
export { enableGrad, isGradEnabled, noGrad } from './autograd/mode.js';
export { grad, gradcheck, hessian, hvp, jacobian, jvp, valueAndGrad, vjp } from './autograd/functional.js';
export { backendInfo, setBackend, setNumThreads } from './backend/load.js';
export { type CompiledStep, type CompileOptions, compile } from './tensor/compile.js';
