// From what the core or a caller's own code threw to the one class of error that leaves this package.
import { getSystemErrorName } from 'node:util';

import { isError } from '../base/realms.js';
import { PersistenceError, isPersistenceError, type Reason } from '../errors.js';
import type { NativeError } from '../native-binding.js';

function isNativeError(error: unknown): error is NativeError {
  return typeof error === 'object' && error !== null && 'reason' in error && 'systemError' in error;
}

function systemCause(error: NativeError): { cause?: Error } {
  if (error.systemError === 0) return {};
  const code = getSystemErrorName(-error.systemError);
  const cause = Object.assign(new Error(`${code}: errno ${error.systemError}`), {
    code,
    errno: error.systemError,
  });
  return { cause };
}

/**
 * The PersistenceError for anything that was thrown. What is neither ours nor the core's, such as the exception of a
 * getter in the caller's options, becomes the cause of an error with `otherwise` as its reason.
 */
export function toPersistenceError(error: unknown, otherwise: Reason = 'invalid-argument'): PersistenceError {
  if (isPersistenceError(error)) return error;
  if (isNativeError(error)) {
    return new PersistenceError(error.reason, error.message, {
      ...systemCause(error),
      committed: error.committed,
      outcomeUnknown: error.outcomeUnknown,
    });
  }
  return new PersistenceError(otherwise, describe(error), { cause: error });
}

function describe(error: unknown): string {
  try {
    return isError(error) ? error.message : String(error);
  } catch {
    return 'something that cannot be described was thrown';
  }
}

/** Reads what a caller gave. Whatever its getters and traps throw becomes the cause of `invalid-argument`. */
export function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw toPersistenceError(error);
  }
}

/** Awaits a call of the core. */
export async function fromNative<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toPersistenceError(error, 'internal');
  }
}
