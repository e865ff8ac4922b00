// restore: brings a store back whose token lost its key, or is lost itself. Says in plain words what was found, then goes
// through the steps.
import type { Command } from 'commander';

import { isPersistenceError, PersistenceError } from '../errors.js';
import {
  detectRestore,
  restore,
  type Detection,
  type Persistence,
  type Pkcs11ProtectorOptions,
} from '../index.js';
import type { RestoreEvent, RestoreStep, TokenSetup } from '../index.js';
import { absolutePath, addCommand, type CommonOptions } from './command.js';
import { wrongOption } from './failure.js';
import { canAsk } from './hidden-prompt.js';
import { wholeNumber } from './numbers.js';
import {
  addCredentialOptions,
  readGivenPassword,
  readPassword,
  readPermit,
  type CredentialOptions,
} from './password-options.js';
import { timeText } from './report.js';
import { credentialFile, findPassword } from './secrets.js';
import {
  addPinSources,
  addRoleOptions,
  addTokenOptions,
  secretStoreOf,
  type ProtectorFlags,
} from './protector-options.js';
import { requireToken, withToken } from './token.js';
import { documentOf } from './status-command.js';
import { workAndClose } from './store.js';
import { painter, printable, tell, writeJson } from './terminal.js';

interface RestoreCommandOptions extends CommonOptions, ProtectorFlags, CredentialOptions {
  readonly passwordCredential?: string;
  readonly setupSlot?: string;
  readonly setupLabel?: string;
  readonly soPinFile?: string;
  readonly soPinFd?: string;
  readonly erase?: string;
  readonly tlsDir?: string;
  readonly hook?: string;
  readonly hookTimeLimit?: string;
  readonly check?: true;
}

export function addRestoreCommand(program: Command): void {
  const command = addCommand(
    program,
    'restore',
    'Bring a store back whose token lost its key, or is lost itself, by its backup password.',
    [
      'strongroom restore DIR --module /usr/lib/softhsm/libsofthsm2.so --pin-file pin.txt',
      'strongroom restore DIR --module M --pin-file pin.txt --setup-slot 0 --setup-label acme --so-pin-file so.txt',
      'strongroom restore DIR --module M --pin-file pin.txt --tls-dir /etc/acme/tls --hook /usr/libexec/acme-reload',
    ],
  )
    .argument('<dir>', 'the directory of the store')
    .option('--check', 'only say what was found, and change nothing')
    .option(
      '--password-credential <name>',
      'read the backup password from this file in $CREDENTIALS_DIRECTORY',
    )
    .option('--setup-slot <n>', 'where the token is lost: set up another one in this slot')
    .option('--setup-label <label>', 'the label of that token (default: that of the lost one)')
    .option('--so-pin-file <file>', "read the security officer's PIN of that token from a file")
    .option('--so-pin-fd <n>', 'read it from an open descriptor')
    .option(
      '--erase <label>',
      'erase the token with this label, which is in that slot, with everything on it',
    )
    .option('--tls-dir <dir>', "write the web server's key, certificate and chain here")
    .option(
      '--hook <file>',
      'then run this executable, without arguments, which tests and reloads the web server',
    )
    .option('--hook-time-limit <ms>', 'for the hook (default: 60000)');
  addCredentialOptions(addPinSources(addRoleOptions(addTokenOptions(command), 'restore'))).action(restoreAct);
}

async function restoreAct(directory: string, options: RestoreCommandOptions): Promise<void> {
  const path = absolutePath(directory);
  const kind = await requireToken(path);
  await withToken(kind, options, async (place) => {
    const secretStore = secretStoreOf(options, path);
    const found = await detectRestore({ directory: path, protector: place, ...secretStore });
    if (options.json !== true) tell(wordsOf(found));
    if (options.check === true) {
      if (options.json === true) await writeJson(documentOfDetection(found));
      if (found.cause !== undefined) throw found.cause;
      if (found.state === 'WIZARD_AUTO_RESTORE_PASSWORD')
        throw new PersistenceError(
          'restore-required',
          'a restore of this store was begun and is not completed',
        );
      return;
    }
    requireRestore(found, options);
    await withSetUp(found, options, async (setUp) => {
      const label = setUp?.label;
      const named = label === undefined ? place : { ...place, token: label };
      await run(options, found, {
        directory: path,
        protector: named,
        ...secretStore,
        ...(setUp && { setUp }),
      });
    });
  });
}

