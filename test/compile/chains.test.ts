import { describe, expect, test } from 'vitest';
import { compile, Generator, noGrad, optim, randn, type Tensor, zeros } from '../../src/index.js';

const n = 40_000;
const generator = new Generator(5);
const vector = (): Tensor => randn([n], { generator });
/** How many calls each chain of the step has. */
const chains = (text: string): number[] =>
  (text.match(/┌[^└]*└/g) ?? []).map((chain) => chain.split('\n').length);

/** Runs the function eagerly and compiled (three times) from the same state and compares all bits. */
function same(make: () => (...xs: Tensor[]) => unknown, inputs: readonly Tensor[]): string {
  const [eager, compiled] = [make(), compile(make())];
  const bytes = (x: unknown): Buffer[] => {
    if (Array.isArray(x)) return x.flatMap(bytes);
    const { data } = (x as Tensor).clone();
    return [Buffer.from(data.buffer, data.byteOffset, data.byteLength)];
  };
  for (let i = 0; i < 3; i++) {
    const [ours, theirs] = [bytes(compiled(...inputs)), bytes(eager(...inputs))];
    expect(ours.map((b, k) => b.equals(theirs[k] as Buffer))).toEqual(ours.map(() => true));
  }
  return compiled.explain();
}

describe('chains of elementwise operations', () => {
  test('keep what only they see out of memory', () => {
    const text = same(() => (x) => x.mul(x).add(1).sqrt().sub(x).exp().neg(), [vector()]);
    expect(chains(text)).toEqual([6]);
    expect(text).toMatch(/, 0 B of intermediate values|, 64 B of intermediate values/);
    expect(text).toMatch(/└ neg .* MB|└ neg .* kB/);
  });

  test('short vectors are left alone', () => {
    const small = randn([100], { generator });
    expect(chains(same(() => (x) => x.mul(x).add(1).sqrt(), [small]))).toEqual([]);
  });

  test('with a length that is no multiple of a block, of every dtype, broadcast numbers and comparisons', () => {
    const odd = randn([n + 17], { generator });
    const make = () => (x: Tensor) => {
      const big = x.gt(0.5);
      const y = x.to('float64').mul(2).to('int32').mul(3);
      return [big.where(x, x.neg()).mul(2), y.to('float32').add(x), y, big];
    };
    expect(chains(same(make, [odd])).length).toBeGreaterThan(0);
  });

  test('a value that is used outside as well is stored', () => {
    const text = same(
      () => (x) => {
        const y = x.mul(2).add(1);
        return [y.sum(), y.relu().mul(3), y];
      },
      [vector()],
    );
    expect(chains(text).length).toBeGreaterThan(0);
  });

  test('what is written is never read as a single number of another element', () => {
    same(() => {
      const w = zeros(n);
      return (x) =>
        noGrad(() => {
          w.add_(x);
          const first = w.slice([0, 1]);
          w.mul_(0.5).add_(first);
          return w.sub(first);
        });
    }, [vector()]);
  });

  test('windows on one memory at different places stay in order', () => {
    same(() => {
      const w = zeros(2 * n);
      return (x) =>
        noGrad(() => {
          const [low, shifted] = [w.slice([0, n]), w.slice([1, n + 1])];
          low.add_(x);
          shifted.mul_(2).add_(low);
          low.sub_(shifted.mul(0.25));
          return w;
        });
    }, [vector()]);
  });

  test('random programs', () => {
    const rng = new Generator(11);
    const int = (k: number): number => Math.floor(randn([1], { generator: rng }).abs().item() * 1e4) % k;
    for (let program = 0; program < 25; program++) {
      const code = Array.from({ length: 4 + int(14) }, () => [int(9), int(64), int(64), int(3)] as const);
      const make = () => {
        const state = [zeros(n), zeros(n), zeros(n + 8)];
        return (x: Tensor, y: Tensor) =>
          noGrad(() => {
            const values = [x, y];
            const pick = (i: number): Tensor => values[i % values.length] as Tensor;
            for (const [kind, i, j, s] of code) {
              const own = state[s] as Tensor;
              const target = s === 2 ? own.slice([i % 8, n + (i % 8)]) : own;
              if (kind === 0) values.push(pick(i).add(pick(j)));
              else if (kind === 1) values.push(pick(i).mul(0.5).maximum(pick(j)));
              else if (kind === 2) values.push(pick(i).tanh());
              else if (kind === 3) target.add_(pick(i).clamp(-1, 1));
              else if (kind === 4) target.mul_(0.75);
              else if (kind === 5) values.push(target.sub(pick(j)));
              else if (kind === 6) values.push(pick(i).mul(pick(j).mean().tanh()));
              else if (kind === 7) values.push(pick(i).gt(pick(j)).where(target, pick(i)));
              else target.copy_(pick(j).sigmoid());
            }
            return [values.at(-1) as Tensor, ...state.map((t) => t.clone())];
          });
      };
      same(make, [vector(), vector()]);
    }
  });

  test.each(['RMSprop', 'Rprop', 'Adagrad', 'Adadelta', 'Adamax', 'NAdam', 'RAdam'] as const)(
    '%s, compiled and asynchronous, has the bits of the eager step',
    async (name) => {
      const make = () => {
        const w = randn([n], { generator: new Generator(1) });
        w.requiresGrad = true;
        const optimizer = new optim[name]([w]);
        const step = (x: Tensor) => {
          optimizer.zeroGrad();
          const loss = w.mul(x).sub(1).square().sum();
          loss.backward();
          optimizer.step();
          return loss;
        };
        return {
          step,
          // As bytes: a difference between long lists takes minutes to print.
          state: () =>
            Buffer.concat(
              [w, ...Object.values(optimizer.stateDict().state).flatMap((s) => Object.values(s))].map((v) => {
                const values = typeof v === 'number' ? Float64Array.of(v) : v.clone().data;
                return Buffer.from(values.buffer, values.byteOffset, values.byteLength);
              }),
            ),
        };
      };
      const [eager, compiled] = [make(), make()];
      const step = compile(compiled.step);
      for (let i = 0; i < 4; i++) {
        const x = vector();
        const loss = i % 2 === 0 ? step(x) : await step.async(x);
        expect(loss.item()).toBe(eager.step(x).item());
        expect(compiled.state().equals(eager.state())).toBe(true);
      }
      expect(Math.max(...chains(step.explain()))).toBeGreaterThan(3);
    },
  );
});
