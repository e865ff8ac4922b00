// Opening a store for one command. After init a command knows only the directory; the rest stands in persistence.bin.
import type { Command } from 'commander';

import { open, type Persistence } from '../index.js';
import { loadNative } from '../native.js';
import type { NativeInspection } from '../native-binding.js';
import { fromNative } from '../native/errors.js';
import { isPersistenceError, PersistenceError } from '../errors.js';
import { absolutePath } from './command.js';
import { durationMs } from './numbers.js';
import { tellNoticed } from './terminal.js';
import { withPlaces, type ProtectorFlags } from './protector-options.js';

export interface LockOptions {
  readonly waitForLock?: string;
}

/** For commands that open for writing. */
export function addLockOptions(command: Command): Command {
  return command.option(
    '--wait-for-lock <duration>',
    'wait so long for a store that another process has open, such as 30s',
  );
}

/** What the library is told of them. */
export function lockOf({ waitForLock }: LockOptions): { readonly waitForLockMs?: number } {
  return waitForLock === undefined ? {} : { waitForLockMs: durationMs('--wait-for-lock', waitForLock, 's') };
}

/** Opens for reading, which takes no lock and changes nothing, so that a live store can be looked at. */
export async function withStoreForReading<T>(
  directory: string,
  options: ProtectorFlags,
  work: (persistence: Persistence) => T | Promise<T>,
  onProgress?: (done: number, all: number) => void,
): Promise<T> {
  const path = absolutePath(directory);
  return withPlaces(path, options, async (places) =>
    workAndClose(
      await open({
        directory: path,
        ...places,
        readOnly: true,
        ...(onProgress !== undefined && { onProgress }),
      }),
      work,
      { changes: false },
    ),
  );
}

/** Opens a store that is there; never makes one. */
export async function withStore<T>(
  directory: string,
  options: ProtectorFlags & LockOptions,
  work: (persistence: Persistence) => T | Promise<T>,
): Promise<T> {
  const path = absolutePath(directory);
  const lock = lockOf(options);
  await requireStore(path);
  return withPlaces(path, options, async (places) =>
    workAndClose(await open({ directory: path, create: 'never', ...lock, ...places }), work),
  );
}

/**
 * Tells the notices of the opening, works, and closes whatever happens. What the work threw comes before what closing says.
 * @param changes - whether the work, once it succeeded, has changed the store: then whatever closing fails with is
 *   `committed`, since to repeat the command would change it twice
 */
export async function workAndClose<T>(
  persistence: Persistence,
  work: (persistence: Persistence) => T | Promise<T>,
  { changes = true }: { readonly changes?: boolean } = {},
): Promise<T> {
  tellNoticed(persistence.status().notices.filter(({ current }) => current));
  let result: T;
  try {
    result = await work(persistence);
  } catch (error) {
    await persistence.close().catch(() => undefined);
    throw error;
  }
  try {
    await persistence.close();
  } catch (error) {
    throw changes ? durable(error) : error;
  }
  return result;
}

/** The error of a close behind a change, which is durable whatever became of the witness or of the log's end. */
function durable(error: unknown): unknown {
  if (!isPersistenceError(error)) return error;
  return new PersistenceError(error.reason, error.message, { cause: error, committed: true });
}

/**
 * What persistence.bin says of itself, unauthenticated.
 * @throws PersistenceError `no-store`; `partial-restore` when it is missing and other files are there
 */
export async function requireStore(directory: string): Promise<NativeInspection> {
  const path = absolutePath(directory);
  const native = loadNative();
  let header: NativeInspection;
  try {
    header = await fromNative(() => native.inspect(path));
  } catch (error) {
    if (!isAbsence(error)) throw error;
    // Which of the two it is, a start knows.
    await (await open({ directory: path, readOnly: true })).close();
    throw error;
  }
  if (header.provision === 'provisioning') {
    throw new PersistenceError(
      'no-store',
      `the COLDSTART of the store in ${path} was not completed; \`strongroom init\` with the same options completes it`,
    );
  }
  return header;
}

/** Whether an inspection found no persistence.bin, or not even the directory. */
export function isAbsence(error: unknown): boolean {
  return isPersistenceError(error) && (error.reason === 'no-store' || error.reason === 'not-found');
}
