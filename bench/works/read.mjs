/** Reading one record, and reading everything to be sure of it. */
import { versusBestPeer } from '../lib/gates.mjs';
import { rates, repeat, repeatBurst } from '../lib/measure.mjs';

const BURST = 64;

/** @type {import('../types.d.ts').Work[]} */
export default [
  {
    name: 'get',
    title: 'random get, fresh Buffer, value used',
    shows: [{ metric: 'p50_us', label: 'p50', unit: 'us', better: 'lower' }],
    gates: [
      versusBestPeer({
        metric: 'p50_us',
        better: 'lower',
        label: 'x best peer, lmdb included',
        also: ['lmdb'],
        bar: { 1_000: 1.25, 1_000_000: 3 },
        moonshot: { 1_000: 2, 1_000_000: 6 },
      }),
    ],
    supports: (store) => store.get !== undefined,
    run: (context) => {
      const { store, records } = context;
      let checksum = 0;
      const timing = repeatBurst(
        context,
        BURST,
        () => records.randomKey(),
        (key) => {
          const value = store.get?.(key);
          if (value === undefined) throw new Error('a loaded record is missing');
          checksum = (checksum * 31 + /** @type {number} */ (value[value.length - 1])) | 0;
        },
      );
      return { ...rates(timing), checksum };
    },
  },
  {
    name: 'open-verify',
    title: "warm start with every byte authenticated; peers: open and the peer's own full check",
    shows: [{ metric: 'open_ms', label: 'time', unit: 'ms', better: 'lower' }],
    gates: [
      versusBestPeer({
        metric: 'open_ms',
        better: 'lower',
        label: "x best peer's full check",
        bar: { 100_000: 1.25 },
        moonshot: { 100_000: 4 },
      }),
    ],
    supports: () => true,
    run: async (context) => {
      // The page cache is warm: the files have just been written or read.
      const times = /** @type {number[]} */ ([]);
      await repeat({ ...context, warmupMs: 0 }, Date.now, async () => times.push(await context.reopen()));
      times.sort((a, b) => a - b);
      return { open_ms: /** @type {number} */ (times[times.length >> 1]), ops: times.length };
    },
  },
];
