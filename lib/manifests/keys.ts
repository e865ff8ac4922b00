// RSA keys and signatures: the application's trusted keys, the vendors' keys within a manifest, the signature over it.
//
// Invariants: every key that is used has 2,048 to 16,384 bits and an odd exponent of 65,537 or more (FIPS 186-5,
// appendix A.1.1). Providers are looked up in a Map, so that no name means anything to JavaScript. Only public keys are
// taken: a private key is refused, although a public one could be derived from it.
import type { KeyObject } from 'node:crypto';
import { types } from 'node:util';

import { PersistenceError } from '../errors.js';
import { nodeCrypto } from '../base/node-crypto.js';
import { Rejection, quoted } from './rejection.js';
import type { ManifestDocument } from './schema.js';
import { manifestLimits, type LicenseProvider, type ProviderSecret } from './types.js';

/** Trusted keys by ProviderName, checked. */
export type TrustedKeyMap = ReadonlyMap<string, readonly KeyObject[]>;

const spkiPem =
  /^-----BEGIN PUBLIC KEY-----\r?\n(?:[A-Za-z0-9+/=]{1,76}\r?\n)+-----END PUBLIC KEY-----(?:\r?\n)?$/;

/**
 * Checks the option `trustedKeys` and takes a copy of it.
 * @throws PersistenceError `invalid-option`, naming the provider and what is wrong with its key
 */
export function readTrustedKeys(option: unknown): TrustedKeyMap {
  if (typeof option !== 'object' || option === null || Array.isArray(option)) {
    throw invalid('trustedKeys must be an object of provider names and public keys');
  }
  // `{ '__proto__': key }` sets the prototype and not a member; a Map or a KeyObject has no members at all.
  const prototype: unknown = Object.getPrototypeOf(option);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw invalid('trustedKeys must be a plain object of provider names and public keys');
  }
  const map = new Map<string, readonly KeyObject[]>();
  for (const [provider, value] of Object.entries(option) as [string, unknown][]) {
    const at = `trustedKeys[${quoted(provider)}]`;
    if (provider === '') throw invalid('trustedKeys has an empty provider name');
    const list: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (list.length === 0) throw invalid(`${at} is empty`);
    if (list.length > manifestLimits.trustedKeysMax) {
      throw invalid(`${at} has ${list.length} keys; at most ${manifestLimits.trustedKeysMax}`);
    }
    map.set(
      provider,
      list.map((key, index) => readTrustedKey(key, Array.isArray(value) ? `${at}[${index}]` : at)),
    );
  }
  return map;
}

/**
 * Verifies the signature over a document under any of the provider's keys: first RSASSA-PSS with SHA-256, MGF1 with
 * SHA-256 and a salt of any length, then RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, sections 8.1 and 8.2).
 * @throws Rejection `signature`
 */
export function verifySignature(
  signed: Uint8Array,
  signatureBase64: string,
  keys: readonly KeyObject[],
): LicenseProvider['signatureScheme'] {
  const signature = decodeBase64(signatureBase64);
  if (signature === undefined)
    throw new Rejection('signature', 'SignatureBase64 is not base64 (RFC 4648 section 4)');
  const { constants, verify } = nodeCrypto();
  for (const key of keys) {
    const pss = { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO };
    if (verify('sha256', signed, pss, signature)) return 'rsa-pss-sha256';
    if (verify('sha256', signed, { key, padding: constants.RSA_PKCS1_PADDING }, signature))
      return 'rsa-pkcs1-sha256';
  }
  throw new Rejection(
    'signature',
    'no trusted key of the provider verifies SignatureBase64 over the document',
  );
}

/**
 * Checks one entry of ProviderSecrets.
 * @throws Rejection `public-key` or `weak-key`
 */
