// Every operation on tensors. Importing this file fills the table of operations.

export { abs } from './abs.js';
export { add } from './add.js';
export { argmax } from './argmax.js';
export { argmin } from './argmin.js';
export type { AxisOption } from './axis.js';
export { axpby } from './axpby.js';
export { batchNorm, batchNormMoments } from './batchNorm.js';
export { broadcastTo } from './broadcastTo.js';
export { type ClampOptions, clamp } from './clamp.js';
export { clampGrad } from './clampGrad.js';
export {
  all,
  allClose,
  any,
  type CloseOptions,
  ceil,
  chunk,
  diag,
  dot,
  equal,
  flatten,
  flip,
  hardtanh,
  isInf,
  log2,
  log10,
  logSigmoid,
  maskedFill,
  norm,
  oneHot,
  outer,
  reciprocal,
  round,
  rsqrt,
  split,
  square,
  squeeze,
  std,
  tan,
  tril,
  triu,
  unsqueeze,
  variance,
} from './composed.js';
export { concat, stack } from './concat.js';
export { cos } from './cos.js';
export { countLabels } from './countLabels.js';
export { cumsum } from './cumsum.js';
export { div } from './div.js';
export { elu, selu } from './elu.js';
export { eq } from './eq.js';
export { erf } from './erf.js';
export { exp } from './exp.js';
export { expm1 } from './expm1.js';
export { floor } from './floor.js';
export { full } from './full.js';
export { gather } from './gather.js';
export { gatherGrad } from './gatherGrad.js';
export { ge } from './ge.js';
export { type GeluOptions, gelu } from './gelu.js';
export { gt } from './gt.js';
export { huber } from './huber.js';
export { indexSelect } from './indexSelect.js';
export { indexSelectGrad } from './indexSelectGrad.js';
export { isFinite } from './isFinite.js';
export { isNan } from './isNan.js';
export { layerNorm } from './layerNorm.js';
export { le } from './le.js';
export { leakyRelu } from './leakyRelu.js';
export { leakyReluGrad } from './leakyReluGrad.js';
export { activatedLinear, type LinearActivation, type LinearForm, linear } from './linear.js';
export { log } from './log.js';
export { log1p } from './log1p.js';
export { logicalAnd } from './logicalAnd.js';
export { logicalNot } from './logicalNot.js';
export { logicalOr } from './logicalOr.js';
export { logSoftmax } from './logSoftmax.js';
export { logSoftmaxGrad } from './logSoftmaxGrad.js';
export { logSumExp } from './logSumExp.js';
export { lt } from './lt.js';
export { matmul } from './matmul.js';
export { max } from './max.js';
export { maximum } from './maximum.js';
export { min } from './min.js';
export { minimum } from './minimum.js';
export { mul } from './mul.js';
export { ne } from './ne.js';
export { neg } from './neg.js';
export { nll } from './nll.js';
export { nllGrad } from './nllGrad.js';
export { permute, transpose } from './permute.js';
export { pow } from './pow.js';
export { prod } from './prod.js';
export { bernoulli, normal, randint, uniform } from './random.js';
export { relu } from './relu.js';
export { reluGrad } from './reluGrad.js';
export { reshape } from './reshape.js';
export { sigmoid } from './sigmoid.js';
export { sigmoidGrad } from './sigmoidGrad.js';
export { sign } from './sign.js';
export { silu } from './silu.js';
export { sin } from './sin.js';
export { narrow, select, slice } from './slice.js';
export { sliceGrad } from './sliceGrad.js';
export { softmax } from './softmax.js';
export { softmaxGrad } from './softmaxGrad.js';
export { checkSoftplus, type SoftplusOptions, softplus } from './softplus.js';
export { sqrt } from './sqrt.js';
export { sqrtFromZero } from './sqrtFromZero.js';
export { sub } from './sub.js';
export { mean, sum, sumTo } from './sum.js';
export { sumSquaredDeviations } from './sumSquaredDeviations.js';
export { sumSquares } from './sumSquares.js';
export { tanh } from './tanh.js';
export { tanhGrad } from './tanhGrad.js';
export { cloneOf, to } from './to.js';
export { where } from './where.js';
