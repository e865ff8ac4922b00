// The options of open() and its kin: a closed set of names, each read once and checked here.
//
// Invariant: what leaves this file is plain data of our own, so that no code of the caller runs later by reading it.
import { untilAborted } from '../base/abort.js';
import type { PersistenceError } from '../errors.js';
import { readManifestsOptions, type ReadManifestsOptions } from '../manifests/loader.js';
import type { LoadManifestsOptions } from '../manifests/types.js';
import type { NativeStoreOptions } from '../native-binding.js';
import { readSecretStore, type SecretStoreOptions } from '../options/secret-store.js';
import {
  invalidOption,
  readClosed,
  readFunction,
  readOptions,
  readPath,
  readSignal,
  readText,
  readWhole,
} from '../options/readers.js';
import type { GivenProtector } from '../protectors/protector.js';
import { readProtector, type KeyProtectorOptions } from '../protectors/registry.js';
import { readPassword, repeatable, type PasswordSource, type Secret } from '../options/secrets.js';
import { ed25519PublicKeyBytes, type VendorPublicKey } from '../options/permit.js';

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

/** The same, read and checked. */
export interface ReadOptions {
  readonly native: Omit<NativeStoreOptions, 'protector'>;
  readonly protector: GivenProtector | undefined;
  readonly manifests: ReadManifestsOptions | undefined;
  readonly password: (() => Promise<Uint8Array>) | undefined;
  readonly create: NonNullable<OpenOptions['create']>;
  readonly waitForLockMs: number;
  /** Wipes our copies of the password and the PIN. */
  readonly forget: () => void;
  /** {@link Secret.explain} of both. */
  readonly explain: (refusal: PersistenceError) => PersistenceError;
  readonly trace: ((step: string) => void) | undefined;
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
const msMax = Number.MAX_SAFE_INTEGER;

function readKdf(value: unknown): NativeStoreOptions['kdf'] {
  if (value === undefined) return undefined;
  const { memoryKiB, passes, lanes } = readClosed(value, 'recovery.kdf', ['memoryKiB', 'passes', 'lanes']);
  const number = (part: unknown, name: string): number | undefined => {
    if (part !== undefined && !(typeof part === 'number' && Number.isInteger(part) && part > 0)) {
      throw invalidOption(`recovery.kdf.${name} must be a whole number above 0`);
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

function readRecovery(value: unknown): { password: unknown; kdf: NativeStoreOptions['kdf']; none: boolean } {
  if (value === undefined || value === 'none') {
    return { password: undefined, kdf: undefined, none: value === 'none' };
  }
  if (typeof value === 'string') throw invalidOption("recovery must be an object or 'none'");
  const { password, kdf } = readClosed(value, 'recovery', ['password', 'kdf']);
  return { password, kdf: readKdf(kdf), none: false };
}

function readCreate(value: unknown, readOnly: boolean | undefined): ReadOptions['create'] {
  if (value === undefined) return 'if-missing';
  if (value !== 'if-missing' && value !== 'never' && value !== 'always')
    throw invalidOption("create must be 'if-missing', 'never' or 'always'");
  if (value === 'always' && readOnly === true)
    throw invalidOption("create: 'always' and readOnly exclude each other");
  return value;
}

/** @throws PersistenceError `invalid-option` */
function readFlag(value: unknown, name: string): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value;
  throw invalidOption(`${name} must be a boolean`);
}

function readMaxAge({ maxAge, maxAgeMs }: Record<'maxAge' | 'maxAgeMs', unknown>): number | undefined {
  if (maxAge !== undefined && maxAge !== 'off') throw invalidOption("maxAge must be 'off', or absent");
  if (maxAge !== undefined && maxAgeMs !== undefined)
    throw invalidOption('maxAge and maxAgeMs exclude each other');
  return maxAge === 'off' ? Number.POSITIVE_INFINITY : readWhole(maxAgeMs, 'maxAgeMs', msMax, maxAgeMsMin);
}

function readWaitForLock(value: unknown, readOnly: boolean | undefined): number {
  const ms = readWhole(value, 'waitForLockMs', msMax) ?? 0;
  if (ms > 0 && readOnly === true)
    throw invalidOption('waitForLockMs and readOnly exclude each other: reading takes no lock');
  return ms;
}

type Given = Record<(typeof openNames)[number], unknown>;

/** What the core gets as it is. */
function readNative(given: Given, recovery: ReturnType<typeof readRecovery>): ReadOptions['native'] {
  const { vendorPublicKey } = given;
  return {
    directory: readPath(given.directory, 'directory'),
    instance: given.instance === undefined ? '' : readText(given.instance, 'instance'),
    secretStore: readSecretStore(given.secretStore),
    readOnly: readFlag(given.readOnly, 'readOnly'),
    allowNetworkFileSystem: readFlag(given.allowNetworkFileSystem, 'allowNetworkFileSystem'),
    clockToleranceMs: readWhole(given.clockToleranceMs, 'clockToleranceMs', msMax),
    maxAgeMs: readMaxAge(given),
    windowMaxMs: readWhole(given.windowMaxMs, 'windowMaxMs', msMax),
    vendorPublicKey: vendorPublicKey === undefined ? undefined : ed25519PublicKeyBytes(vendorPublicKey),
    withoutRecovery: recovery.none,
    kdf: recovery.kdf,
    witnessIntervalMs: readWhole(given.witnessIntervalMs, 'witnessIntervalMs', 0xffff_ffff),
  };
}

/** Last, so that a refused option leaves no copy of a secret behind. */
function readSecrets(
  given: Given,
  recoveryPassword: unknown,
  hasSecretStore: boolean,
): { readonly protector: GivenProtector | undefined; readonly password: Secret | undefined } {
  const protector = readProtector(given.protector);
  try {
    if (protector?.kind.hasSecretStore === false && hasSecretStore)
      throw invalidOption(`secretStore: protector '${protector.kind.type}' has none; leave the option out`);
    return { protector, password: readPassword(recoveryPassword, 'recovery.password') };
  } catch (error) {
    protector?.forget();
    throw error;
  }
}

/** Reads the options of open(). Throws `invalid-option`, which names the option, and `unsupported`. */
export function readOpenOptions(options: unknown): ReadOptions {
  const given = readOptions(options, openNames);
  const recovery = readRecovery(given.recovery);
  const native = readNative(given, recovery);
  const create = readCreate(given.create, native.readOnly);
  const signal = readSignal(given.signal);
  const waitForLockMs = readWaitForLock(given.waitForLockMs, native.readOnly);
  const trace = readFunction<(step: string) => void>(given.trace, 'trace');
  const onProgress = readFunction<(done: number, all: number) => void>(given.onProgress, 'onProgress');
  const manifests = given.manifests === undefined ? undefined : readManifestsOptions(given.manifests);
  const { protector, password: once } = readSecrets(
    given,
    recovery.password,
    native.secretStore !== undefined,
  );
  // A start that waits for a lock asks for it again.
  const password = once && repeatable(once);
  return {
    native,
    protector,
    manifests,
    password:
      password && (() => (signal === undefined ? password.take() : untilAborted(password.take(), signal))),
    create,
    waitForLockMs,
    forget: () => {
      password?.forget();
      protector?.forget();
    },
    explain: (refusal) =>
      (refusal.reason === 'password-wrong' ? password : protector)?.explain(refusal) ?? refusal,
    trace,
    onProgress,
    signal,
  };
}
