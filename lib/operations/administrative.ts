// What is done to a store that is not simply opened: accepted, recovered, sealed again, removed.
import type { OpeningOperation } from '../store/operation.js';
import { requireRecord } from '../base/arguments.js';
import { PersistenceError } from '../errors.js';
import { removeLeftovers, type Leftover, type LeftoverOptions } from './leftovers.js';
import type { NativeBinding, NativeStoreOptions } from '../native-binding.js';
import { toPersistenceError } from '../native/errors.js';
import { readClosed, refuseOldNames } from '../options/readers.js';
import type { OpenOptions } from '../store/open-options.js';
import type { OpenStore } from '../store/open-store.js';
import { PersistenceService } from '../store/persistence-service.js';
import { readPassword, type PasswordSource, type Secret } from '../options/secrets.js';
import { parsePermit, type Permit } from '../options/permit.js';

/** What authorises an administrative operation: the backup password, or a permit where the store has a vendor. */
export interface Credential {
  readonly password?: PasswordSource;
  readonly permit?: Permit;
}

/** Options of open(), with the credential. */
export type AdministrativeOptions = Omit<OpenOptions, 'recovery' | 'create' | 'readOnly' | 'trace'> & {
  readonly credential: Credential;
};

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
