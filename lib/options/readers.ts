// Readers of options: objects with a closed set of names, texts, paths, numbers, signals and functions.
//
// Invariant: what leaves this file is plain data of our own, so that no code of the caller runs later by reading it.
import { resolve } from 'node:path';

import { isRecord, requireRecord } from '../base/arguments.js';
import { PersistenceError } from '../errors.js';
import { reading } from '../native/errors.js';
import { refusalOfOldName } from './renamed.js';

/** The refusal of a wrong option. */
export function invalidOption(message: string): PersistenceError {
  return new PersistenceError('invalid-option', message);
}

/**
 * The options that are an argument of a call.
 * @throws PersistenceError `invalid-argument` for what is no object, `invalid-option` for a name that is not among `names`
 */
export function readOptions<Name extends string>(
  value: unknown,
  names: readonly Name[],
  what = 'the options',
): Record<Name, unknown> {
  requireRecord(value, what);
  return readClosed(value, what, names);
}

/**
 * Refuses an old name among the options, for calls that read some of them before the rest.
 * @throws PersistenceError `invalid-option`
 */
export function refuseOldNames(options: object, names: readonly string[]): void {
  for (const name of Object.keys(options)) {
    const refusal = refusalOfOldName(name, 'the options', names);
    if (refusal !== undefined) throw invalidOption(refusal);
  }
}

/** The named properties of an object that has no others, each read once. */
export function readClosed<Name extends string>(
  value: unknown,
  what: string,
  names: readonly Name[],
): Record<Name, unknown> {
  return reading(() => {
    if (!isRecord(value)) throw invalidOption(`${what} must be an object`);
    for (const name of Object.keys(value)) {
      if (!(names as readonly string[]).includes(name))
        throw invalidOption(refusalOfOldName(name, what, names) ?? `${what}: there is no option '${name}'`);
    }
    const source = value as Record<Name, unknown>;
    return Object.fromEntries(names.map((name) => [name, source[name]])) as Record<Name, unknown>;
  });
}

/** A text that is not empty. */
export function readText(value: unknown, name: string): string {
  if (typeof value !== 'string' || value === '' || value.includes('\0')) {
    throw invalidOption(`${name} must be a string that is not empty and has no NUL`);
  }
  return value;
}

/**
 * A path, made absolute.
 * @throws PersistenceError `invalid-option`; `not-found` and `permission-denied` for a relative one where the working
 * directory was removed or is out of reach
 */
export function readPath(value: unknown, name: string): string {
  return toAbsolute(readText(value, name), name);
}

export function toAbsolute(path: string, name: string): string {
  try {
    return resolve(path);
  } catch (cause) {
    const denied = (cause as NodeJS.ErrnoException).code === 'EACCES';
    throw new PersistenceError(
      denied ? 'permission-denied' : 'not-found',
      `${name} is relative, and the working directory ${denied ? 'cannot be read' : 'does not exist any more'}`,
      { cause },
    );
  }
}

/** An AbortSignal, or undefined. */
export function readSignal(value: unknown): AbortSignal | undefined {
  if (value === undefined) return undefined;
  try {
    // The getter refuses what merely has the prototype of one.
    if (value instanceof AbortSignal && typeof value.aborted === 'boolean') return value;
  } catch {
    // no signal
  }
  throw invalidOption('signal must be an AbortSignal');
}

/** A number of milliseconds, or undefined. */
export function readWhole(value: unknown, name: string, max: number, min = 0): number | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
    throw invalidOption(`${name} must be a whole number of milliseconds from ${min} to ${max}`);
  }
  return value;
}

/** A function, or undefined. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the caller names the signature
export function readFunction<T>(value: unknown, name: string): T | undefined {
  if (value !== undefined && typeof value !== 'function') throw invalidOption(`${name} must be a function`);
  return value as T | undefined;
}
