// The options of open() and its kin: a closed set of names, each read once and checked here.
//
// Invariant: what leaves this file is plain data of our own, so that no code of the caller runs later by reading it.
import { resolve } from 'node:path';

import { untilAborted } from './abort.js';
import { isRecord, requireRecord } from './arguments.js';
import { PersistenceError } from './errors.js';
import { readManifestsOptions, type ReadManifestsOptions } from './manifest-loader.js';
import type { LoadManifestsOptions } from './manifests/types.js';
import { reading } from './native-errors.js';
import type { NativeSecretStore, NativeStorage, NativeStoreOptions } from './native-binding.js';
import {
  readPkcs11Protector,
  type GivenPkcs11Protector,
  type Pkcs11ProtectorOptions,
} from './pkcs11-options.js';
import { refusalOfOldName } from './renamed.js';
import { readPassword, repeatable, type PasswordSource, type Secret } from './secrets.js';
import { ed25519PublicKeyBytes, type VendorPublicKey } from './permit.js';

/** Where two witnesses live, and in software protection the RootKey, outside the store's directory. */
export type SecretStoreOptions =
  /** A directory of its own, 0700, files 0600. Made when missing at COLDSTART. */
  | { readonly type: 'file'; readonly directory: string }
  /** libsecret over the session's D-Bus, loaded at run time. */
  | { readonly type: 'secret-service' };

/** The key protector: what wraps the data encryption key in everyday use. */
export type KeyProtectorOptions =
  { readonly type: 'software' } | TpmProtectorOptions | Pkcs11ProtectorOptions;

/** A TPM 2.0 seals the root that opens the data encryption key, and a counter in it is the witness; see docs/tpm.md. */
export interface TpmProtectorOptions {
  readonly type: 'tpm';
  /**
   * How the TPM is reached, as of tcti(7): `device:/dev/tpmrm0`, `swtpm:path=/run/s`. Default at COLDSTART the library's
   * own order, later what persistence.bin names.
   */
  readonly tcti?: string;
  /**
   * Platform configuration registers, 0 to 23 of the SHA-256 bank, that must be as they were when the root was sealed.
   * Fixed at COLDSTART and by `reseal`; default none.
   */
  readonly pcrs?: readonly number[];
  /**
   * Needed at every start where one was given at COLDSTART. Read only when it is needed, as far as that can be told
   * before the protector is open. For `reseal` it is the PIN from then on; `none` takes it away.
   */
  readonly pin?: PasswordSource | 'none';
  /**
   * How many times a day the counter is moved besides open, close, `anchor()` and `witnessed` commits; 0 to 86,400, default
   * 27. Each wears the TPM.
   */
  readonly anchorsPerDay?: number;
}

/** Argon2id (RFC 9106) for the key slot of the backup password. */
export interface KdfOptions {
  /** 8 to 1,048,576 KiB, at least 8 a lane; default 65,536. */
  readonly memoryKiB?: number;
  /** 1 to 16; default 3. */
  readonly passes?: number;
  /** 1 to 4; default 1. */
  readonly lanes?: number;
}

export interface RecoveryOptions {
  /** Makes a key slot at COLDSTART; at least 12 bytes. Not asked for at a WARMSTART. */
  readonly password?: PasswordSource;
  readonly kdf?: KdfOptions;
}

