import { F, init, nn, ones, optim, SimdgradError, tensor, zeros } from 'simdgrad';
import { describe, expect, it } from 'vitest';

const p = zeros([2], { requiresGrad: true });
const nonsense: unknown[] = [
  undefined,
  null,
  0,
  -1,
  1.5,
  Number.NaN,
  Infinity,
  '',
  'x',
  true,
  [],
  [null],
  {},
  { lr: 'x' },
  { unknown: 1 },
  () => 1,
  Symbol('s'),
  10n,
  new Float32Array(2),
  new Map(),
  new Date(),
  zeros(0),
  ones(2),
  ones(2, 3),
  tensor(1),
  tensor([1, 2], { dtype: 'int32' }),
  tensor([true, false]),
  [p],
  new nn.ReLU(),
  nn.ReLU,
  Object.create(null),
];

type Callable = (...args: unknown[]) => unknown;
type Class = new (...args: unknown[]) => unknown;

/** Runs a call that may well be refused, but only by an error of the library that says something. */
function attempt(what: string, f: () => unknown): unknown {
  try {
    return f();
  } catch (error) {
    if (!(error instanceof SimdgradError)) {
      throw new Error(`${what}: ${error instanceof Error ? error.stack : String(error)}`);
    }
    expect(error.message.length, what).toBeGreaterThan(10);
    return undefined;
  }
}

function show(x: unknown): string {
  return typeof x === 'symbol' || x === null || typeof x !== 'object'
    ? String(x)
    : Object.prototype.toString.call(x);
}

const isClass = (f: unknown): boolean => /^class\b/.test(Function.prototype.toString.call(f));

describe('nonsense is refused with an error of the library', () => {
  for (const [space, members] of Object.entries({ nn, F, init, optim, utils: nn.utils })) {
    for (const [name, value] of Object.entries(members as Record<string, unknown>)) {
      if (typeof value !== 'function') continue;
      it(`${space}.${name}`, () => {
        for (const a of nonsense) {
          const one = `${space}.${name}(${show(a)})`;
          if (isClass(value)) {
            const made = attempt(one, () => new (value as Class)(a));
            attempt(`new ${one} with options`, () => new (value as Class)([p], a));
            attempt(
              `new ${one} with options`,
              () => new (value as Class)(new optim.SGD([p], { momentum: 0.5 }), a),
            );
            if (made instanceof nn.Module && made.forward !== nn.Module.prototype.forward) {
              for (const x of nonsense) attempt(`${one}.forward(${show(x)})`, () => made.forward(x, x));
            }
          } else {
            attempt(one, () => (value as Callable)(a));
            for (const b of nonsense)
              attempt(`${one.slice(0, -1)}, ${show(b)})`, () => (value as Callable)(a, b));
            for (const b of nonsense)
              attempt(`${space}.${name}(tensor, ${show(a)}, ${show(b)})`, () =>
                (value as Callable)(ones(2), a, b),
              );
          }
        }
      });
    }
  }

  it('methods of modules and optimizers', () => {
    const model = new nn.Sequential(new nn.Linear(2, 2));
    const optimizer = new optim.SGD([p], { lr: 0.1 });
    const schedule = new optim.StepLR(optimizer, { stepSize: 1 });
    const calls: [string, (x: unknown) => unknown][] = [
      ['loadStateDict', (x) => model.loadStateDict(x as never)],
      ['loadStateDict options', (x) => model.loadStateDict(model.stateDict(), x as never)],
      ['train', (x) => model.train(x as never)],
      ['requiresGrad_', (x) => model.requiresGrad_(x as never)],
      ['apply', (x) => (typeof x === 'function' ? undefined : model.apply(x as never))],
      ['to', (x) => model.to(x as never)],
      ['append', (x) => new nn.Sequential().append(x as never)],
      ['registerBuffer', (x) => new nn.Module().registerBuffer(x as never, ones(1))],
      ['registerBuffer values', (x) => new nn.Module().registerBuffer('a', x as never)],
      ['registerBuffer options', (x) => new nn.Module().registerBuffer('a', ones(1), x as never)],
      ['registerForwardPreHook', (x) => new nn.ReLU().registerForwardPreHook(x as never)],
      ['registerForwardHook options', (x) => new nn.ReLU().registerForwardHook(() => {}, x as never)],
      ['vjp', (x) => model.vjp(x)],
      ['vjp gradient', (x) => model.vjp(ones(1, 2), x as never)],
      ['MLP options', (x) => new nn.MLP([2, 2], x as never)],
      ...(['activation', 'outputActivation', 'init', 'biasInit', 'bias', 'dtype', 'generator'] as const).map(
        (name): [string, (x: unknown) => unknown] => [
          `MLP ${name}`,
          (x) => new nn.MLP([2, 2, 2], { [name]: x } as never),
        ],
      ),
      ['linear options', (x) => F.linear(ones(1, 2), ones(2, 2), ones(2), x as never)],
      ['linear bias', (x) => F.linear(ones(1, 2), ones(2, 2), x as never, { formalBias: true })],
      ['l2Penalty options', (x) => F.l2Penalty(model, 1, x as never)],
      ['registerForwardHook', (x) => new nn.ReLU().registerForwardHook(x as never)],
      ['optimizer.loadStateDict', (x) => optimizer.loadStateDict(x as never)],
      ['optimizer.loadStateDict', (x) => optimizer.loadStateDict({ state: x, paramGroups: x } as never)],
      [
        'optimizer.loadStateDict',
        (x) => optimizer.loadStateDict({ state: { 0: x }, paramGroups: [x] } as never),
      ],
      ['addParamGroup', (x) => optimizer.addParamGroup(x as never)],
      ['addParamGroup', (x) => optimizer.addParamGroup({ params: x } as never)],
      ['lr', (x) => Object.assign(optimizer, { lr: x })],
      ['step', (x) => (typeof x === 'function' ? undefined : optimizer.step(x as never))],
      ['schedule.loadStateDict', (x) => schedule.loadStateDict(x as never)],
    ];
    for (const [name, f] of calls) for (const x of nonsense) attempt(`${name}(${show(x)})`, () => f(x));
  });
});
