// serve-gate on real tokens: what it says, what it ends with, and that it touches nothing.
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

import { backupPassword, bytes, HsmWorld, p11KitClient, pin, softhsm } from '../support/softhsm.js';
import { quickKdf } from '../support/stores.js';
import { json, start, strongroom, type Outcome } from './support.js';

describe('strongroom serve-gate', function () {
  this.timeout(60_000);
  let world: HsmWorld;
  let pinFile: string;
  beforeEach(async () => {
    world = new HsmWorld();
    pinFile = join(world.root, 'pin');
    writeFileSync(pinFile, `${pin}\n`, { mode: 0o600 });
    await world.make();
  });
  afterEach(async () => {
    await world.closeAll();
  });

  const run = (...more: string[]): Promise<Outcome> =>
    strongroom(['serve-gate', world.directory, ...more], { env: { SOFTHSM2_CONF: world.configuration } });
  const place = (): string[] => ['--module', softhsm, '--pin-file', pinFile];
  /** Runs it to this exit code; its one line of JSON. Nothing may have changed. */
  const gate = async (code: number, ...more: string[]): Promise<any> => {
    const before = world.files();
    const outcome = await run(...(more.length > 0 ? more : place()));
    assert.equal(outcome.code, code, outcome.stdout + outcome.stderr);
    assert.deepEqual(world.files(), before);
    assert.match(outcome.stdout, /^[^\n]+\n$/);
    assert.ok(!(outcome.stdout + outcome.stderr).includes(pin));
    return json(outcome.stdout);
  };

  it('a store that the token opens: the service, twice over', async () => {
    await world.makeStore();
    const answer = await gate(0);
    assert.deepEqual([answer.start, answer.state, answer.scenario], ['service', 'WIZARD_COMPLETED', 3]);
    assert.equal(answer.token.label, 'acme');
    assert.equal(answer.path, undefined);
    assert.equal(answer.reason, undefined);
    assert.deepEqual(await gate(0), answer);
  });

  it('no store: the service, which makes it', async () => {
    const answer = await gate(0);
    assert.deepEqual([answer.start, answer.state], ['service', 'NO_STORE']);
  });

  it('software protection: the service, and a bogus module harms nobody', async () => {
    await world.makeStore({ protector: { type: 'software' } });
    const answer = await gate(
      0,
      '--module',
      '/nowhere/module.so',
      '--pin-file',
      '/nowhere/pin',
      '--slot',
      '7',
    );
    assert.deepEqual(
      [answer.start, answer.state, answer.scenario],
      ['service', 'WIZARD_COMPLETED', undefined],
    );
    assert.equal((await gate(0, '--secret-store', `file:${world.secrets}`)).start, 'service');
  });

  it('the KEK is lost: the wizard, at the password page', async () => {
    await world.makeStore();
    world.destroyKek();
    const answer = await gate(5);
    assert.deepEqual(
      [answer.start, answer.state, answer.scenario, answer.path, answer.reason],
      ['wizard', 'WIZARD_AUTO_RESTORE_PASSWORD', 1, '/setup-wizard/auto_restore_password/', 'kek-missing'],
    );
    assert.match(answer.remedy, /restore/);
  });

  it('the token is lost: the wizard, at the page for an HSM', async () => {
    await world.makeStore();
    world.loseTokens();
    const answer = await gate(5);
    assert.deepEqual(
      [answer.start, answer.state, answer.scenario, answer.path],
      ['wizard', 'WIZARD_SETUP_HSM_AUTORESTORE', 2, '/setup-wizard/auto-restore-hsm-setup/softhsm/'],
    );
    assert.equal(answer.reason, 'token-missing');
    const told = await run(...place());
    assert.match(told.stderr, /must be restored first/);
    assert.equal((await run(...place(), '--json')).stderr, '');
  });

  it('a restore that is not completed: the wizard; completed: the service', async () => {
    await world.makeStore();
    world.destroyKek();
    await assert.rejects(world.restore({ hook: '/bin/false' }));
    const answer = await gate(5);
    assert.deepEqual(
      [answer.state, answer.path, answer.reason],
      ['WIZARD_AUTO_RESTORE_PASSWORD', '/setup-wizard/auto_restore_password/', 'restore-required'],
    );
    await (await world.restore()).close();
    assert.equal((await gate(0)).start, 'service');
  });

  it('an outage is waited for; a late answer is one', async () => {
    await world.makeStore();
    const outage = await gate(4, '--module', '/nowhere/module.so', '--pin-file', pinFile);
    assert.deepEqual([outage.start, outage.state, outage.reason], ['wait', 'OUTAGE', 'hsm-unreachable']);
    const late = await gate(4, ...place(), '--time-limit', '1');
    assert.deepEqual([late.start, late.state, late.reason], ['wait', 'OUTAGE', 'aborted']);
    const noPin = await gate(4, '--module', softhsm, '--pin-file', '/nowhere/pin');
    assert.deepEqual([noPin.start, noPin.reason], ['wait', 'not-found']);
  });

  it('a module that shows no slot at all is an outage: its daemon may be gone', async () => {
    await world.makeStore();
    const client = p11KitClient();
    const outcome = await strongroom(
      ['serve-gate', world.directory, '--module', client, '--pin-file', pinFile],
      { env: { SOFTHSM2_CONF: world.configuration, P11_KIT_SERVER_ADDRESS: `unix:path=${world.root}/gone` } },
    );
    assert.equal(outcome.code, 4, outcome.stdout + outcome.stderr);
    const answer = json(outcome.stdout);
    assert.deepEqual([answer.start, answer.state, answer.reason], ['wait', 'OUTAGE', 'hsm-unreachable']);
    assert.match(answer.message, /shows no slot/);
  });

  it('a mistyped token, slot or URI while the token of the store is there: nothing, for the operator', async () => {
    await world.makeStore();
    const before = world.files();
    for (const named of [
      ['--token', 'acne'],
      ['--token-serial', '0123456789abcdef'],
      ['--slot', '4711'],
      ['--pkcs11-uri', 'pkcs11:token=acne'],
    ]) {
      const answer = await gate(1, ...place(), ...named);
      assert.deepEqual([answer.start, answer.state, answer.reason], ['none', 'ATTENTION', 'token-misnamed']);
      assert.match(answer.message, /this store's token 'acme' .* is there/);
      const password = join(world.root, 'password');
      writeFileSync(password, backupPassword, { mode: 0o600 });
      const restore = ['restore', world.directory, ...place(), ...named, '--password-file', password];
      const refused = await strongroom(restore, { env: { SOFTHSM2_CONF: world.configuration } });
      assert.equal(refused.code, 1, refused.stderr);
      assert.match(refused.stderr, /token-misnamed/);
    }
    assert.deepEqual(world.files(), before);
  });

  it('a wrong or missing PIN, and a lost KEK without a password slot: nothing, for the operator', async () => {
    await world.makeStore({ recovery: 'none' });
    assert.equal((await gate(1, '--module', softhsm)).reason, 'pin-missing');
    const wrong = join(world.root, 'wrong');
    writeFileSync(wrong, '9999-none');
    // The token itself counts the wrong ones.
    const { code, stdout } = await run('--module', softhsm, '--pin-file', wrong);
    const refused = json(stdout);
    assert.deepEqual([code, refused.start, refused.state, refused.reason], [1, 'none', 'PIN', 'pin-wrong']);
    world.destroyKek();
    const lost = await gate(1);
    assert.deepEqual([lost.start, lost.state, lost.reason], ['none', 'ATTENTION', 'kek-missing']);
  });

  it('tampering and rollback: nothing, with exit code 3', async () => {
    const service = await world.open({ recovery: { password: bytes(backupPassword), kdf: quickKdf } });
    await service.close();
    const vault = join(world.directory, 'vault.bin');
    const whole = readFileSync(vault);
    const changed = Buffer.from(whole);
    changed[100] = (changed[100] ?? 0) ^ 1;
    writeFileSync(vault, changed);
    const refused = await gate(3);
    assert.deepEqual([refused.start, refused.state, refused.reason], ['none', 'REFUSED', 'vault-tampered']);
    rmSync(vault);
    const partial = await gate(3);
    assert.deepEqual([partial.start, partial.reason], ['none', 'partial-restore']);
  });

  it('usage: exit code 2, and no answer', async () => {
    await world.makeStore();
    for (const args of [
      ['--pin-file', pinFile],
      [...place(), '--time-limit', '0'],
      ['--erase', 'x'],
    ]) {
      const { code, stdout } = await run(...args);
      assert.deepEqual([code, stdout], [2, ''], args.join(' '));
    }
    assert.deepEqual([(await strongroom(['serve-gate'])).code], [2]);
  });

  it('takes no lock beside a service that has the store open', async () => {
    await world.makeStore();
    const service = await world.open();
    const answer = json((await run(...place())).stdout);
    assert.equal(answer.start, 'service');
    await service.vault.set('seats', bytes('13'));
    assert.equal(service.vault.get('seats')?.toString(), '13');
  });

  it('loads no module that the store, and not the caller, names', async () => {
    await world.makeStore();
    const trace = join(world.root, 'trace');
    const child = start(
      ['serve-gate', world.directory, '--module', '/nowhere/module.so', '--pin-file', pinFile],
      {
        env: { SOFTHSM2_CONF: world.configuration, LD_DEBUG: 'files', LD_DEBUG_OUTPUT: trace },
      },
    );
    const code = await new Promise((resolve) => child.once('close', resolve));
    assert.equal(code, 4);
    const loaded = readFileSync(`${trace}.${String(child.pid)}`, 'utf8');
    assert.ok(loaded.includes('strongroom'), 'the trace shows what is loaded');
    assert.ok(!loaded.includes('libsofthsm2'));
  });
});
