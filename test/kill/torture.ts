// The long kill campaign; see scripts/torture.
//   torture.ts [--kills N] [--minutes N] [--stores N] [--seed N] [--tpm]
import { parseArgs } from 'node:util';

import { campaignSeed, details, runCampaign, summary } from './campaign.js';

const { values } = parseArgs({
  options: {
    kills: { type: 'string' },
    minutes: { type: 'string' },
    stores: { type: 'string', default: '2' },
    seed: { type: 'string' },
    tpm: { type: 'boolean', default: false },
  },
});
const number = (text: string | undefined, otherwise: number): number => {
  const value = text === undefined ? otherwise : Number(text);
  if (!(value > 0)) throw new Error(`not a number above 0: ${text}`);
  return value;
};
const minutes = number(values.minutes, Number.POSITIVE_INFINITY);
const kills = number(values.kills, minutes === Number.POSITIVE_INFINITY ? 3000 : Number.POSITIVE_INFINITY);

let shown = performance.now();
const totals = await runCampaign({
  seed: values.seed === undefined ? campaignSeed(Date.now()) : number(values.seed, 1),
  kills,
  untilMs: performance.now() + minutes * 60_000,
  stores: number(values.stores, 2),
  tpm: values.tpm,
  onProgress: (now) => {
    if (performance.now() - shown < 30_000) return;
    shown = performance.now();
    console.log(`… ${summary(now)}`);
  },
});
console.log(`${summary(totals)}\n${details(totals)}`);
for (const fault of totals.faults) console.log(`kill: FAULT ${fault}`);
process.exitCode = totals.faults.length + totals.falseAlarms + totals.acknowledgedLost === 0 ? 0 : 1;
