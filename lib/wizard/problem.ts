// A failure as a page shows it, and one of a form, which names the field.
import { PersistenceError } from '../errors.js';
import type { Reason } from '../errors.js';
import type { Problem, Subject } from './view.js';

/** Nothing has begun: a field, or what stands for one in the configuration, must be corrected. */
export class FormError extends PersistenceError {
  constructor(
    reason: Reason,
    message: string,
    readonly about: Subject,
  ) {
    super(reason, message);
  }
}

export function problemOf(error: PersistenceError): Problem {
  const { reason, message, remedy, retryAfterMs } = error;
  const about = error instanceof FormError ? { about: error.about } : {};
  return Object.freeze({ reason, message, remedy, retryAfterMs, ...about });
}
