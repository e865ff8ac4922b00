// The options by which a command reaches a store's key protector and gives the PIN. After init a command tells by
// persistence.bin which kind it is; what each kind takes is in lib/protectors.
import type { Command } from 'commander';

import { PersistenceError } from '../errors.js';
import type { KeyProtectorOptions, SecretStoreOptions } from '../index.js';
import { loadNative } from '../native.js';
import type { NativeInspection } from '../native-binding.js';
import { fromNative } from '../native/errors.js';
import type {
  CommandOption,
  CommandRole,
  Flags,
  KeyProtectorKind,
  PinQuestion,
} from '../protectors/protector.js';
import { allProtectors, protectorOf } from '../protectors/registry.js';
import { addHelpParagraph, readSecretStorePlace } from './command.js';
import { wrongOption } from './failure.js';
import { credentialFile, findPassword, pinVariable, takeVariable } from './secrets.js';

export interface ProtectorFlags {
  readonly secretStore?: string;
  readonly pinFile?: string;
  readonly pinFd?: string;
  readonly pinCredential?: string;
}

/** What the library is told of the places outside the directory. */
export interface PlacesGiven {
  readonly protector?: KeyProtectorOptions;
  readonly secretStore?: SecretStoreOptions;
}

/** The kinds for which `restore` and the like are. */
export const inTokens = ({ isInToken }: KeyProtectorKind): boolean => isInToken;

type Which = (kind: KeyProtectorKind) => boolean;
const every: Which = () => true;

function addOptions(command: Command, role: CommandRole, which: Which): Command {
  for (const { name, flags, description } of allProtectors.filter(which).flatMap(optionsOf(role))) {
    const isThere = command.options.some((option) => option.attributeName() === name);
    if (!isThere) command.option(flags, description);
  }
  return command;
}

const optionsOf =
  (role: CommandRole) =>
  ({ command }: KeyProtectorKind): readonly CommandOption[] =>
    command?.options[role] ?? [];

/** What only commands of this role have, or have in other words. */
export function addRoleOptions(command: Command, role: Exclude<CommandRole, 'open'>): Command {
  return addOptions(command, role, every);
}

/** How the kinds are reached. */
export function addReachOptions(command: Command, which = every): Command {
  return addOptions(command, 'open', which);
}

/** For commands that can be about a store of any kind. */
export function addProtectorOptions(command: Command): Command {
  return addHelpParagraph(
    addPinSources(addReachOptions(addSecretStoreOption(command))),
    `Without these options the PIN of a TPM or token comes from ${pinVariable}, or is asked for on the terminal.`,
  );
}

/** For commands that are about stores in a token. */
export function addTokenOptions(command: Command): Command {
  return addReachOptions(addSecretStoreOption(command), inTokens);
}

/** For commands that open a store; what they are given is read by {@link secretStoreOf}. */
export function addSecretStoreOption(command: Command): Command {
  return command.option(
    '--secret-store <place>',
    'use this SecretStore instead of the one that persistence.bin names: file:PATH or secret-service',
  );
}

/** Where a PIN comes from, besides the environment and the terminal. */
export function addPinSources(command: Command): Command {
  return command
    .option(
      '--pin-file <file>',
      'read the PIN of the TPM or token from a file; one newline at its end is dropped',
    )
    .option('--pin-fd <n>', 'read the PIN from an open descriptor')
    .option(
      '--pin-credential <name>',
      `read the PIN from this file in $CREDENTIALS_DIRECTORY, as systemd sets it`,
    );
}

export function secretStoreOf(
  { secretStore }: Pick<ProtectorFlags, 'secretStore'>,
  path: string,
): { readonly secretStore?: SecretStoreOptions } {
  return secretStore === undefined ? {} : { secretStore: readSecretStorePlace(secretStore, path) };
}

