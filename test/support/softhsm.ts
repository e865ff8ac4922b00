// Real tokens for tests: SoftHSM2 on a token directory of the test's own. Nothing else on the machine is reached.
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { detectLoss, type Detection } from '../../lib/restore/world.js';
import { restoreStore, type RestoreOptions } from '../../lib/restore/restore.js';
import { PasswordThrottle } from '../../lib/restore/throttle.js';
import { findTokens, makeToken, type TokenInfo } from '../../lib/restore/token-setup.js';
import type { NativeStoreOptions } from '../../lib/native-binding.js';
import type { OpenOptions } from '../../lib/store/open-options.js';
import type { OpenStore } from '../../lib/store/open-store.js';
import { PersistenceService } from '../../lib/store/persistence-service.js';
import type { Pkcs11ProtectorOptions } from '../../lib/protectors/pkcs11.js';
import { binding, quickKdf, removeDirectory, temporaryDirectory } from './stores.js';

const candidates = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so',
  '/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so',
];
export const softhsm = candidates.find((path) => existsSync(path)) ?? '/missing: apt-get install softhsm2';

/** The client module of p11-kit's remoting. */
export function p11KitClient(): string {
  const found = ['/usr/lib/x86_64-linux-gnu', '/usr/lib/aarch64-linux-gnu', '/usr/lib64']
    .map((library) => `${library}/pkcs11/p11-kit-client.so`)
    .find((path) => existsSync(path));
  if (found === undefined) throw new Error('apt-get install p11-kit-modules');
  return found;
}

export const bytes = (text: string): Buffer => Buffer.from(text);
export const pin = '1234-user';
export const soPin = '12345678-so';
export const backupPassword = 'correct horse battery staple';

/** SoftHSM counts up the first eight bytes of token.object at each login, whatever is done with it. */
function contentOf(path: string, name: string): Buffer {
  const content = readFileSync(path);
  return name === 'token.object' ? content.subarray(8) : content;
}

/** All files of a directory tree with their content, for byte compares; a lock holds only a process id. */
export function snapshot(...directories: string[]): Map<string, string> {
  const files = new Map<string, string>();
  const walk = (path: string): void => {
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const child = join(path, entry.name);
      if (entry.isDirectory()) walk(child);
      else if (!/^(.*\.)?lock$/.test(entry.name))
        files.set(child, contentOf(child, entry.name).toString('hex'));
    }
  };
  for (const directory of directories) if (existsSync(directory)) walk(directory);
  return files;
}

/** One machine with a token directory, a place for a store, and its SecretStore. */
export class HsmWorld {
  readonly root = temporaryDirectory();
  readonly tokens = join(this.root, 'tokens');
  readonly configuration = join(this.root, 'softhsm2.conf');
  readonly directory = join(this.root, 'store');
  readonly secrets = join(this.root, 'secrets');
  readonly throttle = new PasswordThrottle();
  readonly #services = new Set<PersistenceService | OpenStore>();
  readonly #before = process.env['SOFTHSM2_CONF'];

  constructor() {
    mkdirSync(this.tokens);
    writeFileSync(
      this.configuration,
      `directories.tokendir = ${this.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
    );
    process.env['SOFTHSM2_CONF'] = this.configuration;
  }

  /** A token in the first empty slot. The module looks at this world's directory from now on. */
  async make(label = 'acme', userPin = pin): Promise<TokenInfo> {
    return makeToken(binding, {
      module: softhsm,
      slotId: await this.emptySlot(),
      label,
      soPin: bytes(soPin),
      pin: bytes(userPin),
    });
  }

  list(): Promise<readonly TokenInfo[]> {
    return findTokens(binding, { module: softhsm });
  }

  async emptySlot(): Promise<number> {
    const empty = (await this.list()).find((token) => !token.initialised);
    if (empty === undefined) throw new Error('no empty slot');
    return empty.slotId;
  }

  protector(changes: Partial<Pkcs11ProtectorOptions> = {}): Pkcs11ProtectorOptions {
    return { type: 'pkcs11', module: softhsm, token: 'acme', pin: bytes(pin), ...changes };
  }

  options(changes: Partial<OpenOptions> = {}): OpenOptions {
    return {
      directory: this.directory,
      instance: 'test',
      protector: this.protector(),
      secretStore: { type: 'file', directory: this.secrets },
      recovery: 'none',
      ...changes,
    };
  }

  async open(
    changes: Partial<OpenOptions> = {},
    internals: Partial<NativeStoreOptions> = {},
  ): Promise<OpenStore> {
    const service = new PersistenceService(binding, this.options(changes), internals);
    this.#services.add(service);
    return service.initialize();
  }

  /** A closed store with one record. */
  async makeStore(changes: Partial<OpenOptions> = {}): Promise<void> {
    const service = await this.open({
      recovery: { password: bytes(backupPassword), kdf: quickKdf },
      ...changes,
    });
    await service.vault.set('seats', bytes('12'));
    await service.close();
  }

  detect(changes: Partial<Pkcs11ProtectorOptions> = {}): Promise<Detection> {
    return detectLoss(binding, { directory: this.directory, protector: this.protector(changes) });
  }

  async restore(
    changes: Partial<RestoreOptions> = {},
    internals: Partial<NativeStoreOptions> = {},
  ): Promise<OpenStore> {
    const options = { ...this.options(), credential: { password: bytes(backupPassword) }, ...changes };
    const service = await restoreStore(binding, options, { internals, throttle: this.throttle });
    this.#services.add(service);
    return service;
  }

  /** Of another process. */
  tool(...words: string[]): string {
    return execFileSync('pkcs11-tool', ['--module', softhsm, ...words], {
      env: this.environment(),
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  environment(): NodeJS.ProcessEnv {
    return { ...process.env, SOFTHSM2_CONF: this.configuration };
  }

  /** The store's keys in a token, seen by another process. */
  keks(token = 'acme', label = 'strongroom test'): number {
    const listed = this.tool(
      '--token-label',
      token,
      '--login',
      '--pin',
      pin,
      '--list-objects',
      '--type',
      'secrkey',
    );
    return listed.split('\n').filter((line) => line.trim() === `label:      ${label}`).length;
  }

  /** By another process. */
  destroyKek(token = 'acme', label = 'strongroom test'): void {
    const login = ['--token-label', token, '--login', '--pin', pin];
    this.tool(...login, '--delete-object', '--type', 'secrkey', '--label', label);
  }

  loseTokens(): void {
    rmSync(this.tokens, { recursive: true });
    mkdirSync(this.tokens);
  }

  takeAway(): void {
    renameSync(this.tokens, `${this.tokens}-away`);
  }

  bringBack(): void {
    rmSync(this.tokens, { recursive: true, force: true });
    renameSync(`${this.tokens}-away`, this.tokens);
  }

  files(): Map<string, string> {
    return snapshot(this.directory, this.secrets, this.tokens);
  }

  /** When anything in the token directory was last written. */
  tokenTimes(): string {
    return readdirSync(this.tokens, { recursive: true, encoding: 'utf8' })
      .sort()
      .map((name) => `${name} ${statSync(join(this.tokens, name)).mtimeMs}`)
      .join('\n');
  }

  async closeAll(): Promise<void> {
    for (const service of this.#services) await service.close().catch(() => undefined);
    if (this.#before === undefined) delete process.env['SOFTHSM2_CONF'];
    else process.env['SOFTHSM2_CONF'] = this.#before;
    removeDirectory(this.root);
  }
}
