// The backup passwords of an open store. Arguments are checked here; the work is a task of the core.
import { PersistenceError } from '../errors.js';
import { passwordLabelBytesMax } from '../native-border.js';
import { toPersistenceError } from '../native/errors.js';
import { readOptions } from '../options/readers.js';
import type { PasswordOptions } from './persistence.js';
import { readPassword, requireStrong, type PasswordSource } from '../options/secrets.js';
import type { RunTask } from './tasks.js';

function readLabel(options: PasswordOptions): string | undefined {
  const { label } = readOptions(options, ['label']);
  if (label === undefined) return undefined;
  const usable =
    typeof label === 'string' &&
    label.isWellFormed() &&
    Buffer.byteLength(label) <= passwordLabelBytesMax &&
    !/\p{Cc}/u.test(label);
  if (usable) return label;
  throw new PersistenceError(
    'invalid-option',
    `label must be a text of at most ${passwordLabelBytesMax.toString()} bytes without control characters`,
  );
}

/** Takes both passwords, in order, and wipes our copies of them. */
async function withPasswords<T>(
  call: string,
  sources: readonly [current: PasswordSource, next: PasswordSource],
  work: (current: Uint8Array, next: Uint8Array) => Promise<T>,
): Promise<T> {
  const before = readPassword(sources[0], 'the current password');
  const after = readPassword(sources[1], 'the new password');
  if (before === undefined || after === undefined) {
    throw new PersistenceError('invalid-argument', `${call} needs two passwords`);
  }
  try {
    return await work(await before.take(), await after.take());
  } catch (error) {
    throw before.explain(toPersistenceError(error));
  } finally {
    before.forget();
    after.forget();
  }
}

async function withPassword<T>(
  call: string,
  password: PasswordSource,
  work: (password: Uint8Array) => Promise<T>,
): Promise<T> {
  const source = readPassword(password, 'the password');
  if (source === undefined) throw new PersistenceError('invalid-argument', `${call} needs a password`);
  try {
    return await work(await source.take());
  } catch (error) {
    throw source.explain(toPersistenceError(error));
  } finally {
    source.forget();
  }
}

export async function changePassword(
  run: RunTask,
  current: PasswordSource,
  next: PasswordSource,
  options: PasswordOptions,
): Promise<number> {
  const label = readLabel(options);
  return withPasswords('changePassword', [current, next], (before, after) =>
    run((native) => {
      requireStrong(after, 'the new password');
      return native.passwords.change(before, after, label);
    }),
  );
}

export async function addPassword(
  run: RunTask,
  current: PasswordSource,
  next: PasswordSource,
  options: PasswordOptions,
): Promise<number> {
  const label = readLabel(options);
  return withPasswords('addPassword', [current, next], (before, after) =>
    run((native) => {
      requireStrong(after, 'the new password');
      return native.passwords.add(before, after, label);
    }),
  );
}

export async function removePassword(run: RunTask, staying: PasswordSource, slotId: number): Promise<void> {
  if (!Number.isInteger(slotId) || slotId < 1 || slotId > 0xffff_ffff) {
    throw new PersistenceError('invalid-argument', 'slotId must be the id of a key slot');
  }
  return withPassword('removePassword', staying, (bytes) =>
    run((native) => native.passwords.remove(bytes, slotId)),
  );
}

export async function verifyPassword(run: RunTask, password: PasswordSource): Promise<number> {
  return withPassword('verifyPassword', password, (bytes) => run((native) => native.passwords.verify(bytes)));
}
