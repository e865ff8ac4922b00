/** What only strongroom is asked: that size does not matter, that validation is free, that the event loop stays free. */
import { createHistogram, performance } from 'node:perf_hooks';
import { clearImmediate, setImmediate } from 'node:timers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { atMost, versusSmallest } from '../lib/gates.mjs';
import { isThenable, rates, repeat, repeatBurst } from '../lib/measure.mjs';
import { MANY } from './put-many.mjs';

const BURST = 1000;

/** @type {import('../types.d.ts').Work[]} */
export default [
  {
    name: 'flat',
    title: 'put-1 and put-64 at this N against the smallest N',
    needs: ['put-1', 'put-64'],
    sizes: 'last',
    shows: [],
    gates: [
      versusSmallest({ work: 'put-1', metric: 'p50_us', better: 'lower', bar: 0.75, moonshot: 0.95 }),
      versusSmallest({ work: 'put-64', metric: 'ops_s', better: 'higher', bar: 0.75, moonshot: 0.95 }),
    ],
  },
  {
    name: 'validate',
    title: 'ValidateBeforeWrite on a cache hit',
    sizes: 'first',
    shows: [{ metric: 'call_ns', label: 'call', unit: 'ns', better: 'lower' }],
    gates: [atMost({ metric: 'call_ns', unit: 'ns', label: 'per call', bar: 1000, moonshot: 100 })],
    supports: (store) => store.validate !== undefined,
    run: async (context) => {
      const { store } = context;
      const first = store.validate?.();
      if (isThenable(first)) {
        await first;
        const timing = await repeat(context, Date.now, () => store.validate?.());
        return { call_ns: /** @type {number} */ (rates(timing)['p50_us']) * 1000 };
      }
      const timing = repeatBurst(context, BURST, Date.now, () => store.validate?.());
      return { call_ns: /** @type {number} */ (rates(timing)['p50_us']) * 1000 };
    },
  },
  {
    name: 'loop',
    title: 'longest block of the event loop while put-64 runs',
    shows: [
      { metric: 'longest_ms', label: 'longest', unit: 'ms', better: 'lower' },
      { metric: 'p99_ms', label: 'p99', unit: 'ms', better: 'lower' },
    ],
    gates: [atMost({ metric: 'longest_ms', unit: 'ms', label: 'longest', bar: 2, moonshot: 0.5 })],
    supports: (store) => store.putMany !== undefined,
    run: async (context) => {
      const { store, records } = context;
      // Not an array: an engine that leaves the loop free has millions of turns, and to grow it would block them.
      const gaps = createHistogram();
      let last = performance.now();
      let immediate = setImmediate(function turn() {
        const now = performance.now();
        gaps.record(Math.max(1, Math.round((now - last) * 1e6)));
        last = now;
        immediate = setImmediate(turn);
      });
      // Batches are made outside the block that is looked for.
      const batches = Array.from({ length: 64 }, () => records.randomBatch(MANY));
      const write = async (/** @type {number} */ durationMs) => {
        const end = performance.now() + durationMs;
        for (let wave = 0; performance.now() < end; wave++) {
          const { keys, values } = /** @type {typeof batches[number]} */ (batches[wave % batches.length]);
          await store.putMany?.(keys, values);
          await nextTurn();
        }
      };
      await write(context.warmupMs);
      gaps.reset();
      last = performance.now();
      await write(context.budgetMs);
      clearImmediate(immediate);
      return { longest_ms: gaps.max / 1e6, p99_ms: gaps.percentile(99) / 1e6, turns: gaps.count };
    },
  },
];
