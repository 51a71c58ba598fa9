import type { Hash } from 'node:crypto';
import { arrayType, byteWidth, type DType, type TypedArray } from '../dtype.js';
import { ArgumentError, FormatError } from '../errors.js';
import { crypto, fs } from '../node.js';
import { checkTensor } from '../ops/primitive.js';
import { contiguous } from '../program/calls.js';
import { checkReadable, constantStorage, withRecorder } from '../program/emit.js';
import { describe, fullView, maxRank, sizeOf } from '../program/view.js';
import { checkOptions, Tensor } from '../tensor/tensor.js';
import { checkPath, writeAtomically } from './atomic.js';

// The safetensors format (https://github.com/huggingface/safetensors#format): the length of the header as a
// little-endian uint64; the header, JSON, name → { dtype, shape, data_offsets: [begin, end] } and "__metadata__", a map
// from string to string; then the values, row-major and little-endian, one tensor after the other without gaps.

const codes: Record<DType, string> = { float32: 'F32', float64: 'F64', int32: 'I32', bool: 'BOOL' };

/** Types of other writers' files that one of ours holds exactly (I64 and U32: where the values fit). */
interface Foreign {
  readonly width: number;
  readonly dtype: DType;
  readonly read: (view: DataView, at: number) => number;
}

const upper = new DataView(new ArrayBuffer(4));

function bfloat16(bits: number): number {
  upper.setUint32(0, bits * 2 ** 16);
  return upper.getFloat32(0);
}

function float16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

const foreign = new Map<string, Foreign>([
  ['F16', { width: 2, dtype: 'float32', read: (v, at) => float16(v.getUint16(at, true)) }],
  ['BF16', { width: 2, dtype: 'float32', read: (v, at) => bfloat16(v.getUint16(at, true)) }],
  ['U8', { width: 1, dtype: 'int32', read: (v, at) => v.getUint8(at) }],
  ['I8', { width: 1, dtype: 'int32', read: (v, at) => v.getInt8(at) }],
  ['U16', { width: 2, dtype: 'int32', read: (v, at) => v.getUint16(at, true) }],
  ['I16', { width: 2, dtype: 'int32', read: (v, at) => v.getInt16(at, true) }],
  ['U32', { width: 4, dtype: 'int32', read: (v, at) => v.getUint32(at, true) }],
  ['I64', { width: 8, dtype: 'int32', read: (v, at) => Number(v.getBigInt64(at, true)) }],
]);

/** The format's own limit. */
const maxHeader = 100_000_000;

const metadataKey = '__metadata__';

/**
 * Where save() puts the checksum: first of all, so that it is found without parsing. It is the SHA-256 of the whole
 * file with zeros in the place of its 64 digits.
 */
const sealStart = `{"${metadataKey}":{"simdgrad.sha256":"`;
const noSeal = '0'.repeat(64);
const sealOffset = 8 + sealStart.length;

const bigEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 0;

function swapBytes(bytes: Uint8Array, width: number): void {
  for (let i = 0; i < bytes.length; i += width) bytes.subarray(i, i + width).reverse();
}

function bytesOf(array: TypedArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** The values of a tensor in row-major order, without marking its memory as handed out. */
function valuesOf(t: Tensor): TypedArray {
  const view = withRecorder(null, () => contiguous(t.view));
  return view.storage.read('save').subarray(view.offset, view.offset + view.size);
}

/** Memory shared with other threads is copied to here before it is hashed and written, so that both see the same. */
const pieceBytes = 2 ** 20;

function writeAll(fd: number, bytes: Uint8Array, position: number | null = null): void {
  for (let done = 0; done < bytes.length; ) {
    done += fs.writeSync(fd, bytes, done, bytes.length - done, position === null ? null : position + done);
  }
}

/**
 * Writes a safetensors file. With `sealed`, the metadata begin with the file's checksum.
 */
export function writeTensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: readonly (readonly [string, string])[],
  sealed: boolean,
): void {
  checkReadable('save');
  // Widest elements first, so that all values are aligned in a file that is mapped into memory.
  const order = [...tensors].sort(([, a], [, b]) => byteWidth(b.dtype) - byteWidth(a.dtype));
  const entries: string[] = [];
  const pairs = metadata.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  if (sealed) pairs.unshift(`"simdgrad.sha256":"${noSeal}"`);
  if (pairs.length > 0) entries.push(`"${metadataKey}":{${pairs.join(',')}}`);
  let end = 0;
  for (const [name, t] of order) {
    const begin = end;
    end += t.size * byteWidth(t.dtype);
    const entry = { dtype: codes[t.dtype], shape: t.shape, data_offsets: [begin, end] };
    entries.push(`${JSON.stringify(name)}:${JSON.stringify(entry)}`);
  }
  const text = Buffer.from(`{${entries.join(',')}}`);
  const length = Math.ceil(text.length / 8) * 8;
  if (length > maxHeader) {
    throw new ArgumentError(
      `save: the names and structure take ${length} bytes, over the limit of ${maxHeader}`,
    );
  }
  const header = Buffer.alloc(8 + length, ' ');
  header.writeBigUInt64LE(BigInt(length));
  text.copy(header, 8);

  writeAtomically(path, (fd) => {
    const hash = sealed ? crypto().createHash('sha256') : null;
    hash?.update(header);
    writeAll(fd, header);
    const piece = new Uint8Array(pieceBytes);
    for (const [, t] of order) {
      const bytes = bytesOf(valuesOf(t));
      for (let at = 0; at < bytes.length; at += pieceBytes) {
        const part = piece.subarray(0, Math.min(pieceBytes, bytes.length - at));
        part.set(bytes.subarray(at, at + part.length));
        if (bigEndian) swapBytes(part, byteWidth(t.dtype));
        hash?.update(part);
        writeAll(fd, part);
      }
    }
    if (hash) writeAll(fd, Buffer.from(hash.digest('hex')), sealOffset);
  });
}