export function readProviderSecret(
  entry: ManifestDocument['ProviderSecrets'][number],
  index: number,
): Readonly<ProviderSecret> {
  const at = `/ProviderSecrets/${index}`;
  if (entry.RsaKeySize < manifestLimits.rsaBitsMin) {
    throw new Rejection(
      'weak-key',
      `${at}/RsaKeySize is ${entry.RsaKeySize}; at least ${manifestLimits.rsaBitsMin}`,
    );
  }
  const bytes = decodeBase64(entry.PublicKey);
  if (bytes === undefined)
    throw new Rejection('public-key', `${at}/PublicKey is not base64 (RFC 4648 section 4)`);
  const pem = bytes.toString('latin1');
  let key: KeyObject;
  try {
    key = publicKeyOfPem(pem);
  } catch (error) {
    throw new Rejection('public-key', `${at}/PublicKey ${messageOf(error)}`);
  }
  const weakness = weaknessOf(key);
  if (weakness !== undefined) throw new Rejection('weak-key', `${at}/PublicKey ${weakness}`);
  const bits = key.asymmetricKeyDetails?.modulusLength;
  if (bits !== entry.RsaKeySize) {
    throw new Rejection(
      'public-key',
      `${at}/PublicKey has ${bits} bits, RsaKeySize says ${entry.RsaKeySize}`,
    );
  }
  return Object.freeze({
    vendorCode: entry.VendorCode,
    vendorSecretName: entry.VendorSecretName,
    rsaKeySize: entry.RsaKeySize,
    publicKey: pem,
    inProduction: entry.InProduction,
    deprecated: entry.Deprecated,
  });
}

function readTrustedKey(value: unknown, at: string): KeyObject {
  let key: KeyObject;
  if (typeof value === 'string') {
    try {
      key = publicKeyOfPem(value.trim());
    } catch (error) {
      throw invalid(`${at} ${messageOf(error)}`, error);
    }
  } else if (types.isKeyObject(value)) {
    if (value.type !== 'public') throw invalid(`${at} is a ${value.type} key; give the public key`);
    if (value.asymmetricKeyType !== 'rsa')
      throw invalid(`${at} is a key of type ${value.asymmetricKeyType}; it must be rsa`);
    key = value;
  } else {
    throw invalid(`${at} must be a public key as a PEM string or a KeyObject`);
  }
  const weakness = weaknessOf(key);
  if (weakness !== undefined) throw invalid(`${at} ${weakness}`);
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (bits > manifestLimits.rsaBitsMax)
    throw invalid(`${at} has ${bits} bits; at most ${manifestLimits.rsaBitsMax}`);
  return key;
}

/** Takes one PEM block `PUBLIC KEY` with an RSA key and nothing else. The error's message continues "<key> ...". */
function publicKeyOfPem(pem: string): KeyObject {
  if (pem.includes('PRIVATE KEY-----')) throw new Error('is a private key; give the public key');
  if (!spkiPem.test(pem))
    throw new Error('is not one PEM block of type PUBLIC KEY (SubjectPublicKeyInfo, RFC 7468 section 13)');
  let key: KeyObject;
  try {
    key = nodeCrypto().createPublicKey({ key: pem, format: 'pem' });
  } catch (error) {
    throw new Error('does not hold a public key', { cause: error });
  }
  if (key.asymmetricKeyType !== 'rsa')
    throw new Error(`is a key of type ${key.asymmetricKeyType}; it must be rsa`);
  return key;
}

function weaknessOf(key: KeyObject): string | undefined {
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  const exponent = key.asymmetricKeyDetails?.publicExponent ?? 0n;
  if (bits < manifestLimits.rsaBitsMin) return `has ${bits} bits; at least ${manifestLimits.rsaBitsMin}`;
  if (exponent < 65_537n || exponent % 2n === 0n)
    return `has the public exponent ${exponent}; it must be odd and at least 65537`;
  return undefined;
}

/** Strict base64 (RFC 4648 section 4): the only text that encodes its bytes. */
function decodeBase64(text: string): Buffer | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : 'is not a public key';
}

function invalid(message: string, cause?: unknown): PersistenceError {
  return new PersistenceError('invalid-option', message, cause === undefined ? {} : { cause });
}
