// Key protector `pkcs11`: which token, which key in it, and where its PIN comes from.
//
// Invariant: the path of a module comes from the caller, in so many words or in a URI, and from nowhere else.
import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';

import { PersistenceError, type Reason } from '../errors.js';
import type { NativeBinding, NativePkcs11Protector, NativeStatus } from '../native-binding.js';
import { tokenTimeLimitMsMax } from '../native-border.js';
import { toPersistenceError } from '../native/errors.js';
import { wholeNumberOf } from '../options/numbers.js';
import { invalidOption, readClosed, readText } from '../options/readers.js';
import { printable } from '../base/printable.js';
import { readPassword, repeatable, type PasswordSource, type Secret } from '../options/secrets.js';
import { pinSourceOf, takePin } from './pin.js';
import type {
  CommandOption,
  Flags,
  GivenProtector,
  GivenToken,
  KeyProtectorKind,
  NamedToken,
  PinQuestion,
  ProtectorPlace,
  StatusRow,
} from './protector.js';

/** The token by its label, or by what else tells it from others. */
export type TokenName =
  | string
  | {
      readonly label?: string;
      readonly serial?: string;
      /** Slots may be numbered anew when the module starts: a label or serial number is better. */
      readonly slotId?: number;
    };

/** A key in a PKCS#11 token wraps the data encryption key; see docs/hsm.md. */
export interface Pkcs11ProtectorOptions {
  readonly type: 'pkcs11';
  /**
   * RFC 7512, in place of `module`, `token` and `object`, or of some of them:
   * `pkcs11:token=acme;object=kek?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/acme/pin`.
   * A `pin-source` is a `file:` URI or an absolute path and is read at every start; `pin-value` is refused.
   */
  readonly uri?: string;
  /** Absolute path of the module. Needed at every start, here or in `uri`: what persistence.bin names is not loaded. */
  readonly module?: string;
  /** Needed at COLDSTART; later, when absent, the token that the store has. */
  readonly token?: TokenName;
  /**
   * The token that `token` or `uri` names takes the place of the store's own, even while that one is there: for a restore
   * that moves the store from one token to another. Without it, a token without the store's key is `token-misnamed` while
   * the store's own token is there.
   */
  readonly anotherToken?: boolean;
  /** Label of the key-encryption key, fixed at COLDSTART; default `strongroom`, a blank and the instance name. */
  readonly object?: string;
  /** Needed at every start, unless the token has a keypad of its own. */
  readonly pin?: PasswordSource;
  /** For the few modules that take a string at C_Initialize, such as NSS; at most 1,024 bytes. */
  readonly initArguments?: string;
  /** For every call into the module; default 10,000 ms. */
  readonly timeLimitMs?: number;
}

/** Key protector `pkcs11`: the token and the key-encryption key in it. */
export interface TokenStatus {
  /** As the caller named it. */
  readonly module: string;
  readonly label: string;
  readonly serial: string;
  readonly model: string;
  readonly kekLabel: string;
  /** CKA_ID, hexadecimal. */
  readonly kekId: string;
  readonly kekType: 'AES-256' | 'RSA-3072';
}

function readOptionalText(value: unknown, name: string): string | undefined {
  return value === undefined ? undefined : readText(value, name);
}

function readNumber(value: unknown, name: string, max: number): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw invalidOption(`${name} must be a whole number from 0 to ${max}`);
}

/** An absolute path; a relative one would depend on where the process was started. */
export function readModulePath(value: unknown, name: string): string | undefined {
  const path = readOptionalText(value, name);
  if (path === undefined || isAbsolute(path)) return path;
  throw invalidOption(`${name} must be an absolute path`);
}

function readTokenName(value: unknown): Pick<NativePkcs11Protector, 'label' | 'serial' | 'slotId'> {
  if (value === undefined) return {};
  if (typeof value === 'string') return { label: readText(value, 'protector.token') };
  const { label, serial, slotId } = readClosed(value, 'protector.token', ['label', 'serial', 'slotId']);
  if (label === undefined && serial === undefined && slotId === undefined)
    throw invalidOption('protector.token names neither label, nor serial, nor slotId');
  return {
    label: readOptionalText(label, 'protector.token.label'),
    serial: readOptionalText(serial, 'protector.token.serial'),
    slotId: readNumber(slotId, 'protector.token.slotId', Number.MAX_SAFE_INTEGER),
  };
}

type ParsedUri = ReturnType<NativeBinding['parsePkcs11Uri']>;

class GivenPkcs11 implements GivenProtector<Pkcs11ProtectorOptions>, GivenToken {
  readonly kind = pkcs11;
  readonly token = this;
  readonly options: Pkcs11ProtectorOptions;
  readonly native: NativePkcs11Protector;
  readonly #uri: string | undefined;
  readonly #pin: Secret | undefined;
  /** Of the file that the URI names; made when the URI was taken apart. */
  #pinOfUri: Secret | undefined;

