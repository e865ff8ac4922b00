// What the tests of deploy/ share: its files installed below a temporary directory, a real Apache of Debian with a
// configuration of its own, certificates, and curl. Nothing under /etc and no service of the machine is touched.
import { execFile, execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const checkout = fileURLToPath(new URL('../..', import.meta.url));
export const deploy = join(checkout, 'deploy');
export const isRoot = process.getuid?.() === 0;

export interface Ended {
  readonly code: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, whatever that is. */
export function ended(
  file: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string; readonly timeout?: number } = {},
): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(file, args, { timeout: 30_000, ...options }, (error, stdout, stderr) => {
      const code = error === null ? 0 : (error.code ?? error.signal ?? 'unknown');
      resolve({ code, stdout, stderr });
    });
  });
}

/**
 * deploy/ below `root`: /etc/strongroom, /usr/libexec/strongroom and the like become directories there. Returns the
 * directory of the programs.
 */
export function install(root: string): { readonly libexec: string; readonly etc: string } {
  const [libexec, etc] = [join(root, 'libexec'), join(root, 'etc')];
  mkdirSync(etc, { recursive: true });
  mkdirSync(libexec, { recursive: true });
  for (const name of readdirSync(join(deploy, 'hooks'))) {
    const text = readFileSync(join(deploy, 'hooks', name), 'utf8');
    const target = join(name.endsWith('.conf') ? etc : libexec, name);
    writeFileSync(
      target,
      text.replaceAll('/etc/strongroom/', `${etc}/`).replaceAll('/usr/libexec/strongroom/', `${libexec}/`),
    );
    // As docs/deploy.md installs them: what is no program is for root alone.
    chmodSync(target, name.endsWith('.conf') ? 0o600 : statSync(join(deploy, 'hooks', name)).mode & 0o7777);
  }
  return { libexec, etc };
}

export interface Credential {
  readonly key: string;
  readonly certificate: string;
  /** The intermediate. */
  readonly chain: string;
  /** The file of the root that curl is to trust. */
  readonly root: string;
}

/** A server certificate for 127.0.0.1, by an intermediate, by a root of its own. */
export function makeCredential(directory: string): Credential {
  mkdirSync(directory, { recursive: true });
  const file = (name: string): string => join(directory, name);
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { stdio: 'pipe' });
  const algorithm = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc'];
  const authority = [
    '-addext',
    'basicConstraints=critical,CA:TRUE',
    '-addext',
    'keyUsage=critical,keyCertSign',
  ];
  const make = (name: string, issuer: string | undefined, ...more: string[]): void => {
    const by = issuer === undefined ? [] : ['-CA', file(`${issuer}.crt`), '-CAkey', file(`${issuer}.key`)];
    openssl(
      'req', '-x509', '-new', ...algorithm, '-days', '2', '-subj', `/CN=${name} of a test`, ...by, ...more,
      '-keyout', file(`${name}.key`), '-out', file(`${name}.crt`),
    ); // prettier-ignore
  };
  make('root', undefined, ...authority);
  make('intermediate', 'root', ...authority);
  make('server', 'intermediate', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost');
  const read = (name: string): string => readFileSync(file(name), 'utf8');
  return {
    key: read('server.key'),
    certificate: read('server.crt'),
    chain: read('intermediate.crt'),
    root: file('root.crt'),
  };
}

