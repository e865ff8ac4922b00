// The calls of the compiled core; the objects that they take and answer are in native-border.ts. Sizes, times and
// generations are numbers, exact up to 2^53 - 1.
// A method throws, or rejects with, a NativeError, which lib/native/errors.ts turns into a PersistenceError.
import type {
  NativeAuditEntry,
  NativeError,
  NativeInspection,
  NativeLeftover,
  NativeManagedKey,
  NativeParsedUri,
  NativePlaceRelation,
  NativeRotationOptions,
  NativeStartPlan,
  NativeStartReport,
  NativeStartSecrets,
  NativeStatus,
  NativeStoreOptions,
  NativeTemporaryCertificate,
  NativeTlsCertificate,
  NativeTokenInfo,
  NativeTokenListing,
  NativeTokenPlan,
  NativeVerifyReport,
} from './native-border.js';

export type * from './native-border.js';

/** 0: `journal`, 1: `witnessed`. */
export type NativeDurability = 0 | 1;

export type NativeFileEntry =
  | { readonly name: string; readonly content: Buffer }
  | {
      readonly name: string;
      readonly error: { readonly code: string; readonly reason: string; readonly message: string };
    };

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

/**
 * A start, by its plan. Both calls run the steps as one task, until the plan is complete or the caller is needed; what is
 * then to begin is in the report. Here and in the other parts a promise is a task of the store.
 */
export interface NativeStart {
  open(
    plan: NativeStartPlan,
    password?: Uint8Array,
    permit?: Uint8Array,
    progress?: NativeProgress,
  ): Promise<NativeStartReport>;
  proceed(secrets?: NativeStartSecrets, progress?: NativeProgress): Promise<NativeStartReport>;
}

/** The administrative operations. */
export interface NativeOperations {
  reanchor(password: Uint8Array | undefined, permit: Uint8Array | undefined): Promise<void>;
  recover(password: Uint8Array | undefined, permit: Uint8Array | undefined): Promise<void>;
  reseal(password: Uint8Array | undefined, permit: Uint8Array | undefined): Promise<void>;
  validateRestore(password: Uint8Array | undefined, permit: Uint8Array | undefined): Promise<void>;
  /** The progress is the number of the step that begins, and how many there are. */
  restore(progress?: NativeProgress): Promise<void>;
  noteRestore(step: 'tls' | 'hook'): Promise<void>;
  completeRestore(): Promise<void>;
  /** As of restore(). */
  rotateKek(progress?: NativeProgress): Promise<void>;
  /** The progress counts records. */
  rotateDek(
    password: Uint8Array | undefined,
    options: NativeRotationOptions,
    progress?: NativeProgress,
  ): Promise<void>;
  /** What was not found, and so is left behind. */
  decommission(password: Uint8Array | undefined, permit: Uint8Array | undefined): Promise<string[]>;
  findLeftovers(): Promise<NativeLeftover[]>;
  removeLeftovers(): Promise<void>;
}

/** What is done to an open store apart from reads and writes of its vault. */
export interface NativeMaintenance {
  /** From now on every call of the vault answers `closed`; tasks still run. */
  shut(): void;
  anchor(): Promise<void>;
  refreshTimeTamper(): Promise<void>;
  compact(): Promise<void>;
  relocate(): Promise<void>;
  setSystemRecord(name: string, value: Uint8Array): Promise<void>;
  getSystemRecord(name: string): Promise<Buffer | undefined>;
  verify(progress?: NativeProgress): Promise<NativeVerifyReport>;
  auditLog(countMax: number): Promise<NativeAuditEntry[]>;
}

/** The backup passwords. A number is the id of a key slot. */
export interface NativePasswords {
  change(current: Uint8Array, next: Uint8Array, label: string | undefined): Promise<number>;
  add(current: Uint8Array, next: Uint8Array, label: string | undefined): Promise<number>;
  remove(staying: Uint8Array, slotId: number): Promise<void>;
  verify(password: Uint8Array): Promise<number>;
}

/** Sealed fields. The functions need no receiver. */
export interface NativeFields {
  /** `out` has 41 bytes more than the plaintext. */
  seal(plaintext: unknown, context: unknown, out: Buffer): void;
  /** `out` has 41 bytes less than the sealed field. */
  open(sealed: unknown, context: unknown, out: Buffer): void;
  keyId(sealed: unknown): number;
  needsRotation(sealed: unknown): boolean;
}

/** The managed keys. */
export interface NativeKeys {
  generate(id: string, algorithm: string, location: string): Promise<NativeManagedKey>;
  attachChain(id: string, pem: string): Promise<void>;
  deactivate(id: string, reason: string): Promise<void>;
  reactivate(id: string): Promise<void>;
  remove(id: string): Promise<void>;
  find(id: string): NativeManagedKey;
  list(): NativeManagedKey[];
  /** Both are no tasks of the store: any number run side by side. */
  signMessage(id: string, message: unknown, format: 'der' | 'raw'): Promise<Buffer>;
  signDigest(id: string, digest: unknown, format: 'der' | 'raw'): Promise<Buffer>;
}

/** The TLS credential. */
export interface NativeTls {
  set(key: Uint8Array, certificate: Uint8Array, chain: Uint8Array): Promise<void>;
  certificate(): Promise<NativeTlsCertificate | undefined>;
  remove(): Promise<void>;
  extract(directory: string): Promise<void>;
}

/**
 * One store: the calls of its vault, and its parts, each of which is made at each access. Its promises run on libuv's pool,
 * one at a time; the rest answers at once.
 */
export interface NativeStore {
  readonly start: NativeStart;
  readonly operations: NativeOperations;
  readonly maintenance: NativeMaintenance;
  readonly passwords: NativePasswords;
  readonly keys: NativeKeys;
  readonly tls: NativeTls;
  readonly fields: NativeFields;

  deliver(callback: NativeDelivery): void;
  status(): NativeStatus | undefined;
  /** The task that runs rejects with `aborted`, unless it has begun to write. */
  cancel(): void;
  close(callback: NativeDelivery): Promise<void>;
  abandon(): Promise<void>;

  /** The length of what was decrypted into the slab, `getAbsent`, `getSlabFull`, or a Buffer for a large value. */
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
  /** The layout, the answer and the flags are in native/border.mjs. */
  scan(
    into: Buffer,
    lower: Uint8Array | undefined,
    upper: Uint8Array | undefined,
    countMax: number,
    flags: number,
  ): number;
  setSlab(slab: Buffer): void;
  validateBeforeWrite(): void;
  /** NaN while a witness says that the store is not the one it last saw. */
  bootTimeMs(): number;
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
  relatePlaces(one: string, other: string): Promise<NativePlaceRelation>;
  inspect(directory: string): Promise<NativeInspection>;
  /** Loads the module; changes nothing. */
  listTokens(listing: NativeTokenListing): Promise<NativeTokenInfo[]>;
  initialiseToken(plan: NativeTokenPlan): Promise<NativeTokenInfo>;
  /** EC P-256, self-signed, for a TLS server with these addresses and host names. */
  temporaryCertificate(names: readonly string[], lifetimeSeconds: number): NativeTemporaryCertificate;
  parsePkcs11Uri(uri: string): NativeParsedUri;
}