/** In plain words. */
function wordsOf(found: Detection): string {
  const { state, cause, token, tokens, restore: record } = found;
  const named =
    token === undefined
      ? 'the token'
      : `the token '${printable(token.label)}' (serial number ${printable(token.serial)})`;
  const present =
    tokens === undefined
      ? ''
      : `\nThe module has now: ${
          tokens
            .map((each) =>
              each.initialised
                ? `'${printable(each.label)}' (slot ${each.slotId}, serial number ${printable(each.serial)})`
                : `an empty slot ${each.slotId}`,
            )
            .join(', ') || 'no token at all'
        }.`;
  switch (state) {
    case 'WIZARD_COMPLETED':
      return `Nothing is lost: ${named} opens the store.`;
    case 'WIZARD_AUTO_RESTORE_PASSWORD':
      return record?.completed === false
        ? `A restore was begun at ${timeText(record.timeMs)} and is not completed. It continues without the password, because the token opens the store.`
        : `The key of this store is lost: ${printable(cause?.message ?? '')}.\nThe backup password gives it a new one in the token that is there.`;
    case 'WIZARD_SETUP_HSM_AUTORESTORE':
      return `This store's token is not visible: ${named} is not mounted, not readable, unplugged, or lost.${present}\nIf it is lost, set up another one with --setup-slot. The backup password then gives the store a new key in it.`;
    case 'OUTAGE':
      return `The HSM does not answer: ${printable(cause?.message ?? '')}.\nThis heals by itself when it answers again; nothing is lost, and no password helps.`;
    case 'PIN':
      return `The token does not take the PIN: ${printable(cause?.message ?? '')}. Nothing is lost.`;
    case 'ATTENTION':
      return `Nothing can be decided without you: ${printable(cause?.message ?? 'a decommission was begun')}.${present}`;
    case 'REFUSED':
      return `The store is refused: ${printable(cause?.message ?? '')}. A restore does not go over that.`;
    case 'NO_STORE':
      return 'There is no store.';
  }
}

function requireRestore({ state, cause }: Detection, options: RestoreCommandOptions): void {
  switch (state) {
    case 'WIZARD_AUTO_RESTORE_PASSWORD':
      return;
    case 'WIZARD_SETUP_HSM_AUTORESTORE':
      if (options.setupSlot !== undefined) return;
      throw (
        cause ?? new PersistenceError('token-missing', 'the token is lost; set up another with --setup-slot')
      );
    case 'WIZARD_COMPLETED':
      throw new PersistenceError('nothing-to-do', 'the token opens the store');
    default:
      throw cause ?? new PersistenceError('nothing-to-do', 'there is nothing to restore');
  }
}

async function withSetUp(
  { state, token }: Detection,
  options: RestoreCommandOptions,
  work: (setUp: TokenSetup | undefined) => Promise<void>,
): Promise<void> {
  const { setupSlot, setupLabel, soPinFile: file, soPinFd: fd, erase } = options;
  if (setupSlot === undefined) {
    for (const [name, value] of Object.entries({ '--setup-label': setupLabel, '--erase': erase })) {
      if (value !== undefined) throw wrongOption(`${name} needs --setup-slot`);
    }
    return work(undefined);
  }
  const slotId = wholeNumber('--setup-slot', setupSlot);
  const label = setupLabel ?? token?.label;
  if (label === undefined) throw wrongOption('--setup-label is needed: persistence.bin names no token');
  // Another attempt may have set it up before.
  if (state !== 'WIZARD_SETUP_HSM_AUTORESTORE') return work(undefined);
  const soPin = await findPassword({
    name: 'PIN of the security officer',
    file,
    fd,
    fileOption: '--so-pin-file',
    fdOption: '--so-pin-fd',
    ask: 'once',
  });
  if (soPin === undefined)
    throw new PersistenceError('pin-missing', 'the SO PIN is needed: give --so-pin-file or --so-pin-fd');
  try {
    await work({ slotId, label, soPin, ...(erase !== undefined && { erase }) });
  } finally {
    soPin.fill(0);
  }
}

interface Place {
  readonly directory: string;
  readonly protector: Pkcs11ProtectorOptions;
  readonly setUp?: TokenSetup;
}

