// The types of what the compiled core exports. Sizes, times and generations are numbers, exact up to 2^53 - 1.
// A method throws, or rejects with, a NativeError, which lib/native/errors.ts turns into a PersistenceError.
import type { Reason } from './error-table.js';

/** How an error crosses from the core. */
export interface NativeError {
  readonly reason: Reason;
  readonly message: string;
  /** errno, or 0. */
  readonly systemError: number;
  readonly committed: boolean;
  readonly outcomeUnknown: boolean;
}

export type NativeBytes = Uint8Array | DataView | ArrayBuffer;

/** 0: `journal`, 1: `witnessed`. */
export type NativeDurability = 0 | 1;

export type NativeSecretStore =
  { readonly type: 'file'; readonly directory: string } | { readonly type: 'secret-service' };

/** The token by its parts; what is undefined is left open. */
export interface NativeTokenLocator {
  readonly module?: string | undefined;
  readonly label?: string | undefined;
  readonly serial?: string | undefined;
  readonly slotId?: number | undefined;
  readonly manufacturer?: string | undefined;
  readonly model?: string | undefined;
  /** Label of the KEK. */
  readonly object?: string | undefined;
  readonly initArguments?: string | undefined;
  readonly timeLimitMs?: number | undefined;
}

export interface NativePkcs11Storage extends NativeTokenLocator {
  readonly type: 'pkcs11';
  readonly anotherToken?: boolean | undefined;
  /** Copied. */
  readonly pin?: Uint8Array | undefined;
}

export type NativeStorage =
  | { readonly type: 'software' }
  | NativePkcs11Storage
  | {
      readonly type: 'tpm';
      readonly tcti?: string | undefined;
      readonly pcrs?: readonly number[] | undefined;
      /** Copied. */
      readonly pin?: Uint8Array | undefined;
      readonly anchorsPerDay?: number | undefined;
    };

export interface NativeStoreOptions {
  readonly directory: string;
  /** Empty: whatever the store has; COLDSTART needs a name. */
  readonly instance: string;
  readonly storage?: NativeStorage | undefined;
  readonly secretStore?: NativeSecretStore | undefined;
  readonly vaultFileName?: string | undefined;
  readonly readOnly?: boolean | undefined;
  readonly allowNetworkFileSystem?: boolean | undefined;
  /** For a decommission: a vault file that is missing is no refusal. */
  readonly removal?: boolean | undefined;
  /** For a decommission: what is not found may be left behind. */
  readonly allowLeftovers?: boolean | undefined;
  readonly clockToleranceMs?: number | undefined;
  /** `Infinity`: off. */
  readonly maxAgeMs?: number | undefined;
  readonly windowMaxMs?: number | undefined;
  /** 32 bytes, Ed25519. */
  readonly vendorPublicKey?: Uint8Array | undefined;
  /** Copied. */
  readonly recoveryPassword?: Uint8Array | undefined;
  /** A hardware root without a password slot is asked for in so many words. */
  readonly withoutRecovery?: boolean | undefined;
  readonly kdf?:
    { readonly memoryKiB?: number; readonly passes?: number; readonly lanes?: number } | undefined;
  readonly witnessIntervalMs?: number | undefined;
  readonly tamperCapacity?: number | undefined;
  readonly reserveBytes?: number | undefined;
  readonly compactionBytesMin?: number | undefined;
  /** The build for tests only: raises SIGKILL before this step of a restore or rotation. */
  readonly killBeforeStep?: string | undefined;
  /** The build for tests only. */
  readonly clock?: object | undefined;
}

export interface NativePoint {
  readonly generation: number;
  /** SHA-256, hexadecimal. */
  readonly head: string;
}

export interface NativeWitness extends NativePoint {
  readonly name: string;
  readonly lagGenerations: number;
  /** 0: not in this opening. */
  readonly movedMs: number;
  readonly failing: boolean;
}

export interface NativeFileSystem {
  /** `ext4`, `nfs`; hexadecimal for one that is not known. */
  readonly name: string;
  readonly type: 'local' | 'network' | 'memory' | 'fuse';
}

export interface NativeTpmStatus {
  /** Manufacturer and firmware, as the TPM gives them. */
  readonly description: string;
  readonly tcti: string;
  readonly counterIndex: number;
  /** Undefined in a store of release 0.1 that was not opened for writing since. */
  readonly extendIndex: number | undefined;
  readonly counter: number;
  readonly firstNumber: number | undefined;
  /** The sealed root is refused beyond this count. */
  readonly epochEnd: number;
  /** By this store, in its whole life. */
  readonly increments: number;
  readonly firstMs: number;
  readonly pcrs: readonly number[];
  readonly pin: boolean;
}

