// A child process whose log is waited on.
import type { ChildProcess } from 'node:child_process';

export class Watched {
  log = '';
  readonly ended: Promise<number | NodeJS.Signals | null>;
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();

  constructor(child: ChildProcess) {
    this.#child = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.log += text;
        for (const look of this.#waiting) look();
      });
    }
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        resolve(signal ?? code);
        for (const look of this.#waiting) look();
      });
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** As soon as the log has it; what it found is not found again. */
  async said(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const finish = (act: () => void): void => {
        this.#waiting.delete(look);
        clearTimeout(timer);
        act();
      };
      const look = (): void => {
        const match = pattern.exec(this.log.slice(from));
        if (match !== null) finish(() => resolve(match));
        else if (this.#child.exitCode !== null)
          finish(() => reject(new Error(`it ended, and did not say ${String(pattern)}:\n${this.log}`)));
      };
      const timer = setTimeout(
        () => finish(() => reject(new Error(`it did not say ${String(pattern)}:\n${this.log}`))),
        25_000,
      );
      this.#waiting.add(look);
      look();
    });
  }

  async stop(): Promise<number | NodeJS.Signals | null> {
    this.#child.kill('SIGTERM');
    return this.ended;
  }
}
