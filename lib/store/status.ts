// What is told of a store. None of it is secret.
import type { LicenseProviders } from '../manifests/types.js';
import type { NativeKeySlot, NativeStatus, NativeVerifyReport, NativeWitness } from '../native-binding.js';
import type { KeptNotice } from './notices.js';
import type { SecretStoreOptions } from '../options/secret-store.js';
import type { TokenStatus } from '../protectors/pkcs11.js';
import {
  passwordSlots,
  protectorOf,
  type KeyProtectorType,
  type SecurityLevel,
} from '../protectors/registry.js';
import type { TpmStatus } from '../protectors/tpm.js';

/** A witness: what remembers a checkpoint of the vault's history from outside it. */
export interface WitnessStatus {
  readonly name: 'tamper-file' | 'secret-store' | 'tpm-counter' | 'token';
  readonly generation: number;
  /** SHA-256, hexadecimal. */
  readonly head: string;
  /** Commits that this witness has not seen; they could be rewound without its noticing. */
  readonly lagGenerations: number;
  /** Wall time of its last move in this opening, milliseconds since 1970. */
  readonly movedMs: number | undefined;
  /** The last attempt to move it failed. */
  readonly failing: boolean;
}

/** The newest auto-restore of a store. */
export interface RestoreStatus {
  /** Until it is, the store serves nobody. */
  readonly completed: boolean;
  /** Of the commit that gave the store its new key-encryption key. */
  readonly generation: number;
  /** Of that commit, milliseconds since 1970. */
  readonly timeMs: number;
  readonly completedMs: number | undefined;
  /** Why the token did not open the store: a reason. */
  readonly cause: string;
  /** Serial number of the token before. */
  readonly formerSerial: string;
  /** How many managed keys were lost with it. */
  readonly keysDeactivated: number;
}

/** One way to open the data encryption key. */
export interface KeySlot {
  /** Never used again in a store. */
  readonly id: number;
  readonly type: KeyProtectorType | 'password';
  /** Whose password it is, where that was said. */
  readonly label: string | undefined;
}

/** The data encryption key of a store. */
export interface DekStatus {
  /** 1 at COLDSTART, one more with each rotation. Sealed fields name it. */
  readonly keyId: number;
  /** `pending`: a rotation was interrupted; the next `rotateDek` completes it. */
  readonly rotation: 'complete' | 'pending';
  /** How many former keys are kept for opening fields that were sealed under them; at most 8. */
  readonly formerFieldKeys: number;
}

/** The file system that the directory is on. */
export interface FileSystemStatus {
  /** `ext4`, `nfs`, `fuse`; the number of statfs(2), hexadecimal, for one that is not known. */
  readonly name: string;
  /**
   * - `network`: other machines can write to it, and a lock may not reach them. Not supported.
   * - `fuse`: a program decides what a lock and a sync mean. Not supported.
   * - `memory`: a restart of the machine empties it.
   */
  readonly type: 'local' | 'network' | 'memory' | 'fuse';
}

