/** Timed loops. Each warms up first, then runs until the budget is spent, at least once. */
import { performance } from 'node:perf_hooks';
import { percentile } from './stats.mjs';

const MAX_SAMPLES = 1 << 20;

/** @param {any} value */
export const isThenable = (value) => typeof value?.then === 'function';

/**
 * Repeats an operation that may return a promise; the next starts when the last has settled.
 *
 * @template T
 * @param {import('../types.d.ts').WorkContext} context
 * @param {() => T} prepare made before the clock of the operation starts
 * @param {(input: T) => unknown} operation
 */
export async function repeat(context, prepare, operation) {
  const warmEnd = performance.now() + context.warmupMs;
  while (performance.now() < warmEnd) await operation(prepare());
  const samples = new Float64Array(MAX_SAMPLES);
  let count = 0;
  let busyMs = 0;
  const end = performance.now() + context.budgetMs;
  do {
    const input = prepare();
    const start = performance.now();
    const pending = operation(input);
    // An engine that is done on return is not made to wait for a turn of the microtask queue.
    if (isThenable(pending)) await pending;
    const elapsed = performance.now() - start;
    samples[count++] = elapsed;
    busyMs += elapsed;
  } while (performance.now() < end && count < MAX_SAMPLES);
  return { samples: samples.subarray(0, count), count, busyMs };
}

/**
 * Repeats a synchronous operation in bursts of `burst`, because a clock reading costs as much as the operation.
 * Samples are milliseconds per operation, averaged over a burst.
 *
 * @template T
 * @param {import('../types.d.ts').WorkContext} context
 * @param {number} burst
 * @param {() => T} prepare made `burst` times before the clock of a burst starts
 * @param {(input: T) => unknown} operation
 */
export function repeatBurst(context, burst, prepare, operation) {
  const warmEnd = performance.now() + context.warmupMs;
  while (performance.now() < warmEnd) operation(prepare());
  const samples = new Float64Array(MAX_SAMPLES);
  let count = 0;
  let busyMs = 0;
  const end = performance.now() + context.budgetMs;
  do {
    const inputs = Array.from({ length: burst }, prepare);
    const start = performance.now();
    for (const input of inputs) operation(input);
    const elapsed = performance.now() - start;
    samples[count++] = elapsed / burst;
    busyMs += elapsed;
  } while (performance.now() < end && count < MAX_SAMPLES);
  return { samples: samples.subarray(0, count), count: count * burst, busyMs };
}

/**
 * @param {{ samples: Float64Array, count: number, busyMs: number }} timing
 * @param {number} recordsPerOperation
 * @returns {import('../types.d.ts').Metrics}
 */
export function rates(timing, recordsPerOperation = 1) {
  const ops = timing.count * recordsPerOperation;
  return {
    p50_us: percentile(timing.samples, 0.5) * 1000,
    p99_us: percentile(timing.samples, 0.99) * 1000,
    ops_s: (ops / timing.busyMs) * 1000,
    ops,
  };
}