/** What opens a store. */
export interface OpenOptions {
  /** The directory of the store's files; made 0700 at COLDSTART. Its parent must exist. */
  readonly directory: string;
  /**
   * How witnesses are found, whatever the directory: 1 to 128 bytes. A constant of the vendor; default `default` at
   * COLDSTART, later what the store has. Two stores must not share one on the same SecretStore.
   */
  readonly instance?: string;
  /** Default at COLDSTART `software`, later what the store has. Key protector `pkcs11` is needed at every start. */
  readonly protector?: KeyProtectorOptions;
  /** Key protector `software` and `pkcs11`: needed at COLDSTART; later, when absent, what persistence.bin names. */
  readonly secretStore?: SecretStoreOptions;
  /** Step 3, LoadLicenseProviderManifests(). */
  readonly manifests?: LoadManifestsOptions;
  /**
   * Needed at COLDSTART. `none`: without a backup password, so that the data are lost with the SecretStore, the TPM or the
   * token that protects their key; `recoverable` in the status is then false.
   */
  readonly recovery?: RecoveryOptions | 'none';
  /**
   * What becomes of a directory without a store: `if-missing`, the default, makes one; `never` answers `no-store`, which is
   * what a service wants, so that a disk that is not mounted is not taken for a first start; `always` makes one and answers
   * `store-exists` where there is one.
   */
  readonly create?: 'if-missing' | 'never' | 'always';
  /** Opens for reading: takes no lock and changes nothing, so that a live store can be looked at. Never a COLDSTART. */
  readonly readOnly?: boolean;
  /**
   * COLDSTART only: makes the store on a network file system, which is refused otherwise. There two machines may be able to
   * write to one store.
   */
  readonly allowNetworkFileSystem?: boolean;
  /** How far the clock may trail what is remembered; fixed at COLDSTART. Default 120,000 ms. */
  readonly clockToleranceMs?: number;
  /** The greatest age of TIME_TAMPER at a start, at least 60,000 ms; fixed at COLDSTART. Default 604,800,000 ms, seven days. */
  readonly maxAgeMs?: number;
  /** In place of `maxAgeMs`: no limit. Shown in the status. */
  readonly maxAge?: 'off';
  /**
   * How long a witness may be kept away before writes are refused as `witness-unavailable`; fixed at COLDSTART. Until then,
   * `journal` commits can be rewound to the last witnessed one. At least 60,000; default 86,400,000 ms, one day.
   */
  readonly windowMaxMs?: number;
  /**
   * Makes the vendor the authority over `reanchor`, `recover`, `reseal` and `decommission`, in place of the backup
   * password; fixed at COLDSTART. Ed25519: 32 bytes, PEM or a KeyObject.
   */
  readonly vendorPublicKey?: VendorPublicKey;
  /**
   * How long to wait for a store that another process has open, or that this one has, before the answer is `locked`. Until
   * then the start is tried again at least twice a second. `signal` cancels it. Default 0; not with `readOnly`, which takes no
   * lock.
   */
  readonly waitForLockMs?: number;
  /** How long the witnesses may lag behind a `journal` commit. Default 1,000 ms. */
  readonly witnessIntervalMs?: number;
  /** Called with the name of each step as it begins. What it throws fails the start. */
  readonly trace?: (step: string) => void;
  /** Called as the vault is read, with bytes done and bytes in all. */
  readonly onProgress?: (done: number, all: number) => void;
  /**
   * Cancels the start, at any moment before it has succeeded: `aborted`. Reading stops, and so does waiting for a TPM, a
   * token, a keyring or a callback. A write that has begun is completed first.
   */
  readonly signal?: AbortSignal;
}

/** The protector as it was given, before a URI is taken apart. */
export type GivenProtector = Exclude<NativeStorage, { type: 'pkcs11' }> | GivenPkcs11Protector;

/** The same, read and checked. */
export interface ReadOptions {
  readonly native: Omit<NativeStoreOptions, 'storage'> & { readonly storage?: GivenProtector | undefined };
  readonly manifests: ReadManifestsOptions | undefined;
  readonly password: (() => Promise<Uint8Array>) | undefined;
  readonly pin: (() => Promise<Uint8Array>) | undefined;
  readonly withoutPin: boolean;
  readonly create: NonNullable<OpenOptions['create']>;
  readonly waitForLockMs: number;
  /** Wipes our copies of the password and the PIN. */
  readonly forget: () => void;
  /** {@link Secret.explain} of both. */
  readonly explain: (refusal: PersistenceError) => PersistenceError;
  readonly trace: (step: string) => void;
  readonly onProgress: ((done: number, all: number) => void) | undefined;
  readonly signal: AbortSignal | undefined;
}

