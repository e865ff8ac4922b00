// The core's side of a start: which store there is, and the native object that opens it.
//
// Invariant: what is let go of was not written to.
import { PersistenceError } from '../errors.js';
import type { NativeBinding, NativeStore, NativeStoreOptions } from '../native-binding.js';
import { fromNative } from '../native/errors.js';
import type { Operation } from './operation.js';
import type { ReadOptions } from './open-options.js';
import type { PendingOperations } from '../vault/pending.js';
import { requireApart } from './places.js';
import { locateProtector } from './protector-place.js';
import { requireStrong } from '../options/secrets.js';

export type Startup = 'COLDSTART' | 'WARMSTART';

export class Opening {
  readonly #binding: NativeBinding;
  readonly #options: ReadOptions;
  readonly #internals: Partial<NativeStoreOptions>;
  readonly #pending: PendingOperations;
  #native: NativeStore | undefined;

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

  /**
   * Step 1. A COLDSTART gets what only it needs: the name of the instance and the password. The PIN is read where the
   * protector has one, or is to get one.
   */
  async determine(kind: Operation['kind']): Promise<{ native: NativeStore; startup: Startup }> {
    const { native: given, protector } = this.#options;
    const native = this.#make({ ...given, protector: protector?.native });
    const startup = await native.start.determineStartupState();
    const cold = startup === 'COLDSTART';
    this.#require(startup, kind);
    if (cold || kind === 'recover') await requireApart(this.#binding, given.directory, given.secretStore);
    const purpose = cold ? 'coldstart' : kind === 'reseal' ? 'reseal' : 'open';
    const placed = await locateProtector(this.#binding, this.#options, purpose);
    if (!cold && placed === protector?.native) return { native, startup };
    await this.letGo();
    const located = this.#make({ ...given, protector: placed, ...(cold && (await this.#forColdstart())) });
    // A start that waits for a lock comes here again.
    if (this.#options.waitForLockMs === 0) this.#options.forget();
    return { native: located, startup: await located.start.determineStartupState() };
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

  async #forColdstart(): Promise<Pick<NativeStoreOptions, 'instance' | 'recoveryPassword'>> {
    const { native: given, password } = this.#options;
    const recoveryPassword = await password?.();
    if (recoveryPassword !== undefined)
      requireStrong(recoveryPassword, 'recovery.password', 'invalid-option');
    return { instance: given.instance === '' ? 'default' : given.instance, recoveryPassword };
  }

  #make(options: NativeStoreOptions): NativeStore {
    this.#native = new this.#binding.Store(
      { ...options, ...this.#internals },
      this.#pending.deliver,
      this.#pending.results,
    );
    return this.#native;
  }
}
