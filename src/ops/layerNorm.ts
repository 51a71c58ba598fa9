import { layerNormGradKernel, layerNormKernel, layerNormWeightGradKernel } from '../backend/js/normalize.js';
import { normalization } from './normalization.js';

/**
 * (x - mean) / sqrt(variance + eps) weight + bias of each row of x [rows, cols], with mean and (biased) variance of the row;
 * weight and bias are [cols]. One dtype, float32 or float64. Throws ShapeError for shapes that do not fit. Formula: Ba et al.,
 * 2016. Its backward operations are rows of the table beside it.
 */
export const { normalize: layerNorm } = normalization('layerNorm', 1, {
  normalize: layerNormKernel,
  grad: layerNormGradKernel,
  weightGrad: layerNormWeightGradKernel,
});