  constructor(given: Flags) {
    this.options = given as unknown as Pkcs11ProtectorOptions;
    const anotherToken = given['anotherToken'] ?? false;
    if (typeof anotherToken !== 'boolean')
      throw invalidOption('protector.anotherToken must be true or false');
    this.#uri = readOptionalText(given['uri'], 'protector.uri');
    this.native = {
      type: 'pkcs11',
      anotherToken,
      module: readModulePath(given['module'], 'protector.module'),
      ...readTokenName(given['token']),
      object: readOptionalText(given['object'], 'protector.object'),
      initArguments: readOptionalText(given['initArguments'], 'protector.initArguments'),
      timeLimitMs: readNumber(given['timeLimitMs'], 'protector.timeLimitMs', tokenTimeLimitMsMax),
    };
    const pin = readPassword(given['pin'], 'protector.pin');
    this.#pin = pin && repeatable(pin);
  }

  get label(): string | undefined {
    return this.native.label;
  }

  named(binding: NativeBinding): NamedToken | undefined {
    const { token } = this.options;
    return this.#parsed(binding) ?? (typeof token === 'string' ? { label: token } : token);
  }

  hasPin(binding: NativeBinding): boolean {
    return this.#pin !== undefined || this.#parsed(binding)?.pinSource !== undefined;
  }

  movedTo({ label, serial }: { readonly label: string; readonly serial: string }): Pkcs11ProtectorOptions {
    return this.#uri === undefined ? { ...this.options, token: { label, serial } } : this.options;
  }

  /** Takes the URI apart and gets the PIN. At a COLDSTART a key that the caller does not name is named after the instance. */
  async locate(
    place: Pick<ProtectorPlace, 'binding' | 'signal'> & Partial<ProtectorPlace>,
  ): Promise<NativePkcs11Protector> {
    const { binding, signal, purpose, instance = '' } = place;
    const named = this.#parsed(binding);
    const merged = this.#mergedWith(named);
    const pin = this.#secretOf(named);
    const located = {
      ...merged,
      ...(pin !== undefined && { pin: await takePin(pin, signal) }),
    };
    if (purpose !== 'coldstart' || located.object !== undefined) return located;
    return { ...located, object: `strongroom ${instance === '' ? 'default' : instance}` };
  }

  forget(): void {
    this.#pin?.forget();
    this.#pinOfUri?.forget();
  }

