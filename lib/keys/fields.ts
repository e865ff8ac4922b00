// Sealed fields of the application's own database. Nothing is stored: what seal() gives is for a column of the caller's.
import { requireBytes, requireRecord } from '../base/arguments.js';
import { PersistenceError } from '../errors.js';
import type { NativeFields, NativeStore } from '../native-binding.js';
import { toPersistenceError } from '../native/errors.js';

/** What a field is bound to. */
export interface FieldOptions {
  /**
   * Where the field belongs, such as `users/4711/iban`: 0 to 1,024 bytes; a string stands for its UTF-8 bytes. Not
   * stored: it must be given again to open the field, and a field that was moved elsewhere does not open.
   */
  readonly context: string | Uint8Array;
}

/** Bytes that {@link Fields.seal} adds: version, key id, salt, counter and tag. */
export const fieldOverheadBytes = 41;

/** The memory for an answer; a wrong size is found by the core. */
function memory(bytes: Uint8Array, change: number): Buffer {
  return Buffer.allocUnsafe(Math.max(0, bytes.length + change));
}

function readContext(options: unknown): unknown {
  requireRecord(options);
  for (const name of Object.keys(options)) {
    if (name !== 'context') throw new PersistenceError('invalid-option', `there is no option '${name}'`);
  }
  return (options as { context?: unknown }).context;
}

/**
 * Seals fields by AES-256-GCM (NIST SP 800-38D) under a key of the store, see docs/format.md. Synchronous, from memory;
 * about a microsecond for a short field. Also in a store that was opened for reading.
 *
 * Every method throws a `PersistenceError`: `invalid-argument`, `invalid-option`, `closed`, `not-open`.
 */
export class Fields {
  readonly #native: NativeFields;

  /** @internal */
  constructor(native: NativeStore) {
    this.#native = native.fields;
  }

  /**
   * Seals 0 to 1,048,576 bytes. The same plaintext gives other bytes at each call. Any number of fields may be sealed, by
   * any number of processes and after any restart.
   * @returns the plaintext's bytes and {@link fieldOverheadBytes} more
   * @throws `invalid-argument` names a limit that is passed
   */
  seal(plaintext: Uint8Array, options: FieldOptions): Buffer {
    try {
      const context = readContext(options);
      requireBytes(plaintext, 'the plaintext');
      const sealed = memory(plaintext, fieldOverheadBytes);
      this.#native.seal(plaintext, context, sealed);
      return sealed;
    } catch (error) {
      throw toPersistenceError(error);
    }
  }

  /**
   * Opens what {@link Fields.seal} of this store sealed under the same context.
   * @throws `field-not-authentic` for another context, another store and anything changed, cut or foreign, without
   * telling which; `field-key-unknown` for a key id that the store does not have
   */
  open(sealed: Uint8Array, options: FieldOptions): Buffer {
    try {
      const context = readContext(options);
      requireBytes(sealed, 'the sealed field');
      const plaintext = memory(sealed, -fieldOverheadBytes);
      this.#native.open(sealed, context, plaintext);
      return plaintext;
    } catch (error) {
      throw toPersistenceError(error);
    }
  }

  /**
   * The id of the key that sealed the field, as the field states it; nothing is opened.
   * @throws `field-not-authentic` when it is no sealed field at all
   */
  keyId(sealed: Uint8Array): number {
    try {
      requireBytes(sealed, 'the sealed field');
      return this.#native.keyId(sealed);
    } catch (error) {
      throw toPersistenceError(error);
    }
  }

  /**
   * Whether the field should be opened and sealed again, because the store's key was changed since.
   * @throws `field-not-authentic`; `field-key-unknown`
   */
  needsRotation(sealed: Uint8Array): boolean {
    try {
      requireBytes(sealed, 'the sealed field');
      return this.#native.needsRotation(sealed);
    } catch (error) {
      throw toPersistenceError(error);
    }
  }
}