const openNames = [
  'directory',
  'instance',
  'protector',
  'secretStore',
  'manifests',
  'recovery',
  'create',
  'readOnly',
  'allowNetworkFileSystem',
  'clockToleranceMs',
  'maxAgeMs',
  'maxAge',
  'waitForLockMs',
  'windowMaxMs',
  'vendorPublicKey',
  'witnessIntervalMs',
  'trace',
  'onProgress',
  'signal',
] as const;

/** A smaller age would refuse every start, the first one after `init` among them. */
export const maxAgeMsMin = 60_000;

function invalid(message: string): PersistenceError {
  return new PersistenceError('invalid-option', message);
}

/**
 * The options that are an argument of a call.
 * @throws PersistenceError `invalid-argument` for what is no object, `invalid-option` for a name that is not among `names`
 */
export function readOptions<Name extends string>(
  value: unknown,
  names: readonly Name[],
  what = 'the options',
): Record<Name, unknown> {
  requireRecord(value, what);
  return readClosed(value, what, names);
}

/**
 * Refuses an old name among the options, for calls that read some of them before the rest.
 * @throws PersistenceError `invalid-option`
 */
export function refuseOldNames(options: object, names: readonly string[]): void {
  for (const name of Object.keys(options)) {
    const refusal = refusalOfOldName(name, 'the options', names);
    if (refusal !== undefined) throw invalid(refusal);
  }
}

/** The named properties of an object that has no others, each read once. */
export function readClosed<Name extends string>(
  value: unknown,
  what: string,
  names: readonly Name[],
): Record<Name, unknown> {
  return reading(() => {
    if (!isRecord(value)) throw invalid(`${what} must be an object`);
    for (const name of Object.keys(value)) {
      if (!(names as readonly string[]).includes(name))
        throw invalid(refusalOfOldName(name, what, names) ?? `${what}: there is no option '${name}'`);
    }
    const source = value as Record<Name, unknown>;
    return Object.fromEntries(names.map((name) => [name, source[name]])) as Record<Name, unknown>;
  });
}

function readText(value: unknown, name: string): string {
  if (typeof value !== 'string' || value === '' || value.includes('\0')) {
    throw invalid(`${name} must be a string that is not empty and has no NUL`);
  }
  return value;
}

/**
 * A path, made absolute.
 * @throws PersistenceError `invalid-option`; `not-found` and `permission-denied` for a relative one where the working
 * directory was removed or is out of reach
 */
export function readPath(value: unknown, name: string): string {
  return toAbsolute(readText(value, name), name);
}

export function toAbsolute(path: string, name: string): string {
  try {
    return resolve(path);
  } catch (cause) {
    const denied = (cause as NodeJS.ErrnoException).code === 'EACCES';
    throw new PersistenceError(
      denied ? 'permission-denied' : 'not-found',
      `${name} is relative, and the working directory ${denied ? 'cannot be read' : 'does not exist any more'}`,
      { cause },
    );
  }
}

/** An AbortSignal, or undefined. */
export function readSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined;
  try {
    // The getter refuses what merely has the prototype of one.
    if (value instanceof AbortSignal && typeof value.aborted === 'boolean') return value;
  } catch {
    // no signal
  }
  throw invalid('signal must be an AbortSignal');
}

function readWhole(value: unknown, name: string, max: number, min = 0): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw invalid(`${name} must be a whole number of milliseconds from ${min} to ${max}`);
  }
  return value;
}

