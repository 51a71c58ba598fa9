import {
  ArgumentError,
  isTensor,
  noGrad,
  ShapeError,
  type Tensor,
  type TensorValues,
  tensor,
} from 'simdgrad';
import { checkOptions, describe } from '../options.js';
import { checkFinite, flatten, norm, shown, valuesOf } from './points.js';

/** The linear layer before a ReLU: nn.Linear, or its tensors. */
export interface LinearLayer {
  /** [nIn, units]. */
  readonly weight: Tensor;
  /** [units]; null or left out for none. */
  readonly bias?: Tensor | null;
}

/** Where the units of a layer ReLU(x·W + b) bend. In float64. */
export interface Elbows {
  /** How many units the layer has. */
  readonly units: number;
  /** nIn: the number of dimensions of the inputs. */
  readonly dimensions: number;
  /**
   * For inputs of one dimension the points −b/w where the units bend, one per unit, else null. NaN for a unit with weight 0,
   * which is constant and bends nowhere.
   */
  readonly positions: Float64Array | null;
  /** Unit vectors w_j / ‖w_j‖ across the hyperplanes x·w_j + b_j = 0, on the side where the unit is on: [nIn, units]. */
  readonly normals: Tensor;
  /** Signed distances −b_j / ‖w_j‖ of the hyperplanes from the origin, along the normals. NaN for a unit without weights. */
  readonly offsets: Float64Array;
}

/** Options of elbowCoverage. */
export interface ElbowCoverageOptions {
  /** Into how many equal parts the range is cut for `covered`. Default 10. */
  readonly bins?: number;
}

/** What the elbows of a layer cover of the range of some data. */
export interface ElbowCoverage {
  /** Per unit, whether it bends within the range of the data: the box from the least to the largest value of every input. */
  readonly inRange: readonly boolean[];
  /** The share of the units that do. The others are constant or linear on all of the data. */
  readonly share: number;
  /** The share of the units that are on for some of the data and off for some. At most `share`. */
  readonly active: number;
  /**
   * For inputs of one dimension: the share of the range that is covered, counted in `bins` equal parts of which a part is
   * covered where at least one unit bends in it. Null for more dimensions.
   */
  readonly covered: number | null;
  /** Least and largest value of every input: [nIn] each. */
  readonly range: {
    /** The least value of every input. */
    readonly min: Float64Array;
    /** The largest value of every input. */
    readonly max: Float64Array;
  };
}

interface Layer {
  readonly nIn: number;
  readonly units: number;
  /** Row-major [nIn, units]. */
  readonly w: Float64Array;
  readonly b: Float64Array;
}

function layerOf(op: string, layer: LinearLayer): Layer {
  const weight: unknown = layer?.weight;
  const bias: unknown = layer?.bias;
  if (!isTensor(weight) || (bias !== undefined && bias !== null && !isTensor(bias))) {
    throw new ArgumentError(`${op}: takes a linear layer with weight and bias, not ${describe(layer)}`);
  }
  if (weight.rank !== 2) {
    throw new ShapeError(`${op}: the weight of the layer has shape [nIn, units], not ${shown(weight.shape)}`);
  }
  const [nIn, units] = weight.shape as [number, number];
  if (weight.size === 0)
    throw new ShapeError(`${op}: the layer has no weights: shape ${shown(weight.shape)}`);
  if (isTensor(bias) && (bias.rank !== 1 || bias.size !== units)) {
    throw new ShapeError(`${op}: a bias for ${units} units has shape [${units}], not ${shown(bias.shape)}`);
  }
  return {
    nIn,
    units,
    w: checkFinite(op, 'the weight', flatten([weight])),
    b: isTensor(bias) ? checkFinite(op, 'the bias', flatten([bias])) : new Float64Array(units),
  };
}

const column = ({ w, nIn, units }: Layer, j: number): Float64Array =>
  Float64Array.from({ length: nIn }, (_, i) => w[i * units + j] as number);

/**
 * Where the elbows of a ReLU layer lie: max(0, x·w_j + b_j) bends where x·w_j + b_j = 0. For one input that is the point −b/w;
 * for more a hyperplane, given by its normal and its distance from the origin.
 *
 * Source: lecture 003, "elbow @ −b/w": with w, b ~ N(0, 1) these points have the Cauchy distribution.
 *
 * @throws ArgumentError for what is no linear layer; ShapeError for a weight that is not [nIn, units]; LinAlgError where weight or
 * bias are not finite
 */
export function elbows(layer: LinearLayer): Elbows {
  const read = layerOf('elbows', layer);
  const { nIn, units, w, b } = read;
  const normals = new Float64Array(nIn * units);
  const offsets = new Float64Array(units);
  for (let j = 0; j < units; j++) {
    const length = norm(column(read, j));
    for (let i = 0; i < nIn; i++) normals[i * units + j] = (w[i * units + j] as number) / length;
    offsets[j] = length === 0 ? NaN : -(b[j] as number) / length;
  }
  return {
    units,
    dimensions: nIn,
    positions: nIn === 1 ? b.map((v, j) => (w[j] === 0 ? NaN : -v / (w[j] as number))) : null,
    normals: tensor(normals, { dtype: 'float64' }).reshape(nIn, units),
    offsets,
  };
}

