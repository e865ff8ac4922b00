// A store that another process has open.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import type { OpenOptions } from '../../lib/index.js';

const script = fileURLToPath(new URL('./holder.ts', import.meta.url));
const core = fileURLToPath(new URL('../..', import.meta.url));

export class Holder {
  readonly #child: ChildProcess;
  readonly #answers: AsyncIterator<string>;

  private constructor(options: OpenOptions, within: readonly string[]) {
    const [command, ...rest] = [...within, process.execPath];
    this.#child = spawn(command, [...rest, '--import', 'tsx', script, JSON.stringify(options)], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { STRONGROOM_PREBUILD: core, ...process.env },
    });
    this.#answers = createInterface({ input: this.#child.stdout! })[Symbol.asyncIterator]();
  }

  /**
   * Resolves when the process has the store open.
   * @param within - a command that runs the process, such as one that makes namespaces
   */
  static async opened(options: OpenOptions, within: readonly string[] = []): Promise<Holder> {
    const holder = new Holder(options, within);
    assert.equal(await holder.#answer(), null);
    return holder;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** Makes a record whose value is its key. */
  async set(key: string): Promise<void> {
    await this.#ask(`set ${key}`);
  }

  /** Moves every witness, and so finds out whether one was changed. */
  async anchor(): Promise<void> {
    await this.#ask('anchor');
  }

  /** Closes the store; the process ends. */
  async close(): Promise<void> {
    await this.#ask('close');
    this.#child.stdin!.end();
    if (this.#child.exitCode === null) await once(this.#child, 'exit');
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }

  async #ask(line: string): Promise<void> {
    this.#child.stdin!.write(`${line}\n`);
    assert.equal(await this.#answer(), null, line);
  }

  async #answer(): Promise<unknown> {
    const { value, done } = await this.#answers.next();
    assert.notEqual(done, true, 'the process ended');
    return JSON.parse(value as string);
  }
}
