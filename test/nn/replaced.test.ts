import { compile, F, nn, type Tensor, tensor } from 'simdgrad';
import { expect, test } from 'vitest';

class Scale extends nn.Module {
  factor = nn.Parameter(tensor([2, 3]));
  more = { shifts: [nn.Parameter(tensor([1, 1]))] };
  override forward(x: Tensor): Tensor {
    return x.mul(this.factor).add(this.more.shifts[0] as Tensor);
  }
}

test('a compiled step notices parameters that were replaced in fields, arrays and objects of a module', () => {
  const m = new Scale();
  const step = compile((x: Tensor) => m.forward(x));
  const x = tensor([1, 1]);
  for (let i = 0; i < 3; i++) expect(step(x).toArray()).toEqual([3, 4]);
  m.factor = nn.Parameter(tensor([5, 6]));
  for (let i = 0; i < 3; i++) expect(step(x).toArray()).toEqual([6, 7]);
  m.more.shifts[0] = nn.Parameter(tensor([0, -1]));
  for (let i = 0; i < 3; i++) expect(step(x).toArray()).toEqual([5, 5]);
});

test('replaced weights of built-in layers are noticed', () => {
  const layer = new nn.Linear(2, 1, { bias: false });
  const step = compile((x: Tensor) => layer.forward(x));
  const x = tensor([[1, 1]]);
  for (const w of [1, 2, 3]) {
    layer.weight = nn.Parameter(tensor([[w], [w]]));
    for (let i = 0; i < 3; i++) expect(step(x).item()).toBe(2 * w);
  }
  expect(F.relu(x).toArray()).toEqual([[1, 1]]);
});
