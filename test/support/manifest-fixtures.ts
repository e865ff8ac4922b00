// Makes, signs and serves manifests for tests. Keys are generated, never stored.
import assert from 'node:assert/strict';
import { constants, generateKeyPairSync, sign, type KeyObject } from 'node:crypto';

import canonicalize from 'canonicalize';

import {
  loadLicenseProviderManifests,
  type DirectoryEntry,
  type DirectoryReader,
  type LoadedManifests,
  type TrustedKeys,
} from '../../lib/manifests/loader.js';

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/** PSS with a salt of so many bytes ('digest' and 'max': as OpenSSL names them), or PKCS#1 v1.5. */
export type Scheme = { pss: number | 'digest' | 'max' } | 'pkcs1';

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const keys = new Map<string, KeyPair>();

/** A key pair for the tests, made once per process and name. */
export function keyPair(name: string, modulusLength = 2048, publicExponent = 65_537): KeyPair {
  const id = `${name}/${modulusLength}/${publicExponent}`;
  let pair = keys.get(id);
  if (pair === undefined) {
    pair = generateKeyPairSync('rsa', { modulusLength, publicExponent });
    keys.set(id, pair);
  }
  return pair;
}

export function pemOf(key: KeyObject): string {
  return key.export({ type: 'spki', format: 'pem' }).toString();
}

/** One entry of ProviderSecrets with a true key. */
export function secret(changes: Record<string, Json> = {}): Record<string, Json> {
  return {
    VendorCode: '6f1f4b1e-93a4-4f43-9d0e-0d3a5c2f7b11',
    VendorSecretName: 'floating',
    RsaKeySize: 2048,
    PublicKey: Buffer.from(pemOf(keyPair('vendor').publicKey)).toString('base64'),
    InProduction: true,
    Deprecated: false,
    ...changes,
  };
}

/** A manifest without signature. */
export function manifest(changes: Record<string, Json> = {}): Record<string, Json> {
  return {
    ProviderName: 'Acme',
    CreatedUtc: '2026-03-01T12:00:00Z',
    ProviderSecrets: [secret()],
    ...changes,
  };
}

export function signature(
  signed: Uint8Array,
  privateKey: KeyObject,
  scheme: Scheme = { pss: 'digest' },
): string {
  if (scheme === 'pkcs1') {
    return sign('sha256', signed, { key: privateKey, padding: constants.RSA_PKCS1_PADDING }).toString(
      'base64',
    );
  }
  const saltLength =
    scheme.pss === 'digest'
      ? constants.RSA_PSS_SALTLEN_DIGEST
      : scheme.pss === 'max'
        ? constants.RSA_PSS_SALTLEN_MAX_SIGN
        : scheme.pss;
  return sign('sha256', signed, {
    key: privateKey,
    padding: constants.RSA_PKCS1_PSS_PADDING,
    saltLength,
  }).toString('base64');
}

export type SignedManifest = Record<string, Json> & { SignatureBase64: string };

/** The manifest with its SignatureBase64. */
export function signed(
  document: Record<string, Json>,
  privateKey: KeyObject = keyPair('provider').privateKey,
  scheme?: Scheme,
): SignedManifest {
  const canonical = canonicalize(document) ?? '';
  return { ...document, SignatureBase64: signature(Buffer.from(canonical), privateKey, scheme) };
}

/** A directory in memory, in the given order; `undefined`: the directory is missing. */
export function readerOf(
  files: Record<string, string | Uint8Array> | readonly DirectoryEntry[] | undefined,
): DirectoryReader {
  const entries = Array.isArray(files)
    ? (files as readonly DirectoryEntry[])
    : files &&
      Object.entries(files).map(([name, content]) => ({ name, content: Buffer.from(content as string) }));
  return () => Promise.resolve(entries);
}

/** JSON text with the members of every object in another order and white space of all four kinds everywhere. */
export function reordered(value: Json, random: () => number): string {
  const gap = (): string => [' ', '\n', '\t', '\r\n', ''][Math.floor(random() * 5)] ?? '';
  const shuffle = <T>(list: T[]): T[] =>
    list
      .map((item) => ({ item, at: random() }))
      .sort((a, b) => a.at - b.at)
      .map(({ item }) => item);
  const text = (part: Json): string => {
    if (part === null || typeof part !== 'object') return JSON.stringify(part);
    const inner = Array.isArray(part)
      ? part.map(text)
      : shuffle(Object.entries(part)).map(
          ([name, child]) => `${JSON.stringify(name)}${gap()}:${gap()}${text(child)}`,
        );
    const [open, close] = Array.isArray(part) ? ['[', ']'] : ['{', '}'];
    return `${open}${gap()}${inner.join(`${gap()},${gap()}`)}${gap()}${close}`;
  };
  return `${gap()}${text(value)}${gap()}`;
}

export const provider = keyPair('provider');
export const trustedKeys: TrustedKeys = { Acme: provider.publicKey };

export const base64 = (text: string): string => Buffer.from(text).toString('base64');
export const good = (): string => JSON.stringify(signed(manifest()));
/** A signed manifest with changes. */
export const resigned = (changes: Record<string, Json>): string => JSON.stringify(signed(manifest(changes)));

/** Step 3 over files in memory. */
export function load(
  files: Parameters<typeof readerOf>[0],
  keys: TrustedKeys = trustedKeys,
): Promise<LoadedManifests> {
  return loadLicenseProviderManifests(
    { directory: '/etc/acme/manifests', trustedKeys: keys },
    readerOf(files),
  );
}

/** The one reason for which a single file is rejected; 'accepted' when it is not. */
export async function outcome(content: string | Uint8Array, keys?: TrustedKeys): Promise<string> {
  const { candidates, rejected } = await load({ 'a.json': content }, keys);
  assert.equal(candidates.length + rejected.length, 1);
  return rejected[0]?.reason ?? 'accepted';
}
