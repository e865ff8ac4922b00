// The shapes of the licence-provider manifests: what goes in, what comes out, and the limits. No code but constants.
import type { KeyObject } from 'node:crypto';

/** The limits of a manifest and of the directory that holds them. */
export const manifestLimits = Object.freeze({
  /** Greatest size of one file: 1 MiB. */
  bytesMax: 1_048_576,
  /** Files taken from one directory. */
  filesMax: 10_000,
  /** Objects and arrays within each other; the format itself needs three. */
  depthMax: 8,
  /** Entries of ProviderSecrets. */
  secretsMax: 256,
  /** Characters of ProviderName and of VendorSecretName. */
  nameCharactersMax: 128,
  /** Least size of every RSA key (NIST SP 800-131A Rev. 2, section 3). */
  rsaBitsMin: 2048,
  /** Greatest size of every RSA key; bounds the time of one verification. */
  rsaBitsMax: 16_384,
  /** Trusted keys of one provider. */
  trustedKeysMax: 16,
});

/** What a {@link DirectoryReader} says of one file: its content, or why it could not be read. */
export type DirectoryEntry =
  | { readonly name: string; readonly content: Uint8Array }
  | {
      readonly name: string;
      readonly error: { readonly code: string; readonly reason: string; readonly message: string };
    };

/**
 * Reads the plain files of a directory whose names end with `suffix`: at most `filesMax` of them, in the byte order of
 * their names, each of at most `bytesMax` bytes. A file that is larger or cannot be read becomes an entry with `error`.
 * Resolves to `undefined` when the directory does not exist; rejects when the directory itself cannot be read.
 */
export type DirectoryReader = (
  directory: string,
  options: { suffix: string; bytesMax: number; filesMax: number },
) => Promise<readonly DirectoryEntry[] | undefined>;

/** An RSA public key of 2,048 to 16,384 bits: PEM with SubjectPublicKeyInfo (`BEGIN PUBLIC KEY`), or a `KeyObject`. */
export type TrustedKey = string | KeyObject;

/** Which key or keys may sign for which `ProviderName`. Several keys allow a provider to change its key. */
export type TrustedKeys = Readonly<Record<string, TrustedKey | readonly TrustedKey[]>>;

/** Options of step 3, LoadLicenseProviderManifests(). */
export interface LoadManifestsOptions {
  /** The directory that holds the manifests, `*.json`. It need not exist. */
  readonly directory: string;
  /** The public keys that the application trusts. A provider that is not named here is rejected. */
  readonly trustedKeys: TrustedKeys;
}

/**
 * Why a manifest was rejected.
 *
 * - `unreadable`: the file could not be read; `detail` says why.
 * - `too-many-files`: the directory holds more than 10,000 manifests; this one comes after them in order of names.
 * - `too-large`: more than 1 MiB.
 * - `encoding`: not UTF-8, a byte order mark, or a string that is not well-formed Unicode (RFC 8259 section 8, RFC 7493).
 * - `json`: not JSON (RFC 8259); comments and trailing commas are not JSON.
 * - `too-deep`: more than 8 objects or arrays within each other.
 * - `duplicate-key`: an object has the same name twice (RFC 7493 section 2.3).
 * - `schema`: a field is missing, unknown, or of the wrong type or form.
 * - `unknown-provider`: the options name no trusted key for this ProviderName.
 * - `signature`: no trusted key of the provider verifies SignatureBase64.
 * - `weak-key`: a PublicKey, or its RsaKeySize, has fewer than 2,048 bits, or its exponent is even or below 65,537.
 * - `public-key`: a PublicKey is not base64 of an RSA public key in PEM, or its size is not RsaKeySize.
 * - `superseded`: the directory has a newer verified manifest of the same provider.
 * - `duplicate-provider`: the directory has another verified manifest of the same provider and the same CreatedUtc; the
 *   first in order of names is taken.
 * - `older-than-accepted`: an earlier start accepted a newer manifest of this provider.
 */
export type ManifestRejectionReason =
  | 'unreadable'
  | 'too-many-files'
  | 'too-large'
  | 'encoding'
  | 'json'
  | 'too-deep'
  | 'duplicate-key'
  | 'schema'
  | 'unknown-provider'
  | 'signature'
  | 'weak-key'
  | 'public-key'
  | 'superseded'
  | 'duplicate-provider'
  | 'older-than-accepted';

/** One file that was not taken. Frozen. */
export interface RejectedManifest {
  /** The file's name as the directory gives it. It is not to be trusted: quote it before printing it. */
  readonly file: string;
  readonly reason: ManifestRejectionReason;
  /** For people: printable, at most 300 characters, quotes what it takes from the file. */
  readonly detail: string;
}

/** One entry of ProviderSecrets. Frozen. */
export interface ProviderSecret {
  /** A UUID (RFC 9562), in the document's own letter case. */
  readonly vendorCode: string;
  readonly vendorSecretName: string;
  /** Bits of the modulus; always the true size of `publicKey`. */
  readonly rsaKeySize: number;
  /** PEM, `BEGIN PUBLIC KEY`; decoded from base64. */
  readonly publicKey: string;
  readonly inProduction: boolean;
  readonly deprecated: boolean;
}

/** A manifest whose signature holds. Frozen, with all that it contains. */
export interface LicenseProvider {
  /** The name of the file that it came from. */
  readonly file: string;
  readonly providerName: string;
  /** CreatedUtc as the document has it: RFC 3339, UTC. */
  readonly createdUtc: string;
  /** CreatedUtc in milliseconds since 1970. */
  readonly createdMs: number;
  readonly secrets: readonly ProviderSecret[];
  /** The scheme that the signature was made with (RFC 8017 section 8.1 or 8.2). */
  readonly signatureScheme: 'rsa-pss-sha256' | 'rsa-pkcs1-sha256';
}

/** What step 3 leaves: verified, but not yet compared with what the vault remembers. Frozen. */
export interface LoadedManifests {
  /** The newest verified manifest of each provider, in order of file names. */
  readonly candidates: readonly LicenseProvider[];
  /** In order of file names. */
  readonly rejected: readonly RejectedManifest[];
}

/** A CreatedUtc that the vault must remember from now on. Frozen. */
export interface CreatedUtcUpdate {
  readonly providerName: string;
  /** RFC 3339, UTC, with milliseconds. */
  readonly createdUtc: string;
}

/** The licence providers of this start. Frozen, with all that it contains. */
export interface LicenseProviders {
  /** Verified and not older than what was accepted before; at most one of a provider; in order of file names. */
  readonly providers: readonly LicenseProvider[];
  /** Every file that was not taken, in order of file names. */
  readonly rejected: readonly RejectedManifest[];
  /** True if at least one accepted provider has a secret with InProduction true and Deprecated false. */
  readonly licenseProviderFound: boolean;
}

/** {@link LicenseProviders} and what the vault must record of them. Frozen. */
export interface AcceptedManifests extends LicenseProviders {
  /** Providers whose CreatedUtc is new or has moved forward. Empty when nothing needs to be written. */
  readonly updates: readonly CreatedUtcUpdate[];
}
