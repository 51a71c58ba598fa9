import { Worker } from 'node:worker_threads';
import {
  type AnomalyDetails,
  AnomalyError,
  ArgumentError,
  CompileError,
  compile,
  detectAnomaly,
  F,
  full,
  GradError,
  grad,
  manualSeed,
  matmul,
  nn,
  ones,
  optim,
  randint,
  randn,
  rsqrt,
  type Tensor,
  tensor,
  where,
  zeros,
} from 'simdgrad';
import { describe, expect, test } from 'vitest';

// The error that names the first operation that makes a NaN or an infinity, and what is not its business.

function anomaly(fn: () => unknown): AnomalyError {
  let caught: unknown;
  try {
    fn();
  } catch (error) {
    caught = error;
  }
  expect(caught).toBeInstanceOf(AnomalyError);
  return caught as AnomalyError;
}

async function anomalyOf(promise: Promise<unknown>): Promise<AnomalyError> {
  const caught: unknown = await promise.then(
    () => null,
    (error) => error,
  );
  expect(caught).toBeInstanceOf(AnomalyError);
  return caught as AnomalyError;
}

const leaf = (values: number[], dtype: 'float32' | 'float64' = 'float32'): Tensor =>
  tensor(values, { dtype, requiresGrad: true });
const bytes = (t: Tensor): Buffer => Buffer.from(t.clone().data.slice().buffer);

