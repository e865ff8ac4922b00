// Reads what detect() decides on, and changes nothing: the files, the token's answer, the journal.
//
// Invariants
// - Key protector `software` and `tpm`: no PKCS#11 module is loaded, whatever path is given.
// - Each question to the token has the time limit of the protector options; a module that hangs is an outage.
import { PersistenceError, type Reason } from '../errors.js';
import { examine } from '../operations/inspection.js';
import type {
  NativeBinding,
  NativeInspection,
  NativePkcs11Protector,
  NativeStoreOptions,
} from '../native-binding.js';
import { fromNative, toPersistenceError } from '../native/errors.js';
import { readOptions, readPath } from '../options/readers.js';
import { readSecretStore, type SecretStoreOptions } from '../options/secret-store.js';
import { protectorOf, readProtector } from '../protectors/registry.js';
import { type Pkcs11ProtectorOptions } from '../protectors/pkcs11.js';
import { hasPassword, type RestoreStatus } from '../store/status.js';
import type { TokenStatus } from '../protectors/pkcs11.js';
import {
  detect,
  type FilesFound,
  type Found,
  type JournalFound,
  type RestoreState,
  tokenRefusals,
  type TokenFound,
} from './detect.js';
import type { TokenInfo } from './token-setup.js';

export interface DetectOptions {
  /** The directory of the store. */
  readonly directory: string;
  /** Key protector `pkcs11`: the module, without which no token is asked, and the PIN. Others are ignored. */
  readonly protector?: Pkcs11ProtectorOptions | { readonly type: 'software' };
  /** In place of what persistence.bin names. */
  readonly secretStore?: SecretStoreOptions;
}

/** What a start would meet, and why. */
export interface Detection {
  readonly state: RestoreState;
  /** The document's scenario: 1 the KEK is lost, 2 the HSM is lost, 3 all is there. */
  readonly scenario: 1 | 2 | 3 | undefined;
  /** What the decision came from. */
  readonly found: Found;
  /** Why the store does not open; undefined where it does. */
  readonly cause: PersistenceError | undefined;
  readonly instance: string | undefined;
  readonly storageId: string | undefined;
  /** The token that persistence.bin names. Unauthenticated while the key protector is not open. */
  readonly token: Omit<TokenStatus, 'model'> | undefined;
  /** The tokens that are there now, as far as the module could be asked. */
  readonly tokens: readonly TokenInfo[] | undefined;
  /** The journal, where the key protector is open. */
  readonly restore: RestoreStatus | undefined;
  /** When the newest commit was made, where the key protector is open. */
  readonly newestMs: number | undefined;
  /** When the vault was last written: as `newestMs`; while the key protector is not open, what the file system says. */
  readonly lastWrittenMs: number | undefined;
}

/** As {@link Api.detectRestore}. */
export async function detectLoss(
  binding: NativeBinding,
  options: DetectOptions,
  internals: Partial<NativeStoreOptions> = {},
): Promise<Detection> {
  const given = readOptions(options, ['directory', 'protector', 'secretStore']);
  const directory = readPath(given.directory, 'directory');
  const secretStore = readSecretStore(given.secretStore);
  const protector = readProtector(given.protector);
  try {
    const { files, header, refusal } = await readFiles(binding, directory);
    const base = {
      protector: header?.protector,
      files,
      token: 'not-asked',
      journal: 'unknown',
      history: 'unknown',
      passwordSlot: header !== undefined && hasPassword(header.keySlots),
    } as const satisfies Found;
    if (files !== 'complete' || header === undefined || !protectorOf(header.protector).isInToken)
      return conclude(base, header, refusal);
    if (protector?.token === undefined) {
      throw new PersistenceError(
        'invalid-option',
        `protector: the store is in a token; name its module as type '${header.protector}'`,
      );
    }
    const located = await protector.token.locate({ binding, signal: undefined });
    const found = await askToken(binding, base, header, {
      directory,
      secretStore,
      protector: located,
      internals,
    });
    const cause = found.cause && protector.explain(found.cause);
    return cause === undefined ? found : Object.freeze({ ...found, cause });
  } catch (error) {
    throw toPersistenceError(error);
  } finally {
    protector?.forget();
  }
}

