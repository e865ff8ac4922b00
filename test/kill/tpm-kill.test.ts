// kill -9 of the process, of its TPM and of both, 150 times under witnessed load. `npm run torture` goes on for longer.
import assert from 'node:assert/strict';

import { campaignSeed, details, runCampaign, summary } from './campaign.js';

describe('kill -9 with a TPM', () => {
  it('loses no acknowledged write and raises no false alarm, 150 times', async function () {
    this.timeout(300_000);
    const totals = await runCampaign({ seed: campaignSeed(1), kills: 150, stores: 4, tpm: true });
    console.log(`\ntpm ${summary(totals)}\ntpm ${details(totals)}`);
    assert.deepEqual(totals.faults, []);
    assert.equal(totals.falseAlarms, 0);
    assert.equal(totals.acknowledgedLost, 0);
    assert.ok(totals.kills >= 150);
    for (const [moment, count] of Object.entries(totals.moments))
      assert.ok(count > 0, `no kill during ${moment}`);
    for (const [order, count] of Object.entries(totals.orders)) assert.ok(count > 0, `no kill with ${order}`);
    assert.ok(totals.unwitnessed > 0, 'no witnessed commit met a dead TPM');
  });
});
