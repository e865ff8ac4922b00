// What is done to a store that is not simply opened: looked at, accepted, recovered, sealed anew, removed.
import type { OpeningOperation } from './operation.js';
import { requireRecord } from './arguments.js';
import { PersistenceError } from './errors.js';
import type { Reason } from './error-table.js';
import { removeLeftovers, type Leftover, type LeftoverOptions } from './leftovers.js';
import type { NativeBinding, NativeInspection, NativeStoreOptions } from './native-binding.js';
import { fromNative, toPersistenceError } from './native-errors.js';
import { readClosed, readOptions, readPath, refuseOldNames } from './options/readers.js';
import { readSecretStore, type OpenOptions, type SecretStoreOptions } from './options.js';
import { readProtector, type KeyProtectorOptions, type KeyProtectorType } from './protectors/registry.js';
import type { OpenStore } from './store/open-store.js';
import { PersistenceService } from './store/persistence-service.js';
import { readPassword, type PasswordSource, type Secret } from './secrets.js';
import { hasPassword, toKeySlots, toStatus, type KeySlot, type PersistenceStatus } from './status.js';
import type { TokenStatus } from './protectors/pkcs11.js';
import { keepNotices } from './notices.js';
import { sharesFileSystem } from './places.js';
import { parsePermit, type Permit } from './permit.js';

/** What authorises an administrative operation: the backup password, or a permit where the store has a vendor. */
export interface Credential {
  readonly password?: PasswordSource;
  readonly permit?: Permit;
}

/** Options of open(), with the credential. */
export type AdministrativeOptions = Omit<OpenOptions, 'recovery' | 'create' | 'readOnly' | 'trace'> & {
  readonly credential: Credential;
};

/** What can be told of a store without changing anything. */
export interface Inspection {
  /** Unauthenticated, as persistence.bin says: */
  readonly provision: 'provisioning' | 'complete' | 'decommissioning';
  readonly instance: string;
  readonly storageId: string;
  readonly keySlots: readonly KeySlot[];
  /** Whether there is a backup password. Without one the data are lost with the key protector. */
  readonly recoverable: boolean;
  readonly protector: KeyProtectorType;
  readonly secretStore: SecretStoreOptions | undefined;
  readonly tpm:
    { readonly tcti: string; readonly pcrs: readonly number[]; readonly pin: boolean } | undefined;
  readonly token: Omit<TokenStatus, 'model'> | undefined;
  readonly files: { readonly vault: boolean; readonly tamperFile: boolean; readonly oneCopyDamaged: boolean };
  /** What a start would say now: `ok`, or the reason of its refusal. */
  readonly verdict: 'ok' | Reason;
  /** That refusal. */
  readonly error: PersistenceError | undefined;
  /** As far as the key protector could be reached and the vault read; of a refused store too. */
  readonly status: PersistenceStatus | undefined;
}

export interface InspectOptions {
  /** In place of what persistence.bin names. */
  readonly secretStore?: SecretStoreOptions;
  /**
   * The TCTI in place of what persistence.bin names, and the PIN, which is read where it has one. Without it a
   * protector with a PIN is `pin-missing`, and what stands in the files is told all the same. Key protector `pkcs11`: the
   * module, without which no token is asked, and the PIN.
   */
  readonly protector?: KeyProtectorOptions;
}

/** As {@link Api.inspect}. */
export async function inspectStore(
  binding: NativeBinding,
  directory: string,
  options: InspectOptions = {},
  internals: Partial<NativeStoreOptions> = {},
): Promise<Inspection> {
  const path = readPath(directory, 'directory');
  const { secretStore, protector } = readOptions(options, ['secretStore', 'protector']);
  const given = readSecretStore(secretStore);
  const read = readProtector(protector);
  let header: NativeInspection;
  let outcome: Examination;
  try {
    header = await fromNative(() => binding.inspect(path));
    const storage = await read?.locate({
      binding,
      purpose: 'open',
      instance: '',
      header: () => Promise.resolve(header),
      signal: undefined,
    });
    outcome = await examine(binding, {
      directory: path,
      instance: '',
      secretStore: given,
      storage,
      readOnly: true,
      ...internals,
    });
  } catch (error) {
    throw toPersistenceError(error);
  } finally {
    read?.forget();
  }
  const { status } = outcome;
  const error = outcome.error && (read?.explain(outcome.error) ?? outcome.error);
  return Object.freeze({
    provision: header.provision,
    instance: header.instance,
    storageId: header.storageId,
    keySlots: toKeySlots(header.keySlots),
    recoverable: hasPassword(header.keySlots),
    protector: header.storage,
    secretStore: given ?? header.secretStore,
    tpm: header.tpm && Object.freeze({ ...header.tpm, pcrs: Object.freeze(header.tpm.pcrs) }),
    token: header.token && Object.freeze(header.token),
    files: Object.freeze({
      vault: header.vaultFilePresent,
      tamperFile: header.tamperFilePresent,
      oneCopyDamaged: header.oneCopyDamaged,
    }),
    verdict: error?.reason ?? 'ok',
    error,
    status,
  });
}