/** What persistence.bin says of itself; undefined where it cannot be read, which a start will tell. */
export async function headerOf(path: string): Promise<NativeInspection | undefined> {
  const native = loadNative();
  return fromNative(() => native.inspect(path)).catch(() => undefined);
}

/** @throws PersistenceError `invalid-option` for an option that only other kinds have */
export function refuseForeign(kind: KeyProtectorKind, options: object): void {
  const flags = options as Flags;
  const namesOf = ({ command }: KeyProtectorKind): readonly CommandOption[] =>
    Object.values(command?.options ?? {}).flat();
  const own = new Set(namesOf(kind).map(({ name }) => name));
  for (const other of allProtectors)
    for (const { name, flags: text } of namesOf(other)) {
      const [long = ''] = text.split(' ');
      if (flags[name] !== undefined && !own.has(name))
        throw wrongOption(`${long} belongs to protector '${other.type}'`);
    }
}

/** The PIN that is asked for, or undefined; the caller wipes it. */
export async function findPin(
  { pinFile, pinFd, pinCredential }: ProtectorFlags,
  question: Omit<PinQuestion, 'isNeeded'> | undefined,
): Promise<Buffer | undefined> {
  if (question === undefined) {
    takeVariable(pinVariable)?.fill(0);
    return undefined;
  }
  return findPassword({
    ...question,
    file: credentialFile('--pin-file', pinFile, '--pin-credential', pinCredential),
    fd: pinFd,
    fileOption: '--pin-file',
    fdOption: '--pin-fd',
    variable: pinVariable,
  });
}

/** How a command takes the PIN. */
export interface PinWanted {
  readonly role?: CommandRole;
  /** False: without a PIN that there must be the store itself says so. Default true: `pin-missing`. */
  readonly isRequired?: boolean;
  /** False: the terminal is not asked. */
  readonly asks?: boolean;
  readonly header?: NativeInspection | undefined;
}

/** Runs work with `protector` of the library as the options name it, and with its PIN, which is wiped. */
export async function withProtector<T>(
  kind: KeyProtectorKind,
  options: ProtectorFlags,
  { role = 'open', isRequired = true, asks = true, header }: PinWanted,
  work: (protector: KeyProtectorOptions | undefined) => T | Promise<T>,
): Promise<T> {
  const { command } = kind;
  // What no command can open is looked at as far as it goes.
  if (command === undefined) return work(undefined);
  const flags = options as Flags;
  const protector = command.protectorOf(flags, role) as KeyProtectorOptions;
  const question = command.pinOf(flags, role, header);
  const pin = await findPin(options, question && { ...question, ask: asks ? question.ask : 'no' });
  try {
    if (isRequired && question?.isNeeded === true && pin === undefined) {
      throw new PersistenceError(
        'pin-missing',
        `the PIN is needed: give --pin-file, --pin-fd, ${pinVariable} or a terminal to ask on`,
      );
    }
    return await work(pin === undefined ? protector : ({ ...protector, pin } as KeyProtectorOptions));
  } finally {
    pin?.fill(0);
  }
}

/** Runs work with what a store's protector needs. The PIN is looked for only where it has one, and wiped. */
export async function withPlaces<T>(
  path: string,
  options: ProtectorFlags,
  work: (given: PlacesGiven) => T | Promise<T>,
  pin: Pick<PinWanted, 'isRequired'> = {},
): Promise<T> {
  const header = await headerOf(path);
  const place = secretStoreOf(options, path);
  if (header === undefined) {
    takeVariable(pinVariable)?.fill(0);
    return work(place);
  }
  const kind = protectorOf(header.protector);
  refuseForeign(kind, options);
  if (!kind.hasSecretStore && options.secretStore !== undefined)
    throw wrongOption(`--secret-store: protector '${kind.type}' has no SecretStore`);
  return withProtector(kind, options, { ...pin, header }, (protector) =>
    work({ ...place, ...(protector !== undefined && { protector }) }),
  );
}
