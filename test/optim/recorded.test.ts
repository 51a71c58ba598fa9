import { Buffer } from 'node:buffer';
import {
  ArgumentError,
  backendInfo,
  compile,
  type DType,
  data,
  F,
  manualSeed,
  noGrad,
  ones,
  optim,
  randn,
  StateError,
  setBackend,
  setNumThreads,
  type Tensor,
  tensor,
  zeros,
} from 'simdgrad';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Executable } from '../../src/backend/backend.js';
import { backend } from '../../src/backend/load.js';
import type { ParamGroup } from '../../src/optim/group.js';
import type { Active } from '../../src/optim/optimizer.js';

/*
 * An eager step of a group is recorded when it comes for the second time, and is one call of the backend from then on.
 * What it is compared with here is the same class with an `update` of its own, which is never recorded: every kernel is
 * called one by one.
 */

type Options = Record<string, unknown>;
// biome-ignore lint/suspicious/noExplicitAny: any optimizer, with options of its own
type AnyOptimizer = optim.Optimizer<any>;
type Make = new (params: unknown, options?: Options) => AnyOptimizer;

const kinds: readonly [string, Options][] = [
  ['SGD', { lr: 0.1 }],
  ['SGD', { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 0.01 }],
  ['Adam', { lr: 0.01 }],
  ['Adam', { lr: 0.01, amsgrad: true, weightDecay: 0.1 }],
  ['AdamW', { lr: 0.01, maximize: true }],
  ['RMSprop', { lr: 0.01, centered: true, momentum: 0.5 }],
  ['Rprop', { lr: 0.01 }],
  ['Adagrad', { lr: 0.1, lrDecay: 0.1 }],
  ['Adadelta', { weightDecay: 0.01 }],
  ['Adamax', {}],
  ['NAdam', { lr: 0.01 }],
  ['RAdam', { lr: 0.01 }],
  ['SGD', { lr: 0.1, momentum: 0.9, momentumForm: 'velocity', weightDecay: 0.01 }],
  ['SGD', { lr: 0.1, momentum: 0.9, momentumForm: 'average', biasCorrection: true }],
  ['Rprop', { lr: 0.01, variant: 'sign' }],
  ['SignSGD', { lr: 0.01, momentum: 0.5 }],
  ['SteepestDescent', { lr: 0.01 }],
];

const classOf = (name: string): Make => (optim as unknown as Record<string, Make>)[name] as Make;

/** The same optimizer without recording. */
function plain(name: string): Make {
  const Base = classOf(name) as unknown as new (
    ...args: unknown[]
  ) => { update(group: unknown, active: unknown): void };
  const Plain = class extends Base {
    override update(group: unknown, active: unknown): void {
      super.update(group, active);
    }
  };
  Object.defineProperty(Plain, 'name', { value: name });
  return Plain as unknown as Make;
}

const bytes = (t: Tensor): Buffer => Buffer.from(t.clone().data.slice().buffer);

function stateBytes(o: AnyOptimizer): [string, unknown][] {
  return Object.entries(o.stateDict().state).flatMap(([key, entry]) =>
    Object.entries(entry)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([field, value]): [string, unknown] => [
        `${key} ${field}`,
        typeof value === 'number' ? value : bytes(value).toString('base64').slice(0, 4096),
      ]),
  );
}

/** Counts what reaches the backend: kernels one by one, and programs. */
function counted(): { kernels: () => number; programs: () => number } {
  const at = backend();
  const run = vi.spyOn(at, 'run');
  let programs = 0;
  const make = at.program.bind(at);
  vi.spyOn(at, 'program').mockImplementation((spec): Executable => {
    const executable = make(spec);
    const inner = executable.run.bind(executable);
    executable.run = (inputs) => {
      programs++;
      inner(inputs);
    };
    return executable;
  });
  return { kernels: () => run.mock.calls.length, programs: () => programs };
}

afterEach(() => {
  vi.restoreAllMocks();
});

// The first is long enough for chains, the others are not; and one is empty.
const shapes = [[40_000], [7, 5], [3], [], [0]] as const;

