import {
  ArgumentError,
  DTypeError,
  LinAlgError,
  manualSeed,
  nn,
  randn,
  ShapeError,
  type Tensor,
  tensor,
} from 'simdgrad';
import { elbowCoverage, elbowDistances, elbows } from 'simdgrad/analysis';
import { describe, expect, it } from 'vitest';

const dtypes = ['float64', 'float32'] as const;
const numbers = (t: Tensor): number[] => [...t.data];

describe.each(dtypes)('the elbows of a ReLU layer in %s', (dtype) => {
  const layerOf = (weight: number[][], bias: number[]) => {
    const layer = new nn.Linear(weight.length, bias.length, { dtype });
    layer.weight.copy_(weight);
    layer.bias!.copy_(bias);
    return layer;
  };

  it('lie at −b/w for one input, where the unit bends', () => {
    const layer = layerOf([[2, -1, 0.5, 0]], [-1, 3, 0, 1]);
    const { positions, units, dimensions, offsets, normals } = elbows(layer);
    expect([...positions!]).toEqual([0.5, 3, -0, NaN]);
    expect([units, dimensions]).toEqual([4, 1]);
    expect([...offsets]).toEqual([0.5, -3, -0, NaN]);
    expect(numbers(normals)).toEqual([1, -1, 1, NaN]);
    // There the output goes from zero to a slope.
    const h = (x: number): number[] => numbers(layer.forward(tensor([[x]], { dtype })).relu());
    for (const [j, at] of [0.5, 3, 0].entries()) {
      expect(h(at)[j]).toBe(0);
      expect(h(at + 0.25)[j]! + h(at - 0.25)[j]!).toBeGreaterThan(0);
      expect(h(at + 0.25)[j]! * h(at - 0.25)[j]!).toBe(0);
    }
  });

  it('are hyperplanes for more inputs, with signed distances', () => {
    // 3x + 4y = 10 is 2 from the origin, −x = −3 is 3 on the other side of its normal.
    const layer = layerOf(
      [
        [3, -1],
        [4, 0],
      ],
      [-10, 3],
    );
    const { positions, normals, offsets } = elbows(layer);
    expect(positions).toBeNull();
    expect(numbers(normals)).toEqual([0.6, -1, 0.8, 0].map((v) => expect.closeTo(v, 12)));
    expect([...offsets]).toEqual([2, -3]);
    const found = elbowDistances(layer, [
      [0, 0],
      [3, 4],
      [2, 1],
    ]);
    expect(found.dtype).toBe('float64');
    expect(found.toArray()).toEqual([
      [-2, 3],
      [3, 0],
      [0, 1],
    ]);
  });

  it('cover the part of the range of the data in which they lie', () => {
    // Elbows at 0.5, 3, 9.5, 20 and none, data from 0 to 10.
    const layer = layerOf([[2, -1, 1, 1, 0]], [-1, 3, -9.5, -20, 1]);
    const x = tensor([0, 2, 10], { dtype });
    const found = elbowCoverage(layer, x);
    expect(found).toEqual({
      inRange: [true, true, true, false, false],
      share: 3 / 5,
      active: 3 / 5,
      covered: 3 / 10,
      range: { min: Float64Array.of(0), max: Float64Array.of(10) },
    });
    expect(elbowCoverage(layer, x.reshape(3, 1), { bins: 2 }).covered).toBe(1);
    expect(elbowCoverage(layer, x, { bins: 4 }).covered).toBe(3 / 4);
    // Two in one part of the range cover it once.
    expect(elbowCoverage(layerOf([[1, 1]], [-0.25, -0.75]), x)).toMatchObject({ share: 1, covered: 0.1 });
    // An elbow at either end counts.
    expect(elbowCoverage(layerOf([[1, 1]], [0, -10]), x)).toMatchObject({ share: 1, covered: 0.2 });
    // In a plane: x + y = 1.5 cuts the box [0, 1]², though not between these data; x = 2 does not.
    const plane = layerOf(
      [
        [1, 1, 1],
        [1, 0, -1],
      ],
      [-1.5, -2, 0],
    );
    const corners = tensor([[0, 0], [1, 0], [0, 1]], { dtype }); // biome-ignore format: a matrix
    expect(elbowCoverage(plane, corners)).toMatchObject({
      inRange: [true, false, true],
      share: 2 / 3,
      active: 1 / 3,
      covered: null,
    });
  });

  it('have the Cauchy distribution where weights and biases are standard normal', () => {
    // Lecture 003: 50 % in ±1, 70 % in ±2, 80 % in ±3, 90 % in ±7, and 0.16 % in 100 … 200: (2/π) atan a, and
    // (atan 200 − atan 100)/π. Its 0.6 % for the last is a slip; "1–2 units out of 1000" is right.
    manualSeed(4);
    const n = 200_000;
    const layer = { weight: randn(1, n, { dtype }), bias: randn(n, { dtype }) };
    const positions = elbows(layer).positions!;
    const within = (low: number, high: number): number =>
      positions.filter((v) => v >= low && v <= high).length / n;
    for (const [a, said] of [
      [1, 0.5],
      [2, 0.7],
      [3, 0.8],
      [7, 0.9],
    ] as const) {
      const probability = (2 / Math.PI) * Math.atan(a);
      expect(Math.abs(probability - said)).toBeLessThan(0.011);
      // Five standard deviations.
      expect(Math.abs(within(-a, a) - probability)).toBeLessThan(5 * Math.sqrt(0.25 / n));
    }
    const rare = (Math.atan(200) - Math.atan(100)) / Math.PI;
    expect(rare).toBeCloseTo(0.0016, 4);
    const share = elbowCoverage(layer, [100, 200]).share;
    expect(share).toBe(within(100, 200));
    expect(Math.abs(share - rare)).toBeLessThan(5 * Math.sqrt(rare / n));
    // Standardised data are where the elbows are: half of them within one standard deviation.
    expect(elbowCoverage(layer, [-1, 1]).share).toBe(within(-1, 1));
  });
});