/** The state of an open or closed store. */
export interface PersistenceStatus {
  readonly state: 'open' | 'closed';
  readonly startup: 'COLDSTART' | 'WARMSTART';
  readonly readOnly: boolean;
  readonly instance: string;
  /** 16 bytes, hexadecimal. */
  readonly storageId: string;
  /** The number of the newest commit. */
  readonly generation: number;
  /** The head of the history there: SHA-256, hexadecimal. */
  readonly head: string;
  /** Wall time of the newest commit, milliseconds since 1970; 0: unknown. */
  readonly newestMs: number;
  readonly witnesses: readonly WitnessStatus[];
  /**
   * What could be rewound unnoticed now: commits, and seconds since the slowest witness moved. `waitingMs` is how long the
   * oldest of these commits has waited. Beyond `maxMs`, fixed at COLDSTART, writes are refused as `witness-unavailable`.
   */
  readonly window: {
    readonly generations: number;
    readonly seconds: number | undefined;
    readonly waitingMs: number;
    readonly maxMs: number;
  };
  /** The checkpoint that a vendor's permit must name now. */
  readonly permitCheckpoint: { readonly generation: number; readonly head: string };
  readonly protector: KeyProtectorType;
  readonly securityLevel: SecurityLevel;
  readonly tpm: TpmStatus | undefined;
  readonly token: TokenStatus | undefined;
  readonly restore: RestoreStatus | undefined;
  /** What opens the data encryption key: the key protector, and the backup passwords. */
  readonly keySlots: readonly KeySlot[];
  /** Whether there is a backup password. Without one the data are lost with the key protector. */
  readonly recoverable: boolean;
  /**
   * Whether this directory is the one in which the store was last opened for writing. `false` for a copy, and after a
   * restore of the files or a move to another file system until the store is opened for writing there.
   */
  readonly lastWrittenHere: boolean;
  /** Undefined where the system does not say. */
  readonly fileSystem: FileSystemStatus | undefined;
  /**
   * When a backup password was last proven by `verifyPassword`, milliseconds since 1970; forgotten when one is changed or
   * removed.
   */
  readonly passwordVerifiedMs: number | undefined;
  /** Who may accept an older state with `reanchor`. */
  readonly rewindableBy: 'vendor' | 'password' | 'no-one';
  /** `unproven` after a lost root until `reanchor`: the data are back, their freshness is not proven. */
  readonly continuity: 'proven' | 'unproven';
  /** TIME_TAMPER: its wall time, its age, and the policy fixed at COLDSTART. */
  readonly time: {
    readonly stampMs: number;
    readonly ageMs: number;
    readonly maxAgeMs: number | 'off';
    readonly clockToleranceMs: number;
    /** The stamp was older than `maxAgeMs` at this start, and the TPM's counter proved the state current. */
    readonly excused: boolean;
  };
  /** What this start found and mended. */
  readonly repaired: {
    readonly tail: boolean;
    readonly tamperFile: boolean;
    readonly persistenceFile: boolean;
    readonly secret: boolean;
    readonly clock: boolean;
  };
  /** The data encryption key, under which everything is sealed. */
  readonly dek: DekStatus;
  /** A write or sync of the log failed: no further write is accepted. */
  readonly poisoned: boolean;
  /** Records, the vault's own included. */
  readonly records: number;
  readonly logBytes: number;
  /** What the log would have after compaction. */
  readonly liveBytes: number;
  /** Key protector `software` and `pkcs11`. */
  readonly secretStore: SecretStoreOptions | undefined;
  /**
   * Whether the SecretStore of type `file` is on the file system of the store: a snapshot or an image takes both back
   * together, which no witness notices. Undefined where it is not known, and for the other types.
   */
  readonly secretStoreSharesFileSystem: boolean | undefined;
  /** What the last starts found and mended, until `acknowledgeNotices()`: at most 16, oldest first. */
  readonly notices: readonly KeptNotice[];
  readonly manifests: LicenseProviders | undefined;
  /** How often a write was really validated; see PersistenceValidator. */
  readonly validations: number;
  /** The library that encrypts, with its version. */
  readonly library: string;
}

/** What `verify` found: everything read again from disk and witnesses. */
export interface VerifyReport {
  /** The snapshot that the log starts with: what is left of the commits up to there. */
  readonly snapshot: { readonly generation: number; readonly head: string };
  readonly newest: { readonly generation: number; readonly head: string };
  /** Commits after the snapshot. */
  readonly commits: number;
  /** Records, the vault's own included. */
  readonly records: number;
  readonly auditEntries: number;
  readonly witnesses: readonly WitnessStatus[];
}

/** One entry of the audit log. */
export interface AuditEntry {
  /** The sequence: each follows the one before by exactly one. */
  readonly generation: number;
  /** Wall time, milliseconds since 1970. */
  readonly timeMs: number;
  /**
   * `data`, `open`, `close`, `time`, `persistence`, `anchor`, `reanchor`, `recover`, `reseal`, `tamper-file-anew`, `kek`,
   * `restore` and the steps around it: `restore-detected`, `restore-password`, `restore-token`, `restore-keys`,
   * `restore-tls`, `restore-hook`, `restore-completed`.
   */
  readonly operation: string;
  /** How many records the commit changed. */
  readonly operations: number;
  /** The head of the history there: SHA-256, hexadecimal. */
  readonly head: string;
}

/** What the core does not know. */
export interface StatusExtras {
  readonly state: PersistenceStatus['state'];
  readonly readOnly: boolean;
  readonly manifests: LicenseProviders | undefined;
  readonly validations: number;
  readonly library: string;
  readonly nowMs: number;
  readonly sharesFileSystem: boolean | undefined;
  readonly notices: readonly KeptNotice[];
}

function toWitness(witness: NativeWitness): WitnessStatus {
  return Object.freeze({
    name: witness.name as WitnessStatus['name'],
    generation: witness.generation,
    head: witness.head,
    lagGenerations: witness.lagGenerations,
    movedMs: witness.movedMs === 0 ? undefined : witness.movedMs,
    failing: witness.failing,
  });
}

