/** 64 durable records at once, in the ways that a user may write them. */
import { versusBestPeer, versusOwn } from '../lib/gates.mjs';
import { rates, repeat } from '../lib/measure.mjs';

export const MANY = 64;

/** @type {import('../types.d.ts').Shown[]} */
const shows = [
  { metric: 'ops_s', label: 'rate', unit: '/s', better: 'higher' },
  { metric: 'p50_us', label: 'p50 of 64', unit: 'us', better: 'lower' },
  { metric: 'p99_us', label: 'p99 of 64', unit: 'us', better: 'lower' },
];

/**
 * @param {import('../types.d.ts').WorkContext} context
 * @param {'putMany' | 'putSeparate' | 'batch'} way
 */
async function putBatches(context, way) {
  const { store, records } = context;
  const timing = await repeat(
    context,
    () => records.randomBatch(MANY),
    ({ keys, values }) => store[way]?.(keys, values),
  );
  return rates(timing, MANY);
}

/** @type {import('../types.d.ts').Work[]} */
export default [
  {
    name: 'put-64',
    title: '64 set() promises in flight; peers: one transaction of 64',
    needs: ['put-64-separate'],
    shows,
    gates: [
      versusBestPeer({
        metric: 'ops_s',
        better: 'higher',
        label: "x best peer's transaction",
        bar: { 1_000: 2, 100_000: 3, 1_000_000: 5 },
        moonshot: { 1_000: 4, 100_000: 6, 1_000_000: 10 },
      }),
      versusBestPeer({
        metric: 'ops_s',
        better: 'higher',
        label: 'x best peer, separate puts',
        peerWork: 'put-64-separate',
        bar: 8,
      }),
    ],
    syscalls: { syncsPerPut: 1 / 32 },
    supports: (store) => store.putMany !== undefined,
    run: (context) => putBatches(context, 'putMany'),
  },
  {
    name: 'put-64-separate',
    title: 'peers: 64 separate puts, in flight where the engine can',
    shows: shows.slice(0, 1),
    gates: [],
    supports: (store) => store.putSeparate !== undefined,
    run: (context) => putBatches(context, 'putSeparate'),
  },
  {
    name: 'batch-64',
    title: 'one batch of 64',
    shows,
    gates: [
      versusBestPeer({
        metric: 'ops_s',
        better: 'higher',
        label: "x best peer's transaction",
        bar: 2.5,
        moonshot: 5,
      }),
    ],
    supports: (store) => store.batch !== undefined,
    run: (context) => putBatches(context, 'batch'),
  },
  {
    name: 'increment-64',
    title: '64 counters incremented in flight; peers: read and write in one transaction of 64',
    needs: ['put-64'],
    shows,
    gates: [versusOwn({ metric: 'ops_s', work: 'put-64', bar: 0.9, moonshot: 1 })],
    supports: (store) => store.increment !== undefined,
    run: async (context) => {
      const { store, records } = context;
      const timing = await repeat(
        context,
        () => records.counters,
        (keys) => store.increment?.(keys),
      );
      return rates(timing, MANY);
    },
  },
];
