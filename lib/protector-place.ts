// The place of a store's key protector, with the PIN that opens it.
import { PersistenceError } from './errors.js';
import type { NativeBinding, NativeStorage } from './native-binding.js';
import { fromNative, toPersistenceError } from './native-errors.js';
import type { GivenProtector, ReadOptions } from './options.js';
import { locateToken } from './pkcs11-options.js';
import { secretBytesMax } from './secrets.js';

/** What the core is told; `wipe` when it has been. */
export interface ProtectorPlace {
  readonly protector: NativeStorage | undefined;
  readonly wipe: () => void;
}

/**
 * The PIN is read where the protector has one, or is to get one. A KEK that the caller does not name is named after the
 * instance.
 * @param cold - a COLDSTART
 * @param kind - of the act, `reseal` among them
 */
export async function locateProtector(
  binding: NativeBinding,
  options: ReadOptions,
  cold: boolean,
  kind: string,
): Promise<ProtectorPlace> {
  const { storage: protector, instance } = options.native;
  if (protector?.type !== 'pkcs11') {
    return { protector: await withPin(binding, options, cold, kind), wipe: () => undefined };
  }
  const located = await locateToken(binding, protector, options.pin);
  if (!cold || located.protector.object !== undefined) return located;
  const object = `strongroom ${instance === '' ? 'default' : instance}`;
  return { ...located, protector: { ...located.protector, object } };
}

/** The TPM gives the root of an older state, or of one without its counter, to no one: reanchor needs the password. */
export async function isRefusedByTpm(
  binding: NativeBinding,
  { native }: Pick<ReadOptions, 'native'>,
  error: unknown,
): Promise<boolean> {
  const { reason } = toPersistenceError(error, 'internal');
  if (!['vault-rolled-back', 'witness-missing', 'witness-replaced'].includes(reason)) return false;
  const header = await fromNative(() => binding.inspect(native.directory));
  return header.storage === 'tpm';
}

async function withPin(
  binding: NativeBinding,
  { native, pin, withoutPin }: ReadOptions,
  cold: boolean,
  kind: string,
): Promise<Exclude<GivenProtector, { type: 'pkcs11' }> | undefined> {
  const { storage: protector, directory } = native;
  if (kind === 'reseal' && pin === undefined && !withoutPin && (await protectorHasPin(binding, directory))) {
    throw new PersistenceError(
      'pin-missing',
      "the TPM's root has a PIN: give the new one, or 'none' to take it away",
    );
  }
  if (protector?.type === 'pkcs11') return undefined;
  if (protector?.type !== 'tpm' || pin === undefined) return protector;
  const wanted = cold || kind === 'reseal' || (await protectorHasPin(binding, directory));
  if (!wanted) return protector;
  const bytes = await pin();
  if (bytes.length === 0 || bytes.length > secretBytesMax)
    throw new PersistenceError('invalid-option', `protector.pin: a PIN has 1 to ${secretBytesMax} bytes`);
  return { ...protector, pin: bytes };
}

/** Unauthenticated; but a slot that says it needs none, and does, does not open. */
async function protectorHasPin(binding: NativeBinding, directory: string): Promise<boolean> {
  const header = await fromNative(() => binding.inspect(directory)).catch(() => undefined);
  return header?.tpm?.pin === true;
}
