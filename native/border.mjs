// What crosses the border between the core and TypeScript
//
// `npm run generate` makes of it native/base/limits.h, native/addon/border.h, native/addon/border.cc and
// lib/native-border.ts. What stays out of it: the calls of the hot path, whose arguments are no objects.
//
// A field is the name of its type, or an object:
//   type      see below
//   from, to  the C++ member, by default the name in snake_case, of a time with `wall_ms` for `Ms`. In a result an
//             expression with $ for the struct
//   absent    an expression with $ for the member: where it holds, TypeScript gets undefined
//   optional  the C++ member is a std::optional
//   only      an expression with $ for the struct: where it does not hold, TypeScript gets undefined
//   required  of an option: its absence is an error, as is an unknown name
//   doc       a comment for TypeScript
//
// Types of results: text, count (unsigned), time (milliseconds since 1970, signed), flag, hex, bytes, bits (a mask as a list
// of its bits), the name of an enumeration or of a result, and a list of these with [] behind it.
// Types of options: text, whole (at most `max`), wholeOrInfinity (`infinity` for Infinity), milliseconds, flag, secret (a
// copy in locked memory; `what` for the messages), octets (a fixed number of bytes), byteCall (a function that threads of the
// core ask for bytes), bits, the name of an enumeration, which is required, and the name of an options type.
const kib = 1024;
const mib = 1024 * kib;
const msMax = Number.MAX_SAFE_INTEGER;
const wordMax = 0xffff_ffff;

/** Every limit of the product, units last in the name. `lib`: TypeScript knows it too. */
export const limits = {
  keyBytesMax: { value: kib, lib: true },
  valueBytesMax: { value: 16 * mib },
  batchBytesMax: { value: 64 * mib, doc: 'keys and values of one batch' },
  batchOperationsMax: { value: 65_536, lib: true },
  instanceBytesMax: { value: 128 },
  vaultFileNameBytesMax: { value: 64 },
  passwordBytesMax: { value: 4 * kib, lib: true, doc: 'of a backup password or PIN' },
  persistenceFileBytesMax: { value: mib },
  keySlotsMax: { value: 16 },
  passwordSlotsMax: { value: 8, doc: 'a password is tried on one after the other' },
  passwordLabelBytesMax: { value: 64, lib: true },
  slotParametersBytesMax: { value: 8 * kib },
  reserveBytesMax: {
    value: 64 * mib,
    doc: 'log space reserved ahead: what no release exceeds, whatever its options. Releases up to 0.1 reserve 1 MiB',
  },
  directoryEntriesMax: { value: 65_536, doc: 'of a directory that is listed' },
  secretItemsMax: { value: 64, doc: 'of one name and instance in a keyring' },
  queueOperationsMax: { value: mib },
  queueBytesMax: { value: 256 * mib },
  witnessedCheckpointsMax: { value: kib, doc: 'checkpoints that a compacted log keeps' },
  fieldBytesMax: { value: mib, doc: 'plaintext of a sealed field' },
  fieldContextBytesMax: { value: kib },
  managedKeyIdBytesMax: { value: 64 },
  deactivationReasonBytesMax: { value: kib },
  signedMessageBytesMax: { value: mib },
  privateKeyPemBytesMax: { value: 16 * kib },
  certificatePemBytesMax: { value: 256 * kib, doc: 'one certificate, or a chain' },
  pendingSignaturesMax: { value: 4096 },
  pendingSignatureBytesMax: { value: 64 * mib },
  pcrHighest: { value: 23, lib: true },
  anchorsPerDayMax: { value: 86_400, lib: true },
  tokenTimeLimitMsMax: { value: 3_600_000, lib: true, doc: 'for each call into a PKCS#11 module' },
};

const deliveryMax = 1024;

