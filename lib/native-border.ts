// Types and constants of what crosses the border to the core
// Generated from native/border.mjs by scripts/generate-border.mjs; do not edit.
import type { Reason } from './error-table.js';

// --- Limits ---

export const keyBytesMax = 1_024;
export const batchOperationsMax = 65_536;
/** Of a backup password or PIN. */
export const passwordBytesMax = 4_096;
export const passwordLabelBytesMax = 64;
export const pcrHighest = 23;
export const anchorsPerDayMax = 86_400;
/** For each call into a PKCS#11 module. */
export const tokenTimeLimitMsMax = 3_600_000;

// --- Layouts and answers of the hot path: native/border.mjs has their meaning ---

export const deliveryMax = 1_024;
export const deliveryNumbersAt = 8_192;
export const deliveryFlagsAt = 16_384;
export const deliveryBytes = 17_408;
export const deliveryFailed = 1;
export const deliverySwapped = 2;
export const deliveryOfWitnessed = 4;
export const getAbsent = -1;
export const getSlabFull = -2;
export const slabAlignment = 8;
export const scanMoreFollows = 1_073_741_824;
export const scanAsciiBit = 2_147_483_648;
export const scanRecordHeaderBytes = 8;
export const scanLowerInclusive = 1;
export const scanUpperInclusive = 2;
export const scanReverse = 4;
export const scanWithValues = 8;

/** The steps of restore() and rotateKek(), in their order; those of rotateDek() count records and have no names. */
export const operationSteps = ['begin', 'kek', 'witness', 'commit', 'file', 'settle', 'strays'] as const;

// --- Results ---

/** How an error crosses from the core. */
export interface NativeError {
  readonly reason: Reason;
  readonly message: string;
  /** errno, or 0. */
  readonly systemError: number;
  readonly committed: boolean;
  readonly outcomeUnknown: boolean;
}

export interface NativeCheckpoint {
  readonly generation: number;
  /** SHA-256, hexadecimal. */
  readonly head: string;
}

export interface NativeWitness extends NativeCheckpoint {
  readonly name: string;
  readonly lagGenerations: number;
  /** 0: not in this opening. */
  readonly movedMs: number;
  readonly failing: boolean;
}

export type NativeSecretStore =
  | { readonly type: 'file'; readonly directory: string }
  | { readonly type: 'secret-service' };

export interface NativeFileSystem {
  /** `ext4`, `nfs`; hexadecimal for one that is not known. */
  readonly name: string;
  readonly type: 'local' | 'network' | 'memory' | 'fuse';
}

/** What the key slot of a TPM says. */
export interface NativeTpmSlot {
  readonly tcti: string;
  readonly pcrs: readonly number[];
  readonly pin: boolean;
}

export interface NativeTpmStatus {
  /** Manufacturer and firmware, as the TPM gives them. */
  readonly description: string;
  readonly tcti: string;
  readonly pcrs: readonly number[];
  readonly pin: boolean;
  readonly counterIndex: number;
  /** Undefined in a store of release 0.1 that was not opened for writing since. */
  readonly extendIndex: number | undefined;
  readonly counter: number;
  readonly firstNumber: number | undefined;
  /** The sealed root is refused beyond this count. */
  readonly sealEpochEnd: number;
  /** By this store, in its whole life. */
  readonly increments: number;
  readonly firstMs: number;
}

/** What the key slot of a token says. */
export interface NativeTokenSlot {
  /** As the caller named it. */
  readonly module: string;
  readonly label: string;
  readonly serial: string;
  readonly kekLabel: string;
  /** CKA_ID, hexadecimal. */
  readonly kekId: string;
  readonly kekType: 'AES-256' | 'RSA-3072';
}

