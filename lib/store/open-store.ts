// The open store: what open() resolves to.
//
// Invariant: after close() has been called every other call answers `closed`.
import { PersistenceError } from '../errors.js';
import type { EventHub, Listener, PersistenceEvents } from '../vault/events.js';
import { Fields } from '../keys/fields.js';
import { Keys } from '../keys/keys.js';
import type { NativeBinding, NativeStore } from '../native-binding.js';
import { fromNative, toPersistenceError } from '../native/errors.js';
import { acknowledgeNotices, keepNotices, noticesOf } from './notices.js';
import type { ReadOptions } from './open-options.js';
import * as passwords from './passwords.js';
import type { PendingOperations } from '../vault/pending.js';
import type { PasswordOptions, Persistence, RotateDekOptions, VerifyOptions } from './persistence.js';
import type { PersistenceValidator } from '../vault/validator.js';
import { sharesFileSystem } from './places.js';
import type { PasswordSource } from '../options/secrets.js';
import type { AuditEntry, PersistenceStatus, RestoreStatus, VerifyReport } from './status.js';
import { Tls } from '../keys/tls.js';
import * as upkeep from './upkeep.js';
import { Vault } from '../vault/vault.js';
import type { Started, Startup } from './start.js';
import { StatusSource } from './status-source.js';
import { Tasks } from './tasks.js';
import { TimeRefresh } from './time-refresh.js';

interface Parts extends Started {
  readonly binding: NativeBinding;
  readonly options: ReadOptions;
  readonly events: EventHub;
  readonly pending: PendingOperations;
}

interface Inner {
  readonly status: StatusSource;
  readonly tasks: Tasks;
  readonly timeRefresh: TimeRefresh;
}

/** The open store, and what no caller gets. */
export interface Opened extends Pick<Inner, 'tasks' | 'timeRefresh'> {
  readonly store: OpenStore;
}

/** Announces what the start found, and keeps TIME_TAMPER fresh from then on. */
export async function makeOpenStore(parts: Parts): Promise<Opened> {
  const { binding, native, options, validator, manifests, pending, events } = parts;
  const readOnly = options.native.readOnly === true;
  const { secretStore } = native.status() ?? {};
  const status = new StatusSource(native, validator, {
    readOnly,
    manifests,
    library: binding.libraryVersion,
    sharesFileSystem: await sharesFileSystem(binding, options.native.directory, secretStore),
    notices: await keepNotices(native, Date.now(), { isReader: readOnly }),
  });
  const tasks = new Tasks(native);
  const timeRefresh = new TimeRefresh(tasks, pending, events);
  const store = new OpenStore(parts, { status, tasks, timeRefresh });
  const started = native.status();
  if (started !== undefined) {
    pending.committed(started.newest.generation);
    for (const notice of noticesOf(started)) events.notify(notice);
  }
  if (!readOnly) timeRefresh.start();
  return { store, tasks, timeRefresh };
}

export class OpenStore implements Persistence {
  readonly startup: Startup;
  readonly vault: Vault;
  readonly validator: PersistenceValidator;
  readonly fields: Fields;
  readonly keys: Keys;
  readonly tls: Tls;
  readonly #tasks: Tasks;
  readonly #timeRefresh: TimeRefresh;
  readonly #native: NativeStore;
  readonly #pending: PendingOperations;
  readonly #events: EventHub;
  readonly #status: StatusSource;
  #closing: Promise<void> | undefined;

  constructor({ native, startup, validator, pending, events }: Parts, { status, tasks, timeRefresh }: Inner) {
    this.#native = native;
    this.#pending = pending;
    this.#events = events;
    this.#status = status;
    this.startup = startup;
    this.validator = validator;
    this.#tasks = tasks;
    this.#timeRefresh = timeRefresh;
    const task = tasks.run;
    this.vault = new Vault({ native, validator, pending, events, anchor: () => this.anchor() });
    this.fields = new Fields(native);
    this.keys = new Keys({ native, validator, task });
    this.tls = new Tls({ native, validator, task });
    // No caller can change what another one sees.
    for (const part of Object.keys(this))
      Object.defineProperty(this, part, { writable: false, configurable: false });
  }

