// kill -9 of a real process under load, 150 times. `npm run torture` goes on for longer.
import assert from 'node:assert/strict';

import { campaignSeed, details, runCampaign, summary } from './campaign.js';

describe('kill -9', () => {
  it('loses no acknowledged write and raises no false alarm, 150 times', async function () {
    this.timeout(300_000);
    const totals = await runCampaign({ seed: campaignSeed(1), kills: 150, stores: 2 });
    console.log(`\n${summary(totals)}\n${details(totals)}`);
    assert.deepEqual(totals.faults, []);
    assert.equal(totals.falseAlarms, 0);
    assert.equal(totals.acknowledgedLost, 0);
    assert.ok(totals.kills >= 150);
    assert.ok(totals.compacted > 0, 'no log was compacted');
    for (const [moment, count] of Object.entries(totals.moments))
      assert.ok(count > 0, `no kill during ${moment}`);
  });
});
