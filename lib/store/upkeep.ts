// What is done to an open store besides reading and writing its vault: verification, the audit log and the rotation of
// its data encryption key. Arguments are checked here; the work is a task of the core.
import { aborted, cancelling, untilAborted } from '../base/abort.js';
import { PersistenceError } from '../errors.js';
import { guarded } from '../vault/events.js';
import type { NativeProgress } from '../native-binding.js';
import type { RunTask } from './tasks.js';
import { toPersistenceError } from '../native/errors.js';
import { readFunction, readOptions, readSignal } from '../options/readers.js';
import type { RotateDekOptions, VerifyOptions } from './persistence.js';
import { readPassword } from '../options/secrets.js';
import { toVerifyReport, type AuditEntry, type VerifyReport } from './status.js';

export const auditLogMax = 1_048_576;

export async function verify(run: RunTask, options: VerifyOptions): Promise<VerifyReport> {
  const given = readOptions(options, ['onProgress', 'signal']);
  const progress = readFunction<NativeProgress>(given.onProgress, 'onProgress');
  const signal = readSignal(given.signal);
  if (signal?.aborted === true) throw aborted(signal);
  const report = run((native) => {
    if (signal?.aborted === true) throw aborted(signal);
    return cancelling(
      signal,
      () => {
        native.cancel();
      },
      () => native.maintenance.verify(guarded('progress', progress)),
    );
  }).then(toVerifyReport);
  return signal === undefined ? report : untilAborted(report, signal);
}

export async function auditLog(run: RunTask, limit: number): Promise<readonly AuditEntry[]> {
  if (!Number.isInteger(limit) || limit < 0) {
    throw new PersistenceError('invalid-argument', 'limit must be a whole number, 0 or more');
  }
  return run((native) => native.maintenance.auditLog(limit));
}

export async function rotateDek(run: RunTask, options: RotateDekOptions): Promise<void> {
  const known = ['password', 'forgetFieldKeys', 'removeOtherPasswords', 'onProgress'] as const;
  const given = readOptions(options, known);
  const { password, forgetFieldKeys = false, removeOtherPasswords = false, onProgress } = given;
  if (typeof forgetFieldKeys !== 'boolean' || typeof removeOtherPasswords !== 'boolean') {
    const wrong = typeof forgetFieldKeys === 'boolean' ? 'removeOtherPasswords' : 'forgetFieldKeys';
    throw new PersistenceError('invalid-option', `${wrong} must be true or false`);
  }
  const progress = guarded('progress', readFunction<NativeProgress>(onProgress, 'onProgress'));
  const source = readPassword(password, 'the password');
  try {
    const bytes = await source?.take();
    await run((native) =>
      native.operations.rotateDek(bytes, { forgetFieldKeys, removeOtherPasswords }, progress),
    );
  } catch (error) {
    const refusal = toPersistenceError(error);
    throw source?.explain(refusal) ?? refusal;
  } finally {
    source?.forget();
  }
}
