// rotate kek: another key-encryption key in the token.
import type { Command } from 'commander';

import { addCommand, type CommonOptions } from './command.js';
import { addHsmOptions, addPinSources, type HsmOptions } from './hsm-options.js';
import { withStore } from './store.js';
import { tell, writeJson } from './terminal.js';

export function addRotateCommand(program: Command): void {
  const rotate = program.command('rotate').description('Replace a key of a store.');
  const kek = addCommand(
    rotate,
    'kek',
    'Make a new key in the token, wrap the root key with it, and remove the old one. Interrupted, run it again.',
    ['strongroom rotate kek DIR --module /usr/lib/softhsm/libsofthsm2.so --pin-file pin.txt'],
  ).argument('<dir>', 'the directory of the store');
  addPinSources(addHsmOptions(kek)).action(rotateKek);
}

async function rotateKek(directory: string, options: CommonOptions & HsmOptions): Promise<void> {
  const { token } = await withStore(directory, options, async (persistence) => {
    await persistence.rotateKek();
    return persistence.status();
  });
  if (options.json === true) await writeJson({ rotated: 'kek', token });
  else
    tell(
      `The token has a new key for this store, ${token?.kekType ?? ''} ${token?.kekId ?? ''}; the old one is gone.`,
    );
}