  get restore(): RestoreStatus | undefined {
    return OpenStore.#checked(this).#status.read().restore;
  }

  status(): PersistenceStatus {
    return OpenStore.#checked(this).#status.read();
  }

  on<Name extends keyof PersistenceEvents>(event: Name, listener: Listener<PersistenceEvents[Name]>): this {
    OpenStore.#checked(this);
    checkListener(event, listener);
    this.#events.add(event, listener);
    return this;
  }

  off<Name extends keyof PersistenceEvents>(event: Name, listener: Listener<PersistenceEvents[Name]>): this {
    OpenStore.#checked(this);
    checkListener(event, listener);
    this.#events.remove(event, listener);
    return this;
  }

  async anchor(): Promise<void> {
    return OpenStore.#checked(this).#tasks.run((native) => native.maintenance.anchor());
  }

  async acknowledgeNotices(): Promise<void> {
    const store = OpenStore.#checked(this);
    await store.#tasks.run(acknowledgeNotices);
    store.#status.dropNotices();
  }

  async compact(): Promise<void> {
    return OpenStore.#checked(this).#tasks.run((native) => native.maintenance.compact());
  }

  async relocate(): Promise<void> {
    return OpenStore.#checked(this).#tasks.run((native) => native.maintenance.relocate());
  }

  async verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    return upkeep.verify(OpenStore.#checked(this).#tasks.run, options);
  }

  async auditLog(limit = upkeep.auditLogMax): Promise<readonly AuditEntry[]> {
    return upkeep.auditLog(OpenStore.#checked(this).#tasks.run, limit);
  }

  async changePassword(
    current: PasswordSource,
    next: PasswordSource,
    options: PasswordOptions = {},
  ): Promise<number> {
    return passwords.changePassword(OpenStore.#checked(this).#tasks.run, current, next, options);
  }

  async addPassword(
    current: PasswordSource,
    next: PasswordSource,
    options: PasswordOptions = {},
  ): Promise<number> {
    return passwords.addPassword(OpenStore.#checked(this).#tasks.run, current, next, options);
  }

  async removePassword(staying: PasswordSource, slotId: number): Promise<void> {
    return passwords.removePassword(OpenStore.#checked(this).#tasks.run, staying, slotId);
  }

  async verifyPassword(password: PasswordSource): Promise<number> {
    return passwords.verifyPassword(OpenStore.#checked(this).#tasks.run, password);
  }

  async rotateKek(): Promise<void> {
    return OpenStore.#checked(this).#tasks.run((native) => native.operations.rotateKek());
  }

  async rotateDek(options: RotateDekOptions = {}): Promise<void> {
    return upkeep.rotateDek(OpenStore.#checked(this).#tasks.run, options);
  }

  close(): Promise<void> {
    try {
      OpenStore.#checked(this);
    } catch (error) {
      return Promise.reject(toPersistenceError(error));
    }
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const tasks = this.#tasks.shut();
    this.#timeRefresh.stop();
    this.#pending.shut();
    this.#status.close();
    this.#native.maintenance.shut();
    this.validator.invalidate();
    await tasks;
    try {
      await fromNative(() => this.#native.close(this.#pending.deliver));
    } finally {
      this.#events.flush();
    }
  }

  /** The receiver of a public method, which a caller may have taken off its object. */
  static #checked(store: unknown): OpenStore {
    if (typeof store === 'object' && store !== null && #native in store) return store;
    throw new PersistenceError('invalid-argument', 'the method was called on something that is not a store');
  }
}

function checkListener(event: unknown, listener: unknown): void {
  if (event !== 'vault' && event !== 'notice')
    throw new PersistenceError('invalid-argument', "the events are 'vault' and 'notice'");
  if (typeof listener !== 'function')
    throw new PersistenceError('invalid-argument', 'a listener must be a function');
}
