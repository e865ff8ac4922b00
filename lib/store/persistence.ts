// What open() gives: the public face of an open store.
import type { Listener, PersistenceEvents } from '../vault/events.js';
import type { Fields } from '../keys/fields.js';
import type { Keys } from '../keys/keys.js';
import type { PersistenceValidator } from '../vault/validator.js';
import type { PasswordSource } from '../options/secrets.js';
import type { AuditEntry, PersistenceStatus, RestoreStatus, VerifyReport } from './status.js';
import type { Tls } from '../keys/tls.js';
import type { Vault } from '../vault/vault.js';

/** Options of {@link Persistence.verify}. */
export interface VerifyOptions {
  /** Called with bytes done and bytes in all. */
  readonly onProgress?: (done: number, all: number) => void;
  /** Stops the reading: `aborted`. */
  readonly signal?: AbortSignal;
}

/** Options of {@link Persistence.rotateDek}. */
export interface RotateDekOptions {
  /** A backup password; needed where the store has one, except to go on with a rotation that is pending. */
  readonly password?: PasswordSource;
  /**
   * Only `password` can be wrapped around the new key. Needed where the store has several: the others are removed, and
   * may be added again.
   */
  readonly removeOtherPasswords?: boolean;
  /**
   * Lets go of the keys of former rotations, so that fields which were sealed before the last one open no more. Needed
   * once 8 are kept.
   */
  readonly forgetFieldKeys?: boolean;
  /** Called with records done and records in all. */
  readonly onProgress?: (done: number, all: number) => void;
}

/** Options of {@link Persistence.changePassword} and {@link Persistence.addPassword}. */
export interface PasswordOptions {
  /**
   * Whose password it is, for people: at most 64 bytes, no control characters. Stands in persistence.bin in the clear.
   * Without it a changed password keeps its label.
   */
  readonly label?: string;
}

/** An open store. */
export interface Persistence extends AsyncDisposable {
  /** `COLDSTART`: this start made the store. */
  readonly startup: 'COLDSTART' | 'WARMSTART';
  readonly vault: Vault;
  /** The newest auto-restore of this store, if there was one; see {@link restore}. */
  readonly restore: RestoreStatus | undefined;
  /** The guard of every write. */
  readonly validator: PersistenceValidator;
  /** The state without secrets; from memory. After close() the last one. */
  status(): PersistenceStatus;
  /** Subscribes. Of `notice`, those of the start come to the first subscriber. */
  on<Name extends keyof PersistenceEvents>(event: Name, listener: Listener<PersistenceEvents[Name]>): this;
  off<Name extends keyof PersistenceEvents>(event: Name, listener: Listener<PersistenceEvents[Name]>): this;
  /** Moves every witness to the newest commit. Rejects with `witness-not-moved`. */
  anchor(): Promise<void>;
  /** Reads the whole history, the audit log and the witnesses again, and changes nothing. */
  verify(options?: VerifyOptions): Promise<VerifyReport>;
  /** The newest entries of the audit log, oldest first; at most `limit`, default all that are kept. */
  auditLog(limit?: number): Promise<readonly AuditEntry[]>;
  /** Forgets the notices in the status: someone has read them. */
  acknowledgeNotices(): Promise<void>;
  /** Rewrites the log without what was replaced. Runs by itself when it is worthwhile. */
  compact(): Promise<void>;
  /**
   * Writes the place of the SecretStore that this store was opened with into persistence.bin, so that later starts find it
   * without the option `secretStore`. Move the items first: as long as the place that is named holds any of this store, the
   * answer is `invalid-option`. Rejects with `nothing-to-do` where the place is named already.
   */
  relocate(): Promise<void>;
  /**
   * Key protector `pkcs11`: makes a new key-encryption key in the token, wraps the data encryption key with it and
   * removes the old one. Reads and writes go on. Interrupted, it is completed or undone by the next start.
   */
  rotateKek(): Promise<void>;
  /**
   * Makes a new data encryption key and seals everything anew under it. Reads and writes go on. Interrupted, it is
   * `pending` in the status, and the next call goes on with it. Rejects with `password-wrong` and `password-missing`;
   * then nothing was changed.
   */
  rotateDek(options?: RotateDekOptions): Promise<void>;
  /**
   * Replaces a backup password: the key slot that `current` opens. Resolves to the id of the new one. Rejects with
   * `password-wrong`; with `invalid-argument` when another slot has the new password, or when it has less than 12 bytes.
   */
  changePassword(current: PasswordSource, next: PasswordSource, options?: PasswordOptions): Promise<number>;
  /**
   * Gives the store one more backup password, with a key slot of its own; 8 at most. Each does all that a backup password
   * does. Resolves to the id of the slot. Rejects with `password-wrong`; with `password-missing` where the store was made
   * without one, since its authority is fixed at COLDSTART; with `invalid-argument` when a slot has the new
   * password, or when it has less than 12 bytes.
   */
  addPassword(current: PasswordSource, next: PasswordSource, options?: PasswordOptions): Promise<number>;
  /**
   * Removes the key slot of a backup password; `staying` is one of another slot. So the last one cannot be removed. An
   * older persistence.bin with the removed slot is refused, but still yields the key to that password until
   * {@link rotateDek}. Rejects with `password-wrong`, and with `invalid-argument` for a slot that is not another
   * password's.
   */
  removePassword(staying: PasswordSource, slotId: number): Promise<void>;
  /**
   * Resolves to the id of the key slot that this backup password opens; rejects with `password-wrong`. A drill: in a store
   * that is open for writing its date is kept, and shown in the status.
   */
  verifyPassword(password: PasswordSource): Promise<number>;
  /**
   * Finishes what waits, stamps TIME_TAMPER, moves every witness, lets go of the lock. Idempotent. Rejects when a witness
   * could not be moved; the store is closed all the same.
   */
  close(): Promise<void>;
  /** Sealed fields for the application's own database. */
  readonly fields: Fields;
  /** Managed signing keys. */
  readonly keys: Keys;
  /** The TLS credential of the application's web server. */
  readonly tls: Tls;
}
