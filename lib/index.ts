// What `import 'strongroom'` gives.
import { loadNative } from './native.js';
import type { OpenOptions } from './options.js';
import { PersistenceService } from './persistence-service.js';
import type { Persistence } from './persistence.js';

export { PersistenceError, isPersistenceError } from './errors.js';
export type { ErrorCode, PersistenceErrorOptions, Reason } from './errors.js';
export type { Notice, PersistenceEvents, SubscriberError, VaultEvent } from './events.js';
export { fieldOverheadBytes } from './fields.js';
export type { FieldOptions, Fields } from './fields.js';
export type { GenerateKeyOptions, KeyAlgorithm, KeyLocation, Keys, ManagedKey, SignOptions } from './keys.js';
export { detectRestore } from './restore/world.js';
export type { DetectOptions, Detection } from './restore/world.js';
export type {
  FilesFound,
  Found,
  HistoryFound,
  JournalFound,
  RestoreState,
  TokenFound,
} from './restore/detect.js';
export { serveGate } from './restore/gate.js';
export type { Gate, GateOptions, GateStart } from './restore/gate.js';
export { restore } from './restore/restore.js';
export type { RestoreOptions, TokenSetup } from './restore/restore.js';
export { restoreSteps } from './restore/steps.js';
export type { RestoreEvent, RestoreStep } from './restore/steps.js';
export { listTokens, setUpToken } from './restore/token-setup.js';
export type { ListTokensOptions, SetUpTokenOptions, TokenInfo } from './restore/token-setup.js';
export type { Pkcs11ProtectorOptions, TokenName } from './protectors/pkcs11.js';
export { decommission, inspect, reanchor, recover, reseal } from './maintenance.js';
export type {
  AdministrativeOptions,
  Decommissioned,
  DecommissionOptions,
  Inspection,
  Credential,
} from './maintenance.js';
export { findLeftovers } from './leftovers.js';
export type { Leftover, LeftoverOptions } from './leftovers.js';
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
export type { KdfOptions, OpenOptions, RecoveryOptions, SecretStoreOptions } from './options.js';
export type { KeyProtectorOptions } from './protectors/registry.js';
export type { TpmProtectorOptions } from './protectors/tpm.js';
export type { KeptNotice } from './notices.js';
export type { PasswordSource, SecretPlace } from './secrets.js';
export type { PasswordOptions, Persistence, RotateDekOptions, VerifyOptions } from './persistence.js';
export type { PersistenceValidator } from './persistence-validator.js';
export type {
  DekStatus,
  KeySlot,
  AuditEntry,
  PersistenceStatus,
  RestoreStatus,
  VerifyReport,
  WitnessStatus,
} from './status.js';
export type { SecurityLevel } from './protectors/registry.js';
export type { TokenStatus } from './protectors/pkcs11.js';
export type { TpmStatus, TpmWear } from './protectors/tpm.js';
export type { ExtractTlsOptions, Pem, Tls, TlsCertificate, TlsCredential } from './tls.js';
export { signPermit } from './permit.js';
export type { SignPermitOptions, Permit, PermitPurpose, VendorPublicKey } from './permit.js';
export type {
  BatchOperation,
  Durability,
  IncrementOptions,
  KeyRange,
  Vault,
  VaultKey,
  VaultValue,
  WriteOptions,
} from './vault.js';

/**
 * Opens a store; makes it where there is none (COLDSTART).
 *
 * @throws PersistenceError: `PERS_8003` for what looks like tampering, rollback or a partial restore; `PERS_8005` for
 * what the environment lacks, `locked` with the owner's process id among it; `invalid-option`. After any refusal no
 * file and no secret has changed, and no lock, descriptor or timer is left.
 */
export async function open(options: OpenOptions): Promise<Persistence> {
  const service = new PersistenceService(loadNative(), options);
  await service.initialize();
  return service;
}

/** The library that encrypts, with its version, such as `OpenSSL 3.0.19 …`. */
export function libraryVersion(): string {
  return loadNative().libraryVersion;
}
