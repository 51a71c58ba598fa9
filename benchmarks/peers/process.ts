// A peer in a child process that is kept alive and driven line by line; the protocol is described in serve.mjs.
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** How to start a peer, or why it cannot be started. */
export type Command =
  | {
      readonly file: string;
      readonly args: readonly string[];
      readonly env?: Readonly<Record<string, string>>;
    }
  | { readonly missing: string };

/** What a peer answered with `no`. */
export class Refusal extends Error {}

/** A peer that ended or did not answer in time; it is not asked again. */
export class Lost extends Error {}

const answerMs = 180_000;

export class PeerProcess {
  /** What the peer said of itself when it started. */
  version = '';
  #child: ChildProcess;
  #waiting: { resolve: (line: string) => void; reject: (error: Error) => void } | null = null;
  #lost: Lost | null = null;
  #errors = '';

  private constructor(file: string, args: readonly string[], env: Readonly<Record<string, string>>) {
    this.#child = spawn(file, args, { stdio: 'pipe', env: { ...process.env, ...env } });
    const { stdin, stdout, stderr } = this.#child;
    stderr?.on('data', (text: Buffer) => {
      this.#errors = (this.#errors + text.toString()).slice(-2000);
    });
    stdin?.on('error', () => {}); // the end of the process is reported below
    this.#child.on('error', (error) => this.#end(error.message));
    this.#child.on('close', (code, signal) => {
      const last = this.#errors.trim().split('\n').at(-1) ?? '';
      this.#end(`it ended with ${signal ?? `status ${code}`}${last ? `: ${last}` : ''}`);
    });
    if (stdout) {
      createInterface({ input: stdout }).on('line', (line) => {
        if (!line.startsWith('> ')) return;
        const waiting = this.#waiting;
        this.#waiting = null;
        waiting?.resolve(line.slice(2));
      });
    }
  }

  /** Starts a peer. Gives the reason as text where it is missing. */
  static async start(command: Command): Promise<PeerProcess | string> {
    if ('missing' in command) return command.missing;
    const peer = new PeerProcess(command.file, command.args, command.env ?? {});
    try {
      const [word, version = ''] = (await peer.#answer()).split('\t');
      if (word !== 'ready') {
        peer.stop();
        return version;
      }
      peer.version = version;
      return peer;
    } catch (error) {
      return (error as Error).message;
    }
  }

  #end(why: string): void {
    this.#lost ??= new Lost(why);
    this.#waiting?.reject(this.#lost);
    this.#waiting = null;
  }

  #answer(): Promise<string> {
    if (this.#lost) return Promise.reject(this.#lost);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#end(`it gave no answer in ${answerMs / 1e3} s`);
        this.stop();
      }, answerMs);
      const settle =
        <T>(then: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer);
          then(value);
        };
      this.#waiting = { resolve: settle(resolve), reject: settle(reject) };
    });
  }

  async #ask(command: string): Promise<string> {
    const answer = this.#answer();
    this.#child.stdin?.write(`${command}\n`);
    const text = await answer;
    if (text.startsWith('no\t')) throw new Refusal(text.slice(3));
    return text;
  }

  /** Prepares a case. Gives what the peer adds to its answer. */
  async make(id: number, what: string, variant: string): Promise<string> {
    return (await this.#ask(`make ${id} ${what} ${variant}`)).split('\t')[1] ?? '';
  }

  /** Seconds that so many calls of a case take. */
  async time(id: number, calls: number): Promise<number> {
    return Math.max(Number(await this.#ask(`time ${id} ${calls}`)), 1e-9);
  }

  async clear(): Promise<void> {
    await this.#ask('clear');
  }

  /** Ends the process; it has nothing to save. */
  stop(): void {
    this.#child.kill('SIGKILL');
  }
}
