// The options of createWizard(): a closed set of names, each read once and checked here.
import { PersistenceError } from '../errors.js';
import { reading } from '../native/errors.js';
import { readClosed, readFunction, readOptions, readPath, readSignal } from '../options/readers.js';
import { readProtector } from '../protectors/registry.js';
import type { SecretStoreOptions } from '../options/secret-store.js';
import type { Pkcs11ProtectorOptions } from '../protectors/pkcs11.js';
import { hookTimeLimitMs } from '../restore/hook.js';
import type { RestoreState } from '../restore/detect.js';
import type { RestoreEvent } from '../restore/steps.js';
import { readPassword, type PasswordSource } from '../options/secrets.js';
import { parsePermit, type Permit } from '../options/permit.js';

/** What the wizard tells of itself, for a log. The code is as good as a password until it is used. */
export type WizardEvent =
  | {
      readonly event: 'listening';
      readonly url: string;
      /** SHA-256 of the temporary certificate, in hexadecimal with colons. */
      readonly fingerprint: string;
    }
  /** The one-time code: at the start, and whenever a session has ended. */
  | { readonly event: 'code'; readonly code: string }
  | { readonly event: 'code-refused'; readonly address: string }
  | { readonly event: 'session'; readonly address: string }
  /** What was found, and why the store does not open. */
  | { readonly event: 'state'; readonly state: RestoreState; readonly message: string | undefined }
  | ({ readonly event: 'step' } & RestoreEvent)
  /** A token was set up in this slot. */
  | { readonly event: 'token'; readonly slotId: number; readonly label: string; readonly serial: string }
  | { readonly event: 'failed'; readonly reason: string; readonly message: string }
  | { readonly event: 'finished'; readonly outcome: WizardOutcome };

/**
 * - `restored`: the store was restored, and is closed again
 * - `healed`: the token opens the store again, by itself or by somebody else's doing
 * - `closed`: by close() or the signal
 */
export type WizardOutcome = 'restored' | 'healed' | 'closed';

export interface WizardOptions {
  /** The directory of the store. */
  readonly directory: string;
  readonly protector: Pkcs11ProtectorOptions | { readonly type: 'software' };
  /** In place of what persistence.bin names. */
  readonly secretStore?: SecretStoreOptions;
  /** Where the web server reads key, certificate and chain; written if the vault holds a TLS credential. */
  readonly tls?: { readonly directory: string };
  /** Absolute path of one executable that runs without arguments after the files are in place. */
  readonly hook?: string;
  /** Default 60,000 ms. */
  readonly hookTimeLimitMs?: number;
  /** PIN of the security officer, for a new token. Absent: it is asked for on the page. */
  readonly soPin?: PasswordSource;
  /** A vendor's permit for `recover`, where the store has a vendor. */
  readonly permit?: Permit;
  /**
   * Host names that the pages are reached by, in addition to `localhost`, this machine's name and every IP address. The
   * first one is in the logged address.
   */
  readonly names?: readonly string[];
  /** What a browser sees in front of the paths, such as `https://vault.example`, where a proxy is in between. */
  readonly origin?: string;
  /** Told of what happens. What it throws is ignored. */
  readonly onEvent?: (event: WizardEvent) => void;
  /** A session ends when nothing was asked for this long. Default 900,000 ms. */
  readonly sessionIdleMs?: number;
  /** How often it is looked whether the token is back. Default 2,000 ms. */
  readonly detectEveryMs?: number;
  /** How long the pages stay after the result was fetched. Default 5,000 ms. */
  readonly resultGraceMs?: number;
  /** How long the result waits to be fetched. Default 60,000 ms. */
  readonly resultLimitMs?: number;
  /** Closes the wizard. */
  readonly signal?: AbortSignal;
}