/**
 * Layouts and answers of the hot path.
 *
 * - A delivery stands in shared memory: float64 generation[deliveryMax], int64 number[deliveryMax], u8 flags[deliveryMax].
 * - get() answers a length, one of these two numbers, or a Buffer.
 * - scan() fills a Buffer with records: u32 key bytes with the bit for ASCII, u32 value bytes, key, value, zeros to a
 *   multiple of 4. It answers how many, with `scanMoreFollows` added where more follow, or, where not even one fits, minus
 *   the bytes that it needs. Its flags are the last four of these numbers.
 */
export const layout = {
  deliveryMax,
  deliveryNumbersAt: deliveryMax * 8,
  deliveryFlagsAt: deliveryMax * 16,
  deliveryBytes: deliveryMax * 17,
  deliveryFailed: 1,
  deliverySwapped: 2,
  deliveryOfWitnessed: 4,
  getAbsent: -1,
  getSlabFull: -2,
  slabAlignment: 8,
  scanMoreFollows: 2 ** 30,
  scanAsciiBit: 0x8000_0000,
  scanRecordHeaderBytes: 8,
  scanLowerInclusive: 1,
  scanUpperInclusive: 2,
  scanReverse: 4,
  scanWithValues: 8,
};

/** Lists of names that cross as their numbers. */
export const lists = {
  operationSteps: {
    doc: 'The steps of restore() and rotateKek(), in their order; those of rotateDek() count records and have no names.',
    names: ['begin', 'kek', 'witness', 'commit', 'file', 'settle', 'strays'],
  },
};

/** C++ enumerators and their names. A name may stand for several; an option then means the first. */
export const enums = {
  ProtectorType: {
    cpp: 'store::ProtectorType',
    names: { kSoftware: 'software', kTpm: 'tpm', kPkcs11: 'pkcs11', kExternal: 'external' },
  },
  SlotType: {
    cpp: 'store::SlotType',
    names: {
      kSoftware: 'software',
      kTpm: 'tpm',
      kPkcs11: 'pkcs11',
      kPassword: 'password',
      kExternal: 'external',
    },
  },
  SecretStoreType: {
    cpp: 'store::SecretStoreType',
    names: { kFile: 'file', kSecretService: 'secret-service' },
  },
  KekType: {
    cpp: 'roots::KekType',
    names: { kAesKeyWrap: 'AES-256', kRsaOaep: 'RSA-3072', kRsaOaepSha1: 'RSA-3072' },
  },
  ProvisionState: {
    cpp: 'store::ProvisionState',
    names: {
      kProvisioning: 'provisioning',
      kComplete: 'complete',
      kDecommissioning: 'decommissioning',
      kRemovingRoot: 'decommissioning',
    },
  },
  StartupState: {
    cpp: 'store::StartupState',
    names: { kColdstart: 'COLDSTART', kWarmstart: 'WARMSTART' },
  },
  FileSystemType: {
    cpp: 'FileSystemType',
    names: { kLocal: 'local', kNetwork: 'network', kMemory: 'memory', kFuse: 'fuse' },
  },
  StartPurpose: {
    cpp: 'store::StartPurpose',
    names: {
      kOpen: 'open',
      kReanchor: 'reanchor',
      kRecover: 'recover',
      kReseal: 'reseal',
      kDecommission: 'decommission',
      kRestore: 'restore',
      kInspect: 'inspect',
    },
  },
  StartStep: {
    cpp: 'store::StartStep',
    names: {
      kDetermineStartupState: 'DetermineStartupState',
      kSetupPersistenceFiles: 'SetupPersistenceFiles',
      kLoadLicenseProviderManifests: 'LoadLicenseProviderManifests',
      kInitializeColdstart: 'InitializeColdstart',
      kInitializeWarmstart: 'InitializeWarmstart',
      kLoadVaultAndValidate: 'LoadVaultAndValidate',
      kValidateVaultFilename: 'ValidateVaultFilename',
      kCreateAndLoadVault: 'CreateAndLoadVault',
      kInitializeStorageIdentifier: 'InitializeStorageIdentifier',
      kValidateVaultIntegrity: 'ValidateVaultIntegrity',
      kValidateTimeTamperAge: 'ValidateTimeTamperAge',
      kUpdateTimeTamper: 'UpdateTimeTamper',
      kSecrets: 'secrets',
      kRootRefused: 'root-refused',
      kRestorePassword: 'restore-password',
      kRestoreWithoutPassword: 'restore-without-password',
      kRestoreWitnesses: 'restore-witnesses',
    },
  },
  RestoreNote: { cpp: 'store::RestoreNote', names: { kTls: 'tls', kHook: 'hook' } },
  KeyAlgorithm: {
    cpp: 'store::KeyAlgorithm',
    names: { kEcP256: 'EC-P256', kEcP384: 'EC-P384', kRsa3072: 'RSA-3072', kEd25519: 'Ed25519' },
  },
  SignatureFormat: { cpp: 'store::SignatureFormat', names: { kDer: 'der', kRaw: 'raw' } },
  KeyLocation: { cpp: 'store::KeyLocation', names: { kVault: 'vault', kHsm: 'hsm' } },
  KeyState: { cpp: 'store::KeyState', names: { kActive: 'active', kDeactivated: 'deactivated' } },
};

