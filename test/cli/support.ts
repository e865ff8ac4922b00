// The real command line as a child process, on real stores in temporary directories.
import { execFile, spawn, type ChildProcess, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Readable, Writable } from 'node:stream';

const root = fileURLToPath(new URL('../..', import.meta.url));

/**
 * lib/ as it will be published, made once for all of these tests: a child starts in half the time. This process's own:
 * another share of the tests may be at it beside this one.
 */
export const compiled = join(root, `build/cli-test/${process.pid}`);

/** Node's arguments before those of `strongroom`. */
export const program = [join(compiled, 'dist/cli/main.js')];

before(async function () {
  this.timeout(120_000);
  await mkdir(compiled, { recursive: true });
  await copyFile(join(root, 'package.json'), join(compiled, 'package.json'));
  await promisify(execFile)(join(root, 'scripts/bundle'), [join(compiled, 'dist')]);
});
after(() => rm(compiled, { recursive: true, force: true }));

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly bytes: Buffer;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Uint8Array;
  readonly env?: NodeJS.ProcessEnv;
  /** What descriptor 3 is: bytes through a pipe, or an open file. */
  readonly third?: string | Uint8Array | number;
}

/** The environment of a test: no password, no colours wanted or unwanted, no session bus; the core of this checkout. */
export function environment(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const clean: NodeJS.ProcessEnv = { ...process.env, TERM: 'xterm-256color' };
  for (const name of [
    'STRONGROOM_PASSWORD',
    'STRONGROOM_PIN',
    'NO_COLOR',
    'FORCE_COLOR',
    'CI',
    'DBUS_SESSION_BUS_ADDRESS',
  ]) {
    delete clean[name];
  }
  return { STRONGROOM_PREBUILD: root, ...clean, ...extra };
}

/** Starts `strongroom`, or Node with other arguments, and lets the caller talk to it. */
export function start(
  args: readonly string[],
  options: RunOptions = {},
  nodeArguments: readonly string[] = program,
): ChildProcess {
  const { third } = options;
  const stdio: StdioOptions = ['pipe', 'pipe', 'pipe'];
  if (third !== undefined) stdio.push(typeof third === 'number' ? third : 'pipe');
  return spawn(process.execPath, [...nodeArguments, ...args], {
    cwd: root,
    env: environment(options.env),
    stdio,
  });
}

/** Runs `strongroom` to its end. */
export async function strongroom(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const child = start(args, options);
  const { input = '', third } = options;
  feed(child.stdin, input);
  if (third !== undefined && typeof third !== 'number') feed(child.stdio[3] as Writable, third);
  return finish(child);
}

function feed(stream: Writable | null, data: string | Uint8Array): void {
  // A command that does not read its input closes it: no fault of the test.
  stream?.on('error', () => {});
  stream?.end(data);
}

async function finish(child: ChildProcess): Promise<Outcome> {
  const [bytes, stderr, [code, signal]] = await Promise.all([
    collect(child.stdout),
    collect(child.stderr),
    once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>,
  ]);
  return { code, signal, bytes, stdout: bytes.toString(), stderr: stderr.toString() };
}

async function collect(stream: Readable | null): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream ?? []) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A question that must appear on the terminal, and what is typed in answer to it and what was shown before. */
export type Dialogue = readonly (readonly [question: string, answer: string | ((shown: string) => string)])[];

/**
 * Runs `strongroom` on a pseudo-terminal of util-linux's `script`, so many columns wide; `stdout` is all that the terminal
 * showed.
 */
export async function onTerminal(
  args: readonly string[],
  dialogue: Dialogue,
  env?: NodeJS.ProcessEnv,
  columns?: number,
): Promise<Outcome> {
  const size = columns === undefined ? '' : `stty cols ${columns}; `;
  const command = [process.execPath, ...program, ...args].map(quoted).join(' ');
  const child = spawn(
    'script',
    ['--quiet', '--return', '--flush', '--command', `${size}exec ${command}`, '/dev/null'],
    {
      cwd: root,
      env: environment({ SHELL: '/bin/sh', ...env }),
      stdio: ['pipe', 'pipe', 'pipe'],
    },
  );
  let shown = '';
  let from = 0;
  const remaining = [...dialogue];
  child.stdout.on('data', (chunk: Buffer) => {
    shown += chunk.toString();
    // Several of the questions may come at once, and the last of them waits for its answer.
    for (;;) {
      const next = remaining[0];
      const at = next === undefined ? -1 : shown.indexOf(next[0], from);
      if (next === undefined || at === -1) return;
      from = at + next[0].length;
      remaining.shift();
      child.stdin.write(typeof next[1] === 'string' ? next[1] : next[1](shown));
    }
  });
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  const unasked = remaining.map(([question]) => question);
  if (unasked.length > 0) throw new Error(`never asked: ${unasked.join(', ')}\n${shown}`);
  return { code, signal, bytes: Buffer.from(shown), stdout: shown, stderr: '' };
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

const temporary: string[] = [];

export async function temporaryDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'strongroom-cli-'));
  temporary.push(path);
  return path;
}

export interface TestStore {
  readonly directory: string;
  readonly secrets: string;
}

/** The arguments that most stores of the tests are made with. */
export const password = 'correct horse battery staple';

/** A store made by `strongroom init`, with a backup password unless told otherwise. */
export async function makeStore(extra: readonly string[] = [], withPassword = true): Promise<TestStore> {
  const parent = await temporaryDirectory();
  const store = { directory: join(parent, 'store'), secrets: join(parent, 'secrets') };
  const { code, stderr } = await strongroom(
    [
      'init',
      store.directory,
      '--secret-store',
      `file:${store.secrets}`,
      '--instance',
      'acme',
      ...(withPassword ? [] : ['--no-recovery-password']),
      ...extra,
    ],
    { env: withPassword ? { STRONGROOM_PASSWORD: password } : {} },
  );
  if (code !== 0) throw new Error(`init: exit code ${code}\n${stderr}`);
  return store;
}

/** The one JSON document on a stream. */
export function json(text: string): any {
  return JSON.parse(text);
}

after(async () => {
  for (const path of temporary) await rm(path, { recursive: true, force: true });
});
