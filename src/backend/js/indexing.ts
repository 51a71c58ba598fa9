import type { JsKernel, TypedArray } from '../backend.js';
import { checkIndices } from './rows.js';
import { integer } from './strided.js';

/*
 * Selection by index along one axis of x[outer, n, inner]. Params: [outer, n, inner, count, offset per buffer (outputs first)].
 * All indices are checked before anything is written: IndexError for any outside [0, n).
 */

/** Rows at least this long are copied by the engine's memmove, which has a fixed cost of its own. */
const MEMMOVE_FROM = 48;

function copyRow(out: TypedArray, o: number, x: TypedArray, i: number, length: number): void {
  if (length >= MEMMOVE_FROM) out.set(x.subarray(i, i + length), o);
  else for (let j = 0; j < length; j++) out[o + j] = x[i + j];
}

/** indexSelect: out[outer, count, inner] = x[outer, idx[count], inner]. */
export const indexSelectKernel: JsKernel = (p, b) => {
  const outer = integer(p[0]);
  const n = integer(p[1]);
  const inner = integer(p[2]);
  const count = integer(p[3]);
  const [out, x, idx] = b;
  checkIndices('indexSelect', idx, p[6], count, n);
  let o = integer(p[4]);
  for (let a = 0; a < outer; a++) {
    const base = integer(p[5]) + a * n * inner;
    for (let c = 0; c < count; c++, o += inner) copyRow(out, o, x, base + idx[integer(p[6]) + c] * inner, inner);
  }
};

/** indexSelectGrad: dx[outer, n, inner] = 0, then dx[outer, idx[count], inner] += g[outer, count, inner] in order of count. */
export const indexSelectGradKernel: JsKernel = (p, b) => {
  const outer = integer(p[0]);
  const n = integer(p[1]);
  const inner = integer(p[2]);
  const count = integer(p[3]);
  const [dx, g, idx] = b;
  checkIndices('indexSelectGrad', idx, p[6], count, n);
  dx.fill(0, p[4], integer(p[4]) + outer * n * inner);
  let i = integer(p[5]);
  for (let a = 0; a < outer; a++) {
    const base = integer(p[4]) + a * n * inner;
    for (let c = 0; c < count; c++, i += inner) {
      const o = base + idx[integer(p[6]) + c] * inner;
      for (let j = 0; j < inner; j++) dx[o + j] += g[i + j];
    }
  }
};

/** gather: out[outer, count, inner] = x[outer, idx[outer, count, inner], inner]. */
export const gatherKernel: JsKernel = (p, b) => {
  const outer = integer(p[0]);
  const n = integer(p[1]);
  const inner = integer(p[2]);
  const count = integer(p[3]);
  const [out, x, idx] = b;
  checkIndices('gather', idx, p[6], outer * count * inner, n);
  let o = integer(p[4]);
  let k = integer(p[6]);
  for (let a = 0; a < outer; a++) {
    const base = integer(p[5]) + a * n * inner;
    for (let c = 0; c < count; c++) {
      for (let j = 0; j < inner; j++) out[o++] = x[base + idx[k++] * inner + j];
    }
  }
};

/** gatherGrad: dx[outer, n, inner] = 0, then dx[outer, idx[outer, count, inner], inner] += g[outer, count, inner] in order of count. */
export const gatherGradKernel: JsKernel = (p, b) => {
  const outer = integer(p[0]);
  const n = integer(p[1]);
  const inner = integer(p[2]);
  const count = integer(p[3]);
  const [dx, g, idx] = b;
  checkIndices('gatherGrad', idx, p[6], outer * count * inner, n);
  dx.fill(0, p[4], integer(p[4]) + outer * n * inner);
  let i = integer(p[5]);
  let k = integer(p[6]);
  for (let a = 0; a < outer; a++) {
    const base = integer(p[4]) + a * n * inner;
    for (let c = 0; c < count; c++) {
      for (let j = 0; j < inner; j++) dx[base + idx[k++] * inner + j] += g[i++];
    }
  }
};
