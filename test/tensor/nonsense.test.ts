import fc from 'fast-check';
import * as sg from 'simdgrad';
import { afterAll, describe, expect, test } from 'vitest';

// Nonsense for every public function: it may be refused with an error of the library, or do something; no other
// error (TypeError, RangeError, a full stack) and no crash.

const { SimdgradError, Tensor, tensor } = sg;

/** What hostile objects throw; it may come through. */
class Trap extends Error {}
const trap = (): never => {
  throw new Trap('trap');
};
const hostile = new Proxy(
  {},
  { get: trap, has: trap, ownKeys: trap, getPrototypeOf: trap, getOwnPropertyDescriptor: trap },
);

const tensors: (() => unknown)[] = [
  () =>
    tensor([
      [1, 2, 3],
      [4, 5, 6],
    ]),
  () =>
    tensor(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      { dtype: 'float64' },
    ).T,
  () => tensor([0, 2, 1], { dtype: 'int32' }),
  () => tensor([true, false, true]),
  () => tensor(2.5),
  () => tensor(1, { dtype: 'int32' }),
  () => sg.zeros(0, 3),
  () => sg.ones(1, 1, 1, 1, 1, 1, 1, 1),
  () => tensor([1, 2, 3], { requiresGrad: true }),
  () => tensor([[1, 2, 3]], { requiresGrad: true }).mul(2),
  () => tensor([NaN, Infinity, -Infinity]),
  () => {
    const t = tensor([1, 2]);
    t.dispose();
    return t;
  },
];

// Sizes are tiny or beyond every limit: what lies between would only fill the memory of the machine.
const numbers = [
  NaN,
  Infinity,
  -Infinity,
  0,
  -0,
  -1,
  0.5,
  -0.5,
  1,
  2,
  3,
  -3,
  9,
  1e15,
  -1e15,
  2 ** 53,
  -(2 ** 53),
  2 ** 40,
  1e-310,
];

const values: (() => unknown)[] = [
  ...numbers.map((n) => () => n),
  ...[
    undefined,
    null,
    true,
    false,
    '',
    'x',
    'float64',
    '__proto__',
    'constructor',
    'mean',
    1n,
    Symbol('s'),
  ].map((v) => () => v),
  ...tensors,
  ...tensors,
  () => [],
  () => [1],
  () => [0, 1],
  () => [2, 3],
  () => [-1],
  () => [1, 1],
  () => [[1], [2]],
  () => [[0, 2, -1]],
  () => [null],
  () => [undefined, 'x'],
  () => [Symbol('s')],
  () => [Object.create(null)],
  () => [1n],
  () => [NaN],
  () => [1e15],
  () => [tensor([1, 2, 3]), tensor([1, 2, 3])],
  () => [tensor([1]), 3],
  () => {
    const loop: unknown[] = [];
    loop.push(loop);
    return loop;
  },
  () => new Array(3),
  () => ({}),
  () => Object.create(null),
  () => ({ keepdims: true }),
  () => ({ keepdims: Symbol('s') }),
  () => ({ dtype: 'float64' }),
  () => ({ dtype: Symbol('s') }),
  () => ({ dtype: Object.create(null) }),
  () => ({ shape: [1e15] }),
  () => ({ requiresGrad: true }),
  () => ({ generator: 3 }),
  () => ({ createGraph: true }),
  () => ({ reduction: 'none' }),
  () => ({ lr: 0.1 }),
  () => ({ lr: 'x' }),
  () => ({ length: 1e9 }),
  () => ({
    get length() {
      return trap();
    },
  }),
  () => ({ valueOf: trap, toString: trap }),
  () => hostile,
  () => new Float32Array(3),
  () => new Uint8Array([1, 0]),
  () => new BigInt64Array(2),
  () => new Date(0),
  () => /x/,
  () => new Map([[1, 2]]),
  () => new Set([1]),
  () => Promise.resolve(1),
  () => () => 1,
  () => (x: unknown) => x,
  () => (x: unknown) => (x instanceof Tensor ? x.mul(x).sum() : x),
  () => async () => 1,
  () => trap,
  () => new sg.Generator(1),
];

const garbage = fc.constantFrom(...values);

const typed = (error: unknown): boolean => error instanceof SimdgradError || error instanceof Trap;

function check(what: string, run: () => unknown): void {
  let result: unknown;
  try {
    result = run();
  } catch (error) {
    if (typed(error)) return;
    throw new Error(`${what} threw ${error instanceof Error ? error.stack : String(error)}`);
  }
  if (result instanceof Promise)
    pending.push(
      result.catch((error) => typed(error) || Promise.reject(new Error(`${what}: ${error?.stack}`))),
    );
  else if (typeof result === 'object' && result !== null && result instanceof Tensor && result.size < 1e4) {
    // What it gave must be in order.
    expect(Array.isArray(result.shape), what).toBe(true);
    expect(result.shape.reduce((a, b) => a * b, 1)).toBe(result.size);
    try {
      expect(result.data.length).toBe(result.size);
    } catch (error) {
      if (!typed(error)) throw error;
    }
  }
}

const pending: Promise<unknown>[] = [];
const before = sg.backendInfo();
afterAll(async () => {
  sg.setBackend(before.backend);
  sg.setNumThreads(before.threads);
  await Promise.all(pending);
});