async function run(options: RestoreCommandOptions, found: Detection, place: Place): Promise<void> {
  const { tlsDir, hook, hookTimeLimit } = options;
  const steps: RestoreEvent[] = [];
  const permit = options.permitFile === undefined ? undefined : await readPermit(options.permitFile);
  for (;;) {
    const password = await passwordOf(options, found);
    try {
      const persistence = await restore({
        ...place,
        credential: { ...(password !== undefined && { password }), ...(permit !== undefined && { permit }) },
        ...(tlsDir !== undefined && { tls: { directory: absolutePath(tlsDir) } }),
        ...(hook !== undefined && { hook: absolutePath(hook) }),
        ...(hookTimeLimit !== undefined && {
          hookTimeLimitMs: wholeNumber('--hook-time-limit', hookTimeLimit, 1),
        }),
        onStep: (event) => {
          steps.push(event);
          if (options.json !== true) showStep(event);
        },
      });
      await tellResult(persistence, options, found, steps);
      return;
    } catch (error) {
      if (!(await mayTryAgain(error, options))) throw error;
    } finally {
      password?.fill(0);
    }
  }
}

/** Not asked for where a restore continues and the token opens the store. */
function passwordOf(options: RestoreCommandOptions, found: Detection): Promise<Buffer | undefined> {
  const file = credentialFile(
    '--password-file',
    options.passwordFile,
    '--password-credential',
    options.passwordCredential,
  );
  const source = { ...options, ...(file !== undefined && { passwordFile: file }) };
  return found.restore?.completed === false ? readGivenPassword(source) : readPassword(source);
}

/** A password that was typed may be mistyped; one from elsewhere stays wrong. */
async function mayTryAgain(error: unknown, options: RestoreCommandOptions): Promise<boolean> {
  const { passwordFile, passwordFd, passwordCredential } = options;
  const given = [passwordFile, passwordFd, passwordCredential];
  if (!isPersistenceError(error) || given.some((source) => source !== undefined) || !canAsk()) return false;
  if (error.reason === 'password-throttled') {
    tell(`${printable(error.message)}.`);
    await new Promise((resolve) => setTimeout(resolve, error.retryAfterMs ?? 0));
    return true;
  }
  if (error.reason !== 'password-wrong') return false;
  tell('The backup password does not open its key slot. Nothing was changed.');
  return true;
}

const stepWords: Readonly<Record<RestoreStep, string>> = {
  detect: 'found out what is lost, and took the lock',
  password: 'the backup password is right',
  witnesses: 'the history and every witness that is left agree',
  token: 'the token is there',
  kek: 'a new key is in the token, and the data key is wrapped with it',
  witness: 'the token remembers the present checkpoint',
  commit: 'key slot, lost keys and journal are committed',
  tls: "the web server's key, certificate and chain are written",
  hook: 'the hook tested and reloaded the web server',
  completed: 'completed: the store serves again',
};

function showStep({ step, state }: RestoreEvent): void {
  if (state === 'begun') return;
  const paint = painter(process.stderr);
  const mark = state === 'done' ? paint('green', 'done   ') : paint('dim', 'skipped');
  const words = state === 'done' ? stepWords[step] : `${step}: not asked for, or nothing is stored`;
  tell(`  ${mark}  ${words}`);
}

async function tellResult(
  persistence: Persistence,
  options: RestoreCommandOptions,
  { scenario }: Detection,
  events: readonly RestoreEvent[],
): Promise<void> {
  const [status, lost] = await workAndClose(
    persistence,
    () =>
      [
        persistence.status(),
        persistence.keys
          .list()
          .filter(({ state, location }) => state === 'deactivated' && location === 'hsm'),
      ] as const,
  );
  if (options.json === true) {
    const steps = events.filter(({ state }) => state !== 'begun').map(({ step, state }) => ({ step, state }));
    const keys = lost.map(({ id, reason }) => ({ id, reason }));
    await writeJson({ restored: true, scenario, steps, keysDeactivated: keys, ...documentOf(status) });
    return;
  }
  tell(`Restored the store ${status.storageId} at generation ${status.generation}.`);
  for (const { id, reason } of lost)
    tell(`  key ${printable(id)} is deactivated: ${printable(reason ?? '')}`);
  if (status.continuity === 'unproven')
    tell('Its continuity is unproven until `strongroom reanchor` accepts the present state.');
}

function documentOfDetection({
  state,
  scenario,
  found,
  cause,
  instance,
  storageId,
  token,
  tokens,
  restore: record,
}: Detection): object {
  return {
    state,
    scenario,
    found,
    ...(cause !== undefined && { reason: cause.reason, message: cause.message }),
    instance,
    storageId,
    token,
    tokens,
    restore: record,
  };
}