/** How far a reading start came. */
export interface Examination {
  readonly error: PersistenceError | undefined;
  readonly status: PersistenceStatus | undefined;
}

/** The steps of a reading start, as far as they go. */
export async function examine(binding: NativeBinding, options: NativeStoreOptions): Promise<Examination> {
  const store = new binding.Store(options, () => undefined, new ArrayBuffer(1024 * 17));
  let loaded = false;
  let error: PersistenceError | undefined;
  try {
    await store.determineStartupState();
    await store.setupPersistenceFiles();
    await store.initializeWarmstart();
    await store.createAndLoadVault();
    loaded = true;
    await store.initializeStorageIdentifier();
    await store.validateVaultIntegrity();
    await store.validateTimeTamperAge();
    await store.updateTimeTamper();
  } catch (refusal) {
    error = toPersistenceError(refusal, 'internal');
  }
  try {
    const native = loaded ? store.status() : undefined;
    const extras = {
      state: 'closed',
      readOnly: true,
      manifests: undefined,
      validations: 0,
      library: binding.libraryVersion,
      nowMs: Date.now(),
      notices: loaded ? await keepNotices(store, Date.now(), { isReader: true }) : [],
      sharesFileSystem: await sharesFileSystem(binding, options.directory, native?.secretStore),
    } as const;
    return { error, status: native && toStatus(native, extras) };
  } finally {
    await store.abandon();
  }
}

/** Options of {@link decommission}. */
export type DecommissionOptions =
  | (AdministrativeOptions & {
      readonly leftovers?: false;
      /** Removes the store although items of it were not found; `leftBehind` names them. */
      readonly allowLeftovers?: boolean;
    })
  /** What is left of a store whose persistence.bin is gone. No credential: with it went what names the authority. */
  | (LeftoverOptions & { readonly leftovers: true });

/** What {@link decommission} did. */
export interface Decommissioned {
  /** With `leftovers`: what was removed. */
  readonly leftovers: readonly Leftover[];
  /** With `allowLeftovers`: what was not found, and so may still be somewhere. */
  readonly leftBehind: readonly string[];
}

/** As {@link Api.decommission}. */
export async function decommissionStore(
  binding: NativeBinding,
  options: DecommissionOptions,
  internals: Partial<NativeStoreOptions> = {},
): Promise<Decommissioned> {
  try {
    requireRecord(options);
    const { leftovers, allowLeftovers, ...rest } = options as AdministrativeOptions & {
      readonly leftovers?: boolean;
      readonly allowLeftovers?: boolean;
    };
    for (const [name, value] of Object.entries({ leftovers, allowLeftovers })) {
      if (value !== undefined && typeof value !== 'boolean')
        throw new PersistenceError('invalid-option', `${name} must be a boolean`);
    }
    if (leftovers === true) {
      if (allowLeftovers !== undefined)
        throw new PersistenceError('invalid-option', 'leftovers and allowLeftovers exclude each other');
      const removed = await removeLeftovers(binding, rest, internals);
      return Object.freeze({ leftovers: removed, leftBehind: Object.freeze([]) });
    }
    const removal = { ...internals, allowLeftovers, removal: true };
    const leftBehind = await withCredential(rest, async (open, credential) =>
      new PersistenceService(binding, open, removal).decommission(async () => ({
        kind: 'decommission',
        ...(await credential()),
      })),
    );
    return Object.freeze({ leftovers: Object.freeze([]), leftBehind });
  } catch (error) {
    throw toPersistenceError(error);
  }
}

/** The administrative operations that lead to an open store. */
export async function performOperation(
  binding: NativeBinding,
  kind: Exclude<OpeningOperation['kind'], 'open'>,
  options: AdministrativeOptions,
  internals: Partial<NativeStoreOptions> = {},
): Promise<OpenStore> {
  return withCredential(options, async (open, credential) =>
    new PersistenceService(binding, open, internals).initialize(async () => ({
      kind,
      ...(await credential()),
    })),
  );
}

interface ReadCredential {
  readonly password: Uint8Array | undefined;
  readonly permit: Uint8Array | undefined;
}

/** Runs work with the other options, and with a function that reads the credential, which is wiped. */
async function withCredential<T>(
  options: AdministrativeOptions,
  work: (open: object, credential: () => Promise<ReadCredential>) => Promise<T>,
): Promise<T> {
  let source: Secret | undefined;
  try {
    requireRecord(options);
    refuseOldNames(options, ['credential']);
    const { credential, ...rest } = options;
    const given = readClosed(credential, 'credential', ['password', 'permit']);
    const permit = given.permit === undefined ? undefined : parsePermit(given.permit, 'credential.permit');
    source = readPassword(given.password, 'credential.password');
    return await work(rest, async () => ({ password: await source?.take(), permit }));
  } catch (error) {
    const refusal = toPersistenceError(error);
    throw source?.explain(refusal) ?? refusal;
  } finally {
    source?.forget();
  }
}