describe.each(['float32', 'float64'] as const)('in %s', (dtype) => {
  test('names the operation, the element and its inputs', () => {
    const x = tensor(
      [
        [1, 2, 3],
        [4, -1, 0],
      ],
      { dtype },
    );
    const e = anomaly(() => detectAnomaly(() => x.log()));
    expect(e.code).toBe('SIMDGRAD_ANOMALY');
    const expected: Partial<AnomalyDetails> = {
      op: 'log',
      during: 'forward',
      value: Number.NaN,
      shape: [2, 3],
      dtype,
      index: [1, 1],
      count: 2,
      forwardStack: null,
    };
    expect(e.details).toMatchObject(expected);
    expect(e.details.operands).toEqual([
      { what: 'input 0', shape: [2, 3], dtype, value: -1, range: [-1, 4], infinite: 0 },
    ]);
    expect(e.message).toBe(
      `log: made NaN from finite values, at [1, 1] of its result (${dtype} [2, 3]), the first of 2.\n` +
        `  input 0 (${dtype} [2, 3]) is -1 there`,
    );
  });

  test('of several operations the first', () => {
    const big = dtype === 'float32' ? 1e30 : 1e300;
    const e = anomaly(() => detectAnomaly(() => tensor([1, big], { dtype }).mul(2).mul(big).sub(1).exp()));
    expect(e.details).toMatchObject({ op: 'mul', value: Infinity, index: [1], count: 1 });
    expect(e.details.operands.map((o) => o.value)).toEqual(
      dtype === 'float32' ? [Math.fround(2e30), Math.fround(1e30)] : [2e300, 1e300],
    );
  });

  test('gives the values of broadcast inputs at the element', () => {
    const a = tensor([[1], [0]], { dtype });
    const b = tensor([3, 0], { dtype });
    const e = anomaly(() => detectAnomaly(() => a.div(b)));
    // 1 / 0 comes first, 0 / 0 second.
    expect(e.details).toMatchObject({ op: 'div', value: Infinity, shape: [2, 2], index: [0, 1], count: 2 });
    expect(e.details.operands.map((o) => [o.value, o.shape])).toEqual([
      [1, [2, 1]],
      [0, [2]],
    ]);
    const t = anomaly(() => detectAnomaly(() => a.T.div(b), { inf: false }));
    expect(t.details).toMatchObject({ value: Number.NaN, index: [0, 1], count: 1 });
    expect(t.details.operands.map((o) => o.value)).toEqual([0, 0]);
  });

  test('gives ranges where an element depends on many', () => {
    const big = dtype === 'float32' ? 3e38 : 1.7e308;
    const rows = tensor(
      [
        [1, 2],
        [big, big],
      ],
      { dtype },
    );
    const e = anomaly(() => detectAnomaly(() => rows.sum(1)));
    const top = rows.max().item();
    expect(e.details).toMatchObject({ op: 'sum', value: Infinity, shape: [2], index: [1] });
    expect(e.details.operands).toEqual([
      { what: 'input 0', shape: [2, 2], dtype, value: null, range: [1, top], infinite: 0 },
    ]);
    expect(e.message).toMatch(/input 0 \(\w+ \[2, 2\]\) has values from 1 to [\d.]+e\+30?[38]8?/);
    const product = anomaly(() => detectAnomaly(() => matmul(rows, ones(2, 2, { dtype }))));
    expect(product.details).toMatchObject({ op: 'matmul', shape: [2, 2], index: [1, 0], count: 2 });
  });

  test('in backward names the operation that was called forward, and where', () => {
    function rootOfNothing(x: Tensor): Tensor {
      return x.sqrt();
    }
    const x = leaf([4, 0], dtype);
    const e = anomaly(() => detectAnomaly(() => rootOfNothing(x).mul(3).sum().backward()));
    expect(e.details).toMatchObject({
      op: 'sqrt',
      during: 'backward',
      value: Infinity,
      shape: [2],
      dtype,
      index: [1],
      count: 1,
    });
    expect(e.details.operands.map((o) => [o.what, o.value])).toEqual([
      ['the gradient of the result', 3],
      ['the result', 0],
    ]);
    expect(e.details.forwardStack).toContain('rootOfNothing');
    expect(e.details.forwardStack).toContain('anomaly.test.ts');
    expect(e.details.forwardStack).not.toContain('detectAnomaly');
    expect(e.message).toContain('backward of sqrt: made Infinity from finite values, at [1]');
    expect(e.message).toContain('sqrt was called here:\n');
    expect(x.grad).toBe(null);
    // Called outside the mode, it has no stack.
    const y = rootOfNothing(x);
    const other = anomaly(() => detectAnomaly(() => y.sum().backward()));
    expect(other.details.forwardStack).toBe(null);
    expect(other.message).toContain('sqrt was called outside detectAnomaly; call it inside to see where');
  });

  test('in a sum of gradients', () => {
    const big = dtype === 'float32' ? 3e38 : 1.7e308;
    const x = leaf([1e-30], dtype);
    const twice = (y: Tensor) => y.mul(big).add(y.mul(big)).sum().backward();
    const e = anomaly(() => detectAnomaly(() => twice(x.neg())));
    expect(e.details).toMatchObject({ op: 'neg', during: 'backward', value: Infinity, index: [0] });
    expect(e.message).toContain('the sum of the gradients of its result, which is used several times');
    expect(e.details.operands.map((o) => [o.what, o.value])).toEqual([
      ['gradient 0', tensor(big, { dtype }).item()],
      ['gradient 1', tensor(big, { dtype }).item()],
    ]);
    const f = anomaly(() => detectAnomaly(() => twice(x)));
    expect(f.details).toMatchObject({ op: 'add', during: 'backward' });
    expect(f.message).toContain('of a leaf that is used several times');
  });

  test('in place', () => {
    const x = tensor([1, 0], { dtype });
    expect(anomaly(() => detectAnomaly(() => x.div_(0))).details).toMatchObject({
      op: 'div_',
      during: 'forward',
      value: Infinity,
      index: [0],
      count: 2,
    });
    expect([...x.data]).toEqual([1, 0]);
  });

  test('in updates of optimizers', () => {
    const big = dtype === 'float32' ? 1e30 : 1e200;
    const step = (make: (p: Tensor[]) => optim.Optimizer): AnomalyError => {
      const [a, b] = [leaf([1, 2], dtype), leaf([3, 1, 4], dtype)];
      const optimizer = make([a, b]);
      // The steps before are made in the way in which steps are made when nobody looks.
      for (let i = 0; i < 4; i++) {
        a.grad = zeros(2, { dtype });
        b.grad = zeros(3, { dtype });
        optimizer.step();
      }
      a.grad = ones(2, { dtype });
      b.grad = tensor([1, 1, big], { dtype });
      const e = anomaly(() => detectAnomaly(() => optimizer.step()));
      expect(e.details.during).toBe('update');
      return e;
    };
    const sgd = step((p) => new optim.SGD(p, { lr: big }));
    expect(sgd.details).toMatchObject({ op: 'SGD.step', value: -Infinity, index: [2], shape: [3], dtype });
    expect(sgd.message).toContain('SGD.step: made -Infinity from finite values, at [2] of parameter 1');
    expect(sgd.message).toMatch(/parameter 1 \(\w+ \[3\]\) is 4 there/);
    expect(sgd.message).toMatch(/the gradient of parameter 1 \(\w+ \[3\]\) is 1e\+(30|200) there/);
    const heavy = step((p) => new optim.SGD(p, { lr: big, momentum: 0.9 }));
    expect(heavy.details).toMatchObject({ op: 'SGD.step', value: -Infinity, index: [2] });
    const adam = step((p) => new optim.Adam(p));
    expect(adam.details).toMatchObject({ op: 'Adam.step', value: Infinity, index: [2], shape: [3] });
    expect(adam.message).toContain('expAvgSq of parameter 1');
    const rms = step((p) => new optim.RMSprop(p));
    expect(rms.message).toContain('in RMSprop.step: made Infinity');
  });
});

