import { allKernels, defineKernel, type Kernel } from '../backend/backend.js';
import { mapKernel } from '../backend/js/map.js';
import { type DType, isFloat, isInt32, promote } from '../dtype.js';
import { ArgumentError, DTypeError } from '../errors.js';
import { emitMap, fresh } from '../program/calls.js';
import { broadcastShapes, describe, type Shape, sameShape, type View } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { full } from './full.js';
import {
  apply,
  isTensor,
  nonDifferentiable,
  type Primitive,
  primitive,
  type Sample,
  type Spec,
  type VjpContext,
} from './primitive.js';
import { sumTo } from './sum.js';
import { to } from './to.js';

/** What elementwise functions take: numbers become tensors of the other operand's dtype, truth values bool ones. */
export type Operand = Tensor | number | boolean;

/**
 * Dtypes that an elementwise operation computes in. 'float': int32 and bool are taken as float32; 'numeric': bool is
 * taken as int32; 'any': everything as it is; 'bool': everything as truth values.
 */
export type Domain = 'float' | 'numeric' | 'any' | 'bool';

function domainDType(domain: Domain, dtype: DType): DType {
  if (domain === 'float') return isFloat(dtype) ? dtype : 'float32';
  if (domain === 'numeric') return dtype === 'bool' ? 'int32' : dtype;
  return domain === 'bool' ? 'bool' : dtype;
}

const noAttrs: readonly number[] = [];

type Scalar = (...args: number[]) => number | boolean;

/** One elementwise operation. `attrs` of the call are numbers, passed to the kernel behind the operands. */
export interface Elementwise {
  readonly name: string;
  /** The kernel, where it is that of an operation defined before. Default: one of its own by this name. */
  readonly kernel?: string;
  readonly inputs: 1 | 2 | 3;
  readonly attrs?: number;
  readonly domain: Domain;
  /** 'bool' for comparisons; else the result has the operands' dtype. */
  readonly result?: 'bool';
  /** The reference: one element, in double precision. */
  readonly js: Scalar;
  /** The reference for int32 results, where it differs. */
  readonly int?: Scalar;
  readonly saves?: readonly (number | 'output')[];
  /** Gradients in the shape of the result; they are summed to the operands' shapes here. */
  readonly vjp:
    | ((g: Tensor, ctx: VjpContext<readonly number[]>) => readonly (Tensor | null)[])
    | typeof nonDifferentiable;
  readonly samples: readonly Sample<readonly number[]>[];
}

/** The kernel of another operation, whose file is imported. */
function kernelOf(name: string): Kernel {
  const kernel = allKernels().get(name);
  if (kernel === undefined) throw new ArgumentError(`there is no kernel ${name} yet: import its operation`);
  return kernel;
}

/** Makes the kernel and the table row of an elementwise operation. */
export function elementwise(def: Elementwise): Primitive<readonly number[]> {
  const kernel: Kernel = def.kernel
    ? kernelOf(def.kernel)
    : defineKernel(
        def.name,
        mapKernel(def.inputs, def.attrs ?? 0, def.js, def.int ? { int: def.int } : undefined),
      );
  const { vjp } = def;
  return primitive<readonly number[]>({
    name: def.name,
    infer: (inputs) => ({
      shape: commonShape(def.name, inputs),
      dtype: def.result ?? (inputs[0] as Spec).dtype,
    }),
    run(inputs, out, attrs) {
      const result = fresh(out.dtype, out.shape);
      const views = new Array<View>(inputs.length);
      for (let i = 0; i < views.length; i++) views[i] = (inputs[i] as View).broadcast(out.shape);
      emitMap(kernel, result, views, attrs);
      return result;
    },
    saves: def.saves ?? [],
    vjp:
      vjp === nonDifferentiable
        ? vjp
        : (g, ctx) => {
            const grads = vjp(g, ctx);
            const out: (Tensor | null)[] = [];
            for (let i = 0; i < grads.length; i++) {
              const grad = grads[i];
              out.push(grad && ctx.needs[i] ? sumTo(grad, (ctx.specs[i] as Spec).shape) : null);
            }
            return out;
          },
    samples: def.domain === 'bool' ? def.samples.map(asBool) : def.samples,
    elementwise: true,
  });
}

/** The shape that the inputs broadcast to. */
function commonShape(op: string, inputs: readonly Spec[]): Shape {
  const { shape } = inputs[0] as Spec;
  for (let i = 1; i < inputs.length; i++) {
    if (!sameShape((inputs[i] as Spec).shape, shape))
      return broadcastShapes(op, ...inputs.map((y) => y.shape));
  }
  return shape;
}

