// The protocol between npm run bench:peers and its peers. A peer reads commands from stdin, a line each, and answers
// each with one line that starts with "> " (other lines are what libraries print, and are ignored). It works only
// while it owes an answer.
//
//   (at the start)               > ready<TAB>VERSION, or > missing<TAB>REASON and it ends
//   make ID KIND ARGS… VARIANT   prepares a case and runs it once: > ok, or > ok<TAB>ANSWER, or > no<TAB>REASON
//   time ID CALLS                > SECONDS that so many calls took
//   clear                        drops all cases: > ok
//
// Kinds: product M N K FORM; step SIZES BATCH (sizes with commas); forward SIZES BATCH; optimizer adam|sgdMomentum N;
// operation NAME forward|backward ROWS COLUMNS, to which the answer is what came out, for comparing: the shape, a weighed
// sum of the values and, with backward, one of the gradient.
import process from 'node:process';
import { createInterface } from 'node:readline';

/** @param {string} text */
const reply = (text) => process.stdout.write(`> ${text.replaceAll('\n', ' ')}\n`);

/** The first line of a message, without the paths that Node adds. @param {unknown} error */
const reason = (error) =>
  String(error instanceof Error ? error.message : error)
    .split('\n')[0]
    .replace(/ imported from .*/, '')
    .slice(0, 300);

/**
 * Serves the cases of a peer until stdin ends.
 *
 * @param {() => Promise<{
 *   version: string,
 *   make: (kind: string, args: string[], variant: string) => Made | Promise<Made>,
 * }>} start loads the peer; fails where it is not installed. Functions that `make` gives are awaited, call by call,
 *   where they return a promise.
 * @typedef {(() => unknown) | { run: () => unknown, answer: string }} Made the call to time, and what `make` answers
 */
export async function serve(start) {
  let peer;
  try {
    peer = await start();
  } catch (error) {
    reply(`missing\t${reason(error)}`);
    return;
  }
  /** @type {Map<string, { run: () => unknown, asynchronous: boolean }>} */
  const cases = new Map();
  reply(`ready\t${peer.version}`);
  for await (const line of createInterface({ input: process.stdin })) {
    const [command = '', id = '', ...rest] = line.trim().split(' ');
    try {
      if (command === 'make') {
        const made = await peer.make(rest[0] ?? '', rest.slice(1, -1), rest.at(-1) ?? '');
        const { run, answer } = typeof made === 'function' ? { run: made, answer: '' } : made;
        const first = run();
        const asynchronous = first instanceof Promise;
        await first;
        cases.set(id, { run, asynchronous });
        reply(answer ? `ok\t${answer}` : 'ok');
      } else if (command === 'time') {
        const { run, asynchronous } = cases.get(id) ?? {};
        if (run === undefined) throw new Error(`there is no case ${id}`);
        const calls = Number(rest[0]);
        const started = performance.now();
        if (asynchronous) for (let i = 0; i < calls; i++) await run();
        else for (let i = 0; i < calls; i++) run();
        reply(((performance.now() - started) / 1e3).toFixed(9));
      } else if (command === 'clear') {
        cases.clear();
        reply('ok');
      } else {
        reply(`no\tnot a command: ${command}`);
      }
    } catch (error) {
      reply(`no\t${reason(error)}`);
    }
  }
}

/** The layer sizes that a command gives. @param {string} text */
export const sizesOf = (text) => text.split(',').map(Number);
