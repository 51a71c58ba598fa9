// Losses as functions; nn has them as modules.
export {
  type BCEOptions,
  type BCEWithLogitsOptions,
  bce,
  bceWithLogits,
  type KLDivOptions,
  klDiv,
} from './binary.js';
export {
  type CrossEntropyOptions,
  crossEntropy,
  type NLLOptions,
  nllLoss,
  oneHot,
} from './classification.js';
export type { Reduction, ReductionOptions } from './options.js';
export {
  type L2PenaltyOptions,
  l1Penalty,
  l2Penalty,
  type PenaltyOptions,
  type PenaltyParameters,
} from './penalties.js';
export {
  type HuberOptions,
  huberLoss,
  l1Loss,
  type MSEOptions,
  type MSEReduction,
  mseLoss,
  type SmoothL1Options,
  smoothL1Loss,
} from './regression.js';
