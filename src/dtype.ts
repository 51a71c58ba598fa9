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

const constructors: Record<DType, TypedArrayConstructor> = {
  float32: Float32Array,
  float64: Float64Array,
  int32: Int32Array,
  bool: Uint8Array,
};

const widths: Record<DType, number> = { float32: 4, float64: 8, int32: 4, bool: 1 };

/** Bytes per element. */
export function byteWidth(dtype: DType): number {
  return widths[dtype];
}

export function arrayType(dtype: DType): TypedArrayConstructor {
  return constructors[dtype];
}

export function isDType(x: unknown): x is DType {
  return typeof x === 'string' && Object.hasOwn(constructors, x);
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

const rank: Record<DType, number> = { bool: 0, int32: 1, float32: 2, float64: 3 };

/** The smallest dtype that holds both, as in PyTorch: bool < int32 < float32 < float64. */
export function promote(a: DType, b: DType): DType {
  return rank[a] >= rank[b] ? a : b;
}
