import { describe, expect, test } from 'vitest';
import { compile, concat, Generator, noGrad, type Tensor, tensor, where } from '../../src/index.js';
import { nll } from '../../src/ops/nll.js';
import { bernoulli, uniform } from '../../src/ops/random.js';
import { randomArray, type Source, source } from '../support/compare.js';

// Compiled against eager on random programs: results, parameters, gradients, buffers and generators must have the same
// bits after every call, for sizes that change, synchronous and asynchronous calls mixed. Fusions keep the arithmetic,
// so nothing may differ at all.

type Values = Tensor[];
interface State {
  readonly weights: Tensor[];
  readonly biases: Tensor[];
  readonly buffer: Tensor;
  readonly generator: Generator;
}
type Op = (v: Values, s: State) => Tensor;

const width = 6;
const classes = 4;

function makeState(seed: number): State {
  const make = (shape: number[], k: number, requiresGrad = true): Tensor => {
    const n = shape.reduce((a, b) => a * b, 1);
    return tensor(randomArray('float32', n, seed * 50 + k, { low: -0.5, high: 0.5 }), {
      shape,
      requiresGrad,
    });
  };
  return {
    weights: [make([width, width], 1), make([width, width], 2), make([width, classes], 3)],
    biases: [make([width], 4), make([width], 5), make([classes], 6)],
    buffer: make([width], 7, false),
    generator: new Generator(seed),
  };
}

/** One operation on [batch, width] values, chosen by s. */
function randomOp(s: Source, available: number): Op {
  const pick = (): number => s.int(0, available);
  const [i, j, k] = [pick(), pick(), s.int(0, 2)];
  const c = s.int(1, 9) / 4;
  const p = s.pick([0.25, 0.5, 0.9]);
  return s.pick<Op>([
    (v) => v[i].relu(),
    (v) => v[i].tanh(),
    (v) => v[i].sigmoid().mul(v[j]),
    (v) => v[i].clamp(-2, 2).exp(),
    (v) => v[i].softplus().sub(v[j].abs()),
    (v) => v[i].gelu().add(c),
    (v) => v[i].mul(v[i]).add(0.5).sqrt(),
    (v) => v[i].div(v[j].abs().add(c)),
    (v) => v[i].maximum(v[j]),
    (v) => v[i].minimum(v[j].neg()).clone(),
    (v, t) => v[i].matmul(t.weights[k]).add(t.biases[k]).relu(),
    (v, t) => v[i].matmul(t.weights[k]).add(t.biases[k]),
    (v, t) => t.biases[k].add(v[i].matmul(t.weights[k].T)).tanh(),
    (v, t) => v[i].matmul(t.weights[k]).sigmoid(),
    (v) => v[i].matmul(v[j].T).mul(0.1).matmul(v[i]),
    (v) => v[i].T.matmul(v[j]).matmul(v[i].T).T.mul(0.05),
    (v) => v[i].softmax(),
    (v) => v[i].logSoftmax(0).mul(c),
    (v) => v[i].sub(v[i].mean(1, { keepdims: true })),
    (v) => v[i].sub(v[j].max(0)).mul(v[i].sum(1, { keepdims: true }).sin()),
    (v) => v[i].slice([null, [null, null, -1]]).add(v[j]),
    (v) => concat([v[i].slice([null, [2, null]]), v[j].slice([null, [0, 2]])], 1),
    (v) => v[i].reshape(-1).mul(c).reshape(v[i].shape),
    (v) => where(v[i].gt(v[j]), v[i], v[j].mul(0.5)),
    (v) => v[i].detach().mul(v[j]),
    (v) => v[i].indexSelect(1, [5, 4, 3, 0, 1, 1]),
    (v, t) => v[i].mul(bernoulli(v[i].shape, p, 1 / p, 'float32', t.generator)),
    (v, t) => v[i].add(uniform(v[i].shape, -0.1, 0.1, 'float32', t.generator)),
    (v, t) => v[i].add(t.buffer),
    (v, t) => {
      noGrad(() => t.buffer.mul_(0.9).add_(v[i].mean(0).mul(0.1)));
      return v[i].sub(t.buffer);
    },
    (v) => v[i].add(tensor([0, 1, 2, 3, 4, 5])),
  ]);
}

