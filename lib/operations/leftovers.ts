// The rest of a store whose files are gone: what SecretStore, TPM or token still hold of it.
import { requireRecord } from '../base/arguments.js';
import { cancelling, throwIfAborted } from '../base/abort.js';
import { PersistenceError } from '../errors.js';
import type { NativeBinding, NativeStore, NativeStoreOptions } from '../native-binding.js';
import { deliveryBytes } from '../native-border.js';
import { fromNative, toPersistenceError } from '../native/errors.js';
import { readClosed } from '../options/readers.js';
import { readOpenOptions, type OpenOptions, type ReadOptions } from '../store/open-options.js';
import { locateProtector } from '../store/protector-place.js';
import { typesWhere } from '../protectors/registry.js';

/** Where a store was, and where its items are. The places that are not named are not looked at. */
export type LeftoverOptions = Pick<
  OpenOptions,
  'directory' | 'instance' | 'protector' | 'secretStore' | 'signal'
>;

/** A part of a store whose persistence.bin is gone. */
export interface Leftover {
  /** `RootKey`, `VaultHash`, `TimeTamper`, an NV index, a key, or the name of a file. */
  readonly name: string;
  readonly place: string;
  /** Undefined for what does not say to which store it belongs. */
  readonly storageId: string | undefined;
}

const names = ['directory', 'instance', 'protector', 'secretStore', 'signal'] as const;

/** Lists the leftovers, and changes nothing. */
export function findLeftovers(
  binding: NativeBinding,
  given: unknown,
  internals: Partial<NativeStoreOptions> = {},
): Promise<readonly Leftover[]> {
  return withLeftovers(binding, given, internals, () => Promise.resolve());
}

/**
 * Removes the leftovers, and lists what they were.
 * @throws PersistenceError `nothing-to-do` when there are none; `locked` while a store uses them
 */
export function removeLeftovers(
  binding: NativeBinding,
  given: unknown,
  internals: Partial<NativeStoreOptions> = {},
): Promise<readonly Leftover[]> {
  return withLeftovers(binding, given, internals, (store) => store.operations.removeLeftovers());
}

async function withLeftovers(
  binding: NativeBinding,
  given: unknown,
  internals: Partial<NativeStoreOptions>,
  work: (store: NativeStore) => Promise<void>,
): Promise<readonly Leftover[]> {
  let options: ReadOptions | undefined;
  try {
    requireRecord(given);
    const {
      directory,
      instance = 'default',
      protector: place,
      secretStore,
      signal,
    } = readClosed(given, 'the options', names);
    const read = readOpenOptions({ directory, instance, protector: place, secretStore, signal });
    options = read;
    const { native, protector } = read;
    if (native.secretStore === undefined && protector?.kind.hasSecretStore !== false) {
      const without = typesWhere(({ hasSecretStore }) => !hasSecretStore);
      throw new PersistenceError('invalid-option', `secretStore: needed, unless the protector is ${without}`);
    }
    // As at a COLDSTART: nothing else names the key in the token.
    const located = await locateProtector(binding, read, 'coldstart');
    const store = new binding.Store(
      { ...native, protector: located, ...internals },
      () => undefined,
      new ArrayBuffer(deliveryBytes),
    );
    read.forget();
    try {
      return await cancelling(
        read.signal,
        () => {
          store.cancel();
        },
        async () => {
          throwIfAborted(read.signal);
          const found = await fromNative(() => store.operations.findLeftovers());
          // The core does not stop a removal.
          throwIfAborted(read.signal);
          await fromNative(() => work(store));
          return Object.freeze(found.map((leftover) => Object.freeze(leftover)));
        },
      );
    } finally {
      await store.abandon();
    }
  } catch (error) {
    const refusal = toPersistenceError(error);
    throw options?.explain(refusal) ?? refusal;
  } finally {
    options?.forget();
  }
}
