// PersistenceService: the five steps of Initialize(), and the open store.
//
// Invariants
// - The steps run in the document's order, each once; a failed start lets go of everything and writes nothing more.
// - Tasks of the core run one at a time, in the order of the calls.
// - After close() has been called every other call answers `closed`.
import { aborted, cancelling, untilAborted } from './abort.js';
import { asking, type Operation, type RestoreOperation } from './operation.js';
import { PersistenceError } from './errors.js';
import { EventHub, guarded, type Listener, type PersistenceEvents } from './events.js';
import { Fields } from './fields.js';
import { Keys } from './keys.js';
import { waitingForLock } from './lock-wait.js';
import { loadManifests } from './manifest-loader.js';
import { acceptAndRemember } from './manifest-record.js';
import type { LicenseProviders, LoadedManifests } from './manifests/types.js';
import type { NativeBinding, NativeStatus, NativeStore, NativeStoreOptions } from './native-binding.js';
import { fromNative, toPersistenceError } from './native-errors.js';
import { acknowledgeNotices, keepNotices, noticesOf, type KeptNotice } from './notices.js';
import { readOpenOptions, type ReadOptions } from './options.js';
import * as passwords from './passwords.js';
import { PendingOperations } from './pending.js';
import type { PasswordOptions, Persistence, RotateDekOptions, VerifyOptions } from './persistence.js';
import { PersistenceValidator } from './persistence-validator.js';
import { requireApart, sharesFileSystem } from './places.js';
import { isOpenedByPassword, locateProtector } from './protector-place.js';
import type { Purpose } from './protectors/protector.js';
import { requireStrong, type PasswordSource } from './secrets.js';
import {
  toStatus,
  type AuditEntry,
  type PersistenceStatus,
  type RestoreStatus,
  type VerifyReport,
} from './status.js';
import { Tls } from './tls.js';
import * as upkeep from './upkeep.js';
import { TimeRefresh } from './time-refresh.js';
import { Vault } from './vault.js';

export type { Persistence, VerifyOptions } from './persistence.js';

type State = 'new' | 'starting' | 'open' | 'closed';

export class PersistenceService implements Persistence {
  readonly #binding: NativeBinding;
  readonly #options: ReadOptions;
  readonly #internals: Partial<NativeStoreOptions>;
  readonly #events = new EventHub();
  readonly #pending = new PendingOperations(this.#events);
  #state: State = 'new';
  #native: NativeStore | undefined;
  #startup: 'COLDSTART' | 'WARMSTART' = 'WARMSTART';
  #vault: Vault | undefined;
  #validator: PersistenceValidator | undefined;
  #manifests: LicenseProviders | undefined;
  #lastStatus: NativeStatus | undefined;
  #sharesFileSystem: boolean | undefined;
  #notices: readonly KeptNotice[] = [];
  #timeRefresh: TimeRefresh | undefined;
  #closing: Promise<void> | undefined;
  #parts: { readonly fields: Fields; readonly keys: Keys; readonly tls: Tls } | undefined;
  #tasks: Promise<unknown> = Promise.resolve();
  readonly #run: upkeep.RunTask = (work) => this.#task(work);

  /**
   * @param binding - the compiled core
   * @param options - OpenOptions, checked here: `invalid-option`
   * @param internals - for tests: options of the core that have no public name
   */
  constructor(binding: NativeBinding, options: unknown, internals: Partial<NativeStoreOptions> = {}) {
    this.#binding = binding;
    this.#internals = internals;
    try {
      this.#options = readOpenOptions(options);
    } catch (error) {
      throw toPersistenceError(error);
    }
  }

  get startup(): 'COLDSTART' | 'WARMSTART' {
    return PersistenceService.#checked(this).#startup;
  }

