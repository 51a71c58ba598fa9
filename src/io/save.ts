import { ArgumentError, FormatError } from '../errors.js';
import { isTensor } from '../ops/primitive.js';
import { describe } from '../program/view.js';
import type { Tensor } from '../tensor/tensor.js';
import { checkPath } from './atomic.js';
import { define, readTensors, writeTensors } from './safetensors.js';

// A file of save() is a safetensors file; the structure around the tensors is JSON in its metadata:
//   null, true, "text", 1.5, [a, b]     themselves
//   { "o": [["key", value], …] }        an object (pairs keep their order, and no key can be mistaken)
//   { "t": "name" }                     a tensor of the file
//   { "n": "NaN" }                      a number that JSON has no word for: NaN, Infinity, -Infinity, -0; or undefined

/** What load() gives: what was saved, in fresh objects. */
// biome-ignore lint/suspicious/noExplicitAny: the caller knows what was saved
export type Loaded = any;

const version = '1';
const maxDepth = 500;

const special: ReadonlyMap<string, number | undefined> = new Map([
  ['NaN', Number.NaN],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
  ['-0', -0],
  ['undefined', undefined],
]);

function encode(root: unknown): { structure: string; tensors: Map<string, Tensor> } {
  const tensors = new Map<string, Tensor>();
  const names = new Map<Tensor, string>();
  const open = new Set<object>();

  const nameOf = (t: Tensor, path: readonly string[]): string => {
    const known = names.get(t);
    if (known !== undefined) return known;
    const base = path.join('.') || 'value';
    let name = base === '__metadata__' ? 'value.__metadata__' : base;
    for (let k = 2; tensors.has(name); k++) name = `${base}#${k}`;
    tensors.set(name, t);
    names.set(t, name);
    return name;
  };

  const visit = (x: unknown, path: readonly string[]): unknown => {
    const where = (): string => (path.length > 0 ? path.join('.').slice(0, 200) : 'the value itself');
    switch (typeof x) {
      case 'string':
      case 'boolean':
        return x;
      case 'number':
        return Number.isFinite(x) && !Object.is(x, -0) ? x : { n: Object.is(x, -0) ? '-0' : String(x) };
      case 'undefined':
        return { n: 'undefined' };
      case 'object':
        break;
      default:
        throw new ArgumentError(`save: ${where()} is ${describe(x)}, which cannot be stored`);
    }
    if (x === null) return null;
    if (isTensor(x)) return { t: nameOf(x, path) };
    if (open.has(x)) throw new ArgumentError(`save: ${where()} contains itself`);
    if (path.length >= maxDepth)
      throw new ArgumentError(`save: the value is nested deeper than ${maxDepth} levels`);
    open.add(x);
    let out: unknown;
    if (Array.isArray(x)) out = Array.from(x, (y, i) => visit(y, [...path, String(i)]));
    else {
      const prototype: unknown = Object.getPrototypeOf(x);
      if (prototype !== null && prototype !== Object.prototype) {
        throw new ArgumentError(
          `save: ${where()} is ${describe(x)}; only tensors, plain objects, arrays, strings, numbers and booleans are ` +
            'stored (of modules, optimizers and generators save the stateDict() or getState())',
        );
      }
      out = { o: Object.entries(x).map(([key, y]) => [key, visit(y, [...path, key])]) };
    }
    open.delete(x);
    return out;
  };
  return { structure: JSON.stringify(visit(root, [])), tensors };
}

function decode(structure: unknown, tensors: ReadonlyMap<string, Tensor>, file: string): unknown {
  const wrong = (why: string): FormatError =>
    new FormatError(`${file}: the stored structure is not right: ${why}`);
  const visit = (x: unknown, depth: number): unknown => {
    if (depth > maxDepth) throw wrong(`it is nested deeper than ${maxDepth} levels`);
    if (typeof x !== 'object' || x === null) return x;
    if (Array.isArray(x)) return x.map((y) => visit(y, depth + 1));
    const [[tag, content] = ['', null], ...more] = Object.entries(x);
    if (more.length > 0) throw wrong('an entry has more than one tag');
    if (tag === 't' && typeof content === 'string') {
      const t = tensors.get(content);
      if (t === undefined) throw wrong(`there is no tensor ${describe(content)}`);
      return t;
    }
    if (tag === 'n' && typeof content === 'string' && special.has(content)) return special.get(content);
    if (tag !== 'o' || !Array.isArray(content))
      throw wrong(`there is no tag ${describe(tag)} with such content`);
    const out = {};
    for (const pair of content as unknown[]) {
      if (!Array.isArray(pair) || pair.length !== 2 || typeof pair[0] !== 'string') {
        throw wrong('an object is not made of pairs');
      }
      // Defined, not assigned: a key `__proto__` becomes a property like any other.
      define(out, pair[0], visit(pair[1], depth + 1));
    }
    return out;
  };
  return visit(structure, 0);
}

/**
 * Stores a value in a file, from which load() brings it back bit for bit: tensors of all dtypes and sizes, plain objects,
 * arrays, strings, numbers, booleans, null and undefined, nested as they come. A tensor that occurs twice is stored once.
 * Gradients and `requiresGrad` are not stored.
 *
 * The file is in the safetensors format, so other tools can read its tensors. It appears as a whole or not at all: a
 * crash in between leaves the old file as it was.
 *
 * @throws ArgumentError naming what cannot be stored; the system's error where the file cannot be written
 */
export function save(path: string | URL, value: unknown): void {
  const file = checkPath('save', path);
  const { structure, tensors } = encode(value);
  writeTensors(
    file,
    tensors,
    [
      ['simdgrad.version', version],
      ['simdgrad.structure', structure],
    ],
    true,
  );
}

/**
 * The value that save() stored in a file.
 *
 * @throws FormatError for a file that save() did not write, that was cut off or damaged (it carries a checksum), or that
 *   a later version wrote; the system's error where it cannot be read
 */
export function load(path: string | URL): Loaded {
  const file = checkPath('load', path);
  const { tensors, metadata, sealed } = readTensors(file, true);
  const text = metadata.get('simdgrad.structure');
  if (!sealed || text === undefined) {
    throw new FormatError(
      `${file}: is a safetensors file, but not one that save() wrote; loadSafetensors() reads its tensors`,
    );
  }
  const found = metadata.get('simdgrad.version');
  if (found !== version) {
    throw new FormatError(`${file}: expected version ${version} of the structure, found ${describe(found)}`);
  }
  let structure: unknown;
  try {
    structure = JSON.parse(text);
  } catch (error) {
    throw new FormatError(`${file}: the stored structure is not JSON: ${(error as Error).message}`);
  }
  return decode(structure, tensors, file);
}
