// How a store's directory and its SecretStore lie to each other.
//
// What is restored together with the store cannot tell that the store was restored. So the SecretStore is neither the store's
// directory, nor in it, nor above it.
import { PersistenceError } from '../errors.js';
import type { NativeBinding, NativeSecretStore } from '../native-binding.js';

async function relate(
  binding: NativeBinding,
  directory: string,
  secretStore: NativeSecretStore | undefined,
): Promise<{ readonly overlap: boolean; readonly sameFileSystem: boolean } | undefined> {
  if (secretStore?.type !== 'file') return undefined;
  // A place that cannot be looked at is refused by the start itself, which says why.
  return binding.relatePlaces(directory, secretStore.directory).catch(() => undefined);
}

/**
 * Requires that the SecretStore is apart from the store's directory, also through links and bind mounts.
 * @throws PersistenceError `invalid-option`
 */
export async function requireApart(
  binding: NativeBinding,
  directory: string,
  secretStore: NativeSecretStore | undefined,
): Promise<void> {
  if ((await relate(binding, directory, secretStore))?.overlap !== true) return;
  throw new PersistenceError(
    'invalid-option',
    `secretStore.directory must be neither ${directory}, nor in it, nor above it, also through links and mounts`,
  );
}

/** Whether both are on one file system, which is taken back as a whole; undefined for a keyring, or where it is not known. */
export async function sharesFileSystem(
  binding: NativeBinding,
  directory: string,
  secretStore: NativeSecretStore | undefined,
): Promise<boolean | undefined> {
  return (await relate(binding, directory, secretStore))?.sameFileSystem;
}
