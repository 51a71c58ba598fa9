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
  const outAt = integer(p[4]);
  const xAt = integer(p[5]);
  const idxAt = integer(p[6]);
  const [out, x, idx] = b;
  checkIndices('indexSelect', idx, idxAt, count, n);
  let o = outAt;
  for (let a = 0; a < outer; a++) {
    const base = xAt + a * n * inner;
    for (let c = 0; c < count; c++, o += inner) copyRow(out, o, x, base + idx[idxAt + c] * inner, inner);
  }
};

/** indexSelectGrad: dx[outer, n, inner] = 0, then dx[outer, idx[count], inner] += g[outer, count, inner] in order of count. */
export const indexSelectGradKernel: JsKernel = (p, b) => {
  const outer = integer(p[0]);
  const n = integer(p[1]);
  const inner = integer(p[2]);
  const count = integer(p[3]);
  const outAt = integer(p[4]);
  const gAt = integer(p[5]);
  const idxAt = integer(p[6]);
  const [dx, g, idx] = b;
  checkIndices('indexSelectGrad', idx, idxAt, count, n);
  dx.fill(0, outAt, outAt + outer * n * inner);
  let i = gAt;
  for (let a = 0; a < outer; a++) {
    const base = outAt + a * n * inner;
    for (let c = 0; c < count; c++, i += inner) {
      const o = base + idx[idxAt + c] * inner;
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
  const outAt = integer(p[4]);
  const xAt = integer(p[5]);
  const idxAt = integer(p[6]);
  const [out, x, idx] = b;
  checkIndices('gather', idx, idxAt, outer * count * inner, n);
  let o = outAt;
  let k = idxAt;
  for (let a = 0; a < outer; a++) {
    const base = xAt + a * n * inner;
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
  const outAt = integer(p[4]);
  const gAt = integer(p[5]);
  const idxAt = integer(p[6]);
  const [dx, g, idx] = b;
  checkIndices('gatherGrad', idx, idxAt, outer * count * inner, n);
  dx.fill(0, outAt, outAt + outer * n * inner);
  let i = gAt;
  let k = idxAt;
  for (let a = 0; a < outer; a++) {
    const base = outAt + a * n * inner;
    for (let c = 0; c < count; c++) {
      for (let j = 0; j < inner; j++) dx[base + idx[k++] * inner + j] += g[i++];
    }
  }
};
