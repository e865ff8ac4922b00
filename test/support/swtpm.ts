// A real swtpm on unix sockets in a private directory. Each belongs to one test; no other TPM is ever reached. It ends with
// the test process, however that ends.
//
// There is no resource manager in front of it: what a killed client has left loaded stays until flush() or a restart.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

const triesMax = 2000;
const tryEveryMs = 5;

/** Resolves when somebody answers at a unix socket. */
async function answered(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

export class Swtpm {
  readonly directory = mkdtempSync(join(tmpdir(), 'strongroom-swtpm-'));
  readonly socket = join(this.directory, 's');
  readonly tcti = `swtpm:path=${this.socket}`;
  #process: ChildProcess | undefined;
  #end: Promise<unknown> = Promise.resolve();

  private constructor() {
    chmodSync(this.directory, 0o700);
  }

  static async started(): Promise<Swtpm> {
    const tpm = new Swtpm();
    await tpm.start();
    return tpm;
  }

  /** On the state that is there; a new TPM where there is none. */
  async start(): Promise<void> {
    rmSync(this.socket, { force: true });
    const state = ['--tpm2', '--tpmstate', `dir=${this.directory}`];
    const sockets = [
      '--server',
      `type=unixio,path=${this.socket}`,
      '--ctrl',
      `type=unixio,path=${this.socket}.ctrl`,
    ];
    const flags = ['--flags', 'not-need-init,startup-clear'];
    // With the test process it ends, even when that is killed.
    const command = ['--pdeathsig', 'KILL', 'swtpm', 'socket', ...state, ...sockets, ...flags];
    const child = spawn('setpriv', command, { stdio: 'ignore' });
    this.#process = child;
    this.#end = new Promise((resolve) => {
      child.once('exit', resolve).once('error', resolve);
    });
    for (let tries = 0; tries < triesMax; ++tries) {
      if (await answered(this.socket)) return;
      if (child.exitCode !== null || child.pid === undefined) break;
      await wait(tryEveryMs);
    }
    throw new Error('no swtpm: apt-get install swtpm swtpm-tools tpm2-tools');
  }

  /** Without TPM2_Shutdown, as by a power cut. */
  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL');
    await this.#end;
    this.#process = undefined;
  }

  /** With TPM2_Shutdown. */
  async stop(): Promise<void> {
    this.tool('shutdown', '--clear');
    await this.kill();
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.start();
  }

  /** Another TPM in its place. */
  async replace(): Promise<void> {
    await this.kill();
    rmSync(this.state);
    await this.start();
  }

  /** Its whole state. A virtual machine's snapshot holds just this. */
  get state(): string {
    return join(this.directory, 'tpm2-00.permall');
  }
  copyState(to: string): void {
    copyFileSync(this.state, to);
  }
  restoreState(from: string): void {
    copyFileSync(from, this.state);
  }

  /** What a tool of tpm2-tools prints, such as `tool('pcrextend', '0:sha256=…')`; throws when it fails. */
  tool(name: string, ...args: readonly string[]): string {
    const { status, stdout, stderr } = this.tryTool(name, ...args);
    if (status !== 0) throw new Error(`tpm2_${name}: ${stderr}`);
    return stdout;
  }
  tryTool(
    name: string,
    ...args: readonly string[]
  ): { status: number | null; stdout: string; stderr: string } {
    return spawnSync(`tpm2_${name}`, args, {
      cwd: this.directory,
      env: { ...process.env, TPM2TOOLS_TCTI: this.tcti, TSS2_LOG: '' },
      encoding: 'utf8',
    });
  }

  /** By the platform, as a firmware menu does. */
  clear(): void {
    this.tool('clear', '-c', 'p');
  }
  extend(pcr: number): void {
    this.tool('pcrextend', `${pcr}:sha256=${'5a'.repeat(32)}`);
  }
  /** What killed clients left loaded, which a resource manager would have flushed. */
  flush(): void {
    for (const kind of ['--transient-object', '--loaded-session', '--saved-session'])
      this.tool('flushcontext', kind);
  }
  /** The handles of a kind, such as `handles-nv-index`. */
  handles(kind: string): string[] {
    return [...this.tool('getcap', kind).matchAll(/0x[0-9a-fA-F]+/g)].map(([handle]) => handle);
  }

  async remove(): Promise<void> {
    await this.kill();
    if (existsSync(this.directory)) rmSync(this.directory, { recursive: true });
  }
}

/** Stands between a client and a swtpm, and counts the commands. */
export class CountingRelay {
  readonly tcti: string;
  /** Command codes (TPM 2.0 part 2, 6.5.2), in order. */
  readonly commands: number[] = [];
  readonly #server: Server;
  readonly #open = new Set<Socket>();

  private constructor(path: string, target: string) {
    this.tcti = `swtpm:path=${path}`;
    // The control channel, which the client also uses, passes by uncounted.
    this.#server = createServer((client) => {
      this.#pass(client, connect(target), true);
    });
    this.#server.listen(path);
    this.#control = createServer((client) => {
      this.#pass(client, connect(`${target}.ctrl`), false);
    });
    this.#control.listen(`${path}.ctrl`);
  }
  readonly #control: Server;

  static async started(tpm: Swtpm): Promise<CountingRelay> {
    const relay = new CountingRelay(join(tpm.directory, 'relay'), tpm.socket);
    await Promise.all([relay.#server, relay.#control].map((server) => once(server, 'listening')));
    return relay;
  }

  #pass(client: Socket, target: Socket, counted: boolean): void {
    let pending = Buffer.alloc(0);
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      this.#open.add(from);
      from.on('data', (chunk: Buffer) => {
        to.write(chunk);
        if (!counted || from !== client) return;
        // A command: tag (2), size (4), code (4), big-endian.
        for (pending = Buffer.concat([pending, chunk]); pending.length >= 10;) {
          const size = pending.readUInt32BE(2);
          if (pending.length < size) break;
          this.commands.push(pending.readUInt32BE(6));
          pending = pending.subarray(size);
        }
      });
      from.on('end', () => to.end());
      from.on('error', () => to.destroy());
      from.on('close', () => this.#open.delete(from));
    }
  }

  async stop(): Promise<void> {
    for (const socket of this.#open) socket.destroy();
    await Promise.all(
      [this.#server, this.#control].map((server) => new Promise((resolve) => server.close(resolve))),
    );
  }
}