function parameters(dtype: DType, seed = 1): Tensor[] {
  manualSeed(seed);
  return shapes.map((shape) => {
    const p = randn(shape, { dtype });
    p.requiresGrad = true;
    return p;
  });
}

function setGrads(params: readonly Tensor[], seed: number, has: (i: number) => boolean = () => true): void {
  manualSeed(seed);
  params.forEach((p, i) => {
    p.grad = has(i) ? randn(p.shape, { dtype: p.dtype }) : null;
  });
}

describe('an eager step', () => {
  for (const [name, options] of kinds) {
    it(`of ${name} ${JSON.stringify(options)} is one call per group of parameters`, () => {
      const count = counted();
      const params = parameters('float32');
      const o = new (classOf(name))(
        [{ params: params.slice(0, 2) }, { params: params.slice(2), lr: 0.5 }],
        options,
      );
      for (let k = 0; k < 2; k++) {
        setGrads(params, k);
        o.step();
      }
      for (let k = 2; k < 6; k++) {
        setGrads(params, k);
        const [kernels, programs] = [count.kernels(), count.programs()];
        o.step();
        expect(count.kernels() - kernels).toBe(0);
        expect(count.programs() - programs).toBe(2);
      }
    });

    for (const dtype of ['float32', 'float64'] as const) {
      it(`of ${name} ${JSON.stringify(options)} has the bits of its kernels one by one, ${dtype}`, () => {
        const runs = [classOf(name), plain(name)].map((Class) => {
          const params = parameters(dtype);
          const o = new Class(params, options);
          const seen: [string, unknown][][] = [];
          for (let k = 0; k < 24; k++) {
            // Gradients come and go; every set of them comes again.
            setGrads(params, 100 + k, (i) => k < 4 || (i + (k >> 2)) % 3 !== 0);
            // Options change in between.
            const group = o.paramGroups[0] as unknown as Options;
            if (k === 5) o.lr = 0.02;
            if (k === 9 && 'weightDecay' in group) group.weightDecay = group.weightDecay === 0 ? 0.1 : 0;
            if (k === 13 && 'maximize' in group) group.maximize = !group.maximize;
            if (k === 15 && 'amsgrad' in group) group.amsgrad = !group.amsgrad;
            if (k === 17 && 'momentum' in group) {
              if ('nesterov' in group) group.nesterov = false;
              group.momentum = group.momentum === 0 ? 0.9 : 0;
            }
            // Versions move, so that a graph that saved a parameter notices.
            const before = (params[1] as Tensor).view.storage.version;
            o.step();
            if ((params[1] as Tensor).grad !== null) {
              expect((params[1] as Tensor).view.storage.version).toBeGreaterThan(before);
            }
            if (k === 19) o.loadStateDict(o.stateDict());
            if (k % 6 === 5) seen.push(stateBytes(o));
          }
          return { params: params.map(bytes), seen };
        });
        const [recorded, oneByOne] = runs as [(typeof runs)[0], (typeof runs)[0]];
        recorded.params.forEach((p, i) => {
          expect(p.equals(oneByOne.params[i] as Buffer), `parameter ${i}`).toBe(true);
        });
        expect(recorded.seen).toEqual(oneByOne.seen);
      });
    }
  }

  it('is recorded for every optimizer that there is', () => {
    const classes = Object.values(optim as Record<string, unknown>).filter(
      (x): x is Make => typeof x === 'function' && x.prototype instanceof optim.Optimizer,
    );
    expect(classes.length).toBeGreaterThanOrEqual(9);
    const count = counted();
    const missing = classes.filter((Class) => {
      const p = tensor([1, 2, 3], { requiresGrad: true });
      const o = new Class([p]);
      for (let k = 0; k < 2; k++) {
        p.grad = tensor([1, -1, 0.5]);
        o.step();
      }
      p.grad = tensor([1, 1, 1]);
      const kernels = count.kernels();
      o.step();
      return count.kernels() > kernels;
    });
    // One that is missing belongs into recordUpdates(...) of src/optim/index.ts.
    expect(missing.map((Class) => Class.name)).toEqual([]);
  });

  it('goes on with parameters that are added, removed and replaced', () => {
    const [a, b] = [classOf('NAdam'), plain('NAdam')].map((Class) => {
      const params = parameters('float32');
      const o = new Class(params.slice(0, 2), {});
      const all = [...params];
      for (let k = 0; k < 20; k++) {
        if (k === 4) o.addParamGroup({ params: params.slice(2, 4) });
        if (k === 8) o.paramGroups[0]?.params.pop();
        if (k === 12) {
          manualSeed(77);
          const other = randn([40_000]);
          other.requiresGrad = true;
          all.push(other);
          (o.paramGroups[0]?.params as Tensor[])[0] = other;
        }
        setGrads(all, k);
        o.step();
      }
      return all.map(bytes);
    }) as [Buffer[], Buffer[]];
    a.forEach((p, i) => {
      expect(p.equals(b[i] as Buffer), `parameter ${i}`).toBe(true);
    });
  });

  it('takes gradients that share memory with parameters or each other, and windows on larger memory', () => {
    for (const name of ['Adam', 'RMSprop']) {
      const [a, b] = [classOf(name), plain(name)].map((Class) => {
        manualSeed(3);
        const params = [randn([8]), randn([8]), randn([8])];
        for (const p of params) p.requiresGrad = true;
        const [p, q, r] = params as [Tensor, Tensor, Tensor];
        const o = new Class(params, { lr: 0.1 });
        for (let k = 0; k < 8; k++) {
          const both = randn([16]);
          p.grad = both.slice([0, 8]);
          q.grad = both.slice([8, 16]);
          // From time to time the gradient is the parameter itself, which the step changes.
          r.grad = k % 4 === 3 ? p.detach() : q.grad;
          o.step();
        }
        return params.map(bytes);
      }) as [Buffer[], Buffer[]];
      a.forEach((p, i) => {
        expect(p.equals(b[i] as Buffer), `${name}, parameter ${i}`).toBe(true);
      });
    }
  });

  it('sees the parameter as the step before left it, where a gradient is a window on another one', () => {
    const [a, b] = [classOf('RMSprop'), plain('RMSprop')].map((Class) => {
      manualSeed(4);
      // In a recording the first and the last run together, before the one between them.
      const params = [randn([40_000]), randn([80_000]), randn([40_000])];
      for (const p of params) p.requiresGrad = true;
      const [p, q, r] = params as [Tensor, Tensor, Tensor];
      const o = new Class(params, { lr: 0.1 });
      for (let k = 0; k < 5; k++) {
        p.grad = randn([40_000]);
        q.grad = randn([80_000]);
        r.grad = k < 3 ? randn([40_000]) : q.detach().slice([0, 40_000]);
        o.step();
      }
      return params.map(bytes);
    }) as [Buffer[], Buffer[]];
    a.forEach((p, i) => {
      expect(p.equals(b[i] as Buffer), `parameter ${i}`).toBe(true);
    });
  });

  it('leaves batches that were taken before with the values from before', () => {
    const p = tensor([1, 2, 3, 4]);
    const o = new optim.SGD([p], { lr: 1 });
    const loader = new data.DataLoader(new data.TensorDataset(p), { batchSize: 4 });
    for (let k = 0; k < 4; k++) {
      const before = p.toArray();
      const [[batch]] = [...loader] as [[Tensor]];
      p.grad = tensor([1, 1, 1, 1]);
      o.step();
      expect(batch.toArray()).toEqual(before);
    }
  });

  it('has memory of its own while an asynchronous step uses that of all', async () => {
    const sizes = [600, 30_000];
    const grads = (k: number) => {
      manualSeed(k);
      return sizes.map((n) => randn([n]));
    };
    const run = async (Class: Make, beside: boolean): Promise<Buffer[]> => {
      manualSeed(6);
      const params = sizes.map((n) => randn([n]));
      for (const p of params) p.requiresGrad = true;
      const o = new Class(params);
      const x = randn([256, 256]);
      const step = compile((y: Tensor) => y.matmul(y).tanh().matmul(y).exp().matmul(y).sum());
      const pendings: Promise<unknown>[] = [];
      for (let k = 0; k < 6; k++) {
        if (beside && k >= 3) pendings.push(step.async(x));
        for (const [i, g] of grads(k).entries()) (params[i] as Tensor).grad = g;
        o.step();
      }
      await Promise.all(pendings);
      return params.map(bytes);
    };
    const alone = await run(plain('NAdam'), false);
    const together = await run(classOf('NAdam'), true);
    together.forEach((p, i) => {
      expect(p.equals(alone[i] as Buffer), `parameter ${i}`).toBe(true);
    });
  });

  it('gives the same bits on any number of threads', () => {
    const { threads } = backendInfo();
    try {
      const runs = [1, 3].map((n) => {
        setNumThreads(n);
        const params = parameters('float32');
        const o = new optim.RMSprop(params);
        for (let k = 0; k < 6; k++) {
          setGrads(params, k);
          o.step();
        }
        return bytes(params[0] as Tensor);
      });
      expect(runs[0]?.equals(runs[1] as Buffer)).toBe(true);
    } finally {
      setNumThreads(threads);
    }
  });

  it('goes on when the backend is changed', () => {
    const name = backendInfo().backend;
    const p = tensor([1, 2, 3], { requiresGrad: true });
    const o = new optim.SGD([p], { lr: 0.5, momentum: 0.5 });
    p.grad = tensor([1, 1, 1]);
    try {
      for (let k = 0; k < 3; k++) o.step();
      setBackend('js');
      const count = counted();
      o.step();
      // On that backend a step is recorded again, unless it was there already.
      expect([count.kernels(), count.programs()]).toEqual([0, name === 'js' ? 0 : 1]);
      for (let k = 4; k < 6; k++) o.step();
    } finally {
      setBackend(name);
    }
    o.step();
    // v = 1, 1.5, 1.75, …: p = 1 - lr Σ v.
    const velocities = [1, 1.5, 1.75, 1.875, 1.9375, 1.96875, 1.984375];
    expect(p.data[0]).toBe(1 - 0.5 * velocities.reduce((x, y) => x + y, 0));
  });

  it('is not recorded where a subclass has an update of its own', () => {
    let factor = 1;
    class Mine extends optim.SGD {
      protected override update(_: ParamGroup<optim.SGDOptions>, active: readonly Active[]): void {
        // A plain number that changes from step to step, and a value that is looked at.
        for (const { p, g } of active) p.detach().sub_(g.mul(factor++ + g.sum().item()));
      }
    }
    const p = zeros([2], { requiresGrad: true });
    const o = new Mine([p]);
    p.grad = tensor([1, 1]);
    for (let k = 0; k < 4; k++) o.step();
    expect(p.toArray()).toEqual([-18, -18]);
  });

  /** Reads its rate where it needs it. */
  class Reading extends optim.Optimizer {
    constructor(params: readonly Tensor[]) {
      super(params, {}, { lr: [1, () => undefined] });
    }
    protected override update(group: ParamGroup<{ lr?: number }>, active: readonly Active[]): void {
      for (const { p, g } of active) p.detach().sub_(g.mul(group.lr));
    }
  }

  it('of a subclass reads rates behind a schedule as they are then, and is not traced for those it gets from advance()', () => {
    class Advancing extends Reading {
      protected override update(group: ParamGroup<{ lr?: number }>, active: readonly Active[]): void {
        const numbers = this.advance(active, () => [group.lr]);
        const [lr] = this.scalars('float32', numbers) as [Tensor];
        for (const { p, g } of active) p.detach().sub_(g.mul(lr));
      }
    }
    for (const Kind of [Reading, Advancing]) {
      for (const scheduleFirst of [true, false]) {
        let calls = 0;
        const run = (compiled: boolean): unknown => {
          const w = tensor([1], { requiresGrad: true });
          const o = new Kind([w]);
          const schedule = new optim.StepLR(o, { stepSize: 3, gamma: 0.5 });
          const body = (x: Tensor) => {
            calls++;
            if (scheduleFirst) schedule.step();
            o.zeroGrad();
            w.mul(x).sum().backward();
            o.step();
            if (!scheduleFirst) schedule.step();
            return w.mul(1);
          };
          const step = compiled ? compile(body) : body;
          return Array.from({ length: 9 }, () => step(ones([1])).item());
        };
        const eager = run(false);
        calls = 0;
        expect(run(true)).toEqual(eager);
        if (Kind === Advancing) expect(calls).toBe(2);
      }
    }
  });

  it('of a subclass follows its options in a compiled step, too', () => {
    const run = (compiled: boolean): unknown => {
      const w = tensor([1], { requiresGrad: true });
      const o = new Reading([w]);
      const body = (x: Tensor) => {
        o.zeroGrad();
        w.mul(x).sum().backward();
        o.step();
        return x.mul(o.lr);
      };
      const step = compiled ? compile(body) : body;
      const seen: unknown[] = [];
      for (const lr of [0.1, 0.1, 0.1, 0.5, 0.25, 0.1]) {
        o.lr = lr;
        seen.push(step(ones([1])).item(), w.item());
      }
      return seen;
    };
    expect(run(true)).toEqual(run(false));
  });

  it('is refused as before while a compiled step works on the parameters, and counts no step', async () => {
    const w = noGrad(() => randn([300, 300]).mul(0.01));
    w.requiresGrad = true;
    const o = new optim.Adam([w]);
    const own = new optim.Adam([w]);
    const step = compile((x: Tensor) => {
      o.zeroGrad();
      const loss = F.mseLoss(x.matmul(w), x);
      loss.backward();
      o.step();
      return loss;
    });
    const reading = compile((x: Tensor) => x.matmul(w).sum());
    const x = randn([300, 300]);
    step(x);
    reading(x);
    for (let k = 0; k < 3; k++) {
      w.grad = randn([300, 300]);
      own.step();
    }
    const before = (own.stateDict().state[0] as Record<string, unknown>).step;
    for (const busy of [step, reading]) {
      w.grad = randn([300, 300]);
      const pending = busy.async(x);
      expect(() => own.step()).toThrow(StateError);
      expect(() => own.step()).toThrow(/Adam\.step: this tensor is being/);
      await pending;
    }
    expect((own.stateDict().state[0] as Record<string, unknown>).step).toBe(before);
    w.grad = randn([300, 300]);
    own.step();
    expect((own.stateDict().state[0] as Record<string, unknown>).step).toBe((before as number) + 1);
  });

  it('says so when memory is gone, and leaves the counts as they were', () => {
    const p = tensor([1, 2], { requiresGrad: true });
    const o = new optim.Adam([p]);
    for (let k = 0; k < 3; k++) {
      p.grad = tensor([1, 1]);
      o.step();
    }
    const g = tensor([1, 1]);
    const { buffer } = g.data;
    structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
    p.grad = g;
    const before = p.toArray();
    expect(() => o.step()).toThrow(StateError);
    expect(o.stateDict().state[0]?.step).toBe(3);
    expect(p.toArray()).toEqual(before);
    p.grad = tensor([1, 1]);
    // The same in the step that is recorded.
    const q = tensor([1, 2], { requiresGrad: true });
    const other = new optim.NAdam([q]);
    q.grad = tensor([1, 1]);
    other.step();
    const { step, muProduct } = other.stateDict().state[0] as Record<string, unknown>;
    q.grad = g;
    expect(() => other.step()).toThrow(StateError);
    expect(other.stateDict().state[0]).toMatchObject({ step, muProduct });
    (o.paramGroups[0] as unknown as { eps: unknown }).eps = 'no number';
    expect(() => o.step()).toThrow(ArgumentError);
    expect(o.stateDict().state[0]?.step).toBe(3);
    expect(p.toArray()).toEqual(before);
  });
});
