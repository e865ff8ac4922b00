// What a test expects to be thrown.
import assert from 'node:assert/strict';

import { isPersistenceError, type PersistenceError, type Reason } from '../../lib/errors.js';

function check(error: unknown, reason: Reason): PersistenceError {
  assert.ok(isPersistenceError(error), `not a PersistenceError: ${String(error)}`);
  assert.equal(error.reason, reason, error.message);
  return error;
}

/** The error of a call that throws with this reason. */
export function throwsReason(call: () => unknown, reason: Reason): PersistenceError {
  try {
    call();
  } catch (error) {
    return check(error, reason);
  }
  assert.fail(`nothing was thrown; expected ${reason}`);
}

/** The error of a promise that rejects with this reason. A call that throws instead fails. */
export async function rejectsReason(promise: Promise<unknown>, reason: Reason): Promise<PersistenceError> {
  try {
    await promise;
  } catch (error) {
    return check(error, reason);
  }
  assert.fail(`nothing was rejected; expected ${reason}`);
}
