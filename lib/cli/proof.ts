// The proof of authority that a command was given.
import { PersistenceError } from '../errors.js';
import type { Proof } from '../index.js';
import { wrongOption } from './failure.js';
import { readPassword, readToken, type ProofOptions } from './password-options.js';

/** Says so before a password is asked for in vain. */
export function requireTokenOf(
  authority: 'vendor' | 'password' | 'nobody' | undefined,
  options: ProofOptions,
): void {
  if (authority === 'vendor' && options.tokenFile === undefined) {
    throw new PersistenceError(
      'authority-refused',
      'this store accepts only a token of its vendor: give --token-file',
    );
  }
  if (authority === 'nobody' && options.tokenFile === undefined) {
    throw new PersistenceError('password-missing', 'this store has neither a backup password nor a vendor');
  }
}

/**
 * `authority-refused` where the vendor's token is missing is said by the core. A TPM may refuse the root to the state that
 * a token accepts; then the password is needed besides.
 */
export async function readProof(
  options: ProofOptions,
  protector: 'software' | 'tpm' | 'pkcs11',
): Promise<Proof & { password?: Buffer }> {
  if (options.tokenFile === undefined) return { password: await readPassword(options) };
  const withPassword = options.passwordFile !== undefined || options.passwordFd !== undefined;
  if (!withPassword) return tokenOf(options);
  if (protector === 'software') throw wrongOption('--token-file excludes a password here');
  return { password: await readPassword(options), ...(await tokenOf(options)) };
}

export async function tokenOf({ tokenFile }: ProofOptions): Promise<Proof & { password?: Buffer }> {
  return tokenFile === undefined ? {} : { token: await readToken(tokenFile) };
}

export async function withProof<T>(
  proof: Proof & { password?: Buffer },
  act: (proof: Proof) => Promise<T>,
): Promise<T> {
  try {
    return await act(proof);
  } finally {
    proof.password?.fill(0);
  }
}
