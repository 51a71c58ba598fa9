import { DTypeError } from './errors.js';

/** Element types. bool is one byte, 0 or 1. */
export type DType = 'float32' | 'float64' | 'int32' | 'bool';

/** The class of array that holds the values of each dtype: bool is in a Uint8Array. */
export type TypedArray = Float32Array | Float64Array | Int32Array | Uint8Array;

/** In the order of the native type codes. */
export const dtypes: readonly DType[] = ['float32', 'float64', 'int32', 'bool'];

export type TypedArrayConstructor =
  | Float32ArrayConstructor
  | Float64ArrayConstructor
  | Int32ArrayConstructor
  | Uint8ArrayConstructor;

/** Something for each dtype. Every operation asks several: properties by a name that varies are looked up in tables. */
export class PerDType<T> {
  constructor(
    private readonly float32: T,
    private readonly float64: T,
    private readonly int32: T,
    private readonly bool: T,
  ) {}

  of(dtype: DType): T {
    switch (dtype) {
      case 'float32':
        return this.float32;
      case 'float64':
        return this.float64;
      case 'int32':
        return this.int32;
      default:
        return this.bool;
    }
  }

  all(): T[] {
    return dtypes.map((dtype) => this.of(dtype));
  }
}

const constructors = new PerDType<TypedArrayConstructor>(Float32Array, Float64Array, Int32Array, Uint8Array);

const widths = new PerDType(4, 8, 4, 1);

/** Bytes per element. */
export function byteWidth(dtype: DType): number {
  return widths.of(dtype);
}

export function arrayType(dtype: DType): TypedArrayConstructor {
  return constructors.of(dtype);
}

export function isDType(x: unknown): x is DType {
  return dtypes.includes(x as DType);
}

export function isFloat(dtype: DType): dtype is 'float32' | 'float64' {
  return dtype === 'float32' || dtype === 'float64';
}

/** The dtype whose array class this is, or undefined for other classes. */
export function dtypeOf(array: unknown): DType | undefined {
  if (array instanceof Float32Array) return 'float32';
  if (array instanceof Float64Array) return 'float64';
  if (array instanceof Int32Array) return 'int32';
  if (array instanceof Uint8Array) return 'bool';
  return undefined;
}

export function checkDType(dtype: unknown, what: string): DType {
  if (isDType(dtype)) return dtype;
  throw new DTypeError(
    `${what}: dtype ${typeof dtype === 'string' ? dtype : `of type ${typeof dtype}`} does not exist; use one of ${dtypes.join(', ')}`,
  );
}

/** Whether int32 holds the number. */
export function isInt32(x: number): boolean {
  return Number.isInteger(x) && x >= -(2 ** 31) && x < 2 ** 31;
}

const rank = new PerDType(2, 3, 1, 0);

/** The smallest dtype that holds both, as in PyTorch: bool < int32 < float32 < float64. */
export function promote(a: DType, b: DType): DType {
  return a === b || rank.of(a) > rank.of(b) ? a : b;
}