const sealedUnder = { tcti: 'text', pcrs: 'bits', pin: { type: 'flag', from: 'has_pin' } };
const tokenName = {
  module: { type: 'text', doc: 'As the caller named it.' },
  label: { type: 'text', from: 'token_label' },
  serial: { type: 'text', from: 'token_serial' },
};
const kek = {
  kekLabel: 'text',
  kekId: { type: 'hex', doc: 'CKA_ID, hexadecimal.' },
  kekType: 'KekType',
};

/** What the core answers. `variant`: which fields a result has goes by this field, its tag. */
export const results = {
  Error: {
    doc: 'How an error crosses from the core.',
    cpp: 'Error',
    fields: {
      reason: { type: 'text', from: 'error_info($.reason).reason', ts: 'Reason' },
      message: { type: 'text', from: 'detail' },
      systemError: { type: 'count', from: 'static_cast<std::uint32_t>($.system_error)', doc: 'errno, or 0.' },
      committed: 'flag',
      outcomeUnknown: 'flag',
    },
  },
  Checkpoint: {
    cpp: 'log::Checkpoint',
    fields: { generation: 'count', head: { type: 'hex', doc: 'SHA-256, hexadecimal.' } },
  },
  Witness: {
    cpp: 'store::WitnessStatus',
    extends: { Checkpoint: 'checkpoint' },
    fields: {
      name: 'text',
      lagGenerations: 'count',
      movedMs: { type: 'time', doc: '0: not in this opening.' },
      failing: 'flag',
    },
  },
  SecretStore: {
    cpp: 'store::SecretStoreConfig',
    variant: { tag: 'type', type: 'SecretStoreType', fields: { kFile: { directory: 'text' }, kSecretService: {} } },
  },
  FileSystem: {
    cpp: 'store::FileSystemKind',
    fields: {
      name: { type: 'text', doc: '`ext4`, `nfs`; hexadecimal for one that is not known.' },
      type: { type: 'FileSystemType', from: 'file_system_type($)' },
    },
  },
  TpmSlot: {
    doc: 'What the key slot of a TPM says.',
    cpp: 'store::TpmSlotStatus',
    fields: sealedUnder,
  },
  TpmStatus: {
    cpp: 'store::TpmStatus',
    fields: {
      description: { type: 'text', doc: 'Manufacturer and firmware, as the TPM gives them.' },
      ...sealedUnder,
      counterIndex: 'count',
      extendIndex: {
        type: 'count',
        absent: '$ == 0',
        doc: 'Undefined in a store of release 0.1 that was not opened for writing since.',
      },
      counter: 'count',
      firstNumber: { type: 'count', absent: '$ == 0' },
      sealEpochEnd: { type: 'count', doc: 'The sealed root is refused beyond this count.' },
      increments: { type: 'count', doc: 'By this store, in its whole life.' },
      firstMs: 'time',
    },
  },
  TokenSlot: {
    doc: 'What the key slot of a token says.',
    cpp: 'store::TokenSlotStatus',
    fields: { ...tokenName, ...kek },
  },
  TokenStatus: {
    cpp: 'store::TokenStatus',
    fields: { ...tokenName, model: { type: 'text', from: 'token_model' }, ...kek },
  },
  RestoreRecord: {
    cpp: 'store::RestoreRecord',
    fields: {
      completed: 'flag',
      generation: 'count',
      timeMs: { type: 'time', from: 'wall_ms' },
      completedMs: { type: 'time', doc: '0: not completed.' },
      cause: 'text',
      formerSerial: 'text',
      keysDeactivated: 'count',
    },
  },
  KeySlot: {
    cpp: 'store::KeySlotStatus',
    fields: { id: 'count', type: 'SlotType', label: { type: 'text', absent: '$.empty()' } },
  },
  Status: {
    cpp: 'store::EngineStatus',
    fields: {
      provision: 'ProvisionState',
      startup: 'StartupState',
      instance: 'text',
      storageId: 'hex',
      protector: 'ProtectorType',
      tpm: { type: 'TpmStatus', optional: true },
      token: { type: 'TokenStatus', optional: true },
      restore: { type: 'RestoreRecord', optional: true },
      lastWrittenHere: 'flag',
      fileSystem: { type: 'FileSystem', absent: '$.name.empty()' },
      passwordVerifiedMs: {
        type: 'time',
        from: 'password_verified_ms',
        doc: '0: never since a password was changed or removed.',
      },
      newest: 'Checkpoint',
      permitCheckpoint: { type: 'Checkpoint', doc: "What a vendor's permit must name." },
      newestMs: 'time',
      timeTamperMs: { type: 'time', from: 'time_tamper.wall_ms' },
      ageMs: 'count',
      clockToleranceMs: 'count',
      maxAgeMs: { type: 'count', from: 'age_ms_max', absent: '$ == store::kMaxAgeOff' },
      windowMaxMs: { type: 'count', from: 'window_ms_max' },
      waitingMs: { type: 'count', doc: 'How long the oldest commit has waited for a witness; 0: none does.' },
      rewindableByVendor: 'flag',
      keySlots: 'KeySlot[]',
      continuityUnproven: 'flag',
      tailRepaired: 'flag',
      tamperFileRecreated: { type: 'flag', from: 'tamper_file_anew' },
      persistenceRepaired: 'flag',
      secretRepaired: 'flag',
      clockCorrected: 'flag',
      clockUnsynchronised: { type: 'flag', doc: 'At COLDSTART.' },
      ageExcused: {
        type: 'flag',
        doc: "TIME_TAMPER was older than the limit, and the TPM's counter confirmed the state.",
      },
      poisoned: 'flag',
      keyId: 'count',
      rotationPending: 'flag',
      formerFieldKeys: 'count',
      records: 'count',
      logBytes: 'count',
      liveBytes: 'count',
      secretStore: { type: 'SecretStore', only: 'store::kind_of($.protector).has_secrets()' },
      witnesses: 'Witness[]',
    },
  },
  StartReport: {
    doc: 'How far a start has come.',
    cpp: 'store::StartReport',
    fields: {
      steps: {
        type: 'StartStep[]',
        doc: "What begins when the start continues: the documents' steps, and in small letters where the caller is always needed. Empty: the plan is complete.",
      },
      startup: 'StartupState',
      loaded: { type: 'flag', doc: 'The vault was read.' },
      opened: { type: 'flag', doc: 'The store is open.' },
      refusal: {
        type: 'Error',
        optional: true,
        doc: 'At `root-refused`, and where an inspection ended.',
      },
    },
  },
  VerifyReport: {
    cpp: 'store::VerifyReport',
    fields: {
      snapshot: 'Checkpoint',
      newest: 'Checkpoint',
      commits: 'count',
      records: 'count',
      auditEntries: 'count',
      witnesses: 'Witness[]',
    },
  },
  AuditEntry: {
    cpp: 'store::AuditEntry',
    fields: {
      generation: 'count',
      timeMs: { type: 'time', from: 'wall_ms' },
      operation: { type: 'text', from: 'log::commit_kind_text($.kind)' },
      operations: 'count',
      head: { type: 'hex', doc: 'SHA-256, hexadecimal.' },
    },
  },
  Inspection: {
    doc: 'What persistence.bin says of itself, unauthenticated.',
    cpp: 'InspectionReport',
    fields: {
      provision: { type: 'ProvisionState', from: 'found.header.state' },
      instance: { type: 'text', from: 'found.header.instance' },
      storageId: { type: 'hex', from: 'found.header.storage_id' },
      keySlots: 'KeySlot[]',
      protector: { type: 'ProtectorType', from: 'root.protector' },
      token: { type: 'TokenSlot', from: 'root.token', optional: true },
      tpm: { type: 'TpmSlot', from: 'root.tpm', optional: true },
      secretStore: { type: 'SecretStore', from: 'root.secret_store', optional: true },
      oneCopyDamaged: { type: 'flag', from: 'found.one_copy_damaged' },
      vaultFilePresent: { type: 'flag', from: 'found.vault_file_present' },
      vaultModifiedMs: {
        type: 'time',
        from: 'found.vault_modified_ms',
        doc: 'By the clock of the file system; 0: not known.',
      },
      tamperFilePresent: { type: 'flag', from: 'found.tamper_file_present' },
    },
  },
  Leftover: {
    cpp: 'store::Leftover',
    fields: { name: 'text', place: 'text', storageId: { type: 'hex', optional: true } },
  },
  PinLimits: {
    cpp: 'roots::PinLimits',
    fields: { min: 'count', max: 'count' },
  },
  TokenInfo: {
    cpp: 'roots::TokenInfo',
    fields: {
      slotId: 'count',
      label: 'text',
      serial: 'text',
      manufacturer: 'text',
      model: 'text',
      initialised: 'flag',
      pinInitialised: 'flag',
      pinLocked: 'flag',
      pinBytes: {
        type: 'PinLimits',
        from: 'pin_limits',
        optional: true,
        doc: 'The permitted length of a PIN in bytes. Undefined: the module does not report it.',
      },
    },
  },
  ParsedUri: {
    doc: 'What a PKCS#11 URI names.',
    cpp: 'roots::ParsedUri',
    fields: {
      module: { type: 'text', from: 'locator.module', absent: '$.empty()' },
      label: { type: 'text', from: 'locator.label', optional: true },
      serial: { type: 'text', from: 'locator.serial', optional: true },
      slotId: { type: 'count', from: 'locator.slot_id', optional: true },
      manufacturer: { type: 'text', from: 'locator.manufacturer', optional: true },
      model: { type: 'text', from: 'locator.model', optional: true },
      object: { type: 'text', from: 'locator.object', absent: '$.empty()', doc: 'Label of the KEK.' },
      id: { type: 'hex', optional: true },
      pinSource: { type: 'text', optional: true },
    },
  },
  ManagedKey: {
    cpp: 'store::ManagedKey',
    fields: {
      id: 'text',
      algorithm: 'KeyAlgorithm',
      location: 'KeyLocation',
      state: 'KeyState',
      createdMs: 'time',
      publicKey: { type: 'bytes', doc: 'SubjectPublicKeyInfo, DER.' },
      chain: { type: 'text', doc: 'PEM; empty: none.' },
      reason: { type: 'text', doc: 'Empty while active.' },
      tokenSerial: { type: 'text', doc: 'Empty for a key in the vault.' },
      tokenKeyId: { type: 'hex', doc: 'Hexadecimal.' },
    },
  },
  TlsCertificate: {
    doc: 'PEM.',
    cpp: 'store::TlsCertificate',
    fields: {
      certificate: { type: 'bytes', from: 'as_bytes($.certificate)' },
      chain: { type: 'bytes', from: 'as_bytes($.chain)' },
    },
  },
  TemporaryCertificate: {
    doc: 'PEM; the caller wipes the key.',
    cpp: 'crypto::TemporaryCertificate',
    fields: { key: { type: 'bytes', from: 'key.view()' }, certificate: 'bytes' },
  },
  PlaceRelation: {
    cpp: 'os::PlaceRelation',
    fields: { overlap: 'flag', sameFileSystem: 'flag' },
  },
};

