// hsm list and hsm setup: tokens without a store. `hsm setup` is the documents' wizard_setup_hsm.sh, with its arguments.
import { Argument, type Command } from 'commander';

import type { Reason } from '../error-table.js';
import { isPersistenceError, PersistenceError } from '../errors.js';
import { listTokens, setUpToken, type TokenInfo } from '../index.js';
import { addHelpParagraph, addCommand, type CommonOptions } from './command.js';
import { exitCodeOf, exitCodes, failureOf } from './failure.js';

import { wholeNumber } from './numbers.js';
import { table } from './report.js';
import { credentialFile, findPassword } from './secrets.js';
import { printable, tell, writeData, writeJson } from './terminal.js';

interface ListOptions extends CommonOptions {
  readonly initArguments?: string;
  readonly timeLimit?: string;
}

interface SetUpOptions extends ListOptions {
  readonly soPinFile?: string;
  readonly soPinFd?: string;
  readonly soPinCredential?: string;
  readonly pinFile?: string;
  readonly pinFd?: string;
  readonly pinCredential?: string;
  readonly erase?: string;
}

/** What `hsm setup` ends with, one number for each failure; 2 for a wrong command line. */
export const setUpExitCodes: Partial<Readonly<Record<Reason, number>>> = {
  'hsm-unreachable': 10,
  'token-missing': 11,
  'token-not-confirmed': 12,
  'token-exists': 13,
  'pin-wrong': 14,
  'pin-locked': 15,
  'pin-missing': 16,
  'hsm-refused': 17,
  'pin-length': 18,
  'token-write-failed': 19,
  'pin-expired': 20,
};

/** Another exit code than the reason has elsewhere. */
export class SetUpFailure extends Error {
  constructor(
    readonly failure: PersistenceError,
    readonly exitCode: number,
  ) {
    super(failure.message);
  }
}

export function addHsmCommands(program: Command): void {
  const hsm = program.command('hsm').description('Look at the tokens of a PKCS#11 module, or set one up.');
  addCommand(hsm, 'list', 'List the tokens of a module. No PIN is needed.', [
    'strongroom hsm list /usr/lib/softhsm/libsofthsm2.so',
  ])
    .argument('<module>', 'absolute path of the PKCS#11 module')
    .option('--init-arguments <text>', 'give this string to C_Initialize, for the few modules that take one')
    .option('--time-limit <ms>', 'limit every call into the module (default: 10000)')
    .action(list);

  const setup = addCommand(
    hsm,
    'setup',
    'Initialise a token in a slot and set its PIN. An initialised token is erased only when its label is given.',
    [
      'strongroom hsm setup /usr/lib/softhsm/libsofthsm2.so 0 acme --so-pin-file so.txt --pin-file pin.txt',
      'strongroom hsm setup MODULE 0 acme auto_restore_setup --so-pin-file so.txt --pin-file pin.txt',
    ],
  )
    .argument('<module>', 'absolute path of the PKCS#11 module')
    .argument('<slot>', 'the slot, as `strongroom hsm list` shows it')
    .argument('<label>', 'the label of the new token')
    .addArgument(
      new Argument('[purpose]', 'what comes next is told: the restore of a store').choices([
        'auto_restore_setup',
      ]),
    )
    .option(
      '--so-pin-file <file>',
      "read the security officer's PIN from a file; one newline at its end is dropped",
    )
    .option('--so-pin-fd <n>', 'read it from an open descriptor')
    .option('--so-pin-credential <name>', 'read it from this file in $CREDENTIALS_DIRECTORY')
    .option('--pin-file <file>', "read the user's PIN from a file; one newline at its end is dropped")
    .option('--pin-fd <n>', 'read it from an open descriptor')
    .option('--pin-credential <name>', 'read it from this file in $CREDENTIALS_DIRECTORY')
    .option(
      '--erase <label>',
      'erase the token that has this label and is in the slot, with everything on it',
    )
    .option('--init-arguments <text>', 'give this string to C_Initialize, for the few modules that take one')
    .option('--time-limit <ms>', 'limit every call into the module (default: 10000)');
  addHelpParagraph(
    setup,
    'Exit codes: 0 set up, 2 usage, 10 the module cannot be reached, 11 no such slot, 12 the slot holds a token that was not confirmed with --erase, 13 the label is taken, 14 the SO PIN is wrong, 15 it is locked, 16 a PIN is missing, 17 the token refused, 18 a PIN is too short or too long, 19 the token does not keep what is written, 20 the token asks for a new PIN.',
  ).action(setUp);
}

