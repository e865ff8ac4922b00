// Where the root of a store is, with the PIN that opens it.
import { PersistenceError } from './errors.js';
import type { NativeBinding, NativeStorage } from './native-binding.js';
import { fromNative } from './native-errors.js';
import type { GivenStorage, ReadOptions } from './options.js';
import { locateToken } from './pkcs11-options.js';
import { secretBytesMax } from './secrets.js';

/** What the core is told; `wipe` when it has been. */
export interface RootPlace {
  readonly storage: NativeStorage | undefined;
  readonly wipe: () => void;
}

/**
 * The PIN is read where the root has one, or is to get one. A KEK that the caller does not name is named after the instance.
 * @param cold - a COLDSTART
 * @param kind - of the act, `reseal` among them
 */
export async function locateRoot(
  binding: NativeBinding,
  options: ReadOptions,
  cold: boolean,
  kind: string,
): Promise<RootPlace> {
  const { storage, instance } = options.native;
  if (storage?.type !== 'pkcs11') {
    return { storage: await withPin(binding, options, cold, kind), wipe: () => undefined };
  }
  const located = await locateToken(binding, storage, options.pin);
  if (!cold || located.storage.object !== undefined) return located;
  const object = `strongroom ${instance === '' ? 'default' : instance}`;
  return { ...located, storage: { ...located.storage, object } };
}

async function withPin(
  binding: NativeBinding,
  { native, pin, withoutPin }: ReadOptions,
  cold: boolean,
  kind: string,
): Promise<Exclude<GivenStorage, { type: 'pkcs11' }> | undefined> {
  const { storage, directory } = native;
  if (kind === 'reseal' && pin === undefined && !withoutPin && (await rootHasPin(binding, directory))) {
    throw new PersistenceError(
      'pin-missing',
      "the root has a PIN: give the new one, or 'none' to take it away",
    );
  }
  if (storage?.type === 'pkcs11') return undefined;
  if (storage?.type !== 'tpm' || pin === undefined) return storage;
  const wanted = cold || kind === 'reseal' || (await rootHasPin(binding, directory));
  if (!wanted) return storage;
  const bytes = await pin();
  if (bytes.length === 0 || bytes.length > secretBytesMax)
    throw new PersistenceError('invalid-option', `storage.pin: a PIN has 1 to ${secretBytesMax} bytes`);
  return { ...storage, pin: bytes };
}

/** Unauthenticated; but a slot that says it needs none, and does, does not open. */
async function rootHasPin(binding: NativeBinding, directory: string): Promise<boolean> {
  const header = await fromNative(() => binding.inspect(directory)).catch(() => undefined);
  return header?.tpm?.pin === true;
}
