// A vendor's permit: leave to reanchor, recover, reseal or decommission one store at one checkpoint.
//
//   magic "SRTOKEN1" (8) | purpose (1) | zero (7) | storage id (16) | generation, little-endian (8) | head (32) |
//   Ed25519 signature of all that (64)
//
// The same bytes as native/store/authority.h.
import type { KeyObject } from 'node:crypto';
import { types } from 'node:util';

import { requireBytes, requireRecord } from '../base/arguments.js';
import { PersistenceError } from '../errors.js';
import { toPersistenceError } from '../native/errors.js';
import { nodeCrypto } from '../base/node-crypto.js';

/** What a permit allows. */
export type PermitPurpose = 'reanchor' | 'recover' | 'decommission' | 'reseal';

/** An Ed25519 public key (RFC 8032): its 32 bytes, PEM (`BEGIN PUBLIC KEY`), or a KeyObject. */
export type VendorPublicKey = Uint8Array | string | KeyObject;

/** A permit: its 136 bytes, or these as base64url (RFC 4648 section 5). */
export type Permit = Uint8Array | string;

export interface SignPermitOptions {
  /** Ed25519: a KeyObject, or PEM (`BEGIN PRIVATE KEY`) as a string or bytes. */
  readonly privateKey: KeyObject | string | Uint8Array;
  readonly purpose: PermitPurpose;
  /** The store's id: 16 bytes, hexadecimal, as the status shows it. */
  readonly storageId: string;
  /** The store's present generation, as the status shows it (`permitCheckpoint`). */
  readonly generation: number;
  /** The head of `permitCheckpoint`: 32 bytes, hexadecimal. In protector `tpm` it moves with the TPM's counter. */
  readonly head: string;
}

const purposes: Readonly<Record<PermitPurpose, number>> = {
  reanchor: 1,
  recover: 2,
  decommission: 3,
  reseal: 4,
};
const statementBytes = 72;
const permitBytes = 136;
const publicKeyBytes = 32;

function invalid(message: string): PersistenceError {
  return new PersistenceError('invalid-argument', message);
}

function hexBytes(text: unknown, bytes: number, name: string): Buffer {
  if (typeof text !== 'string' || text.length !== bytes * 2 || !/^[0-9a-f]*$/i.test(text)) {
    throw invalid(`${name} must be ${bytes} bytes in hexadecimal`);
  }
  return Buffer.from(text, 'hex');
}

function readPrivateKey(key: KeyObject | string | Uint8Array): KeyObject {
  if (types.isUint8Array(key)) requireBytes(key, 'privateKey');
  let read: KeyObject;
  try {
    read = types.isKeyObject(key)
      ? key
      : nodeCrypto().createPrivateKey(typeof key === 'string' ? key : Buffer.from(key));
  } catch (cause) {
    throw new PersistenceError('invalid-argument', 'privateKey cannot be read', { cause });
  }
  if (read.type !== 'private' || read.asymmetricKeyType !== 'ed25519') {
    throw invalid('privateKey must be an Ed25519 private key');
  }
  return read;
}

/**
 * Signs a permit, as the vendor. It serves for one store, at one checkpoint, for one purpose, once.
 * @returns base64url
 * @throws PersistenceError `invalid-argument`
 */
export function signPermit(options: SignPermitOptions): string {
  try {
    return sign(options);
  } catch (error) {
    throw toPersistenceError(error);
  }
}

function sign(options: SignPermitOptions): string {
  requireRecord(options);
  const { privateKey, purpose, storageId, generation, head } = options;
  if (typeof purpose !== 'string' || !Object.hasOwn(purposes, purpose))
    throw invalid("purpose must be 'reanchor', 'recover', 'reseal' or 'decommission'");
  if (!Number.isSafeInteger(generation) || generation < 0) throw invalid('generation must be a whole number');
  const statement = Buffer.alloc(statementBytes);
  statement.write('SRTOKEN1', 'latin1');
  statement[8] = purposes[purpose];
  hexBytes(storageId, 16, 'storageId').copy(statement, 16);
  statement.writeBigUInt64LE(BigInt(generation), 32);
  hexBytes(head, 32, 'head').copy(statement, 40);
  const signature = nodeCrypto().sign(null, statement, readPrivateKey(privateKey));
  return Buffer.concat([statement, signature]).toString('base64url');
}

/**
 * The bytes of a permit. Whether it fits is decided by the store.
 * @throws PersistenceError `invalid-argument` when it is not a permit at all
 */
export function parsePermit(permit: unknown, name = 'the permit'): Buffer {
  let bytes: Buffer;
  if (typeof permit === 'string') {
    const text = permit.trim();
    if (!/^[\w-]*$/.test(text)) throw invalid(`${name} is not base64url`);
    bytes = Buffer.from(text, 'base64url');
  } else if (types.isUint8Array(permit)) {
    requireBytes(permit, name);
    bytes = Buffer.from(permit);
  } else {
    throw invalid(`${name} must be a string or a Uint8Array`);
  }
  if (bytes.length !== permitBytes || bytes.toString('latin1', 0, 8) !== 'SRTOKEN1') {
    throw invalid(`${name} is not a permit of strongroom`);
  }
  return bytes;
}

/**
 * The 32 bytes of an Ed25519 public key.
 * @throws PersistenceError `invalid-option`
 */
export function ed25519PublicKeyBytes(key: unknown): Uint8Array {
  if (types.isUint8Array(key)) requireBytes(key, 'vendorPublicKey');
  if (types.isUint8Array(key) && key.length === publicKeyBytes) return new Uint8Array(key);
  try {
    const read = types.isKeyObject(key)
      ? key
      : nodeCrypto().createPublicKey(types.isUint8Array(key) ? Buffer.from(key) : String(key));
    if (read.type === 'public' && read.asymmetricKeyType === 'ed25519') {
      const { x } = read.export({ format: 'jwk' });
      if (typeof x === 'string') return Buffer.from(x, 'base64url');
    }
  } catch (cause) {
    throw new PersistenceError('invalid-option', 'vendorPublicKey cannot be read', { cause });
  }
  throw new PersistenceError('invalid-option', 'vendorPublicKey must be an Ed25519 public key');
}
