// Cancellation by an AbortSignal.
import { PersistenceError } from '../errors.js';

/** `aborted`, with the signal's reason as cause. */
export function aborted(signal: AbortSignal): PersistenceError {
  return new PersistenceError('aborted', 'the call was given up', { cause: signal.reason });
}

/** The work, or `aborted` as soon as the signal says so; the work then ends by itself. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    work.catch(() => undefined);
    throw aborted(signal);
  }
  let stop: (() => void) | undefined;
  const given = new Promise<never>((_resolve, reject) => {
    stop = () => {
      reject(aborted(signal));
    };
    signal.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, given]);
  } finally {
    if (stop !== undefined) signal.removeEventListener('abort', stop);
    work.catch(() => undefined);
  }
}

/** Cancels what the core does for `work`, which decides how it ends. */
export async function cancelling<T>(
  signal: AbortSignal | undefined,
  cancel: () => void,
  work: () => Promise<T>,
): Promise<T> {
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    return await work();
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

/** @throws PersistenceError `aborted` */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw aborted(signal);
}
