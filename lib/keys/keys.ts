// Managed keys: signing keys that the store keeps, by the names that the application gives.
import { types } from 'node:util';

import { copyBytes, requireBytes } from '../base/arguments.js';
import { PersistenceError } from '../errors.js';
import type { NativeManagedKey, NativeStore } from '../native-binding.js';
import { fromNative, toPersistenceError } from '../native/errors.js';
import { readOptions } from '../options/readers.js';
import type { PersistenceValidator } from '../vault/validator.js';

/**
 * - `EC-P256`, `EC-P384`: ECDSA with SHA-256 and SHA-384 (FIPS 186-5)
 * - `RSA-3072`: RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes (RFC 8017)
 * - `Ed25519`: RFC 8032
 */
export type KeyAlgorithm = 'EC-P256' | 'EC-P384' | 'RSA-3072' | 'Ed25519';

/** Where the private half lives: sealed in the vault, or in the token of the store. */
export type KeyLocation = 'vault' | 'hsm';

export interface GenerateKeyOptions {
  /** 1 to 64 characters of `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`. */
  readonly id: string;
  readonly algorithm: KeyAlgorithm;
  readonly location: KeyLocation;
}

/** What is signed, and how the signature is written. */
export type SignOptions = (
  | {
      /** The digest of the message: 32 bytes for `EC-P256` and `RSA-3072`, 48 for `EC-P384`; not for `Ed25519`. */
      readonly digest: Uint8Array;
      readonly message?: undefined;
    }
  | {
      /** At most 1,048,576 bytes; hashed by the core as the algorithm says. */
      readonly message: Uint8Array;
      readonly digest?: undefined;
    }
) & {
  /** Of ECDSA: `der` (default), or `raw`, which is r and s one after the other (IEEE P1363). */
  readonly format?: 'der' | 'raw';
};

export interface ManagedKey {
  readonly id: string;
  readonly algorithm: KeyAlgorithm;
  readonly location: KeyLocation;
  readonly state: 'active' | 'deactivated';
  /** Why it was deactivated. */
  readonly reason?: string;
  readonly createdAt: Date;
  /** Whether a certificate chain is attached. */
  readonly hasCertificateChain: boolean;
  /** Serial number of the token that it lives in. */
  readonly tokenSerial?: string;
}

/** What the keys work with; made by OpenStore. */
export interface KeysParts {
  readonly native: NativeStore;
  readonly validator: PersistenceValidator;
  /** One task of the store at a time, in the order of the calls. */
  readonly task: <T>(work: (native: NativeStore) => Promise<T>) => Promise<T>;
}

const generateNames = ['id', 'algorithm', 'location'];
const signNames = ['digest', 'message', 'format'];
const algorithms: readonly string[] = ['EC-P256', 'EC-P384', 'RSA-3072', 'Ed25519'] satisfies KeyAlgorithm[];

function requireString(value: unknown, what: string): asserts value is string {
  if (typeof value !== 'string') throw new PersistenceError('invalid-argument', `${what} must be a string`);
}

/** Text that may be given as bytes. */
function textOf(value: unknown, what: string): string {
  if (types.isUint8Array(value)) return Buffer.from(copyBytes(value, what)).toString('utf8');
  if (typeof value === 'string') return value;
  throw new PersistenceError('invalid-argument', `${what} must be a string or a Uint8Array`);
}

function toManagedKey(key: NativeManagedKey): ManagedKey {
  return Object.freeze({
    id: key.id,
    algorithm: key.algorithm,
    location: key.location,
    state: key.state,
    ...(key.state === 'deactivated' && { reason: key.reason }),
    createdAt: new Date(key.createdMs),
    hasCertificateChain: key.chain !== '',
    ...(key.location === 'hsm' && { tokenSerial: key.tokenSerial }),
  });
}

/**
 * The managed keys of a store. Private halves never reach JavaScript. What changes a key is as durable as a `witnessed`
 * write when its promise resolves.
 *
 * Every method rejects with, or throws, a `PersistenceError`: `invalid-argument`, `invalid-option`, `key-not-found`,
 * `closed`; the changing ones also what a write of the vault says, `read-only` and `witness-not-moved` among it.
 */
export class Keys {
  readonly #parts: KeysParts;
  // Taken once: the core makes an object at each access.
  readonly #keys: NativeStore['keys'];

  /** @internal */
  constructor(parts: KeysParts) {
    this.#parts = parts;
    this.#keys = parts.native.keys;
  }

