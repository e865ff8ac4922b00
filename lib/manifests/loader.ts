// Step 3 of Initialize(): the licence-provider manifests of the vendors, and their acceptance after step 5.
//
// Invariants
// - A manifest is a candidate only if a key that the application trusts signed exactly its content (RFC 8785 form).
// - One bad file never stops the others; only wrong options and an unreadable directory throw.
// - Nothing is read or written here: the directory comes through the injected reader, what was last accepted comes from
//   the vault and goes back to it.
// - ajv, canonicalize and jsonc-parser are loaded with the first file and not before.
import type { KeyObject } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';

import { PersistenceError } from '../errors.js';
import { parseDocument, signedBytes } from './document.js';
import { readProviderSecret, readTrustedKeys, verifySignature, type TrustedKeyMap } from './keys.js';
import { reading } from '../native/errors.js';
import { Rejection, printable, quoted } from './rejection.js';
import { checkSchema, createdMsOf } from './schema.js';
import {
  manifestLimits,
  type AcceptedManifests,
  type CreatedUtcUpdate,
  type DirectoryEntry,
  type DirectoryReader,
  type LicenseProvider,
  type LoadManifestsOptions,
  type LoadedManifests,
  type ManifestRejectionReason,
  type RejectedManifest,
} from './types.js';

export * from './types.js';

/** The ending of the files that are scanned. */
const suffix = '.json';

/**
 * Parses and verifies every manifest of a directory (step 3).
 *
 * Of several verified manifests of one provider the newest is the candidate; the others are rejected as `superseded`, or
 * as `duplicate-provider` when their CreatedUtc is the same. A missing directory is an empty list. The candidates count
 * for nothing before {@link acceptManifests} has compared them with the vault.
 *
 * @param options - the directory, and the keys that the application trusts
 * @param reader - reads the directory; its rejection is passed on
 * @throws PersistenceError `invalid-option`, before anything is read
 */
export async function loadLicenseProviderManifests(
  options: LoadManifestsOptions,
  reader: DirectoryReader,
): Promise<LoadedManifests> {
  return loadManifests(readManifestsOptions(options), reader);
}

/** {@link loadLicenseProviderManifests} with options that were read before. */
export async function loadManifests(
  { directory, trustedKeys }: ReadManifestsOptions,
  reader: DirectoryReader,
): Promise<LoadedManifests> {
  const { bytesMax, filesMax } = manifestLimits;
  const entries = [...((await reader(directory, { suffix, bytesMax, filesMax })) ?? [])].sort(byName);

  const verified: LicenseProvider[] = [];
  const rejected: RejectedManifest[] = entries
    .slice(filesMax)
    .map(({ name }) =>
      rejection(name, 'too-many-files', `the directory has more than ${filesMax} manifests`),
    );
  for (const entry of entries.slice(0, filesMax)) {
    try {
      verified.push(await verifyEntry(entry, trustedKeys));
    } catch (error) {
      if (!(error instanceof Rejection)) throw error;
      rejected.push(rejection(entry.name, error.reason, error.message));
    }
    // A directory full of manifests must not keep the process from its other work.
    await nextTurn();
  }

  const candidates = newestOfEach(verified, rejected);
  return Object.freeze({
    candidates: Object.freeze(candidates),
    rejected: Object.freeze(rejected.sort(byFile)),
  });
}

/**
 * Decides about the candidates of step 3 by the vault's record of the last CreatedUtc of each provider (after step 5).
 * A manifest with the same CreatedUtc as the last one is accepted again; an older one is `older-than-accepted`.
 * The caller records `updates` in one batch; until it has, the decision can be taken again with the same outcome.
 *
 * @param loaded - from {@link loadLicenseProviderManifests}
 * @param lastAccepted - by ProviderName: the CreatedUtc as RFC 3339 UTC or as milliseconds since 1970
 * @throws PersistenceError `invalid-argument` when a recorded time is not a time
 */
export function acceptManifests(
  loaded: LoadedManifests,
  lastAccepted: ReadonlyMap<string, string | number>,
): AcceptedManifests {
  const providers: LicenseProvider[] = [];
  const rejected = [...loaded.rejected];
  const updates: CreatedUtcUpdate[] = [];
  for (const candidate of loaded.candidates) {
    const { file, providerName, createdMs } = candidate;
    const lastMs = recordedMs(providerName, lastAccepted.get(providerName));
    if (lastMs !== undefined && createdMs < lastMs) {
      const detail = `CreatedUtc is ${candidate.createdUtc}; ${new Date(lastMs).toISOString()} was accepted before`;
      rejected.push(rejection(file, 'older-than-accepted', detail));
      continue;
    }
    providers.push(candidate);
    if (lastMs === undefined || createdMs > lastMs) {
      updates.push(Object.freeze({ providerName, createdUtc: new Date(createdMs).toISOString() }));
    }
  }
  return Object.freeze({
    providers: Object.freeze(providers),
    rejected: Object.freeze(rejected.sort(byFile)),
    licenseProviderFound: providers.some(({ secrets }) =>
      secrets.some((s) => s.inProduction && !s.deprecated),
    ),
    updates: Object.freeze(updates),
  });
}