interface Entry {
  readonly name: string;
  readonly code: string;
  readonly dtype: DType;
  readonly shape: number[];
  readonly begin: number;
  readonly end: number;
}

interface Content {
  readonly tensors: Map<string, Tensor>;
  readonly metadata: Map<string, string>;
  readonly sealed: boolean;
}

const isObject = (x: unknown): x is Record<string, unknown> =>
  typeof x === 'object' && x !== null && !Array.isArray(x);

/**
 * Reads a safetensors file. Everything is checked against the file's length before memory is taken for it, and nothing
 * is returned unless all of it is right, with `sealed` also the checksum.
 */
export function readTensors(path: string, sealed: boolean): Content {
  const fd = fs.openSync(path, 'r');
  try {
    return readOpen(path, fd, sealed);
  } finally {
    fs.closeSync(fd);
  }
}

function readOpen(path: string, fd: number, wantSeal: boolean): Content {
  const wrong = (why: string): FormatError => new FormatError(`${path}: ${why}`);
  const stat = fs.fstatSync(fd);
  if (!stat.isFile()) throw wrong('is not a file');
  let hash: Hash | null = null;
  const read = (bytes: Uint8Array, position: number): void => {
    for (let done = 0; done < bytes.length; ) {
      const n = fs.readSync(fd, bytes, done, Math.min(bytes.length - done, 2 ** 30), position + done);
      if (n === 0) throw wrong(`ends at ${position + done}, ${bytes.length - done} bytes too early`);
      done += n;
    }
  };

  if (stat.size < 8)
    throw wrong(`is no safetensors file: ${stat.size} bytes do not hold the length of a header`);
  const lengthBytes = Buffer.alloc(8);
  read(lengthBytes, 0);
  const length = Number(lengthBytes.readBigUInt64LE());
  if (length < 2 || length > maxHeader || length > stat.size - 8) {
    throw wrong(
      `is no safetensors file, or was cut off: at offset 0 expected the length of the header, at most ` +
        `${Math.min(maxHeader, stat.size - 8)}, found ${length}`,
    );
  }
  const header = Buffer.alloc(length);
  read(header, 8);
  const start = sealStart.length;
  const isSealed = header.length >= start + 64 && header.toString('latin1', 0, start) === sealStart;
  let seal = '';
  if (wantSeal && isSealed) {
    seal = header.toString('latin1', start, start + 64);
    const blank = Buffer.from(header);
    blank.write(noSeal, start, 'latin1');
    hash = crypto().createHash('sha256').update(lengthBytes).update(blank);
  }
  const { entries, metadata } = parseHeader(header, stat.size - 8 - length, wrong);
  const tensors = new Map<string, Tensor>();
  const offset = 8 + length;
  for (const entry of entries) {
    const { name, dtype, shape, begin, end } = entry;
    const other = foreign.get(entry.code);
    let array: TypedArray;
    if (other === undefined) {
      array = new (arrayType(dtype))((end - begin) / byteWidth(dtype));
      const bytes = bytesOf(array);
      read(bytes, offset + begin);
      hash?.update(bytes);
      if (bigEndian) swapBytes(bytes, byteWidth(dtype));
      if (dtype === 'bool') {
        const bad = bytes.findIndex((b) => b > 1);
        if (bad >= 0)
          throw wrong(`tensor ${describe(name)}: at offset ${offset + begin + bad} expected 0 or 1`);
      }
    } else {
      const bytes = new Uint8Array(end - begin);
      read(bytes, offset + begin);
      hash?.update(bytes);
      const view = new DataView(bytes.buffer);
      array = new (arrayType(dtype))(bytes.length / other.width);
      for (let i = 0; i < array.length; i++) {
        const v = other.read(view, i * other.width);
        array[i] = v;
        if (dtype === 'int32' && array[i] !== v) {
          throw wrong(`tensor ${describe(name)}: ${entry.code} value ${v} does not fit into int32`);
        }
      }
    }
    tensors.set(name, new Tensor(fullView(constantStorage(dtype, array), shape)));
  }
  if (hash !== null && hash.digest('hex') !== seal) {
    throw wrong('is damaged: its content does not have the checksum that was stored with it');
  }
  return { tensors, metadata, sealed: isSealed };
}

