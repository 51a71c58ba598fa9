import { compile, type Tensor, tensor } from 'simdgrad';
import { expect, test } from 'vitest';

test('a tensor whose data was handed out can be written by a compiled step, and the array stays live', async () => {
  const total = tensor([1, 2, 3]);
  const { data } = total;
  const step = compile((x: Tensor) => {
    total.add_(x);
    return total.mul(10);
  });
  const x = tensor([1, 1, 1]);
  for (let i = 1; i <= 3; i++) {
    expect(step(x).toArray()).toEqual([10 * (1 + i), 10 * (2 + i), 10 * (3 + i)]);
    expect([...data]).toEqual([1 + i, 2 + i, 3 + i]);
  }
  data[0] = 100;
  expect((await step.async(x)).toArray()).toEqual([1010, 60, 70]);
  expect([...data]).toEqual([101, 6, 7]);
  expect(total.data).toBe(data);
});
