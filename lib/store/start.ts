// A start: the five steps of Initialize(), or what an administrative operation does in place of the last ones.
//
// Invariants
// - The steps run in the document's order, each once.
// - All locks are taken before any change; a change that has begun is completed.
import { throwIfAborted, untilAborted } from '../base/abort.js';
import { PersistenceError } from '../errors.js';
import { guarded } from '../vault/events.js';
import { waitingForLock } from './lock-wait.js';
import { loadManifests } from '../manifests/loader.js';
import { acceptAndRemember } from '../manifests/record.js';
import type { LicenseProviders, LoadedManifests } from '../manifests/types.js';
import type { NativeBinding, NativeStore, NativeStoreOptions } from '../native-binding.js';
import { fromNative, toPersistenceError } from '../native/errors.js';
import type { DecommissionOperation, OpeningOperation, Operation, RestoreOperation } from './operation.js';
import type { ReadOptions } from './open-options.js';
import { PersistenceValidator } from '../vault/validator.js';
import { isOpenedByPassword } from './protector-place.js';
import { Opening, type Startup } from './opening.js';
import type { PendingOperations } from '../vault/pending.js';

/** What a start leads to. */
export interface Started {
  readonly native: NativeStore;
  readonly startup: Startup;
  readonly validator: PersistenceValidator;
  readonly manifests: LicenseProviders | undefined;
}

interface FirstSteps {
  readonly native: NativeStore;
  readonly startup: Startup;
  readonly loaded: LoadedManifests | undefined;
}

export class Start {
  readonly #binding: NativeBinding;
  readonly #options: ReadOptions;
  readonly #internals: Partial<NativeStoreOptions>;
  readonly #opening: Opening;

  constructor(
    binding: NativeBinding,
    options: ReadOptions,
    internals: Partial<NativeStoreOptions>,
    pending: PendingOperations,
  ) {
    this.#binding = binding;
    this.#options = options;
    this.#internals = internals;
    this.#opening = new Opening(binding, options, internals, pending);
  }

  cancel(): void {
    this.#opening.cancel();
  }

  /** Discards the core's side without writing anything. */
  letGo(): Promise<void> {
    return this.#opening.letGo();
  }

