// The seven scenarios of the workflow document, by number, and its table of what software protection must detect.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';

import { day, hour, minute, Place, storeFiles, text } from './support.js';

const files = (name: string): boolean => name.startsWith('store/');
const secrets = (name: string): boolean => name.startsWith('secrets/');

describe('acceptance: scenarios, software protection', () => {
  let place: Place;
  beforeEach(() => {
    place = new Place();
  });
  afterEach(() => place.closeAll());

  const use = (value: string): Promise<void> =>
    place.visit(({ vault }) => vault.set('seats/1', Buffer.from(value), { durability: 'witnessed' }));

  it('scenario 1, COLDSTART test: all persistence files and secrets deleted: a clean initialization', async () => {
    await place.made();
    const { storageId } = await place.inspect();
    place.restore(new Map());
    const store = await place.open();
    assert.equal(store.startup, 'COLDSTART');
    assert.notEqual(store.status().storageId, storageId);
    assert.equal(store.vault.get('seats/1'), undefined);
    assert.deepEqual(
      readdirSync(place.directory)
        .filter((name) => name !== 'lock')
        .sort(),
      [...storeFiles].sort(),
    );
    await store.close();
    await place.visit();
  });

  it('scenario 2, WARMSTART test: a normal start, the integrity checks pass', async () => {
    await place.made();
    const steps: string[] = [];
    const store = await place.open({ trace: (step) => steps.push(step) });
    assert.equal(store.startup, 'WARMSTART');
    for (const check of ['ValidateVaultIntegrity', 'ValidateTimeTamperAge']) assert.ok(steps.includes(check));
    assert.equal(text(store.vault.get('seats/1')), 'value 1');
    const report = await store.verify();
    assert.equal(report.newest.generation, store.status().generation);
    await store.close();
  });

  it('scenario 3, tampering test: a modified vault.bin is PERS_8003', async () => {
    await place.made();
    const whole = place.snapshot();
    place.flip('vault.bin', Math.floor(place.read('vault.bin').length / 2));
    const error = await place.refused('vault-tampered');
    assert.equal(error.code, 'PERS_8003');
    place.restore(whole);
    await place.visit();
  });

  it('scenario 4, rollback test: an old backup of everything fails the age check', async () => {
    await place.made();
    const backup = place.snapshot();
    for (let week = 0; week < 4; ++week) {
      place.clock.advance(3 * day);
      await use(`day ${week * 3}`);
    }
    place.restore(backup);
    const error = await place.refused('state-stale');
    assert.equal(error.code, 'PERS_8003');
  });

  it('scenario 4, rollback test: a backup of the files, one minute old or younger, is refused', async () => {
    await place.made();
    for (const age of [minute, 1000, 0]) {
      const backup = place.snapshot();
      await use('before the backup');
      place.clock.advance(age);
      await use('after the backup');
      const newest = place.snapshot();
      place.restore(backup, files);
      const error = await place.refused('vault-rolled-back');
      assert.equal(error.code, 'PERS_8003', `${age} ms old`);
      place.restore(newest);
      await place.visit();
    }
  });

  it('scenario 4, rollback test: one witnessed commit is enough, also when the process is killed after it', async () => {
    await place.made();
    const backup = place.snapshot();
    const store = await place.open();
    await store.vault.set('seats/1', Buffer.from('newer'), { durability: 'witnessed' });
    // As kill -9 leaves it: what was acknowledged is on disk, and nothing else happens.
    const killed = place.snapshot();
    await store.close();
    place.restore(killed);
    place.restore(backup, files);
    await place.refused('vault-rolled-back');
    place.restore(killed);
    await place.visit(({ vault }) => assert.equal(text(vault.get('seats/1')), 'newer'));
  });

  it('scenario 5, clock rollback test: the system clock set backwards is detected, and heals', async () => {
    await place.made();
    const right = place.clock.wallMs();
    for (const back of [3 * minute, day, 365 * day]) {
      place.clock.setWall(right - back);
      const error = await place.refused('clock-rolled-back');
      assert.deepEqual([error.code, error.retryable], ['PERS_8003', true]);
      // Another boot does not make it right.
      place.clock.reboot(0);
      place.clock.setWall(right - back);
      await place.refused('clock-rolled-back');
    }
    place.clock.setWall(right + minute);
    await place.visit();
  });

  it('scenario 6, partial restore test: files without SecretStore, and SecretStore without files, with distinct reasons', async () => {
    await place.made();
    const backup = place.snapshot();
    await use('newer');
    const whole = place.snapshot();

    place.restore(new Map(), secrets);
    const withoutSecrets = await place.refused('root-unavailable');
    place.restore(whole);
    place.restore(new Map(), (name) => secrets(name) && !name.endsWith('RootKey'));
    const withoutWitnesses = await place.refused('witness-missing');
    place.restore(whole);
    place.restore(backup, files);
    const olderFiles = await place.refused('vault-rolled-back');
    place.restore(whole);
    place.restore(new Map(), files);
    const withoutFiles = await place.refused('partial-restore');
    place.restore(whole);
    place.remove('vault.bin');
    await place.refused('partial-restore');

    const reasons = [withoutSecrets, withoutWitnesses, olderFiles, withoutFiles].map(({ reason }) => reason);
    assert.equal(new Set(reasons).size, 4);
    assert.deepEqual(
      [withoutWitnesses, olderFiles, withoutFiles].map(({ code }) => code),
      ['PERS_8003', 'PERS_8003', 'PERS_8003'],
    );
    place.restore(whole);
    await place.visit(({ vault }) => assert.equal(text(vault.get('seats/1')), 'newer'));
  });

  it('scenario 7, performance test: many writes within 60 s use the cache: one validation', async () => {
    await place.made();
    const store = await place.open();
    await Promise.all(
      Array.from({ length: 10_000 }, (_, i) => store.vault.set(`key/${i}`, Buffer.from(String(i)))),
    );
    assert.equal(store.status().validations, 1);
    await store.close();
  });

  describe('TPM and no-TPM', () => {
    it('TPM and no-TPM: software protection says what it is', async () => {
      const store = await place.open();
      const { securityLevel, protector, rewindableBy, witnesses } = store.status();
      assert.deepEqual([securityLevel, protector, rewindableBy], ['software', 'software', 'no-one']);
      assert.deepEqual(
        witnesses.map(({ name }) => name),
        ['tamper-file', 'secret-store'],
      );
      await store.close();
    });

    it('TPM and no-TPM: two sources of the hash: either alone refuses an older vault of the same hour', async () => {
      await place.made();
      const backup = place.snapshot();
      place.clock.advance(hour / 2);
      await use('newer');
      const newest = place.snapshot();
      // Only the SecretStore remembers.
      place.restore(backup, files);
      await place.refused('vault-rolled-back');
      // Only the tamper file remembers.
      place.restore(newest);
      place.restore(backup, (name) => name !== 'store/tmtmp.bin');
      await place.refused('vault-rolled-back');
      // An older tmtmp.bin alone merely lags.
      place.restore(newest);
      place.restore(backup, (name) => name === 'store/tmtmp.bin');
      await place.visit();
    });

    it('TPM and no-TPM: the SecretStore checks the time: a vault and a clock of yesterday are refused', async () => {
      await place.made();
      const backup = place.snapshot();
      const yesterday = place.clock.wallMs();
      place.clock.advance(day);
      await place.visit();
      place.restore(backup, (name) => files(name) || name.endsWith('VaultHash'));
      place.clock.reboot(0);
      place.clock.setWall(yesterday + minute);
      await place.refused('clock-rolled-back');
    });
  });
});
