// What `import 'strongroom'` gives.
import { createApi, type Api } from './api.js';
import type { InspectOptions, Inspection } from './operations/inspection.js';
import type {
  AdministrativeOptions,
  DecommissionOptions,
  Decommissioned,
} from './operations/administrative.js';
import type { Leftover, LeftoverOptions } from './operations/leftovers.js';
import { loadNative } from './native.js';
import type { OpenOptions } from './store/open-options.js';
import type { Persistence } from './store/persistence.js';
import type { Gate, GateOptions } from './restore/gate.js';
import type { RestoreOptions } from './restore/restore.js';
import type { ListTokensOptions, SetUpTokenOptions, TokenInfo } from './restore/token-setup.js';
import type { DetectOptions, Detection } from './restore/world.js';

export { KeyServiceError, PersistenceError, isPersistenceError } from './errors.js';
export type { ErrorCode, PersistenceErrorOptions, Reason } from './errors.js';
export type { Notice, PersistenceEvents, SubscriberError, VaultEvent } from './vault/events.js';
export { fieldOverheadBytes } from './keys/fields.js';
export type { FieldOptions, Fields } from './keys/fields.js';
export type {
  GenerateKeyOptions,
  KeyAlgorithm,
  KeyLocation,
  Keys,
  ManagedKey,
  SignOptions,
} from './keys/keys.js';
export type { DetectOptions, Detection } from './restore/world.js';
export type {
  FilesFound,
  Found,
  HistoryFound,
  JournalFound,
  RestoreState,
  TokenFound,
} from './restore/detect.js';
export type { Gate, GateOptions, GateStart } from './restore/gate.js';
export type { RestoreOptions, TokenSetup } from './restore/restore.js';
export { restoreSteps } from './restore/steps.js';
export type { RestoreEvent, RestoreStep } from './restore/steps.js';
export type { ListTokensOptions, SetUpTokenOptions, TokenInfo } from './restore/token-setup.js';
export type { Pkcs11ProtectorOptions, TokenName } from './protectors/pkcs11.js';
export type {
  AdministrativeOptions,
  Decommissioned,
  DecommissionOptions,
  Credential,
} from './operations/administrative.js';
export type { Inspection } from './operations/inspection.js';
export type { Leftover, LeftoverOptions } from './operations/leftovers.js';
export type {
  LicenseProvider,
  LicenseProviders,
  LoadManifestsOptions,
  ManifestRejectionReason,
  ProviderSecret,
  RejectedManifest,
  TrustedKey,
  TrustedKeys,
} from './manifests/types.js';
export type { KdfOptions, OpenOptions, RecoveryOptions } from './store/open-options.js';
export type { SecretStoreOptions } from './options/secret-store.js';
export type { ExternalProtectorOptions, KeyServiceFunction } from './protectors/external.js';
export type { KeyProtectorOptions } from './protectors/registry.js';
export type { SoftwareProtectorOptions } from './protectors/software.js';
export type { TpmProtectorOptions } from './protectors/tpm.js';
export type { KeptNotice } from './store/notices.js';
export type { PasswordSource, SecretPlace } from './options/secrets.js';
export type { PasswordOptions, Persistence, RotateDekOptions, VerifyOptions } from './store/persistence.js';
export type { PersistenceValidator } from './vault/validator.js';
export type {
  DekStatus,
  KeySlot,
  AuditEntry,
  PersistenceStatus,
  RestoreStatus,
  VerifyReport,
  WitnessStatus,
} from './store/status.js';
export type { SecurityLevel } from './protectors/registry.js';
export type { TokenStatus } from './protectors/pkcs11.js';
export type { TpmStatus, TpmWear } from './protectors/tpm.js';
export type { ExtractTlsOptions, Pem, Tls, TlsCertificate, TlsCredential } from './keys/tls.js';
export { signPermit } from './options/permit.js';
export type { SignPermitOptions, Permit, PermitPurpose, VendorPublicKey } from './options/permit.js';
export type {
  BatchOperation,
  Durability,
  IncrementOptions,
  KeyRange,
  Vault,
  VaultKey,
  VaultValue,
  WriteOptions,
} from './vault/vault.js';

let api: Api | undefined;

/** Over the compiled core, which is loaded at the first call. */
function loaded(): Api {
  api ??= createApi(loadNative());
  return api;
}

/**
 * Opens a store; makes it where there is none (COLDSTART).
 *
 * @throws PersistenceError: `PERS_8003` for what looks like tampering, rollback or a partial restore; `PERS_8005` for
 * what the environment lacks, `locked` with the owner's process id among it; `invalid-option`. After any refusal no
 * file and no secret has changed, and no lock, descriptor or timer is left.
 */
export async function open(options: OpenOptions): Promise<Persistence> {
  return loaded().open(options);
}

/**
 * Looks at a store: who it is, and what a start would say. Takes no lock, opens nothing for writing and changes nothing;
 * works while another process has the store open.
 * @throws PersistenceError `no-store`, `persistence-tampered`, and the reasons of input and output
 */
export async function inspect(directory: string, options?: InspectOptions): Promise<Inspection> {
  return loaded().inspect(directory, options);
}