function windowOf(
  witnesses: readonly WitnessStatus[],
  { waitingMs, windowMaxMs: maxMs }: NativeStatus,
  nowMs: number,
): PersistenceStatus['window'] {
  const generations = Math.max(0, ...witnesses.map((witness) => witness.lagGenerations));
  if (generations === 0) return Object.freeze({ generations, seconds: 0, waitingMs, maxMs });
  const moved = witnesses.flatMap(({ movedMs }) => (movedMs === undefined ? [] : [movedMs]));
  const seconds =
    moved.length < witnesses.length ? undefined : Math.max(0, (nowMs - Math.min(...moved)) / 1000);
  return Object.freeze({ generations, seconds, waitingMs, maxMs });
}

export function toKeySlots(slots: readonly NativeKeySlot[]): readonly KeySlot[] {
  return Object.freeze(slots.map((slot) => Object.freeze({ ...slot })));
}

export function hasPassword(slots: readonly { readonly type: string }[]): boolean {
  return passwordSlots(slots).length > 0;
}

/** What a kind of key protector makes of it. */
interface ProtectorPart {
  readonly securityLevel: SecurityLevel;
  readonly tpm?: TpmStatus | undefined;
  readonly token?: TokenStatus | undefined;
}

export function toStatus(native: NativeStatus, extras: StatusExtras): PersistenceStatus {
  const witnesses = Object.freeze(native.witnesses.map(toWitness));
  const protector = protectorOf(native.protector).status(native, extras.nowMs) as ProtectorPart;
  return Object.freeze({
    state: extras.state,
    startup: native.startup,
    readOnly: extras.readOnly,
    instance: native.instance,
    storageId: native.storageId,
    generation: native.newest.generation,
    head: native.newest.head,
    newestMs: native.newestMs,
    witnesses,
    window: windowOf(witnesses, native, extras.nowMs),
    permitCheckpoint: Object.freeze(native.permitCheckpoint),
    protector: native.protector,
    securityLevel: protector.securityLevel,
    tpm: protector.tpm,
    token: protector.token,
    restore:
      native.restore &&
      Object.freeze({
        ...native.restore,
        completedMs: native.restore.completedMs === 0 ? undefined : native.restore.completedMs,
      }),
    keySlots: toKeySlots(native.keySlots),
    recoverable: hasPassword(native.keySlots),
    lastWrittenHere: native.lastWrittenHere,
    fileSystem: native.fileSystem && Object.freeze(native.fileSystem),
    passwordVerifiedMs: native.passwordVerifiedMs === 0 ? undefined : native.passwordVerifiedMs,
    rewindableBy: native.rewindableByVendor ? 'vendor' : hasPassword(native.keySlots) ? 'password' : 'no-one',
    continuity: native.continuityUnproven ? 'unproven' : 'proven',
    time: Object.freeze({
      stampMs: native.timeTamperMs,
      ageMs: native.ageMs,
      maxAgeMs: native.maxAgeMs ?? 'off',
      clockToleranceMs: native.clockToleranceMs,
      excused: native.ageExcused,
    }),
    repaired: Object.freeze({
      tail: native.tailRepaired,
      tamperFile: native.tamperFileRecreated,
      persistenceFile: native.persistenceRepaired,
      secret: native.secretRepaired,
      clock: native.clockCorrected,
    }),
    dek: Object.freeze({
      keyId: native.keyId,
      rotation: native.rotationPending ? 'pending' : 'complete',
      formerFieldKeys: native.formerFieldKeys,
    }),
    poisoned: native.poisoned,
    records: native.records,
    logBytes: native.logBytes,
    liveBytes: native.liveBytes,
    secretStore: native.secretStore && Object.freeze(native.secretStore),
    secretStoreSharesFileSystem: extras.sharesFileSystem,
    notices: extras.notices,
    manifests: extras.manifests,
    validations: extras.validations,
    library: extras.library,
  } satisfies PersistenceStatus);
}

export function toVerifyReport(native: NativeVerifyReport): VerifyReport {
  return Object.freeze({
    snapshot: Object.freeze(native.snapshot),
    newest: Object.freeze(native.newest),
    commits: native.commits,
    records: native.records,
    auditEntries: native.auditEntries,
    witnesses: Object.freeze(native.witnesses.map(toWitness)),
  });
}
