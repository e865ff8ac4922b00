// Node's own cryptography, for keys that are not ours: a vendor's and those of licence providers.
import type * as crypto from 'node:crypto';
import { createRequire } from 'node:module';

/** Loaded when a key is read: few need it, and it takes longer to load than this package. */
export function nodeCrypto(): typeof crypto {
  return createRequire(import.meta.url)('node:crypto') as typeof crypto;
}