function placeOf(
  module: string,
  { initArguments, timeLimit }: ListOptions,
): {
  module: string;
  initArguments?: string;
  timeLimitMs?: number;
} {
  return {
    module,
    ...(initArguments !== undefined && { initArguments }),
    ...(timeLimit !== undefined && { timeLimitMs: wholeNumber('--time-limit', timeLimit, 1) }),
  };
}

async function list(module: string, options: ListOptions): Promise<void> {
  const tokens = await listTokens(placeOf(module, options));
  if (options.json === true) {
    for (const token of tokens) await writeJson(token);
    return;
  }
  await writeData(table(tokens.map((token) => [`slot ${token.slotId}`, wordsOf(token)] as const)));
}

function wordsOf({
  initialised,
  label,
  serial,
  model,
  manufacturer,
  pinInitialised,
  pinLocked,
}: TokenInfo): string {
  const maker = `${printable(manufacturer)} ${printable(model)}`.trim();
  if (!initialised) return `empty; ${maker}`;
  const pin = pinLocked ? ', PIN locked' : pinInitialised ? '' : ', no PIN yet';
  return `'${printable(label)}', serial number ${printable(serial)}${pin}; ${maker}`;
}

async function setUp(
  module: string,
  slot: string,
  label: string,
  purpose: string | undefined,
  options: SetUpOptions,
): Promise<void> {
  const slotId = wholeNumber('<slot>', slot);
  const { erase } = options;
  let soPin: Buffer | undefined;
  let pin: Buffer | undefined;
  try {
    soPin = await findPassword({
      name: 'PIN of the security officer',
      file: credentialFile(
        '--so-pin-file',
        options.soPinFile,
        '--so-pin-credential',
        options.soPinCredential,
      ),
      fd: options.soPinFd,
      fileOption: '--so-pin-file',
      fdOption: '--so-pin-fd',
      ask: 'once',
    });
    pin = await findPassword({
      name: 'PIN of the user',
      file: credentialFile('--pin-file', options.pinFile, '--pin-credential', options.pinCredential),
      fd: options.pinFd,
      fileOption: '--pin-file',
      fdOption: '--pin-fd',
      variable: 'STRONGROOM_PIN',
      ask: 'twice',
    });
    if (soPin === undefined || pin === undefined)
      throw new PersistenceError(
        'pin-missing',
        'both PINs are needed: give --so-pin-file and --pin-file, or the like',
      );
    const place = { ...placeOf(module, options), slotId, label, soPin, pin };
    const token = await setUpToken({ ...place, ...(erase !== undefined && { erase }) });
    if (options.json === true) await writeJson(token);
    else
      tell(
        `Made the token '${printable(label)}' in slot ${token.slotId}, serial number ${printable(token.serial)}.`,
      );
    if (purpose !== undefined && options.json !== true)
      tell('State WIZARD_AUTO_RESTORE_PASSWORD: go on with `strongroom restore` and the backup password.');
  } catch (error) {
    throw ofSetUp(error);
  } finally {
    soPin?.fill(0);
    pin?.fill(0);
  }
}

function ofSetUp(error: unknown): unknown {
  if (!isPersistenceError(error) || exitCodeOf(failureOf(error)) === exitCodes.usage) return error;
  const exitCode = setUpExitCodes[error.reason];
  return exitCode === undefined ? error : new SetUpFailure(error, exitCode);
}