function parseHeader(
  header: Buffer,
  dataBytes: number,
  wrong: (why: string) => FormatError,
): { entries: Entry[]; metadata: Map<string, string> } {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(header));
  } catch (error) {
    throw wrong(`is no safetensors file: its header is not JSON: ${(error as Error).message}`);
  }
  if (!isObject(json)) throw wrong('is no safetensors file: its header is not a JSON object');
  const metadata = new Map<string, string>();
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(json)) {
    const bad = (why: string): FormatError => wrong(`header entry ${describe(name)}: ${why}`);
    if (!isObject(value)) throw bad('expected an object');
    if (name === metadataKey) {
      for (const [key, text] of Object.entries(value)) {
        if (typeof text !== 'string') throw bad(`${describe(key)}: expected a string`);
        metadata.set(key, text);
      }
      continue;
    }
    const { dtype: code, shape, data_offsets: offsets } = value;
    const dtype = typeof code === 'string' ? dtypeOfCode(code) : undefined;
    if (dtype === undefined) throw bad(`dtype ${describe(code)} is not known`);
    const whole = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;
    if (!Array.isArray(shape) || !shape.every(whole)) throw bad('expected a shape of whole numbers');
    if (shape.length > maxRank) throw bad(`rank ${shape.length} is above the limit of ${maxRank}`);
    if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(whole)) {
      throw bad('expected data_offsets: [begin, end]');
    }
    const [begin, end] = offsets as [number, number];
    const bytes = sizeOf(shape) * (foreign.get(code as string)?.width ?? byteWidth(dtype));
    if (end - begin !== bytes) {
      throw bad(
        `${String(code)} [${shape.join(', ')}] takes ${bytes} bytes, not those from ${begin} to ${end}`,
      );
    }
    entries.push({ name, code: code as string, dtype, shape: shape as number[], begin, end });
  }
  // Without gaps or overlaps, to the end of the file: so all memory that is taken below is in the file.
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let at = 0;
  for (const { name, begin, end } of entries) {
    if (begin !== at)
      throw wrong(`header entry ${describe(name)}: expected to begin at ${at}, not at ${begin}`);
    at = end;
  }
  if (at !== dataBytes) throw wrong(`expected ${at} bytes of values after the header, found ${dataBytes}`);
  return { entries, metadata };
}

function dtypeOfCode(code: string): DType | undefined {
  for (const [dtype, own] of Object.entries(codes)) if (own === code) return dtype as DType;
  return foreign.get(code)?.dtype;
}

/** Sets an own property whatever its name (`__proto__` included). */
export function define(target: object, key: string, value: unknown): void {
  Object.defineProperty(target, key, { value, writable: true, enumerable: true, configurable: true });
}

/**
 * Writes tensors by name to a file in the safetensors format, which other libraries read: F32, F64, I32 and BOOL. The
 * file is replaced as a whole or not at all. Gradients are not stored.
 *
 * @param tensors a plain object, such as `model.stateDict()`
 * @throws ArgumentError for anything but tensors, naming it
 */
export function saveSafetensors(
  path: string | URL,
  tensors: Readonly<Record<string, Tensor>>,
  options: { readonly metadata?: Readonly<Record<string, string>> } = {},
): void {
  const file = checkPath('saveSafetensors', path);
  checkOptions('saveSafetensors', options, ['metadata']);
  if (!isObject(tensors)) {
    throw new ArgumentError(`saveSafetensors: takes an object of tensors by name, not ${describe(tensors)}`);
  }
  const map = new Map<string, Tensor>();
  for (const [name, t] of Object.entries(tensors)) {
    checkTensor('saveSafetensors', t, describe(name));
    if (name === metadataKey)
      throw new ArgumentError(`saveSafetensors: a tensor cannot be called ${metadataKey}`);
    map.set(name, t);
  }
  const { metadata = {} } = options;
  const pairs = isObject(metadata) ? Object.entries(metadata) : null;
  if (pairs === null || !pairs.every(([, value]) => typeof value === 'string')) {
    throw new ArgumentError('saveSafetensors: metadata are an object of strings');
  }
  writeTensors(file, map, pairs, false);
}

/**
 * Reads a file in the safetensors format: a tensor for each name. Types that this library does not have become ones that
 * hold their values exactly: F16 and BF16 float32; I8, U8, I16, U16, U32 and I64 int32, if the values fit.
 *
 * @throws FormatError for a file that is not right in every respect; the system's error where it cannot be read
 */
export function loadSafetensors(path: string | URL): Record<string, Tensor> {
  const out: Record<string, Tensor> = {};
  for (const [name, t] of readTensors(checkPath('loadSafetensors', path), false).tensors)
    define(out, name, t);
  return out;
}
