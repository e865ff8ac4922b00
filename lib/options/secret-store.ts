// The option that names a SecretStore.
import type { NativeSecretStore } from '../native-binding.js';
import { invalidOption, readClosed, readPath } from './readers.js';

/** Where two witnesses live, and in software protection the RootKey, outside the store's directory. */
export type SecretStoreOptions =
  /** A directory of its own, 0700, files 0600. Made when missing at COLDSTART. */
  | { readonly type: 'file'; readonly directory: string }
  /** libsecret over the session's D-Bus, loaded at run time. */
  | { readonly type: 'secret-service' };

export function readSecretStore(value: unknown): NativeSecretStore | undefined {
  if (value === undefined) return undefined;
  const { type, directory } = readClosed(value, 'secretStore', ['type', 'directory']);
  if (type === 'file') return { type, directory: readPath(directory, 'secretStore.directory') };
  if (type !== 'secret-service') throw invalidOption("secretStore.type must be 'file' or 'secret-service'");
  if (directory !== undefined) throw invalidOption("secretStore.directory belongs to the type 'file'");
  return { type };
}
