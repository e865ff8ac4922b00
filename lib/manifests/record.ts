// The vault's record of the last manifest accepted from each provider.
import { acceptManifests } from './loader.js';
import type { LicenseProviders, LoadedManifests } from './types.js';
import type { NativeStore } from '../native-binding.js';

/** A system record: JSON, a list of [ProviderName, CreatedUtc]. */
const recordName = 'manifests';

/**
 * After step 5: rejects a manifest that is older than the last one accepted from its provider, and makes the vault
 * remember the newer ones. With `isReader` nothing is remembered.
 */
export async function acceptAndRemember(
  native: NativeStore,
  loaded: LoadedManifests,
  { isReader }: { readonly isReader: boolean },
): Promise<LicenseProviders> {
  const stored = await native.maintenance.getSystemRecord(recordName);
  const last = new Map<string, string>(
    stored === undefined ? [] : (JSON.parse(stored.toString()) as [string, string][]),
  );
  const { updates, ...providers } = acceptManifests(loaded, last);
  if (updates.length !== 0 && !isReader) {
    for (const { providerName, createdUtc } of updates) last.set(providerName, createdUtc);
    await native.maintenance.setSystemRecord(recordName, Buffer.from(JSON.stringify([...last])));
  }
  return Object.freeze(providers);
}
