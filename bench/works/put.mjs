/** One durable record at a time, overwriting random existing keys, so that N stays what it is. */
import { versusBestPeer, versusLimit } from '../lib/gates.mjs';
import { rates, repeat } from '../lib/measure.mjs';

/** @type {import('../types.d.ts').Shown[]} */
const shows = [
  { metric: 'p50_us', label: 'p50', unit: 'us', better: 'lower' },
  { metric: 'p99_us', label: 'p99', unit: 'us', better: 'lower' },
  { metric: 'ops_s', label: 'rate', unit: '/s', better: 'higher' },
];

/** @param {import('../types.d.ts').WorkContext} context */
const oneRecord = ({ records }) => ({ key: records.randomKey(), value: records.value() });

/** @type {import('../types.d.ts').Work[]} */
export default [
  {
    name: 'put-1',
    title: 'one awaited set() at a time',
    shows,
    gates: [
      versusBestPeer({ metric: 'p50_us', better: 'lower', bar: 1, moonshot: 1.15 }),
      versusLimit({ metric: 'p50_us', bar: 1.5 }),
    ],
    syscalls: { syncsPerPut: 1, bytesPerPut: 512 },
    supports: (store) => store.put !== undefined,
    run: async (context) => {
      const { store } = context;
      return rates(
        await repeat(
          context,
          () => oneRecord(context),
          ({ key, value }) => store.put?.(key, value),
        ),
      );
    },
  },
  {
    name: 'put-1-sync',
    title: 'setSync()',
    shows,
    gates: [
      versusBestPeer({ metric: 'p50_us', better: 'lower', bar: 1.15 }),
      versusLimit({ metric: 'p50_us', bar: 1.15, moonshot: 1.05 }),
    ],
    syscalls: { syncsPerPut: 1, bytesPerPut: 512 },
    supports: (store) => store.putSync !== undefined,
    run: async (context) => {
      const { store } = context;
      return rates(
        await repeat(
          context,
          () => oneRecord(context),
          ({ key, value }) => store.putSync?.(key, value),
        ),
      );
    },
  },
];