export interface NativeKeySlot {
  readonly id: number;
  readonly type: 'software' | 'tpm' | 'pkcs11' | 'password';
  readonly label: string | undefined;
}

export interface NativeTokenStatus {
  readonly module: string;
  readonly label: string;
  readonly serial: string;
  readonly model: string;
  readonly kekLabel: string;
  /** CKA_ID, hexadecimal. */
  readonly kekId: string;
  readonly kekType: 'AES-256' | 'RSA-3072';
}

export interface NativeRestoreRecord {
  readonly completed: boolean;
  readonly generation: number;
  readonly timeMs: number;
  /** 0: not completed. */
  readonly completedMs: number;
  readonly cause: string;
  readonly formerSerial: string;
  readonly keysDeactivated: number;
}

export interface NativeTokenInfo {
  readonly slotId: number;
  readonly label: string;
  readonly serial: string;
  readonly manufacturer: string;
  readonly model: string;
  readonly initialised: boolean;
  readonly pinInitialised: boolean;
  readonly pinLocked: boolean;
  /** The permitted length of a PIN in bytes. Undefined: the module does not report it. */
  readonly pinBytes: { readonly min: number; readonly max: number } | undefined;
}

export interface NativeStatus {
  readonly provision: 'provisioning' | 'complete' | 'decommissioning';
  readonly startup: 'COLDSTART' | 'WARMSTART';
  readonly instance: string;
  readonly storageId: string;
  readonly storage: 'software' | 'tpm' | 'pkcs11';
  readonly tpm: NativeTpmStatus | undefined;
  readonly token: NativeTokenStatus | undefined;
  readonly restore: NativeRestoreRecord | undefined;
  readonly lastWrittenHere: boolean;
  readonly fileSystem: NativeFileSystem | undefined;
  /** 0: never since a password was changed or removed. */
  readonly passwordVerifiedMs: number;
  readonly newest: NativePoint;
  /** What a vendor's permit must name. */
  readonly tokenPoint: NativePoint;
  readonly newestMs: number;
  readonly timeTamperMs: number;
  readonly ageMs: number;
  readonly clockToleranceMs: number;
  readonly maxAgeMs: number | undefined;
  readonly windowMaxMs: number;
  /** How long the oldest commit has waited for a witness; 0: none does. */
  readonly waitingMs: number;
  readonly rewindableByVendor: boolean;
  readonly keySlots: readonly NativeKeySlot[];
  readonly continuityUnproven: boolean;
  readonly tailRepaired: boolean;
  readonly tamperFileAnew: boolean;
  readonly persistenceRepaired: boolean;
  readonly secretRepaired: boolean;
  readonly clockCorrected: boolean;
  /** At COLDSTART. */
  readonly clockUnsynchronised: boolean;
  /** TIME_TAMPER was older than the limit, and the TPM's counter vouched for the state. */
  readonly ageExcused: boolean;
  readonly poisoned: boolean;
  readonly keyId: number;
  readonly rotationPending: boolean;
  readonly formerFieldKeys: number;
  readonly records: number;
  readonly logBytes: number;
  readonly liveBytes: number;
  readonly secretStore: NativeSecretStore | undefined;
  readonly witnesses: readonly NativeWitness[];
}

export interface NativeVerifyReport {
  readonly base: NativePoint;
  readonly newest: NativePoint;
  readonly commits: number;
  readonly records: number;
  readonly operationEntries: number;
  readonly witnesses: readonly NativeWitness[];
}

export interface NativeOperation {
  readonly generation: number;
  readonly timeMs: number;
  readonly operation: string;
  readonly operations: number;
  readonly head: string;
}

export interface NativeInspection {
  readonly provision: NativeStatus['provision'];
  readonly instance: string;
  readonly storageId: string;
  readonly keySlots: readonly NativeKeySlot[];
  readonly storage: 'software' | 'tpm' | 'pkcs11';
  /** What the key slot of a token says. */
  readonly token: Omit<NativeTokenStatus, 'model'> | undefined;
  /** What the key slot of a TPM says. */
  readonly tpm:
    { readonly tcti: string; readonly pcrs: readonly number[]; readonly pin: boolean } | undefined;
  readonly secretStore: NativeSecretStore | undefined;
  readonly oneCopyDamaged: boolean;
  readonly vaultFilePresent: boolean;
  /** By the clock of the file system; 0: not known. */
  readonly vaultModifiedMs: number;
  readonly tamperFilePresent: boolean;
}

