import type { Kernel } from '../backend/backend.js';
import { defineKernel } from '../backend/backend.js';
import { bernoulliKernel, normalKernel, uniformKernel } from '../backend/js/random.js';
import type { DType } from '../dtype.js';
import { ArgumentError } from '../errors.js';
import { emitRandom, fresh } from '../program/calls.js';
import type { Param } from '../program/emit.js';
import { type Generator, randintRow } from '../program/generator.js';
import { describe, type Shape, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { apply, nonDifferentiable, type Primitive, primitive } from './primitive.js';

interface RandomAttrs {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly generator: Generator;
  readonly attrs: readonly Param[];
}

const kernels = {
  uniform: defineKernel('uniform', uniformKernel),
  normal: defineKernel('normal', normalKernel),
  bernoulli: defineKernel('bernoulli', bernoulliKernel),
  randint: randintRow,
};

export type Distribution = keyof typeof kernels;

/** Fills a contiguous view with random numbers: what both new tensors and init functions use. */
export function fillRandom(
  kind: Distribution,
  out: View,
  generator: Generator,
  attrs: readonly Param[],
): void {
  emitRandom(kernels[kind], out, generator.reserve(out.size, out.dtype), attrs);
}

function row(name: Distribution, kernel: Kernel): Primitive<RandomAttrs> {
  return primitive<RandomAttrs>({
    name: kernel.name,
    infer: (_, { shape, dtype }) => ({ shape, dtype }),
    run(_, out, { generator, attrs }) {
      const result = fresh(out.dtype, out.shape);
      fillRandom(name, result, generator, attrs);
      return result;
    },
    saves: [],
    vjp: nonDifferentiable,
    // Random rows have no inputs to sample: test/ops/random.test.ts checks their integers and statistics.
    samples: [],
  });
}

const rows = {
  uniform: row('uniform', kernels.uniform),
  normal: row('normal', kernels.normal),
  bernoulli: row('bernoulli', kernels.bernoulli),
  randint: row('randint', kernels.randint),
};

function draw(
  kind: Distribution,
  shape: Shape,
  dtype: DType,
  generator: Generator,
  attrs: readonly Param[],
): Tensor {
  return apply(rows[kind], [], { shape, dtype, generator, attrs });
}

/** Uniform on [low, high). */
export function uniform(shape: Shape, low: number, high: number, dtype: DType, generator: Generator): Tensor {
  if (!(low <= high) || !Number.isFinite(high - low)) {
    throw new ArgumentError(`uniform: [${low}, ${high}) is not an interval`);
  }
  return draw('uniform', shape, dtype, generator, [low, high]);
}

/** Normal with the given mean and standard deviation. */
export function normal(shape: Shape, mean: number, std: number, dtype: DType, generator: Generator): Tensor {
  if (!(std >= 0))
    throw new ArgumentError(`normal: the standard deviation must be >= 0, not ${describe(std)}`);
  return draw('normal', shape, dtype, generator, [mean, std]);
}

/** `value` with probability p, else 0. */
export function bernoulli(
  shape: Shape,
  p: number,
  value: number,
  dtype: DType,
  generator: Generator,
): Tensor {
  if (!(p >= 0 && p <= 1))
    throw new ArgumentError(`bernoulli: a probability lies in [0, 1], not ${describe(p)}`);
  return draw('bernoulli', shape, dtype, generator, [p, value]);
}

/** Whole numbers in [low, high), int32. */
export function randint(shape: Shape, low: number, high: number, generator: Generator): Tensor {
  const int = (x: number) => Number.isInteger(x) && Math.abs(x) <= 2 ** 31;
  if (!int(low) || !int(high) || low >= high) {
    throw new ArgumentError(
      `randint: [${describe(low)}, ${describe(high)}) is not an interval of whole numbers`,
    );
  }
  return draw('randint', shape, 'int32', generator, [low, high]);
}
