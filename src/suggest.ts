/**
 * The edit distance of two words, counting an exchange of neighbours as one edit (optimal string alignment).
 */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let d = Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, (row[j - 1] as number) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        d = Math.min(d, (before[j - 2] as number) + 1);
      }
      next.push(d);
    }
    before = row;
    row = next;
  }
  return row[b.length] as number;
}

/**
 * The word of the list that was probably meant, or undefined where none is near: at most a third of the
 * letters differ (one in short words), or one is the beginning of the other. Capitals, dashes and underscores
 * do not count.
 */
export function suggest(word: string, list: readonly string[]): string | undefined {
  const plain = (s: string): string => s.toLowerCase().replace(/[-_]/g, '');
  // A mistyped name is short; anything else is not worth comparing.
  const given = plain(word.slice(0, 64));
  if (given === '') return undefined;
  let best: string | undefined;
  let least = Infinity;
  for (const candidate of list) {
    const other = plain(candidate);
    let d = distance(given, other);
    const shorter = Math.min(given.length, other.length);
    if (shorter >= 2 && (other.startsWith(given) || given.startsWith(other))) d = Math.min(d, 1);
    if (d <= Math.max(1, Math.floor(Math.max(given.length, other.length) / 3)) && d < least) {
      least = d;
      best = candidate;
    }
  }
  return best;
}

/** The end of a sentence about a name that does not exist: `; did you mean "x"?`, or a full stop. */
export function didYouMean(word: string, list: readonly string[]): string {
  const near = suggest(word, list);
  return near === undefined ? '.' : `; did you mean ${JSON.stringify(near)}?`;
}

/** A name in Python's spelling in ours: fan_in becomes fanIn. Anything else stays. */
export function camelCase<T>(name: T): T {
  if (typeof name !== 'string') return name;
  return name.replace(/_([a-z0-9])/g, (_, c: string) => c.toUpperCase()) as T;
}
