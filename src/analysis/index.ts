/**
 * simdgrad/analysis: second derivatives, Newton's method, convergence on quadratics, Taylor expansions of networks, and what
 * training does to weights, activations and gradients.
 *
 * @module simdgrad/analysis
 */

export { hessian, hvp, jacobian, jvp, vjp } from 'simdgrad';
export { functionalCall } from './call.js';
export {
  type CriticalKind,
  type CriticalOptions,
  type CriticalPoint,
  type CriticalPointOptions,
  classifyCriticalPoint,
  classifyHessian,
  type HessianKind,
} from './critical.js';
export { type Distance, type Distances, distances, type NamedTensors } from './distance.js';
export {
  type ElbowCoverage,
  type ElbowCoverageOptions,
  type Elbows,
  elbowCoverage,
  elbowDistances,
  elbows,
  type LinearLayer,
} from './elbows.js';
export {
  type NewtonOptions,
  type NewtonResult,
  type NewtonStep,
  type NewtonStepOptions,
  newton,
  newtonStep,
} from './newton.js';
export { hessianMatrix, type Point, type PointFunction } from './points.js';
export {
  type Convergence,
  type ConvergenceRateOptions,
  convergenceRate,
  type MeasureOptions,
  Quadratic,
} from './quadratic.js';
export {
  type LayerRecord,
  type ParameterRecord,
  Recorder,
  type RecorderOptions,
  type StepRecord,
} from './recorder.js';
export { eigh, type MatrixRankOptions, matrixRank, type Spectrum } from './spectrum.js';
export {
  type Deviation,
  type Displacement,
  Linearization,
  linearize,
  type ParametricFunction,
} from './taylor.js';