  /**
   * Makes a key. RSA takes from a tenth of a second to some seconds, on a thread of its own; other tasks of the store
   * wait for it, reads, writes and signatures do not.
   *
   * Rejects with `key-exists`; `unsupported` for `hsm` in a store without a token.
   */
  async generate(options: GenerateKeyOptions): Promise<ManagedKey> {
    const { id, algorithm, location } = readOptions(options, generateNames);
    requireString(id, 'id');
    if (typeof algorithm !== 'string' || !algorithms.includes(algorithm)) {
      throw new PersistenceError('invalid-option', `algorithm must be one of ${algorithms.join(', ')}`);
    }
    if (location !== 'vault' && location !== 'hsm') {
      throw new PersistenceError('invalid-option', "location must be 'vault' or 'hsm'");
    }
    return toManagedKey(
      await Keys.#of(this).#change((native) => native.keys.generate(id, algorithm, location)),
    );
  }

  /**
   * Signs a digest or a message, on libuv's pool; many at once are fine, up to 4,096 or 64 MiB of messages
   * (`queue-full`). The input is copied when the call is made, and the state of the key is that of this moment.
   *
   * Rejects with `key-deactivated`; `key-not-found` also when the private half is lost.
   */
  async sign(id: string, options: SignOptions): Promise<Buffer> {
    const { digest, message, format = 'der' } = readOptions(options, signNames);
    requireString(id, 'id');
    if (format !== 'der' && format !== 'raw') {
      throw new PersistenceError('invalid-option', "format must be 'der' or 'raw'");
    }
    if ((digest === undefined) === (message === undefined)) {
      throw new PersistenceError('invalid-option', 'give either a digest or a message');
    }
    const keys = Keys.#of(this).#keys;
    const input: unknown = digest ?? message;
    requireBytes(input, digest === undefined ? 'message' : 'digest');
    return fromNative(() =>
      digest === undefined ? keys.signMessage(id, input, format) : keys.signDigest(id, input, format),
    );
  }

  /** One key, without its private half, which is not decrypted. */
  get(id: string): ManagedKey {
    return toManagedKey(Keys.#of(this).#find(id));
  }

  /** All keys by id. Nothing private is decrypted. */
  list(): ManagedKey[] {
    try {
      return Keys.#of(this).#keys.list().map(toManagedKey);
    } catch (error) {
      throw toPersistenceError(error);
    }
  }

  /** SubjectPublicKeyInfo, DER (RFC 5280): `createPublicKey({ key, format: 'der', type: 'spki' })` of node:crypto. */
  publicKey(id: string): Buffer {
    return Keys.#of(this).#find(id).publicKey;
  }

  /**
   * Keeps a certificate chain with the key: PEM, the key's own certificate first, at most 262,144 bytes. Replaces the
   * former one; an empty one removes it.
   *
   * Rejects with `certificate-mismatch` when the first certificate was issued for another key.
   */
  async attachCertificateChain(id: string, pem: string | Uint8Array): Promise<void> {
    requireString(id, 'id');
    const text = textOf(pem, 'the chain');
    await Keys.#of(this).#change((native) => native.keys.attachChain(id, text));
  }

  /** The certificate chain as it was attached, PEM, or `undefined`. */
  certificateChain(id: string): string | undefined {
    const { chain } = Keys.#of(this).#find(id);
    return chain === '' ? undefined : chain;
  }

  /**
   * From now on the key refuses to sign: `key-deactivated`, with the reason. A reason has 1 to 1,024 bytes; that of a key
   * that is deactivated already stays.
   */
  async deactivate(id: string, reason: string): Promise<void> {
    requireString(id, 'id');
    requireString(reason, 'reason');
    await Keys.#of(this).#change((native) => native.keys.deactivate(id, reason));
  }

  /**
   * Lets the key sign again, by proof that it answers: it signs a random challenge, which must verify under the public
   * key that was stored when it was made. Rejects with `key-not-proven`, and the key stays deactivated.
   */
  async reactivate(id: string): Promise<void> {
    requireString(id, 'id');
    await Keys.#of(this).#change((native) => native.keys.reactivate(id));
  }

  /** Removes the key with everything that belongs to it, for good. */
  async remove(id: string): Promise<void> {
    requireString(id, 'id');
    await Keys.#of(this).#change((native) => native.keys.remove(id));
  }

  #find(id: string): NativeManagedKey {
    try {
      requireString(id, 'id');
      return this.#keys.find(id);
    } catch (error) {
      throw toPersistenceError(error);
    }
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
  static #of(value: unknown): Keys {
    if (typeof value === 'object' && value !== null && #parts in value) return value;
    throw new PersistenceError('invalid-argument', 'the method was called on something that is not the keys');
  }
}