interface Plan {
  readonly step: (x: Tensor, y: Tensor, s: State) => unknown;
  /** Gradients that are never set to null are added to in place, as in PyTorch, and change while they are held. */
  readonly zero: boolean;
  readonly text: string;
}

function makePlan(seed: number): Plan {
  const s = source(seed);
  const list: Op[] = [];
  const length = s.int(2, 12);
  for (let n = 0; n < length; n++) list.push(randomOp(s, n + 1));
  const loss = s.int(0, 3);
  const update = s.int(0, 3);
  const zero = s.int(0, 3) > 0;
  const result = s.int(0, 4);
  const step = (x: Tensor, y: Tensor, t: State): unknown => {
    const params = [...t.weights, ...t.biases];
    if (zero) for (const p of params) p.grad = null;
    const v: Values = [x];
    for (const op of list) v.push(op(v, t));
    const last = v[v.length - 1];
    const logits = last.matmul(t.weights[2]).add(t.biases[2]);
    const error =
      loss === 0
        ? nll(logits.logSoftmax(), y).mean()
        : loss === 1
          ? logits.sub(1).pow(2).mean()
          : nll(logits.mul(0.5).logSoftmax(), y).sum().add(last.mul(last).mean().mul(0.01));
    error.backward();
    noGrad(() => {
      for (const p of params) {
        const g = p.grad;
        if (g === null || update === 0) continue;
        if (update === 1) p.sub_(g.clamp(-1, 1).mul(0.05));
        else p.copy_(p.mul(0.99).sub(g.sign().mul(0.01)));
      }
    });
    if (result === 0) return error;
    if (result === 1) return [error, logits, last];
    if (result === 2) return { error, parts: [v[1].T, v[v.length >> 1]], note: 'fixed' };
    return [error, error, t.buffer, params[0], x];
  };
  return { step, zero, text: list.map(String).join('\n') };
}

const bits = (t: Tensor): number[] => [...new Uint32Array(Float32Array.from(t.clone().data).buffer)];

function flatten(x: unknown): unknown {
  if (x === null || typeof x !== 'object') return x;
  if ('view' in x) return [(x as Tensor).shape, bits(x as Tensor)];
  if (Array.isArray(x)) return x.map(flatten);
  return Object.fromEntries(Object.entries(x).map(([k, v]) => [k, flatten(v)]));
}

const stateOf = (s: State): unknown => ({
  params: [...s.weights, ...s.biases].map(bits),
  grads: [...s.weights, ...s.biases].map((p) => (p.grad === null ? null : bits(p.grad))),
  buffer: bits(s.buffer),
  generator: s.generator.getState(),
});

const seeds = Array.from({ length: 60 }, (_, i) => i + 1);

describe('compiled steps have the bits of eager ones', () => {
  test.each(seeds)('program %i', async (seed) => {
    const plan = makePlan(seed);
    const [a, b] = [makeState(seed), makeState(seed)];
    const compiled = compile((x: Tensor, y: Tensor) => plan.step(x, y, b), { name: `program${seed}` });
    const s = source(1000 + seed);
    const held: [Tensor, number[]][] = [];
    for (let call = 0; call < 9; call++) {
      const n = [8, 8, 3, 8, 3, 1, 8, 3, 1][call];
      const x = tensor(randomArray('float32', n * width, seed * 100 + call), { shape: [n, width] });
      const y = tensor(randomArray('int32', n, seed * 100 + call, { low: 0, high: classes }), {
        dtype: 'int32',
      });
      const expected = flatten(plan.step(x.clone(), y, a));
      const asynchronous = s.next() < 0.4;
      const actual = asynchronous ? await compiled.async(x, y) : compiled(x, y);
      const where = `call ${call}${asynchronous ? ' (async)' : ''} of\n${plan.text}`;
      expect(flatten(actual), where).toEqual(expected);
      expect(stateOf(b), where).toEqual(stateOf(a));
      // What was handed out stays as it was.
      const list = [actual]
        .flat()
        .filter((t): t is Tensor => typeof t === 'object' && t !== null && 'view' in t);
      const grad = b.weights[2].grad;
      for (const t of grad && plan.zero && call % 2 ? [...list, grad] : list) held.push([t, bits(t)]);
    }
    for (const [t, before] of held) expect(bits(t)).toEqual(before);
  });
});