  get vault(): Vault {
    PersistenceService.#checked(this);
    if (this.#vault === undefined || this.#state === 'starting') throw this.#notOpen();
    return this.#vault;
  }

  get fields(): Fields {
    return PersistenceService.#checked(this).#part('fields');
  }

  get keys(): Keys {
    return PersistenceService.#checked(this).#part('keys');
  }

  get tls(): Tls {
    return PersistenceService.#checked(this).#part('tls');
  }

  get restore(): RestoreStatus | undefined {
    return PersistenceService.#checked(this).status().restore;
  }

  get validator(): PersistenceValidator {
    PersistenceService.#checked(this);
    if (this.#validator === undefined) throw this.#notOpen();
    return this.#validator;
  }

  /**
   * Initialize(): starts the store, once.
   * @param given - or a function that reads the caller's secrets for it, as a part of the start
   * @throws PersistenceError: the verdict of a step; `already-open` at a second call; `initialization-failed`, with its
   * cause, for anything else that is thrown within a step.
   */
  async initialize(given: Operation | (() => Promise<Operation>) = { kind: 'open' }): Promise<void> {
    if (this.#state === 'closed') throw new PersistenceError('closed', 'the store was closed');
    if (this.#state !== 'new') throw new PersistenceError('already-open', 'Initialize() was called before');
    this.#state = 'starting';
    const { signal } = this.#options;
    const cancel = (): void => {
      this.#native?.cancel();
    };
    let operation: Operation;
    try {
      operation = typeof given === 'function' ? await asking(given, signal) : given;
      await cancelling(signal, cancel, () => this.#start(operation));
      // What an operation has changed is done; a start can be repeated.
      if (operation.kind === 'open') this.#throwIfAborted();
      this.#state = 'open';
    } catch (error) {
      this.#state = 'closed';
      await this.#letGo();
      const refusal = this.#options.explain(toPersistenceError(error, 'initialization-failed'));
      throw refusal.reason === 'aborted' && signal?.aborted === true ? aborted(signal) : refusal;
    } finally {
      this.#options.forget();
    }
    if (operation.kind === 'decommission') {
      this.#state = 'closed';
      await this.#letGo();
      return;
    }
    const { directory } = this.#options.native;
    this.#sharesFileSystem = await sharesFileSystem(
      this.#binding,
      directory,
      this.#native?.status()?.secretStore,
    );
    if (this.#native !== undefined)
      this.#notices = await keepNotices(this.#native, this.#options.native.readOnly === true, Date.now());
    this.#announce();
    if (this.#options.native.readOnly !== true) this.#startTimer();
  }

  async #start(operation: Operation): Promise<void> {
    const step = (name: string): void => {
      this.#throwIfAborted();
      this.#options.trace(name);
    };
    step('Initialize');
    const { native, manifests } = await waitingForLock(
      this.#options,
      () => this.#firstSteps(operation, step),
      () => this.#letGo(),
    );
    if (operation.kind === 'restore') {
      await this.#restore(native, operation);
      await this.#acceptManifests(native, manifests);
      return;
    }
    if (operation.kind === 'decommission') {
      // A vendor's permit names the present checkpoint, which the vault holds.
      await native.createAndLoadVault(guarded('progress', this.#options.onProgress)).catch(() => undefined);
      this.#throwIfAborted();
      const leftBehind = await native.decommission(operation.password, operation.permit);
      operation.onRemoved?.(Object.freeze(leftBehind));
      return;
    }
    step('LoadVaultAndValidate');
    step('ValidateVaultFilename');
    step('CreateAndLoadVault');
    await this.#loadVault(native);
    step('InitializeStorageIdentifier');
    await native.initializeStorageIdentifier();
    if (this.#startup === 'COLDSTART') this.#validator?.endColdstart();
    // The core does not stop a change, and so far an operation has made none.
    this.#throwIfAborted();
    if (operation.kind === 'reanchor') {
      await native.reanchor(operation.password, operation.permit);
      this.#refuseWhileRestoring(native);
    } else if (operation.kind === 'recover') {
      await native.recover(operation.password, operation.permit);
    } else if (operation.kind === 'reseal') {
      await native.reseal(operation.password, operation.permit);
    } else {
      step('ValidateVaultIntegrity');
      await native.validateVaultIntegrity();
      step('ValidateTimeTamperAge');
      await native.validateTimeTamperAge();
      step('UpdateTimeTamper');
      await native.updateTimeTamper();
    }
    await this.#acceptManifests(native, manifests);
  }

  /** Up to the open key protector, of a restore up to the manifests. All locks are taken here, before any change. */
  async #firstSteps(
    operation: Operation,
    step: (name: string) => void,
  ): Promise<{ native: NativeStore; manifests: LoadedManifests | undefined }> {
    step('DetermineStartupState');
    const native = await this.#determine(operation);
    step('SetupPersistenceFiles');
    await native.setupPersistenceFiles();
    step('LoadLicenseProviderManifests');
    const manifests = await this.#loadManifests();
    if (operation.kind === 'restore') return { native, manifests };
    if (this.#startup === 'COLDSTART') {
      step('InitializeColdstart');
      await native.initializeColdstart();
    } else {
      step('InitializeWarmstart');
      await this.#openProtector(native, operation);
    }
    return { native, manifests };
  }

  async #loadVault(native: NativeStore): Promise<void> {
    await native.createAndLoadVault(guarded('progress', this.#options.onProgress));
    const validator = new PersistenceValidator(native, this.#startup);
    this.#validator = validator;
    this.#vault = new Vault({
      native,
      validator,
      pending: this.#pending,
      events: this.#events,
      anchor: () => this.anchor(),
    });
    const parts = { native, validator, task: this.#run };
    this.#parts = { fields: new Fields(native), keys: new Keys(parts), tls: new Tls(parts) };
  }

  /** Up to the open store whose restore is not completed. Until the token is made nothing is changed. */
  async #restore(native: NativeStore, operation: RestoreOperation): Promise<void> {
    await operation.attempt(async () => {
      operation.report.begin('password');
      try {
        await fromNative(() => native.initializeRecovery(operation.password));
      } catch (error) {
        // The token opens the store: a restore that was interrupted behind its commit, or none.
        if (toPersistenceError(error).reason !== 'nothing-to-do') throw error;
        if (operation.password === undefined) operation.report.skip('password');
        await fromNative(() => native.initializeWarmstart());
      }
      await fromNative(() => this.#loadVault(native));
      await fromNative(() => native.initializeStorageIdentifier());
      operation.report.begin('witnesses');
      await fromNative(() => native.validateRestore(operation.password, operation.permit));
    });
    this.#throwIfAborted();
    operation.report.begin('token');
    await operation.prepareToken(native.status()?.token === undefined);
    this.#throwIfAborted();
    await native.restore(operation.report.core);
  }

  /** A reanchor heals what refused the start; who goes on with the restore must know the password all the same. */
  #refuseWhileRestoring(native: NativeStore): void {
    if (native.status()?.restore?.completed !== false) return;
    throw new PersistenceError(
      'restore-required',
      'the present state was accepted; the restore that was begun is still to be completed',
      { committed: true },
    );
  }

  /**
   * Step 1. A COLDSTART gets what only it needs: the name of the instance and the password. The PIN is read where the
   * protector has one, or is to get one.
   */
  async #determine(operation: Operation): Promise<NativeStore> {
    const { native: given, protector, password, create } = this.#options;
    this.#native = this.#makeNative({ ...given, storage: protector?.native });
    this.#startup = await this.#native.determineStartupState();
    const cold = this.#startup === 'COLDSTART';
    if (cold && operation.kind !== 'open')
      throw new PersistenceError('no-store', `there is no store in ${given.directory}`);
    if (cold && create === 'never') {
      throw new PersistenceError(
        'no-store',
        `there is no store in ${given.directory}, and create is 'never'. Is the disk mounted?`,
      );
    }
    if (!cold && create === 'always')
      throw new PersistenceError('store-exists', `there is a store in ${given.directory} already`);
    if (cold && password === undefined && given.withoutRecovery !== true) {
      throw new PersistenceError(
        'invalid-option',
        "recovery: a new store needs a backup password, or `recovery: 'none'` in so many words: its data are then lost with its key protector",
      );
    }
    if (cold || operation.kind === 'recover')
      await requireApart(this.#binding, given.directory, given.secretStore);
    const purpose: Purpose = cold ? 'coldstart' : operation.kind === 'reseal' ? 'reseal' : 'open';
    const storage = await locateProtector(this.#binding, this.#options, purpose);
    if (!cold && storage === protector?.native) return this.#native;
    await this.#letGo();
    this.#native = this.#makeNative({
      ...given,
      storage,
      ...(cold && {
        instance: given.instance === '' ? 'default' : given.instance,
        recoveryPassword: await this.#recoveryPassword(),
      }),
    });
    // A start that waits for a lock comes here again.
    if (this.#options.waitForLockMs === 0) this.#options.forget();
    this.#startup = await this.#native.determineStartupState();
    return this.#native;
  }

  async #recoveryPassword(): Promise<Uint8Array | undefined> {
    const password = await this.#options.password?.();
    if (password !== undefined) requireStrong(password, 'recovery.password', 'invalid-option');
    return password;
  }

  /** Lets go of the core's side without writing anything. */
  async #letGo(): Promise<void> {
    const native = this.#native;
    this.#native = undefined;
    if (native !== undefined) await fromNative(() => native.abandon());
  }

  #makeNative(options: NativeStoreOptions): NativeStore {
    return new this.#binding.Store(
      { ...options, ...this.#internals },
      this.#pending.deliver,
      this.#pending.results,
    );
  }

  async #openProtector(native: NativeStore, operation: Operation): Promise<void> {
    if (operation.kind === 'recover' || operation.kind === 'reseal') {
      await native.initializeRecovery(operation.password);
      return;
    }
    try {
      await native.initializeWarmstart();
    } catch (error) {
      if (
        operation.kind === 'reanchor' &&
        (await isOpenedByPassword(this.#binding, this.#options, error, operation.password))
      ) {
        await native.initializeRecovery(operation.password);
        return;
      }
      // A store whose root is lost, or whose decommission was interrupted, can still be removed by its password.
      if (operation.kind !== 'decommission') throw error;
      const { retryable, reason } = toPersistenceError(error, 'internal');
      const permitted =
        this.#internals.allowLeftovers === true && reason !== 'locked' && reason !== 'aborted';
      if (retryable && !permitted) throw error;
    }
  }

  async #loadManifests(): Promise<LoadedManifests | undefined> {
    const { manifests, signal } = this.#options;
    if (manifests === undefined) return undefined;
    const loaded = loadManifests(manifests, (directory, { suffix, bytesMax, filesMax }) =>
      fromNative(() => this.#binding.readDirectoryFiles(directory, suffix, bytesMax, filesMax)),
    );
    return signal === undefined ? loaded : untilAborted(loaded, signal);
  }

  async #acceptManifests(native: NativeStore, loaded: LoadedManifests | undefined): Promise<void> {
    if (loaded === undefined) return;
    this.#manifests = await acceptAndRemember(native, loaded, this.#options.native.readOnly === true);
  }

  #announce(): void {
    const status = this.#native?.status();
    if (status === undefined) return;
    this.#pending.committed(status.newest.generation);
    for (const notice of noticesOf(status)) this.#events.notify(notice);
  }

  #startTimer(): void {
    this.#timeRefresh = new TimeRefresh(() => {
      void this.refreshTimeTamper().catch(() => undefined);
    });
  }

