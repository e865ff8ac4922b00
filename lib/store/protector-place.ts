// What the core is told of a store's key protector, with the PIN that opens it.
import { PersistenceError, type Reason } from '../errors.js';
import type { NativeBinding, NativeInspection, NativeProtector } from '../native-binding.js';
import { fromNative, toPersistenceError } from '../native/errors.js';
import type { ReadOptions } from './open-options.js';
import type { Purpose } from '../protectors/protector.js';
import { allProtectors, protectorOf, readProtector } from '../protectors/registry.js';

type Place = Pick<ReadOptions, 'native' | 'protector' | 'signal'>;

async function headerOf(binding: NativeBinding, directory: string): Promise<NativeInspection | undefined> {
  return fromNative(() => binding.inspect(directory)).catch(() => undefined);
}

/** The protector of the options; undefined: the one that persistence.bin names, as it is. */
export async function locateProtector(
  binding: NativeBinding,
  { native, protector, signal }: Place,
  purpose: Purpose,
): Promise<NativeProtector | undefined> {
  const { directory, instance } = native;
  const header = (): Promise<NativeInspection | undefined> => headerOf(binding, directory);
  const place = { binding, purpose, instance, header, signal };
  if (protector !== undefined) return protector.locate(place);
  if (purpose !== 'reseal') return undefined;
  const type = (await header())?.protector;
  if (type === undefined) return undefined;
  const instead = protectorOf(type).insteadOfReseal;
  if (instead !== undefined) throw new PersistenceError('nothing-to-do', instead);
  return readProtector({ type })?.locate(place);
}

/**
 * Requires the backup password where the protector keeps its key from the state that a reanchor accepts.
 * @returns whether the password opens the store
 */
export async function isOpenedByPassword(
  binding: NativeBinding,
  { native }: Pick<ReadOptions, 'native'>,
  error: unknown,
  password: Uint8Array | undefined,
): Promise<boolean> {
  const { reason } = toPersistenceError(error, 'internal');
  if (!mayBeKept.has(reason)) return false;
  const { protector: type } = await fromNative(() => binding.inspect(native.directory));
  const { keepsKeyFrom, holder } = protectorOf(type);
  if (!keepsKeyFrom.has(reason)) return false;
  if (password !== undefined) return true;
  throw new PersistenceError(
    'password-missing',
    `the ${holder} does not open this state; only the backup password does, a permit alone cannot`,
    { cause: error },
  );
}

/** Of any kind. */
const mayBeKept: ReadonlySet<Reason> = new Set(
  allProtectors.flatMap(({ keepsKeyFrom }) => [...keepsKeyFrom]),
);
