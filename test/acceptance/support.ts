// What the acceptance tests share: a place whose files can be copied, changed and compared, refused starts, and child
// processes.
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { inspect } from 'node:util';

import { errorTable, type Reason } from '../../lib/error-table.js';
import { isPersistenceError, type PersistenceError } from '../../lib/errors.js';
import type { OpenStore } from '../../lib/store/open-store.js';
import { quickKdf, temporaryDirectory, World } from '../support/stores.js';
import { Forge, secretValue } from './forge.js';

export const root = fileURLToPath(new URL('../../', import.meta.url));
/** The built package. */
export const dist = pathToFileURL(join(root, 'dist/index.js')).href;
export const password = Buffer.from('correct horse battery staple');
export const recovery = { password, kdf: quickKdf };
export const text = (value: Buffer | undefined): string | undefined => value?.toString();

export const minute = 60_000;
export const hour = 60 * minute;
export const day = 24 * hour;

/** Files by their name, such as `store/vault.bin` or `secrets/test.RootKey`; the lock files are left out. */
export type Snapshot = ReadonlyMap<string, { readonly bytes: Buffer; readonly mode: number }>;

export type StoreFile = 'persistence.bin' | 'vault.bin' | 'tmtmp.bin';
export const storeFiles: readonly StoreFile[] = ['persistence.bin', 'vault.bin', 'tmtmp.bin'];

export class Place extends World {
  path(file: string): string {
    return file.includes('/') ? join(this.root, file) : join(this.directory, file);
  }
  read(file: string): Buffer {
    return readFileSync(this.path(file));
  }
  write(file: string, bytes: Uint8Array): void {
    writeFileSync(this.path(file), bytes, { mode: 0o600 });
  }
  remove(file: string): void {
    rmSync(this.path(file), { recursive: true });
  }
  flip(file: string, offset: number, mask = 1): void {
    const bytes = this.read(file);
    const at = offset < 0 ? bytes.length + offset : offset;
    bytes[at] = bytes[at]! ^ mask;
    this.write(file, bytes);
  }
  forge(): Forge {
    return new Forge(this.directory, this.secrets);
  }

  snapshot(): Snapshot {
    const files = new Map<string, { bytes: Buffer; mode: number }>();
    for (const part of ['store', 'secrets']) {
      if (!existsSync(this.path(`${part}/.`))) continue;
      for (const name of readdirSync(this.path(`${part}/.`)).sort()) {
        const path = this.path(`${part}/${name}`);
        if (/^(.*\.)?lock$/.test(name) || !statSync(path).isFile()) continue;
        files.set(`${part}/${name}`, { bytes: readFileSync(path), mode: statSync(path).mode & 0o7777 });
      }
    }
    return files;
  }

  /** Puts files back as they were, and removes those that were not there. */
  restore(snapshot: Snapshot, only: (name: string) => boolean = () => true): void {
    for (const name of this.snapshot().keys()) {
      if (only(name) && !snapshot.has(name)) rmSync(this.path(name));
    }
    for (const [name, { bytes, mode }] of snapshot) {
      if (!only(name)) continue;
      mkdirSync(join(this.path(name), '..'), { recursive: true, mode: 0o700 });
      writeFileSync(this.path(name), bytes);
      chmodSync(this.path(name), mode);
    }
  }

  /** The password, and the root key and the DEK as far as they can be had. */
  keyMaterial(): Buffer[] {
    const material: Buffer[] = [password];
    if (existsSync(this.path('secrets/test.RootKey')))
      material.push(secretValue(this.read('secrets/test.RootKey')));
    try {
      material.push(this.forge().dek);
    } catch {
      // A store that is damaged, which many a test is about.
    }
    return material;
  }

  /** A COLDSTART with a backup password, some records, and a clean close. */
  async made(records = 5): Promise<void> {
    const store = await this.open({ recovery });
    assert.equal(store.startup, 'COLDSTART');
    for (let i = 0; i < records; ++i) await store.vault.set(`seats/${i}`, Buffer.from(`value ${i}`));
    await store.close();
  }

  /** Opens for a moment and closes. */
  async visit(work: (store: OpenStore) => unknown = () => undefined): Promise<void> {
    const store = await this.open();
    assert.equal(store.startup, 'WARMSTART');
    await work(store);
    await store.close();
  }

  /** The start, or what else is given, must be refused for this reason and change nothing, byte for byte. */
  async refused(reason: Reason, work: () => Promise<unknown> = () => this.open()): Promise<PersistenceError> {
    const before = this.snapshot();
    const error = await rejection(work());
    assert.equal(error.reason, reason, error.message);
    checkAgainstTable(error);
    assertNoSecrets(error, this.keyMaterial());
    assertSame(before, this.snapshot());
    return error;
  }
}

export function assertSame(before: Snapshot, after: Snapshot): void {
  assert.deepEqual([...after.keys()], [...before.keys()]);
  for (const [name, { bytes, mode }] of before) {
    assert.ok(bytes.equals(after.get(name)!.bytes), `${name} changed`);
    assert.equal(after.get(name)!.mode, mode, `the mode of ${name}`);
  }
}

