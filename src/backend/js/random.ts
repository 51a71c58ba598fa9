import { ArgumentError } from '../../errors.js';
import type { JsKernel, TypedArray } from '../backend.js';
import { integer } from './strided.js';

/*
 * Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011). Element i of a fill depends on (key, block, i) alone, so a fill gives the same numbers
 * on every backend, in eager code and in compiled programs, whatever the order in which elements are made.
 *
 * The normals are bit-equal on both backends because log, sin and cos are computed here from + - * / alone,
 * in the order written. native/src/philox.h follows the same order of operations; change both or none.
 */

const M0_LO = 0x1f53;
const M0_HI = 0xd251;
const M1_LO = 0x8d57;
const M1_HI = 0xcd9e;
const M0 = 0xd2511f53 | 0;
const M1 = 0xcd9e8d57 | 0;
const W0 = 0x9e3779b9 | 0;
const W1 = 0xbb67ae85 | 0;

/** 2^-32, 2^-24, 2^-53, 2^26: all exact. */
const TWO_M32 = 1 / 4294967296;
const TWO_M24 = 1 / 16777216;
const TWO_M53 = 1 / 9007199254740992;
const TWO_26 = 67108864;

/**
 * The ten rounds of Philox4x32. The counter is (c0, c1, c2, c3), the key (k0, k1), all taken modulo 2^32; the four
 * words go to `out`.
 */
