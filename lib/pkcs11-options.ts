// Key protector 'pkcs11': which token, which key in it, and where its PIN comes from.
//
// Invariant: the path of a module comes from the caller, in so many words or in his URI, and from nowhere else.
import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';

import { PersistenceError } from './errors.js';
import type { NativeBinding, NativePkcs11Storage } from './native-binding.js';
import { toPersistenceError } from './native-errors.js';
import { readClosed } from './options.js';
import { readPassword, secretBytesMax, secretFile, type PasswordSource, type Secret } from './secrets.js';

/** The token by its label, or by what else tells it from others. */
export type TokenName =
  | string
  | {
      readonly label?: string;
      readonly serial?: string;
      /** Slots may be numbered anew when the module starts: a label or serial number is better. */
      readonly slotId?: number;
    };

/** A key in a PKCS#11 token wraps the data encryption key; see docs/hsm.md. */
export interface Pkcs11ProtectorOptions {
  readonly type: 'pkcs11';
  /**
   * RFC 7512, in place of `module`, `token` and `object`, or of some of them:
   * `pkcs11:token=acme;object=kek?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/acme/pin`.
   * A `pin-source` is a `file:` URI or an absolute path and is read at every start; `pin-value` is refused.
   */
  readonly uri?: string;
  /** Absolute path of the module. Needed at every start, here or in `uri`: what persistence.bin names is not loaded. */
  readonly module?: string;
  /** Needed at COLDSTART; later, when absent, the token that the store has. */
  readonly token?: TokenName;
  /**
   * The token that `token` or `uri` names takes the place of the store's own, even while that one is there: for a restore
   * that moves the store from one token to another. Without it, a token without the store's key is `token-misnamed` while
   * the store's own token is there.
   */
  readonly anotherToken?: boolean;
  /** Label of the key-encryption key, fixed at COLDSTART; default `strongroom`, a blank and the instance name. */
  readonly object?: string;
  /** Needed at every start, unless the token has a keypad of its own. */
  readonly pin?: PasswordSource;
  /** For the few modules that take a string at C_Initialize, such as NSS; at most 1,024 bytes. */
  readonly initArguments?: string;
  /** For every call into the module; default 10,000 ms. */
  readonly timeLimitMs?: number;
}

/** Key protector 'pkcs11' as it was given, before the URI is taken apart. */
export type GivenPkcs11Protector = NativePkcs11Storage & { readonly uri?: string | undefined };

const names = [
  'type',
  'uri',
  'module',
  'token',
  'anotherToken',
  'object',
  'pin',
  'initArguments',
  'timeLimitMs',
] as const;
const timeLimitMsMax = 3_600_000;

function invalid(message: string): PersistenceError {
  return new PersistenceError('invalid-option', message);
}

function readText(value: unknown, name: string): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value === '' || value.includes('\0')) {
    throw invalid(`${name} must be a string that is not empty and has no NUL`);
  }
  return value;
}

function readNumber(value: unknown, name: string, max: number): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw invalid(`${name} must be a whole number from 0 to ${max}`);
}

/** An absolute path; a relative one would depend on where the process was started. */
export function readModulePath(value: unknown, name: string): string | undefined {
  const path = readText(value, name);
  if (path === undefined || isAbsolute(path)) return path;
  throw invalid(`${name} must be an absolute path`);
}

function readTokenName(value: unknown): Pick<NativePkcs11Storage, 'label' | 'serial' | 'slotId'> {
  if (value === undefined) return {};
  if (typeof value === 'string') return { label: readText(value, 'protector.token') };
  const { label, serial, slotId } = readClosed(value, 'protector.token', ['label', 'serial', 'slotId']);
  if (label === undefined && serial === undefined && slotId === undefined) {
    throw invalid('protector.token names neither label, nor serial, nor slotId');
  }
  return {
    label: readText(label, 'protector.token.label'),
    serial: readText(serial, 'protector.token.serial'),
    slotId: readNumber(slotId, 'protector.token.slotId', Number.MAX_SAFE_INTEGER),
  };
}

/** Without the PIN, which is read when it is needed. */
export function readPkcs11Protector(value: unknown): {
  native: GivenPkcs11Protector;
  pin: Secret | undefined;
} {
  const given = readClosed(value, 'protector', names);
  const { anotherToken = false } = given;
  if (typeof anotherToken !== 'boolean') throw invalid('protector.anotherToken must be true or false');
  const native = {
    type: 'pkcs11',
    anotherToken,
    uri: readText(given.uri, 'protector.uri'),
    module: readModulePath(given.module, 'protector.module'),
    ...readTokenName(given.token),
    object: readText(given.object, 'protector.object'),
    initArguments: readText(given.initArguments, 'protector.initArguments'),
    timeLimitMs: readNumber(given.timeLimitMs, 'protector.timeLimitMs', timeLimitMsMax),
  } as const;
  return { native, pin: readPassword(given.pin, 'protector.pin') };
}

/** What the core is told, with the PIN; `wipe` when it has been. */
export interface LocatedToken {
  readonly protector: NativePkcs11Storage;
  readonly wipe: () => void;
}

/** Takes the URI apart and gets the PIN, from the caller or from the URI's source. */
export async function locateToken(
  binding: NativeBinding,
  { uri, ...given }: GivenPkcs11Protector,
  pin: (() => Promise<Uint8Array>) | undefined,
): Promise<LocatedToken> {
  const named = uri === undefined ? undefined : parseUri(binding, uri);
  const protector: Record<string, unknown> = { ...given };
  for (const name of ['module', 'label', 'serial', 'slotId', 'manufacturer', 'model', 'object'] as const) {
    const inUri = named?.[name];
    if (inUri === undefined) continue;
    if (protector[name] !== undefined && protector[name] !== inUri) {
      throw invalid(`protector.uri and the other options differ about ${name}`);
    }
    protector[name] = inUri;
  }
  if (named?.id !== undefined) {
    throw invalid("protector.uri: 'id' does not belong here; the store knows the id of its key");
  }
  const source = named?.pinSource;
  if (source !== undefined && pin !== undefined) {
    throw invalid("protector.pin and the 'pin-source' in protector.uri exclude each other");
  }
  const file = source === undefined ? undefined : await readPinSource(source);
  const bytes = file ?? (await pin?.());
  if (bytes !== undefined && (bytes.length === 0 || bytes.length > secretBytesMax))
    throw invalid(`protector.pin: a PIN has 1 to ${secretBytesMax} bytes`);
  const located = { ...protector, type: 'pkcs11', pin: bytes } as NativePkcs11Storage;
  return { protector: located, wipe: () => file?.fill(0) };
}

function parseUri(binding: NativeBinding, uri: string): ReturnType<NativeBinding['parsePkcs11Uri']> {
  try {
    return binding.parsePkcs11Uri(uri);
  } catch (error) {
    throw toPersistenceError(error);
  }
}

/** RFC 7512, section 2.4: where a PIN is to be found. A `|command` would let a configuration run programs. */
async function readPinSource(source: string): Promise<Buffer> {
  let path = source;
  if (/^file:/i.test(source)) {
    try {
      path = fileURLToPath(source);
    } catch (cause) {
      throw new PersistenceError(
        'invalid-option',
        "protector.uri: the 'pin-source' is no file on this machine",
        { cause },
      );
    }
  }
  if (!isAbsolute(path) || path.includes('\0')) {
    throw invalid("protector.uri: 'pin-source' takes a file: URI or an absolute path");
  }
  return secretFile(path, "protector.uri: 'pin-source'");
}