function inputsOf(op: string, data: Tensor | TensorValues, nIn: number): { x: Float64Array; n: number } {
  const t = valuesOf(op, 'the data', data);
  const fits = t.rank === 2 ? t.shape[1] === nIn : t.rank === 1 && nIn === 1;
  if (!fits || t.size === 0) {
    throw new ShapeError(
      `${op}: data for this layer has shape [N, ${nIn}]${nIn === 1 ? ' or [N]' : ''}, not ${shown(t.shape)}`,
    );
  }
  return {
    x: checkFinite(
      op,
      'the data',
      noGrad(() => flatten([t])),
    ),
    n: t.size / nIn,
  };
}

/**
 * Signed distances of inputs from the elbows, (x·w_j + b_j) / ‖w_j‖: positive where unit j is on. [N, units] in float64; NaN
 * for a unit without weights.
 *
 * @param data [N, nIn]; [N] will do for one input
 * @throws ArgumentError for what is no linear layer; ShapeError for data or a weight that do not fit; LinAlgError where any of them is
 * not finite
 */
export function elbowDistances(layer: LinearLayer, data: Tensor | TensorValues): Tensor {
  const read = layerOf('elbowDistances', layer);
  const { nIn, units } = read;
  const { x, n } = inputsOf('elbowDistances', data, nIn);
  const out = new Float64Array(n * units);
  for (let j = 0; j < units; j++) {
    const w = column(read, j);
    const length = norm(w);
    for (let k = 0; k < n; k++) {
      let sum = read.b[j] as number;
      for (let i = 0; i < nIn; i++) sum += (x[k * nIn + i] as number) * (w[i] as number);
      out[k * units + j] = length === 0 ? NaN : sum / length;
    }
  }
  return tensor(out, { dtype: 'float64' }).reshape(n, units);
}

/**
 * The share of the units of a ReLU layer that bend within the range of some data, and the share of that range that they cover.
 *
 * Source: lecture 003: with data from 100 to 200 and w, b ~ N(0, 1) few units bend there, and the expressive power is lost.
 * (The probability is (atan 200 − atan 100)/π = 0.16 %, as "1–2 units out of 1000" has it; the 0.6 % beside it is a slip.)
 *
 * @param data [N, nIn]; [N] will do for one input
 * @throws ArgumentError for what is no linear layer, or for bins that are no whole number from 1 up; ShapeError for data or a
 * weight that do not fit; LinAlgError where any of them is not finite
 */
export function elbowCoverage(
  layer: LinearLayer,
  data: Tensor | TensorValues,
  options: ElbowCoverageOptions = {},
): ElbowCoverage {
  const op = 'elbowCoverage';
  checkOptions(op, options, ['bins']);
  const { bins = 10 } = options;
  if (!Number.isSafeInteger(bins) || bins < 1) {
    throw new ArgumentError(`${op}: bins is a whole number from 1 up, not ${describe(bins)}`);
  }
  const read = layerOf(op, layer);
  const { nIn, units } = read;
  const { x, n } = inputsOf(op, data, nIn);
  const min = new Float64Array(nIn).fill(Infinity);
  const max = new Float64Array(nIn).fill(-Infinity);
  x.forEach((v, k) => {
    const i = k % nIn;
    min[i] = Math.min(min[i] as number, v);
    max[i] = Math.max(max[i] as number, v);
  });
  let active = 0;
  const inRange: boolean[] = [];
  const parts = new Set<number>();
  for (let j = 0; j < units; j++) {
    const w = column(read, j);
    const b = read.b[j] as number;
    // The least and the largest value that x·w + b has in the box.
    let low = b;
    let high = b;
    w.forEach((v, i) => {
      const ends = [v * (min[i] as number), v * (max[i] as number)] as const;
      low += Math.min(...ends);
      high += Math.max(...ends);
    });
    const bends = w.some((v) => v !== 0) && low <= 0 && high >= 0;
    inRange.push(bends);
    let on = 0;
    for (let k = 0; k < n; k++) {
      let sum = b;
      for (let i = 0; i < nIn; i++) sum += (x[k * nIn + i] as number) * (w[i] as number);
      if (sum > 0) on++;
    }
    if (on > 0 && on < n) active++;
    if (nIn === 1 && bends) {
      const width = (max[0] as number) - (min[0] as number);
      const at = width === 0 ? 0 : (-b / (w[0] as number) - (min[0] as number)) / width;
      parts.add(Math.min(bins - 1, Math.max(0, Math.floor(at * bins))));
    }
  }
  return {
    inRange,
    share: inRange.filter(Boolean).length / units,
    active: active / units,
    covered: nIn === 1 ? parts.size / bins : null,
    range: { min, max },
  };
}
