import { defineKernel, type JsKernel } from '../backend/backend.js';
import { ShapeError } from '../errors.js';
import { emitRows } from '../program/calls.js';
import { type Shape, showShape, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { add } from './add.js';
import { dense, fresh } from './alongAxis.js';
import { constant } from './constant.js';
import { div } from './div.js';
import { full } from './full.js';
import { mul } from './mul.js';
import { neg } from './neg.js';
import { apply, type Primitive, primitive, type Spec } from './primitive.js';
import { sqrt } from './sqrt.js';
import { sub } from './sub.js';
import { mean, sum } from './sum.js';

// What layer and batch normalisation of a matrix share: one goes by rows, the other by columns.

/** The operations of one kind of normalisation. x, g and results are [rows, cols], weight, bias and dweight [cols]. */
export interface Normalization {
  /** (x - mean) / sqrt(variance + eps) weight + bias. */
  normalize(x: Tensor, weight: Tensor, bias: Tensor, eps: number): Tensor;
  /** The same, with the mean and the (biased) variance of each column [cols], outside any graph. Of batches only. */
  withMoments(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: number,
  ): [y: Tensor, mean: Tensor, variance: Tensor];
  /** The gradient of x, for that of the result. */
  grad(g: Tensor, x: Tensor, weight: Tensor, eps: number): Tensor;
  /** The gradient of the weight. */
  weightGrad(g: Tensor, x: Tensor, eps: number): Tensor;
}

interface Attrs {
  readonly eps: number;
  /** Where results beside the first go; into memory that nobody reads by default. */
  readonly beside?: readonly View[];
}

/** One row of the table: its operands are some matrices of one shape, and vectors of a value per column behind them. */
function row(
  def: Pick<Primitive<Attrs>, 'name' | 'vjp'> & { readonly js: JsKernel },
  operands: { readonly matrices: number; readonly vectors: number },
  saves: readonly number[],
  result: (matrix: Shape) => Shape = (matrix) => matrix,
  resultsBeside = 0,
): Primitive<Attrs> {
  const { name } = def;
  const kernel = defineKernel(name, def.js);
  const { matrices, vectors } = operands;
  return primitive<Attrs>({
    name,
    vjp: def.vjp,
    infer(inputs) {
      const [{ shape, dtype }] = inputs as readonly [Spec];
      inputs.forEach((x, i) => {
        const wanted = i < matrices ? shape : [shape[1] as number];
        if (shape.length !== 2 || x.shape.join() !== wanted.join())
          throw new ShapeError(
            `${name}: operand ${i} of shape ${showShape(x.shape)} does not fit the matrix ${showShape(shape)}`,
          );
      });
      return { shape: result(shape), dtype };
    },
    run(inputs, out, { eps, beside }) {
      const y = fresh(out.dtype, out.shape);
      const [rows, cols] = (inputs[0] as Spec).shape as readonly [number, number];
      const more = beside ?? Array.from({ length: resultsBeside }, () => fresh(out.dtype, [cols]));
      emitRows(kernel, rows, cols, [y, ...more], inputs.map(dense), [eps]);
      return y;
    },
    saves,
    samples: [
      [3, 5],
      [4, 1],
      [1, 6],
      [0, 3],
      [6, 17],
    ].map((shape) => ({
      inputs: Array.from({ length: matrices + vectors }, (_, i) => ({
        shape: i < matrices ? shape : shape.slice(1),
      })),
      attrs: { eps: 0.1 },
    })),
  });
}

/** Both kinds: `axis` is the one along which mean and variance are taken, 1 for layers and 0 for batches. */
export function normalization(
  name: string,
  axis: 0 | 1,
  js: { readonly [part in Exclude<keyof Normalization, 'withMoments'>]: JsKernel },
): Normalization {
  const along = (t: Tensor): Tensor => mean(t, axis, { keepdims: true });
  const columns = (x: Tensor, value: number): Tensor => full([x.shape[1] as number], value, x.dtype);
  const unweighted = (x: Tensor, eps: number): Tensor => normalize(x, columns(x, 1), columns(x, 0), eps);

  const forward = row(
    {
      name,
      js: js.normalize,
      vjp: (g, ctx) => {
        const {
          needs,
          attrs: { eps },
        } = ctx;
        const [x, weight] = [ctx.input(0), ctx.input(1)];
        return [
          needs[0] ? grad(g, x, weight, eps) : null,
          needs[1] ? weightGrad(g, x, eps) : null,
          needs[2] ? sum(g, 0) : null,
        ];
      },
    },
    { matrices: 1, vectors: 2 },
    [0, 1],
    undefined,
    axis === 0 ? 2 : 0,
  );

  const backward = row(
    {
      name: `${name}Grad`,
      js: js.grad,
      vjp: (v, ctx) => {
        const {
          needs,
          attrs: { eps },
        } = ctx;
        const [g, x, weight] = [ctx.input(0), ctx.input(1), ctx.input(2)];
        // N(t), the gradient for t without a weight, is symmetric in what comes in and goes out.
        const nv = grad(v, x, columns(x, 1), eps);
        return [
          needs[0] ? mul(nv, weight) : null,
          needs[1] ? second(v, g, x, weight, nv, eps) : null,
          needs[2] ? sum(mul(nv, g), 0) : null,
        ];
      },
    },
    { matrices: 2, vectors: 1 },
    [0, 1, 2],
  );

  const ofWeight = row(
    {
      name: `${name}WeightGrad`,
      js: js.weightGrad,
      vjp: (v, ctx) => {
        const {
          needs,
          attrs: { eps },
        } = ctx;
        const [g, x] = [ctx.input(0), ctx.input(1)];
        return [needs[0] ? mul(unweighted(x, eps), v) : null, needs[1] ? grad(g, x, v, eps) : null];
      },
    },
    { matrices: 2, vectors: 0 },
    [0, 1],
    ([, cols]) => [cols as number],
  );

  const normalize: Normalization['normalize'] = (x, weight, bias, eps) =>
    apply(forward, [x, weight, bias], { eps });
  const withMoments: Normalization['withMoments'] = (x, weight, bias, eps) => {
    const moment = (): View => fresh(x.dtype, weight.shape);
    const [mu, variance] = [moment(), moment()];
    const y = apply(forward, [x, weight, bias], { eps, beside: [mu, variance] });
    return [y, constant(mu), constant(variance)];
  };
  const grad: Normalization['grad'] = (g, x, weight, eps) => apply(backward, [g, x, weight], { eps });
  const weightGrad: Normalization['weightGrad'] = (g, x, eps) => apply(ofWeight, [g, x], { eps });

  /**
   * The gradient of ⟨v, grad⟩ by x. With s = 1 / √(variance + eps), h = (x − mean) s, u = g weight and means ⟨⟩ along the axis:
   * −s² h (⟨v u⟩ − ⟨v⟩⟨u⟩ − ⟨v h⟩⟨u h⟩) − s (⟨u h⟩ N(v) + ⟨v h⟩ N(u)).
   */
  function second(v: Tensor, g: Tensor, x: Tensor, weight: Tensor, nv: Tensor, eps: number): Tensor {
    const u = mul(g, weight);
    const h = unweighted(x, eps);
    const centred = sub(x, along(x));
    const s = div(1, sqrt(add(along(mul(centred, centred)), eps)));
    const [vh, uh] = [along(mul(v, h)), along(mul(u, h))];
    const spread = sub(sub(along(mul(v, u)), mul(along(v), along(u))), mul(vh, uh));
    const nu = grad(g, x, weight, eps);
    return neg(mul(s, add(mul(mul(s, spread), h), add(mul(uh, nv), mul(vh, nu)))));
  }

  return { normalize, withMoments, grad, weightGrad };
}
