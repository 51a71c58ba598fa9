import type { Tensor } from './tensor.js';

/** Tensors with more elements than this are shortened. */
const limit = 1000;

/** A tensor as text: values (shortened), shape and dtype, with columns lined up. */
export function showTensor(t: Tensor): string {
  const flags = [`shape=[${t.shape.join(', ')}]`, `dtype=${t.dtype}`];
  if (t.node) flags.push(`gradOf=${t.node.op.name}`);
  else if (t.requiresGrad) flags.push('requiresGrad=true');
  if (t.view.storage.array === null) {
    return `Tensor(<${t.view.storage.released ? 'disposed' : 'traced'}>, ${flags.join(', ')})`;
  }
  const { storage, strides, offset } = t.view;
  const { shape } = t;
  const array = storage.array as ArrayLike<number>;
  if (t.size === 0) return `Tensor([], ${flags.join(', ')})`;

  const short = t.size > limit;
  // How many are shown at each end of an axis: three, fewer where many axes would still make a long text.
  const shownBy = (e: number) => shape.reduce((m, n) => m * (n > 2 * e ? 2 * e : n), 1);
  const edge = [3, 2].find((e) => shownBy(e) <= limit) ?? 1;
  const places = (n: number): (number | null)[] => {
    const all = Array.from({ length: n }, (_, i) => i);
    return short && n > 2 * edge ? [...all.slice(0, edge), null, ...all.slice(n - edge)] : all;
  };
  const plan = shape.map((n) => (short && n > 2 * edge ? places(n) : Array.from({ length: n }, (_, i) => i)));

  const shown: number[] = [];
  const visit = (axis: number, at: number): void => {
    if (axis === shape.length) shown.push(array[at] as number);
    else
      for (const i of plan[axis] as (number | null)[])
        if (i !== null) visit(axis + 1, at + i * (strides[axis] as number));
  };
  visit(0, offset);
  const format = numberFormat(shown, t.dtype);
  const width = shown.reduce((w, x) => Math.max(w, format(x).length), 0);

  const build = (axis: number, at: number, indent: number): string => {
    if (axis === shape.length) return format(array[at] as number).padStart(width);
    const last = axis === shape.length - 1;
    const parts = (plan[axis] as (number | null)[]).map((i) =>
      i === null ? '...' : build(axis + 1, at + i * (strides[axis] as number), indent + 1),
    );
    if (!last) return `[${parts.join(`,${'\n'.repeat(shape.length - 1 - axis)}${' '.repeat(indent + 1)}`)}]`;
    // Long rows are broken where a terminal would.
    const perLine = Math.max(1, Math.floor((100 - indent) / (width + 2)));
    if (parts.length <= perLine) return `[${parts.join(', ')}]`;
    const lines: string[] = [];
    for (let i = 0; i < parts.length; i += perLine) lines.push(parts.slice(i, i + perLine).join(', '));
    return `[${lines.join(`,\n${' '.repeat(indent + 1)}`)}]`;
  };
  const body = build(0, offset, 'Tensor('.length);
  const separator = body.includes('\n') ? `,\n${' '.repeat('Tensor('.length)}` : ', ';
  return `Tensor(${body}${separator}${flags.join(', ')})`;
}

/** One format for all numbers shown: whole, fixed with four places, or exponents where sizes differ much. */
function numberFormat(values: readonly number[], dtype: string): (x: number) => string {
  if (dtype === 'bool') return (x) => (x ? 'true' : 'false');
  if (dtype === 'int32') return (x) => String(x);
  const special = (x: number): string | null =>
    Number.isNaN(x) ? 'nan' : x === Infinity ? 'inf' : x === -Infinity ? '-inf' : null;
  const finite = values.filter((x) => Number.isFinite(x) && x !== 0).map(Math.abs);
  if (finite.length === 0) return (x) => special(x) ?? '0.';
  const [low, high] = finite.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [Infinity, 0] as [
    number,
    number,
  ]);
  if (finite.every(Number.isInteger) && high < 1e8)
    return (x) => special(x) ?? `${Object.is(x, -0) ? '-0' : x}.`;
  if (high >= 1e6 || low < 1e-4 || high / low > 1e6) return (x) => special(x) ?? x.toExponential(4);
  return (x) => special(x) ?? x.toFixed(4);
}
