// The exit code and the report of whatever a command throws; each reason that leads to the wizard, not only those that a
// command meets in the other tests.
import assert from 'node:assert/strict';

import { errorTable, type Reason } from '../../lib/error-table.js';
import { exitCodeOf, failureOf, KeyAbsent } from '../../lib/cli/failure.js';
import { PersistenceError } from '../../lib/errors.js';

describe('strongroom: failures', () => {
  const codeOf = (reason: Reason): number => exitCodeOf(failureOf(new PersistenceError(reason, 'x')));

  it('a lost key or token, and a restore that is not completed, end with 5', () => {
    const lost = ['restore-required', 'token-missing', 'kek-missing', 'kek-replaced', 'wrapped-dek-corrupt'];
    const reasons = Object.keys(errorTable) as Reason[];
    assert.deepEqual(reasons.filter((reason) => codeOf(reason) === 5).sort(), lost.sort());
  });

  it('the class comes first, then what may heal by itself', () => {
    for (const [reason, { code, retryable }] of Object.entries(errorTable) as [
      Reason,
      { code: string; retryable: boolean },
    ][]) {
      const exit = codeOf(reason);
      if (code === 'PERS_8003') assert.equal(exit, retryable ? 4 : 3, reason);
      else if (code === 'PERS_8001') assert.equal(exit, 2, reason);
      else if (exit !== 5) assert.equal(exit, retryable || reason === 'root-unavailable' ? 4 : 1, reason);
    }
    assert.equal(exitCodeOf(failureOf(new KeyAbsent('seats'))), 1);
    assert.equal(exitCodeOf(failureOf(new TypeError('x'))), 1);
  });

  it('a report says that the change is durable, and how long to wait', () => {
    const durable = failureOf(new PersistenceError('witness-not-moved', 'x', { committed: true }));
    assert.equal(durable.committed, true);
    const throttled = failureOf(new PersistenceError('password-throttled', 'x', { retryAfterMs: 1000 }));
    assert.equal(throttled.retryAfterMs, 1000);
    assert.deepEqual(Object.keys(failureOf(new PersistenceError('closed', 'x'))), [
      'code',
      'reason',
      'message',
      'retryable',
      'remedy',
    ]);
  });
});
