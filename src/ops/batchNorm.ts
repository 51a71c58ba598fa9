import { batchNormGradKernel, batchNormKernel, batchNormWeightGradKernel } from '../backend/js/normalize.js';
import { normalization } from './normalization.js';

/**
 * (x - mean) / sqrt(variance + eps) weight + bias of each column of x [rows, cols], with mean and (biased) variance of the
 * column; weight and bias are [cols]. One dtype, float32 or float64. Throws ShapeError for shapes that do not fit. Formula:
 * Ioffe and Szegedy, 2015. Its backward operations are rows of the table beside it.
 */
export const { normalize: batchNorm, withMoments: batchNormMoments } = normalization('batchNorm', 0, {
  normalize: batchNormKernel,
  grad: batchNormGradKernel,
  weightGrad: batchNormWeightGradKernel,
});
