import type { JsKernel, TypedArray } from '../backend.js';
import { matmulKernel } from './matmul.js';
import { adamKernel, sgdKernel, sgdMomentumKernel } from './optim.js';
import { integer } from './strided.js';

/*
 * Optimizer steps whose gradient is the product a b. Params: [M, N, K, offset per output, p: offset, a: offset, rowStride, colStride,
 * b: offset, rowStride, colStride, attrs]. Buffers: outputs, p, a, b.
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

/** sgdProduct: sgd with g = a b. */
export const sgdProductKernel = update(sgdKernel, 2);
/** sgdMomentumProduct: sgdMomentum with g = a b. */
export const sgdMomentumProductKernel = update(sgdMomentumKernel, 3);
/** adamProduct: adam with g = a b. */
export const adamProductKernel = update(adamKernel, 4);