export function philox(
  c0: number,
  c1: number,
  c2: number,
  c3: number,
  k0: number,
  k1: number,
  out: Uint32Array,
): void {
  c0 |= 0;
  c1 |= 0;
  c2 |= 0;
  c3 |= 0;
  k0 |= 0;
  k1 |= 0;
  for (let round = 0; round < 10; round++) {
    // High words of the 64-bit products M0 * c0 and M1 * c2, from 16-bit halves; no partial sum exceeds 32 bits.
    let lo = c0 & 0xffff;
    let hi = c0 >>> 16;
    let mid = (Math.imul(hi, M0_LO) + (Math.imul(lo, M0_LO) >>> 16)) | 0;
    let low = (Math.imul(lo, M0_HI) + (mid & 0xffff)) | 0;
    const hi0 = (Math.imul(hi, M0_HI) + (mid >>> 16) + (low >>> 16)) | 0;
    const lo0 = Math.imul(M0, c0);
    lo = c2 & 0xffff;
    hi = c2 >>> 16;
    mid = (Math.imul(hi, M1_LO) + (Math.imul(lo, M1_LO) >>> 16)) | 0;
    low = (Math.imul(lo, M1_HI) + (mid & 0xffff)) | 0;
    const hi1 = (Math.imul(hi, M1_HI) + (mid >>> 16) + (low >>> 16)) | 0;
    const lo1 = Math.imul(M1, c2);
    c0 = hi1 ^ c1 ^ k0;
    c1 = lo1;
    c2 = hi0 ^ c3 ^ k1;
    c3 = lo0;
    k0 = (k0 + W0) | 0;
    k1 = (k1 + W1) | 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** Block number `block` (below 2^53) of the stream with this key: four uint32 words into `out`. */
export function philoxBlock(key0: number, key1: number, block: number, out: Uint32Array): void {
  philox(block >>> 0, Math.floor(block * TWO_M32) >>> 0, 0, 0, key0, key1, out);
}

const words = new Uint32Array(4);
const bits = new DataView(new ArrayBuffer(8));

/** ln 2 in two parts: the high one has 21 trailing zero bits, so k * LN2_HI is exact for every exponent k. */
const LN2_HI = 0.6931471803691238;
const LN2_LO = 1.9082149292705877e-10;
const SQRT2 = Math.SQRT2;

/**
 * ln x for normal x > 0. With x = 2^k m, m in (sqrt 1/2, sqrt 2], and s = (m - 1) / (m + 1):
 * ln m = 2 artanh s = 2s + 2s (z/3 + z^2/5 + ... + z^10/21), z = s^2 <= 0.0295; the first term left out is below 1e-18 of the sum.
 */
export function logUnit(x: number): number {
  bits.setFloat64(0, x);
  const high = bits.getUint32(0);
  let k = (high >>> 20) - 1023;
  bits.setUint32(0, (high & 0x000fffff) | 0x3ff00000);
  let m = bits.getFloat64(0); // in [1, 2)
  if (m > SQRT2) {
    m = m * 0.5;
    k = k + 1;
  }
  const f = m - 1;
  const s = f / (2 + f);
  const z = s * s;
  let q = 1 / 21;
  q = q * z + 1 / 19;
  q = q * z + 1 / 17;
  q = q * z + 1 / 15;
  q = q * z + 1 / 13;
  q = q * z + 1 / 11;
  q = q * z + 1 / 9;
  q = q * z + 1 / 7;
  q = q * z + 1 / 5;
  q = q * z + 1 / 3;
  const t = 2 * s;
  return k * LN2_HI + (t + (t * (z * q) + k * LN2_LO));
}

const HALF_PI = 1.5707963267948966;

/** cos(2 pi u) and sin(2 pi u) of the last call of sinCosTurns. */
let cosTurns = 0;
let sinTurns = 0;

/**
 * Sets cosTurns and sinTurns for u in [0, 1). The quarter turn nearest to 4u is taken off exactly; what remains, at most
 * pi/4, goes through the Taylor series to a^17 and a^16, whose remainders are below 1e-17.
 */
function sinCosTurns(u: number): void {
  const t = u * 4;
  const quarter = Math.floor(t + 0.5);
  const a = (t - quarter) * HALF_PI;
  const z = a * a;
  let p = 1 / 355687428096000;
  p = p * z - 1 / 1307674368000;
  p = p * z + 1 / 6227020800;
  p = p * z - 1 / 39916800;
  p = p * z + 1 / 362880;
  p = p * z - 1 / 5040;
  p = p * z + 1 / 120;
  p = p * z - 1 / 6;
  const sin = a + a * (z * p);
  let q = 1 / 20922789888000;
  q = q * z - 1 / 87178291200;
  q = q * z + 1 / 479001600;
  q = q * z - 1 / 3628800;
  q = q * z + 1 / 40320;
  q = q * z - 1 / 720;
  q = q * z + 1 / 24;
  const cos = 1 - (0.5 * z - z * (z * q));
  switch (quarter & 3) {
    case 0:
      cosTurns = cos;
      sinTurns = sin;
      break;
    case 1:
      cosTurns = -sin;
      sinTurns = cos;
      break;
    case 2:
      cosTurns = -cos;
      sinTurns = -sin;
      break;
    default:
      cosTurns = sin;
      sinTurns = -cos;
  }
}

/** For tests: [cos(2 pi u), sin(2 pi u)]. */
export function cosSinTurns(u: number): [number, number] {
  sinCosTurns(u);
  return [cosTurns, sinTurns];
}

/** The two 53-bit uniforms in [0, 1) of one block are made of words (0, 1) and (2, 3): times 2^-53. */
function wide(a: number, b: number): number {
  return (a >>> 5) * TWO_26 + (b >>> 6);
}

/** The largest value of the array's type that is strictly below x. */
function largestBelow(x: number, like: Float32Array | Float64Array): number {
  if (like instanceof Float32Array) {
    const f = Math.fround(x);
    if (f < x) return f;
    if (f === 0) return -1.401298464324817e-45;
    bits.setFloat32(0, f);
    bits.setInt32(0, bits.getInt32(0) + (f > 0 ? -1 : 1));
    return bits.getFloat32(0);
  }
  if (x === 0) return -Number.MIN_VALUE;
  bits.setFloat64(0, x);
  bits.setBigInt64(0, bits.getBigInt64(0) + (x > 0 ? -1n : 1n));
  return bits.getFloat64(0);
}

function floatOutput(kernel: string, b: readonly TypedArray[]): Float32Array | Float64Array {
  const out = b[0];
  if (out instanceof Float32Array || out instanceof Float64Array) return out;
  throw new ArgumentError(`${kernel}: the output must be float32 or float64`);
}

/**
 * uniform: out[i] = low + (high - low) u_i in double, rounded to the output's type; a result that rounds up to `high` becomes the
 * largest value below it. u has 24 random bits for float32 (one word each), 53 for float64 (two words each).
 */
export const uniformKernel: JsKernel = (p, b) => {
  const n = integer(p[0]);
  const offset = integer(p[1]);
  const key0 = p[2];
  const key1 = p[3];
  const block = p[4];
  const low = p[5];
  const high = p[6];
  const out = floatOutput('uniform', b);
  const range = high - low;
  const top = high > low ? largestBelow(high, out) : low;
  if (out instanceof Float32Array) {
    for (let i = 0; i < n; i += 4) {
      philoxBlock(key0, key1, block + i / 4, words);
      const count = Math.min(4, n - i);
      for (let j = 0; j < count; j++) {
        const x = Math.fround(low + range * ((words[j] >>> 8) * TWO_M24));
        out[offset + i + j] = x < high ? x : top;
      }
    }
  } else {
    for (let i = 0; i < n; i += 2) {
      philoxBlock(key0, key1, block + i / 2, words);
      const x = low + range * (wide(words[0], words[1]) * TWO_M53);
      out[offset + i] = x < high ? x : top;
      if (i + 1 < n) {
        const y = low + range * (wide(words[2], words[3]) * TWO_M53);
        out[offset + i + 1] = y < high ? y : top;
      }
    }
  }
};

/**
 * normal: out[i] = mean + std z_i, z by Box and Muller's transform: z = sqrt(-2 ln u1) (cos 2 pi u2, sin 2 pi u2), with u1 in (0, 1]
 * and u2 in [0, 1), of 32 bits each for float32 (two pairs of normals per block) and 53 bits for float64 (one pair).
 */
export const normalKernel: JsKernel = (p, b) => {
  const n = integer(p[0]);
  const offset = integer(p[1]);
  const key0 = p[2];
  const key1 = p[3];
  const block = p[4];
  const mean = p[5];
  const std = p[6];
  const out = floatOutput('normal', b);
  if (out instanceof Float32Array) {
    for (let i = 0; i < n; i += 4) {
      philoxBlock(key0, key1, block + i / 4, words);
      for (let j = 0; j < 4 && i + j < n; j += 2) {
        const r = Math.sqrt(-2 * logUnit((words[j] + 1) * TWO_M32));
        sinCosTurns(words[j + 1] * TWO_M32);
        out[offset + i + j] = mean + std * (r * cosTurns);
        if (i + j + 1 < n) out[offset + i + j + 1] = mean + std * (r * sinTurns);
      }
    }
  } else {
    for (let i = 0; i < n; i += 2) {
      philoxBlock(key0, key1, block + i / 2, words);
      const r = Math.sqrt(-2 * logUnit((wide(words[0], words[1]) + 1) * TWO_M53));
      sinCosTurns(wide(words[2], words[3]) * TWO_M53);
      out[offset + i] = mean + std * (r * cosTurns);
      if (i + 1 < n) out[offset + i + 1] = mean + std * (r * sinTurns);
    }
  }
};

/** bernoulli: out[i] = value where u_i < p (with probability p), else 0; u as in uniform. */
export const bernoulliKernel: JsKernel = (p, b) => {
  const n = integer(p[0]);
  const offset = integer(p[1]);
  const key0 = p[2];
  const key1 = p[3];
  const block = p[4];
  const probability = p[5];
  const value = p[6];
  const out = floatOutput('bernoulli', b);
  if (out instanceof Float32Array) {
    for (let i = 0; i < n; i += 4) {
      philoxBlock(key0, key1, block + i / 4, words);
      const count = Math.min(4, n - i);
      for (let j = 0; j < count; j++) {
        out[offset + i + j] = (words[j] >>> 8) * TWO_M24 < probability ? value : 0;
      }
    }
  } else {
    for (let i = 0; i < n; i += 2) {
      philoxBlock(key0, key1, block + i / 2, words);
      out[offset + i] = wide(words[0], words[1]) * TWO_M53 < probability ? value : 0;
      if (i + 1 < n) out[offset + i + 1] = wide(words[2], words[3]) * TWO_M53 < probability ? value : 0;
    }
  }
};

/** randint: out[i] = low + floor(u_i (high - low)), u with 32 random bits (one word each). */
export const randintKernel: JsKernel = (p, b) => {
  const n = integer(p[0]);
  const offset = integer(p[1]);
  const key0 = p[2];
  const key1 = p[3];
  const block = p[4];
  const low = p[5];
  const range = p[6] - low;
  const out = b[0];
  for (let i = 0; i < n; i += 4) {
    philoxBlock(key0, key1, block + i / 4, words);
    const count = Math.min(4, n - i);
    for (let j = 0; j < count; j++) out[offset + i + j] = low + Math.floor(words[j] * TWO_M32 * range);
  }
};