export interface NativeTokenStatus {
  /** As the caller named it. */
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

export interface NativeKeySlot {
  readonly id: number;
  readonly type: 'software' | 'tpm' | 'pkcs11' | 'password' | 'external';
  readonly label: string | undefined;
}

export interface NativeStatus {
  readonly provision: 'provisioning' | 'complete' | 'decommissioning';
  readonly startup: 'COLDSTART' | 'WARMSTART';
  readonly instance: string;
  readonly storageId: string;
  readonly protector: 'software' | 'tpm' | 'pkcs11' | 'external';
  readonly tpm: NativeTpmStatus | undefined;
  readonly token: NativeTokenStatus | undefined;
  readonly restore: NativeRestoreRecord | undefined;
  readonly lastWrittenHere: boolean;
  readonly fileSystem: NativeFileSystem | undefined;
  /** 0: never since a password was changed or removed. */
  readonly passwordVerifiedMs: number;
  readonly newest: NativeCheckpoint;
  /** What a vendor's permit must name. */
  readonly permitCheckpoint: NativeCheckpoint;
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
  readonly tamperFileRecreated: boolean;
  readonly persistenceRepaired: boolean;
  readonly secretRepaired: boolean;
  readonly clockCorrected: boolean;
  /** At COLDSTART. */
  readonly clockUnsynchronised: boolean;
  /** TIME_TAMPER was older than the limit, and the TPM's counter confirmed the state. */
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

/** How far a start has come. */
export interface NativeStartReport {
  /** What begins when the start continues: the documents' steps, and in small letters where the caller is always needed. Empty: the plan is complete. */
  readonly steps: readonly ('DetermineStartupState' | 'SetupPersistenceFiles' | 'LoadLicenseProviderManifests' | 'InitializeColdstart' | 'InitializeWarmstart' | 'LoadVaultAndValidate' | 'ValidateVaultFilename' | 'CreateAndLoadVault' | 'InitializeStorageIdentifier' | 'ValidateVaultIntegrity' | 'ValidateTimeTamperAge' | 'UpdateTimeTamper' | 'secrets' | 'root-refused' | 'restore-password' | 'restore-without-password' | 'restore-witnesses')[];
  readonly startup: 'COLDSTART' | 'WARMSTART';
  /** The vault was read. */
  readonly loaded: boolean;
  /** The store is open. */
  readonly opened: boolean;
  /** At `root-refused`, and where an inspection ended. */
  readonly refusal: NativeError | undefined;
}

export interface NativeVerifyReport {
  readonly snapshot: NativeCheckpoint;
  readonly newest: NativeCheckpoint;
  readonly commits: number;
  readonly records: number;
  readonly auditEntries: number;
  readonly witnesses: readonly NativeWitness[];
}

export interface NativeAuditEntry {
  readonly generation: number;
  readonly timeMs: number;
  readonly operation: string;
  readonly operations: number;
  /** SHA-256, hexadecimal. */
  readonly head: string;
}

/** What persistence.bin says of itself, unauthenticated. */
export interface NativeInspection {
  readonly provision: 'provisioning' | 'complete' | 'decommissioning';
  readonly instance: string;
  readonly storageId: string;
  readonly keySlots: readonly NativeKeySlot[];
  readonly protector: 'software' | 'tpm' | 'pkcs11' | 'external';
  readonly token: NativeTokenSlot | undefined;
  readonly tpm: NativeTpmSlot | undefined;
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

export interface NativePinLimits {
  readonly min: number;
  readonly max: number;
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
  readonly pinBytes: NativePinLimits | undefined;
}

/** What a PKCS#11 URI names. */
export interface NativeParsedUri {
  readonly module: string | undefined;
  readonly label: string | undefined;
  readonly serial: string | undefined;
  readonly slotId: number | undefined;
  readonly manufacturer: string | undefined;
  readonly model: string | undefined;
  /** Label of the KEK. */
  readonly object: string | undefined;
  readonly id: string | undefined;
  readonly pinSource: string | undefined;
}

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

/** PEM. */
export interface NativeTlsCertificate {
  readonly certificate: Buffer;
  readonly chain: Buffer;
}

/** PEM; the caller wipes the key. */
export interface NativeTemporaryCertificate {
  readonly key: Buffer;
  readonly certificate: Buffer;
}

export interface NativePlaceRelation {
  readonly overlap: boolean;
  readonly sameFileSystem: boolean;
}

// --- Options ---

/** A function that the core asks for bytes. It calls `settle` once, whenever it has an answer, and never throws. */
export type NativeByteCall = (
  input: Uint8Array,
  context: Uint8Array,
  settle: (bytes: Uint8Array | undefined, reason?: Reason, detail?: string) => void,
) => void;

export interface NativeKdf {
  readonly memoryKiB?: number | undefined;
  readonly passes?: number | undefined;
  readonly lanes?: number | undefined;
}

export interface NativeSoftwareProtector {
  readonly type: 'software';
}

export interface NativeTpmProtector {
  readonly type: 'tpm';
  readonly tcti?: string | undefined;
  readonly pcrs?: readonly number[] | undefined;
  /** Copied. */
  readonly pin?: Uint8Array | undefined;
  readonly anchorsPerDay?: number | undefined;
}

/** The token by its parts; what is undefined is left open. */
export interface NativePkcs11Protector {
  readonly type: 'pkcs11';
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
  readonly anotherToken?: boolean | undefined;
  /** Copied. */
  readonly pin?: Uint8Array | undefined;
}

export interface NativeExternalProtector {
  readonly type: 'external';
  readonly wrap: NativeByteCall;
  readonly unwrap: NativeByteCall;
  readonly timeLimitMs?: number | undefined;
}

export type NativeProtector = NativeSoftwareProtector | NativeTpmProtector | NativePkcs11Protector | NativeExternalProtector;

export interface NativeStoreOptions {
  readonly directory: string;
  /** Empty: whatever the store has; COLDSTART needs a name. */
  readonly instance: string;
  readonly protector?: NativeProtector | undefined;
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
  /** A hardware root without a password slot is asked for in so many words. */
  readonly withoutRecovery?: boolean | undefined;
  readonly kdf?: NativeKdf | undefined;
  readonly witnessIntervalMs?: number | undefined;
  readonly tamperCapacity?: number | undefined;
  readonly reserveBytes?: number | undefined;
  readonly compactionBytesMin?: number | undefined;
  /** The build for tests only: raises SIGKILL before this step of a restore or rotation. */
  readonly killBeforeStep?: string | undefined;
  /** The build for tests only. */
  readonly clock?: object | undefined;
}

export interface NativeStartPlan {
  readonly purpose: 'open' | 'reanchor' | 'recover' | 'reseal' | 'decommission' | 'restore' | 'inspect';
  /** Stops at `secrets` at a WARMSTART too, once the kind of start is known. */
  readonly asksForSecrets?: boolean | undefined;
  /** Stops at LoadLicenseProviderManifests. */
  readonly hasManifests?: boolean | undefined;
  /** Stops at each of the documents' steps. */
  readonly tellsSteps?: boolean | undefined;
  /** For a decommission: a key protector that cannot be reached is no refusal. */
  readonly allowLeftovers?: boolean | undefined;
}

/** What a start is given at `secrets`. */
export interface NativeStartSecrets {
  readonly protector?: NativeProtector | undefined;
  readonly instance?: string | undefined;
  /** Copied. */
  readonly recoveryPassword?: Uint8Array | undefined;
}

export interface NativeTokenListing {
  readonly module?: string | undefined;
  readonly initArguments?: string | undefined;
  readonly timeLimitMs?: number | undefined;
  /** Without initialising the module again, after a failure that has looked. */
  readonly asIs?: boolean | undefined;
}

export interface NativeTokenPlan {
  readonly module?: string | undefined;
  readonly slotId: number;
  readonly label: string;
  readonly initArguments?: string | undefined;
  readonly timeLimitMs?: number | undefined;
  /** The label of the initialised token that is to be erased. */
  readonly confirmation?: string | undefined;
  readonly soPin: Uint8Array;
  readonly pin: Uint8Array;
}

export interface NativeRotationOptions {
  readonly forgetFieldKeys?: boolean | undefined;
  readonly removeOtherPasswords?: boolean | undefined;
}