export interface NativeLeftover {
  readonly name: string;
  readonly place: string;
  readonly storageId: string | undefined;
}

export type NativeFileEntry =
  | { readonly name: string; readonly content: Buffer }
  | {
      readonly name: string;
      readonly error: { readonly code: string; readonly reason: string; readonly message: string };
    };

export interface NativeManagedKey {
  readonly id: string;
  readonly algorithm: 'EC-P256' | 'EC-P384' | 'RSA-3072' | 'Ed25519';
  readonly location: 'vault' | 'hsm';
  readonly state: 'active' | 'deactivated';
  readonly createdMs: number;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Buffer;
  /** PEM; empty: none. */
  readonly chain: string;
  /** Empty while active. */
  readonly reason: string;
  /** Empty for a key in the vault. */
  readonly tokenSerial: string;
  /** Hexadecimal. */
  readonly tokenKeyId: string;
}

/**
 * `count` results stand in the shared memory; `errors` has those of the failed ones, in the same order. `failures` is what
 * the store failed at by itself.
 */
export type NativeDelivery = (
  count: number,
  errors: NativeError[] | undefined,
  failures: NativeError[] | undefined,
) => void;
export type NativeProgress = (done: number, all: number) => void;

/** One store. Its promises run on libuv's pool, one at a time; the rest answers at once. */
export interface NativeStore {
  deliver(callback: NativeDelivery): void;

  /** The length of what was decrypted into the slab; -1: absent; -2: the slab is full; a Buffer for a large value. */
  get(key: unknown): number | Buffer;
  has(key: unknown): boolean;
  /** This and the others that submit answer true when flush() is to be called at the end of the turn. */
  set(key: unknown, value: unknown, durability: NativeDurability): boolean;
  /** The generation of the commit. */
  setSync(key: unknown, value: unknown, durability: NativeDurability): number;
  delete(key: unknown, durability: NativeDurability): boolean;
  deleteSync(key: unknown, durability: NativeDurability): number;
  increment(key: unknown, delta: unknown, min: unknown, max: unknown, durability: NativeDurability): boolean;
  compareAndSet(key: unknown, expected: unknown, next: unknown, durability: NativeDurability): boolean;
  /** Key, value, key, value; an undefined value deletes. */
  batch(flat: readonly unknown[], durability: NativeDurability): boolean;
  /** Hands what was submitted in this turn to the core. */
  flush(): void;
  size(): number;
  /** See native/addon/store_vault.cc for the layout. */
  scan(
    into: Buffer,
    lower: Uint8Array | undefined,
    lowerInclusive: boolean,
    upper: Uint8Array | undefined,
    upperInclusive: boolean,
    reverse: boolean,
    countMax: number,
    withValues: boolean,
  ): number;
  setSlab(slab: Buffer): void;
  validateBeforeWrite(): void;
  /** NaN while a witness says that the store is not the one it last saw. */
  bootTimeMs(): number;

  determineStartupState(): Promise<'COLDSTART' | 'WARMSTART'>;
  setupPersistenceFiles(): Promise<void>;
  initializeColdstart(): Promise<void>;
  initializeWarmstart(): Promise<void>;
  initializeRecovery(password: Uint8Array | undefined): Promise<void>;
  createAndLoadVault(progress?: NativeProgress): Promise<void>;
  initializeStorageIdentifier(): Promise<void>;
  validateVaultIntegrity(): Promise<void>;
  validateTimeTamperAge(): Promise<void>;
  updateTimeTamper(): Promise<void>;
  reanchor(password: Uint8Array | undefined, permit: Uint8Array | undefined): Promise<void>;
  recover(password: Uint8Array | undefined, permit: Uint8Array | undefined): Promise<void>;
  reseal(password: Uint8Array | undefined, permit: Uint8Array | undefined): Promise<void>;
  validateRestore(password: Uint8Array | undefined, permit: Uint8Array | undefined): Promise<void>;
  /** The progress is the number of the step that begins, and how many there are. */
  restore(progress?: NativeProgress): Promise<void>;
  noteRestore(step: 'tls' | 'hook'): Promise<void>;
  completeRestore(): Promise<void>;
  rotateKek(progress?: NativeProgress): Promise<void>;
  /** The progress counts records. */
  rotateDek(
    password: Uint8Array | undefined,
    forgetFieldKeys: boolean,
    removeOtherPasswords: boolean,
    progress?: NativeProgress,
  ): Promise<void>;
  /** What was not found, and so is left behind. */
  decommission(password: Uint8Array | undefined, permit: Uint8Array | undefined): Promise<string[]>;
  findLeftovers(): Promise<NativeLeftover[]>;
  removeLeftovers(): Promise<void>;
  /** From now on every call of the vault answers `closed`; tasks still run. */
  shut(): void;
  close(callback: NativeDelivery): Promise<void>;
  abandon(): Promise<void>;
  /** The task that runs rejects with `aborted`, unless it has begun to write. */
  cancel(): void;
  anchor(): Promise<void>;
  refreshTimeTamper(): Promise<void>;
  compact(): Promise<void>;
  relocate(): Promise<void>;
  /** The calls for passwords answer the id of the key slot. */
  changePassword(current: Uint8Array, next: Uint8Array, label: string | undefined): Promise<number>;
  addPassword(current: Uint8Array, next: Uint8Array, label: string | undefined): Promise<number>;
  removePassword(staying: Uint8Array, slotId: number): Promise<void>;
  verifyPassword(password: Uint8Array): Promise<number>;
  setReserved(name: string, value: Uint8Array): Promise<void>;
  getReserved(name: string): Promise<Buffer | undefined>;
  verify(progress?: NativeProgress): Promise<NativeVerifyReport>;
  operationLog(countMax: number): Promise<NativeOperation[]>;
  status(): NativeStatus | undefined;

