import type { JsKernel, TypedArray } from '../backend.js';
import { advance, instantiate, integer, MAX_RANK, makeStrided, readStrided, typeCode } from './strided.js';

/** A function of the elements (as doubles) and the attributes. */
export type ElementFunction = (...values: never[]) => number | boolean;

export interface MapOptions {
  /** Used instead of `f` where the output is int32, if the result of `f` modulo 2^32 is not what is wanted. */
  int?: ElementFunction;
}

/** Two nested loops over (rows, columns): sizes, then per operand array, offset, row stride, column stride; then attributes. */
type Loop = (...args: (number | TypedArray)[]) => void;

/**
 * The text of the two inner loops. There is one for all column strides, and faster ones where each column stride is 1, or 0 for one
 * input (a row or a scalar that is broadcast).
 */
function loopSource(inputs: number, attrs: number, toBool: boolean): string {
  const xs = Array.from({ length: inputs }, (_, k) => k);
  const attrNames = Array.from({ length: attrs }, (_, k) => `a${k}`);
  const call = (elements: string[]): string => {
    const value = `f(${[...elements, ...attrNames].join(', ')})`;
    return toBool ? `+${value} !== 0 ? 1 : 0` : value;
  };
  const fast = (broadcast: number): string => {
    const condition = ['oc === 1', ...xs.map((k) => `c${k} === ${k === broadcast ? 0 : 1}`)].join(' && ');
    const hoisted = broadcast < 0 ? '' : `const v = x${broadcast}[i${broadcast}];`;
    const elements = xs.map((k) => (k === broadcast ? 'v' : `x${k}[i${k} + j]`));
    return `if (${condition}) {
      ${hoisted}
      for (let j = 0; j < columns; j++) out[o + j] = ${call(elements)};
    } else `;
  };
  const cases = [-1, ...(inputs > 1 ? xs : [])].map(fast).join('');
  const steps = (step: string): string => xs.map((k) => `, i${k} += ${step}${k}`).join('');
  return `return function loop(rows, columns, out, o, or, oc${xs.map((k) => `, x${k}, i${k}, r${k}, c${k}`).join('')}${attrNames
    .map((a) => `, ${a}`)
    .join('')}) {
  for (let r = 0; r < rows; r++, o += or${steps('r')}) {
    ${cases}{
      let q = o${xs.map((k) => `, q${k} = i${k}`).join('')};
      for (let j = 0; j < columns; j++, q += oc${xs.map((k) => `, q${k} += c${k}`).join('')}) {
        out[q] = ${call(xs.map((k) => `x${k}[q${k}]`))};
      }
    }
  }
};`;
}

const elementwise = new WeakSet<JsKernel>();

/** True for kernels of the family `map`. */
export function isElementwise(kernel: JsKernel): boolean {
  return elementwise.has(kernel);
}

/**
 * An elementwise kernel (family `map`): out[i] = f(inputs[0][i], …, attrs…), over any strides; stride 0 broadcasts.
 *
 * The arithmetic is that of doubles whatever the element type, and the result is rounded once when it is stored: to nearest for float32,
 * modulo 2^32 for int32 (give `options.int` where that is wrong, as for products), to 0 or 1 for bool (anything but 0 and false gives 1).
 */
export function mapKernel(
  inputs: 0 | 1 | 2 | 3,
  attrs: number,
  f: ElementFunction,
  options: MapOptions = {},
): JsKernel {
  const operands = inputs + 1;
  const layout = makeStrided(operands);
  const index = new Float64Array(MAX_RANK);
  const { offsets, strides, shape } = layout;
  const loops: (Loop | undefined)[] = [];

  const loopFor = (b: readonly TypedArray[]): Loop => {
    let key = 0;
    for (let k = 0; k < operands; k++) key = key * 4 + typeCode(b[k]);
    let loop = loops[key];
    if (loop === undefined) {
      const type = typeCode(b[0]);
      const element = type === 2 && options.int !== undefined ? options.int : f;
      loop = instantiate<Loop>({ f: element }, loopSource(inputs, attrs, type === 3));
      loops[key] = loop;
    }
    return loop;
  };

  const kernel: JsKernel = (p, b) => {
    const attrsAt = readStrided(p, operands, layout);
    if (attrsAt < 0) return;
    const loop = loopFor(b);
    const rank = layout.rank;
    const outer = Math.max(0, rank - 2);
    const columns = rank > 0 ? integer(shape[rank - 1]) : 1;
    const rows = rank > 1 ? integer(shape[rank - 2]) : 1;
    // [rows, columns, (array, offset, row stride, column stride) per operand, attributes]
    const args: (number | TypedArray)[] = [rows, columns];
    for (let k = 0; k < operands; k++) {
      const column = rank > 0 ? integer(strides[k * MAX_RANK + rank - 1]) : 1;
      const row = rank > 1 ? integer(strides[k * MAX_RANK + rank - 2]) : 0;
      args.push(b[k], 0, row, column);
    }
    for (let a = 0; a < attrs; a++) args.push(p[attrsAt + a]);
    index.fill(0);
    do {
      for (let k = 0; k < operands; k++) args[3 + 4 * k] = integer(offsets[k]);
      loop(...args);
    } while (outer > 0 && advance(layout, outer, index, offsets));
  };
  elementwise.add(kernel);
  return kernel;
}

/** Double to int32: toward zero, saturating, NaN to 0. */
export function toInt32(x: number): number {
  return x >= 2147483647 ? 2147483647 : x <= -2147483648 ? -2147483648 : x | 0;
}

/** copy: out = x, converted to the output's type. */
export const copyKernel: JsKernel = mapKernel(1, 0, (x: number) => x, { int: toInt32 });

/** fill: out = value, converted as by copy. */
export const fillKernel: JsKernel = mapKernel(0, 1, (value: number) => value, { int: toInt32 });
