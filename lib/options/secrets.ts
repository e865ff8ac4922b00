// Secrets of a caller: backup passwords and PINs. The library and the command line read them here, so that the same file
// gives the same bytes to both.
//
// The rule for the final newline: one newline (LF or CR LF) at the end of a file, a credential or a descriptor is dropped.
// The value of a variable and bytes that code gives count as they are.
import { join } from 'node:path';
import { types } from 'node:util';

import { copyBytes, isRecord, requireBytes } from '../base/arguments.js';
import { PersistenceError, type Reason } from '../errors.js';
import { loadNative } from '../native.js';
import { passwordBytesMax } from '../native-border.js';
import { fromNative } from '../native/errors.js';
import { readClosed, readPath } from './readers.js';

/** Where a secret is read when it is needed; exactly one of the names. */
export type SecretPlace =
  /** A path. Links are followed. What they lead to is a plain file that not every user can write, or a shell's `<(...)`. */
  | { readonly file: string }
  /** The number of an open descriptor, which is read to its end and not closed. It serves once. */
  | { readonly fd: number }
  /** The name of an environment variable. Its value is a JavaScript string, which cannot be wiped. */
  | { readonly env: string }
  /** The name of a file in `$CREDENTIALS_DIRECTORY`, as systemd's `LoadCredential=` makes it. */
  | { readonly credential: string };

/**
 * A backup password or PIN: 1 to 4,096 bytes, a place to read them from, or a function that gives them when they are needed.
 * A string is refused, because it could not be wiped. Of a file, a credential and a descriptor one newline at the end is
 * dropped. Bytes that are given directly are copied and the copy is wiped after use; the caller's own array is left alone.
 */
export type PasswordSource = Uint8Array | SecretPlace | (() => Uint8Array | Promise<Uint8Array>);

/** A secret whose place is known and which is read when it is needed. */
export interface Secret {
  readonly take: () => Promise<Uint8Array>;
  /** Wipes our copies, also one that arrives later. */
  readonly forget: () => void;
  /** The error of a refusal; it names a newline that the refused secret ends in. */
  readonly explain: (refusal: PersistenceError) => PersistenceError;
}

export const secretBytesMax = passwordBytesMax;
/** Of a new backup password: whoever copies persistence.bin can try passwords for as long as they like. */
export const newPasswordBytesMin = 12;
const credentialsVariable = 'CREDENTIALS_DIRECTORY';
const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const placeNames = ['file', 'fd', 'env', 'credential'] as const;
/** Refusals for which the bytes of the secret are the cause. */
const refusals: ReadonlySet<string> = new Set<Reason>(['password-wrong', 'pin-wrong', 'pin-length']);

function invalid(message: string): PersistenceError {
  return new PersistenceError('invalid-option', message);
}

/**
 * A secret of the caller's options.
 * @param name - of the option, for the errors
 * @throws PersistenceError `invalid-argument` for what is no secret, `invalid-option` for a wrong place
 */
export function readPassword(value: unknown, name: string): Secret | undefined {
  if (value === undefined) return undefined;
  if (types.isUint8Array(value)) {
    const copy = copyBytes(value, name);
    return secretOf(name, () => Promise.resolve(copy), copy);
  }
  if (typeof value === 'function') {
    const source = value as () => unknown;
    return secretOf(name, async () => {
      const given = await source();
      requireBytes(given, `what ${name} gives`);
      return given;
    });
  }
  if (!isRecord(value)) {
    throw new PersistenceError(
      'invalid-argument',
      `${name} must be a Uint8Array, a place such as { file }, or a function that gives bytes; a string could not be wiped`,
    );
  }
  return ofPlace(readPlace(value, name), name);
}

/**
 * The rule for a new backup password: its length. Opening takes any password, also one from before the rule.
 * @throws PersistenceError with `reason`
 */
export function requireStrong(password: Uint8Array, name: string, reason: Reason = 'invalid-argument'): void {
  if (password.length >= newPasswordBytesMin || password.length === 0) return;
  throw new PersistenceError(
    reason,
    `${name} is too short: a new backup password has at least ${newPasswordBytesMin} bytes`,
  );
}

function secretOf(name: string, take: () => Promise<Uint8Array>, copy?: Uint8Array): Secret {
  let endsInNewline = false;
  return {
    take: async () => {
      const bytes = await take();
      endsInNewline = bytes.at(-1) === lineFeed;
      return bytes;
    },
    forget: () => copy?.fill(0),
    explain: (refusal) => (endsInNewline ? withNewlineNamed(refusal, name) : refusal),
  };
}

function withNewlineNamed(refusal: PersistenceError, name: string): PersistenceError {
  if (!refusals.has(refusal.reason)) return refusal;
  return new PersistenceError(
    refusal.reason,
    `${refusal.message}. What ${name} gave ends in a newline, which counts as a part of it`,
    { cause: refusal },
  );
}