  /** `out` has 41 bytes more than the plaintext. */
  sealField(plaintext: unknown, context: unknown, out: Buffer): void;
  /** `out` has 41 bytes less than the sealed field. */
  openField(sealed: unknown, context: unknown, out: Buffer): void;
  fieldKeyId(sealed: unknown): number;
  fieldNeedsRotation(sealed: unknown): boolean;

  generateKey(id: string, algorithm: string, location: string): Promise<NativeManagedKey>;
  attachKeyChain(id: string, pem: string): Promise<void>;
  deactivateKey(id: string, reason: string): Promise<void>;
  reactivateKey(id: string): Promise<void>;
  removeKey(id: string): Promise<void>;
  findKey(id: string): NativeManagedKey;
  listKeys(): NativeManagedKey[];
  /** Not a task of the store: any number run side by side. */
  signWithKey(id: string, input: unknown, isDigest: boolean, raw: boolean): Promise<Buffer>;

  setTls(key: Uint8Array, certificate: Uint8Array, chain: Uint8Array): Promise<void>;
  tlsCertificate(): Promise<{ readonly certificate: Buffer; readonly chain: Buffer } | undefined>;
  removeTls(): Promise<void>;
  extractTls(directory: string): Promise<void>;
}

/** What the compiled core exports. */
export interface NativeBinding {
  readonly Store: new (
    options: NativeStoreOptions,
    delivery: NativeDelivery,
    results: ArrayBuffer,
  ) => NativeStore;
  /** The library that encrypts, with its version. */
  readonly libraryVersion: string;
  /** {@link NativeStore.cancel} for every task of this thread: process.exit() waits for those that run. */
  cancelTasks(): void;
  readDirectoryFiles(
    path: string,
    suffix: string,
    bytesMax: number,
    filesMax: number,
  ): Promise<NativeFileEntry[] | undefined>;
  readFile(path: string, bytesMax: number): Promise<Buffer>;
  /** Reads a descriptor that came with the process to its end. */
  readDescriptor(fd: number, bytesMax: number): Promise<Buffer>;
  /** How two directories lie to each other, which need not exist; through links and bind mounts too. */
  relatePlaces(
    one: string,
    other: string,
  ): Promise<{ readonly overlap: boolean; readonly sameFileSystem: boolean }>;
  inspect(directory: string): Promise<NativeInspection>;
  /** Loads the module; changes nothing. `asIs`: without initialising it again, after a failure that has looked. */
  listTokens(
    locator: NativeTokenLocator & { readonly asIs?: boolean | undefined },
  ): Promise<NativeTokenInfo[]>;
  initialiseToken(
    plan: NativeTokenLocator & {
      /** The label of the initialised token that is to be erased. */
      readonly confirmation?: string | undefined;
      readonly soPin: Uint8Array;
      readonly pin: Uint8Array;
    },
  ): Promise<NativeTokenInfo>;
  /** Both PEM; the caller wipes the key. EC P-256, self-signed, for a TLS server with these addresses and host names. */
  temporaryCertificate(
    names: readonly string[],
    lifetimeSeconds: number,
  ): { readonly key: Buffer; readonly certificate: Buffer };
  parsePkcs11Uri(uri: string): Omit<NativeTokenLocator, 'initArguments' | 'timeLimitMs'> & {
    readonly id?: string | undefined;
    readonly pinSource?: string | undefined;
  };
}