describe('what is reported and what is not', () => {
  test('values from outside, and what is filled in on purpose, are passed on', () => {
    const x = tensor([[1, 2, 3]]);
    const mask = tensor([[false, true, false]]);
    detectAnomaly(() => {
      tensor([Number.NaN, Infinity]).mul(2).sum().exp();
      full([2], Number.NaN).add(1);
      zeros(3).fill_(Infinity).mul(2);
      x.clone().copy_(tensor([Number.NaN, 1, 2]));
      x.maskedFill(mask, -Infinity).softmax();
      where(mask, Number.NaN, x).add(1);
      const w = leaf([Number.NaN, 1]);
      w.grad = ones(2);
      new optim.SGD([w], { lr: 0.1 }).step();
      new optim.Adam([w]).step();
    });
  });

  test('NaN from infinities is reported; so is what another element makes', () => {
    const masked = anomaly(() => detectAnomaly(() => full([1, 3], -Infinity).softmax()));
    expect(masked.details).toMatchObject({ op: 'softmax', value: Number.NaN, index: [0, 0], count: 3 });
    expect(masked.message).toContain('made NaN from values that are not NaN');
    expect(masked.message).toContain('has no finite values and 3 infinite ones');
    const difference = anomaly(() => detectAnomaly(() => tensor([1, Infinity]).sub(Infinity)));
    expect(difference.details).toMatchObject({ op: 'sub', value: Number.NaN, index: [1], count: 1 });
    expect(difference.message).toContain('made NaN from values that are not NaN');
    const e = anomaly(() => detectAnomaly(() => tensor([Infinity, Number.NaN, -Infinity, 0]).log(), {}));
    // The infinite one stays infinite, NaN stays NaN; log(-Infinity) is NaN, log(0) infinite.
    expect(e.details).toMatchObject({ index: [2], count: 2 });
  });

  test('an infinity that is meant can be let through; its NaN gradient not', () => {
    const logOrZero = (x: Tensor) => where(x.gt(0), x.log(), 0);
    const x = leaf([0, 2]);
    expect(anomaly(() => detectAnomaly(() => logOrZero(x))).details.op).toBe('log');
    expect(detectAnomaly(() => logOrZero(x), { inf: false }).toArray()).toEqual([
      0,
      Math.fround(Math.log(2)),
    ]);
    const e = anomaly(() => detectAnomaly(() => logOrZero(x).sum().backward(), { inf: false }));
    expect(e.details).toMatchObject({ op: 'log', during: 'backward', value: Number.NaN, index: [0] });
    expect(e.details.operands.map((o) => o.value)).toEqual([0, 0]);
  });

  test('what operations are made of inside is their own business', () => {
    detectAnomaly(() => {
      // Derivatives and losses that cut off or mask what is infinite on the way.
      for (const at of [0, 1]) {
        const x = leaf([at, at]);
        x.pow(0).sum().backward();
        x.norm().backward();
        x.std().backward();
        F.bce(x, tensor([0, 1])).backward();
      }
    });
  });

  test('a conversion that overflows, the mean of nothing', () => {
    const e = anomaly(() => detectAnomaly(() => tensor([1, 1e300], { dtype: 'float64' }).to('float32')));
    expect(e.details).toMatchObject({ op: 'to', value: Infinity, index: [1] });
    expect(e.details.operands[0]).toMatchObject({ value: 1e300, dtype: 'float64' });
    const f = anomaly(() => detectAnomaly(() => zeros(2).copy_(tensor([1, -1e300], { dtype: 'float64' }))));
    expect(f.details).toMatchObject({ op: 'copy_', value: -Infinity, index: [1] });
    expect(anomaly(() => detectAnomaly(() => zeros(0).mean())).details.value).toBeNaN();
  });

  test('windows and other strides: only what is there', () => {
    const x = full([4, 3], Number.NaN);
    detectAnomaly(() => x.narrow(1, 1, 1).copy_(tensor([[1], [2], [3], [4]])));
    expect([...x.narrow(1, 1, 1).clone().data]).toEqual([1, 2, 3, 4]);
    const huge = tensor([[1e300], [2], [3], [4]], { dtype: 'float64' });
    const late = anomaly(() => detectAnomaly(() => x.narrow(1, 2, 1).copy_(huge)));
    expect(late.details).toMatchObject({ op: 'copy_', value: Infinity, count: 1 });
    const grid = tensor([
      [1, 0],
      [-2, 4],
      [5, 6],
    ]);
    const e = anomaly(() => detectAnomaly(() => rsqrt(grid.T)));
    expect(e.details).toMatchObject({ shape: [2, 3], index: [0, 1] });
    expect(e.details.operands[0]!.value).toBe(-2);
  });

  test('in a derivative of a derivative, with both calls', () => {
    function cubeRoot(x: Tensor): Tensor {
      return x.pow(1.5);
    }
    const x = leaf([0, 1]);
    const e = anomaly(() =>
      detectAnomaly(() => {
        const g = grad(cubeRoot(x).sum(), x, { createGraph: true });
        g.sum().backward();
      }),
    );
    expect(e.details).toMatchObject({ op: 'pow', during: 'backward', value: Infinity, index: [0] });
    expect(e.message).toContain('which was itself part of the backward of pow, called here:');
    expect(e.details.forwardStack).toContain('cubeRoot');
  });
});

