// A start: one plan of the core, and what only the library has for it: secrets, manifests, the caller's trace.
//
// Invariants
// - The core runs the steps in the documents' order, each once, and stops where this file is needed.
// - All locks are taken before any change; a change that has begun is completed.
// - What is let go of was not written to.
import { throwIfAborted, untilAborted } from '../base/abort.js';
import { PersistenceError } from '../errors.js';
import { guarded } from '../vault/events.js';
import { waitingForLock } from './lock-wait.js';
import { loadManifests } from '../manifests/loader.js';
import { acceptAndRemember } from '../manifests/record.js';
import type { LicenseProviders, LoadedManifests } from '../manifests/types.js';
import type {
  NativeBinding,
  NativeStartReport,
  NativeStartSecrets,
  NativeStore,
  NativeStoreOptions,
} from '../native-binding.js';
import { fromNative, toPersistenceError } from '../native/errors.js';
import type { DecommissionOperation, OpeningOperation, Operation, RestoreOperation } from './operation.js';
import type { ReadOptions } from './open-options.js';
import { requireApart } from './places.js';
import { PersistenceValidator } from '../vault/validator.js';
import { isOpenedByPassword, locateProtector } from './protector-place.js';
import type { PendingOperations } from '../vault/pending.js';
import { requireStrong } from '../options/secrets.js';

export type Startup = NativeStartReport['startup'];

/** What a start leads to. */
export interface Started {
  readonly native: NativeStore;
  readonly startup: Startup;
  readonly validator: PersistenceValidator;
  readonly manifests: LicenseProviders | undefined;
}

type Step = NativeStartReport['steps'][number];

export class Start {
  readonly #binding: NativeBinding;
  readonly #options: ReadOptions;
  readonly #internals: Partial<NativeStoreOptions>;
  readonly #pending: PendingOperations;
  #native: NativeStore | undefined;
  #manifests: LoadedManifests | undefined;

  constructor(
    binding: NativeBinding,
    options: ReadOptions,
    internals: Partial<NativeStoreOptions>,
    pending: PendingOperations,
  ) {
    this.#binding = binding;
    this.#options = options;
    this.#internals = internals;
    this.#pending = pending;
  }

  cancel(): void {
    this.#native?.cancel();
  }

  /** Discards the core's side without writing anything. */
  async letGo(): Promise<void> {
    const native = this.#native;
    this.#native = undefined;
    if (native !== undefined) await fromNative(() => native.abandon());
  }

  async open(operation: OpeningOperation | RestoreOperation): Promise<Started> {
    const { native, startup } = await this.#begin(operation);
    if (operation.kind === 'restore') await this.#restore(native, operation);
    else await this.#perform(native, operation);
    const loaded = this.#manifests;
    const isReader = this.#options.native.readOnly === true;
    const manifests = loaded && (await acceptAndRemember(native, loaded, { isReader }));
    const validator = new PersistenceValidator(native, startup);
    validator.endColdstart();
    return { native, startup, validator, manifests };
  }

  /** @returns what was not found, and so is left behind */
  async decommission(operation: DecommissionOperation): Promise<readonly string[]> {
    const { native } = await this.#begin(operation);
    throwIfAborted(this.#options.signal);
    return Object.freeze(await native.operations.decommission(operation.password, operation.permit));
  }

  /** The plan up to its end, or of a restore to the password. All locks are taken here, before any change. */
  #begin(operation: Operation): Promise<{ readonly native: NativeStore; readonly startup: Startup }> {
    this.#announce('Initialize');
    return waitingForLock(
      this.#options,
      async () => {
        const native = this.#make();
        const { protector, create, manifests, trace, signal } = this.#options;
        const { kind } = operation;
        const { password, permit } = kind === 'open' ? {} : operation;
        throwIfAborted(signal);
        const plan = {
          purpose: kind,
          asksForSecrets:
            protector !== undefined || create === 'always' || kind === 'recover' || kind === 'reseal',
          hasManifests: manifests !== undefined,
          tellsSteps: trace !== undefined,
          allowLeftovers: this.#internals.allowLeftovers,
        } as const;
        const first = await native.start.open(plan, password, permit, this.#progress());
        const { startup } = await this.#follow(native, operation, first);
        return { native, startup };
      },
      () => this.letGo(),
    );
  }

  #make(): NativeStore {
    const { native: given, protector } = this.#options;
    this.#native = new this.#binding.Store(
      { ...given, protector: protector?.native, ...this.#internals },
      this.#pending.deliver,
      this.#pending.results,
    );
    return this.#native;
  }

  #progress(): ReturnType<typeof guarded<[done: number, all: number]>> {
    return guarded('progress', this.#options.onProgress);
  }

  #announce(step: string): void {
    throwIfAborted(this.#options.signal);
    this.#options.trace?.(step);
  }

