// The TLS credential: kept in the vault, written by the core to where a web server reads it.
import { types } from 'node:util';

import { copyBytes } from '../base/arguments.js';
import { PersistenceError } from '../errors.js';
import type { KeysParts } from './keys.js';
import type { NativeStore } from '../native-binding.js';
import { toPersistenceError } from '../native/errors.js';
import { readOptions, readPath } from '../options/readers.js';

/** PEM (RFC 7468), as text or bytes; bytes can be wiped by their owner. */
export type Pem = string | Uint8Array;

export interface TlsCredential {
  /** One private key that is not encrypted; at most 16,384 bytes. */
  readonly key: Pem;
  /** The server's certificate; at most 262,144 bytes. */
  readonly certificate: Pem;
  /** The certificates between it and the root, in order; may be empty. At most 262,144 bytes. */
  readonly chain?: Pem;
}

/** What of a credential is public. */
export interface TlsCertificate {
  readonly certificate: string;
  /** Empty where there is none. */
  readonly chain: string;
}

export interface ExtractTlsOptions {
  /** Is there, belongs to this user or to root, and nobody else may write to it. */
  readonly directory: string;
}

const credentialNames = ['key', 'certificate', 'chain'];
const extractNames = ['directory'] as const;

/** A copy of ours, as the call was made. */
function bytesOf(pem: unknown, name: string): Uint8Array {
  if (typeof pem === 'string') return Buffer.from(pem, 'utf8');
  if (types.isUint8Array(pem)) return copyBytes(pem, name);
  throw new PersistenceError('invalid-option', `${name} must be PEM: a string or a Uint8Array`);
}

/**
 * The TLS credential of a store.
 *
 * Every method rejects with a `PersistenceError`: `invalid-argument`, `invalid-option`, `closed`; the changing ones also
 * what a write of the vault says.
 */
export class Tls {
  readonly #parts: KeysParts;

  /** @internal */
  constructor(parts: KeysParts) {
    this.#parts = parts;
  }

  /**
   * Stores a credential in place of the former one, as durable as a `witnessed` write. Kept byte for byte.
   *
   * Rejects with `invalid-argument` when a part cannot be read, and `certificate-mismatch` when the certificate is not
   * that of the key.
   */
  async set(credential: TlsCredential): Promise<void> {
    const { key, certificate, chain = '' } = readOptions(credential, credentialNames, 'the credential');
    const keyBytes = bytesOf(key, 'key');
    try {
      const [own, further] = [bytesOf(certificate, 'certificate'), bytesOf(chain, 'chain')];
      await Tls.#of(this).#change((native) => native.tls.set(keyBytes, own, further));
    } finally {
      keyBytes.fill(0);
    }
  }

  /** Certificate and chain as they were given, or `undefined`. The key stays where it is. */
  async certificate(): Promise<TlsCertificate | undefined> {
    const found = await Tls.#of(this).#parts.task((native) => native.tls.certificate());
    if (found === undefined) return undefined;
    return Object.freeze({ certificate: found.certificate.toString(), chain: found.chain.toString() });
  }

  /**
   * Writes `tls.key`, `tls.crt` and `chain.pem` into a directory, each with mode 0600; an empty chain removes `chain.pem`.
   * The new files are durable beside the former ones before the first is renamed over its own; key and certificate are
   * renamed last, one right after the other, and a rename that fails takes those before it back. Only a process that is
   * killed between these two renames leaves a key beside a foreign certificate; calling this again mends it.
   *
   * Rejects with `tls-not-set`, `not-found`, `unsafe-path`, `permission-denied`, `no-space`, `io-error`; the former files
   * stay.
   */
  async extract(options: ExtractTlsOptions): Promise<void> {
    const directory = readPath(readOptions(options, extractNames).directory, 'directory');
    await Tls.#of(this).#parts.task((native) => native.tls.extract(directory));
  }

  /** Removes the credential from the vault; files that were extracted stay. */
  async remove(): Promise<void> {
    await Tls.#of(this).#change((native) => native.tls.remove());
  }

  #change<T>(work: (native: NativeStore) => Promise<T>): Promise<T> {
    try {
      this.#parts.validator.validateBeforeWrite();
    } catch (error) {
      return Promise.reject(toPersistenceError(error));
    }
    return this.#parts.task(work);
  }

  /** The receiver of a method, which a caller may have taken off its object. */
  static #of(value: unknown): Tls {
    if (typeof value === 'object' && value !== null && #parts in value) return value;
    throw new PersistenceError(
      'invalid-argument',
      'the method was called on something that is not the TLS part',
    );
  }
}
