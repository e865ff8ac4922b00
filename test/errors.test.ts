// One table of errors for all of TypeScript: what a caller may rely on.
import assert from 'node:assert/strict';
import { runInNewContext } from 'node:vm';

import { isPersistenceError, PersistenceError } from '../lib/errors.js';

describe('PersistenceError', () => {
  it('takes code, retryability and remedy from the table', () => {
    const cause = new Error('below');
    const error = new PersistenceError('clock-rolled-back', 'the clock is behind', { cause });
    assert.equal(error.code, 'PERS_8003');
    assert.equal(error.reason, 'clock-rolled-back');
    assert.equal(error.retryable, true);
    assert.match(error.remedy, /clock/);
    assert.equal(error.cause, cause);
    assert.equal(error.name, 'PersistenceError');
    assert.equal(String(error), 'PersistenceError: the clock is behind');
    assert.ok(!('committed' in error));
    assert.ok(!('cause' in new PersistenceError('closed', '')));
    assert.equal(new PersistenceError('witness-not-moved', '', { committed: true }).committed, true);
    // What may have taken effect is not to be repeated, whatever the reason.
    assert.equal(new PersistenceError('no-space', '', { outcomeUnknown: true }).retryable, false);
  });

  it('is recognised by code and reason, from any realm', () => {
    assert.ok(isPersistenceError(new PersistenceError('closed', '')));
    assert.ok(
      isPersistenceError(
        runInNewContext("Object.assign(new Error(), { code: 'PERS_8005', reason: 'locked' })"),
      ),
    );
    for (const other of [
      undefined,
      null,
      'PERS_8005',
      8005,
      {},
      new Error('PERS_8005'),
      { code: 'ENOENT', reason: '' },
      { code: 'PERS_8005' },
    ]) {
      assert.equal(isPersistenceError(other), false);
    }
  });
});