  /** What happens hourly, and when the clock was set. @internal */
  async refreshTimeTamper(): Promise<void> {
    try {
      await this.#task((native) => native.refreshTimeTamper());
      const generation = this.#native?.status()?.newest.generation ?? this.#pending.generation;
      this.#pending.committed(generation);
      this.#events.publish({ op: 'time', generation });
    } catch (error) {
      const cause = toPersistenceError(error, 'internal');
      if (cause.reason !== 'closed') {
        this.#events.notify(
          Object.freeze({ kind: 'time-refresh-failed', message: 'TIME_TAMPER was not refreshed', cause }),
        );
      }
      throw cause;
    }
  }

  status(): PersistenceStatus {
    PersistenceService.#checked(this);
    if (this.#state === 'new' || this.#state === 'starting') throw this.#notOpen();
    let native: NativeStatus | undefined;
    try {
      native = this.#native?.status() ?? this.#lastStatus;
    } catch (error) {
      throw toPersistenceError(error, 'internal');
    }
    if (native === undefined) throw this.#notOpen();
    return toStatus(native, {
      state: this.#state,
      readOnly: this.#options.native.readOnly === true,
      manifests: this.#manifests,
      validations: this.#validator?.validations ?? 0,
      library: this.#binding.libraryVersion,
      nowMs: Date.now(),
      sharesFileSystem: this.#sharesFileSystem,
      notices: this.#notices,
    });
  }

  on<Name extends keyof PersistenceEvents>(event: Name, listener: Listener<PersistenceEvents[Name]>): this {
    PersistenceService.#checked(this).#checkListener(event, listener);
    this.#events.add(event, listener);
    return this;
  }

  off<Name extends keyof PersistenceEvents>(event: Name, listener: Listener<PersistenceEvents[Name]>): this {
    PersistenceService.#checked(this).#checkListener(event, listener);
    this.#events.remove(event, listener);
    return this;
  }

  #checkListener(event: unknown, listener: unknown): void {
    if (event !== 'vault' && event !== 'notice') {
      throw new PersistenceError('invalid-argument', "the events are 'vault' and 'notice'");
    }
    if (typeof listener !== 'function') {
      throw new PersistenceError('invalid-argument', 'a listener must be a function');
    }
  }

  async anchor(): Promise<void> {
    return PersistenceService.#checked(this).#task((native) => native.anchor());
  }

  async acknowledgeNotices(): Promise<void> {
    const service = PersistenceService.#checked(this);
    await service.#task(acknowledgeNotices);
    service.#notices = [];
  }

  async compact(): Promise<void> {
    return PersistenceService.#checked(this).#task((native) => native.compact());
  }

  async relocate(): Promise<void> {
    return PersistenceService.#checked(this).#task((native) => native.relocate());
  }

  async verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    return upkeep.verify(PersistenceService.#checked(this).#run, options);
  }

  async auditLog(limit = upkeep.auditLogMax): Promise<readonly AuditEntry[]> {
    return upkeep.auditLog(PersistenceService.#checked(this).#run, limit);
  }

  async changePassword(
    current: PasswordSource,
    next: PasswordSource,
    options: PasswordOptions = {},
  ): Promise<number> {
    return passwords.changePassword(PersistenceService.#checked(this).#run, current, next, options);
  }

  async addPassword(
    current: PasswordSource,
    next: PasswordSource,
    options: PasswordOptions = {},
  ): Promise<number> {
    return passwords.addPassword(PersistenceService.#checked(this).#run, current, next, options);
  }

  async removePassword(staying: PasswordSource, slotId: number): Promise<void> {
    return passwords.removePassword(PersistenceService.#checked(this).#run, staying, slotId);
  }

  async verifyPassword(password: PasswordSource): Promise<number> {
    return passwords.verifyPassword(PersistenceService.#checked(this).#run, password);
  }

  /** For the last steps of a restore. @internal */
  async noteRestore(step: 'tls' | 'hook'): Promise<void> {
    return this.#task((native) => native.noteRestore(step));
  }

  /** The last step of a restore. @internal */
  async completeRestore(): Promise<void> {
    return this.#task((native) => native.completeRestore());
  }

  async rotateKek(): Promise<void> {
    return PersistenceService.#checked(this).#task((native) => native.rotateKek());
  }

  async rotateDek(options: RotateDekOptions = {}): Promise<void> {
    return upkeep.rotateDek(PersistenceService.#checked(this).#run, options);
  }

  close(): Promise<void> {
    try {
      PersistenceService.#checked(this);
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
    const native = this.#native;
    if (this.#state === 'starting') throw this.#notOpen();
    const wasOpen = this.#state === 'open';
    this.#state = 'closed';
    this.#timeRefresh?.stop();
    this.#pending.shut();
    if (!wasOpen || native === undefined) return;
    this.#lastStatus = native.status();
    native.shut();
    this.#validator?.invalidate();
    // Tasks that were asked for before are done first.
    await this.#tasks;
    try {
      await fromNative(() => native.close(this.#pending.deliver));
    } finally {
      this.#events.flush();
    }
  }

  /** The receiver of a public method, which a caller may have taken off its object. */
  static #checked(service: unknown): PersistenceService {
    if (typeof service === 'object' && service !== null && #native in service) return service;
    throw new PersistenceError('invalid-argument', 'the method was called on something that is not a store');
  }

  /** One task at a time, in the order of the calls. */
  async #task<T>(work: (native: NativeStore) => Promise<T>): Promise<T> {
    const native = this.#native;
    if (this.#state !== 'open' || native === undefined) throw this.#notOpen();
    const run = this.#tasks.then(() => fromNative(() => work(native)));
    this.#tasks = run.catch(() => undefined);
    return run;
  }

  #part<Name extends 'fields' | 'keys' | 'tls'>(
    name: Name,
  ): { readonly fields: Fields; readonly keys: Keys; readonly tls: Tls }[Name] {
    if (this.#parts === undefined || this.#state === 'starting') throw this.#notOpen();
    return this.#parts[name];
  }

  #throwIfAborted(): void {
    const { signal } = this.#options;
    if (signal?.aborted === true) throw aborted(signal);
  }

  #notOpen(): PersistenceError {
    if (this.#state === 'closed') return new PersistenceError('closed', 'the store was closed');
    return new PersistenceError('not-open', 'the store is not open yet');
  }
}