  explain(refusal: PersistenceError): PersistenceError {
    return (this.#pin ?? this.#pinOfUri)?.explain(refusal) ?? refusal;
  }

  #parsed(binding: NativeBinding): ParsedUri | undefined {
    if (this.#uri === undefined) return undefined;
    try {
      return binding.parsePkcs11Uri(this.#uri);
    } catch (error) {
      throw toPersistenceError(error);
    }
  }

  #mergedWith(named: ParsedUri | undefined): NativePkcs11Protector {
    if (named?.id !== undefined)
      throw invalidOption("protector.uri: 'id' does not belong here; the store knows the id of its key");
    const merged: Record<string, unknown> = { ...this.native };
    for (const name of ['module', 'label', 'serial', 'slotId', 'manufacturer', 'model', 'object'] as const) {
      const inUri = named?.[name];
      if (inUri === undefined) continue;
      if (merged[name] !== undefined && merged[name] !== inUri)
        throw invalidOption(`protector.uri and the other options differ about ${name}`);
      merged[name] = inUri;
    }
    return { ...merged, type: 'pkcs11' };
  }

  /** Of the caller, or of the URI. It is read once, however often a start asks for it. */
  #secretOf(named: ParsedUri | undefined): Secret | undefined {
    const source = named?.pinSource;
    if (source === undefined) return this.#pin;
    if (this.#pin !== undefined)
      throw invalidOption("protector.pin and the 'pin-source' in protector.uri exclude each other");
    if (this.#pinOfUri === undefined) {
      const pin = readPassword(placeOf(source), "protector.uri: 'pin-source'");
      this.#pinOfUri = pin && repeatable(pin);
    }
    return this.#pinOfUri;
  }
}

/** RFC 7512, section 2.4: where a PIN is to be found. A `|command` would let a configuration run programs. */
function placeOf(source: string): { readonly file: string } {
  let path = source;
  if (/^file:/i.test(source)) {
    try {
      path = fileURLToPath(source);
    } catch (cause) {
      throw new PersistenceError(
        'invalid-option',
        "protector.uri: the 'pin-source' is no file on this machine",
        { cause },
      );
    }
  }
  if (!isAbsolute(path) || path.includes('\0')) {
    throw invalidOption("protector.uri: 'pin-source' takes a file: URI or an absolute path");
  }
  return { file: path };
}

/** The environment variable that names the module. */
export const moduleVariable = 'STRONGROOM_PKCS11_MODULE';

interface Pkcs11Flags {
  readonly module?: string;
  readonly token?: string;
  readonly tokenSerial?: string;
  readonly slot?: string;
  readonly anotherToken?: boolean;
  readonly pkcs11Uri?: string;
  readonly hsmTimeLimit?: string;
  readonly object?: string;
}

function tokenNameOf({ token: label, tokenSerial: serial, slot }: Pkcs11Flags): TokenName | undefined {
  if (label === undefined && serial === undefined && slot === undefined) return undefined;
  return {
    ...(label !== undefined && { label }),
    ...(serial !== undefined && { serial }),
    ...(slot !== undefined && { slotId: wholeNumberOf('--slot', slot) }),
  };
}

function protectorOf(flags: Flags): Pkcs11ProtectorOptions {
  const given = flags as Pkcs11Flags;
  const { pkcs11Uri: uri, hsmTimeLimit, object } = given;
  const fromVariable = process.env[moduleVariable];
  const module = given.module ?? (uri === undefined && fromVariable !== '' ? fromVariable : undefined);
  const token = tokenNameOf(given);
  if (module === undefined && uri === undefined)
    throw invalidOption(`the store is in a PKCS#11 token: give --module, --pkcs11-uri or ${moduleVariable}`);
  return {
    type: 'pkcs11',
    ...(uri !== undefined && { uri }),
    ...(module !== undefined && { module }),
    ...(token !== undefined && { token }),
    ...(object !== undefined && { object }),
    ...(given.anotherToken === true && { anotherToken: true }),
    ...(hsmTimeLimit !== undefined && { timeLimitMs: wholeNumberOf('--hsm-time-limit', hsmTimeLimit, 1) }),
  };
}

function pinOf(flags: Flags): PinQuestion | undefined {
  const { pkcs11Uri: uri = '' } = flags as Pkcs11Flags;
  if (!/[?&]pin-source=/.test(uri)) return { name: 'PIN of the token', ask: 'once', isNeeded: false };
  if (pinSourceOf(flags) !== undefined)
    throw invalidOption("--pin-file and the like, and the URI's pin-source exclude each other");
  return undefined;
}

function statusRows({ token }: { readonly token?: TokenStatus | undefined }): readonly StatusRow[] {
  if (token === undefined) return [];
  const { label, serial, model, kekLabel, kekType, kekId } = token;
  return [
    ['token', `${printable(label)}, serial number ${printable(serial)}; ${printable(model)}`],
    ['key in it', `${printable(kekLabel)}, ${kekType}, id ${kekId}`],
  ];
}

const option = (name: string, flags: string, description: string): CommandOption => ({
  name,
  flags,
  description,
});

export const pkcs11 = {
  type: 'pkcs11',
  optionNames: [
    'type',
    'uri',
    'module',
    'token',
    'anotherToken',
    'object',
    'pin',
    'initArguments',
    'timeLimitMs',
  ],
  holder: 'token',
  hasSecretStore: true,
  isInToken: true,
  permitSuffices: false,
  keepsKeyFrom: new Set<Reason>(),
  insteadOfRecover: 'the key of this store is in a token; `strongroom restore` gives it a new key there',
  insteadOfReseal: undefined,
  securityLevels: { pkcs11: 'a key in a token; whoever has its PIN can put the witness in it back' },
  read: (given: Flags): GivenProtector<Pkcs11ProtectorOptions> => new GivenPkcs11(given),
  status: ({ token }: NativeStatus) => ({
    securityLevel: 'pkcs11' as const,
    token: token && Object.freeze(token),
  }),
  command: {
    options: {
      open: [
        option(
          'module',
          '--module <path>',
          `load this PKCS#11 module, an absolute path (default: ${moduleVariable})`,
        ),
        option('token', '--token <label>', 'use this token instead of the one that persistence.bin names'),
        option('tokenSerial', '--token-serial <serial>', 'use the token with this serial number'),
        option('slot', '--slot <n>', 'use the token in this slot'),
        option(
          'pkcs11Uri',
          '--pkcs11-uri <uri>',
          'take module, token and the file of its PIN from an RFC 7512 URI',
        ),
        option('hsmTimeLimit', '--hsm-time-limit <ms>', 'limit every call into the module (default: 10000)'),
      ],
      init: [
        option(
          'object',
          '--object <label>',
          "label of the key in the token (default: strongroom and the instance's name)",
        ),
      ],
      restore: [
        option(
          'anotherToken',
          '--another-token',
          "use the token that --token and the like name, even while the store's own token is there",
        ),
      ],
      leftovers: [
        option(
          'object',
          '--object <label>',
          "with --leftovers: label of the key in the token (default: strongroom and the instance's name)",
        ),
      ],
    },
    choosesPin: false,
    protectorOf,
    pinOf,
    statusRows,
    headerRows: () => [],
  },
} as const satisfies KeyProtectorKind;
