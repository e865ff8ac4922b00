// password change, add, remove and verify: the key slots of the backup passwords.
import type { Command } from 'commander';

import { isPersistenceError, PersistenceError } from '../errors.js';
import { open, type Persistence } from '../index.js';
import { absolutePath, addCommand, type CommonOptions } from './command.js';
import { wholeNumber } from './numbers.js';
import { addPasswordOptions, readPassword, type PasswordOptions } from './password-options.js';
import { requireStrong } from '../options/secrets.js';
import { askNewPassword } from './recovery-key.js';
import { findPassword, needPassword } from './secrets.js';
import { workAndClose, addLockOptions, requireStore, withStore } from './store.js';
import { tell, writeJson } from './terminal.js';
import { addProtectorOptions, withPlaces, type ProtectorFlags } from './protector-options.js';

interface NewPasswordOptions extends CommonOptions, PasswordOptions, ProtectorFlags {
  readonly newPasswordFile?: string;
  readonly newPasswordFd?: string;
  readonly label?: string;
}

interface RemoveOptions extends CommonOptions, PasswordOptions, ProtectorFlags {
  readonly keySlot: string;
}

export function addPasswordCommand(program: Command): void {
  const password = program.command('password').description('Change, add, remove or check backup passwords.');

  const change = addCommand(password, 'change', 'Replace a backup password: the one that is given.', [
    'strongroom password change DIR',
    'strongroom password change DIR --password-file old.txt --new-password-file new.txt',
  ]);
  addNewPasswordOptions(change).action(changePassword);

  const add = addCommand(
    password,
    'add',
    'Give the store one more backup password; 8 at most. Each does all that a backup password does.',
    ['strongroom password add DIR --label "second safe"'],
  );
  addNewPasswordOptions(add).action(addPassword);

  const remove = addCommand(
    password,
    'remove',
    'Remove a backup password. The one that is given is another one, which stays.',
    ['strongroom password remove DIR --key-slot 3 --password-file mine.txt'],
  )
    .argument('<dir>', 'the directory of the store')
    .requiredOption('--key-slot <id>', 'its key slot, as status shows it');
  addLockOptions(addPasswordOptions(addProtectorOptions(remove))).action(removePassword);

  const verify = addCommand(password, 'verify', 'Check that a password opens a key slot.', [
    'strongroom password verify DIR --password-file backup.txt',
  ]).argument('<dir>', 'the directory of the store');
  addPasswordOptions(addProtectorOptions(verify)).action(verifyPassword);
}

function addNewPasswordOptions(command: Command): Command {
  command
    .argument('<dir>', 'the directory of the store')
    .option(
      '--new-password-file <file>',
      'read the new password from a file; one newline at its end is dropped',
    )
    .option('--new-password-fd <n>', 'read the new password from an open descriptor')
    .option('--label <text>', 'whose password it is, for people; stands in persistence.bin in the clear');
  return addLockOptions(addPasswordOptions(addProtectorOptions(command)));
}

/** Asks for both passwords and wipes them. */
async function withNewPassword(
  directory: string,
  options: NewPasswordOptions,
  work: (
    persistence: Persistence,
    current: Buffer,
    next: Buffer,
    label: { label?: string },
  ) => Promise<number>,
): Promise<number> {
  await requireStore(directory);
  const current = await readPassword(options);
  let next: Buffer | undefined;
  try {
    next = await readNewPassword(options);
    const fresh = next;
    const label = options.label === undefined ? {} : { label: options.label };
    return await withStore(directory, options, (persistence) => work(persistence, current, fresh, label));
  } finally {
    current.fill(0);
    next?.fill(0);
  }
}

async function readNewPassword(options: NewPasswordOptions): Promise<Buffer> {
  const source = {
    name: 'new password',
    file: options.newPasswordFile,
    fd: options.newPasswordFd,
    fileOption: '--new-password-file',
    fdOption: '--new-password-fd',
    ask: 'no',
  } as const;
  const password =
    (await findPassword(source)) ?? (await askNewPassword(source.name)) ?? (await needPassword(source));
  try {
    requireStrong(password, 'the new password');
  } catch (error) {
    password.fill(0);
    throw error;
  }
  return password;
}

async function changePassword(directory: string, options: NewPasswordOptions): Promise<void> {
  const slot = await withNewPassword(directory, options, (persistence, current, next, label) =>
    persistence.changePassword(current, next, label),
  );
  if (options.json === true) await writeJson({ changed: true, slot });
  else tell(`The backup password was changed; it has key slot ${slot.toString()} now.`);
}

async function addPassword(directory: string, options: NewPasswordOptions): Promise<void> {
  const slot = await withNewPassword(directory, options, (persistence, current, next, label) =>
    persistence.addPassword(current, next, label),
  );
  if (options.json === true) await writeJson({ added: true, slot });
  else tell(`The backup password was added; it has key slot ${slot.toString()}.`);
}

async function removePassword(directory: string, options: RemoveOptions): Promise<void> {
  const slot = wholeNumber('--key-slot', options.keySlot, 1);
  await requireStore(directory);
  const staying = await readPassword(options);
  try {
    await withStore(directory, options, (persistence) => persistence.removePassword(staying, slot));
  } finally {
    staying.fill(0);
  }
  if (options.json === true) await writeJson({ removed: true, slot });
  else
    tell(
      `The backup password of key slot ${slot.toString()} was removed. A copy of the files from before still opens with it, until \`rotate dek\`.`,
    );
}

async function verifyPassword(
  directory: string,
  options: CommonOptions & PasswordOptions & ProtectorFlags,
): Promise<void> {
  await requireStore(directory);
  const password = await readPassword(options);
  try {
    await drill(directory, options, password);
  } finally {
    password.fill(0);
  }
}

/**
 * A drill. A wrong password changes nothing. The date of a right one is a commit, which moves the witnesses, so it is kept
 * only where the store was last opened for writing: a drill on a copy must not turn the witnesses against the original.
 */
async function drill(
  directory: string,
  options: CommonOptions & ProtectorFlags,
  password: Buffer,
): Promise<void> {
  const verify = (persistence: Persistence): Promise<number> => persistence.verifyPassword(password);
  let slot = 0;
  const undated = await withPlaces(absolutePath(directory), options, async (places) => {
    const place = { directory: absolutePath(directory), create: 'never', ...places } as const;
    const isOriginal = await workAndClose(await open({ ...place, readOnly: true }), async (persistence) => {
      slot = await verify(persistence);
      return persistence.status().lastWrittenHere;
    });
    if (!isOriginal)
      return 'The store was last opened for writing in another directory, so the date is not kept.';
    try {
      await workAndClose(await open(place), verify, { changes: false });
      return undefined;
    } catch (error) {
      if (isPersistenceError(error) && error.reason === 'witness-not-moved') {
        // To repeat a drill does no harm, so nothing is said of that.
        throw new PersistenceError(error.reason, `the password is right; ${error.message}`, { cause: error });
      }
      if (!isPersistenceError(error) || error.reason !== 'locked') throw error;
      return 'Another process has the store, or a copy of it, open, so the date is not kept.';
    }
  });
  if (options.json === true) await writeJson({ valid: true, slot, dated: undated === undefined });
  else
    tell(
      `The password is right; it opens key slot ${slot.toString()}.${undated === undefined ? '' : ` ${undated}`}`,
    );
}