  /** Continues until nothing is left of the plan, or until a restore tries the password. */
  async #follow(
    native: NativeStore,
    operation: Operation,
    first: NativeStartReport,
  ): Promise<NativeStartReport> {
    let report = first;
    while (report.steps.length > 0 && !report.steps.includes('restore-password')) {
      let secrets: NativeStartSecrets | undefined;
      for (const step of report.steps) secrets = (await this.#meet(step, operation, report)) ?? secrets;
      report = await this.#proceed(native, secrets);
    }
    return report;
  }

  #proceed(native: NativeStore, secrets?: NativeStartSecrets): Promise<NativeStartReport> {
    throwIfAborted(this.#options.signal);
    const proceeding = fromNative(() => native.start.proceed(secrets, this.#progress()));
    // The core has its copies now. A start that waits for a lock asks for them again.
    if (secrets !== undefined && this.#options.waitForLockMs === 0) this.#options.forget();
    return proceeding;
  }

  /** What is done here when a step begins. */
  async #meet(
    step: Step,
    operation: Operation,
    { startup, refusal }: NativeStartReport,
  ): Promise<NativeStartSecrets | undefined> {
    switch (step) {
      case 'secrets':
        return this.#secrets(startup, operation.kind);
      case 'root-refused':
        await this.#requireOpenedByPassword(operation, refusal);
        break;
      case 'restore-without-password':
        if (operation.kind === 'restore') operation.report.skip('password');
        break;
      case 'restore-witnesses':
        if (operation.kind === 'restore') operation.report.begin('witnesses');
        break;
      case 'LoadLicenseProviderManifests':
        this.#announce(step);
        this.#manifests = await this.#loadManifests();
        break;
      default:
        this.#announce(step);
    }
    return undefined;
  }

  /**
   * What only some starts need. A COLDSTART gets the name of the instance and the password. The PIN is read where the
   * protector has one, or is to get one.
   */
  async #secrets(startup: Startup, kind: Operation['kind']): Promise<NativeStartSecrets> {
    const { native: given } = this.#options;
    const cold = startup === 'COLDSTART';
    this.#require(startup, kind);
    if (cold || kind === 'recover') await requireApart(this.#binding, given.directory, given.secretStore);
    const purpose = cold ? 'coldstart' : kind === 'reseal' ? 'reseal' : 'open';
    const protector = await locateProtector(this.#binding, this.#options, purpose);
    return { protector, ...(cold && (await this.#forColdstart())) };
  }

  /** What the caller does not want, or what is missing for it. */
  #require(startup: Startup, kind: Operation['kind']): void {
    const { native: given, password, create } = this.#options;
    const { directory } = given;
    if (startup === 'WARMSTART') {
      if (create !== 'always') return;
      throw new PersistenceError('store-exists', `there is a store in ${directory} already`);
    }
    if (kind !== 'open') throw new PersistenceError('no-store', `there is no store in ${directory}`);
    if (create === 'never') {
      throw new PersistenceError(
        'no-store',
        `there is no store in ${directory}, and create is 'never'. Is the disk mounted?`,
      );
    }
    if (password !== undefined || given.withoutRecovery === true) return;
    throw new PersistenceError(
      'invalid-option',
      "recovery: a new store needs a backup password, or `recovery: 'none'` in so many words: its data are then lost with its key protector",
    );
  }

  async #forColdstart(): Promise<Pick<NativeStartSecrets, 'instance' | 'recoveryPassword'>> {
    const { native: given, password } = this.#options;
    const recoveryPassword = await password?.();
    if (recoveryPassword !== undefined)
      requireStrong(recoveryPassword, 'recovery.password', 'invalid-option');
    return { instance: given.instance === '' ? 'default' : given.instance, recoveryPassword };
  }

  async #loadManifests(): Promise<LoadedManifests | undefined> {
    const { manifests, signal } = this.#options;
    if (manifests === undefined) return undefined;
    const loaded = loadManifests(manifests, (directory, { suffix, bytesMax, filesMax }) =>
      fromNative(() => this.#binding.readDirectoryFiles(directory, suffix, bytesMax, filesMax)),
    );
    return signal === undefined ? loaded : untilAborted(loaded, signal);
  }

  /** @throws the refusal, unless a reanchor goes over it */
  async #requireOpenedByPassword(operation: Operation, refusal: unknown): Promise<void> {
    const password = operation.kind === 'open' ? undefined : operation.password;
    if (await isOpenedByPassword(this.#binding, this.#options, refusal, password)) return;
    throw toPersistenceError(refusal, 'internal');
  }

  /** The operation that follows on the plan. */
  async #perform(native: NativeStore, operation: OpeningOperation): Promise<void> {
    if (operation.kind === 'open') return;
    // The core does not stop a change, and so far an operation has made none.
    throwIfAborted(this.#options.signal);
    await native.operations[operation.kind](operation.password, operation.permit);
    if (operation.kind === 'reanchor') refuseWhileRestoring(native);
  }

  /** Up to the open store whose restore is not completed. Until the token is made nothing is changed. */
  async #restore(native: NativeStore, operation: RestoreOperation): Promise<void> {
    await operation.attempt(async () => {
      operation.report.begin('password');
      await this.#follow(native, operation, await this.#proceed(native));
    });
    throwIfAborted(this.#options.signal);
    operation.report.begin('token');
    if (native.status()?.token === undefined) await operation.makeToken();
    throwIfAborted(this.#options.signal);
    await native.operations.restore(operation.report.core);
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
