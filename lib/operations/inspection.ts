// A look at a store: who it is, and what a start would say. Changes nothing.
import type { PersistenceError } from '../errors.js';
import type { Reason } from '../error-table.js';
import type { NativeBinding, NativeInspection, NativeStoreOptions } from '../native-binding.js';
import { deliveryBytes } from '../native-border.js';
import { fromNative, toPersistenceError } from '../native/errors.js';
import { readOptions, readPath } from '../options/readers.js';
import { readSecretStore, type SecretStoreOptions } from '../options/secret-store.js';
import { readProtector, type KeyProtectorOptions, type KeyProtectorType } from '../protectors/registry.js';
import { hasPassword, toKeySlots, toStatus, type KeySlot, type PersistenceStatus } from '../store/status.js';
import type { TokenStatus } from '../protectors/pkcs11.js';
import { keepNotices } from '../store/notices.js';
import { sharesFileSystem } from '../store/places.js';

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
    const located = await read?.locate({
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
      protector: located,
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
    protector: header.protector,
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

/** A reading start, as far as it goes. */
export async function examine(binding: NativeBinding, options: NativeStoreOptions): Promise<Examination> {
  const store = new binding.Store(options, () => undefined, new ArrayBuffer(deliveryBytes));
  try {
    const { loaded, refusal } = await store.start.open({ purpose: 'inspect' });
    const error = refusal && toPersistenceError(refusal, 'internal');
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