/** The sample with truth values for inputs. */
function asBool<A>({ inputs, attrs }: Sample<A>): Sample<A> {
  return { inputs: inputs.map(({ shape }) => ({ shape, dtype: 'bool' })), attrs };
}

function operand(op: string, x: unknown, like: DType): Tensor {
  if (isTensor(x)) return x;
  if (typeof x === 'boolean') return full([], Number(x), 'bool');
  if (typeof x !== 'number') {
    throw new ArgumentError(
      `${op}: operands are tensors or numbers, not ${describe(x)}; make one with tensor(...)`,
    );
  }
  // A number takes the tensor's dtype; only what int32 cannot hold makes a result of whole numbers float32.
  return full([], x, isFloat(like) || isInt32(x) ? (like === 'bool' ? 'int32' : like) : 'float32');
}

/** Brings operands to one dtype (promotion as in PyTorch, but a tensor of no axes counts as any other) and applies the operation. */
export function call(
  op: Primitive<readonly number[]>,
  domain: Domain,
  xs: readonly unknown[],
  attrs = noAttrs,
): Tensor {
  // The usual case without conversions: tensors of one dtype in which the operation computes.
  const [first] = xs;
  if (isTensor(first) && domainDType(domain, first.dtype) === first.dtype) {
    let same = true;
    for (let i = 1; i < xs.length; i++) {
      const x = xs[i];
      if (!isTensor(x) || x.dtype !== first.dtype) same = false;
    }
    if (same) return apply(op, xs as readonly Tensor[], attrs);
    const second = xs[1];
    if (typeof second === 'number' && xs.length === 2 && isFloat(first.dtype))
      return apply(op, [first, operand(op.name, second, first.dtype)], attrs);
  }
  let like: DType | undefined;
  for (const x of xs) if (isTensor(x)) like = like === undefined ? x.dtype : promote(like, x.dtype);
  like ??= 'float32';
  const tensors = xs.map((x) => operand(op.name, x, like));
  let common = (tensors[0] as Tensor).dtype;
  for (const t of tensors) common = promote(common, t.dtype);
  common = domainDType(domain, common);
  return apply(
    op,
    tensors.map((t) => (t.dtype === common ? t : to(t, common))),
    attrs,
  );
}

/** Defines an operation of one tensor. */
export function unary(def: Omit<Elementwise, 'inputs' | 'attrs'>): (x: Tensor) => Tensor {
  const op = elementwise({ ...def, inputs: 1 });
  return (x) => call(op, def.domain, [requireTensor(def.name, x)]);
}

/** Defines an operation of two operands, with broadcasting and promotion. */
export function binary(def: Omit<Elementwise, 'inputs' | 'attrs'>): (a: Operand, b: Operand) => Tensor {
  const op = elementwise({ ...def, inputs: 2 });
  return (a, b) => call(op, def.domain, [a, b]);
}

export function requireTensor(op: string, x: unknown): Tensor {
  return isTensor(x) ? x : operand(op, x, 'float32');
}

/** A finite or infinite number given as an option, or an ArgumentError naming the operation and the option. */
export function checkNumber(op: string, name: string, x: unknown): number {
  if (typeof x === 'number' && !Number.isNaN(x)) return x;
  throw new ArgumentError(`${op}: ${name} must be a number, not ${describe(x)}`);
}

/** Refuses dtypes without a derivative-friendly arithmetic. */
export function checkFloat(op: string, x: Spec): void {
  if (!isFloat(x.dtype)) {
    throw new DTypeError(`${op}: takes float32 or float64, not ${x.dtype}; convert with .to('float32')`);
  }
}

/** Samples of one operand: a vector, a matrix, a scalar, an empty one. */
export function unarySamples(low = -2, high = 2): Sample<readonly number[]>[] {
  return [[7], [3, 5], [], [1, 1], [0, 4]].map((shape) => ({ inputs: [{ shape, low, high }], attrs: [] }));
}

/** Samples of two operands: equal shapes, rows, columns, scalars, ranks that differ. */
export function binarySamples(
  a: { low?: number; high?: number } = {},
  b: { low?: number; high?: number } = a,
): Sample<readonly number[]>[] {
  const shapes: [number[], number[]][] = [
    [[7], [7]],
    [
      [4, 5],
      [4, 5],
    ],
    [[4, 5], [5]],
    [
      [4, 1],
      [1, 3],
    ],
    [[], [3]],
    [
      [2, 1, 3],
      [4, 1],
    ],
    [
      [0, 3],
      [1, 3],
    ],
  ];
  return shapes.map(([p, q]) => ({
    inputs: [
      { shape: p, ...a },
      { shape: q, ...b },
    ],
    attrs: [],
  }));
}
