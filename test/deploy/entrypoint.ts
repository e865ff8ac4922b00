// deploy/container/entrypoint.sh as a child process, as an unprivileged user where that can be had.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

import { compiled, environment } from '../cli/support.js';
import { deploy, ended, hasNamespaces, type Ended } from './support.js';

/** An account that owns the store, may do nothing else, and has the sudo rule; or this process's own. */
export class Account {
  readonly #prefix: readonly string[] = [];
  readonly #uid: number | undefined;
  readonly #gid: number | undefined;
  readonly env: NodeJS.ProcessEnv;
  /** What the wizard is given as its hook. */
  readonly hook: string;

  constructor(root: string, libexec: string, env: NodeJS.ProcessEnv, unprivileged = true) {
    const bin = join(root, 'bin');
    mkdirSync(bin, { recursive: true });
    const program = join(compiled, 'dist/cli/main.js');
    writeFileSync(join(bin, 'strongroom'), `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`, {
      mode: 0o755,
    });
    this.env = environment({ ...env, PATH: `${bin}${delimiter}${process.env['PATH'] ?? ''}` });
    this.hook = join(libexec, 'wizard_auto_restore_success.sh');
    if (!unprivileged || !hasNamespaces() || !canRead(program)) return;
    this.hook = join(libexec, 'on-restored');
    [this.#uid, this.#gid] = ['-u', '-g'].map((option) =>
      Number(execFileSync('id', [option, 'nobody'], { encoding: 'utf8' })),
    );
    // /etc/sudoers is another file for these processes and for nobody else.
    const rule = readFileSync(join(deploy, 'sudoers.d/strongroom'), 'utf8')
      .replaceAll('/usr/libexec/strongroom/', `${libexec}/`)
      .replace(/^strongroom /m, 'nobody ');
    const sudoers = join(root, 'sudoers');
    writeFileSync(sudoers, rule, { mode: 0o440 });
    chmodSync(root, 0o755);
    this.#prefix = [
      'unshare', '--mount', 'sh', '-ec',
      'mount --bind "$1" /etc/sudoers; shift; exec setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$@"',
      'sh', sudoers,
    ]; // prettier-ignore
  }

  get isUnprivileged(): boolean {
    return this.#uid !== undefined;
  }

  /** Gives it what it works with. */
  own(...paths: string[]): void {
    if (this.#uid !== undefined)
      execFileSync('chown', ['-R', `${this.#uid}:${this.#gid ?? 0}`, '--', ...paths]);
  }

  run(...command: string[]): Promise<Ended> {
    const [file = '', ...args] = [...this.#prefix, ...command];
    return ended(file, args, { env: this.env, cwd: '/' });
  }

  spawn(command: readonly string[], env: NodeJS.ProcessEnv): ChildProcess {
    const [file = '', ...args] = [...this.#prefix, ...command];
    return spawn(file, args, {
      env: { ...this.env, ...env },
      cwd: '/',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }
}

function canRead(file: string): boolean {
  try {
    const user = ['--reuid=nobody', '--regid=nogroup', '--clear-groups'];
    execFileSync('setpriv', [...user, '--', process.execPath, '--check', file], {
      stdio: 'ignore',
      cwd: '/',
    });
    return true;
  } catch {
    return false;
  }
}

/** One life of the container. */
export class Container {
  log = '';
  readonly ended: Promise<number | NodeJS.Signals | null>;
  readonly #child: ChildProcess;
  readonly #waiting = new Set<() => void>();

  constructor(account: Account, env: NodeJS.ProcessEnv, ...command: string[]) {
    this.#child = account.spawn([join(deploy, 'container/entrypoint.sh'), ...command], env);
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.log += text;
        for (const look of this.#waiting) look();
      });
    }
    this.ended = new Promise((resolve) => {
      this.#child.once('close', (code, signal) => {
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
