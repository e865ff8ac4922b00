// The options by which a command reaches a TPM and gives the PIN. After init a command tells by persistence.bin
// whether there is one.
import type { Command } from 'commander';

import { loadNative } from '../native.js';
import type { NativeInspection } from '../native-binding.js';
import { fromNative } from '../native-errors.js';
import type { Pkcs11ProtectorOptions, SecretStoreOptions, TpmProtectorOptions } from '../index.js';
import { PersistenceError } from '../errors.js';
import { addHelpParagraph, readSecretStorePlace } from './command.js';
import { wrongOption } from './failure.js';
import {
  addHsmOptions,
  addPinSources,
  pinFileOf,
  refuseHsmOptions,
  withToken,
  type HsmOptions,
} from './hsm-options.js';
import { findPassword, pinVariable, takeVariable } from './secrets.js';

export interface TpmOptions extends HsmOptions {
  readonly secretStore?: string;
  readonly tcti?: string;
}

/** What the library is told of the places outside the directory: `protector` and `secretStore`. */
export interface PlacesGiven {
  readonly protector?: TpmProtectorOptions | Pkcs11ProtectorOptions;
  readonly secretStore?: SecretStoreOptions;
}

export function addTpmOptions(command: Command): Command {
  return addPinOptions(
    addHsmOptions(
      addSecretStoreOption(command).option(
        '--tcti <conf>',
        'reach the TPM by this TCTI instead of the one that persistence.bin names',
      ),
    ),
  );
}

/** For commands that open a store; what they are given is read by {@link secretStoreOf}. */
export function addSecretStoreOption(command: Command): Command {
  return command.option(
    '--secret-store <place>',
    'use this SecretStore instead of the one that persistence.bin names: file:PATH or secret-service',
  );
}

export function secretStoreOf(
  { secretStore }: { readonly secretStore?: string },
  path: string,
): { readonly secretStore?: SecretStoreOptions } {
  return secretStore === undefined ? {} : { secretStore: readSecretStorePlace(secretStore, path) };
}

export function addPinOptions(command: Command): Command {
  return addHelpParagraph(
    addPinSources(command),
    `Without these options the PIN of a TPM or token comes from ${pinVariable}, or is asked for on the terminal.`,
  );
}

/** The PIN from its options, the environment or the terminal, where one that is chosen is asked for twice; the caller wipes it. */
export function findPin(options: TpmOptions, ask: 'once' | 'twice' | 'no'): Promise<Buffer | undefined> {
  return findPassword({
    name: ask === 'twice' ? 'new PIN of the root key' : 'PIN of the root key',
    file: pinFileOf(options),
    fd: options.pinFd,
    fileOption: '--pin-file',
    fdOption: '--pin-fd',
    variable: pinVariable,
    ask,
  });
}

/** What persistence.bin says of itself; undefined where it cannot be read, which a start will tell. */
export async function headerOf(path: string): Promise<NativeInspection | undefined> {
  const native = loadNative();
  return fromNative(() => native.inspect(path)).catch(() => undefined);
}

/** `protector 'software'` has none of these options. */
export function refuseTpmOptions(options: TpmOptions): void {
  const { tcti, pinFile, pinFd, pinCredential } = options;
  refuseHsmOptions(options);
  const given = Object.entries({
    '--tcti': tcti,
    '--pin-file': pinFile,
    '--pin-fd': pinFd,
    '--pin-credential': pinCredential,
  });
  for (const [name, value] of given) {
    if (value !== undefined) throw wrongOption(`${name} belongs to protector 'tpm'`);
  }
}

/**
 * Runs work with what a store's protector needs. The PIN is looked for only where it has one, and wiped.
 * @param need - without a PIN that there must be: `pin-missing`; otherwise the store itself says so
 */
export async function withPlaces<T>(
  path: string,
  options: TpmOptions,
  work: (given: PlacesGiven) => T | Promise<T>,
  need = true,
): Promise<T> {
  const header = await headerOf(path);
  const place = secretStoreOf(options, path);
  if (header?.storage === 'pkcs11') {
    if (options.tcti !== undefined) throw wrongOption("--tcti belongs to protector 'tpm'");
    return withToken(options, (protector) => work({ protector, ...place }));
  }
  if (header?.storage === 'tpm') {
    refuseHsmOptions(options);
    if (options.secretStore !== undefined)
      throw wrongOption("--secret-store: protector 'tpm' has no SecretStore");
  }
  if (header?.storage !== 'tpm') {
    takeVariable(pinVariable)?.fill(0);
    if (header !== undefined) refuseTpmOptions(options);
    return work(place);
  }
  const pin = header.tpm?.pin === true ? await findPin(options, 'once') : undefined;
  try {
    if (need && pin === undefined && header.tpm?.pin === true) {
      throw new PersistenceError(
        'pin-missing',
        `the PIN is needed: give --pin-file, --pin-fd, ${pinVariable} or a terminal to ask on`,
      );
    }
    const { tcti } = options;
    return await work({
      protector: { type: 'tpm', ...(tcti !== undefined && { tcti }), ...(pin !== undefined && { pin }) },
    });
  } finally {
    pin?.fill(0);
  }
}

/** `0,7`, or `none`. */
export function readPcrs(text: string): number[] {
  if (text === 'none') return [];
  const pcrs = text.split(',').map((part) => (/^\d{1,2}$/.test(part) ? Number(part) : -1));
  if (pcrs.every((pcr) => pcr >= 0 && pcr <= 23)) return pcrs;
  throw wrongOption(
    `--pcrs takes numbers from 0 to 23 with commas between them, or none, not ${JSON.stringify(text)}`,
  );
}