describe('networks', () => {
  const network = () =>
    new nn.Sequential(
      new nn.Linear(4, 8),
      new nn.BatchNorm1d(8),
      new nn.ReLU(),
      new nn.Linear(8, 6),
      new nn.Tanh(),
      new nn.Dropout(0.2),
      new nn.Linear(6, 3),
    );
  const names = Object.entries(optim).flatMap(([name, Class]) =>
    typeof Class === 'function' && Class.prototype instanceof optim.Optimizer ? [name] : [],
  );
  type Make = new (p: Tensor[]) => optim.Optimizer;

  test.each(names)('%s trains inside as outside, eager and compiled, to the bit', (name) => {
    const train = (compiled: boolean, inside: (i: number) => boolean): Buffer => {
      manualSeed(3);
      const model = network();
      const optimizer = new (optim as unknown as Record<string, Make>)[name]!(model.parameters());
      const fn = (x: Tensor, y: Tensor) => {
        optimizer.zeroGrad();
        const loss = F.crossEntropy(model.forward(x), y);
        loss.backward();
        optimizer.step();
        return { loss };
      };
      const step = compiled ? compile(fn) : fn;
      const [x, y] = [randn(6, 4), randint(0, 3, [6])];
      const values: Buffer[] = [];
      for (let i = 0; i < 6; i++) {
        const { loss } = inside(i) ? detectAnomaly(() => step(x, y)) : step(x, y);
        values.push(bytes(loss));
      }
      for (const p of model.parameters()) values.push(bytes(p));
      return Buffer.concat(values);
    };
    const outside = train(true, () => false);
    const same = (b: Buffer) => expect(b.equals(outside)).toBe(true);
    same(train(false, () => true));
    same(train(true, () => true));
    same(train(true, (i) => i % 2 === 1));
    same(train(true, (i) => i < 2));
  });

  test('a layer whose activation is fused is taken apart', () => {
    const model = new nn.Sequential(new nn.Linear(2, 2), new nn.ReLU(), new nn.Linear(2, 1));
    (model.parameters()[0] as Tensor).copy_(full([2, 2], 1e20));
    const e = anomaly(() => detectAnomaly(() => model.forward(full([1, 2], 1e20))));
    expect(e.details).toMatchObject({ op: 'matmul', value: Infinity });
  });

  test('a compiled step names the operation, with the stack of the function, and goes on afterwards', () => {
    const w = leaf([1, 2]);
    const optimizer = new optim.SGD([w], { lr: 0.5 });
    function trainingStep(x: Tensor): Tensor {
      optimizer.zeroGrad();
      const loss = w.mul(x).sqrt().sum();
      loss.backward();
      optimizer.step();
      return loss;
    }
    const step = compile(trainingStep);
    step(tensor([1, 1]));
    step(tensor([1, 1]));
    const before = [...w.data];
    const e = anomaly(() => detectAnomaly(() => step(tensor([1, 0]))));
    expect(e.details).toMatchObject({ op: 'sqrt', during: 'backward', index: [1] });
    expect(e.details.forwardStack).toContain('trainingStep');
    expect([...w.data]).toEqual(before);
    const f = anomaly(() => detectAnomaly(() => step(tensor([1, -1]))));
    expect(f.details).toMatchObject({ op: 'sqrt', during: 'forward', value: Number.NaN, index: [1] });
    expect(f.stack).toContain('trainingStep');
    const inside = detectAnomaly(() => step(tensor([1, 1])));
    expect(inside.requiresGrad).toBe(false);
    // Outside nobody looks.
    expect(step(tensor([1, -1])).item()).toBeNaN();
  });

  test('a compiled step keeps the rest of its promises inside', async () => {
    const w = leaf([1, 2]);
    const step = compile((x: Tensor, flag?: boolean) => {
      w.grad = null;
      const y = x.mul(w).sum();
      y.backward();
      return flag === true ? { y, all: [w, x] } : { y };
    });
    const x = leaf([3, 4]);
    const { y, all } = detectAnomaly(() => step(x, true));
    expect(y.item()).toBe(11);
    expect(x.grad).toBe(null);
    expect([...(w.grad as Tensor).data]).toEqual([3, 4]);
    // Results are the caller's own.
    all![0]!.fill_(9);
    expect([...w.data]).toEqual([1, 2]);
    expect(() => detectAnomaly(() => step(3 as never))).toThrow(ArgumentError);
    const half = compile(() => Promise.resolve(w) as never);
    expect(() => detectAnomaly(() => half())).toThrow(CompileError);
    const { y: later } = await detectAnomaly(() => step.async(x));
    expect(later.item()).toBe(11);
    const both = detectAnomaly(
      async () => [await step.async(x), await step.async(tensor([1e30, 1e38]))] as const,
    );
    expect((await both)[1].y.item()).toBe(Math.fround(Math.fround(1e30) + Math.fround(2e38)));
    const e = await anomalyOf(detectAnomaly(() => step.async(tensor([3e38, 3e38]))));
    expect(e.details).toMatchObject({ op: 'mul', index: [1] });
  });
});

