// deploy/container/entrypoint.sh as a child process, as an unprivileged user where that can be had.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';

import { compiled, environment } from '../cli/support.js';
import { deploy, ended, hasNamespaces, type Ended } from './support.js';
import { Watched } from './watched.js';

/** What a container's root may do, as Docker and Podman have it: sudo gives no more than this. */
const capabilities = [
  'chown', 'dac_override', 'fowner', 'fsetid', 'kill', 'net_bind_service', 'setfcap', 'setgid', 'setpcap', 'setuid',
  'sys_chroot',
].map((name) => `,+${name}`).join(''); // prettier-ignore

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
      'mount --bind "$1" /etc/sudoers; shift; exec setpriv --reuid=nobody --regid=nogroup --clear-groups --inh-caps=-all --bounding-set="$0" -- "$@"',
      `-all${capabilities}`, sudoers,
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
export class Container extends Watched {
  constructor(account: Account, env: NodeJS.ProcessEnv, ...command: string[]) {
    super(account.spawn([join(deploy, 'container/entrypoint.sh'), ...command], env));
  }
}
