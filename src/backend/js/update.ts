import type { JsKernel, TypedArray } from '../backend.js';
import { matmulKernel } from './matmul.js';
import { adamKernel, sgdKernel, sgdMomentumKernel } from './optim.js';
import { sumKernel } from './reduce.js';
import { integer } from './strided.js';

/*
 * Optimizer steps whose gradient is the product a b. Params: [M, N, K, offset per output, p: offset, a: offset, rowStride, colStride,
 * b: offset, rowStride, colStride, attrs]. Buffers: outputs, p, a, b. With sums, the last output has those over the columns of b.
 */

/** Memory for gradients, by type: kept, because a step needs it again and again. */
const gradients = new Map<TypedArray['constructor'], TypedArray>();

function gradient(like: TypedArray, n: number): TypedArray {
  const kept = gradients.get(like.constructor);
  if (kept && kept.length >= n) return kept;
  const made = new (like.constructor as new (n: number) => TypedArray)(n);
  gradients.set(like.constructor, made);
  return made;
}

/** The product, then the optimizer's kernel; `vectors` counts its outputs and p. */
function update(step: JsKernel, vectors: number): JsKernel {
  return (p, b) => {
    const [M, N, K] = [integer(p[0]), integer(p[1]), integer(p[2])];
    const n = M * N;
    if (n === 0) return;
    const g = gradient(b[0]!, n);
    const factors: number[] = [];
    for (let i = 0; i < 6; i++) factors.push(p[3 + vectors + i]!);
    matmulKernel([0, M, N, K, 0, N, ...factors, -1, 0], [g, b[vectors]!, b[vectors + 1]!, g]);
    const params = [n];
    for (let i = 0; i < vectors; i++) params.push(p[3 + i]!);
    params.push(0);
    for (let i = 9 + vectors; i < p.length; i++) params.push(p[i]!);
    step(params, [...b.slice(0, vectors), g]);
  };
}

/** The kernel of `outputs` outputs, behind which there are the sums over the columns of its last factor. */
function withSums(kernel: JsKernel, outputs: number, vectors: number): JsKernel {
  return (p, b) => {
    const [N, K] = [integer(p[1]), integer(p[2])];
    const [offset, row, col] = [p[7 + vectors]!, p[8 + vectors]!, p[9 + vectors]!];
    sumKernel([1, 1, N, K, p[3 + outputs]!, offset, col, row, 1], [b[outputs]!, b[b.length - 1]!]);
    const params: number[] = [];
    for (let i = 0; i < p.length; i++) if (i !== 3 + outputs) params.push(p[i]!);
    kernel(params, [...b.slice(0, outputs), ...b.slice(outputs + 1)]);
  };
}

/** matmulSums: the product a b, and the sums over the columns of b. Buffers: c, sums, a, b. */
export const matmulSumsKernel = withSums(
  (p, b) => {
    const params = [0, p[0]!, p[1]!, p[2]!, p[3]!, p[1]!];
    for (let i = 4; i < 10; i++) params.push(p[i]!);
    matmulKernel([...params, -1, 0], [b[0]!, b[1]!, b[2]!, b[0]!]);
  },
  1,
  1,
);
/** sgdProduct: sgd with g = a b. */
export const sgdProductKernel = update(sgdKernel, 2);
/** sgdMomentumProduct: sgdMomentum with g = a b. */
export const sgdMomentumProductKernel = update(sgdMomentumKernel, 3);
/** adamProduct: adam with g = a b. */
export const adamProductKernel = update(adamKernel, 4);
/** The same with sums. */
export const sgdProductSumsKernel = withSums(sgdProductKernel, 1, 2);
export const sgdMomentumProductSumsKernel = withSums(sgdMomentumProductKernel, 2, 3);
export const adamProductSumsKernel = withSums(adamProductKernel, 3, 4);
