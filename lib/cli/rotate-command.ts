// rotate kek: another key-encryption key in the token. rotate dek: another key under everything that the store holds.
import type { Command } from 'commander';

import { PersistenceError } from '../errors.js';
import type { Persistence } from '../index.js';
import { hasPassword, type KeySlot } from '../store/status.js';
import { addCommand, type CommonOptions } from './command.js';
import { addPasswordOptions, readPassword, type PasswordOptions } from './password-options.js';
import { ProgressBar } from './progress.js';
import { ask, needTerminal } from './question.js';
import { grouped, keySlotsText } from './report.js';
import { addLockOptions, requireStore, withStore } from './store.js';
import { tell, writeJson } from './terminal.js';
import { passwordSlots } from '../protectors/registry.js';
import {
  addPinSources,
  addProtectorOptions,
  addTokenOptions,
  type ProtectorFlags,
} from './protector-options.js';

interface DekOptions extends CommonOptions, PasswordOptions, ProtectorFlags {
  readonly forgetFieldKeys?: boolean;
  readonly removeOtherPasswords?: boolean;
  readonly yes?: boolean;
}

export function addRotateCommand(program: Command): void {
  const rotate = program.command('rotate').description('Replace a key of a store.');
  const kek = addCommand(
    rotate,
    'kek',
    'Make a new key in the token, wrap the data encryption key with it, and remove the old one. Interrupted, run it again.',
    ['strongroom rotate kek DIR --module /usr/lib/softhsm/libsofthsm2.so --pin-file pin.txt'],
  ).argument('<dir>', 'the directory of the store');
  addLockOptions(addPinSources(addTokenOptions(kek))).action(rotateKek);

  const dek = addCommand(
    rotate,
    'dek',
    'Give the store a new data encryption key and seal everything anew under it. Interrupted, run it again.',
    ['strongroom rotate dek DIR', 'strongroom rotate dek DIR --password-file backup.txt'],
  )
    .argument('<dir>', 'the directory of the store')
    .option(
      '--forget-field-keys',
      'let go of the keys of former rotations: what the application sealed before the last one opens no more',
    )
    .option(
      '--remove-other-passwords',
      'where the store has several backup passwords: remove all but the one that is given; they cannot be wrapped around the new key',
    )
    .option('--yes', 'do not ask before other passwords are removed');
  addLockOptions(addPasswordOptions(addProtectorOptions(dek))).action(rotateDek);
}

async function rotateDek(directory: string, options: DekOptions): Promise<void> {
  const { keySlots } = await requireStore(directory);
  const { dek, records } = await withStore(directory, options, async (persistence) => {
    await rotateWith(persistence, options, hasPassword(keySlots));
    return persistence.status();
  });
  if (options.json === true) await writeJson({ rotated: 'dek', dek, records });
  else
    tell(
      `The store has data encryption key ${grouped(dek.keyId)}; ${grouped(records)} records are sealed under it.`,
    );
}

async function rotateWith(persistence: Persistence, options: DekOptions, asks: boolean): Promise<void> {
  const pending = persistence.status().dek.rotation === 'pending';
  if (pending && options.json !== true) tell('Going on with the rotation that was interrupted.');
  const removes = options.removeOtherPasswords === true && !pending && passwordsOf(persistence).length > 1;
  if (removes && options.yes !== true) needTerminal('--remove-other-passwords needs --yes');
  const password = asks && !pending ? await readPassword(options) : undefined;
  const bar = new ProgressBar('Sealing anew');
  try {
    if (removes && password !== undefined) await confirmRemoval(persistence, password, options);
    await persistence.rotateDek({
      ...(password !== undefined && { password }),
      forgetFieldKeys: options.forgetFieldKeys === true,
      removeOtherPasswords: options.removeOtherPasswords === true,
      onProgress: bar.update,
    });
  } finally {
    bar.finish();
    password?.fill(0);
  }
}

const passwordsOf = (persistence: Persistence): readonly KeySlot[] =>
  passwordSlots(persistence.status().keySlots);

/** @throws PersistenceError `password-wrong`; `aborted` where it is not confirmed */
async function confirmRemoval(
  persistence: Persistence,
  password: Buffer,
  { json, yes }: DekOptions,
): Promise<void> {
  const given = await persistence.verifyPassword(password);
  const others = passwordsOf(persistence).filter(({ id }) => id !== given);
  const what = others.length === 1 ? 'another backup password' : `${others.length} other backup passwords`;
  if (json !== true || yes !== true) tell(`This removes ${what}, for good: ${keySlotsText(others)}.`);
  if (yes === true) return;
  const answer = await ask('Type yes to go on: ');
  if (answer.trim() === 'yes') return;
  tell('No password was removed.');
  throw new PersistenceError('aborted', 'the removal of other backup passwords was not confirmed');
}

async function rotateKek(directory: string, options: CommonOptions & ProtectorFlags): Promise<void> {
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