/** The PersistenceError that a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<PersistenceError> {
  const outcome = await promise.then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.ok(outcome !== undefined, 'it was not refused');
  assert.ok(isPersistenceError(outcome), inspect(outcome));
  return outcome;
}

/** Key material as it could show in text. */
export function spellings(secret: Uint8Array): string[] {
  const bytes = Buffer.from(secret);
  const base64 = bytes.toString('base64').replace(/=+$/, '');
  const hex = bytes.toString('hex');
  return [
    hex,
    hex.toUpperCase(),
    base64,
    base64.replaceAll('+', '-').replaceAll('/', '_'),
    bytes.toString('latin1'),
  ];
}

/** Nothing that can be printed of a value may hold key material. */
export function assertNoSecrets(value: unknown, material: readonly Uint8Array[]): void {
  const shown = inspect(value, { depth: 10, showHidden: true, maxArrayLength: null, maxStringLength: null });
  for (const secret of material) {
    for (const spelling of spellings(secret))
      assert.ok(!shown.includes(spelling), `key material in ${shown}`);
  }
}

export function checkAgainstTable(error: PersistenceError): void {
  const { code, retryable, remedy } = errorTable[error.reason];
  assert.deepEqual(
    { code: error.code, retryable: error.retryable, remedy: error.remedy },
    { code, retryable, remedy },
  );
  assert.ok(error.message.length > 0);
}

// --- Child processes: plain JavaScript over the built package, as an application would be ---

const prelude = `
import { writeSync } from 'node:fs';
const { directory, secrets, tcti } = JSON.parse(process.env.PLACE);
const strongroom = await import(process.env.LIBRARY);
const options = {
  directory,
  instance: 'test',
  ...(tcti === undefined ? { secretStore: { type: 'file', directory: secrets }, recovery: 'none' } : { protector: { type: 'tpm', tcti } }),
};
const tell = (line) => writeSync(1, line + '\\n');
const die = () => process.kill(process.pid, 'SIGKILL');
`;

export interface ChildOutcome {
  readonly end: number | NodeJS.Signals | null;
  readonly lines: readonly string[];
  readonly stderr: string;
}

export interface ChildOptions {
  /** Put before node's own command, such as strace with its arguments. */
  readonly wrapper?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly onLine?: (line: string, child: ChildProcess) => unknown;
}

/** Runs a script with `strongroom`, `options`, `tell(line)` and `die()` in scope. */
export async function runChild(
  place: { readonly directory: string; readonly secrets: string; readonly tcti?: string },
  script: string,
  { wrapper = [], env = {}, onLine }: ChildOptions = {},
): Promise<ChildOutcome> {
  const file = join(temporaryDirectory(), 'child.mjs');
  writeFileSync(file, prelude + script);
  const [command, ...args] = [...wrapper, process.execPath, file];
  const { directory, secrets, tcti } = place;
  const child = spawn(command, args, {
    env: { ...process.env, PLACE: JSON.stringify({ directory, secrets, tcti }), LIBRARY: dist, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const ended = new Promise<number | NodeJS.Signals | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve(signal ?? code));
  });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const lines: string[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    lines.push(line);
    await onLine?.(line, child);
  }
  return { end: await ended, lines, stderr };
}

/** One system call as strace wrote it. */
export interface SystemCall {
  readonly thread: string;
  readonly name: string;
  readonly arguments: string;
  readonly result: string;
}

/** The system calls of a child, in order; `calls` as `strace -e trace=` takes them. */
export async function trace(
  place: Place,
  script: string,
  calls: string,
  more: readonly string[] = [],
): Promise<{ calls: SystemCall[]; outcome: ChildOutcome }> {
  const output = join(temporaryDirectory(), 'trace');
  const wrapper = [
    'strace',
    '-f',
    '-qq',
    '-y',
    '-s',
    '64',
    '-e',
    `trace=${calls}`,
    '-e',
    'signal=none',
    ...more,
  ];
  const outcome = await runChild(place, script, { wrapper: [...wrapper, '-o', output] });
  return { calls: parseTrace(readFileSync(output, 'utf8')), outcome };
}

/** Joins what strace split because another thread came between. */
function parseTrace(output: string): SystemCall[] {
  const pending = new Map<string, string>();
  const calls: SystemCall[] = [];
  for (const line of output.split('\n')) {
    const match = /^(\d+)\s+(.*)$/.exec(line);
    if (match === null) continue;
    const [, thread, rest] = match as unknown as [string, string, string];
    const unfinished = /^(.*) <unfinished \.\.\.>$/.exec(rest);
    if (unfinished !== null) {
      pending.set(thread, unfinished[1]!);
      continue;
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest);
    const whole = resumed === null ? rest : (pending.get(thread) ?? '') + resumed[1]!;
    const call = /^(\w+)\((.*)\)\s+= (.*)$/.exec(whole);
    if (call !== null) calls.push({ thread, name: call[1]!, arguments: call[2]!, result: call[3]! });
  }
  return calls;
}
