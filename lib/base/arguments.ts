// Arguments of a caller: objects with named properties, bytes that can be read, and copies of them.
import { types } from 'node:util';

import { PersistenceError } from '../errors.js';

/** Throws for a view of memory that was transferred away, or that ends behind a buffer which was shrunk. */
// eslint-disable-next-line @typescript-eslint/unbound-method -- called on views that may have another `at`
const { at: touch } = Uint8Array.prototype;

function invalid(message: string): PersistenceError {
  return new PersistenceError('invalid-argument', message);
}

/** An object whose properties have names: no list, no bytes. */
export function isRecord(value: unknown): value is object {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !ArrayBuffer.isView(value) &&
    !types.isAnyArrayBuffer(value)
  );
}

/** @throws PersistenceError `invalid-argument` */
export function requireRecord(value: unknown, what = 'the options'): asserts value is object {
  if (!isRecord(value)) throw invalid(`${what} must be an object`);
}

/**
 * Requires a Uint8Array that can be read: not detached, not shared memory, not beyond the end of a resizable buffer.
 * @param what - names it in the message
 * @throws PersistenceError `invalid-argument`
 */
export function requireBytes(value: unknown, what: string): asserts value is Uint8Array {
  // By its internal slot: neither a Proxy nor an object with the prototype of one is taken for one.
  if (!types.isUint8Array(value)) throw invalid(`${what} must be a Uint8Array`);
  if (types.isSharedArrayBuffer(value.buffer)) throw invalid(`${what} must not be shared memory`);
  try {
    touch.call(value, 0);
  } catch (cause) {
    throw new PersistenceError(
      'invalid-argument',
      `${what} is a view of a buffer that was detached or became too short`,
      { cause },
    );
  }
}

/**
 * A copy in memory of its own, which can be wiped.
 * @throws PersistenceError `invalid-argument`
 */
export function copyBytes(value: unknown, what: string): Uint8Array {
  requireBytes(value, what);
  return new Uint8Array(value);
}
