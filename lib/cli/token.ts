// Commands that are about a store whose key is in a token.
import { PersistenceError } from '../errors.js';
import type { Pkcs11ProtectorOptions } from '../index.js';
import type { KeyProtectorKind } from '../protectors/protector.js';
import { protectorOf } from '../protectors/registry.js';
import { withProtector, type ProtectorFlags } from './protector-options.js';
import { requireStore } from './store.js';

/**
 * The kind of the store's protector.
 * @throws PersistenceError `nothing-to-do` where no token can be lost
 */
export async function requireToken(path: string): Promise<KeyProtectorKind> {
  const { protector: type } = await requireStore(path);
  const kind = protectorOf(type);
  if (kind.isInToken) return kind;
  throw new PersistenceError('nothing-to-do', `protector '${type}' has no token that could be lost`);
}

/** Runs work with the token's place and PIN, which is wiped. */
export function withToken<T>(
  kind: KeyProtectorKind,
  options: ProtectorFlags,
  work: (protector: Pkcs11ProtectorOptions) => Promise<T>,
): Promise<T> {
  return withProtector(kind, options, { role: 'restore' }, (protector) =>
    work(protector as Pkcs11ProtectorOptions),
  );
}