  async open(operation: OpeningOperation | RestoreOperation): Promise<Started> {
    const first = await this.#first(operation);
    const { native, loaded } = first;
    const validator =
      operation.kind === 'restore'
        ? await this.#restore(first, operation)
        : await this.#load(first, operation);
    const manifests =
      loaded &&
      (await acceptAndRemember(native, loaded, { isReader: this.#options.native.readOnly === true }));
    return { ...first, validator, manifests };
  }

  /** @returns what was not found, and so is left behind */
  async decommission(operation: DecommissionOperation): Promise<readonly string[]> {
    const { native } = await this.#first(operation);
    // A vendor's permit names the present checkpoint, which the vault holds.
    await native.start
      .createAndLoadVault(guarded('progress', this.#options.onProgress))
      .catch(() => undefined);
    throwIfAborted(this.#options.signal);
    return Object.freeze(await native.operations.decommission(operation.password, operation.permit));
  }

  #step(name: string): void {
    throwIfAborted(this.#options.signal);
    this.#options.trace(name);
  }

  /** Up to the open key protector, of a restore up to the manifests. All locks are taken here, before any change. */
  #first(operation: Operation): Promise<FirstSteps> {
    this.#step('Initialize');
    return waitingForLock(
      this.#options,
      async () => {
        this.#step('DetermineStartupState');
        const { native, startup } = await this.#opening.determine(operation.kind);
        this.#step('SetupPersistenceFiles');
        await native.start.setupPersistenceFiles();
        this.#step('LoadLicenseProviderManifests');
        const loaded = await this.#loadManifests();
        if (operation.kind !== 'restore') await this.#openProtector(native, startup, operation);
        return { native, startup, loaded };
      },
      () => this.letGo(),
    );
  }

  async #loadManifests(): Promise<LoadedManifests | undefined> {
    const { manifests, signal } = this.#options;
    if (manifests === undefined) return undefined;
    const loaded = loadManifests(manifests, (directory, { suffix, bytesMax, filesMax }) =>
      fromNative(() => this.#binding.readDirectoryFiles(directory, suffix, bytesMax, filesMax)),
    );
    return signal === undefined ? loaded : untilAborted(loaded, signal);
  }

  async #openProtector(
    native: NativeStore,
    startup: Startup,
    operation: OpeningOperation | DecommissionOperation,
  ): Promise<void> {
    if (startup === 'COLDSTART') {
      this.#step('InitializeColdstart');
      await native.start.initializeColdstart();
      return;
    }
    this.#step('InitializeWarmstart');
    if (operation.kind === 'recover' || operation.kind === 'reseal') {
      await native.start.initializeRecovery(operation.password);
      return;
    }
    try {
      await native.start.initializeWarmstart();
    } catch (error) {
      await this.#openOtherwise(native, operation, error);
    }
  }

  /** @throws the error, where the operation does not go over it */
  async #openOtherwise(
    native: NativeStore,
    operation: OpeningOperation | DecommissionOperation,
    error: unknown,
  ): Promise<void> {
    if (
      operation.kind === 'reanchor' &&
      (await isOpenedByPassword(this.#binding, this.#options, error, operation.password))
    ) {
      await native.start.initializeRecovery(operation.password);
      return;
    }
    // A store whose root is lost, or whose decommission was interrupted, can still be removed by its password.
    if (operation.kind !== 'decommission') throw error;
    const { retryable, reason } = toPersistenceError(error, 'internal');
    const permitted = this.#internals.allowLeftovers === true && reason !== 'locked' && reason !== 'aborted';
    if (retryable && !permitted) throw error;
  }

  /** The last steps, or the operation. */
  async #load({ native, startup }: FirstSteps, operation: OpeningOperation): Promise<PersistenceValidator> {
    this.#step('LoadVaultAndValidate');
    this.#step('ValidateVaultFilename');
    this.#step('CreateAndLoadVault');
    await native.start.createAndLoadVault(guarded('progress', this.#options.onProgress));
    const validator = new PersistenceValidator(native, startup);
    this.#step('InitializeStorageIdentifier');
    await native.start.initializeStorageIdentifier();
    if (startup === 'COLDSTART') validator.endColdstart();
    // The core does not stop a change, and so far an operation has made none.
    throwIfAborted(this.#options.signal);
    switch (operation.kind) {
      case 'reanchor':
        await native.operations.reanchor(operation.password, operation.permit);
        refuseWhileRestoring(native);
        break;
      case 'recover':
        await native.operations.recover(operation.password, operation.permit);
        break;
      case 'reseal':
        await native.operations.reseal(operation.password, operation.permit);
        break;
      case 'open':
        this.#step('ValidateVaultIntegrity');
        await native.start.validateVaultIntegrity();
        this.#step('ValidateTimeTamperAge');
        await native.start.validateTimeTamperAge();
        this.#step('UpdateTimeTamper');
        await native.start.updateTimeTamper();
    }
    return validator;
  }

  /** Up to the open store whose restore is not completed. Until the token is made nothing is changed. */
  async #restore(
    { native, startup }: FirstSteps,
    operation: RestoreOperation,
  ): Promise<PersistenceValidator> {
    await operation.attempt(async () => {
      operation.report.begin('password');
      try {
        await fromNative(() => native.start.initializeRecovery(operation.password));
      } catch (error) {
        // The token opens the store: a restore that was interrupted behind its commit, or none.
        if (toPersistenceError(error).reason !== 'nothing-to-do') throw error;
        if (operation.password === undefined) operation.report.skip('password');
        await fromNative(() => native.start.initializeWarmstart());
      }
      await fromNative(() => native.start.createAndLoadVault(guarded('progress', this.#options.onProgress)));
      await fromNative(() => native.start.initializeStorageIdentifier());
      operation.report.begin('witnesses');
      await fromNative(() => native.operations.validateRestore(operation.password, operation.permit));
    });
    throwIfAborted(this.#options.signal);
    operation.report.begin('token');
    if (native.status()?.token === undefined) await operation.makeToken();
    throwIfAborted(this.#options.signal);
    await native.operations.restore(operation.report.core);
    return new PersistenceValidator(native, startup);
  }
}

/** A reanchor heals what refused the start; who goes on with the restore must know the password all the same. */
function refuseWhileRestoring(native: NativeStore): void {
  if (native.status()?.restore?.completed !== false) return;
  throw new PersistenceError(
    'restore-required',
    'the present state was accepted; the restore that was begun is still to be completed',
    { committed: true },
  );
}
