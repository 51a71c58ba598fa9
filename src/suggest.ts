/**
 * Edit distance with neighbours swapped counted as one edit (restricted Damerau–Levenshtein), or more than `limit` as
 * soon as it is sure to be.
 */
function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) > limit) return limit + 1;
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let d = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        d = Math.min(d, before[j - 2] + 1);
      row.push(d);
    }
    before = last;
    last = row;
  }
  return last[b.length];
}

/** Case, hyphens and underscores do not count: `batch_size` is `batchSize`. */
const plain = (word: string): string => word.toLowerCase().replace(/[-_\s]/g, '');

/**
 * The name of a list that someone who wrote `word` probably meant, or undefined where none is near: one that it
 * begins or that begins it, or one within a third of its letters.
 */
export function suggest(word: string, list: readonly string[]): string | undefined {
  if (typeof word !== 'string' || word.length > 64) return undefined;
  const given = plain(word);
  if (given === '') return undefined;
  let best: string | undefined;
  let least = Math.max(1, Math.floor(given.length / 3)) + 1;
  for (const name of list) {
    const candidate = plain(name);
    const distance = given === candidate ? 0 : editDistance(given, candidate, least);
    if (distance < least) {
      best = name;
      least = distance;
    }
  }
  if (best !== undefined || given.length < 3) return best;
  return list.find(
    (name) => plain(name).startsWith(given) || (plain(name).length > 2 && given.startsWith(plain(name))),
  );
}
