// The namespace optim.
export { Adam, type AdamOptions, AdamW } from './adam.js';
export { type BaseOptions, Optimizer, type OptimizerState, type ParamGroup, type Params } from './optimizer.js';
export { SGD, type SGDOptions } from './sgd.js';
