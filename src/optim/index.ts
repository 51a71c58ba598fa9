// The namespace optim: optimizers and learning-rate schedules.
import { Adam } from './adam.js';
import { Adadelta, Adagrad, Adamax, NAdam, RAdam, RMSprop, Rprop } from './composed.js';
import { recordUpdates } from './optimizer.js';
import { SGD } from './sgd.js';
import { SignSGD, SteepestDescent } from './steepest.js';

recordUpdates(SGD, Adam, Adadelta, Adagrad, Adamax, NAdam, RAdam, RMSprop, Rprop, SignSGD, SteepestDescent);

export { Adam, type AdamOptions, AdamW } from './adam.js';
export { type Averaged, EMA, type EMAOptions, type EMAState } from './average.js';
export {
  Adadelta,
  type AdadeltaOptions,
  Adagrad,
  type AdagradOptions,
  Adamax,
  type AdamaxOptions,
  NAdam,
  type NAdamOptions,
  RAdam,
  type RAdamOptions,
  RMSprop,
  type RMSpropOptions,
  Rprop,
  type RpropOptions,
} from './composed.js';
export type { ParamGroup } from './group.js';
export {
  type Active,
  type BaseOptions,
  Optimizer,
  type OptimizerState,
  type ParamState,
  type Params,
} from './optimizer.js';
export type { Check, OptionTable } from './options.js';
export {
  ChainedScheduler,
  ConstantLR,
  CosineAnnealingLR,
  CosineAnnealingWarmRestarts,
  CyclicLR,
  type CyclicOptions,
  ExponentialLR,
  type Group,
  type Lambda,
  LambdaLR,
  type Lambdas,
  LinearLR,
  MultiplicativeLR,
  MultiStepLR,
  OneCycleLR,
  type OneCycleOptions,
  type PlateauOptions,
  PolynomialLR,
  ReduceLROnPlateau,
  Schedule,
  type ScheduleState,
  SequentialLR,
  StepLR,
  WarmupLR,
  type WarmupOptions,
} from './schedules.js';
export { SGD, type SGDOptions } from './sgd.js';
export { SignSGD, type SignSGDOptions, SteepestDescent, type SteepestDescentOptions } from './steepest.js';
