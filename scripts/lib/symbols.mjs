// What a Linux binary asks of the machine that loads it: versions of symbols, and instructions outside their region.
import { execFileSync } from 'node:child_process';
import process from 'node:process';
import { ScriptError, which } from './common.mjs';

/** The newest symbol versions that a published binary may need: those of RHEL 8 and Debian 10. */
export const floor = { GLIBC: [2, 28], GLIBCXX: [3, 4, 25], CXXABI: [1, 3, 11] };

/** The namespaces whose code may use more than the baseline instructions; each is entered after a CPU check. */
export const isaNamespaces = ['simdgrad::avx2::', 'simdgrad::avx512::'];

function tool(name, args) {
  if (which(name) === null) throw new ScriptError(`${name} is not installed (it comes with binutils)`);
  return execFileSync(name, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 30,
    env: { ...process.env, LC_ALL: 'C' },
  });
}

function above(version, limit) {
  for (let i = 0; i < Math.max(version.length, limit.length); i++) {
    const difference = (version[i] ?? 0) - (limit[i] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  return false;
}

/** The versioned symbols above the floor that a binary imports, as "name@VERSION". */
export function symbolsAboveFloor(path) {
  const found = [];
  for (const line of tool('objdump', ['-T', path]).split('\n')) {
    const match = /\*UND\*.*\(?\b(GLIBC|GLIBCXX|CXXABI)_([\d.]+)\)?\s+(\S+)$/.exec(line);
    if (match === null) continue;
    const [, family, version, name] = match;
    if (above(version.split('.').map(Number), floor[family])) found.push(`${name}@${family}_${version}`);
  }
  return found;
}

/** The libraries a binary names in its dynamic section. */
export function neededLibraries(path) {
  const text = tool('objdump', ['-p', path]);
  return [...text.matchAll(/^\s+NEEDED\s+(\S+)$/gm)].map((match) => match[1]);
}

// All AVX and later vector instructions are spelt v…; verr, verw and vm… are system instructions. BMI and FMA come
// with AVX2 machines too: their mnemonics are listed, but not tzcnt: that
// is how `rep bsf` reads, which the compiler writes for the baseline.
const beyondBaseline =
  /^(v(?!err|erw|m[a-z]*(call|launch|resume|xoff|xon|read|write|ptrld|ptrst|clear|func|mcall|run|load|save)$)[a-z0-9]+|andn|bextr|bls[ir]|blsmsk|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx|lzcnt|popcnt|movbe|k(mov|and|or|not|xor|shift|test|ortest|unpck|add)[a-z]*)$/;

/**
 * The functions of an object file or binary, outside the ISA namespaces, that use instructions beyond baseline
 * x86-64. Such a function is either a region that reaches too far or a weak symbol (an inline function or template of
 * a header) which the linker may pick for callers that have not checked the CPU. A binary must not be stripped.
 * Gives { name, instruction }, the first of each.
 */
export function functionsBeyondBaseline(path) {
  const found = [];
  let name = null;
  let reported = true;
  for (const line of tool('objdump', ['-d', '-C', '--no-show-raw-insn', path]).split('\n')) {
    const header = /^[0-9a-f]+ <(.*)>:$/.exec(line);
    if (header !== null) {
      name = header[1];
      reported = isaNamespaces.some((space) => name.includes(space));
      continue;
    }
    if (reported || name === null) continue;
    const instruction = /^\s*[0-9a-f]+:\s+(?:(?:rep\w*|lock|notrack|data16|bnd|cs)\s+)*([a-z0-9]+)/.exec(
      line,
    )?.[1];
    if (instruction === undefined) continue;
    if (beyondBaseline.test(instruction)) {
      found.push({ name, instruction });
      reported = true;
    }
  }
  return found;
}

/** Everything that is wrong with a binary or an object file, as sentences. */
export function checkBinary(path) {
  const problems = [];
  if (!path.endsWith('.o')) {
    for (const symbol of symbolsAboveFloor(path)) {
      const limits = Object.entries(floor).map(([family, version]) => `${family}_${version.join('.')}`);
      problems.push(`needs ${symbol}, above the floor of ${limits.join(', ')}`);
    }
  }
  if (process.arch === 'x64') {
    for (const { name, instruction } of functionsBeyondBaseline(path)) {
      problems.push(`${name} uses ${instruction} outside ${isaNamespaces.join(' and ')}`);
    }
  }
  return problems;
}