/** A function, or undefined. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller names the signature
export function readFunction<T>(value: unknown, name: string): T | undefined {
  if (value !== undefined && typeof value !== 'function') throw invalid(`${name} must be a function`);
  return value as T | undefined;
}

export function readSecretStore(value: unknown): NativeSecretStore | undefined {
  if (value === undefined) return undefined;
  const { type, directory } = readClosed(value, 'secretStore', ['type', 'directory']);
  if (type === 'file') return { type, directory: readPath(directory, 'secretStore.directory') };
  if (type !== 'secret-service') throw invalid("secretStore.type must be 'file' or 'secret-service'");
  if (directory !== undefined) throw invalid("secretStore.directory belongs to the type 'file'");
  return { type };
}

function readKdf(value: unknown): NativeStoreOptions['kdf'] {
  if (value === undefined) return undefined;
  const { memoryKiB, passes, lanes } = readClosed(value, 'recovery.kdf', ['memoryKiB', 'passes', 'lanes']);
  const number = (part: unknown, name: string): number | undefined => {
    if (part !== undefined && !(typeof part === 'number' && Number.isInteger(part) && part > 0)) {
      throw invalid(`recovery.kdf.${name} must be a whole number above 0`);
    }
    return part;
  };
  const kdf: { memoryKiB?: number; passes?: number; lanes?: number } = {};
  const [memory, count, parallel] = [
    number(memoryKiB, 'memoryKiB'),
    number(passes, 'passes'),
    number(lanes, 'lanes'),
  ];
  if (memory !== undefined) kdf.memoryKiB = memory;
  if (count !== undefined) kdf.passes = count;
  if (parallel !== undefined) kdf.lanes = parallel;
  return kdf;
}

const pcrHighest = 23;
const anchorsPerDayMax = 86_400;

function readPcrs(value: unknown): number[] | undefined {
  if (value === undefined) return undefined;
  const given: unknown[] = Array.isArray(value) ? reading(() => [...(value as unknown[])]) : [-1];
  return given.map((pcr) => {
    if (typeof pcr === 'number' && Number.isInteger(pcr) && pcr >= 0 && pcr <= pcrHighest) return pcr;
    throw invalid(`protector.pcrs must be a list of numbers from 0 to ${pcrHighest}`);
  });
}

/** Without the PIN, which is read when it is needed. */
export function readProtector(value: unknown): {
  native: GivenProtector | undefined;
  pin: Secret | undefined;
  withoutPin: boolean;
} {
  if (value === undefined) return { native: undefined, pin: undefined, withoutPin: false };
  if (typeof value === 'object' && reading(() => (value as { type?: unknown } | null)?.type) === 'pkcs11') {
    return { ...readPkcs11Protector(value), withoutPin: false };
  }
  const given = readClosed(value, 'protector', ['type', 'tcti', 'pcrs', 'pin', 'anchorsPerDay']);
  const { type, anchorsPerDay } = given;
  if (type === 'software') {
    for (const name of ['tcti', 'pcrs', 'pin', 'anchorsPerDay'] as const) {
      if (given[name] !== undefined) throw invalid(`protector.${name} belongs to the type 'tpm'`);
    }
    return { native: { type }, pin: undefined, withoutPin: false };
  }
  if (type !== 'tpm') throw invalid("protector.type must be 'software', 'tpm' or 'pkcs11'");
  if (
    anchorsPerDay !== undefined &&
    !(
      Number.isInteger(anchorsPerDay) &&
      Number(anchorsPerDay) >= 0 &&
      Number(anchorsPerDay) <= anchorsPerDayMax
    )
  ) {
    throw invalid(`protector.anchorsPerDay must be a whole number from 0 to ${anchorsPerDayMax}`);
  }
  const native = {
    type,
    tcti: given.tcti === undefined ? undefined : readText(given.tcti, 'protector.tcti'),
    pcrs: readPcrs(given.pcrs),
    anchorsPerDay: anchorsPerDay as number | undefined,
  } as const;
  if (given.pin === 'none') return { native, pin: undefined, withoutPin: true };
  return { native, pin: readPassword(given.pin, 'protector.pin'), withoutPin: false };
}

function readRecovery(value: unknown): { password: unknown; kdf: NativeStoreOptions['kdf']; none: boolean } {
  if (value === undefined || value === 'none') {
    return { password: undefined, kdf: undefined, none: value === 'none' };
  }
  if (typeof value === 'string') throw invalid("recovery must be an object or 'none'");
  const { password, kdf } = readClosed(value, 'recovery', ['password', 'kdf']);
  return { password, kdf: readKdf(kdf), none: false };
}

function readCreate(value: unknown, readOnly: boolean | undefined): ReadOptions['create'] {
  if (value === undefined) return 'if-missing';
  if (value !== 'if-missing' && value !== 'never' && value !== 'always')
    throw invalid("create must be 'if-missing', 'never' or 'always'");
  if (value === 'always' && readOnly === true)
    throw invalid("create: 'always' and readOnly exclude each other");
  return value;
}