describe('the mode', () => {
  const bad = () => tensor([0]).log();
  const soon = () => new Promise((resolve) => setTimeout(resolve, 5));

  test('gives back what the function returns and throws what it throws', () => {
    expect(detectAnomaly(() => 7)).toBe(7);
    expect(() =>
      detectAnomaly(() => {
        throw new RangeError('own');
      }),
    ).toThrow(RangeError);
    expect(anomaly(() => detectAnomaly(bad)).details.op).toBe('log');
    expect(bad().item()).toBe(-Infinity);
  });

  test('is nested, with the innermost options', () => {
    detectAnomaly(
      () => {
        bad();
        anomaly(() => detectAnomaly(bad));
        bad();
        detectAnomaly(() => anomaly(() => tensor([-1]).log()), { inf: false });
      },
      { inf: false },
    );
    detectAnomaly(() => {
      detectAnomaly(bad, { inf: false });
      anomaly(bad);
    });
    bad();
  });

  test('holds behind await, and only for its own function', async () => {
    let inside = true;
    const own = detectAnomaly(async () => {
      await soon();
      detectAnomaly(() => undefined);
      await soon();
      inside = false;
      bad();
    });
    const other = (async () => {
      while (inside) {
        bad();
        await new Promise(setImmediate);
      }
      return 'undisturbed';
    })();
    expect((await anomalyOf(own)).details.op).toBe('log');
    expect(await other).toBe('undisturbed');
    bad();
    expect(await detectAnomaly(async () => 5)).toBe(5);
  });

  test('does not hold for what a function left running', async () => {
    let left: Promise<number> | undefined;
    detectAnomaly(() => {
      left = soon().then(() => bad().item());
    });
    const longer = detectAnomaly(async () => {
      await left;
      return anomaly(bad);
    });
    expect(await left).toBe(-Infinity);
    await longer;
  });

  test('looks at each operation also where several modes run at once', async () => {
    const strict = detectAnomaly(async () => {
      await soon();
      return anomaly(bad).details.op;
    });
    const lax = detectAnomaly(
      async () => {
        await soon();
        return bad().item();
      },
      { inf: false },
    );
    expect(await Promise.all([strict, lax])).toEqual(['log', -Infinity]);
  });

  test('is a thread’s own', async () => {
    const entry = new URL('../../dist/index.js', import.meta.url).href;
    const worker = new Worker(
      `const { parentPort } = require('node:worker_threads');
       import(${JSON.stringify(entry)}).then(({ tensor, detectAnomaly }) => {
         const bad = () => tensor([0]).log().item();
         const outside = bad();
         let inside = null;
         try { detectAnomaly(bad); } catch (error) { inside = error.name; }
         parentPort.postMessage([outside, inside]);
       });`,
      { eval: true },
    );
    const answer = await detectAnomaly(
      () =>
        new Promise((resolve, reject) => {
          worker.once('message', resolve);
          worker.once('error', reject);
        }),
    );
    expect(answer).toEqual([-Infinity, 'AnomalyError']);
    await worker.terminate();
  });

  test('mistakes', () => {
    expect(() => detectAnomaly(3 as never)).toThrow(ArgumentError);
    expect(() => detectAnomaly(bad, { nan: true } as never)).toThrow(/no option "nan"/);
    expect(() => detectAnomaly(bad, { inf: 1 } as never)).toThrow(/inf is true or false/);
    expect(() => compile((x: Tensor) => detectAnomaly(() => x.log()))(tensor([1]))).toThrow(CompileError);
    const x = leaf([1]);
    const y = x.exp().sum();
    y.backward();
    expect(() => detectAnomaly(() => y.backward())).toThrow(GradError);
  });
});
