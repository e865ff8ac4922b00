// The PIN of a key protector, and the options by which a command is given one.
import { untilAborted } from '../base/abort.js';
import { PersistenceError } from '../errors.js';
import { invalidOption } from '../options/readers.js';
import { secretBytesMax, type Secret } from '../options/secrets.js';
import type { Flags } from './protector.js';

/** Takes the PIN, and checks its length. */
export async function takePin(pin: Secret, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const bytes = await (signal === undefined ? pin.take() : untilAborted(pin.take(), signal));
  if (bytes.length > 0 && bytes.length <= secretBytesMax) return bytes;
  throw invalidOption(`protector.pin: a PIN has 1 to ${secretBytesMax} bytes`);
}

const pinFlags = [
  ['--pin-file', 'pinFile'],
  ['--pin-fd', 'pinFd'],
  ['--pin-credential', 'pinCredential'],
] as const;

/** The first option that names a source of a PIN. */
export function pinSourceOf(flags: Flags): string | undefined {
  return pinFlags.find(([, name]) => flags[name] !== undefined)?.[0];
}

/** @throws PersistenceError `invalid-option` where a source of a PIN is named */
export function refusePinSource(flags: Flags, why: (source: string) => string): void {
  const source = pinSourceOf(flags);
  if (source !== undefined) throw new PersistenceError('invalid-option', why(source));
}