const tokenLocator = {
  module: { type: 'text', to: 'locator.module' },
  label: { type: 'text', to: 'locator.label' },
  serial: { type: 'text', to: 'locator.serial' },
  slotId: { type: 'whole', to: 'locator.slot_id', max: msMax },
  manufacturer: { type: 'text', to: 'locator.manufacturer' },
  model: { type: 'text', to: 'locator.model' },
  object: { type: 'text', to: 'locator.object', doc: 'Label of the KEK.' },
  initArguments: { type: 'text', to: 'locator.init_arguments' },
  timeLimitMs: { type: 'milliseconds', to: 'limit', max: limits.tokenTimeLimitMsMax.value },
};
const { module, slotId, label, initArguments, timeLimitMs } = tokenLocator;
const pin = { type: 'secret', what: 'the PIN', doc: 'Copied.' };

/**
 * What the core is given. `path` stands before the names in messages. `testing`: only the build for tests knows it.
 * `variant`: the alternative that the tag names, each with the C++ member that holds its options.
 */
export const options = {
  Kdf: {
    cpp: 'crypto::Argon2Parameters',
    path: 'recovery.kdf',
    fields: {
      memoryKiB: { type: 'whole', to: 'memory_kib', max: wordMax },
      passes: { type: 'whole', max: wordMax },
      lanes: { type: 'whole', max: wordMax },
    },
  },
  SecretStore: {
    isResult: true,
    cpp: 'store::SecretStoreConfig',
    path: 'secretStore',
    variant: {
      tag: 'type',
      type: 'SecretStoreType',
      to: 'type',
      alternatives: { kFile: { fields: { directory: { type: 'text', required: true } } }, kSecretService: { fields: {} } },
    },
  },
  Protector: {
    cpp: 'store::ProtectorOptions',
    path: 'protector',
    variant: {
      tag: 'type',
      type: 'ProtectorType',
      to: 'protector',
      alternatives: {
        kSoftware: { name: 'SoftwareProtector', fields: {} },
        kTpm: {
          name: 'TpmProtector',
          member: 'tpm',
          fields: {
            tcti: 'text',
            pcrs: { type: 'bits', max: limits.pcrHighest.value },
            pin,
            anchorsPerDay: { type: 'whole', max: limits.anchorsPerDayMax.value },
          },
        },
        kPkcs11: {
          name: 'Pkcs11Protector',
          doc: 'The token by its parts; what is undefined is left open.',
          member: 'pkcs11',
          fields: { ...tokenLocator, anotherToken: 'flag', pin },
        },
        kExternal: {
          name: 'ExternalProtector',
          member: 'external',
          fields: {
            wrap: { type: 'byteCall', required: true },
            unwrap: { type: 'byteCall', required: true },
            timeLimitMs: { type: 'milliseconds', to: 'limit', max: 600_000 },
          },
        },
      },
    },
  },
  StoreOptions: {
    cpp: 'StoreOptions',
    path: '',
    fields: {
      directory: { type: 'text', to: 'engine.directory', required: true },
      instance: {
        type: 'text',
        to: 'engine.instance',
        required: true,
        doc: 'Empty: whatever the store has; COLDSTART needs a name.',
      },
      protector: { type: 'Protector', to: 'engine' },
      secretStore: { type: 'SecretStore', to: 'engine.secret_store' },
      vaultFileName: { type: 'text', to: 'engine.vault_file_name' },
      readOnly: { type: 'flag', to: 'engine.read_only' },
      allowNetworkFileSystem: { type: 'flag', to: 'engine.allow_network_file_system' },
      removal: {
        type: 'flag',
        to: 'engine.removal',
        doc: 'For a decommission: a vault file that is missing is no refusal.',
      },
      allowLeftovers: {
        type: 'flag',
        to: 'engine.allow_leftovers',
        doc: 'For a decommission: what is not found may be left behind.',
      },
      clockToleranceMs: { type: 'whole', to: 'engine.clock_tolerance_ms', max: msMax },
      maxAgeMs: {
        type: 'wholeOrInfinity',
        to: 'engine.age_ms_max',
        max: msMax,
        infinity: 'store::kMaxAgeOff',
        doc: '`Infinity`: off.',
      },
      windowMaxMs: { type: 'whole', to: 'engine.window_ms_max', max: msMax },
      vendorPublicKey: { type: 'octets', to: 'engine.vendor_public_key', doc: '32 bytes, Ed25519.' },
      withoutRecovery: {
        type: 'flag',
        to: 'engine.without_recovery',
        doc: 'A hardware root without a password slot is asked for in so many words.',
      },
      kdf: { type: 'Kdf', to: 'engine.argon2' },
      witnessIntervalMs: { type: 'whole', to: 'engine.witness_interval_ms', max: wordMax },
      tamperCapacity: { type: 'whole', to: 'engine.tamper_capacity', max: wordMax },
      reserveBytes: { type: 'whole', to: 'engine.reserve_bytes', max: limits.reserveBytesMax.value },
      compactionBytesMin: { type: 'whole', to: 'engine.compaction_bytes_min', max: msMax },
      killBeforeStep: {
        type: 'text',
        testing: true,
        doc: 'The build for tests only: raises SIGKILL before this step of a restore or rotation.',
      },
      clock: { type: 'clock', testing: true, doc: 'The build for tests only.' },
    },
  },
  StartPlan: {
    cpp: 'store::StartPlan',
    path: 'plan',
    fields: {
      purpose: { type: 'StartPurpose', required: true },
      asksForSecrets: {
        type: 'flag',
        doc: 'Stops at `secrets` at a WARMSTART too, once the kind of start is known.',
      },
      hasManifests: { type: 'flag', doc: 'Stops at LoadLicenseProviderManifests.' },
      tellsSteps: { type: 'flag', doc: "Stops at each of the documents' steps." },
      allowLeftovers: {
        type: 'flag',
        doc: 'For a decommission: a key protector that cannot be reached is no refusal.',
      },
    },
  },
  StartSecrets: {
    doc: 'What a start is given at `secrets`.',
    cpp: 'store::StartSecrets',
    path: '',
    fields: {
      protector: 'Protector',
      instance: 'text',
      recoveryPassword: { type: 'secret', what: 'the password', doc: 'Copied.' },
    },
  },
  TokenListing: {
    cpp: 'TokenListing',
    path: 'protector',
    fields: {
      module,
      initArguments,
      timeLimitMs,
      asIs: { type: 'flag', doc: 'Without initialising the module again, after a failure that has looked.' },
    },
  },
  TokenPlan: {
    cpp: 'TokenPlan',
    path: 'protector',
    fields: {
      module,
      slotId: { ...slotId, required: true },
      label: { ...label, required: true },
      initArguments,
      timeLimitMs,
      confirmation: { type: 'text', doc: 'The label of the initialised token that is to be erased.' },
      soPin: { type: 'secret', what: 'the SO PIN', required: true },
      pin: { type: 'secret', what: 'the PIN', required: true },
    },
  },
  RotationOptions: {
    cpp: 'store::RotationOptions',
    path: '',
    fields: { forgetFieldKeys: 'flag', removeOtherPasswords: 'flag' },
  },
};
