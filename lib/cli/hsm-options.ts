// The options by which a command reaches a PKCS#11 token. The module is always named by the caller: what persistence.bin
// names is not loaded.
import type { Command } from 'commander';

import type { Pkcs11ProtectorOptions, TokenName } from '../index.js';
import { credentialPath } from '../secrets.js';
import { wrongOption } from './failure.js';
import { wholeNumber } from './numbers.js';
import { findPassword, pinVariable, takeVariable } from './secrets.js';

/** The environment variable that names the module. */
export const moduleVariable = 'STRONGROOM_PKCS11_MODULE';

export interface HsmOptions {
  readonly module?: string;
  readonly token?: string;
  readonly tokenSerial?: string;
  readonly slot?: string;
  readonly anotherToken?: boolean;
  readonly pkcs11Uri?: string;
  readonly pinFile?: string;
  readonly pinFd?: string;
  readonly pinCredential?: string;
  readonly hsmTimeLimit?: string;
}

export function addHsmOptions(command: Command): Command {
  return command
    .option('--module <path>', `load this PKCS#11 module, an absolute path (default: ${moduleVariable})`)
    .option('--token <label>', 'use this token instead of the one that persistence.bin names')
    .option('--token-serial <serial>', 'use the token with this serial number')
    .option('--slot <n>', 'use the token in this slot')
    .option('--pkcs11-uri <uri>', 'take module, token and the file of its PIN from an RFC 7512 URI')
    .option('--hsm-time-limit <ms>', 'limit every call into the module (default: 10000)');
}

/** For commands that can give a store another token. */
export function addAnotherToken(command: Command): Command {
  return command.option(
    '--another-token',
    "use the token that --token and the like name, even while the store's own token is there",
  );
}

/** Where a PIN comes from, besides the environment and the terminal. */
export function addPinSources(command: Command): Command {
  return command
    .option(
      '--pin-file <file>',
      'read the PIN of the TPM or token from a file; one newline at its end is dropped',
    )
    .option('--pin-fd <n>', 'read the PIN from an open descriptor')
    .option(
      '--pin-credential <name>',
      `read the PIN from this file in $CREDENTIALS_DIRECTORY, as systemd sets it`,
    );
}

/** The file that one of two options names. */
export function pinFileOf({ pinFile, pinCredential }: HsmOptions): string | undefined {
  return credentialFile('--pin-file', pinFile, '--pin-credential', pinCredential);
}

export function credentialFile(
  fileOption: string,
  file: string | undefined,
  credentialOption: string,
  credential: string | undefined,
): string | undefined {
  if (credential === undefined) return file;
  if (file !== undefined) throw wrongOption(`${fileOption} and ${credentialOption} exclude each other`);
  return credentialPath(credential, credentialOption);
}

const names = [
  ['--module', 'module'],
  ['--token', 'token'],
  ['--token-serial', 'tokenSerial'],
  ['--slot', 'slot'],
  ['--pkcs11-uri', 'pkcs11Uri'],
  ['--hsm-time-limit', 'hsmTimeLimit'],
] as const;

/** The protectors without a token have none of these options. */
export function refuseHsmOptions(options: HsmOptions): void {
  for (const [name, key] of names) {
    if (options[key] !== undefined) throw wrongOption(`${name} belongs to protector 'pkcs11'`);
  }
}

function tokenNameOf({ token: label, tokenSerial: serial, slot }: HsmOptions): TokenName | undefined {
  if (label === undefined && serial === undefined && slot === undefined) return undefined;
  return {
    ...(label !== undefined && { label }),
    ...(serial !== undefined && { serial }),
    ...(slot !== undefined && { slotId: wholeNumber('--slot', slot) }),
  };
}

/** All but the PIN. */
export function placeOf(options: HsmOptions): Pkcs11ProtectorOptions {
  const { pkcs11Uri: uri, hsmTimeLimit } = options;
  const fromVariable = process.env[moduleVariable];
  const module = options.module ?? (uri === undefined && fromVariable !== '' ? fromVariable : undefined);
  const token = tokenNameOf(options);
  if (module === undefined && uri === undefined)
    throw wrongOption(`the store is in a PKCS#11 token: give --module, --pkcs11-uri or ${moduleVariable}`);
  return {
    type: 'pkcs11',
    ...(uri !== undefined && { uri }),
    ...(module !== undefined && { module }),
    ...(token !== undefined && { token }),
    ...(options.anotherToken === true && { anotherToken: true }),
    ...(hsmTimeLimit !== undefined && { timeLimitMs: wholeNumber('--hsm-time-limit', hsmTimeLimit, 1) }),
  };
}

/** Runs work with the token's place and PIN, which is wiped. */
export async function withToken<T>(
  options: HsmOptions,
  work: (protector: Pkcs11ProtectorOptions) => T | Promise<T>,
  ask: 'once' | 'no' = 'once',
): Promise<T> {
  const place = placeOf(options);
  const source = /[?&]pin-source=/.test(place.uri ?? '');
  const given = { file: pinFileOf(options), fd: options.pinFd };
  if (source && (given.file !== undefined || given.fd !== undefined))
    throw wrongOption("--pin-file and the like, and the URI's pin-source exclude each other");
  if (source) takeVariable(pinVariable)?.fill(0);
  const pin = source
    ? undefined
    : await findPassword({
        name: 'PIN of the token',
        ...given,
        fileOption: '--pin-file',
        fdOption: '--pin-fd',
        variable: pinVariable,
        ask,
      });
  try {
    return await work({ ...place, ...(pin !== undefined && { pin }) });
  } finally {
    pin?.fill(0);
  }
}
