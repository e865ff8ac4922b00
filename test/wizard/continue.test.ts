// A restore whose hook failed continues without the password while the token opens the store, in this process and in the
// next one. Where the token does not open it, the password is needed again.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { rejectsReason } from '../support/errors.js';
import { backupPassword, bytes, HsmWorld } from '../support/softhsm.js';
import { passwordPath, progressPath, resultPath, Rig, type Browser } from './support.js';

describe('a restore that continues', function () {
  this.timeout(60_000);
  let world: HsmWorld;
  let rig: Rig;
  let browser: Browser;
  let hook: string;

  const start = async (): Promise<void> => {
    rig = await Rig.start(world, { hook, resultGraceMs: 60_000 });
    browser = await rig.insider();
  };
  beforeEach(async () => {
    world = new HsmWorld();
    await world.make();
    await world.makeStore();
    world.destroyKek();
    hook = join(world.root, 'hook');
    writeFileSync(hook, `#!/bin/sh\ntest -e ${world.root}/repaired\n`, { mode: 0o755 });
    await start();
  });
  afterEach(async () => {
    await rig.stop();
    await world.closeAll();
  });
  const failOnce = async (): Promise<any> => {
    await browser.submit(passwordPath, { password: backupPassword });
    const view = await browser.settled();
    assert.deepEqual([view.page, view.resumes, view.problem.reason], ['password', true, 'hook-failed']);
    return view;
  };
  const repair = (): void => writeFileSync(join(world.root, 'repaired'), '');

  it('with one click after the hook was repaired', async () => {
    await failOnce();
    const page = await browser.get(passwordPath);
    assert.ok(!page.text.includes('type="password"'), page.text);
    // Still broken: the same page, and no password.
    await browser.submit(passwordPath, {});
    assert.equal((await browser.settled()).problem.reason, 'hook-failed');
    await rejectsReason(world.open(), 'restore-required');
    repair();
    const csrf = await browser.csrf(passwordPath);
    const begun = await browser.postJson(passwordPath, { csrf });
    assert.deepEqual([begun.status, begun.headers.location], [202, progressPath]);
    const result = await browser.settled();
    assert.equal(result.page, 'result');
    assert.equal(result.steps.find(({ step }: any) => step === 'password').state, 'skipped');
    assert.equal((await browser.get(resultPath)).status, 200);
    await rig.wizard.close();
    const service = await world.open();
    const operations = (await service.auditLog()).map(({ operation }) => operation);
    assert.equal(operations.filter((each) => each === 'restore-password').length, 1);
    await service.close();
  });

  it('in another process, and by the library, without a password', async () => {
    await failOnce();
    await rig.stop();
    await start();
    assert.equal((await browser.json(passwordPath)).json().resumes, true);
    await rejectsReason(world.restore({ credential: { password: bytes('wrong') } }), 'password-wrong');
    await (await world.restore({ credential: {} })).close();
    assert.equal(world.keks(), 1);
  });

  it('with the password, where the key is lost again', async () => {
    await failOnce();
    world.destroyKek();
    const before = world.files();
    const csrf = await browser.csrf(passwordPath);
    await browser.post(passwordPath, { csrf });
    const asked = await browser.settled();
    assert.deepEqual([asked.page, asked.resumes, asked.found], ['password', false, 'kek-missing']);
    assert.equal(asked.problem.reason, 'password-missing');
    assert.deepEqual(world.files(), before);
    assert.equal((await browser.post(passwordPath, { csrf })).status, 400);
    repair();
    await browser.submit(passwordPath, { password: backupPassword });
    assert.equal((await browser.settled()).page, 'result');
    assert.equal(world.keks(), 1);
  });
});
