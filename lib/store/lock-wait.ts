// Waiting for the lock of a store that another process has.
import { setTimeout as sleep } from 'node:timers/promises';

import { aborted } from '../base/abort.js';
import { toPersistenceError } from '../native/errors.js';
import type { ReadOptions } from './open-options.js';

/** The first wait; each later one is longer by half, up to the last. */
const firstWaitMs = 20;
const lastWaitMs = 500;

/**
 * The first steps of a start, tried until they are not refused as `locked`, or `waitForLockMs` are over. Nothing tells when a
 * lock is released.
 * @param steps - change nothing when they are refused
 * @param letGo - releases what a refused try holds
 * @throws PersistenceError of the last try; `aborted`
 */
export async function waitingForLock<T>(
  { waitForLockMs, signal }: Pick<ReadOptions, 'waitForLockMs' | 'signal'>,
  steps: () => Promise<T>,
  letGo: () => Promise<void>,
): Promise<T> {
  const deadline = performance.now() + waitForLockMs;
  for (let waitMs = firstWaitMs; ; waitMs = Math.min(waitMs * 1.5, lastWaitMs)) {
    try {
      return await steps();
    } catch (error) {
      const refusal = toPersistenceError(error, 'initialization-failed');
      const left = deadline - performance.now();
      if (refusal.reason !== 'locked' || left <= 0) throw refusal;
      await letGo();
      await pause(Math.min(waitMs, left), signal);
    }
  }
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    throw signal?.aborted === true ? aborted(signal) : error;
  }
}
