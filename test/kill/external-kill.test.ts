// kill -9 of the process that asks a real key service over HTTP for its root key, 60 times.
import assert from 'node:assert/strict';

import { KeyService } from '../support/key-service.js';
import { campaignSeed, details, runCampaign, summary } from './campaign.js';

describe('kill -9 with a key service', () => {
  it('loses no acknowledged write and raises no false alarm, 60 times', async function () {
    this.timeout(300_000);
    const service = await KeyService.started();
    try {
      const seed = campaignSeed(1);
      const totals = await runCampaign({ seed, kills: 60, stores: 2, keyService: service.url });
      console.log(`\nexternal ${summary(totals)}\nexternal ${details(totals)}`);
      assert.deepEqual(totals.faults, []);
      assert.equal(totals.falseAlarms, 0);
      assert.equal(totals.acknowledgedLost, 0);
      assert.ok(totals.kills >= 60);
      assert.ok(totals.warmstarts > 0 && service.calls.length > 0);
    } finally {
      await service.close();
    }
  });
});
