import { expect, it } from 'vitest';
import { LinAlgError, ShapeError } from '../src/errors.js';
import { singularValues, solve, symmetricEigen } from '../src/linalg.js';

it('symmetric eigenvalues come in descending order with vectors of unit length', () => {
  // Worked by hand: eigenvalues 3 and 1 along (1, 1) and (1, -1); the 5 stands alone.
  const { values, vectors } = symmetricEigen([2, 1, 0, 1, 2, 0, 0, 0, 5], 3);
  expect([...values].map((x) => Number(x.toFixed(12)))).toEqual([5, 3, 1]);
  const column = (j: number): number[] => [0, 1, 2].map((i) => vectors[3 * i + j] as number);
  const s = Math.SQRT1_2;
  for (const [j, want] of [
    [0, 0, 1],
    [s, s, 0],
    [s, -s, 0],
  ].entries()) {
    const dot = column(j).reduce((sum, x, i) => sum + x * (want[i] as number), 0);
    expect(Math.abs(dot)).toBeCloseTo(1, 12);
  }
});

it('solves several right-hand sides, and says where there is no solution', () => {
  // [[2, 1], [1, 3]] X = [[5, 1], [10, 3]] has X = [[1, 0], [3, 1]].
  const x = solve([2, 1, 1, 3], 2, [5, 1, 10, 3], 2);
  expect([...(x as Float64Array)].map((v) => Number(v.toFixed(12)))).toEqual([1, 0, 3, 1]);
  expect(solve([1, 2, 2, 4], 2, [1, 1])).toBeNull();
  expect(() => solve([1, 2, 3], 2, [1, 1])).toThrow(ShapeError);
});

it('works at the ends of the range of numbers, exactly as in the middle', () => {
  // [[2, 1], [1, 2]] has the eigenvalues 3 and 1; [[3, 0], [4, 0]] the singular values 5 and 0.
  const middle = symmetricEigen([2, 1, 1, 2], 2).values;
  for (const s of [2 ** 1021, 2 ** -1021]) {
    expect([...symmetricEigen([2 * s, s, s, 2 * s], 2).values]).toEqual([...middle].map((v) => v * s));
    expect([...(solve([2 * s, s, s, 2 * s], 2, [s, -s]) as Float64Array)]).toEqual([1, -1]);
    const [most, least] = singularValues([1.5 * s, 0, 2 * s, 0], 2, 2) as unknown as [number, number];
    expect(most / s).toBeCloseTo(2.5, 12);
    expect(least / s).toBeCloseTo(0, 12);
  }
});

it('refuses what is not finite', () => {
  for (const v of [NaN, Infinity, -Infinity]) {
    expect(() => symmetricEigen([v, 0, 0, 1], 2)).toThrow(LinAlgError);
    expect(() => solve([v, 0, 0, 1], 2, [1, 1])).toThrow(LinAlgError);
    expect(() => singularValues([v, 0, 0, 1], 2, 2)).toThrow(LinAlgError);
  }
});
