// The namespace nn: modules, layers, losses, and helpers for gradients.
export {
  ELU,
  GELU,
  Hardtanh,
  LeakyReLU,
  LogSoftmax,
  PReLU,
  type PReLUOptions,
  ReLU,
  SELU,
  Sigmoid,
  SiLU,
  Softmax,
  Softplus,
  Tanh,
} from './activations.js';
export { ModuleDict, ModuleList, Residual, Sequential } from './containers.js';
export {
  Dropout,
  type DropoutModuleOptions,
  Embedding,
  type EmbeddingOptions,
  Flatten,
  Identity,
  Linear,
  type LinearOptions,
} from './layers.js';
export {
  BCELoss,
  BCEWithLogitsLoss,
  CrossEntropyLoss,
  HuberLoss,
  KLDivLoss,
  L1Loss,
  MSELoss,
  NLLLoss,
  SmoothL1Loss,
} from './losses.js';
export {
  type ActivationChoice,
  type ActivationName,
  type Initializer,
  MLP,
  type MLPOptions,
} from './mlp.js';
export {
  type BlockGradients,
  type ForwardHook,
  type ForwardPreHook,
  type HookHandle,
  type HookOptions,
  type LoadReport,
  Module,
  Parameter,
  type StateDict,
} from './module.js';
export { BatchNorm1d, type BatchNormOptions, LayerNorm, type LayerNormOptions } from './normalization.js';
/** What works on the gradients of parameters. */
export * as utils from './utils.js';