it.each([
  ['no layer', () => elbows(null as never), ArgumentError],
  ['a layer without weight', () => elbows(new nn.ReLU() as never), ArgumentError],
  ['a weight of one axis', () => elbows({ weight: tensor([1]) }), ShapeError],
  ['a bias of another size', () => elbows({ weight: tensor([[1, 2]]), bias: tensor([1]) }), ShapeError],
  ['data of another width', () => elbowDistances({ weight: tensor([[1]]) }, [[1, 2]]), ShapeError],
  ['no data', () => elbowCoverage({ weight: tensor([[1]]) }, []), ShapeError],
  ['words', () => elbowCoverage({ weight: tensor([[1]]) }, 'x' as never), ArgumentError],
  ['integers', () => elbowCoverage({ weight: tensor([[1]]) }, tensor([1], { dtype: 'int32' })), DTypeError],
  ['data with NaN', () => elbowCoverage({ weight: tensor([[1]]) }, [NaN, 1]), LinAlgError],
  ['endless data', () => elbowDistances({ weight: tensor([[1]]) }, [Infinity]), LinAlgError],
  ['a weight that is NaN', () => elbows({ weight: tensor([[NaN, 1]]) }), LinAlgError],
  [
    'a bias that is NaN',
    () => elbowCoverage({ weight: tensor([[1]]), bias: tensor([NaN]) }, [1]),
    LinAlgError,
  ],
  ['no units', () => elbowCoverage({ weight: tensor([]).reshape(1, 0) }, [1]), ShapeError],
  ['no bins', () => elbowCoverage({ weight: tensor([[1]]) }, [1], { bins: 0 }), ArgumentError],
  ['another option', () => elbowCoverage({ weight: tensor([[1]]) }, [1], { bin: 2 } as never), ArgumentError],
])('refuses %s', (_, run, error) => {
  expect(run).toThrow(error);
});