/** The same, read and checked. */
export interface ReadWizardOptions {
  readonly directory: string;
  /** Of the caller, as detectRestore() and restore() take it. */
  readonly protector: Pkcs11ProtectorOptions | { readonly type: 'software' };
  readonly secretStore: SecretStoreOptions | undefined;
  readonly tlsDirectory: string | undefined;
  readonly hook: string | undefined;
  readonly hookTimeLimitMs: number;
  readonly soPin: PasswordSource | undefined;
  readonly permit: Uint8Array | undefined;
  readonly names: readonly string[];
  readonly origin: string | undefined;
  readonly onEvent: (event: WizardEvent) => void;
  readonly sessionIdleMs: number;
  readonly detectEveryMs: number;
  readonly resultGraceMs: number;
  readonly resultLimitMs: number;
  readonly signal: AbortSignal | undefined;
}

const names = [
  'directory',
  'protector',
  'secretStore',
  'tls',
  'hook',
  'hookTimeLimitMs',
  'soPin',
  'permit',
  'names',
  'origin',
  'onEvent',
  'sessionIdleMs',
  'detectEveryMs',
  'resultGraceMs',
  'resultLimitMs',
  'signal',
] as const;

const timeMsMax = 86_400_000;

function invalid(message: string): PersistenceError {
  return new PersistenceError('invalid-option', message);
}

function readMs(value: unknown, name: string, otherwise: number, min = 1): number {
  if (value === undefined) return otherwise;
  if (typeof value === 'number' && Number.isInteger(value) && value >= min && value <= timeMsMax)
    return value;
  throw invalid(`${name} must be a whole number of milliseconds from ${min} to ${timeMsMax}`);
}

export const hostName = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i;

/** Host names, in lower case. */
export function readNames(value: unknown): readonly string[] {
  if (value === undefined) return [];
  if (!Array.isArray(value)) throw invalid('names must be a list of host names');
  return reading(() =>
    (value as unknown[]).map((name) => {
      if (typeof name === 'string' && hostName.test(name)) return name.toLowerCase();
      throw invalid('names must be a list of host names');
    }),
  );
}

function readOrigin(value: unknown): string | undefined {
  if (value === undefined) return undefined;
  const origin = typeof value === 'string' && URL.canParse(value) ? new URL(value).origin : 'null';
  if (origin !== value || origin === 'null')
    throw invalid('origin must be one, such as https://vault.example');
  return origin;
}

/** Throws `invalid-option`, which names the option. */
export function readWizardOptions(options: unknown): ReadWizardOptions {
  const given = readOptions(options, names);
  const { protector, soPin, permit, hook, tls } = given;
  // Checked by those who take them, and here so that nothing is served before.
  readProtector(protector)?.forget();
  if (protector === undefined) throw invalid('protector is needed');
  readPassword(soPin, 'soPin')?.forget();
  if (hook !== undefined && typeof hook !== 'string') throw invalid('hook must be the path of an executable');
  const signal = readSignal(given.signal);
  const onEvent = readFunction<(event: WizardEvent) => void>(given.onEvent, 'onEvent');
  return {
    directory: readPath(given.directory, 'directory'),
    protector: protector as ReadWizardOptions['protector'],
    secretStore: given.secretStore as SecretStoreOptions | undefined,
    tlsDirectory:
      tls === undefined
        ? undefined
        : readPath(readClosed(tls, 'tls', ['directory']).directory, 'tls.directory'),
    hook,
    hookTimeLimitMs: readMs(given.hookTimeLimitMs, 'hookTimeLimitMs', hookTimeLimitMs),
    soPin: soPin as PasswordSource | undefined,
    permit: permit === undefined ? undefined : parsePermit(permit, 'permit'),
    names: readNames(given.names),
    origin: readOrigin(given.origin),
    onEvent: (event) => {
      try {
        onEvent?.(event);
      } catch {
        // Who only looks on must not stop it.
      }
    },
    sessionIdleMs: readMs(given.sessionIdleMs, 'sessionIdleMs', 900_000),
    detectEveryMs: readMs(given.detectEveryMs, 'detectEveryMs', 2000),
    resultGraceMs: readMs(given.resultGraceMs, 'resultGraceMs', 5000, 0),
    resultLimitMs: readMs(given.resultLimitMs, 'resultLimitMs', 60_000, 0),
    signal,
  };
}