function readPlace(value: object, name: string): SecretPlace {
  const { file, fd, env, credential } = readClosed(value, name, placeNames);
  const given = [file, fd, env, credential].filter((part) => part !== undefined);
  if (given.length !== 1) throw invalid(`${name} takes exactly one of file, fd, env and credential`);
  if (file !== undefined) return { file: readPath(file, `${name}.file`) };
  if (fd !== undefined) return { fd: readDescriptorNumber(fd, `${name}.fd`) };
  for (const [key, text] of Object.entries({ env, credential })) {
    if (text !== undefined && (typeof text !== 'string' || text === '' || text.includes('\0')))
      throw invalid(`${name}.${key} must be a string that is not empty and has no NUL`);
  }
  if (env !== undefined) return { env: env as string };
  requireCredentialName(credential as string, `${name}.credential`);
  return { credential: credential as string };
}

function readDescriptorNumber(value: unknown, name: string): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 999_999) return value;
  throw invalid(`${name} must be the number of an open descriptor`);
}

/** The secret of a place, whose bytes are ours and are wiped. */
function ofPlace(place: SecretPlace, name: string): Secret {
  const taken: Uint8Array[] = [];
  let forgotten = false;
  const secret = secretOf(name, async () => {
    const bytes = await readPlaceOf(place, name);
    if (forgotten) bytes.fill(0);
    taken.push(bytes);
    return bytes;
  });
  const forget = (): void => {
    forgotten = true;
    for (const bytes of taken) bytes.fill(0);
  };
  return { ...secret, forget };
}

/** The same secret for a start that may ask again. It is read once, since a descriptor has nothing more to give. */
export function repeatable(secret: Secret): Secret {
  const copies: Uint8Array[] = [];
  let first: Promise<Uint8Array> | undefined;
  let forgotten = false;
  return {
    ...secret,
    take: async () => {
      first ??= secret.take();
      const copy = Uint8Array.from(await first);
      copies.push(copy);
      if (forgotten) copy.fill(0);
      return copy;
    },
    forget: () => {
      forgotten = true;
      secret.forget();
      for (const copy of copies) copy.fill(0);
    },
  };
}

function readPlaceOf(place: SecretPlace, name: string): Promise<Buffer> {
  if ('file' in place) return secretFile(place.file, name);
  if ('fd' in place) return secretDescriptor(place.fd, name);
  if ('env' in place) return Promise.resolve().then(() => secretVariable(place.env, name));
  return Promise.resolve().then(() => secretFile(credentialPath(place.credential, name), name));
}

/**
 * The secret in a file.
 * @param what - names the secret or its option in the errors
 * @throws PersistenceError `invalid-option` when it is empty or too long, and the errors of reading a file
 */
export async function secretFile(path: string, what: string): Promise<Buffer> {
  const native = loadNative();
  const content = await fromNative(() => native.readFile(path, secretBytesMax + 2));
  return checked(withoutNewline(content), `${what}: the file ${path}`);
}

/** The secret in a descriptor that came with the process, such as `3<file` in a shell; 0 is standard input. */
export async function secretDescriptor(fd: number, what: string): Promise<Buffer> {
  const native = loadNative();
  const content = await fromNative(() => native.readDescriptor(fd, secretBytesMax + 2));
  if (content.length === 0)
    throw invalid(`${what}: descriptor ${fd} is empty, or was read to its end before`);
  return checked(withoutNewline(content), `${what}: descriptor ${fd}`);
}

/** The secret in an environment variable. */
export function secretVariable(variable: string, what: string): Buffer {
  const value = process.env[variable];
  if (value === undefined) throw invalid(`${what}: the variable ${variable} is not set`);
  // What was no UTF-8 has become this character, so the bytes are lost.
  if (value.includes('\u{fffd}'))
    throw invalid(`${what}: ${variable} is not UTF-8; give such a secret by a file`);
  return checked(Buffer.from(value, 'utf8'), `${what}: the variable ${variable}`);
}

/** The path of a credential, which systemd gives to a service. */
export function credentialPath(credential: string, what: string): string {
  requireCredentialName(credential, what);
  const directory = process.env[credentialsVariable];
  if (directory === undefined || directory === '')
    throw invalid(`${what} needs $${credentialsVariable}, which systemd sets for LoadCredential=`);
  return join(directory, credential);
}

function requireCredentialName(name: string, what: string): void {
  if (name === '' || name.includes('/') || name.includes('\0') || name.startsWith('.'))
    throw invalid(`${what} takes the name of a credential, without a path`);
}

/** Drops one newline, LF or CR LF, from the end. */
export function withoutNewline(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== lineFeed) return bytes;
  return bytes.subarray(0, bytes.at(-2) === carriageReturn ? -2 : -1);
}

function checked(secret: Buffer, where: string): Buffer {
  if (secret.length === 0) throw invalid(`${where} is empty`);
  if (secret.length <= secretBytesMax) return secret;
  secret.fill(0);
  throw invalid(`${where} holds more than ${secretBytesMax} bytes`);
}
