import type { JsKernel } from '../backend.js';
import { integer } from './strided.js';

/*
 * Optimizer steps over contiguous vectors, as in PyTorch (torch.optim.SGD, Adam, AdamW). Params: [n, offset per buffer (outputs first),
 * attrs]. Arithmetic is in double, rounded when stored. pOut may be p's memory.
 * Throughout, g' = (maximize ? -g : g) + weightDecay p.
 */

/** sgd: pOut = p - lr g'. Attributes: lr, weightDecay, maximize. */
export const sgdKernel: JsKernel = (p, b) => {
  const n = integer(p[0]);
  const o = integer(p[1]);
  const i = integer(p[2]);
  const k = integer(p[3]);
  const lr = p[4];
  const weightDecay = p[5];
  const sign = p[6] !== 0 ? -1 : 1;
  const [out, x, g] = b;
  for (let j = 0; j < n; j++) {
    const v = x[i + j];
    out[o + j] = v - lr * (sign * g[k + j] + weightDecay * v);
  }
};

/**
 * sgdMomentum: buf = first ? g' : momentum buf + (1 - dampening) g'; pOut = p - lr d, d = nesterov ? g' + momentum buf : buf.
 * Attributes: lr, weightDecay, maximize, momentum, dampening, nesterov, first.
 */
export const sgdMomentumKernel: JsKernel = (p, b) => {
  const n = integer(p[0]);
  const o = integer(p[1]);
  const m = integer(p[2]);
  const i = integer(p[3]);
  const k = integer(p[4]);
  const lr = p[5];
  const weightDecay = p[6];
  const sign = p[7] !== 0 ? -1 : 1;
  const momentum = p[8];
  const fresh = 1 - p[9];
  const nesterov = p[10] !== 0;
  const first = p[11] !== 0;
  const [out, buf, x, g] = b;
  for (let j = 0; j < n; j++) {
    const v = x[i + j];
    const d = sign * g[k + j] + weightDecay * v;
    const u = first ? d : momentum * buf[m + j] + fresh * d;
    buf[m + j] = u;
    out[o + j] = v - lr * (nesterov ? d + momentum * u : u);
  }
};

/**
 * adam: m = beta1 m + (1 - beta1) g'; v = beta2 v + (1 - beta2) g'^2; pOut = p - (lr / c1) m / (sqrt(v) / sqrt(c2) + eps), where
 * c1 = 1 - beta1^t and c2 = 1 - beta2^t. With `decoupled` (AdamW) g' has no weight decay and p is first multiplied by 1 - lr weightDecay.
 * Attributes: lr, beta1, beta2, eps, weightDecay, decoupled, maximize, c1, c2.
 */
export const adamKernel: JsKernel = (p, b) => {
  const n = integer(p[0]);
  const o = integer(p[1]);
  const m = integer(p[2]);
  const v = integer(p[3]);
  const i = integer(p[4]);
  const k = integer(p[5]);
  const lr = p[6];
  const beta1 = p[7];
  const beta2 = p[8];
  const eps = p[9];
  const decoupled = p[11] !== 0;
  const coupledDecay = decoupled ? 0 : p[10];
  const shrink = decoupled ? 1 - lr * p[10] : 1;
  const sign = p[12] !== 0 ? -1 : 1;
  const stepSize = lr / p[13];
  const root = 1 / Math.sqrt(p[14]);
  const [out, first, second, x, g] = b;
  for (let j = 0; j < n; j++) {
    const w = x[i + j];
    const d = coupledDecay === 0 ? sign * g[k + j] : sign * g[k + j] + coupledDecay * w;
    const a = beta1 * first[m + j] + (1 - beta1) * d;
    const s = beta2 * second[v + j] + (1 - beta2) * (d * d);
    first[m + j] = a;
    second[v + j] = s;
    out[o + j] = w * shrink - (stepSize * a) / (Math.sqrt(s) * root + eps);
  }
};
