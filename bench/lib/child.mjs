/** A running engine-host process, as seen from the harness. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const HOST = fileURLToPath(new URL('../engine-host.mjs', import.meta.url));

export class EngineProcess {
  #child;
  /** @type {((answer: any) => void) | undefined} */ #settle;
  #stderr = '';

  /**
   * @param {{ engine: string, n: number }} what
   * @param {string[]} wrapper a command to run the process under, such as strace
   */
  constructor({ engine, n }, wrapper = []) {
    this.engine = engine;
    this.n = n;
    const [command, ...rest] = [...wrapper, process.execPath, '--expose-gc', HOST];
    this.#child = spawn(/** @type {string} */ (command), rest, {
      stdio: ['ignore', 'inherit', 'pipe', 'ipc'],
    });
    this.#child.stderr?.on('data', (chunk) => (this.#stderr = (this.#stderr + chunk).slice(-4000)));
    this.#child.on('message', (answer) => this.#answer(/** @type {object} */ (answer)));
    this.#child.on('error', (error) => this.#answer({ ok: false, message: error.message }));
    this.#child.on('exit', (code, signal) =>
      this.#answer({ ok: false, message: `ended with ${signal ?? `exit code ${code}`}\n${this.#stderr}` }),
    );
  }

  /** @param {object} answer */
  #answer(answer) {
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(answer);
  }

  /**
   * Sends one message and waits for its answer; only one may be under way.
   *
   * @param {{ type: string, [field: string]: unknown }} message
   * @returns {Promise<any>}
   */
  async ask(message) {
    if (!this.#child.connected) throw new Error(`${this.engine} has ended\n${this.#stderr}`);
    const answer = await new Promise((resolve) => {
      this.#settle = resolve;
      this.#child.send(message);
    });
    if (!answer.ok) throw new Error(`${this.engine}, N = ${this.n}, ${message.type}: ${answer.message}`);
    return answer;
  }

  /** Closes the store and ends the process. */
  async end() {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    try {
      await this.ask({ type: 'close' });
    } finally {
      if (this.#child.connected) this.#child.disconnect();
      await ended;
    }
  }

  kill() {
    this.#child.kill('SIGKILL');
  }
}