function show(args: (() => unknown)[]): string {
  return args.map((a) => String(a).replace('() => ', '').replace(/\s+/g, ' ').slice(0, 60)).join(', ');
}

/** Calls with seeded random arguments, and throws an error that lists every way in which it went wrong. */
function fuzz(name: string, run: (args: unknown[]) => unknown, numRuns: number): void {
  const wrong = new Map<string, string>();
  for (const makers of fc.sample(fc.array(garbage, { maxLength: 4 }), { numRuns, seed: 7 })) {
    try {
      check(`${name}(${show(makers)})`, () => run(makers.map((m) => m())));
    } catch (error) {
      const text = (error as Error).message;
      const place = /\/src\/[^)]*/.exec(text)?.[0] ?? text;
      if (!wrong.has(place)) wrong.set(place, text.replace(/\s+/g, ' ').slice(0, 500));
    }
  }
  if (wrong.size > 0) throw new Error([...wrong.values()].join('\n'));
}

/** Functions that touch files or download; they have tests of their own. */
const left = new Set(['mnist', 'save', 'load', 'saveSafetensors', 'loadSafetensors', 'setBackend']);

function members(space: object): [string, (...args: unknown[]) => unknown][] {
  return Object.entries(space).filter(
    (e): e is [string, (...args: unknown[]) => unknown] => typeof e[1] === 'function',
  );
}

const isClass = (f: (...args: unknown[]) => unknown): boolean =>
  /^class\b/.test(Function.prototype.toString.call(f));

describe('functions', () => {
  test.each(members(sg).filter(([name, f]) => !left.has(name) && !isClass(f)))('%s', (name, f) => {
    fuzz(name, (args) => f(...args), 150);
    // And with a first argument that is right.
    for (const first of tensors) fuzz(`${name}(${show([first])}, …)`, (args) => f(first(), ...args), 12);
  });

  test('setBackend of what is none', () => {
    for (const v of values) {
      const name = v();
      if (name !== 'js' && name !== 'native')
        expect(() => sg.setBackend(name as 'js')).toThrow(SimdgradError);
    }
  });
});

describe('methods of tensors', () => {
  const names = Object.getOwnPropertyNames(Tensor.prototype).filter((n) => {
    const d = Object.getOwnPropertyDescriptor(Tensor.prototype, n);
    return n !== 'constructor' && typeof d?.value === 'function';
  });
  test.each(names)('%s', (name) => {
    for (const self of tensors) {
      fuzz(
        `${show([self])}.${name}`,
        (args) => (self() as Record<string, (...a: unknown[]) => unknown>)[name](...args),
        25,
      );
    }
  });

  test('fields', () => {
    for (const self of tensors) {
      for (const v of values) {
        for (const field of ['requiresGrad', 'grad'] as const) {
          check(`${field} = ${show([v])}`, () => {
            const t = self() as sg.Tensor;
            (t as unknown as Record<string, unknown>)[field] = v();
          });
        }
      }
    }
  });
});

describe('classes', () => {
  test('Generator', () => {
    fuzz('new Generator', (args) => new sg.Generator(...(args as [number])), 100);
    for (const method of ['manualSeed', 'setState', 'permutation', 'getState'] as const) {
      fuzz(
        `generator.${method}`,
        (args) => (new sg.Generator(1)[method] as (...a: unknown[]) => unknown)(...args),
        100,
      );
    }
  });

  test('Tensor', () => {
    fuzz('new Tensor', (args) => new Tensor(...(args as [never])), 100);
  });

  test('compiled steps', () => {
    const step = sg.compile<unknown[], unknown>((...args) =>
      args[0] instanceof Tensor ? args[0].mul(2) : null,
    );
    fuzz('step', (args) => step(...args), 200);
    fuzz('step.async', (args) => step.async(...args), 30);
    fuzz(
      'compile(f)()',
      (args) =>
        (sg.compile as (...a: unknown[]) => (...a: unknown[]) => unknown)(...args)(...args.slice(0, 2)),
      200,
    );
  });

  test('functions made by grad, valueAndGrad, jacobian, hessian', () => {
    for (const make of [sg.grad, sg.valueAndGrad, sg.jacobian, sg.hessian]) {
      fuzz(
        make.name,
        (args) =>
          (make as (f: unknown) => (...a: unknown[]) => unknown)((x: sg.Tensor) => x.mul(x).sum())(...args),
        100,
      );
    }
  });
});

describe('namespaces', () => {
  const spaces = { F: sg.F, nn: sg.nn, optim: sg.optim, init: sg.init, data: sg.data } as unknown as Record<
    string,
    object
  >;
  const all = Object.entries(spaces).flatMap(([space, members_]) =>
    members(members_)
      .filter(([name]) => !left.has(name))
      .map(([name, f]) => [`${space}.${name}`, f] as const),
  );
  test.each(all)('%s', (name, f) => {
    if (isClass(f)) {
      const make = f as unknown as new (...args: unknown[]) => Record<string, unknown>;
      fuzz(`new ${name}`, (args) => new make(...args), 150);
      for (const first of [...tensors, () => [tensor([1, 2], { requiresGrad: true })]]) {
        fuzz(`new ${name}(${show([first])}, …)`, (args) => new make(first(), ...args), 12);
      }
    } else {
      fuzz(name, (args) => f(...args), 150);
      for (const first of tensors) fuzz(`${name}(${show([first])}, …)`, (args) => f(first(), ...args), 20);
    }
  });
});