/** Reads the options of open(). Throws `invalid-option`, which names the option, and `unsupported`. */
export function readOpenOptions(options: unknown): ReadOptions {
  const given = readOptions(options, openNames);
  const recovery = readRecovery(given.recovery);
  if (given.readOnly !== undefined && typeof given.readOnly !== 'boolean')
    throw invalid('readOnly must be a boolean');
  if (given.allowNetworkFileSystem !== undefined && typeof given.allowNetworkFileSystem !== 'boolean')
    throw invalid('allowNetworkFileSystem must be a boolean');
  if (given.maxAge !== undefined && given.maxAge !== 'off') throw invalid("maxAge must be 'off', or absent");
  if (given.maxAge !== undefined && given.maxAgeMs !== undefined)
    throw invalid('maxAge and maxAgeMs exclude each other');
  const create = readCreate(given.create, given.readOnly);
  const signal = readSignal(given.signal);
  const msMax = Number.MAX_SAFE_INTEGER;
  const waitForLockMs = readWhole(given.waitForLockMs, 'waitForLockMs', msMax) ?? 0;
  if (waitForLockMs > 0 && given.readOnly === true)
    throw invalid('waitForLockMs and readOnly exclude each other: reading takes no lock');
  const native: NativeStoreOptions = {
    directory: readPath(given.directory, 'directory'),
    instance: given.instance === undefined ? '' : readText(given.instance, 'instance'),
    secretStore: readSecretStore(given.secretStore),
    readOnly: given.readOnly,
    allowNetworkFileSystem: given.allowNetworkFileSystem,
    clockToleranceMs: readWhole(given.clockToleranceMs, 'clockToleranceMs', msMax),
    maxAgeMs:
      given.maxAge === 'off'
        ? Number.POSITIVE_INFINITY
        : readWhole(given.maxAgeMs, 'maxAgeMs', msMax, maxAgeMsMin),
    windowMaxMs: readWhole(given.windowMaxMs, 'windowMaxMs', msMax),
    vendorPublicKey:
      given.vendorPublicKey === undefined ? undefined : ed25519PublicKeyBytes(given.vendorPublicKey),
    withoutRecovery: recovery.none,
    kdf: recovery.kdf,
    witnessIntervalMs: readWhole(given.witnessIntervalMs, 'witnessIntervalMs', 0xffff_ffff),
  };
  const trace = readFunction<(step: string) => void>(given.trace, 'trace');
  const onProgress = readFunction<(done: number, all: number) => void>(given.onProgress, 'onProgress');
  const manifests = given.manifests === undefined ? undefined : readManifestsOptions(given.manifests);
  // Last, so that a refused option leaves no copy of a secret behind.
  const protector = readProtector(given.protector);
  if (protector.native?.type === 'tpm' && native.secretStore !== undefined) {
    protector.pin?.forget();
    throw invalid("secretStore: protector 'tpm' has none; leave the option out");
  }
  let password: Secret | undefined;
  try {
    password = readPassword(recovery.password, 'recovery.password');
  } catch (error) {
    protector.pin?.forget();
    throw error;
  }
  let { pin } = protector;
  if (waitForLockMs > 0) {
    password = password && repeatable(password);
    pin = pin && repeatable(pin);
  }
  const untilSignal = <T>(take: (() => Promise<T>) | undefined): (() => Promise<T>) | undefined =>
    take === undefined || signal === undefined ? take : () => untilAborted(take(), signal);
  return {
    native: { ...native, storage: protector.native },
    manifests,
    password: untilSignal(password?.take),
    pin: untilSignal(pin?.take),
    withoutPin: protector.withoutPin,
    create,
    waitForLockMs,
    forget: () => {
      password?.forget();
      pin?.forget();
    },
    explain: (refusal) => (refusal.reason === 'password-wrong' ? password : pin)?.explain(refusal) ?? refusal,
    trace: trace ?? (() => undefined),
    onProgress,
    signal,
  };
}
