// The options by which a command takes the backup password or a vendor's permit.
import type { Command } from 'commander';

import { parsePermit } from '../options/permit.js';
import { addHelpParagraph } from './command.js';
import { wrongOption } from './failure.js';
import { readFile } from './files.js';
import { findPassword, needPassword, passwordVariable } from './secrets.js';

export interface PasswordOptions {
  readonly passwordFile?: string;
  readonly passwordFd?: string;
}

export interface CredentialOptions extends PasswordOptions {
  readonly permitFile?: string;
}

const permitFileBytesMax = 4096;
const permitBytes = 136;

export function addPasswordOptions(command: Command): Command {
  command
    .option(
      '--password-file <file>',
      'read the backup password from a file; one newline at its end is dropped',
    )
    .option('--password-fd <n>', 'read the backup password from an open descriptor');
  return addHelpParagraph(
    command,
    `Without these options the backup password comes from ${passwordVariable}, or is asked for on the terminal.`,
  );
}

export function addCredentialOptions(command: Command): Command {
  return addPasswordOptions(command.option('--permit-file <file>', "read the vendor's permit from a file"));
}

const sourceOf = ({ passwordFile, passwordFd }: PasswordOptions) =>
  ({
    name: 'backup password',
    file: passwordFile,
    fd: passwordFd,
    fileOption: '--password-file',
    fdOption: '--password-fd',
    variable: passwordVariable,
  }) as const;

/** The backup password from its options, the environment or the terminal; the caller wipes it. */
export function readPassword(options: PasswordOptions): Promise<Buffer> {
  return needPassword({ ...sourceOf(options), ask: 'once' });
}

/** The same, where it is optional: the terminal is not asked. */
export function readGivenPassword(options: PasswordOptions): Promise<Buffer | undefined> {
  return findPassword({ ...sourceOf(options), ask: 'no' });
}

/** A vendor's permit: its 136 bytes, or their base64url text. */
export async function readPermit(file: string): Promise<Buffer> {
  const content = await readFile(file, permitFileBytesMax);
  try {
    return parsePermit(content.length === permitBytes ? content : content.toString('latin1'));
  } catch {
    throw wrongOption('--permit-file holds no permit of strongroom');
  }
}