/**
 * Accepts the present state of a store as the new truth and opens it: after a legitimate restore from backup, a lost
 * witness, or a long shutdown. Burnt into the history and the audit log; serves once at a checkpoint.
 * @throws PersistenceError `nothing-to-do` when a start would say `ok`; `authority-refused`, `password-wrong`,
 * `password-missing`; what cannot be healed so, such as `persistence-rolled-back`
 */
export async function reanchor(options: AdministrativeOptions): Promise<Persistence> {
  return loaded().reanchor(options);
}

/**
 * Opens a store whose root key is lost by its backup password, and gives it a new root. `continuity` stays `unproven`
 * until {@link reanchor}. Where the store has a vendor, a permit is needed besides the password.
 * @throws PersistenceError `nothing-to-do` when the root is there; `authority-refused`, `password-wrong`,
 * `password-missing`
 */
export async function recover(options: AdministrativeOptions): Promise<Persistence> {
  return loaded().recover(options);
}

/**
 * Seals the root of a store anew in the TPM that is there, under its PCRs of now, after the TPM refused it: other PCR
 * values, another or a cleared TPM, a forgotten PIN. `protector.pcrs` and `protector.pin` are what the root is sealed under
 * from now on; without `pcrs` the same registers as before, without `pin` none. The backup password opens the store;
 * where it has a vendor a permit is needed besides. Where the counter is lost too, `continuity` stays `unproven` until
 * {@link reanchor}.
 * @throws PersistenceError `nothing-to-do` when the TPM opens the root; `authority-refused`, `password-wrong`,
 * `password-missing`; `vault-rolled-back` and its like, which {@link reanchor} may accept
 */
export async function reseal(options: AdministrativeOptions): Promise<Persistence> {
  return loaded().reseal(options);
}

/**
 * Removes a store with its secrets, so that a clean COLDSTART can follow. Can be called again after an interruption.
 *
 * With `leftovers` it removes what a store has left in its SecretStore, its TPM or its token after its files are gone;
 * {@link findLeftovers} lists it before.
 * @throws PersistenceError `no-store`, `authority-refused`, `password-wrong`, `password-missing`; `items-missing` when
 * something would be left behind; with `leftovers` `store-exists`, `nothing-to-do`
 */
export async function decommission(options: DecommissionOptions): Promise<Decommissioned> {
  return loaded().decommission(options);
}

/**
 * Lists what is left of a store whose persistence.bin is gone, by its instance name. Changes nothing.
 * @throws PersistenceError `store-exists` where there is a persistence.bin, which names the authority over the rest;
 * `not-found` for a SecretStore whose directory is not there; the reasons of reaching SecretStore, TPM or token
 */
export async function findLeftovers(options: LeftoverOptions): Promise<readonly Leftover[]> {
  return loaded().findLeftovers(options);
}

/**
 * Gives a store whose token lost its key, or is lost itself, a new key-encryption key by the backup password, and opens
 * it. Continues a restore that was interrupted. After the commit that needs no password while the token opens the store:
 * `credential` may then be empty. Where the store has a vendor, a permit for `recover` is needed as well.
 * @throws PersistenceError `nothing-to-do` when the token opens the store; `password-wrong`, `password-throttled` with
 * `retryAfterMs`; `restore-busy`; `token-missing` where no token is there and none is to be set up; the reasons of an
 * outage, of PINs, PERS_8003, of setting up a token, of writing files and of the hook. After an error the same call
 * continues.
 */
export async function restore(options: RestoreOptions): Promise<Persistence> {
  return loaded().restore(options);
}

/**
 * Finds out what a start would meet. Takes no lock and changes nothing, in files, SecretStore and token; can be repeated.
 * @throws PersistenceError `invalid-option`; what is found is never thrown
 */
export async function detectRestore(options: DetectOptions): Promise<Detection> {
  return loaded().detectRestore(options);
}

/**
 * Decides what a start should start. Can be repeated; changes nothing.
 * @throws PersistenceError `invalid-option`; what is found is never thrown
 */
export async function serveGate(options: GateOptions): Promise<Gate> {
  return loaded().serveGate(options);
}

/**
 * The tokens of a module, initialised or not. No PIN is needed and nothing is changed.
 * @throws PersistenceError `hsm-unreachable`
 */
export async function listTokens(options: ListTokensOptions): Promise<readonly TokenInfo[]> {
  return loaded().listTokens(options);
}

/**
 * Initialises a token in a slot and sets its user PIN. An initialised token is erased only when its label is given.
 * @throws PersistenceError `token-missing`: no such slot; `token-not-confirmed`; `token-exists`; `pin-wrong`, `pin-locked`:
 * the SO PIN; `pin-missing`; `pin-length`: a PIN that the token does not take; `hsm-refused`; `hsm-unreachable`
 */
export async function setUpToken(options: SetUpTokenOptions): Promise<TokenInfo> {
  return loaded().setUpToken(options);
}

/** The library that encrypts, with its version, such as `OpenSSL 3.0.19 …`. */
export function libraryVersion(): string {
  return loaded().libraryVersion();
}
