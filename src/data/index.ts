export {
  type Dataset,
  type DatasetWithLength,
  type Indices,
  randomSplit,
  type SplitOptions,
  Subset,
  split,
  TensorDataset,
} from './dataset.js';
export { type IdxOptions, idx } from './idx.js';
export { DataLoader, type DataLoaderOptions } from './loader.js';
export { type Mnist, type MnistOptions, mnist } from './mnist.js';
export { type ScalerState, StandardScaler } from './scaler.js';
export { PCAWhitening, type WhiteningOptions, type WhiteningState, ZCAWhitening } from './whitening.js';