interface FilesRead {
  readonly files: FilesFound;
  readonly header?: NativeInspection;
  readonly refusal?: PersistenceError;
}

async function readFiles(binding: NativeBinding, directory: string): Promise<FilesRead> {
  try {
    const header = await fromNative(() => binding.inspect(directory));
    if (header.provision === 'provisioning') return { files: 'none', header };
    if (header.provision === 'decommissioning') return { files: 'decommissioning', header };
    if (header.vaultFilePresent) return { files: 'complete', header };
    return {
      files: 'partial',
      header,
      refusal: new PersistenceError('partial-restore', 'the vault file is missing'),
    };
  } catch (error) {
    const refusal = toPersistenceError(error);
    if (refusal.reason === 'no-store' || refusal.reason === 'not-found')
      return filesWithout(binding, directory);
    return { files: refusal.retryable ? 'unreadable' : 'damaged', refusal };
  }
}

/** There is no persistence.bin: no store, or what is left of one. */
async function filesWithout(binding: NativeBinding, directory: string): Promise<FilesRead> {
  const { error } = await examine(binding, { directory, instance: '', readOnly: true });
  if (error === undefined || error.reason === 'no-store') return { files: 'none' };
  return { files: error.code === 'PERS_8003' ? 'partial' : 'unreadable', refusal: error };
}

const tokenFound: ReadonlySet<string> = new Set<Reason>(tokenRefusals);

interface Place {
  readonly directory: string;
  readonly secretStore: NativeStoreOptions['secretStore'];
  readonly protector: NativePkcs11Protector;
  readonly internals: Partial<NativeStoreOptions>;
}

async function askToken(
  binding: NativeBinding,
  base: Found,
  header: NativeInspection,
  { internals, protector, ...place }: Place,
): Promise<Detection> {
  const { error, status } = await examine(binding, {
    ...place,
    protector,
    instance: '',
    readOnly: true,
    ...internals,
  });
  if (error?.reason === 'invalid-option') throw error;
  const opened = status !== undefined;
  const asked =
    error !== undefined && tokenFound.has(error.reason) ? (error.reason as TokenFound) : undefined;
  const found: Found = {
    ...base,
    token: asked ?? (opened ? 'ok' : 'not-asked'),
    journal: opened ? journalOf(status.restore) : 'unknown',
    history: historyOf(error, opened, asked !== undefined),
  };
  const tokens = found.token === 'ok' ? undefined : await list(binding, protector);
  // A store whose restore is pending is refused for that alone.
  const cause = error?.reason === 'restore-required' && found.journal === 'pending' ? undefined : error;
  return conclude(found, header, cause ?? error, tokens, status);
}

function journalOf(record: RestoreStatus | undefined): JournalFound {
  return record === undefined ? 'none' : record.completed ? 'completed' : 'pending';
}

function historyOf(error: PersistenceError | undefined, opened: boolean, ofToken: boolean): Found['history'] {
  if (error === undefined || error.reason === 'restore-required') return 'ok';
  if (error.code === 'PERS_8003') return 'refused';
  return ofToken || !opened ? 'unknown' : 'unavailable';
}

/** For people, after a failure that has looked; where the module does not answer there is nothing to list. */
async function list(
  binding: NativeBinding,
  protector: NativePkcs11Protector,
): Promise<readonly TokenInfo[] | undefined> {
  try {
    const { module, initArguments, timeLimitMs } = protector;
    return Object.freeze(await binding.listTokens({ module, initArguments, timeLimitMs, asIs: true }));
  } catch {
    return undefined;
  }
}

function conclude(
  found: Found,
  header: NativeInspection | undefined,
  cause: PersistenceError | undefined,
  tokens?: readonly TokenInfo[],
  status?: { readonly restore: RestoreStatus | undefined; readonly newestMs: number },
): Detection {
  return Object.freeze({
    ...detect(found),
    found: Object.freeze(found),
    cause,
    instance: header?.instance,
    storageId: header?.storageId,
    token: header?.token && Object.freeze(header.token),
    tokens,
    restore: status?.restore,
    newestMs: status?.newestMs,
    lastWrittenMs: status?.newestMs ?? (header?.vaultModifiedMs === 0 ? undefined : header?.vaultModifiedMs),
  });
}
