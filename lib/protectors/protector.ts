// A kind of key protector: everything that the library, the wizard and the commands ask of it.
//
// Invariant: no one else asks which kind it is. registry.ts is the map from a name to its kind, and what differs between
// kinds is a property or a method here.
import type { PersistenceError, Reason } from '../errors.js';
import type {
  NativeBinding,
  NativeInspection,
  NativePkcs11Protector,
  NativeProtector,
  NativeStatus,
} from '../native-binding.js';

/** What an opening of the key is for. A COLDSTART and a removal of leftovers name the key by the instance. */
export type Purpose = 'open' | 'coldstart' | 'reseal';

/** Where a protector is to be found. */
export interface ProtectorPlace {
  readonly binding: NativeBinding;
  readonly purpose: Purpose;
  /** Empty: whatever the store has. */
  readonly instance: string;
  /** What persistence.bin says, unauthenticated; undefined where it cannot be read. */
  readonly header: () => Promise<NativeInspection | undefined>;
  readonly signal: AbortSignal | undefined;
}

/** A token by what the options name of it. */
export interface NamedToken {
  readonly label?: string | undefined;
  readonly serial?: string | undefined;
  readonly slotId?: number | undefined;
}

/** What a restore and its page ask of the token that the options name. */
export interface GivenToken {
  /** Undefined: no label is named, or only in a URI. */
  readonly label: string | undefined;
  named(binding: NativeBinding): NamedToken | undefined;
  /** Whether the options have a PIN, or a place of one. */
  hasPin(binding: NativeBinding): boolean;
  /** With its module and PIN, whether they were given by themselves or in a URI. */
  locate(place: Pick<ProtectorPlace, 'binding' | 'signal'>): Promise<NativePkcs11Protector>;
  /** The options for a token that was set up in its place. */
  movedTo(made: { readonly label: string; readonly serial: string }): object;
}

/** `protector` of the options, read and checked. Its secrets are read when they are needed, once. */
export interface GivenProtector<Options = unknown> {
  readonly kind: KeyProtectorKind;
  /** As the caller gave them. */
  readonly options: Options;
  /** What the core gets before a secret is read. */
  readonly native: NativeProtector;
  readonly token: GivenToken | undefined;
  /**
   * What the core gets, with the PIN where one is needed.
   * @throws PersistenceError `invalid-option`, `pin-missing`, and the errors of reading a secret
   */
  locate(place: ProtectorPlace): Promise<NativeProtector>;
  /** Wipes our copies of its secrets. */
  forget(): void;
  /** The error of a refusal; see Secret. */
  explain(refusal: PersistenceError): PersistenceError;
}

/** A line of a status for people. */
export type StatusRow = readonly [label: string, value: string];

/** The part of a status that the kind makes. */
export interface ProtectorStatus {
  readonly securityLevel: string;
}

/** An option of a command. */
export interface CommandOption {
  /** The property that it sets. */
  readonly name: string;
  readonly flags: string;
  readonly description: string;
}

/**
 * What a command does with the protector. `open` stands for every command that opens a store; the others have more options,
 * or the same in other words.
 */
export type CommandRole = 'open' | 'init' | 'reseal' | 'restore' | 'leftovers';

/** The options of a command, as they were given. */
export type Flags = Readonly<Record<string, unknown>>;

/** How a command asks for the PIN. */
export interface PinQuestion {
  readonly name: string;
  readonly ask: 'once' | 'twice' | 'no';
  /** Without it the store does not open. */
  readonly isNeeded: boolean;
}

/** A kind on the command line. */
export interface ProtectorCommand {
  readonly options: Partial<Readonly<Record<CommandRole, readonly CommandOption[]>>>;
  /** Whether `--no-pin` is a choice. */
  readonly choosesPin: boolean;
  /** `protector` of the library, without the PIN. */
  protectorOf(flags: Flags, role: CommandRole): object;
  /**
   * Undefined: no PIN is looked for.
   * @throws PersistenceError `invalid-option` for a source of a PIN that does not belong there
   */
  pinOf(flags: Flags, role: CommandRole, header: NativeInspection | undefined): PinQuestion | undefined;
  /** `tpm` and `token` of a status that could be read. */
  statusRows(native: object): readonly StatusRow[];
  /** What persistence.bin says, before anything has authenticated it. */
  headerRows(header: object): readonly StatusRow[];
}

export interface KeyProtectorKind {
  /** `protector.type` of the options, and `protector` of a status. */
  readonly type: string;
  /** The names that `protector` of the options has. */
  readonly optionNames: readonly string[];
  /** What the data are lost with where there is no backup password. */
  readonly holder: string;
  /** Whether two witnesses live in a SecretStore, which the options then name. */
  readonly hasSecretStore: boolean;
  /** Whether the key is in a token, which can be lost and replaced: `restore` and its page are for these. */
  readonly isInToken: boolean;
  /** Whether a vendor's permit alone opens what it permits. Elsewhere the backup password may be needed as well. */
  readonly permitSuffices: boolean;
  /** The refusals with which the key is kept from a state that `reanchor` may accept. */
  readonly keepsKeyFrom: ReadonlySet<Reason>;
  /** Why `recover` has nothing to do, and what has; undefined where it gives the store a new key. */
  readonly insteadOfRecover: string | undefined;
  /** Why `reseal` has nothing to do, known before the key is opened; undefined where the core says it. */
  readonly insteadOfReseal: string | undefined;
  /** What binds a store, in words, by its security level. */
  readonly securityLevels: Readonly<Record<string, string>>;
  /** @param given - of the options, each value read once */
  read(given: Flags): GivenProtector;
  status(native: NativeStatus, nowMs: number): ProtectorStatus;
  /** Undefined: no command opens such a store. */
  readonly command: ProtectorCommand | undefined;
}