/** The options of the manifests, checked. */
export interface ReadManifestsOptions {
  readonly directory: string;
  readonly trustedKeys: TrustedKeyMap;
}

/** Throws `invalid-option`, which names the option. */
export function readManifestsOptions(options: unknown): ReadManifestsOptions {
  return reading(() => {
    if (typeof options !== 'object' || options === null) {
      throw new PersistenceError('invalid-option', 'the options of the manifests must be an object');
    }
    for (const name of Object.keys(options)) {
      if (name !== 'directory' && name !== 'trustedKeys') {
        throw new PersistenceError('invalid-option', `the manifests have no option ${quoted(name)}`);
      }
    }
    const { directory, trustedKeys } = options as Partial<Record<keyof LoadManifestsOptions, unknown>>;
    if (typeof directory !== 'string' || directory === '' || directory.includes('\0')) {
      throw new PersistenceError(
        'invalid-option',
        'directory must be the path of the directory of manifests',
      );
    }
    return { directory, trustedKeys: readTrustedKeys(trustedKeys) };
  });
}

/** Cheap checks come before costly ones, and nothing of a file is used before its signature holds. */
async function verifyEntry(entry: DirectoryEntry, trustedKeys: TrustedKeyMap): Promise<LicenseProvider> {
  if ('error' in entry) {
    const tooLarge = entry.error.reason === 'value-too-large' || entry.error.reason === 'too-large';
    throw new Rejection(
      tooLarge ? 'too-large' : 'unreadable',
      `${entry.error.reason}: ${entry.error.message}`,
    );
  }
  const document = await checkSchema(await parseDocument(entry.content));
  const createdMs = createdMsOf(document.CreatedUtc);
  const keys: readonly KeyObject[] | undefined = trustedKeys.get(document.ProviderName);
  if (keys === undefined) {
    throw new Rejection(
      'unknown-provider',
      `no trusted key for the provider ${quoted(document.ProviderName)}`,
    );
  }
  const signatureScheme = verifySignature(await signedBytes(document), document.SignatureBase64, keys);
  return Object.freeze({
    file: entry.name,
    providerName: document.ProviderName,
    createdUtc: document.CreatedUtc,
    createdMs,
    secrets: Object.freeze(document.ProviderSecrets.map(readProviderSecret)),
    signatureScheme,
  });
}

/** `verified` must be in order of file names; what it leaves out is added to `rejected`. */
function newestOfEach(verified: readonly LicenseProvider[], rejected: RejectedManifest[]): LicenseProvider[] {
  const newest = new Map<string, LicenseProvider>();
  for (const manifest of verified) {
    const other = newest.get(manifest.providerName);
    if (other === undefined || manifest.createdMs > other.createdMs)
      newest.set(manifest.providerName, manifest);
  }
  return verified.filter((manifest) => {
    const winner = newest.get(manifest.providerName);
    if (winner === undefined || winner === manifest) return true;
    const same = winner.createdMs === manifest.createdMs;
    const detail = `${quoted(winner.file)} of the same provider ${same ? 'has the same CreatedUtc' : 'is newer'}`;
    rejected.push(rejection(manifest.file, same ? 'duplicate-provider' : 'superseded', detail));
    return false;
  });
}

function recordedMs(providerName: string, recorded: string | number | undefined): number | undefined {
  if (recorded === undefined) return undefined;
  const ms = typeof recorded === 'number' ? recorded : Date.parse(recorded);
  // Date holds 8.64e15 ms on either side of 1970 (ECMA-262, time values); beyond, or NaN, is not a time.
  if (Math.abs(ms) <= 8.64e15) return ms;
  throw new PersistenceError(
    'invalid-argument',
    `the recorded CreatedUtc of ${quoted(providerName)} is not a time`,
  );
}

function rejection(file: string, reason: ManifestRejectionReason, detail: string): RejectedManifest {
  return Object.freeze({ file, reason, detail: printable(detail) });
}

function byName(a: DirectoryEntry, b: DirectoryEntry): number {
  return compare(a.name, b.name);
}

function byFile(a: RejectedManifest, b: RejectedManifest): number {
  return compare(a.file, b.file);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
