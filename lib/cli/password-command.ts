// password change and password verify: the key slot of the backup password.
import type { Command } from 'commander';

import { isPersistenceError } from '../errors.js';
import { addCommand, type CommonOptions } from './command.js';
import { addPasswordOptions, readPassword, type PasswordOptions } from './password-options.js';
import { needPassword } from './secrets.js';
import { requireStore, withStore, withStoreForReading } from './store.js';
import { tell, writeJson } from './terminal.js';
import { addTpmOptions, type TpmOptions } from './tpm-options.js';

interface ChangeOptions extends CommonOptions, PasswordOptions, TpmOptions {
  readonly newPasswordFile?: string;
  readonly newPasswordFd?: string;
}

export function addPasswordCommand(program: Command): void {
  const password = program.command('password').description('Change or check the backup password.');

  const change = addCommand(password, 'change', 'Replace the backup password.', [
    'strongroom password change DIR',
    'strongroom password change DIR --password-file old.txt --new-password-file new.txt',
  ])
    .argument('<dir>', 'the directory of the store')
    .option(
      '--new-password-file <file>',
      'read the new password from a file; one newline at its end is dropped',
    )
    .option('--new-password-fd <n>', 'read the new password from an open descriptor');
  addPasswordOptions(addTpmOptions(change)).action(changePassword);

  const verify = addCommand(password, 'verify', 'Check that a password opens its key slot.', [
    'strongroom password verify DIR --password-file backup.txt',
  ]).argument('<dir>', 'the directory of the store');
  addPasswordOptions(addTpmOptions(verify)).action(verifyPassword);
}

async function changePassword(directory: string, options: ChangeOptions): Promise<void> {
  await requireStore(directory);
  const current = await readPassword(options);
  let next: Buffer | undefined;
  try {
    next = await needPassword({
      name: 'new password',
      file: options.newPasswordFile,
      fd: options.newPasswordFd,
      fileOption: '--new-password-file',
      fdOption: '--new-password-fd',
      ask: 'twice',
    });
    const fresh = next;
    await withStore(directory, options, (persistence) => persistence.changePassword(current, fresh));
  } finally {
    current.fill(0);
    next?.fill(0);
  }
  if (options.json === true) await writeJson({ changed: true });
  else tell('The backup password was changed.');
}

async function verifyPassword(
  directory: string,
  options: CommonOptions & PasswordOptions & TpmOptions,
): Promise<void> {
  await requireStore(directory);
  const password = await readPassword(options);
  try {
    await drill(directory, options, password);
  } finally {
    password.fill(0);
  }
}

/** A drill, whose date is kept unless another process has the store open. */
async function drill(directory: string, options: CommonOptions & TpmOptions, password: Buffer): Promise<void> {
  let dated = true;
  try {
    await withStore(directory, options, (persistence) => persistence.verifyPassword(password));
  } catch (error) {
    if (!(isPersistenceError(error) && error.reason === 'locked')) throw error;
    dated = false;
    await withStoreForReading(directory, options, (persistence) => persistence.verifyPassword(password));
  }
  if (options.json === true) await writeJson({ valid: true, dated });
  else tell(`The password is right.${dated ? '' : ' Another process has the store open, so the date is not kept.'}`);
}
