// The credential of authority that a command was given.
import { PersistenceError } from '../errors.js';
import type { Credential } from '../index.js';
import { protectorOf, type KeyProtectorType } from '../protectors/registry.js';
import { wrongOption } from './failure.js';
import { readPassword, readPermit, type CredentialOptions } from './password-options.js';

/** Says so before a password is asked for in vain. */
export function requirePermitOf(
  authority: 'vendor' | 'password' | 'no-one' | undefined,
  options: CredentialOptions,
): void {
  if (authority === 'vendor' && options.permitFile === undefined) {
    throw new PersistenceError(
      'authority-refused',
      'this store accepts only a permit of its vendor: give --permit-file',
    );
  }
  if (authority === 'no-one' && options.permitFile === undefined) {
    throw new PersistenceError('password-missing', 'this store has neither a backup password nor a vendor');
  }
}

/**
 * Ends a command whose look at the store found that the PIN is refused: to go on would send it again.
 * @throws PersistenceError `pin-wrong` or `pin-locked`
 */
export function refusePin(error: PersistenceError | undefined): void {
  if (error?.reason === 'pin-wrong' || error?.reason === 'pin-locked') throw error;
}

/**
 * `authority-refused` where the vendor's permit is missing is said by the core. A TPM may refuse the root to the state that
 * a permit accepts; then the password is needed besides.
 */
export async function readCredential(
  options: CredentialOptions,
  protector: KeyProtectorType,
): Promise<Credential & { password?: Buffer }> {
  if (options.permitFile === undefined) return { password: await readPassword(options) };
  const withPassword = options.passwordFile !== undefined || options.passwordFd !== undefined;
  if (!withPassword) return permitOf(options);
  if (protectorOf(protector).permitSuffices) throw wrongOption('--permit-file excludes a password here');
  return readBoth(options);
}

/** The password, and the permit where there is a vendor. Last the one that its caller has to wipe. */
export async function readBoth(options: CredentialOptions): Promise<Credential & { password: Buffer }> {
  const permit = await permitOf(options);
  return { ...permit, password: await readPassword(options) };
}

export async function permitOf({
  permitFile,
}: CredentialOptions): Promise<Credential & { password?: Buffer }> {
  return permitFile === undefined ? {} : { permit: await readPermit(permitFile) };
}

export async function withCredential<T>(
  credential: Credential & { password?: Buffer },
  work: (credential: Credential) => Promise<T>,
): Promise<T> {
  try {
    return await work(credential);
  } finally {
    credential.password?.fill(0);
  }
}