/** As `tls.extract()` writes it. */
export function writeCredential(directory: string, { key, certificate, chain }: Credential): void {
  mkdirSync(directory, { recursive: true });
  for (const [name, text] of [
    ['tls.key', key],
    ['tls.crt', certificate],
    ['chain.pem', chain],
  ] as const) {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
  }
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A port at which nobody listens answers so; nothing that stops one in the middle of a test can be waited for otherwise. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  limitMs = 20_000,
): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`within ${limitMs} ms not: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Debian's Apache with deploy/apache/strongroom.conf, on loopback, before a back end. */
export class Apache {
  readonly directory: string;
  readonly tls: string;
  readonly #broken: string;

  constructor(
    root: string,
    readonly port: number,
    backendPort: number,
  ) {
    this.directory = join(root, 'apache');
    this.tls = join(root, 'tls');
    this.#broken = join(this.directory, 'extra/broken.conf');
    const run = join(this.directory, 'run');
    for (const directory of [join(this.directory, 'extra'), run, this.tls])
      mkdirSync(directory, { recursive: true });
    cpSync(join(deploy, 'apache/strongroom.conf'), join(this.directory, 'strongroom.conf'));
    const modules = ['mpm_event', 'authz_core', 'headers', 'ssl', 'socache_shmcb', 'proxy', 'proxy_http'];
    const user = isRoot ? ['User www-data', 'Group www-data'] : [];
    writeFileSync(join(this.directory, 'apache2.conf'), [
      ...modules.map((name) => `LoadModule ${name}_module /usr/lib/apache2/modules/mod_${name}.so`),
      ...user,
      'ServerName 127.0.0.1',
      `PidFile ${run}/apache2.pid`,
      `DefaultRuntimeDir ${run}`,
      `Mutex file:${run} default`,
      `ErrorLog ${run}/error.log`,
      'StartServers 1', 'ServerLimit 2', 'ThreadsPerChild 8', 'MaxRequestWorkers 16',
      'MinSpareThreads 1', 'MaxSpareThreads 16',
      `Listen 127.0.0.1:${port}`,
      `Define strongroom_address 127.0.0.1:${port}`,
      `Define strongroom_tls ${this.tls}`,
      `Define strongroom_backend http://127.0.0.1:${backendPort}`,
      `Include ${this.directory}/strongroom.conf`,
      `IncludeOptional ${this.directory}/extra/*.conf`,
      '',
    ].join('\n')); // prettier-ignore
    writeFileSync(
      join(this.directory, 'envvars'),
      `export APACHE_RUN_DIR=${run} APACHE_LOCK_DIR=${run} APACHE_RUN_USER=${isRoot ? 'www-data' : 'nobody'}\n`,
    );
  }

  /** For web-server.conf. */
  settings(more: Readonly<Record<string, string | number>> = {}): string {
    const control = `env APACHE_CONFDIR=${this.directory} apache2ctl`;
    const all = {
      TLS_DIR: this.tls,
      WEB_ADDRESS: `127.0.0.1:${this.port}`,
      WEB_TEST: `${control} configtest`,
      WEB_RELOAD: `${control} graceful`,
      WEB_PID_FILE: join(this.directory, 'run/apache2.pid'),
      ...more,
    };
    return Object.entries(all)
      .map(([name, value]) => `${name}='${value}'\n`)
      .join('');
  }

  breakConfiguration(): void {
    writeFileSync(this.#broken, 'NoSuchDirective on\n');
  }

  mendConfiguration(): void {
    writeFileSync(this.#broken, '');
  }

  /** Of the parent process; undefined where none runs. */
  get pid(): number | undefined {
    const file = join(this.directory, 'run/apache2.pid');
    const pid = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
    return pid > 0 && existsSync(`/proc/${pid}`) ? pid : undefined;
  }

  async stop(): Promise<void> {
    const { pid } = this;
    if (pid === undefined) return;
    process.kill(pid, 'SIGTERM');
    await until('Apache has ended', () => !isAlive(pid));
  }

  /** What curl gets, with this root as the only one that it trusts. */
  curl(root: string, path = '/', ...more: string[]): Promise<Ended> {
    return ended('curl', [
      '--silent', '--show-error', '--max-time', '10', '--noproxy', '*', '--cacert', root,
      '--write-out', '\n%{http_code}', ...more, `https://127.0.0.1:${this.port}${path}`,
    ]); // prettier-ignore
  }
}

export function isAlive(pid: number): boolean {
  try {
    return !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return false;
  }
}

/** Whether a mount namespace of one's own can be had, for what needs files of /etc. */
export function hasNamespaces(): boolean {
  try {
    execFileSync('unshare', ['--mount', 'true'], { stdio: 'ignore' });
    return isRoot;
  } catch {
    return false;
  }
}

/** The fenced block after a marker of docs/deploy.md. */
export function block(name: string): string {
  const page = readFileSync(join(checkout, 'docs/deploy.md'), 'utf8');
  const found = new RegExp(`<!-- ${name} -->\n\`\`\`sh\n([^]*?)\`\`\`\n`).exec(page)?.[1];
  if (found === undefined) throw new Error(`docs/deploy.md has no block ${name}`);
  return found;
}
