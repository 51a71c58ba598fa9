import { arrayType, checkDType, type DType, type TypedArray } from '../dtype.js';
import { ArgumentError, FormatError } from '../errors.js';
import { fileURLToPath, fs, zlib } from '../node.js';
import { describe, maxRank, showShape, sizeOf } from '../program/view.js';
import { checkOptions, type Tensor, tensor } from '../tensor/tensor.js';

// The idx format of the MNIST files (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"):
// two zero bytes, a type code, the number of dimensions, each dimension as a big-endian uint32, then the values in
// row-major order, big-endian.

interface ElementType {
  readonly name: string;
  readonly width: number;
  /** What a tensor of it is unless asked otherwise; holds every value exactly. */
  readonly dtype: DType;
  readonly read: (view: DataView, at: number) => number;
}

const elementTypes: ReadonlyMap<number, ElementType> = new Map([
  [0x08, { name: 'unsigned byte', width: 1, dtype: 'int32', read: (v, at) => v.getUint8(at) }],
  [0x09, { name: 'signed byte', width: 1, dtype: 'int32', read: (v, at) => v.getInt8(at) }],
  [0x0b, { name: 'short', width: 2, dtype: 'int32', read: (v, at) => v.getInt16(at) }],
  [0x0c, { name: 'int', width: 4, dtype: 'int32', read: (v, at) => v.getInt32(at) }],
  [0x0d, { name: 'float', width: 4, dtype: 'float32', read: (v, at) => v.getFloat32(at) }],
  [0x0e, { name: 'double', width: 8, dtype: 'float64', read: (v, at) => v.getFloat64(at) }],
]);

/** The content of an idx file: its shape and the bytes of its values, not yet converted. */
export interface IdxContent {
  /** For messages. */
  readonly name: string;
  readonly code: number;
  readonly type: ElementType;
  readonly shape: number[];
  /** Exactly the values: size × width bytes, big-endian. */
  readonly bytes: Uint8Array;
}

const hex = (byte: number): string => `0x${byte.toString(16).padStart(2, '0')}`;

/** Unpacked files above this are refused, so that a small hostile archive cannot fill the memory. */
const maxUnpacked = 2 ** 31;

/**
 * Reads and checks an idx file. Gzipped content is unpacked, whatever the name.
 *
 * @throws FormatError naming file, offset and what was expected there
 */
export function readIdx(source: string | URL | Uint8Array, name?: string): IdxContent {
  let bytes: Uint8Array;
  if (source instanceof Uint8Array) {
    bytes = source;
    name ??= 'idx data';
  } else if (typeof source === 'string' || source instanceof URL) {
    name ??= typeof source === 'string' ? source : fileURLToPath(source);
    bytes = fs.readFileSync(source);
  } else {
    throw new ArgumentError(`idx: takes a path or a Uint8Array, not ${describe(source)}`);
  }
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    try {
      bytes = zlib().gunzipSync(bytes, { maxOutputLength: maxUnpacked });
    } catch (error) {
      throw new FormatError(`${name}: cannot be unpacked with gzip: ${(error as Error).message}`);
    }
  }
  const wrong = (offset: number, expected: string, found: string): FormatError =>
    new FormatError(`${name}: at offset ${offset} expected ${expected}, found ${found}`);

  if (bytes.length < 4) throw wrong(0, 'the 4 bytes of an idx magic number', `the end after ${bytes.length}`);
  for (const at of [0, 1]) {
    if (bytes[at] !== 0) throw wrong(at, 'a zero byte of the idx magic number', hex(bytes[at]));
  }
  const code = bytes[2];
  const type = elementTypes.get(code);
  if (type === undefined) {
    throw wrong(2, `an idx type code (${[...elementTypes.keys()].map(hex).join(' ')})`, hex(code));
  }
  const rank = bytes[3];
  if (rank > maxRank) throw wrong(3, `at most ${maxRank} dimensions`, String(rank));
  const start = 4 + 4 * rank;
  if (bytes.length < start) {
    throw wrong(4, `${rank} dimensions of 4 bytes each`, `the end at ${bytes.length}`);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const size = sizeOf(shape) * type.width;
  if (bytes.length !== start + size) {
    throw wrong(
      Math.min(start + size, bytes.length),
      `${size} bytes of values from offset ${start} for ${type.name} ${showShape(shape)}, so a length of ${start + size}`,
      `a length of ${bytes.length}`,
    );
  }
  return { name, code, type, shape, bytes: bytes.subarray(start) };
}

/** Bytes as float32. MNIST has 47 million: a table spares the divisions, a function of its own keeps the loop monomorphic. */
function bytesToFloats(bytes: Uint8Array, divisor: number, out: Float32Array): void {
  const table = Float32Array.from({ length: 256 }, (_, v) => v / divisor);
  for (let i = 0; i < out.length; i++) out[i] = table[bytes[i]];
}

/** The values of idx content as a new typed array, each divided by `divisor`. */
export function idxValues(content: IdxContent, dtype: DType, divisor = 1, out?: TypedArray): TypedArray {
  const { type, bytes, shape, code } = content;
  const n = sizeOf(shape);
  const values = out ?? new (arrayType(dtype))(n);
  if (code === 0x08 && values instanceof Float32Array) {
    bytesToFloats(bytes, divisor, values);
    return values;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { read, width } = type;
  for (let i = 0; i < n; i++) values[i] = read(view, i * width) / divisor;
  return values;
}

/** Options of idx. */
export interface IdxOptions {
  /**
   * Default int32 for the integer types (it holds them all exactly), float32 for float, float64 for double. Conversions
   * are those of `tensor(...)`: to int32 truncates and saturates, to bool is x ≠ 0.
   */
  readonly dtype?: DType;
}

/**
 * The tensor in a file in the idx format, the one of the MNIST digits; also where it is gzipped. The whole file must
 * be right, down to its length.
 *
 * @param source path of the file, or its bytes
 * @throws FormatError naming the file, the offset and what was expected there
 */
export function idx(source: string | URL | Uint8Array, options: IdxOptions = {}): Tensor {
  checkOptions('idx', options, ['dtype']);
  const content = readIdx(source);
  const own = idxValues(content, content.type.dtype);
  const dtype = options.dtype === undefined ? content.type.dtype : checkDType(options.dtype, 'idx');
  return tensor(own, { dtype, shape: content.shape });
}
