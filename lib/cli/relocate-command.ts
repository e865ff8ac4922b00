// relocate: the SecretStore was moved, and persistence.bin is to name its new place.
import type { Command } from 'commander';

import { addCommand, type CommonOptions } from './command.js';
import { wrongOption } from './failure.js';
import { addLockOptions, withStore, type LockOptions } from './store.js';
import { addProtectorOptions, type ProtectorFlags } from './protector-options.js';
import { printable, tell, writeJson } from './terminal.js';

export function addRelocateCommand(program: Command): void {
  const command = addCommand(
    program,
    'relocate',
    'Write the place of a SecretStore that was moved into persistence.bin.',
    ['strongroom relocate DIR --secret-store file:/var/lib/acme/new-secrets'],
  ).argument('<dir>', 'the directory of the store');
  addLockOptions(addProtectorOptions(command)).action(relocate);
}

async function relocate(
  directory: string,
  options: CommonOptions & LockOptions & ProtectorFlags,
): Promise<void> {
  if (options.secretStore === undefined)
    throw wrongOption("required option '--secret-store <place>' not specified: where the SecretStore is now");
  const { secretStore } = await withStore(directory, options, async (persistence) => {
    await persistence.relocate();
    return persistence.status();
  });
  if (options.json === true) await writeJson({ relocated: true, secretStore });
  else
    tell(
      `persistence.bin names ${secretStore?.type === 'file' ? `file:${printable(secretStore.directory)}` : 'secret-service'} now.`,
    );
}
